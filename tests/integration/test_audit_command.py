"""The command bpb-audit: exit codes, formats, and no torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bpb_harness.cli.audit import main
from fixtures.claims.build import HERE
from tests.commands import run_here

SUBMISSIONS = HERE / "submissions"
# torch and sentencepiece raise when imported: an audit of records needs neither.
FORBIDDING = (
    "import sys\n"
    "class Forbid:\n"
    "    def find_spec(self, name, path=None, target=None):\n"
    "        if name.split('.')[0] in ('torch', 'sentencepiece', 'tokenizers'):\n"
    "            raise ImportError(f'{name} is not to be imported here')\n"
    "sys.meta_path.insert(0, Forbid())\n"
    "from bpb_harness.cli.audit import main\n"
    "main()\n"
)


def run(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("BPB_")}
    return subprocess.run(
        [sys.executable, "-c", FORBIDDING, *map(str, arguments)],
        capture_output=True, text=True, check=False, cwd=cwd, env=environment, timeout=300,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["honest_single_seed"], 0),
        (["wrong_space_twice"], 1),
        (["open_no_log"], 3),
        (["nonsuch"], 2),
        (["honest_single_seed", "open_no_log"], 3),
        (["honest_single_seed", "open_no_log", "wrong_constant"], 1),
        (["wrong_script_space_twice"], 1),
    ],
)
def test_exit_codes(arguments: list[str], code: int) -> None:
    done = run(*arguments, cwd=SUBMISSIONS)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert (code == 2) == (done.stdout == "")


def test_help_and_version_import_no_torch() -> None:
    assert run("--help").returncode == 0
    assert run("--version").stdout.startswith("bpb-harness ")


def test_json_of_one() -> None:
    report = json.loads(run_here(main, SUBMISSIONS / "wrong_constant", "--format", "json").stdout)
    assert set(report) >= {"verdict", "claimed_bpb", "corrected_bpb", "corrected_from", "findings"}
    assert report["verdict"] == "refuted"
    assert {"code", "severity", "message", "evidence"} <= set(report["findings"][0])


def test_json_of_many() -> None:
    report = json.loads(run_here(main, HERE, "--recursive", "--format", "json").stdout)
    assert report["verdict"] == "refuted"
    assert sum(report["counts"].values()) == len(report["audits"]) > 60


def test_a_table_of_many() -> None:
    done = run(SUBMISSIONS, "--recursive")
    assert done.returncode == 1
    rows = done.stdout.splitlines()
    assert rows[0].split() == ["name", "verdict", "claimed", "corrected", "codes", "reason"]
    assert any(row.startswith("wrong_constant ") and "refuted" in row and "BPB103" in row for row in rows)


def test_markdown() -> None:
    done = run_here(main, SUBMISSIONS / "wrong_constant", "--format", "markdown")
    assert done.stdout.startswith('### wrong\\_constant "a made-up submission": **refuted**')


def test_output_to_a_file(tmp_path: Path) -> None:
    target = tmp_path / "report.json"
    done = run(SUBMISSIONS / "open_no_log", "--format", "json", "--output", target)
    assert done.returncode == 3
    assert done.stdout == ""
    assert json.loads(target.read_text())["verdict"] == "unverifiable"
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["honest_single_seed", "--format", "xml"],
        ["honest_single_seed", "--data", "x.bin"],
        ["honest_single_seed", "wrong_constant", "--checkpoint", "x.pt"],
        ["honest_single_seed", "wrong_constant", "wrong_constant/train.log"],
        ["honest_single_seed/train.log", "--recursive"],
        ["honest_single_seed", "--baseline", "nonsuch"],
        ["."],
        ["honest_single_seed", os.devnull],
        ["honest_single_seed", "--adapter", "mdlm"],
        ["honest_with_script", "--allow-code"],
        ["honest_single_seed", "--output", "no/such/folder/x"],
        ["--no-such-flag"],
    ],
)
def test_bad_usage_is_one_line(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)  # an import of it fails
    done = run_here(main, *arguments, cwd=SUBMISSIONS)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr


def test_nothing_of_a_submission_is_executed(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    (tmp_path / "submission.json").write_text('{"val_bpb": 1.2}')
    for name in ("train.py", "conftest.py", "sitecustomize.py", "json.py"):
        (tmp_path / name).write_text(f"import pathlib\npathlib.Path({str(mark)!r}).write_text('ran')\nval_bpb = 1.2\n")
    assert run(tmp_path).returncode == 3
    assert not mark.exists()
