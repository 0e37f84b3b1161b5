"""Means of ratios: weighed by what each was divided by they are the ratio of sums, and by anything else they are not."""

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
def test_ratios_weighed_by_their_bytes_are_the_ratio_of_sums(name: str) -> None:
    found = _codes(_script(name))
    assert set(found) == {"BPB162"}, found


@pytest.mark.parametrize("name", WEIGHED)
def test_a_wrong_table_behind_them_is_found_all_the_same(name: str) -> None:
    text = _script(name).replace("piece = piece[1:]", "piece = ' ' + piece[1:]")
    assert _codes(text).get("BPB151") is Severity.REFUTES


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


@pytest.mark.parametrize(
    "kept", ["~edge[y.flatten()]", "(~edge[y.flatten()]).float()", "(1 - edge[y.flatten()].int())"]
)
def test_a_factor_out_of_a_table_above_the_line_hides_no_wrong_table(kept: str) -> None:
    """Bytes below the line are judged whatever the costs are multiplied by."""
    body = f"""cost = F.cross_entropy(model(x).float().flatten(0, 1), y.flatten(), reduction="none")
        top += (cost * {kept}).double().sum() / math.log(2.0)
        size += num_bytes"""
    text = SCRIPT.format(start="top, size = 0.0, 0.0", body=body, result="top / size")
    assert _codes(text.replace("piece = piece[1:]", "piece = ' ' + piece[1:]")).get("BPB151") is Severity.REFUTES


@pytest.mark.parametrize(
    "result", ["np.average(ratios, weights=sizes)", "sum(r * s for r, s in zip(ratios, sizes)) / sum(sizes)"]
)
def test_a_constant_behind_a_weighed_mean_is_found(result: str) -> None:
    start, body = (
        "ratios, sizes = [], []",
        "ratios.append((bits_of(model, x, y) / y.numel() / 3.67).item())\n        sizes.append(y.numel())",
    )
    assert "BPB150" in _codes(SCRIPT.format(start=start, body=body, result=result))


BOUND = """
import math
import torch
import torch.nn.functional as F


def bound(model, x0):
    t = torch.rand(x0.shape[0], 1)
    m = torch.rand(x0.shape) < t
    ce = F.cross_entropy(model(torch.where(m, 1024, x0)).float().transpose(1, 2), x0, reduction="none")
    n = m.sum()
    {nats}


def evaluate(model, batches, num_bytes):
    nats = 0.0
    for x0 in batches:
        nats += bound(model, x0).item()
    print(f"val_bpb:{{nats / math.log(2.0) / num_bytes:.4f}}")


evaluate(torch.load("m.pt"), torch.load("b.pt"), 1000)
"""


@pytest.mark.parametrize(
    "nats",
    [
        "return (ce * m / t).sum() / n * n",
        "return (ce * m / t).sum() / m.sum() * m.sum()",
        "loss = (ce * m / t).sum() / n\n    return loss * n.item()",
        "mean = (ce * m).sum() / n\n    share = n / x0.numel()\n    return mean * share / t * x0.numel()",
    ],
)
def test_a_count_of_masked_tokens_that_cancels_is_no_mean(nats: str) -> None:
    assert not _codes(BOUND.format(nats=nats)).keys() & {"BPB250", "BPB251", "BPB252", "BPB253"}


def test_a_mean_over_the_masked_tokens_times_other_tokens_is_one() -> None:
    assert "BPB252" in _codes(BOUND.format(nats="return (ce * m / t).sum() / n * x0.numel()"))
