"""The plot of docs/tutorial.md: what the bound of a masked diffusion model is, by the number of its steps.

    python docs/tutorial_plot.py MASKED.json CAUSAL.json OUT.svg

MASKED is a result of ``bpb-eval --compare --format json``, CAUSAL one of ``--method ar`` for the same text.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
mpl.rcParams.update({"svg.hashsalt": "tutorial", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 10})

from matplotlib import pyplot as plt  # noqa: E402  # behind the choice of what draws


def draw(masked: dict[str, Any], causal: dict[str, Any], path: Path) -> None:
    """Draw the bounds over T, with the exact code length of the causal model and of the source below them."""
    curve = masked["comparison"]["t_curve"]
    steps = [row["steps"] for row in curve if row["steps"]]
    limit = next(row["bits_per_byte"] for row in curve if row["steps"] is None)
    source = causal["source"]["code_length_bits_per_byte"]
    figure, axes = plt.subplots(figsize=(7.2, 3.9), layout="constrained")
    axes.plot(steps, [row["bits_per_byte"] for row in curve if row["steps"]], "o-", color="#00796b")
    axes.annotate("masked diffusion,\nbound of T steps", (steps[1], curve[1]["bits_per_byte"]), (10, 8), **_POINTS)
    for height, line, words in (
        (limit, "--", f"its limit, continuous time: {limit:.3f}"),
        (causal["bits_per_byte"], "-", f"autoregressive, exact: {causal['bits_per_byte']:.3f}"),
        (source, ":", f"the source itself: {source:.3f}"),
    ):
        axes.axhline(height, linestyle=line, color="#b8860b" if line == "-" else "#00796b" if line == "--" else "#555")
        below = line != "-"
        axes.annotate(words, (steps[-1], height), (0, -4 if below else 3), ha="right", va="top" if below else "bottom",
                      **_POINTS)  # fmt: skip
    axes.set_xscale("log", base=2)
    axes.set_xticks(steps, [f"{count:,}" for count in steps])
    axes.set_ylim(source - 0.04, None)
    axes.set_xlabel("T, steps of the sampler")
    axes.set_ylabel("bits per byte")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None, "Creator": None})
    plt.close(figure)


_POINTS: dict[str, Any] = {"textcoords": "offset points"}


if __name__ == "__main__":
    *results, out = sys.argv[1:]
    first, second = (json.loads(Path(name).read_text("utf-8")) for name in results)
    draw(first, second, Path(out))
