"""How much goes through the network in a run, and how much of it at once: before any of it does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from bpb_harness.denoiser import Denoiser
from bpb_harness.estimators import ChainRule, ExactBound
from bpb_harness.estimators.exact import ROWS_PER_CALL
from bpb_harness.evaluation.job import Job
from bpb_harness.evaluation.passes import larger_for_long_text
from bpb_harness.torchrun import num_processes


@final
@dataclass(frozen=True)
class RunSize:
    """Rows of a run, of this process's share where several score together.

    Attributes:
        batch_rows: rows of its largest batch.
        num_rows: of all its batches together.
        widest: tokens of a row, and rows, of its batch of the most rows, where shorter rows make one of more rows.
    """

    batch_rows: int
    num_rows: int
    widest: tuple[int, int] | None = None

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
        num_rows = -(-num_windows * times // num_processes())
        if at_once is None:
            at_once = num_rows
            if job.bounds and job.device.type == "cuda" and settings.batch_tokens is None:
                batch_tokens = larger_for_long_text(batch_tokens, num_rows * length)
        by_tokens = at_once if job.method.enumerates else batch_tokens // length
        rows, num_rows = max(min(by_tokens, at_once), 1), num_rows * max(len(job.bounds), 1)
        if job.asks_by_blocks or job.method.enumerates:  # rows of one length, or as many masks of each
            return RunSize(rows, num_rows)
        return RunSize(rows, num_rows, _widest(job, batch_tokens, times if job.bounds else 1, more_than=rows))


def _widest(job: Job, batch_tokens: int, times: int, *, more_than: int) -> tuple[int, int] | None:
    """Tokens a row and rows of the batch of the most rows, each row so many times, if it has more than that."""
    lengths, counts = np.unique(job.spans.input_lengths - job.method.is_causal, return_counts=True)
    rows = np.minimum(counts * times, np.maximum(batch_tokens // np.maximum(lengths, 1), 1))
    most = int(rows.argmax())
    return (int(lengths[most]), int(rows[most])) if rows[most] > more_than and lengths[most] else None


def _num_windows(job: Job) -> int:
    """Rows of one draw each: spans, or windows where all blocks of each are taken in one call."""
    return len(np.unique(job.spans.context_starts)) if job.asks_by_blocks else len(job.spans)
