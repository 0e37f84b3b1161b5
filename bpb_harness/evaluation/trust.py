"""The contract around a score: the network is tested before, and asked again after, the corpus went through it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import final

import numpy as np
import torch
from torch import Tensor

from bpb_harness.adapters import load_model
from bpb_harness.contract import examine, precision_finding
from bpb_harness.denoiser import Denoiser
from bpb_harness.errors import MaskTokenError
from bpb_harness.evaluation.batches import stack_spans
from bpb_harness.evaluation.beside import Beside
from bpb_harness.evaluation.job import Job
from bpb_harness.evaluation.run_size import RunSize
from bpb_harness.freed_memory import give_back
from bpb_harness.result import BpbResult, Remark
from bpb_harness.text.corpus import Corpus
from bpb_harness.text.spans import Spans

_SAMPLE_WINDOWS = 16
_WINDOWS_IN_BOTH_PRECISIONS = 4
_CHUNK_TOKENS = 1 << 22


@final
class Contract:
    """Checks of one job's network.

    Args:
        job: the evaluation that the network is checked for.

    Raises:
        ContractError: at once, if the network does not behave as it must.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._windows = sample_windows(job).to(job.device)
        size = RunSize.of(job)
        if isinstance(job.model, Denoiser):
            _require_mask_free(job.model, job.text.corpus)
        with torch.inference_mode():
            examination = examine(
                job.model, self._windows, schedule=job.schedule, seed=job.settings.seed, batch_rows=size.batch_rows,
                num_rows=size.num_rows, dtype=job.settings.torch_dtype(), by_blocks=job.asks_by_blocks,
                widest=size.widest, tell=job.clock.tell,
            )  # fmt: skip
        self._witness = examination.witness
        self.remarks = examination.findings
        if job.device.type == "cuda":  # what is reported, and found free, is the scoring's
            give_back()
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(job.device)

    def check_again(self) -> None:
        """Ask the network once more.

        Raises:
            ContractError: if its answer to an old question changed meanwhile.
        """
        self._job.clock.tell("checks: what was asked before, once more")
        with torch.inference_mode():
            self._witness.check()

    def precision_beside(self, result: BpbResult) -> Callable[[], list[Remark]]:
        """What gives :meth:`compare_precision`: found by a thread on a GPU, where a fresh process is asked meanwhile.

        Not where another thread asks the same network, nor where the user's code would be run by it.
        """
        job = self._job
        compare = Beside(partial(self.compare_precision, result), "precision")
        if job.device.type == "cuda" and job.source is not None and not job.settings.allow_code:
            compare.start()
        return compare.result

    def compare_precision(self, result: BpbResult) -> list[Remark]:
        """What low precision does to a sample of the score, where that exceeds the sampling error."""
        job = self._job
        if job.settings.dtype == "float32" or not isinstance(job.model, Denoiser) or job.source is None:
            return []
        in_float32 = load_model(**job.source.load, device=job.device)[1].model
        assert isinstance(in_float32, Denoiser)
        assert job.schedule is not None
        stderr = (result.mc_stderr or 0.0) * result.length.num_units / result.length.num_tokens
        with torch.inference_mode():
            finding = precision_finding(
                job.model, in_float32, self._some_windows(), schedule=job.schedule, stderr_bits_per_token=stderr,
                seed=job.settings.seed,
            )  # fmt: skip
        return [] if finding is None else [finding]

    def _some_windows(self) -> Tensor:
        every = -(-len(self._windows) // _WINDOWS_IN_BOTH_PRECISIONS)
        return self._windows[::every]


def sample_windows(job: Job) -> Tensor:
    """A few inputs of equal length, spread over what is scored; at least two rows, (n, L) int64."""
    if isinstance(job.model, Denoiser):
        spans = job.spans
    else:
        length = min(job.context_length, job.text.corpus.num_tokens)
        starts = np.arange(0, job.text.corpus.num_tokens - length + 1, length)[: job.settings.limit]
        spans = Spans.without_context(starts, starts + length)
    longest = np.flatnonzero(spans.input_lengths == spans.input_lengths.max())
    chosen = longest[np.linspace(0, len(longest) - 1, min(_SAMPLE_WINDOWS, len(longest))).astype(np.int64)]
    return stack_spans(job.text.corpus, spans, np.resize(chosen, max(len(chosen), 2)))


def _require_mask_free(denoiser: Denoiser, corpus: Corpus) -> None:
    """Refuse data that hold the mask: the network would be told what it is to guess, or never pay for it."""
    mask = denoiser.mask_token_id
    if not 0 <= mask < denoiser.vocab_size:
        return
    for start in range(0, corpus.num_tokens, _CHUNK_TOKENS):
        found = np.flatnonzero(corpus.read(start, min(start + _CHUNK_TOKENS, corpus.num_tokens)) == mask)
        if len(found):
            raise MaskTokenError(
                "the mask token occurs in the data",
                seen=f"id {mask} at position {start + int(found[0])}",
                expected="a mask id that no text uses",
                hint="the tokenizer, the shards and the checkpoint do not belong together",
            )
