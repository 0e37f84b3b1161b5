"""Makefile, workflow, hooks and pages agree with pyproject.toml and with each other."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_WIDTH = 120
_PAGES = sorted(
    path
    for path in (*_ROOT.glob("*.md"), *_ROOT.glob("[!.]*/**/*.md"), *_ROOT.glob(".github/*.md"))
    if "fixtures/claims/" not in path.as_posix() and "mutants" not in path.relative_to(_ROOT).parts
)


def too_long(text: str) -> list[int]:
    """Numbers of the lines above 120 columns, but for rows of tables and lines without a place to break."""
    return [
        number
        for number, line in enumerate(text.splitlines(), 1)
        if len(line) > _WIDTH and not line.lstrip().startswith("|") and " " in line.strip().removeprefix("- ")
    ]


def _targets() -> dict[str, str]:
    """The Makefile's targets that are no files, and the line that `make help` has of each ('' without one)."""
    text = (_ROOT / "Makefile").read_text("utf-8")
    names = re.findall(r"^\.PHONY: (.*)$", text, flags=re.MULTILINE)[0].split()
    helps = dict(re.findall(r"^([a-z]+):.*## (.+)$", text, flags=re.MULTILINE))
    return {name: helps.get(name, "") for name in names}


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: str(page.relative_to(_ROOT)))
def test_pages_are_wrapped(page: Path) -> None:
    assert too_long(page.read_text("utf-8")) == []


def test_long_lines_are_found() -> None:
    long = "word " * 24 + "w"
    assert too_long(f"short\n{long}\n| {long} |\n- {'x' * 130}\n  {long}\n") == [2, 5]
    assert too_long("w" * 60 + " " + "w" * 59) == []
    assert _ROOT / "README.md" in _PAGES
    assert _ROOT / "bpb_harness" / "MATHS.md" in _PAGES


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "SECURITY.md", "RELEASE.md"])
def test_files_that_a_page_names_are_there(page: str) -> None:
    """Whole paths, or as they are below the package; a name in capitals is the reader's to choose."""
    named = set(re.findall(r"`([\w./]+/[\w.]*)`", (_ROOT / page).read_text("utf-8")))
    named = {name for name in named if not re.search(r"/[A-Z]+\.py$|/test_[A-Z]+\.py$", name)}
    assert len(named) >= 3
    assert [name for name in sorted(named) if not any((_ROOT / at / name).exists() for at in ("", "bpb_harness"))] == []


def test_every_file_of_an_audit_is_in_the_list_of_its_package() -> None:
    """To which CONTRIBUTING.md sends whoever adds a check."""
    package = _ROOT / "bpb_harness" / "auditing"
    listed = (package / "__init__.py").read_text("utf-8").split('"""')[1]
    files = {path.name for folder in (package, package / "checks") for path in folder.glob("*.py")}
    assert {name for name in files if not re.search(rf"\b{name}\b", listed)} == {"__init__.py"}


def test_the_list_of_the_domains_of_scripts_is_whole() -> None:
    package = _ROOT / "bpb_harness" / "auditing" / "script"
    said = (package / "__init__.py").read_text("utf-8").split("domains/")[1].split("checks/")[0]
    listed = [name for group in re.findall(r"\(([^)]*)\)", said) for name in group.replace("\n", " ").split(",")]
    files = [file.stem for file in (package / "domains").glob("*.py")]
    assert sorted(name.strip() for name in listed) == sorted(set(files) - {"__init__"})


def test_make_help_has_a_line_for_every_target() -> None:
    targets = _targets()
    assert {"help", "demo", "test", "quick", "clean"} <= set(targets)
    assert [name for name, text in targets.items() if not text] == []
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    printed = subprocess.run(
        ["make", "--no-print-directory", "help"],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=True,
        env={name: value for name, value in os.environ.items() if not name.startswith("MAKE")},  # make test runs this
    ).stdout
    assert [line.split()[:2] for line in printed.splitlines()] == [["make", name] for name in targets]
    assert all(text in printed for text in targets.values())


def test_the_hooks_are_targets_of_the_makefile() -> None:
    entries = re.findall(r"entry: make (\w+)", (_ROOT / ".pre-commit-config.yaml").read_text("utf-8"))
    assert entries == ["lint", "types"]
    assert set(entries) <= set(_targets())


def test_the_workflow_runs_every_python_from_the_first_that_is_promised() -> None:
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    workflow = (_ROOT / ".github" / "workflows" / "tests.yml").read_text("utf-8")
    (versions,) = re.findall(r"python: \[(.*)\]", workflow)
    pythons = re.findall(r'"3\.(\d+)"', versions)
    assert len(pythons) == 3
    assert f">=3.{pythons[0]}" == project["requires-python"]
    assert "'lint imports tests' || 'test' }} PYTHON=python CONSTRAINTS=versions.txt" in workflow
    assert (_ROOT / ".ci" / "run").read_text("utf-8").rstrip().endswith("exec make test")


def test_the_version_is_stated_once_and_cited() -> None:
    version = re.findall(r'__version__ = "(.*)"', (_ROOT / "bpb_harness" / "_version.py").read_text("utf-8"))
    assert re.findall(r"^version: (.*)$", (_ROOT / "CITATION.cff").read_text("utf-8"), flags=re.MULTILINE) == version
    assert f"## {version[0]} - " in (_ROOT / "CHANGELOG.md").read_text("utf-8")


def test_the_workflow_finds_the_torch_that_it_pins() -> None:
    """It takes the oldest out of pyproject.toml, and replaces the one line of constraints.txt."""
    assert len(re.findall(r"torch>=[0-9.]+", (_ROOT / "pyproject.toml").read_text("utf-8"))) == 1
    assert len(re.findall(r"^torch==", (_ROOT / "constraints.txt").read_text("utf-8"), flags=re.MULTILINE)) == 1


def test_what_make_quick_leaves_out_is_there() -> None:
    lines = (_ROOT / "tests" / "not_quick.txt").read_text("utf-8").splitlines()
    assert "\t$(PYTEST) tests/unit @tests/not_quick.txt\n" in (_ROOT / "Makefile").read_text("utf-8")
    assert lines == sorted(set(lines))
    for line in lines:
        path, *_, test = line.removeprefix("--deselect=").split("::")
        assert re.search(rf"^ *def {test}\(", (_ROOT / path).read_text("utf-8"), flags=re.MULTILINE), line
