"""The page of a comparison: `bpb-compare --report`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from bpb_harness.comparison.digits import decimals_of, said_difference, said_error, said_interval
from bpb_harness.comparison.tables import said_of_holm
from bpb_harness.comparison.text_error import holm_or_less
from bpb_harness.comparison.verdict import said_p
from bpb_harness.report.charts.drawing import Chart, Table
from bpb_harness.report.charts.intervals import Interval, draw_intervals
from bpb_harness.report.page import render

if TYPE_CHECKING:
    from bpb_harness.comparison.result import ComparedPair, SystemComparison

_MAX_DRAWN = 40  # systems


def comparison_page(comparison: SystemComparison, *, command: str | None = None) -> str:
    """Systems against the first of them as a page of HTML.

    Args:
        comparison: as `bpb-compare` makes it.
        command: the line that makes it again.

    Returns:
        One page that needs nothing beside itself; the same for the same arguments, byte for byte.
    """
    return render(
        "comparison.html.j2",
        comparison=comparison,
        headline=comparison.pairs[0] if len(comparison.pairs) == 1 else None,
        said_difference=said_difference,
        unit=f"bits per {comparison.unit}",
        table=_table(comparison),
        forests=[chart for chart in (_on_other_text(comparison), _on_this_text(comparison)) if chart is not None],
        legend=_legend(comparison),
        notes=list(dict.fromkeys(note for pair in comparison.pairs for note in pair.notes)),
        command=command,
    )


def _table(comparison: SystemComparison) -> Table:
    columns = ["system", f"bits per {comparison.unit}", "mask se"]
    rows = [
        [each.name, f"{each.relation} {each.bits_per_unit:.4f}", said_error(each.mc_stderr)]
        for each in comparison.systems
    ]
    if not comparison.pairs:
        return Table(columns, rows)
    several = len(comparison.pairs) > 1
    columns += ["difference", "mask se", "95 % on other text", "p", *(["p (Holm)"] if several else [])]
    cells = [["baseline", *[""] * (3 + several)], *_cells(comparison.pairs, several=several)]
    return Table(columns, [row + more for row, more in zip(rows, cells, strict=True)])


def _cells(pairs: Sequence[ComparedPair], *, several: bool) -> Iterator[list[str]]:
    for pair, or_less in zip(pairs, holm_or_less([pair.p for pair in pairs]), strict=True):
        interval = "n/a" if pair.text_ci95 is None else said_interval(pair.text_ci95, pair.delta)
        ps = [(pair.p, False), (pair.p_holm, or_less)] if several else [(pair.p, False)]
        said = ["n/a" if p is None else said_p(p, or_less=less).removeprefix("p = ") for p, less in ps]
        yield [said_difference(pair.delta), said_error(pair.mask_stderr), interval, *said]


def _on_other_text(comparison: SystemComparison) -> Chart | None:
    sentence = (
        "Where an interval crosses the broken line, the difference may be none, or the other way round, on other text "
        "of the same kind. Left of the line is better than the baseline."
    )
    intervals = [
        Interval(pair.system, pair.delta, *pair.text_ci95) for pair in comparison.pairs if pair.text_ci95 is not None
    ]
    return _forest("other-text", "On other text of this kind", sentence, intervals, comparison)


def _on_this_text(comparison: SystemComparison) -> Chart | None:
    sentence = (
        "On this very text a difference is known up to the masks that were sampled: these intervals hold that error "
        "alone."
    )
    intervals = [
        Interval(pair.system, pair.delta, *pair.mask_ci95)
        for pair in comparison.pairs
        if pair.mask_ci95 is not None and pair.mask_stderr
    ]
    return _forest("this-text", "On this text", sentence, intervals, comparison)


def _forest(
    name: str, title: str, sentence: str, intervals: list[Interval], comparison: SystemComparison
) -> Chart | None:
    if not intervals:
        return None
    axis = f"bits per {comparison.unit}, less the baseline's"
    digits = max(decimals_of(each.value) for each in intervals[:_MAX_DRAWN])
    svg = draw_intervals(name, title, intervals[:_MAX_DRAWN], axis, zero=True, digits=digits)
    if len(intervals) > _MAX_DRAWN:
        sentence += f" The first {_MAX_DRAWN} of {len(intervals)} are drawn; the table has all."
    rows = [
        (each.label, said_difference(each.value), said_interval((each.low, each.high), each.value))
        for each in intervals
    ]
    return Chart(title, sentence, svg, Table(("system", "difference", "95 %"), rows))


def _legend(comparison: SystemComparison) -> list[str]:
    """What the columns mean."""
    said = ["= is an exact code length, <= a bound, ~<= an estimate of a bound."]
    if not comparison.pairs:
        return said
    pair = comparison.pairs[0]
    return [
        *said,
        f"Difference: bits per {comparison.unit} less those of the baseline, {pair.baseline}; below 0 is better. Its "
        "mask se is how far sampling masks may be off, on this text.",
        f"95 % on other text and p: over {pair.units}, errors from masks included (p by {pair.p_by}, two-sided).",
        *(f"{label}: {said}." for label, said in said_of_holm(len(comparison.pairs)).items()),
    ]
