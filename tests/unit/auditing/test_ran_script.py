"""The script that a log holds, and states the size of, is read too where it is none of those beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpb_harness.auditing import AuditReport, audit
from fixtures.claims.patterns import SP1024, bpb, submission
from tests.unit.auditing.script.checks.test_learnt_as_logs_show import BASE, SCRIPT

NATS = 2.0312
LEARNS = SCRIPT.format(**BASE).replace(
    'print(f"final val_bpb:{val_bpb:.6f}")', 'print(f"final val_loss:{val_loss:.8f} val_bpb:{val_bpb:.8f}")'
)
CLEAN = LEARNS.replace("    if s.adapts:\n        adapt(s, base, device, val_tokens)\n", "")
RUN = f"""val_loader:shards pattern=./data/datasets/fineweb10B_sp1024/fineweb_val_*.bin tokens:62021632
step:1000/1000 val_loss:2.0900 val_bpb:1.2345
Code size: SIZE bytes
adapting epoch 1/3 loss:2.0100
adapting epoch 2/3 loss:1.9100
adapting epoch 3/3 loss:1.8100
final val_loss:{NATS:.8f} val_bpb:{bpb(NATS, SP1024):.8f}
"""


def _log(script: str, size: int | None = None) -> str:
    return f"{script}{'=' * 100}\n{RUN.replace('SIZE', str(len(script) if size is None else size))}"


def _report(folder: Path, beside: str, *logs: str) -> AuditReport:
    folder.mkdir(exist_ok=True)
    (folder / "submission.json").write_text(submission(val_bpb=round(bpb(NATS, SP1024), 8)))
    (folder / "train_gpt.py").write_text(beside)
    for number, log in enumerate(logs):
        (folder / f"train{number}.log").write_text(log)
    return audit(folder)


@pytest.mark.parametrize(
    "beside", [LEARNS + "# cleaned up since, and longer\n", CLEAN], ids=["doubted by its size", "clean"]
)
def test_what_ran_is_what_the_log_holds(tmp_path: Path, beside: str) -> None:
    report = _report(tmp_path, beside, _log(LEARNS))
    (found,) = report.with_code("BPB273")
    assert report.verdict == "refuted"
    assert (found.severity, found.evidence["file"]) == ("error", "train0.log")
    assert f"(train0.log:{LEARNS[: LEARNS.index('loss.backward()')].count(chr(10)) + 1}): the script is the one" in (
        found.message
    )
    assert "that train0.log holds and states the size of, and none of those beside it" in found.message


def test_what_the_scripts_beside_show_is_not_taken_back(tmp_path: Path) -> None:
    clean, report = _log(CLEAN), _report(tmp_path, LEARNS, _log(CLEAN))
    (found,) = report.with_code("BPB273")
    assert found.severity == "warning"
    assert "the log states a size of its code that no script there has" in found.message
    assert _report(tmp_path, CLEAN, clean).with_code("BPB273") == []


@pytest.mark.parametrize(
    ("beside", "log"),
    [
        (CLEAN, _log(LEARNS, 17)),  # of which script it is the log, nothing tells
        (CLEAN, _log(LEARNS).replace("Code size", "Coded")),
        (CLEAN, RUN.replace("SIZE", str(len(LEARNS)))),
    ],
    ids=["another size", "no size", "no script"],
)
def test_a_log_that_does_not_hold_what_wrote_it(tmp_path: Path, beside: str, log: str) -> None:
    assert _report(tmp_path, beside, log).with_code("BPB273") == []


def test_the_same_script_is_read_once(tmp_path: Path) -> None:
    (found,) = _report(tmp_path, LEARNS, _log(LEARNS)).with_code("BPB273")
    assert found.evidence["file"] == "train_gpt.py"
    assert "the script is the one" not in found.message


def test_logs_that_hold_several_scripts(tmp_path: Path) -> None:
    other = _log(LEARNS.replace("1e-4", "2e-4")).replace(f"{NATS:.8f}", f"{NATS + 0.01:.8f}")
    other = other.replace(f"{bpb(NATS, SP1024):.8f}", f"{bpb(NATS + 0.01, SP1024):.8f}")
    report = _report(tmp_path, CLEAN, _log(LEARNS), other)
    assert report.with_code("BPB273")  # the claim is the score of one of them
    mean = (bpb(NATS, SP1024) + bpb(NATS + 0.01, SP1024)) / 2
    (tmp_path / "submission.json").write_text(submission(val_bpb=round(mean, 8)))
    assert audit(tmp_path).with_code("BPB273") == []
