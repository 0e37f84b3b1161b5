"""Sampling the bounds of a job: one pass over the text, or as many as a tolerance needs; resumable, on many devices."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import final

import numpy as np
import numpy.typing as npt
import torch

from bpb_harness.corpus import Windows
from bpb_harness.denoiser import num_clean_tokens
from bpb_harness.errors import UsageError
from bpb_harness.estimators import Bound, DiscreteBound
from bpb_harness.evaluate.batches import DrawPlan, DrawSource, deal_draws
from bpb_harness.evaluate.draw_file import DrawFile, DrawFileHeader, DrawKey, KeptDraws
from bpb_harness.evaluate.draws import DrawTable, FinishedDraws, merge_passes, plan_draws, run_draws
from bpb_harness.evaluate.job import Job, TokenCount
from bpb_harness.evaluate.kept_draws import KeptDrawsCheck
from bpb_harness.evaluate.memory import peak_memory_bytes
from bpb_harness.evaluate.processes import Processes
from bpb_harness.evaluate.runner import MaskedNllRunner
from bpb_harness.evaluate.second_answers import AskedDraws
from bpb_harness.evaluate.settings import describe_device
from bpb_harness.evaluate.totals import FEWEST_PASSES, SamplingError, as_statistics, sampling_error, window_totals
from bpb_harness.masking import RandomStreams, StratifiedDesign
from bpb_harness.result import Signature
from bpb_harness.units import nats_to_bits

LOG = logging.getLogger("bpb_harness")
MOST_PASSES = 10_000
_BATCHES_OF_LONG_TEXT = 64
Ints = npt.NDArray[np.int64]


@final
@dataclass(frozen=True)
class SampledBounds:
    """What sampling the bounds of a job gave.

    Attributes:
        tables: the draws of each bound, all passes together, the headline's first.
        errors: the sampling error of each bound's total.
        num_passes: how many passes there were.
        seconds: wall clock of the passes, without compiling.
        peak_memory_bytes: the most memory held on one GPU; None on a CPU.
        remarks: (code, message) of what a reader of the score should know.
        asked: the draws, to be asked for again.
    """

    tables: list[DrawTable]
    errors: list[SamplingError]
    num_passes: int
    seconds: float
    peak_memory_bytes: int | None
    remarks: list[tuple[str, str]]
    asked: AskedDraws


def sample_bounds(
    job: Job, windows: Windows, total_windows: int, num_bytes: Ints, difficulty: Ints, processes: Processes
) -> SampledBounds:
    """Run passes until the tolerance is met; one, if there is none."""
    assert job.schedule is not None
    if job.device.type == "cuda" and job.device.index is not None:
        torch.cuda.set_device(job.device)
    with closing(_Sampler(job, windows, num_bytes, difficulty, processes)) as sampler:
        return _sample(sampler, job, len(windows), total_windows, processes)


def _sample(sampler: _Sampler, job: Job, num_windows: int, total_windows: int, processes: Processes) -> SampledBounds:
    batch_tokens = job.settings.batch_tokens or min(processes.gather(sampler.find_batch_tokens()))
    with _open_draws(job, num_windows, total_windows, batch_tokens, processes) as store:
        if job.settings.batch_tokens is None:
            batch_tokens = store.batch_tokens
        sampler.warm_up(batch_tokens)
        begin = time.perf_counter()
        passes = [sampler.run_pass(0, batch_tokens, store)]
        while not sampler.is_precise_enough(passes):
            passes.append(sampler.run_pass(len(passes), batch_tokens, store))
        seconds = time.perf_counter() - begin
    peaks = [peak for peak in processes.gather(peak_memory_bytes(job.device)) if peak is not None]
    by_bound = list(zip(*passes, strict=True))
    merged = [merge_passes(tables) for tables in by_bound]
    return SampledBounds(
        tables=merged,
        errors=[sampler.error(bound, list(tables)) for bound, tables in zip(job.bounds, by_bound, strict=True)],
        num_passes=len(passes),
        seconds=seconds,
        peak_memory_bytes=max(peaks, default=None),
        remarks=sampler.runner.remarks + _kept_remarks(job, merged, sampler.num_scored_again),
        asked=sampler.asked(passes),
    )


def _kept_remarks(job: Job, tables: list[DrawTable], num_again: int) -> list[tuple[str, str]]:
    """How much of the score an earlier run has drawn."""
    kept, total = sum(table.num_kept for table in tables), sum(len(table.plan) for table in tables)
    if not kept:
        return []
    how_many = "all draws" if kept == total else f"{kept:,} of {total:,} draws"
    return [("draws.kept", f"{how_many} were kept from {job.settings.resume}; {num_again:,} of them were scored again")]


def larger_for_long_text(batch_tokens: int, tokens_per_pass: int) -> int:
    """Tokens a batch on a GPU: twice as many where that leaves a process many batches of its share of a pass.

    Kernels end raggedly, and the host launches each, which weighs half then; a batch takes twice the memory.
    """
    return 2 * batch_tokens if tokens_per_pass >= _BATCHES_OF_LONG_TEXT * batch_tokens else batch_tokens


@final
class _Sampler:
    """The passes of one job."""

    def __init__(self, job: Job, windows: Windows, num_bytes: Ints, difficulty: Ints, processes: Processes) -> None:
        assert job.schedule is not None
        self._job, self._windows, self._processes = job, windows, processes
        self._num_bytes, self._difficulty = num_bytes, difficulty
        self._source = DrawSource(job.text.corpus, windows, job.schedule)
        self._first_plans = self._plans(0)
        self._beside = ThreadPoolExecutor(1, thread_name_prefix="plan")
        self._next_plans: Future[list[DrawPlan]] | None = None
        self._tokens_per_pass = sum(int(windows.lengths[plan.window].sum()) for plan in self._first_plans)
        self._count: TokenCount = job.count_tokens(self._tokens_per_pass)
        self.num_scored_again = 0
        self.runner = MaskedNllRunner(
            job.denoiser,
            job.device,
            dtype=job.settings.torch_dtype(),
            compiled=job.settings.compiles(job.device),
        )

    def _streams(self, index: int) -> RandomStreams:
        return RandomStreams(self._job.settings.seed, pass_index=index)

    def _plans(self, index: int) -> list[DrawPlan]:
        """The draws of every bound in a pass, the headline's first; they share seeds, so they are coupled."""
        plans = []
        for bound in self._job.bounds:
            design = None
            if bound.num_samples != "all":
                # Of later passes, each is a second draw of every window to another.
                design = StratifiedDesign(
                    self._streams(index), self._difficulty, bound.num_samples, replicates=index == 0
                )
            plans.append(plan_draws(bound, len(self._difficulty), design))
        return plans

    def close(self) -> None:
        """Let go of the thread; a plan that no pass needs any more is not waited for."""
        self._beside.shutdown(wait=False, cancel_futures=True)

    def find_batch_tokens(self) -> int:
        """Tokens a batch: as many as the device likes, or as fit."""
        most, longest = self._job.settings.tokens_per_batch(self._job.device), int(self._windows.lengths.max())
        if self._job.settings.batch_tokens is not None or self._job.device.type != "cuda":
            return most
        most = larger_for_long_text(most, self._tokens_per_pass // self._processes.count)
        plan = self._first_plans[0]
        rows = np.flatnonzero(self._windows.lengths[plan.window] == longest)[:2]
        probe = self._source.prepare(plan, self._streams(0), rows)
        return self.runner.rows_that_fit(probe, max(most // longest, 1)) * longest

    def warm_up(self, batch_tokens: int) -> None:
        """Compile before the clock runs."""
        plan = self._first_plans[0]
        rows = deal_draws(self._windows.lengths[plan.window], plan.move_chance, batch_tokens)[0]
        self.runner.warm_up(self._source.prepare(plan, self._streams(0), rows))

    def run_pass(self, index: int, batch_tokens: int, store: _Store) -> list[DrawTable]:
        """One table a bound."""
        self._count.total = max(self._count.total, (index + 1) * self._tokens_per_pass)
        plans = self._next_plans.result() if self._next_plans is not None else self._first_plans
        if self._job.settings.tolerance is not None:  # a pass may follow: have its plan ready
            self._next_plans = self._beside.submit(self._plans, index + 1)
        tables: list[DrawTable] = []
        for bound, plan in zip(self._job.bounds, plans, strict=True):
            key = (index, bound.method)
            kept = self._kept(key, plan, batch_tokens, store)
            table = run_draws(
                self.runner, self._source, plan, self._streams(index), device=self._job.device,
                batch_tokens=batch_tokens, processes=self._processes, finished=kept,
                keep=store.keeper(key), keep_tokens=self._job.settings.with_tokens and not tables,
                advance=self._count,
            )  # fmt: skip
            tables.append(table)
        return tables

    def _kept(self, key: DrawKey, plan: DrawPlan, batch_tokens: int, store: _Store) -> list[FinishedDraws]:
        """What an earlier run has drawn, made sure of; each process makes the masks of its share again."""
        kept = store.finished(key)
        if not kept:
            return []
        check = KeptDrawsCheck(
            plan, self._source, self._streams(key[0]), self.runner,
            dtype=self._job.settings.dtype, batch_tokens=batch_tokens,
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

    def error(self, bound: Bound, tables: list[DrawTable]) -> SamplingError:
        """The sampling error of a bound after some passes."""
        clean, lengths = num_clean_tokens(self._job.denoiser), self._windows.lengths
        draws = [as_statistics(bound, table, lengths, self._num_bytes, self._difficulty, clean) for table in tables]
        pass_nats = [window_totals(bound, table, lengths, clean).nats for table in tables]
        return sampling_error(bound, tables, draws, pass_nats)

    def _half_width(self, passes: list[list[DrawTable]]) -> float:
        """Half of the headline's 95 % interval, in bits per byte."""
        error = self.error(self._job.bounds[0], [tables[0] for tables in passes])
        return nats_to_bits(error.half_width_nats()) / max(int(self._num_bytes.sum()), 1)

    def is_precise_enough(self, passes: list[list[DrawTable]]) -> bool:
        """Whether the headline's interval is as narrow as asked for.

        Raises:
            UsageError: if it never would be, within reason.
        """
        tolerance = self._job.settings.tolerance
        if tolerance is None:
            return True
        half_width = self._half_width(passes)
        if half_width <= tolerance:
            # To stop at the first narrow interval picks passes that look alike by chance: it must be narrow twice.
            return len(passes) <= FEWEST_PASSES or self._half_width(passes[:-1]) <= tolerance
        needed = math.ceil(len(passes) * (half_width / tolerance) ** 2)
        # The first passes know their own error poorly: only what is far out of reach is refused on their word.
        if needed > MOST_PASSES * (1 if len(passes) >= FEWEST_PASSES else 100):
            raise UsageError(
                "--tolerance is out of reach",
                seen=f"{tolerance} bits per byte, about {needed:,} passes",
                expected=f"at most {MOST_PASSES:,} passes",
                hint=f"one pass gives +- {half_width * math.sqrt(len(passes)):.4f}",
            )
        self._count.total = max(self._count.total, needed * self._tokens_per_pass)
        return False


@final
@dataclass(frozen=True)
class _Store:
    """Where finished draws come from and go to; nowhere without ``--resume``."""

    batch_tokens: int
    known: dict[DrawKey, list[KeptDraws]]
    digest: str = ""
    file: DrawFile | None = None

    def finished(self, key: DrawKey) -> list[KeptDraws]:
        return self.known.get(key, [])

    def keeper(self, key: DrawKey) -> Callable[[FinishedDraws], None] | None:
        return None if self.file is None else partial(self.file.keep, key)


def _drawn(job: Job, signature: Signature) -> Signature:
    """What a file of draws is made with: with ``--compare`` the T of the second bound too."""
    steps = [str(bound.num_steps) for bound in job.bounds if isinstance(bound, DiscreteBound)]
    return replace(signature, num_steps=steps[0] if steps else None)


@contextmanager
def _open_draws(
    job: Job, num_windows: int, total_windows: int, batch_tokens: int, processes: Processes
) -> Iterator[_Store]:
    """The store of a job: the first process reads the file, all know what it holds, each appends to its own part."""
    if job.settings.resume is None:
        yield _Store(batch_tokens, {})
        return
    path = Path(job.settings.resume)
    header = DrawFileHeader(
        signature=str(_drawn(job, job.signature(num_windows, total_windows))),
        model=job.identity.digest,
        data=job.text.corpus.digest,
        batch_tokens=batch_tokens,
        device=describe_device(job.device),
    )
    file: DrawFile | None = None

    def open_first() -> tuple[int, dict[DrawKey, list[KeptDraws]], str] | None:
        nonlocal file
        if not processes.is_first:
            return None
        file = DrawFile.open(path, header)
        return file.header.batch_tokens, dict(file.finished), file.digest

    def open_others() -> None:
        nonlocal file
        if not processes.is_first:
            file = DrawFile.open_part(path, header, processes.rank)

    opened = processes.together(open_first)[0]
    assert opened is not None
    processes.together(open_others)
    assert file is not None
    try:
        yield _Store(*opened, file)
        if processes.count > 1:
            processes.together(file.close)
            if processes.is_first:  # the parts of the others, now complete, become part of the file
                DrawFile.open(path, header).close()
    except KeyboardInterrupt:
        LOG.warning("bpb-eval: finished draws are kept in %s; run the same command again to go on", path)
        raise
    finally:
        file.close()
