"""Losses that leave a token out or are smoothed, files of the wrong split, attention over the whole window."""

from __future__ import annotations

import pytest

from bpb_harness.findings import Finding, Severity
from fixtures.claims.build import HERE
from tests.golf_rules import check_source

SCRIPT = (HERE.parent / "scripts" / "honest_ar_tables.py").read_text(encoding="utf-8")
LOSS = 'reduction="mean")'
ATTENTION = "F.scaled_dot_product_attention(q, k, v, is_causal=True)"
OPEN = "F.scaled_dot_product_attention(q, k, v)"
QKV = "q, k, v = self.qkv(F.rms_norm(x, (c,))).view(b, t, 3, 8, c // 8).permute(2, 0, 3, 1, 4)"
TURNED = [
    (
        "class Block(nn.Module):",
        """def turned(x, cos, sin):
    half = x.size(-1) // 2
    x1, x2 = x[..., :half], x[..., half:]
    return torch.cat((x1 * cos + x2 * sin, x1 * (-sin) + x2 * cos), dim=-1)


class Block(nn.Module):""",
    )
]
HEADS = [
    QKV,
    "h = self.qkv(x).view(b, t, 3, 8, c // 8)\n        q, k, v = h.permute(2, 0, 3, 1, 4).unbind(0)",
    "h = self.qkv(x).view(b, t, 3, 8, c // 8)\n        q, k, v = (each.transpose(1, 2) for each in h.unbind(2))",
    """q, k, v = self.qkv(x).split(c, dim=2)
        q = q.view(b, t, 8, c // 8).transpose(1, 2)
        k = k.view(b, t, 8, c // 8).transpose(1, 2)
        v = v.reshape(b, t, 8, c // 8).permute(0, 2, 1, 3).contiguous()""",
    """q = self.up(x).reshape(b, t, 8, -1).transpose(1, 2)
        k = self.up(x).reshape(b, t, 4, -1).transpose(1, 2)
        v = self.up(x).reshape(b, t, 4, -1).transpose(1, 2)
        q, k = F.rms_norm(q, (q.size(-1),)), F.rms_norm(k, (k.size(-1),))
        q = turned(q, self.cos, self.sin)
        k = turned(k, self.cos, self.sin)
        q = q * self.gain.to(dtype=q.dtype)[None, :, None, None]""",
]
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


@pytest.mark.parametrize("heads", HEADS)
@pytest.mark.parametrize("called", ["F", "torch.nn.functional", "nn.functional"])
def test_heads_that_are_made_of_one_input(heads: str, called: str) -> None:
    (hit,) = found("BPB278", *TURNED, (QKV, heads), (ATTENTION, f"{called}.scaled_dot_product_attention(q, k, v)"))
    assert "goes over the whole window" in hit.message


@pytest.mark.parametrize(
    ("heads", "attention"),
    [
        # over the heads of one place
        ("h = self.qkv(x).view(b, t, 3, 8, c // 8)\n        q, k, v = h.unbind(2)", OPEN),
        ("q, k, v = self.qkv(x).view(b * t, 1, 3, 8, c // 8).permute(2, 0, 1, 3, 4)", OPEN),
        (QKV, "(lambda *h: F.scaled_dot_product_attention(*h))(q, k, v)"),
        (QKV, "F.scaled_dot_product_attention(q.reshape(b, 8, -1, 64, c // 8), k, v)"),
        # the places before it alone; an earlier chunk; learnt slots; another input; a name of two meanings
        (QKV, "torch.cat([F.scaled_dot_product_attention(q[:, :, i : i + 1], k[:, :, : i + 1], v[:, :, : i + 1])\n"
              "                       for i in range(t)], dim=2)"),
        (f"{QKV}\n        k, v = (F.pad(z, (0, 0, 64, 0))[:, :, :-64] for z in (k, v))", OPEN),
        (f"{QKV}\n        k = F.pad(k, (0, 0, 64, 0))[:, :, :-64]", OPEN),
        (QKV, "F.scaled_dot_product_attention(q, self.slots.expand(b, -1, -1, -1), self.slots)"),
        (f"{QKV}\n        if t > 512:\n            k = k.flip(2)", OPEN),
        (f"{QKV}\n        k = turned(k, self.cos, self.sin)", OPEN),
    ],
)  # fmt: skip
def test_attention_that_is_not_known_to_go_along_the_places(heads: str, attention: str) -> None:
    turned = "def turned(x, cos, sin):\n    return x[:, :, :1] * cos\n\n\nclass Block(nn.Module):"
    assert not found("BPB278", ("class Block(nn.Module):", turned), (QKV, heads), (ATTENTION, attention))


@pytest.mark.parametrize(
    "above",
    [
        "def scaled_dot_product_attention(q, k, v):\n    return ours(q, k, v)",
        "F.scaled_dot_product_attention = causal",
        'setattr(F, "scaled_dot_product_attention", causal)',
        "sdpa = F.scaled_dot_product_attention",
        "import ours.functional as F",
        "F = ours",
        "from ours import scaled_dot_product_attention as F",
    ],
)
def test_attention_that_is_not_known_to_be_torchs(above: str) -> None:
    assert not found("BPB278", ("class Block(nn.Module):", f"{above}\n\n\nclass Block(nn.Module):"), (ATTENTION, OPEN))


def test_a_function_of_the_script_by_the_name_of_torchs() -> None:
    own = "from ours import scaled_dot_product_attention\n\n\nclass Block(nn.Module):"
    attention = ATTENTION.removeprefix("F.").replace(", is_causal=True", "")
    assert not found("BPB278", ("class Block(nn.Module):", own), (ATTENTION, attention))
    torchs = own.replace("ours", "torch.nn.functional")
    assert found("BPB278", ("class Block(nn.Module):", torchs), (ATTENTION, attention))


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
