"""A score of a network that learns on the way: chunk after chunk is scored, kept, and then learnt from."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bpb_harness.adaptation.chunks import Chunk, cut_chunks
from bpb_harness.adaptation.learner import learner_of
from bpb_harness.adaptation.settings import AdaptationSettings
from bpb_harness.contract.own_state import OwnState
from bpb_harness.distributed import Processes
from bpb_harness.errors import UsageError
from bpb_harness.evaluation.adaptation_file import KEPT, NOT_KEPT, AdaptationFile, Arrays
from bpb_harness.evaluation.job import Job, TokenCount
from bpb_harness.evaluation.layout import Layout
from bpb_harness.result import Remark

LOG = logging.getLogger("bpb_harness")
_NUM_NAMES = 3


@final
class Adapting:
    """The chunks of one score, and what learns from them.

    Args:
        job: the evaluation, whose settings say how.
        layout: what of the text is scored.
        processes: share the spans of a chunk, and the micro-batches of a step.
        before_learning: looks at the network once more when the first chunk is scored, and nothing learnt yet.

    Raises:
        UsageError: if the network cannot learn so, or the text is not paid for whole.
    """

    def __init__(
        self, job: Job, layout: Layout, processes: Processes, before_learning: Callable[[], None] | None
    ) -> None:
        settings = job.settings.adaptation
        assert settings is not None
        if settings.method == "own" and processes.count > 1:
            raise UsageError(
                "--ttt own", seen=f"{processes.count} processes", expected="one",
                hint="each would learn by itself, and nothing says that they learn the same; leave out torchrun",
            )  # fmt: skip
        self._job, self._processes, self._before_learning = job, processes, before_learning
        self.settings = settings
        self.chunks = cut_chunks(layout.spans, settings.chunk_tokens, is_causal=job.method.is_causal)
        self.plain = _plain(job, settings)
        self._learner = learner_of(self.plain, job.model, job.device, processes)
        learns = len(self.chunks) > 1
        self._not_reached = self._learner.rehearse(int(self.tokens(self.chunks[0])[0])) if learns else []
        header = {
            "signature": str(job.signature(layout)), "model": job.identity.digest, "data": job.text.corpus.digest,
            "bounds": ", ".join(each.method for each in job.bounds) or "none",
            "tokens": KEPT if job.settings.kept_costs or not job.bounds else NOT_KEPT,
        }  # fmt: skip
        path = None if job.settings.resume is None else Path(job.settings.resume)
        self._file = AdaptationFile(path, header, processes, self._learner)
        self._num_kept = 0
        self.seconds = 0.0  # of learning, which is no part of scoring

    @property
    def can_undo(self) -> bool:
        """Whether the network is what it was once all is scored."""
        return self._learner.can_undo

    def close(self) -> None:
        """Bring the network back."""
        self._learner.undo()

    def say_what_is_kept(self) -> None:
        """Tell whoever has interrupted it how to go on, where a chunk is kept."""
        if self._file.is_there:
            path = self._job.settings.resume
            LOG.warning("bpb-eval: finished chunks are kept in %s; run the same command again to go on", path)

    def run(self, score: Callable[[Chunk], Arrays], count: TokenCount) -> list[Arrays]:
        """Score every chunk, each by what the ones before it have left.

        Args:
            score: gives what the spans of a chunk cost, in every process.
            count: of the tokens that went through the network.

        Raises:
            ContractError: if scoring changes the network.
            NumericsError: if it diverges.
        """
        learnt = [(chunk.end - chunk.begin) * self.settings.epochs for chunk in self.chunks[:-1]]
        with closing(self._file) as file:
            parts = file.open(self.chunks)
            self._num_kept = len(parts)
            first = self.chunks[len(parts) - 1].stop if parts else 0
            kept = count.total * first // self.chunks[-1].stop + sum(learnt[: len(parts)])
            count.total += sum(learnt)
            count(kept)
            for chunk in self.chunks[len(parts) :]:
                state = OwnState(self._job.model)
                parts.append(score(chunk) if chunk.stop > chunk.first else {})
                state.require_unchanged()
                if not chunk.index and self._before_learning is not None:
                    self._before_learning()
                if chunk is not self.chunks[-1]:
                    begin = time.perf_counter()
                    with self._job.clock.phase("adapting"):
                        self.learn(chunk)
                    self.seconds += time.perf_counter() - begin
                    count(learnt[chunk.index])
                file.keep(parts)
        return parts

    def learn(self, chunk: Chunk) -> None:
        """Hand over the tokens of a chunk, all of which are paid for, and nothing else."""
        assert chunk.end <= self._job.spans.ends[chunk.stop - 1], "paid for"
        self._learner.learn(self.tokens(chunk), chunk.index, len(self.chunks))

    def tokens(self, chunk: Chunk) -> Tensor:
        """What is handed over, a copy, (n,) int64 on the device of the network."""
        read = self._job.text.corpus.read(chunk.begin, chunk.end)
        return torch.from_numpy(np.array(read, dtype=np.int64)).to(self._job.device)

    @property
    def remarks(self) -> list[Remark]:
        """What a reader of the score should know."""
        num_learnt, total = len(self.chunks) - 1, self._job.spans.num_tokens
        said = (
            f"the network learnt on the way: {num_learnt:,} of {len(self.chunks):,} chunks of "
            f"{self.settings.chunk_tokens:,} tokens ({total:,} in all), each after it was scored"
        )
        if not num_learnt:
            said = f"the network learnt nothing: all {total:,} tokens are one chunk; pass a smaller --ttt-chunk"
        kept = f"{self._num_kept:,} chunks were kept from {self._job.settings.resume}"
        found = [Remark("adaptation", said)]
        if names := self._not_reached:
            shown = ", ".join(names[:_NUM_NAMES]) + (", ..." if len(names) > _NUM_NAMES else "")
            found.append(Remark("adaptation.not-reached", f"{len(names):,} weights have no gradient and stay: {shown}"))
        return [*found, Remark("adaptation.kept", kept)] if self._num_kept else found


def _plain(job: Job, settings: AdaptationSettings) -> dict[str, Any]:
    """What makes the learner, in plain values, so that another process makes the same."""
    return {
        "settings": settings.to_plain(),
        "window_length": job.context_length,
        "schedule": None if job.schedule is None else str(job.schedule),
        "num_steps": getattr(job.estimators[0], "num_steps", None),
        "seed": job.settings.seed,
    }


@contextmanager
def adapting(
    job: Job, layout: Layout, processes: Processes, before_learning: Callable[[], None] | None
) -> Iterator[Adapting]:
    """What adapts, for as long as this is open."""
    found = Adapting(job, layout, processes, before_learning)
    with closing(found):
        try:
            yield found
        except KeyboardInterrupt:
            found.say_what_is_kept()
            raise


def joined(parts: list[Arrays]) -> dict[str, npt.NDArray[Any]]:
    """Arrays of chunks end to end."""
    some = [part for part in parts if part]
    return {name: np.concatenate([part[name] for part in some]) for name in some[0]}
