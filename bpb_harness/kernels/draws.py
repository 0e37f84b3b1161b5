"""Masks and the sums behind their control variates, made where the network runs: whole numbers, bit for bit the host's.

What the host makes (:mod:`bpb_harness.sampling`) is made here once more, for a batch whose tokens are on a device: in
plain torch on any, by two kernels of triton's where there is one. Both are integer arithmetic, but for one product and
one sum of float64 that every processor rounds alike.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Self, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from bpb_harness.kernels.loading import has_triton
from bpb_harness.kernels.specialising import is_given_up
from bpb_harness.sampling.bigram import BUCKET_MASK, BUCKET_STEP
from bpb_harness.sampling.control_variate import (
    EXPONENT_BIAS,
    INDEX_MASK,
    INDEX_SHIFT,
    LEAST_UNITS,
    LOG2_TABLE,
    MANTISSA_BITS,
    REST_MASK,
    REST_SHIFT,
    UNITS_BITS,
    ControlSums,
    NeighbourCode,
)
from bpb_harness.sampling.streams import torch_words

LOG = logging.getLogger("bpb_harness")
Ints = npt.NDArray[np.int64]

UNIT_BITS = 53  # of a word, its highest: a uniform number is so many of them over 2^53

_fails = False


@final
@dataclass(frozen=True)
class Draws:
    """The draws of a batch, on the device of its tokens.

    Attributes:
        table: (6, B) int64: window, sample, context length, and the mask rate as a number of 2^-53, below which a
            position is masked; then the two words of the streams' key.
        x0: clean tokens, (B, N) int64, context first.
    """

    table: Tensor
    x0: Tensor

    @staticmethod
    def rows(
        key: tuple[int, int], windows: Ints, samples: Ints, context_lengths: Ints, mask_rate: npt.NDArray[np.float64]
    ) -> Ints:
        """The table of draws, still on the host; u is that of the noise level, (B,)."""
        thresholds = np.ceil(mask_rate * 2.0**UNIT_BITS).astype(np.int64)
        words = np.array(key, dtype=np.uint64).astype(np.int64)
        return np.stack(
            [windows, samples, context_lengths, thresholds, *(np.full_like(windows, word) for word in words)]
        )

    @property
    def context_lengths(self) -> Tensor:
        lengths: Tensor = self.table[2].unsqueeze(1)
        return lengths


@final
@dataclass(frozen=True)
class DeviceTables:
    """:class:`bpb_harness.sampling.control_variate.NeighbourCode` on a device, with the table of logarithms."""

    unigram: Tensor
    context: Tensor
    pseudo_pairs: Tensor
    pairs: Tensor
    log2: Tensor

    @classmethod
    def of(cls, code: NeighbourCode, device: torch.device) -> Self:
        arrays = (code.unigram, code.context, code.pseudo_pairs, code.pairs, LOG2_TABLE)
        return cls(*(torch.from_numpy(array).to(device) for array in arrays))


def draw_masks(draws: Draws) -> Tensor:
    """Size-biased masks of the targets: one uniformly drawn target, every other one at the mask rate; (B, N) bool."""
    if _has_kernels(draws.x0):
        try:
            return _masks_by_kernel(draws)
        except Exception as error:  # compilers fail in many ways
            _do_without(error)
    return plain_masks(draws)


def sum_masks(draws: Draws, masked: Tensor, tables: DeviceTables) -> Tensor:
    """What the control variates of masks are made of, (B, 14) int64; :func:`control_sums` reads it."""
    if _has_kernels(draws.x0):
        try:
            return _sums_by_kernel(draws, masked, tables)
        except Exception as error:
            _do_without(error)
    return plain_sums(draws, masked, tables)


def control_sums(sums: Ints) -> ControlSums:
    """The sums of :func:`sum_masks`, once they are on the host."""
    columns = sums.T
    return ControlSums(columns[0], columns[1], columns[2:6], columns[6:10], columns[10:14])


def _has_kernels(x: Tensor) -> bool:
    return has_triton() and x.device.type == "cuda" and not (_fails or is_given_up())


def _do_without(error: Exception) -> None:
    """Draw in torch's own operations from now on, for a compiler that fails; memory that is short is no such thing."""
    global _fails  # noqa: PLW0603 - one switch for a process
    if isinstance(error, torch.OutOfMemoryError):
        raise error
    _fails = True
    LOG.warning("bpb-eval: masks are drawn without kernels, which is slower: %s: %s", type(error).__name__, error)


def plain_masks(draws: Draws) -> Tensor:
    """:func:`draw_masks` in torch's own operations."""
    length = draws.x0.shape[1]
    window, sample, context, threshold, *key = (column.unsqueeze(1) for column in draws.table)
    # The first word places the target, the next ones are the noise of target 0, 1, ...
    block = torch.arange(1, -(-(length + 1) // 4) + 1, device=draws.x0.device)[None]
    words = torch_words(key[0], key[1], (block, window, sample, torch.zeros_like(window)))
    numbers = torch.stack([word + torch.zeros_like(block) for word in words], dim=-1).flatten(1)
    numbers = (numbers >> (64 - UNIT_BITS)) & ((1 << UNIT_BITS) - 1)
    target = (numbers[:, :1].double() * 2.0**-UNIT_BITS * (length - context).double()).long()
    place: Tensor = torch.arange(length, device=draws.x0.device)[None] - context
    masked: Tensor = (numbers.gather(1, place.clamp(min=0) + 1) < threshold) | (place == target)
    return masked & (place >= 0)


def plain_sums(draws: Draws, masked: Tensor, tables: DeviceTables) -> Tensor:
    """:func:`sum_masks` in torch's own operations."""
    x0, context, length = draws.x0, draws.context_lengths, draws.x0.shape[1]
    column = torch.arange(length, device=x0.device)[None]
    none, pseudo = tables.unigram[x0], tables.pseudo_pairs[x0]
    known = tables.context[x0]
    pair = tables.pairs[(x0[:, :-1] * BUCKET_STEP + x0[:, 1:]) & BUCKET_MASK]
    left, right = none.clone(), none.clone()
    left[:, 1:] = known[:, :-1] - _log2_units(pair + pseudo[:, 1:], tables.log2)
    right[:, :-1] = known[:, 1:] - _log2_units(pair + pseudo[:, :-1], tables.log2)
    both = (left + right - none).clamp(min=LEAST_UNITS)
    visible = ~masked
    sees_left = functional.pad(visible[:, :-1], (1, 0))
    sees_right = functional.pad(visible[:, 1:], (0, 1))
    seen = torch.where(sees_left, torch.where(sees_right, both, left), torch.where(sees_right, right, none))
    units = torch.stack([none, left, right, both], dim=1)
    is_target = (column >= context).unsqueeze(1)
    first = units.gather(2, context.unsqueeze(1).expand(-1, 4, 1)).squeeze(2)
    return torch.cat(
        [
            masked.sum(dim=1, keepdim=True), (seen * masked).sum(dim=1, keepdim=True),
            (units * is_target).sum(dim=2), first, units[:, :, -1],
        ],
        dim=1,
    )  # fmt: skip


def _log2_units(values: Tensor, table: Tensor) -> Tensor:
    """:func:`bpb_harness.sampling.control_variate.log2_units` of a float64 tensor."""
    bits = values.view(torch.int64)
    index = (bits >> INDEX_SHIFT) & INDEX_MASK
    low = table[index]
    rest = (bits >> REST_SHIFT) & REST_MASK
    on_line = ((table[index + 1] - low) * rest) >> UNITS_BITS
    exponent = (bits >> MANTISSA_BITS) - EXPONENT_BIAS
    return (exponent << UNITS_BITS) + low + on_line


def _masks_by_kernel(draws: Draws) -> Tensor:
    from bpb_harness.kernels.on_gpu.draws import launch_masks

    return launch_masks(draws.table, draws.x0)


def _sums_by_kernel(draws: Draws, masked: Tensor, tables: DeviceTables) -> Tensor:
    from bpb_harness.kernels.on_gpu.draws import launch_sums

    return launch_sums(
        draws.table, draws.x0, masked, unigram=tables.unigram, context=tables.context,
        pseudo_pairs=tables.pseudo_pairs, pairs=tables.pairs, log2=tables.log2,
    )  # fmt: skip
