"""Answers given their prompts: what each costs, with its own error, and what a reader should know of how they lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np
import numpy.typing as npt

from bpb_harness.evaluation.job import Job
from bpb_harness.evaluation.layout import Layout
from bpb_harness.evaluation.sampled_bound import AGREEING, SampledBound
from bpb_harness.evaluation.span_scores import SpanNats
from bpb_harness.result import AnswerSummary, Remark
from bpb_harness.text.answers import RAW
from bpb_harness.units import NATS_PER_BIT

if TYPE_CHECKING:
    import pandas as pd

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@final
@dataclass(frozen=True)
class AnswerCosts:
    """What each span of answers costs.

    Attributes:
        nats: of each span, (S,).
        variance: of each span's estimate, (S,) nats squared; 0 where nothing was drawn, NaN where that is not known.
        is_drawn: whether its masks, or its noise levels, were drawn, (S,).
    """

    nats: Floats
    variance: Floats
    is_drawn: Bools


def answer_costs_of_sampled(bound: SampledBound) -> AnswerCosts:
    """Of answers, whose draws are independent of one another."""
    plan = bound.table.plan
    drawn = np.bincount(plan.window[plan.is_drawn], minlength=len(bound.layout)) > 0
    return AnswerCosts(bound.window_nats, bound.span_variances, drawn)


def shows_no_error(nats: Floats, variance: Floats, is_drawn: Bools, may_vary: Bools) -> Bools:
    """Of which estimates all draws agree, but for rounding: they may have met one mask, and say nothing of others.

    Args:
        nats: (A,).
        variance: of each, (A,) nats squared.
        is_drawn: whether anything was.
        may_vary: whether another draw can cost something else: no mask but one hides a single token.
    """
    return np.asarray(is_drawn & may_vary & (np.sqrt(variance) <= AGREEING * np.abs(nats)))


def answer_costs_of_known(scored: SpanNats) -> AnswerCosts:
    """Of a method that draws no masks."""
    variance = np.zeros(len(scored.nats)) if scored.variance is None else scored.variance
    return AnswerCosts(scored.nats, variance, np.full(len(scored.nats), scored.variance is not None))


def summarise(job: Job, costs: AnswerCosts) -> AnswerSummary | None:
    """What a result says of its answers; None where text is scored."""
    answers, text = job.answers, job.text.answers
    if answers is None:
        return None
    assert text is not None
    scored = slice(len(answers))
    return AnswerSummary(
        num_answers=len(answers),
        num_sampled=int((answers.of_spans(costs.is_drawn.astype(np.float64)) > 0).sum()),
        num_prompts_cut=int((answers.num_cut > 0).sum()),
        num_borders_moved=int((text.moved_tokens[scored] > 0).sum()),
    )


def answer_frame(job: Job, layout: Layout, costs: AnswerCosts) -> pd.DataFrame:
    """One row an answer.

    Columns: document (counted from 0), source (its file, and line or row), num_context (tokens of its prompt that are
    visible, the token between documents among them), num_cut (those that are not), num_tokens, num_bytes, nats, bits,
    bits_per_byte (both left out where no bytes are counted), stderr_bits (of the sampling of this answer alone; 0 where
    nothing was drawn, none where one draw, or draws that agree, tell nothing), is_sampled.
    """
    import pandas as pd  # deferred: takes a second to import

    answers, text = job.answers, job.text.answers
    assert answers is not None
    assert text is not None
    nats, num_bytes = answers.of_spans(costs.nats), answers.of_spans(layout.num_units.astype(np.float64))
    variance, is_sampled = answers.of_spans(costs.variance), answers.of_spans(costs.is_drawn.astype(np.float64)) > 0
    num_tokens = answers.of_spans(layout.lengths.astype(np.float64)).astype(np.int64)
    may_vary = (num_tokens > 1) | getattr(job.model, "time_conditioned", False)
    stderr = np.where(shows_no_error(nats, variance, is_sampled, may_vary), np.nan, np.sqrt(variance))
    frame = pd.DataFrame(
        {
            "document": np.arange(len(answers)),
            "source": list(text.places[: len(answers)]),
            "num_context": answers.num_context,
            "num_cut": answers.num_cut,
            "num_tokens": num_tokens,
            "num_bytes": num_bytes.astype(np.int64),
            "nats": nats,
            "bits": nats / NATS_PER_BIT,
            "bits_per_byte": nats / NATS_PER_BIT / np.where(num_bytes > 0, num_bytes, np.nan),
            "stderr_bits": stderr / NATS_PER_BIT,
            "is_sampled": is_sampled,
        }
    )
    return frame if layout.counts_bytes else frame.drop(columns=["num_bytes", "bits_per_byte"])


def answer_remarks(job: Job) -> list[Remark]:
    """What is given, where borders moved, what of prompts was cut, and bytes that are not as written."""
    answers, text = job.answers, job.text.answers
    assert answers is not None
    assert text is not None
    count, scored = len(answers), slice(len(answers))
    given = f"{count:,} answers, each given its prompt and its number of tokens: that it ends is not paid for"
    remarks = [Remark("answers", given)]
    moved = text.moved_tokens[scored]
    if moved.any():
        first = text.places[int(np.argmax(moved > 0))]
        remarks.append(
            Remark(
                "answers.border",
                f"in {int((moved > 0).sum()):,} of {count:,} documents the prompt does not end where a token "
                f"does: up to {int(moved.max())} of its last tokens are paid for too, but only the answer has bytes "
                f"(the first: {first})",
            )
        )
    if answers.num_cut.any():
        whole = int(((answers.num_context == 0) & (answers.num_cut > 0)).sum())
        remarks.append(
            Remark(
                "answers.prompt-cut",
                f"{int((answers.num_cut > 0).sum()):,} of {count:,} prompts were cut from the left to fit into "
                f"{job.context_length} tokens with their answers: by up to {int(answers.num_cut.max()):,} tokens"
                + (f", {whole:,} of them whole" if whole else ""),
            )
        )
    rule = job.settings.byte_rule
    if rule in text.num_bytes:
        spelled, written = text.num_bytes[rule][scored], text.num_bytes[RAW][scored]
        differs = spelled != written
        if differs.any():
            first = text.places[int(np.argmax(differs))]
            remarks.append(
                Remark(
                    "answers.bytes",
                    f"the tokens of {int(differs.sum()):,} of {count:,} answers spell fewer bytes by the rule {rule} "
                    f"than are written, {int(spelled.sum()):,} of {int(written.sum()):,} in all (the first: {first}); "
                    "--bytes raw counts those",
                )
            )
    if job.bounds and job.bounds[0].num_samples == 1:
        one = "one draw an answer tells nothing of its error; pass --samples 2 or more"
        remarks.append(Remark("answers.one-draw", one))
    return remarks
