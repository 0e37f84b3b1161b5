"""Mistakes seen in public estimators, as formulas for the mean that they have instead.

When an estimator fails, its measured means are compared with those that each known mistake would have on the same
denoisers; the one that fits gives the diagnosis.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import final

import numpy as np
import numpy.typing as npt
import torch

from bpb_harness.schedule import SCHEDULES, NoiseSchedule, parse_schedule
from bpb_harness.testing.formula import (
    Formula,
    bernoulli,
    bound,
    counts_of_masks,
    diffusion,
    drawn_times,
    gauss,
    over_rates,
    prior,
    rate,
    rate_slope,
    reconstruction,
)
from bpb_harness.testing.loss_weight import DSIGMA
from bpb_harness.testing.probes import Costs, Probe
from bpb_harness.units import NATS_PER_BIT

Floats = npt.NDArray[np.float64]

MASK_IN_SOFTMAX = "[MASK] left in the softmax: every masked token pays for a token that cannot occur"


@final
@dataclass(frozen=True)
class Setting:
    """What the estimator under test is meant to estimate."""

    schedule: NoiseSchedule
    num_steps: int | None
    vocab_size: int
    length: int
    special_positions: tuple[int, ...] = ()
    time_conditioned: bool = False


@final
@dataclass(frozen=True)
class KnownMistake:
    """A diagnosis and the mean it predicts.

    Attributes:
        diagnosis: what was done, in words.
        mean_nats: (probe) -> (B,) predicted mean of each window.
        diverges: whether the mean is infinite on some denoisers, where a sample then only shows "far too high".
        looser: whether the result is still a valid bound.
    """

    diagnosis: str
    mean_nats: Callable[[Probe], Floats] = field(repr=False)
    diverges: bool = False
    looser: bool = False


def known_mistakes(setting: Setting) -> Iterator[KnownMistake]:
    """Every mistake that can be told apart in this setting, the likeliest explanation of a tie first."""
    for group in (_terms, _units, _weights, _grids, _ranges, _schedules, _masks, _invalid_schemes, _denoiser_reads):
        yield from group(setting)


def _from_formula(diagnosis: str, formula: Formula, costs: Costs = "exact", **flags: bool) -> KnownMistake:
    return KnownMistake(diagnosis, lambda probe: formula.mean_nats(probe, costs), **flags)


def _correct(s: Setting) -> Formula:
    return bound(s.schedule, s.length, s.vocab_size, s.num_steps)


def _beside_diffusion(s: Setting) -> Formula:
    return reconstruction(s.schedule, s.length) + prior(s.schedule, s.length, s.vocab_size)


def _drawn(times: Floats, chance: Floats, rates: Floats, weight: Floats, length: int) -> Formula:
    """Mean of weight * C; ``weight`` is (J,) or (J, 2^L)."""
    per_mask = weight if weight.ndim == 2 else weight[:, None]
    return Formula(times, chance[:, None] * per_mask * bernoulli(rates, length))


def _terms(s: Setting) -> Iterator[KnownMistake]:
    inner = diffusion(s.schedule, s.length, s.num_steps)
    if s.schedule.max_mask_rate < 1.0 - 1e-9:
        rest = reconstruction(s.schedule, s.length)
        yield _from_formula("prior term alpha(1) L ln V left out although alpha(1) > 0", inner + rest)
    if s.schedule.min_mask_rate > 1e-9:
        rest = prior(s.schedule, s.length, s.vocab_size)
        yield _from_formula("reconstruction term left out although alpha(0) < 1", inner + rest)
        if s.schedule.max_mask_rate < 1.0 - 1e-9:
            yield _from_formula("prior and reconstruction terms left out", inner)


def _units(s: Setting) -> Iterator[KnownMistake]:
    right = _correct(s)
    yield _from_formula("nats per token returned where nats per window are asked for", right.times(1.0 / s.length))
    yield _from_formula("bits returned where nats are asked for", right.times(1.0 / NATS_PER_BIT))


def _weights(s: Setting) -> Iterator[KnownMistake]:
    times, chance, rates, weight = drawn_times(s.schedule, s.num_steps)
    counts = np.maximum(counts_of_masks(s.length), 1.0)
    rest = _beside_diffusion(s)

    def drawn(w: Floats) -> Formula:
        return _drawn(times, chance, rates, w, s.length) + rest

    visible = np.maximum(1.0 - rates, 1e-12)
    yield _from_formula(
        DSIGMA,
        drawn(weight * rates / visible), diverges=True,
    )  # fmt: skip
    yield _from_formula("1/t applied twice", drawn(weight / rates), diverges=True)
    per_count = weight[:, None] / counts
    divided = "sum over masked tokens divided by the number masked and weighted 1/t as well"
    yield _from_formula(divided, drawn(per_count))
    yield _from_formula(divided, drawn(per_count * s.length), diverges=True)
    yield _from_formula("no weight: the plain sum of masked cross-entropies", drawn(weight * rates))
    mean_of_masked = (weight * rates)[:, None] * (s.length / counts)
    yield _from_formula(
        "mean over the masked tokens of Bernoulli masks: a draw that masks nothing scores nothing",
        drawn(mean_of_masked),
    )
    yield _from_formula(
        "mean over the masked tokens of Bernoulli masks, in nats per token where nats per window are asked for",
        drawn(mean_of_masked / s.length),
    )


def _grids(s: Setting) -> Iterator[KnownMistake]:
    rest = _beside_diffusion(s)
    if s.num_steps is None:
        if s.schedule.max_mask_rate > 0.5:
            for num_steps in (4, 8, 16, 32):
                name = f"the T-step bound (T = {num_steps}) returned where the continuous bound is asked for"
                yield _from_formula(name, diffusion(s.schedule, s.length, num_steps) + rest)
        return
    name = "the continuous bound returned where the T-step bound is asked for"
    yield _from_formula(name, diffusion(s.schedule, s.length, None) + rest)
    grid = s.schedule.grid(s.num_steps).numpy()
    steps = np.diff(grid)
    last_dropped = "t = 1 dropped from the grid (or masks of the cleaner end of each step, which is the same sum)"
    dropped = over_rates(s.schedule, s.length, grid[1:-1], steps[:-1])
    yield _from_formula(last_dropped, dropped + rest)
    if s.num_steps > 1:
        rescaled = dropped.times(s.num_steps / (s.num_steps - 1.0))
        yield _from_formula(last_dropped, rescaled + rest)
    both_ends = "equal weights on a grid with both end points (T + 1 points share the weight of T)"
    both = over_rates(s.schedule, s.length, grid[1:], steps).times(s.num_steps / (s.num_steps + 1.0))
    yield _from_formula(both_ends, both + rest)
    times = np.arange(1, s.num_steps + 1) / s.num_steps
    continuous_weight = rate_slope(s.schedule, times) / grid[1:]
    ends = _drawn(times, np.full(s.num_steps, 1.0 / (s.num_steps + 1)), grid[1:], continuous_weight, s.length)
    yield _from_formula(both_ends, ends + rest)
    cleaner = "the cleaner end of each step: masks of rate u_{i-1} where the model sees u_i"
    clean_times = times - 1.0 / s.num_steps
    uniform = np.full(s.num_steps, 1.0)
    yield _from_formula(cleaner, _drawn(clean_times, uniform, grid[:-1], steps / grid[1:], s.length) + rest)


def _ranges(s: Setting) -> Iterator[KnownMistake]:
    if s.num_steps is not None:
        return
    node, node_weight = gauss(48)
    for edge in (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25):
        low, high = edge, 1.0 - edge
        times = low + (high - low) * (node + 1.0) / 2.0
        rates = rate(s.schedule, times)
        inside = over_rates(
            s.schedule, s.length, rates, rate_slope(s.schedule, times) * node_weight * (high - low) / 2.0
        )
        name = f"integral over t in [{low:g}, {high:g}] only"
        yield _from_formula(name, inside + _beside_diffusion(s))
        yield _from_formula(
            name + ", averaged instead of integrated", inside.times(1.0 / (high - low)) + _beside_diffusion(s)
        )


def _schedules(s: Setting) -> Iterator[KnownMistake]:
    times, chance, rates, weight = drawn_times(s.schedule, s.num_steps)
    rest = _beside_diffusion(s)
    for name in SCHEDULES:
        other = parse_schedule(name)
        if type(other) is type(s.schedule):
            continue
        other_rates, other_weight = drawn_times(other, s.num_steps)[2:]
        said = "masks and loss weights of different schedules"
        yield _from_formula(
            f"{said}: masks of {name}, weights of {s.schedule}",
            _drawn(times, chance, other_rates, weight, s.length) + rest, diverges=True,
        )  # fmt: skip
        yield _from_formula(
            f"{said}: masks of {s.schedule}, weights of {name}",
            _drawn(times, chance, rates, other_weight, s.length) + rest, diverges=True,
        )  # fmt: skip
        if s.num_steps is not None:
            yield _from_formula(
                f"loss of {name} where {s.schedule} is asked for",
                bound(other, s.length, s.vocab_size, s.num_steps),
            )


def _by_count(length: int, chance_of_count: Floats) -> Formula:
    """Mean of (L / k) C where k masked positions are drawn with the given chances, (L + 1,)."""
    counts = counts_of_masks(length).astype(np.int64)
    sizes = np.bincount(counts, minlength=length + 1)
    coefficients = chance_of_count[counts] / sizes[counts] * length / np.maximum(counts, 1)
    return Formula(np.zeros(1), np.where(counts > 0, coefficients, 0.0)[None, :])


def _masks(s: Setting) -> Iterator[KnownMistake]:
    if s.num_steps is None and not s.time_conditioned:
        name = "number of masked tokens drawn by rounding half to even: 1 .. L are not equally likely"
        edge = torch.linspace(0, 1, 200_001, dtype=torch.float64)
        drawn = torch.round((edge[:-1] + edge[1:]) / 2 * s.length).long()
        chance = np.bincount(drawn.numpy(), minlength=s.length + 1) / len(drawn)
        yield _from_formula(name, _by_count(s.length, chance))
        clamped = chance.copy()
        clamped[1] += clamped[0]
        yield _from_formula(name + " (and 0 became 1)", _by_count(s.length, clamped))
        floor = np.append(np.full(s.length, 1.0 / s.length), 0.0)
        yield _from_formula("number of masked tokens drawn from 0 .. L - 1", _by_count(s.length, floor))
        zero_to_all = np.full(s.length + 1, 1.0 / (s.length + 1))
        yield _from_formula("number of masked tokens drawn from 0 .. L", _by_count(s.length, zero_to_all))
    times, chance_of_time, rates, weight = drawn_times(s.schedule, s.num_steps)
    forced = _drawn(times, chance_of_time, rates, weight, s.length)
    counts = counts_of_masks(s.length)
    extra = np.where(counts == 1, (chance_of_time * weight * (1.0 - rates) ** s.length)[:, None] / s.length, 0.0)
    yield _from_formula(
        "one token forced into every empty mask, at small t too: E[C] no longer falls with t",
        forced + Formula(times, extra) + _beside_diffusion(s), diverges=True,
    )  # fmt: skip
    if s.special_positions:
        yield _unpaid_specials(s)


def _unpaid_specials(s: Setting) -> KnownMistake:
    times, chance, rates, weight = drawn_times(s.schedule, s.num_steps)
    special = sum(1 << position for position in s.special_positions)
    codes = np.arange(1 << s.length)
    others = s.length - len(s.special_positions)
    counts = counts_of_masks(s.length)
    column = rates[:, None]
    masks = np.where(codes & special == 0, column**counts * (1.0 - column) ** np.maximum(others - counts, 0), 0.0)
    formula = Formula(times, (chance * weight)[:, None] * masks)
    return _from_formula("special tokens never masked and never paid", formula + _beside_diffusion(s))


def _invalid_schemes(s: Setting) -> Iterator[KnownMistake]:
    counts = counts_of_masks(s.length)
    codes = np.arange(1 << s.length)
    one_by_one = np.where(counts == 1, 1.0, 0.0)[None, :]
    name = "pseudo-log-likelihood: each token given all the others"
    yield _from_formula(name, Formula(np.zeros(1), one_by_one))
    for mask_rate in (0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5):
        masks = bernoulli(np.array([mask_rate]), s.length)
        name = f"pseudo-log-likelihood at the one mask rate {mask_rate:g}"
        yield _from_formula(name, Formula(np.array([mask_rate]), masks / mask_rate))
        yield _from_formula(name, Formula(np.array([mask_rate]), masks * s.length / np.maximum(counts, 1.0)))
    even = sum(1 << position for position in range(0, s.length, 2))
    odd = ((1 << s.length) - 1) ^ even
    first_half = (1 << (s.length // 2)) - 1
    second_half = ((1 << s.length) - 1) ^ first_half
    for one, two in ((even, odd), (first_half, second_half)):
        circular = np.where((codes == one) | (codes == two), 1.0, 0.0)[None, :]
        yield _from_formula("two passes that condition on each other: not decodable", Formula(np.zeros(1), circular))
    joint = "masked tokens priced jointly{}, under the weight 1/t of tokens priced one by one"
    yield _from_formula(joint.format(""), _correct(s), "joint")
    yield _from_formula(joint.format(" in pairs"), _correct(s), "joint pairs")
    yield from _best_of_several(s)


def _best_of_several(s: Setting) -> Iterator[KnownMistake]:
    times, chance, rates, weight = drawn_times(s.schedule, s.num_steps)
    masks = bernoulli(rates, s.length)
    offset = prior(s.schedule, s.length, s.vocab_size).offset_nats

    numbers = (2, 3, 4, 5, 8, 10, 16)

    @cache
    def means_of_smallest(probe: Probe) -> dict[int, Floats]:
        """Of so many draws, for every window: the draws of a window are sorted once."""
        costs = probe.masked_costs(times)
        probability = (chance[:, None] * masks).ravel()
        means = {draws: np.empty(costs.shape[1]) for draws in numbers}
        for window in range(costs.shape[1]):
            if window and np.array_equal(costs[:, window], costs[:, window - 1]):  # the same text
                for each in means.values():
                    each[window] = each[window - 1]
                continue
            values = (weight[:, None] * costs[:, window]).ravel()
            order = np.argsort(values)
            at_least = np.minimum(np.cumsum(probability[order][::-1])[::-1], 1.0)
            above_the_last = np.diff(values[order], prepend=0.0)
            for draws in numbers:
                means[draws][window] = float(above_the_last @ at_least**draws) + offset
        return means

    for draws in numbers:
        yield KnownMistake(
            f"the best of {draws} seeds: the smallest of several draws is not their mean",
            lambda probe, draws=draws: means_of_smallest(probe)[draws],  # type: ignore[misc]
        )


def _denoiser_reads(s: Setting) -> Iterator[KnownMistake]:
    right = _correct(s)
    yield _from_formula(MASK_IN_SOFTMAX, right, "mask column", looser=True)
    yield _from_formula("log-softmax in bfloat16", right, "bfloat16")
    yield _from_formula("softmax applied twice: probabilities handed to what expects logits", right, "softmax twice")
    if not s.time_conditioned:
        return
    schedule = s.schedule

    def told(name: str, seen: Callable[[Floats], Floats]) -> KnownMistake:
        formula = Formula(seen(right.told), right.coefficients, right.offset_nats)
        return _from_formula(f"the denoiser is told {name} instead of the time t of the masks", formula)

    yield told("the mask rate 1 - alpha(t)", lambda t: rate(schedule, t))
    yield told("alpha(t)", lambda t: 1.0 - rate(schedule, t))
    yield told("1 - t", lambda t: 1.0 - t)
    yield told("t = 0", np.zeros_like)
    yield told("t = 1", np.ones_like)
