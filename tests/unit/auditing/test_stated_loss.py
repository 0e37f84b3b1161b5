"""A loss beside the claimed score that is not that of the line which prints it; and training on the scored text."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from bpb_harness.auditing import AuditReport, audit
from fixtures.claims.patterns import SP1024, bpb, submission

NATS = 2.0312
SHARDS = "val_loader:shards pattern=./data/fineweb10B_sp1024/fineweb_val_*.bin tokens:62021632\n"


def _report(folder: Path, loss: object, *losses: float, readme: str = "", told: str = "") -> AuditReport:
    losses = losses or (NATS,)
    scores = [bpb(each, SP1024) for each in losses]
    (folder / "submission.json").write_text(submission(val_bpb=round(sum(scores) / len(scores), 8), val_loss=loss))
    for number, (nats, score) in enumerate(zip(losses, scores, strict=True)):
        line = f"final_exact val_loss:{nats:.8f} val_bpb:{score:.8f}\n"
        (folder / f"train_seed{number}.log").write_text(f"{SHARDS}{told}{line}")
    if readme:
        (folder / "README.md").write_text(readme)
    return audit(folder)


def test_a_loss_of_another_evaluation(tmp_path: Path) -> None:
    report = _report(tmp_path, 2.0412)
    (found,) = report.with_code("BPB458")
    ratio = 2.0412 / NATS * SP1024
    assert found.message == (
        "the val_loss of submission.json, 2.0412, is not the loss of its score: the line that prints the score has "
        f"2.03120000 (train_seed0.log:2); with 2.0412 it would be of {ratio:.5f} bytes per token"
    )
    assert report.verdict == "consistent"
    assert "though not all of the record agrees with it (BPB458)" in report.to_text()


def test_of_a_mean_it_is_the_mean_of_the_losses(tmp_path: Path) -> None:
    losses = (2.0312, 2.0322, 2.0340)
    (found,) = _report(tmp_path, 2.0412, *losses).with_code("BPB458")
    assert "the lines whose mean it is have a mean of 2.032467;" in found.message
    assert not _report(tmp_path, 2.03247, *losses).with_code("BPB458")


@pytest.mark.parametrize(
    "loss",
    [
        round(NATS / math.log(2), 6),
        round(bpb(NATS, SP1024) * math.log(2), 6),
        2.0312,
        2.031,
        2.0317,
        2.03,
        round(bpb(NATS, SP1024), 6),
        None,
        "none",
    ],
)
def test_its_own_loss_rounded_and_a_score_by_that_name_are_none(tmp_path: Path, loss: object) -> None:
    assert not _report(tmp_path, loss).with_code("BPB458")


COMMAND = "# A record\n\n```bash\nTRAIN_ON_VAL=1 python train_gpt.py\n```\n"


def test_a_run_that_is_set_to_train_on_the_scored_text_is_a_doubt(tmp_path: Path) -> None:
    report = _report(tmp_path, NATS, readme=COMMAND)
    (found,) = report.with_code("BPB213")
    assert found.message.startswith("README.md:4 sets `TRAIN_ON_VAL=1`: if that does what it is called after,")
    assert report.verdict == "unverifiable"
    assert not _report(tmp_path, NATS, readme=COMMAND, told="train_on_val: False\n").with_code("BPB213")
    assert not _report(tmp_path, NATS, readme=COMMAND.replace("=1", "=0")).with_code("BPB213")


@pytest.mark.parametrize(
    "readme",
    [
        COMMAND.replace("```bash", "Running it so would break the rules:\n\n```bash"),
        COMMAND.replace("```bash", "## Sanity check\n\n```bash"),
        COMMAND + "\nThe score:\n\n```bash\npython train_gpt.py\n```\n",
        "# A record\n\n## How leaks are kept out\n\n- `TRAIN_ON_VAL=1` raises an error\n",
    ],
    ids=["forbidden", "a check", "another command", "refused"],
)
def test_a_run_that_is_not_the_claims(tmp_path: Path, readme: str) -> None:
    assert not _report(tmp_path, NATS, readme=readme).with_code("BPB213")
