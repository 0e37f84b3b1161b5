"""Processes that work together, simulated by threads: what travels between them goes through a barrier."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pytest
import torch
from torch import Tensor

from bpb_harness.distributed import Processes

T = TypeVar("T")


class Counters:
    """Numbers that threads count up together."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._lock = threading.Lock()

    def add(self, key: str, amount: int, /) -> int:
        with self._lock:
            self._numbers[key] = self._numbers.get(key, 0) + amount
            return self._numbers[key]


def run_together(monkeypatch: pytest.MonkeyPatch, count: int, work: Callable[[Processes], T]) -> list[T]:
    """Do the same work in several simulated processes; what comes out of each, by rank."""
    barrier, shown = threading.Barrier(count, timeout=600), [None] * count

    def gather(self: Processes, value: Any) -> list[Any]:
        if self.count == 1:
            return [value]
        shown[self.rank] = value
        barrier.wait()
        seen = list(shown)
        barrier.wait()
        return seen

    def decide(self: Processes, *values: float) -> tuple[float, ...]:
        return tuple(gather(self, values)[0])

    def add(self: Processes, tensors: Sequence[Tensor]) -> None:
        parts = gather(self, [tensor.clone() for tensor in tensors])
        for index, tensor in enumerate(tensors):
            tensor.copy_(torch.stack([part[index] for part in parts]).sum(dim=0))

    def broadcast(self: Processes, tensor: Tensor, rank: int) -> None:
        tensor.copy_(gather(self, tensor.clone())[rank])

    def run(rank: int) -> T:
        try:
            return work(Processes(rank, count, store))
        except BaseException:
            barrier.abort()
            raise

    store = Counters()
    monkeypatch.setattr(Processes, "gather", gather)
    monkeypatch.setattr(Processes, "decide", decide)
    monkeypatch.setattr(Processes, "add", add)
    monkeypatch.setattr(Processes, "_broadcast", broadcast)
    with ThreadPoolExecutor(count) as pool:
        ends = [pool.submit(run, rank) for rank in range(count)]
    failed = [error for error in (end.exception() for end in ends) if error is not None]
    for error in failed:  # what went wrong first, and not that others then waited in vain
        if not isinstance(error, threading.BrokenBarrierError):
            raise error
    return [end.result() for end in ends]
