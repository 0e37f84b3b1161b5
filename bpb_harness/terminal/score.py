"""A score for people: the number, what it means and how sure it is, its signature, then the rest."""

from __future__ import annotations

from bpb_harness.result import ESTIMATED_BOUND, BpbResult, Remark
from bpb_harness.terminal.meaning import (
    about_masks,
    about_other_text,
    expected,
    headline,
    kind_of_number,
    marks_beside,
    num_windows_in_all,
    ways_to_less_error,
)
from bpb_harness.terminal.page import Page
from bpb_harness.terminal.screen import Screen
from bpb_harness.units import counted

_LABELS = 13  # columns
_WARNING = "WARNING: "
_MAX_SLICES = 20
_MIN_SECONDS = 0.05  # less is not worth a word


def describe(result: BpbResult, screen: Screen | None = None) -> str:
    """The result as text.

    Args:
        result: a score.
        screen: what it is laid out for; None: a file.
    """
    page = Page(screen or Screen(), _LABELS)
    warnings = [each for each in result.remarks if each.is_warning]
    page.paragraph(headline(result), "bold")
    page.gap()
    page.row("meaning", kind_of_number(result))
    page.row("masks", about_masks(result))
    page.row("other text", about_other_text(result))
    for number, way in enumerate(ways_to_less_error(result)):
        page.row("" if number else "for +- 0.01", way)
    if result.expectation is not None and result.bits_per_byte is not None:
        page.row("expected", expected(result.expectation, result.bits_per_byte))
    if result.signature.contract == "off":
        page.row("unchecked", "the number is no better than the network's word: its behaviour was not checked")
    for remark in warnings:
        page.row("WARNING", remark.message.removeprefix(_WARNING), label_style="bold red")
    page.gap()
    page.whole(str(result.signature))
    page.gap()
    _add_size(page, result)
    _add_slices(page, result)
    _add_comparisons(page, result)
    _add_notes(page, [each for each in result.remarks if each not in warnings])
    _add_seconds(page, result)
    return str(page)


def _add_size(page: Page, result: BpbResult) -> None:
    length = result.length
    what, number = "document", result.bits_per_document
    rates = [] if result.bits_per_byte is None else [f"{result.bits_per_token:.4f} bits per token"]
    sizes = [
        counted(length.num_tokens, "token"),
        counted(length.num_bytes, "byte") if length.num_bytes else "bytes not counted",
    ]
    if result.answers is not None:
        what, sizes = "answer", [*sizes, counted(result.answers.num_answers, "answer")]
    elif length.num_windows:
        of_all = f" of {whole:,}" if (whole := num_windows_in_all(result)) is not None else ""
        sizes.append(f"{length.num_windows:,}{of_all} window{'' if (whole or length.num_windows) == 1 else 's'}")
    if length.num_bytes:
        rates.append(f"{length.bytes_per_token:.3f} bytes per token")
    if number is not None and (result.answers is not None or result.bits_per_byte is None):
        rates.append(f"{number:,.2f} bits per {what}")
    elif result.bits_per_byte is None:
        rates.append("bits per document not known")
    page.row("size", f"{', '.join(sizes)}; {', '.join(rates)}")
    if result.terms_nats:
        total = length.nats
        terms = (f"{name} {100 * nats / total:.2f} %" for name, nats in result.terms_nats.items())
        page.row("terms", ", ".join(terms))


def _add_slices(page: Page, result: BpbResult) -> None:
    """The score of each slice; of many, the largest."""
    slices = result.slices or ()
    for number, each in enumerate(slices[:_MAX_SLICES]):
        rate = "no bytes" if each.bits_per_unit is None else f"{each.bits_per_unit:.4f} bits per {result.unit}"
        errors = [f"documents se {_error(each.documents_stderr)}"]
        if result.relation == ESTIMATED_BOUND:
            errors.append(f"mc se {_error(each.mc_stderr)}")
        size = f"{counted(each.num_documents, 'document')}, {counted(each.num_tokens, 'token')}"
        size += "" if each.num_bytes is None else f", {counted(each.num_bytes, 'byte')}"
        page.row("" if number else "slices", f"{each.slice}: {rate} ({', '.join(errors)}; {size})")
    if len(slices) > _MAX_SLICES:
        page.row("", f"and {len(slices) - _MAX_SLICES:,} smaller ones: --format json has all")


def _error(stderr: float | None) -> str:
    return "n/a" if stderr is None else f"{stderr:.4f}"


def _add_comparisons(page: Page, result: BpbResult) -> None:
    if result.reference_marks is not None:
        page.row("marks", marks_beside(result, result.reference_marks))
    if result.source is not None:
        source = result.source
        page.row(
            "source",
            f"the source itself ({source.description}) needs {source.code_length_bits_per_byte:.4f} bits per byte for "
            f"the whole of this text (entropy rate {source.entropy_bits_per_byte:.4f})",
        )
    if result.comparison is not None:
        both = result.comparison
        page.row("bounds", f"discrete {both.discrete:.4f}, mc {both.mc:.4f} bits per byte: {both.sentence()}")
        curve = (f"{'inf' if steps == float('inf') else int(steps)}: {bpb:.4f}" for steps, bpb in both.t_curve)
        page.row("T-curve", f"from f(u): {', '.join(curve)}")


def _add_notes(page: Page, notes: list[Remark]) -> None:
    for number, remark in enumerate(notes):
        page.row("" if number else "notes" if len(notes) > 1 else "note", remark.message)


def _add_seconds(page: Page, result: BpbResult) -> None:
    forward = f"{result.num_forward_tokens:,}" if result.num_forward_tokens else "no"
    page.row("scoring", f"{forward} forward tokens in {result.seconds:.1f} s on {result.device}")
    spent = sorted(result.seconds_by_phase.items(), key=lambda phase: -phase[1])
    told = [f"{name} {seconds:.1f}" for name, seconds in spent if seconds >= _MIN_SECONDS]
    if told:
        page.row("seconds", f"{sum(result.seconds_by_phase.values()):.1f} in all: {', '.join(told)}")
