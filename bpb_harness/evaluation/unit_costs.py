"""What the documents and blocks of a scored text cost: the record that a comparison reads.

Documents follow from the costs of tokens. Where a method knows spans alone, a span's cost is spread evenly over its
tokens: the sums stay right, and documents are left out unless no span crosses their borders.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from bpb_harness.byte_count import ByteCounter, Rule
from bpb_harness.costs import BLOCK_UNITS, ScoreCosts, SpanDraws, UnitCosts
from bpb_harness.evaluation.document_costs import scored_documents
from bpb_harness.evaluation.job import Job
from bpb_harness.evaluation.layout import Layout
from bpb_harness.evaluation.sampled_bound import SampledBound, SamplingError
from bpb_harness.evaluation.span_scores import SpanNats
from bpb_harness.result import BpbResult
from bpb_harness.statistics.standard_errors import Draws, level_luck_nats

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_CHUNK_TOKENS = 1 << 20


def costs_of_sampled(job: Job, result: BpbResult, bound: SampledBound, *, is_trusted: bool) -> ScoreCosts:
    """The record of a sampled bound."""
    has_luck = not bound.table.plan.is_independent and bound.grid_shares is None
    luck = level_luck_nats(bound.draws) if has_luck else np.zeros(len(bound.layout))
    draws = _span_draws(bound)
    return _record(
        job, result, bound.layout, bound.window_nats, luck, bound.token_nats, bound.error, draws, is_trusted=is_trusted
    )


def costs_of_known(job: Job, result: BpbResult, layout: Layout, scored: SpanNats, error: SamplingError) -> ScoreCosts:
    """The record of a method that draws no masks."""
    luck = np.zeros(len(layout))
    return _record(job, result, layout, scored.nats, luck, scored.token_nats, error, None, is_trusted=True)


def _span_draws(bound: SampledBound) -> SpanDraws:
    """Draws that enter the bound, then second draws of spans; of answers only what was drawn."""
    plan, draws = bound.table.plan, bound.draws
    drawn = plan.is_drawn[: plan.num_weighed]
    parts = [_taken(draws, drawn)]
    if draws.replicates is not None:
        parts.append(_taken(draws.replicates, np.ones(len(draws.replicates.window), dtype=bool)))
    window, sample, v, level, value = (np.concatenate(column) for column in zip(*parts, strict=True))
    shares = bound.grid_shares
    return SpanDraws(
        window=window.astype(np.int64), sample=sample.astype(np.int64), v=v, level=level, value_nats=value,
        share=np.zeros(0) if shares is None else shares, difficulty=draws.difficulty,
        num_replicates=plan.num_replicates, num_passes=len(bound.passes), is_independent=plan.is_independent,
    )  # fmt: skip


def _taken(draws: Draws, rows: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.generic], ...]:
    assert draws.level is not None
    return tuple(each[rows] for each in (draws.window, draws.sample, draws.v, draws.level, draws.value_nats))


def _record(
    job: Job,
    result: BpbResult,
    layout: Layout,
    span_nats: Floats,
    luck: Floats,
    token_nats: Floats | None,
    error: SamplingError,
    draws: SpanDraws | None,
    *,
    is_trusted: bool,
) -> ScoreCosts:
    text, spans = job.text, layout.spans
    documents, blocks = _units(job, layout, span_nats, luck, token_nats)
    apart = 1.0 if documents is None else _share_apart(job, layout)
    degrees = None if error.degrees_of_freedom is None else float(error.degrees_of_freedom)
    first = 0 if job.answers is not None else int(spans.starts[0])
    counter = ByteCounter(text.tokenizer) if layout.counts_bytes else None
    rate = float(layout.num_units.sum()) / spans.num_tokens
    return ScoreCosts(
        signature=str(result.signature), relation=result.relation, nats=result.length.nats,
        stderr_nats=error.stderr_nats if error.is_known else None, degrees_of_freedom=degrees,
        is_trusted=is_trusted, warning=_warning(result, is_trusted=is_trusted), model=job.identity.digest,
        tokens=text.corpus.digest, text=text.spelled_digest.result(), raw_text=text.corpus.raw_digest,
        tokenizer=text.tokenizer.digest, counts_bytes=layout.counts_bytes, num_unpaid=first,
        unpaid_units=first if counter is None else int(counter.span(text.corpus, 0, first, _rule(job)).sum()),
        vocab_size=int(job.model.vocab_size), context_units=float(spans.input_lengths.max()) * rate,
        share_apart=apart,
        starts=spans.starts.astype(np.int64), ends=spans.ends.astype(np.int64),
        span_units=layout.num_units.astype(np.float64), documents=documents, blocks=blocks, draws=draws,
    )  # fmt: skip


def _share_apart(job: Job, layout: Layout) -> float:
    """Squares of what windows have in each document over the squares of windows."""
    pieces = scored_documents(job, layout).pieces.lengths.astype(np.float64)
    return float((pieces**2).sum() / (layout.lengths.astype(np.float64) ** 2).sum())


def _warning(result: BpbResult, *, is_trusted: bool) -> str:
    """What must not be lost with the findings of the score."""
    said = [] if is_trusted else ["the error from masks is not to be trusted"]
    if result.is_below_source:
        said.append(result.below_source())
    return "; ".join(said)


def _units(
    job: Job, layout: Layout, span_nats: Floats, luck: Floats, token_nats: Floats | None
) -> tuple[UnitCosts | None, UnitCosts]:
    """Documents, where they are known, and blocks."""
    by_block = _Sums()
    for place, columns in _tokens(job, layout, span_nats, luck, token_nats):
        by_block.add(place // BLOCK_UNITS, columns)
    return _documents(job, layout, span_nats, luck, token_nats), by_block.costs()


def _documents(
    job: Job, layout: Layout, span_nats: Floats, luck: Floats, token_nats: Floats | None
) -> UnitCosts | None:
    """None where nothing says where documents end, or spans alone are known and cross their borders."""
    if not job.text.borders.are_known:
        return None
    scored = scored_documents(job, layout)
    if token_nats is not None:
        nats = scored.sums_of_tokens(token_nats)
        of_rates = scored.sums_of_tokens(np.repeat(luck / layout.lengths, layout.lengths))
    elif scored.pieces.lie_in_one_document:
        nats, of_rates = scored.sums_of_spans(span_nats), scored.sums_of_spans(luck)
    else:
        return None
    return UnitCosts(
        nats, nats - of_rates, scored.num_units.astype(np.float64), scored.num_tokens.astype(np.float64)
    )  # fmt: skip


def _tokens(
    job: Job, layout: Layout, span_nats: Floats, luck: Floats, token_nats: Floats | None
) -> Iterator[tuple[Ints, tuple[Floats, Floats, Floats]]]:
    """Paid tokens, a good many at a time: where in the text they begin, and nats, luck and bytes."""
    spans, corpus, lengths = layout.spans, job.text.corpus, layout.lengths
    counter = ByteCounter(job.text.tokenizer) if layout.counts_bytes else None
    rule = _rule(job)
    offset = np.cumsum(lengths) - lengths
    before, upto = 0, 0
    for part in np.split(np.arange(len(spans)), np.flatnonzero(np.diff(offset // _CHUNK_TOKENS)) + 1):
        low, high = int(spans.starts[part[0]]), int(spans.ends[part[-1]])
        which = np.repeat(part, lengths[part])
        position = spans.starts[which] + np.arange(len(which)) - (offset[which] - offset[part[0]])
        if counter is None:
            place, units = position, np.ones(len(which))
        else:
            before += int(counter.span(corpus, upto, low, "exact").sum())
            exact = counter.span(corpus, low, high, "exact")
            place = (before + np.cumsum(exact) - exact)[position - low]
            before, upto = before + int(exact.sum()), high
            spelled = exact if rule == "exact" else counter.span(corpus, low, high, "official")
            units = _fitted(spelled[position - low].astype(np.float64), which - part[0], layout.num_units[part])
        evenly = (span_nats / lengths)[which]
        first = int(offset[part[0]])
        nats = evenly if token_nats is None else token_nats[first : first + len(which)]
        yield place, (nats, (luck / lengths)[which], units)


def _rule(job: Job) -> Rule:
    """By which the bytes of tokens are dealt out; those of answers and raw ones belong to more than tokens."""
    return "official" if job.settings.byte_rule == "official" and job.answers is None else "exact"


def _fitted(units: Floats, which: Ints, wanted: Ints) -> Floats:
    """Bytes of tokens, in proportion, so that those of each span are as many as its score is over."""
    sums = np.bincount(which, weights=units, minlength=len(wanted))
    if np.array_equal(sums, wanted):
        return units
    counts = np.bincount(which, minlength=len(wanted))
    spread = np.where(sums > 0, wanted / np.where(sums > 0, sums, 1.0), wanted / counts)
    return np.asarray(np.where(sums[which] > 0, units * spread[which], spread[which]))


class _Sums:
    """Sums over units that come in any order."""

    def __init__(self) -> None:
        self._sums = np.zeros((4, 0))

    def add(self, unit: Ints, columns: tuple[Floats, Floats, Floats]) -> None:
        count = max(int(unit.max()) + 1, self._sums.shape[1])
        grown = np.zeros((4, count))
        grown[:, : self._sums.shape[1]] = self._sums
        for row, weights in enumerate((*columns, np.ones(len(unit)))):
            grown[row] += np.bincount(unit, weights=weights, minlength=count)
        self._sums = grown

    def costs(self) -> UnitCosts:
        nats, luck, units, tokens = (row.copy() for row in self._sums)
        return UnitCosts(nats, nats - luck, units, tokens)
