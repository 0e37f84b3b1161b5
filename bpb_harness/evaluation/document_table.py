"""One row a document, and the score of slices of them, with the errors that the draws really show.

An error of the sampling of masks is known where nothing is drawn (0), where draws are independent (answers), where all
masks are gone through at drawn noise levels, and where several passes were made, each of which estimates every document
afresh, eight or more. One stratified pass shows none: its draws of a window share one jitter, and its windows one
shift.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np
import numpy.typing as npt

from bpb_harness.evaluation.answers import shows_no_error
from bpb_harness.evaluation.document_costs import ScoredDocuments, scored_documents
from bpb_harness.evaluation.job import Job
from bpb_harness.evaluation.layout import Layout
from bpb_harness.evaluation.sampled_bound import AGREEING, SampledBound
from bpb_harness.evaluation.span_scores import SpanNats
from bpb_harness.result import SliceScore
from bpb_harness.text.labels import keys_of_tokens
from bpb_harness.units import NATS_PER_BIT

if TYPE_CHECKING:
    import pandas as pd

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

# Fewer passes say little of single documents, whose estimates have long tails: a mask that hides few tokens of a window
# counts for all of them, in one pass of many.
MIN_PASSES = 8


@final
@dataclass(frozen=True)
class DocumentCosts:
    """What each document costs.

    Attributes:
        documents: which they are.
        nats: of each, (D,).
        variance: of each estimate, (D,) nats squared; 0 where nothing was drawn, NaN where that is not known. Of
            documents that share no window these are independent.
        by_pass: what each of several passes says by itself, (P, D) nats; None where there is one.
        unknown: whose own error its draws do not show, (D,); None where that is of none.
    """

    documents: ScoredDocuments
    nats: Floats
    variance: Floats
    by_pass: Floats | None = None
    unknown: npt.NDArray[np.bool_] | None = None

    def variance_of(self, which: Ints) -> float:
        """Variance of the sum over some documents, nats squared; NaN where that is not known."""
        if self.by_pass is None:
            total = math.fsum(self.variance[which])
            silent = which[:0] if self.unknown is None else which[self.unknown[which]]
            agree = len(silent) > 0 and math.sqrt(total) <= AGREEING * math.fsum(np.abs(self.nats[silent]))
            return math.nan if agree else total
        return float(_variance_of_mean(self.by_pass[:, which].sum(axis=1)))


def document_costs_of_sampled(job: Job, layout: Layout, bound: SampledBound) -> DocumentCosts:
    """What documents cost by the draws of a bound."""
    documents = scored_documents(job, layout)
    nats = _sums(documents, bound.window_nats, bound.token_nats)
    if len(bound.passes) >= MIN_PASSES:
        passes = [_sums(documents, *one) for one in bound.each_pass()]
        by_pass = np.stack(passes)
        return DocumentCosts(documents, nats, _variance_of_mean(by_pass), by_pass)
    if bound.table.plan.is_independent:
        variance = documents.sums_of_spans(bound.span_variances)
        is_drawn = np.bincount(bound.table.plan.window[bound.table.plan.is_drawn], minlength=len(layout)) > 0
        may_vary = (documents.num_tokens > 1) | getattr(job.model, "time_conditioned", False)
        drawn = documents.sums_of_spans(is_drawn.astype(np.float64)) > 0
        return DocumentCosts(documents, nats, variance, unknown=shows_no_error(nats, variance, drawn, may_vary))
    return DocumentCosts(documents, nats, np.full(len(documents), np.nan))


def document_costs_of_known(job: Job, layout: Layout, scored: SpanNats) -> DocumentCosts:
    """What documents cost by a method that draws no masks."""
    documents = scored_documents(job, layout)
    nats = documents.sums_of_tokens(scored.token_nats)
    if scored.variance is None:
        return DocumentCosts(documents, nats, np.zeros(len(documents)))
    # Of a window in parts of two documents only the whole error is known.
    pieces = documents.pieces
    shared = np.bincount(pieces.span, minlength=len(layout)) > 1
    variance = np.where(shared, np.nan, scored.variance)[pieces.span]
    of_documents = np.bincount(documents.of_piece, weights=variance, minlength=len(documents))
    return DocumentCosts(documents, nats, np.asarray(of_documents, dtype=np.float64))


def _sums(documents: ScoredDocuments, window_nats: Floats, token_nats: Floats | None) -> Floats:
    return documents.sums_of_spans(window_nats) if token_nats is None else documents.sums_of_tokens(token_nats)


def _variance_of_mean(by_pass: Floats) -> Floats:
    return np.asarray(by_pass.var(axis=0, ddof=1) / len(by_pass), dtype=np.float64)


def document_frame(job: Job, layout: Layout, costs: DocumentCosts) -> pd.DataFrame:
    """One row a document of which anything was scored; docs/tables.md says what the columns are."""
    import pandas as pd  # deferred: takes a second to import

    documents, text = costs.documents, job.text
    keys: list[str] | list[str | None]
    if text.labels is None:
        keys = keys_of_tokens(text.corpus, text.tokenizer, text.borders, documents.number.tolist())
    else:
        keys = [text.labels.keys[number] for number in documents.number.tolist()]
    bits = costs.nats / NATS_PER_BIT
    columns = {"document": documents.number, "key": pd.array(keys, dtype="string")}
    if text.labels is not None and text.labels.slices is not None:
        columns["slice"] = pd.array([text.labels.slices[number] for number in documents.number], dtype="string")
    columns["num_tokens"] = documents.num_tokens
    if documents.num_bytes is not None:
        columns["num_bytes"] = documents.num_bytes
    columns["bits"] = bits
    if documents.num_bytes is not None:
        columns["bits_per_byte"] = bits / np.where(documents.num_bytes > 0, documents.num_bytes, np.nan)
    stderr = np.sqrt(costs.variance) / NATS_PER_BIT
    columns["stderr_bits"] = stderr if costs.unknown is None else np.where(costs.unknown, np.nan, stderr)
    return pd.DataFrame(columns | _contexts(job, layout, documents))


def _contexts(job: Job, layout: Layout, documents: ScoredDocuments) -> dict[str, Ints]:
    """In how many windows each document was scored, what those see before they pay, and how many see another one."""
    pieces, spans, starts = documents.pieces, layout.spans, job.text.borders.starts
    row, count = documents.of_piece, len(documents)
    ends = np.append(starts[1:], job.text.corpus.num_tokens)
    longest = np.zeros(count, dtype=np.int64)
    np.maximum.at(longest, row, spans.context_lengths[pieces.span])
    sees_others = (spans.context_starts[pieces.span] < starts[pieces.document]) | (
        spans.ends[pieces.span] > ends[pieces.document]
    )
    return {
        "num_windows": np.bincount(row, minlength=count),
        "longest_context": longest,
        "num_shared_windows": np.bincount(row, weights=sees_others, minlength=count).astype(np.int64),
    }


def slice_scores(job: Job, costs: DocumentCosts) -> tuple[SliceScore, ...]:
    """The score of each slice, the one of most units first."""
    labels, documents = job.text.labels, costs.documents
    assert labels is not None
    assert labels.slices is not None
    names, of_document = np.unique(np.array([labels.slices[i] for i in documents.number]), return_inverse=True)
    order = np.argsort(of_document, kind="stable")
    parts = np.split(order, np.cumsum(np.bincount(of_document))[:-1])
    scores = [_slice(str(name), costs, part) for name, part in zip(names, parts, strict=True)]
    return tuple(sorted(scores, key=lambda each: -(each.num_tokens if each.num_bytes is None else each.num_bytes)))


def _slice(name: str, costs: DocumentCosts, which: Ints) -> SliceScore:
    documents, bits = costs.documents, costs.nats[which] / NATS_PER_BIT
    units, total = documents.num_units[which], math.fsum(bits)
    num_units, count = int(units.sum()), len(which)
    mc_stderr = documents_stderr = None
    variance = costs.variance_of(which)
    if num_units and not math.isnan(variance):
        mc_stderr = math.sqrt(variance) / NATS_PER_BIT / num_units
    if num_units and count > 1:  # of a ratio of sums (Cochran, Sampling Techniques, chapter 6)
        squares = math.fsum((bits - total / num_units * units) ** 2)
        documents_stderr = math.sqrt(squares * count / (count - 1.0)) / num_units
    return SliceScore(
        slice=name,
        num_documents=count,
        num_tokens=int(documents.num_tokens[which].sum()),
        num_bytes=None if documents.num_bytes is None else num_units,
        bits=total,
        mc_stderr=mc_stderr,
        documents_stderr=documents_stderr,
    )
