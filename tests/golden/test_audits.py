"""Whole reports stay as they are, word for word and fact for fact: see :mod:`tests.golden.audits`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.golden.audits import CASES, STORED, outcome


@pytest.fixture(scope="module")
def stored() -> dict[str, Any]:
    reports: dict[str, Any] = json.loads(STORED.read_text(encoding="utf-8"))
    return reports


def _leaves(value: Any, place: str = "") -> dict[str, Any]:
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {leaf: held for key, inner in items for leaf, held in _leaves(inner, f"{place}/{key}").items()}
    return {place: value}


@pytest.mark.parametrize("case", CASES)
def test_a_report_says_what_it_said(case: str, stored: dict[str, Any], tmp_path: Path) -> None:
    before, now = _leaves(stored[case]), _leaves(json.loads(json.dumps(outcome(case, tmp_path))))
    assert now.keys() == before.keys()
    for place, value in now.items():
        if isinstance(value, float):  # sums are added in another order by another Python
            assert value == pytest.approx(before[place], rel=1e-9), place
        else:
            assert value == before[place], place


def test_every_stored_report_is_of_a_case(stored: dict[str, Any]) -> None:
    assert list(stored) == CASES
