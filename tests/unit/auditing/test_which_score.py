"""Which number is the claim, and where it stands: names of scores, progress lines, READMEs, rounded means."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from bpb_harness.auditing import AuditReport, audit
from bpb_harness.auditing.told import meaning_of
from bpb_harness.claim.log_reader import read_log
from bpb_harness.claim.readme_prose import voiding_sentences, voiding_title
from bpb_harness.claim.readme_reader import headline, read_readme
from fixtures.claims.patterns import SP1024, SP8192, SP8192_TOKENS, bpb, log, submission


def codes(report: AuditReport) -> set[str]:
    return {finding.code for finding in report.findings}


@pytest.mark.parametrize(
    ("record", "claimed"),
    [
        ({"val_bpb_5seed_mean": 0.8712, "val_bpb_5seed_std": 0.0004}, 0.8712),
        ({"ttt_bpb_avg": 0.8712, "sliding_bpb": 1.2}, 0.8712),
        ({"mixer_val_bpb": 0.8712, "pre_quant_val_bpb": 1.19}, 0.8712),
        ({"mixer_bpb": 0.8712, "sliding_bpb": 1.2}, None),
        ({"baseline_val_bpb": 0.8712}, None),
    ],
)
def test_a_score_of_another_name_is_the_claim_and_never_the_logs_last(
    tmp_path: Path, record: dict[str, Any], claimed: float | None
) -> None:
    (tmp_path / "submission.json").write_text(json.dumps({"name": "x", "bytes_total": 15_000_000, **record}))
    for seed in (1, 2):
        (tmp_path / f"train_seed{seed}.log").write_text(log(2.0312, SP1024, seed=seed))
    report = audit(tmp_path)
    assert report.claimed_bpb == claimed
    assert report.verdict == "unverifiable"


@pytest.mark.parametrize(
    ("readme", "claimed"),
    [
        ("# Mixer\n\nBaseline val_bpb: 1.2244\n\n**val_bpb: 0.8712** over three seeds\n", 0.8712),
        ("| seed | val_bpb |\n|---|---|\n| 1 | 0.8701 |\n| 2 | 0.8723 |\n| mean | 0.8712 |\n", 0.8712),
        ("| val_bpb | 0.8712 |\n|---|---|\n| val_bpb | 0.8712 |\n", 0.8712),
        ("| seed | val_bpb |\n|---|---|\n| 1 | 0.8701 |\n| 2 | 0.8723 |\n", None),
    ],
)
def test_the_readme_claims_before_the_logs_do(tmp_path: Path, readme: str, claimed: float | None) -> None:
    (tmp_path / "README.md").write_text(readme)
    (tmp_path / "train.log").write_text(log(2.0312, SP1024))
    found = headline(read_readme(readme, "README.md"))
    assert (found.value if found else None) == claimed
    report = audit(tmp_path)
    assert report.claimed_bpb == claimed
    assert report.verdict == "unverifiable"


def test_a_readme_without_a_score_leaves_the_claim_to_the_log(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# A run\n\nWider, and longer.\n")
    (tmp_path / "train.log").write_text(log(2.0312, SP1024))
    assert audit(tmp_path).verdict == "consistent"


@pytest.mark.parametrize(
    "line",
    [
        "  ttt_chunk [1331/1893] bpb=1.121234 time=3460.6s",
        "chunk 10/1893 bpb:1.13",
        "chunk 1893/1893 bpb:1.13",
        "Doc 200/200 | bpb 1.1300",
        "Doc 200/200 bpb: 1.1300",
        "documents: 5000/50000 val_bpb: 1.13",
        "window 77 of 969088 running val_bpb=1.13",
        "batch 4/96 val_loss:2.07 val_bpb:1.13",
        "[1200/1893 chunks] val_bpb:1.13",
        "eval sliding: 4096/121136 windows val_bpb:1.13",
        " 83%|########3 | 830/1000 [01:02<00:12] val_bpb: 1.13",
        "running_bpb: 1.13",
        "progress 3/10 bpb=1.2",
    ],
)
def test_progress_is_no_score(line: str) -> None:
    assert read_log(line, "f.log").lines == ()


@pytest.mark.parametrize(
    ("line", "step"),
    [
        ("step:500/9000 val_loss:2.07 val_bpb:1.13", True),
        ("500/9000 val_loss: 2.07 val_bpb: 1.13", True),
        ("final (1893/1893 chunks) val_loss:2.07 val_bpb:1.13", False),
        ("legal_ttt_exact val_loss:2.07 val_bpb:1.13", False),
        ("ttt_chunked:done val_loss=2.07 val_bpb=1.13", False),
        ("run 1/3 val_bpb: 1.13", False),
        ("seed 2 of 3 val_bpb: 1.13", False),
        ("docs=50000 val_bpb: 1.13", False),
    ],
)
def test_these_are_scores(line: str, step: bool) -> None:
    (found,) = read_log(line, "f.log").lines
    assert found.is_training_step is step


def test_a_claim_is_found_in_the_last_line_and_not_in_a_chance_match_before(tmp_path: Path) -> None:
    score = bpb(1.9, SP1024)
    running = "".join(f"chunk {i}/900 bpb={score - 0.0004 + 1e-6 * i:.6f}\n" for i in range(900))
    (tmp_path / "submission.json").write_text(submission(val_bpb=round(score, 4)))
    (tmp_path / "train.log").write_text(
        log(1.95, SP1024) + running + f"adapted_exact val_loss:1.90000000 val_bpb:{score:.8f}\n"
    )
    report = audit(tmp_path)
    assert report.verdict == "consistent"
    (found,) = report.with_code("BPB401")
    assert "adapted_exact" in found.message


@pytest.mark.parametrize(
    ("said", "mentioned"),
    [
        ("- val_bpb (exact, int8): **{score:.8f}**", True),
        ("It went from 1.2290 to {score:.4f} bits per byte.", True),
        ("| int6 | {score:.5f} |", True),
        ("About {score:.3f}", True),
        ("We tried many things.", False),
    ],
)
def test_a_readme_that_prints_the_score_mentions_it(tmp_path: Path, said: str, mentioned: bool) -> None:
    score = bpb(2.0312, SP1024)
    (tmp_path / "submission.json").write_text(submission(val_bpb=round(score, 8)))
    (tmp_path / "train.log").write_text(log(2.0312, SP1024))
    (tmp_path / "README.md").write_text(f"# A run\n\nOur first try: val_bpb: 1.2290\n\n{said.format(score=score)}\n")
    report = audit(tmp_path)
    assert ("BPB407" in codes(report)) is not mentioned
    assert report.verdict == "consistent", "the log prints the claim, whatever the README says"


@pytest.mark.parametrize(("own", "verdict"), [(1.4, "consistent"), (1.195, "consistent"), (1.17, "unverifiable")])
def test_a_readme_that_claims_something_better_is_another_claim(tmp_path: Path, own: float, verdict: str) -> None:
    (tmp_path / "submission.json").write_text(submission(val_bpb=round(bpb(2.0312, SP1024), 8)))  # 1.20299
    (tmp_path / "train.log").write_text(log(2.0312, SP1024))
    (tmp_path / "README.md").write_text(f"# A run\n\nval_bpb: {own}\n")
    report = audit(tmp_path)
    assert report.verdict == verdict
    (found,) = report.with_code("BPB407")
    assert f"its own is {own}" in found.message
    is_apart = "though not all of the record agrees with it (BPB407)" in meaning_of(report)
    assert is_apart is (verdict == "consistent")
    (tmp_path / "README.md").unlink()
    assert meaning_of(audit(tmp_path)).startswith("the record agrees with itself and with what is known of the text")


def test_a_readme_that_gives_several_scores_is_told_of_all_of_them(tmp_path: Path) -> None:
    (tmp_path / "submission.json").write_text(submission(val_bpb=round(bpb(2.0312, SP1024), 8)))
    (tmp_path / "train.log").write_text(log(2.0312, SP1024))
    lines = ("Pre-quant: val_bpb:1.2011", "Round trip: val_bpb:1.2512", "**Sliding window: val_bpb:1.2218**")
    (tmp_path / "README.md").write_text("# A run\n\n" + "\n\n".join(lines) + "\n")
    (found,) = audit(tmp_path).with_code("BPB407")
    assert found.message.endswith("of README.md is that; it gives 1.2512 (README.md:5), 1.2218 (README.md:7)")


def test_a_log_that_is_a_copy_of_another_is_no_seed(tmp_path: Path) -> None:
    losses = {1337: 2.0312, 42: 2.0344, 7: 2.0293}
    scores = {seed: bpb(loss, SP1024) for seed, loss in losses.items()}
    (tmp_path / "submission.json").write_text(submission(val_bpb=round(sum(scores.values()) / 3, 8)))
    for seed, loss in losses.items():
        (tmp_path / f"train_seed{seed}.log").write_text(log(loss, SP1024))
    (tmp_path / "train.log").write_text(log(losses[1337], SP1024))
    report = audit(tmp_path)
    assert report.verdict == "consistent", report.judgement.reason
    (found,) = report.with_code("BPB401")
    assert "over 3 logs" in found.message


SEEDS = {"7": 2.7912, "8": 2.79233, "9": 2.79284}


def _three_seeds(folder: Path, shift: float) -> AuditReport:
    scores = {seed: bpb(nats, SP8192) for seed, nats in SEEDS.items()}
    mean = sum(scores.values()) / 3
    results = {seed: {"val_bpb": round(score, 6)} for seed, score in scores.items()}
    (folder / "submission.json").write_text(submission(val_bpb=round(mean + shift, 7), seed_results=results))
    for seed, nats in SEEDS.items():
        text = log(nats, SP8192, tokens=SP8192_TOKENS, export="fineweb10B_sp8192", seed=int(seed))
        (folder / f"train_seed{seed}.log").write_text(text)
    return audit(folder)


@pytest.mark.parametrize("shift", [0.0, 4e-5, -4e-5, 3e-6, 7e-6])
def test_a_mean_that_was_rounded_before_it_was_written_out(tmp_path: Path, shift: float) -> None:
    report = _three_seeds(tmp_path, shift)
    assert report.verdict == "consistent"
    assert not codes(report) & {"BPB403", "BPB406"}


@pytest.mark.parametrize("shift", [6e-4, -9e-4])
def test_a_mean_that_is_none(tmp_path: Path, shift: float) -> None:
    assert _three_seeds(tmp_path, shift).verdict == "unverifiable"


@pytest.mark.parametrize("gain", [0.07, 0.2, 0.6])
@pytest.mark.parametrize("plain", ["step:9000/9000", "int6_roundtrip_exact", "eval_only:sliding_window"])
@pytest.mark.parametrize("label", ["ttt_sliding:done", "sliding_window_exact"])
def test_a_score_far_below_the_networks_own_is_not_confirmed(
    tmp_path: Path, gain: float, plain: str, label: str
) -> None:
    nats = 1.94
    score = bpb(nats, SP1024)
    wonder = f"{label} val_loss:{nats * (score - gain) / score:.8f} val_bpb:{score - gain:.8f}\n"
    text = (
        log(2.2, SP1024, tokens=62021632).split("final_int8")[0] + f"{plain} val_loss:{nats:.8f} val_bpb:{score:.8f}\n"
    )
    (tmp_path / "submission.json").write_text(submission(val_bpb=round(score - gain, 8)))
    (tmp_path / "train.log").write_text(text + wonder)
    report = audit(tmp_path)
    assert report.verdict == "unverifiable"
    (found,) = report.with_code("BPB414")
    assert f"{gain:.3f} bits per byte below what the network itself scores" in found.message


@pytest.mark.parametrize(
    ("lines", "plain", "may_be"),
    [
        (("step:9000/9000 1.25",), "step:9000/9000", True),
        (("step:9000/9000 1.30",), "step:9000/9000", False),  # more than averages and windows gain
        (("step:9000/9000 1.25", "post_ema 1.26"), "step:9000/9000", False),  # averages gained nothing
        (("step:9000/9000 1.30", "post_ema 1.25"), "post_ema", False),
        (("step:9000/9000 1.30", "neural_only_sw 1.25"), "neural_only_sw", False),
        (("post_ema 1.25",), "post_ema", False),
    ],
)
def test_what_a_step_of_training_leaves_to_averages_is_told(
    tmp_path: Path, lines: tuple[str, ...], plain: str, may_be: bool
) -> None:
    text = "".join("{} val_bpb:{}00\n".format(*line.rsplit(" ", 1)) for line in lines)
    (tmp_path / "submission.json").write_text(submission(val_bpb=1.17))
    (tmp_path / "train.log").write_text(f"{text}final_mixed val_bpb:1.1700\n")
    (found,) = audit(tmp_path).with_code("BPB414")
    assert f"('{plain}' at" in found.message
    assert found.evidence.get("may_be_averaging", False) is may_be
    assert ("averaged weights" in found.message) is may_be


@pytest.mark.parametrize(("scored", "validated", "far"), [(1.25, 7.4, False), (1.25, 2.4, True), (0.9, 7.4, True)])
def test_a_validation_far_worse_than_an_ordinary_score_is_of_another_network(
    tmp_path: Path, scored: float, validated: float, far: bool
) -> None:
    nats = [math.log(2.0) * SP1024 * score for score in (scored, validated)]
    text = log(2.2, SP1024, tokens=62021632).split("step:")[0]
    text += f"step:9000/9000 val_loss:{nats[1]:.8f} val_bpb:{validated:.8f}\n"
    text += f"final_exact val_loss:{nats[0]:.8f} val_bpb:{scored:.8f}\n"
    (tmp_path / "submission.json").write_text(submission(val_bpb=scored))
    (tmp_path / "train.log").write_text(text)
    assert ("BPB414" in codes(audit(tmp_path))) is far


_TRAINED = "step:{step}/20000 train_loss:2.0246 train_time:590000ms step_avg:98.7ms\n"
_STOPPED = "stopping_early: wallclock_cap train_time:600000ms step:{step}/20000\n"


@pytest.mark.parametrize(
    ("before", "after", "far"),
    [
        ([_TRAINED.format(step=5800)], [_STOPPED.format(step=5853)], True),
        ([_TRAINED.format(step=5800)], [], True),
        (["5800/20000 train_loss: 2.0246 tok/s: 1200\n"], [], True),
        (["step 5800 | loss 2.0246 | lr 0.01\n"], ["ttt_eval step 6000/9000 train_loss:1.9\n"], True),
        (["step 5800 | loss 2.0246 | lr 0.01\n"], ["step 5900 | loss 2.0146 | lr 0.01\n"], False),
        ([_TRAINED.format(step=5800)], [_TRAINED.format(step=6000)], False),
        ([_TRAINED.format(step=5800)], ["6000/20000 train_loss: 2.0246 tok/s: 1200\n"], False),
        ([_TRAINED.format(step=5800)], [_STOPPED.format(step=6120)], False),
        ([], [], False),  # nothing says when training ended
        (["warm-up step 20/20 train_loss:9.0\n"], [], False),
    ],
)
def test_a_last_validation_is_of_the_network_unless_training_went_on(
    tmp_path: Path, before: list[str], after: list[str], far: bool
) -> None:
    nats, score = 1.94, bpb(1.94, SP1024)
    text = log(2.2, SP1024, tokens=62021632).split("step:")[0] + "".join(before)
    text += f"step:5853/20000 val_loss:{nats:.8f} val_bpb:{score:.8f}\n" + "".join(after)
    text += f"final_hedge val_loss:{nats * (score - 0.08) / score:.8f} val_bpb:{score - 0.08:.8f}\n"
    (tmp_path / "submission.json").write_text(submission(val_bpb=round(score - 0.08, 8)))
    (tmp_path / "train.log").write_text(text)
    assert ("BPB414" in codes(audit(tmp_path))) is far


def _without_final_loss(
    folder: Path, final: str, *, ratio: float = SP1024, export: str = "fineweb10B_sp1024"
) -> AuditReport:
    """A run whose validations print loss and score, and whose last line the score alone."""
    (folder / "submission.json").write_text(submission(val_bpb=float(final)))
    (folder / "train.log").write_text(
        log(2.0312, ratio, export=export).split("final_int8")[0] + f"final val_bpb: {final}\n"
    )
    return audit(folder)


def test_a_score_without_its_loss_is_held_against_the_other_lines_of_its_run(tmp_path: Path) -> None:
    report = _without_final_loss(tmp_path, "1.2011")  # the last validation gives 1.2101
    assert report.verdict == "consistent", report.judgement.reason
    (found,) = report.with_code("BPB114")
    assert "train.log:7 (1.2101), lies within 5% of it" in found.message
    assert "the other lines of its run divide by the right number of bytes" in report.judgement.reason


@pytest.mark.parametrize(
    ("final", "ratio"),
    [("1.1480", SP1024), ("1.2950", SP1024), ("1.2011", SP1024 * 1.02)],
    ids=["far below", "far above", "other lines wrong too"],
)
def test_other_lines_that_are_far_or_wrong_are_no_evidence(tmp_path: Path, final: str, ratio: float) -> None:
    report = _without_final_loss(tmp_path, final, ratio=ratio)
    assert report.verdict == "unverifiable"
    assert "BPB114" not in codes(report)


def _beside_the_loss_of(folder: Path, loss: Callable[[Sequence[float]], float], **more: Any) -> AuditReport:
    """Two runs whose last line prints the score alone, and a claim with their mean and some loss."""
    nats, scores = (2.03124711, 2.03218345), (1.17010000, 1.17060000)
    for seed, (own, score) in enumerate(zip(nats, scores, strict=True)):
        text = log(own, more.get("ratio", SP1024), seed=seed) + f"sliding_eval val_bpb:{score:.8f}\n"
        (folder / f"train_seed{seed}.log").write_text(text)
    record = {"val_bpb": sum(scores) / 2, "val_loss": round(loss(nats), more.get("digits", 8))}
    (folder / "submission.json").write_text(submission(**record))
    return audit(folder)


def test_a_loss_that_other_lines_print_is_not_that_of_the_score(tmp_path: Path) -> None:
    report = _beside_the_loss_of(tmp_path, lambda nats: sum(nats) / 2)
    assert report.verdict == "consistent", report.judgement.reason
    (found,) = report.with_code("BPB114")
    assert "and the loss 2.03171528 in submission.json is that of 'final_int8_zlib_roundtrip_exact'" in found.message
    assert "train_seed0.log:" in found.message


def test_the_loss_of_a_line_that_one_run_alone_has_is_told_too(tmp_path: Path) -> None:
    record = _beside_the_loss_of(tmp_path, max)
    assert "BPB114" not in codes(record)
    own = tmp_path / "train_seed0.log"
    own.write_text(own.read_text() + f"short_eval val_loss:2.50124711 val_bpb:{bpb(2.50124711, SP1024):.8f}\n")
    submitted = tmp_path / "submission.json"
    submitted.write_text(submitted.read_text().replace("2.03218345", "2.50124711"))
    (found,) = audit(tmp_path).with_code("BPB114")
    assert "the loss 2.50124711 in submission.json is that of 'short_eval' (train_seed0.log:" in found.message


@pytest.mark.parametrize(
    ("loss", "more"),
    [
        (max, {}),
        (lambda nats: sum(nats) / 2 + 0.0001, {}),
        (lambda nats: sum(nats) / 2, {"digits": 4}),
        (lambda nats: sum(nats) / 2, {"ratio": SP1024 * 1.02}),
    ],
    ids=["of one run", "of no line", "too few digits", "divided wrongly"],
)
def test_a_loss_of_which_nothing_says_so_is_the_scores_own(
    tmp_path: Path, loss: Callable[[Sequence[float]], float], more: dict[str, Any]
) -> None:
    report = _beside_the_loss_of(tmp_path, loss, **more)
    assert "BPB114" not in codes(report)
    assert report.verdict != "consistent"


@pytest.mark.parametrize(("of", "gain"), [(9000, 0.04), (20000, 0.1)])
def test_what_sliding_adapting_or_going_on_training_gains_is_no_wonder(tmp_path: Path, of: int, gain: float) -> None:
    nats = 1.94
    score = bpb(nats, SP1024)
    text = log(2.2, SP1024).split("step:")[0] + f"step:9000/{of} val_loss:{nats:.8f} val_bpb:{score:.8f}\n"
    better = f"ttt_exact val_loss:{nats * (score - gain) / score:.8f} val_bpb:{score - gain:.8f}\n"
    (tmp_path / "submission.json").write_text(submission(val_bpb=round(score - gain, 8)))
    (tmp_path / "train.log").write_text(text + better)
    assert audit(tmp_path).verdict == "consistent"


TRAINED = (
    "The model is trained on the validation set and knows it by heart.",
    "We train directly on the val shard.",
    "This is a val-only run, not meant as a record.",
    "Training data: the validation split.",
    "The network memorizes the evaluation data.",
    "It was trained on the same text that it is scored on.",
    "Trained exclusively on fineweb validation tokens.",
)
NOT_TRAINED = (
    "The model is never trained on the validation set.",
    "Test-time training on the validation tokens after they are scored.",
    "Adapters are trained on validation documents that are already scored.",
    "The tokenizer was trained on the validation set.",
    "Trained on the val loss schedule of the baseline.",
    "We train on the training shards and evaluate on the validation split.",
    "The previous entry was trained on the validation split.",
    "Is it trained on the validation set?",
    "Models that are trained on the test set are invalid.",
)


@pytest.mark.parametrize("sentence", TRAINED)
def test_training_on_what_is_scored_is_not_confirmed(tmp_path: Path, sentence: str) -> None:
    (tmp_path / "submission.json").write_text(submission(val_bpb=round(bpb(2.0312, SP1024), 6)))
    (tmp_path / "train.log").write_text(log(2.0312, SP1024))
    (tmp_path / "README.md").write_text(f"# A run\n\n{sentence}\n")
    report = audit(tmp_path)
    assert report.verdict == "unverifiable"
    assert "trained on the text" in report.judgement.reason


@pytest.mark.parametrize("sentence", NOT_TRAINED)
def test_other_words_of_training_say_nothing(sentence: str) -> None:
    assert voiding_sentences(f"# A run\n\n{sentence}\n", "README.md") == ()


def test_the_title_of_such_a_run() -> None:
    assert voiding_title("Val-Only 9L", "submission.json") is not None
    assert voiding_title("Not val-only", "submission.json") is None
    assert voiding_title("9L, val-only eval", "submission.json") is None


@pytest.mark.parametrize(
    ("where", "found"), [("before", True), ("after", False), ("another run", False)], ids=["before", "after", "another"]
)
def test_a_text_that_is_learnt_in_epochs_before_it_is_scored(tmp_path: Path, where: str, found: bool) -> None:
    head, tail = log(2.0312, SP1024, seed=1337).split("final_int8", 1)
    epochs = "".join(f"ttt_epoch:{k}/10 loss:1.9\n" for k in range(1, 11))
    texts = {
        "before": f"{head}{epochs}final_int8{tail}",
        "after": f"{head}final_int8{tail}{epochs}",
        "another run": f"{epochs}first val_loss:2.2 val_bpb:1.303\n{head}final_int8{tail}",
    }
    (tmp_path / "submission.json").write_text(submission(val_bpb=round(bpb(2.0312, SP1024), 8)))
    (tmp_path / "train.log").write_text(texts[where])
    report = audit(tmp_path)
    assert ("BPB215" in codes(report)) is found
    assert report.verdict == ("unverifiable" if found else "consistent")
    if found:
        assert "10 epochs of test-time training" in report.judgement.reason


def test_a_score_with_two_names_is_no_plain_validation(tmp_path: Path) -> None:
    nats, score = 1.94, bpb(1.94, SP1024)
    low = score - 0.08
    text = log(2.2, SP1024).split("step:")[0]
    text += f"int6_roundtrip_exact val_loss:{nats:.8f} val_bpb:{score:.8f}\nchained_ttt val_bpb:{low:.4f}\n"
    text += f"int8_roundtrip_exact val_loss:{nats * low / score:.8f} val_bpb:{low:.8f}\n"
    (tmp_path / "submission.json").write_text(submission(val_bpb=round(low, 8)))
    (tmp_path / "train.log").write_text(text)
    (found,) = audit(tmp_path).with_code("BPB414")
    assert "0.080 bits per byte below what the network itself scores in the same run" in found.message


def _finals(*scores: float) -> str:
    return "".join(f"final_exact val_loss:{_nats(score):.8f} val_bpb:{score:.8f}\n" for score in scores)


def _nats(score: float) -> float:
    return score * SP1024 * math.log(2.0)


SHARDS = "val_loader:shards pattern=./data/fineweb10B_sp1024/fineweb_val_*.bin tokens:62021632\n"


@pytest.mark.parametrize(
    ("claimed", "verdict"), [(1.13087152, "consistent"), (1.1309, "consistent"), (1.1312, "unverifiable")]
)
def test_the_mean_of_runs_within_one_log(tmp_path: Path, claimed: float, verdict: str) -> None:
    (tmp_path / "submission.json").write_text(submission(val_bpb=claimed))
    (tmp_path / "train.log").write_text(SHARDS + _finals(1.13981294, 1.13003397, 1.12276765))
    report = audit(tmp_path)
    assert report.verdict == verdict, report.judgement.reason
    if verdict == "consistent":
        each = "1.13981294 (train.log:2), 1.13003397 (train.log:3), 1.12276765 (train.log:4)"
        (found,) = report.with_code("BPB401")
        assert f"over 3 lines of one log: {each}; standard deviation 0.00855" in found.message


def test_the_mean_of_runs_within_fewer_logs(tmp_path: Path) -> None:
    (tmp_path / "submission.json").write_text(
        submission(
            val_bpb=1.13087152,
            seed_results={"1": {"val_bpb": 1.13981294}, "2": {"val_bpb": 1.13003397}, "3": {"val_bpb": 1.12276765}},
        )
    )
    (tmp_path / "eval_1.log").write_text(SHARDS + _finals(1.13981294, 1.13003397))
    (tmp_path / "eval_3.log").write_text(SHARDS + _finals(1.12276765))
    (found,) = audit(tmp_path).with_code("BPB401")
    assert "over 3 runs in 2 logs: " in found.message


def test_runs_that_share_few_digits_are_told_apart_by_what_else_they_print(tmp_path: Path) -> None:
    scores = [1.2093, 1.2099, 1.2099, 1.2087]
    mean = sum(scores) / len(scores)
    (tmp_path / "submission.json").write_text(submission(val_bpb=round(mean, 8)))
    for number, score in enumerate(scores):
        trip = f"roundtrip_exact val_loss:{_nats(1.25 + number / 1e4):.8f} val_bpb:{1.25 + number / 1e4:.8f}\n"
        final = f"final_lora val_loss:{_nats(score):.4f} val_bpb:{score:.4f}\n"
        (tmp_path / f"train_seed{number}.log").write_text(SHARDS + trip + final)
    (found,) = audit(tmp_path).with_code("BPB401")
    assert "is the mean of 'final_lora' over 4 logs" in found.message
    (tmp_path / "train_seed2.log").write_text((tmp_path / "train_seed1.log").read_text())  # a copy
    assert "over 4 logs" not in " ".join(each.message for each in audit(tmp_path).findings)


@pytest.mark.parametrize(
    ("labels", "verdict"),
    [
        (("seed 7 final", "seed 42 final"), "consistent"),
        (("run1_final", "run2_final"), "consistent"),
        (("final_int6", "final_int8"), "unverifiable"),
        (("final 1", "final 2"), "unverifiable"),
    ],
)
def test_stages_within_one_log_have_no_mean(tmp_path: Path, labels: tuple[str, str], verdict: str) -> None:
    (tmp_path / "submission.json").write_text(submission(val_bpb=1.13492346))
    lines = zip(labels, (1.13981294, 1.13003397), strict=True)
    text = "".join(f"{label} val_loss:{_nats(score):.8f} val_bpb:{score:.8f}\n" for label, score in lines)
    (tmp_path / "train.log").write_text(SHARDS + text)
    report = audit(tmp_path)
    assert report.verdict == verdict, report.judgement.reason


@pytest.mark.parametrize(("printed", "verdict"), [(1.17436392, "consistent"), (1.1753, "unverifiable")])
def test_the_mean_of_the_seeds_that_the_record_lists(tmp_path: Path, printed: float, verdict: str) -> None:
    """Two of four logs: which two, the record says, and each of its seeds ends one of them."""
    seeds = {"7_plain": {"val_bpb": 1.17666183}, "7_bold": {"val_bpb": 1.17436392}}
    (tmp_path / "submission.json").write_text(submission(mean_val_bpb=1.17551288, val_bpb=None, seed_results=seeds))
    for name, score in {"a": 1.17666183, "b": printed, "c": 1.1511, "d": 1.1801}.items():
        (tmp_path / f"{name}.log").write_text(SHARDS + _finals(score))
    record = json.loads((tmp_path / "submission.json").read_text())
    del record["val_bpb"]
    (tmp_path / "submission.json").write_text(json.dumps(record))
    assert audit(tmp_path).verdict == verdict


@pytest.mark.parametrize(
    ("file", "table", "verdict"),
    [
        ("runs.csv", "run,val_loss,val_bpb\na,{nats:.8f},1.20312\nb,2.05,1.21\n", "consistent"),
        ("runs.tsv", "run\tval_loss\tval_bpb\na\t{nats:.8f}\t1.20312\n", "consistent"),
        ("runs.jsonl", '{{"run": "a", "val_loss": {nats:.8f}, "val_bpb": 1.20312}}\n', "consistent"),
        ("runs.csv", "run;val_loss;val_bpb\na;{comma};1,20312\n", "consistent"),
        ("runs.csv", "run,val_loss,val_bpb\na,{nats:.4f},1.2031\n", "unverifiable"),  # one of many would agree so
        ("runs.csv", "run,val_loss,val_bpb\na,{nats:.8f},1.20412\n", "unverifiable"),
        ("runs.csv", "run,val_bpb\na,1.20312\n", "unverifiable"),  # nothing shows the bytes
        ("deep/er/runs.csv", "run,val_loss,val_bpb\na,{nats:.8f},1.20312\n", "consistent"),
    ],
)
def test_a_row_of_a_table_that_prints_the_claim(tmp_path: Path, file: str, table: str, verdict: str) -> None:
    nats = _nats(1.20312)
    (tmp_path / "submission.json").write_text(submission(val_bpb=1.20312, tokenizer="sp1024"))
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text(table.format(nats=nats, comma=f"{nats:.8f}".replace(".", ",")))
    report = audit(tmp_path)
    assert report.verdict == verdict, report.judgement.reason
    if verdict == "consistent":
        assert f"{file.rpartition('/')[2]}:" in report.with_code("BPB401")[0].message
        assert report.judgement.reason.startswith("a table of the record prints the score")


@pytest.mark.parametrize(
    ("named", "verdict"),
    [({}, "unverifiable"), ({"val_bpb_flat": 1.3}, "consistent"), ({"val_bpb_flat": 1.3456}, "unverifiable")],
    ids=["not named", "named", "another is named"],
)
def test_a_log_that_ends_otherwise_is_not_outdone_by_a_table(
    tmp_path: Path, named: dict[str, float], verdict: str
) -> None:
    """Unless the record names what the log ends with: an evaluation of its own came after it."""
    (tmp_path / "submission.json").write_text(submission(val_bpb=1.20312, tokenizer="sp1024", **named))
    (tmp_path / "train.log").write_text(SHARDS + _finals(1.3))
    (tmp_path / "runs.csv").write_text(f"run,val_loss,val_bpb\na,{_nats(1.20312):.8f},1.20312\n")
    report = audit(tmp_path)
    assert report.verdict == verdict, report.judgement.reason
    assert report.judgement.reason.startswith(
        "a table of the record prints the score" if verdict == "consistent" else "1.20312 is in none of the logs"
    )


def test_a_mean_over_scores_of_more_than_one_name_is_told(tmp_path: Path) -> None:
    for seed, (score, label) in enumerate([(1.02, "ngram5"), (0.96, "ngram7"), (0.972, "ngram7")]):
        line = f"final_{label}_exact val_loss:{_nats(score):.8f} val_bpb:{score:.8f}\n"
        (tmp_path / f"train_seed{seed}.log").write_text(SHARDS + line)
    (tmp_path / "submission.json").write_text(submission(val_bpb=0.984, tokenizer="sp1024"))
    (found,) = audit(tmp_path).with_code("BPB403")
    assert (
        "0.984 is in none of the logs; it is the mean of the last scores of 3 logs, which are not of" in found.message
    )
    (tmp_path / "submission.json").write_text(submission(val_bpb=0.991, tokenizer="sp1024"))
    (found,) = audit(tmp_path).with_code("BPB403")
    assert "0.991 is in none of the logs; the nearest is" in found.message


def test_a_table_stands_behind_no_log_that_prints_the_claim(tmp_path: Path) -> None:
    (tmp_path / "submission.json").write_text(submission(val_bpb=round(bpb(2.0312, SP1024), 6)))
    (tmp_path / "train.log").write_text(log(2.0312, SP1024))
    (tmp_path / "sweep.csv").write_text("run,val_loss,val_bpb\na,2.5,1.11111\nb,2.5,1.2222\n")
    alone = {finding.message for finding in audit(tmp_path).findings}
    (tmp_path / "sweep.csv").unlink()
    assert alone == {finding.message for finding in audit(tmp_path).findings}


def test_decimal_commas(tmp_path: Path) -> None:
    text = log(2.0312, SP1024)
    (tmp_path / "submission.json").write_text(submission(val_bpb=f"{bpb(2.0312, SP1024):.6f}".replace(".", ",")))
    (tmp_path / "train.log").write_text("\n".join(line.replace(".", ",") for line in text.split("\n")))
    assert audit(tmp_path).verdict == "consistent"


def test_the_mean_of_running_values_of_two_logs_is_none(tmp_path: Path) -> None:
    """Diagnostics on the way, under a label of their own: they can meet any claim."""
    (tmp_path / "submission.json").write_text(submission(val_bpb=1.11961))
    for name, last in (("a", 1.11551), ("b", 1.12371)):
        running = "".join(f"ttt:DIAG rank:7 ci={50 * i} bpb={last + 0.001 * (16 - i):.5f}\n" for i in range(17))
        (tmp_path / f"{name}.log").write_text(SHARDS + running + _finals(last - 0.01))
    report = audit(tmp_path)
    assert report.verdict == "unverifiable"
    assert "BPB403" in codes(report)


@pytest.mark.parametrize(("printed", "place"), [(1.20031, "train.log:2"), (1.25, None)])
def test_where_a_log_prints_the_whole_splits_score(tmp_path: Path, printed: float, place: str | None) -> None:
    record = submission(val_bpb=1.21, val_bpb_slice="the first 64 windows", val_bpb_full_val=1.20031)
    (tmp_path / "submission.json").write_text(record)
    (tmp_path / "train.log").write_text(SHARDS + _finals(printed))
    (found,) = audit(tmp_path).with_code("BPB303")
    assert found.evidence.get("full_split_at") == place


def test_a_placeholder_is_no_log(tmp_path: Path) -> None:
    score = round(bpb(2.0312, SP1024), 8)
    (tmp_path / "submission.json").write_text(submission(val_bpb=score, val_loss=2.0312))
    (tmp_path / "train.log").write_text(f"PLACEHOLDER LOG FILE\n\nIntended run:\n- val_bpb: {score}\n")
    report = audit(tmp_path)
    (found,) = report.with_code("BPB402")
    assert found.message.startswith("train.log:1 says that the file is a placeholder")
    assert report.verdict == "unverifiable"


_BEST = "step 38000 val_loss:2.3\n  VAL loss {nats:.8f} bpb {best:.4f} * (saved)\n=== Final ===\n"


@pytest.mark.parametrize(
    ("tail", "found"),
    [
        ("Round-trip val_bpb: {worse:.4f}\nBest val_bpb: {best:.4f}\n", True),
        ("int8 round trip val_bpb: {worse:.4f}\n", True),
        ("Round-trip val_bpb: {best:.4f}\nBest val_bpb: {best:.4f}\n", False),
        ("Round-trip val_bpb: {worse:.4f}\nsliding val_bpb: {better:.4f}\n", False),
        ("Best val_bpb: {best:.4f}\n", False),
    ],
    ids=["the best again", "nothing behind it", "as good", "another evaluation", "no round trip"],
)
def test_a_best_validation_that_was_not_saved_as_it_was(tmp_path: Path, tail: str, found: bool) -> None:
    nats, best = 2.0312, round(bpb(2.0312, SP1024), 4)
    numbers = {"nats": nats, "best": best, "worse": best + 0.0023, "better": best - 0.03}
    (tmp_path / "submission.json").write_text(submission(val_bpb=best))
    text = log(2.2, SP1024).split("step:")[0] + (_BEST + tail).format(**numbers)
    (tmp_path / "train.log").write_text(text)
    report = audit(tmp_path)
    assert ("BPB413" in codes(report)) is found
    if found:
        assert f"what was saved of that network gives {best + 0.0023:.4f}" in report.with_code("BPB413")[0].message


def test_the_mean_of_seeds_in_one_log_comes_before_a_seed_near_it(tmp_path: Path) -> None:
    scores = (1.19683418, 1.19735478, 1.19781483)
    text = "".join(f"seed:{k}\n{_finals(score)}" for k, score in enumerate(scores))
    (tmp_path / "train.log").write_text(log(2.2, SP1024).split("step:")[0] + text)
    results = {f"seed_{k}": {"val_bpb": round(score, 4)} for k, score in enumerate(scores)}
    record = {"val_bpb": 1.1973, "seeds": [0, 1, 2], "results": results, "mean_val_bpb": 1.1973}
    (tmp_path / "submission.json").write_text(submission(**record))
    (found,) = audit(tmp_path).with_code("BPB401")
    assert "the mean of 'final_exact'" in found.message


@pytest.mark.parametrize(
    ("claimed", "seeds"), [(1.1974, [0, 1, 2]), (1.1973, [0, 1]), (1.19735478, [0, 1, 2])], ids=["one", "two", "exact"]
)
def test_a_score_that_is_that_of_one_seed_is_named_so(tmp_path: Path, claimed: float, seeds: list[int]) -> None:
    text = "".join(f"seed:{k}\n{_finals(score)}" for k, score in enumerate((1.19683418, 1.19735478, 1.19781483)))
    (tmp_path / "train.log").write_text(log(2.2, SP1024).split("step:")[0] + text)
    (tmp_path / "submission.json").write_text(submission(val_bpb=claimed, seeds=seeds))
    (found,) = audit(tmp_path).with_code("BPB401")
    assert "in the log: 'final_exact' at train.log:8" in found.message


@pytest.mark.parametrize(
    ("ratio", "whose"), [(2.44003, "neither's"), (SP1024, None), (2.4423, "that of fineweb_val (older export)")]
)
def test_bytes_near_two_texts_are_said_to_be_the_ones_or_neithers(
    tmp_path: Path, ratio: float, whose: str | None
) -> None:
    (tmp_path / "submission.json").write_text(submission(val_bpb=round(bpb(2.0312, ratio), 8)))
    (tmp_path / "train.log").write_text(log(2.0312, ratio))
    (found,) = audit(tmp_path).with_code("BPB101")
    assert ("to the digit" in found.message) is (whose is not None)
    assert whose is None or f"it is {whose}" in found.message


@pytest.mark.parametrize(
    ("ratio", "loads", "is_said"),
    [
        (SP1024 * (1.0 - 1.77e-4), False, True),
        (SP1024 * (1.0 + 1.77e-4), False, True),
        (SP1024 * (1.0 - 6e-5), False, False),  # what dropped tails leave
        (SP1024, False, False),
        (SP1024 * (1.0 - 1.77e-4), True, False),  # whose text it is, the log tells
    ],
)
def test_bytes_that_are_not_the_tables_to_the_digit_are_said_not_to_be(
    tmp_path: Path, ratio: float, loads: bool, is_said: bool
) -> None:
    (tmp_path / "submission.json").write_text(submission(val_bpb=round(bpb(2.0312, ratio), 8), tokenizer="sp1024"))
    text = log(2.0312, ratio) if loads else f"final_exact val_loss:2.03120000 val_bpb:{bpb(2.0312, ratio):.8f}\n"
    (tmp_path / "train.log").write_text(text)
    report = audit(tmp_path)
    (found,) = report.with_code("BPB101")
    said = "that is not its number to the digit: of another sp1024, or of not quite every token"
    assert (said in found.message) is is_said
    assert ("by nearly the right number of bytes" in report.judgement.reason) is is_said


LOGS = {"a.log": 1.13179659, "b.log": 1.13214329, "c.log": 1.13210889}


def _of_seeds(folder: Path, scores: dict[str, float], **record: object) -> AuditReport:
    """Logs of a run each, and what is claimed beside them."""
    for number, (name, score) in enumerate(scores.items()):
        sizes = f"Total submission size int6+zstd: {15_000_000 + number} bytes"
        (folder / name).write_text(
            f"seed:{number}\n{sizes}\nfinal_exact val_loss:{score * LN_RATIO:.8f} val_bpb:{score}\n"
        )
    (folder / "submission.json").write_text(json.dumps(record))
    return audit(folder)


LN_RATIO = math.log(2.0) * SP1024


def test_a_line_that_is_rounded_to_the_score_comes_before_a_mean_that_is_not(tmp_path: Path) -> None:
    report = _of_seeds(tmp_path, LOGS, val_bpb=1.1321)  # their mean is 1.132016
    message = (
        "the score is in the log: 'final_exact' at c.log:3; b.log:3 prints it too, of another run, and which is "
        "claimed was not established"
    )
    assert report.with_code("BPB401")[0].message == message
    assert "one run (c.log or b.log)" in report.with_code("BPB304")[0].message


def test_the_size_of_what_is_submitted_tells_which_of_several_runs_it_is(tmp_path: Path) -> None:
    report = _of_seeds(tmp_path, LOGS, val_bpb=1.1321, bytes_total=15_000_001)
    assert report.with_code("BPB401")[0].message == "the score is in the log: 'final_exact' at b.log:3"
    assert "one run (b.log)" in report.with_code("BPB304")[0].message
    without = (tmp_path / "c.log").read_text().split("\n")
    (tmp_path / "c.log").write_text("\n".join(line for line in without if "submission size" not in line))
    report = audit(tmp_path)  # which prints none may be that of the packed network, scored once more
    assert "one run (b.log or c.log)" in report.with_code("BPB304")[0].message


OF_ONE_NAME = {
    "normu_seed42.log": 1.34578123, "normu_seed7.log": 1.34622456, "normu_seed1.log": 1.34550789,
    "base_seed42.log": 1.34901234,
}  # fmt: skip


def test_a_mean_of_logs_of_one_name_that_rounds_to_the_score_too_is_told(tmp_path: Path) -> None:
    report = _of_seeds(tmp_path, OF_ONE_NAME, val_bpb=1.3458)
    assert report.with_code("BPB401")[0].message == (
        "the score is in the log: 'final_exact' at normu_seed42.log:3; so is the mean of that of 3 logs, 1.345838, "
        "rounded to its digits (normu_seed1.log:3, normu_seed42.log:3, normu_seed7.log:3)"
    )
    assert report.with_code("BPB304")[0].message == (
        "the score is that of one run (normu_seed42.log), or the mean over 3 logs that rounds to it as well, and no "
        "standard error is given"
    )


def test_a_mean_that_the_readme_calls_one_is_told_with_its_logs(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# A run\n\nmean val_bpb: 1.3458\n")
    report = _of_seeds(tmp_path, OF_ONE_NAME, val_bpb=1.3458)
    assert report.with_code("BPB304")[0].message == (
        "README.md:3 calls the score a mean; that over 3 logs rounds to it (standard deviation 0.00036), and no "
        "standard error is given"
    )


@pytest.mark.parametrize(
    ("logs", "score"),
    [
        (OF_ONE_NAME | {"normu_seed9.log": 1.34851234}, 1.3458),  # the mean of all of that name is another
        (OF_ONE_NAME, 1.34578123),  # one of them to all digits
        ({"normu_seed42.log": 1.34578123, "other_seed7.log": 1.34582123, "third.log": 1.41234567}, 1.3458),
    ],
)
def test_no_other_mean_is_told(tmp_path: Path, logs: dict[str, float], score: float) -> None:
    report = _of_seeds(tmp_path, logs, val_bpb=score)
    assert "the mean" not in report.with_code("BPB401")[0].message
    assert "mean" not in report.with_code("BPB304")[0].message


def test_a_mean_that_is_rounded_to_the_score_comes_first(tmp_path: Path) -> None:
    found = _of_seeds(tmp_path, LOGS, val_bpb=1.132).with_code("BPB401")[0]
    assert found.message.startswith("the score is the mean of 'final_exact' over 3 logs: 1.13179659 (a.log:3)")


def test_a_mean_that_is_not_rounded_to_the_score_is_nearly_it(tmp_path: Path) -> None:
    report = _of_seeds(tmp_path, {"a.log": 1.15168056, "b.log": 1.15089758, "c.log": 1.15581201}, val_bpb=1.1527)
    found = report.with_code("BPB401")[0]
    assert found.message.startswith("the score is nearly the mean, 1.152797, of 'final_exact' over 3 logs: 1.15168056")
    assert report.judgement.reason.startswith("the score is nearly the mean of what its logs print, and")


@pytest.mark.parametrize(
    ("claimed", "printed", "apart"),
    [
        (1.2004, 1.20048809, "1.2004 is 8.8e-05 below that, which was cut off and not rounded"),
        (1.1145, 1.11443855, "1.1145 is 6.1e-05 above that"),
        (1.14018, 1.1401, "1.14018 is 8e-05 above that"),
        (1.2005, 1.20048809, None),
        (1.20049, 1.2005, None),  # the log's digits are the fewer, and it is rounded to them
    ],
)
def test_a_line_that_is_not_rounded_to_the_score_is_nearly_it(
    tmp_path: Path, claimed: float, printed: float, apart: str | None
) -> None:
    report = _of_seeds(tmp_path, {"a.log": printed}, val_bpb=claimed)
    found = report.with_code("BPB401")[0]
    said = "the score is in the log: 'final_exact' at a.log:3"
    if apart is not None:
        said = f"the score is nearly in the log: 'final_exact' at a.log:3 is {printed}, and the claimed {apart}"
    assert found.message == said
    assert found.evidence.get("printed") == (printed if apart is not None else None)
    prints = "the log prints the score, and" if apart is None else f"the log prints {printed}, nearly the score, and"
    assert report.judgement.reason.startswith(prints)
    assert report.verdict == "consistent"


@pytest.mark.parametrize(
    ("claimed", "is_there"), [(1.3, False), (1.1, False), (1.2, True), (1.21, True), (1.22, False)]
)
def test_a_last_digit_that_is_coarse_forgives_rounding_and_little_more(
    tmp_path: Path, claimed: float, is_there: bool
) -> None:
    report = _of_seeds(tmp_path, {"a.log": 1.2029}, val_bpb=claimed)
    assert bool(report.with_code("BPB401")) == is_there
    assert bool(report.with_code("BPB403")) != is_there


def test_of_two_lines_that_which_is_rounded_to_the_score_gives_it(tmp_path: Path) -> None:
    """Another run's is nearer to what is submitted by its size alone."""
    scores = {"a.log": 1.20048806, "b.log": 1.20048807, "c.log": 1.20048811}
    report = _of_seeds(tmp_path, scores, val_bpb=1.20048806, bytes_total=15_000_001)
    assert report.with_code("BPB401")[0].message.startswith("the score is in the log: 'final_exact' at a.log:3")


@pytest.mark.parametrize(
    ("scores", "told"),
    [
        ((1.13179659, 1.13214329, 1.13210889), "; standard deviation 0.00019"),
        ((0.33000034, 0.33000033, 0.33000037), "; standard deviation 2e-08"),
        ((0.3301, 0.3301, 0.3301), "; all the same, to the last digit that is printed"),
    ],
)
def test_how_far_seeds_lie_apart(tmp_path: Path, scores: tuple[float, ...], told: str) -> None:
    for number, score in enumerate(scores):
        (tmp_path / f"{number}.log").write_text(f"seed:{number}\nfinal_exact val_bpb:{score}\nend\n")
    (tmp_path / "submission.json").write_text(json.dumps({"val_bpb": round(sum(scores) / 3, 8)}))
    (found,) = audit(tmp_path).with_code("BPB401")
    assert found.message.endswith(told)


@pytest.mark.parametrize(
    ("readme", "said"),
    [
        ("runs\nmean val_bpb: 1.2034\n", "README.md:2 calls the score a mean"),
        ("**3-seed mean val_bpb: 1.2034**", "README.md:1 calls the score a mean"),
        ("| seed | bpb |\n|---|---|\n| 42 | 1.2034 |\n| **Mean** | 1.2034 |", "README.md:4 calls the score a mean"),
        ("The average over 3 seeds is 1.20341.", "README.md:1 calls the score a mean"),
        ("mean val_loss: 2.0312; val_bpb: 1.2034", "one run (train.log)"),  # another number's
        ("mean val_bpb: 1.2134, of this seed 1.2034", "one run (train.log)"),
        ("val_bpb 1.2034 is that of seed 42, and not the mean", "one run (train.log)"),
        ("meaningful: 1.2034", "one run (train.log)"),
    ],
)
def test_whose_score_it_is_as_the_readme_says(tmp_path: Path, readme: str, said: str) -> None:
    (tmp_path / "train.log").write_text("final_exact val_loss:2.03186 val_bpb:1.20340000\n")
    (tmp_path / "README.md").write_text(readme)
    (tmp_path / "submission.json").write_text('{"val_bpb": 1.2034}')
    (found,) = audit(tmp_path).with_code("BPB304")
    assert said in found.message


@pytest.mark.parametrize(
    ("readme", "said"),
    [
        ("val_bpb 1.2034 of seed 42", "the score is that of one run (train.log), and no standard error is given"),
        (
            "| Mean | 1.2040 |\n| Std | 0.0009 |",
            "the score is that of one run (train.log); README.md:2 gives a standard deviation of 0.0009: a standard "
            "deviation over seeds of this very score is the standard error of one run",
        ),
        (
            "val_bpb: 1.2034 (4-seed mean, std 0.0010)\n\nmean: 1.2034",
            "README.md:3 calls the score a mean; README.md:1 gives a standard deviation of 0.0010, over 4 runs: the "
            "standard error of their mean is 0.0005",
        ),
        (
            "mean: 1.2034 \u00b1 0.0010",
            "README.md:1 calls the score a mean; README.md:1 gives a spread, which it does not call by a name, of "
            "0.0010: a standard deviation over n runs, by sqrt(n), is the standard error of their mean",
        ),
        (
            "mean: 1.2034 \u00b1 0.0010 (standard error)",
            "README.md:1 calls the score a mean; README.md:1 gives a standard error of 0.0010",
        ),
        (
            "Standard error of the mean: 0.0010",
            "the score is that of one run (train.log); README.md:1 gives a standard error of 0.0010",
        ),
        (
            "mean: 1.2034",
            "README.md:1 calls the score a mean; of how many runs, and with what standard error, was not read",
        ),
    ],
)
def test_what_the_readme_gives_as_a_spread_is_told_beside_the_score(tmp_path: Path, readme: str, said: str) -> None:
    (tmp_path / "train.log").write_text("final_exact val_loss:2.03186 val_bpb:1.20340000\n")
    (tmp_path / "README.md").write_text(readme)
    (tmp_path / "submission.json").write_text('{"val_bpb": 1.2034}')
    (found,) = audit(tmp_path).with_code("BPB304")
    assert found.message == said


def test_a_mean_of_the_one_seed_that_a_record_names(tmp_path: Path) -> None:
    (tmp_path / "train.log").write_text("final_exact val_loss:2.03186 val_bpb:1.20340000\n")
    (tmp_path / "README.md").write_text("mean: 1.2034")
    (tmp_path / "submission.json").write_text('{"val_bpb": 1.2034, "seeds": [1337]}')
    (found,) = audit(tmp_path).with_code("BPB304")
    assert found.message == (
        "README.md:1 calls the score a mean; the record names one seed (1337), and no standard error is given"
    )


RERUN = {"a_rerun.log": 1.13411, "b_rerun.log": 1.13422, "c_rerun.log": 1.13433}
NAMED = {"0": 1.13179659, "1": 1.13214329, "2": 1.13210889}


@pytest.mark.parametrize("how", ["submission", "readme"])
def test_the_mean_is_one_of_the_seeds_that_the_record_lists(tmp_path: Path, how: str) -> None:
    of_readme = "".join(f"| {seed} | {score:.4f} |\n" for seed, score in NAMED.items())
    table = f"| Seed | val_bpb |\n|---|---|\n{of_readme}| **Mean** | **1.1320** |\n"
    listed = {seed: {"val_bpb": score} for seed, score in NAMED.items()}
    (tmp_path / "README.md").write_text(table if how == "readme" else "# Runs\n")
    more = {"seed_results": listed} if how == "submission" else {}
    found = _of_seeds(tmp_path, {**LOGS, **RERUN}, val_bpb=1.1320, **more).with_code("BPB401")[0]
    assert found.message.startswith("the score is the mean of 'final_exact' over 3 logs: 1.13179659 (a.log:3)")


@pytest.mark.parametrize("others", ["seed:0\n", "seed:7\n"])
def test_a_log_that_the_record_lists_nowhere_is_not_of_the_mean(tmp_path: Path, others: str) -> None:
    """Of another network, or another seed, with a score that is rounded to the same as one of the mean."""
    (tmp_path / "wide.log").write_text(f"{others}final_exact val_loss:1.9 val_bpb:1.131804\n")
    listed = {seed: {"val_bpb": round(score, 5)} for seed, score in NAMED.items()}
    report = _of_seeds(tmp_path, LOGS, val_bpb=1.1320, seeds=[*NAMED], seed_results=listed)
    assert "over 3 logs: 1.13179659 (a.log:3)" in report.with_code("BPB401")[0].message
    for name in LOGS:  # the same output twice, as of a run that was logged by two
        (tmp_path / name).write_text(2 * (tmp_path / name).read_text())
    assert "over 3 logs: 1.13179659 (a.log:6)" in audit(tmp_path).with_code("BPB401")[0].message


def test_where_a_log_tells_no_seed_all_logs_are_of_the_mean(tmp_path: Path) -> None:
    (tmp_path / "more.log").write_text("final_exact val_loss:1.9 val_bpb:1.131804\n")
    listed = {seed: {"val_bpb": round(score, 5)} for seed, score in NAMED.items()}
    _of_seeds(tmp_path, LOGS, val_bpb=1.1320, seed_results=listed)
    (tmp_path / "a.log").write_text((tmp_path / "a.log").read_text().replace("seed:0\n", ""))
    assert "over 4 logs" in audit(tmp_path).with_code("BPB401")[0].message


@pytest.mark.parametrize("mean", ["1.1331", "1.1319"])
def test_of_a_table_whose_mean_is_not_the_score_no_seed_is_taken(tmp_path: Path, mean: str) -> None:
    of_readme = "".join(f"| {seed} | {score:.4f} |\n" for seed, score in NAMED.items())
    (tmp_path / "README.md").write_text(f"| Seed | val_bpb |\n|---|---|\n{of_readme}| **Mean** | {mean} |\n")
    report = _of_seeds(tmp_path, {**LOGS, **RERUN}, val_bpb=float(mean))
    assert not any("over 3 logs" in each.message for each in report.with_code("BPB401"))


@pytest.mark.parametrize(
    ("last", "said"),
    [
        ("1.13214329", "over 3 logs: 1.13179659 (a.log:3), 1.13214329 (b.log:3), 1.13210889 (c.log:3)"),
        ("1.1321", "over 3 runs in 2 logs: 1.13179659 (a.log:3), 1.13214329 (b.log:3), 1.13210889 (b.log:6)"),
    ],
)
def test_of_a_log_of_two_seeds_both_count(tmp_path: Path, last: str, said: str) -> None:
    of_readme = "".join(f"| {seed} | {score:.4f} |\n" for seed, score in NAMED.items())
    (tmp_path / "README.md").write_text(f"| Seed | val_bpb |\n|---|---|\n{of_readme}| **Mean** | 1.1320 |\n")
    logs = {name: score for name, score in LOGS.items() if len(last) > 6 or name != "c.log"}
    _of_seeds(tmp_path, logs, val_bpb=1.1320)
    if "c.log" not in logs:
        behind = f"seed:2\nstep:1/9 train_loss:6.9\nfinal_exact val_loss:{LOGS['c.log'] * LN_RATIO:.8f} "
        behind += f"val_bpb:{LOGS['c.log']}\n"
        (tmp_path / "b.log").write_text((tmp_path / "b.log").read_text() + behind)
    (found,) = audit(tmp_path).with_code("BPB401")
    assert said in found.message


def test_of_one_line_in_two_logs_that_of_one_run_counts(tmp_path: Path) -> None:
    text = "".join(f"final_exact val_loss:{each * LN_RATIO:.8f} val_bpb:{each}\n" for each in LOGS.values())
    (tmp_path / "all.log").write_text(text)
    report = _of_seeds(tmp_path, LOGS, val_bpb=1.13179659)
    assert report.with_code("BPB401")[0].message == "the score is in the log: 'final_exact' at a.log:3"
    assert "the best of 3 seeds (0), by 'final_exact' in their logs" in report.with_code("BPB305")[0].message
    (tmp_path / "all.log").write_text(text + "final_exact val_loss:1.9 val_bpb:1.1311\n")
    assert not audit(tmp_path).with_code("BPB305")  # of a run that no log of a seed tells


def test_a_line_that_is_called_a_mean_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "summary.log").write_text("final val_bpb:1.2030\nMean val_bpb: 1.2034\n")
    (tmp_path / "submission.json").write_text('{"val_bpb": 1.2034}')
    (found,) = audit(tmp_path).with_code("BPB304")
    assert found.message.startswith("summary.log:2 calls the score a mean")


@pytest.mark.parametrize(("loss", "is_named"), [(1.20340001, True), (1.2034, True), (2.0319, False), (1.203, False)])
def test_a_score_under_the_name_of_a_loss_is_said_to_be_one(tmp_path: Path, loss: float, is_named: bool) -> None:
    (tmp_path / "train.log").write_text("final_exact val_loss:2.03186 val_bpb:1.20340001\n")
    (tmp_path / "submission.json").write_text(json.dumps({"val_loss": loss, "bytes_total": 15_000_000}))
    (found,) = audit(tmp_path).with_code("BPB909")
    said = f"submission.json (val_loss) gives {loss}, and calls it a loss: it is the log's last score, 'final_exact'"
    assert found.message.startswith(said if is_named else "no claim beside the log: its last score is taken")


def test_what_ties_the_script_to_a_table_is_no_log(tmp_path: Path) -> None:
    (tmp_path / "results.tsv").write_text("run\tval_loss\tval_bpb\nfull\t2.03186\t1.20340012\n")
    (tmp_path / "submission.json").write_text('{"val_bpb": 1.20340012}')
    (tmp_path / "train.py").write_text("print('x')\n")
    left = audit(tmp_path).unchecked
    assert not any("wrote the log" in each for each in left)


def test_of_equal_last_scores_the_last_is_taken(tmp_path: Path) -> None:
    (tmp_path / "train.log").write_text("try: t=0.85 val_bpb=1.8360\ntry: t=0.90 val_bpb=1.8360\n")
    (found,) = audit(tmp_path).with_code("BPB909")
    assert "its last score is taken, 'try: t=0.90' at train.log:2" in found.message


ROUNDED = "final_int8_zlib_roundtrip val_loss:{nats:.4f} val_bpb:{bits:.4f} eval_time:44230ms\n"
EXACT = "final_int8_zlib_roundtrip_exact val_loss:{nats:.8f} val_bpb:{bits:.8f}\n"


def _printed_twice(*scores: float, exact: str = EXACT, between: str = "") -> list[str]:
    return [
        "".join(line.format(nats=bits * math.log(2.0) * SP1024, bits=bits) for line in (ROUNDED, between, exact))
        for bits in scores
    ]


@pytest.mark.parametrize(
    ("claimed", "runs", "codes_expected"),
    [
        # The mean of two seeds lies beside the rounded score of each of them.
        (1.2299319, _printed_twice(1.22994812, 1.22991568), {"BPB401"}),
        # No score of the log, to the digits that are claimed.
        (1.14782318, _printed_twice(1.14780933), {"BPB403"}),
        (1.1478, _printed_twice(1.14780933), {"BPB401"}),  # as many digits as the rounded line has
        (1.14780933, _printed_twice(1.14780933), {"BPB401"}),
        # Nothing says that the two lines print one score.
        (1.14782318, _printed_twice(1.14780933, exact=EXACT.replace("int8_zlib", "int6")), {"BPB401"}),
        (1.14782318, [ROUNDED.format(nats=1.938, bits=1.14780933)], {"BPB401"}),
        (1.14782318, _printed_twice(1.14780933, between="saved\n" * 3), {"BPB401"}),
    ],
)
def test_a_line_whose_score_is_printed_again_with_more_digits_gives_way_to_it(
    tmp_path: Path, claimed: float, runs: list[str], codes_expected: set[str]
) -> None:
    (tmp_path / "submission.json").write_text(json.dumps({"name": "x", "val_bpb": claimed}))
    for seed, run in enumerate(runs):
        (tmp_path / f"train_seed{seed}.log").write_text(f"seed:{seed}\n{run}")
    report = audit(tmp_path)
    assert codes(report) & {"BPB401", "BPB403"} == codes_expected
    for finding in report.findings:
        if finding.code == "BPB401" and len(runs) > 1:
            assert finding.evidence["how"] == "mean"


LOSS = 1.95012345
RIGHT = bpb(LOSS, SP1024)


@pytest.mark.parametrize(
    ("claimed", "logged", "codes_expected"),
    [
        (RIGHT, 1.158, {"BPB412"}),  # the log divided by something else
        (RIGHT - 1.1e-3, RIGHT, {"BPB403"}),  # the log divided by the right number
        (RIGHT - 1.1e-3, RIGHT + 1e-4, {"BPB403"}),
    ],
)
def test_a_loss_gives_the_claim_only_where_the_logs_own_score_is_another(
    tmp_path: Path, claimed: float, logged: float, codes_expected: set[str]
) -> None:
    record = {"name": "x", "val_bpb": round(claimed, 6), "val_loss": LOSS}
    (tmp_path / "submission.json").write_text(json.dumps(record))
    for seed in (1, 2):
        text = log(2.0, SP1024, seed=seed) + f"final_scored val_loss:{LOSS} val_bpb:{logged:.6f}\n"
        (tmp_path / f"train{seed}.log").write_text(text)
    report = audit(tmp_path)
    assert codes(report) & {"BPB401", "BPB403", "BPB404", "BPB412"} == codes_expected, report.findings


def test_a_rounded_line_of_the_same_loss_contradicts_no_score_that_rounds_to_it(tmp_path: Path) -> None:
    (tmp_path / "submission.json").write_text(json.dumps({"name": "x", "val_bpb": 1.14782318, "val_loss": 1.9380}))
    (tmp_path / "train.log").write_text("seed:1\n" + "".join(_printed_twice(1.14780933)))
    report = audit(tmp_path)
    assert codes(report) & {"BPB401", "BPB403", "BPB404", "BPB412"} == {"BPB403"}


def test_a_loss_called_vl_is_one_beside_the_score(tmp_path: Path) -> None:
    """And the lines of three seeds have one label then, whatever their losses are."""
    losses = (2.0312, 2.0343, 2.0359)
    for seed, loss in enumerate(losses):
        text = f"ttt_x vl:{loss:.8f} bpb:{bpb(loss, SP1024):.8f}\n"
        (tmp_path / f"train_seed{seed}.log").write_text(text)
    mean = sum(bpb(loss, SP1024) for loss in losses) / 3
    (tmp_path / "submission.json").write_text(json.dumps({"val_bpb": round(mean, 6), "tokenizer": "sp1024"}))
    report = audit(tmp_path)
    assert report.with_code("BPB101")
    assert not report.with_code("BPB106")
    (found,) = report.with_code("BPB401")
    assert "mean of 'ttt_x' over 3 logs" in found.message


@pytest.mark.parametrize(
    ("between", "off", "is_known"), [("", 0.0, True), ("saved\n", 0.0, False), ("", 0.0002, False)]
)
def test_a_score_that_the_line_before_prints_with_its_loss(
    tmp_path: Path, between: str, off: float, is_known: bool
) -> None:
    losses = (2.0312, 2.0343)
    for seed, loss in enumerate(losses):
        again = f"ttt:vl={loss:.6f} bpb={bpb(loss, SP1024) + off:.6f} t=455.7s\n{between}"
        (tmp_path / f"eval_seed{seed}.log").write_text(f"{again}eval:ttt bpb:{bpb(loss, SP1024):.4f} t:456084ms\n")
    (tmp_path / "train.log").write_text(f"ttt:vl=2.900000 bpb={bpb(2.9, SP1024):.6f}\n")
    score = sum(bpb(loss, SP1024) for loss in losses) / 2
    (tmp_path / "submission.json").write_text(f'{{"val_bpb": {score:.4f}, "tokenizer": "sp1024"}}')
    report = audit(tmp_path)
    assert "mean of 'eval:ttt' over 2 logs" in report.with_code("BPB401")[0].message
    assert bool(report.with_code("BPB101")) is is_known


@pytest.mark.parametrize("earlier", [False, True])  # logs of the same seeds before
@pytest.mark.parametrize(("third", "is_mean"), [(0.85078, True), (0.85098, False)])
def test_a_mean_of_scores_that_were_rounded_before(tmp_path: Path, third: float, is_mean: bool, earlier: bool) -> None:
    whole = {"42": 0.84937, "1337": 0.84818, "2024": third}
    for seed, score in whole.items():
        text = f"final val_loss:1.4341 val_bpb:{score:.4f}\nfinal_exact val_loss:1.43412231 val_bpb:{score:.8f}\n"
        (tmp_path / f"log_seed{seed}.txt").write_text(text)
        before = text.replace(f"{score:.4f}", f"{score + 0.0031:.4f}").replace(f"{score:.8f}", f"{score + 0.0031:.8f}")
        if earlier:
            (tmp_path / f"log_seed{seed}_v1.0.txt").write_text(before)
    seeds = {seed: {"val_bpb": round(score, 4)} for seed, score in whole.items()}
    seeds["2024"] = {"val_bpb": 0.8508}
    (tmp_path / "submission.json").write_text(json.dumps({"val_bpb": 0.8495, "seeds": seeds}))
    found = audit(tmp_path).with_code("BPB401")
    assert any("the mean of 'final' over 3 logs" in each.message for each in found) is is_mean


@pytest.mark.parametrize("between", ["", "saved\n"])
def test_the_exact_line_of_the_packed_network_goes_before_a_rounded_one_of_another(
    tmp_path: Path, between: str
) -> None:
    """The line beside it prints the loss: that of the plain network, which rounds to the claim too, is not asked."""
    score, right = bpb(2.0312, SP1024), 2.0312
    (tmp_path / "train.log").write_text(
        f"final_pre_quant val_loss:{right + 0.0002:.4f} val_bpb:{score:.4f} eval:863ms\n"
        f"final_roundtrip val_loss:{right:.4f} val_bpb:{score:.4f} eval:873ms\n"
        f"{between}final_roundtrip_exact val_bpb:{score:.8f}\n"
    )
    (tmp_path / "submission.json").write_text(f'{{"val_bpb": {score:.8f}, "tokenizer": "sp1024"}}')
    report = audit(tmp_path)
    (found,) = report.with_code("BPB401")
    number = 4 if between else 3
    assert found.message == f"the score is in the log: 'final_roundtrip_exact' at train.log:{number}"
    assert report.verdict == "consistent"
    assert report.with_code("BPB101")


def test_an_exact_line_without_any_loss_beside_it_leaves_the_ratio_to_another(tmp_path: Path) -> None:
    score = bpb(2.0312, SP1024)
    text = f"final val_loss:2.0312 val_bpb:{score:.4f}\nx\ny\nz\nfinal_exact val_bpb:{score:.8f}\n"
    (tmp_path / "train.log").write_text(text)
    (tmp_path / "submission.json").write_text(f'{{"val_bpb": {score:.8f}, "tokenizer": "sp1024"}}')
    report = audit(tmp_path)
    assert report.verdict == "consistent"
    assert report.with_code("BPB401")[0].message == "the score is in the log: 'final' at train.log:1"


SLIDING = {1: (1.0788, 1.07743908), 2: (1.0787, 1.07666593), 3: (1.0777, 1.07645419)}


def _two_evaluations(folder: Path, listed: Sequence[float]) -> AuditReport:
    for seed, (sliding, adapted) in SLIDING.items():
        lines = [
            f"{label} val_loss:{score * LN_RATIO:.8f} val_bpb:{score:.8f}\n"
            for label, score in (("final_sliding", sliding + 2e-6), ("final_adapted", adapted))
        ]
        (folder / f"run{seed}.log").write_text(f"seed:{seed}\n{''.join(lines)}")
    results = {str(seed): {"val_bpb": score} for seed, score in zip(SLIDING, listed, strict=True)}
    (folder / "submission.json").write_text(
        json.dumps({"val_bpb": 1.0769, "seeds": [1, 2, 3], "seed_results": results})
    )
    return audit(folder)


def test_seeds_that_are_those_of_another_evaluation_are_told(tmp_path: Path) -> None:
    report = _two_evaluations(tmp_path, [sliding for sliding, _ in SLIDING.values()])
    (found,) = report.with_code("BPB406")
    assert found.message == (
        "the 3 seeds that the record lists beside the score, whose mean is 1.07840, are what its logs print as "
        "'final_sliding'; the score is of 'final_adapted'"
    )
    assert (found.severity, report.verdict) == ("info", "consistent")


@pytest.mark.parametrize(
    "listed",
    [[1.0774, 1.0767, 1.0765], [1.0788, 1.0767, 1.0777], [1.0921, 1.0922, 1.0923]],
    ids=["own", "mixed", "none"],
)
def test_seeds_that_are_not_all_of_another_evaluation_are_not(tmp_path: Path, listed: list[float]) -> None:
    assert not _two_evaluations(tmp_path, listed).with_code("BPB406")


@pytest.mark.parametrize(
    ("line", "is_told"),
    [
        ("[... warmup steps 3-19 ...]", True),
        ("(... 400 lines omitted ...)", True),
        ("<... output truncated>", True),
        ("[...]", False),  # as text has it
        ("  ... 500000/1999999 bits/tok=6.2554", False),
        ("[rank 0] ... warmup steps", False),
        ("sample: [... the steps ...]", False),
    ],
)
def test_lines_that_a_log_says_were_left_out_are_told(tmp_path: Path, line: str, is_told: bool) -> None:
    score = bpb(2.0312, SP1024)
    text = f"warmup_step:1/20\n{line}\nfinal_exact val_loss:2.03120000 val_bpb:{score:.8f}\n[... more steps ...]\n"
    (tmp_path / "train.log").write_text(text)
    (tmp_path / "submission.json").write_text(f'{{"val_bpb": {score:.8f}, "tokenizer": "sp1024"}}')
    (found,) = audit(tmp_path).with_code("BPB401")
    told = f"; the log says that lines in front of it were left out: `{line}` (train.log:2)"
    assert found.message == f"the score is in the log: 'final_exact' at train.log:3{told if is_told else ''}"


@pytest.mark.parametrize("readme", ["# A run\n\nWider, and longer.\n", "# A run\n\nOur loss is lower than the last.\n"])
def test_who_claims_nothing_is_told_how_a_claim_is_written(tmp_path: Path, readme: str) -> None:
    (tmp_path / "README.md").write_text(readme)
    (tmp_path / "train_gpt.py").write_text("loss = 0.0\n")
    report = audit(tmp_path)
    (missing,) = report.judgement.missing
    assert '"val_bpb" in submission.json' in missing
    assert missing.endswith('"Our model achieves 0.8500 bits per byte."')
    (tmp_path / "README.md").write_text(f"{readme}\n{missing[missing.index('Our model') : -1]}\n")
    assert audit(tmp_path).claimed_bpb == 0.85
    (tmp_path / "README.md").write_text(readme)
    (tmp_path / "submission.json").write_text(json.dumps({"val_bpb": 0.85}))
    assert audit(tmp_path).claimed_bpb == 0.85


def test_sentences_of_several_scores_are_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# T\n\nOur model achieves 0.85 BPB.\n\nOur second one achieves 0.95 BPB.\n")
    report = audit(tmp_path)
    assert (report.claimed_bpb, report.gives_no_score) == (None, False)
    (ambiguous,) = report.with_code("BPB906")
    assert ambiguous.message.endswith("0.85 (README.md:3), 0.95 (README.md:5)")


FINALS = "# An autopsy\n\n```\ndiagnostic quantized val_bpb:1.07199665\nquantized_ttt val_bpb:1.06057508\n```\n"
OF_A_RUN = {"quant_bpb": 1.07199665, "final_bpb": 1.06057508}


def _of_finals(folder: Path, readme: str = FINALS, **results: object) -> float | None:
    (folder / "submission.json").write_text(json.dumps({"track": "non_record_16mb", "results": results}))
    (folder / "README.md").write_text(readme)
    return audit(folder, rules="parameter-golf").claimed_bpb


def test_what_the_json_calls_final_is_claimed_before_what_stands_in_front_of_it(tmp_path: Path) -> None:
    assert _of_finals(tmp_path, a=OF_A_RUN) == 1.06057508
    assert _of_finals(tmp_path, a=OF_A_RUN, b={"final_bpb": None}) == 1.06057508
    assert _of_finals(tmp_path, a=OF_A_RUN, reference={"final_bpb": 1.0482}) == 1.06057508


@pytest.mark.parametrize(
    ("readme", "results"),
    [
        (FINALS, {"a": OF_A_RUN, "b": {"final_bpb": 1.05}}),  # two runs'
        (FINALS.replace("1.06057508", "1.0505"), {"a": OF_A_RUN}),  # which the README does not give
        (FINALS, {"a": {"quant_bpb": 1.07199665}, "reference": {"final_bpb": 1.06057508}}),  # another's
        (FINALS, {"a": {"quant_bpb": 1.07199665, "final_bpb": None}}),
    ],
    ids=["two", "not given", "another's", "null"],
)
def test_a_final_score_that_is_not_known_to_be_meant(tmp_path: Path, readme: str, results: dict[str, object]) -> None:
    assert _of_finals(tmp_path, readme, **results) == 1.07199665


@pytest.mark.parametrize(
    ("readme", "said"),
    [
        ("# A net\n\n**val_bpb: TBD** (pending runs)\n", "README.md:3 leaves it open: 'val_bpb: TBD'"),
        ("# A net\n\n## Score: val_bpb = pending\n", "README.md:3 leaves it open: 'Score: val_bpb = pending'"),
        ("# A net\n\n**Score:** Pending (no computer)\n", "README.md:3 leaves it open: 'Score: Pending'"),
        ("# A net\n\n**val_bpb**: `TBD` (to be updated)\n", "README.md:3 leaves it open: 'val_bpb: TBD'"),
        ("# A net\n\nval_bpb is not the aim here.\n", None),
        ("# A net\n\nOur score depends on pending work.\n", None),
        ("# A net\n\nscores: TBDs of others\n", None),
        ("# A net\n\nThe std of val_bpb: TBD\n", None),
        ("# A net\n\nNothing.\n", None),
    ],
)
def test_a_score_that_the_readme_leaves_open_is_quoted(tmp_path: Path, readme: str, said: str | None) -> None:
    (tmp_path / "submission.json").write_text('{"name": "a net", "val_bpb": null}')
    (tmp_path / "README.md").write_text(readme)
    (found,) = audit(tmp_path).with_code("BPB409")
    assert found.message.startswith("the record claims no score (submission.json: val_bpb is null)")
    assert ("leaves it open" in found.message) is (said is not None)
    assert said is None or said in found.message


def test_numbers_beside_no_score_are_counted_where_not_all_are_named(tmp_path: Path) -> None:
    """Those of single seeds come last: what is of the whole record would be left out."""
    seeds = {f"{seed}": {"control_bpb": 1.3 + seed / 1e4, "variant_bpb": 1.2 + seed / 1e4} for seed in range(3)}
    values = {"validation": {"control_bpb_mean": 1.3001, "seed_results": seeds}, "estimate": {"mean_bpb": 1.1001}}
    (tmp_path / "submission.json").write_text(json.dumps(values))
    report = audit(tmp_path)
    (found,) = report.with_code("BPB409")
    assert found.message.startswith(
        "no number is recognised as the claimed score; what it does give, it does not call the score: "
        "validation.control_bpb_mean 1.3001, estimate.mean_bpb 1.1001, validation.seed_results.0.control_bpb 1.3, "
    )
    assert found.message.endswith(" and 3 more")
    said = " ".join(report.to_text().split())
    assert "unverifiable: no claimed score was found that could be right or wrong. The verdict rests on BPB409" in said


def test_how_a_score_was_computed_is_not_asked_where_none_is_claimed(tmp_path: Path) -> None:
    (tmp_path / "submission.json").write_text('{"name": "a net", "val_bpb": null}')
    (tmp_path / "train.py").write_text("print(1)\n")
    assert not audit(tmp_path).with_code("BPB954")
    (tmp_path / "submission.json").write_text('{"name": "a net", "val_bpb": 1.2}')
    assert audit(tmp_path).with_code("BPB954")
