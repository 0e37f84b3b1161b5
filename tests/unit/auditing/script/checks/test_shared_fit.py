"""One vector that is fitted to the contexts of overlapping windows at once, and honest fits as near to it as can be."""

from __future__ import annotations

import textwrap

import pytest

from bpb_harness.findings import Finding, Severity
from tests.golf_rules import check_source

SCRIPT = """import glob, math, os
import torch
import torch.nn.functional as F


def load(pattern):
    return torch.cat([torch.load(file) for file in sorted(glob.glob(pattern))])


def evaluate(network, val_tokens, size_of, stride=64, length=1024, rows={rows}, most=0, on=True):
    total = len(val_tokens) - 1
    {starts}
    windows = starts[:]
    if most > 0:
        windows = windows[:most]
    nats, size = 0.0, 0
    for i in range(0, len(windows), rows):
        {batch}
        x = torch.zeros(len(batch), length, dtype=torch.int64)
        y = torch.zeros(len(batch), length, dtype=torch.int64)
        ends = []
        for b, start in enumerate(batch):
            end = min(start + length, total)
            ends.append(end - start)
            chunk = val_tokens[start : end + 1]
            x[b, : end - start] = chunk[:-1]
            y[b, : end - start] = chunk[1:]
        h = network.body(x)
        {context}
        if on and {later}:
            {made}
            optimizer = torch.optim.AdamW([extra], lr=0.005)
            for _ in range(24):
                optimizer.zero_grad()
                logits = network.head(h + extra)
                {loss}
                loss.backward()
                optimizer.step()
            logits = network.head(h + extra.detach())
        else:
            logits = network.head(h)
        nll = F.cross_entropy(logits.transpose(1, 2).float(), y, reduction="none")
        for b, start in enumerate(batch):
            {scored}
            nats += nll[b, s : ends[b]].sum().item()
            size += size_of[y[b, s : ends[b]]].sum().item()
    return nats / math.log(2.0) / size


val_bpb = evaluate(torch.load("m.pt"), load("data/fineweb_val_*.bin"), torch.load("s.pt"))
print(f"val_bpb:{{val_bpb:.5f}}")
"""
MASK = """mask = torch.zeros(len(batch), length, dtype=torch.bool)
for b, n in enumerate(ends):
    mask[b, : PART] = True"""
BASE = {
    "later": "not any(w == 0 for w in batch)",
    "rows": "32", "starts": "starts = [w for w in range(0, total, stride) if w + 1 < total]",
    "batch": "batch = windows[i : i + rows]", "context": MASK.replace("PART", "max(n - stride, 0)"),
    "made": "extra = torch.zeros(1, 1, h.size(-1), requires_grad=True)",
    "loss": "loss = F.cross_entropy(logits[mask].float(), y[mask])",
    "scored": "s = 0 if start == 0 else max(ends[b] - stride, 0)",
}  # fmt: skip
SLICED = {
    "context": "pass",
    "loss": "loss = F.cross_entropy(logits[:, :-stride].flatten(0, 1), y[:, :-stride].flatten())",
}
SHARED: list[dict[str, str]] = [
    {},
    SLICED,
    {"starts": "starts = list(range(0, total, stride))"},
    {"context": MASK.replace("PART", "n - stride")},
    {"made": "extra = torch.nn.Parameter(torch.zeros((1, 1, h.size(-1))))"},
    {"made": "extra = torch.nn.Parameter(torch.zeros(h.size(-1)))"},
    {"made": "extra = torch.zeros(h.shape[-1], requires_grad=True)"},
    {"batch": "batch = list(windows[i : i + rows])"},
    {"scored": "s = max(ends[b] - stride, 0)"},
    {"later": "0 not in batch"},
    {"later": "rows"},
]
INNOCENT: list[dict[str, str]] = [
    {"made": "extra = torch.zeros(len(batch), 1, h.size(-1), requires_grad=True)"},  # one for each window
    {"made": "extra = torch.zeros(h.size(0), 1, h.size(-1), requires_grad=True)"},
    {"made": "extra = start_of(batch)"},
    {"made": "extra = torch.zeros(h.size(0), requires_grad=True)"},
    {"made": "extra = torch.zeros(h.size(-1), len(batch), requires_grad=True)"},
    {"made": "extra = torch.stack([torch.zeros(1, h.size(-1)) for _ in batch]).requires_grad_()"},
    {"batch": "batch = list(windows[i : i + 1])"},
    {"rows": "1"},  # a batch of one window
    {"rows": "read_rows()"},
    {"batch": "batch = windows[i :: rows]"},  # which do not overlap, for all that is known
    {"batch": "batch = windows[i : i + rows : 2]"},
    {"batch": "batch = [windows[i]]"},
    {"starts": "starts = list(range(0, total, length))"},
    {"starts": "starts = draw(total)"},
    {"starts": "starts = [w * rows for w in range(0, total, stride)]"},
    {"context": MASK.replace("PART", "max(n - stride * rows, 0)")},  # of no window's scored tokens
    {"context": MASK.replace("PART", "max(n - reach, 0)")},
    {"context": MASK.replace("mask[b,", "mask[0,").replace("PART", "max(n - stride, 0)")},  # the first window's alone
    {"context": MASK.replace("True", "False").replace("PART", "max(n - stride, 0)")},
    {"loss": "loss = F.cross_entropy(logits[mask].float(), earlier[mask])"},
    {"scored": "s = 0 if start == 0 else max(ends[b] - stride // 2, 0)"},
    {"made": "extra, kept = torch.zeros(1, 1, h.size(-1), requires_grad=True), 0"},
    {"loss": "loss = (h * extra).mean()"},
    {"later": "0 not in asked_for"},  # nobody knows
    {"later": "0 in batch"},
    {"later": "any(w == 0 for w in batch)"},
    {"later": "not any(w == 0 for w in asked_for)"},
]


def _found(changes: dict[str, str]) -> list[Finding]:
    filled = {**BASE, **changes}
    filled["context"] = textwrap.indent(filled["context"], " " * 8).strip()
    return [each for each in check_source(SCRIPT.format(**filled)) if each.code == "BPB273"]


@pytest.mark.parametrize("changes", SHARED)
def test_a_fit_to_several_windows_has_seen_what_stands_in_the_next_one(changes: dict[str, str]) -> None:
    (found,) = _found(changes)
    assert found.severity is Severity.WARNS
    assert "and so is in the fit that it is scored with, but for a batch's last window" in found.message
    assert found.evidence["fitted_in_scoring"] is True


@pytest.mark.parametrize("changes", INNOCENT)
def test_a_fit_of_each_window_or_to_no_scored_token_is_in_order(changes: dict[str, str]) -> None:
    assert _found(changes) == []


def test_a_fit_that_is_scored_with_behind_the_score_alone_is_in_order() -> None:
    text = SCRIPT.format(**BASE | {"context": textwrap.indent(BASE["context"], " " * 8).strip()})
    unused = text.replace("logits = network.head(h + extra.detach())", "logits = network.head(h)")
    assert not [each for each in check_source(unused) if each.code == "BPB273"]
