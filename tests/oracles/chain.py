"""The chain rule by hand: tokens are revealed one after another, each paid for given those before it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

from tests.oracles.conditionals import Conditionals

Tokens = tuple[int, ...]


def blockwise_nats(model: Conditionals, x: Tokens, blocks: Sequence[Sequence[int]], u_max: float = 1.0) -> float:
    """Code length in nats when the positions of each block are revealed together.

    A time-conditioned model is told u = u_max m / L while m of L tokens are masked.
    """
    shown: set[int] = set()
    total = 0.0
    for block in blocks:
        window = tuple(token if i in shown else None for i, token in enumerate(x))
        rows = model.log_probs(window, u_max * (len(x) - len(shown)) / len(x))
        total -= sum(rows[i][x[i]] for i in block)
        shown |= set(block)
    assert shown == set(range(len(x)))
    return total


def chain_nats(model: Conditionals, x: Tokens, order: Sequence[int], u_max: float = 1.0) -> float:
    """Code length in nats in the given order, one position at a time."""
    return blockwise_nats(model, x, [[i] for i in order], u_max)


def mean_over_orders(model: Conditionals, x: Tokens, u_max: float = 1.0) -> float:
    """The mean over all L! orders; where alpha(1) = 0, the continuous bound of every unconditioned model."""
    orders = list(itertools.permutations(range(len(x))))
    return math.fsum(chain_nats(model, x, order, u_max) for order in orders) / len(orders)


def _confidence(row: Sequence[float]) -> float:
    return max(row)


def _less_entropy(row: Sequence[float]) -> float:
    return math.fsum(math.exp(value) * value for value in row if value > -math.inf)


def _margin(row: Sequence[float]) -> float:
    first, second = sorted(row, reverse=True)[:2]
    return math.exp(first) - math.exp(second)


SCORES: dict[str, Callable[[Sequence[float]], float]] = {
    "confidence": _confidence, "entropy": _less_entropy, "margin": _margin,
}  # fmt: skip


def ordered_nats(
    model: Conditionals, x: Tokens, order: str, tokens_per_step: int = 1, u_max: float = 1.0
) -> tuple[float, list[list[int]]]:
    """Code length in nats, and the positions of each step: the highest scores first, equals by position."""
    score, tie = SCORES[order], 0.0 if order == "confidence" else 1e-4
    hidden = list(range(len(x)))
    total, steps = 0.0, []
    while hidden:
        window = tuple(None if i in hidden else token for i, token in enumerate(x))
        rows = model.log_probs(window, u_max * len(hidden) / len(x))
        scores = {i: score(rows[i]) for i in hidden}
        least = sorted(scores.values(), reverse=True)[:tokens_per_step][-1]
        sure = [i for i in hidden if scores[i] > least + tie]
        chosen = (sure + [i for i in hidden if abs(scores[i] - least) <= tie])[:tokens_per_step]
        steps.append(chosen)
        total -= sum(rows[i][x[i]] for i in chosen)
        hidden = [i for i in hidden if i not in chosen]
    return total, steps
