"""Lines that no run prints: its clock goes back, or several networks are packed into one number of bytes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from bpb_harness.auditing import AuditReport, audit
from fixtures.claims.patterns import SP1024, bpb, log, submission

LOSSES = (2.0312, 2.0322, 2.0305)
SIZES = (15_693_412, 15_693_412, 15_693_412)
PACKED = "Serialized model int6+zstd: {} bytes\nfinal_int8"


def _report(
    folder: Path, losses: Sequence[float] = LOSSES, sizes: Sequence[int] = SIZES, seeds: Sequence[int] = (42, 314, 999),
    *, trains: bool = True, lines: str = "",
) -> AuditReport:  # fmt: skip
    """Of the mean of some logs."""
    mean = sum(bpb(nats, SP1024) for nats in losses) / len(losses)
    (folder / "submission.json").write_text(submission(val_bpb=round(mean, 8)))
    for number, (nats, size, seed) in enumerate(zip(losses, sizes, seeds, strict=True)):
        text = log(nats, SP1024, seed=seed).replace("final_int8", PACKED.format(size), 1).replace("model_", lines, 1)
        kept = [line for line in text.split("\n") if trains or not line.startswith("step:")]
        (folder / f"train_{number}.log").write_text("\n".join(kept))
    return audit(folder)


def test_one_size_of_three_networks(tmp_path: Path) -> None:
    report = _report(tmp_path)
    (found,) = report.with_code("BPB426")
    assert "3 logs of other seeds, trainings and scores have one packed size to the byte, 15,693,412" in found.message
    assert all(f"train_{number}.log:8" in found.message for number in range(3))
    assert (report.verdict, report.corrected_bpb) == ("unverifiable", None)
    assert report.judgement.reason == found.message
    assert "the logs as the runs printed them" in report.judgement.missing


@pytest.mark.parametrize(
    "more",
    [
        {"sizes": (15_693_412, 15_693_412, 15_693_411)},
        {"losses": LOSSES[:2], "sizes": SIZES[:2], "seeds": (1, 2)},  # of two, by chance
        {"seeds": (42, 42, 999)},
        {"trains": False},  # of one network, that is scored three times
    ],
    ids=["other sizes", "two", "one seed", "evaluations alone"],
)
def test_sizes_that_prove_nothing(tmp_path: Path, more: dict[str, tuple[int, ...]]) -> None:
    report = _report(tmp_path, **more)  # type: ignore[arg-type]
    assert (report.with_code("BPB426"), report.verdict) == ([], "consistent")


@pytest.mark.parametrize(
    "line",
    [
        "Code size (zlib): 14223 bytes",
        "dataset shards zstd-compressed: 15,693,412 bytes",
        "model.tar (zstd, filled to 4 KiB): 15728640 bytes",
    ],
)
def test_sizes_that_are_one_in_every_run(tmp_path: Path, line: str) -> None:
    _report(tmp_path, sizes=(1_000_001, 1_000_002, 1_000_003))
    for log_file in tmp_path.glob("*.log"):
        log_file.write_text(log_file.read_text().replace("final_int8", f"{line}\nfinal_int8", 1))
    report = audit(tmp_path)
    assert (report.with_code("BPB426"), report.verdict) == ([], "consistent")


def test_sizes_from_before_the_training(tmp_path: Path) -> None:
    report = _report(tmp_path, lines="Total submission size int6+zstd: 15693412 bytes\nmodel_", sizes=(1, 2, 3))
    assert (report.with_code("BPB426"), report.verdict) == ([], "consistent")


def test_one_training_of_three_evaluations(tmp_path: Path) -> None:
    _report(tmp_path)
    trained = [line for line in (tmp_path / "train_0.log").read_text().split("\n") if line.startswith("step:")]
    for number in (1, 2):
        lines = (tmp_path / f"train_{number}.log").read_text().split("\n")
        kept = [line for line in lines if not line.startswith("step:")]
        (tmp_path / f"train_{number}.log").write_text("\n".join([*kept[:4], *trained, *kept[4:]]))
    report = audit(tmp_path)
    assert (report.with_code("BPB426"), report.verdict) == ([], "consistent")


BACK = "step:7184/20000 val_loss:2.1 train_time:600612ms\nstopping_early: cap train_time:599820ms step:7184/20000\n"


def test_a_clock_that_goes_back(tmp_path: Path) -> None:
    report = _report(tmp_path, sizes=(1_000_001, 1_000_002, 1_000_003), lines=BACK)
    (found,) = report.with_code("BPB426")
    assert "train_0.log:4 stops the training at 599,820 ms, and train_0.log:3 is at 600,612 ms already" in found.message
    assert "bytes" not in found.message
    assert found.message.endswith("no run prints this by one clock; the lines are of several runs, or were changed")
    assert report.verdict == "unverifiable"


def test_a_clock_has_nothing_to_do_with_packed_sizes(tmp_path: Path) -> None:
    (found,) = _report(tmp_path, lines=BACK).with_code("BPB426")
    assert "have one packed size to the byte" in found.message
    assert found.message.endswith("no run prints this; the lines are of several runs, or were changed")


@pytest.mark.parametrize("said", ["resuming from step_7000.pt", "Resumed at step 7000 by the next job", "--- resume"])
def test_a_clock_of_a_run_that_was_resumed(tmp_path: Path, said: str) -> None:
    lines = BACK.replace("\nstopping", f"\n{said}\nstopping")
    report = _report(tmp_path, sizes=(1_000_001, 1_000_002, 1_000_003), lines=lines)
    assert (report.with_code("BPB426"), report.verdict) == ([], "consistent")


def test_a_clock_of_another_log(tmp_path: Path) -> None:
    _report(tmp_path, sizes=(1_000_001, 1_000_002, 1_000_003))
    (tmp_path / "smoke.log").write_text(f"{BACK}final_exact val_loss:4.0 val_bpb:2.3\n")
    report = audit(tmp_path)
    assert (report.with_code("BPB426"), report.verdict) == ([], "consistent")


def test_a_clock_of_another_run_in_the_log(tmp_path: Path) -> None:
    other = f"model_\n{BACK}final_exact val_loss:4.0 val_bpb:2.3\nseed:7\nmodel_"
    report = _report(tmp_path, sizes=(1_000_001, 1_000_002, 1_000_003), lines=other)
    assert (report.with_code("BPB426"), report.verdict) == ([], "consistent")


def _even(count: int) -> str:
    times = [13_900 + 7 * (number * number % 13) for number in range(12)] + [13_900] * count
    steps = (f"step:{200 * n}/9000 train_loss:2.1 train_time:{sum(times[:n])}ms" for n in range(1, len(times) + 1))
    return "\n".join([*steps, "model_"])


def test_a_clock_that_is_too_even(tmp_path: Path) -> None:
    report = _report(tmp_path, sizes=(1_000_001, 1_000_002, 1_000_003), lines=_even(8))
    (found,) = report.with_code("BPB426")
    assert found.message.startswith(
        "8 times in a row 200 steps take 13,900 ms to the millisecond, from train_0.log:14 "
    )
    assert found.message.endswith(
        ", where half of the run's other times for as many lie 17.5 ms or more from their median: the chance that "
        "times which scatter so have such a row is below one in a million, and it is not what a clock gives"
    )
    assert "by hand" not in found.message
    assert report.verdict == "unverifiable"


def test_an_even_clock_beside_a_line_that_no_program_prints(tmp_path: Path) -> None:
    lines = _even(8).replace("model_", "stopping_early: train_time:600xxx step:~5500/20000\nmodel_")
    (found,) = _report(tmp_path, sizes=(1_000_001, 1_000_002, 1_000_003), lines=lines).with_code("BPB426")
    said, of_row = found.message.split(". 8 times in a row ")
    assert said.endswith("no run prints this; the lines were written by hand, or changed")
    assert of_row.endswith("it is not what a clock gives")


def test_a_clock_that_is_even_by_chance(tmp_path: Path) -> None:
    report = _report(tmp_path, sizes=(1_000_001, 1_000_002, 1_000_003), lines=_even(4))
    assert (report.with_code("BPB426"), report.verdict) == ([], "consistent")


def test_an_even_clock_of_another_log(tmp_path: Path) -> None:
    _report(tmp_path, sizes=(1_000_001, 1_000_002, 1_000_003))
    (tmp_path / "smoke.log").write_text(f"{_even(8)}\nfinal_exact val_loss:4.0 val_bpb:2.3\n")
    report = audit(tmp_path)
    assert (report.with_code("BPB426"), report.verdict) == ([], "consistent")


def _with_progress(
    folder: Path, *, shared: int, own: int, same_training: bool = False, trains: bool = True, same_seed: bool = False,
    said: str = "ttp:",
) -> AuditReport:  # fmt: skip
    """Of two logs with chunks behind their trainings, some of which are the same in both."""
    losses = (2.0312, 2.0372)
    for number, nats in enumerate(losses):
        chunks = [f"{said} b{chunk}/90 bl:{2.3 + chunk / 1e4:.4f} rl:2.2000" for chunk in range(shared)]
        chunks += [f"ttp: b{chunk}/90 bl:{2.4 + chunk / 1e3:.4f} rl:2.{number}" for chunk in range(own * (1 + number))]
        steps = [f"step:{step}/9 train_loss:{(9 if same_training else nats) - step / 9:.4f}" for step in range(9)]
        text = log(nats, SP1024, seed=7 if same_seed else number)
        lines = [*steps, *chunks, *text.split("\n")]
        (folder / f"train_{number}.log").write_text("\n".join(each for each in lines if trains or "step:" not in each))
    mean = sum(bpb(nats, SP1024) for nats in losses) / 2
    (folder / "submission.json").write_text(submission(val_bpb=round(mean, 8)))
    return audit(folder)


def test_two_trainings_with_the_same_losses_behind_them(tmp_path: Path) -> None:
    report = _with_progress(tmp_path, shared=40, own=4)
    (found,) = report.with_code("BPB426")
    assert "train_0.log of seed 0 and train_1.log of seed 1 share 40 of 50 lines with losses" in found.message
    assert {*found.evidence["places"]} == {"train_0.log", "train_1.log"}  # type: ignore[misc]
    assert report.verdict == "unverifiable"


@pytest.mark.parametrize(
    "more",
    [
        {"shared": 40, "own": 7},
        {"shared": 19, "own": 0},
        {"shared": 40, "own": 4, "same_training": True},
        {"shared": 40, "own": 4, "trains": False},
        {"shared": 40, "own": 4, "same_seed": True},
    ],
    ids=["some", "few", "one training", "evaluations alone", "one seed"],
)
def test_losses_that_two_logs_may_share(tmp_path: Path, more: dict[str, int]) -> None:
    report = _with_progress(tmp_path, **more)  # type: ignore[arg-type]
    assert (report.with_code("BPB426"), report.verdict) == ([], "consistent")


def _with_times(folder: Path, times: list[list[str]], *, same_training: bool = False) -> AuditReport:
    """Of two logs with times behind their trainings."""
    losses = (2.0312, 2.0372)
    for number, nats in enumerate(losses):
        steps = [f"step:{step}/9 train_loss:{(9 if same_training else nats) - step / 9:.4f}" for step in range(9)]
        phases = [f"ttpp: phase:{phase} gd:1000 t:{time}" for phase, time in enumerate(times[number])]
        (folder / f"train_{number}.log").write_text("\n".join([*steps, *phases, log(nats, SP1024, seed=number)]))
    mean = sum(bpb(nats, SP1024) for nats in losses) / 2
    (folder / "submission.json").write_text(submission(val_bpb=round(mean, 8)))
    return audit(folder)


@pytest.mark.parametrize("said", ["n-gram alone, order 3:", "reference", "baseline of the contest:", "grid lr=0.1"])
def test_losses_that_no_training_decides(tmp_path: Path, said: str) -> None:
    report = _with_progress(tmp_path, shared=40, own=4, said=said)
    assert (report.with_code("BPB426"), report.verdict) == ([], "consistent")


TIMES = ["182.6s", "197.5s", "250.5s", "287.1s", "316.8s"]


def test_two_trainings_with_the_same_times_behind_them(tmp_path: Path) -> None:
    report = _with_times(tmp_path, [[*TIMES, "400.3s"], [*TIMES, "401.4s"]])
    (found,) = report.with_code("BPB426")
    assert (
        "seed 0 and train_1.log of seed 1 give 5 of 6 times of 100 s and more alike to the last digit" in found.message
    )
    assert "(182.6 s, 197.5 s, 250.5 s, 287.1 s, 316.8 s), in two trainings" in found.message
    assert report.verdict == "unverifiable"


@pytest.mark.parametrize(
    ("first", "second", "same_training"),
    [
        ([*TIMES[:4], "310.1s"], TIMES, False),
        ([*TIMES[:4], "590.0s"], [*TIMES[:4], "590.0s"], False),
        ([*TIMES[:4], "12.5s"], [*TIMES[:4], "12.5s"], False),
        ([*TIMES, *(f"{n}.3s" for n in range(400, 406))], [*TIMES, *(f"{n}.7s" for n in range(400, 406))], False),
        (TIMES, TIMES, True),
        ([each.replace("s", "") for each in TIMES], [each.replace("s", "") for each in TIMES], False),
        ([f"{n}.1s" for n in range(120, 300, 30)], [f"{n}.1s" for n in range(120, 300, 30)], False),
    ],
    ids=["four", "a round one", "a short one", "a part", "one training", "no times", "a heartbeat"],
)
def test_times_that_two_logs_may_share(
    tmp_path: Path, first: list[str], second: list[str], same_training: bool
) -> None:
    report = _with_times(tmp_path, [first, second], same_training=same_training)
    assert (report.with_code("BPB426"), report.verdict) == ([], "consistent")


def test_times_of_a_schedule_in_front_of_the_training_are_shared(tmp_path: Path) -> None:
    _with_times(tmp_path, [TIMES, TIMES])
    for number in range(2):
        file = tmp_path / f"train_{number}.log"
        lines = file.read_text().split("\n")
        file.write_text("\n".join(sorted(lines, key=lambda line: not line.startswith("ttpp"))))
    assert not audit(tmp_path).with_code("BPB426")


def test_a_log_of_all_seeds_beside_them_shares_their_losses(tmp_path: Path) -> None:
    _with_progress(tmp_path, shared=0, own=40)
    texts = [(tmp_path / f"train_{number}.log").read_text() for number in range(2)]
    (tmp_path / "train_2.log").write_text("\n".join([*texts, log(2.0342, SP1024, seed=2)]))
    assert not audit(tmp_path).with_code("BPB426")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("stopping_early: wallclock train_time:600xxx step:~5500/20000", "train_time:600xxx step:~5500/20000"),
        ("stopping_early: train_time:~1046000ms step:5300/20000", "train_time:~1046000ms"),
        ("step:500/1000 val_loss:2.0xx train_time: 600106ms", "val_loss:2.0xx"),
    ],
)
def test_numbers_that_no_program_prints(tmp_path: Path, line: str, words: str) -> None:
    report = _report(tmp_path, sizes=(1_000_001, 1_000_002, 1_000_003), lines=f"{line}\nmodel_")
    (found,) = report.with_code("BPB426")
    assert f"has {words!r}, which no program prints for a number: no run prints this" in found.message
    assert found.message.endswith("the lines were written by hand, or changed")
    assert report.verdict == "unverifiable"


@pytest.mark.parametrize(
    "line",
    [
        "stopping_early: wallclock train_time:600106ms step:5583/20000",
        "Hardware: 8xxH100, about ~600 s, eta:~10m",
        "mask:0xxff step:100xyz nextstep:~5 val_bpbs:~1.2",
        "train_time:600x speed",
        "model=12xx layers",
    ],
)
def test_numbers_that_a_program_may_print(tmp_path: Path, line: str) -> None:
    report = _report(tmp_path, sizes=(1_000_001, 1_000_002, 1_000_003), lines=f"{line}\nmodel_")
    assert (report.with_code("BPB426"), report.verdict) == ([], "consistent")


def test_a_guess_that_the_script_prints_itself(tmp_path: Path) -> None:
    (tmp_path / "train_gpt.py").write_text('print(f"train_time:~{guess}ms")\n')
    report = _report(tmp_path, sizes=(1_000_001, 1_000_002, 1_000_003), lines="train_time:~1046000ms\nmodel_")
    assert report.with_code("BPB426") == []
    (tmp_path / "train_gpt.py").write_text('print(f"train_time:{time}ms")\n')
    assert audit(tmp_path).with_code("BPB426")
