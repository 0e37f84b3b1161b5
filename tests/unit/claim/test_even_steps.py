"""Times between lines of training that are alike to the millisecond, more often than any clock measures them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import accumulate, pairwise

import pytest

from bpb_harness.claim.log_reader import read_log

SCATTERED = [13_900 + off for off in (29, 65, 97, 104, 115, 9, 3, -13, 71, 133, 46, 57)]


def _lines(times: Sequence[int], steps: int = 200, unit: str = "ms", what: str = "train_loss:2.1") -> str:
    passed = accumulate(times, initial=60)
    return "\n".join(
        f"step:{(number + 1) * steps}/20000 {what} train_time:{at}{unit} step_avg:69.63ms"
        for number, at in enumerate(passed)
    )


def _found(text: str) -> list[tuple[int, int, int, int | None, int | None]]:
    rows = read_log(text, "train.log").even_steps
    return [(row.count, row.milliseconds, row.steps, row.first.line, row.last.line) for row in rows]


def test_eight_times_in_a_row() -> None:
    text = _lines([*SCATTERED, *[13_900] * 8, 13_921])
    assert _found(text) == [(8, 13_900, 200, 13, 21)]
    (row,) = read_log(text, "train.log").even_steps
    assert row.deviation == 40.0  # the median distance from the median, 13,957


def test_times_next_to_the_row_that_scatter_less() -> None:
    calm = [13_900 + off for off in (2, -3, 4, -2, 3, 5, -4, 2)]
    assert _found(_lines([*SCATTERED, *calm, *[13_900] * 6])) == []
    (row,) = read_log(_lines([*SCATTERED, *calm, *[13_900] * 10]), "train.log").even_steps
    assert row.deviation < 4.0
    assert _found(_lines([*SCATTERED, *[13_900] * 6])) == [(6, 13_900, 200, 13, 19)]


def test_validations_between_them_are_no_steps() -> None:
    lines = _lines([*SCATTERED, *[13_900] * 8]).split("\n")
    validated = lines[16].replace("train_loss:2.1", "val_loss:2.0 val_bpb:1.2").replace("ms step_avg", "9ms step_avg")
    assert _found("\n".join([*lines[:17], validated, *lines[17:]])) == [(8, 13_900, 200, 13, 22)]


@pytest.mark.parametrize(
    "text",
    [
        _lines([*SCATTERED, *[13_900] * 5]),
        _lines([*SCATTERED[:9], *[13_900] * 8]),  # too few others to know how they scatter
        _lines([*SCATTERED, *[13_900] * 8], steps=5),
        _lines([*SCATTERED, *[13_900] * 8], unit=".0ms"),
        _lines([13_900] * 30),  # a clock that is worked out, not read
        _lines([*SCATTERED, 13_901, *[13_900] * 8]),  # as steady as that
        _lines([1_000 * (13 + number % 3) for number in range(12)] + [14_000] * 8),  # whole seconds
        _lines([*SCATTERED, *[13_900] * 8], what="val_loss:2.1"),
    ],
    ids=["five", "few others", "few steps", "parts of one", "all", "steady", "seconds", "validations"],
)
def test_times_that_a_clock_may_measure(text: str) -> None:
    assert _found(text) == []


@pytest.mark.parametrize("scatter", [0.3, 1.0, 3.0, 30.0])
def test_clocks_of_runs_are_never_so_even(scatter: float) -> None:
    draws = random.Random(5)
    for _ in range(200):
        passed = [round(each) for each in accumulate(draws.gauss(664.0, scatter) for _ in range(100))]
        assert _found(_lines([later - at for at, later in pairwise(passed)], steps=10)) == []


def test_a_run_for_itself() -> None:
    one = _lines([*SCATTERED, *[13_900] * 4])
    assert _found(f"{one}\nfinal_exact val_loss:2.0 val_bpb:1.2\nseed:7\n{_lines([13_900] * 4)}") == []
