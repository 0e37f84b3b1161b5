"""A comparison as text for a terminal, as Markdown and as LaTeX."""

from __future__ import annotations

import re
from collections.abc import Sequence

from bpb_harness.comparison.digits import said_difference, said_error, said_interval
from bpb_harness.comparison.result import ComparedPair, SystemComparison
from bpb_harness.comparison.text_error import holm_or_less
from bpb_harness.comparison.verdict import said_p
from bpb_harness.terminal.page import Page
from bpb_harness.terminal.screen import Screen
from bpb_harness.terminal.table import Column, add_table

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"$<$", ">": r"$>$", "|": r"$|$",
}  # fmt: skip
_ONE_WAY = {
    "same": "from the differences of equal masks",
    "independent": "the errors of both in squares",
    "none": "",
}
_RELATIONS = {"=": "$=$", "<=": r"$\le$", "~<=": r"$\lesssim$"}


_LABEL_WIDTH = 22


def as_text(comparison: SystemComparison, screen: Screen | None = None) -> str:
    """What follows first, then the numbers, then what they are of."""
    page = Page(screen or Screen(), _LABEL_WIDTH)
    for said in _sentences(comparison):
        page.paragraph(said, "bold")
    page.gap()
    names, *numbers = _header(comparison)
    columns = [Column(names), *(Column(name, is_number=True) for name in numbers)]
    add_table(page, columns, _rows(comparison), has_prose=False)
    page.gap()
    for label, said in _legend(comparison).items():
        page.row(label, said)
    for said in _notes(comparison):
        page.row("note", said, "yellow" if said.startswith("WARNING") else "")
    page.gap()
    for system in comparison.systems:
        page.whole(f"{system.name}: {system.signature}", "dim")
    return str(page)


def _sentences(comparison: SystemComparison) -> list[str]:
    said = [pair.sentence for pair in comparison.pairs]
    return said + said_of_expectations(comparison)


def said_of_expectations(comparison: SystemComparison) -> list[str]:
    """Whether what was asked holds, one sentence each; empty where nothing was."""
    said = []
    if comparison.contest is not None:
        said.append(comparison.contest.sentence())
    if comparison.expectation is not None:
        said.append(_expected(comparison))
    return said


def as_markdown(comparison: SystemComparison) -> str:
    """A table, the sentences and the signatures."""
    header, rows = _header(comparison), _rows(comparison)
    lines = [_markdown_row(header), _markdown_row(["---", *["---:"] * (len(header) - 1)])]
    lines += [_markdown_row(row) for row in rows]
    lines += ["", *(f"- {_markdown(said)}" for said in _sentences(comparison))]
    lines += ["", *(f"{_markdown(label)}: {_markdown(said)}  " for label, said in _legend(comparison).items())]
    lines += [f"- {_markdown(said)}" for said in _notes(comparison)]
    lines += ["", *(f"- {_markdown(each.name)}: `{each.signature}`" for each in comparison.systems)]
    return "\n".join(lines)


def as_latex(comparison: SystemComparison) -> str:
    """A table for a paper; needs the packages booktabs and amssymb."""
    header = _header(comparison)
    lines = [rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}", r"\toprule"]
    lines += [" & ".join(_latex(cell) for cell in header) + r" \\", r"\midrule"]
    for row in _rows(comparison):
        lines.append(" & ".join(_latex_number(cell) for cell in row) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    legend = (f"{label}: {said}" for label, said in _legend(comparison).items())
    lines += [f"% {said}" for said in (*_sentences(comparison), *legend, *_notes(comparison))]
    lines += [f"% {each.name}: {each.signature}" for each in comparison.systems]
    return "\n".join(lines)


def _header(comparison: SystemComparison) -> list[str]:
    names = ["system", f"bits per {comparison.unit}", "mask se"]
    if not comparison.pairs:
        return names
    several = ["p (Holm)"] if len(comparison.pairs) > 1 else []
    return [*names, "difference", "mask se", "95 % on other text", "p", *several]


def _rows(comparison: SystemComparison) -> list[list[str]]:
    rows = []
    pairs: list[ComparedPair | None] = [None, *comparison.pairs] if comparison.pairs else []
    or_less = [False, *holm_or_less([pair.p for pair in comparison.pairs])]
    for index, system in enumerate(comparison.systems):
        row = [system.name, f"{system.relation} {system.bits_per_unit:.4f}", said_error(system.mc_stderr)]
        if pairs:
            pair = pairs[index]
            several = len(comparison.pairs) > 1
            own = ["baseline", *[""] * 3] if pair is None else _of_pair(pair)
            corrected = [] if not several else [""] if pair is None else [_p(pair.p_holm, or_less=or_less[index])]
            row += own + corrected
        rows.append(row)
    return rows


def _of_pair(pair: ComparedPair) -> list[str]:
    interval = "n/a" if pair.text_ci95 is None else said_interval(pair.text_ci95, pair.delta)
    return [said_difference(pair.delta), said_error(pair.mask_stderr), interval, _p(pair.p)]


def _p(p: float | None, *, or_less: bool = False) -> str:
    if p is None:
        return "n/a"
    said, less, _ = said_p(p, or_less=or_less).removeprefix("p = ").partition(" or less")
    return f"<={said}" if less else said


def _legend(comparison: SystemComparison) -> dict[str, str]:
    """What the columns mean."""
    said = {f"bits per {comparison.unit}": "= an exact code length, <= a bound, ~<= an estimate of a bound"}
    if not comparison.pairs:
        return said
    pair, masks = comparison.pairs[0], {pair.masks for pair in comparison.pairs}
    ways = {"same": "from differences draw by draw where masks are the same", "independent": "else in squares"}
    how = ", ".join(words for way, words in ways.items() if way in masks) if len(masks) > 1 else _ONE_WAY[pair.masks]
    return (
        said
        | {
            "difference": f"bits per {comparison.unit} less the baseline's; below 0 is better",
            "mask se": f"how far sampling masks may be off, on this text{how and f', {how}'}",
            "95 % on other text, p": f"over {pair.units}, errors from masks included (p by {pair.p_by}, two-sided)",
        }
        | said_of_holm(len(comparison.pairs))
    )


def said_of_holm(count: int) -> dict[str, str]:
    """What the column of corrected p is; nothing where one system is compared, which has none."""
    if count < 2:
        return {}
    return {"p (Holm)": f"corrected for {count} comparisons; the interval, and p, are of each alone"}


def _notes(comparison: SystemComparison) -> list[str]:
    return list(dict.fromkeys(note for pair in comparison.pairs for note in pair.notes))


def _expected(comparison: SystemComparison) -> str:
    expected = comparison.expectation
    assert expected is not None
    each = ", ".join(
        f"{pair.system} p {'n/a' if pair.p_better is None else f'{pair.p_better:.2g}'}" for pair in comparison.pairs
    )
    outcome, rest = "does NOT hold", ""
    if expected.holds and expected.of_bounds:
        outcome = "holds of the baseline's bound"
        rest = (
            " What is shown is fewer bits than that bound, not a better model: the baseline's likelihood may lie "
            "anywhere below its bound."
        )
    elif expected.holds:
        outcome = "holds"
    return (
        f"expected better than the baseline by more than {expected.better_by} bits per {comparison.unit} at level "
        f"{expected.level}: {outcome} ({each}, one-sided).{rest}"
    )


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(_markdown(cell) for cell in cells)} |"


def _markdown(text: str) -> str:
    return re.sub(r"([\\|*_`<>~])", r"\\\1", text)


def _latex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)


def _latex_number(cell: str) -> str:
    relation, _, number = cell.partition(" ")
    if relation in _RELATIONS and number:
        return f"{_RELATIONS[relation]} {number}"
    return re.sub(r"(?<![\w$])-(?=\d)", "$-$", _latex(cell))
