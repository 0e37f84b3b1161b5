"""Whether a draw is true where tokens are hidden, or where they stay visible: from what is put in their place."""

from __future__ import annotations

import re

import pytest

from tests.golf_rules import check_source

SCRIPT = """import math
import torch
import torch.nn.functional as F
MASK, V = 1024, 1024
tokens, model, size_of = torch.load("v.pt"), torch.load("m.pt"), torch.load("s.pt")


def nats_of(x):
    t = torch.rand(x.size(0), 1)
    m = torch.rand(x.shape) < RATE
    HIDDEN
    logits = model(z).transpose(1, 2)
    LEFT_OUT
    return (ce WEIGHT).sum()


nats, size = 0.0, 0
for i in range(0, len(tokens), 512):
    x = tokens[i : i + 512].view(-1, 128)
    nats += nats_of(x).item()
    size += size_of[x].sum().item()
print(f"val_bpb:{nats / math.log(2.0) / size:.5f}")
"""
HIDDEN = [
    "z = torch.where(m, MASK, x)",
    "z = torch.where(~m, x, MASK)",
    "z = x.masked_fill(m, MASK)",
    "z = x.clone()\n    z[m] = MASK",
    "z = x.clone()\n    z.masked_fill_(m, MASK)",
    "z = x.masked_fill(m, int(model.config.mask_token_id))",
]
ALL = "ce = F.cross_entropy(logits, x, reduction='none')"
NONE = "reduction='none', ignore_index=-100"
LEFT_OUT = [
    f"{ALL} * m",
    f"{ALL}.masked_fill(~m, 0)",
    f"{ALL}; ce = torch.where(m, ce, 0.0)",
    f"{ALL}; ce = torch.where(~m, torch.zeros_like(ce), ce)",
    f"{ALL}; ce[~m] = 0",
    f"y = torch.where(m, x, -100); ce = F.cross_entropy(logits, y, {NONE})",
    f"y = torch.where(~m, -100, x); ce = F.cross_entropy(logits, y, {NONE})",
    f"y = x.masked_fill(~m, -100); ce = F.cross_entropy(logits, y, {NONE})",
    f"y = x.clone()\n    y[~m] = -100\n    ce = F.cross_entropy(logits, y, {NONE})",
]


def _script(hidden: str, left_out: str, rate: str, weight: str, *, is_first: bool) -> str:
    """The script, with what is left out of the costs written before or behind what is hidden."""
    if not is_first and "logits, y" in left_out:
        made, _, scored = left_out.rpartition("ce = ") if "\n" not in left_out else left_out.rpartition("\n    ")
        scored = scored if scored.startswith("ce") else f"ce = {scored}"
        hidden, left_out = f"{made.rstrip('; ')}\n    {hidden}", scored
    text = SCRIPT.replace("HIDDEN", hidden).replace("LEFT_OUT", left_out)
    return text.replace("RATE", rate).replace("WEIGHT", weight)


def _codes(text: str) -> set[str]:
    return {finding.code for finding in check_source(text) if finding.code.startswith(("BPB25", "BPB26"))}


@pytest.mark.parametrize(
    ("hidden", "left_out"), [*((each, LEFT_OUT[0]) for each in HIDDEN), *((HIDDEN[0], each) for each in LEFT_OUT[1:])]
)
@pytest.mark.parametrize("is_first", [True, False])
def test_what_a_number_is_put_in_place_of_tells_hidden_from_visible(hidden: str, left_out: str, is_first: bool) -> None:
    assert _codes(_script(hidden, left_out, "t", "/ t", is_first=is_first)) == set()
    assert _codes(_script(hidden, left_out, "t", "/ (1 - t)", is_first=is_first)) == {"BPB250"}
    turned = re.compile(r"~m\b|\bm\b(?! =)")
    other = [turned.sub(lambda met: "m" if met[0] == "~m" else "~m", each) for each in (hidden, left_out)]
    assert _codes(_script(other[0], other[1], "1 - t", "/ t", is_first=is_first)) == set()
