"""Bits by position in the window."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bpb_harness.report.by_position import Stretch
from bpb_harness.report.charts.drawing import Chart, Table
from bpb_harness.report.charts.lines import draw_line

_AN = {"window": "a", "answer": "an"}


def position_chart(stretches: Sequence[Stretch], *, bits_per_token: float, what: str) -> Chart:
    """Cost of a token by where it stands.

    Args:
        stretches: of positions, in their order.
        bits_per_token: of the whole text.
        what: window, or answer.
    """
    first, last = stretches[0], stretches[-1]
    sentence = (
        f"Tokens cost {first.bits_per_token:.4f} bits at the beginning of {_AN[what]} {what} ({_places(first)}) and "
        f"{last.bits_per_token:.4f} at its end ({_places(last)}); {bits_per_token:.4f} over all. The band is two "
        "standard errors wide to either side, over the choice of windows."
    )
    points = [
        ((each.first + each.last) / 2, each.bits_per_token, math.nan if each.stderr is None else each.stderr)
        for each in stretches
    ]
    title = f"Bits by position in {what}"
    svg = draw_line("by-position", title, sentence, points, (f"position in the {what}", "bits per token"), steps=True)
    rows = [
        (
            _places(each).removeprefix("positions ").removeprefix("position "), f"{each.num_tokens:,}",
            f"{each.bits_per_token:.4f}", "n/a" if each.stderr is None else f"{each.stderr:.4f}",
        )
        for each in stretches
    ]  # fmt: skip
    return Chart(title, sentence, svg, Table(("positions", "tokens", "bits per token", "standard error"), rows))


def _places(each: Stretch) -> str:
    return f"position {each.first}" if each.first == each.last else f"positions {each.first} to {each.last}"
