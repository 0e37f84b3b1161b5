"""BPB432, the remark: words of others in the middle of a log's line, and lines that only look so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bpb_harness.auditing import AuditReport, audit

STEPS = [f"step:{step}/2000 train_loss:2.{step:04d} train_time:{step * 41}ms" for step in range(0, 2000, 50)]
END = "final val_loss:2.03186 val_bpb:1.20340000"


def _report(folder: Path, line: str, steps: list[str] = STEPS) -> AuditReport:
    (folder / "train.log").write_text("\n".join([*steps[:20], line, *steps[20:], END, ""]))
    (folder / "submission.json").write_text(json.dumps({"val_bpb": 1.2034}))
    return audit(folder)


def test_words_in_the_middle_of_a_line(tmp_path: Path) -> None:
    line = "step:975/2000 somebody/a-repositorytrain_loss:2.0975 train_time:39975ms"
    report = _report(tmp_path, line)
    (found,) = report.with_code("BPB432")
    assert (found.severity, report.verdict) == ("info", "consistent")
    assert found.message == (
        f"`{line}` (train.log:21) has `somebody/a-repository` in its middle, and 40 lines of its kind have nothing "
        "there: put in by hand or by another program, so the log is not as the script wrote it"
    )


@pytest.mark.parametrize(
    "line",
    [
        "step:975/2000 train_loss:2.0975 train_time:39975ms",
        "step:975/2000 train_loss:2.0975 lr:0.02 train_time:39975ms",  # a value of its own
        "step:975/2000 train_loss:2.0975 scale=low train_time:39975ms",
        "step:975/2000 train_loss:2.0975 train_time:39975ms (warmdown)",  # at its end
        "rank zero step:975/2000 train_loss:2.0975 train_time:39975ms",  # in front of it
        "step:975/2000   train_loss:2.0975 train_time:39975ms",
        "step:975/2000 val_loss:2.0975 val_bpb:1.24 train_time:39975ms",
    ],
)
def test_lines_of_the_script_itself(tmp_path: Path, line: str) -> None:
    assert _report(tmp_path, line).with_code("BPB432") == []


def test_words_that_a_script_may_print_in_some_lines(tmp_path: Path) -> None:
    line = "step:975/2000 (new best) train_loss:2.0975 train_time:39975ms"
    assert len(_report(tmp_path, line).with_code("BPB432")) == 1
    (tmp_path / "train_gpt.py").write_text('print(f\'step:{s} {"(new best) " if b else ""}train_loss:{l:.4f}\')\n')
    assert _report(tmp_path, line).with_code("BPB432") == []


def test_a_kind_of_which_there_are_few_tells_nothing(tmp_path: Path) -> None:
    line = "step:975/2000 somebody/a-repositorytrain_loss:2.0975 train_time:39975ms"
    assert _report(tmp_path, line, STEPS[:25]).with_code("BPB432") == []


def test_words_that_stand_in_several_lines_may_be_the_scripts(tmp_path: Path) -> None:
    steps = [*STEPS]
    for place, word in enumerate(("alpha", "beta", "gamma")):
        steps[place * 3] = steps[place * 3].replace(" train_loss", f" {word} train_loss")
    assert _report(tmp_path, STEPS[0], steps).with_code("BPB432") == []
