"""What estimators of the bound, right and wrong, have as their mean on the oracle of the limited process.

An estimator that hides tokens, prices the hidden ones and weighs what it gets has the mean

    offset + sum over masks M of coefficients[M] * C(M),

C(M) being the cost of the tokens hidden by M (MATHS.md, equations 4 to 6; DESIGN of the kit: `testing/formula.py` has
the same sums for networks, in torch). Windows have L = 4 tokens, so that all 16 masks are enumerated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LENGTH = 4
"""Tokens of a window."""

EVERY_MASK = "every mask"
PROBES = (*(f"count {count}" for count in range(1, LENGTH + 1)), EVERY_MASK)
"""What the oracle charges for: masks of one size alone, or every mask by another price."""

_COUNTS = np.array([code.bit_count() for code in range(1 << LENGTH)], dtype=np.float64)


_FINE = 16  # midpoints: a sum over fewer of them is no bound, though it may come near it


@dataclass(frozen=True)
class Mean:
    """The mean of one kind of estimator.

    Attributes:
        name: what it is, as a sentence goes on after "computes".
        coefficients: (2^L,), infinite where the sum over draws diverges.
        offset_nats: the prior term.
        codes: the codes of script checks that say the same.
        is_bound: whether it is a bound, or an estimate of one.
        is_mild: whether the mistake vanishes with long windows or many steps, so that nothing can be said of it here.
    """

    name: str
    coefficients: Floats
    offset_nats: float = 0.0
    codes: tuple[str, ...] = ()
    is_bound: bool = False
    is_mild: bool = False

    def nats(self, costs: Floats) -> float:
        """The mean in nats a window, for the costs of all masks, (2^L,)."""
        used = costs > 0.0
        return float(self.coefficients[used] @ costs[used]) + self.offset_nats


@dataclass(frozen=True)
class Setting:
    """What was seen of a function.

    Attributes:
        vocab_size: V, for the prior term.
        calls: network calls of one call of the function.
        rows: windows of one call, which it may show one by one.
        rates: the fixed mask rates of these calls, ascending, each once; None where they change from call to call.
        levels: what the script calls eps.
    """

    vocab_size: int
    calls: int
    rows: int
    rates: tuple[float, ...] | None
    levels: tuple[float, ...]


@cache
def costs_of(probe: str, num_clean: int, rotation: int) -> Floats:
    """C(M) of every mask, (2^L,) nats; not to be written to.

    Args:
        probe: one of `PROBES`.
        num_clean: ids that the oracle gives a chance.
        rotation: by how many tokens the windows that the function cuts lie behind the text's.
    """
    costs = np.zeros(1 << LENGTH)
    if probe != EVERY_MASK:
        count = int(probe.split()[1])
        costs[count == _COUNTS] = count * math.log(num_clean)
        costs.flags.writeable = False
        return costs
    for code in range(1 << LENGTH):
        for i in range(LENGTH):
            if code >> i & 1:
                logits = [2.0 * math.sin(1.0 + 0.7 * code + 1.3 * i + 2.1 * j) for j in range(LENGTH)]
                total = sum(map(math.exp, logits)) + num_clean - LENGTH
                costs[code] += math.log(total) - logits[(i + rotation) % LENGTH]
    costs.flags.writeable = False
    return costs


def bounds(setting: Setting) -> Iterator[Mean]:
    """The means of right estimators: the continuous bound, T-step bounds, and sums that approach them."""
    for top in _tops(setting):
        offset = (1.0 - top) * LENGTH * math.log(setting.vocab_size)
        yield Mean("the continuous bound", _over(lambda u: 1.0 / u, 0.0, top), offset, is_bound=True)
        for steps in _steps(setting):
            for name, rate in _SCHEDULES.items():
                grid = top * rate(np.arange(steps + 1) / steps)
                right = _sum(grid[1:], np.diff(grid) / grid[1:])
                yield Mean(f"the bound of {steps} steps{name}", right, offset, is_bound=True)
            if steps >= _FINE:
                middle = (np.arange(steps) + 0.5) / steps * top
                by_middles = _sum(middle, top / steps / middle)
                yield Mean(f"the continuous bound by {steps} midpoints", by_middles, offset, is_bound=True)


def mistakes(setting: Setting) -> Iterator[Mean]:
    """The means of estimators that are none of the bound: mistakes seen in public."""
    yield from _continuous_mistakes(setting)
    yield from _stepwise_mistakes(setting)
    if setting.rates is not None:
        yield from _of_fixed_rates(setting.rates)
    even = sum(1 << i for i in range(0, LENGTH, 2))
    for one in (even, (1 << LENGTH // 2) - 1):
        coefficients = np.zeros(1 << LENGTH)
        coefficients[[one, (1 << LENGTH) - 1 - one]] = 1.0
        yield Mean("two passes that condition on each other", coefficients, codes=("BPB265",))
    # Masks of a number drawn uniformly, and what they leave over.
    sizes = np.array([math.comb(LENGTH, int(count)) for count in _COUNTS])
    uniform = np.where(_COUNTS > 0, 1.0 / (LENGTH * sizes), 0.0)
    over = uniform + uniform[::-1] * (_COUNTS > 0)
    yield Mean("two passes that condition on each other", over, codes=("BPB265",))
    single = np.where(_COUNTS == 1, 1.0, 0.0)
    yield Mean("a pseudo-log-likelihood: each token given all others", single, codes=("BPB264",))


def _continuous_mistakes(setting: Setting) -> Iterator[Mean]:
    counts = np.maximum(_COUNTS, 1.0)
    for top in _tops(setting):
        offset = (1.0 - top) * LENGTH * math.log(setting.vocab_size)
        for lowest in (0.0, *setting.levels):
            twice = _over(lambda u: 1.0 / u**2, lowest, top, diverges=1)
            yield Mean("the weight 1/t applied twice", twice, offset, codes=("BPB251", "BPB254"))
        dsigma = _over(lambda u: 1.0 / (1.0 - u), 0.0, top, diverges=LENGTH if top == 1.0 else 0)
        yield Mean("the weight dsigma, 1/(1-t) in place of 1/t", dsigma, offset, codes=("BPB250", "BPB254"))
        missing = _over(lambda u: u**0, 0.0, top)
        yield Mean("no weight: the plain sum of masked cross-entropies", missing, offset, codes=("BPB254",))
        for scale in (1.0, float(LENGTH)):
            both = _over(lambda u: 1.0 / u, 0.0, top) * scale / counts
            name = "the weight 1/t on a mean over the masked tokens"
            yield Mean(name, both, offset, codes=("BPB252", "BPB254"))
        if top < 0.985:
            right = _over(lambda u: 1.0 / u, 0.0, top)
            yield Mean("the bound without its prior term", right, codes=("BPB256",))
        for name, rate in _SCHEDULES.items():
            if name:
                said = "a weight of another schedule than the masks"
                yield Mean(said, _of_times(rate, lambda t: 1.0 / t), offset, codes=("BPB261", "BPB254"))
    for edge in (0.05, 0.1, 0.15, 0.2, 0.25):
        inside = _over(lambda u: 1.0 / u, edge, 1.0 - edge)
        name = f"the integral over mask rates {edge:g} to {1.0 - edge:g} alone"
        yield Mean(name, inside, codes=("BPB257",))
        yield Mean(name + ", averaged", inside / (1.0 - 2.0 * edge), codes=("BPB257",))
    chances = _drawn_half_even()
    sizes = np.array([math.comb(LENGTH, int(count)) for count in _COUNTS])
    half_even = np.where(_COUNTS > 0, chances[_COUNTS.astype(int)] / sizes * LENGTH / counts, 0.0)
    yield Mean("numbers of masked tokens rounded half to even", half_even, codes=("BPB354",), is_mild=True)


def _stepwise_mistakes(setting: Setting) -> Iterator[Mean]:
    counts = np.maximum(_COUNTS, 1.0)
    for steps in _steps(setting):
        for top in _tops(setting):
            offset = (1.0 - top) * LENGTH * math.log(setting.vocab_size)
            grid = top * np.arange(steps + 1) / steps
            rates, widths = grid[1:], np.diff(grid)
            twice = _sum(rates, widths / rates**2)
            yield Mean("the weight 1/t applied twice", twice, offset, codes=("BPB251", "BPB254"))
            yield Mean("no weight: the plain sum of masked cross-entropies", _sum(rates, widths), offset, ("BPB254",))
            for scale in (1.0, float(LENGTH)):
                both = _sum(rates, widths / rates) * scale / counts
                yield Mean("the weight 1/t on a mean over the masked tokens", both, offset, ("BPB252", "BPB254"))
            if top < 1.0 - 1e-6:
                dsigma = _sum(rates, widths / (1.0 - rates))
                yield Mean("the weight dsigma, 1/(1-t) in place of 1/t", dsigma, offset, ("BPB250", "BPB254"))
            if top < 0.985:
                yield Mean("the bound without its prior term", _sum(rates, widths / rates), codes=("BPB256",))
            cleaner = _sum(grid[:-1], widths / rates)
            yield Mean("each step at its cleaner end, which is no bound", cleaner, offset, codes=("BPB260",))
            longer = top * np.arange(1, steps + 2) / (steps + 1)
            dropped = _sum(longer[:-1], top / (steps + 1) / longer[:-1])
            yield Mean("the steps but the last, t = 1", dropped, offset, codes=("BPB259",))
        for lowest in (1e-4, *setting.levels):
            both_ends = np.linspace(lowest, 1.0, steps)
            equal = _sum(both_ends, 1.0 / steps / both_ends)
            yield Mean("equal weights on a grid with both ends", equal, codes=("BPB258",), is_mild=True)


def _of_fixed_rates(rates: Sequence[float]) -> Iterator[Mean]:
    """Sums over the mask rates that were seen, with the weights that scripts give them."""
    u = np.asarray([rate for rate in rates if rate > 0.0])
    if len(u) == 0:
        return
    span = f"mask rates {u[0]:.3g} to {u[-1]:.3g}"
    if len(u) == 1:
        yield Mean(f"a pseudo-log-likelihood at the one mask rate {u[0]:.3g}", _sum(u, 1.0 / u), codes=("BPB264",))
        return
    is_cut = u[0] > 0.02 and u[-1] < 0.985
    weights = {"equal weights": np.full(len(u), 1.0 / len(u)), "trapezoids": _trapezoids(u)}
    for name, width in weights.items():
        twice = f"1/t applied twice, {name} on {len(u)} {span}"
        yield Mean(twice, _sum(u, width / u**2), codes=("BPB251", "BPB252", "BPB254", "BPB257"))
        yield Mean(f"no weight, {name} on {len(u)} {span}", _sum(u, width), codes=("BPB254",))
        if is_cut:
            cut = f"a part of the integral: {name} on {len(u)} {span}"
            yield Mean(cut, _sum(u, width / u), codes=("BPB257",))


def _trapezoids(u: Floats) -> Floats:
    width = np.zeros(len(u))
    width[:-1] += np.diff(u) / 2.0
    width[1:] += np.diff(u) / 2.0
    return width


_SCHEDULES: dict[str, Callable[[Floats], Floats]] = {
    "": lambda t: t,
    " on the schedule cosine-mdlm": lambda t: 1.0 - np.cos(np.pi / 2.0 * t),
    " on the schedule cosine-md4": lambda t: np.sin(np.pi / 2.0 * t),
    " on the schedule t^2": lambda t: t**2,
}


def _tops(setting: Setting) -> list[float]:
    return sorted({1.0, *(1.0 - level for level in setting.levels)}, reverse=True)


def _steps(setting: Setting) -> list[int]:
    found = {setting.calls}
    if setting.rows > 1 and setting.calls % setting.rows == 0:
        found.add(setting.calls // setting.rows)
    if setting.rates is not None:
        found.add(len(setting.rates))
    return sorted(steps for steps in found if steps > 1)


def _sum(rates: Floats, weights: Floats) -> Floats:
    """Sum over j of weights[j] * chance of each mask at rate j, (2^L,)."""
    column = np.asarray(rates, dtype=np.float64)[:, None]
    chance = column**_COUNTS * (1.0 - column) ** (LENGTH - _COUNTS)
    return np.asarray(np.where(_COUNTS > 0, np.asarray(weights) @ chance, 0.0), dtype=np.float64)


@cache
def _nodes() -> tuple[Floats, Floats]:
    node, weight = np.polynomial.legendre.leggauss(200)
    return (node + 1.0) / 2.0, weight / 2.0


def _over(weigh: Callable[[Floats], Floats], low: float, high: float, *, diverges: int = 0) -> Floats:
    """Integral over u of weigh(u) times the chance of each mask; infinite at masks of ``diverges`` tokens."""
    node, weight = _nodes()
    # Nodes in log u where the weight is steep at the low end.
    if low > 0.0:
        u = low * (high / low) ** node
        scale = weight * u * math.log(high / low)
    else:
        u, scale = high * node, weight * high
    coefficients = _sum(u, scale * weigh(u))
    if diverges and (low == 0.0 or diverges == LENGTH):
        coefficients[diverges == _COUNTS] = math.inf
    return coefficients


def _of_times(rate: Callable[[Floats], Floats], weigh: Callable[[Floats], Floats]) -> Floats:
    """Masks at rate(t), weight of t, t uniform."""
    node, weight = _nodes()
    return _sum(rate(node), weight * weigh(node))


@cache
def _drawn_half_even() -> Floats:
    edges = np.linspace(0.0, 1.0, 80_001)
    drawn = np.maximum(np.round((edges[:-1] + edges[1:]) / 2.0 * LENGTH), 1.0).astype(int)
    return np.bincount(drawn, minlength=LENGTH + 1) / len(drawn)
