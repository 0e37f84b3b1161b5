"""What documents cost: how they spread, and which are the hardest and the easiest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np

from bpb_harness.report.charts.drawing import Chart, Table
from bpb_harness.report.charts.spread import draw_spread
from bpb_harness.report.heat_map import Run, heat_runs
from bpb_harness.result import ESTIMATED_BOUND, EXACT
from bpb_harness.units import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from bpb_harness.excerpt import Excerpt
    from bpb_harness.result import BpbResult

NUM_EXTREMES = 4  # of each kind
MAX_SLICES = 100
_SMALLEST = 100  # bytes, or tokens: of a shorter text one word decides
_FEWEST = 20  # with fewer documents of that size the smaller count too
_KEY_CHARACTERS = 80


@final
@dataclass(frozen=True)
class ShownDocument:
    """A document at one end of the order.

    Attributes:
        heading: its number and its cost.
        detail: its size and its error.
        runs: its text in colours; None where it is not at hand.
        left_out: what of its text is not shown, in words; empty for none.
    """

    heading: str
    detail: str
    runs: list[Run] | None
    left_out: str


def documents_of(result: BpbResult) -> pd.DataFrame | None:
    """The table of documents, or of answers; else the sums of the table of tokens, as far as it was scored."""
    if result.documents is not None:
        return result.documents
    if result.answers is not None:
        return result.windows
    if result.tokens is None:
        return None
    tokens = result.tokens
    sums = tokens.groupby("document", sort=True).agg(num_tokens=("share_bits", "size"), bits=("share_bits", "sum"))
    if "end_byte" in tokens:
        sums["num_bytes"] = (tokens["end_byte"] - tokens["first_byte"]).groupby(tokens["document"]).sum()
    return sums.reset_index()


def cost_column(result: BpbResult) -> str | None:
    """The column of the table of tokens that says what each costs by itself; None where none does.

    Of a sampled bound a token's share of the estimate tells nothing of the token; ``--surprisal`` does.
    """
    if result.tokens is None:
        return None
    if "surprisal_bits" in result.tokens:
        return "surprisal_bits"
    return "share_bits" if result.relation == EXACT else None


def extreme_documents(result: BpbResult) -> tuple[list[int], list[int]]:
    """Numbers of the hardest and of the easiest documents, the furthest first; none where there are too few.

    Args:
        result: with its table of documents.
    """
    frame = documents_of(result)
    if frame is None or len(frame) < 2 * NUM_EXTREMES:
        return [], []
    size = _sizes(frame)
    large = np.flatnonzero(size >= _SMALLEST)
    chosen = large if len(large) >= _FEWEST else np.flatnonzero(size > 0)
    rate = frame["bits"].to_numpy(np.float64)[chosen] / size[chosen]
    order = chosen[np.argsort(rate, kind="stable")]
    number = min(NUM_EXTREMES, len(order) // 2)
    documents = frame["document"].to_numpy(np.int64)
    return documents[order[::-1][:number]].tolist(), documents[order[:number]].tolist()


def shown_documents(result: BpbResult, numbers: Sequence[int], excerpts: Sequence[Excerpt]) -> list[ShownDocument]:
    """Documents with their text, where it is at hand.

    Args:
        result: with its table of documents.
        numbers: which, as :func:`extreme_documents` gives them.
        excerpts: of any documents.
    """
    frame = documents_of(result)
    assert frame is not None
    row_of = {int(number): row for row, number in enumerate(frame["document"])}
    text_of = {excerpt.document: excerpt for excerpt in excerpts}
    return [_shown(result, frame, row_of[number], text_of.get(number)) for number in numbers]


def _shown(result: BpbResult, frame: pd.DataFrame, place: int, excerpt: Excerpt | None) -> ShownDocument:
    row = frame.iloc[place]
    size = int(_sizes(frame)[place])
    parts = [counted(int(row["num_tokens"]), "token")]
    if result.bits_per_byte is not None:
        parts.append(counted(int(size), "byte"))
    parts.append(f"{row['bits']:,.2f} bits")
    error = row.get("stderr_bits")
    if error is not None and np.isfinite(error) and error > 0:
        parts.append(f"standard error {error / size:.4f} bits per {result.unit}")
    key = row.get("key", row.get("source"))
    named = f" ({str(key)[:_KEY_CHARACTERS]})" if isinstance(key, str) and key else ""
    left_out = f"{excerpt.num_bytes_left_out:,} more bytes" if excerpt and excerpt.num_bytes_left_out else ""
    return ShownDocument(
        f"Document {int(row['document'])}{named}: {row['bits'] / size:.4f} bits per {result.unit}",
        ", ".join(parts),
        None if excerpt is None else heat_runs(excerpt),
        left_out,
    )


def spread_chart(result: BpbResult) -> Chart | None:
    """How the costs of documents spread; None where there are too few."""
    frame = documents_of(result)
    if frame is None:
        return None
    size = _sizes(frame)
    rates = (frame["bits"].to_numpy(np.float64)[size > 0]) / size[size > 0]
    if len(rates) < 2 * NUM_EXTREMES:
        return None
    low, middle, high = np.quantile(rates, [0.25, 0.5, 0.75]).tolist()
    what, unit = ("answers" if result.answers is not None else "documents"), f"bits per {result.unit}"
    score = result.length.bits_per_unit
    sentence = (
        f"Half of the {len(rates):,} {what} cost between {low:.4f} and {high:.4f} {unit}, the middle one {middle:.4f}. "
        f"The score, {score:.4f}, is their bits over their {result.unit}s in all, so that long {what} weigh more."
    )
    if result.relation == ESTIMATED_BOUND and result.answers is None:
        sentence += (
            f" The cost of one of the {what} is an estimate from few draws, so that some of the spread is chance."
        )
    title = f"How {what} differ"
    svg, bins = draw_spread("documents", title, sentence, rates, (unit, what), mark=(score, "the score"))
    table = Table((unit, what), [(f"{a:.4f} to {b:.4f}", f"{count:,}") for a, b, count in bins])
    return Chart(title, sentence, svg, table)


def _sizes(frame: pd.DataFrame) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Bytes of each document, or tokens where none are counted."""
    return frame["num_bytes" if "num_bytes" in frame else "num_tokens"].to_numpy(np.int64)


def slices_table(result: BpbResult) -> Table | None:
    """The score by the values of a field; None where none was named."""
    if not result.slices:
        return None
    rows = [
        (
            each.slice[:_KEY_CHARACTERS], f"{each.num_documents:,}", f"{each.num_tokens:,}",
            "n/a" if each.num_bytes is None else f"{each.num_bytes:,}", _digits(each.bits_per_unit),
            _digits(each.mc_stderr), _digits(each.documents_stderr),
        )
        for each in result.slices[:MAX_SLICES]
    ]  # fmt: skip
    columns = ("slice", "documents", "tokens", "bytes", f"bits per {result.unit}", "mask se", "se over documents")
    return Table(columns, rows)


def _digits(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.4f}"
