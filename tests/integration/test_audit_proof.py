"""A claim, and a proof of it that the command decodes."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import bpb_harness
from bpb_harness.cli import audit as command
from bpb_harness.cli import prove
from bpb_harness.errors import UsageError
from bpb_harness.proof.bit_file import read_bits, write_bits
from bpb_harness.proof.choice import Choice
from tests.commands import run_here
from tests.forked_servers import start_forked
from tests.printed import without_progress

CHECKPOINT = Path(__file__).parents[2] / "fixtures/checkpoints/mdlm-tiny.pt"
MODEL = "fixtures/tokenizers/tiny_512_bpe.model"
pytestmark = pytest.mark.usefixtures("forked_decoding")
NUM_TOKENS = 40  # two windows of the chain rule, the second shorter


def shard_of(repository: Path, path: Path, tokens: slice) -> Path:
    whole = repository / "fixtures/corpora/tiny_val_000000.bin"
    header, taken = np.fromfile(whole, "<i4", 256), np.fromfile(whole, "<u2", offset=1024)[tokens]
    header[2] = len(taken)
    path.write_bytes(header.tobytes() + taken.tobytes())
    return path


@pytest.fixture(scope="module")
def proof(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, float]:
    """A file of bits, its text, and the score that it is the whole of."""
    folder = tmp_path_factory.mktemp("proof")
    shard = shard_of(repository, folder / "part_val_000000.bin", slice(0, NUM_TOKENS))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bpb_harness.proof.decoding.Server", SimpleNamespace(start=start_forked))
        done = run_here(
            prove.main, CHECKPOINT, "--method", "chain", "--context", "24", "--data", shard, "--tokenizer",
            repository / MODEL, "--device", "cpu", "--num-windows", "2", "--proof", folder / "a.bits",
        )  # fmt: skip
    assert done.returncode == 0, done
    return folder / "a.bits", shard, float(done.stdout.split(" = ")[1].split(" ")[0])


def audited(
    repository: Path, folder: Path, file: Path, *flags: object, **claim: Any
) -> tuple[int, dict[str, Any], str]:
    path = folder / "x.claim.json"
    path.write_text(json.dumps({"format": "bpb-claim/1", **claim}))
    done = run_here(
        command.main, path, "--format", "json", "--proof", file, "--checkpoint", CHECKPOINT,
        "--tokenizer", repository / MODEL, *flags,
    )  # fmt: skip
    return done.returncode, json.loads(done.stdout or "{}"), done.stderr


def codes_of(report: dict[str, Any]) -> set[str]:
    return {finding["code"] for finding in report["findings"] if finding["code"].startswith("BPB6")}


def test_the_whole_of_a_score_is_proved(repository: Path, proof: tuple[Path, Path, float], tmp_path: Path) -> None:
    file, shard, score = proof
    code, report, stderr = audited(repository, tmp_path, file, "--data", shard, claimed_bpb=score)
    assert (code, report["verdict"], codes_of(report)) == (0, "confirmed", {"BPB604"}), stderr
    code, report, _ = audited(repository, tmp_path, file, claimed_bpb=score)
    assert (code, codes_of(report)) == (3, {"BPB606"})
    assert any("--data" in missing for missing in report["missing"])
    code, report, _ = audited(repository, tmp_path, file, "--data", shard, claimed_bpb=score - 0.1)
    assert (code, codes_of(report)) == (3, {"BPB607"})


def test_what_a_proof_leaves_open_is_not_asked_for_again(
    repository: Path, proof: tuple[Path, Path, float], tmp_path: Path
) -> None:
    file, shard, _ = proof
    result = bpb_harness.evaluate(
        CHECKPOINT, method="chain", context_length=24, data=shard, tokenizer=repository / MODEL,
        device="cpu",
    )  # fmt: skip
    (tmp_path / "result.json").write_text(result.to_json())
    done = run_here(
        command.main, tmp_path / "result.json", "--format", "json", "--proof", file, "--checkpoint",
        CHECKPOINT, "--tokenizer", repository / MODEL,
    )  # fmt: skip
    compared, anew = json.loads(done.stdout)["missing"]
    assert "--data" in compared
    assert anew.startswith("the score anew")
    assert "the same without --proof" in anew


def test_the_same_in_python(repository: Path, proof: tuple[Path, Path, float], tmp_path: Path) -> None:
    file, shard, score = proof
    (tmp_path / "x.claim.json").write_text(json.dumps({"format": "bpb-claim/1", "claimed_bpb": score}))
    report = bpb_harness.audit(tmp_path, proof=file, checkpoint=CHECKPOINT, tokenizer=repository / MODEL, data=shard)
    assert report.judgement.verdict == "confirmed"
    with pytest.raises(UsageError, match="proof"):
        bpb_harness.audit(tmp_path, checkpoint=CHECKPOINT)
    with pytest.raises(UsageError, match="proof without checkpoint"):
        bpb_harness.audit(tmp_path, proof=file, tokenizer=repository / MODEL)


def test_bits_that_are_not_the_text_refute(repository: Path, proof: tuple[Path, Path, float], tmp_path: Path) -> None:
    """Damaged and sealed again; and bits of another text under the digest of this one."""
    file, shard, score = proof
    header, (given, bits) = read_bits(file)
    write_bits(tmp_path / "b.bits", header, [given, bytes([bits[0] ^ 64]) + bits[1:]])
    code, report, _ = audited(repository, tmp_path, tmp_path / "b.bits", claimed_bpb=score)
    assert (code, report["verdict"], codes_of(report)) == (1, "refuted", {"BPB605"})

    other = shard_of(repository, tmp_path / "other_val_000000.bin", slice(1000, 1000 + NUM_TOKENS))
    done = run_here(
        prove.main, CHECKPOINT, "--method", "chain", "--context", "24", "--data", other, "--tokenizer",
        repository / MODEL, "--device", "cpu", "--num-windows", "2", "--proof", tmp_path / "o.bits", "--no-contract",
    )  # fmt: skip
    assert done.returncode == 3, done
    made_up, streams = read_bits(tmp_path / "o.bits")
    names = {name: header[name] for name in ("data", "score")}
    write_bits(tmp_path / "o.bits", made_up | names, streams)
    code, report, stderr = audited(repository, tmp_path, tmp_path / "o.bits", "--data", shard, claimed_bpb=score)
    assert (code, codes_of(report)) == (1, {"BPB605"}), stderr
    assert "of the text" in report["reason"]


def test_a_score_that_its_bits_do_not_cash(repository: Path, proof: tuple[Path, Path, float], tmp_path: Path) -> None:
    """The true text and the true bits, under a line that says less."""
    file, shard, score = proof
    header, streams = read_bits(file)
    low = header["score"].replace(f" = {score:.4f} ", f" = {0.9 * score:.4f} ")
    chosen = Choice(header["model"], header["data"], low).spans(header["num_spans"], 2).tolist()
    assert chosen == header["windows"]  # all of them
    write_bits(tmp_path / "low.bits", header | {"score": low}, streams)
    code, report, stderr = audited(
        repository, tmp_path, tmp_path / "low.bits", "--data", shard, claimed_bpb=round(0.9 * score, 4)
    )
    assert (code, codes_of(report)) == (1, {"BPB605"}), stderr
    done = run_here(prove.main, "--decode", tmp_path / "low.bits", CHECKPOINT, "--tokenizer", repository / MODEL)
    assert done.returncode == 1
    assert "not proved: 2 of 2 windows, chosen by a hash of the score, cost more than the score says" in done.stdout


def test_bytes_that_the_text_does_not_have(repository: Path, proof: tuple[Path, Path, float], tmp_path: Path) -> None:
    file, shard, score = proof
    header, streams = read_bits(file)
    tokens, true = NUM_TOKENS, int(header["score"].split(" tokens, ")[1].split(" ")[0])
    more = round(1.05 * true)
    line = header["score"].replace(f"{true / tokens:.3f} bytes/token", f"{more / tokens:.3f} bytes/token")
    write_bits(tmp_path / "m.bits", header | {"score": line.replace(f", {true} bytes", f", {more} bytes")}, streams)
    code, report, stderr = audited(repository, tmp_path, tmp_path / "m.bits", "--data", shard, claimed_bpb=score)
    assert (code, codes_of(report)) == (1, {"BPB605"}), stderr
    assert f"divides by {more} bytes, its text has {true}" in report["reason"]


def test_another_text_or_checkpoint_is_refused_by_name(
    repository: Path, proof: tuple[Path, Path, float], tmp_path: Path
) -> None:
    file, _, score = proof
    other = shard_of(repository, tmp_path / "other_val_000000.bin", slice(1, 1 + NUM_TOKENS))
    code, _, stderr = audited(repository, tmp_path, file, "--data", other, claimed_bpb=score)
    assert code == 2
    assert "--data is another text than that of the proof" in stderr
    (tmp_path / "other.pt").write_bytes((CHECKPOINT).read_bytes() + b"\0")
    done = run_here(
        command.main, tmp_path / "x.claim.json", "--proof", file, "--checkpoint", tmp_path / "other.pt",
        "--tokenizer", repository / MODEL,
    )  # fmt: skip
    assert done.returncode == 2
    assert "is not the checkpoint of the file of bits" in done.stderr
    assert len(without_progress(done.stderr).splitlines()) == 1


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--proof", "a.bits"], "--proof without --checkpoint: got bits alone"),
        (["--proof", "a.bits", "--checkpoint", "c.pt"], "a.bits: cannot be read"),
        (["--proof", "a.bits", "--checkpoint", "c.pt", "--tokenizer", "t", "--steps", "3"], "--steps with --proof"),
        (["--proof", "a.bits", "--checkpoint", "c.pt", "--tokenizer", "t", "--recursive"], "--proof is of one claim"),
        (["--proof", "none.bits", "--checkpoint", "c.pt", "--tokenizer", "t"], "none.bits: cannot be read"),
    ],
)
def test_what_a_proof_needs(tmp_path: Path, flags: list[str], said: str) -> None:
    (tmp_path / "x.claim.json").write_text('{"format": "bpb-claim/1", "claimed_bpb": 1.0}')
    done = run_here(command.main, tmp_path, *flags)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(without_progress(done.stderr).splitlines()) == 1


def test_a_proof_of_code_is_sent_elsewhere(repository: Path, proof: tuple[Path, Path, float], tmp_path: Path) -> None:
    header, streams = read_bits(proof[0])
    write_bits(tmp_path / "c.bits", header | {"runs_code": True}, streams)
    code, _, stderr = audited(repository, tmp_path, tmp_path / "c.bits", claimed_bpb=1.0)
    assert code == 2
    assert "bpb-prove --decode" in stderr
