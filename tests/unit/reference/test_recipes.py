"""The rows of docs/recipes.md: each is a run that the trainer takes, and no two of them are the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from reference.settings import ON_A_GPU, PRESETS, Training
from tests.benchmarks.recipes import ROWS, SMALL

DATA = {"data": (Path("train.bin"),), "tokenizer": Path("m.model"), "out": Path("m.pt"), "minutes": 1.0}


@pytest.mark.parametrize("row", ROWS)
def test_every_row_can_be_trained_in_either_size(row: str) -> None:
    for small in ({}, SMALL):
        Training(**{**DATA, **ON_A_GPU, **ROWS[row], **small})


def test_no_row_stands_under_two_names() -> None:
    identities = [Training(**{**DATA, **ON_A_GPU, **changes}).identity() for changes in ROWS.values()]
    assert all(identities.count(each) == 1 for each in identities)


def test_every_preset_is_a_row() -> None:
    identities = [Training(**{**DATA, **ON_A_GPU, **changes}).identity() for changes in ROWS.values()]
    for name in PRESETS.keys() - {"cpu"}:
        assert Training(**{**DATA, **PRESETS[name]}).identity() in identities, name


@pytest.mark.parametrize(
    ("begin", "end", "count", "in_the_history"),
    [
        ("Fourth command", "\nFP8 products", 14, set()),
        ("Fifth command", "\nSeventh command", 6, {"value-embeddings", "skips"}),
        (
            "Seventh command",
            "\n## 480 seconds",
            9,
            {"logit-cap", "input-mix", "polar-express", "even-rows", "cautious-decay"},
        ),
    ],
)
def test_the_last_tables_are_of_rows_in_the_tree(
    repository: Path, begin: str, end: str, count: int, in_the_history: set[str]
) -> None:
    """What the page says of a name that is here is of that row; those that are not are said to be in the history."""
    text = (repository / "docs" / "recipes.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| `([a-z0-9-]+)`", text[text.index(begin) : text.index(end)], re.MULTILINE)
    assert set(named) - ROWS.keys() == in_the_history
    assert len(named) == count
