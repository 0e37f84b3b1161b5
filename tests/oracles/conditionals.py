"""What a denoiser believes about a partly masked window, as plain functions.

A partly masked window is a tuple in which ``None`` stands for a masked position; tokens are 0 .. vocab_size - 1.
"""

from __future__ import annotations

import itertools
import math
import random
from abc import ABC, abstractmethod
from functools import lru_cache

Window = tuple[int | None, ...]


class Conditionals(ABC):
    """Distributions of every position of a window given its visible tokens and the mask rate."""

    vocab_size: int
    time_conditioned = False

    @abstractmethod
    def log_probs(self, window: Window, u: float) -> list[list[float]]:
        """(L, V) log-probabilities in nats; rows of visible positions are never read by a correct estimator."""


class Uniform(Conditionals):
    """Knows nothing: every method must give L ln V."""

    def __init__(self, vocab_size: int) -> None:
        self.vocab_size = vocab_size

    def log_probs(self, window: Window, u: float) -> list[list[float]]:
        return [[-math.log(self.vocab_size)] * self.vocab_size for _ in window]


class ContextFree(Conditionals):
    """The same distribution everywhere: where alpha(1) = 0, one number for every T, schedule and method."""

    def __init__(self, probabilities: list[float]) -> None:
        self.vocab_size = len(probabilities)
        self._row = [math.log(p / sum(probabilities)) for p in probabilities]

    def log_probs(self, window: Window, u: float) -> list[list[float]]:
        return [list(self._row) for _ in window]

    def nats(self, x: tuple[int, ...]) -> float:
        """The code length of x."""
        return -sum(self._row[token] for token in x)


class Markov(Conditionals):
    """A Markov chain and its exact posterior (forward-backward): a perfect denoiser.

    Args:
        initial: (V,) distribution of the first token.
        transition: (V, V) rows: distribution of the next token.
    """

    def __init__(self, initial: list[float], transition: list[list[float]]) -> None:
        self.vocab_size = len(initial)
        self.initial, self.transition = initial, transition

    @classmethod
    def random(cls, vocab_size: int, seed: int, strength: float = 2.0) -> Markov:
        """A random chain; the larger ``strength``, the more a token says about the next."""
        rng = random.Random(seed)

        def row() -> list[float]:
            weights = [math.exp(strength * rng.gauss(0, 1)) for _ in range(vocab_size)]
            return [weight / sum(weights) for weight in weights]

        return cls(row(), [row() for _ in range(vocab_size)])

    def nats(self, x: tuple[int, ...]) -> float:
        """-log p(x), by the chain rule of the source itself."""
        total = -math.log(self.initial[x[0]])
        for previous, token in itertools.pairwise(x):
            total -= math.log(self.transition[previous][token])
        return total

    def sample(self, length: int, rng: random.Random) -> tuple[int, ...]:
        """A window from the source."""
        tokens = rng.choices(range(self.vocab_size), self.initial)
        while len(tokens) < length:
            tokens += rng.choices(range(self.vocab_size), self.transition[tokens[-1]])
        return tuple(tokens)

    def log_probs(self, window: Window, u: float) -> list[list[float]]:
        return [list(row) for row in self._posterior(window)]

    @lru_cache(maxsize=100_000)  # noqa: B019 (an oracle lives as long as its test)
    def _posterior(self, window: Window) -> tuple[tuple[float, ...], ...]:
        tokens, last = range(self.vocab_size), len(window) - 1

        def visible(i: int, v: int) -> float:
            return 1.0 if window[i] is None or window[i] == v else 0.0

        forward = [[self.initial[v] * visible(0, v) for v in tokens]]
        for i in range(1, len(window)):
            before = forward[-1]
            forward.append([sum(before[a] * self.transition[a][v] for a in tokens) * visible(i, v) for v in tokens])
        backward = [[1.0] * self.vocab_size]
        for i in range(last, 0, -1):
            after = backward[0]
            backward.insert(0, [sum(self.transition[v][b] * visible(i, b) * after[b] for b in tokens) for v in tokens])
        rows = []
        for f, b in zip(forward, backward, strict=True):
            joint = [f[v] * b[v] for v in tokens]
            rows.append(tuple(math.log(p / sum(joint)) if p > 0 else -math.inf for p in joint))
        return tuple(rows)


class Table(Conditionals):
    """Arbitrary, mutually inconsistent conditionals: an independent random row for each context and position.

    Rows of visible positions are not normalised: nobody is to read them.
    With ``time_conditioned`` the logits are A + B sin(3 u) + C u with independent tables, smooth in the mask rate.
    """

    def __init__(self, vocab_size: int, seed: int, *, time_conditioned: bool = False, strength: float = 1.5) -> None:
        self.vocab_size, self.time_conditioned = vocab_size, time_conditioned
        self._seed, self._strength = seed, strength

    @lru_cache(maxsize=100_000)  # noqa: B019
    def _rows(self, window: Window, which: str) -> tuple[tuple[float, ...], ...]:
        rng = random.Random(f"{self._seed}/{which}/{window}")
        return tuple(tuple(self._strength * rng.gauss(0, 1) for _ in range(self.vocab_size)) for _ in window)

    def logits(self, window: Window, u: float) -> list[list[float]]:
        """(L, V) logits."""
        base = self._rows(window, "A")
        if not self.time_conditioned:
            return [list(row) for row in base]
        wave, slope = self._rows(window, "B"), self._rows(window, "C")
        sine = math.sin(3 * u)
        return [
            [a + b * sine + c * u for a, b, c in zip(*rows, strict=True)]
            for rows in zip(base, wave, slope, strict=True)
        ]

    def log_probs(self, window: Window, u: float) -> list[list[float]]:
        rows = zip(window, self.logits(window, u), strict=True)
        return [_log_softmax(row) if token is None else row for token, row in rows]


def _log_softmax(row: list[float]) -> list[float]:
    top = max(row)
    total = top + math.log(math.fsum(math.exp(value - top) for value in row))
    return [value - total for value in row]
