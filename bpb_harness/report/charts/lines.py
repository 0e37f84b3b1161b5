"""A curve with its error: a line through points, and a band of two standard errors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from bpb_harness.report.charts.drawing import FIRST, INK, draw

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.axes import Axes


def draw_line(
    name: str,
    title: str,
    description: str,
    points: Sequence[tuple[float, float, float]],
    axes_labels: tuple[str, str],
    *,
    finish: Callable[[Axes, bool], None] | None = None,
    steps: bool = False,
) -> Markup:
    """Draw a curve.

    Args:
        name: of the chart, once a page.
        title: for a screen reader.
        description: for a screen reader.
        points: (x, y, standard error of y); NaN where an error is not known.
        axes_labels: of x and y.
        finish: draws more into the axes; gets True where the page is narrow.
        steps: whether a point stands for a stretch up to the next, not for a place.
    """
    x, y, error = (np.array(column, dtype=np.float64) for column in zip(*points, strict=True))

    def paint(axes: Axes, narrow: bool) -> None:
        known = np.isfinite(error)
        if known.any() and error[known].max() > 0:
            low, high = y - 2 * error, y + 2 * error
            axes.fill_between(x, low, high, where=known, step="mid" if steps else None, color=FIRST, alpha=0.22, lw=0)
        axes.plot(x, y, color=FIRST, drawstyle="steps-mid" if steps else "default")
        if not steps:
            axes.plot(x, y, "o", color=INK, markersize=4)
        axes.set_xlabel(axes_labels[0])
        axes.set_ylabel(axes_labels[1])
        axes.locator_params(axis="both", nbins=5 if narrow else 8)
        if finish is not None:
            finish(axes, narrow)

    return draw(name, title, description, paint)
