"""What a pair of bounds stands on: f(u), the T-curve that follows from it, and the gap."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from bpb_harness.report.charts.drawing import INK, MUTED, SECOND, Chart, Table
from bpb_harness.report.charts.lines import draw_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bpb_harness.result import Comparison


def masked_entropy_chart(both: Comparison) -> Chart:
    """f(u): what a masked token costs at each mask rate."""
    rows = both.f_curve
    first, last = rows[0], rows[-1]
    change = "dearer" if last[1] > first[1] else "cheaper"
    sentence = (
        f"With {100 * first[0]:g} % of the tokens masked, a masked token costs {first[1]:.4f} bits; with "
        f"{100 * last[0]:g} % masked {last[1]:.4f}, so that it is {change} the less of the text is seen. The "
        "continuous bound is the area below this curve; the bound of T steps is the sum of T bars over it, which is "
        "larger where the curve rises."
    )
    svg = draw_line(
        "f-of-u", "Cost of a masked token by mask rate", sentence, rows, ("mask rate u", "f(u), bits per masked token")
    )
    cells = [(f"{rate:g}", f"{value:.4f}", f"{error:.4f}") for rate, value, error in rows]
    return Chart("What a masked token costs", sentence, svg, Table(("mask rate u", "f(u)", "standard error"), cells))


def t_curve_chart(both: Comparison, num_steps: int | None) -> Chart:
    """The bound by the number of steps, and the gap between the two bounds."""
    finite = [(steps, value) for steps, value in both.t_curve if math.isfinite(steps)]
    limit = next(value for steps, value in both.t_curve if not math.isfinite(steps))
    sentence = f"With T steps the bound comes down to {limit:.4f} as T grows. {_capital(both.sentence())}."

    def finish(axes: Axes, narrow: bool) -> None:
        axes.set_xscale("log", base=2)
        shown = [steps for steps, _ in finite][:: 2 if narrow else 1]
        axes.set_xticks(shown, [f"{int(steps)}" for steps in shown])
        axes.minorticks_off()
        axes.axhline(limit, color=MUTED, linewidth=1.0, linestyle=(0, (4, 3)))
        axes.annotate(
            f"T without end: {limit:.4f}", (finite[0][0], limit), xytext=(0, 5), textcoords="offset points",
            color=MUTED,
        )  # fmt: skip
        if num_steps is not None:
            axes.plot([num_steps], [both.discrete], "D", color=SECOND, markersize=7)
            axes.annotate(
                f"T = {num_steps}: {both.discrete:.4f}", (num_steps, both.discrete), xytext=(8, 8),
                textcoords="offset points", color=INK, ha="left" if num_steps < 300 else "right",
            )  # fmt: skip

    svg = draw_line(
        "t-curve", "The bound by the number of steps", sentence, [(*row, math.nan) for row in finite],
        ("steps T", "bits per byte"), finish=finish,
    )  # fmt: skip
    cells = [("without end" if math.isinf(steps) else f"{int(steps)}", f"{value:.4f}") for steps, value in both.t_curve]
    return Chart("The bound by the number of steps", sentence, svg, Table(("steps T", "bits per byte"), cells))


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
