"""Several processes under torchrun: who does which batch, and how their results come together.

Only sums of draws travel, a few bytes a window, so gloo on the host serves every device. A batch has the same rows
whatever the number of processes: the total is the same to the last bit on devices of one kind.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar, final

import torch
import torch.distributed as dist

from bpb_harness.errors import HarnessError, UsageError

T = TypeVar("T")
_SECONDS_TO_LET_GO = 0.1


@final
@dataclass(frozen=True)
class Processes:
    """This process among those that score together.

    Attributes:
        rank: 0 .. count - 1.
        count: how many there are.
    """

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the one that writes and prints."""
        return self.rank == 0

    def share(self, items: Sequence[T]) -> list[T]:
        """This process's part of a list that all have; each item goes to exactly one process."""
        return list(items[self.rank :: self.count])

    def gather(self, value: T) -> list[T]:
        """The values of all processes, by rank, in every process."""
        if self.count == 1:
            return [value]
        gathered: list[T | None] = [None] * self.count
        dist.all_gather_object(gathered, value)
        return gathered  # type: ignore[return-value]

    def together(self, work: Callable[[], T]) -> list[T]:
        """Do something in every process and gather what comes out; an error of one is raised in all.

        Raises:
            HarnessError: that of the lowest rank that met one.
        """
        if self.count == 1:
            return [work()]
        outcome: tuple[T | None, HarnessError | None]
        try:
            outcome = (work(), None)
        except HarnessError as error:
            outcome = (None, error)
        outcomes = self.gather(outcome)
        for _, failed in outcomes:
            if failed is not None:
                raise failed
        return [value for value, _ in outcomes]  # type: ignore[misc]


def local_rank() -> int | None:
    """The rank on this host under torchrun with several processes; None otherwise."""
    return int(os.environ.get("LOCAL_RANK", "0")) if _count() > 1 else None


def is_first_process() -> bool:
    """Whether this process prints, read from the environment alone."""
    return _count() == 1 or int(os.environ.get("RANK", "0")) == 0


@contextlib.contextmanager
def open_processes() -> Iterator[Processes]:
    """Join the processes that torchrun started; alone without it.

    A program that has started ``torch.distributed`` itself may call from some of its processes only: each call then
    scores alone.

    Raises:
        UsageError: if the processes cannot be joined.
    """
    if _count() == 1 or not dist.is_available() or dist.is_initialized():
        yield Processes()
        return
    try:
        dist.init_process_group("gloo")
    except (RuntimeError, ValueError) as error:
        raise UsageError(
            "the processes that torchrun started cannot be joined", seen=str(error), hint="run without torchrun"
        ) from None
    try:
        yield Processes(dist.get_rank(), dist.get_world_size())
    finally:
        leave_processes()


def leave_processes() -> None:
    """Leave the group of processes, and let its threads end.

    A thread of gloo lets go of the last tensors after their values have arrived, and waits for the interpreter to do
    so. A program that ends while it waits is aborted, with an exit code of its own, though all is done.
    """
    dist.destroy_process_group()
    time.sleep(_SECONDS_TO_LET_GO)


def process_device(device: torch.device) -> torch.device:
    """The device of this process: each has a GPU of its own, as far as there are enough."""
    rank = local_rank()
    if device.type != "cuda" or rank is None:
        return device
    return torch.device("cuda", rank % torch.cuda.device_count())


def _count() -> int:
    """How many processes torchrun started; 1 where its variables are not all there, as under other launchers."""
    if not all(os.environ.get(name) for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")):
        return 1
    return int(os.environ["WORLD_SIZE"])
