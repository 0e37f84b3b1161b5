"""The score beside what the same text costs those who have learnt nothing beforehand."""

from __future__ import annotations

from bpb_harness.report.charts.bars import Bar, draw_bars
from bpb_harness.report.charts.drawing import Chart, Table
from bpb_harness.result import BpbResult, ReferenceMarks

_TITLE = "What the same text costs others"


def marks_chart(result: BpbResult, marks: ReferenceMarks) -> Chart:
    """The score, the source of the text where it is known, and the reference marks."""
    score, unit = result.length.bits_per_unit, f"bits per {result.unit}"
    bars = [Bar("this model", score, is_main=True)]
    if result.source is not None:
        bars.insert(0, Bar("the source of the text itself", result.source.code_length_bits_per_byte))
    bars.append(Bar("bigrams, learnt as it goes", marks.bigram))
    if marks.xz is not None:
        bars.append(Bar("xz", marks.xz))
    bars += [Bar("unigrams, learnt as it goes", marks.unigram), Bar("every token alike", marks.uniform)]
    if score < marks.bigram:
        beats = f"{100 * (1 - score / marks.bigram):.1f} % less than the {marks.bigram:.4f} of a code that learns"
        sentence = f"At {score:.4f} {unit} the model takes {beats} pairs of tokens as it goes."
    else:
        sentence = (
            f"At {score:.4f} {unit} the model is no better than a code that learns pairs of tokens as it goes, which "
            f"takes {marks.bigram:.4f}: it has learnt nothing that helps with this text."
        )
    sentence += (
        f" Each mark is the length of a code for the same tokens, {marks.num_clean_tokens:,} ids to choose from."
    )
    table = Table(("code", unit), [(bar.label, f"{bar.value:.4f}") for bar in bars])
    return Chart(_TITLE, sentence, draw_bars("marks", _TITLE, bars, unit), table)
