"""``--tolerance``: pilot draws, which enter no total, fix the number of passes before any draw that does is made.

They are passes of the very design over some windows of the text, in a range of pass numbers of their own, and draws
from both ends of the mask rates, where costs are most unlike others and hardly ever drawn.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import final

import numpy as np
import numpy.typing as npt
import torch

from bpb_harness.estimators import Bound
from bpb_harness.evaluation.batches import DrawPlan, Source
from bpb_harness.evaluation.draws import DrawTable, plan_draws
from bpb_harness.evaluation.layout import Layout
from bpb_harness.evaluation.sampled_bound import SampledBound
from bpb_harness.sampling.design import MIN_WINDOWS_REPLICATED, StratifiedDesign
from bpb_harness.sampling.streams import RandomStreams
from bpb_harness.statistics.grid_error import MIN_NODES
from bpb_harness.statistics.rare_costs import DrawnCosts, TypicalCosts
from bpb_harness.statistics.repeats import MIN_STRATA, passes_for
from bpb_harness.text.spans import Spans

Ints = npt.NDArray[np.int64]

FIRST_PILOT_PASS = 1 << 31  # pass numbers of pilots, in streams and in files of draws
MIN_WINDOWS = 128
_WINDOWS_ONE_IN = 64
_DRAWS_ALOFT = 256
_MAX_PASSES = 32
_DRAWS_AT_AN_END = 32
_TOKENS_AT_AN_END = 4  # the mask rates below this over L: some 98 % of all masks of one token
_SHORTEST_WITH_ENDS = 16


@final
@dataclass(frozen=True)
class PilotPass:
    """One pass of the pilot: where its noise comes from, its number, and its draws."""

    index: int
    plan: DrawPlan


@final
@dataclass(frozen=True)
class PilotPlan:
    """What the pilot draws.

    Attributes:
        bound: the headline's.
        windows: which it looks at, ascending.
        passes: of the design over these windows; two at least.
        ends: draws from the lowest and from the highest mask rates; none of short windows, or of every node of a grid.
        end_probability: how much of all draws lies at each end.
    """

    bound: Bound
    windows: Ints
    passes: tuple[PilotPass, ...]
    ends: tuple[PilotPass, ...]
    end_probability: float

    @classmethod
    def of(cls, bound: Bound, seed: int, layout: Layout) -> PilotPlan:
        """Lay out the pilot of a bound over a text of some windows."""
        lengths, difficulty = layout.lengths, layout.difficulty
        count = min(len(lengths), max(MIN_WINDOWS, len(lengths) // _WINDOWS_ONE_IN))
        per_window = len(bound.nodes()[0]) if bound.num_samples == "all" else bound.num_samples
        if bound.num_samples == "all":  # many draws of each window tell as much
            count = min(count, max(_DRAWS_ALOFT // per_window, 16))
        windows = _evenly(layout.spans, count)
        count = len(windows)
        number = int(np.clip(-(-_DRAWS_ALOFT // (count * per_window)), 2, _MAX_PASSES))
        passes = tuple(
            _pilot_pass(bound, seed, FIRST_PILOT_PASS + index, windows, difficulty) for index in range(number)
        )
        longest = int(lengths.max())
        if longest < _SHORTEST_WITH_ENDS or bound.num_samples == "all":
            return cls(bound, windows, passes, (), 0.0)
        probability = _TOKENS_AT_AN_END / longest
        among = np.flatnonzero(lengths == longest)
        ends = tuple(
            _end_pass(bound, seed, FIRST_PILOT_PASS + number + is_high, among, probability, is_high=bool(is_high))
            for is_high in (0, 1)
        )
        return cls(bound, windows, passes, ends, probability)

    def num_tokens(self, source: Source) -> int:
        """Tokens that go through the network."""
        return sum(source.num_tokens(part.plan, np.arange(len(part.plan))) for part in self.passes + self.ends)


def _evenly(spans: Spans, count: int) -> Ints:
    """Spans evenly over the text, so many or a few more: of a window all blocks or none, for a call may take all."""
    _, window = np.unique(spans.context_starts, return_inverse=True)
    total = int(window.max()) + 1
    some = min(-(-count * total // len(spans)), total)
    return np.flatnonzero(np.isin(window, np.arange(some) * total // some))


def _pilot_pass(bound: Bound, seed: int, index: int, windows: Ints, difficulty: Ints) -> PilotPass:
    design = None
    if bound.num_samples != "all":
        streams = RandomStreams(seed, pass_index=index)
        design = StratifiedDesign(streams, difficulty[windows], bound.num_samples, replicates=False)
    plan = plan_draws(bound, len(windows), design)
    return PilotPass(index, replace(plan, window=windows[plan.window]))


def _end_pass(bound: Bound, seed: int, index: int, among: Ints, probability: float, *, is_high: bool) -> PilotPass:
    """Draws of windows evenly over the text, stratified over the outermost mask rates."""
    place = np.arange(_DRAWS_AT_AN_END)
    inside = (place + RandomStreams(seed, pass_index=index).jitter(place)) / _DRAWS_AT_AN_END * probability
    position = 1.0 - inside + np.finfo(np.float64).tiny if is_high else inside
    mask_rate = bound.mask_rate(torch.from_numpy(position)).numpy()
    window = among[place * len(among) // _DRAWS_AT_AN_END]
    return PilotPass(index, DrawPlan(window, place, position, mask_rate, np.full(len(place), 1.0 / len(place))))


@final
@dataclass(frozen=True)
class Pilot:
    """What the pilot found.

    Attributes:
        plan: what was drawn.
        sampled: the bound over its own windows, as its passes say.
        end_tables: the draws of its ends.
    """

    plan: PilotPlan
    sampled: SampledBound
    end_tables: tuple[DrawTable, ...]

    @classmethod
    def drawn(
        cls, plan: PilotPlan, layout: Layout, num_clean_tokens: int, run: Callable[[PilotPass], DrawTable]
    ) -> Pilot:
        """Run what was planned; windows of its passes are counted among its own from here on."""

        def among_its_own(table: DrawTable) -> DrawTable:
            return replace(table, plan=replace(table.plan, window=np.searchsorted(plan.windows, table.plan.window)))

        passes = [among_its_own(run(part)) for part in plan.passes]
        sampled = SampledBound(plan.bound, layout.take(plan.windows), num_clean_tokens, passes)
        return cls(plan, sampled, tuple(map(run, plan.ends)))

    @property
    def _tables(self) -> list[DrawTable]:
        return [*self.sampled.passes, *self.end_tables]

    @property
    def num_draws(self) -> int:
        """Of all kinds."""
        return sum(len(table.plan) for table in self._tables)

    @property
    def num_forward_tokens(self) -> int:
        """Tokens that went through the network in this run."""
        return sum(table.num_forward_tokens for table in self._tables)

    @property
    def costs(self) -> DrawnCosts:
        """Of the masks of its passes."""
        return self.sampled.table.costs

    @property
    def ends(self) -> tuple[DrawnCosts, ...]:
        """Of the masks at the ends."""
        return tuple(replace(table.costs, probability=self.plan.end_probability) for table in self.end_tables)

    def variance_of_a_pass(self, lengths: Ints) -> float:
        """Of one pass's total over the whole text, whose windows are that long, nats squared."""
        bound, squares, spread = self.plan.bound, float((lengths.astype(np.float64) ** 2).sum()), self.sampled.spread
        own = float((self.sampled.layout.lengths.astype(np.float64) ** 2).sum())
        variance = spread.variance * spread.num_passes * squares / own
        if not self.end_tables:
            return variance
        assert bound.num_samples != "all"
        typical = TypicalCosts.of(self.costs, math.log(max(self.sampled.num_clean_tokens, 2)))
        at_ends = sum(end.probability * float((typical.excess(end) ** 2).mean()) for end in self.ends)
        least = at_ends * squares * bound.schedule.max_mask_rate**2 / bound.num_samples
        # What the ends alone add up to is met by few of the passes' draws, if by any.
        return variance + least if least > variance else variance

    def num_passes(self, half_width_nats: float, variance: float, num_windows: int) -> int:
        """How many passes make half of the interval as narrow as that."""
        bound = self.plan.bound
        per_window = len(self.sampled.passes[0].plan) // len(self.plan.windows)
        match bound.num_samples:
            case "all":
                knows_itself = per_window >= MIN_NODES
            case 1:
                knows_itself = num_windows >= MIN_WINDOWS_REPLICATED
            case _:
                knows_itself = num_windows * per_window >= MIN_STRATA
        fewest = 1 if knows_itself else 2
        return passes_for(half_width_nats, self.sampled.spread, variance, num_windows, per_window, fewest=fewest)
