"""The error of a difference of two sampled bounds, against its spread over seeds."""

from __future__ import annotations

import numpy as np

from bpb_harness.comparison.mask_error import mask_error
from bpb_harness.costs import SpanDraws
from bpb_harness.sampling.design import StratifiedDesign
from bpb_harness.sampling.streams import RandomStreams
from tests.scores import costs_of

WINDOWS, DRAWS, SEEDS = 64, 2, 150
DIFFICULTY = np.arange(WINDOWS) % 7


def run(seed: int, scale: float, own_noise: float):
    """A system: its curve over the mask rate, noise that it shares with others of this seed, noise of its own."""
    v = StratifiedDesign(RandomStreams(seed), DIFFICULTY, DRAWS).positions
    shared = np.random.default_rng([seed, 1]).normal(0.0, 30.0, v.shape)
    own = np.random.default_rng([seed, 2, int(own_noise)]).normal(0.0, own_noise, v.shape)
    value = scale * (100.0 + 300.0 * v + 40.0 * v**2 + DIFFICULTY[:, None] * (5.0 + 3.0 * v) + shared) + own
    draws = SpanDraws(
        window=np.repeat(np.arange(WINDOWS), DRAWS), sample=np.tile(np.arange(DRAWS), WINDOWS), v=v.ravel(),
        level=v.ravel(), value_nats=value.ravel(), share=np.zeros(0), difficulty=DIFFICULTY.astype(np.float64),
        num_replicates=0, num_passes=1, is_independent=False,
    )  # fmt: skip
    return costs_of(value.mean(axis=1), np.full(WINDOWS, 64.0), relation="~<=", stderr=1.0, draws=draws)


def test_the_error_of_coupled_differences_is_their_spread():
    """Over 150 seeds a spread is known to 6 %: a ratio outside 0.8 .. 1.25 happens to a right one in 1 of 2,000."""
    pairs = [(run(seed, 1.0, 3.0), run(seed, 0.98, 4.0)) for seed in range(SEEDS)]
    deltas = np.array([other.nats - one.nats for one, other in pairs])
    errors = np.array([mask_error(*pair).stderr_nats for pair in pairs])
    assert 0.8 < np.sqrt((errors**2).mean()) / deltas.std(ddof=1) < 1.25
    totals = np.array([one.nats for one, _ in pairs])
    assert deltas.std() < 0.3 * totals.std()  # what the two share has dropped out
