"""Thousands of seeds of any design of the mask rates, from one table of levels by windows, without the network.

A table (level_table.py) holds C / |M| of several masks at many mask rates for every window. Each window's curve over
the mask rate is smoothed: the curve of the whole corpus, and the window's own low-degree deviation from it. These are
the truth of the simulation; what is left is that window's mask noise at that level, and simulated draws pick from it.
Everything is a function of the *count* of masked tokens, for at a given |M| = k all designs draw a uniformly random set
of k: so the same table serves Bernoulli, size-biased and fixed-count masks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import stats

from bpb_harness.sampling.design import random_halving_ranks

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
CORPUS_DEGREE = 9
WINDOW_DEGREE = 3


@dataclass(frozen=True)
class LevelSimulation:
    """The curves and the noise of N windows.

    Attributes:
        coefficients: (N, CORPUS_DEGREE + 1), Legendre series of each window's nats per masked token over x in (0, 1),
            where x = (k - 1) / (L - 1) / u_max.
        noise: (N, levels, draws), deviations from the mean of their level, with the degree of freedom paid.
        count: (N, levels, draws), |M| of those residuals.
        neighbour_curve: (N, 3), the known mean of the neighbours' model at rate u is their product with 1, u, u^2.
        control: (N, levels, draws), that model's code length of the same masks less its mean at their count.
        difficulty: (N,).
        num_tokens: (N,), L.
        u_max: largest mask rate.
    """

    coefficients: Floats
    noise: Floats
    count: Ints
    neighbour_curve: Floats
    control: Floats
    difficulty: Floats
    num_tokens: Ints
    u_max: float

    @classmethod
    def load(cls, path: Path | str) -> LevelSimulation:
        """Read a table that level_table.py wrote."""
        with np.load(path) as table:
            return cls.fit(
                nats=table["nats"].astype(np.float64),
                count=table["count"].astype(np.int64),
                neighbour_curve=table["neighbour_curve"].astype(np.float64),
                control=table["control"].astype(np.float64),
                difficulty=table["difficulty"].astype(np.float64),
                num_tokens=table["num_tokens"].astype(np.int64),
                u_max=float(table["u_max"]),
            )

    @classmethod
    def fit(
        cls,
        *,
        nats: Floats,
        count: Ints,
        neighbour_curve: Floats,
        control: Floats,
        difficulty: Floats,
        num_tokens: Ints,
        u_max: float,
    ) -> LevelSimulation:
        """Smooth each window's curve; nats per masked token and counts are (N, levels, draws)."""
        x = (count - 1.0) / np.maximum(num_tokens[:, None, None] - 1.0, 1.0) / u_max
        corpus = np.linalg.lstsq(_basis(x.ravel()), nats.ravel(), rcond=None)[0]
        deviation = nats - _basis(x) @ corpus
        # Noise is greatest where few tokens are masked: weigh levels by its inverse.
        weight = 1.0 / np.sqrt(nats.var(axis=2, ddof=1).mean(axis=0))[:, None]
        coefficients = np.tile(corpus, (len(nats), 1))
        noise = np.empty_like(nats)
        for window, own in enumerate(deviation):
            basis = _basis(x[window])[..., : WINDOW_DEGREE + 1]
            weighted = (basis * weight[..., None]).reshape(-1, WINDOW_DEGREE + 1)
            solution = np.linalg.lstsq(weighted, (own * weight).ravel(), rcond=None)[0]
            coefficients[window, : WINDOW_DEGREE + 1] += solution
            noise[window] = own - basis @ solution
        return cls(
            coefficients, _centred(noise), count, neighbour_curve, _centred(control), difficulty, num_tokens, u_max
        )

    def __len__(self) -> int:
        return len(self.num_tokens)

    def limited(self, num_windows: int) -> LevelSimulation:
        """The first windows alone."""
        names = ("coefficients", "noise", "count", "neighbour_curve", "control", "difficulty", "num_tokens")
        return replace(self, **{name: getattr(self, name)[:num_windows] for name in names})

    def curve(self, window: Ints, x: Floats) -> Floats:
        """Nats per masked token of windows at x, elementwise."""
        return np.asarray(np.einsum("...p,...p->...", _basis(x), self.coefficients[window]))

    def exact_nats(self, nodes: Floats | None = None) -> float:
        """The bound of the whole corpus without the prior: its integral, or the mean over ``nodes`` of (0, 1)."""
        points, weights = np.polynomial.legendre.leggauss(64)
        v = (points + 1.0) / 2.0 if nodes is None else nodes
        share = weights / 2.0 if nodes is None else np.full(len(v), 1.0 / len(v))
        total = 0.0
        for length in np.unique(self.num_tokens):
            others = np.arange(length)  # masked beside the forced one
            chance = stats.binom.pmf(others, length - 1, (v * self.u_max)[:, None])
            mean_basis = share @ chance @ _basis(others / max(length - 1, 1) / self.u_max)
            total += float(self.u_max * length * (self.coefficients[self.num_tokens == length] @ mean_basis).sum())
        return total

    def draw(self, rng: np.random.Generator, window: Ints, count: Ints) -> tuple[Floats, Floats]:
        """C / |M| and the neighbours' model's deviation from its mean, for given counts |M| >= 1, elementwise."""
        window = np.broadcast_to(window, count.shape)
        x = (count - 1.0) / np.maximum(self.num_tokens[window] - 1.0, 1.0) / self.u_max
        _, levels, draws = self.noise.shape
        level = np.clip((x * levels).astype(np.int64), 0, levels - 1)
        draw = rng.integers(draws, size=count.shape)
        scale = np.sqrt(self.count[window, level, draw] / count)
        value = self.curve(window, x) + self.noise[window, level, draw] * scale
        return value, self.control[window, level, draw] * scale

    def size_biased(self, rng: np.random.Generator, window: Ints, rate: Floats) -> tuple[Floats, Floats, Ints]:
        """C / |M|, its control variate and |M| over size-biased masks of the given rates, elementwise."""
        window = np.broadcast_to(window, rate.shape)
        count = 1 + rng.binomial(self.num_tokens[window] - 1, rate)
        value, control = self.draw(rng, window, count)
        others = self.num_tokens[window] - 1.0
        seen = (count - 1.0) / np.maximum(others, 1.0)
        # Two neighbours of a token are both masked with this probability, whose mean is u^2.
        both = seen * (count - 2.0) / np.maximum(others - 1.0, 1.0)
        shift = np.stack([np.zeros_like(rate), seen - rate, both - rate**2], axis=-1)
        return value, control + np.einsum("...p,...p->...", shift, self.neighbour_curve[window]), count

    def bernoulli(self, rng: np.random.Generator, window: Ints, rate: Floats) -> Floats:
        """C / (L u), the textbook estimator, over independent masks of the given rates, elementwise."""
        window = np.broadcast_to(window, rate.shape)
        length = self.num_tokens[window]
        count = rng.binomial(length, rate)
        nats, _ = self.draw(rng, window, np.maximum(count, 1))
        return np.where(count > 0, nats * count / (length * rate), 0.0)


def _centred(noise: Floats) -> Floats:
    draws = noise.shape[2]
    return np.asarray((noise - noise.mean(axis=2, keepdims=True)) * np.sqrt(draws / (draws - 1.0)))


def _basis(x: Floats) -> Floats:
    return np.asarray(np.polynomial.legendre.legvander(2.0 * np.asarray(x) - 1.0, CORPUS_DEGREE))


def stratified_positions(
    rng: np.random.Generator, difficulty: Floats, num_samples: int, num_seeds: int, *, ordered: bool = True
) -> Floats:
    """v of many seeds of the package's design (masking.StratifiedDesign), (seeds, N, K).

    Without ``ordered`` the strata go to the windows by a random permutation: plain stratification over the corpus.
    """
    count = len(difficulty)
    order = np.argsort(difficulty, kind="stable") if ordered else None
    stratum = np.empty((num_seeds, count), dtype=np.int64)
    for row in stratum:
        if order is None:
            row[:] = rng.permutation(count)
        else:
            ranks = random_halving_ranks(count, lambda _: rng.integers(2, size=count))
            row[order] = (ranks + rng.integers(count)) % count
    inside = (stratum + rng.random((num_seeds, count))) / count
    sample = np.arange(num_samples)
    mirrored = np.where(sample % 2 == 1, 1.0 - inside[..., None], inside[..., None])
    return (sample + mirrored) / num_samples
