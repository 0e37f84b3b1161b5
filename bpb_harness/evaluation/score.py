"""From a job to a result: the sampled bounds, and the methods that do not sample."""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from bpb_harness.adaptation.chunks import Chunk
from bpb_harness.denoiser import Denoiser
from bpb_harness.distributed import Processes, open_processes
from bpb_harness.errors import UsageError
from bpb_harness.estimators import (
    AutoregressiveCode,
    ChainRule,
    DiscreteBound,
    ExactBound,
)
from bpb_harness.evaluation.adaptation_file import Arrays
from bpb_harness.evaluation.adapting import Adapting, adapting, joined
from bpb_harness.evaluation.answers import (
    AnswerCosts,
    answer_costs_of_known,
    answer_costs_of_sampled,
    summarise,
)
from bpb_harness.evaluation.asking_again import answering_process, look_again, watching
from bpb_harness.evaluation.beside import Beside
from bpb_harness.evaluation.cost_pieces import CostPieces, cost_pieces
from bpb_harness.evaluation.document_table import (
    document_costs_of_known,
    document_costs_of_sampled,
)
from bpb_harness.evaluation.draw_file import keep_score
from bpb_harness.evaluation.job import Job, TokenCount
from bpb_harness.evaluation.layout import Layout
from bpb_harness.evaluation.passes import sample_bounds
from bpb_harness.evaluation.programs_ahead import start_programs
from bpb_harness.evaluation.reference_marks import marks_beside
from bpb_harness.evaluation.remarks import layout_remarks, sampling_remarks
from bpb_harness.evaluation.sampled_bound import SampledBound, SamplingError, enumeration_error, known_nats
from bpb_harness.evaluation.second_answers import Asked, AskedMasks, AskedSpans, AskedSteps
from bpb_harness.evaluation.settings import describe_device
from bpb_harness.evaluation.span_scores import SpanNats, score_spans
from bpb_harness.evaluation.surprisal import surprisal_of_known, surprisal_of_sampled
from bpb_harness.evaluation.tables import tables_of
from bpb_harness.evaluation.trust import Contract
from bpb_harness.evaluation.unit_costs import costs_of_known, costs_of_sampled
from bpb_harness.freed_memory import give_back
from bpb_harness.kernels.loading import load_kernels
from bpb_harness.result import (
    UNTRUSTED_ERROR,
    UPPER_BOUND,
    BpbResult,
    Comparison,
    Remark,
    SourceFloor,
    Versions,
)
from bpb_harness.statistics.standard_errors import corpus_stderr
from bpb_harness.text.spans import Spans
from bpb_harness.torchrun import is_first_process
from bpb_harness.units import nats_to_bits

Scored = tuple[BpbResult, Asked]


def score(job: Job, require_sound_text: Callable[[], object] = lambda: None) -> BpbResult:
    """Score a network that is already loaded; its behaviour is checked, before and after, as the settings say.

    Args:
        job: what is scored.
        require_sound_text: waits for whoever looks at the text meanwhile, and raises what is wrong with it.

    Raises:
        HarnessError: for anything that cannot be scored; what is wrong with the text first.
    """
    with job.clock.phase("checks"):
        try:
            contract = _checked(job)
        except Exception:  # not of who interrupts, and wants to wait for nothing
            require_sound_text()
            raise
        require_sound_text()
        result = _score_and_check(job, contract)
    return replace(result, seconds_by_phase=job.clock.seconds)


def _checked(job: Job) -> Contract | None:
    """The checks before the score; what a GPU will need is begun meanwhile."""
    job.require_scorable()
    settings = job.settings
    if job.device.type == "cuda":
        load_kernels(job.device)  # for a network in memory, which was not loaded here
        start_programs(job)
        if _wants_costs(job):
            job.text.spelled_digest.start()
    return Contract(job) if settings.check_contract else None


def _score_and_check(job: Job, contract: Contract | None) -> BpbResult:
    settings = job.settings
    with nullcontext() if contract is None else answering_process(job) as process:
        watched = job if process is None else watching(job, process)
        with open_processes(adds_gradients=settings.ttt is not None) as processes, job.clock.phase("scoring"):
            if processes.count > 1:
                _require_one_score(job, processes)
            with job.clock.phase("bytes"):
                layout = job.lay_out(processes)
                give_back()
            pieces = Beside(partial(cost_pieces, job, layout), "pieces")
            if job.device.type == "cuda" and _wants_costs(job):
                pieces.start()
            marks = marks_beside(job, layout)
            check_again = None if contract is None else contract.check_again
            learning = nullcontext() if settings.ttt is None else adapting(job, layout, processes, check_again)
            with learning as adaptation:
                score_all = _score_bound if job.bounds else _score_without_masks
                result, asked = score_all(watched, layout, processes, adaptation, pieces)
            processes.together(job.text.corpus.require_unchanged)
        result = with_remarks(result, *layout_remarks(job, result))
        if is_first_process():
            with job.clock.phase("marks"):
                result = replace(result, reference_marks=marks())
        by_precision: Callable[[], list[Remark]] = list
        if contract is not None:
            if is_as_loaded := adaptation is None or adaptation.can_undo:
                contract.check_again()
            if is_first_process():
                job.clock.tell("checks: a second look")
                if job.device.type == "cuda":
                    give_back()  # before the network is loaded once more
                by_precision = contract.precision_beside(result) if is_as_loaded else list
                look_again(job, result, asked, process, adaptation)
    if settings.resume is not None and adaptation is None and is_first_process():
        assert result.costs is not None
        keep_score(Path(settings.resume), result.costs)
    if contract is None:
        return result
    return with_remarks(result, *contract.remarks, *by_precision())


def _require_one_score(job: Job, processes: Processes) -> None:
    """Refuse processes whose networks, texts or tokenizers are not all the same.

    Each reads its own, or brings its own network, and a file may have been written to between the one and the other.
    """
    text = job.text
    brought = processes.gather((job.identity.digest, text.corpus.digest, text.tokenizer.digest))
    for what, digests in zip(("network", "text", "tokenizer"), zip(*brought, strict=True), strict=True):
        if len(different := sorted({digest[:8] for digest in digests})) > 1:
            raise UsageError(
                f"processes that score one {what}",
                seen=f"{what}s {', '.join(different)}",
                expected="the same in each",
                hint=None if job.source is None else "score copies of files that nothing writes to",
            )


def _wants_costs(job: Job) -> bool:
    """Whether what a comparison needs is asked for, or kept with the draws."""
    settings = job.settings
    return settings.with_costs or (settings.resume is not None and bool(job.bounds))


def _score_bound(
    job: Job, layout: Layout, processes: Processes, adaptation: Adapting | None, pieces: Beside[CostPieces]
) -> Scored:
    settings = job.settings
    find_stretches = (lambda: pieces.result().stretches) if settings.kept_costs == "stretches" else None
    sampled = sample_bounds(job, layout, processes, adaptation, find_stretches)
    bound, tables = sampled.bounds[0], [each.table for each in sampled.bounds]
    costs = None if job.answers is None else answer_costs_of_sampled(bound)
    surprisal = surprisal_of_sampled(job, bound, processes) if settings.surprisal else None
    signature = job.signature(layout, len(bound.passes))
    asked_for: dict[str, Any] = {}
    if settings.wants_tables:
        asked_for = tables_of(
            job, layout, signature, bound.window_nats, bound.token_nats, bound.table, costs=costs, surprisal=surprisal,
            find_documents=partial(document_costs_of_sampled, job, layout, bound),
        )  # fmt: skip
    result = _result(
        job, layout, processes, bound.nats, bound.error, bound.corpus_stderr, costs,
        relation=bound.bound.relation if bound.table.plan.is_drawn.any() else UPPER_BOUND,
        terms_nats=bound.terms_nats,
        signature=signature,
        num_forward_tokens=sum(table.num_forward_tokens for table in tables)
        + sampled.num_pilot_tokens
        + (0 if surprisal is None else surprisal.num_forward_tokens),
        seconds=sampled.seconds + (0.0 if surprisal is None else surprisal.seconds),
        peak_memory_bytes=sampled.peak_memory_bytes,
        comparison=_comparison(sampled.bounds) if settings.compare else None,
        span_nats=bound.window_nats,
        **asked_for,
    )  # fmt: skip
    if _wants_costs(job):
        is_trusted = all(remark.code != UNTRUSTED_ERROR for remark in sampled.remarks)
        result = replace(result, costs=costs_of_sampled(job, result, bound, pieces.result(), is_trusted=is_trusted))
    drawn = sampling_remarks(job, len(layout), bound.table.plan.num_replicates, len(bound.passes))
    found = () if surprisal is None else surprisal.remarks
    return with_remarks(result, *drawn, *sampled.remarks, *found), sampled.asked


def _result(
    job: Job, layout: Layout, processes: Processes, nats: float, error: SamplingError, corpus_stderr: float,
    costs: AnswerCosts | None, **found: Any,
) -> BpbResult:  # fmt: skip
    """What every method's result is made of alike.

    Args:
        job: the evaluation.
        layout: what of the text was scored.
        processes: those that shared it.
        nats: of all of it.
        error: of that, from what was drawn.
        corpus_stderr: over the choice of windows, in bits per unit; not finite where it is not known.
        costs: of answers, where these are scored.
        **found: the result's other fields.
    """
    length = layout.code_length(nats)
    return BpbResult(
        length=length,
        mc_stderr=_finite(nats_to_bits(error.stderr_nats) / length.num_units),
        corpus_stderr=_finite(corpus_stderr),
        ci95=error.interval(length),
        device=describe_device(job.device, processes.count),
        source=_source_of(job, layout.spans),
        num_documents=job.num_documents(layout),
        answers=None if costs is None else summarise(job, costs),
        separator_id=job.text.separator_id,
        versions=Versions(torch.__version__, platform.python_version()),
        **found,
    )


def _comparison(bounds: list[SampledBound]) -> Comparison:
    from bpb_harness.evaluation.compare import compare_bounds  # deferred: scipy.interpolate takes a second to import

    one, other = bounds
    return compare_bounds(one, other) if isinstance(one.bound, DiscreteBound) else compare_bounds(other, one)


def _score_without_masks(
    job: Job, layout: Layout, processes: Processes, adaptation: Adapting | None, pieces: Beside[CostPieces]
) -> Scored:
    estimator = job.estimators[0]
    assert isinstance(estimator, ChainRule | ExactBound | AutoregressiveCode)
    begin = time.perf_counter()
    count = TokenCount(job.progress, int(layout.input_lengths.sum()) - len(layout) * job.method.is_causal)
    score_part = partial(
        score_spans, estimator, job.model, job.text.corpus, layout.spans, device=job.device,
        batch_tokens=job.settings.tokens_per_batch(job.device), processes=processes, advance=count,
    )  # fmt: skip
    scored = score_part() if adaptation is None else _score_chunks(score_part, adaptation, count)
    if isinstance(estimator, ExactBound):
        relation = estimator.relation(time_conditioned=job.denoiser.time_conditioned)
        error = enumeration_error(scored.variance, scored.squared_variances, estimator.num_samples)
    else:
        relation, error = estimator.relation, SamplingError(0.0)
    seconds = time.perf_counter() - begin - (0.0 if adaptation is None else adaptation.seconds)
    costs = None if job.answers is None else answer_costs_of_known(scored)
    signature, asked_for = job.signature(layout), dict[str, Any]()
    if job.settings.wants_tables:
        asked_for = tables_of(
            job, layout, signature, scored.nats, scored.token_nats, costs=costs,
            surprisal=surprisal_of_known(job, scored),
            find_documents=partial(document_costs_of_known, job, layout, scored),
        )  # fmt: skip
    over_windows = corpus_stderr(known_nats(layout, scored.nats), known_noise=error.stderr_nats**2)
    result = _result(
        job, layout, processes, math.fsum(scored.nats), error, over_windows, costs,
        relation=relation, terms_nats={}, signature=signature, num_forward_tokens=scored.num_forward_tokens,
        seconds=seconds, peak_memory_bytes=scored.peak_memory_bytes, span_nats=scored.nats, **asked_for,
    )  # fmt: skip
    if job.settings.with_costs:
        result = replace(result, costs=costs_of_known(job, result, layout, scored, pieces.result(), error))
    return with_remarks(result, *scored.remarks), _asked(job, layout.spans, scored)


def _score_chunks(score_part: Callable[..., SpanNats], adaptation: Adapting, count: TokenCount) -> SpanNats:
    """Chunk after chunk, of a network that learns in between."""
    peaks: list[int] = []
    remarks: list[Remark] = []

    def score(chunk: Chunk) -> Arrays:
        scored = score_part(part=slice(chunk.first, chunk.stop))
        peaks.extend(() if scored.peak_memory_bytes is None else (scored.peak_memory_bytes,))
        remarks.extend(remark for remark in scored.remarks if remark not in remarks)
        return scored.to_arrays()

    arrays = joined(adaptation.run(score, count))
    return SpanNats.of_arrays(arrays, max(peaks, default=None), [*remarks, *adaptation.remarks])


def _asked(job: Job, spans: Spans, scored: SpanNats) -> Asked:
    """What can be asked again."""
    corpus, estimator = job.text.corpus, job.estimators[0]
    if isinstance(estimator, ExactBound):
        assert job.schedule is not None
        return AskedMasks(corpus, spans, job.denoiser, job.schedule, job.device)
    if not isinstance(estimator, ChainRule):
        return AskedSpans(corpus, spans, scored.token_nats)
    assert scored.steps is not None
    return AskedSteps(corpus, spans, estimator, job.denoiser, scored.token_nats, scored.steps)


def _source_of(job: Job, spans: Spans) -> SourceFloor | None:
    """The source of a text, if it is known of exactly what was scored: the whole of it, but for a first token given."""
    source, corpus = job.text.source, job.text.corpus
    if job.settings.byte_rule == "none" or job.is_given_lengths:  # the source pays for where documents end
        return None
    if source is None or spans.num_tokens < corpus.num_tokens - (not isinstance(job.model, Denoiser)):
        return None
    return source if job.text.counter.total(corpus, "official") == source.num_bytes else None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def with_remarks(result: BpbResult, *remarks: Remark) -> BpbResult:
    """The result with more remarks."""
    return replace(result, remarks=result.remarks + remarks)
