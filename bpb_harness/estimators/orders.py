"""The orders of ``--method chain``: which positions a deterministic sampler reveals next.

Left-to-right and random are known beforehand. The others look at the network's predictions given the tokens revealed so
far, which a decoder has too; a score never looks at the token to come. A sampler that reveals ``tokens_per_step`` of
the positions with the highest score, equal scores by position, and draws their tokens from the predictions, gives each
text the probability exp(-nats) of the chain rule in that order (DUEL, arXiv 2603.01367).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor

Order = Literal["left-to-right", "random", "confidence", "entropy", "margin"]
Score = Callable[[Tensor], Tensor]

_ROWS_AT_ONCE = 1024  # of predictions held in float64


def confidence(log_probs: Tensor) -> Tensor:
    """Log-probability of the likeliest token: (..., V) log-probabilities to (...), of their type."""
    return log_probs.amax(dim=-1)


def entropy(log_probs: Tensor) -> Tensor:
    """Less the entropy of the prediction, in nats: (..., V) log-probabilities to (...) float64."""
    pieces = [_less_entropy(rows) for rows in torch.split(log_probs.flatten(0, -2), _ROWS_AT_ONCE)]
    return torch.cat(pieces).view(log_probs.shape[:-1])


def margin(log_probs: Tensor) -> Tensor:
    """Probability of the likeliest token less that of the second: (..., V) log-probabilities to (...) float64.

    The only token of a vocabulary of one has no second, and its margin is 1. Of probabilities, not of log-probabilities
    (top probability margin, arXiv 2502.06768, section 4).
    """
    best = log_probs.topk(min(2, log_probs.shape[-1]), dim=-1).values.double().exp()
    return best[..., 0] - best[..., 1:].sum(dim=-1)


SCORES: Mapping[str, Score] = {"confidence": confidence, "entropy": entropy, "margin": margin}
# Scores that lie no further apart count as equal. A network that sees nothing predicts the same everywhere but for
# rounding, which differs from one device and batch to the next; where rounding chooses, so does the score: on an H200
# that of 12 windows of the demo's network went by 8 %. Confidence compares what float32 holds.
TIES: Mapping[str, float] = {"confidence": 0.0, "entropy": 1e-4, "margin": 1e-4}


def next_positions(order: str, log_probs: Tensor, visible: Tensor, count: int) -> Tensor:
    """The positions to reveal next: those with the highest scores among the hidden ones, equal scores by position.

    Args:
        order: a key of ``SCORES``.
        log_probs: normalised predictions given the visible tokens, (B, L, V).
        visible: which positions have been revealed, (B, L) bool.
        count: how many are revealed; each row has as many left.

    Returns:
        (B, count) int64.
    """
    scores, tie = SCORES[order](log_probs).masked_fill(visible, -torch.inf), TIES[order]
    # A stable sort, so that ties are broken by position and the decoder breaks them alike.
    chosen = scores.argsort(dim=-1, descending=True, stable=True)[:, :count]
    if not tie:
        return chosen
    least = scores.gather(1, chosen[:, -1:])  # of those, what lies well above it is sure; the rest are equals
    rank = (scores >= least - tie).to(torch.int8) + (scores > least + tie).to(torch.int8)
    rank = rank.masked_fill(scores.isnan(), 3).masked_fill(visible, -1)
    return rank.argsort(dim=-1, descending=True, stable=True)[:, :count]


def _less_entropy(log_probs: Tensor) -> Tensor:
    """(n, V) to (n,) float64; what has no mass adds nothing."""
    wide = log_probs.double()
    mass = wide.exp()
    return (mass * wide.masked_fill(mass == 0.0, 0.0)).sum(dim=-1)
