"""docs/tables.md names exactly the columns that tables have."""

from __future__ import annotations

import re
from dataclasses import fields

import pytest

from bpb_harness.evaluation.score import score
from bpb_harness.result import SliceScore
from tests.answers import answers_job
from tests.oracles.conditionals import Table
from tests.oracles.denoisers import OracleDenoiser
from tests.unit.evaluation.test_document_table import job_of


@pytest.fixture(scope="module")
def page(repository):
    return (repository / "docs" / "tables.md").read_text("utf-8")


def named(page: str, section: str) -> dict[str, bool]:
    """The columns that a section names, in order, and whether they may be missing."""
    body = page.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    table = body.partition("| column |")[2].partition("\n\n")[0]
    cells = [row.split("|")[1] for row in table.splitlines()[2:]]
    return {name: bool(star) for cell in cells for name, star in re.findall(r"`(\w+)`(\*?)", cell)}


def required(page: str, section: str) -> set[str]:
    return {name for name, may_miss in named(page, section).items() if not may_miss}


def test_every_column_is_on_the_page_and_no_other(page, tmp_path):
    everything = {"stride": 2, "with_windows": True, "with_tokens": True, "surprisal": True}
    full = score(job_of(tmp_path, method="mc", num_samples=2, **everything))
    bare = score(
        job_of(tmp_path, method="chain", byte_rule="none", slice_field=None, with_windows=True, with_tokens=True)
    )
    for section in ("Windows", "Tokens", "Documents"):
        assert list(getattr(full, section.lower()).columns) == list(named(page, section))
        assert set(getattr(bare, section.lower()).columns) == required(page, section)
    slices = [*(each.name for each in fields(SliceScore)), "bits_per_unit"]
    assert slices == list(named(page, "Slices"))
    assert [*full.to_dict()["slices"][0]] == slices


def test_every_column_of_answers_is_on_the_page(page, tmp_path):
    rows = [("ab", "c"), ("", "ba")]
    for rule, columns in (("official", set(named(page, "Answers"))), ("none", required(page, "Answers"))):
        made = answers_job(tmp_path, rows, OracleDenoiser(Table(3, seed=1)), method="chain", byte_rule=rule)
        assert set(score(made).windows.columns) == columns
