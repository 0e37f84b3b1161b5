"""The everyday suite keeps a case of everything: what is left to the thorough tier are repetitions alone."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tiers import some_of, times

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
    for everyday, thorough in ((0, 5), (5, 5), (6, 5)):
        with pytest.raises(ValueError, match="more than that thoroughly"):
            times(everyday, thorough=thorough)


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
