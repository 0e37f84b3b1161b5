"""A residual sum, its norm and the modulation of that; :mod:`bpb_harness.kernels.normalise` is their plain form."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

_EPS = torch.finfo(torch.float32).eps
_TILE_NUMBERS, _WARPS = 4096, 4  # numbers of a tile: so many that a thread has 32

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


def launch_norm(
    stream: Tensor,
    rows: Tensor | None,
    added: Tensor | None,
    modulation: Tensor | None,
    windows: Tensor | None,
    length: int,
    *,
    in_place: bool,
) -> tuple[Tensor, Tensor]:
    """The sum and its modulated norm, of widths that fit."""
    count, width = len(stream) if rows is None else len(rows), stream.shape[1]
    tile_width = triton.next_power_of_2(width)
    tile = max(_TILE_NUMBERS // tile_width, 1)
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
