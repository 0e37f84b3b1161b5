"""The folder of a submission: what it says of the score, and that it is written whole or not at all."""

from __future__ import annotations

import io
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

import reference
from bpb_harness.errors import UsageError
from bpb_harness.networks import reference as network
from bpb_harness.result import BpbResult, Signature
from bpb_harness.units import CodeLength
from fixtures import build
from reference import submission
from reference.export import export
from reference.submission import code_bytes, log_lines, readme, record, write_submission
from reference.train import train
from tests.shards import write_shard
from tests.tiny_training import tiny_training


def _result(method: str = "discrete", relation: str = "~<=", **signature: str | None) -> BpbResult:
    settings = Signature(**{"method": method, "num_steps": "64" if method == "discrete" else None} | signature)
    length = CodeLength(nats=2000.0, num_tokens=1000, num_bytes=2500, num_windows=4)
    return BpbResult(length, relation, {}, 0.0123456789, None, None, settings, 0, 1.0, "cpu")


def test_the_size_of_the_code_is_that_of_the_trainer_and_the_network() -> None:
    trainer = sum(path.stat().st_size for path in Path(reference.__file__).parent.glob("*.py"))
    assert code_bytes() == trainer + Path(network.__file__).stat().st_size


def test_the_record_of_an_estimated_bound() -> None:
    content = record(_result(), name="a run", author="somebody", model_bytes=5000, seed=7)
    assert content == {
        "author": "somebody",
        "name": "a run",
        "val_loss": 2.0,
        "val_bpb": round(2000.0 / math.log(2.0) / 2500, 8),
        "val_bpb_estimator": "discrete ELBO, prior term included",
        "bytes_total": 5000 + code_bytes(),
        "bytes_model": 5000,
        "bytes_code": code_bytes(),
        "dataset": "",
        "scored_tokens": 1000,
        "scored_bytes": 2500,
        "signature": "bpb|method:discrete|T:64",
        "val_bpb_stderr": 0.01234568,
        "diffusion_num_steps": 64,
        "seeds": [7],
    }


@pytest.mark.parametrize(
    ("method", "relation", "estimator", "keys"),
    [
        ("mc", "~<=", "continuous NELBO by Monte Carlo, prior term included", {"val_bpb_stderr"}),
        ("discrete", "<=", "discrete ELBO, prior term included", {"diffusion_num_steps"}),
        ("ar", "=", "autoregressive code length", set()),
    ],
)
def test_a_record_gives_what_its_estimator_has(method: str, relation: str, estimator: str, keys: set[str]) -> None:
    content = record(_result(method, relation), name="x", author="y", model_bytes=1, seed=None)
    assert content["val_bpb_estimator"] == estimator
    assert keys == content.keys() & {"val_bpb_stderr", "diffusion_num_steps", "seeds"}


def test_a_record_names_its_text() -> None:
    content = record(_result(data="my_val@0123abcd"), name="x", author="y", model_bytes=1, seed=None)
    assert content["dataset"] == "my_val"


def test_the_end_of_the_log() -> None:
    content = record(_result(), name="x", author="y", model_bytes=5000, seed=None)
    assert log_lines(content, "m.ptz") == (
        "evaluation of m.ptz: bpb|method:discrete|T:64\n"
        "tokens:1000 bytes:2500\n"
        "final_eval_exact val_loss:2.00000000 val_bpb:1.15415603\n"
        f"Total submission size: {5000 + code_bytes()} bytes\n"
    )


@pytest.mark.parametrize(
    ("method", "relation", "score", "flags"),
    [
        (
            "discrete",
            "~<=",
            "1.15415603 +- 0.0242 (95 %, sampling), discrete ELBO, prior term included, T = 64.",
            "--method discrete --steps 64",
        ),
        (
            "mc",
            "~<=",
            "1.15415603 +- 0.0242 (95 %, sampling), continuous NELBO by Monte Carlo, prior term included.",
            "--method mc",
        ),
        ("ar", "=", "1.15415603, autoregressive code length.", "--method ar"),
    ],
)
def test_the_readme(method: str, relation: str, score: str, flags: str) -> None:
    result = _result(method, relation)
    text = readme(record(result, name="A run", author="y", model_bytes=5000, seed=None), result, "m.ptz")
    lines = text.splitlines()
    assert lines[:3] == ["# A run", "", f"val_bpb: {score}"]
    assert f"    bpb-eval m.ptz --data VALIDATION.bin {flags}" in lines
    assert "    bpb-audit . --checkpoint m.ptz --data VALIDATION.bin" in lines
    assert "1,000 tokens and 2,500 bytes were scored" in text
    assert f"The artifact is 5,000 bytes, the code {code_bytes():,}." in text
    assert lines[-1] == f"    {result.signature}"


class _Scored:
    """Stands for the harness: keeps what it is given."""

    def __init__(self) -> None:
        self.given: dict[str, Any] = {}
        self.result = _result()

    def __call__(self, checkpoint: Path, **given: Any) -> BpbResult:
        self.given = {"checkpoint": checkpoint, **given}
        return self.result


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> _Scored:
    made = _Scored()
    monkeypatch.setattr(submission, "evaluate", made)
    return made


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "m.ptz").write_bytes(b"weights")
    return tmp_path / "m.ptz"


def _said(*arguments: Any, **options: Any) -> str:
    with pytest.raises(UsageError) as caught:
        write_submission(*arguments, **options)
    return str(caught.value)


@pytest.mark.parametrize("log", ["given", "beside", None])
def test_the_folder(tmp_path: Path, scored: _Scored, model: Path, log: str | None) -> None:
    (tmp_path / "given.log").write_text("given\n")
    if log is not None:
        (tmp_path / "m.ptz.log").write_text("beside\n")
    given = tmp_path / "given.log" if log == "given" else None
    out = tmp_path / "deep/er/out"
    data = [Path("val.bin")]
    content = write_submission(model, out, data=data, tokenizer=Path("t"), log=given, method="mc", num_steps=9)
    expected = {"checkpoint": model, "data": data, "tokenizer": Path("t"), "method": "mc", "num_steps": 9}
    assert scored.given == expected
    assert content == record(
        scored.result, name="reference masked diffusion model", author="unnamed", model_bytes=7, seed=None
    )
    assert sorted(path.name for path in out.iterdir()) == ["README.md", "m.ptz", "submission.json", "train.log"]
    assert (out / "m.ptz").read_bytes() == b"weights"
    assert json.loads((out / "submission.json").read_text()) == content
    assert (out / "train.log").read_text() == (f"{log}\n" if log else "") + log_lines(content, "m.ptz")
    assert (out / "README.md").read_text() == readme(content, scored.result, "m.ptz")
    assert [path.name for path in out.parent.iterdir()] == ["out"]


@pytest.mark.parametrize("tied", [False, True])
def test_the_log_of_another_run_is_not_submitted(tmp_path: Path, scored: _Scored, tied: bool) -> None:
    """As far as it tells: parameters, objective, and the weights that were saved, but for an artifact made of them."""
    trained = train(tiny_training(tmp_path / "m.pt", steps=1, tied_head=tied), console=Console(file=io.StringIO()))
    export(tmp_path / "m.pt", tmp_path / "m.ptz")
    log = tmp_path / "other.log"
    own = (tmp_path / "m.pt.log").read_text()
    digest, count = str(trained.saved_digest)[:16], f"{trained.num_parameters:,}"
    other_runs = {
        "7 parameters": (f"mdlm: {count} par", "mdlm: 7 par", f"{count} parameters"),
        "objective ar": (f"mdlm: {count} par", f"ar: {count} par", "objective mdlm"),
        f"a run that saved {'0' * 16}": (digest, "0" * 16, f"a run that saved {digest}"),
    }
    for told, (before, after, held) in other_runs.items():
        log.write_text(own.replace(before, after))
        for name in ("m.pt", "m.ptz") if "saved" not in told else ("m.pt",):
            assert _said(tmp_path / name, tmp_path / "out", data=[], log=log) == (
                f"--log is of another run: got {told}, expected {held}, as {name}; pass the log that was written "
                "beside this checkpoint"
            )
    assert scored.given == {}, "nothing is scored for it"
    log.write_text("a log that tells nothing\n")
    write_shard(tmp_path / "val.bin", np.fromfile(build.VALIDATION, dtype="<u2")[512:9000])
    for name in ("m.pt", "m.ptz"):
        for number, which in enumerate((tmp_path / "m.pt.log", log)):
            write_submission(tmp_path / name, tmp_path / f"{number}-{name}", data=[tmp_path / "val.bin"], log=which)


def test_what_was_trained_on_is_not_submitted(tmp_path: Path, scored: _Scored) -> None:
    train(tiny_training(tmp_path / "m.pt", steps=1), console=Console(file=io.StringIO()))
    copy = tmp_path / "copy.bin"
    copy.write_bytes(build.VALIDATION.read_bytes())
    assert _said(tmp_path / "m.pt", tmp_path / "out", data=[copy]) == (
        f"--data was trained on: got copy.bin, the same tokens as {build.VALIDATION.name}, expected text that no step "
        "has learnt"
    )
    assert scored.given == {}
    write_shard(copy, np.fromfile(build.VALIDATION, dtype="<u2")[512:9000])
    write_submission(tmp_path / "m.pt", tmp_path / "out", data=[copy])


def test_what_cannot_be_submitted(
    tmp_path: Path, scored: _Scored, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    before = sorted(tmp_path.iterdir())
    assert _said(model, tmp_path, data=[]) == f"--out: got {tmp_path}, expected a folder that does not exist yet"
    gone = tmp_path / "gone.log"
    assert _said(model, out, data=[], log=gone) == f"--log: got {gone}, expected the log of the training run"
    assert scored.given == {}, "nothing is scored for it"
    scored.result = _result("chain", "=")
    assert _said(model, out, data=[]) == "--method: got chain, expected discrete, mc, ar"
    scored.result = _result()
    size = 7 + code_bytes()
    monkeypatch.setattr(submission, "CAP_BYTES", size - 1)
    assert _said(model, out, data=[]) == (
        f"m.ptz is too large to submit: got {size:,} bytes with code, expected {size - 1:,}; compress it: python -m "
        "reference.export"
    )
    assert sorted(tmp_path.iterdir()) == before
    monkeypatch.setattr(submission, "CAP_BYTES", size)
    write_submission(model, out, data=[])


def test_the_command_hands_everything_on(
    tmp_path: Path, scored: _Scored, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "my.log"
    log.write_text("mine\n")
    out = tmp_path / "out"
    options = {
        "--out": out, "--data": "val.bin", "--tokenizer": "t", "--method": "mc", "--steps": 9, "--samples": 3,
        "--dtype": "bfloat16", "--device": "cpu", "--log": log, "--name": "a run", "--author": "me", "--seed": 5,
    }  # fmt: skip
    arguments = [str(part) for option in options.items() for part in option]
    monkeypatch.setattr(sys, "argv", ["submission", str(model), *arguments])
    with pytest.raises(SystemExit) as stopped:
        submission.main()
    assert not stopped.value.code
    assert scored.given == {
        "checkpoint": model, "data": [Path("val.bin")], "tokenizer": Path("t"), "method": "mc", "num_steps": 9,
        "num_samples": 3, "dtype": "bfloat16", "device": "cpu",
    }  # fmt: skip
    content = json.loads((out / "submission.json").read_text())
    assert (content["name"], content["author"], content["seeds"]) == ("a run", "me", [5])
    assert (out / "train.log").read_text().startswith("mine\n")
    assert capsys.readouterr().err == f"{out}: val_bpb 1.1542, {7 + code_bytes():,} bytes\n"
