"""The page of one score: `bpb-eval --report`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import final

from bpb_harness.excerpt import Excerpt
from bpb_harness.report.by_position import bits_by_position
from bpb_harness.report.charts.bound_curves import masked_entropy_chart, t_curve_chart
from bpb_harness.report.charts.drawing import Chart
from bpb_harness.report.charts.intervals import Interval, draw_intervals
from bpb_harness.report.charts.marks import marks_chart
from bpb_harness.report.charts.positions import position_chart
from bpb_harness.report.documents import MAX_SLICES, extreme_documents, shown_documents, slices_table, spread_chart
from bpb_harness.report.heat_map import EDGES
from bpb_harness.report.page import render
from bpb_harness.report.sentences import how_the_interval_comes_about, meaning, number
from bpb_harness.result import ESTIMATED_BOUND, BpbResult, Signature
from bpb_harness.terminal.meaning import said_interval, ways_to_less_error

_NORMAL_95 = 1.96


@final
@dataclass(frozen=True)
class BudgetRow:
    """One error of a score.

    Attributes:
        source: what is random.
        stderr: as the terminal prints it.
        interval: the same as an interval.
        question: what it answers.
    """

    source: str
    stderr: str
    interval: str
    question: str


def evaluation_page(
    result: BpbResult, *, title: str, excerpts: Sequence[Excerpt] = (), command: str | None = None
) -> str:
    """A score as a page of HTML.

    Args:
        result: the score; its tables of windows and tokens, where it has them, become charts.
        title: what was scored, in the reader's words.
        excerpts: text of documents; of the hardest and the easiest it is shown.
        command: the line that makes it again.

    Returns:
        One page that needs nothing beside itself; the same for the same arguments, byte for byte.
    """
    charts = [*_marks(result), *_curves(result), *_positions(result), *_spread(result)]
    hardest, easiest = extreme_documents(result)
    what = "documents" if result.answers is None else "answers"
    return render(
        "evaluation.html.j2",
        title=title,
        result=result,
        number=number(result),
        meaning=meaning(result),
        interval=how_the_interval_comes_about(result),
        ways=ways_to_less_error(result),
        budget=_budget(result),
        budget_chart=_budget_chart(result),
        shares=_shares(result),
        charts=charts,
        slices=slices_table(result),
        num_slices_left_out=max(len(result.slices or ()) - MAX_SLICES, 0),
        ends=[
            (f"The {word} {what}", shown_documents(result, numbers, excerpts))
            for word, numbers in (("hardest", hardest), ("easiest", easiest))
            if numbers
        ],
        has_colours=any(piece.bits is not None for excerpt in excerpts for piece in excerpt.pieces),
        edges=EDGES,
        left_out=_left_out(result),
        settings=_settings(result.signature),
        command=command,
    )


def _budget(result: BpbResult) -> list[BudgetRow]:
    masks = "0" if not result.mc_stderr else f"{result.mc_stderr:.4f}"
    if result.mc_stderr is None:
        masks = "n/a"
    low_high = "n/a" if result.ci95 is None else said_interval(result.ci95)
    text = "n/a" if result.corpus_stderr is None else f"{result.corpus_stderr:.4f}"
    around = "n/a" if result.corpus_stderr is None else f"+- {_NORMAL_95 * result.corpus_stderr:.4f}"
    rows = [BudgetRow("text (corpus se)", text, around, "How far would the number move on other text of this kind?")]
    if result.relation == ESTIMATED_BOUND:
        asked = "How far may this be from the bound of this model on this text?"
        rows.insert(0, BudgetRow("masks (mc se)", masks, low_high, asked))
    return rows


def _budget_chart(result: BpbResult) -> Chart | None:
    score = result.length.bits_per_unit
    rows = []
    if result.mc_stderr and result.ci95 is not None:
        rows.append(Interval("masks: where the bound on this text is", score, max(result.ci95[0], 0.0), result.ci95[1]))
    if result.corpus_stderr is not None:
        around = _NORMAL_95 * result.corpus_stderr
        rows.append(Interval("text: how far it would move on other text", score, score - around, score + around))
    if not rows:
        return None
    title = "The two errors, as intervals of 95 %"
    svg = draw_intervals("errors", title, rows, f"bits per {result.unit}")
    return Chart(title, "", svg, None)


def _curves(result: BpbResult) -> list[Chart]:
    both = result.comparison
    if both is None:
        return []
    steps = result.signature.num_steps
    return [masked_entropy_chart(both), t_curve_chart(both, int(steps) if steps and steps.isdecimal() else None)]


def _positions(result: BpbResult) -> list[Chart]:
    if result.tokens is None or (result.windows is None and result.answers is None):
        return []
    of_answers = result.answers is not None
    stretches = bits_by_position(result.tokens, None if of_answers else result.windows)
    if len(stretches) < 2:
        return []
    what = "answer" if of_answers else "window"
    return [position_chart(stretches, bits_per_token=result.bits_per_token, what=what)]


def _marks(result: BpbResult) -> list[Chart]:
    return [] if result.reference_marks is None else [marks_chart(result, result.reference_marks)]


def _spread(result: BpbResult) -> list[Chart]:
    chart = spread_chart(result)
    return [] if chart is None else [chart]


def _shares(result: BpbResult) -> list[tuple[str, str]]:
    """Terms of the bound, and how much of it each is."""
    if not result.length.nats:
        return []
    return [(name, f"{100 * nats / result.length.nats:.2f} %") for name, nats in result.terms_nats.items()]


def _left_out(result: BpbResult) -> list[str]:
    """Sections that this page does not have, and what would give them."""
    missing = []
    if result.comparison is None and result.relation == ESTIMATED_BOUND:
        missing.append("f(u), the bound by the number of steps and the gap: pass --compare")
    if result.tokens is None:
        missing.append("bits by position: this run has no costs of single tokens")
    return missing


def _settings(signature: Signature) -> list[tuple[str, str]]:
    """The entries of a signature by their keys, those that go without saying left out."""
    entries = [(entry.metadata["key"], getattr(signature, entry.name), entry.default) for entry in fields(signature)]
    return [(key, value) for key, value, usual in entries if value is not None and value != usual]
