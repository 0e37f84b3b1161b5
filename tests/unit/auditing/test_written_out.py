"""A log's line that its script prints as it stands there: its number is a constant, and nothing computed it."""
# ruff: noqa: E501 - lines of scripts, as they are

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bpb_harness.auditing import AuditReport, audit

LINE = "[Result] BPB: 1.1228 | Sparsity: 99.1% | Intelligence: LARGE-SCALE"  # in no form that is read as a score
READ = "final val_loss:1.8957 val_bpb:1.1228"
LOG = f"[Start] ready\n{LINE}\n"
SAID = "prints that line as it stands there, a text of the script with no value in it"


def _report(folder: Path, script: str, log: str = LOG) -> AuditReport:
    (folder / "submission.json").write_text(json.dumps({"val_bpb": 1.1228}))
    (folder / "run.log").write_text(log)
    (folder / "train.py").write_text(script)
    report = audit(folder)
    assert report.verdict == "unverifiable"
    return report


@pytest.mark.parametrize(
    "script",
    [
        f'print("{LINE}")\n',
        f'\ufeffimport sys\nsys.stdout.write("{LINE}\\n")\n',
        f'def end(log0):\n    log0("""\n{LINE}\nready""")\n',
        f'print0("{LINE}")\n',
        f'log("{LINE}")\n',
        f'logger.info("{LINE}")\n',
        f'file.writelines("{LINE}\\n")\n',
    ],
    ids=["print", "write", "of several lines", "print0", "log", "info", "writelines"],
)
@pytest.mark.parametrize("line", [LINE, READ])
def test_a_line_that_is_a_constant_of_the_script(tmp_path: Path, script: str, line: str) -> None:
    report = _report(tmp_path, script.replace(LINE, line), LOG.replace(LINE, line))
    (found,) = report.with_code("BPB402")
    assert found.message.startswith(f"run.log:2 has the {'number 1.1228' if line is LINE else 'claimed score'}")
    assert f"train.py:{2 if 'sys' in script or 'def' in script else 1} {SAID}" in found.message
    assert report.with_code("BPB401") == []
    assert found.evidence["missing"] == "a log of a run that computes the score"


@pytest.mark.parametrize(
    "script",
    [
        'print(f"[Result] BPB: {score:.4f} | Sparsity: 99.1% | Intelligence: LARGE-SCALE")\n',
        'print("[Result] BPB: %.4f | Sparsity: 99.1%% | Intelligence: LARGE-SCALE" % score)\n',
        f'"""What a run prints.\n\n{LINE}\n"""\nprint(score)\n',
        f'print("[Baseline] BPB: 1.1228")\nprint(f"[Result] BPB: {{score:.4f}} | Sparsity: 99.1% | Intelligence: LARGE-SCALE")\n# {LINE}\n',
        f'assert parse("{LINE}") == 1.1228\n',
        f'EXPECTED = "{LINE}"\n',
        f'print("result:", "{LINE}")\n',
        f'print("{LINE}"\n',
        f'print("{LINE}")\nprint(f"[Result] BPB: {{score}}")\n',
        f'printers[0]("{LINE}")\n',
    ],
    ids=[
        "formatted",
        "by percent",
        "documented",
        "a baseline",
        "parsed",
        "kept",
        "beside it",
        "broken",
        "computed too",
        "by what is not known",
    ],
)
def test_a_line_that_may_be_computed(tmp_path: Path, script: str) -> None:
    (found,) = _report(tmp_path, script).with_code("BPB402")
    assert SAID not in found.message


@pytest.mark.parametrize(
    ("script", "log"),
    [
        ('print(f"final val_loss:{loss:.4f} val_bpb:{score:.4f}")\n', f"{READ}\n"),
        (f'print("{READ}")\n', f"{READ}\nlast val_bpb:1.1228\n"),  # another line has it, which may be computed
        (f'print("baseline: {READ}")\n', f"{READ}\nbaseline: {READ}\n"),
    ],
)
def test_a_score_that_another_line_may_have_computed(tmp_path: Path, script: str, log: str) -> None:
    (tmp_path / "submission.json").write_text(json.dumps({"val_bpb": 1.1228}))
    (tmp_path / "run.log").write_text(log)
    (tmp_path / "train.py").write_text(script)
    report = audit(tmp_path)
    assert report.with_code("BPB401")
    assert report.with_code("BPB402") == []


def test_other_scores_of_the_log_and_other_logs_make_it_no_other_line(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("ready\nstep:9/9 val_loss:2.1 val_bpb:1.25\nready\n")
    script = f'print(f"step:{{n}}/9 val_loss:{{loss}} val_bpb:{{score}}")\nprint("{READ}")\n'
    report = _report(tmp_path, script, f"step:1/9 val_loss:3.1 val_bpb:1.8\n{READ}\n")
    (found,) = report.with_code("BPB402")
    assert f"train.py:2 {SAID}" in found.message


def test_a_mean_of_which_one_score_was_computed(tmp_path: Path) -> None:
    lines = [f"final val_loss:1.8957 val_bpb:{score}" for score in ("1.12281234", "1.12321234")]
    (tmp_path / "submission.json").write_text(json.dumps({"val_bpb": 1.12301234}))
    for number, line in enumerate(lines):
        (tmp_path / f"seed{number}.log").write_text(f"{line}\n")
    for line in lines:
        (tmp_path / "train.py").write_text(f'print("{line}")\n')
        assert audit(tmp_path).with_code("BPB402") == []
