"""BPB102 where a README says that the tokens are of a transformed text, and that its side-file is not used."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpb_harness.auditing import AuditReport, Severity, Verdict, audit
from fixtures.claims.patterns import bpb, log, submission

CASEOPS, TOKENS = 151_080_891 / 47_853_343, 47_851_520
NATS = 2.4
SAID = "Step 4: Train (byte sidecar not used, but data is CaseOps-tokenized)"


def _audit(folder: Path, said: str, times: float = 1.0895, tokens: int = TOKENS) -> AuditReport:
    ratio = CASEOPS * times
    (folder / "train.log").write_text(
        log(NATS, ratio, tokens=tokens, export="fineweb10B_sp8192").replace("6.9371", "9.0100")
    )
    (folder / "submission.json").write_text(submission(val_bpb=round(bpb(NATS, ratio), 8)))
    (folder / "README.md").write_text(f"# A run\n\nTokens of sp8192.\n\n{said}\n")
    return audit(folder, rules="parameter-golf")


@pytest.mark.parametrize(
    "said",
    [
        SAID,
        "The data is caseops tokenized; side-files are ignored.",
        "We train on Case-Ops-tokenised shards without the byte side-car.",
    ],
)
def test_words_and_log_together_refute(tmp_path: Path, said: str) -> None:
    report = _audit(tmp_path, said)
    assert report.verdict is Verdict.REFUTED
    (found,) = report.with_code("BPB102")
    assert found.factor == pytest.approx(1.0895, abs=1e-5)
    assert "README.md:5 says itself" in found.message
    assert not report.with_code("BPB104")


@pytest.mark.parametrize(
    ("said", "times"),
    [
        (SAID, 1.0),  # the log divides by the bytes of the text all the same
        (SAID, 1.05),
        (SAID, 1.16),
        ("The data is CaseOps-tokenized, and the byte sidecar is used.", 1.0895),
        ("The data is CaseOps-tokenized.", 1.0895),
        ("No byte sidecar: the data is the plain one, and was never CaseOps-transformed.", 1.0895),
        ("Byte sidecar not used.", 1.0895),
        ("Byte sidecar not used: the data is not CaseOps-tokenized.", 1.0895),
        ("The data is CaseOps-tokenized.\n\nAn earlier run: byte sidecar not used.", 1.0895),
    ],
)
def test_one_of_them_alone_does_not(tmp_path: Path, said: str, times: float) -> None:
    report = _audit(tmp_path, said, times)
    assert report.verdict is not Verdict.REFUTED
    assert all(each.severity is not Severity.REFUTES for each in report.findings)


@pytest.mark.parametrize("tokens", [9_662_464, 61_234_567])
def test_nor_where_the_log_loads_another_size(tmp_path: Path, tokens: int) -> None:
    assert _audit(tmp_path, SAID, tokens=tokens).with_code("BPB102") == []
