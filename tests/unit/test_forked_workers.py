"""The workers that run the tests: each test runs once, its result is told, and one that ends is not passed over."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TESTS = """
import os, sys, warnings
import pytest

@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    with open("made", "a") as file:
        file.write("x")
    yield tmp_path_factory.mktemp("shared")
    with open("gone", "a") as file:
        file.write("x")

@pytest.mark.parametrize("number", range(6))
def test_each(number, shared, tmp_path, capfd):
    with open(f"{__name__} {number}", "a") as file:
        file.write("x")
    os.system("echo said")
    assert capfd.readouterr().out == "said\\n"
    print(f"{__name__} printed")
    if number == ENDS:
        os._exit(7)
    if number == 4:
        pytest.skip("not today")
    assert number != 5

@pytest.fixture
def broken():
    yield
    raise ValueError("at the end")

def test_both(broken):
    assert False

def test_warned():
    warnings.warn("something")

@pytest.mark.filterwarnings("ignore:something")
def test_ignored():
    warnings.warn("something")
"""


def test_each_test_runs_once_and_its_result_is_told(tmp_path: Path, repository: Path) -> None:
    (tmp_path / "test_whole.py").write_text(TESTS.replace("ENDS", "None"))
    (tmp_path / "test_ending.py").write_text(TESTS.replace("ENDS", "2"))
    (tmp_path / "own.ini").write_text("[pytest]\nfilterwarnings = error\n")
    words = ["-c", "own.ini", "-p", "tests.forked_workers", "--workers", "2", "-q", "-rA", "--import-mode=importlib"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words, "-p", "no:cacheprovider", "."],
        capture_output=True, text=True, cwd=tmp_path, check=False,
        env={**os.environ, "PYTHONPATH": str(repository), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    said = {line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR", "SKIPPED"))}
    assert done.stdout.splitlines()[-1].startswith("7 failed, 9 passed, 2 skipped, 2 errors in "), done.stdout
    assert len([line for line in said if line.startswith("ERROR") and "ValueError: at the end" in line]) == 2
    assert "FAILED test_ending.py::test_each[2] - the worker ended with 7 during this test" in said
    assert "FAILED test_whole.py::test_each[5] - assert 5 != 5" in said
    assert "FAILED test_whole.py::test_warned - UserWarning: something" in said
    assert "test_whole printed" in done.stdout
    ran = {path.name: path.read_text() for path in tmp_path.glob("test_* ?")}
    assert ran == {f"test_{name} {number}": "x" for name in ("whole", "ending") for number in range(6)}
    assert (tmp_path / "made").read_text() == "xxx"  # once a file, and again by who goes on with the rest
    assert (tmp_path / "gone").read_text() == "xx"
