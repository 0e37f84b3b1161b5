"""Causal networks that are told a mean over the whole window at each place; and honest means near to it."""

from __future__ import annotations

import pytest

from bpb_harness.auditing.script import ScriptContext
from bpb_harness.findings import Finding, Severity
from tests.golf_rules import GOLF, check_source

SCRIPT = """import glob, math, os, random
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


LOADED = None


class Block(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.heads = heads

    def forward(self, x, x0):
        B, T, D = x.shape
        qkv = self.qkv(F.rms_norm(x, (D,))).view(B, T, 3, self.heads, -1)
        q, k, v = (each.transpose(1, 2) for each in qkv.unbind(2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal={causal})
        {in_block}
        return x + self.out(y.transpose(1, 2).reshape(B, T, D)), y.new_zeros(())


class Smoothed(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.decay = nn.Linear(dim, dim)

    def forward(self, x, x0):
        {in_other}
        return x + x0, x.new_zeros(())


def rounded(x):
    if {not_rounded}:
        return x
    scale = {scale} / 31.0 + 1e-8
    return (x / scale).round() * scale


def control(net, x):
    h = x.mean(dim=1)
    h = F.silu(F.linear(h, net.weight))
    return h.view(x.shape[0], 2, -1)


def pooled(x):
    return x.float(), x.mean(dim=1)


class GPT(nn.Module):
    def __init__(self, vocab, dim, layers):
        super().__init__()
        self.tok_emb, self.head = nn.Embedding(vocab, dim), nn.Linear(dim, vocab)
        blocks = []
        for i in range(layers):
            if {is_other}:
                blocks.append(Smoothed(dim, 8))
            else:
                blocks.append(Block(dim, 8))
        self.blocks = nn.ModuleList(blocks)
        self.net, self.gate = nn.Linear(dim, 2 * dim), nn.Linear(dim, 4)
        self.stats, self.pool = [], nn.AdaptiveAvgPool1d(1)

    def forward(self, ids, targets):
        batch, seqlen = ids.shape
        x = self.tok_emb(ids)
        x = F.rms_norm(x, (x.size(-1),))
        x0 = x
        for i in range(len(self.blocks)):
            {each}
            x, _ = self.blocks[i](x, x0)
        {last}
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
    network = GPT(1024, 512, 9)
    tokens = torch.cat([torch.from_numpy(np.fromfile(f, dtype="<u2")) for f in glob.glob("fineweb_val_*.bin")])
    print(f"final val_bpb:{{eval_val(network, tokens, torch.load('lut.pt')):.6f}}")


if __name__ == "__main__":
    main()
"""
BASE = {
    "causal": "True", "in_block": "pass", "each": "pass", "last": "pass", "in_other": "pass", "scale": "x.abs().max()",
    "is_other": "i in {int(each) for each in os.environ.get('OTHER', '7').split(',')}", "not_rounded": "False",
}  # fmt: skip
CONTROLLED = """out = control(self.net, x)
            scale = out[:, 0, :].unsqueeze(1).to(x.dtype)
            x = x * (1.0 + scale.tanh())"""
CARRIED = """state = x[:, 0]
        for turn in range(3):
            x = x + self.net(state).unsqueeze(1)
            x, _ = self.blocks[turn](x, x0)
            state = x.mean(dim=1)"""

READ = """slots = torch.einsum("kd,bd->bkd", self.net.weight, x.mean(dim=1))
            read = F.softmax(torch.bmm(x, slots.transpose(1, 2)), dim=-1)
            x = x + torch.bmm(read, slots)"""


def _found(changes: dict[str, str]) -> list[Finding]:
    found = check_source(SCRIPT.format(**{**BASE, **changes}), ScriptContext(rules=GOLF))
    return [each for each in found if each.code == "BPB278"]


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"each": CONTROLLED}, "mean"),
        ({"each": CONTROLLED.replace(".unsqueeze(1)", "[:, None]")}, "mean"),
        ({"each": "x = x - x.mean(dim=1, keepdim=True)"}, "mean"),
        ({"each": "x = x - torch.mean(x, 1, keepdim=True)"}, "mean"),
        ({"each": "x = x / x.float().std(dim=-2, keepdim=True).clamp_min(1e-6)"}, "standard deviation"),
        ({"each": "x = x / x.norm(dim=1, keepdim=True)"}, "norm"),
        ({"each": "x = x * F.softmax(x, dim=1)"}, "softmax"),
        ({"each": "peak = x.amax(dim=1); x = x + self.net(peak).unsqueeze(1)"}, "maximum"),
        ({"each": "pooled = x[:, 1:].sum(dim=1); x = x + pooled.unsqueeze(1).expand(-1, seqlen, -1)"}, "sum"),
        ({"last": "d = x.reshape(batch, seqlen // 32, -1).mean(dim=-1); d = d / d.mean(dim=1, keepdim=True); "
                  "x = x * d.repeat_interleave(32, 1)[:, :, None]"}, "mean"),
        # given back in the next turn of the loop, or behind a projection that keeps the dimension
        ({"last": CARRIED}, "mean"),
        ({"last": CARRIED.replace("state = x.mean(dim=1)", "state, x0 = self.net(x.amax(dim=1)), x")}, "maximum"),
        ({"each": "a = self.net(x.mean(dim=1, keepdim=True)); a = a.expand(-1, seqlen, -1); x = x * a.sigmoid()"},
         "mean"),
        ({"each": "x, told = pooled(x); x = x + told.unsqueeze(1)"}, "mean"),
        # in a layer that is called out of a list, one of several kinds
        ({"in_other": "a = self.decay(x.mean(dim=1, keepdim=True)).expand(-1, 512, -1); x = x * a"}, "mean"),
        ({"in_block": "y = y * y.norm(dim=-1).mean(dim=(0, 2))[None, :, None, None]"}, "mean"),
        ({"in_block": "y = y / y.abs().amax(dim=2, keepdim=True)"}, "maximum"),
        # read by each place, with weights of its own
        ({"each": READ}, "mean"),
        ({"each": READ.replace("torch.bmm(read, slots)", "read @ slots")}, "mean"),
        ({"each": READ.replace("torch.bmm(x, slots.transpose(1, 2))", "torch.bmm(self.head(x), slots)")}, "mean"),
        # by a name, with the dimension kept; by other functions than that of the name
        ({"each": "m = x.mean(dim=1, keepdim=True); x = x - m"}, "mean"),
        ({"each": "p = F.adaptive_avg_pool1d(x.transpose(1, 2), 1); x = x + p.transpose(1, 2)"}, "mean"),
        ({"each": "p = F.adaptive_max_pool1d(x.transpose(1, 2), output_size=1); x = x + p.transpose(1, 2)"}, "maximum"),
        ({"each": "x = x + self.pool(x.transpose(1, 2)).transpose(1, 2)"}, "mean"),
        ({"each": "x = x + torch.einsum('btd->bd', x).unsqueeze(1)"}, "sum"),
        ({"each": "x = x + torch.einsum('b t d -> b d', x)[:, None] / seqlen"}, "sum"),
        ({"each": "x = x + torch.ones(1, seqlen) @ x / seqlen"}, "sum"),
        ({"each": "every = torch.ones(seqlen, seqlen) / seqlen; x = x + every @ x"}, "sum"),
        ({"each": "x = x + torch.matmul(torch.ones((seqlen, seqlen)), x)"}, "sum"),
        ({"each": "a = x[:, :seqlen]; x = a - a.mean(dim=1, keepdim=True)"}, "mean"),
        ({"each": "a = x[:, : x.size(1)]; x = a - a.mean(dim=1, keepdim=True)"}, "mean"),
        # one value of all windows, at once
        ({"each": "x = rounded(x)"}, "maximum"),
        ({"each": "x = rounded(x)", "scale": "x.detach().std()"}, "standard deviation"),
        ({"each": "x = rounded(x)", "scale": "x.abs().amax(dim=(0, 1))"}, "maximum"),
        ({"in_block": "x = rounded(x)"}, "maximum"),
        ({"each": "x = rounded(x)", "not_rounded": "LOADED is None"}, "maximum"),
    ],
)  # fmt: skip
def test_what_the_whole_window_tells_each_place(changes: dict[str, str], what: str) -> None:
    (found,) = _found(changes)
    assert f"a {what} over all places of the window" in found.message
    assert found.severity is Severity.WARNS
    assert "was not followed" not in found.message


def test_a_test_that_nobody_can_evaluate_is_named() -> None:
    inside = f"if self.net.weight.sum() > i:\n            {CONTROLLED}".replace("\n", "\n    ")
    (found,) = _found({"each": inside})
    assert "under the test 'self.net.weight.sum() > i', which was not followed," in found.message


def test_an_embedding_of_a_dict_of_modules() -> None:
    told = SCRIPT.format(**{**BASE, "each": "x = x - x.mean(dim=1, keepdim=True)"})
    trunk = "self.trunk = nn.ModuleDict(dict(wte=nn.Embedding(vocab, dim), drop=nn.Dropout(0.1)))"
    text = told.replace("blocks = []\n", f"blocks = []\n        {trunk}\n")
    text = text.replace("x = self.tok_emb(ids)", "x = self.trunk.drop(self.trunk.wte(ids))")
    text = text.replace("B, T, D = x.shape", "D = x.shape[-1]").replace("reshape(B, T, D)", "reshape(x.shape)")
    text = text.replace(".view(B, T, 3, self.heads, -1)", ".unflatten(-1, (3, self.heads, -1))")
    text = text.replace("batch, seqlen = ids.shape", "seqlen = ids.shape[1]")
    assert text.count("self.trunk") == 3
    found = check_source(text, ScriptContext(rules=GOLF))
    assert "BPB278" in {each.code for each in found}
    other = check_source(
        text.replace("wte=nn.Embedding(vocab, dim)", "wte=nn.Linear(vocab, dim)"), ScriptContext(rules=GOLF)
    )
    assert "BPB278" not in {each.code for each in other}


def test_places_that_a_layer_names() -> None:
    told = SCRIPT.format(**{**BASE, "in_block": "x = x - x.mean(dim=1, keepdim=True)"})
    text = told.replace("self.tok_emb, self.head = nn.Embedding(vocab, dim)", "self.tok_emb, self.head = Hashed(dim)")
    text = text.replace("batch, seqlen = ids.shape", "seqlen = ids.shape[1]")
    for named, is_found in (("B, T, D = x.shape", True), ("rows, cols, D = x.shape; B, T = rows, cols", False)):
        found = check_source(text.replace("B, T, D = x.shape", named), ScriptContext(rules=GOLF))
        assert ("BPB278" in {each.code for each in found}) is is_found


@pytest.mark.parametrize("number", ["> 1", "== 2", "!= 0"])
def test_what_is_told_in_some_turns_of_a_loop_alone(number: str) -> None:
    told = f"for turn in range(3):\n            if turn {number}: x = x - x.mean(dim=1, keepdim=True)"
    (found,) = _found({"last": told})
    assert f"under the test 'turn {number}', which was not followed," in found.message


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"each": READ.replace("x.mean(dim=1)", "self.gate.weight.mean(dim=1)")},
        {"each": READ.replace("x.mean(dim=1)", "x[:, 0]")},
        {"each": READ.replace("x = x + torch", "self.stats.append(x.mean(dim=1)); x = x + torch")
                     .replace("x.mean(dim=1))\n", "x[:, 0])\n")},
        {"each": "told = self.net.weight @ x.mean(dim=1).T; self.stats.append(told)"},
        {"last": "for turn in range(3):\n            if turn > 3: x = x - x.mean(dim=1, keepdim=True)"},
        # what came before alone
        {"each": "x = x + x.cumsum(dim=1) / torch.arange(1, seqlen + 1).view(1, -1, 1)"},
        {"each": "x = x + torch.tril(torch.ones(seqlen, seqlen)) @ x"},
        {"each": "w = torch.ones(seqlen, seqlen).tril(); x = x + w @ x"},
        {"each": "w = torch.ones(seqlen, seqlen); w.tril_(); x = x + w @ x"},
        {"each": "w = torch.ones(seqlen, seqlen); w[0] = 0; w = w.tril(); x = x + w @ x"},
        # the first places alone, a few of them, or nobody knows which
        {"each": "x = x + x[:, :1].mean(1, keepdim=True)"},
        {"each": "first = x[:, :4].mean(dim=1); x = x + first.unsqueeze(1)"},
        {"each": "x = x + x[:, :i].mean(dim=1, keepdim=True)"},
        {"each": "x = x + x[:, 8:].mean(dim=1, keepdim=True)"},
        # other dimensions, or more places than one
        {"each": "x = x + torch.einsum('btd->bt', x).unsqueeze(-1)"},
        {"each": "x = x + torch.einsum('bts,bsd->btd', self.scores(x), x)"},
        {"each": "x = x + F.adaptive_avg_pool1d(x, 1)"},
        {"each": "p = F.adaptive_avg_pool1d(x.transpose(1, 2), 8); self.stats.append(p)"},
        {"each": "x = x + x @ torch.ones(512, 512)"},
        # other dimensions: of features, of heads, of experts, of what is no window any more
        {"each": "x = x - x.mean(dim=-1, keepdim=True)"},
        {"each": "x = x - x.mean(dim=2, keepdim=True)"},
        {"each": "byte_ids = self.table[ids]; x = x + (x / self.tok_emb(byte_ids).sum(dim=-2))"},
        {"each": "g = x.view(batch, seqlen, 4, -1); g = g - g.mean(dim=-2, keepdim=True); x = g.reshape(x.shape)"},
        {"each": "w = x.softmax(dim=1); told = w * x; x = told.cumsum(dim=1) / w.cumsum(dim=1).clamp_min(1e-6)"},
        {"in_block": "y = y - y.mean(dim=1, keepdim=True)"},
        {"each": "g = F.softmax(self.gate(x.reshape(-1, x.size(-1))), dim=1); x = x * g[:, 0].view(batch, -1, 1)"},
        {"each": "w = self.net.weight; x = F.linear(x, w - w.mean(dim=1, keepdim=True))[..., :512]"},
        # nothing that logits are made of
        {"each": "self.stats.append((x - x.mean(dim=1, keepdim=True)).pow(2).sum())"},
        {"each": "aux = x.mean(dim=1); self.stats.append(aux)"},
        {"last": "pooled = x.mean(dim=1); self.stats.append(self.net(pooled).unsqueeze(1) + x)"},
        {"last": CARRIED.replace("self.net(state)", "self.net(x0[:, 0])").replace("x.mean", "y = x.mean")},
        {"last": CARRIED.replace("state = x.mean(dim=1)", "state, told = x[:, 0], x.mean(dim=1)")},
        {"last": "for _ in range(3): x0 = x.mean(dim=1)\n        for _ in range(3): x = x + x[:, -1].unsqueeze(1)"},
        {"each": "x, told = pooled(x); self.stats.append(told); x = x + x[:, 0].unsqueeze(1)"},
        # layers that no run makes, or that nothing shows to be made
        {"in_other": "x = x - x.mean(dim=1, keepdim=True)", "is_other": "os.environ.get('OTHER', '')"},
        {"in_other": "x = x - x.mean(dim=1, keepdim=True)",
         "is_other": "i in [int(each) for each in os.environ.get('OTHER', '').split(',')]"},
        {"in_other": "x = x - x.mean(dim=1, keepdim=True)", "is_other": "random.random() < 0.5"},
        # one value of weights, of features, of losses; and what nothing is divided by
        {"each": "x = F.linear(x, rounded(self.net.weight))[..., :512]"},
        {"each": "x = rounded(x)", "scale": "x.abs().amax(dim=-1, keepdim=True)"},
        {"each": "x = rounded(x)", "scale": "x.shape[1]"},
        {"in_block": "y = y / y.abs().amax(dim=3, keepdim=True)"},
        {"in_block": "y = y / y.abs().amax(dim=(1, 3), keepdim=True)"},
        {"each": "self.stats.append(x.abs().max())"},
        {"each": "told = x.abs().mean(); self.stats.append(told * 0.5)"},
        {"last": "lost = F.cross_entropy(self.head(x).view(-1, 1024), targets.reshape(-1), reduction='none')\n"
                 "        lost = lost.view(batch, seqlen); x = x + 0 * (lost / lost.mean()).max()"},
        {"each": "x = rounded(x)", "not_rounded": "not self.training"},
        {"each": "x = rounded(x)", "not_rounded": "not int(os.environ.get('ROUNDED', '0'))"},
        # training alone
        {"each": "if self.training: x = rounded(x)"},
        {"each": "x = rounded(x) if self.training else x"},
        {"in_block": "if self.training: x = rounded(x)"},
        {"each": "if self.training: x = x - x.mean(dim=1, keepdim=True)"},
        {"each": "if os.environ.get('NEVER', '') == 'on': x = x - x.mean(dim=1, keepdim=True)"},
    ],
)  # fmt: skip
def test_other_means(changes: dict[str, str]) -> None:
    assert _found(changes) == []


def test_of_a_network_that_is_not_causal_its_attention_is_named_alone() -> None:
    (found,) = _found({"causal": "False", "each": "x = x - x.mean(dim=1, keepdim=True)"})
    assert found.message.startswith("The attention of the network that is scored goes over the whole window")
