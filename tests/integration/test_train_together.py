"""Two processes train as one does; an exported network is submitted, and the audit confirms it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from bpb_harness.cli.audit import main
from bpb_harness.errors import CheckpointError, UsageError
from fixtures import build
from reference.export import export
from reference.settings import Training
from reference.submission import write_submission
from reference.train import train
from tests.commands import run_here

OPTIONS = [
    "--data", str(build.VALIDATION), "--tokenizer", str(build.TOKENIZER), "--val-data", str(build.VALIDATION),
    "--layers", "1", "--width", "16", "--heads", "2", "--context", "32", "--batch-tokens", "256", "--device", "cpu",
    "--val-windows", "24",
]  # fmt: skip


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def launch(repository: Path, *arguments: str, count: int) -> subprocess.CompletedProcess[str]:
    """What torchrun does on one host, without its rendezvous: a process a rank, one of them watched."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    command = [sys.executable, "-m", "reference.train", *arguments]
    processes = [
        subprocess.Popen(
            command, cwd=repository, stderr=subprocess.PIPE, text=True,
            env={**environment, "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count)},
        )
        for rank in range(count)
    ]  # fmt: skip
    outputs = [process.communicate(timeout=300)[1] for process in processes]
    assert outputs[1:] == [""] * (count - 1), outputs  # the first one speaks for all
    return subprocess.CompletedProcess(command, max(process.returncode for process in processes), stderr=outputs[0])


def state(path: Path) -> dict[str, Any]:
    return dict(torch.load(path, weights_only=True))


def test_two_processes_take_the_steps_of_one(tmp_path: Path, repository: Path) -> None:
    one = launch(repository, *OPTIONS, "--steps", "8", "--out", str(tmp_path / "one.pt"), count=1)
    two = launch(repository, *OPTIONS, "--steps", "8", "--out", str(tmp_path / "two.pt"), count=2)
    assert (one.returncode, two.returncode) == (0, 0), one.stderr + two.stderr
    assert "on 2 x cpu" in two.stderr
    alone, both = state(tmp_path / "one.pt.train"), state(tmp_path / "two.pt.train")
    assert both["history"][0] == pytest.approx(alone["history"][0], rel=1e-6)
    assert both["history"] == pytest.approx(alone["history"], rel=1e-4)
    averages = [each["average"] for each in (alone, both)]
    for name, weights in averages[0].items():
        torch.testing.assert_close(weights, averages[1][name], rtol=1e-2, atol=2e-4)
    # The harness shares the validation windows among the processes too.
    said = [next(line for line in done.stderr.splitlines() if "NELBO " in line) for done in (one, two)]
    bits = [float(line.split("NELBO ")[1].split()[0]) for line in said]
    assert bits[0] == pytest.approx(bits[1], abs=2e-3)


def test_a_batch_that_cannot_be_dealt_evenly_is_refused(tmp_path: Path, repository: Path) -> None:
    environment = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2"}
    arguments = [*OPTIONS, "--steps", "1", "--out", str(tmp_path / "m.pt"), "--batch-tokens", "96"]
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "reference.train", *arguments], cwd=repository, stderr=subprocess.PIPE, text=True,
            env={**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]  # fmt: skip
    errors = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [2, 2], errors
    assert "--batch-tokens: got 3 windows of 32 a step, 2 processes" in errors[0]


def submit(tmp_path: Path, objective: str, method: str) -> tuple[Path, dict[str, Any]]:
    """Train a few steps, compress, and write the folder of a submission."""
    training = Training(
        data=(build.VALIDATION,), tokenizer=build.TOKENIZER, out=tmp_path / "m.pt", steps=20, objective=objective,
        layers=1, width=16, heads=2, context=64, batch_tokens=512, device="cpu",
    )  # fmt: skip
    train(training)
    artifact, folder = tmp_path / "model.ptz", tmp_path / "submission"
    export(training.out, artifact, bits=6)
    content = write_submission(
        artifact, folder, data=[build.VALIDATION], log=training.log_path, seed=0, method=method, device="cpu"
    )
    assert content["bytes_total"] > artifact.stat().st_size > 0
    return folder, content


def audit(folder: Path, repository: Path) -> tuple[int, dict[str, Any]]:
    """Exit code and report of the audit that scores the folder's own artifact anew."""
    done = run_here(
        main, folder, "--checkpoint", folder / "model.ptz", "--data", build.VALIDATION, "--tokenizer", build.TOKENIZER,
        "--format", "json", cwd=repository,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.mark.parametrize(("objective", "method"), [("mdlm", "discrete"), ("ar", "ar")])
def test_submission_is_confirmed_by_the_audit(tmp_path: Path, repository: Path, objective: str, method: str) -> None:
    folder, content = submit(tmp_path, objective, method)
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "model.ptz", "submission.json", "train.log"]
    assert json.loads((folder / "submission.json").read_text()) == content
    exit_code, report = audit(folder, repository)
    severities = {finding["code"]: finding["severity"] for finding in report["findings"]}
    assert (exit_code, report["verdict"]) == (0, "confirmed")
    assert report["claimed_bpb"] == content["val_bpb"]
    assert {"BPB601", "BPB401"} <= severities.keys()
    assert "error" not in severities.values()


def test_a_false_submission_is_refuted(tmp_path: Path, repository: Path) -> None:
    folder, content = submit(tmp_path, "mdlm", "mc")
    better = f"{content['val_bpb'] - 0.5:.8f}"
    for name in ("submission.json", "train.log", "README.md"):
        text = (folder / name).read_text()
        assert f"{content['val_bpb']:.8f}".rstrip("0") in text
        (folder / name).write_text(text.replace(f"{content['val_bpb']:.8f}".rstrip("0"), better))
    exit_code, report = audit(folder, repository)
    assert (exit_code, report["verdict"]) == (1, "refuted")
    assert "BPB602" in {finding["code"] for finding in report["findings"]}


def test_a_score_that_its_own_log_contradicts_is_told_in_whole_words(tmp_path: Path, repository: Path) -> None:
    folder, content = submit(tmp_path, "mdlm", "mc")
    written = json.loads((folder / "submission.json").read_text())
    (folder / "submission.json").write_text(json.dumps(written | {"val_bpb": 0.5}))
    done = run_here(main, folder, cwd=repository)
    assert done.returncode == 1
    assert f"0.5 claimed, the log's own {content['val_bpb']:.5f}" in done.stdout


def test_what_cannot_be_submitted_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "submission"
    with pytest.raises(UsageError, match="--log"):
        write_submission(build.CHECKPOINT, folder, data=[build.VALIDATION], log=tmp_path / "none.log")
    with pytest.raises(CheckpointError, match="no checkpoint"):
        write_submission(tmp_path / "none.pt", folder, data=[build.VALIDATION])
    assert list(tmp_path.iterdir()) == []
    folder.mkdir()
    with pytest.raises(UsageError, match="does not exist yet"):
        write_submission(build.CHECKPOINT, folder, data=[build.VALIDATION])
