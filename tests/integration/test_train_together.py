"""Two processes train as one does; an exported network is submitted, and the audit confirms it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bpb_harness.cli.audit import main
from bpb_harness.errors import CheckpointError, UsageError
from fixtures import build
from reference.export import export
from reference.settings import Training
from reference.submission import write_submission
from reference.train import main as train_main
from reference.train import train
from tests.commands import run_here
from tests.shards import write_shard
from tests.tiers import some_of
from tests.two_processes import run_in_two

OPTIONS = [
    "--data", str(build.VALIDATION), "--tokenizer", str(build.TOKENIZER), "--val-data", str(build.VALIDATION),
    "--layers", "1", "--width", "16", "--heads", "2", "--context", "32", "--batch-tokens", "256", "--device", "cpu",
    "--val-windows", "24",
]  # fmt: skip


def state(path: Path) -> dict[str, Any]:
    return dict(torch.load(path, weights_only=True))


def test_two_processes_take_the_steps_of_one_and_refuse_a_batch_that_cannot_be_dealt(
    tmp_path: Path, repository: Path
) -> None:
    uneven = [*OPTIONS, "--steps", "1", "--out", tmp_path / "m.pt", "--batch-tokens", "96"]
    refused, two = run_in_two(
        "reference.train", [uneven, [*OPTIONS, "--steps", "8", "--out", tmp_path / "two.pt"]], cwd=repository
    )
    assert refused.codes == [2, 2]
    assert "--batch-tokens: got 3 windows of 32 a step, 2 processes" in refused.stderr[0]
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith("m.")) == []
    one = run_here(train_main, *OPTIONS, "--steps", "8", "--out", tmp_path / "one.pt", cwd=repository)
    assert (one.returncode, two.codes) == (0, [0, 0]), (one.stderr, two.stderr)
    assert "on 2 x cpu" in two.stderr[0]
    assert (two.stdout, two.stderr[1]) == (["", ""], "")  # the first one speaks for both
    alone, both = state(tmp_path / "one.pt.train"), state(tmp_path / "two.pt.train")
    assert both["history"][0] == pytest.approx(alone["history"][0], rel=1e-6)
    assert both["history"] == pytest.approx(alone["history"], rel=1e-4)
    averages = [each["average"] for each in (alone, both)]
    for name, weights in averages[0].items():
        torch.testing.assert_close(weights, averages[1][name], rtol=1e-2, atol=2e-4)
    # The harness shares the validation windows among the processes too.
    said = [next(line for line in text.splitlines() if "NELBO " in line) for text in (one.stderr, two.stderr[0])]
    bits = [float(line.split("NELBO ")[1].split()[0]) for line in said]
    assert bits[0] == pytest.approx(bits[1], abs=2e-3)


def submit(place: Path, objective: str, method: str) -> tuple[Path, dict[str, Any]]:
    """Train a few steps, compress, and write the folder of a submission."""
    part = place / "train.bin"  # another shard: what was trained on is not submitted
    write_shard(part, np.fromfile(build.VALIDATION, dtype="<u2")[512:20_000])
    training = Training(
        data=(part,), tokenizer=build.TOKENIZER, out=place / "m.pt", steps=20, objective=objective,
        layers=1, width=16, heads=2, context=64, batch_tokens=512, device="cpu",
    )  # fmt: skip
    train(training)
    artifact, folder = place / "model.ptz", place / "submission"
    export(training.out, artifact, bits=6)
    content = write_submission(
        artifact, folder, data=[build.VALIDATION], log=training.log_path, seed=0, method=method, device="cpu"
    )
    assert content["bytes_total"] > artifact.stat().st_size > 0
    return folder, content


@pytest.fixture(scope="module")
def submitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """An honest submission that was scored with ``mc``, to be copied before it is changed."""
    return submit(tmp_path_factory.mktemp("submitted"), "mdlm", "mc")


def audit(folder: Path, repository: Path) -> tuple[int, dict[str, Any]]:
    """Exit code and report of the audit that scores the folder's own artifact anew."""
    done = run_here(
        main, folder, "--checkpoint", folder / "model.ptz", "--data", build.VALIDATION, "--tokenizer", build.TOKENIZER,
        "--format", "json", cwd=repository,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.mark.parametrize(("objective", "method"), some_of([("ar", "ar"), ("mdlm", "discrete")], everyday=1))
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


def test_a_false_submission_is_refuted(
    submitted: tuple[Path, dict[str, Any]], tmp_path: Path, repository: Path
) -> None:
    honest, content = submitted
    folder = Path(shutil.copytree(honest, tmp_path / "submission"))
    better = f"{content['val_bpb'] - 0.5:.8f}"
    for name in ("submission.json", "train.log", "README.md"):
        text = (folder / name).read_text()
        assert f"{content['val_bpb']:.8f}".rstrip("0") in text
        (folder / name).write_text(text.replace(f"{content['val_bpb']:.8f}".rstrip("0"), better))
    exit_code, report = audit(folder, repository)
    assert (exit_code, report["verdict"]) == (1, "refuted")
    assert "BPB602" in {finding["code"] for finding in report["findings"]}


def test_a_score_that_its_own_log_contradicts_is_told_in_whole_words(
    submitted: tuple[Path, dict[str, Any]], tmp_path: Path, repository: Path
) -> None:
    honest, content = submitted
    folder = Path(shutil.copytree(honest, tmp_path / "submission"))
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
