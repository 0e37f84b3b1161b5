"""A draw that hides the vectors of the scored tokens hides text; one that a network makes of hidden states does not."""

from __future__ import annotations

import pytest

from tests.golf_rules import check_source

SCRIPT = """import math
import torch
import torch.nn as nn
import torch.nn.functional as F


def hide(vectors, hidden, vector):
    return torch.where(hidden[..., None], vector, vectors)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb, self.head, self.f = nn.Embedding(1025, 64), nn.Linear(64, 1024), nn.Linear(64, 64)
        self.vec = nn.Parameter(torch.zeros(64))

    def embed(self, ids):
        return self.emb(ids) * 8 + self.place.weight[: ids.shape[1]]

    def fromvec(self, h):
        return self.head(h + F.gelu(self.f(h)))

    def both(self, h, skip):
        return self.head(h + self.f(skip))

    def hidden(self, ids, m):
        return self.fromvec(torch.where(m[..., None], self.vec, self.emb(ids)))

    def forward(self, ids):
        h = self.emb(ids)
        return self.fromvec(h)


def evaluate(model, batches, size):
    nats, count = 0.0, 0
    for x in batches:
        y = x
{body}
        nats += F.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="sum").item()
        count += size[y].sum().item()
    return nats / math.log(2) / count


print(f"val_bpb:{{evaluate(Net(), torch.load('v.pt'), torch.load('s.pt')):.6f}}")
"""
DRAWN = "m = torch.rand(x.shape) < 0.15"
HIDDEN = {
    "where": "h = torch.where(m[..., None], model.vec, model.emb(x))",
    "zeros": "h = torch.where(m[..., None], torch.zeros(64), model.emb(x))",
    "product": "h = model.emb(x) * ~m[..., None]",
    "product, the other way": "h = (~m).float()[..., None] * model.emb(x)",
    "product of a name": "e = model.emb(x)\nkeep = 1 - m.float().unsqueeze(-1)\nh = e * keep",
    "product in place": "h = model.emb(x)\nh *= ~m[..., None]",
    "masked_fill": "h = model.emb(x).masked_fill(m[..., None], 0)",
    "masked_fill_": "h = model.emb(x).masked_fill_(m[..., None], 0)",
    "index": "h = model.emb(x)\nh[m] = model.vec",
    "index of zeros": "h = model.emb(x)\nh[m] = 0.0",
    "blend": "k = m.float()[..., None]\nh = model.emb(x) * (1 - k) + model.vec * k",
    "noise": "k = m.float()[..., None]\nh = model.emb(x) * (1 - k) + torch.randn(64) * k",
    "lerp": "h = torch.lerp(model.emb(x), model.vec, m.float()[..., None])",
    "functional": "h = torch.where(m[..., None], model.vec, F.embedding(x, model.emb.weight))",
    "table": "h = torch.where(m[..., None], model.vec, model.emb.weight[x])",
    "one hot": "h = torch.where(m[..., None], model.vec, F.one_hot(x, 1025).float() @ model.emb.weight)",
    "normed": "h = torch.where(m[..., None], model.vec, F.rms_norm(model.emb(x), (64,)))",
    "a method": "h = torch.where(m[..., None], model.vec, model.embed(x))",
    "another name": "ids = x.long()\nh = torch.where(m[..., None], model.vec, model.emb(ids))",
    "a function": "h = hide(model.emb(x), m, model.vec)",
    "places": "h = torch.where(m[..., None], model.vec, model.emb(x)) + model.place.weight[: x.shape[1]]",
}
DRAWS = {
    "of its shape": DRAWN,
    "of its size": "m = torch.rand(x.size()) < 0.15",
    "by dimensions": "b, t = x.shape\nm = torch.rand(b, t) < 0.15",
    "like it": "m = torch.rand_like(x.float()) < 0.15",
    "bernoulli": "m = torch.bernoulli(torch.full(x.shape, 0.15)).bool()",
}
ALL = "logits = model.fromvec(h)"


def _codes(*lines: str) -> set[str]:
    body = "\n".join("        " + line for line in "\n".join(lines).splitlines())
    return {
        finding.code for finding in check_source(SCRIPT.format(body=body)) if finding.code[:5] in ("BPB25", "BPB26")
    }


@pytest.mark.parametrize("hidden", HIDDEN)
def test_the_vectors_of_scored_tokens_are_their_text(hidden: str) -> None:
    assert _codes(DRAWN, HIDDEN[hidden], ALL) == {"BPB264"}


@pytest.mark.parametrize("drawn", DRAWS)
@pytest.mark.parametrize("hidden", ["where", "product", "index"])
def test_however_they_are_drawn(drawn: str, hidden: str) -> None:
    assert _codes(DRAWS[drawn], HIDDEN[hidden], ALL) == {"BPB264"}


def test_a_network_may_be_given_the_draw() -> None:
    assert _codes(DRAWN, "logits = model.hidden(x, m)") == {"BPB264"}


GATHERED = """        lp = F.log_softmax(logits, -1)
        nats += -lp.gather(-1, y[..., None]).sum().item()
"""


@pytest.mark.parametrize("hidden", ["where", "product", "index"])
def test_however_their_costs_are_taken(hidden: str) -> None:
    scored = next(line for line in SCRIPT.splitlines(keepends=True) if "cross_entropy" in line)
    body = "\n".join("        " + line for line in [DRAWN, *HIDDEN[hidden].splitlines(), ALL])
    found = check_source(SCRIPT.replace(scored, GATHERED).format(body=body))
    assert "BPB264" in {finding.code for finding in found}


FREE = {
    "the next tokens": "y = x.roll(-1, 1)\n" + DRAWN + "\n" + HIDDEN["where"] + "\n" + ALL,
    "the next tokens, cut": "x, y = x[:, :-1], x[:, 1:]\n" + DRAWN + "\n" + HIDDEN["product"] + "\n" + ALL,
    "moved on by one": DRAWN + "\n" + HIDDEN["where"] + "\nh = torch.cat([model.vec, h[:, :-1]], 1)\n" + ALL,
    "moved by a pad": DRAWN + "\n" + HIDDEN["where"] + "\nh = F.pad(h, (0, 0, 1, 0))\n" + ALL,
    "hidden states": DRAWN + "\nh = torch.where(m[..., None], model.vec, model.f(model.emb(x)))\n" + ALL,
    "a layer's sum": DRAWN + "\ne = model.emb(x)\nh = torch.where(m[..., None], model.vec, e + model.f(e))\n" + ALL,
    "a choice of layers": DRAWN + "\ne = model.emb(x)\nh = torch.where(m[..., None], e, model.f(e))\n" + ALL,
    "a skipped layer": DRAWN + "\ne = model.emb(x)\nh = e + model.f(e) * m[..., None]\n" + ALL,
    "a gate": DRAWN + "\ne, k = model.emb(x), m.float()[..., None]\nh = e * k + model.f(e) * (1 - k)\n" + ALL,
    "noise on top": DRAWN + "\nh = model.emb(x) + torch.randn(64) * m[..., None]\n" + ALL,
    "shown beside": DRAWN + "\n" + HIDDEN["where"] + "\nlogits = model.both(h, model.emb(x))",
    "shown by a name": DRAWN + "\ne = model.emb(x)\nh = e * ~m[..., None]\nlogits = model.both(h, e)",
    "shown before they are moved": "e = model.emb(x)\nif batches:\n    x = torch.tensor([x])\n    y = x\n"
    + DRAWN
    + "\n"
    + HIDDEN["where"]
    + "\nlogits = model.both(h, e)",
    "kept before": DRAWN + "\nh = model.emb(x)\ne = h.clone()\nh[m] = 0.0\nlogits = model.both(h, e)",
    "parts of vectors": "e = model.emb(x)\nm = torch.rand(e.shape) < 0.15\nh = e * ~m\n" + ALL,
    "parts like vectors": "e = model.emb(x)\nm = torch.rand_like(e) < 0.15\nh = e.masked_fill(m, 0)\n" + ALL,
    "parts by dimensions": "m = torch.rand(*x.shape, 64) < 0.15\nh = model.emb(x) * ~m\n" + ALL,
    "whole texts": "m = torch.rand(x.shape[0], 1) < 0.15\n" + HIDDEN["where"] + "\n" + ALL,
    "texts one by one": "m = torch.rand(x.size(0)) < 0.15\n"
    "h = torch.where(m[:, None, None], model.vec, model.emb(x))\n" + ALL,
    "drawn in training": "h = model.emb(x)\nif model.training:\n    " + DRAWN + "\n    h[m] = 0.0\n" + ALL,
    "hidden in training": DRAWN + "\nh = model.emb(x)\nif model.training:\n    h *= ~m[..., None]\n" + ALL,
    "a choice in training": DRAWN + "\nh = model.emb(x)\n"
    "h = torch.where(m[..., None], model.vec, h) if model.training else h\n" + ALL,
    "other tokens": "z = torch.load('z.pt')\nm = torch.rand(z.shape) < 0.15\n"
    "h = torch.where(m[..., None], model.vec, model.emb(z))\n" + ALL,
}


@pytest.mark.parametrize("free", FREE)
def test_what_is_done_to_numbers_of_a_network_hides_none(free: str) -> None:
    assert _codes(FREE[free]) == set()


@pytest.mark.parametrize("hidden", ["where", "product", "masked_fill", "index", "blend"])
def test_a_networks_own_word_dropout_is_its_own(hidden: str) -> None:
    """Drawn inside of the network, where a scored run need not come by."""
    inside = [
        "m = torch.rand(ids.shape) < 0.15",
        *HIDDEN[hidden].replace("model.", "self.").replace("(x)", "(ids)").split("\n"),
    ]
    text = SCRIPT.format(body="        logits = model(x)").replace(
        "        h = self.emb(ids)\n",
        "".join(f"        {line}\n" for line in inside),
    )
    assert text.count("rand(ids.shape)") == 1
    assert not {finding.code for finding in check_source(text) if finding.code.startswith("BPB26")}


def test_nor_what_a_function_draws_that_a_network_calls() -> None:
    drop = "def drop(h):\n    b, t, _ = h.shape\n    m = torch.rand(b, t, 1) < 0.15\n    return h * ~m\n\n\nclass Net("
    loss = "return F.cross_entropy(self.fromvec(drop(self.emb(ids))).flatten(0, 1), ids.flatten())"
    text = SCRIPT.replace("class Net(", drop).replace("return self.fromvec(h)", loss)
    scored = next(line for line in SCRIPT.splitlines() if "cross_entropy" in line)
    inside = text.replace(scored, "        nats += model(x).item() * y.numel()").format(body="")
    assert "BPB264" not in {finding.code for finding in check_source(inside)}
    outside = text.format(body="        logits = model.fromvec(drop(model.emb(x)))")
    assert "BPB264" in {finding.code for finding in check_source(outside)}
