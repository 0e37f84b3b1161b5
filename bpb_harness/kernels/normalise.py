"""A residual sum, its norm and the modulation of that, in one pass over the stream; and what picks its rows.

The arithmetic is that of the plain operations under autocast to bfloat16, rounding for rounding: the stream, sums and
norms in float32, modulation in bfloat16, what a product takes in bfloat16. What is saved are passes over the stream, to
memory and back: it is read once and written once for each norm, and rows are picked on the way.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

try:
    import triton
    import triton.language as tl
except ImportError:
    triton = None

_EPS = torch.finfo(torch.float32).eps
_TILE_NUMBERS, _WARPS = 4096, 4  # numbers of a tile: so many that a thread has 32
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


if triton is not None:
    # Kernels have no types: triton reads annotations itself, and knows its own alone.

    @triton.jit  # type: ignore[untyped-decorator]
    def _kernel(  # type: ignore[no-untyped-def]
        stream_ptr, rows_ptr, added_ptr, modulation_ptr, windows_ptr, sum_ptr, out_ptr, num_rows, apart,
        D: tl.constexpr, EPS: tl.constexpr, LENGTH: tl.constexpr, PICKS: tl.constexpr, ADDS: tl.constexpr,
        MODULATES: tl.constexpr, TOLD: tl.constexpr, TILE: tl.constexpr, TILE_D: tl.constexpr,
    ):  # fmt: skip
        row = tl.program_id(0).to(tl.int64) * TILE + tl.arange(0, TILE)
        column = tl.arange(0, TILE_D)
        is_row, is_column = row < num_rows, column < D
        inside = is_row[:, None] & is_column[None, :]
        place = row[:, None] * D + column[None, :]
        if PICKS:
            source = tl.load(rows_ptr + row, mask=is_row, other=0)
            x = tl.load(stream_ptr + source[:, None] * D + column[None, :], mask=inside, other=0.0)
        else:
            x = tl.load(stream_ptr + place, mask=inside, other=0.0)
        if ADDS:
            x += tl.load(added_ptr + place, mask=inside, other=0.0).to(tl.float32)
        if PICKS or ADDS:
            tl.store(sum_ptr + place, x, mask=inside)
        y = x * tl.rsqrt(tl.sum(x * x, axis=1) / D + EPS)[:, None]
        if MODULATES:
            if TOLD:
                window = tl.load(windows_ptr + row, mask=is_row, other=0) // LENGTH
                at = modulation_ptr + window[:, None] * apart + column[None, :]
                scale = tl.load(at, mask=inside, other=0.0).to(tl.float32)
                shift = tl.load(at + D, mask=inside, other=0.0).to(tl.float32)
            else:  # LENGTH is a multiple of TILE: all rows of a tile are of one window
                at = modulation_ptr + (tl.program_id(0).to(tl.int64) * TILE // LENGTH) * apart + column
                scale = tl.load(at, mask=is_column, other=0.0).to(tl.float32)[None, :]
                shift = tl.load(at + D, mask=is_column, other=0.0).to(tl.float32)[None, :]
            y = y * (1.0 + scale).to(tl.bfloat16).to(tl.float32) + shift
        tl.store(out_ptr + place, y.to(tl.bfloat16), mask=inside)

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
        count, width = len(stream) if rows is None else len(rows), stream.shape[1]
        tile_width = triton.next_power_of_2(width)
        tile = max(_TILE_NUMBERS // tile_width, 1)
        assert fits(width)
        assert modulation is None or windows is not None or length % tile == 0
        assert modulation is None or modulation.stride(1) == 1
        out = torch.empty(count, width, dtype=torch.bfloat16, device=stream.device)
        is_new = rows is not None or (added is not None and not in_place)
        total = torch.empty(count, width, dtype=torch.float32, device=stream.device) if is_new else stream
        _kernel[(triton.cdiv(count, tile),)](
            stream, rows, added, modulation, windows, total, out, count,
            0 if modulation is None else modulation.stride(0),
            D=width, EPS=_EPS, LENGTH=length, PICKS=rows is not None, ADDS=added is not None,
            MODULATES=modulation is not None, TOLD=windows is not None, TILE=tile, TILE_D=tile_width, num_warps=_WARPS,
        )  # fmt: skip
        return total, out
