"""From a job to a result: the sampled bounds, and the methods that do not sample."""

from __future__ import annotations

import math
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bpb_harness.byte_count import ByteCounter
from bpb_harness.denoiser import CausalLM, Denoiser, num_clean_tokens
from bpb_harness.distributed import Processes, is_first_process, open_processes
from bpb_harness.errors import UsageError
from bpb_harness.estimators import (
    AutoregressiveCode,
    Bound,
    ChainRule,
    ContinuousBound,
    DiscreteBound,
    ExactBound,
    Spans,
)
from bpb_harness.evaluation.draws import DrawTable
from bpb_harness.evaluation.job import Job
from bpb_harness.evaluation.passes import sample_bounds
from bpb_harness.evaluation.remarks import sampling_remarks
from bpb_harness.evaluation.second_answers import (
    Asked,
    AskedMasks,
    AskedSpans,
    AskedSteps,
    answering_process,
    look_again,
    watching,
)
from bpb_harness.evaluation.settings import describe_device
from bpb_harness.evaluation.totals import (
    SamplingError,
    WindowTotals,
    as_statistics,
    enumeration_error,
    window_totals,
)
from bpb_harness.evaluation.trust import Contract
from bpb_harness.evaluation.window_scores import WindowNats, score_causal_spans, score_masked_windows
from bpb_harness.result import BpbResult, Comparison, Remark, SourceFloor
from bpb_harness.sampling.difficulty import bigram_difficulty
from bpb_harness.statistics.standard_errors import Draws, corpus_stderr
from bpb_harness.text.corpus import Windows
from bpb_harness.units import nats_to_bits

if TYPE_CHECKING:
    import pandas as pd


Scored = tuple[BpbResult, Asked]


def score(job: Job) -> BpbResult:
    """Score a network that is already loaded; its behaviour is checked, before and after, as the settings say.

    Raises:
        HarnessError: for anything that cannot be scored.
    """
    job.require_scorable()
    contract = Contract(job) if job.settings.check_contract else None
    with answering_process(job) as process:
        with open_processes() as processes:
            result, asked = _score(watching(job, process), processes)
        if contract is None:
            return result
        contract.check_again()
        if is_first_process():
            look_again(job, result, asked, process)
    return with_remarks(result, *contract.remarks, *contract.compare_precision(result))


def _score(job: Job, processes: Processes) -> Scored:
    if not isinstance(job.model, Denoiser):
        return _score_causal(job, job.model, processes)
    return _score_bound(job, processes) if job.bounds else _score_windows(job, processes)


def _score_bound(job: Job, processes: Processes) -> Scored:
    windows, total_windows = job.lay_windows()
    with ThreadPoolExecutor(1) as beside:
        counted = beside.submit(job.count_units, windows, total_windows)
        difficulty = bigram_difficulty(job.text.corpus, windows)
        num_units = counted.result()
    bounds, clean = job.bounds, num_clean_tokens(job.denoiser)
    sampled = sample_bounds(job, windows, total_windows, num_units, difficulty, processes)
    tables, error = sampled.tables, sampled.errors[0]
    totals = [window_totals(bound, table, windows.lengths, clean) for bound, table in zip(bounds, tables, strict=True)]
    draws = [
        as_statistics(bound, table, windows.lengths, num_units, difficulty, clean)
        for bound, table in zip(bounds, tables, strict=True)
    ]
    length = job.code_length(totals[0].nats, windows, num_units)
    token_nats = _complete(tables[0].token_nats, totals[0], windows)
    windows_table, tokens_table = _frames(job, windows, num_units, totals[0].window_nats, token_nats, tables[0])
    result = BpbResult(
        length=length,
        relation=bounds[0].relation,
        terms_nats=totals[0].terms_nats,
        mc_stderr=nats_to_bits(error.stderr_nats) / length.num_units,
        corpus_stderr=_finite(corpus_stderr(_of_corpus(bounds[0], draws[0], totals[0]))),
        ci95=error.interval(length),
        signature=job.signature(len(windows), total_windows, sampled.num_passes),
        num_forward_tokens=sum(table.num_forward_tokens for table in tables) + sampled.num_pilot_tokens,
        seconds=sampled.seconds,
        device=describe_device(job.device, processes.count),
        peak_memory_bytes=sampled.peak_memory_bytes,
        comparison=_comparison(bounds, tables, draws, totals, windows, num_units) if job.settings.compare else None,
        source=_source_of(job, windows),
        num_documents=job.num_documents(len(windows) == total_windows),
        separator_id=job.text.separator_id,
        windows=windows_table,
        tokens=tokens_table,
    )
    drawn = sampling_remarks(job, len(windows), tables[0].plan.num_replicates, sampled.num_passes)
    return with_remarks(result, *drawn, *sampled.remarks), sampled.asked


def _of_corpus(bound: Bound, draws: Draws, totals: WindowTotals) -> Draws:
    """What the corpus error is taken from: where every step is looked at, windows whose steps are weighed already."""
    if bound.num_samples != "all":
        return draws
    return _one_draw_a_window(totals.window_nats, draws.num_tokens, draws.num_bytes)


def _one_draw_a_window(
    nats: npt.NDArray[np.float64], num_tokens: npt.NDArray[np.int64], num_units: npt.NDArray[np.int64]
) -> Draws:
    """Windows whose nats are known, to the corpus error."""
    index = np.arange(len(nats))
    return Draws(
        window=index, sample=np.zeros_like(index), v=np.full(len(index), 0.5), value_nats=nats,
        difficulty=nats, num_tokens=num_tokens, num_bytes=num_units,
    )  # fmt: skip


def _complete(
    token_nats: npt.NDArray[np.float64] | None, totals: WindowTotals, windows: Windows
) -> npt.NDArray[np.float64] | None:
    """Token nats that add up to their windows: prior and control variate are spread evenly over a window's tokens."""
    if token_nats is None:
        return None
    window = np.repeat(np.arange(len(windows)), windows.lengths)
    missing = totals.window_nats - np.bincount(window, weights=token_nats, minlength=len(windows))
    return token_nats + (missing / windows.lengths)[window]


def _comparison(
    bounds: tuple[Bound, ...],
    tables: list[DrawTable],
    draws: list[Draws],
    totals: list[WindowTotals],
    windows: Windows,
    num_units: npt.NDArray[np.int64],
) -> Comparison:
    from bpb_harness.evaluation.compare import (
        compare_bounds,  # deferred: scipy.interpolate takes a second to import
    )

    first = 0 if isinstance(bounds[0], DiscreteBound) else 1
    discrete, continuous = bounds[first], bounds[1 - first]
    assert isinstance(discrete, DiscreteBound)
    assert isinstance(continuous, ContinuousBound)
    return compare_bounds(
        (discrete, tables[first], draws[first]),
        (continuous, tables[1 - first], draws[1 - first]),
        discrete_nats=totals[first].nats,
        continuous_nats=totals[1 - first].nats,
        num_tokens=windows.lengths,
        num_bytes=int(num_units.sum()),
    )


def _score_windows(job: Job, processes: Processes) -> Scored:
    windows, total_windows = job.lay_windows()
    num_units = job.count_units(windows, total_windows)
    estimator = job.settings.window_estimator(job.schedule)
    assert not isinstance(estimator, AutoregressiveCode)
    relation, error = ChainRule.relation, SamplingError(0.0)
    begin = time.perf_counter()
    scored = score_masked_windows(
        estimator, job.denoiser, job.text.corpus, windows, device=job.device,
        batch_tokens=job.settings.tokens_per_batch(job.device), processes=processes,
        advance=job.count_tokens(int(windows.lengths.sum())),
    )  # fmt: skip
    if isinstance(estimator, ExactBound):
        relation = estimator.relation(time_conditioned=job.denoiser.time_conditioned)
        error = enumeration_error(scored.variance, scored.squared_variances, estimator.num_samples)
    result = _exact_result(
        job, scored, windows, num_units, total_windows, relation=relation, error=error,
        seconds=time.perf_counter() - begin, num_processes=processes.count,
    )  # fmt: skip
    if isinstance(estimator, ExactBound):
        assert job.schedule is not None
        return result, AskedMasks(job.text.corpus, windows, job.denoiser, job.schedule, job.device)
    assert scored.token_nats is not None
    assert scored.steps is not None
    mask = job.denoiser.mask_token_id
    return result, AskedSteps(job.text.corpus, windows, estimator, mask, scored.token_nats, scored.steps)


def _score_causal(job: Job, model: CausalLM, processes: Processes) -> Scored:
    estimator = job.settings.window_estimator(None)
    assert isinstance(estimator, AutoregressiveCode)
    corpus = job.text.corpus
    documents = job.text.require_borders().first_given() if job.settings.per_document else None
    spans = estimator.spans(corpus.num_tokens, job.context_length, tail=job.settings.tail, documents=documents)
    total_windows, limit = len(spans), job.settings.limit
    job.require_some(total_windows)
    spans = Spans(spans.context_starts[:limit], spans.starts[:limit], spans.lengths[:limit])
    windows = Windows(spans.starts, spans.lengths)
    num_units = job.count_units(windows, total_windows)
    begin = time.perf_counter()
    scored = score_causal_spans(
        estimator, model, corpus, spans, device=job.device,
        batch_tokens=job.settings.tokens_per_batch(job.device), processes=processes,
        advance=job.count_tokens(int(spans.input_lengths.sum())),
    )  # fmt: skip
    result = _exact_result(
        job, scored, windows, num_units, total_windows, relation=estimator.relation, error=SamplingError(0.0),
        seconds=time.perf_counter() - begin, num_processes=processes.count,
    )  # fmt: skip
    assert scored.token_nats is not None
    return result, AskedSpans(corpus, spans, scored.token_nats)


def _exact_result(
    job: Job,
    scored: WindowNats,
    windows: Windows,
    num_units: npt.NDArray[np.int64],
    total_windows: int,
    *,
    relation: str,
    error: SamplingError,
    seconds: float,
    num_processes: int,
) -> BpbResult:
    """A result of a method that draws no masks."""
    length = job.code_length(math.fsum(scored.nats), windows, num_units)
    draws = _one_draw_a_window(scored.nats, windows.lengths, num_units)
    windows_table, tokens_table = _frames(job, windows, num_units, scored.nats, scored.token_nats)
    result = BpbResult(
        length=length,
        relation=relation,
        terms_nats={},
        mc_stderr=nats_to_bits(error.stderr_nats) / length.num_units,
        corpus_stderr=_finite(corpus_stderr(draws, known_noise=error.stderr_nats**2)),
        ci95=error.interval(length),
        signature=job.signature(len(windows), total_windows),
        num_forward_tokens=scored.num_forward_tokens,
        seconds=seconds,
        device=describe_device(job.device, num_processes),
        source=_source_of(job, windows),
        num_documents=job.num_documents(len(windows) == total_windows),
        separator_id=job.text.separator_id,
        peak_memory_bytes=scored.peak_memory_bytes,
        windows=windows_table,
        tokens=tokens_table,
    )
    return with_remarks(result, *scored.remarks)


def _frames(
    job: Job,
    windows: Windows,
    num_units: npt.NDArray[np.int64],
    window_nats: npt.NDArray[np.float64],
    token_nats: npt.NDArray[np.float64] | None,
    table: DrawTable | None = None,
) -> tuple[pd.DataFrame | None, pd.DataFrame | None]:
    """The tables that were asked for."""
    settings, text = job.settings, job.text
    if not settings.with_windows and not settings.with_tokens:
        return None, None
    from bpb_harness.evaluation.frames import token_frame, window_frame  # deferred: pandas takes a second to import

    num_bytes = None if settings.byte_rule == "none" else num_units
    by_window = window_frame(text, windows, num_bytes, window_nats, table) if settings.with_windows else None
    if not settings.with_tokens:
        return by_window, None
    if token_nats is None:
        raise UsageError(f"--tokens with --method {settings.method}", expected="discrete, mc, chain or ar")
    return by_window, token_frame(text, windows, settings.byte_rule, token_nats)


def _source_of(job: Job, windows: Windows) -> SourceFloor | None:
    """The source of a text, if it is known of exactly what was scored: the whole of it, but for a first token given."""
    source, corpus = job.text.source, job.text.corpus
    if job.settings.byte_rule == "none":
        return None
    if source is None or windows.num_tokens < corpus.num_tokens - (not isinstance(job.model, Denoiser)):
        return None
    return source if ByteCounter(job.text.tokenizer).total(corpus, "official") == source.num_bytes else None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def with_remarks(result: BpbResult, *remarks: tuple[str, str]) -> BpbResult:
    """The result with more remarks, given as (code, message)."""
    return replace(result, remarks=result.remarks + tuple(Remark(*remark) for remark in remarks))
