"""The clock of a log: where its time gets shorter although training goes on."""

from __future__ import annotations

import pytest

from bpb_harness.claim.log_reader import read_log

STEP = "step:{}/20000 train_loss:1.9867 train_time:{}ms step_avg:{:.2f}ms"
STOP = "stopping_early: wallclock_cap train_time:{}ms step:{}/20000"


def _back(*lines: str) -> list[tuple[int | None, float, int | None, float, bool]]:
    found = read_log("\n".join(lines), "train.log").clock_back
    return [(each.earlier.line, each.at, each.later.line, each.behind, each.is_stop) for each in found]


def _step(step: int, milliseconds: int, each: float | None = None) -> str:
    return STEP.format(step, milliseconds, milliseconds / step if each is None else each)


def test_a_stop_before_the_last_step() -> None:
    lines = (_step(7100, 600_000), _step(7184, 600_612), STOP.format(599_820, 7184))
    assert _back(*lines) == [(2, 600_612.0, 3, 599_820.0, True)]
    assert _back(lines[1], lines[2].replace("train_time:", "train_time: ").replace("step:", "step: ")) != []


@pytest.mark.parametrize(
    "stop",
    [
        STOP.format(600_612, 7184),
        STOP.format(600_620, 7184),
        STOP.format(600_600, 7184),  # by less than a step takes: another of several processes printed it
        STOP.format(0, 7184),
        STOP.format(599_820, 7100),  # of another process, or run
        "stopping_early: loss train_time:599820ms",
    ],
)
def test_stops_that_are_where_they_should_be(stop: str) -> None:
    assert _back(_step(7184, 600_612), stop) == []


def test_a_stop_of_another_run() -> None:
    final = "final_exact val_loss:2.0 val_bpb:1.18"
    assert _back(_step(7184, 600_612), final, "seed:2", STOP.format(599_820, 7184)) == []
    assert len(_back(_step(7184, 600_612), final, STOP.format(599_820, 7184))) == 1


def test_one_step_that_is_ahead_of_the_clock() -> None:
    fitting, ahead = _step(3000, 253_467), _step(2900, 264_978, 84.47)
    assert _back(_step(2800, 236_556), ahead, fitting) == [(2, 264_978.0, 3, 253_467.0, False)]


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        (_step(2900, 264_978), _step(3000, 253_467)),  # of two processes, each with its own average
        (_step(2900, 264_978), _step(3000, 8_447, 84.47)),  # resumed, by a clock of its own
        (_step(2900, 264_978, 84.47), _step(3000, 8_447, 84.47)),
        (_step(2900, 264_978, 84.47), _step(3000, 265_000)),
        (_step(2900, 264_978, 84.47), _step(100, 8_447)),  # training begins anew
        (_step(2900, 246_000, 84.47), _step(3000, 245_900)),  # within what is printed of the average
        ("step:2900/20000 train_loss:1.9 train_time:264978ms", _step(3000, 253_467)),
    ],
)
def test_clocks_of_several_runs(earlier: str, later: str) -> None:
    assert _back(earlier, later) == []


def test_steps_of_code_are_none() -> None:
    code = 'log0(f"stopping_early: wallclock_cap train_time:{t:.0f}ms step:{step}/{n}")'
    assert _back(_step(7184, 600_612), code) == []
