"""Whose token a place predicts: its own, as it must, or its neighbour's, as of logits that are shifted by a position.

Such logits are a network all the same, whose bound is true and far too high: it is worth a remark, not a refusal.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bpb_harness.contract.difference import BITS_PER_NAT, Answer
from bpb_harness.contract.probe import Probe
from bpb_harness.result import Remark

_MIN_PLACES = 16
_STDERRS, _MOST_OF_OWN = 6.0, 2.0 / 3.0  # beyond chance, and beyond what a network does that is not trained


def check_shift(probe: Probe, first: Answer) -> list[Remark]:
    """Price, at the same places, the token that belongs there and the ones before and behind it.

    A neighbour is hidden too, or would be told; of a causal network the token behind the next one, which it has not
    seen, and the one that it has just read, which an honest one does not expect again.

    Args:
        probe: the question.
        first: the answer to it, log-probabilities included.
    """
    if first.log_probs is None or first.sampled is None:
        return []
    places = first.places[first.sampled]
    for offset in (1, -1):
        own, other = _prices(probe, first.log_probs, places, offset)
        gain = own - other
        if len(gain) < _MIN_PLACES or not bool(torch.isfinite(gain).all()):
            continue
        mean, stderr = float(gain.mean()), float(gain.std()) / math.sqrt(len(gain))
        if mean > _STDERRS * stderr and float(other.mean()) < _MOST_OF_OWN * float(own.mean()):
            return [_said(float(own.mean()), float(other.mean()), len(gain), offset)]
    return []


def _prices(probe: Probe, log_probs: Tensor, places: Tensor, offset: int) -> tuple[Tensor, Tensor]:
    """What tokens of some places cost there, and those of the places so far from them: in nats, where both count."""
    row, position = places.unbind(-1)
    there = position + offset
    inside = (there >= 0) & (there < probe.x0.shape[1])
    there = there.clamp(0, probe.x0.shape[1] - 1)
    both = inside & probe.counted[row, there]
    if probe.level is None:  # the last target of a causal question is made up
        both &= torch.maximum(position, there) < probe.x0.shape[1] - 1
    own, other = probe.targets[row, position], probe.targets[row, there]
    both &= own != other
    cost = -log_probs.double()[both]
    return tuple(cost.gather(-1, each[both].unsqueeze(-1)).squeeze(-1) for each in (own, other))  # type: ignore[return-value]


def _said(own: float, other: float, count: int, offset: int) -> Remark:
    where = "behind" if offset > 0 else "before"
    own_bits, other_bits = own * BITS_PER_NAT, other * BITS_PER_NAT
    message = (
        f"WARNING: at {count} places the network gives the token {where} the one that belongs there {other_bits:.3g} "
        f"bits, and that one {own_bits:.3g}: either its logits are shifted by a position (try logits.roll({offset}, "
        "1) in their place), or it is hardly trained"
    )
    return Remark("contract.shifted", message, {"offset": offset, "own_bits": own_bits, "other_bits": other_bits})
