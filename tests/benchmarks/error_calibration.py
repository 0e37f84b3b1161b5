"""Are the errors right? The estimated standard error against the spread of the estimate over seeds, and coverage.

    python -m tests.benchmarks.error_calibration TABLE.npz [TABLE.npz ...]

Each TABLE comes from level_table.py and control_table.py. For each seed the package's design is simulated, and the
package's own error estimator reads the draws, as bpb-eval does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from bpb_harness.sampling.control_variate import subtract_control
from bpb_harness.sampling.design import replicated_windows
from bpb_harness.statistics.standard_errors import Draws, confidence_interval, mc_stderr_nats
from tests.benchmarks.level_simulation import Floats, LevelSimulation, stratified_positions

NUM_STEPS = 128


@dataclass(frozen=True)
class Calibration:
    """What many seeds say of one setting.

    Attributes:
        spread: standard deviation of the total over seeds.
        stderr: (seeds,) the estimated standard errors.
        covered: share of seeds whose 95 % interval holds the true value.
        bias: mean total less the true value, in its own standard errors.
    """

    spread: float
    stderr: Floats
    covered: float
    bias: float

    @property
    def ratio(self) -> float:
        """Root mean square of the estimated errors over the spread."""
        return float(np.sqrt((self.stderr**2).mean()) / self.spread)


def calibrate(
    simulation: LevelSimulation, method: str, num_samples: int, seeds: int, seed: int, *, control: bool
) -> Calibration:
    """Simulate one setting; ``method`` is "mc" or "discrete" (T = 128)."""
    rng = np.random.default_rng([seed, num_samples, method == "mc"])
    count, tokens = len(simulation), simulation.num_tokens
    again = replicated_windows(count if num_samples == 1 else 0)
    window = np.append(np.repeat(np.arange(count), num_samples), again)
    sample = np.append(np.tile(np.arange(num_samples), count), np.ones(len(again), dtype=np.int64))
    totals, stderr, covered = np.empty(seeds), np.empty(seeds), np.empty(seeds, dtype=bool)
    nodes = np.arange(1, NUM_STEPS + 1) / NUM_STEPS if method == "discrete" else None
    truth = simulation.exact_nats(nodes)
    for index in range(seeds):
        v = np.append(stratified_positions(rng, simulation.difficulty, num_samples, 1)[0], rng.random(len(again)))
        level = v if nodes is None else np.ceil(v * NUM_STEPS) / NUM_STEPS
        u = level * simulation.u_max
        nats, own, masked = simulation.size_biased(rng, window, u)
        if control:
            nats = subtract_control(nats, own, u, masked, window, count * num_samples)
        all_draws = Draws(
            window=window, sample=sample, v=v, value_nats=simulation.u_max * tokens[window] * nats, level=level,
            difficulty=simulation.difficulty, num_tokens=tokens, num_bytes=tokens,
        )  # fmt: skip
        weighed = count * num_samples
        draws = _rows(all_draws, slice(weighed))
        if len(again):
            draws = replace(draws, replicates=_rows(all_draws, slice(weighed, None)))
        totals[index], stderr[index] = draws.window_nats.sum(), mc_stderr_nats(draws)
        low, high = confidence_interval(totals[index], stderr[index])
        covered[index] = low <= truth <= high
    spread = float(totals.std(ddof=1))
    return Calibration(spread, stderr, float(covered.mean()), float((totals.mean() - truth) / spread * np.sqrt(seeds)))


def _rows(draws: Draws, rows: slice) -> Draws:
    assert draws.level is not None
    return replace(
        draws, window=draws.window[rows], sample=draws.sample[rows], v=draws.v[rows], level=draws.level[rows],
        value_nats=draws.value_nats[rows],
    )  # fmt: skip


def main(
    tables: list[Path],
    seeds: Annotated[int, typer.Option(help="Simulated runs of each setting.")] = 1000,
    seed: int = 0,
    control: Annotated[bool, typer.Option(help="With the control variate.")] = True,
    samples: Annotated[str, typer.Option(help="Values of K.")] = "1,2,4,8",
) -> None:
    """Print one table for each file."""
    for path in tables:
        simulation = LevelSimulation.load(path)
        scale = float(simulation.num_tokens.sum()) * np.log(2.0)
        report = Table(title=f"{path.name}: {len(simulation)} windows, {seeds} seeds, control variate: {control}")
        for column in (
            "method",
            "K",
            "spread, bits/token",
            "mc_stderr / spread",
            "its own spread",
            "in 95 %",
            "bias/se",
        ):
            report.add_column(column, justify="right")
        for method in ("mc", "discrete"):
            for num_samples in map(int, samples.split(",")):
                found = calibrate(simulation, method, num_samples, seeds, seed, control=control)
                report.add_row(
                    method, str(num_samples), f"{found.spread / scale:.5f}", f"{found.ratio:.3f}",
                    f"{found.stderr.std() / found.stderr.mean():.3f}", f"{100 * found.covered:.1f} %",
                    f"{found.bias:+.1f}",
                )  # fmt: skip
        Console(width=130).print(report)


if __name__ == "__main__":
    typer.run(main)
