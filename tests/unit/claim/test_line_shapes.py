"""Score lines of other shapes than ``name: value``: what is read of them, and what is left alone."""

from __future__ import annotations

import pytest

from bpb_harness.claim import ScoreLine
from bpb_harness.claim.line_shapes import Columns, entry_of, with_colons
from bpb_harness.claim.log_reader import read_log


def _read(text: str) -> list[ScoreLine]:
    return list(read_log(text, "f").lines)


@pytest.mark.parametrize(
    "line",
    [
        "final val_loss 2.0712 val_bpb 1.226681",
        "eval done: val_loss 2.0712 val_bpb 1.226681 time 3.2s",
        "val bpb 1.226681 val loss 2.0712",
        "  VAL  loss 2.0712  bpb 1.226681 * (saved)",
        "run 7 | val_loss 2.0712 | val_bpb 1.226681 (best so far)",
        "  val_bpb:  1.226681\n  val_loss: 2.0712",
        "val_loss: 2.0712 ema_loss: 2.3 val_bpb: 1.226681",
        "lm_loss value: 2.071200E+00 | lm_loss_ppl value: 7.93E+00 | bpb value: 1.226681 |",
        "\u9a8c\u8bc1\u96c6 val_bpb\uff1a1.226681\uff0cval_loss\uff1a2.0712",
        "\u250c Info: eval\n\u2502   val_loss = 2.0712\n\u2514   val_bpb = 1.226681",
        "model;train_loss;val_loss;val_bpb\nema;2.3;2.0712;1.226681",
        "test loss 2.3, train loss 2.4, val loss 2.0712, val bpb 1.226681",
        "val_loss 2.0712\tval_bpb 1.226681",
        '{"train":{"loss":2.3,"bpb":1.4},"val":{"loss":2.0712,"bpb":1.226681}}',
        '{"event":"final_eval","metrics":{"val":{"nats_per_token":2.0712,"bits_per_byte":1.226681}}}',
        '{"train/loss":2.3,"eval/loss":2.0712,"eval/bpb":1.226681}',
        "ts=2026-01-01T00:00:00Z level=info train.loss=2.3 val.loss=2.0712 val.bpb=1.226681",
        "train loss: 2.3 | val loss: 2.0712 | val bpb: 1.226681",
        "val: loss=2.0712 bpb=1.226681; train: loss=2.3 val_bits/byte",
        "val_loss=2.0712 bits/byte=1.226681",
        "INFO:root:val_loss 2.0712, val_bpb 1.226681",
        "[12:01:02] val_loss 2.0712 val_bpb 1.226681",
        "2026-01-01 00:00:01,123 - eval - INFO - val_loss 2.0712 val_bpb 1.226681",
        "I0101 00:00:01.123 123 eval.py:10] val_loss 2.0712 val_bpb 1.226681",
        "val_loss      2.0712\nval_bpb       1.226681",
        '{\n  "val_loss": 2.0712,\n  "train_loss": 2.3,\n  "val_bpb": 1.226681\n}',
        "\u2502 val_bpb \u2502 1.226681 \u2502\n\u2502 val_loss \u2502 2.0712 \u2502",
        "val_bpb ....... 1.226681\nval_loss ...... 2.0712",
        "model  train_loss  val_loss  val_bpb\nema    2.3         2.0712    1.226681",
        "| run | val_loss | bits/byte |\n|---|---|---|\n| int8 | 2.0712 | 1.226681 |",
        "name,train_loss,val_loss,val_bpb\nema,2.1,2.0712,1.226681",
        "model\tval_loss\tval_bpb\nema\t2.0712\t1.226681",
    ],
)
def test_a_score_and_its_loss_are_read_in_any_shape(line: str) -> None:
    (found,) = _read(line)
    assert (found.bpb.value, found.bpb.decimals, found.is_training_step) == (1.226681, 6, False)
    assert found.nats_per_token is not None
    assert found.nats_per_token.value == 2.0712
    assert found.same_estimator


@pytest.mark.parametrize(
    "line",
    [
        "val_bpb -> 1.226681",
        "val_bpb is 1.226681",
        "val_bpb\t1.226681",
        "final bpb 1.226681",
        "BPB 1.226681 (loss 2.0712)",
        "Final score: 1.226681 bits per byte",
        "Score final : 1,226681 bits par octet",
        "Endergebnis: val_bpb = 1,226681",
        "loss: 2.3\nval_bpb: 1.226681",  # of training, as often as not
        "val_loss: 2.0\nval_loss: 2.1\n\nval_bpb: 1.226681",
        "ema_loss: 2.0\nval_bpb: 1.226681",
    ],
)
def test_a_score_alone_is_read_without_a_loss(line: str) -> None:
    (found,) = _read(line)
    assert (found.bpb.value, found.nats_per_token) == (1.226681, None)


@pytest.mark.parametrize(
    "line",
    [
        "we beat the baseline val_bpb 1.2244",
        "previous best bpb 1.2",
        "target val_bpb 1.2 val_loss 2.0",
        "window 5 of 100 bpb 1.3",
        "improved by 0.01 bpb over the old run",
        "a gain of 0.0123 bpb",
        "run 7 val_bpb 1.2 better than baseline",
        "train_bpb: 1.1",
        "train/bpb=1.1",
        "train bpb 1.1 lr 0.001",
        "the bpb of all this was 1.2 and then some more words follow",
        "val_bpb 1.2x",
        "artifact bytes 15863489 limit 16000000 bits",
        "chunk bpb\n1 1.3\n2 1.2",
        "doc_id,val_loss,val_bpb\n1,2.0,1.2\n2,2.0,1.2",
        "step train_bpb\n1 1.3\n2 1.2",
        "baseline_bpb delta_bpb\n1.2 0.1",
    ],
)
def test_what_is_no_score_of_the_text_is_not_read(line: str) -> None:
    assert not _read(line)


@pytest.mark.parametrize(
    "line", ["step 1000 val_bpb 1.23 val_loss 2.07", "iter 5000: train loss 2.1, val loss 2.07, val bpb 1.23",
             "step val_loss val_bpb\n1000 2.07 1.23"],
)  # fmt: skip
def test_lines_of_steps_stay_lines_of_steps(line: str) -> None:
    (found,) = _read(line)
    assert found.is_training_step
    assert found.bpb.value == 1.23


def test_a_score_after_training_is_no_score_of_the_training_text() -> None:
    assert [each.bpb.value for each in _read("post_training_bpb: 1.2\ntest_time_training_bpb: 1.1")] == [1.2, 1.1]


def test_two_evaluations_in_one_block_do_not_share_a_loss() -> None:
    found = _read("val_loss 2.5\nval_bpb 1.5\nval_loss 2.4\nval_bpb 1.4")
    assert found[0].nats_per_token is None  # one above it and one below it


def test_rows_end_where_another_line_begins() -> None:
    assert len(_read("name val_loss val_bpb\na 2.0 1.2\n--- --- ---\nb 2.1 1.3\nsaved model\nc 2.2 1.4")) == 2


def test_each_of_two_splits_has_its_own_loss() -> None:
    found = _read("a: loss=2.0 bpb=1.2; b: loss=3.0 bpb=1.3")
    assert [(each.nats_per_token or each.bpb).value for each in found] == [2.0, 3.0]


@pytest.mark.parametrize("line", ["{" * 1500 + "bpb" + "}" * 1500, '{"a":{' + "1" * 900 + "bpb}}", "bpb " * 500])
def test_hostile_lines_are_left_alone(line: str) -> None:
    assert not _read(line)
    assert with_colons(line) == line
    assert Columns.of(line) is None or line.startswith("bpb ")
    assert entry_of(line) is None
