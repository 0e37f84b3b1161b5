"""A README that calls a score one of a sliding window, beside a log that prints that of such a window too."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpb_harness.auditing import AuditReport, audit
from fixtures.claims.patterns import SP1024, bpb

PLAIN, SLID = bpb(2.0312, SP1024), bpb(2.0012, SP1024)
BOTH = ("quantized", "quantized_sliding_window")


def _report(folder: Path, line: str, labels: tuple[str, str] = BOTH) -> AuditReport:
    printed = zip(labels, ((2.0312, PLAIN), (2.0012, SLID)), strict=True)
    lines = [f"{label} val_loss:{nats:.8f} val_bpb:{score:.8f}\n" for label, (nats, score) in printed]
    (folder / "train.log").write_text("".join(lines))
    (folder / "submission.json").write_text(f'{{"val_bpb": {PLAIN:.8f}, "tokenizer": "sp1024"}}')
    (folder / "README.md").write_text(f"# A run\n\n{line}\n")
    return audit(folder)


def test_a_score_of_another_label_than_the_readme_has_for_it(tmp_path: Path) -> None:
    report = _report(tmp_path, f"**val_bpb = {PLAIN:.4f}** (quantized, sliding window) | 16 MB")
    (found,) = report.with_code("BPB407")
    assert found.message == (
        f"README.md:3 calls the score one of a sliding window, and the log prints it as 'quantized' (train.log:1), and "
        f"as 'quantized_sliding_window' {SLID:.8f} (train.log:2)"
    )
    assert found.severity == "info"


@pytest.mark.parametrize(
    ("line", "labels"),
    [
        (f"val_bpb {PLAIN:.4f} (quantized)", BOTH),
        (f"val_bpb {PLAIN:.4f}, and {SLID:.4f} by a sliding window", BOTH),
        (f"val_bpb {PLAIN:.4f} without a sliding window", BOTH),
        (f"val_bpb {SLID:.4f} (sliding window)", BOTH),
        (f"val_bpb {PLAIN:.4f} (sliding window)", ("quantized", "other_sliding_window")),
        (f"val_bpb {PLAIN:.4f} (sliding window)", ("final_sliding", "final_sliding_exact")),
        (f"val_bpb {PLAIN:.4f} (sliding window)", ("quantized", "quantized_ttt")),
    ],
)
def test_where_it_is_not_so_nothing_is_said(tmp_path: Path, line: str, labels: tuple[str, str]) -> None:
    assert not _report(tmp_path, line, labels).with_code("BPB407")
