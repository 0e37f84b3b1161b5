"""How far a difference of two scores may be off because masks were sampled, the text being as it is.

Equal seeds, windows and draws are equal masks: what both scores owe to them drops out of the differences draw by draw,
whose error is estimated as that of a single score is. All else is taken as independent, and errors add in squares.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, final

import numpy as np

from bpb_harness.costs import ScoreCosts, SpanDraws
from bpb_harness.result import Signature
from bpb_harness.statistics.differences import difference
from bpb_harness.statistics.repeats import spread_of_passes
from bpb_harness.statistics.standard_errors import (
    Draws,
    confidence_interval,
    few_degrees_of_freedom,
    few_grid_degrees_of_freedom,
    grid_stderr_nats,
    mc_stderr_nats,
)

Masks = Literal["none", "same", "independent"]


@final
@dataclass(frozen=True)
class MaskError:
    """The error of a difference from masks.

    Attributes:
        stderr_nats: standard error; None where nothing tells it.
        degrees_of_freedom: None where the normal law serves.
        masks: whether both scores saw the same; "none" where no masks were drawn.
        why: where masks were drawn for both and are not the same, what differs.
        jumps: whether equal masks were met at rates that the two round in different ways (``--steps``): what single
            windows make of that counts as noise, so that the error is too large rather than too small.
    """

    stderr_nats: float | None
    degrees_of_freedom: float | None
    masks: Masks
    why: str = ""
    jumps: bool = False

    def interval(self, difference: float, scale: float) -> tuple[float, float] | None:
        """The 95 % interval of a difference in another unit, of which ``scale`` makes one nat."""
        if self.stderr_nats is None:
            return None
        return confidence_interval(difference, self.stderr_nats * scale, degrees_of_freedom=self.degrees_of_freedom)


def mask_error(one: ScoreCosts, other: ScoreCosts) -> MaskError:
    """The error of the difference of two scores of one text."""
    if one.stderr_nats == 0.0 and other.stderr_nats == 0.0 and one.draws is None and other.draws is None:
        return MaskError(0.0, None, "none")
    if one.draws is not None and other.draws is not None:
        why = _what_differs(one, other)
        if not why:
            jumps = not np.array_equal(one.draws.level, other.draws.level)
            return replace(_of_differences(one, one.draws, other.draws), jumps=jumps)
        return _in_squares(one, other, why)
    return _in_squares(one, other, "")


def shared_variance(one: ScoreCosts, other: ScoreCosts) -> float:
    """What documents do not show of the error from masks, since several share those of a window; nats squared.

    MATHS.md, equation (42). Infinite where nothing tells the error.
    """
    error = mask_error(one, other)
    if error.masks == "same" and error.stderr_nats is not None:
        return (1.0 - min(one.share_apart, other.share_apart)) * error.stderr_nats**2
    parts = [(each.stderr_nats, 1.0 - each.share_apart) for each in (one, other)]
    if any(stderr is None and share > 0.0 for stderr, share in parts):
        return math.inf
    return math.fsum(share * (stderr or 0.0) ** 2 for stderr, share in parts)


def _what_differs(one: ScoreCosts, other: ScoreCosts) -> str:
    """Why two scores did not see the same masks; empty if they did."""
    assert one.draws is not None
    assert other.draws is not None
    if one.tokens != other.tokens:
        return "other tokens"
    if not (np.array_equal(one.starts, other.starts) and np.array_equal(one.ends, other.ends)):
        return "other windows"
    seeds = [Signature.parse(each.signature).seed for each in (one, other)]
    if seeds[0] != seeds[1]:
        return f"seeds {seeds[0]} and {seeds[1]}"
    for name in ("num_passes", "num_replicates", "is_independent"):
        if getattr(one.draws, name) != getattr(other.draws, name):
            return "other numbers of draws"
    for name in ("window", "sample", "v", "share"):
        if not np.array_equal(getattr(one.draws, name), getattr(other.draws, name)):
            return "other numbers of draws" if name != "v" else "draws at other places"
    return ""


def _in_squares(one: ScoreCosts, other: ScoreCosts, why: str) -> MaskError:
    """Welch and Satterthwaite: degrees of freedom of a sum of squares."""
    if one.stderr_nats is None or other.stderr_nats is None:
        return MaskError(None, None, "independent", why)
    parts = [(each.stderr_nats or 0.0, each.degrees_of_freedom) for each in (one, other)]
    total = math.fsum(stderr**2 for stderr, _ in parts)
    uncertain = math.fsum(stderr**4 / degrees for stderr, degrees in parts if degrees is not None)
    return MaskError(math.sqrt(total), total**2 / uncertain if uncertain > 0.0 else None, "independent", why)


def _of_differences(scored: ScoreCosts, one: SpanDraws, other: SpanDraws) -> MaskError:
    """The error of the differences draw by draw."""
    draws, share = _difference(scored, one, other), one.share
    if one.is_independent:
        return _of_spans(draws)
    if one.num_passes > 1:
        spread = spread_of_passes(replace(draws, replicates=None), one.num_passes, share if len(share) else None)
        degrees = None if math.isinf(spread.degrees_of_freedom) else spread.degrees_of_freedom
        return MaskError(math.sqrt(spread.variance), degrees, "same")
    if len(share):
        return MaskError(grid_stderr_nats(draws, share), few_grid_degrees_of_freedom(draws), "same")
    return MaskError(mc_stderr_nats(draws), few_degrees_of_freedom(draws), "same")


def _difference(scored: ScoreCosts, one: SpanDraws, other: SpanDraws) -> Draws:
    found = difference(*(
        Draws(
            window=each.window, sample=each.sample, v=each.v, value_nats=each.value_nats, level=each.level,
            difficulty=each.difficulty, num_tokens=scored.ends - scored.starts, num_bytes=scored.span_units,
        )
        for each in (one, other)
    ))  # fmt: skip
    return found.parted(one.num_replicates)


def _of_spans(draws: Draws) -> MaskError:
    """Spans whose draws have independent rates show their errors themselves (MATHS.md, equation 31)."""
    count = np.bincount(draws.window, minlength=draws.num_windows)
    if (count == 1).any():
        return MaskError(None, None, "same")
    sums = np.bincount(draws.window, weights=draws.value_nats, minlength=draws.num_windows)
    away = draws.value_nats - (sums / np.maximum(count, 1))[draws.window]
    squares = np.bincount(draws.window, weights=away**2, minlength=draws.num_windows)
    variance = squares / np.maximum(count * (count - 1.0), 1.0)
    total, fourth = math.fsum(variance), math.fsum(variance**2 / np.maximum(count - 1.0, 1.0))
    return MaskError(math.sqrt(total), total**2 / fourth if fourth > 0.0 else None, "same")
