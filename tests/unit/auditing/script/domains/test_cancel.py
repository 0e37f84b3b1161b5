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


# What a function returns, and what its caller makes of it: a count that is divided by here and multiplied with there.
HANDED_OUT = """
import math
import torch
import torch.nn.functional as F


def count(m):
    return m.sum().item()


def bound(model, x0):
    t = torch.rand(x0.shape[0], 1)
    m = torch.rand(x0.shape) < t
    logits = model(torch.where(m, 1024, x0)).float()
    ce = F.cross_entropy(logits.transpose(1, 2), x0, reduction="none")
    n = m.sum()
    {returned}


def evaluate(model, batches, num_bytes):
    nats, tokens, masked = 0.0, 0, 0
    for x0 in batches:
        {used}
    print(f"val_bpb:{{{result}:.4f}}")


evaluate(torch.load("m.pt"), torch.load("b.pt"), 1000)
"""
BITS = "nats / math.log(2.0) / num_bytes"
MEAN = "return (ce * m / t).sum() / n, n"
OF_SELECTED = "return (F.cross_entropy(logits[m], x0[m], reduction='none') / t.expand_as(x0)[m]).mean()"
CANCELS = {
    "a pair": (MEAN, "loss, n = bound(model, x0)\n        nats += loss * n", BITS),
    "items of a pair": (MEAN, "loss, n = bound(model, x0)\n        nats += loss.item() * n.item()", BITS),
    "a pair by its places": (MEAN, "out = bound(model, x0)\n        nats += out[0] * out[1]", BITS),
    "the masks": ("return (ce * m / t).sum() / m.sum(), m",
                  "loss, m = bound(model, x0)\n        nats += float(loss) * int(m.sum())", BITS),
    "a dictionary": ("return {'loss': (ce * m / t).sum() / n, 'n': n}",
                     "out = bound(model, x0)\n        nats += out['loss'] * out['n']", BITS),
    "at least one": ("return (ce * m / t).sum() / n.clamp(min=1), n",
                     "loss, n = bound(model, x0)\n        nats += loss * n", BITS),
    "at least one, by max": ("return (ce * m / t).sum() / max(n.item(), 1), n",
                             "loss, n = bound(model, x0)\n        nats += loss * max(n, 1)", BITS),
    "a function that counts": ("return (ce * m / t).sum() / count(m), m",
                               "loss, m = bound(model, x0)\n        nats += loss * count(m)", BITS),
    "outside": ("return (ce * m / t).sum(), n",
                "total, n = bound(model, x0)\n        nats += total\n        masked += n",
                "nats / masked * masked / math.log(2.0) / num_bytes"),
    "a mean and a share": ("return (ce * m / t).sum() / n, n",
                           "loss, n = bound(model, x0)\n        nats += loss * (n / x0.numel()) * x0.numel()", BITS),
    "the mean of what is masked": ("return F.cross_entropy(logits[m], x0[m]) / t.mean(), n",
                                   "loss, n = bound(model, x0)\n        nats += loss * n", BITS),
    "weighed, then averaged": (f"{OF_SELECTED}, n", "loss, n = bound(model, x0)\n        nats += loss * n", BITS),
    "in the function": (f"{OF_SELECTED} * m.sum()", "nats += bound(model, x0)", BITS),
    "selected, times their number": ("return (ce / t)[m].mean() * x0[m].numel()", "nats += bound(model, x0)", BITS),
    "the length of what is selected": ("return (ce / t)[m].mean() * len(x0[m])", "nats += bound(model, x0)", BITS),
    "count_nonzero": ("return (ce / t)[m].mean(), torch.count_nonzero(m)",
                      "loss, n = bound(model, x0)\n        nats += loss * n", BITS),
    "a mean over all": ("return (ce * m / t).sum() / m.numel(), m",
                        "loss, m = bound(model, x0)\n        nats += loss * m.numel()", BITS),
    "a mean over all, by its size": ("return (ce * m / t).sum() / len(m.flatten()), m",
                                     "loss, m = bound(model, x0)\n        nats += loss * len(m.flatten())", BITS),
}  # fmt: skip
REMAINS = {
    "other tokens": (MEAN, "loss, _ = bound(model, x0)\n        nats += loss * x0.numel()", BITS),
    "all masks": ("return (ce * m / t).sum() / n, m", "loss, m = bound(model, x0)\n        nats += loss * m.numel()", BITS),
    "tokens that count": ("return (ce * m / t).sum() / n, (x0 > 0).sum()",
                          "loss, n = bound(model, x0)\n        nats += loss * n", BITS),
    "twice divided": (MEAN, "loss, n = bound(model, x0)\n        nats += loss / n * n * x0.numel()", BITS),
    "selected": ("return (ce / t)[m].mean(), m", "loss, m = bound(model, x0)\n        nats += loss * x0.numel()", BITS),
    "selected, of all": (f"{OF_SELECTED}, n", "loss, n = bound(model, x0)\n        nats += loss * len(x0.flatten())", BITS),
    "by the length of what is selected": ("return (ce * m / t).sum() / len(x0[m]) * x0.numel()",
                                          "nats += bound(model, x0)", BITS),
    "outside": ("return (ce * m / t).sum(), n",
                "total, n = bound(model, x0)\n        nats += total\n        masked += n\n        tokens += x0.numel()",
                "nats / masked * tokens / math.log(2.0) / num_bytes"),
    "a dictionary": ("return {'loss': (ce * m / t).sum() / n, 'n': x0.numel()}",
                     "out = bound(model, x0)\n        nats += out['loss'] * out['n']", BITS),
    "masked once more": ("return (ce * m * m / t).sum() / n", "nats += bound(model, x0) * x0.numel()", BITS),
}  # fmt: skip


def _handed_out(kind: tuple[str, str, str]) -> dict[str, Severity]:
    returned, used, result = kind
    return _codes(HANDED_OUT.format(returned=returned, used=used, result=result))


@pytest.mark.parametrize("name", CANCELS)
def test_a_count_that_cancels_through_the_caller_is_no_mean(name: str) -> None:
    assert not [code for code in _handed_out(CANCELS[name]) if code.startswith("BPB25")]


@pytest.mark.parametrize("name", REMAINS)
def test_a_count_that_does_not_is_one(name: str) -> None:
    assert _handed_out(REMAINS[name]).get("BPB252") is Severity.REFUTES
