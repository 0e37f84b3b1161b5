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


@pytest.mark.parametrize(
    ("claimed", "decimals", "other", "half_unit", "agrees"),
    [
        *((1.1194, 4, 1.1195, 0.0, True), (1.1194, 4, 1.11951, 0.0, False), (1.1194, 4, 1.1293, 0.005, True)),
        *((1.1194, 4, 1.1295, 0.005, False), (3.0, 0, 2.0, 0.0, True), (3.0, 0, 1.99, 0.0, False)),
        *((1.2, None, 1.2, 0.0, True), (1.2, None, 1.2 + 1e-13, 0.0, True), (1.2, None, 1.2 + 1e-11, 0.0, False)),
        *((1000.0, 0, 1001.0 + 5e-7, 0.0, False), (1.2, None, 1.3, 0.05, True), (1.2, None, 1.31, 0.05, False)),
    ],
)
def test_the_slack_is_a_whole_unit_of_the_coarser_print(
    claimed: float, decimals: int | None, other: float, half_unit: float, agrees: bool
) -> None:
    assert Printed(claimed, decimals, HERE).agrees_with(other, half_unit) is agrees


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (Printed(1.1, 4, HERE), "1.1000"),
        (Printed(1 / 3, 20, HERE), "0.333333333333"),
        (Printed(1 / 3, None, HERE), "0.33333333"),
    ],
)
def test_a_number_is_shown_with_its_digits(number: Printed, shown: str) -> None:
    assert str(number) == shown


@pytest.mark.parametrize(
    ("place", "shown"),
    [(Source("f"), "f"), (Source("f", 3), "f:3"), (Source("f", key="k"), "f (k)"), (Source("f", 3, "k"), "f:3 (k)")],
)
def test_a_place_is_shown(place: Source, shown: str) -> None:
    assert str(place) == shown


@pytest.mark.parametrize(
    ("text", "value"), [("1" * 64, float("1" * 64)), ("1" * 65, None), (" 1.5 ", 1.5), ("1,000.5", 1000.5)]
)
def test_numbers_are_bounded_in_length(text: str, value: float | None) -> None:
    number = parse_number(text, HERE, "name")
    assert (number.value if number else None) == value
    assert number is None or (number.source, number.name) == (HERE, "name")


@pytest.mark.parametrize(("exponent", "decimals"), [(-50, 30), (5, 0), (-2, 3)])
def test_decimals_are_bounded(exponent: int, decimals: int) -> None:
    assert decimals_of(f"1.5e{exponent}") == decimals


def test_a_number_far_into_a_cell_is_none() -> None:
    assert parse_leading_number(" " * 150 + "1.2", HERE) == Printed(1.2, 1, HERE)
    assert parse_leading_number(" " * 250 + "1.2", HERE) is None


@pytest.mark.parametrize(
    ("held", "number"),
    [
        (5, Printed(5.0, 0, HERE, "n")),
        (10**18 - 1, Printed(float(10**18 - 1), 0, HERE, "n")),
        (10**18, None),
        (-(10**18), None),
        (1.5, Printed(1.5, None, HERE, "n")),
        (float("inf"), None),
        (PrintedFloat("1e999"), None),
        (PrintedFloat("1.50"), Printed(1.5, 2, HERE, "n")),
        ("1.50 or so", Printed(1.5, 2, HERE, "n")),
        ("about 1.5", None),
        (False, None),
        ({"n": 1.5}, None),
    ],
)
def test_json_numbers_carry_their_place_and_name(held: object, number: Printed | None) -> None:
    assert from_json(held, HERE, "n") == number


@pytest.mark.parametrize(
    ("held", "count"), [(0, 0), (10**15 - 1, 10**15 - 1), (10**15, None), ("5 tokens", 5), ("5.5", None), (True, None)]
)
def test_counts_are_bounded(held: object, count: int | None) -> None:
    assert count_from_json(held) == count
