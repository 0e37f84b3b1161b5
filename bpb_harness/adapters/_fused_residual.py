"""A projection into the residual stream in one kernel with what follows: addition, next norm, its modulation.

One program makes whole rows of the stream, so that it can normalise them. Rounded where the plain form rounds under
autocast: the product to bfloat16; the stream and its norm are float32; the input of the next product is bfloat16.
What is saved is the product's way to memory and back, and the time in which either memory or tensor cores are idle.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from bpb_harness.adapters import _fused
from bpb_harness.adapters._network import rms_norm

try:
    import triton
    import triton.language as tl
except ImportError:
    triton = None


class Tiling(NamedTuple):
    """How a kernel cuts up its work.

    Attributes:
        m: rows of the stream in a program.
        n: columns that it multiplies at a time.
        k: inputs that it multiplies at a time.
        warps: warps of a program.
        stages: loads that are under way.
        ahead: whether the stream's rows are fetched into the cache before they are needed.
    """

    m: int
    n: int
    k: int
    warps: int
    stages: int
    ahead: bool = True


# By the width of the product's input: that of the largest key up to it. None is the plain form.
tilings: dict[int, Tiling | None] = {0: Tiling(64, 512, 64, 8, 3), 1024: None}
_CHUNK = 128


def modulated_norm(x: Tensor, modulation: Tensor) -> Tensor:
    """rms_norm(x) (1 + scale) + shift; (B, L, D) with scales beside shifts in (B, 2 D)."""
    scale, shift = modulation.unsqueeze(1).chunk(2, dim=-1)
    modulated: Tensor = rms_norm(x) * (1 + scale) + shift
    return modulated


def add_and_norm(y: Tensor, weight: Tensor, x: Tensor, modulation: Tensor) -> tuple[Tensor, Tensor]:
    """The stream after a branch, x + y W^T, and its modulated norm.

    Args:
        y: (B, L, K), what the branch's last layer takes.
        weight: (D, K), that layer.
        x: (B, L, D), the stream.
        modulation: (B, 2 D), scales beside shifts.

    Returns:
        Two tensors (B, L, D); the second in bfloat16 where that is what the next product rounds it to.
    """
    tiling = _tiling(y, weight, x, modulation)
    if tiling is None:
        stream = x + functional.linear(y, weight)
        return stream, modulated_norm(stream, modulation)
    B, L, D = x.shape
    rows = y.to(torch.bfloat16).reshape(B * L, y.shape[-1]).contiguous()
    stream, out = torch.empty_like(x), torch.empty(B, L, D, dtype=torch.bfloat16, device=x.device)
    _add_and_norm[(triton.cdiv(B * L, tiling.m),)](
        rows, weight.to(torch.bfloat16).contiguous(), x, modulation.contiguous(), stream, out, B * L,
        LENGTH=L, WIDTH=D, K=weight.shape[1], EPS=torch.finfo(torch.float32).eps,
        TILE_M=tiling.m, TILE_N=tiling.n, TILE_K=tiling.k, CHUNK=_CHUNK, AHEAD=tiling.ahead,
        num_warps=tiling.warps, num_stages=tiling.stages,
    )  # fmt: skip
    return stream, out


def _tiling(y: Tensor, weight: Tensor, x: Tensor, modulation: Tensor) -> Tiling | None:
    """How the kernel cuts this up; None if it does not serve."""
    tiling = tilings[max(least for least in tilings if least <= weight.shape[1])]
    serves = (
        triton is not None
        and tiling is not None
        and _fused.serves(y)
        and x.dtype == torch.float32
        and x.is_contiguous()
        and modulation.dtype == torch.bfloat16
        and weight.shape[0] == 512  # one row of the stream is what a program's registers hold
        and weight.shape[1] % tiling.k == 0
        and x.shape[1] % tiling.m == 0
    )
    return tiling if serves else None


if triton is not None:

    @triton.jit  # type: ignore[untyped-decorator]
    def _add_and_norm(  # type: ignore[no-untyped-def]
        y_ptr, weight_ptr, x_ptr, modulation_ptr, stream_ptr, out_ptr, M, LENGTH: tl.constexpr,
        WIDTH: tl.constexpr, K: tl.constexpr, EPS: tl.constexpr,
        TILE_M: tl.constexpr, TILE_N: tl.constexpr, TILE_K: tl.constexpr, CHUNK: tl.constexpr, AHEAD: tl.constexpr,
    ):  # fmt: skip
        # Rows of this program count from its first one: 32-bit offsets take half the registers.
        first = tl.program_id(0).to(tl.int64) * TILE_M
        y_ptr += first * K
        x_ptr += first * WIDTH
        stream_ptr += first * WIDTH
        out_ptr += first * WIDTH
        modulation_ptr += (first // LENGTH) * (2 * WIDTH)
        rows = tl.arange(0, TILE_M)
        inside = (rows < M - first)[:, None]
        wrapped = tl.where(inside, rows[:, None], 0)
        inner = tl.arange(0, TILE_K)
        if AHEAD:
            # The stream is fetched into the cache while the tensor cores work.
            lines = x_ptr + wrapped * WIDTH + (tl.arange(0, WIDTH // 32) * 32)[None, :]
            # Called pure, or a compiler would take every argument for an output; its zeros are therefore used.
            squares = tl.sum(
                tl.inline_asm_elementwise(
                    "prefetch.global.L2 [$1]; mov.b32 $0, 0;",
                    "=f,l",
                    [lines.to(tl.int64, bitcast=True)],
                    dtype=tl.float32,
                    is_pure=True,
                    pack=1,
                ),
                axis=1,
            )
        else:
            squares = tl.zeros((TILE_M,), dtype=tl.float32)
        for part in range(0, WIDTH, TILE_N):
            y_tile = y_ptr + wrapped * K + inner[None, :]
            weight_tile = weight_ptr + (part + tl.arange(0, TILE_N))[None, :] * K + inner[:, None]
            total = tl.zeros((TILE_M, TILE_N), dtype=tl.float32)
            for _ in range(0, K, TILE_K):
                total = tl.dot(tl.load(y_tile), tl.load(weight_tile), total)
                y_tile += TILE_K
                weight_tile += TILE_K
            # By quarters: both numbers of a whole tile do not fit into registers.
            halves = tl.reshape(total.to(tl.bfloat16), (TILE_M, 2, TILE_N // 2))
            left, right = tl.split(tl.permute(halves, (0, 2, 1)))
            for half in tl.static_range(2):
                quarters = tl.reshape(left if half == 0 else right, (TILE_M, 2, TILE_N // 4))
                one, other = tl.split(tl.permute(quarters, (0, 2, 1)))
                for quarter in tl.static_range(2):
                    product = one if quarter == 0 else other
                    start = part + (2 * half + quarter) * (TILE_N // 4)
                    places = rows[:, None] * WIDTH + (start + tl.arange(0, TILE_N // 4))[None, :]
                    stream = tl.load(x_ptr + places, mask=inside) + product.to(tl.float32)
                    tl.store(stream_ptr + places, stream, mask=inside)
                    squares += tl.sum(stream * stream, axis=1)
        factor = tl.rsqrt(squares / WIDTH + EPS)[:, None]
        tl.debug_barrier()
        for start in range(0, WIDTH, CHUNK):
            columns = start + tl.arange(0, CHUNK)
            own = rows[:, None] * WIDTH + columns[None, :]
            scale = (1.0 + tl.load(modulation_ptr + columns).to(tl.float32)).to(tl.bfloat16).to(tl.float32)
            shift = tl.load(modulation_ptr + WIDTH + columns).to(tl.float32)
            out = (
                tl.load(stream_ptr + own, mask=inside, cache_modifier=".cg") * factor * scale[None, :] + shift[None, :]
            )
            tl.store(out_ptr + own, out.to(tl.bfloat16), mask=inside)
