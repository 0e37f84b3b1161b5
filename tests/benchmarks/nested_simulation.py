"""Thousands of seeds of both bounds, coupled as the product couples them, from a table of nested masks.

A draw of both bounds has one forced position and one noise, so that the mask of the smaller rate lies in the other. In
nested_table.py each window's tokens are hidden in some random orders. A simulated draw takes one of them; how many of
its tokens are hidden at each rate is drawn anew. So a draw of one bound has the mean and the noise of the network's own
draws, and the difference of two has what nested masks have in common. Positions, control variate and sums are the
product's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import stats

from bpb_harness.estimators import Bound
from bpb_harness.evaluation.draws import DrawTable, plan_draws
from bpb_harness.evaluation.layout import Layout
from bpb_harness.evaluation.sampled_bound import SampledBound
from bpb_harness.sampling.design import StratifiedDesign
from bpb_harness.sampling.streams import RandomStreams
from tests.spans import end_to_end

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_NUM_CLEAN, _BYTES_PER_TOKEN = 512, 3
_GAUSS_NODES = 200


@dataclass(frozen=True)
class NestedSimulation:
    """N windows of L tokens, whose tokens are hidden one after the other.

    Attributes:
        nats: (N, orders, L), C / |M| of the masks of 1 .. L tokens.
        neighbours: (N, orders, L), code length of the same tokens by the neighbours' model, over |M|.
        neighbour_curve: (N, 3), its mean over size-biased masks of rate u is their product with 1, u, u^2.
        difficulty: (N,).
    """

    nats: Floats
    neighbours: Floats
    neighbour_curve: Floats
    difficulty: Ints

    @classmethod
    def load(cls, path: Path | str) -> NestedSimulation:
        """Read a table that nested_table.py wrote."""
        with np.load(path) as table:
            parts = [table[name].astype(np.float64) for name in ("nats", "neighbours", "neighbour_curve")]
            return cls.of(*parts, difficulty=table["difficulty"].astype(np.int64))

    @classmethod
    def of(cls, nats: Floats, neighbours: Floats, neighbour_curve: Floats, difficulty: Ints) -> NestedSimulation:
        """Some orders stand for all: of the neighbours' code lengths they get the mean of all masks of their count."""
        length = nats.shape[2]
        seen = np.arange(length) / (length - 1.0)  # of the other tokens, how many are hidden
        both = seen * (np.arange(length) - 1.0) / (length - 2.0)
        mean = neighbour_curve @ np.stack([np.ones(length), seen, both])
        return cls(
            nats, neighbours - neighbours.mean(axis=1, keepdims=True) + mean[:, None], neighbour_curve, difficulty
        )

    def __len__(self) -> int:
        return len(self.nats)

    @property
    def length(self) -> int:
        """L."""
        return self.nats.shape[2]

    def taken(self, which: Ints) -> NestedSimulation:
        """The text of some of the windows."""
        names = ("nats", "neighbours", "neighbour_curve", "difficulty")
        return replace(self, **{name: getattr(self, name)[which] for name in names})

    def exact_nats(self, bound: Bound) -> float:
        """Total of a bound, without the prior."""
        if bound.method == "discrete":
            rates, weights = (each.numpy() for each in bound.nodes())
        else:  # polynomials of degree L - 1, integrated exactly; the tables are of schedules that begin at rate 0
            nodes, weights = np.polynomial.legendre.leggauss(_GAUSS_NODES)
            most = bound.schedule.max_mask_rate
            rates, weights = most * (nodes + 1.0) / 2.0, most * weights / 2.0
        chance = weights @ stats.binom.pmf(np.arange(self.length), self.length - 1, rates[:, None])
        return float(self.length * (self.nats.mean(axis=1) @ chance).sum())

    def draw(self, bounds: tuple[Bound, Bound], seed: int, num_passes: int = 1) -> tuple[SampledBound, SampledBound]:
        """Two bounds of equal K, the first of which looks at the larger rate of every draw."""
        lengths, count = [self.length] * len(self), len(self)
        layout = Layout(end_to_end(lengths), count, _BYTES_PER_TOKEN * np.array(lengths), True, self.difficulty)
        tables = [self._draw_pass(bounds, seed, index) for index in range(num_passes)]
        one, other = (
            SampledBound(bound, layout, _NUM_CLEAN, [each[which] for each in tables])
            for which, bound in enumerate(bounds)
        )
        return one, other

    def _draw_pass(self, bounds: tuple[Bound, Bound], seed: int, index: int) -> list[DrawTable]:
        streams, rng = RandomStreams(seed, pass_index=index), np.random.default_rng([seed, index, 20])
        assert bounds[0].num_samples != "all"
        design = StratifiedDesign(streams, self.difficulty, bounds[0].num_samples, replicates=index == 0)
        plans = [plan_draws(bound, len(self), design) for bound in bounds]
        order = rng.integers(self.nats.shape[1], size=len(plans[0]))
        others, rate = np.full(len(order), self.length - 1), np.ones(len(order))
        tables = []
        for plan in plans:
            # Of the tokens hidden at the larger rate, each is hidden at the smaller one by their ratio.
            others, rate = rng.binomial(others, np.minimum(plan.mask_rate / rate, 1.0)), plan.mask_rate
            mean = (np.vander(rate, 3, increasing=True) * self.neighbour_curve[plan.window]).sum(axis=1)
            control = self.neighbours[plan.window, order, others] - mean
            tables.append(DrawTable(plan, others + 1, self.nats[plan.window, order, others] * (others + 1), control))
        return tables
