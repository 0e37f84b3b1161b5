"""The second look at a score: the process that answers stands beside scoring, and is asked when the score is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Self, final

import torch

from bpb_harness.adaptation.chunks import Chunk
from bpb_harness.errors import SecondLookError
from bpb_harness.evaluation.adapting import Adapting
from bpb_harness.evaluation.job import Job
from bpb_harness.evaluation.second_answers import Asked
from bpb_harness.result import BpbResult
from bpb_harness.second_look.asking import AnsweringProcess, ask_here
from bpb_harness.second_look.questions import Answer, Question, require_same_answers
from bpb_harness.torchrun import is_first_process

NUM_CHUNKS_AGAIN = 3
Ask = Callable[[Sequence[Question]], list[Answer]]


@contextmanager
def answering_process(job: Job) -> Iterator[AnsweringProcess | None]:
    """The process that answers, beside scoring; None where the network cannot be built a second time."""
    if job.source is None or not is_first_process():
        yield None
        return
    process = AnsweringProcess(job.source)
    try:
        yield process
    finally:
        process.close()


def watching(job: Job, process: AnsweringProcess) -> Job:
    """The job, whose progress also tells at once if the other process cannot build the network."""

    def progress(done: int, total: int) -> None:
        process.require_no_failure()
        if job.progress is not None:
            job.progress(done, total)

    return replace(job, progress=progress)


def look_again(
    job: Job, result: BpbResult, asked: Asked, process: AnsweringProcess | None, adaptation: Adapting | None = None
) -> None:
    """Put the questions, to the fresh process or else to the network that was scored, and compare.

    A network that learns on the way is asked about the first chunks, or all, and between them it learns again: the
    fresh process gets the tokens of the chunks before the last one asked about, and no others.

    Raises:
        SecondLookError: if the answers are not what was summed.
    """
    again = Relearning.of(adaptation, process, runs_code=job.settings.allow_code)
    below = None if again is None else again.stop
    chosen = asked.choose(result, job.identity.digest, job.text.corpus.digest, below=below)
    job.text.corpus.let_go()
    if process is None:
        if adaptation is not None and not adaptation.can_undo:
            return  # what it has learnt cannot be taken from it
        answer: Ask = partial(ask_here, job.model, job.device)
        where = "the network, asked again window by window,"
    else:
        if job.device.type == "cuda":
            torch.cuda.empty_cache()  # the other process needs some
        if process.wait_until_built() != job.identity.digest:
            raise SecondLookError("the checkpoint is another one than when scoring began", hint="score it again")
        answer, where = process.ask, "a fresh process that has only the checkpoint"
    questions, answers = _ask_in_turn(chosen, answer, again)
    require_same_answers(questions, answers, dtype=job.settings.dtype, where=where)


def _ask_in_turn(
    chosen: Sequence[tuple[int, Question]], ask: Ask, again: Relearning | None
) -> tuple[list[Question], list[Answer]]:
    """Ask; of a network that learns, chunk by chunk."""
    if again is None:
        questions = [question for _, question in chosen]
        return questions, ask(questions)
    questions, answers = [], []
    for place, chunk in enumerate(again.chunks):
        if place:
            again.learn(again.chunks[place - 1])
        of_chunk = [question for window, question in chosen if chunk.first <= window < chunk.stop]
        questions += of_chunk
        answers += ask(of_chunk)
    return questions, answers


@final
@dataclass(frozen=True)
class Relearning:
    """What a fresh process learns once more, to be asked about chunks behind it.

    Attributes:
        chunks: those that are asked about.
        learn: hands over one of them.
    """

    chunks: Sequence[Chunk]
    learn: Callable[[Chunk], None]

    @property
    def stop(self) -> int:
        """Behind the last window that is asked about."""
        return self.chunks[-1].stop

    @classmethod
    def of(cls, adaptation: Adapting | None, process: AnsweringProcess | None, *, runs_code: bool) -> Self | None:
        """All chunks of a network whose code is not the harness's, which may answer otherwise from some chunk on; else
        a few.
        """
        if adaptation is None:
            return None
        if process is None:
            return cls(adaptation.chunks[:1], adaptation.learn)
        chunks = adaptation.chunks if runs_code else adaptation.chunks[:NUM_CHUNKS_AGAIN]

        def learn(chunk: Chunk) -> None:
            asked = {"chunk": chunk.index, "num_chunks": len(adaptation.chunks), **adaptation.plain}
            process.learn(asked, adaptation.tokens(chunk).cpu().numpy())

        return cls(chunks, learn)
