"""Batches that are made while the network works on earlier ones."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from bpb_harness.evaluation.batches import DrawPlan, DrawSource, PreparedBatch
from bpb_harness.evaluation.block_batches import BlockSource, PreparedWindows
from bpb_harness.evaluation.device_source import DeviceSource
from bpb_harness.sampling.streams import RandomStreams

Source: TypeAlias = DrawSource | DeviceSource | BlockSource
Prepared: TypeAlias = PreparedBatch | PreparedWindows

_MAX_AHEAD = 2


def prepare_ahead(
    source: Source,
    plan: DrawPlan,
    streams: RandomStreams,
    batches: Iterable[npt.NDArray[np.int64]],
    *,
    pin_memory: bool,
    most_ahead: Callable[[], int] = lambda: _MAX_AHEAD,
) -> Iterator[Prepared]:
    """Prepare batches in a thread while the network works on earlier ones; they come in order.

    One thread: more of them would wait for the interpreter, and keep it from whoever launches the network.

    Args:
        source: makes them.
        plan: the draws.
        streams: their noise.
        batches: rows of each; they are asked for as they are needed.
        pin_memory: what the host makes is to lie in page-locked memory.
        most_ahead: how many may be on their way now, beside the one that is handed out.
    """

    def prepare(rows: npt.NDArray[np.int64]) -> Prepared:
        prepared = source.prepare(plan, streams, rows)
        return prepared.pinned() if pin_memory and prepared.x0.device.type == "cpu" else prepared

    pool = ThreadPoolExecutor(1, thread_name_prefix="prepare")
    waiting: deque[Future[Prepared]] = deque()
    try:
        for rows in batches:
            waiting.append(pool.submit(prepare, rows))
            while len(waiting) > most_ahead():
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
