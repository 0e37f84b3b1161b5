"""Prices of experts made one: one that knows no target, one that is chosen by the target, and mixtures that are none."""

# ruff: noqa: E501 - lines of scripts, as they are
from __future__ import annotations

from pathlib import Path

import pytest

from bpb_harness.findings import Severity
from tests.golf_rules import check_source

SCRIPT = """
import math
import numpy as np
import torch
import torch.nn.functional as F


def score(model, tokens, counts, num_bytes, threshold):
    total = 0.0
    for x, y in tokens:
        logits = model(x)
        lp = F.log_softmax(logits, dim=-1)
        nll = -lp.gather(2, y.unsqueeze(2)).squeeze(2)
        uni = -counts.log()[y]
        {mixing}
        total += mixed.sum().item()
    return total


def main(model, tokens, counts, num_bytes):
    val_bpb = score(model, tokens, counts, num_bytes, 0.5) / math.log(2.0) / num_bytes
    print(f"final val_bpb: {{val_bpb:.5f}}")


main(torch.load("m.pt"), torch.load("t.pt"), torch.load("c.pt"), 10)
"""
_MIXED = "mixed = -(w.log() - {stack}).logsumexp(-1)"
WITHOUT_TARGET = {
    "entropy": "e = -(lp.exp() * lp).sum(-1)\n        " + _MIXED.format(stack="torch.stack([nll, uni, e], dim=-1)"),
    "entropy written there": _MIXED.format(stack="torch.stack([nll, uni, -(lp.exp() * lp).sum(-1)], dim=-1)"),
    "entropy of a library": "e = torch.distributions.Categorical(logits=logits).entropy()\n        " + _MIXED.format(stack="torch.stack((nll, e), dim=-1)"),
    "maximum": "top = -lp.max(-1).values\n        " + _MIXED.format(stack="torch.stack([nll, top], -1)"),
    "largest": "top = -lp.amax(dim=-1)\n        mixed = -torch.logsumexp(torch.stack([-nll, -top]) - math.log(2), dim=0)",
    "joined": "e = -(lp.exp() * lp).sum(-1)\n        mixed = -torch.logsumexp(torch.cat([-nll[..., None], -e[..., None]], -1), -1)",
    "logaddexp": "e = (lp.exp() * lp).sum(-1)\n        mixed = -torch.logaddexp(-nll + math.log(0.7), e + math.log(0.3))",
    "added": "top = lp.exp().max(-1).values\n        mixed = -torch.log(0.7 * torch.exp(-nll) + 0.3 * top)",
    "cross-entropy": "c = F.cross_entropy(logits.view(-1, 64), y.view(-1), reduction='none')\n        e = -(lp.exp() * lp).sum(-1)\n        " + _MIXED.format(stack="torch.stack([c, e], dim=-1)"),
    "of a function": "e = -(F.softmax(logits, -1) * lp).sum(-1)\n        both = torch.stack([nll, e], -1)\n        mixed = -torch.logsumexp(w - both, -1)",
}  # fmt: skip
HONEST_MIXTURES = {
    "uniform": "u = torch.full_like(nll, math.log(64))\n        " + _MIXED.format(stack="torch.stack([nll, uni, u], dim=-1)"),
    "uniform number": "mixed = -torch.log(0.9 * torch.exp(-nll) + 0.1 / 64)",
    "two experts": _MIXED.format(stack="torch.stack([nll, uni], dim=-1)"),
    "a gate of entropy": "g = torch.sigmoid(-(lp.exp() * lp).sum(-1))\n        mixed = -torch.log(g * torch.exp(-nll) + (1 - g) * torch.exp(-uni))",
    "a gate of several": "f = torch.stack([-(lp.exp() * lp).sum(-1), lp.max(-1).values], -1)\n        g = torch.sigmoid(f @ v)\n        mixed = -torch.logaddexp(g.log() - nll, torch.log1p(-g) - uni)",
    "whole distributions": "both = torch.logsumexp(torch.stack([lp, counts.log().expand_as(lp)]) - math.log(2), dim=0)\n        mixed = -both.gather(2, y.unsqueeze(2)).squeeze(2)",
    "the entropy is printed": "e = -(lp.exp() * lp).sum(-1)\n        print(torch.stack([nll, e], -1).mean())\n        mixed = nll",
    "picked by a mask": "p = (lp * F.one_hot(y, 64)).sum(-1)\n        " + _MIXED.format(stack="torch.stack([nll, -p], dim=-1)"),
    "log-sum-exp by hand": "mixed = logits.logsumexp(-1) - logits.gather(2, y.unsqueeze(2)).squeeze(2)",
}  # fmt: skip
CHOSEN = {
    "minimum": "mixed = torch.minimum(nll, -torch.log(0.5 * torch.exp(-nll) + 0.5 * torch.exp(-uni)))",
    "min of two": "other = nll + 0.1 * uni\n        mixed = torch.min(nll, other)",
    "min of a stack": "mixed = torch.stack([nll, nll * 0.5 + uni]).min(0).values",
    "argmin and gather": "both = torch.stack([nll, 0.5 * nll + uni])\n        mixed = both.gather(0, both.argmin(0, keepdim=True))[0]",
    "argmin as an index": "both = torch.stack([nll[0], 0.5 * nll[0] + uni[0]])\n        mixed = both[both.argmin(0), torch.arange(len(y[0]))]",
    "sorted": "mixed = torch.stack([nll, 0.5 * nll + uni]).sort(0).values[0]",
    "sorted, by places": "both = torch.stack([nll, 0.5 * nll + uni])\n        mixed = both.sort(0)[0][0]",
    "np.sort": "mixed = np.sort(np.stack([nll, 0.5 * nll + uni]), 0)[0]",
    "topk": "mixed = torch.stack([nll, 0.5 * nll + uni]).topk(1, 0, largest=False).values",
    "where": "other = 0.5 * nll + 0.5 * uni\n        mixed = torch.where(other < nll, other, nll)",
    "a mask": "other = 0.5 * nll + 0.5 * uni\n        better = other < nll\n        mixed = nll.clone()\n        mixed[better] = other[better]",
    "less()": "other = 0.5 * nll + 0.5 * uni\n        mixed = torch.where(torch.lt(other, nll), other, nll)",
    "a loop": "mixed = nll[0].clone()\n        for i in range(len(y[0])):\n            new = 0.5 * nll[0, i].item() + 0.5 * uni[0, i].item()\n            old = nll[0, i].item()\n            if new < old:\n                mixed[i] = new",
    "a gain": "mixed = nll[0].clone()\n        for i in range(len(y[0])):\n            new = 0.5 * nll[0, i].item() + 0.5 * uni[0, i].item()\n            old = nll[0, i].item()\n            gain = old - new\n            if gain > 0:\n                mixed[i] = new",
    "a difference": "mixed = nll[0].clone()\n        for i in range(len(y[0])):\n            new = 0.5 * nll[0, i].item() + 0.5 * uni[0, i].item()\n            if nll[0, i].item() - new > 0:\n                mixed[i] = new",
    "under a name": "mixed = nll[0].clone()\n        for i in range(len(y[0])):\n            new = 0.5 * nll[0, i].item() + 0.5 * uni[0, i].item()\n            is_better = new < nll[0, i].item()\n            if is_better:\n                mixed[i] = new",
    "a bound": "own = torch.exp(-nll)\n        mixed = torch.where(own < threshold, -torch.log(0.5 * own + 0.5 * torch.exp(-uni)), nll)",
    "a bound in a loop": "mixed = nll[0].clone()\n        for i in range(len(y[0])):\n            own = lp[0, i, y[0, i]].item()\n            if own < math.log(0.7):\n                mixed[i] = -math.log(0.5 * math.exp(own) + 0.5 * math.exp(-uni[0, i]))",
    "greater probability": "p, q = torch.exp(-nll), 0.5 * torch.exp(-nll) + 0.5 * torch.exp(-uni)\n        mixed = -torch.log(torch.maximum(p, q))",
    "greater probability, named": "p, q = torch.exp(-nll), 0.5 * torch.exp(-nll) + 0.5 * torch.exp(-uni)\n        best = torch.maximum(p, q)\n        mixed = -torch.log(best)",
}  # fmt: skip
NOT_CHOSEN = {
    "by the maximum": "sure = lp.max(-1).values\n        mixed = torch.where(sure < math.log(0.7), 0.5 * nll + 0.5 * uni, nll)",
    "by the entropy": "e = -(lp.exp() * lp).sum(-1)\n        mixed = torch.where(e > 2.0, 0.5 * nll + 0.5 * uni, nll)",
    "kept finite": "mixed = torch.clamp(nll, max=50.0)\n        mixed = torch.where(mixed > 40.0, 40.0, mixed)",
    "kept above nothing": "p = torch.exp(-nll)\n        mixed = -torch.log(torch.maximum(p, torch.full_like(p, 1e-9)))",
    "kept above zeros": "mixed = torch.maximum(nll, nll.new_zeros(nll.shape))",
    "by the token before, padded": "last = torch.cat([nll.new_zeros(1, 1), nll[:, :-1]], 1)\n        mixed = torch.where(last > 2.0, 0.5 * nll + 0.5 * uni, nll)",
    "by hand": "a, b = -nll + math.log(0.7), -uni + math.log(0.3)\n        m = torch.maximum(a, b)\n        mixed = -(m + torch.log(torch.exp(a - m) + torch.exp(b - m)))",
    "one line": "a, b = -nll[0, 0].item() - 0.7, -nll[0, 0].item() - 0.9\n        mixed = -torch.tensor(max(a, b) + math.log1p(math.exp(-abs(a - b))))",
    "by the token before": "before = nll[:, :-1]\n        mixed = nll.clone()\n        mixed[:, 1:] = torch.where(before > 2.0, 0.5 * nll[:, 1:] + 0.5 * uni[:, 1:], nll[:, 1:])",
    "by the token before, one by one": "mixed, last = nll[0].clone(), 0.0\n        for i in range(len(y[0])):\n            if last > 2.0:\n                mixed[i] = 0.5 * nll[0, i] + 0.5 * uni[0, i]\n            last = nll[0, i].item()",
    "by the gain of the token before": "mixed, gain = nll[0].clone(), 0.0\n        for i in range(len(y[0])):\n            if gain > 0:\n                mixed[i] = 0.5 * nll[0, i] + 0.5 * uni[0, i]\n            gain = nll[0, i].item() - uni[0, i].item()",
    "a gain that is counted": "mixed, better = nll, 0\n        for i in range(len(y[0])):\n            gain = nll[0, i].item() - uni[0, i].item()\n            if gain > 0:\n                better += 1",
    "by the mean so far": "mixed = nll\n        if total > 100.0:\n            mixed = 0.5 * nll + 0.5 * uni",
    "best of runs": "mixed = nll\n        best = 9.0\n        mean = nll.mean().item()\n        if mean < best:\n            best = mean\n            torch.save(model, 'best.pt')",
    "counted": "hard = (nll > 5.0).float().mean()\n        print(hard)\n        mixed = nll",
    "counted in a loop": "mixed, hard = nll, 0\n        for i in range(len(y[0])):\n            if nll[0, i].item() > 5.0:\n                hard += 1",
    "argmin over the whole distribution": "both = torch.stack([lp, lp * 0.5])\n        sure = both.amax(-1).argmax(0)\n        mixed = torch.where(sure > 0, nll, 0.5 * nll + 0.5 * uni)",
    "all that is sorted": "mixed = torch.stack([nll, 0.5 * nll + uni]).sort(0).values",
    "the dearest, printed": "both = torch.stack([nll, 0.5 * nll + uni])\n        print(both.argmax(0))\n        mixed = nll",
    "padding": "mixed = torch.where(y >= 0, nll, torch.zeros_like(nll))",
}  # fmt: skip


def _codes(mixing: str) -> dict[str, Severity]:
    return {finding.code: finding.severity for finding in check_source(SCRIPT.format(mixing=mixing))}


@pytest.mark.parametrize("name", WITHOUT_TARGET)
def test_a_price_that_knows_no_target_is_a_doubt(name: str) -> None:
    assert _codes(WITHOUT_TARGET[name]).get("BPB274") is Severity.WARNS


@pytest.mark.parametrize("name", HONEST_MIXTURES)
def test_a_mixture_of_distributions_is_none(name: str) -> None:
    assert not _codes(HONEST_MIXTURES[name]).keys() & {"BPB274", "BPB275"}


@pytest.mark.parametrize("name", CHOSEN)
def test_a_price_chosen_by_the_target_is_a_doubt(name: str) -> None:
    assert _codes(CHOSEN[name]).get("BPB275") is Severity.WARNS


@pytest.mark.parametrize("name", NOT_CHOSEN)
def test_what_is_chosen_by_something_else_is_none(name: str) -> None:
    assert not _codes(NOT_CHOSEN[name]).keys() & {"BPB274", "BPB275"}


_ENTROPY = "e = -(lp.exp() * lp).sum(-1)\n        both = torch.stack([nll, uni, e], {dim})\n        "
LEFT_OUT = {
    "a slice": (-1, "mixed = -(w.log() - both[..., :2]).logsumexp(-1)"),
    "a slice by name": (-1, "real = 2\n        mixed = -(w.log() - both[..., :real]).logsumexp(-1)"),
    "all but the last": (-1, "mixed = -(w.log() - both[..., :-1]).logsumexp(-1)"),
    "a list": (-1, "mixed = -(w.log() - both[..., [0, 1]]).logsumexp(-1)"),
    "rows": (0, "mixed = -(w.log() - both[:2]).logsumexp(0)"),
    "a list by name": (0, "keep = [0, 1]\n        mixed = -(w.log() - both[keep]).logsumexp(0)"),
}
OPEN = {
    "no weight": (-1, "w[2] = 0.0\n        mixed = -(w.log() - both).logsumexp(-1)"),
    "never": (-1, "v = w.log()\n        v[..., 2] = float('-inf')\n        mixed = -(v - both).logsumexp(-1)"),
    "never, by a mask": (-1, "v = w.log() + torch.tensor([0.0, 0.0, -1e9])\n        mixed = -(v - both).logsumexp(-1)"),
    "weights": (-1, "v = torch.tensor([0.6, 0.4, 0.0])\n        mixed = -(v.log() - both).logsumexp(-1)"),
    "times a mask": (-1, "v = w * torch.tensor([1.0, 1.0, 0.0])\n        mixed = -(v.log() - both).logsumexp(-1)"),
    "times a mask, in place": (
        -1,
        "w *= torch.tensor([1.0, 1.0, 0.0])\n        mixed = -(w.log() - both).logsumexp(-1)",
    ),
    "times a mask by name": (-1, "v = keep[None] * w\n        mixed = -((v / v.sum()).log() - both).logsumexp(-1)"),
    "times an attribute": (-1, "mixed = -(w.mul(model.expert_mask.float()).log() - both).logsumexp(-1)"),
    "times a comparison": (-1, "v = w * (torch.arange(3) < 2)\n        mixed = -(v.log() - both).logsumexp(-1)"),
    "filled by a mask": (
        -1,
        "v = w.masked_fill(torch.tensor([False, False, True]), 0.0)\n        mixed = -(v.log() - both).logsumexp(-1)",
    ),
    "where": (
        -1,
        "v = torch.where(torch.tensor([True, True, False]), w, 0.0)\n        mixed = -(v.log() - both).logsumexp(-1)",
    ),
    "by a mask turned round": (
        -1,
        "v = w[~torch.tensor([False, False, True])]\n        mixed = -(v.log() - both).logsumexp(-1)",
    ),
    "beside zeros": (-1, "v = torch.cat([w[:2], torch.zeros(1)])\n        mixed = -(v.log() - both).logsumexp(-1)"),
    "padded": (-1, "v = F.pad(w[:2], (0, 1))\n        mixed = -(v.log() - both).logsumexp(-1)"),
    "plus a mask": (-1, "mixed = -(w.log() + log_mask - both).logsumexp(-1)"),
    "in a softmax": (
        -1,
        "s[2] = float('-inf')\n        v = F.softmax(s, -1)\n        mixed = -(v.log() - both).logsumexp(-1)",
    ),
    "a choice": (-1, "mixed = -(w.log() - both[..., chosen]).logsumexp(-1)"),
    "narrow": (-1, "mixed = -(w.log() - both.narrow(-1, 0, 2)).logsumexp(-1)"),
    "written over": (-1, "both[..., 2] = math.log(64)\n        mixed = -(w.log() - both).logsumexp(-1)"),
    "a slice of the last of how many": (-1, "mixed = -(w.log() - both[:, :, :2]).logsumexp(-1)"),
}
TAKEN = {
    "a slice": (-1, "mixed = -(w.log() - both[..., :3]).logsumexp(-1)"),
    "the last two": (-1, "mixed = -(w.log() - both[..., 1:]).logsumexp(-1)"),
    "a window": (-1, "mixed = -(w.log() - both[0, 8:512]).logsumexp(-1)"),
    "rows": (0, "mixed = -(w.log() - both[1:]).logsumexp(0)"),
    "another weight": (-1, "w[1] = 0.0\n        mixed = -(w.log() - both).logsumexp(-1)"),
    "a gate": (-1, "v = F.softmax(model.gate(x), -1) * 0.5\n        mixed = -(v.log() - both).logsumexp(-1)"),
    "another is masked": (-1, "v = w * torch.tensor([1.0, 0.0, 1.0])\n        mixed = -(v.log() - both).logsumexp(-1)"),
    "all add up to 1": (-1, "v = w / w.sum()\n        mixed = -(v.log() - both).logsumexp(-1)"),
    "a bias": (
        -1,
        "v = F.softmax(s + torch.tensor([2.0, 0.0, 0.0]), -1)\n        mixed = -(v.log() - both).logsumexp(-1)",
    ),
    "another network": (-1, "keep = model(x)\n        mixed = -(w.log() - both).logsumexp(-1)"),
    "a part is shown": (-1, "print(both[..., :2].mean())\n        mixed = -(w.log() - both).logsumexp(-1)"),
    "another is written over": (-1, "both[..., 1] = math.log(64)\n        mixed = -(w.log() - both).logsumexp(-1)"),
}


def _found(dim: int, mixing: str) -> str:
    mixing = _ENTROPY.format(dim=dim) + mixing
    findings = [each for each in check_source(SCRIPT.format(mixing=mixing)) if each.code == "BPB274"]
    return "none" if not findings else "open" if "was not followed" in findings[0].message else "mixed"


@pytest.mark.parametrize("name", LEFT_OUT)
def test_a_price_without_target_that_is_not_mixed_is_none(name: str) -> None:
    assert _found(*LEFT_OUT[name]) == "none"


@pytest.mark.parametrize("name", OPEN)
def test_a_price_without_target_that_may_not_be_mixed_is_left_open(name: str) -> None:
    assert _found(*OPEN[name]) == "open"


@pytest.mark.parametrize("name", TAKEN)
def test_a_price_without_target_is_mixed_where_another_is_left_out(name: str) -> None:
    assert _found(*TAKEN[name]) == "mixed"


@pytest.mark.parametrize(("cut", "found"), [("[..., :2]", []), ("[:, :2]", ["open"]), ("[..., 1:]", ["mixed"])])
def test_a_price_that_is_left_out_of_what_a_function_returns(cut: str, found: list[str]) -> None:
    text = (Path(__file__).resolve().parents[5] / "fixtures" / "scripts" / "wrong_entropy_expert.py").read_text()
    text = text.replace("torch.full((3,), -math.log(3))", "torch.full((2,), -math.log(2))")
    text = text.replace("        nats -= (", f"        prices = prices{cut}\n        nats -= (")
    findings = [each for each in check_source(text) if each.code == "BPB274"]
    assert ["open" if "was not followed" in each.message else "mixed" for each in findings] == found


def test_a_summand_that_is_nothing_is_no_price() -> None:
    added = "top = lp.exp().max(-1).values\n        mixed = -torch.log(1.0 * torch.exp(-nll) + 0.0 * top)"
    assert "BPB274" not in _codes(added)


def test_a_price_that_is_returned_beside_the_score_is_no_doubt() -> None:
    """Of two scores that one function gives, the mixed one is not what is printed."""
    mixing = WITHOUT_TARGET["entropy"]
    plain = SCRIPT.format(mixing=f"{mixing}\n        plain += nll.sum().item()").replace(
        "total = 0.0", "total = plain = 0.0"
    )
    plain = plain.replace("return total", "return plain, total").replace("val_bpb = score(", "bits, other = score(")
    plain = plain.replace(" / math.log(2.0) / num_bytes", "\n    val_bpb = bits / math.log(2.0) / num_bytes")
    assert "BPB274" not in {each.code for each in check_source(plain)}
    mixed = plain.replace("val_bpb = bits", "val_bpb = other")
    assert "BPB274" in {each.code for each in check_source(mixed)}


def test_the_price_is_named_where_it_is_made() -> None:
    text = SCRIPT.format(mixing=WITHOUT_TARGET["entropy"])
    (found,) = [each for each in check_source(text) if each.code == "BPB274"]
    assert "Of 3 prices that are mixed for a token, one (`e`) is made of the network's whole" in found.message
    assert found.evidence["source"] == "e = -(lp.exp() * lp).sum(-1)"


def test_two_prices_and_a_bound_are_told_apart() -> None:
    said = {}
    for name in ("where", "a bound"):
        (found,) = [each for each in check_source(SCRIPT.format(mixing=CHOSEN[name])) if each.code == "BPB275"]
        said[name] = found.message
        assert found.evidence["better_of_two"] is (name == "where")
        assert ("are of more than 1" in found.message) is (name == "where")  # under a bound they may be of less
    assert said["where"].startswith("Of two prices of a token the script takes the one that is better")
    assert said["a bound"].startswith("Which price a token pays is decided by what the network says of the very token")


SEVERAL = {
    "the best so far": "mixed = nll.clone()\n        for i in range(3):\n            new = F.cross_entropy(model(x).view(-1, 64), y.view(-1), reduction='none')\n            mixed[:, i:] = torch.minimum(mixed[:, i:], new[:, i:])",
    "under a test": "mixed = nll[0, 0].item()\n        for i in range(3):\n            new = 0.5 * nll[0, i].item() + i\n            if new < mixed:\n                mixed = new",
    "where": "mixed = nll\n        for i in range(3):\n            new = nll * 0.5 + i\n            mixed = torch.where(new < mixed, new, mixed)",
    "a list": "mixed = torch.stack([nll, nll * 0.5 + uni, 0.1 * nll + uni]).min(0).values",
}  # fmt: skip
TWO = {
    "once": "nll = torch.minimum(nll, 0.5 * nll + uni)\n        mixed = nll",
    "handed on": "nll = nll.view(-1)\n        mixed = torch.minimum(nll, 0.5 * nll + 1.0)",
    **{name: CHOSEN[name] for name in ("minimum", "min of two", "min of a stack", "a mask", "a loop", "under a name")},
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "mixing", "many"),
    [*((*each, "several") for each in SEVERAL.items()), *((*each, "two") for each in TWO.items())],
)
def test_among_how_many_prices_one_is_chosen(name: str, mixing: str, many: str) -> None:
    (found,) = [each for each in check_source(SCRIPT.format(mixing=mixing)) if each.code == "BPB275"]
    assert found.message.startswith(f"Of {many} prices of a token the script takes the one that is better"), name
    assert found.evidence["better_of_two"] is True


def test_a_price_without_target_is_found_behind_weights_that_are_made_of_much() -> None:
    weights = " + ".join(f"w[{number}] * {number}" for number in range(900))
    stack = "torch.stack([-nll, -uni, -e], dim=-1)"
    mixing = (
        f"e = -(lp.exp() * lp).sum(-1)\n        v = ({weights}).log()\n        mixed = -({stack} + v).logsumexp(-1)"
    )
    assert _codes(mixing).get("BPB274") is Severity.WARNS
