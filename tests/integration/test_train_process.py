"""The trainer as its users run it: a process that trains, stops on Ctrl-C, resumes exactly, and refuses bad input."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
import sentencepiece
import torch

from bpb_harness.adapters import load_model
from bpb_harness.checkpoints import read_checkpoint
from bpb_harness.errors import CheckpointError, TokenizerError, UsageError
from bpb_harness.evaluation.api import evaluate
from bpb_harness.networks.reference import ReferenceCausalLM, ReferenceDenoiser
from fixtures import build
from reference.run import Run
from reference.train import train
from tests.commands import run_here
from tests.shards import write_shard
from tests.tiers import thorough
from tests.tiny_training import tiny_training as training

SMALL = ["--layers", "1", "--width", "16", "--heads", "2", "--context", "32", "--batch-tokens", "64", "--device", "cpu"]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "reference.train", *arguments]


def weights(path: Path) -> dict[str, torch.Tensor]:
    return dict(read_checkpoint(path).tensors)


@pytest.mark.parametrize("muon_lr", [0.0, 0.02])
@pytest.mark.parametrize(("objective", "time_conditioned"), [("mdlm", True), ("ar", False)])
def test_resumed_run_takes_the_same_steps(
    tmp_path: Path, objective: str, time_conditioned: bool, muon_lr: float
) -> None:
    settings = {"objective": objective, "time_conditioned": time_conditioned, "muon_lr": muon_lr}
    whole = train(training(tmp_path / "whole.pt", **settings))
    parts = training(tmp_path / "parts.pt", **settings)
    first = Run(parts)
    for step in range(5):
        first.take_step(step / 12)
    first.save(seconds=1.5)
    parts.log_path.write_text("what the first part said\n")
    second = train(parts, resume=True)
    assert parts.log_path.read_text().startswith("what the first part said\nmdlm: " if objective == "mdlm" else "what")
    assert second.seconds == 1.5
    assert second.history == whole.history
    assert len(whole.history) == 12
    expected, resumed = weights(tmp_path / "whole.pt"), weights(tmp_path / "parts.pt")
    assert expected.keys() == resumed.keys()
    assert all(torch.equal(expected[name], resumed[name]) for name in expected)
    raw, again = (
        torch.load(tmp_path / f"{name}.pt.train", weights_only=True)["network"] for name in ("whole", "parts")
    )
    assert all(torch.equal(raw[name], again[name]) for name in raw)
    assert not all(torch.equal(raw[name], expected[name]) for name in raw)  # what is saved is the moving average


@pytest.mark.parametrize("stop", [3, 8, 10])  # the first seven or eight steps have short windows
def test_a_run_whose_windows_grow_resumes_with_the_same_steps(tmp_path: Path, stop: int) -> None:
    settings = {"short_context": 8}
    whole, parts = (training(tmp_path / f"{name}.pt", **settings) for name in ("whole", "parts"))
    expected = train(whole)
    first = Run(parts)
    for step in range(stop):
        first.take_step(step / 12)
    first.save(seconds=1.0)
    assert train(parts, resume=True).history == expected.history
    assert "16 windows of 8, later 4 windows of 32 a step" in expected.description
    assert whole.log_path.read_text().count("step 8: windows of 32 from here on\n") == 1
    assert read_checkpoint(whole.out).config["context_length"] == 32


def test_training_learns_and_the_checkpoint_loads(tmp_path: Path) -> None:
    out = tmp_path / "model.pt"
    shard = tmp_path / "val.bin"
    shard.write_bytes(build.VALIDATION.read_bytes())
    run = train(training(out, steps=80, val_data=(shard,), export_dtype="bfloat16", batch_tokens=512))
    assert run.history[0] == pytest.approx(6.2383, abs=1e-3)  # ln 512: the first prediction is uniform
    assert run.recent_bits(10) < 7.8  # a uniform guess costs 9 bits
    checkpoint, adapted = load_model(out, device=torch.device("cpu"), dtype=torch.float32)
    assert isinstance(adapted.model, ReferenceDenoiser)
    assert checkpoint.tokenizer == build.TOKENIZER.read_bytes()
    assert checkpoint.data == {"paths": ["val.bin"], "notes": {}}
    assert str(adapted.schedule) == "loglinear[0.001]"
    assert all(tensor.dtype == torch.bfloat16 for tensor in checkpoint.tensors.values())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.pt", "model.pt.log", "model.pt.train", "val.bin"]


def test_validation_is_what_the_command_says_of_the_saved_checkpoint(tmp_path: Path) -> None:
    run = train(training(tmp_path / "model.pt", steps=3, val_data=(build.VALIDATION,), val_windows=40))
    during = run.validate()
    after = evaluate(
        tmp_path / "model.pt", data=build.VALIDATION, method="mc", num_samples=1, limit=40, device="cpu",
        check_contract=False,
    )  # fmt: skip
    assert during is not None
    assert during.length == after.length
    assert f"({after.bits_per_byte:.4f} bpb)" in (tmp_path / "model.pt.log").read_text()


def test_a_compiler_that_fails_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> NoReturn:
        raise RuntimeError("no compiler here\nand a long story")

    monkeypatch.setattr(torch, "compile", broken)
    run = Run(training(tmp_path / "model.pt", compile=True))
    assert run.prepare() == "not compiled, and so slower: RuntimeError: no compiler here"
    plain = Run(training(tmp_path / "model.pt", compile=False))
    assert plain.prepare() is None
    for each in (run, plain):
        each.take_step(0.5)
    assert run.history == plain.history


def test_a_batch_that_does_not_fit_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(training(tmp_path / "model.pt"))

    def too_large(*_: torch.Tensor) -> NoReturn:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate ...")

    monkeypatch.setattr(run, "objective_nats", too_large)
    with pytest.raises(UsageError, match=r"--batch-tokens: got 128, which does not fit"):
        run.prepare()


def test_a_fresh_run_starts_a_fresh_log(tmp_path: Path) -> None:
    for _ in range(2):
        train(training(tmp_path / "model.pt", steps=1))
    assert (tmp_path / "model.pt.log").read_text().count("done: 1 step ") == 1


def test_causal_twin_has_the_same_network(tmp_path: Path) -> None:
    train(training(tmp_path / "ar.pt", objective="ar", steps=2))
    train(training(tmp_path / "mdlm.pt", steps=2))
    _, adapted = load_model(tmp_path / "ar.pt", device=torch.device("cpu"), dtype=torch.float32)
    assert isinstance(adapted.model, ReferenceCausalLM)
    assert adapted.schedule is None
    causal, masked = weights(tmp_path / "ar.pt"), weights(tmp_path / "mdlm.pt")
    assert causal.keys() == masked.keys()
    differing = [name for name in causal if causal[name].shape != masked[name].shape]
    assert differing == ["embedding.weight"]  # one row more: the mask


def test_data_outside_the_checkpoints_folder_is_not_recorded(tmp_path: Path) -> None:
    out = tmp_path / "elsewhere" / "model.pt"
    train(training(out, steps=1, val_data=(build.VALIDATION,)))
    assert read_checkpoint(out).data is None


def test_resume_refuses_another_run(tmp_path: Path) -> None:
    train(training(tmp_path / "model.pt", steps=1))
    with pytest.raises(CheckpointError, match="another --width"):
        train(training(tmp_path / "model.pt", steps=2, width=32), resume=True)
    with pytest.raises(CheckpointError, match="no state to resume from"):
        train(training(tmp_path / "none.pt", steps=1), resume=True)
    torch.save({"identity": training(tmp_path / "model.pt").identity(), "network": {}}, tmp_path / "model.pt.train")
    with pytest.raises(CheckpointError, match="cannot read"):
        train(training(tmp_path / "model.pt", steps=2), resume=True)
    (tmp_path / "model.pt.train").write_bytes(b"not a state")
    with pytest.raises(CheckpointError, match="cannot read"):
        train(training(tmp_path / "model.pt", steps=2), resume=True)


def test_the_feed_forward_width_is_part_of_a_run(tmp_path: Path) -> None:
    first = training(tmp_path / "model.pt", steps=1)
    train(first)
    assert read_checkpoint(first.out).config["mlp_width"] == 64
    with pytest.raises(CheckpointError, match=r"another --mlp-width: got 48 now, 64 in"):
        train(training(tmp_path / "model.pt", steps=2, mlp_width=48), resume=True)
    state = torch.load(first.state_path, weights_only=True)
    del state["identity"]["mlp_width"]  # a state from before it could be set
    torch.save(state, first.state_path)
    with pytest.raises(CheckpointError, match="another --mlp-width"):
        train(training(tmp_path / "model.pt", steps=2, mlp_width=48), resume=True)
    assert train(training(tmp_path / "model.pt", steps=2, mlp_width=64), resume=True).step == 2  # 4 x width, said aloud
    narrow = training(tmp_path / "narrow.pt", steps=1, mlp_width=48)
    train(narrow)
    assert read_checkpoint(narrow.out).config["mlp_width"] == 48
    assert weights(narrow.out)["blocks.0.feed_forward.up.weight"].shape == (48, 16)


def test_a_state_that_would_run_code_does_not(tmp_path: Path) -> None:
    import pickle

    class Attack:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "owned"),)

    torch.save({"identity": Attack()}, tmp_path / "model.pt.train", pickle_module=pickle)
    with pytest.raises(CheckpointError, match="cannot read"):
        train(training(tmp_path / "model.pt", steps=2), resume=True)
    assert not (tmp_path / "owned").exists()


@thorough(everyday="unit/reference/test_train.py::test_ctrl_c_ends_the_step_saves_and_says_so")
def test_interrupt_saves_and_says_so(tmp_path: Path, repository: Path) -> None:
    out = tmp_path / "model.pt"
    arguments = ["--data", str(build.VALIDATION), "--tokenizer", str(build.TOKENIZER), "--out", str(out), *SMALL]
    limit = ["--minutes", "5", "--save-minutes", "0.0001"]
    process = subprocess.Popen(command(*arguments, *limit), cwd=repository, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 300
    while not out.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == 130, stderr
    assert "interrupted; continue with --resume" in stderr
    assert "Traceback" not in stderr
    state = torch.load(tmp_path / "model.pt.train", weights_only=True)
    assert state["step"] == len(state["history"]) > 0
    assert read_checkpoint(out).adapter == "reference"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.pt", "model.pt.log", "model.pt.train"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"--data": "nowhere.bin"}, "nowhere.bin: no such file"),
        ({"--tokenizer": "pyproject.toml"}, "neither a SentencePiece model nor valid JSON"),
        ({"--steps": "0"}, "--steps: got 0"),
        ({"--schedule": "cosine"}, "names two schedules"),
        ({"--heads": "3"}, "multiple of 2 x heads"),
        ({"--batch-tokens": "8"}, "--batch-tokens: got 8"),
        ({"--mlp-width": "0"}, "--mlp-width: got 0"),
        ({"--context": "0"}, "--context: got 0"),
        ({"--context": "-1"}, "--context: got -1"),
        ({"--short-context": "32"}, "--short-context: got 32"),
        ({"--short-context": "0"}, "--short-context: got 0"),
        ({"--export-dtype": "int3"}, "--export-dtype"),
        ({"--ema": "1"}, "--ema: got 1.0"),
        ({"--clip": "-1"}, "--clip: got -1.0"),
        ({"--device": "tpu"}, "--device"),
        ({"--out": "model.bin"}, "--out: got 'model.bin'"),
        ({"--val-data": "nowhere.bin"}, "no such file"),
        ({"--objective": "ar", "--time-conditioned": None}, "no noise level"),
        ({"--steps": "100000000", "--minutes": "0"}, "--minutes: got 0.0"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    repository: Path,
    changes: dict[str, str | None],
    message: str,
) -> None:
    from reference.train import main

    monkeypatch.chdir(repository)
    options: dict[str, str | None] = {
        "--data": str(build.VALIDATION), "--tokenizer": str(build.TOKENIZER), "--out": str(tmp_path / "m.pt"),
        "--steps": "1", **dict(zip(SMALL[::2], SMALL[1::2], strict=True)), **changes,
    }  # fmt: skip
    arguments = [part for option, value in options.items() for part in (option, value) if part is not None]
    monkeypatch.setattr(sys, "argv", ["train", *arguments])
    with pytest.raises(SystemExit) as stopped:
        main()
    stderr = capsys.readouterr().err
    assert stopped.value.code == 2
    assert message in stderr
    assert stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_tokenizer_that_did_not_write_the_shards_is_refused(tmp_path: Path) -> None:
    words = ["".join(np.random.default_rng(seed).choice(list("bcdfgaeiou"), 5)) for seed in range(600)]
    with (tmp_path / "other.model").open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter([" ".join(words[i : i + 6]) for i in range(590)]), model_writer=file,
            model_type="bpe", vocab_size=512, byte_fallback=True, num_threads=1, minloglevel=2,
        )  # fmt: skip
    settings = training(tmp_path / "m.pt", tokenizer=tmp_path / "other.model", steps=1)
    with pytest.raises(TokenizerError, match=r"does not belong to these shards.*--no-check-tokenizer"):
        train(settings)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.model"]
    assert train(replace(settings, check_tokenizer=False)).step == 1
    other_text = write_shard(tmp_path / "bytes.bin", np.tile([1, *(3 + byte for byte in b"letters one by one")], 40))
    with pytest.raises(TokenizerError, match="does not belong"):
        train(training(tmp_path / "n.pt", val_data=(other_text,), steps=1))


def test_a_vocabulary_of_characters_trains_and_scores(tmp_path: Path) -> None:
    (tmp_path / "abc.json").write_text(json.dumps([*"abc "]))
    shard = write_shard(tmp_path / "text.bin", np.random.default_rng(0).integers(0, 4, 3_000))
    run = train(training(tmp_path / "m.pt", data=(shard,), tokenizer=tmp_path / "abc.json", val_data=(shard,)))
    assert run.step == 12
    result = evaluate(tmp_path / "m.pt", method="mc")
    assert (result.length.num_tokens, result.length.num_bytes) == (3_000, 3_000)


def test_help_names_every_option() -> None:
    from reference.train import main

    done = run_here(main, "--help", environment={"COLUMNS": "200"})
    assert done.returncode == 0
    for option in ("--data", "--objective", "--time-conditioned", "--schedule", "--minutes", "--resume", "--val-data"):
        assert option in done.stdout


def test_shipped_checkpoint_is_what_the_build_makes(repository: Path) -> None:
    checkpoint, adapted = load_model(build.CHECKPOINT, device=torch.device("cpu"), dtype=torch.float32)
    assert build.CHECKPOINT.stat().st_size <= 2_000_000
    assert isinstance(adapted.model, ReferenceDenoiser)
    config = adapted.model.network.config
    made = build.TRAINING
    assert (config.num_layers, config.width, config.num_heads) == (made["layers"], made["width"], made["heads"])
    assert config.context_length == made["context"]
    assert checkpoint.tokenizer == build.TOKENIZER.read_bytes()
    assert checkpoint.data is not None
    assert [build.CHECKPOINT.parent / path for path in checkpoint.data["paths"]] == [
        build.CHECKPOINT.with_name(build.VALIDATION.name)
    ]
    assert json.loads(build.SOURCE_RECORD.read_text())["num_bytes"] > 100_000


def test_a_checkpoint_is_not_replaced_by_accident(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from reference.train import main

    out = tmp_path / "m.pt"
    arguments = ["--data", str(build.VALIDATION), "--tokenizer", str(build.TOKENIZER), "--out", str(out), *SMALL]

    def run(*more: str) -> tuple[object, str]:
        monkeypatch.setattr(sys, "argv", ["train", *arguments, "--steps", "1", *more])
        with pytest.raises(SystemExit) as stopped:
            main()
        return stopped.value.code, capsys.readouterr().err

    code, said = run("--val-data", str(build.VALIDATION))
    assert code == 0
    assert "will not name them" in " ".join(said.split())
    before = out.read_bytes()
    code, said = run()
    assert (code, said.count("\n")) == (2, 1)
    assert "--overwrite" in said
    assert out.read_bytes() == before
    assert run("--overwrite")[0] == 0
