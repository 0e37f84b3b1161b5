"""bpb-audit on a score's own file: what it says of itself, and that this alone confirms nothing."""

from __future__ import annotations

import json
import math
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import bpb_harness
from bpb_harness.auditing import Proved
from bpb_harness.auditing.auditor import audit as audit_with
from bpb_harness.cli.audit import main
from bpb_harness.cli.eval import main as eval_main
from bpb_harness.errors import InputError
from bpb_harness.evaluation.settings import FLAGS, Settings
from bpb_harness.formats.scored_again import OPTIONS, command_of, settings_of
from bpb_harness.result import BpbResult, Remark, Signature, SourceFloor
from tests.commands import run_here
from tests.own_json import own_json


@pytest.fixture(scope="module")
def sampled(repository: Path) -> BpbResult:
    checkpoint = repository / "fixtures/checkpoints/mdlm-tiny.pt"
    return bpb_harness.evaluate(checkpoint, num_steps=4, limit=3, seed=3, device="cpu", check_contract=False)


@pytest.fixture(scope="module")
def checked(sampled: BpbResult) -> BpbResult:
    """As if its contract had been checked."""
    return replace(sampled, signature=replace(sampled.signature, contract=None))


def audited(folder: Path, plain: dict[str, Any] | str, *words: object) -> tuple[int, dict[str, Any], str]:
    path = folder / "result.json"
    path.write_text(plain if isinstance(plain, str) else json.dumps(plain))
    done = run_here(main, path, "--format", "json", *words)
    return done.returncode, own_json(done.stdout) if done.stdout else {}, done.stderr


def codes(report: dict[str, Any]) -> list[str]:
    return [finding["code"] for finding in report["findings"]]


def test_a_file_that_agrees_with_itself_is_not_confirmed(checked: BpbResult, tmp_path: Path) -> None:
    code, report, stderr = audited(tmp_path, checked.to_dict())
    assert (code, report["verdict"], stderr) == (3, "unverifiable", "")
    assert codes(report) == ["BPB419"]
    assert report["claimed_bpb"] == checked.bits_per_byte
    assert report["reason"] == "the file agrees with itself, and only its writer has computed the number"
    anew, proof = report["missing"]
    assert "bpb-eval CHECKPOINT --data TEXT --method discrete --steps 4" in anew
    assert f"--expect {checked.bits_per_byte:.5f}" in anew
    assert proof == "or a proof: bpb-prove CHECKPOINT --data TEXT --score result.json --proof FILE"


def test_an_exact_length_is_not_confirmed_either(checked: BpbResult, tmp_path: Path) -> None:
    signature = replace(checked.signature, method="chain", num_steps=None, num_samples=None)
    score = checked.length.bits_per_unit
    exact = replace(
        checked, relation="=", signature=signature, terms_nats={}, mc_stderr=0.0, ci95=(score, score), comparison=None
    )
    code, report, _ = audited(tmp_path, exact.to_dict())
    assert (code, codes(report)) == (3, ["BPB419"])


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"bits_per_byte": 0.5}, ["BPB415"]),
        ({"seed": 4}, ["BPB416"]),
        ({"relation": "=", "mc_stderr": 0.0}, ["BPB415", "BPB417"]),
        ({"bits_per_byte": 0.5, "num_steps": 7, "nats": 5.0}, ["BPB415", "BPB416"]),
    ],
)
def test_every_contradiction_is_a_finding_and_refutes(
    checked: BpbResult, change: dict[str, Any], expected: list[str], tmp_path: Path
) -> None:
    code, report, _ = audited(tmp_path, checked.to_dict() | change)
    assert (code, report["verdict"], report["corrected_bpb"]) == (1, "refuted", None)
    assert sorted(set(codes(report))) == expected
    assert {finding["severity"] for finding in report["findings"]} == {"error"}
    named = {finding["evidence"]["key"] for finding in report["findings"]}
    assert named & set(change)


def test_of_an_edited_score_it_is_said_what_the_rest_of_the_file_makes_it(checked: BpbResult, tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text(json.dumps(checked.to_dict() | {"bits_per_byte": 0.5}))
    done = run_here(main, path)
    said = " ".join(done.stdout.split())
    rest = f"corrected none: the rest of the file makes it {checked.bits_per_byte:.5f}, and nothing tells which of its"
    assert f"{rest} numbers was computed: BPB415 (result-arithmetic)" in said
    assert "refuted: the file contradicts itself: it is not as it was written, and which" in said
    assert "neither a code length" not in said
    for more in ({"nats": 5.0}, {"seed": 4}, {"bits_per_token": 1.0}):  # where not the score alone is at odds
        path.write_text(json.dumps(checked.to_dict() | {"bits_per_byte": 0.5} | more))
        said = " ".join(run_here(main, path).stdout.split())
        assert "gives no number in its place" in said
        assert "the file contradicts itself" in said


def test_a_contradiction_in_bits_per_token_refutes_as_well(checked: BpbResult, tmp_path: Path) -> None:
    signature, scale = replace(checked.signature, byte_rule="none"), checked.length.bytes_per_token
    low, high = checked.ci95 or (0.0, 0.0)
    none = replace(
        checked, length=replace(checked.length, num_bytes=0), signature=signature, reference_marks=None,
        mc_stderr=(checked.mc_stderr or 0.0) * scale, ci95=(low * scale, high * scale),
    )  # fmt: skip
    code, report, _ = audited(tmp_path, none.to_dict())
    assert (code, codes(report), report["claimed_bpb"]) == (3, ["BPB419"], None)
    assert "--expect" not in report["missing"][0]
    code, report, _ = audited(tmp_path, none.to_dict() | {"bits_per_token": 1.0})
    assert (code, codes(report)) == (1, ["BPB415"])
    code, report, stderr = audited(tmp_path, none.to_dict() | {"bits_per_byte": 0.5})  # of which the rest makes none
    assert (code, codes(report), stderr) == (1, ["BPB415"], "")
    assert "gives no number in its place" in report["corrected_from"]
    code, _, stderr = audited(tmp_path, none.to_dict(), "--checkpoint", "x.pt", "--data", "y.bin")
    assert (code, "result.json, in bits per token" in stderr) == (2, True)


def test_what_its_score_is_not_trusted_for_is_said(sampled: BpbResult, checked: BpbResult, tmp_path: Path) -> None:
    floor = SourceFloor("words", 9.0, 9.0, 9.0 * checked.length.num_bytes, checked.length.num_bytes)
    untrusted = replace(checked, remarks=(*checked.remarks, Remark("error.not-to-be-trusted", "WARNING: no")))
    for result, words in (
        (sampled, "was not checked (--no-contract)"),
        (replace(checked, source=floor), "below what the text costs under its own source"),
        (untrusted, "the error of its score is not to be trusted"),
    ):
        code, report, _ = audited(tmp_path, result.to_dict())
        assert (code, report["verdict"]) == (3, "unverifiable")
        assert codes(report) == ["BPB418", "BPB419"]
        assert words in report["reason"]


def test_a_checkpoint_scored_by_the_settings_of_the_file_confirms_it(
    checked: BpbResult, repository: Path, tmp_path: Path
) -> None:
    code, report, stderr = audited(
        tmp_path, checked.to_dict(),
        "--checkpoint", repository / "fixtures/checkpoints/mdlm-tiny.pt",
        "--data", repository / "fixtures/corpora/tiny_val_000000.bin",
    )  # fmt: skip
    assert (code, report["verdict"]) == (0, "confirmed"), stderr
    assert report["reason"] == "the score was computed a second time, from the checkpoint, and is the same"
    finding = next(finding for finding in report["findings"] if finding["code"] == "BPB601")
    assert abs(finding["evidence"]["difference"]) < 1e-6


def moved_by(result: BpbResult, share: float) -> BpbResult:
    """The same with other bits, and everything that follows from them."""
    nats = result.length.nats * (1.0 + share)
    length = replace(result.length, nats=nats)
    low, high = result.ci95 or (0.0, 0.0)
    terms = {name: value * (1.0 + share) for name, value in result.terms_nats.items()}
    middle, half = length.bits_per_unit, (high - low) / 2.0
    return replace(result, length=length, terms_nats=terms, ci95=(middle - half, middle + half))


def test_the_same_draws_give_the_same_score(checked: BpbResult, tmp_path: Path) -> None:
    """A number within the errors of sampling would do for other draws."""
    path = tmp_path / "result.json"

    def verdict(claimed: BpbResult) -> tuple[str, list[str], str]:
        path.write_text(claimed.to_json())
        report = bpb_harness.audit(path, recomputed=checked)
        return report.verdict.value, [found.code for found in report.findings], report.judgement.reason

    assert verdict(checked)[:2] == ("confirmed", ["BPB601", "BPB419"])
    assert (checked.mc_stderr or 0.0) > 0.02
    outcome, found, reason = verdict(moved_by(checked, -0.01))
    assert (outcome, found) == ("unverifiable", ["BPB603", "BPB419"])
    assert "settings and seed are the same, and so are the draws, but not the score" in reason
    reseeded = moved_by(replace(checked, signature=replace(checked.signature, seed="5")), -0.01)
    outcome, found, reason = verdict(reseeded)
    assert (outcome, found) == ("unverifiable", ["BPB603", "BPB419"])
    assert "both agree within the error, but the error is too large to tell" in reason
    other = replace(checked, signature=replace(checked.signature, model="00000000"))
    outcome, found, reason = verdict(other)
    assert (outcome, found) == ("unverifiable", ["BPB603", "BPB419"])
    assert f"is about model 00000000, the harness scored {checked.signature.model}" in reason
    assert verdict(moved_by(checked, 3.0))[0] == "refuted"


def test_a_proof_confirms_the_file_that_holds_its_score_alone(checked: BpbResult, tmp_path: Path) -> None:
    path, length = tmp_path / "result.json", checked.length
    path.write_text(checked.to_json())
    bpb = length.bits_per_byte
    proof = Proved(
        score=str(checked), relation="~<=", bits_per_byte=bpb, mc_stderr=0.001, is_trusted=True, is_checked=True,
        method="discrete", num_steps=4, context_length=128, data_name="tiny_val", part=(3, 361),
        num_tokens=length.num_tokens, num_bytes=length.num_bytes, num_proved=3, num_spans=3, num_bits=1000, lost=None,
        differences=(), rate=bpb, claimed=bpb, stderr=0.001, unit="byte", exceeds=False, falls_below=False,
        is_the_text=True, bytes_of_text=length.num_bytes, held="in a process of its own",
    )  # fmt: skip

    def verdict(claimed: BpbResult, proved: Proved) -> tuple[str, list[str]]:
        path.write_text(claimed.to_json())
        report = audit_with(path, proved=proved)
        return report.verdict.value, [found.code for found in report.findings]

    assert verdict(checked, proof) == ("confirmed", ["BPB604", "BPB419"])
    for entry in ({"model": "00000000"}, {"seed": "5"}):
        outcome, found = verdict(replace(checked, signature=replace(checked.signature, **entry)), proof)
        assert outcome == "unverifiable"
        assert "BPB604" not in found
    assert verdict(checked, replace(proof, lost="the tokens are others"))[0] == "refuted"
    off = replace(checked, signature=replace(checked.signature, contract="off"))
    assert verdict(off, replace(proof, score=str(off)))[0] == "unverifiable"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"format": "bpb-result/2"}', "result.json: format: got 'bpb-result/2', expected bpb-result/1"),
        ('{"format": "bpb-bytes/1"}', "result.json: format: got 'bpb-bytes/1', expected bpb-result/1"),
        ('{"format": "bpb-result/1", "nats": 1, "nats": 1}', "got the key 'nats' twice in one object"),
        ('{"format": "bpb-result/1", "nats": 1e999}', "got the number 1e999, expected finite numbers"),
        ('{"format": "bpb-result/1",}', "result.json is not JSON"),
        ('{"format": "bpb-result/1"}', "bits_per_byte: got nothing, expected number or null"),
        ('{"format": "bpb-result/1", "nats": NaN}', "got NaN, expected finite numbers"),
        ('{"format": "bpb-result/1", "x": ' + "[" * 99 + "]" * 99 + "}", "nest"),
        ('{"format": "bpb-result/1", "x": ' + "9" * 9999 + "}", "9"),
    ],
)  # fmt: skip
def test_what_is_no_result_of_ours_is_refused_in_one_line(text: str, message: str, tmp_path: Path) -> None:
    code, report, stderr = audited(tmp_path, text)
    assert (code, report) == (2, {})
    assert message in stderr
    assert len(stderr.splitlines()) == 1


def test_files_of_ours_beside_a_submission_do_not_matter(repository: Path, checked: BpbResult, tmp_path: Path) -> None:
    submission = repository / "fixtures/claims/submissions/honest_single_seed"
    for file in submission.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "bytes.json").write_text('{"format": "bpb-bytes/1"}')
    (tmp_path / "result.json").write_text(json.dumps(checked.to_dict() | {"seed": 9}))
    done = run_here(main, tmp_path)
    assert done.returncode == 0, done.stdout
    (tmp_path / "submission.json").unlink()
    done = run_here(main, tmp_path, "--format", "json")
    assert done.returncode == 1  # alone with the log, it is the claim
    assert "BPB416" in codes(json.loads(done.stdout))


def test_the_options_are_those_of_the_command() -> None:
    for name, option in OPTIONS.items():
        assert FLAGS[name].name == option, name


@pytest.mark.parametrize(
    "settings",
    [
        {"method": "discrete", "num_steps": 7, "num_samples": "all", "seed": 9, "dtype": "bfloat16"},
        {"method": "mc", "num_samples": 3, "stride": 16, "schedule": "cosine-md4[0.01]", "byte_rule": "none"},
        {"method": "chain", "order": "margin", "tokens_per_step": 4, "per_document": True, "unpaid_prefix": 2},
        {"method": "ar", "per_document": True, "tail": "drop", "context_length": 9},
        {"method": "exact", "block_size": 4},
        {"method": "mc", "ttt": "sgd", "ttt_lr": 1e-05, "ttt_chunk": 77, "ttt_clip": math.inf, "ttt_epochs": 5},
        {"method": "ar", "ttt": "sgd", "ttt_momentum": 0.5, "ttt_batch": 3},
        {"method": "ar", "ttt": "own", "ttt_chunk": 9},
    ],
)
def test_settings_of_a_signature_make_the_signature(settings: dict[str, Any]) -> None:
    there = {"context_length": "9", "data": "x@01[0:3/9]", "adapter": "golf-mdlm/ema"}
    wanted = Settings(**settings)
    made = wanted.in_signature()
    learns = {} if wanted.adaptation is None else {"adaptation": str(wanted.adaptation)}
    again = settings_of(Signature(**{**made, **there, **learns}))
    limit = 1 if "block_size" in settings else 3  # of windows: three blocks of 4 make one
    assert [again.pop(name) for name in ("limit", "adapter", "weights", "context_length")] == [
        limit,
        "golf-mdlm",
        "ema",
        9,
    ]
    assert Settings(**again).adaptation == wanted.adaptation
    assert Settings(**again).in_signature() | {"context_length": None} == made | {"context_length": None}


def test_a_score_of_a_network_that_learns_is_scored_again_by_one_that_does(repository: Path, tmp_path: Path) -> None:
    files = {
        "checkpoint": repository / "fixtures/checkpoints/ar-tiny.pt",
        "data": repository / "fixtures/corpora/tiny_val_000000.bin",
    }
    made = {"ttt": "sgd", "ttt_chunk": 256, "ttt_lr": 0.1, "method": "ar", "limit": 6, "device": "cpu"}
    adapted = bpb_harness.evaluate(**files, check_contract=False, **made)
    adapted = replace(adapted, signature=replace(adapted.signature, contract=None))
    _, report, _ = audited(tmp_path, adapted.to_dict())
    (anew,) = report["missing"]  # and no proof, which there is none of
    assert (
        "--ttt sgd --ttt-lr 0.1 --ttt-momentum 0.9 --ttt-epochs 3 --ttt-chunk 256 --ttt-batch 32 --ttt-clip 1.0" in anew
    )
    code, report, stderr = audited(
        tmp_path, adapted.to_dict(), "--checkpoint", files["checkpoint"], "--data", files["data"]
    )
    assert (code, report["verdict"]) == (0, "confirmed"), stderr


@pytest.mark.parametrize(
    "stated", ["sgd", "sgd[lr=0.1", "sgd[lr=a]", "sgd[model=1]", "sgd[lr=1,,chunk=2]", "sgd[epochs=1.5]"]
)
def test_an_adaptation_that_is_not_understood_is_not_left_out(checked: BpbResult, stated: str) -> None:
    with pytest.raises(InputError, match="the signature of the score: ttt"):
        settings_of(replace(checked.signature, adaptation=stated))


def test_a_network_in_memory_cannot_be_scored_by_a_command(checked: BpbResult, tmp_path: Path) -> None:
    there = replace(checked, signature=replace(checked.signature, adapter="in-memory/Net"))
    assert command_of(there) is None
    code, report, _ = audited(tmp_path, there.to_dict())
    assert code == 3
    assert report["missing"][0].startswith("the network, saved as a checkpoint")


def test_the_command_gives_the_number_again(checked: BpbResult, repository: Path) -> None:
    command = command_of(checked)
    assert command is not None
    first, *words = shlex.split(command)
    assert first == "bpb-eval"
    files = {
        "CHECKPOINT": repository / "fixtures/checkpoints/mdlm-tiny.pt",
        "TEXT": repository / "fixtures/corpora/tiny_val_000000.bin",
    }
    done = run_here(eval_main, *(files.get(word, word) for word in words), "--device", "cpu", "--no-contract")
    assert done.returncode == 0, done.stderr


def test_passes_of_a_tolerance_become_draws(checked: BpbResult) -> None:
    several = replace(checked, signature=replace(checked.signature, passes="3", num_samples="2"))
    assert settings_of(several.signature)["num_samples"] == 6
    command = command_of(several)
    assert command is not None
    assert float(command.split()[-1]) > 5.0 * (checked.mc_stderr or 0.0)


def test_code_needs_its_permission(checked: BpbResult) -> None:
    of_code = replace(checked, signature=replace(checked.signature, adapter="code@01234567/load"))
    command = command_of(of_code)
    assert command is not None
    assert "--model FILE.py:LOADER --allow-code" in command
    assert "--adapter" not in command
