"""Variance of the bound's estimators at equal forward passes: one mask for every window of a corpus.

    python -m tests.benchmarks.estimator_variance TABLE.npz [TABLE.npz ...]

Each TABLE comes from level_table.py. The designs are simulated over thousands of seeds; all of them are unbiased, and
the script checks that they are.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from bpb_harness.sampling.control_variate import subtract_control
from tests.benchmarks.level_simulation import Floats, LevelSimulation, stratified_positions

TRAINER_BATCH = 64
Design = Callable[[LevelSimulation, np.random.Generator, int], Floats]


def iid_positions(simulation: LevelSimulation, rng: np.random.Generator, seeds: int) -> Floats:
    """Independent uniform v, (seeds, N)."""
    return rng.random((seeds, len(simulation)))


def batch_positions(simulation: LevelSimulation, rng: np.random.Generator, seeds: int) -> Floats:
    """As in public trainers: v = (row + e) / B within each batch of B consecutive windows, rows in random order."""
    v = np.empty((seeds, len(simulation)))
    for first in range(0, len(simulation), TRAINER_BATCH):
        size = min(TRAINER_BATCH, len(simulation) - first)
        row = rng.permuted(np.tile(np.arange(size), (seeds, 1)), axis=1)
        v[:, first : first + size] = (row + rng.random((seeds, size))) / size
    return v


def corpus_positions(simulation: LevelSimulation, rng: np.random.Generator, seeds: int) -> Floats:
    """Plain stratification over the corpus: strata in random order, (seeds, N)."""
    return stratified_positions(rng, simulation.difficulty, 1, seeds, ordered=False)[..., 0]


def ordered_positions(simulation: LevelSimulation, rng: np.random.Generator, seeds: int) -> Floats:
    """The package's design: strata by difficulty, (seeds, N)."""
    return stratified_positions(rng, simulation.difficulty, 1, seeds)[..., 0]


def with_textbook_weights(positions: Design) -> Design:
    """C / u over independent masks, nats per token of each window."""

    def draw(simulation: LevelSimulation, rng: np.random.Generator, seeds: int) -> Floats:
        u = positions(simulation, rng, seeds) * simulation.u_max
        return simulation.bernoulli(rng, np.arange(len(simulation)), u)

    return draw


def with_size_biased_masks(positions: Design) -> Design:
    """C / |M| over size-biased masks, nats per token of each window."""

    def draw(simulation: LevelSimulation, rng: np.random.Generator, seeds: int) -> Floats:
        u = positions(simulation, rng, seeds) * simulation.u_max
        return simulation.size_biased(rng, np.arange(len(simulation)), u)[0]

    return draw


def with_fixed_counts(positions: Design) -> Design:
    """C / |M| with the count itself stratified: |M| is the quantile of its distribution over all rates.

    Exact for u_max = 1, where |M| over size-biased masks of uniform rates is uniform on 1 .. L; the share of (0, 1)
    above u_max is 1e-3 or less in the models at hand and is cut off alike.
    """

    def draw(simulation: LevelSimulation, rng: np.random.Generator, seeds: int) -> Floats:
        v = positions(simulation, rng, seeds) * simulation.u_max
        count = np.minimum((v * simulation.num_tokens).astype(np.int64) + 1, simulation.num_tokens)
        return simulation.draw(rng, np.arange(len(simulation)), count)[0]

    return draw


def with_control_variate(positions: Design) -> Design:
    """C / |M| over size-biased masks less the cross-fitted control variate (bpb_harness.sampling.control_variate)."""

    def draw(simulation: LevelSimulation, rng: np.random.Generator, seeds: int) -> Floats:
        u = positions(simulation, rng, seeds) * simulation.u_max
        window = np.arange(len(simulation))
        rows = zip(*simulation.size_biased(rng, window, u), u, strict=True)
        return np.stack([subtract_control(nats, own, rate, count, window) for nats, own, count, rate in rows])

    return draw


DESIGNS: dict[str, Design] = {
    "iid, 1/u": with_textbook_weights(iid_positions),
    f"batch-stratified ({TRAINER_BATCH}), 1/u": with_textbook_weights(batch_positions),
    "corpus-stratified, 1/u": with_textbook_weights(corpus_positions),
    "iid, size-biased": with_size_biased_masks(iid_positions),
    "corpus-stratified, size-biased": with_size_biased_masks(corpus_positions),
    "difficulty-ordered, size-biased (ours)": with_size_biased_masks(ordered_positions),
    "difficulty-ordered, fixed count": with_fixed_counts(ordered_positions),
    "difficulty-ordered, size-biased, control variate": with_control_variate(ordered_positions),
}


def totals(simulation: LevelSimulation, design: Design, seeds: int, seed: int) -> Floats:
    """Total nats of the corpus of many seeds, prior left out, (seeds,)."""
    rng = np.random.default_rng(seed)
    weight = simulation.u_max * simulation.num_tokens
    chunks = []
    while seeds > 0:
        part = min(seeds, 250)
        chunks.append(design(simulation, rng, part) @ weight)
        seeds -= part
    return np.concatenate(chunks)


def main(
    tables: list[Path],
    seeds: Annotated[int, typer.Option(help="Simulated repeats of each design.")] = 5000,
    seed: int = 4,
) -> None:
    """Print one table for each file."""
    for path in tables:
        simulation = LevelSimulation.load(path)
        num_tokens = float(simulation.num_tokens.sum())
        report = Table(title=f"{path.name}: {len(simulation)} windows, 1 mask each, {seeds} seeds")
        for column in ("design", "mean, bits/token", "spread, bits/token", "variance of iid 1/u over this", "+-"):
            report.add_column(column, justify="left" if column == "design" else "right")
        base = 0.0
        for name, design in DESIGNS.items():
            bits = totals(simulation, design, seeds, seed) / num_tokens / np.log(2.0)
            variance = float(bits.var(ddof=1))
            base = base or variance
            ratio = base / variance
            report.add_row(
                name, f"{bits.mean():.4f} +- {bits.std() / np.sqrt(seeds):.4f}", f"{bits.std(ddof=1):.5f}",
                f"{ratio:.1f}", f"{ratio * 2.0 / np.sqrt(seeds):.1f}",
            )  # fmt: skip
        Console(width=130).print(report)


if __name__ == "__main__":
    typer.run(main)
