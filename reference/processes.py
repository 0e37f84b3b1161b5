"""Training on several devices under torchrun: each takes its share of a batch, and gradients are averaged.

Every process draws the whole batch, a few megabytes, and keeps each so-many-th window of it: the steps are those of one
process, up to the order of sums. Gradients travel as one flat tensor after the backward pass.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from bpb_harness.distributed import leave_processes


@dataclass(frozen=True)
class TrainingProcesses:
    """This process among those that train together.

    Attributes:
        rank: 0 .. count - 1; the first one saves and speaks.
        count: how many there are.
    """

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the one that writes and prints."""
        return self.rank == 0

    def share(self, rows: Tensor) -> Tensor:
        """This process's rows of a batch, every ``count``-th: each share spans all mask rates."""
        return rows[self.rank :: self.count]

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors by their means over all processes."""
        if self.count == 1:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        dist.all_reduce(flat)
        flat /= self.count
        pieces = torch.split(flat, [tensor.numel() for tensor in tensors])
        torch._foreach_copy_(list(tensors), [p.view_as(t) for p, t in zip(pieces, tensors, strict=True)])

    def decide(self, *values: float) -> tuple[float, ...]:
        """The first process's numbers, in every process; they travel between hosts, no device is waited for."""
        if self.count == 1:
            return values
        tensor = torch.tensor(values, dtype=torch.float64)
        dist.broadcast(tensor, src=0)
        return tuple(tensor.tolist())

    def wait(self) -> None:
        """Until every process is here."""
        if self.count > 1:
            self.decide(0.0)


@contextlib.contextmanager
def join_processes() -> Iterator[TrainingProcesses]:
    """Join the processes that torchrun started; alone without it."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield TrainingProcesses()
        return
    # Numbers that decide go through gloo on the host, gradients on a GPU through NCCL.
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and dist.is_nccl_available() else "gloo"
    mine = not dist.is_initialized()
    if mine:
        dist.init_process_group(backend)
    try:
        yield TrainingProcesses(dist.get_rank(), dist.get_world_size())
    finally:
        if mine:
            leave_processes()
