"""Numbers as they were printed."""

from __future__ import annotations

import pytest

from bpb_harness.claim.printed import (
    Printed,
    PrintedFloat,
    Source,
    count_from_json,
    decimals_of,
    from_json,
    parse_leading_number,
    parse_number,
)

HERE = Source("f")


@pytest.mark.parametrize(
    ("text", "decimals"), [("1.1465", 4), ("1.10", 2), ("3", 0), ("1e-3", 3), ("1.5e-3", 4), ("2.5e1", 0), (".5", 1)]
)
def test_decimals_are_those_that_were_shown(text: str, decimals: int) -> None:
    assert decimals_of(text) == decimals


@pytest.mark.parametrize(
    "text", ["", "nan", "inf", "1.2.3", "1,2", "0x10", "1_000", "--1", "1e999", "1" * 100, "\u0661\u0662"]
)
def test_what_is_not_one_finite_number_is_none(text: str) -> None:
    assert parse_number(text, HERE) is None


def test_thousands_are_understood() -> None:
    number = parse_number("15,524,240", HERE)
    assert number is not None
    assert number.value == 15_524_240


@pytest.mark.parametrize(
    ("text", "value"),
    [("1.1194 (3-seed mean)", 1.1194), ("**1.08**", 1.08), ("~1.2 +- 0.1", 1.2), ("`1.5`", 1.5), ("<= 1.9", 1.9)],
)
def test_a_cell_may_start_with_its_number(text: str, value: float) -> None:
    number = parse_leading_number(text, HERE)
    assert number is not None
    assert number.value == value


@pytest.mark.parametrize("text", ["v1.2", "one", "1.2.3", "", "- 1"])
def test_a_cell_that_starts_with_no_number(text: str) -> None:
    assert parse_leading_number(text, HERE) is None


def test_rounding_explains_a_difference_of_a_last_digit_only() -> None:
    claimed = Printed(1.1194, 4, HERE)
    assert claimed.agrees_with(1.11938)
    assert claimed.agrees_with(1.11940001)
    assert not claimed.agrees_with(1.1197)


def test_json_values_keep_their_digits() -> None:
    assert from_json(PrintedFloat("1.10"), HERE) == Printed(1.1, 2, HERE)
    assert from_json(True, HERE) is None
    assert from_json(None, HERE) is None
    assert from_json([1.0], HERE) is None
    assert from_json(float("nan"), HERE) is None


@pytest.mark.parametrize(
    ("held", "count"),
    [(5, 5), ("62,021,632", 62_021_632), (PrintedFloat("5.0"), 5), (5.5, None), (-1, None), (None, None)],
)
def test_counts_are_whole(held: object, count: int | None) -> None:
    assert count_from_json(held) == count
