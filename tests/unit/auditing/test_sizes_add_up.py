"""A total size that is not the sum of model and code, which the log's own script prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpb_harness.auditing import AuditReport, audit
from fixtures.claims.patterns import SP1024, bpb, log, submission

NATS = 2.0312
SCRIPT = """from __future__ import annotations


def main(log0, blob, code, kind, loss, score):
    code_bytes = len(code.encode("utf-8"))
    log0(f"Code size: {code_bytes} bytes")
    if blob:
        size = len(blob)
        code_bytes = len(code.encode("utf-8"))
        log0(f"Serialized model {kind}+zstd: {size} bytes")
        log0(f"Total submission size {kind}+zstd: {size + code_bytes} bytes")
    log0(f"final_exact val_loss:{loss} val_bpb:{score}")
"""
SCRIPT += "".join(f"\n\ndef helper_{number}(x):\n    return x + {number}\n" for number in range(60))


def _report(
    folder: Path, more: int, script: str = SCRIPT, between: str = "", stated: int | None = None, held: bool = False
) -> AuditReport:
    code = len(script) if stated is None else stated
    total = f"Total submission size int6+zstd: {15_000_000 + code + more} bytes"
    sizes = f"Code size: {code} bytes\nSerialized model int6+zstd: 15000000 bytes\n{between}{total}\n"
    text = log(NATS, SP1024).replace("Total submission", "Whole")
    (folder / "train.log").write_text(f"{script + '=' * 100 + chr(10) if held else ''}{sizes}{text}")
    (folder / "submission.json").write_text(submission(val_bpb=round(bpb(NATS, SP1024), 8)))
    (folder / "train_gpt.py").write_text(script)
    return audit(folder)


@pytest.mark.parametrize(("held", "place"), [(False, "train_gpt.py:11"), (True, "train.log:11")])
@pytest.mark.parametrize(("more", "words"), [(1429, "1,429 bytes more than"), (-7, "7 bytes less than")])
def test_another_total_than_the_script_prints(tmp_path: Path, more: int, words: str, held: bool, place: str) -> None:
    report = _report(tmp_path, more, held=held)
    (found,) = report.with_code("BPB459")
    assert f"15,000,000 of the model and {len(SCRIPT):,} of code: {words} the sum of both" in found.message
    assert f"which its script prints there ({place})" in found.message
    assert report.verdict == "unverifiable"


PREFIX = SCRIPT.replace("size + code_bytes", "size + code_bytes + len(kind)")
PACKED = SCRIPT.replace('if blob:\n        size = len(blob)\n        code_bytes = len(code.encode("utf-8"))', (
    'if blob:\n        size = len(blob)\n        code_bytes = len(kind)'
))  # fmt: skip
AGAIN = '        code_bytes = len(code.encode("utf-8"))\n'
ADDED = SCRIPT.replace(AGAIN, "        code_bytes += len(kind)\n")
TOGETHER = SCRIPT.replace(AGAIN, "        code_bytes, other = len(kind), 2\n")
HANDED_ON = SCRIPT.replace(AGAIN, "").replace("    if blob:\n", (
    "    total(log0, blob, code_bytes + 7, kind)\n\n\ndef total(log0, blob, code_bytes, kind):\n    if blob:\n"
))  # fmt: skip
PRUNED = SCRIPT.replace(' bytes")\n        log0(f"Total', ' bytes")\n        size = prune(size)\n        log0(f"Total')


@pytest.mark.parametrize(
    ("more", "script", "between", "stated"),
    [
        (0, SCRIPT, "", None),
        (1429, PREFIX, "", None),
        (1429, PACKED, "", None),
        (1429, PRUNED, "", None),
        (1429, ADDED, "", None),
        (1429, TOGETHER, "", None),
        (7, HANDED_ON, "", None),
        (1429, SCRIPT, "pruned 7 of them\n", None),
        (1429, SCRIPT, "", 54_284),
        (1429, SCRIPT.replace('log0(f"Total', 'print(f"Whole'), "", None),
    ],
    ids=[
        "the sum",
        "more in it",
        "packed code",
        "pruned between",
        "added to",
        "two at once",
        "handed on",
        "a line between",
        "another script",
        "no such line",
    ],
)
def test_totals_that_a_script_may_print(
    tmp_path: Path, more: int, script: str, between: str, stated: int | None
) -> None:
    assert not _report(tmp_path, more, script, between, stated).with_code("BPB459")


def test_of_several_scripts_in_a_log_the_one_that_ran_is_asked(tmp_path: Path) -> None:
    """An earlier run's, which stopped before it printed anything, stands in front of it."""
    earlier = SCRIPT.replace("size + code_bytes}", "size}").replace("helper_", "a_helper_")
    _report(tmp_path, 1429, held=True)
    text = (tmp_path / "train.log").read_text()
    (tmp_path / "train.log").write_text(f"{earlier}{'=' * 100}\nKilled\n{text}")
    (found,) = audit(tmp_path).with_code("BPB459")
    line = earlier.count("\n") + 2 + 11
    assert f"which its script prints there (train.log:{line})" in found.message
    (tmp_path / "train.log").write_text(f"{SCRIPT}{'=' * 100}\nKilled\n{text.replace(SCRIPT, earlier)}")
    assert not audit(tmp_path).with_code("BPB459")  # the one of the run prints another sum
