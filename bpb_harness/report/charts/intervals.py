"""Intervals one below the other on one scale."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from bpb_harness.report.charts.drawing import FIRST, INK, MUTED, draw
from bpb_harness.report.visible import visible

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.axes import Axes

_ROW, _BORDER = 46, 56  # units
_LABEL_CHARACTERS = {False: 44, True: 18}


@final
@dataclass(frozen=True)
class Interval:
    """A number between two ends.

    Attributes:
        label: what it is.
        value: the number.
        low: the lower end.
        high: the upper one.
    """

    label: str
    value: float
    low: float
    high: float


def draw_intervals(
    name: str, title: str, intervals: Sequence[Interval], axis: str, *, zero: bool = False, digits: int = 4
) -> Markup:
    """Draw intervals, the first on top.

    Args:
        name: of the chart, once a page.
        title: for a screen reader.
        intervals: at least one.
        axis: what the scale is.
        zero: whether the line of no difference is drawn.
        digits: of the numbers, behind the point.
    """

    def paint(axes: Axes, narrow: bool) -> None:
        places = range(len(intervals) - 1, -1, -1)
        for place, each in zip(places, intervals, strict=True):
            axes.plot([each.low, each.high], [place, place], color=FIRST, linewidth=2.4, solid_capstyle="butt")
            axes.plot([each.value], [place], "o", color=INK, markersize=6)
        if zero:
            axes.axvline(0.0, color=MUTED, linewidth=1.0, linestyle=(0, (4, 3)))
        width = _LABEL_CHARACTERS[narrow]
        labels = [textwrap.fill(visible(each.label), width, max_lines=3, placeholder=" ...") for each in intervals]
        axes.set_yticks(list(places), labels, color=INK)
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(-0.6, len(intervals) - 0.4)
        axes.grid(visible=True, axis="x")
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
        axes.locator_params(axis="x", nbins=3 if narrow else 7)
        axes.margins(x=0.04)
        axes.set_xlabel(axis)

    said = "; ".join(
        f"{each.label}: {each.value:.{digits}f}, from {each.low:.{digits}f} to {each.high:.{digits}f}"
        for each in intervals
    )
    return draw(name, title, said, paint, height=_BORDER + _ROW * len(intervals))
