"""What a network draws for itself (skipped layers, gates, drop paths) hides no tokens; the same of tokens does."""

from __future__ import annotations

import pytest

from tests.golf_rules import check_source

NETWORK = """import math
import torch
import torch.nn as nn
import torch.nn.functional as F

MASK = 1024


def mix(a, b, keep):
    return a * keep + b * (1 - keep)


class Gate(nn.Module):
    def forward(self, a, b, keep):
        return torch.where(keep.bool(), a, b)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb, self.head = nn.Embedding(1025, 64), nn.Linear(64, 1025)
        self.f, self.g = nn.Linear(64, 64), nn.Linear(64, 64)
        self.gate, self.made = Gate(), registry["mixer"](64)
        self.vector = nn.Parameter(torch.zeros(64))

    def moved(self, ids):
        return ids.roll(1)

    def forward(self, ids, targets):
{body}
        return F.cross_entropy(self.head(x).float().flatten(0, 1), targets.flatten())


def evaluate(model, batches, size):
    nats, count = 0.0, 0
    for x, y in batches:
        nats += model(x, y).item() * y.numel()
        count += size[y].sum().item()
    return nats / math.log(2) / count


print(f"val_bpb:{{evaluate(Net(), torch.load('v.pt'), torch.load('s.pt')):.6f}}")
"""
DRAWS = {
    "compared": "keep = (torch.rand(ids.shape[0], 1) < RATE).float()",
    "compared the other way": "keep = (torch.rand(ids.shape) >= 1 - (RATE)).long()",
    "bernoulli": "keep = torch.bernoulli(torch.full(ids.shape, RATE))",
    "where": "keep = torch.where(torch.rand(ids.shape) < RATE, 1.0, 0.0)",
    "scaled": "keep = torch.where(torch.rand(ids.shape) < RATE, 1.25, 0.0)",
}
# Of a and b, which are tokens of a text and the mask in a guilty script, and numbers of a network in an honest one.
CHOICES = {
    "blend": "x = a * keep + b * (1 - keep)",
    "blend, reversed": "x = (1 - keep) * b + keep * a",
    "blend of a remainder": "other = 1 - keep\nx = b * other + a * keep",
    "lerp by hand": "x = b + keep * (a - b)",
    "lerp": "x = torch.lerp(b, a, keep)",
    "where": "x = torch.where(keep.bool(), a, b)",
    "masked_fill": "x = b.masked_fill(keep.bool(), 0)",
    "index": "x = b.clone()\nx[keep.bool()] = a",
    "mul": "x = torch.mul(a, keep) + torch.mul(b, 1 - keep)",
    "einsum": "x = torch.einsum('b...,b->b...', b, keep)",
    "function": "x = mix(a, b, keep)",
    "module": "x = self.gate(a, b, keep)",
}
OF_NUMBERS = {
    "layers": "a, b = self.f(h), self.g(h)",
    "a skipped layer": "a, b = h + self.f(h), h",
    "a vector of its own": "a, b = self.vector, h",
    "attention": "a, b = F.softmax(h @ h.transpose(1, 2), -1) @ h, h",
    "a layer made elsewhere": "a, b = self.made(ids), self.made(ids + 1)",
    "what stood before": "a, b = F.gelu(self.f(h)), self.emb(ids)",
}
OF_TOKENS = {
    "the mask": "a, b = MASK, ids",
    "a text of masks": "a, b = torch.full_like(ids, MASK), ids.clone()",
    "other tokens": "a, b = torch.randint(0, 1024, ids.shape), ids",
    "tokens beside a network": "a, b = MASK, ids.to(self.emb(ids).device)",
    "tokens of a network's type": "a, b = MASK, ids.type_as(self.emb(ids))",
    "tokens made on its device": "a, b = MASK, torch.cat([ids, torch.ones(1, device=self.emb(ids).device)])",
    "tokens by a method": "a, b = MASK, self.moved(ids)",
    "what a network guesses": "a, b = MASK, self.head(self.emb(ids)).argmax(-1)",
}


def _codes(*lines: str) -> set[str]:
    body = "\n".join("        " + line for line in "\n".join(lines).splitlines())
    return {finding.code for finding in check_source(NETWORK.format(body=body)) if finding.code[:5] in _OF_MASKS}


_OF_MASKS = ("BPB25", "BPB26")


@pytest.mark.parametrize("numbers", OF_NUMBERS)
@pytest.mark.parametrize("choice", CHOICES)
def test_a_choice_between_a_networks_numbers_hides_no_text(choice: str, numbers: str) -> None:
    for draw in DRAWS.values():
        shaped = draw.replace("RATE", "0.3") + "\nkeep = keep[..., None]"
        assert _codes("h = self.emb(ids)", shaped, OF_NUMBERS[numbers], CHOICES[choice]) == set()


@pytest.mark.parametrize("tokens", OF_TOKENS)
@pytest.mark.parametrize("choice", CHOICES)
def test_the_same_choice_between_tokens_does(choice: str, tokens: str) -> None:
    for draw in DRAWS.values():
        found = _codes(draw.replace("RATE", "0.3"), OF_TOKENS[tokens], CHOICES[choice], "x = self.emb(x.long())")
        assert found == {"BPB264"}


# Rates of drop paths that grow with the depth, or are drawn.
RATES = {
    "listed": ("for p in [0.1, 0.2, 0.3, 0.4]:", "p"),
    "linspace": ("for p in torch.linspace(0, 0.3, 12):", "1 - p"),
    "index": ("for i in range(12):", "1 - 0.3 * i / 11"),
    "steps": ("for i in range(12):", "i / 12"),
    "drawn": ("for p in torch.rand(1):", "0.2 + 0.5 * p"),
}


@pytest.mark.parametrize("rates", RATES)
@pytest.mark.parametrize("choice", ["blend", "where", "lerp by hand", "masked_fill"])
def test_rates_of_a_networks_own_are_no_mask_rates(choice: str, rates: str) -> None:
    head, rate = RATES[rates]
    inner = [DRAWS["compared"].replace("RATE", rate), "keep = keep[..., None]", "a, b = x + self.f(x), x"]
    lines = [*inner, *CHOICES[choice].splitlines()]
    assert _codes("x = self.emb(ids)", head, *("    " + line for line in lines)) == set()


@pytest.mark.parametrize("rates", ["listed", "steps", "drawn"])
def test_of_tokens_they_are(rates: str) -> None:
    head, rate = RATES[rates]
    inner = [DRAWS["compared"].replace("RATE", rate), "x = self.emb(torch.where(keep.bool(), MASK, ids))"]
    assert _codes(head, *("    " + line for line in inner))


def test_a_gate_beside_masked_text_takes_no_finding_back() -> None:
    hidden = ["m = torch.rand(ids.shape) < 0.15", "x = self.emb(torch.where(m, MASK, ids))"]
    gate = ["keep = (torch.rand(ids.shape[0], 1, 1) < 0.9).float()", "x = self.f(x) * keep + x * (1 - keep)"]
    assert _codes(*hidden, *gate) == {"BPB264"}


def test_what_a_network_costs_is_no_number_of_its_own() -> None:
    """An attention's softmax is no cost that is scored; the cross-entropies that a mask selects are."""
    body = ["h = self.emb(ids)", "a = F.log_softmax(h, -1)", DRAWS["compared"].replace("RATE", "0.3")]
    assert _codes(*body, "x = h + self.f(a) * keep[..., None]") == set()


@pytest.mark.parametrize("selected", ["ce[m]", "ce * m", "m * ce", "torch.mul(ce, m)", "ce.masked_select(m)"])
def test_a_draw_that_selects_what_is_scored_is_found_wherever_the_masks_are_put(selected: str) -> None:
    """Masks put in the place of embeddings: what the draw chooses there is a network's own, and its costs are not."""
    body = [
        "m = torch.rand(ids.shape) < 0.3",
        "h = torch.where(m[..., None], self.vector, self.emb(ids))",
        'ce = F.cross_entropy(self.head(h).float().transpose(1, 2), targets, reduction="none")',
        f"return ({selected}).sum()",
        "x = ids",
    ]
    assert _codes(*body) == {"BPB264"}
