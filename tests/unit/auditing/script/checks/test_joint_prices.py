"""Masked tokens that have one price together, in the idioms of public code; and bounds that price them one by one."""

from __future__ import annotations

import pytest

from bpb_harness.findings import Finding, Severity
from tests.golf_rules import check_source

SCRIPT = """
import math, torch
import torch.nn.functional as F
from torch import nn

MASK, V, L, BASE = 1024, 1024, 512, 32


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(V + 1, 64)
        self.enc = nn.TransformerEncoder(nn.TransformerEncoderLayer(64, 4), 2)
        self.out = nn.Linear(64, V)

    def forward(self, z, lengths=None):
        return self.out(self.enc(self.emb(z)))


net = Net()
{functions}


def nelbo(x, gen):
    t = torch.rand(x.shape[0], generator=gen)[:, None]
{body}


def main():
    gen = torch.Generator().manual_seed(0)
    nats, num_bytes = 0.0, 0
    for x, size in windows():
        x = x.cuda()
        nats += nelbo(x, gen).double().sum().item()
        num_bytes += size
    print("val_bpb:", nats / math.log(2) / num_bytes)


main()
"""
HIDE = "m = torch.rand(*x.shape, generator=gen) < t\nz = torch.where(m, MASK, x)\n"
PRICED = "logp = torch.log_softmax(net(z), -1).gather(-1, x[..., None]).squeeze(-1)\n"
SUM = "return -(logp * m / t).sum(1)"
DIGITS = """
def digits(x):
    powers = BASE ** torch.arange(1, -1, -1)
    return ((x[..., None] // powers) % BASE).reshape(x.shape[0], -1)
"""
PARTS = "y = digits(x)\nm = torch.rand(*y.shape, generator=gen) < t\nz = torch.where(m, BASE, y)\n"
DECODED = (
    "logits = decoder({shown}, net(z))\nce = F.cross_entropy(logits.mT, x, reduction='none')\n"
    "return (ce * m / t).sum(1)"
)
ENERGY = """
def energy(z, x):
    both = torch.cat([net.emb(z), net.emb(x)], -1)
    return head(net.enc(both).mean(1))
"""
CLASS = """
class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(V, 64)
        self.dec = nn.TransformerDecoder(nn.TransformerDecoderLayer(64, 4), 2)

    def forward(self, before, hidden):
        return self.dec(self.emb(before), hidden)


decoder = Decoder()
"""
BITS = """
def digits(x):
    return ((x[..., None] >> torch.arange(10)) & 1).flatten(1)
"""

# body, functions, the line of the script that is pointed at.
JOINT = {
    "masked digits of a token, the token priced": (PARTS + PRICED + "return -(logp / t).sum(1)", DIGITS, "// powers"),
    "masked bits of a token, the token priced": (
        PARTS + "ce = F.cross_entropy(net(z).mT, x, reduction='none')\nreturn (ce / t).sum(1)", BITS, ">> torch",
    ),
    "the same by dsigma / expm1(sigma)": (
        "sigma = -torch.log1p(-0.999 * t)\ndsigma = 0.999 / (1 - 0.999 * t)\ny = digits(x)\n"
        "m = torch.rand(*y.shape, generator=gen) < 1 - torch.exp(-sigma)\nz = torch.where(m, BASE, y)\n" + PRICED
        + "return -(logp * (dsigma / torch.expm1(sigma))).sum(1)",
        DIGITS, "// powers",
    ),
    "an autoregressive decoder over all masked tokens": (
        HIDE + DECODED.format(shown="F.pad(x[:, :-1], (1, 0), value=1)"), "", "decoder(",
    ),
    "a decoder of the script": (HIDE + DECODED.format(shown="x.roll(1, 1)"), CLASS, "self.dec(self.emb(before)"),
    "a decoder that is given the clear text after a selection of another kind": (
        HIDE + DECODED.format(shown="torch.where(x == 0, 1, x).roll(1, 1)"), "", "decoder(",
    ),
    "an energy": (HIDE + PRICED + "logp = logp - energy(z, x) / L\n" + SUM, ENERGY, "head("),
    "an autoregressive network as an energy": (
        HIDE + PRICED + "ar = torch.log_softmax(ar_net(x[:, :-1]), -1).gather(-1, x[:, 1:, None]).squeeze(-1).sum(1)\n"
        "logp = logp + ar[:, None] / L\n" + SUM,
        "", "ar_net(",
    ),
}  # fmt: skip
DOUBTS = {
    "a network that is given the text unshifted": (HIDE + DECODED.format(shown="x"), "", "decoder("),
    "a function of both that the script does not hold": (
        HIDE + PRICED + "logp = logp - energy(z, x) / L\n" + SUM, "", "energy(z, x)",
    ),
}  # fmt: skip
ONE_BY_ONE = {
    "the usual bound": (HIDE + PRICED + SUM, ""),
    "sub-tokens priced one by one": (
        PARTS + "logp = torch.log_softmax(net(z), -1).gather(-1, y[..., None]).squeeze(-1)\n" + SUM, DIGITS,
    ),
    "sub-word ids folded before anything is hidden": ("x = x % V\n" + HIDE + PRICED + SUM, ""),
    "ids folded round a loop": ("for _ in range(2):\n    x = x % V\n" + HIDE + PRICED + SUM, ""),
    "ids told apart by a remainder for the network's positions": (
        HIDE + "logp = torch.log_softmax(net(z + 0 * (torch.arange(x.shape[1]) % BASE)), -1)\n"
        "logp = logp.gather(-1, x[..., None]).squeeze(-1)\n" + SUM, "",
    ),
    "sampled by an energy, scored without": (
        HIDE + PRICED + "samples = [z.bernoulli() for _ in range(4)]\nkept = min(samples, key=lambda s: energy(z, x))\n"
        + SUM, ENERGY,
    ),
    "drafts verified by an autoregressive network": (
        HIDE + PRICED + "accepted = (ar_net(x[:, :-1]).argmax(-1) == x[:, 1:]).float().mean()\nprint(accepted)\n" + SUM,
        "",
    ),
    "padding and lengths are told": (HIDE + PRICED.replace("net(z)", "net(z, lengths=(x != 0).sum(1))") + SUM, ""),
    "an attention mask of documents": (
        HIDE + PRICED.replace("net(z)", "model(z, (x == 1).cumsum(1), torch.ones_like(x), x.shape[1])") + SUM, "",
    ),
    "labels are handed over": (
        HIDE + "logits, loss = model(z, x)\nce = F.cross_entropy(logits.mT, x, reduction='none')\n"
        "return (ce * m / t).sum(1)", "",
    ),
    "labels are handed over, the first result is taken": (
        HIDE + "logits = model(z, x)[0]\nce = F.cross_entropy(logits.mT, x, reduction='none')\n"
        "return (ce * m / t).sum(1)", "",
    ),
    "labels are handed over by name": (
        HIDE + "out = model(input_ids=z, labels=x)\nce = F.cross_entropy(out.logits.mT, x, reduction='none')\n"
        "return (ce * m / t).sum(1)", "",
    ),
    "block diffusion: hidden and clear text side by side under a mask of attention": (
        HIDE + "logits = model(torch.cat([z, x], 1), blocks)[:, :L]\n"
        "ce = F.cross_entropy(logits.mT, x, reduction='none')\nreturn (ce * m / t).sum(1)", "",
    ),
    "labels are handed over by name to a function that gives logits alone": (
        HIDE + PRICED.replace("net(z)", "model(z, labels=x)") + SUM, "",
    ),
    "a half of a window is hidden and priced": (
        "half = x.shape[1] // 2\nm = torch.rand(*x[:, :half].shape, generator=gen) < t\n"
        "z = torch.where(m, MASK, x[:, :half])\n"
        "logp = torch.log_softmax(net(z), -1).gather(-1, x[:, :half, None]).squeeze(-1)\n" + SUM, "",
    ),
    "a number of both that is not weighed": (HIDE + PRICED + SUM + " + energy(z, x).mean()", ENERGY),
    "a number of the clear text alone": (
        HIDE + PRICED + "logp = logp + table(net.emb(x) + 1.0)\n" + SUM, "",
    ),
    "the same masks by a selection and by arithmetic": (
        HIDE + "z2 = x * ~m + MASK * m\n" + PRICED
        + "logp2 = torch.log_softmax(net(z2), -1).gather(-1, x[..., None]).squeeze(-1)\n"
        "return -((0.5 * logp + 0.5 * logp2) * m / t).sum(1)", "",
    ),
    "lengths from a function of the script": (
        HIDE + PRICED.replace("net(z)", "model(z, lengths(x))") + SUM,
        "def lengths(x):\n    return (x != 0).sum(1)\n",
    ),
    "visible tokens carried over": (
        HIDE + "logits = net(z)\nlogits = torch.where(m[..., None], logits, F.one_hot(z, V) * 1e6)\n"
        "logp = torch.log_softmax(logits, -1).gather(-1, x[..., None]).squeeze(-1)\n" + SUM, "",
    ),
    "a helper hides": (
        "m = torch.rand(*x.shape, generator=gen) < t\nz = hide(x, m)\n" + PRICED + SUM,
        "def hide(x, m):\n    return x.masked_fill(m, MASK)\n",
    ),
    "scored by an autoregressive network alone": (
        "ce = F.cross_entropy(ar_net(x[:, :-1]).mT, x[:, 1:], reduction='none')\nreturn ce.sum(1)", "",
    ),
    "a network's code without a weight": (
        HIDE + "logits = decoder(F.pad(x[:, :-1], (1, 0), value=1), net(z))\n"
        "ce = F.cross_entropy(logits.mT, x, reduction='none')\nreturn (ce * m).sum(1)", "",
    ),
    "an energy beside the score": (
        HIDE + PRICED + "print('energy', energy(z, x).mean())\n" + SUM, ENERGY,
    ),
}  # fmt: skip


def _joint(body: str, functions: str) -> list[Finding]:
    indented = "\n".join(f"    {line}" for line in body.split("\n"))
    found = check_source(SCRIPT.format(body=indented, functions=functions))
    return [finding for finding in found if finding.code == "BPB268"]


@pytest.mark.parametrize("name", JOINT)
def test_a_joint_price_under_the_weight_of_single_tokens_refutes(name: str) -> None:
    body, functions, line = JOINT[name]
    (found,) = _joint(body, functions)
    assert found.severity is Severity.REFUTES
    assert line in str(found.evidence["source"])
    assert "priced one by one" in found.message


@pytest.mark.parametrize("name", DOUBTS)
def test_what_the_script_leaves_open_is_a_doubt_that_names_what_decides(name: str) -> None:
    body, functions, line = DOUBTS[name]
    (found,) = _joint(body, functions)
    assert found.severity is Severity.WARNS
    assert line in str(found.evidence["source"])
    assert "the network's code" in str(found.evidence["missing"])


@pytest.mark.parametrize("name", ONE_BY_ONE)
def test_bounds_of_tokens_priced_one_by_one_are_left_alone(name: str) -> None:
    assert _joint(*ONE_BY_ONE[name]) == []
