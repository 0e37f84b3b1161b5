"""How much goes through the network in a run, and how much of it at once: before any of it does."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import final

import numpy as np

from bpb_harness.denoiser import Denoiser
from bpb_harness.estimators import ChainRule, ExactBound
from bpb_harness.estimators.exact import ROWS_PER_CALL
from bpb_harness.evaluation.job import Job
from bpb_harness.evaluation.passes import larger_for_long_text


@final
@dataclass(frozen=True)
class RunSize:
    """Rows of a run, of this process's share where several score together.

    Attributes:
        batch_rows: rows of its largest batch.
        num_rows: of all its batches together.
    """

    batch_rows: int
    num_rows: int

    @staticmethod
    def of(job: Job) -> RunSize:
        """The size of a job; of one with a tolerance, that of its first pass."""
        settings, length = job.settings, job.context_length
        batch_tokens = settings.tokens_per_batch(job.device)
        num_windows, times, at_once = _num_windows(job), 1, None
        if job.bounds:
            samples = job.bounds[0].num_samples
            times = len(job.bounds[0].nodes()[0]) if samples == "all" else samples
        elif isinstance(job.model, Denoiser):
            estimator = job.estimators[0]
            assert isinstance(estimator, ChainRule | ExactBound)
            length, targets = int(job.spans.input_lengths.max()), int(job.spans.lengths.max())
            if isinstance(estimator, ChainRule):
                times, at_once = estimator.passes(targets), num_windows
            else:
                times = estimator.passes(targets, time_conditioned=job.model.time_conditioned)
                at_once = min((1 << targets) - 1, ROWS_PER_CALL)
        num_rows = -(-num_windows * times // _num_processes())
        if at_once is None:
            at_once = num_rows
            if job.bounds and job.device.type == "cuda" and settings.batch_tokens is None:
                batch_tokens = larger_for_long_text(batch_tokens, num_rows * length)
        by_tokens = at_once if job.method.enumerates else batch_tokens // length
        return RunSize(max(min(by_tokens, at_once), 1), num_rows * max(len(job.bounds), 1))


def _num_windows(job: Job) -> int:
    """Rows of one draw each: spans, or windows where all blocks of each are taken in one call."""
    return len(np.unique(job.spans.context_starts)) if job.asks_by_blocks else len(job.spans)


def _num_processes() -> int:
    """How many torchrun started; they have not met yet."""
    count = os.environ.get("WORLD_SIZE", "1")
    return max(int(count), 1) if count.isdigit() else 1
