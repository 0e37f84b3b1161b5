"""Rows of a batch that are treated differently, whatever their text: row means, for a reader to believe."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt

from bpb_harness.testing.runs import Run

Floats = npt.NDArray[np.float64]

TIED = "a stratum of t tied to the batch row: row i always gets times near i / B"
TIED_OTHERWISE = "noise tied to the batch row: some rows always get more tokens masked than others"
FIX = (
    "Give the strata out at random in every call (t = (torch.randperm(B, generator=generator) + u) / B), or shift all "
    "of them by one number (t = (i / B + u) % 1 with one u for the batch)"
)
_SHOWN = 5
_ORDERED = 0.95  # correlation of a row's masks with its place
_SPREAD = 25.0  # of the row means, in variances that chance gives them


@final
@dataclass(frozen=True)
class TiedRows:
    """What is tied, and its evidence.

    Attributes:
        diagnosis: in words.
        lines: a table of row means.
    """

    diagnosis: str
    lines: tuple[str, ...]


def tied_rows(runs: list[Run]) -> TiedRows | None:
    """Row means of the number of masked tokens that differ by far more than chance, where all rows hold one text."""
    one_text = [run for run in runs if bool((run.probe.x0 == run.probe.x0[0]).all()) and len(run.denoise.codes) >= 2]
    if not one_text:
        return None
    length = one_text[0].probe.x0.shape[1]
    codes = np.concatenate([run.denoise.codes for run in one_text])
    masked = ((codes[:, :, None] >> np.arange(length)) & 1).sum(axis=2).astype(np.float64)
    means, by_chance = masked.mean(axis=0), float(masked.var(axis=0).mean()) / len(masked)
    if by_chance == 0.0 or float(means.var()) < _SPREAD * by_chance:
        return None
    ordered = abs(float(np.corrcoef(np.arange(len(means)), means)[0, 1])) > _ORDERED
    return TiedRows(TIED if ordered else TIED_OTHERWISE, _table(means, _most_telling(one_text), length))


def _most_telling(runs: list[Run]) -> Run:
    """The denoiser on which the rows differ most, in standard errors."""

    def spread(run: Run) -> float:
        by_chance = float(run.estimates.var(axis=0, ddof=1).mean()) / len(run.estimates)
        return float(run.estimates.mean(axis=0).var()) / by_chance if by_chance > 0 else 0.0

    return max(runs, key=spread)


def _table(masked: Floats, run: Run, length: int) -> tuple[str, ...]:
    ratio = run.estimates.mean(axis=0) / run.exact
    stderr = run.estimates.std(axis=0, ddof=1) / run.exact / math.sqrt(len(run.estimates))
    order = np.argsort(masked, kind="stable")
    shown = order[np.linspace(0, len(order) - 1, min(_SHOWN, len(order))).round().astype(int)]
    lines = [
        f"All rows hold the same text, so that every row has the same bound. Denoiser that charges for "
        f"{run.probe.name}, {len(run.estimates)} calls:",
        f"  row   tokens masked of {length}   mean / bound",
    ]
    lines += [f"  {row:3d}   {masked[row]:18.2f}   {ratio[row]:6.3f} +- {stderr[row]:.3f}" for row in sorted(shown)]
    lines.append(f"  all   {masked.mean():18.2f}   {ratio.mean():6.3f} (the rows together)")
    return tuple(lines)
