"""A claim about a checkpoint, scored anew by the command."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bpb_harness.cli.audit import main
from reference.submission import write_submission
from tests.commands import run_here
from tests.own_json import own_json
from tests.printed import without_progress

NUM_TOKENS = 161  # two windows, the second shorter: the chain rule, which has no sampling error, has a pass a token


@pytest.fixture(scope="module")
def shard(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first tokens of the small validation text."""
    whole = repository / "fixtures/corpora/tiny_val_000000.bin"
    header = np.fromfile(whole, "<i4", 256)
    header[2] = NUM_TOKENS
    path = tmp_path_factory.mktemp("shard") / "part_val_000000.bin"
    path.write_bytes(header.tobytes() + np.fromfile(whole, "<u2", NUM_TOKENS, offset=1024).tobytes())
    return path


def audited(
    repository: Path, checkpoint: Path, folder: Path, shard: Path, **claim: Any
) -> tuple[int, dict[str, Any], str]:
    path = folder / "x.claim.json"
    path.write_text(json.dumps({"format": "bpb-claim/1", **claim}))
    done = run_here(
        main, path, "--format", "json", "--data", shard,
        "--checkpoint", checkpoint,
        "--tokenizer", repository / "fixtures/tokenizers/tiny_512_bpe.model",
    )  # fmt: skip
    return done.returncode, own_json(done.stdout) if done.stdout else {}, done.stderr


def test_a_wrong_score_is_refuted_with_the_right_one_and_the_right_one_confirmed(
    repository: Path, one_block: Path, shard: Path, tmp_path: Path
) -> None:
    code, report, stderr = audited(repository, one_block, tmp_path, shard, claimed_bpb=0.41, method="chain")
    assert code == 1, stderr
    corrected = report["corrected_bpb"]
    assert corrected == pytest.approx(5.843, abs=0.01)  # of one block of four
    assert "method:chain" in report["corrected_from"]
    assert [finding["code"] for finding in report["findings"] if finding["severity"] == "error"] == ["BPB602"]

    code, report, stderr = audited(
        repository, one_block, tmp_path, shard, claimed_bpb=round(corrected, 4), method="chain"
    )
    assert (code, report["verdict"], report["corrected_bpb"]) == (0, "confirmed", None), stderr


FLAGS = (
    *("--method", "mc", "--adapter", "mdlm", "--schedule", "loglinear[0.001]", "--samples", "3", "--context", "64"),
    *("--limit", "2", "--tail", "drop", "--dtype", "bfloat16", "--device", "cpu", "--batch-tokens", "99"),
)


@pytest.mark.parametrize(
    ("flags", "passed"),
    [
        ((), {"method": "discrete", "num_steps": 32, "context_length": 512}),
        (("--steps", "8"), {"method": "discrete", "num_steps": 8, "context_length": 512}),
        (
            FLAGS,
            {"method": "mc", "adapter": "mdlm", "schedule": "loglinear[0.001]", "num_samples": 3, "context_length": 64,
             "limit": 2, "tail": "drop", "dtype": "bfloat16", "device": "cpu", "batch_tokens": 99},
        ),
    ],
)  # fmt: skip
def test_flags_come_before_what_the_claim_states(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...], passed: dict[str, Any]
) -> None:
    import bpb_harness.evaluation.api
    from bpb_harness.cli import audit as command
    from bpb_harness.errors import HarnessError

    seen: list[dict[str, Any]] = []

    def evaluate(checkpoint: Path, **settings: Any) -> None:
        seen.append(settings)
        raise HarnessError("seen enough")

    monkeypatch.setattr(bpb_harness.evaluation.api, "evaluate", evaluate)
    claim = tmp_path / "x.claim.json"
    stated = {"claimed_bpb": 1.5, "method": "discrete", "num_steps": 32, "context_length": 512}
    claim.write_text(json.dumps({"format": "bpb-claim/1", **stated}))
    monkeypatch.setattr(sys, "argv", ["bpb-audit", str(claim), "--checkpoint", "x.pt", "--data", "x.bin", *flags])
    with pytest.raises(SystemExit) as caught:
        command.main()
    assert caught.value.code == 2
    (settings,) = seen
    assert callable(settings.pop("progress"))
    assert settings.pop("tokenizer") is None
    assert settings.pop("data") == [Path("x.bin")]
    assert settings == passed


def test_flags_of_rescoring_need_a_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "x.claim.json").write_text('{"format": "bpb-claim/1", "claimed_bpb": 1.0}')
    done = run_here(main, tmp_path, "--adapter", "mdlm", "--steps", "3")
    assert done.returncode == 2
    assert "--adapter, --steps: for rescoring only" in done.stderr


def test_a_checkpoint_that_is_not_there_is_one_line(repository: Path, shard: Path, tmp_path: Path) -> None:
    (tmp_path / "x.claim.json").write_text('{"format": "bpb-claim/1", "claimed_bpb": 1.0}')
    done = run_here(main, tmp_path, "--checkpoint", tmp_path / "no.pt", "--data", shard)
    assert done.returncode == 2
    assert len(without_progress(done.stderr).splitlines()) == 1


def test_a_folder_of_the_reference_trainer_is_confirmed_on_the_text_that_it_was_scored_on(
    repository: Path, shard: Path, tmp_path: Path
) -> None:
    """It says which text that is, or the contest's own would be taken for the claim's."""
    model, folder = repository / "fixtures/checkpoints/ar-tiny.pt", tmp_path / "submission"
    tokenizer = tmp_path / "fineweb_1024_bpe.model"  # the contest's, by its name
    shutil.copy(repository / "fixtures/tokenizers/tiny_512_bpe.model", tokenizer)
    write_submission(model, folder, data=[shard], tokenizer=tokenizer, method="ar")
    done = run_here(
        main, folder, "--format", "json", "--data", shard, "--checkpoint", folder / model.name, "--tokenizer", tokenizer
    )
    assert (done.returncode, own_json(done.stdout)["verdict"]) == (0, "confirmed"), done.stdout


@pytest.mark.parametrize(("of", "told"), [("data", "text part_val@"), ("model", "model "), ("tok", "tokenizer ")])
def test_a_folder_whose_signature_is_of_other_files_is_not_confirmed(
    repository: Path, shard: Path, tmp_path: Path, of: str, told: str
) -> None:
    """However near the score is: it is another text's, network's or tokenizer's."""
    model, folder = repository / "fixtures/checkpoints/ar-tiny.pt", tmp_path / "submission"
    tokenizer = repository / "fixtures/tokenizers/tiny_512_bpe.model"
    write_submission(model, folder, data=[shard], tokenizer=tokenizer, method="ar")
    stated = json.loads((folder / "submission.json").read_text())["signature"]
    digest = re.search(rf"\b{of}:(?:[a-z_]+@)?([0-9a-f]{{8}})", stated)
    assert digest is not None
    for file in (each for each in folder.iterdir() if each.suffix in (".json", ".md", ".log")):
        file.write_text(file.read_text().replace(digest[1], "00000000"))
    done = run_here(
        main, folder, "--format", "json", "--data", shard, "--checkpoint", folder / model.name, "--tokenizer", tokenizer
    )
    report = own_json(done.stdout)
    assert (done.returncode, report["verdict"]) == (3, "unverifiable")
    (found,) = (each for each in report["findings"] if each["code"] == "BPB603")
    assert f"states a signature of {told}" in found["message"]
