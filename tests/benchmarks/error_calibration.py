"""Are the errors right? The estimated standard error against the spread of the estimate over seeds, and coverage.

    python -m tests.benchmarks.error_calibration TABLE.npz [TABLE.npz ...]

Each TABLE comes from level_table.py and control_table.py. For each seed the package's design is simulated, and the
package's own error estimator reads the draws, as bpb-eval does. Of a table of nested_table.py the gap between the
bounds of T steps and of continuous time is simulated, as ``--compare`` measures it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from bpb_harness.estimators import ContinuousBound, DiscreteBound
from bpb_harness.sampling.control_variate import subtract_control
from bpb_harness.sampling.design import replicated_windows
from bpb_harness.schedule import NoiseSchedule, parse_schedule
from bpb_harness.statistics.differences import paired_gap
from bpb_harness.statistics.standard_errors import Draws, confidence_interval, mc_stderr_nats
from tests.benchmarks.level_simulation import Floats, LevelSimulation, stratified_positions
from tests.benchmarks.nested_simulation import NestedSimulation

NUM_STEPS = 128
LOGLINEAR = parse_schedule("loglinear[0.001]")


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
    totals, stderr = np.empty(seeds), np.empty(seeds)
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
    return _summary(totals, stderr, truth)


def calibrate_gap(
    simulation: NestedSimulation,
    num_steps: int,
    num_samples: int,
    seeds: int,
    seed: int,
    *,
    num_passes: int = 1,
    schedule: NoiseSchedule = LOGLINEAR,
) -> Calibration:
    """Simulate the gap between the bounds of T steps and of continuous time, seeds ``seed`` and those after it."""
    bounds = (DiscreteBound(schedule, num_samples, num_steps), ContinuousBound(schedule, num_samples))
    totals, stderr = np.empty(seeds), np.empty(seeds)
    for index in range(seeds):
        discrete, continuous = simulation.draw(bounds, seed + index, num_passes)
        totals[index], stderr[index] = paired_gap(discrete.draws, continuous.draws, num_passes)
    return _summary(totals, stderr, simulation.exact_nats(bounds[0]) - simulation.exact_nats(bounds[1]))


def _summary(totals: Floats, stderr: Floats, truth: float) -> Calibration:
    low, high = np.array([confidence_interval(*each) for each in zip(totals, stderr, strict=True)]).T
    spread, covered = float(totals.std(ddof=1)), float(((low <= truth) & (truth <= high)).mean())
    return Calibration(spread, stderr, covered, float((totals.mean() - truth) / spread * np.sqrt(len(totals))))


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
    steps: Annotated[str, typer.Option(help="Values of T, of gaps.")] = "4,8,16,32,64,128",
    windows: Annotated[str, typer.Option(help="Numbers of windows, of gaps; the table's are repeated.")] = "24,60,120",
) -> None:
    """Print one table for each file."""
    several = _ints(samples)
    for path in tables:
        with np.load(path) as stored:
            is_nested = "neighbours" in stored.files
        report = Table(title=f"{path.name}: {seeds} seeds, control variate: {control or is_nested}")
        columns = ("spread, bits/token", "stderr / spread", "its own spread", "in 95 %", "bias/se")
        for column in ("windows", "T" if is_nested else "method", "K", *columns):
            report.add_column(column, justify="right")
        if is_nested:
            nested = NestedSimulation.load(path)
            for count, num_steps, num_samples in product(_ints(windows), _ints(steps), several):
                some = nested.taken(np.arange(count) % len(nested))
                found = calibrate_gap(some, num_steps, num_samples, seeds, seed)
                report.add_row(str(count), str(num_steps), str(num_samples), *_cells(found, count * some.length))
        else:
            simulation = LevelSimulation.load(path)
            for method, num_samples in product(("mc", "discrete"), several):
                found = calibrate(simulation, method, num_samples, seeds, seed, control=control)
                cells = _cells(found, int(simulation.num_tokens.sum()))
                report.add_row(str(len(simulation)), method, str(num_samples), *cells)
        Console(width=130).print(report)


def _ints(listed: str) -> list[int]:
    return [int(each) for each in listed.split(",")]


def _cells(found: Calibration, num_tokens: int) -> list[str]:
    return [
        f"{found.spread / (num_tokens * np.log(2.0)):.5f}", f"{found.ratio:.3f}",
        f"{found.stderr.std() / found.stderr.mean():.3f}", f"{100 * found.covered:.1f} %", f"{found.bias:+.1f}",
    ]  # fmt: skip


if __name__ == "__main__":
    typer.run(main)
