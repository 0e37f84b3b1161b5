"""Epochs of test-time training in logs: over a whole text, or within its parts."""

from __future__ import annotations

import pytest

from bpb_harness.claim.log_reader import read_log


def _log(*lines: str) -> str:
    return "\n".join(["seed: 1", *lines, "final_exact val_loss:2.0 val_bpb:1.18"])


@pytest.mark.parametrize(
    "form",
    [
        "ttt_epoch:{k}/{n} loss:1.95 time:14.5s",
        "prequant_ttt:epoch {k}/{n} val_bpb=1.05 lr=0.0001",
        "TTT AdamW epoch {k}/{n}: loss=2.1951 steps=119",
        "test-time training, epoch {k} / {n}",
        "ttt:phase1:epoch:{k}/{n} lr:0.01",
    ],
)
@pytest.mark.parametrize(("epochs", "printed"), [(2, (1, 2)), (20, range(1, 21)), (30, (5, 10, 15, 20, 25, 30))])
def test_epochs_over_a_whole_text(form: str, epochs: int, printed: tuple[int, ...]) -> None:
    (found,) = read_log(_log(*(form.format(k=k, n=epochs) for k in printed)), "train.log").adaptations
    assert (found.epochs, found.first_line, found.last_line, found.run) == (epochs, 2, 1 + len(printed), 0)


def test_lines_within_an_epoch_are_one_epoch() -> None:
    lines = [f"prequant_ttt:epoch {k}/3 chunk {chunk}/99 lr=0.1" for k in (1, 2, 3) for chunk in (33, 66, 99)]
    (found,) = read_log(_log(*lines), "train.log").adaptations
    assert (found.epochs, found.last_line) == (3, 10)


@pytest.mark.parametrize(
    "lines",
    [
        [f"ttt_epoch:{k}/3 loss:1.9" for _ in range(5) for k in (1, 2, 3)],  # again for each chunk
        ["    ttt_train [1] epoch=1/3 batches=8", "    ttt_train [1] epoch=2/3 batches=8"],
        ["ttt_epoch:1/2 chunk:50 loss:2.49", "ttt_epoch:2/2 chunk:50 loss:2.4"],
        ["ttt_burst:epoch:1/2 avg_loss:1.9", "ttt_burst:epoch:2/2 avg_loss:1.8"],
        ["ttt_epoch:1/1 loss:1.9"],
        ["epoch 1/3 loss 2.0", "epoch 2/3 loss 1.9"],
        ["train epoch:1/3 bpb:1.2", "the butterfly: epoch 2/3"],
    ],
    ids=["chunk by chunk", "of a numbered part", "of a chunk", "a burst", "one epoch", "of training", "another word"],
)
def test_epochs_of_parts_and_of_training_are_none(lines: list[str]) -> None:
    assert read_log(_log(*lines), "train.log").adaptations == ()


def test_each_run_has_its_own() -> None:
    run = ["seed: 1", "ttt_epoch:1/2 loss:1.9", "ttt_epoch:2/2 loss:1.8", "final val_bpb: 1.2"]
    found = read_log("\n".join(run * 2), "train.log").adaptations
    assert [(each.run, each.first_line, each.last_line) for each in found] == [(0, 2, 3), (1, 6, 7)]


TWICE = [f"ttt_epoch:{k}/3 loss:{2.0 - k / 100:.4f} time:{k}s" for k in (1, 2, 3)]


def test_the_same_text_learnt_twice_is_no_next_chunk() -> None:
    found = read_log(_log(*TWICE, "roundtrip val_loss:1.9 val_bpb:1.15", *TWICE), "train.log").adaptations
    assert [(each.first_line, each.last_line, each.epochs) for each in found] == [(2, 4, 3), (6, 8, 3)]


@pytest.mark.parametrize("numbers", [(0, 1), (1, 1, 2)], ids=["counted from nought", "one of them told twice"])
def test_each_epoch_is_told_by_its_loss_however_it_is_counted(numbers: tuple[int, ...]) -> None:
    lines = [f"ttt_epoch:{k}/2 loss:{2.0 - k / 100:.4f}" for k in numbers] * 2
    found = read_log(_log(*lines), "train.log").adaptations
    assert [each.last_line - each.first_line + 1 for each in found] == [len(numbers)] * 2


@pytest.mark.parametrize(
    "lines",
    [
        [*TWICE, *(line.replace("1.99", "1.89") for line in TWICE)],
        [*TWICE, *TWICE[:2]],
        [line.replace("loss", "lr") for line in [*TWICE, *TWICE]],
        [f"ttt_epoch:{k}/3 loss:0.0000" for k in (1, 2, 3)] * 2,
    ],
    ids=["another chunk", "not whole", "no loss", "digits that tell nothing"],
)
def test_epochs_that_begin_again_otherwise_are_of_parts(lines: list[str]) -> None:
    assert read_log(_log(*lines), "train.log").adaptations == ()
