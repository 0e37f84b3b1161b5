"""How numbers spread: a histogram."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bpb_harness.report.charts.drawing import FIRST, INK, SECOND, draw

if TYPE_CHECKING:
    import numpy.typing as npt
    from markupsafe import Markup
    from matplotlib.axes import Axes

_MAX_BINS = 40
_ENDS = (0.005, 0.995)  # of many numbers what lies beyond is counted in the bins at the ends


def draw_spread(
    name: str,
    title: str,
    description: str,
    values: npt.NDArray[np.float64],
    axes_labels: tuple[str, str],
    *,
    mark: tuple[float, str],
) -> tuple[Markup, list[tuple[float, float, int]]]:
    """Draw a histogram.

    Args:
        name: of the chart, once a page.
        title: for a screen reader.
        description: for a screen reader.
        values: (N,), at least two.
        axes_labels: of the values and of the counts.
        mark: a value that is marked, and what it is.

    Returns:
        The drawing and its bins: lower edge, upper edge, count; every value is in one. The edges of the first and the
        last bin are the smallest and the largest value.
    """
    low, high = np.quantile(values, _ENDS)
    num_bins = int(np.clip(2 * np.sqrt(len(values)), 8, _MAX_BINS))
    edges = np.linspace(low, high if high > low else low + 1.0, num_bins + 1)
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)

    def paint(axes: Axes, narrow: bool) -> None:
        axes.bar(edges[:-1], counts, width=np.diff(edges), align="edge", color=FIRST, alpha=0.75, linewidth=0)
        axes.axvline(mark[0], color=SECOND, linewidth=1.6)
        right = mark[0] > (edges[0] + edges[-1]) / 2
        axes.annotate(
            f"{mark[1]} {mark[0]:.4f}", (mark[0], 0.98), xycoords=("data", "axes fraction"), color=INK, va="top",
            xytext=(-5 if right else 5, 0), textcoords="offset points", ha="right" if right else "left",
        )  # fmt: skip
        axes.set_ylim(0, counts.max() * 1.18)
        axes.set_xlabel(axes_labels[0])
        axes.set_ylabel(axes_labels[1])
        axes.locator_params(axis="x", nbins=5 if narrow else 9)
        axes.locator_params(axis="y", nbins=5, integer=True)

    shown = edges.copy()
    shown[0], shown[-1] = min(shown[0], values.min()), max(values.max(), shown[0])
    bins = list(zip(shown[:-1].tolist(), shown[1:].tolist(), counts.tolist(), strict=True))
    return draw(name, title, description, paint), bins
