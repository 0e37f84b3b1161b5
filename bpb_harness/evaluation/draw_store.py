"""The draws of a job that ``--resume FILE`` keeps: one file for all processes, opened and closed together."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import final

from bpb_harness.distributed import Processes
from bpb_harness.evaluation.draw_file import DrawFile, DrawFileHeader, DrawKey
from bpb_harness.evaluation.draws import FinishedDraws
from bpb_harness.evaluation.job import Job
from bpb_harness.evaluation.layout import Layout
from bpb_harness.evaluation.settings import describe_device
from bpb_harness.result import Signature

LOG = logging.getLogger("bpb_harness")


@final
@dataclass(frozen=True)
class DrawStore:
    """Where finished draws come from and go to.

    Attributes:
        batch_tokens: tokens of a batch, which draws that go on share with those that were kept.
        known: what an earlier run has drawn.
        digest: of the file as it was found.
        file: this process's part of it.
    """

    batch_tokens: int
    known: dict[DrawKey, list[FinishedDraws]]
    digest: str
    file: DrawFile

    def finished(self, key: DrawKey) -> list[FinishedDraws]:
        """Draws that an earlier run has made for one bound in one pass."""
        return self.known.get(key, [])

    def keeper(self, key: DrawKey) -> Callable[[FinishedDraws], None]:
        """What keeps new ones."""
        return partial(self.file.keep, key)


def _drawn(job: Job, signature: Signature) -> Signature:
    """What a file of draws is made with: with ``--compare`` the T of the second bound too."""
    steps = [str(steps) for bound in job.bounds if (steps := getattr(bound, "num_steps", None)) is not None]
    return replace(signature, num_steps=steps[0] if steps else None)


@contextmanager
def open_draws(job: Job, layout: Layout, batch_tokens: int, processes: Processes) -> Iterator[DrawStore]:
    """The store of a job: the first process reads the file, all know what it holds, each appends to its own part."""
    assert job.settings.resume is not None
    path = Path(job.settings.resume)
    header = DrawFileHeader(
        signature=str(_drawn(job, job.signature(layout))),
        model=job.identity.digest,
        data=job.text.corpus.digest,
        batch_tokens=batch_tokens,
        device=describe_device(job.device),
    )
    file: DrawFile | None = None

    def open_first() -> tuple[int, dict[DrawKey, list[FinishedDraws]], str] | None:
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
        yield DrawStore(*opened, file)
        if processes.count > 1:
            processes.together(file.close)
            if processes.is_first:  # the parts of the others, now complete, become part of the file
                DrawFile.open(path, header).close()
    except KeyboardInterrupt:
        LOG.warning("bpb-eval: finished draws are kept in %s; run the same command again to go on", path)
        raise
    finally:
        file.close()
