"""Batches that are made on the GPU that scores them: tokens, masks, control variates; the host only deals spans.

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

from bpb_harness.errors import NumericsError
from bpb_harness.evaluation.batches import DrawPlan, DrawSource, PreparedBatch
from bpb_harness.kernels.draws import DeviceTables, Draws, control_sums, draw_masks, sum_masks
from bpb_harness.sampling.streams import RandomStreams
from bpb_harness.schedule import NoiseLevel
from bpb_harness.text.spans import Spans

Ints = npt.NDArray[np.int64]

_SENT_AT_ONCE = 1 << 22  # tokens
_LARGEST_TEXT = 1 << 30  # bytes of it that are kept on the device


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
        starts, input_length = host.spans.context_starts[which], int(host.spans.input_lengths[which[0]])
        contexts = input_length - lengths
        windows, samples = which + host.first_window, plan.sample[rows]
        made_of = Draws.rows(streams.mask_key, windows, samples, contexts, level.mask_rate.numpy())
        told = np.stack([part.numpy().view(np.int64) for part in level.parts])
        try:
            with self._beside():
                sent = self._sent(torch.from_numpy(np.concatenate([made_of, told, starts[None]])))
                draws = Draws(sent[: len(made_of)], self._tokens(sent[-1], starts, input_length))
                masked = draw_masks(draws)
                sums = self._fetched(sum_masks(draws, masked, self._tables))
                positions = masked.flatten().nonzero().squeeze(-1)
                self._wait()
        except torch.OutOfMemoryError:  # the network has it all
            return host.prepare(plan, streams, rows)
        made = control_sums(sums.numpy())
        _require_all_positions(positions, made.num_masked)
        control = made.control(lengths, plan.mask_rate[rows], contexts > 0)
        level = NoiseLevel(*(part.view(torch.float64) for part in sent[len(made_of) : -1]))
        return PreparedBatch(
            rows, draws.x0, torch.from_numpy(contexts), masked, level, positions, made.num_masked, control
        )

    def _tokens(self, begins: Tensor, starts: Ints, length: int) -> Tensor:
        """Tokens of spans of one length, (B, N) int64: gathered where the text is, or read by the host."""
        if self._text is None:
            corpus = self._host.corpus
            return self._sent(torch.from_numpy(np.stack([corpus.read(start, start + length) for start in starts])))
        first, values, mask = self._text
        places = (begins - first).unsqueeze(1) + torch.arange(length, device=begins.device)
        return values[places].long() & mask

    @cached_property
    def _text(self) -> tuple[int, Tensor, int] | None:
        """The scored text on the device, as its shards hold it: where it begins, its tokens, and the bits of one.

        None where it is too large: every batch's tokens are then sent to the device.
        """
        spans = self._host.spans
        first, end = int(spans.context_starts.min()), int(spans.ends.max())
        width = max((piece.dtype.itemsize for piece in self._host.corpus.stored(first, end)), default=8)
        if width > 4 or (end - first) * width > _LARGEST_TEXT:
            return None
        signed = np.dtype(f"i{width}")  # torch knows few operations of unsigned numbers
        values = torch.empty(end - first, dtype=torch.from_numpy(np.empty(0, signed)).dtype, device=self._device)
        at = 0
        for piece in self._host.corpus.stored(first, end):
            for part in np.split(piece, range(_SENT_AT_ONCE, len(piece), _SENT_AT_ONCE)):  # each is copied on its way
                values[at : at + len(part)] = torch.from_numpy(part.astype(f"u{width}").view(signed))
                at += len(part)
        assert at == len(values), "what was never written would be scored"
        return first, values, (1 << 8 * width) - 1

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
        return DeviceTables.of(self._host.neighbours, self._device)


def _require_all_positions(positions: Tensor, num_masked: Ints) -> None:
    """Refuse masks that were counted otherwise than they were gone through: each draw's cost is found by the counts.

    Args:
        positions: the masked positions of a batch, (m,).
        num_masked: |M| of each of its draws, (R,).

    Raises:
        NumericsError: if the two do not agree.
    """
    if len(positions) != int(num_masked.sum()):
        raise NumericsError(
            "masks that a device made", seen=f"{len(positions)} masked positions", expected=f"{int(num_masked.sum())}",
            hint="its kernels or its memory are at fault: score on another device, or with --device cpu",
        )  # fmt: skip
