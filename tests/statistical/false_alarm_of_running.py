"""How often is a right scoring function called wrong? Counts what docs/script-checks.md says of running scripts.

    python -m tests.statistical.false_alarm_of_running [--checks 500]

Right estimators of several shapes are drawn with numpy on the oracle's costs, with the fewest calls that the limited
process makes, and judged as its replies are. "called wrong" is what would refute a record.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bpb_harness.auditing.script.running.known_means import LENGTH, PROBES, Setting, costs_of
from bpb_harness.auditing.script.running.measured import Measured, all_bounds, all_mistakes, are_excluded, fits

V, ROWS, CALLS = 512, 64, 12
Floats = NDArray[np.float64]
Shape = Callable[[Floats, np.random.Generator], Floats]


def _hidden(rate: Floats, generator: np.random.Generator) -> NDArray[np.int64]:
    """Masks, as their places in the table of costs, of rates (..., 1)."""
    covered = generator.random((*rate.shape[:-1], LENGTH)) < rate
    return np.asarray((covered * (1 << np.arange(LENGTH))).sum(axis=-1), dtype=np.int64)


def independent_times(costs: Floats, generator: np.random.Generator) -> Floats:
    t = 1.0 - generator.random((CALLS, ROWS, 1))
    return np.asarray(costs[_hidden(t, generator)] / t[..., 0], dtype=np.float64)


def one_time_for_the_batch(costs: Floats, generator: np.random.Generator) -> Floats:
    t = np.broadcast_to(1.0 - generator.random((CALLS, 1, 1)), (CALLS, ROWS, 1))
    return np.asarray(costs[_hidden(t, generator)] / t[..., 0], dtype=np.float64)


def stratified_times(costs: Floats, generator: np.random.Generator) -> Floats:
    t = 1.0 - (np.arange(ROWS)[None, :, None] + generator.random((CALLS, ROWS, 1))) / ROWS
    return np.asarray(costs[_hidden(t, generator)] / t[..., 0], dtype=np.float64)


def fixed_count(costs: Floats, generator: np.random.Generator) -> Floats:
    count = generator.integers(1, LENGTH + 1, (CALLS, ROWS, 1))
    covered = generator.random((CALLS, ROWS, LENGTH)).argsort(axis=-1).argsort(axis=-1) < count
    code = (covered * (1 << np.arange(LENGTH))).sum(axis=-1)
    return np.asarray(costs[code] * LENGTH / count[..., 0], dtype=np.float64)


def eight_steps(costs: Floats, generator: np.random.Generator) -> Floats:
    total = np.zeros((CALLS, ROWS))
    for i in range(1, 9):
        total += costs[_hidden(np.full((CALLS, ROWS, 1), i / 8), generator)] / i
    return total


SHAPES: dict[str, tuple[Shape, int, tuple[float, ...] | None]] = {
    "independent times, weight 1/t": (independent_times, 1, None),
    "one time for the batch": (one_time_for_the_batch, 1, None),
    "stratified times": (stratified_times, 1, None),
    "fixed count": (fixed_count, 1, None),
    "8 steps": (eight_steps, 8, tuple(i / 8 for i in range(1, 9))),
}


def measured(shape: Shape, calls: int, rates: tuple[float, ...] | None, seed: int) -> Measured:
    """One function of a shape, on all probes."""
    generator = np.random.default_rng(seed)
    per_call = [shape(costs_of(probe, V, 0), generator).mean(axis=1, keepdims=True) for probe in PROBES]
    return Measured(
        means=tuple(one.mean(axis=0) for one in per_call),
        errors=tuple(one.std(axis=0, ddof=1) / np.sqrt(CALLS) for one in per_call),
        rows=ROWS, num_clean=V, rotation=0, setting=Setting(V, calls, ROWS, rates, (1e-3,)), bytes_per_window=11,
        unmasked=(), boundary=None, has_frozen_noise=False,
    )  # fmt: skip


def outcomes(name: str, checks: int) -> tuple[int, int]:
    """How many checks call a shape right, and how many call it wrong."""
    shape, calls, rates = SHAPES[name]
    right = wrong = 0
    for seed in range(checks):
        one = measured(shape, calls, rates, seed)
        bounds = all_bounds(one)
        if any(fits(one, bounds)):
            right += 1
        elif are_excluded(one, bounds) and any(fits(one, [m for m in all_mistakes(one) if not m.is_mild])):
            wrong += 1
    return right, wrong


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checks", type=int, default=500)
    checks = parser.parse_args().checks
    print("| right estimator | checks | called right | called wrong |\n|---|---|---|---|")
    for name in SHAPES:
        right, wrong = outcomes(name, checks)
        print(f"| {name} | {checks} | {right} | {wrong} |")


if __name__ == "__main__":
    main()
