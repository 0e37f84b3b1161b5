"""Losses that leave a token out or are smoothed, files of the wrong split, attention over the whole window."""

from __future__ import annotations

import pytest

from bpb_harness.findings import Finding, Severity
from fixtures.claims.build import HERE
from tests.golf_rules import check_source

SCRIPT = (HERE.parent / "scripts" / "honest_ar_tables.py").read_text(encoding="utf-8")
LOSS = 'reduction="mean")'
ATTENTION = "F.scaled_dot_product_attention(q, k, v, is_causal=True)"
VALIDATION = '"fineweb_val_*.bin"'


def found(code: str, *changes: tuple[str, str]) -> list[Finding]:
    text = SCRIPT
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return [each for each in check_source(text) if each.code == code]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("ignore_index=1", "leaves out what tokens of the id 1 cost"),
        ("ignore_index=BOS", "leaves out what tokens of the id 1 cost"),
        ("label_smoothing=0.1", "is smoothed (`label_smoothing=0.1`)"),
    ],
)
def test_a_loss_that_is_not_what_all_tokens_cost(given: str, said: str) -> None:
    (hit,) = found("BPB283", (LOSS, f"{LOSS[:-1]}, {given})"), ("class Block", "BOS = 1\n\n\nclass Block"))
    assert hit.severity is Severity.WARNS
    assert said in hit.message


@pytest.mark.parametrize(
    "given",
    [
        "ignore_index=-100", "ignore_index=1024", "ignore_index=PAD_ID", "ignore_index=ids.size(0)",
        "label_smoothing=0.0", "label_smoothing=0.1 if self.training else 0.0",
    ],
)  # fmt: skip
def test_honest_settings_of_a_loss(given: str) -> None:
    assert not found("BPB283", (LOSS, f"{LOSS[:-1]}, {given})"), ("class Block", "PAD_ID = 1\n\n\nclass Block"))


FIELD = ("class CausalModel(nn.Module):\n", "class CausalModel(nn.Module):\n    smoothing = 0.1\n\n")
SMOOTHED = (LOSS, f"{LOSS[:-1]}, label_smoothing=self.smoothing)")
STARTS = "    model.eval()\n"


def test_an_attribute_that_is_set_once() -> None:
    (hit,) = found("BPB283", FIELD, SMOOTHED)
    assert "is smoothed (`label_smoothing=0.1`)" in hit.message


@pytest.mark.parametrize(
    "change",
    [
        "model.smoothing = 0.0", "model.module.smoothing = 0.0", "model.smoothing *= 0.0", "del model.smoothing",
        "model.smoothing, kept = 0.0, model.smoothing", 'setattr(model, "smoothing", 0.0)',
        "for name, value in kept.items():\n        setattr(model, name, value)", 'vars(model)["smoothing"] = 0.0',
        "configure(model, smoothing=0.0)",
    ],
)  # fmt: skip
def test_an_attribute_that_is_set_elsewhere_is_not_known(change: str) -> None:
    assert not found("BPB283", FIELD, SMOOTHED, (STARTS, f"{STARTS}    {change}\n"))


@pytest.mark.parametrize("files", ['"fineweb_train_000001.bin"', '"fineweb_train_*.bin"', '"train/shard_*.bin"'])
def test_files_of_the_training_split_are_scored(files: str) -> None:
    (hit,) = found("BPB168", (VALIDATION, files))
    assert hit.severity is Severity.WARNS
    assert "not from the text that the record is of, fineweb_val (full) under sp1024" in hit.message


@pytest.mark.parametrize("files", [VALIDATION, '"val/train_like_*.bin"', '"shard_*.bin"', 'os.environ["VAL_FILES"]'])
def test_files_that_may_be_held_out(files: str) -> None:
    assert not found("BPB168", (VALIDATION, files))


def test_tokens_that_nothing_calls_held_out_may_be_those_of_a_training_beside() -> None:
    """A name that training uses too, followed backwards, may come from its files."""
    changes = [(VALIDATION, '"fineweb_train_*.bin"'), ("val_files", "files"), ("val_tokens", "stream")]
    assert not found("BPB168", *changes)


@pytest.mark.parametrize(
    "attention",
    [
        "F.scaled_dot_product_attention(q, k, v)",
        "F.scaled_dot_product_attention(q, k, v, is_causal=False)",
        "F.scaled_dot_product_attention(q, k, v, attn_mask=None, dropout_p=0.0)",
    ],
)
def test_attention_over_the_whole_window(attention: str) -> None:
    (hit,) = found("BPB278", (ATTENTION, attention))
    assert hit.severity is Severity.WARNS
    assert "is scored on the next token, which it sees" in hit.message


@pytest.mark.parametrize(
    "changes",
    [
        [],
        [(ATTENTION, "F.scaled_dot_product_attention(q, k, v, mask)")],
        [(ATTENTION, "F.scaled_dot_product_attention(q, k, v, is_causal=t > 1)")],
        [(ATTENTION, "F.scaled_dot_product_attention(q, k, v, **self.kind)")],
        # attention over something else beside one that is causal
        [(ATTENTION, f"F.scaled_dot_product_attention(q, k, v)\n        y = y + {ATTENTION}")],
        # a model of the last token of a window, which may see all that it is given
        [(ATTENTION, "F.scaled_dot_product_attention(q, k, v)"),
         ("y = local[1:].reshape(-1, s.seq_len)", "y = val_tokens[last * s.seq_len]")],
    ],
)  # fmt: skip
def test_attention_that_may_be_in_order(changes: list[tuple[str, str]]) -> None:
    assert not found("BPB278", *changes)
