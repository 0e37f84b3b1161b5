"""The best of several seeds as the claim: said, and a doubt where the record calls it their mean."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from bpb_harness.auditing import AuditReport, audit
from fixtures.claims.patterns import SP1024, bpb, log, submission

LABEL = "final_int8_zlib_roundtrip_exact"
LOSSES = (2.0305, 2.0332, 2.0345)
MEAN = sum(bpb(nats, SP1024) for nats in LOSSES) / 3


def _report(
    folder: Path, blurb: str, claimed: float = LOSSES[0], seeds: Sequence[int] = (42, 314, 999), **more: object
) -> AuditReport:
    (folder / "submission.json").write_text(submission(val_bpb=round(bpb(claimed, SP1024), 8), blurb=blurb, **more))
    for number, (nats, seed) in enumerate(zip(LOSSES, seeds, strict=True)):
        (folder / f"run_{number}.log").write_text(log(nats, SP1024, seed=seed))
    return audit(folder)


@pytest.mark.parametrize(
    "blurb",
    [
        "A small network, decay 0.085. Average of 3 seeds.",
        "mean over three random seeds",
        "Weight decay 0.085 (3-seed mean).",
        "A network; the average across all 3 runs; on 8 GPUs",
    ],
)
def test_a_record_that_calls_the_best_seed_the_mean(tmp_path: Path, blurb: str) -> None:
    report = _report(tmp_path, blurb)
    (found,) = report.with_code("BPB305")
    assert f"the best of 3 seeds (42), by {LABEL!r} in their logs; their mean is {MEAN:.5f}" in found.message
    assert "submission.json calls it" in found.message
    assert (found.severity, report.verdict) == ("warning", "unverifiable")
    assert report.judgement.reason == found.message


@pytest.mark.parametrize(
    "blurb",
    [
        "A small network.",
        "3-seed mean 1.2047 (std 0.0011).",
        "The mean of 3 seeds is 1.2047.",
        "val_bpb 1.2047, 3-seed mean",
        "best seed; the average of 3 seeds stands in the README",
        "EMA is an average of 3 runs of weights",
    ],
)
def test_a_record_that_does_not(tmp_path: Path, blurb: str) -> None:
    report = _report(tmp_path, blurb)
    (found,) = report.with_code("BPB305")
    assert found.message == f"the score is that of the best of 3 seeds (42), by {LABEL!r} in their logs; {_mean()}"
    assert (found.severity, report.verdict) == ("info", "consistent")


def _mean() -> str:
    return f"their mean is {MEAN:.5f}"


def test_seeds_that_the_record_lists(tmp_path: Path) -> None:
    listed = {str(seed): {"val_bpb": round(bpb(nats, SP1024), 8)} for seed, nats in zip("123", LOSSES, strict=True)}
    report = _report(tmp_path, "Average of 3 seeds.", seed_results=listed)
    (found,) = report.with_code("BPB305")
    assert found.message.startswith(f"the score is that of the best of 3 seeds (1); {_mean()}, and submission.json")
    assert found.severity == "warning"


def test_a_mean_that_is_one(tmp_path: Path) -> None:
    (tmp_path / "submission.json").write_text(submission(val_bpb=round(MEAN, 8), blurb="Average of 3 seeds."))
    for number, nats in enumerate(LOSSES):
        (tmp_path / f"run_{number}.log").write_text(log(nats, SP1024, seed=number))
    report = audit(tmp_path)
    assert (report.with_code("BPB305"), report.verdict) == ([], "consistent")


@pytest.mark.parametrize(
    ("claimed", "seeds"),
    [(LOSSES[1], (42, 314, 999)), (LOSSES[0], (42, 314, 314))],
    ids=["not the best", "several runs of a seed"],
)
def test_no_best_of_seeds(tmp_path: Path, claimed: float, seeds: tuple[int, ...]) -> None:
    report = _report(tmp_path, "Average of 3 seeds.", claimed, seeds)
    assert (report.with_code("BPB305"), report.verdict) == ([], "consistent")


def test_a_copy_of_a_log_is_no_other_run(tmp_path: Path) -> None:
    (tmp_path / "copy.log").write_text(log(LOSSES[0], SP1024, seed=42))
    (found,) = _report(tmp_path, "").with_code("BPB305")
    assert found.evidence["num_seeds"] == 3


def test_a_log_whose_seed_nothing_tells(tmp_path: Path) -> None:
    (tmp_path / "other.log").write_text(log(2.05, SP1024).replace("seed:1337", ""))
    assert _report(tmp_path, "").with_code("BPB305") == []


def test_a_best_seed_that_is_the_mean_in_the_digits_that_are_given(tmp_path: Path) -> None:
    listed = {"1": {"val_bpb": 1.20297}, "2": {"val_bpb": 1.20299}, "3": {"val_bpb": 1.20302}}
    (tmp_path / "submission.json").write_text(submission(val_bpb=1.203, seed_results=listed))
    assert audit(tmp_path).with_code("BPB305") == []


def test_scores_of_another_name_are_not_compared(tmp_path: Path) -> None:
    _report(tmp_path, "")
    with (tmp_path / "run_1.log").open("a") as file:
        file.write("final_sliding_exact val_loss:2.01 val_bpb:1.19044\n")
    (found,) = audit(tmp_path).with_code("BPB305")
    assert found.evidence["mean"] == pytest.approx(MEAN, abs=1e-7)


def test_seeds_of_which_some_are_in_logs_are_not_called_another_score(tmp_path: Path) -> None:
    listed = {str(seed): {"val_bpb": round(bpb(nats, SP1024), 8)} for seed, nats in zip("123", LOSSES, strict=True)}
    (tmp_path / "submission.json").write_text(submission(val_bpb=round(MEAN, 8), seed_results=listed))
    (tmp_path / "seed1.log").write_text(log(LOSSES[0], SP1024, seed=1))
    (found,) = audit(tmp_path).with_code("BPB411")
    assert "and in no log; the log of one seed prints its own, val_bpb " in found.message
    (tmp_path / "seed2.log").write_text(log(LOSSES[1], SP1024, seed=2))
    (found,) = audit(tmp_path).with_code("BPB411")
    assert "the log of 2 seeds prints its own, val_bpb " in found.message


def test_of_lines_that_divide_by_other_bytes_nothing_is_averaged(tmp_path: Path) -> None:
    assert _report(tmp_path, "A small network.").with_code("BPB305")
    path = tmp_path / "run_1.log"
    text, told = path.read_text(), f"{bpb(LOSSES[1], SP1024):.8f}"
    path.write_text(text.replace(told, f"{bpb(LOSSES[1], SP1024) * 1.0001:.8f}"))
    assert path.read_text() != text
    assert not audit(tmp_path).with_code("BPB305")


BEST = bpb(LOSSES[0], SP1024)
CUT = f"{int(BEST * 1e4) / 1e4:.4f}"


@pytest.mark.parametrize(
    "line",
    [
        f"**val_bpb: {CUT}** (3-seed mean) | **15.8 MB** | 8xH100",
        f"| val_bpb (3-seed mean) | **{CUT}** |",
        f"val_bpb {BEST:.4f}, 3 seed average",
        f"val_bpb {BEST:.8f} (mean of 3 seeds)",
    ],
)
def test_a_readme_that_calls_the_best_seed_the_mean(tmp_path: Path, line: str) -> None:
    (tmp_path / "README.md").write_text(f"# A network\n\n{line}\n")
    report = _report(tmp_path, "A small network.")
    (found,) = report.with_code("BPB305")
    assert found.message.endswith(f"{_mean()}, and README.md:3 calls it the mean of 3")
    assert found.evidence["missing"] == "that mean as the claim, or words in README.md that say whose score it is"
    assert (found.severity, report.verdict) == ("warning", "unverifiable")


@pytest.mark.parametrize(
    "line",
    [
        f"3-seed mean {MEAN:.4f}",
        f"best {CUT}, 3-seed mean {MEAN:.4f}",
        f"best of 3 {CUT} ({MEAN:.4f} 3-seed mean)",
        f"val_bpb {CUT} (5-seed mean)",  # of runs that are not all here
        f"val_bpb {CUT}; no 3-seed mean was worked out",
        f"val_bpb {CUT} is that of seed 42, not the 3-seed mean",
        f"val_bpb {CUT} (seed 42; the 3-seed mean stands below)",
        f"val_bpb {CUT} (seed 42; 3-seed mean to follow)",
        f"val_bpb {CUT}, 3-seed mean in progress",
        f"val_bpb {CUT} of a single run; a 3-seed mean is a little higher",
        f"val_bpb {CUT} (42; the 3-seed mean will be added later)",
        f"val_bpb {CUT[:-1]} (3-seed mean)",  # too few digits to tell
        "The network before it: 1.1500 (3-seed mean)",
        f"val_bpb {BEST + 0.0003:.4f} (3-seed mean)",  # neither
    ],
)
def test_a_readme_that_does_not(tmp_path: Path, line: str) -> None:
    (tmp_path / "README.md").write_text(f"# A network\n\n{line}\n")
    (found,) = _report(tmp_path, "A small network.").with_code("BPB305")
    assert found.severity == "info"


OF_ONE = (
    "no not best below above pending than vs without will follow follows later todo tbd soon progress planned need "
    "needs needed missing lack lacks await awaits awaiting instead rather worse higher lower"
)


def test_no_word_of_one_run_or_of_what_is_to_come_calls_a_score_the_mean(tmp_path: Path) -> None:
    words = (*OF_ONE.split(), "seed 4", "single run", "single seed", "one seed")
    lines = [f"val_bpb {CUT} (3-seed mean, {word})\n" for word in words]
    (tmp_path / "README.md").write_text("# A network\n\n" + "\n".join(lines))
    (found,) = _report(tmp_path, "A small network.").with_code("BPB305")
    assert found.severity == "info"


def test_a_mean_that_the_readmes_digits_hardly_tell_from_the_best(tmp_path: Path) -> None:
    losses = (LOSSES[0], LOSSES[0] + 0.0002, LOSSES[0] + 0.0004)  # a mean that is 0.00012 above it
    (tmp_path / "README.md").write_text(f"# A network\n\nval_bpb {CUT} (3-seed mean)\n")
    (tmp_path / "submission.json").write_text(submission(val_bpb=round(BEST, 8)))
    for number, nats in enumerate(losses):
        (tmp_path / f"run_{number}.log").write_text(log(nats, SP1024, seed=number))
    (found,) = audit(tmp_path).with_code("BPB305")
    assert found.severity == "info"


def test_logs_beside_the_seeds_that_are_no_runs_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "other.log").write_text(log(2.05, SP1024, seed=7, label="final_sliding"))
    lines = [line for nats in LOSSES for line in log(nats, SP1024).split("\n") if f"{LABEL} " in line]
    (tmp_path / "summary.log").write_text("\n".join(lines) + "\n")  # of all three, and of none
    (found,) = _report(tmp_path, "").with_code("BPB305")
    assert found.evidence["num_seeds"] == 3
    (tmp_path / "summary.log").write_text("\n".join(lines[:2]) + "\n")
    (found,) = audit(tmp_path).with_code("BPB305")
    assert found.evidence["num_seeds"] == 3


def test_a_mean_is_no_best_seed_whatever_the_record_says_of_one(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(
        "# A network\n\nBest seed: 42, but the mean is what we submit.\n\nBest seed: 42\n"
    )
    (tmp_path / "submission.json").write_text(submission(val_bpb=round(MEAN, 8)))
    for nats, seed in zip(LOSSES, (42, 314, 999), strict=True):
        (tmp_path / f"run_{seed}.log").write_text(log(nats, SP1024, seed=seed))
    report = audit(tmp_path)
    assert (report.with_code("BPB305"), report.with_code("BPB401")[0].evidence["how"]) == ([], "mean")


def _two_logs_of_a_seed(folder: Path, readme: str) -> AuditReport:
    (folder / "README.md").write_text(f"# A network\n\n{readme}\n")
    return _report(folder, "", seeds=(42, 314, 314))


@pytest.mark.parametrize(
    ("readme", "words"),
    [
        ("- best exact roundtrip came from seed 42", "best exact roundtrip came from seed 42"),
        ("Submitted: seed 42 (best).", "seed 42 (best)"),
        ("**val_bpb = 1.2030** (best seed 42)", "best seed 42"),
        ("Best seed: 42 at 1.2030.", "Best seed: 42"),
    ],
)
def test_a_record_that_says_which_seed_is_best(tmp_path: Path, readme: str, words: str) -> None:
    (found,) = _two_logs_of_a_seed(tmp_path, readme).with_code("BPB305")
    said = f"the score is that of the best of several seeds (42), as README.md:3 says: '{words}'"
    assert (found.severity, found.message) == ("info", said)


@pytest.mark.parametrize(
    "readme",
    [
        "best exact roundtrip came from seed 314",
        "This is not the best seed: 42 stands for all.",
        "The best learning rate of 3e-4; seed 42.",
        "Mean 1.2040; the best was seed 42.",
        "The best config came from seed 42.",
        "The best hyperparameters, with seed 42 fixed, are in train_gpt.py",
        "The best learning rate was found with seed 42, and kept",
        "Our best network so far, seed 42.5",
        "best of 42 seeds",
    ],
)
def test_words_of_another_best(tmp_path: Path, readme: str) -> None:
    assert _two_logs_of_a_seed(tmp_path, readme).with_code("BPB305") == []


def test_no_best_of_another_quantity_or_setting_is_a_seeds(tmp_path: Path) -> None:
    words = (
        "mean average avg worst config configuration hyperparameters hyper-params params setting settings recipe rate "
        "rates lr schedule step epoch trial time"
    )
    lines = [f"The best {word}, with seed 42" for word in (*words.split(), "of all seeds")]
    assert _two_logs_of_a_seed(tmp_path, "\n\n".join(lines)).with_code("BPB305") == []
    lines = [*lines, "The best score, with seed 42"]
    assert len(_two_logs_of_a_seed(tmp_path, "\n\n".join(lines)).with_code("BPB305")) == 1


def _with_runs(folder: Path, runs: list[dict[str, object]], claimed: float = 1.20299) -> AuditReport:
    text = submission(val_bpb=claimed, variance={"network": {"runs": runs, "stats": {"std": 0.0012, "n": 3}}})
    (folder / "submission.json").write_text(text)
    (folder / "train.log").write_text(log(LOSSES[0], SP1024, seed=7))
    return audit(folder)


RUNS: list[dict[str, object]] = [
    {"seed": 5, "val_bpb": 1.20412, "bytes_total": 7, "train_time_ms": 9},
    {"seed": 7, "val_bpb": 1.20299, "bytes_total": 8, "train_time_ms": 8},
    {"seed": 9, "val_bpb": 1.20519, "bytes_total": 9, "train_time_ms": 9},
]


def test_runs_that_are_listed_anywhere_in_the_json(tmp_path: Path) -> None:
    report = _with_runs(tmp_path, RUNS)
    (found,) = report.with_code("BPB305")
    assert found.message == (
        "the score is that of the best of 3 seeds (7), by submission.json (variance.network.runs); their mean is "
        "1.20410"
    )
    assert report.with_code("BPB304") == []
    (found,) = _with_runs(tmp_path, RUNS[:2]).with_code("BPB305")
    assert "the best of 2 seeds (7)" in found.message


@pytest.mark.parametrize(
    "runs",
    [
        [{**run, "lr": number} for number, run in enumerate(RUNS)],  # not runs of one network
        [{**run, "seed": 7} for run in RUNS],
        [{"val_bpb": run["val_bpb"]} for run in RUNS],
        [RUNS[0], RUNS[2]],  # the claim's is none of them
        [RUNS[1]],
        [*RUNS, {"seed": 11}],  # one has no score
    ],
    ids=["settings", "one seed", "no seeds", "others", "alone", "open"],
)
def test_lists_that_are_no_seeds_of_the_claim(tmp_path: Path, runs: list[dict[str, object]]) -> None:
    report = _with_runs(tmp_path, runs)
    assert report.with_code("BPB305") == []
    assert len(report.with_code("BPB304")) == 1


def test_a_claim_that_is_not_the_best_of_the_listed_runs(tmp_path: Path) -> None:
    report = _with_runs(tmp_path, [*RUNS, {"seed": 3, "val_bpb": 1.2001, "bytes_total": 1, "train_time_ms": 2}])
    assert (report.with_code("BPB305"), report.with_code("BPB304")) == ([], [])
