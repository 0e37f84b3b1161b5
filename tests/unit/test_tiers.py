"""The everyday suite keeps a case of what is repeated, and what it leaves to the thorough tier names a nearby test."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.tiers import of_this_tier, some_of, thorough, times

_TESTS = Path(__file__).parents[1]


def _uses() -> Iterator[tuple[str, ast.Call]]:
    for path in sorted(_TESTS.rglob("*.py")):
        text = path.read_text("utf-8")
        if "tests.tiers import" not in text or path == Path(__file__):
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("some_of", "times"):
                yield f"{path.relative_to(_TESTS)}:{node.lineno}", node


def test_a_tier_never_has_no_case() -> None:
    for everyday in (-1, 0, 3, 4):
        with pytest.raises(ValueError, match="of 3 cases"):
            some_of("abc", everyday=everyday)
    for everyday, more in ((0, 5), (5, 5), (6, 5)):
        with pytest.raises(ValueError, match="more than that thoroughly"):
            times(everyday, thorough=more)


@pytest.mark.parametrize(("is_thorough", "cases", "number"), [(False, ["a", "b"], 10), (True, ["a", "b", "c"], 200)])
def test_the_thorough_one_has_those_of_every_day_and_more(is_thorough: bool, cases: list[str], number: int) -> None:
    assert some_of("abc", everyday=2, is_thorough=is_thorough) == cases
    assert times(10, thorough=200, is_thorough=is_thorough) == number


def test_nothing_else_tells_the_tiers_apart() -> None:
    """A test that asked by itself could leave out what is the only one of its kind."""
    asking = {
        path.relative_to(_TESTS).as_posix()
        for path in _TESTS.rglob("*.py")
        if any(word in path.read_text("utf-8") for word in ("IS_THOROUGH", "BPB_THOROUGH"))
    }
    assert asking == {"tiers.py", "unit/test_tiers.py"}


def test_every_use_says_in_numbers_what_is_kept_every_day() -> None:
    uses = dict(_uses())
    assert len(uses) >= 5
    for place, call in uses.items():
        named = {keyword.arg: keyword.value for keyword in call.keywords}
        everyday = named["everyday"] if call.func.id == "some_of" else call.args[0]  # type: ignore[attr-defined]
        assert isinstance(everyday, ast.Constant), place
        assert everyday.value >= 1, place


def _is_mark(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "thorough"


def _left(text: str) -> Iterator[tuple[str, str]]:
    """The tests of a file that are left to the thorough tier, or cases of them, and the test that each names."""
    tree = ast.parse(text)
    names = {
        mark: node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) for mark in node.decorator_list
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            assert not any(map(_is_mark, node.decorator_list)), f"{node.name} has many tests: each names another"
        if isinstance(node, ast.Call) and _is_mark(node):
            (keyword,) = node.keywords
            yield names.get(node, f"cases of line {node.lineno}"), ast.literal_eval(keyword.value)


def test_who_is_left_to_the_thorough_tier_names_a_test_of_every_day() -> None:
    files = {path.relative_to(_TESTS).as_posix(): path.read_text("utf-8") for path in _TESTS.rglob("test_*.py")}
    marked = {path: text for path, text in files.items() if "thorough(everyday=" in re.sub(r"\s", "", text)}
    del marked[Path(__file__).relative_to(_TESTS).as_posix()]
    left = {f"{path}::{name}": day for path, text in marked.items() for name, day in _left(text)}
    assert len(left) >= 10
    for place, everyday in left.items():
        path, _, name = everyday.partition("::")
        assert f"def {name.rpartition('::')[2]}(" in files.get(path, ""), f"{place} names {everyday}, which is no test"
        assert everyday not in left, f"{place} names {everyday}, which is left to the thorough tier as well"


def test_a_test_that_is_left_runs_thoroughly_alone(request: pytest.FixtureRequest) -> None:
    other = pytest.Function.from_parent(request.node.parent, name="other", callobj=lambda: None)
    left = pytest.Function.from_parent(request.node.parent, name="left", callobj=lambda: None)
    left.add_marker(thorough(everyday="unit/test_tiers.py::test_a_tier_never_has_no_case"))
    assert of_this_tier([left, other], is_thorough=False) == ([other], [left])
    assert of_this_tier([left, other], is_thorough=True) == ([left, other], [])


def test_hypothesis_looks_at_no_clock():
    """A machine that is busy fails no test; settings of a test's own begin with these."""
    own = hypothesis.settings(max_examples=3)
    assert own.deadline is None
    assert hypothesis.HealthCheck.too_slow in own.suppress_health_check
