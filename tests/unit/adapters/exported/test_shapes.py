"""Conditions and ranges of sizes: what they say, what is no arithmetic, and which inputs a program was made for."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from bpb_harness.adapters.exported.shapes import ShapeRules, read_shape_rules
from bpb_harness.errors import UnsafeCheckpointError

_SIZE = "L['x'].size()[{}]"


def rules(*conditions: Any, ranges: Any = None, sizes: Any = None, dtype: int = 5) -> ShapeRules:
    stated = sizes or [{"as_expr": {"expr_str": "s0"}}, {"as_expr": {"expr_str": "s1"}}]
    program = {"guards_code": list(conditions), "range_constraints": ranges or {}}
    return read_shape_rules(program, {"tensor_values": {"x": {"dtype": dtype, "sizes": stated}}}, ["x"], "f")


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("a == b", False), ("a != b", True), ("a < b", True), ("a <= b", True), ("a > b", False), ("a >= b", False),
        ("a == 2", True), ("a <= 2", True), ("a < 2", False), ("a >= 2", True), ("a > 2", False),
        ("a + b == 7", True), ("b - a == 3", True), ("a * b == 10", True), ("b // a == 2", True), ("b % a == 1", True),
        ("-a == -2", True), ("--a == a", True), ("not a == b", True), ("not a < b", False),
        ("a == 2 and b == 5", True), ("a == 2 and b == 6", False), ("a == 3 or b == 5", True),
        ("a == 3 or b == 6", False), ("a == 2 and b == 5 and a == b", False), ("a == 1 or b == 1 or a < b", True),
        ("max(a, b) == 5", True), ("Max(a, b) == 5", True), ("min(a, b) == 2", True), ("Min(a, b) == 2", True),
        ("Max(1, a, b, 9) == 9", True), ("Min(b) == 5", True), ("2 < b < 6", True), ("2 < b < 5", False),
        ("6 > b > 5", False), ("1", True), ("0", False), ("True", True), ("a - 2", False), ("a", True),
    ],
)  # fmt: skip
def test_arithmetic_on_sizes(text: str, holds: bool) -> None:
    spelt = text.replace("a ", f"{_SIZE.format(0)} ")
    for name, dim in (("a", 0), ("b", 1)):
        spelt = "".join(_SIZE.format(dim) if part == name else part for part in _letters(spelt))
    assert (rules(spelt).why_not([torch.zeros(2, 5)]) is None) is holds


def _letters(text: str) -> list[str]:
    """Single letters that stand alone, and what is between them."""
    parts, word = [], ""
    for sign in [*text, " "]:
        if sign.isalnum() or sign in "_'[.":
            word += sign
        else:
            parts += [word, sign]
            word = ""
    return parts[:-1]


@pytest.mark.parametrize(
    "text",
    [
        "f()", "max()", "abs(a)", "max(1, key=2)", "L", "L['y'].size()[0] == 1", "L['x'].size()[2] == 1", "1 / 1",
        "2 ** 3", "1 << 3", "~1", "+1", "'a'", "1.5", "None", "1 is 1", "1 in [1]", "lambda: 1", "x", "L['x'].shape[0]",
        "L['x'].size(0)[0]", "M['x'].size()[0]", "L['x'].dim()[0]", "L['x'].size()['a']", "L[0].size()[0]", "1 // 0",
        "1 % 0", "", "1 ==", "1; 2", "(" * 300 + "1" + ")" * 300, "1 + " * 600 + "1", 5, None, "max(*a)", "[1][0]",
        "1 if 1 else 0", "(a := 1)", "sum(1, 2)", "eval('1')",
    ],
)  # fmt: skip
def test_what_is_no_arithmetic_is_refused(text: Any) -> None:
    with pytest.raises(UnsafeCheckpointError, match="a condition on sizes that is no arithmetic"):
        rules(text)


def test_the_longest_condition_has_two_thousand_letters() -> None:
    assert rules("1" + " " * 1999).why_not([torch.zeros(2, 5)]) is None
    with pytest.raises(UnsafeCheckpointError):
        rules("1" + " " * 2000)


def test_sizes_stated_as_numbers_or_names() -> None:
    numbers = rules(sizes=[{"as_int": 2}, {"as_int": 0}])
    assert numbers.sizes == ((2, 0),)
    assert numbers.why_not([torch.zeros(2, 0)]) is None
    assert numbers.why_not([torch.zeros(2, 1)]) == "size 0 of x in dimension 1"
    assert numbers.why_not([torch.zeros(2)]) == "x with 2 dimensions"
    for spelt in ("s7", "u7", "Symbol('s7')", "Symbol('s7', positive=True, integer=True)"):
        same = rules(sizes=[{"as_expr": {"expr_str": spelt}}] * 2)
        assert same.sizes == ((spelt[8:10] if "S" in spelt else spelt,) * 2,)
        assert same.why_not([torch.zeros(4, 4)]) is None
        assert same.why_not([torch.zeros(4, 5)]) == "size 4 of x in dimension 1"
    for stated in (
        {"as_int": -1}, {"as_int": True}, {"as_int": 1.0}, {}, {"as_int": 1, "as_expr": {}}, 5,
        *({"as_expr": {"expr_str": text}} for text in ("2*s0", "x0", "s", "s1234567", "s0 ", 5, None)),
        {"as_expr": 5},
    ):  # fmt: skip
        with pytest.raises(UnsafeCheckpointError, match="a size of its input 'x' that is not a number or a name"):
            rules(sizes=[stated])


def test_ranges_of_names_hold_and_those_of_expressions_say_nothing() -> None:
    stated = {"s0": {"min_val": 2, "max_val": 3}, "2*s0": {"min_val": 100, "max_val": 100}, "s9": {"min_val": 5}}
    found = rules(ranges=stated)
    assert found.ranges == {"s0": (2, 3), "s9": (5, 1 << 63)}
    assert [found.why_not([torch.zeros(n, 5)]) for n in (1, 2, 3, 4)] == [
        "a size in 2 .. 3", None, None, "a size in 2 .. 3"
    ]  # fmt: skip
    assert rules(ranges={"s1": {"max_val": None, "min_val": None}}).ranges == {"s1": (-(1 << 63), 1 << 63)}
    for wrong in (
        {"s0": 5}, {"s0": {"min_val": 1.5}}, {"s0": {"max_val": True}}, {"s0": {"min_val": "1"}}, {"a.b": {}},
        {"__import__('os')[0]": {}}, {"": {}}, {"1" * 401: {}},
    ):  # fmt: skip
        with pytest.raises(UnsafeCheckpointError, match="a range of sizes that is not understood"):
            rules(ranges=wrong)
    assert rules(ranges={"1" * 400: {}}).ranges == {}
    with pytest.raises(UnsafeCheckpointError, match="a range of sizes that is not understood"):
        read_shape_rules({"range_constraints": [1]}, {"tensor_values": {}}, [], "f")


def test_what_a_program_states_of_its_inputs() -> None:
    found = rules(dtype=7)
    assert (found.inputs, found.dtypes, found.sizes, found.conditions) == (
        ("x",), (torch.float32,), (("s0", "s1"),), ()
    )  # fmt: skip
    assert read_shape_rules({}, {"tensor_values": {}}, [], "f") == ShapeRules((), (), (), {}, ())
    two = {"tensor_values": {name: {"dtype": 5, "sizes": [{"as_expr": {"expr_str": "s0"}}]} for name in "xy"}}
    pair = read_shape_rules({}, two, ["x", "y"], "f")
    assert pair.why_not([torch.zeros(3), torch.zeros(3)]) is None
    assert pair.why_not([torch.zeros(3), torch.zeros(4)]) == "size 3 of y in dimension 0"
    for dtype in (True, 99, None, "5"):
        with pytest.raises(UnsafeCheckpointError, match="type of its input 'x'"):
            rules(dtype=dtype)  # type: ignore[arg-type]
