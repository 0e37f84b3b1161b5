"""One of two processes is killed in the midst: the other says so and ends, and --resume goes on to the same number."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from bpb_harness.evaluation.api import evaluate
from fixtures import build
from reference.train import train
from tests.tiers import some_of, thorough
from tests.tiny_training import SHAPE, tiny_training
from tests.two_processes import kill_one_of_two

pytestmark = pytest.mark.skipif(not dist.is_available(), reason="torch without torch.distributed")

SAID = "another process of this run has ended; see what it said; if nothing, what ended it"


@thorough(everyday="integration/test_resume.py::test_a_stopped_command_goes_on_to_the_same_line")
@pytest.mark.parametrize("rank", [0, 1])
def test_scoring_goes_on_from_the_draws_of_both(tmp_path: Path, repository: Path, rank: int) -> None:
    path = tmp_path / "draws.jsonl"
    settings = {"limit": 30, "batch_tokens": 256, "num_samples": 2, "check_contract": False}

    part = path if rank == 0 else path.with_name(f"{path.name}.part{rank}")

    def has_drawn() -> bool:
        return part.exists() and part.read_bytes().count(b"\n") > 4

    flags = ("--limit", 30, "--batch-tokens", 256, "--samples", 2, "--no-contract", "--resume", path)
    code, said = kill_one_of_two(
        "bpb_harness.cli.eval", [build.CHECKPOINT, *flags, "--quiet"], rank=rank, when=has_drawn, cwd=repository,
        then_waits=("bpb_harness.evaluation.draw_file:DrawFile.keep", 4),
    )  # fmt: skip
    assert code == 2
    assert said.splitlines()[-1] == f"bpb-eval: {SAID}"  # also where the first process, which speaks for all, is gone
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        resumed, whole = (evaluate(build.CHECKPOINT, resume=kept, **settings) for kept in (path, None))
    finally:
        torch.set_num_threads(threads)
    assert resumed.length.nats == whole.length.nats
    assert resumed.mc_stderr == whole.mc_stderr
    assert any(remark.code == "draws.kept" for remark in resumed.remarks)


@thorough(everyday="integration/test_train_process.py::test_resumed_run_takes_the_same_steps")
@pytest.mark.parametrize("rank", some_of([0, 1], everyday=1))
def test_training_goes_on_from_what_was_saved(tmp_path: Path, repository: Path, rank: int) -> None:
    training = tiny_training(tmp_path / "m.pt", steps=60)

    def has_saved() -> bool:
        return training.state_path.exists() and torch.load(training.state_path, weights_only=True)["step"] > 0

    shape = [word for name, value in SHAPE.items() for word in (f"--{name.replace('_', '-')}", value)]
    words = [
        "--data", build.VALIDATION, "--tokenizer", build.TOKENIZER, "--out", training.out, "--steps", 60,
        "--save-minutes", 1e-9, *shape,
    ]  # fmt: skip
    code, said = kill_one_of_two(
        "reference.train", words, rank=rank, when=has_saved, cwd=repository,
        then_waits=("reference.run:Run.take_step", 30),
    )  # fmt: skip
    assert code == 2
    assert SAID in said.replace("\n", " ")
    done = torch.load(training.state_path, weights_only=True)["step"]
    assert 0 < done < 60
    resumed = train(training, resume=True)
    whole = train(tiny_training(tmp_path / "whole.pt", steps=60))
    assert resumed.step == 60
    assert resumed.history == pytest.approx(whole.history, rel=1e-3)
