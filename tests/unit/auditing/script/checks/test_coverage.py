"""How much is scored: loops of calibration and of training, and settings with like names, limit no evaluation."""

from __future__ import annotations

import pytest

from tests.golf_rules import check_source

SCRIPT = """
import math
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F


class Net(nn.Module):
    def logits(self, x):
        return self.head(self.emb(x))

    def forward(self, x, y):
        return F.cross_entropy(self.logits(x).transpose(1, 2), y, reduction="none")


def generate(model, num_seqs=64, batch_size=8):
    drawn = []
    for start in range(0, num_seqs, batch_size):
        tokens = torch.zeros(batch_size, 1, dtype=torch.long)
        for _ in range(511):
            probs = torch.softmax(model.logits(tokens)[:, -1], dim=-1)
            tokens = torch.cat([tokens, {draw}], dim=1)
        drawn.append(tokens)
    return drawn


def quantised(model, drawn):
    scale = 0.0
    for tokens in drawn:
        scale = scale + model(tokens[:, :-1], tokens[:, 1:]).mean()
    model.head.weight.data = torch.round(model.head.weight.data * scale) / scale
    return model


def evaluate(model, val, size_of):
    warm = min({steps}, 4000)
    nats, size = 0.0, 0
    for start in range(0, {stop}, 512):
        x, y = val[start : start + 512][None], val[start + 1 : start + 513][None]
        nats += model(x, y).double().sum().item()
        size += int(size_of[y].sum()) + 0 * warm
    return nats / math.log(2.0) / size


def main():
    warmdown_iters = 1200
    max_eval_tokens = 100_000
    val, size_of = torch.load("val.pt"), torch.load("sizes.pt")
    model = Net()
    model = quantised(model, generate(model))
    val_bpb = evaluate(model, val, size_of)
    print(f"val_bpb:{{val_bpb:.6f}}")


warmdown_iters = 1200
max_eval_tokens = 100_000
main()
"""
WHOLE = {"draw": "torch.multinomial(probs, 1)", "steps": "10", "stop": "len(val) - 513"}


def _limits(**changed: str) -> list[str]:
    found = check_source(SCRIPT.format(**(WHOLE | changed)))
    return [str(finding.evidence.get("name")) for finding in found if finding.code == "BPB350"]


def test_text_that_is_drawn_to_calibrate_on_is_not_what_is_scored() -> None:
    assert _limits() == []


def test_a_length_of_the_schedule_is_no_number_of_windows() -> None:
    assert _limits(steps="warmdown_iters") == []


@pytest.mark.parametrize("stop", ["max_eval_tokens", "min(len(val) - 513, max_eval_tokens)"])
def test_a_limit_of_the_loop_that_scores_is_one(stop: str) -> None:
    assert _limits(stop=stop) == ["max_eval_tokens"]
