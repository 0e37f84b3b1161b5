"""A mean over runs of several versions of a script: named, by the sizes of code that their logs state."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpb_harness.auditing import AuditReport, audit
from fixtures.claims.patterns import SP1024, bpb, log, submission

LOSSES = (2.0312, 2.0372)


def _report(folder: Path, *stated: str, of_one: bool = False) -> AuditReport:
    for number, (nats, size) in enumerate(zip(LOSSES, stated, strict=True)):
        (folder / f"train_{number}.log").write_text(f"{log(nats, SP1024, seed=number)}\n{size}\n")
    mean = bpb(LOSSES[0], SP1024) if of_one else sum(bpb(nats, SP1024) for nats in LOSSES) / 2
    (folder / "submission.json").write_text(submission(val_bpb=round(mean, 8)))
    return audit(folder)


def test_the_sizes_are_named_and_nothing_follows(tmp_path: Path) -> None:
    report = _report(tmp_path, "Code size: 54,284 bytes", "Code size: 54,301 bytes")
    (found,) = report.with_code("BPB453")
    assert found.message == (
        "the runs of the mean are not of one script as it lies: their logs state other sizes of its code, 54,284 bytes "
        "by train_0.log, 54,301 bytes by train_1.log; several versions of it ran"
    )
    assert (found.severity, report.verdict) == ("info", "consistent")


def test_of_a_packed_script_the_size_before_it_counts(tmp_path: Path) -> None:
    packed = "Code size (uncompressed): 54284 bytes\nCode size (compressed): 1234{} bytes"
    assert not _report(tmp_path, packed.format(5), packed.format(6)).with_code("BPB453")
    assert not _report(tmp_path, packed.format(5), "Code size: 12345 bytes").with_code("BPB453")
    (found,) = _report(tmp_path, packed.format(5), "Code size: 12347 bytes").with_code("BPB453")
    assert found.message.endswith("several versions of it ran, or one that was packed for some of them")


@pytest.mark.parametrize(
    ("first", "second", "of_one"),
    [
        ("Code size: 54,284 bytes", "code size: 54284 bytes", False),
        ("Code size: 54,284 bytes", "", False),
        ("Code size: 54,284 bytes", "Code size: 54,301 bytes", True),
    ],
    ids=["one size", "one states none", "the score is of one run"],
)
def test_one_version_or_none_known(tmp_path: Path, first: str, second: str, of_one: bool) -> None:
    assert not _report(tmp_path, first, second, of_one=of_one).with_code("BPB453")
