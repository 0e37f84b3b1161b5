"""A residual sum, its norm and the modulation of that, in one pass over the stream; and what picks its rows.

The arithmetic is that of the plain operations under autocast to bfloat16, rounding for rounding: the stream, sums and
norms in float32, modulation in bfloat16, what a product takes in bfloat16. What is saved are passes over the stream, to
memory and back: it is read once and written once for each norm, and rows are picked on the way.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

LARGEST_WIDTH = 4096


def fits(width: int) -> bool:
    """Whether a tile holds whole rows of the stream."""
    return width % 16 == 0 and width <= LARGEST_WIDTH


def add_and_normalise(
    stream: Tensor,
    *,
    rows: Tensor | None = None,
    added: Tensor | None = None,
    modulation: Tensor | None = None,
    windows: Tensor | None = None,
    length: int = 1,
    in_place: bool = False,
) -> tuple[Tensor, Tensor]:
    """The stream with something added, and its norm, modulated.

    Args:
        stream: (M, D) float32.
        rows: which of its rows are meant, (n,) int64; all, n = M, if None.
        added: (n, D) bfloat16, to be added to them.
        modulation: (B, 2 D) bfloat16, scales before shifts, a row a window; rows may be apart in memory.
        windows: positions of the batch that tell the window of each row, (n,) int64; 0, 1, ..., n - 1 if None.
        length: positions of a window.
        in_place: the sum takes the stream's own memory, where all rows are meant.

    Returns:
        The sum, (n, D) float32; and (n, D) bfloat16, the norm times (1 + scale), plus shift.
    """
    if stream.device.type == "cuda":
        return _launch(stream, rows, added, modulation, windows, length, in_place=in_place)
    return plain_add_and_normalise(stream, rows, added, modulation, windows, length)


def plain_add_and_normalise(
    stream: Tensor,
    rows: Tensor | None,
    added: Tensor | None,
    modulation: Tensor | None,
    windows: Tensor | None,
    length: int,
) -> tuple[Tensor, Tensor]:
    """:func:`add_and_normalise` in torch's own operations."""
    total = stream if rows is None else stream.index_select(0, rows)
    total = total if added is None else total + added
    normal = functional.rms_norm(total, (total.shape[-1],))
    if modulation is not None:
        positions = torch.arange(len(total), device=total.device) if windows is None else windows
        scale, shift = modulation.index_select(0, positions // length).chunk(2, dim=-1)
        normal = normal * (1 + scale) + shift
    return total, normal.to(torch.bfloat16)


def _launch(
    stream: Tensor,
    rows: Tensor | None,
    added: Tensor | None,
    modulation: Tensor | None,
    windows: Tensor | None,
    length: int,
    *,
    in_place: bool,
) -> tuple[Tensor, Tensor]:
    from bpb_harness.kernels.on_gpu.normalise import launch_norm

    assert fits(stream.shape[1])
    return launch_norm(stream, rows, added, modulation, windows, length, in_place=in_place)
