"""Notes beside a README: those that speak of the record's own claim, and which of their sentences do."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpb_harness.auditing import AuditReport, audit
from fixtures.claims.patterns import SP1024, bpb, log, submission

SCORE = round(bpb(2.0312, SP1024), 6)
VOIDS = "We score a random tenth of the validation documents."
OF_IT = "The reported score covers ten percent of the validation split."


def _audited(folder: Path, note: str, text: str, *, readme: str = "# A run\n") -> AuditReport:
    (folder / "submission.json").write_text(submission(val_loss=2.0312, val_bpb=SCORE))
    (folder / "train_seed7.log").write_text(log(2.0312, SP1024))
    (folder / "README.md").write_text(readme)
    file = folder / note
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return audit(folder)


TEXTS = [
    f"Final val_bpb: {SCORE}\n\n{VOIDS}\n",
    f"It got {SCORE:.4f}.\n\n{VOIDS}\n",
    f"See train_seed7.log.\n\n{VOIDS}\n",
    f"The other run has 1.1042, this one {SCORE}.\n\n{OF_IT}\n",
    f"The other run has 1.1042.\n\n- The score of {SCORE} covers ten percent of the validation split.\n",
]
NAMES = ["NOTES.md", "analysis.rst", "PR_DESCRIPTION.md", "docs/DATASET_AUDIT.md", "REPORT.md"]


@pytest.mark.parametrize(
    ("note", "text"), [*(("RERUN_NOTES.md", text) for text in TEXTS), *((name, TEXTS[0]) for name in NAMES)]
)
def test_a_note_on_the_claim_counts(tmp_path: Path, note: str, text: str) -> None:
    report = _audited(tmp_path, note, text)
    (found,) = report.with_code("BPB213")
    assert found.message.startswith(f"{Path(note).name}:3 says")
    assert Path(note).name in report.files
    assert report.verdict == "unverifiable"


@pytest.mark.parametrize(
    ("note", "text"),
    [
        ("NOTES.md", f"Of another run.\n\n{VOIDS}\n"),  # nothing says whose
        ("NOTES.md", f"It got {SCORE:.3f}.\n\n{VOIDS}\n"),  # so does many another
        ("NOTES.md", f"The other run has 1.1042, this one {SCORE}.\n\n{VOIDS}\n"),
        ("NOTES.md", f"It got {SCORE}.\n\nWe do not score a random tenth of the validation documents.\n"),
        ("PLAN.md", f"It got {SCORE}.\n\n{VOIDS}\n"),
        ("docs/next_steps.md", f"It got {SCORE}.\n\n{VOIDS}\n"),
        ("deep/er/NOTES.md", f"It got {SCORE}.\n\n{VOIDS}\n"),
        ("older/NOTES.md", f"It got {SCORE}.\n\n{VOIDS}\n"),
        ("notes.tex", f"It got {SCORE}.\n\n{VOIDS}\n"),
    ],
)
def test_a_note_of_something_else_does_not(tmp_path: Path, note: str, text: str) -> None:
    (tmp_path / "older").mkdir()
    (tmp_path / "older" / "submission.json").write_text(submission(val_loss=2.0312, val_bpb=SCORE))
    report = _audited(tmp_path, note, text)
    assert (report.verdict, report.with_code("BPB213")) == ("consistent", [])


def test_a_note_is_no_claim_and_no_record(tmp_path: Path) -> None:
    report = _audited(tmp_path, "NOTES.md", f"Final val_bpb: 1.1042, and {SCORE}\n")
    assert (report.verdict, report.claimed_bpb) == ("consistent", SCORE)
    assert "NOTES.md" in report.files
    (tmp_path / "NOTES.md").write_bytes(b"\xff\xfe\x00")
    assert audit(tmp_path).verdict == "consistent"
    (tmp_path / "NOTES.md").unlink()
    (tmp_path / "NOTES.md").symlink_to("/etc/hostname")
    assert audit(tmp_path).files == ("README.md", "submission.json", "train_seed7.log")


def test_training_shards_that_a_note_tells_of(tmp_path: Path) -> None:
    note = "See train_seed7.log.\n\nThe 80 training shards match the default `val_docs=10000` output byte for byte.\n"
    _audited(tmp_path, "DATASET_AUDIT.md", note)
    (tmp_path / "train_seed7.log").write_text(log(2.0312, SP1024) + "total_docs:50000\n")
    (found,) = audit(tmp_path).with_code("BPB213")
    assert found.message.startswith("DATASET_AUDIT.md:3 says that the training shards begin")


def test_the_claim_of_a_log_alone(tmp_path: Path) -> None:
    (tmp_path / "RERUN.log").write_text(log(2.0312, SP1024))
    assert audit(tmp_path).verdict == "consistent"
    (tmp_path / "RERUN_NOTES.md").write_text(
        f"The rerun gives {SCORE}.\n\n- The reported `val_bpb` is measured on the **pre-quant model**.\n"
    )
    assert audit(tmp_path).verdict == "unverifiable"
