"""Causal networks with learnt vectors that read all of the window and are read by each token; and honest ones."""

from __future__ import annotations

import pytest

from bpb_harness.auditing.script import ScriptContext
from bpb_harness.findings import Finding, Severity
from tests.golf_rules import GOLF, check_source

SCRIPT = """import glob, math, os
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


class Attention(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.q, self.kv, self.out, self.heads = nn.Linear(dim, dim), nn.Linear(dim, 2 * dim), nn.Linear(dim, dim), heads

    def forward(self, asking, asked):
        B, L, D = asking.shape
        q = self.q(asking).reshape(B, L, self.heads, -1).transpose(1, 2)
        k, v = self.kv(asked).reshape(B, asked.size(1), 2, self.heads, -1).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(F.rms_norm(q, (q.size(-1),)), k, v{mask})
        return self.out(y.transpose(1, 2).reshape(B, L, D))


class Block(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.qkv, self.out, self.heads = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim), heads

    def forward(self, x):
        B, T, D = x.shape
        q, k, v = self.qkv(F.rms_norm(x, (D,))).view(B, T, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal={causal})
        return x + self.out(y.transpose(1, 2).reshape(B, T, D))


class Workspace(nn.Module):
    def __init__(self, dim, size):
        super().__init__()
        self.slots = {slots}
        self.read, self.write, self.down = Attention(dim, 4), Attention(dim, 4), nn.Linear(dim, dim)

    def forward(self, states):
        slots = self.slots.to(states.dtype)[None, :, :].expand(states.size(0), -1, -1)
        slots = slots + torch.tanh(self.down.bias) * {read}
        for _ in range(2):
            slots = slots + F.relu(self.down(slots))
        return {write}


class GPT(nn.Module):
    def __init__(self, vocab, dim, layers, with_workspace):
        super().__init__()
        self.tok_emb, self.head = nn.Embedding(vocab, dim), nn.Linear(dim, vocab)
        self.blocks = nn.ModuleList([Block(dim, 8) for _ in range(layers)])
        self.workspace = Workspace(dim, 4) if {made} else None

    def told(self, x, number):
        if self.workspace is None or number < 2:
            return x
        {training}
        return self.workspace(x)

    def forward(self, ids, targets):
        x = self.tok_emb(ids)
        for i in range(len(self.blocks)):
            x = self.told(x, i)
            x = self.blocks[i](x)
        logits = self.head(x)
        return F.cross_entropy(logits.float().view(-1, logits.size(-1)), targets.reshape(-1), reduction="mean")


def eval_val(network, val_tokens, byte_lut):
    nats, size = 0.0, 0.0
    for i in range((val_tokens.numel() - 1) // 1024):
        local = val_tokens[i * 1024 : (i + 1) * 1024 + 1]
        x, y = local[None, :-1], local[None, 1:]
        nats += network(x, y).item() * y.numel()
        size += float(byte_lut[y].sum())
    return nats / math.log(2.0) / size


def main():
    network = GPT(1024, 512, 9, bool(int(os.environ.get("WORKSPACE", "{enabled}"))))
    tokens = torch.cat([torch.from_numpy(np.fromfile(f, dtype="<u2")) for f in glob.glob("fineweb_val_*.bin")])
    print(f"final val_bpb:{{eval_val(network, tokens, torch.load('lut.pt')):.6f}}")


if __name__ == "__main__":
    main()
"""
BASE = {
    "mask": ", attn_mask=None, is_causal=False", "causal": "True", "enabled": "1", "made": "with_workspace",
    "training": "pass",
    "slots": "nn.Parameter(torch.zeros(size, dim))", "read": "self.read(F.rms_norm(slots, (512,)), self.down(states))",
    "write": "states + self.write(states, slots)",
}  # fmt: skip


def _found(changes: dict[str, str]) -> list[Finding]:
    found = check_source(SCRIPT.format(**{**BASE, **changes}), ScriptContext(rules=GOLF))
    return [each for each in found if each.code == "BPB278"]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"mask": ""},
        {"mask": ", is_causal=False", "write": "self.write(states, self.down(slots)) + states"},
        {"read": "self.read(slots, F.rms_norm(states, (512,)))"},
    ],
)
def test_what_learnt_vectors_have_read(changes: dict[str, str]) -> None:
    (found,) = _found(changes)
    assert found.severity is Severity.WARNS
    assert "Learnt vectors (self.slots) read all tokens of the window" in found.message


@pytest.mark.parametrize(
    "changes",
    [
        # masked, or perhaps
        {"mask": ", is_causal=True"},
        {"mask": ", attn_mask=self.mask"},
        {"mask": ", mask='causal'"},
        {"mask": ", **self.options"},
        # vectors that have read nothing, or that nobody reads, or that have read the text before alone
        {"read": "self.down(slots)"},
        {"read": "self.read(slots, slots)"},
        {"write": "states + self.down(states)"},
        {"write": "torch.cat([states[:, :-1], slots[:, :1]], dim=1)"},
        {"write": "states + self.write(states, self.slots[None])", "read": "0.0"},
        {"read": "self.read(slots, states[:, :1])"},
        {"read": "self.read(slots, torch.roll(states, 1, 0))"},
        # tokens that read tokens: what a network of its own is
        {"slots": "torch.zeros(size, dim)"},
        # off, or for training alone
        {"enabled": "0"},
        {"made": "dim > len(glob.glob('*.md'))"},
        {"training": "if not self.training: return x"},
    ],
)
def test_other_vectors(changes: dict[str, str]) -> None:
    assert _found(changes) == []


def test_of_a_network_that_is_not_causal_nothing_is_told_of_what_learnt_vectors_read() -> None:
    """Nor of its own attention: beside it is one between two inputs, which is not followed."""
    assert _found({"causal": "False"}) == []
