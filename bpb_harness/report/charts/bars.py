"""Bars that begin at 0, one below the other, each with its number."""

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

_ROW, _BORDER = 30, 48  # units
_LABEL_CHARACTERS = {False: 40, True: 18}


@final
@dataclass(frozen=True)
class Bar:
    """A number with a name.

    Attributes:
        label: what it is.
        value: 0 or more.
        is_main: whether it is what the others are compared with.
    """

    label: str
    value: float
    is_main: bool = False


def draw_bars(name: str, title: str, bars: Sequence[Bar], axis: str) -> Markup:
    """Draw bars, the first on top.

    Args:
        name: of the chart, once a page.
        title: for a screen reader.
        bars: at least one.
        axis: what the scale is.
    """

    def paint(axes: Axes, narrow: bool) -> None:
        places = list(range(len(bars) - 1, -1, -1))
        colours = [FIRST if each.is_main else MUTED for each in bars]
        axes.barh(places, [each.value for each in bars], height=0.55, color=colours)
        for place, each in zip(places, bars, strict=True):
            axes.annotate(
                f"{each.value:.4f}", (each.value, place), xytext=(5, 0), textcoords="offset points", va="center",
                color=INK,
            )  # fmt: skip
        width = _LABEL_CHARACTERS[narrow]
        labels = [textwrap.fill(visible(each.label), width, max_lines=2, placeholder=" ...") for each in bars]
        axes.set_yticks(places, labels, color=INK)
        axes.tick_params(axis="y", length=0)
        axes.set_xlim(0, max(each.value for each in bars) * (1.3 if narrow else 1.12) or 1.0)
        axes.grid(visible=True, axis="x")
        axes.grid(visible=False, axis="y")
        axes.locator_params(axis="x", nbins=4 if narrow else 8)
        axes.set_xlabel(axis)

    said = "; ".join(f"{each.label}: {each.value:.4f}" for each in bars)
    return draw(name, title, said, paint, height=_BORDER + _ROW * len(bars))
