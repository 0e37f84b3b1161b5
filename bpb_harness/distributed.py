"""Several processes under torchrun: the device of each, its share of the work, and how results come together.

Scoring shares batches: whoever is done takes the next one, so that a slow device does not leave others idle. Only sums
of draws travel, a few bytes a window, so gloo on the host serves every device. A batch has the same rows whatever the
number of processes: the total is the same to the last bit on devices of one kind.

Training shares the rows of each batch. Every process draws the whole of it, a few megabytes, and gradients travel in
buckets while the backward pass goes on: the steps are those of one process, up to the order of sums.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar, final

import torch
import torch.distributed as dist
from torch import Tensor

from bpb_harness.errors import HarnessError, LostProcessError, UsageError
from bpb_harness.torchrun import local_rank, num_cores, num_processes

T = TypeVar("T")
DEVICES = ("auto", "cpu", "cuda")
_SECONDS_TO_LET_GO = 0.1
_DEALS = itertools.count()
# What gloo and the store say of a process that is gone, in small letters.
_SIGNS_OF_AN_END = ("connection closed", "connection reset", "broken pipe", "connection was likely closed")
_MOST_AHEAD = 2
_ITEMS_AHEAD = 3  # so many for each process must be left for each that is taken in advance


class Counters(Protocol):
    """Numbers that all processes count up."""

    def add(self, key: str, amount: int, /) -> int:
        """Add to a number, 0 at first, and read it, at once."""


@final
@dataclass(frozen=True)
class Processes:
    """This process among those that score or train together.

    Attributes:
        rank: 0 .. count - 1.
        count: how many there are.
        store: where they count together what they have taken; None: each has a share that is fixed beforehand.
    """

    rank: int = 0
    count: int = 1
    store: Counters | None = field(default=None, compare=False, repr=False)

    @property
    def is_first(self) -> bool:
        """Whether this is the one that writes and prints."""
        return self.rank == 0

    def share(self, items: Sequence[T]) -> list[T]:
        """This process's part of a list that all have; each item goes to exactly one process."""
        return list(items[self.rank :: self.count])

    def part(self, count: int) -> slice:
        """This process's part of so many things in a row; the parts of all, by rank, are the row."""
        return slice(count * self.rank // self.count, count * (self.rank + 1) // self.count)

    def deal(self, items: Sequence[T]) -> Deal[T]:
        """Items of a list that all have, one by one to whoever asks; each goes to exactly one process.

        All processes call this, in the same order.
        """
        if self.store is None:
            return Deal(items, iter(range(self.rank, len(items), self.count)), self.count)
        return Deal(items, _taken(self.store, f"deal {self.decide(float(next(_DEALS)))[0]:.0f}"), self.count)

    def share_rows(self, rows: Tensor) -> Tensor:
        """This process's rows of a batch, every ``count``-th: each share spans all mask rates."""
        return rows[self.rank :: self.count]

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors by their means over all processes."""
        if self.count == 1:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        with _others_needed():
            dist.all_reduce(flat)
        flat /= self.count
        means = torch.split(flat, [tensor.numel() for tensor in tensors])
        torch._foreach_copy_(list(tensors), [m.view_as(t) for m, t in zip(means, tensors, strict=True)])

    def begin_average(self, tensor: Tensor) -> Callable[[], None]:
        """Begin to replace a tensor by its mean over all processes; what comes back waits until it is there.

        All processes begin with tensors of the same sizes in the same order. On a GPU nothing but the current stream
        waits.
        """
        with _others_needed():
            work = dist.all_reduce(tensor, async_op=True)

        def finish() -> None:
            with _others_needed():
                work.wait()
            tensor.div_(self.count)

        return finish

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Replace float64 tensors by their sums over all processes."""
        if self.count == 1:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        with _others_needed():
            dist.all_reduce(flat)
        for tensor, total in zip(tensors, torch.split(flat, [tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(total.view_as(tensor))

    def in_order(self, items: Sequence[T], work: Callable[[T], Tensor], received: Tensor) -> Iterator[Tensor]:
        """What is made of each item, in every process, in the order of the items: sums over it have the same bits
        whatever the number of processes. Each is made by one of them.

        All processes call this.

        Args:
            items: a list that all have.
            work: makes a tensor of one, always of one size, on one device.
            received: what is made lies in it when it is handed out.
        """
        for first in range(0, len(items), self.count):
            some = items[first : first + self.count]
            own = work(some[self.rank]) if self.rank < len(some) else None
            for rank in range(len(some)):
                if own is not None and rank == self.rank:
                    received.copy_(own)
                self._broadcast(received, rank)
                yield received

    def _broadcast(self, tensor: Tensor, rank: int) -> None:
        if self.count > 1:
            with _others_needed():
                dist.broadcast(tensor, src=rank)

    def decide(self, *values: float) -> tuple[float, ...]:
        """The first process's numbers, in every process; they travel between hosts, no device is waited for."""
        if self.count == 1:
            return values
        tensor = torch.tensor(values, dtype=torch.float64)
        with _others_needed():
            dist.broadcast(tensor, src=0)
        return tuple(tensor.tolist())

    def wait(self) -> None:
        """Until every process is here."""
        self.decide(0.0)

    def gather(self, value: T) -> list[T]:
        """The values of all processes, by rank, in every process."""
        if self.count == 1:
            return [value]
        gathered: list[T | None] = [None] * self.count
        with _others_needed():
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


@final
@dataclass
class Deal(Generic[T]):
    """The items that come to this process.

    Attributes:
        items: those of all.
        places: ascending; those of this process, and at last one beyond the end.
        count: how many processes there are.
        most_ahead: how many items may be taken before they are needed: the fewer, the fewer are left, so that nobody
            keeps at the end what another could do.
    """

    items: Sequence[T]
    places: Iterator[int]
    count: int
    most_ahead: int = _MOST_AHEAD

    def __iter__(self) -> Iterator[T]:
        for place in self.places:
            if self.count > 1:
                left = max(len(self.items) - place, 0)
                self.most_ahead = min(left // (_ITEMS_AHEAD * self.count), _MOST_AHEAD)
            if place >= len(self.items):
                return
            yield self.items[place]


def _taken(store: Counters, key: str) -> Iterator[int]:
    """0, 1, 2, ...; each number in one process alone."""
    while True:
        with _others_needed():
            place = store.add(key, 1) - 1
        yield place


@contextlib.contextmanager
def _others_needed() -> Iterator[None]:
    """Say it in one line where a process that is waited for has ended.

    Raises:
        LostProcessError: in place of what gloo or the store say.
    """
    try:
        yield
    except RuntimeError as error:
        if not any(sign in str(error).lower() for sign in _SIGNS_OF_AN_END):
            raise
        raise LostProcessError(
            "another process of this run has ended", hint="see what it said; if nothing, what ended it"
        ) from error


def take_threads() -> None:
    """Give torch this process's share of the cores, where torchrun left it with one thread because nobody chose."""
    if "TORCHELASTIC_RUN_ID" in os.environ and os.environ.get("OMP_NUM_THREADS") == "1":
        torch.set_num_threads(num_cores())


def see_own_gpu() -> None:
    """Let a process of torchrun see its own GPU alone, before any is asked for.

    It is then device 0 of each: what one process compiles for it is what all would, and is found in the cache.
    """
    rank = local_rank()
    is_late = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    if rank is None or is_late or (count := torch.cuda.device_count()) < 2:
        return
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = listed.split(",") if listed else [str(index) for index in range(count)]
    os.environ["CUDA_VISIBLE_DEVICES"] = names[rank % count]


@contextlib.contextmanager
def open_processes(*, trains: bool = False, adds_gradients: bool = False) -> Iterator[Processes]:
    """Join the processes that torchrun started; alone without it.

    A program that has started ``torch.distributed`` itself may score in some of its processes only: each call then
    scores alone. It trains in all of them, or every one would write the same files.

    Args:
        trains: whether a network is trained, its gradients averaged: on a GPU through NCCL; numbers that decide go
            through gloo on the host.
        adds_gradients: whether a network that is scored learns in between; gradients travel likewise.

    Raises:
        UsageError: if the processes cannot be joined.
    """
    if num_processes() == 1 or not dist.is_available():
        yield Processes()
        return
    if dist.is_initialized():
        yield Processes(dist.get_rank(), dist.get_world_size()) if trains else Processes()
        return
    if not trains:
        take_threads()
    travels_on_gpu = (trains or adds_gradients) and torch.cuda.is_available() and dist.is_nccl_available()
    try:
        dist.init_process_group("cpu:gloo,cuda:nccl" if travels_on_gpu else "gloo")
    except (RuntimeError, ValueError) as error:
        raise UsageError(
            "the processes that torchrun started cannot be joined", seen=str(error), hint="run without torchrun"
        ) from None
    try:
        yield Processes(dist.get_rank(), dist.get_world_size(), None if trains else _open_store())
    finally:
        leave_processes()


def _open_store() -> Counters:
    """The store through which the processes found each other, for numbers of our own."""
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = dist.TCPStore(host, port, is_master=False)  # type: ignore[attr-defined]
    # Of this attempt: torchrun's store outlives processes that it starts again.
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    counters: Counters = dist.PrefixStore(f"bpb_harness {attempt}", store)  # type: ignore[attr-defined]
    return counters


def leave_processes() -> None:
    """Leave the group of processes, and let its threads end.

    A thread of gloo lets go of the last tensors after their values have arrived, and waits for the interpreter to do
    so. A program that ends while it waits is aborted, with an exit code of its own, though all is done.
    """
    dist.destroy_process_group()
    time.sleep(_SECONDS_TO_LET_GO)


def pick_device(name: str) -> torch.device:
    """The device called ``auto``, ``cpu`` or ``cuda``; each process has a GPU of its own, as far as there are enough.

    Raises:
        UsageError: for another name, or if cuda is asked for and there is none.
    """
    if name not in DEVICES:
        raise UsageError("--device", seen=repr(name), expected=" or ".join(DEVICES))
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise UsageError("--device cuda", seen="no CUDA device that torch can use", hint="pass --device cpu")
    if name == "cpu" or not available:
        return torch.device("cpu")
    rank = local_rank()
    return torch.device("cuda") if rank is None else torch.device("cuda", rank % torch.cuda.device_count())
