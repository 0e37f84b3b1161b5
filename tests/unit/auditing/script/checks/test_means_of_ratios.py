"""Means of ratios; what is weighed by the very bytes that it was divided by is a ratio of sums, and no fault."""

# ruff: noqa: E501 - lines of scripts, as they are
from __future__ import annotations

import pytest

from bpb_harness.findings import Severity
from tests.golf_rules import check_source

SCRIPT = """
import math
import numpy as np
import sentencepiece as spm
import torch
import torch.nn.functional as F


def tables(sp):
    own, space, edge = np.zeros(1024, dtype=np.int32), np.zeros(1024, dtype=bool), np.ones(1024, dtype=bool)
    for i in range(1024):
        if sp.is_control(i) or sp.is_unknown(i) or sp.is_unused(i):
            continue
        edge[i] = False
        if sp.is_byte(i):
            own[i] = 1
            continue
        piece = sp.id_to_piece(i)
        if piece.startswith("\\u2581"):
            space[i] = True
            piece = piece[1:]
        own[i] = len(piece.encode("utf-8"))
    return torch.tensor(own), torch.tensor(space), torch.tensor(edge)


def bits_of(model, x, y):
    return F.cross_entropy(model(x).float().flatten(0, 1), y.flatten(), reduction="sum") / math.log(2.0)


def evaluate(model, batches, own, space, edge):
    {start}
    for x, y in batches:
        num_bytes = (own[y] + (space[y] & ~edge[x])).double().sum()
        {body}
    val_bpb = {result}
    print(f"val_bpb:{{val_bpb:.4f}}")


def main(model, batches):
    own, space, edge = tables(spm.SentencePieceProcessor(model_file="fineweb_1024_bpe.model"))
    evaluate(model, batches, own, space, edge)


main(torch.load("m.pt"), torch.load("b.pt"))
"""
WEIGHED = {
    "added up": ("top, size = 0.0, 0.0",
                 "top += bits_of(model, x, y) / num_bytes * num_bytes\n        size += num_bytes", "float(top / size)"),
    "named": ("top, size = 0.0, 0.0",
              "ratio = bits_of(model, x, y).item() / num_bytes.item()\n        top += float(ratio) * float(num_bytes)\n        size += num_bytes",
              "top / size"),
    "tokens per byte": ("top, size = 0.0, 0.0",
                        "per = y.numel() / float(num_bytes)\n        top += bits_of(model, x, y) / y.numel() * per * num_bytes\n        size += num_bytes",
                        "top / size"),
    "zipped": ("ratios, sizes = [], []",
               "ratios.append(bits_of(model, x, y) / num_bytes)\n        sizes.append(num_bytes)",
               "sum(r * s for r, s in zip(ratios, sizes)) / sum(sizes)"),
    "average": ("ratios, sizes = [], []",
                "ratios.append((bits_of(model, x, y) / num_bytes).item())\n        sizes.append(num_bytes.item())",
                "np.average(ratios, weights=sizes)"),
    "arrays": ("ratios, sizes = [], []",
               "ratios.append(bits_of(model, x, y) / num_bytes)\n        sizes.append(num_bytes)",
               "(torch.tensor(ratios) * torch.tensor(sizes)).sum() / torch.tensor(sizes).sum()"),
}  # fmt: skip


def _codes(text: str) -> dict[str, Severity]:
    return {finding.code: finding.severity for finding in check_source(text)}


def _script(name: str) -> str:
    start, body, result = WEIGHED[name]
    return SCRIPT.format(start=start, body=body, result=result)


@pytest.mark.parametrize("name", WEIGHED)
def test_ratios_weighed_by_their_bytes_are_no_fault(name: str) -> None:
    """What cancels is not followed: then nothing is said of the bytes, not 3 + 4 = 7 of them."""
    assert _codes(_script(name)).keys() <= {"BPB162"}


@pytest.mark.parametrize(
    ("start", "body", "result"),
    [
        ("ratios = []", "ratios.append(bits_of(model, x, y) / num_bytes)", "np.mean(ratios)"),
        ("ratios = []", "ratios.append(bits_of(model, x, y) / num_bytes)", "sum(ratios) / len(ratios)"),
    ],
)
def test_a_plain_mean_of_ratios_is_still_none(start: str, body: str, result: str) -> None:
    found = _codes(SCRIPT.format(start=start, body=body, result=result))
    assert "BPB160" in found or "sum(" in result
    assert all(code in ("BPB160", "BPB162") for code in found)
