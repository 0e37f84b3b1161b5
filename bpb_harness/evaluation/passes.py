"""Sampling the bounds of a job: one pass over the text, or as many as a tolerance needs; resumable, on many devices."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, nullcontext
from dataclasses import dataclass
from itertools import chain
from typing import final

import numpy as np
import torch

from bpb_harness.adaptation.chunks import Chunk
from bpb_harness.denoiser import num_clean_tokens
from bpb_harness.distributed import Processes
from bpb_harness.errors import UsageError
from bpb_harness.estimators import Bound
from bpb_harness.evaluation.adaptation_file import Arrays
from bpb_harness.evaluation.adapting import Adapting
from bpb_harness.evaluation.batches import DrawPlan, DrawSource, Source, peak_memory_bytes
from bpb_harness.evaluation.block_batches import BlockSource
from bpb_harness.evaluation.chunk_draws import rows_of, to_arrays, to_tables
from bpb_harness.evaluation.compile_choice import pays
from bpb_harness.evaluation.device_source import DeviceSource
from bpb_harness.evaluation.draw_file import DrawKey
from bpb_harness.evaluation.draw_store import DrawStore, open_draws
from bpb_harness.evaluation.draws import DrawTable, FinishedDraws, plan_draws, run_draws
from bpb_harness.evaluation.job import Job, TokenCount
from bpb_harness.evaluation.kept_draws import KeptDrawsCheck
from bpb_harness.evaluation.layout import Layout
from bpb_harness.evaluation.pilot import Pilot, PilotPass, PilotPlan
from bpb_harness.evaluation.runner import MaskedNllRunner
from bpb_harness.evaluation.sampled_bound import SampledBound
from bpb_harness.evaluation.second_answers import AskedDraws
from bpb_harness.evaluation.short_spans import enumerate_short_spans
from bpb_harness.result import MAX_PASSES, UNTRUSTED_ERROR, Remark
from bpb_harness.sampling.design import IndependentDesign, StratifiedDesign
from bpb_harness.sampling.streams import RandomStreams
from bpb_harness.statistics.rare_costs import reason_to_doubt
from bpb_harness.text.document_pieces import Stretches
from bpb_harness.units import NATS_PER_BIT, nats_to_bits

_BATCHES_OF_LONG_TEXT = 64


@final
@dataclass(frozen=True)
class SampledBounds:
    """What sampling the bounds of a job gave.

    Attributes:
        bounds: each with its draws, the headline's first.
        num_pilot_tokens: tokens of the draws that fixed their number, as far as they went through the network now.
        seconds: wall clock of the passes, without compiling.
        peak_memory_bytes: the most memory held on one GPU; None on a CPU.
        remarks: what a reader of the score should know.
        asked: the draws, to be asked for again.
    """

    bounds: list[SampledBound]
    num_pilot_tokens: int
    seconds: float
    peak_memory_bytes: int | None
    remarks: list[Remark]
    asked: AskedDraws


def sample_bounds(
    job: Job,
    layout: Layout,
    processes: Processes,
    adaptation: Adapting | None = None,
    find_stretches: Callable[[], Stretches] | None = None,
) -> SampledBounds:
    """Run as many passes as pilot draws say that the tolerance takes; one, if there is none, or the network learns.

    Args:
        job: the evaluation.
        layout: what is scored.
        processes: share it.
        adaptation: what the network learns on the way.
        find_stretches: gives those whose costs are kept, where no single token's are needed.
    """
    assert job.schedule is not None
    if job.device.type == "cuda" and job.device.index is not None:
        torch.cuda.set_device(job.device)
    settings = job.settings
    with closing(_Sampler(job, layout, processes)) as sampler:
        sampler.batch_tokens = settings.batch_tokens or min(processes.gather(sampler.find_batch_tokens()))
        keeps_draws = settings.resume is not None and settings.ttt is None  # which keeps a file of its own
        with open_draws(job, layout, sampler.batch_tokens, processes) if keeps_draws else nullcontext() as store:
            sampler.store = store
            if store is not None and settings.batch_tokens is None:
                sampler.batch_tokens = store.batch_tokens
            with job.clock.phase("compiling"):
                sampler.warm_up()
            sampler.stretches = None if find_stretches is None else find_stretches()
            begin = time.perf_counter()
            pilot, num_passes = None, 1
            if settings.tolerance is not None:
                pilot = sampler.run_pilot()
                num_passes = sampler.passes_for(pilot, settings.tolerance)
                with job.clock.phase("compiling"):
                    begin += sampler.warm_up(num_passes)
            if adaptation is None:
                passes = [sampler.run_pass(index, num_passes) for index in range(num_passes)]
            else:
                passes = [sampler.run_chunks(adaptation)]
            seconds = time.perf_counter() - begin - (0.0 if adaptation is None else adaptation.seconds)
    peaks = [peak for peak in processes.gather(peak_memory_bytes(job.device)) if peak is not None]
    clean = num_clean_tokens(job.denoiser)
    bounds = [
        SampledBound(bound, layout, clean, tables, sampler.stretches)
        for bound, tables in zip(job.bounds, zip(*passes, strict=True), strict=True)
    ]
    return SampledBounds(
        bounds=bounds,
        num_pilot_tokens=0 if pilot is None else pilot.num_forward_tokens,
        seconds=seconds,
        peak_memory_bytes=max(peaks, default=None),
        remarks=[
            *sampler.runner.remarks,
            *([] if adaptation is None else adaptation.remarks),
            *([] if store is None else _kept_remarks(job, [bound.table for bound in bounds], sampler.num_scored_again)),
            *sampler.error_remarks(bounds[0], pilot),
        ],
        asked=sampler.asked(passes),
    )


def _kept_remarks(job: Job, tables: list[DrawTable], num_again: int) -> list[Remark]:
    """How much of the score an earlier run has drawn."""
    kept, total = sum(table.num_kept for table in tables), sum(len(table.plan) for table in tables)
    if not kept:
        return []
    how_many = "all draws" if kept == total else f"{kept:,} of {total:,} draws"
    said = f"{how_many} were kept from {job.settings.resume}"
    if num_again:
        said += f"; to check that file, {num_again:,} of them were scored again beside the score, and cost the same"
    return [Remark("draws.kept", said)]


def larger_for_long_text(batch_tokens: int, tokens_per_pass: int) -> int:
    """Tokens a batch on a GPU: twice as many where that leaves a process many batches of its share of a pass.

    Kernels end raggedly, and the host launches each, which weighs half then; a batch takes twice the memory.
    """
    return 2 * batch_tokens if tokens_per_pass >= _BATCHES_OF_LONG_TEXT * batch_tokens else batch_tokens


def source_of_batches(job: Job, draws: DrawSource) -> Source:
    """Who makes the batches of a job: the host, or the GPU that scores them."""
    if job.one_call_block_size is not None:
        return BlockSource(draws, job.one_call_block_size)
    return DeviceSource(draws, job.device) if job.device.type == "cuda" else draws


@final
class _Sampler:
    """The passes of one job.

    Attributes:
        runner: the network.
        batch_tokens: forward tokens a call.
        store: keeps finished draws, and has those of an earlier run; None: nothing is kept.
        stretches: those whose costs are kept in the place of tokens'; None: tokens', if any are.
        num_scored_again: draws of an earlier run that were.
    """

    def __init__(self, job: Job, layout: Layout, processes: Processes) -> None:
        assert job.schedule is not None
        self._job, self._layout, self._processes = job, layout, processes
        self._source = DrawSource(job.text.corpus, layout.spans, job.schedule, bigrams=layout.bigrams)
        self._batches = source_of_batches(job, self._source)
        self._first_plans = self._plans(0)
        self._beside = ThreadPoolExecutor(1, thread_name_prefix="plan")
        self._next_plans: Future[list[DrawPlan]] | None = None
        self._tokens_per_pass = sum(self._batches.num_tokens(plan, np.arange(len(plan))) for plan in self._first_plans)
        self._count: TokenCount = TokenCount(job.progress, self._tokens_per_pass)
        self.num_scored_again = 0
        self.runner = MaskedNllRunner(
            job.denoiser,
            job.device,
            dtype=job.settings.torch_dtype(),
            compiled=job.settings.compiles(job.device),
        )
        self._is_warm = False
        self.batch_tokens = 0
        self.store: DrawStore | None = None
        self.stretches: Stretches | None = None

    def _streams(self, index: int) -> RandomStreams:
        return RandomStreams(self._job.settings.seed, pass_index=index)

    def _plans(self, index: int) -> list[DrawPlan]:
        """The draws of every bound in a pass, the headline's first; they share seeds, so they are coupled."""
        plans = []
        for bound in self._job.bounds:
            design: StratifiedDesign | IndependentDesign | None = None
            if self._job.answers is not None:
                plans.append(self._plan_of_answers(bound, self._streams(index)))
                continue
            if bound.num_samples != "all":
                # Of later passes, each is a second draw of every window to another.
                difficulty = self._layout.difficulty
                design = StratifiedDesign(self._streams(index), difficulty, bound.num_samples, replicates=index == 0)
            plans.append(plan_draws(bound, len(self._layout), design))
        return plans

    def _plan_of_answers(self, bound: Bound, streams: RandomStreams) -> DrawPlan:
        """Draws that show the error of each answer by itself, and all masks of those short enough."""
        assert bound.num_samples != "all"
        plan = plan_draws(bound, len(self._layout), IndependentDesign(streams, len(self._layout), bound.num_samples))
        if not self._job.settings.enumerate_short:
            return plan
        told = self._job.denoiser.time_conditioned
        return enumerate_short_spans(plan, bound, self._layout.lengths, streams, time_conditioned=told)

    def close(self) -> None:
        """Let go of the thread; a plan that no pass needs any more is not waited for."""
        self._beside.shutdown(wait=False, cancel_futures=True)

    def find_batch_tokens(self) -> int:
        """Tokens a batch: as many as the device likes, or as fit."""
        most = self._job.settings.tokens_per_batch(self._job.device)
        if self._job.settings.batch_tokens is not None or self._job.device.type != "cuda":
            return most
        most = larger_for_long_text(most, self._tokens_per_pass // self._processes.count)
        plan = self._first_plans[0]
        probe = self._batches.prepare(plan, self._streams(0), self._batches.longest(plan))
        longest = probe.num_tokens // len(probe)
        return self.runner.rows_that_fit(probe, max(most // longest, 1)) * longest

    def warm_up(self, num_passes: int = 1) -> float:
        """Compile, if so many passes are worth it and fewer were not; returns the seconds, which are not scoring's."""
        begin = time.perf_counter()
        settings, device = self._job.settings, self._job.device
        if self._is_warm or not settings.compiles(device):
            return 0.0
        # Of the whole text: the arithmetic, and the last bits of the total, are not to hang on how many share it.
        is_worth_it = pays(
            self._job.model, num_passes * self._tokens_per_pass, device=device, dtype=settings.torch_dtype(),
            length=int(self._layout.spans.input_lengths.max()),
        )  # fmt: skip
        if not settings.compiles(device, pays=is_worth_it):
            return 0.0
        self._is_warm = True
        plan = self._first_plans[0]
        rows = np.sort(np.concatenate(self._batches.deal(plan, self.batch_tokens)[0]))
        self.runner.warm_up(self._batches.prepare(plan, self._streams(0), rows))
        self._processes.wait()  # whoever took longer is waited for here, and not in the pass
        return time.perf_counter() - begin

    def run_pilot(self) -> Pilot:
        """The draws that fix the number of passes, of the headline's bound."""
        bound = self._job.bounds[0]
        plan = PilotPlan.of(bound, self._job.settings.seed, self._layout)
        self._count.total += plan.num_tokens(self._batches)

        def run(part: PilotPass) -> DrawTable:
            return self._run(part.index, bound, part.plan)

        return Pilot.drawn(plan, self._layout, num_clean_tokens(self._job.denoiser), run)

    def passes_for(self, pilot: Pilot, tolerance: float) -> int:
        """How many passes make half of the headline's interval at most ``tolerance`` bits per byte.

        Raises:
            UsageError: if that takes too many.
        """
        variance = pilot.variance_of_a_pass(self._layout.lengths)
        total_units = max(self._layout.total_units, 1)
        needed = pilot.num_passes(tolerance * NATS_PER_BIT * total_units, variance, len(self._layout))
        if needed > MAX_PASSES:
            raise UsageError(
                "--tolerance is out of reach",
                seen=f"{tolerance} bits per byte, about {needed:,} passes",
                expected=f"at most {MAX_PASSES:,} passes",
                hint=f"one pass gives +- {nats_to_bits(1.96 * math.sqrt(variance)) / total_units:.4f}",
            )
        self._count.total += (needed - 1) * self._tokens_per_pass
        return needed

    def run_pass(self, index: int, num_passes: int) -> list[DrawTable]:
        """One table a bound."""
        keeps_tokens = self._job.settings.kept_costs is not None
        plans = self._next_plans.result() if self._next_plans is not None else self._first_plans
        self._next_plans = self._beside.submit(self._plans, index + 1) if index + 1 < num_passes else None
        return [
            self._run(index, bound, plan, keep_tokens=keeps_tokens and not which)
            for which, (bound, plan) in enumerate(zip(self._job.bounds, plans, strict=True))
        ]

    def _run(self, index: int, bound: Bound, plan: DrawPlan, *, keep_tokens: bool = False) -> DrawTable:
        key, store = (index, bound.method), self.store
        return run_draws(
            self.runner, self._batches, plan, self._streams(index), device=self._job.device,
            batch_tokens=self.batch_tokens, processes=self._processes,
            finished=() if store is None else self._kept(key, plan, store),
            keep=None if store is None else store.keeper(key), keep_tokens=keep_tokens, stretches=self.stretches,
            advance=self._count,
        )  # fmt: skip

    def run_chunks(self, adaptation: Adapting) -> list[DrawTable]:
        """One table a bound, whose network learns between chunks."""
        plans, ends = self._first_plans, np.append(0, np.cumsum(self._layout.lengths))
        keeps_tokens = self._job.settings.kept_costs is not None

        def score(chunk: Chunk) -> Arrays:
            tables = [
                run_draws(
                    self.runner, self._batches, plan.take(rows_of(plan, chunk)), self._streams(0),
                    device=self._job.device, batch_tokens=self.batch_tokens, processes=self._processes,
                    keep_tokens=keeps_tokens and not which, advance=self._count,
                )
                for which, plan in enumerate(plans)
            ]  # fmt: skip
            return to_arrays(tables, slice(ends[chunk.first], ends[chunk.stop]))

        parts = adaptation.run(score, self._count)
        return to_tables(plans, adaptation.chunks, parts, keeps_tokens=keeps_tokens)

    def _kept(self, key: DrawKey, plan: DrawPlan, store: DrawStore) -> list[FinishedDraws]:
        """What an earlier run has drawn, made sure of; each process makes the masks of its share again."""
        kept = store.finished(key)
        if not kept:
            return []
        of_draws = self._source if isinstance(self._batches, BlockSource) else self._batches
        check = KeptDrawsCheck(
            plan, of_draws, self._streams(key[0]), self.runner,
            dtype=self._job.settings.dtype, batch_tokens=self.batch_tokens,
        )  # fmt: skip
        parts = self._processes.together(lambda: check.require_drawn(self._processes.share(kept)))
        again = self._processes.together(
            lambda: check.require_scored(kept, store.digest) if self._processes.is_first else 0
        )
        self.num_scored_again += sum(again)
        return list(chain.from_iterable(parts))

    def asked(self, passes: list[list[DrawTable]]) -> AskedDraws:
        """The draws of all passes, to be asked for again."""
        drawn = [(table, self._streams(index)) for index, tables in enumerate(passes) for table in tables]
        return AskedDraws(self._source, self._job.denoiser.mask_token_id, drawn)

    def error_remarks(self, sampled: SampledBound, pilot: Pilot | None) -> list[Remark]:
        """What a reader should know of the headline's error: how the passes came about, and whether to trust it."""
        settings, half_width_nats = self._job.settings, sampled.error.half_width_nats()
        remarks = []
        if pilot is not None:
            drawn = f"{pilot.num_draws:,} pilot draws, which enter no total, fixed the number of passes"
            remarks.append(Remark("pilot", drawn))
        half_width = nats_to_bits(half_width_nats) / max(self._layout.total_units, 1)
        if settings.tolerance is not None and half_width > settings.tolerance:
            wider = (
                f"half of the 95 % interval came out at {half_width:.3g}, wider than --tolerance {settings.tolerance}"
            )
            remarks.append(Remark("tolerance.missed", f"{wider}: the passes differ more than the pilot's draws did"))
        costs = sampled.table.costs
        if not len(costs) or not sampled.error.is_known:
            return remarks
        doubt = reason_to_doubt(
            costs,
            lengths=self._layout.lengths,
            half_width=half_width_nats / self._layout.spans.num_tokens,
            blind_nats=math.log(max(num_clean_tokens(self._job.denoiser), 2)),
            pilot=None if pilot is None else pilot.costs,
            ends=() if pilot is None else pilot.ends,
        )
        if doubt is not None:
            remarks.append(Remark(UNTRUSTED_ERROR, f"WARNING: the error is not to be trusted: {doubt}"))
        return remarks
