"""Losses of a part of the tokens that are multiplied by a constant, and honest lines as near to them as can be."""

from __future__ import annotations

import pytest

from bpb_harness.findings import Finding, Severity
from tests.golf_rules import check_source

SCRIPT = """import math, os
import torch
import torch.nn.functional as F
SCALE = float(os.environ.get("SCALE", {scale}))


class GPT(torch.nn.Module):
    def forward(self, x, y):
        logits = self.head(self.body(x))
        {logits}
        loss = F.cross_entropy(logits.float().flatten(0, 1), y.flatten(), reduction="none").view_as(y)
        {forward}
        return loss


def evaluate(network, documents, size_of, hurried):
    nats, size, steps = torch.zeros(()), torch.zeros(()), 0
    for document in documents:
        kept, kept_size = torch.zeros(()), torch.zeros(())
        x, y = document[None, :-1], document[None, 1:]
        nll = network(x, y)[0].double()
        if hurried:
            nats += nll.sum()
            size += size_of[y].sum()
            continue
        {rescaled}
        kept += nll.sum()
        kept_size += size_of[y].sum()
        nats += kept
        size += kept_size
        {behind}
    return nats.item() / size.item() / math.log(2.0){ends}


val_bpb = evaluate(GPT(), torch.load("d.pt"), torch.load("s.pt"), os.environ.get("HURRIED"))
print(f"val_bpb:{{val_bpb:.5f}}")
"""
BASE = {"scale": "0.98", "logits": "pass", "forward": "pass", "behind": "pass", "ends": ""}
RESCALED = [
    "if SCALE != 1.0:\n            nll = nll * SCALE",
    "nll = SCALE * nll",
    "nll *= SCALE",
    "nll = nll * 0.98",
    "warmth = SCALE\n        nll = nll * warmth",
]
INNOCENT: list[dict[str, str]] = [
    {"rescaled": "nll = nll * SCALE", "scale": "1.0"},
    {"rescaled": "if SCALE != 1.0:\n            nll = nll * SCALE", "scale": "1.0"},
    {"rescaled": "nll = nll * 1.4426950408889634", "ends": " * math.log(2.0)"},  # bits
    {"rescaled": "nll = nll * 8"},
    {"rescaled": "nll = nll * 0.125"},  # of eight processes
    {"rescaled": "pass", "logits": "logits = logits * 0.98"},  # a temperature
    {"rescaled": "pass", "forward": "if self.training: loss = loss * 0.98"},
    {"rescaled": "mean = nll.mean()\n        mean = mean * 0.98\n        print(mean)"},  # which no score is made of
    {"rescaled": "nll = nll * SCALE", "ends": " / SCALE"},  # undone
    {"rescaled": "smooth = -network(x, x)[0].mean()\n        nll = nll * 0.98\n        nll = nll + 0.02 * smooth"},
    {"rescaled": "nll = nll * weights[steps]"},  # which nobody knows
    {"rescaled": "if train: nll = nll * 0.98"},
    {"rescaled": "pass", "behind": "nll = nll * 0.5; (nll.mean()).backward()"},  # behind the score
    {"rescaled": "steps = steps * 0.98"},
]


def _found(changes: dict[str, str]) -> list[Finding]:
    return [each for each in check_source(SCRIPT.format(**BASE | changes)) if each.code in ("BPB283", "BPB167")]


@pytest.mark.parametrize("rescaled", RESCALED)
def test_losses_of_a_part_that_are_multiplied_by_a_constant(rescaled: str) -> None:
    (found,) = _found({"rescaled": rescaled})
    assert (found.code, found.severity, found.factor) == ("BPB283", Severity.WARNS, None)
    assert "before they are added up to the score: these are 2.0 % too low (too good)" in found.message
    (found,) = _found({"rescaled": rescaled.replace("0.98", "1.05"), "scale": "1.05"})
    assert "5.0 % too high" in found.message


@pytest.mark.parametrize("changes", INNOCENT)
def test_what_is_no_rescaled_loss_of_the_score(changes: dict[str, str]) -> None:
    assert _found(changes) == []


def test_where_all_of_the_score_has_the_constant_it_is_refuted() -> None:
    text = SCRIPT.format(**BASE | {"rescaled": "nll = nll * 0.98"}).replace("        if hurried:\n", "        if 0:\n")
    found = [each for each in check_source(text) if each.code in ("BPB283", "BPB167")]
    assert len(found) == 1
