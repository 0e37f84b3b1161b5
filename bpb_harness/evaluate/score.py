"""From a job to a result: the sampled bounds, and the methods that do not sample."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from bpb_harness.byte_count import ByteCounter
from bpb_harness.corpus import Windows
from bpb_harness.denoiser import CausalLM, Denoiser, num_clean_tokens
from bpb_harness.difficulty import bigram_difficulty
from bpb_harness.errors import UsageError
from bpb_harness.estimators import AutoregressiveCode, Bound, ContinuousBound, DiscreteBound, Spans, prior_nats
from bpb_harness.evaluate.compare import compare_bounds
from bpb_harness.evaluate.draws import DrawPlan, DrawTable, plan_draws, run_draws
from bpb_harness.evaluate.frames import token_frame, window_frame
from bpb_harness.evaluate.inputs import require_same_vocabulary
from bpb_harness.evaluate.job import Job
from bpb_harness.evaluate.settings import describe_device
from bpb_harness.evaluate.totals import WindowTotals, as_statistics, sampling_stderr_nats, window_totals
from bpb_harness.evaluate.window_scores import WindowNats, score_causal_spans, score_masked_windows
from bpb_harness.masking import RandomStreams, StratifiedDesign
from bpb_harness.result import BpbResult, Comparison, Remark
from bpb_harness.statistics import Draws, confidence_interval, corpus_stderr
from bpb_harness.units import CodeLength, nats_to_bits


def score(job: Job) -> BpbResult:
    """Score a network that is already loaded.

    Raises:
        HarnessError: for anything that cannot be scored.
    """
    model, settings = job.model, job.settings
    masked = isinstance(model, Denoiser)
    if masked == (settings.method == "ar"):
        kind, right = (
            ("a masked denoiser", "discrete, mc, chain or exact") if masked else ("an autoregressive model", "ar")
        )
        raise UsageError(f"--method {settings.method}", seen=kind, expected=f"--method {right}")
    if not isinstance(model, Denoiser):
        require_same_vocabulary(job.text.tokenizer, model.vocab_size, model.vocab_size)
        return _score_causal(job, model)
    if job.schedule is None:
        raise UsageError("the checkpoint names no noise schedule", hint="pass --schedule 'loglinear[0.001]'")
    require_same_vocabulary(job.text.tokenizer, model.vocab_size, num_clean_tokens(model))
    return _score_bound(job) if job.bounds else _score_windows(job)


def _score_bound(job: Job) -> BpbResult:
    windows, total_windows = job.lay_windows()
    num_bytes = job.count_bytes(windows, total_windows)
    difficulty = bigram_difficulty(job.text.corpus, windows)
    bounds, clean = job.bounds, num_clean_tokens(job.denoiser)
    begin = time.perf_counter()
    tables = _run_bounds(job, windows, difficulty)
    seconds = time.perf_counter() - begin
    totals = [window_totals(bound, table, windows.lengths, clean) for bound, table in zip(bounds, tables, strict=True)]
    draws = [
        as_statistics(bound, table, windows.lengths, num_bytes, difficulty, clean)
        for bound, table in zip(bounds, tables, strict=True)
    ]
    length = CodeLength(totals[0].nats, int(windows.lengths.sum()), int(num_bytes.sum()), len(windows))
    stderr = nats_to_bits(sampling_stderr_nats(bounds[0], tables[0], draws[0])) / length.num_bytes
    token_nats = tables[0].token_nats
    if token_nats is not None:
        token_nats = token_nats + prior_nats(bounds[0].schedule, 1, clean)
    windows_table, tokens_table = _frames(job, windows, num_bytes, totals[0].window_nats, token_nats, tables[0])
    return BpbResult(
        length=length,
        relation=bounds[0].relation,
        terms_nats=totals[0].terms_nats,
        mc_stderr=stderr,
        corpus_stderr=_finite(corpus_stderr(draws[0])),
        ci95=confidence_interval(length.bits_per_byte, stderr),
        signature=job.signature(len(windows), total_windows),
        num_forward_tokens=sum(int(windows.lengths[table.plan.window].sum()) for table in tables),
        seconds=seconds,
        device=describe_device(job.device),
        comparison=_comparison(bounds, tables, draws, totals, windows, num_bytes) if job.settings.compare else None,
        source=job.text.source,
        windows=windows_table,
        tokens=tokens_table,
    )


def _run_bounds(job: Job, windows: Windows, difficulty: npt.NDArray[np.int64]) -> list[DrawTable]:
    """The draws of every bound of the job, the headline's first; they share seeds, so they are coupled."""
    assert job.schedule is not None
    streams = RandomStreams(job.settings.seed)
    plans = [_plan(bound, streams, difficulty) for bound in job.bounds]
    advance = job.advance(sum(int(windows.lengths[plan.window].sum()) for plan in plans))
    return [
        run_draws(
            job.denoiser, job.text.corpus, windows, plan, schedule=job.schedule, streams=streams, device=job.device,
            batch_tokens=job.settings.tokens_per_batch(job.device), advance=advance,
            keep_tokens=job.settings.with_tokens and plan is plans[0],
        )
        for plan in plans
    ]  # fmt: skip


def _plan(bound: Bound, streams: RandomStreams, difficulty: npt.NDArray[np.int64]) -> DrawPlan:
    if bound.num_samples == "all":
        return plan_draws(bound, len(difficulty), None)
    return plan_draws(bound, len(difficulty), StratifiedDesign(streams, difficulty, bound.num_samples))


def _comparison(
    bounds: tuple[Bound, ...],
    tables: list[DrawTable],
    draws: list[Draws],
    totals: list[WindowTotals],
    windows: Windows,
    num_bytes: npt.NDArray[np.int64],
) -> Comparison:
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
        num_bytes=int(num_bytes.sum()),
    )


def _score_windows(job: Job) -> BpbResult:
    windows, total_windows = job.lay_windows()
    num_bytes = job.count_bytes(windows, total_windows)
    estimator = job.settings.window_estimator(job.schedule)
    assert not isinstance(estimator, AutoregressiveCode)
    begin = time.perf_counter()
    scored = score_masked_windows(
        estimator, job.denoiser, job.text.corpus, windows, device=job.device,
        batch_tokens=job.settings.tokens_per_batch(job.device), advance=job.advance(int(windows.lengths.sum())),
    )  # fmt: skip
    return _exact_result(
        job, scored, windows, num_bytes, total_windows, relation=estimator.relation, seconds=time.perf_counter() - begin
    )


def _score_causal(job: Job, model: CausalLM) -> BpbResult:
    estimator = job.settings.window_estimator(None)
    assert isinstance(estimator, AutoregressiveCode)
    corpus = job.text.corpus
    documents = corpus.document_starts(job.text.tokenizer.bos_id) if job.settings.per_document else None
    spans = estimator.spans(corpus.num_tokens, job.context_length, tail=job.settings.tail, documents=documents)
    total_windows, limit = len(spans), job.settings.limit
    job.require_some(total_windows)
    spans = Spans(spans.context_starts[:limit], spans.starts[:limit], spans.lengths[:limit])
    windows = Windows(spans.starts, spans.lengths)
    num_bytes = job.count_bytes(windows, total_windows)
    begin = time.perf_counter()
    scored = score_causal_spans(
        estimator, model, corpus, spans, device=job.device,
        batch_tokens=job.settings.tokens_per_batch(job.device), advance=job.advance(int(spans.input_lengths.sum())),
    )  # fmt: skip
    return _exact_result(
        job, scored, windows, num_bytes, total_windows, relation=estimator.relation, seconds=time.perf_counter() - begin
    )


def _exact_result(
    job: Job,
    scored: WindowNats,
    windows: Windows,
    num_bytes: npt.NDArray[np.int64],
    total_windows: int,
    *,
    relation: str,
    seconds: float,
) -> BpbResult:
    """A result without sampling error."""
    length = CodeLength(math.fsum(scored.nats), int(windows.lengths.sum()), int(num_bytes.sum()), len(windows))
    index = np.arange(len(windows))
    draws = Draws(
        window=index, sample=np.zeros_like(index), v=np.full(len(index), 0.5), value_nats=scored.nats,
        difficulty=scored.nats, num_tokens=windows.lengths, num_bytes=num_bytes,
    )  # fmt: skip
    windows_table, tokens_table = _frames(job, windows, num_bytes, scored.nats, scored.token_nats)
    return BpbResult(
        length=length,
        relation=relation,
        terms_nats={},
        mc_stderr=0.0,
        corpus_stderr=_finite(corpus_stderr(draws)),
        ci95=(length.bits_per_byte, length.bits_per_byte),
        signature=job.signature(len(windows), total_windows),
        num_forward_tokens=scored.num_forward_tokens,
        seconds=seconds,
        device=describe_device(job.device),
        source=job.text.source,
        windows=windows_table,
        tokens=tokens_table,
    )


def _frames(
    job: Job,
    windows: Windows,
    num_bytes: npt.NDArray[np.int64],
    window_nats: npt.NDArray[np.float64],
    token_nats: npt.NDArray[np.float64] | None,
    table: DrawTable | None = None,
) -> tuple[pd.DataFrame | None, pd.DataFrame | None]:
    """The tables that were asked for."""
    settings, text = job.settings, job.text
    by_window = window_frame(text, windows, num_bytes, window_nats, table) if settings.with_windows else None
    if not settings.with_tokens:
        return by_window, None
    if token_nats is None:
        raise UsageError(f"--tokens with --method {settings.method}", expected="discrete, mc, chain or ar")
    return by_window, token_frame(text, windows, ByteCounter(text.tokenizer), settings.byte_rule, token_nats)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def with_remarks(result: BpbResult, *remarks: tuple[str, str]) -> BpbResult:
    """The result with more remarks, given as (code, message)."""
    return replace(result, remarks=result.remarks + tuple(Remark(*remark) for remark in remarks))
