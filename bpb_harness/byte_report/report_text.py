"""Counts of bytes for people: the number, what it is, every rule beside it, where they differ, the findings."""

from __future__ import annotations

from bpb_harness.byte_count.ground_truth import Reason
from bpb_harness.byte_report.report import OTHER_DOCUMENTS, ByteReport
from bpb_harness.findings import Severity
from bpb_harness.terminal.page import Page, Style
from bpb_harness.terminal.screen import Screen
from bpb_harness.terminal.table import Column, add_table

_LABELS = 13  # columns
_SEVERITIES: dict[Severity, Style] = {Severity.REFUTES: "bold red", Severity.WARNS: "bold yellow"}
_COUNTS = (Column("bytes"), Column("", is_number=True), Column("per token", is_number=True), Column("to official"))
_DIFFERENCES = (Column("compared"), Column("documents", is_number=True), Column("first at"), Column("why"))


def describe(report: ByteReport, screen: Screen | None = None) -> str:
    """The report as text.

    Args:
        report: the counts.
        screen: what it is laid out for; None: a file.
    """
    page = Page(screen or Screen(), _LABELS)
    rate = report.num_bytes_official / report.corpus.num_tokens
    page.paragraph(f"{report.num_bytes_official:,} bytes by the official rule, {rate:.6f} per token", "bold")
    page.gap()
    page.row("meaning", _meaning(report))
    page.row("text", _text(report))
    tokenizer = report.tokenizer
    page.row(
        "tokenizer", f"{tokenizer.name} ({tokenizer.kind}, {tokenizer.vocab_size:,} pieces, {tokenizer.digest[:8]})"
    )
    page.row("documents", f"{report.num_documents:,}, {_borders(report)}")
    page.row("lossless", _lossless(report), "" if report.void is None else "bold red")
    page.gap()
    _add_counts(page, report)
    page.gap()
    _add_differences(page, report)
    for note in tokenizer.notes:
        page.row("note", note)
    for found in report.findings:
        page.paragraph(f"{found.code} {found.severity.value}", _SEVERITIES.get(found.severity, ""))
        page.paragraph(found.message, indent=2)
    if not report.findings:
        page.paragraph("no findings")
    return str(page)


def _meaning(report: ByteReport) -> str:
    """Whether it is what stands behind a score."""
    official, exact = report.num_bytes_official, report.num_bytes_exact
    if report.void is not None:
        return "nothing that bits may be divided by (see lossless)"
    divides = "what bits are divided by (bpb-eval --bytes official)"
    if official == exact:
        return f"{divides}; it is also what the pieces spell, exactly"
    ratio = f", x {exact / official:.5f}" if official else ""
    return f"{divides}; the pieces spell {exact:,}{ratio} (--bytes exact): which of the two a score uses, it must say"


def _text(report: ByteReport) -> str:
    corpus = report.corpus
    form = "" if corpus.form in ("token shards", "") else f" ({corpus.form})"
    return f"{corpus.name}@{corpus.digest[:8]}{form}, {corpus.num_tokens:,} tokens"


def _borders(report: ByteReport) -> str:
    """What sets documents off, and what names it."""
    named_by = "" if report.borders.token is None else f" ({report.borders.token.where})"
    return f"{report.borders}{named_by}"


def _lossless(report: ByteReport) -> str:
    """Whether the tokens give the text back, as far as is known."""
    unknown = f"{report.num_unknown_tokens:,} unknown tokens"
    if report.void is not None and report.void.code == OTHER_DOCUMENTS.code:
        return f"no: the tokens are not those of the documents ({report.void.code}); {unknown}"
    if report.void is not None:
        lost = "no: the tokens do not give the text back, and there are no bits per byte (bpb-eval --bytes none)"
        return f"{lost}; {unknown}"
    if not report.lossless:
        literal = report.truth is None or report.truth.pieces.reasons[Reason.LITERAL_SYMBOL]
        symbol = "the documents hold a literal U+2581, which comes back as a space (BPB176)"
        joined = "a space that starts a document does not come back: the tokenizer puts one before each"
        return f"no: {symbol if literal else joined}; {unknown}"
    if report.truth is None:
        return f"yes, as far as tokens alone can tell (--docs holds them against the text); {unknown}"
    compared = f"the {report.truth.num_documents:,} documents that were compared"
    which = "the documents" if report.compares_all else compared
    return f"yes: the tokens give {which} back; {unknown}"


def _add_counts(page: Page, report: ByteReport) -> None:
    truth = report.truth
    counts = {"official": report.num_bytes_official, "exact": report.num_bytes_exact}
    if truth is not None and report.compares_all:
        counts |= {"normalised text": truth.num_bytes_normalized, "raw text": truth.num_bytes_raw}
    add_table(page, _COUNTS, _rates(counts, report.corpus.num_tokens), has_prose=False)
    if truth is None or not truth.num_documents or report.compares_all:
        return
    # Bytes of some documents over the tokens of all would mean nothing: these stand for themselves.
    page.gap()
    page.paragraph(f"the first {truth.num_documents:,} documents, {truth.num_tokens:,} tokens")
    counts = {
        "official": truth.num_bytes_official,
        "exact": truth.num_bytes_exact,
        "normalised text": truth.num_bytes_normalized,
        "raw text": truth.num_bytes_raw,
    }
    add_table(page, _COUNTS, _rates(counts, truth.num_tokens), has_prose=False)


def _rates(counts: dict[str, int], num_tokens: int) -> list[tuple[str, str, str, str]]:
    """A row each, per token and as a multiple of the official count, which comes first."""
    official = counts["official"]
    return [
        (name, f"{count:,}", f"{count / num_tokens:.6f}", f"x {count / official:.5f}" if official else "")
        for name, count in counts.items()
    ]


def _add_differences(page: Page, report: ByteReport) -> None:
    """Where counts, or texts, part: how many documents, the first of them, and why."""
    truth = report.truth
    if truth is None:
        return
    rows = []
    for name, comparison in (
        ("official - exact", truth.official),
        ("exact - normalised", truth.pieces),
        ("normalised - raw", truth.normaliser),
        ("letters", truth.letters),
        ("shards - documents", truth.tokens),
    ):
        unit = "token" if comparison is truth.tokens else "byte"
        for reason, first in comparison.firsts.items():
            place = f"document {first.document}, {unit} {first.position:,}"
            rows.append((name, f"{comparison.reasons[reason]:,}", place, reason.value))
    if not rows:
        page.paragraph("nothing differs")
        page.gap()
        return
    page.paragraph("where they differ")
    add_table(page, _DIFFERENCES, rows)
    page.gap()
