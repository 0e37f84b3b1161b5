"""Are the errors of a difference right? Two systems on the same text, over many seeds and many texts.

    python -m tests.benchmarks.comparison_calibration ONE.npz OTHER.npz

Both tables come from level_table.py and control_table.py, with equal settings, so that they hold the same masks. For
each seed the package's design is simulated for both and the package's own estimators read the draws. "mask se / spread"
and "in mask interval" are of one text over seeds. Texts are windows drawn with replacement from the table, each a
document: "in text interval" holds the difference of all windows, and "p < 0.05" is of differences moved so that this is
none. "same model" gives both systems the first table and seeds of their own: there is no difference then.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from bpb_harness.comparison import text_error
from bpb_harness.comparison.mask_error import mask_error
from bpb_harness.comparison.text_error import TextError
from bpb_harness.costs import ScoreCosts, SpanDraws
from bpb_harness.sampling.control_variate import subtract_control
from bpb_harness.statistics.standard_errors import Draws, confidence_interval, level_luck_nats, mc_stderr_nats
from tests.benchmarks.level_simulation import Floats, Ints, LevelSimulation, stratified_positions
from tests.scores import SIGNATURE, costs_of

NUM_STEPS = 128


@dataclass(frozen=True)
class Run:
    """One system's draws of a text, and what they say."""

    draws: Draws
    stderr: float

    @property
    def level_free(self) -> Floats:
        """What windows cost, freed of their mask rates."""
        return self.draws.window_nats - level_luck_nats(self.draws)

    def costs(self, seed: int) -> ScoreCosts:
        """The record of it."""
        draws = self.draws
        kept = SpanDraws(
            window=draws.window, sample=draws.sample, v=draws.v, level=draws.level, value_nats=draws.value_nats,
            share=np.zeros(0), difficulty=np.asarray(draws.difficulty, dtype=np.float64), num_replicates=0,
            num_passes=1, is_independent=False,
        )  # fmt: skip
        signature = replace(SIGNATURE, seed=str(seed))
        return costs_of(draws.window_nats, draws.num_bytes, stderr=self.stderr, draws=kept, signature=signature)


def taken(simulation: LevelSimulation, which: Ints) -> LevelSimulation:
    """The text of some of the windows."""
    names = ("coefficients", "noise", "count", "neighbour_curve", "control", "difficulty", "num_tokens")
    return replace(simulation, **{name: getattr(simulation, name)[which] for name in names})


def drawn(simulation: LevelSimulation, v: Floats, method: str, seed: list[int]) -> Run:
    """One run: equal seeds pick equal masks from any table."""
    count, num_samples = v.shape
    window, sample = np.repeat(np.arange(count), num_samples), np.tile(np.arange(num_samples), count)
    level = v.ravel() if method == "mc" else np.ceil(v.ravel() * NUM_STEPS) / NUM_STEPS
    u = level * simulation.u_max
    nats, own, masked = simulation.size_biased(np.random.default_rng(seed), window, u)
    nats = subtract_control(nats, own, u, masked, window, len(window))
    tokens = simulation.num_tokens
    draws = Draws(
        window=window, sample=sample, v=v.ravel(), value_nats=simulation.u_max * tokens[window] * nats, level=level,
        difficulty=simulation.difficulty, num_tokens=tokens, num_bytes=tokens,
    )  # fmt: skip
    return Run(draws, mc_stderr_nats(draws))


def main(
    one: Path,
    other: Path,
    seeds: Annotated[int, typer.Option(help="Simulated runs of each setting.")] = 1000,
    samples: Annotated[str, typer.Option(help="Values of K.")] = "1,2,4",
    methods: str = "mc,discrete",
    repeat: Annotated[int, typer.Option(help="How often the windows of the tables stand in the text.")] = 1,
    resamples: Annotated[int, typer.Option(help="Of the units, for p and the interval.")] = 999,
) -> None:
    """Print a row for each setting."""
    text_error.NUM_RESAMPLES = resamples
    loaded = [LevelSimulation.load(path) for path in (one, other)]
    tables = [taken(each, np.tile(np.arange(len(each)), repeat)) for each in loaded]
    report = Table(title=f"{one.stem} against {other.stem}: {len(tables[0])} windows, {seeds} seeds")
    columns = (
        "method", "K", "masks", "delta, nats/token", "spread", "mask se / spread", "in mask interval",
        "spread / that of the scores", "in text interval", "p < 0.05",
    )  # fmt: skip
    for column in columns:
        report.add_column(column, justify="right")
    for method in methods.split(","):
        for num_samples in map(int, samples.split(",")):
            for masks in ("same", "other", "same model"):
                report.add_row(method, str(num_samples), masks, *calibrate(tables, method, num_samples, masks, seeds))
    Console(width=160).print(report)


def calibrate(tables: list[LevelSimulation], method: str, num_samples: int, masks: str, seeds: int) -> list[str]:
    """One row."""
    pair = [tables[0], tables[0]] if masks == "same model" else tables
    nodes = None if method == "mc" else np.arange(1, NUM_STEPS + 1) / NUM_STEPS
    truth = pair[1].exact_nats(nodes) - pair[0].exact_nats(nodes)
    total = float(tables[0].num_tokens.sum())
    found = np.array([_seed(pair, method, num_samples, masks, seed, truth) for seed in range(seeds)])
    delta, stderr, one, other, in_text, significant = found.T
    low, high = np.array([confidence_interval(d, s) for d, s in zip(delta, stderr, strict=True)]).T
    spread = float(delta.std(ddof=1))
    return [
        f"{truth / total:+.4f}", f"{spread / total:.5f}", f"{np.sqrt((stderr**2).mean()) / spread:.3f}",
        f"{100 * ((low <= truth) & (truth <= high)).mean():.1f} %",
        f"{spread / one.std(ddof=1):.2f}, {spread / other.std(ddof=1):.2f}",
        f"{100 * in_text.mean():.1f} %", f"{100 * significant.mean():.1f} %",
    ]  # fmt: skip


def _seed(
    pair: list[LevelSimulation], method: str, num_samples: int, masks: str, seed: int, truth: float
) -> tuple[float, ...]:
    """Totals and errors on the text of all windows, then what a text drawn from them says."""
    runs = _runs(pair, method, num_samples, masks, seed)
    delta = float(runs[1].draws.window_nats.sum() - runs[0].draws.window_nats.sum())
    seeds = (0, 0) if masks == "same" else (0, 1)
    error = mask_error(*(run.costs(its_own) for run, its_own in zip(runs, seeds, strict=True)))
    assert error.stderr_nats is not None
    assert error.masks == ("same" if masks == "same" else "independent")
    which = np.random.default_rng([seed, 7]).integers(len(pair[0]), size=len(pair[0]))
    text = [taken(simulation, which) for simulation in pair]
    one, other = _runs(text, method, num_samples, masks, seed + 1_000_000)
    sizes = text[0].num_tokens.astype(np.float64)
    ratio = truth / float(pair[0].num_tokens.sum())
    units = TextError.of(other.level_free - one.level_free - ratio * sizes, sizes)
    interval, p = units.interval(), units.p_other()
    assert interval is not None
    assert p is not None
    totals = [float(run.draws.window_nats.sum()) for run in runs]
    return delta, error.stderr_nats, *totals, float(interval[0] <= 0.0 <= interval[1]), float(p < 0.05)


def _runs(pair: list[LevelSimulation], method: str, num_samples: int, masks: str, seed: int) -> list[Run]:
    runs = []
    for index, simulation in enumerate(pair):
        its_own = [seed, 0 if masks == "same" else index]
        rng = np.random.default_rng([*its_own, 3])
        v = stratified_positions(rng, simulation.difficulty, num_samples, 1)[0]
        runs.append(drawn(simulation, v, method, [*its_own, 4]))
    return runs


if __name__ == "__main__":
    typer.run(main)
