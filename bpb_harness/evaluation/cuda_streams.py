"""Batches of a GPU take turns on CUDA streams of their own: one begins where a kernel of the other ends raggedly.

Each kernel of a large batch fills the card, so hardly two run at a time; but the last tiles of one no longer leave most
multiprocessors idle, and a batch is launched while the one before it runs.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import final

import torch


@final
class CudaStreams:
    """Streams that batches take turns on; without any, batches follow each other on the stream that is current.

    Args:
        device: where the batches run.
        count: how many batches may be in the network at once.
    """

    def __init__(self, device: torch.device, count: int) -> None:
        self._streams: tuple[torch.cuda.Stream, ...] = ()
        self._turn = 0
        if count > 1:
            index = torch.cuda.current_device() if device.index is None else device.index
            self._streams = _streams(index, count)
            for stream in self._streams:  # weights, and whatever else was made before
                stream.wait_stream(torch.cuda.current_stream(index))

    def next(self, count: int) -> AbstractContextManager[object]:
        """The context of the next batch, if no more than ``count`` may be in the network from here on."""
        if not self._streams:
            return nullcontext()
        self._turn = (self._turn + 1) % min(count, len(self._streams))
        return torch.cuda.stream(self._streams[self._turn])


@cache
def _streams(index: int, count: int) -> tuple[torch.cuda.Stream, ...]:
    """The same ones in every pass: memory that was allocated on a stream is kept for it."""
    return tuple(torch.cuda.Stream(index) for _ in range(count))  # type: ignore[no-untyped-call]  # torch does not say
