"""Every example of docs/testing-kit.md runs, in order, and its workflow file is one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bpb_harness.testing import FALSE_ALARM_RATE
from fixtures.adversarial.estimators import CORRECT, GALLERY
from tests.statistical.power import END, START
from tests.tiers import thorough


def _examples(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


@thorough(everyday="statistical/test_check_elbo.py::test_the_report_is_for_people_too")
def test_examples_run(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = repository / "docs" / "testing-kit.md"
    examples = _examples(page)
    assert len(examples) == 6
    names: dict[str, object] = {}
    for number, example in enumerate(examples, 1):
        exec(compile(example, f"{page.name}, example {number}", "exec"), names)
    tests = [value for name, value in names.items() if name.startswith("test_")]
    assert len(tests) == 4
    for test in tests:
        test()
    printed = capsys.readouterr().out
    assert "CORRECT as far as can be seen" in printed
    assert "1e-06 added inside the weight" in printed
    assert "NO CODE LENGTH" in printed


def test_the_page_states_the_rate(repository: Path) -> None:
    page = (repository / "docs" / "testing-kit.md").read_text(encoding="utf-8")
    assert f"one call in {round(1 / FALSE_ALARM_RATE):,} at most" in page


def test_the_page_says_what_is_found_of_every_mistake(repository: Path) -> None:
    """Numbers are measured by tests.statistical.power; here each mistake of the gallery has a row, and no other."""
    page = (repository / "docs" / "testing-kit.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (.+?) \|", page.partition(START)[2].partition(END)[0], flags=re.MULTILINE)
    names = [item.name for item in GALLERY if item.estimate_nats is not None]
    assert rows == ["estimator", *names, f"{len(CORRECT)} correct estimators"]


def test_the_workflow_runs_the_page_s_test(repository: Path) -> None:
    workflow = (repository / "docs" / "examples" / "likelihood-tests.yml").read_text(encoding="utf-8")
    assert "tests/test_likelihood.py" in workflow
    assert "\t" not in workflow
    assert re.search(r"^jobs:$", workflow, flags=re.MULTILINE)
    assert "bpb-harness" in workflow


def test_cited_equations_exist(repository: Path) -> None:
    """Every "MATHS.md, equation n" in the code has an equation n in MATHS.md, numbered once."""
    maths = (repository / "bpb_harness" / "MATHS.md").read_text(encoding="utf-8")
    defined = [int(number) for number in re.findall(r"\s\((\d+)\)$", maths, flags=re.MULTILINE)]
    assert sorted(defined) == list(range(1, len(defined) + 1))
    cited = set()
    for path in (repository / "bpb_harness").rglob("*.py"):
        text = re.sub(r"\s+", " ", path.read_text(encoding="utf-8"))
        for first, last in re.findall(r"MATHS\.md,? equations? \(?(\d+)\)?(?: to \(?(\d+)\)?)?", text):
            cited |= set(range(int(first), int(last or first) + 1))
    assert cited, "no citation found: has their form changed?"
    assert cited <= set(defined)
