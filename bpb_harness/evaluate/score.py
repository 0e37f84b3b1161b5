"""From a network and a text to a result: the sampled bounds, and the methods that do not sample."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import final

import numpy as np
import numpy.typing as npt
import torch

from bpb_harness._version import __version__
from bpb_harness.byte_count import ByteCounter
from bpb_harness.corpus import Windows, corpus_windows, window_bytes
from bpb_harness.denoiser import CausalLM, Denoiser, num_clean_tokens
from bpb_harness.difficulty import bigram_difficulty
from bpb_harness.errors import CorpusError, UsageError
from bpb_harness.estimators import AutoregressiveCode, Bound, ContinuousBound, DiscreteBound
from bpb_harness.evaluate.compare import compare_bounds
from bpb_harness.evaluate.draws import DrawPlan, DrawTable, plan_draws, run_draws
from bpb_harness.evaluate.inputs import EvaluationText, require_same_vocabulary
from bpb_harness.evaluate.settings import Settings, describe_device
from bpb_harness.evaluate.totals import WindowTotals, as_statistics, window_totals
from bpb_harness.evaluate.window_scores import score_causal_spans, score_masked_windows
from bpb_harness.masking import RandomStreams, StratifiedDesign
from bpb_harness.result import BpbResult, Comparison, Remark, Signature
from bpb_harness.schedule import NoiseSchedule
from bpb_harness.statistics import Draws, confidence_interval, corpus_stderr, mc_stderr_nats
from bpb_harness.units import CodeLength, nats_to_bits

Progress = Callable[[int, int], None]


@final
@dataclass(frozen=True)
class ModelIdentity:
    """How the signature names a model: its digest, and its adapter where that is not the native one."""

    digest: str
    adapter: str | None = None


def score(
    model: Denoiser | CausalLM,
    text: EvaluationText,
    settings: Settings,
    *,
    schedule: NoiseSchedule | None,
    identity: ModelIdentity,
    progress: Progress | None = None,
) -> BpbResult:
    """Score a network that is already loaded.

    Args:
        model: a denoiser, or a causal model for ``method="ar"``; on the settings' device.
        text: what is scored.
        settings: how.
        schedule: the noise schedule of a denoiser.
        identity: the model's part of the signature.
        progress: called with (tokens done, tokens in all).

    Raises:
        HarnessError: for anything that cannot be scored.
    """
    if isinstance(model, Denoiser) == (settings.method == "ar"):
        kind = "a masked denoiser" if isinstance(model, Denoiser) else "an autoregressive model"
        right = "discrete, mc, chain or exact" if isinstance(model, Denoiser) else "ar"
        raise UsageError(f"--method {settings.method}", seen=kind, expected=f"--method {right}")
    if isinstance(model, Denoiser):
        if schedule is None:
            raise UsageError("the checkpoint names no noise schedule", hint="pass --schedule 'loglinear[0.001]'")
        require_same_vocabulary(text.tokenizer, model.vocab_size, num_clean_tokens(model))
        run = _score_bound if settings.bounds(schedule) else _score_windows
        return run(model, text, settings, schedule, identity, progress)
    require_same_vocabulary(text.tokenizer, model.vocab_size, model.vocab_size)
    return _score_causal(model, text, settings, identity, progress)


def _score_bound(
    model: Denoiser,
    text: EvaluationText,
    settings: Settings,
    schedule: NoiseSchedule,
    identity: ModelIdentity,
    progress: Progress | None,
) -> BpbResult:
    windows, total_windows = lay_windows(model, text, settings)
    num_bytes = count_bytes(text, windows, total_windows, settings)
    difficulty = bigram_difficulty(text.corpus, windows)
    streams = RandomStreams(settings.seed)
    device = settings.torch_device()
    bounds = settings.bounds(schedule)
    plans = [_plan(bound, streams, difficulty) for bound in bounds]
    advance = _advance(progress, sum(int(windows.lengths[plan.window].sum()) for plan in plans))
    begin = time.perf_counter()
    tables = [
        run_draws(
            model, text.corpus, windows, plan, schedule=schedule, streams=streams, device=device,
            batch_tokens=settings.tokens_per_batch(device), advance=advance,
        )
        for plan in plans
    ]  # fmt: skip
    seconds = time.perf_counter() - begin
    clean = num_clean_tokens(model)
    totals = [window_totals(bound, table, windows.lengths, clean) for bound, table in zip(bounds, tables, strict=True)]
    draws = [
        as_statistics(bound, table, windows.lengths, num_bytes, difficulty, clean)
        for bound, table in zip(bounds, tables, strict=True)
    ]
    length = CodeLength(totals[0].nats, int(windows.lengths.sum()), int(num_bytes.sum()), len(windows))
    stderr = nats_to_bits(mc_stderr_nats(draws[0])) / length.num_bytes
    return BpbResult(
        length=length,
        relation=bounds[0].relation,
        terms_nats=totals[0].terms_nats,
        mc_stderr=stderr,
        corpus_stderr=_finite(corpus_stderr(draws[0])),
        ci95=confidence_interval(length.bits_per_byte, stderr),
        signature=_signature(model.context_length, text, settings, identity, schedule, len(windows), total_windows),
        num_forward_tokens=sum(int(windows.lengths[plan.window].sum()) for plan in plans),
        seconds=seconds,
        device=describe_device(device),
        comparison=_comparison(bounds, tables, draws, totals, windows, num_bytes) if settings.compare else None,
        source=text.source,
    )


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


def _score_windows(
    model: Denoiser,
    text: EvaluationText,
    settings: Settings,
    schedule: NoiseSchedule,
    identity: ModelIdentity,
    progress: Progress | None,
) -> BpbResult:
    windows, total_windows = lay_windows(model, text, settings)
    num_bytes = count_bytes(text, windows, total_windows, settings)
    device = settings.torch_device()
    estimator = settings.window_estimator(schedule)
    assert not isinstance(estimator, AutoregressiveCode)
    begin = time.perf_counter()
    scored = score_masked_windows(
        estimator, model, text.corpus, windows, device=device, batch_tokens=settings.tokens_per_batch(device),
        advance=_advance(progress, int(windows.lengths.sum())),
    )  # fmt: skip
    return _exact_result(
        scored.nats, windows.lengths, num_bytes, relation=estimator.relation, seconds=time.perf_counter() - begin,
        num_forward_tokens=scored.num_forward_tokens, device=device, text=text,
        signature=_signature(model.context_length, text, settings, identity, schedule, len(windows), total_windows),
    )  # fmt: skip


def _score_causal(
    model: CausalLM,
    text: EvaluationText,
    settings: Settings,
    identity: ModelIdentity,
    progress: Progress | None,
) -> BpbResult:
    device = settings.torch_device()
    estimator = settings.window_estimator(None)
    assert isinstance(estimator, AutoregressiveCode)
    documents = text.corpus.document_starts() if settings.per_document else None
    spans = estimator.spans(
        text.corpus.num_tokens, _context(model.context_length, settings), tail=settings.tail, documents=documents
    )
    total_windows = len(spans)
    spans = replace(spans, **{name: getattr(spans, name)[: settings.limit] for name in spans.__dataclass_fields__})
    if not len(spans):
        raise CorpusError("nothing is left to score", seen=f"{text.corpus.num_tokens} tokens", hint="pass --tail score")
    windows = Windows(spans.starts, spans.lengths)
    num_bytes = count_bytes(text, windows, total_windows, settings)
    begin = time.perf_counter()
    scored = score_causal_spans(
        estimator, model, text.corpus, spans, device=device, batch_tokens=settings.tokens_per_batch(device),
        advance=_advance(progress, int(spans.input_lengths.sum())),
    )  # fmt: skip
    return _exact_result(
        scored.nats, spans.lengths, num_bytes, relation=estimator.relation, seconds=time.perf_counter() - begin,
        num_forward_tokens=scored.num_forward_tokens, device=device, text=text,
        signature=_signature(model.context_length, text, settings, identity, None, len(windows), total_windows),
    )  # fmt: skip


def _exact_result(
    window_nats: npt.NDArray[np.float64],
    num_tokens: npt.NDArray[np.int64],
    num_bytes: npt.NDArray[np.int64],
    *,
    relation: str,
    seconds: float,
    num_forward_tokens: int,
    device: torch.device,
    text: EvaluationText,
    signature: Signature,
) -> BpbResult:
    """A result without sampling error."""
    length = CodeLength(math.fsum(window_nats), int(num_tokens.sum()), int(num_bytes.sum()), len(num_tokens))
    index = np.arange(len(num_tokens))
    draws = Draws(
        window=index, sample=np.zeros_like(index), v=np.full(len(index), 0.5), value_nats=window_nats,
        difficulty=window_nats, num_tokens=num_tokens, num_bytes=num_bytes,
    )  # fmt: skip
    return BpbResult(
        length=length,
        relation=relation,
        terms_nats={},
        mc_stderr=0.0,
        corpus_stderr=_finite(corpus_stderr(draws)),
        ci95=(length.bits_per_byte, length.bits_per_byte),
        signature=signature,
        num_forward_tokens=num_forward_tokens,
        seconds=seconds,
        device=describe_device(device),
        source=text.source,
    )


def lay_windows(model: Denoiser, text: EvaluationText, settings: Settings) -> tuple[Windows, int]:
    """The windows to score, and how many the corpus has."""
    windows = corpus_windows(text.corpus, _context(model.context_length, settings), tail=settings.tail)
    if not len(windows):
        raise CorpusError("nothing is left to score", seen=f"{text.corpus.num_tokens} tokens", hint="pass --tail score")
    return Windows(windows.starts[: settings.limit], windows.lengths[: settings.limit]), len(windows)


def count_bytes(
    text: EvaluationText, windows: Windows, total_windows: int, settings: Settings
) -> npt.NDArray[np.int64]:
    """Bytes of each window under the chosen rule, (N,)."""
    if settings.byte_rule != "raw":
        return window_bytes(text.corpus, windows, ByteCounter(text.tokenizer), settings.byte_rule)
    raw = text.corpus.num_raw_bytes
    if raw is None or len(windows) < total_windows or settings.tail == "drop":
        raise UsageError(
            "--bytes raw needs the original documents, whole",
            seen="shards alone" if raw is None else f"{len(windows)} of {total_windows} windows",
            hint="pass --docs FILE.jsonl without --limit and --tail drop",
        )
    # Raw bytes belong to documents, not tokens: windows get the share of their exact bytes, the total is the text's.
    exact = window_bytes(text.corpus, windows, ByteCounter(text.tokenizer), "exact")
    share = np.floor(np.cumsum(exact) * (raw / max(int(exact.sum()), 1)) + 0.5).astype(np.int64)
    share[-1] = raw
    return np.diff(share, prepend=0)


def _context(longest: int, settings: Settings) -> int:
    context = settings.context_length or longest
    if context > longest:
        raise UsageError("--context", seen=context, expected=f"at most {longest}, the network's context length")
    return context


def _signature(
    longest: int,
    text: EvaluationText,
    settings: Settings,
    identity: ModelIdentity,
    schedule: NoiseSchedule | None,
    num_windows: int,
    total_windows: int,
) -> Signature:
    bounds = settings.bounds(schedule) if schedule is not None else ()
    steps = bounds[0].num_steps if bounds and isinstance(bounds[0], DiscreteBound) else None
    if settings.method == "exact":
        steps = settings.num_steps
    data = f"{text.corpus.name}@{text.corpus.digest[:8]}"
    if num_windows < total_windows:
        data += f"[0:{num_windows}/{total_windows}]"
    chain = settings.method == "chain"
    order = settings.order + (f"/{settings.tokens_per_step}" if settings.tokens_per_step > 1 else "")
    return Signature(
        method=settings.method,
        num_steps=None if steps is None else str(steps),
        schedule=None if schedule is None else str(schedule),
        num_samples=str(bounds[0].num_samples) if bounds else None,
        order=order if chain else ("per-document" if settings.per_document else None),
        stride=None if settings.stride is None else str(settings.stride),
        byte_rule=settings.byte_rule,
        data=data,
        tokenizer=text.tokenizer.digest[:8],
        context_length=str(_context(longest, settings)),
        tail=settings.tail,
        model=identity.digest[:8],
        adapter=identity.adapter,
        contract="checked" if settings.check_contract else "off",
        dtype=settings.dtype,
        seed=str(settings.seed),
        version=__version__,
    )


def _advance(progress: Progress | None, total: int) -> Callable[[int], None] | None:
    if progress is None:
        return None
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        progress(done, total)

    return advance


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def with_remarks(result: BpbResult, remarks: tuple[Remark, ...]) -> BpbResult:
    """The result with more remarks."""
    return replace(result, remarks=result.remarks + remarks)
