"""What the documents and blocks of a scored text cost: the record that a comparison reads.

Documents follow from the costs of tokens. Where a method knows spans alone, a span's cost is spread evenly over its
tokens: the sums stay right, and documents are left out unless no span crosses their borders.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from bpb_harness.costs import ScoreCosts, SpanDraws, UnitCosts
from bpb_harness.evaluation.cost_pieces import CostPieces, rule_of_tokens
from bpb_harness.evaluation.document_costs import ScoredDocuments
from bpb_harness.evaluation.job import Job
from bpb_harness.evaluation.layout import Layout
from bpb_harness.evaluation.sampled_bound import SampledBound, SamplingError
from bpb_harness.evaluation.span_scores import SpanNats
from bpb_harness.result import BpbResult
from bpb_harness.statistics.standard_errors import Draws, level_luck_nats
from bpb_harness.text.document_pieces import DocumentPieces

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
NatsOfPieces = Callable[[DocumentPieces], Floats | None]  # None where spans alone are known


def costs_of_sampled(
    job: Job, result: BpbResult, bound: SampledBound, pieces: CostPieces, *, is_trusted: bool
) -> ScoreCosts:
    """The record of a sampled bound."""
    has_luck = not bound.table.plan.is_independent and bound.grid_shares is None
    luck = level_luck_nats(bound.draws) if has_luck else np.zeros(len(bound.layout))
    draws = _span_draws(bound)
    return _record(
        job, result, bound.layout, pieces, bound.window_nats, luck, bound.nats_of, bound.error, draws,
        is_trusted=is_trusted,
    )  # fmt: skip


def costs_of_known(
    job: Job, result: BpbResult, layout: Layout, scored: SpanNats, pieces: CostPieces, error: SamplingError
) -> ScoreCosts:
    """The record of a method that draws no masks."""
    luck = np.zeros(len(layout))
    return _record(
        job, result, layout, pieces, scored.nats, luck, lambda parts: parts.of_tokens(scored.token_nats), error, None,
        is_trusted=True,
    )  # fmt: skip


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
    pieces: CostPieces,
    span_nats: Floats,
    luck: Floats,
    nats_of: NatsOfPieces,
    error: SamplingError,
    draws: SpanDraws | None,
    *,
    is_trusted: bool,
) -> ScoreCosts:
    text, spans = job.text, layout.spans
    documents = _documents(pieces.documents, layout, span_nats, luck, nats_of)
    blocks = _blocks(pieces, layout, span_nats, luck, nats_of)
    apart = 1.0 if documents is None or pieces.documents is None else _share_apart(pieces.documents, layout)
    degrees = None if error.degrees_of_freedom is None else float(error.degrees_of_freedom)
    first = 0 if job.answers is not None else int(spans.starts[0])
    counter = text.counter if layout.counts_bytes else None
    rate = float(layout.num_units.sum()) / spans.num_tokens
    return ScoreCosts(
        signature=str(result.signature), relation=result.relation, nats=result.length.nats,
        stderr_nats=error.stderr_nats if error.is_known else None, degrees_of_freedom=degrees,
        is_trusted=is_trusted, warning=_warning(result, is_trusted=is_trusted), model=job.identity.digest,
        tokens=text.corpus.digest, text=text.spelled_digest.result(), raw_text=text.corpus.raw_digest,
        tokenizer=text.tokenizer.digest, counts_bytes=layout.counts_bytes, num_unpaid=first,
        unpaid_units=first if counter is None else int(counter.span(text.corpus, 0, first, rule_of_tokens(job)).sum()),
        vocab_size=int(job.model.vocab_size), context_units=float(spans.input_lengths.max()) * rate,
        share_apart=apart,
        starts=spans.starts.astype(np.int64), ends=spans.ends.astype(np.int64),
        span_units=layout.num_units.astype(np.float64), documents=documents, blocks=blocks, draws=draws,
    )  # fmt: skip


def _share_apart(scored: ScoredDocuments, layout: Layout) -> float:
    """Squares of what windows have in each document over the squares of windows."""
    pieces = scored.pieces.lengths.astype(np.float64)
    return float((pieces**2).sum() / (layout.lengths.astype(np.float64) ** 2).sum())


def _warning(result: BpbResult, *, is_trusted: bool) -> str:
    """What must not be lost with the findings of the score."""
    said = [] if is_trusted else ["the error from masks is not to be trusted"]
    if result.is_below_source:
        said.append(result.below_source())
    return "; ".join(said)


def _blocks(pieces: CostPieces, layout: Layout, span_nats: Floats, luck: Floats, nats_of: NatsOfPieces) -> UnitCosts:
    """Blocks: of spans' costs each token has its share."""
    blocks = pieces.blocks
    share, of_pieces = blocks.lengths / layout.lengths[blocks.span], nats_of(blocks)
    nats = pieces.sums_of_blocks(span_nats[blocks.span] * share if of_pieces is None else of_pieces)
    of_rates = pieces.sums_of_blocks(luck[blocks.span] * share)
    num_tokens = pieces.sums_of_blocks(blocks.lengths.astype(np.float64))
    return UnitCosts(nats, nats - of_rates, pieces.sums_of_blocks(pieces.units), num_tokens)


def _documents(
    scored: ScoredDocuments | None, layout: Layout, span_nats: Floats, luck: Floats, nats_of: NatsOfPieces
) -> UnitCosts | None:
    """None where nothing says where documents end, or spans alone are known and cross their borders."""
    if scored is None:
        return None
    pieces = scored.pieces
    if (of_pieces := nats_of(pieces)) is not None:
        nats = scored.sums_of_pieces(of_pieces)
        of_rates = scored.sums_of_pieces(luck[pieces.span] * (pieces.lengths / layout.lengths[pieces.span]))
    elif pieces.lie_in_one_document:
        nats, of_rates = scored.sums_of_spans(span_nats), scored.sums_of_spans(luck)
    else:
        return None
    return UnitCosts(
        nats, nats - of_rates, scored.num_units.astype(np.float64), scored.num_tokens.astype(np.float64)
    )  # fmt: skip
