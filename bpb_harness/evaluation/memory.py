"""Batches that do not fit into memory: halved, and said so, instead of a crash."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar, final

import torch

from bpb_harness.errors import NumericsError
from bpb_harness.result import Remark

LOG = logging.getLogger("bpb_harness")
T = TypeVar("T")


@final
class FittingBatches:
    """Runs batches in parts that fit, and remembers what did.

    Args:
        device: whose memory it is.

    Attributes:
        largest: rows that fit, once a batch did not.
        remarks: every halving.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._retries_before = _num_retries(device)
        self.largest: int | None = None
        self.remarks: list[Remark] = []

    @property
    def is_tight(self) -> bool:
        """Whether a batch did not fit, or only after the allocator had given back what it kept."""
        return self.largest is not None or _num_retries(self._device) > self._retries_before

    def run(self, num_rows: int, work: Callable[[slice], T]) -> list[T]:
        """Do the work of a batch, in as few parts as fit; one result a part.

        Raises:
            NumericsError: if a single row does not fit.
        """
        size = min(self.largest or num_rows, num_rows)
        while True:
            try:
                return [work(slice(start, start + size)) for start in range(0, num_rows, size)]
            except torch.OutOfMemoryError:
                fits = size > 1
            # Outside the handler, whose traceback keeps the tensors of the failed attempt alive.
            if not fits:
                raise NumericsError(
                    f"one window alone does not fit into the memory of {self._device}",
                    hint="pass a shorter --context, --dtype bfloat16 or --device cpu",
                )
            if self._device.type == "cuda":
                torch.cuda.empty_cache()
            halved = (size + 1) // 2
            message = f"a batch of {size} windows does not fit into memory: going on with {halved}"
            LOG.warning("bpb-eval: %s", message)
            self.remarks.append(Remark("batch-halved", message))
            self.largest = size = halved


def peak_memory_bytes(device: torch.device) -> int | None:
    """The most memory that was held on a GPU, what the allocator kept for later among it; None on a CPU."""
    return torch.cuda.max_memory_reserved(device) if device.type == "cuda" else None


def _num_retries(device: torch.device) -> int:
    """How often the allocator of a GPU had to give back what it kept to find room."""
    if device.type != "cuda":
        return 0
    return int(torch.cuda.memory_stats_as_nested_dict(device).get("num_alloc_retries", 0))
