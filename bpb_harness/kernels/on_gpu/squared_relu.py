"""Products with a squared ReLU and its gradient; :mod:`bpb_harness.kernels.squared_relu` has their plain forms."""

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
def _squared_relu_kernel(  # type: ignore[no-untyped-def]
    x_desc, weight_desc, squares_desc, out_desc, M, num_programs, N: tl.constexpr, K: tl.constexpr,
    TILE_M: tl.constexpr, TILE_N: tl.constexpr, TILE_K: tl.constexpr, PARTS: tl.constexpr, BACKWARD: tl.constexpr,
):  # fmt: skip
    tiles_n: tl.constexpr = N // TILE_N
    num_tiles = tl.cdiv(M, TILE_M) * tiles_n
    for tile in tl.range(tl.program_id(0), num_tiles, num_programs, flatten=True):
        row = (tile // tiles_n) * TILE_M  # neighbouring programs share their rows, which then come from the cache
        column = (tile % tiles_n) * TILE_N
        total = tl.zeros((TILE_M, TILE_N), dtype=tl.float32)
        for inner in range(0, K, TILE_K):
            left = x_desc.load([row, inner])
            if BACKWARD:  # noqa: SIM108 - the compiler takes one branch, of another shape
                right = weight_desc.load([inner, column])
            else:
                right = weight_desc.load([column, inner]).T
            total = tl.dot(left, right, total)
        if PARTS == 1:
            if BACKWARD:
                twice_root = 2.0 * tl.sqrt(squares_desc.load([row, column]).to(tl.float32))
                out_desc.store([row, column], (total * twice_root).to(out_desc.dtype))
            else:
                positive = tl.maximum(total, 0.0).to(out_desc.dtype).to(tl.float32)
                out_desc.store([row, column], (positive * positive).to(out_desc.dtype))
        else:
            halves = tl.permute(tl.reshape(total, (TILE_M, 2, TILE_N // 2)), (0, 2, 1))
            low, high = tl.split(halves)
            if BACKWARD:
                root = 2.0 * tl.sqrt(squares_desc.load([row, column]).to(tl.float32))
                out_desc.store([row, column], (low * root).to(out_desc.dtype))
                root = 2.0 * tl.sqrt(squares_desc.load([row, column + TILE_N // 2]).to(tl.float32))
                out_desc.store([row, column + TILE_N // 2], (high * root).to(out_desc.dtype))
            else:
                low = tl.maximum(low, 0.0).to(out_desc.dtype).to(tl.float32)
                out_desc.store([row, column], (low * low).to(out_desc.dtype))
                high = tl.maximum(high, 0.0).to(out_desc.dtype).to(tl.float32)
                out_desc.store([row, column + TILE_N // 2], (high * high).to(out_desc.dtype))


def launch_squared_relu(x: Tensor, weight: Tensor, squares: Tensor | None, tiling: Tiling) -> Tensor:
    """Either product; with ``squares`` the one of the backward pass."""
    x, weight = x.contiguous(), weight.contiguous()
    inner = x.shape[1]
    n = weight.shape[1] if squares is not None else weight.shape[0]
    out = torch.empty(x.shape[0], n, dtype=x.dtype, device=x.device)
    part = [tiling.m, tiling.n // tiling.num_parts]
    out_desc = TensorDescriptor.from_tensor(out, part)
    squares_desc = out_desc if squares is None else TensorDescriptor.from_tensor(squares.contiguous(), part)
    weight_tile = [tiling.n, tiling.k] if squares is None else [tiling.k, tiling.n]
    num_tiles = math.ceil(x.shape[0] / tiling.m) * (n // tiling.n)
    programs = min(num_tiles, tiling.programs * num_multiprocessors(x.device) or num_tiles)
    _squared_relu_kernel[(programs,)](
        TensorDescriptor.from_tensor(x, [tiling.m, tiling.k]), TensorDescriptor.from_tensor(weight, weight_tile),
        squares_desc, out_desc, x.shape[0], programs, n, inner,
        TILE_M=tiling.m, TILE_N=tiling.n, TILE_K=tiling.k, PARTS=tiling.num_parts, BACKWARD=squares is not None,
        num_warps=tiling.num_warps, num_stages=tiling.num_stages,
    )  # fmt: skip
    return out
