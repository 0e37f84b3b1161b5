"""A claim against a proof: what each thing that a proof shows, or leaves open, does to the verdict."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bpb_harness.auditing import Proved, Verdict, audit
from bpb_harness.auditing.auditor import audit as audit_with
from bpb_harness.auditing.evidence import gather
from bpb_harness.auditing.verdict import judge, reconcile
from bpb_harness.claim import Claim, Printed, Source
from bpb_harness.findings import CODES
from bpb_harness.result import BpbResult, Signature
from bpb_harness.units import CodeLength
from tests.golf_rules import GOLF

SOUND = Proved(
    score="bpb|x ~<= 1.2000 (...)", relation="~<=", bits_per_byte=1.2, mc_stderr=0.001, is_trusted=True,
    is_checked=True, method="mc", num_steps=None, context_length=1024, data_name="fineweb_val", part=None,
    num_tokens=1_000_000, num_bytes=2_436_000, num_proved=400, num_spans=977, num_bits=1_200_000, lost=None,
    differences=(), rate=1.2004, claimed=1.2, stderr=0.004, unit="byte", exceeds=False, falls_below=False,
    is_the_text=True, bytes_of_text=2_436_000, held="in a process of its own, without network and files",
)  # fmt: skip


def audited(folder: Path, proved: Proved, log: str | None = None, **claim: Any) -> tuple[Any, dict[str, str]]:
    stated = {"format": "bpb-claim/1", "claimed_bpb": 1.2, **claim}
    (folder / "x.claim.json").write_text(json.dumps(stated))
    paths = [folder / "x.claim.json"]
    if log is not None:
        (folder / "train.log").write_text(log)
        paths.append(folder / "train.log")
    report = audit_with(paths, proved=proved)
    return report, {finding.code: str(finding.severity) for finding in report.findings}


def test_a_sound_proof_confirms_and_stands_in_the_place_of_a_log(tmp_path: Path) -> None:
    report, found = audited(tmp_path, SOUND)
    assert report.judgement.verdict is Verdict.CONFIRMED
    assert report.judgement.rests_on == ("BPB604",)
    assert "came back from bits" in report.judgement.reason
    said = "of the number nothing, for windows of the score came back from their bits; that the text was not trained on"
    assert said in " ".join(report.to_text().split())
    assert found["BPB604"] == "support"
    assert (found["BPB402"], found["BPB106"]) == ("info", "info")
    without = audit(tmp_path / "x.claim.json")
    assert without.judgement.verdict is Verdict.UNVERIFIABLE


def test_the_report_says_what_was_decoded(tmp_path: Path) -> None:
    report, _ = audited(tmp_path, SOUND)
    finding = next(each for each in report.findings if each.code == "BPB604")
    for said in ("400 of 977 windows", "1,200,000 bits", "1.2004 bits per byte", "~<= 1.2000", "without network"):
        assert said in finding.message
    assert finding.evidence["cashed"] == 1.2004
    assert finding.evidence["windows"] == 400


@pytest.mark.parametrize(
    "changes", [{}, {"stderr": 0.02}, {"lost": "no"}, {"bits_per_byte": 1.5}], ids=["604", "606", "605", "607"]
)
def test_a_proof_is_decoded_and_nothing_is_scored(tmp_path: Path, changes: dict[str, Any]) -> None:
    said = " ".join(audited(tmp_path, replace(SOUND, **changes))[0].to_text().split())
    assert "x.claim.json; a proof was decoded with its checkpoint" in said
    assert "checkpoint was scored" not in said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"lost": "the tokens are others"}, "did not come back from their bits: the tokens are others"),
        ({"is_the_text": False}, "is not 400 of 977 windows of the text"),
        ({"bytes_of_text": 2_400_000}, "divides by 2,436,000 bytes, its text has 2,400,000"),
        ({"exceeds": True, "rate": 1.4}, "they cost more, by more than 4 errors"),
        ({"exceeds": True, "is_the_text": None, "bytes_of_text": None}, "they cost more"),
    ],
)
def test_a_failed_proof_refutes(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    report, found = audited(tmp_path, replace(SOUND, **changes))
    assert report.judgement.verdict is Verdict.REFUTED
    assert found["BPB605"] == "error"
    assert said in report.judgement.reason
    assert "BPB604" not in found
    assert report.judgement.corrected_bpb is None


@pytest.mark.parametrize(
    ("changes", "claim", "said", "missing"),
    [
        ({"is_the_text": None, "bytes_of_text": None}, {}, "that these tokens are the text's", "--data"),
        ({"bytes_of_text": None}, {}, "the bytes of the text", "--bytes official"),
        ({"part": (400, 1000)}, {}, "anything beyond the first 400 of 1,000", "no --limit"),
        ({"part": (400, 1000)}, {"num_windows": 300}, "anything beyond the first 400", "no --limit"),
        ({"is_checked": False}, {}, "keeps its contract", "without --no-contract"),
        ({"is_trusted": False}, {}, "does not trust itself", "--samples"),
        ({"mc_stderr": None}, {}, "does not trust itself", "--samples"),
        ({"falls_below": True}, {}, "cost less than the score says", "--seed"),
        ({"stderr": 0.011}, {}, "error (0.0110): 3 of it are more than 2.5%", "about 587 of the 977 windows"),
        ({"stderr": 0.02}, {}, "better than its error (0.0200)", "of more windows (about 1,940; this one has 977)"),
        ({"stderr": 0.02, "num_proved": 977}, {}, "error (0.0200)", "of more windows (about 4,737; this one has 977)"),
        ({"stderr": 0.02, "relation": "=", "mc_stderr": 0.0}, {}, "error (0.0200)", "--num-windows 862`"),
        ({"stderr": 0.02, "mc_stderr": 0.011}, {}, "error (0.0228)", "(more --samples), and a proof of that one"),
        ({"stderr": math.inf, "num_proved": 1}, {}, "1 window is fewer than 30", "`bpb-prove --num-windows 30`"),
        ({"num_proved": 29}, {}, "29 windows are fewer than 30", "about 30 of the 977 windows"),
        ({"num_proved": 3, "num_spans": 4}, {}, "3 windows are fewer than 4", "all 4 windows of the same score"),
        ({"lost": "no", "differences": ("torch 1.0, not 2.0",)}, {}, "the numerics differ: torch 1.0", "alike"),
    ],
)
def test_what_a_proof_leaves_open_is_said_and_neither_confirms_nor_refutes(
    tmp_path: Path, changes: dict[str, Any], claim: dict[str, Any], said: str, missing: str
) -> None:
    report, found = audited(tmp_path, replace(SOUND, **changes), **claim)
    assert report.judgement.verdict is Verdict.UNVERIFIABLE
    assert found["BPB606"] == "info"
    assert found["BPB402"] == "warning"  # nothing stands in the place of a log
    finding = next(each for each in report.findings if each.code == "BPB606")
    assert said in finding.message
    assert missing in " ".join(report.judgement.missing)


@pytest.mark.parametrize(
    ("changes", "claim"),
    [
        ({"stderr": 0.0099}, {}),  # 3 errors of both are 2.5 % of 1.2 or less
        ({"num_proved": 30}, {}),
        ({"differences": ("torch 1.0, not 2.0",)}, {}),  # it came back all the same
        ({"num_proved": 4, "num_spans": 4}, {}),  # all of them
        ({"part": (400, 1000)}, {"num_windows": 400}),
        ({"is_the_text": True, "relation": "=", "mc_stderr": 0.0}, {}),
        ({}, {"claimed_bpb": 1.2034}),  # 3 errors of the score, and its rounding
    ],
)
def test_the_limits_of_what_confirms(tmp_path: Path, changes: dict[str, Any], claim: dict[str, Any]) -> None:
    report, found = audited(tmp_path, replace(SOUND, **changes), **claim)
    assert found.get("BPB604") == "support", [each.message for each in report.findings]
    assert report.judgement.verdict is Verdict.CONFIRMED


@pytest.mark.parametrize(
    ("changes", "claim", "said"),
    [
        ({}, {"claimed_bpb": 1.21}, "the proof is of a score of 1.2000, the claim is 1.21"),
        ({}, {"claimed_bpb": 1.19}, "the claim is 1.19"),
        ({}, {"claimed_bpb": 1.19, "method": "discrete"}, "the claim is by discrete, the harness scored by mc"),
        ({"bits_per_byte": None, "unit": "token"}, {}, "a score in bits per token"),
        ({}, {"dataset": "tiny_val"}, "the claim is about tiny_val, the harness scored fineweb_val"),
        ({}, {"num_windows": 500, "context_length": 1024}, "about 512,000 tokens, the proof's score about 1,000,000"),
        ({}, {"nats_per_token": 2.2}, "the claim divides by 2.6449"),
        ({}, {"claimed_bpb": None}, "nothing is claimed"),
    ],
)
def test_a_proof_of_another_score_says_nothing_of_the_claim(
    tmp_path: Path, changes: dict[str, Any], claim: dict[str, Any], said: str
) -> None:
    claim = {name: value for name, value in claim.items() if value is not None}
    if "claimed_bpb" in claim or "nothing" not in said:
        report, found = audited(tmp_path, replace(SOUND, **changes), **claim)
    else:
        (tmp_path / "x.claim.json").write_text('{"format": "bpb-claim/1"}')
        report = audit_with(tmp_path / "x.claim.json", proved=SOUND)
        found = {finding.code: str(finding.severity) for finding in report.findings}
    assert found["BPB607"] == "warning"
    assert report.judgement.verdict.exit_code != 0
    assert said in next(each.message for each in report.findings if each.code == "BPB607")
    # A proof that somebody else made of another score refutes nothing either, whatever became of it.
    failed = replace(SOUND, lost="no", **changes)
    if claim:
        assert "BPB605" not in audited(tmp_path, failed, **claim)[1]


def test_a_proof_outweighs_no_warning_and_no_error(tmp_path: Path) -> None:
    constant = {"bytes_per_token": 2.5, "bytes_per_token_is_constant": True, "tokenizer": "sp1024"}
    warned, found = audited(tmp_path, SOUND, **constant)
    assert "BPB604" in found
    assert warned.judgement.verdict.exit_code != 0


def test_other_settings_with_the_same_number_are_the_same_score(tmp_path: Path) -> None:
    report, found = audited(tmp_path, SOUND, method="chain")
    assert "BPB604" in found
    assert report.judgement.verdict is Verdict.CONFIRMED


def test_a_score_s_own_file_names_the_checkpoint_of_its_proof(tmp_path: Path) -> None:
    signature = Signature(
        method="mc", schedule="loglinear", num_samples="2", byte_rule="official", data="fineweb_val@01234567",
        tokenizer="89abcdef", context_length="1024", model="fedcba98", dtype="float32", seed="0", version="0.1.0",
    )  # fmt: skip
    length = CodeLength(1.2 * 2_436_000 * math.log(2), 1_000_000, 2_436_000, 977)
    result = BpbResult(
        length=length, relation="~<=", terms_nats={"diffusion": length.nats}, mc_stderr=0.001, corpus_stderr=0.004,
        ci95=(1.2 - 1.96e-3, 1.2 + 1.96e-3), signature=signature, num_forward_tokens=1, seconds=1.0, device="cpu",
    )  # fmt: skip
    (tmp_path / "r.json").write_text(result.to_json())
    for model, codes in (("fedcba98", {"BPB604"}), ("00000000", {"BPB607"})):
        line = str(replace(result, signature=replace(signature, model=model)))
        report = audit_with(tmp_path / "r.json", proved=replace(SOUND, score=line))
        found = {each.code: each.message for each in report.findings if each.code.startswith("BPB6")}
        assert set(found) == codes
    assert "the proof is of the score bpb|method:mc|" in found["BPB607"]
    assert "|model:00000000|" in found["BPB607"]


@pytest.mark.parametrize(
    ("code", "verdict"),
    [("BPB402", Verdict.CONFIRMED), ("BPB106", Verdict.CONFIRMED), ("BPB403", Verdict.UNVERIFIABLE)],
)
def test_what_a_record_lacks_and_what_it_says(code: str, verdict: Verdict) -> None:
    """A proof stands in the place of a log that is missing, not against one that lacks the score."""
    evidence = gather(Claim(name="x", score=Printed(1.2, 4, Source("f.json")), claimed_in="submission"), GOLF)
    findings = reconcile([CODES["BPB604"].finding("proved"), CODES[code].finding("it is")])
    assert judge(evidence, findings, None).verdict is verdict
