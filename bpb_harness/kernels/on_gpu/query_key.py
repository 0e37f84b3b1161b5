"""Queries and keys in one product, turned and normalised; :mod:`bpb_harness.kernels.query_key` is its plain form."""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor

from bpb_harness.kernels.tiling import Tiling, num_multiprocessors

# Kernels have no types: triton reads annotations itself, and knows its own alone.


@triton.jit  # type: ignore[untyped-decorator]
def _turned_qk_kernel(  # type: ignore[no-untyped-def]
    x_desc, weight_desc, angles_desc, out_desc, M, num_programs,
    LENGTH: tl.constexpr, N: tl.constexpr, K: tl.constexpr, HEAD: tl.constexpr, EPS: tl.constexpr,
    QUERY_FACTOR: tl.constexpr, TILE_M: tl.constexpr, TILE_N: tl.constexpr, TILE_K: tl.constexpr,
):  # fmt: skip
    tiles_n: tl.constexpr = N // TILE_N
    num_tiles = tl.cdiv(M, TILE_M) * tiles_n
    # One loop over all tiles' steps, so that a tile is fetched while the one before it is turned and stored.
    for tile in tl.range(tl.program_id(0), num_tiles, num_programs, flatten=True):
        row = (tile // tiles_n) * TILE_M  # neighbouring programs share their rows, which then come from the cache
        column = (tile % tiles_n) * TILE_N
        total = tl.zeros((TILE_M, TILE_N), dtype=tl.float32)
        for inner in range(0, K, TILE_K):
            total = tl.dot(x_desc.load([row, inner]), weight_desc.load([column, inner]).T, total)
        c, s = tl.split(tl.reshape(angles_desc.load([row % LENGTH, 0]), (TILE_M, HEAD // 2, 2)))
        factor = tl.where(column < N // 2, QUERY_FACTOR, 1.0)
        low, high = tl.split(tl.permute(tl.reshape(total, (TILE_M, 2, TILE_N // 2)), (0, 2, 1)))
        low = _turned_and_normalised(low, c, s, factor, EPS, TILE_M, TILE_N // 2, HEAD)
        out_desc.store([row, column], low)
        high = _turned_and_normalised(high, c, s, factor, EPS, TILE_M, TILE_N // 2, HEAD)
        out_desc.store([row, column + TILE_N // 2], high)


@triton.jit  # type: ignore[untyped-decorator]
def _turned_and_normalised(  # type: ignore[no-untyped-def]
    product, c, s, factor, EPS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, HEAD: tl.constexpr
):
    c, s = c[:, None, :], s[:, None, :]
    a, b = tl.split(tl.reshape(product, (ROWS, COLUMNS // HEAD, HEAD // 2, 2)))
    a, b = _rounded(a, b)
    a, b = _rounded(a * c + b * s, b * c - a * s)
    norm = (tl.rsqrt(tl.sum(a * a + b * b, axis=2) / HEAD + EPS) * factor)[:, :, None]
    return tl.reshape(tl.join(a * norm, b * norm).to(tl.bfloat16), (ROWS, COLUMNS))


@triton.jit
def _rounded(a, b):  # type: ignore[no-untyped-def]
    # To bfloat16 and back. One conversion of a pair: the compiler makes two, each at a quarter of the rate.
    return tl.inline_asm_elementwise(
        """{
        .reg .b32 pair;
        cvt.rn.bf16x2.f32 pair, $3, $2;
        shl.b32 $0, pair, 16;
        and.b32 $1, pair, 0xffff0000;
        }""",
        "=f,=f,f,f", [a, b], dtype=(tl.float32, tl.float32), is_pure=True, pack=1,
    )  # fmt: skip


def launch_turned_qk(x: Tensor, weight: Tensor, angles: Tensor, tiling: Tiling, *, factor: float, eps: float) -> Tensor:
    """Queries, multiplied by a factor, before keys; of shapes that fit the tiling."""
    x, weight, angles = x.contiguous(), weight.contiguous(), angles.contiguous()
    (num_rows, width), (length, head), columns = x.shape, angles.shape, weight.shape[0]
    out = torch.empty(num_rows, columns, dtype=x.dtype, device=x.device)
    programs = min(math.ceil(num_rows / tiling.m) * (columns // tiling.n), num_multiprocessors(x.device))
    _turned_qk_kernel[(programs,)](
        TensorDescriptor.from_tensor(x, [tiling.m, tiling.k]),
        TensorDescriptor.from_tensor(weight, [tiling.n, tiling.k]),
        TensorDescriptor.from_tensor(angles, [tiling.m, head]),
        TensorDescriptor.from_tensor(out, [tiling.m, tiling.n // 2]),
        num_rows, programs,
        LENGTH=length, N=columns, K=width, HEAD=head, EPS=eps, QUERY_FACTOR=factor,
        TILE_M=tiling.m, TILE_N=tiling.n, TILE_K=tiling.k, num_warps=tiling.num_warps, num_stages=tiling.num_stages,
    )  # fmt: skip
    return out
