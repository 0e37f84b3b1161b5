"""Costs that hang on the mask rate and the window alone: no residual shows their error, which is the design's.

Of each design 100 are drawn. The root mean square of the stated errors is known to a few per cent, the spread of the
totals to 7 %; the stated error must be at least 0.7 of it (four errors below 1: false alarm 3e-5), and where it is the
only error it must be no wild guess either.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from bpb_harness.estimators import Bound, ContinuousBound, DiscreteBound
from bpb_harness.evaluation.draws import plan_draws
from bpb_harness.sampling.design import StratifiedDesign
from bpb_harness.sampling.streams import RandomStreams
from bpb_harness.schedule import CosineMdlm, LogLinear
from bpb_harness.statistics.repeats import spread_of_passes
from bpb_harness.statistics.standard_errors import Draws, mc_stderr_nats
from tests.tiers import some_of

SEEDS = 100
BOUNDS = {
    "4 cosine steps": lambda samples: DiscreteBound(CosineMdlm(), samples, 4),
    "32 steps": lambda samples: DiscreteBound(LogLinear(0.001), samples, 32),
    "continuous": lambda samples: ContinuousBound(LogLinear(), samples),
}


def drawn(bound: Bound, num_windows: int, seed: int, *, lengths_differ: bool) -> Draws:
    """A design of windows whose draws cost what their mask rate, length and difficulty say, and no mask differs."""
    rng = np.random.default_rng(1)
    lengths = rng.integers(1, 20, num_windows) if lengths_differ else np.ones(num_windows, dtype=np.int64)
    hard = rng.normal(3.0, 1.0 if lengths_differ else 0.0, num_windows)
    design = StratifiedDesign(RandomStreams(seed), lengths * hard, bound.num_samples)
    plan = plan_draws(bound, num_windows, design)
    rate = plan.mask_rate
    value = lengths[plan.window] * (1.0 + 2.0 * rate + 1.5 * rate**2) * bound.schedule.max_mask_rate
    return Draws(
        window=plan.window, sample=plan.sample, v=plan.position, value_nats=value, level=rate,
        difficulty=lengths * hard, num_tokens=lengths, num_bytes=2 * lengths,
        level_at=lambda v: bound.mask_rate(torch.from_numpy(v)).numpy(),
    ).parted(plan.num_replicates)  # fmt: skip


@pytest.mark.parametrize("lengths_differ", [False, True], ids=["one length", "lengths differ"])
@pytest.mark.parametrize(("bound", "num_windows", "num_samples"), some_of(
    [("4 cosine steps", 60, 1), ("continuous", 30, 2), ("32 steps", 60, 1), ("4 cosine steps", 100, 2),
     ("continuous", 300, 1), ("32 steps", 30, 2)], everyday=3,
))  # fmt: skip
def test_the_error_of_a_design_is_stated_where_there_is_no_other(bound, num_windows, num_samples, lengths_differ):
    draws = [
        drawn(BOUNDS[bound](num_samples), num_windows, seed, lengths_differ=lengths_differ) for seed in range(SEEDS)
    ]
    spread = float(np.std([math.fsum(each.window_nats) for each in draws], ddof=1))
    stated = math.sqrt(float(np.mean([mc_stderr_nats(each) ** 2 for each in draws[:20]])))
    assert 0.7 < stated / spread < 4.0


def test_passes_state_it_too():
    bound = BOUNDS["4 cosine steps"](1)
    passes = [drawn(bound, 60, seed, lengths_differ=False) for seed in range(SEEDS)]
    totals = [math.fsum(each.window_nats) for each in passes]
    spread = float(np.std(totals, ddof=1)) / math.sqrt(2)
    first, second = passes[:2]
    rows = np.lexsort((np.repeat([0, 1], 60), np.tile(np.arange(60), 2)))

    def both(name: str) -> np.ndarray:
        return np.concatenate([getattr(first, name), getattr(second, name)])[rows]

    merged = Draws(
        window=both("window"), sample=np.tile([0, 1], 60), v=both("v"), value_nats=both("value_nats"),
        level=both("level"), difficulty=first.difficulty, num_tokens=first.num_tokens, num_bytes=first.num_bytes,
        level_at=first.level_at,
    )  # fmt: skip
    assert 0.7 < math.sqrt(spread_of_passes(merged, 2).variance) / spread < 4.0
