"""Two passes that show each other's tokens: what is shown to a network counts, not what it is asked for."""

from __future__ import annotations

import pytest

from bpb_harness.findings import Severity
from tests.golf_rules import check_source

SCRIPT = """import math
import torch
import torch.nn.functional as F
MASK, V = 1024, 1024
tokens, model, size_of = torch.load("v.pt"), torch.load("m.pt"), torch.load("s.pt")


def nats_of(x):
    t = torch.rand(x.size(0), 1)
    m = torch.rand(x.shape) < t
    z = x.masked_fill(m, MASK)
    SCORED


nats, size = 0.0, 0
for i in range(0, len(tokens), 512):
    x = tokens[i : i + 512].view(-1, 128)
    nats += nats_of(x).item()
    size += size_of[x].sum().item()
print(f"val_bpb:{nats / math.log(2.0) / size:.5f}")
"""
FLAT = "F.cross_entropy(model(z).view(-1, V), y.view(-1), ignore_index={ignored}, reduction='none').view(x.shape) / t"
LABELLED = [
    f"y = x.masked_fill(~m, -100); return ({FLAT.format(ignored=-100)}).sum()",
    f"y = torch.where(~m, -100, x); return ({FLAT.format(ignored=-100)}).sum()",
    f"PAD = 3; y = x.masked_fill(~m, PAD); return ({FLAT.format(ignored='PAD')}).sum()",
    "y = x.masked_fill(~m, -1); logits = model(z, labels=y); "
    "return (F.cross_entropy(logits.transpose(1, 2), y, ignore_index=-1, reduction='none') / t).sum()",
]
BOTH = (
    "other = x.masked_fill(~m, MASK)\n"
    "    a = F.cross_entropy(model(z).transpose(1, 2), x, reduction='none')[m].sum()\n"
    "    b = F.cross_entropy(model(other).transpose(1, 2), x, reduction='none')[~m].sum()\n"
    "    return a + b"
)


@pytest.mark.parametrize("scored", LABELLED)
def test_targets_of_the_masked_tokens_alone_are_no_second_pass(scored: str) -> None:
    text = SCRIPT.replace("SCORED", scored)
    assert "BPB265" not in {finding.code for finding in check_source(text)}


def test_two_inputs_that_show_each_others_tokens_are_found() -> None:
    found = {finding.code: finding for finding in check_source(SCRIPT.replace("SCORED", BOTH))}
    assert found["BPB265"].severity is Severity.REFUTES
