"""A log that tells the size of its script, and holds lines that this script does not print."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bpb_harness.auditing import AuditReport, audit
from fixtures.claims.patterns import SP1024, bpb

NATS = 2.0312
SCORE = bpb(NATS, SP1024)
SCRIPT = """
def main(log, model, code, kind, loss, score, ms, rate):
    log(f"step:{1} train_loss:{loss:.4f} train_time:{ms}ms")
    log(f"adapt:start chunks={1} rate={rate}")
    log(f"adapt:done after {ms}ms")
    log("adapt:weights put back")
    log(f"Serialized model {kind}: {len(model)} bytes")
    log(f"Total submission size {kind}: {len(model) + len(code)} bytes")
    log(f"first val_loss:{loss:.4f} val_bpb:{score:.4f} eval_time:{ms}ms")
    log(f"sliding val_loss:{loss:.4f} val_bpb:{score:.4f} "
        f"stride:{64} eval_time:{ms}ms")
    log(f"final_exact val_loss:{loss:.8f} val_bpb:{score:.8f}")
"""


def _log(
    *,
    size: int = len(SCRIPT),
    told: str = "total",
    more: str = "",
    first: str = " eval_time:5ms",
    slid: str = " eval_time:7ms",
) -> str:
    sizes = f"Serialized model int6: 15000000 bytes\nTotal submission size int6: {15_000_000 + size} bytes\n"
    sizes = f"Code size: {size} bytes\n" if told == "stated" else sizes if told == "total" else ""
    return (
        f"step:1 train_loss:3.1000 train_time:9ms\nadapt:start chunks=1 rate=0.1\n{more}adapt:done after 3ms\n{sizes}"
        f"first val_loss:2.1000 val_bpb:1.2100{first}\nsliding val_loss:2.1000 val_bpb:1.2100 stride:64{slid}\n"
        f"final_exact val_loss:{NATS:.8f} val_bpb:{SCORE:.8f}\n"
    )


def _report(folder: Path, log: str, script: str = SCRIPT, **more: str) -> AuditReport:
    (folder / "submission.json").write_text(json.dumps({"val_bpb": round(SCORE, 8)}))
    for name, text in {"train.log": log, "train_gpt.py": script, **more}.items():
        (folder / name).write_text(text)
    return audit(folder)


STRANGE = "adapt:groups of 12 rate=[0.1, 0.2]\n"
OF_SIZE = "no script of the record prints train.log as it is, though it tells the size of train_gpt.py: "
IS_STRANGE = "`adapt:groups of 12 rate=[0.1, 0.2]` (train.log:3) is none of those that it prints with `adapt:`"
CUT = "`first val_loss:2.1000 val_bpb:1.2100` (train.log:6) and 1 more line lack what is printed behind that, "


@pytest.mark.parametrize(
    ("log", "said"),
    [
        (_log(more=STRANGE), IS_STRANGE),
        (_log(more=STRANGE, told="stated"), IS_STRANGE),
        (_log(first="", slid=""), CUT + "`eval_time:` (train_gpt.py:9)"),
        (_log(first="", slid="", more=STRANGE), f"{IS_STRANGE} and {CUT}".replace("log:6", "log:7")),
    ],
    ids=["a line of its label", "the size stated", "lines cut off", "both"],
)
def test_lines_that_the_script_of_that_size_does_not_print(tmp_path: Path, log: str, said: str) -> None:
    report = _report(tmp_path, log)
    (found,) = report.with_code("BPB432")
    assert found.message.startswith(OF_SIZE + said)
    assert report.verdict == "unverifiable"


HELD = SCRIPT + '\n\ndef more(log, a):\n    log(f"adapt:groups of {a}")\n'


@pytest.mark.parametrize(
    ("log", "script", "more"),
    [
        (_log(), SCRIPT, {}),
        (_log(more=STRANGE, size=len(SCRIPT) + 1), SCRIPT, {}),
        (_log(more=STRANGE, told="none"), SCRIPT, {}),
        (_log(more=STRANGE, size=len(HELD)), HELD, {}),
        (_log(more=STRANGE), SCRIPT, {"start.sh": 'echo "adapt:groups of $N"\n'}),
        (_log(more="adapt: 12\n"), SCRIPT, {}),  # a setting, of a loop over names
        (_log(more="other:groups of 12 rate=[0.1, 0.2]\n"), SCRIPT, {}),
        (f"model_params:12\n{STRANGE}Killed\nmodel_params:12\n{_log()}", SCRIPT, {}),
        (_log(first=""), SCRIPT, {}),
        (_log(first="\neval_time:5ms", slid="\neval_time:7ms"), SCRIPT, {}),
        (_log(first="", slid="", size=len(SCRIPT) + 1), SCRIPT, {}),
        (_log(more=STRANGE, size=len(SCRIPT) + 20), "import adapting_net\n" + SCRIPT, {}),
    ],
    ids=[
        "its own log", "another size", "no size", "the script prints it", "what starts it prints it", "a setting",
        "a label of nobody's", "an earlier run in the log", "one line cut off", "lines that are wrapped",
        "lines of another size's script cut off", "a module that lies elsewhere may print it",
    ],
)  # fmt: skip
def test_what_another_may_have_printed_is_none(tmp_path: Path, log: str, script: str, more: dict[str, str]) -> None:
    assert not _report(tmp_path, log, script, **more).with_code("BPB432")
