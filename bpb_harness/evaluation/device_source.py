"""Batches whose masks and control variates are made on the GPU that scores them; the host reads tokens and deals spans.

A thread makes them ahead, on a CUDA stream of its own, of high priority: a batch takes the card some tenths of a
millisecond between the kernels of earlier ones. Masks and control variates are the host's to the last bit
(:mod:`bpb_harness.kernels.draws`); draws whose masks are given are left to the host.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bpb_harness.evaluation.batches import DrawPlan, DrawSource, PreparedBatch, stack_spans
from bpb_harness.kernels.draws import DeviceTables, Draws, control_sums, draw_masks, sum_masks
from bpb_harness.sampling.streams import RandomStreams
from bpb_harness.schedule import NoiseLevel
from bpb_harness.text.spans import Spans

Ints = npt.NDArray[np.int64]


@final
class DeviceSource:
    """Makes the batches of a pass on a GPU.

    Args:
        host: knows the text, and makes batches where masks are given.
        device: where the network runs.
    """

    def __init__(self, host: DrawSource, device: torch.device) -> None:
        self._host, self._device = host, device

    @property
    def spans(self) -> Spans:
        """What is scored."""
        return self._host.spans

    def deal(self, plan: DrawPlan, batch_tokens: int) -> list[list[Ints]]:
        """As of :class:`DrawSource`."""
        return self._host.deal(plan, batch_tokens)

    def longest(self, plan: DrawPlan) -> Ints:
        """As of :class:`DrawSource`."""
        return self._host.longest(plan)

    def num_tokens(self, plan: DrawPlan, rows: Ints) -> int:
        """As of :class:`DrawSource`."""
        return self._host.num_tokens(plan, rows)

    def prepare(self, plan: DrawPlan, streams: RandomStreams, rows: Ints) -> PreparedBatch:
        """Tokens and masks of some draws, whose spans have one input length; they are there when this returns."""
        if not plan.is_drawn[rows].all():
            return self._host.prepare(plan, streams, rows)
        which, host = plan.window[rows], self._host
        lengths, level = host.spans.lengths[which], host.schedule.level_at(torch.from_numpy(plan.mask_rate[rows]))
        tokens = stack_spans(host.corpus, host.spans, which)
        contexts = tokens.shape[1] - lengths
        windows, samples = which + host.first_window, plan.sample[rows]
        table = Draws.rows(streams.mask_key, windows, samples, contexts, level.mask_rate.numpy())
        try:
            with self._beside():
                draws = Draws(self._sent(torch.from_numpy(table)), self._sent(tokens))
                masked = draw_masks(draws)
                sums = self._fetched(sum_masks(draws, masked, self._tables))
                positions = masked.flatten().nonzero().squeeze(-1)
                told = NoiseLevel(*(self._sent(part) for part in (level.t, level.alpha_t, level.dalpha_t)))
                self._wait()
        except torch.OutOfMemoryError:  # the network has it all
            return host.prepare(plan, streams, rows)
        made = control_sums(sums.numpy())
        control = made.control(lengths, plan.mask_rate[rows], contexts > 0)
        return PreparedBatch(
            rows, draws.x0, torch.from_numpy(contexts), masked, told, positions, made.num_masked, control
        )

    def _beside(self) -> AbstractContextManager[object]:
        """A stream of its own; none on a CPU, where tests compare."""
        return torch.cuda.stream(self._stream) if self._device.type == "cuda" else nullcontext()

    def _sent(self, values: Tensor) -> Tensor:
        return values.pin_memory().to(self._device, non_blocking=True) if self._device.type == "cuda" else values

    def _fetched(self, values: Tensor) -> Tensor:
        """Values on their way to page-locked memory."""
        host = torch.empty(values.shape, dtype=values.dtype, pin_memory=self._device.type == "cuda")
        return host.copy_(values, non_blocking=True)

    def _wait(self) -> None:
        """Until all of it is there; the interpreter is free meanwhile."""
        if self._device.type == "cuda":
            done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
            done.record()
            done.synchronize()

    @cached_property
    def _stream(self) -> torch.cuda.Stream:
        return torch.cuda.Stream(self._device, priority=-1)  # type: ignore[no-untyped-call]

    @cached_property
    def _tables(self) -> DeviceTables:
        return DeviceTables.of(self._host.neighbours.tables, self._device)
