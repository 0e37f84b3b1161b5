"""A matrix product with its activation in one kernel, for compiled networks on a GPU that run without gradients.

The arithmetic is that of the plain form, rounding for rounding: the product is summed in float32 and rounded to
bfloat16 before the activation. What is saved is a pass over the widest tensor of a block, to memory and back.
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

_TILE_M, _TILE_N, _TILE_K, _WARPS, _STAGES = 128, 256, 64, 8, 3

_given_up = False


def squared_relu_linear(x: Tensor, weight: Tensor) -> Tensor:
    """relu(x W^T)^2 as an autocast linear layer and a squared ReLU give it; (..., K) and (N, K) -> (..., N)."""
    if not _is_fused(x, weight):
        return functional.relu(functional.linear(x, weight)).square()
    rows = x.to(torch.bfloat16).reshape(-1, x.shape[-1]).contiguous()
    out = torch.empty(rows.shape[0], weight.shape[0], dtype=torch.bfloat16, device=x.device)
    grid = (triton.cdiv(rows.shape[0], _TILE_M) * (weight.shape[0] // _TILE_N),)
    _squared_relu_linear[grid](
        rows, weight.to(torch.bfloat16), out, rows.shape[0], weight.shape[0], weight.shape[1],
        TILE_M=_TILE_M, TILE_N=_TILE_N, TILE_K=_TILE_K, num_warps=_WARPS, num_stages=_STAGES,
    )  # fmt: skip
    return out.view(*x.shape[:-1], weight.shape[0])


def is_specialised() -> bool:
    """Whether a network may take a faster form of the same arithmetic: while it is compiled for scoring.

    The plain network stays as it is written, and is what a compiled one is compared with.
    """
    return torch.compiler.is_compiling() and not torch.is_grad_enabled() and not _given_up


def give_up_specialising() -> bool:
    """Compile networks as they are written from now on; False if that is so already."""
    global _given_up
    given_up, _given_up = _given_up, True
    return not given_up


def serves(x: Tensor) -> bool:
    """Whether kernels that round as autocast does may take the place of plain operations on a tensor."""
    return (
        is_specialised()
        and x.device.type == "cuda"
        and torch.is_autocast_enabled("cuda")
        and torch.get_autocast_dtype("cuda") == torch.bfloat16
    )


def _is_fused(x: Tensor, weight: Tensor) -> bool:
    """Whether the kernel takes these shapes."""
    return triton is not None and serves(x) and weight.shape[0] % _TILE_N == 0 and weight.shape[1] % _TILE_K == 0


if triton is not None:

    @triton.jit  # type: ignore[untyped-decorator]
    def _squared_relu_linear(  # type: ignore[no-untyped-def]
        x_ptr, weight_ptr, out_ptr, M, N: tl.constexpr, K: tl.constexpr,
        TILE_M: tl.constexpr, TILE_N: tl.constexpr, TILE_K: tl.constexpr,
    ):  # fmt: skip
        # Triton reads annotations itself, and knows its own alone.
        # Neighbouring programs share their rows of x, which then come from the cache.
        tile_m = tl.program_id(0) // (N // TILE_N)
        tile_n = tl.program_id(0) % (N // TILE_N)
        rows = tile_m.to(tl.int64) * TILE_M + tl.arange(0, TILE_M)
        columns = tile_n * TILE_N + tl.arange(0, TILE_N)
        inner = tl.arange(0, TILE_K)
        x_tile = x_ptr + (rows % M)[:, None] * K + inner[None, :]
        weight_tile = weight_ptr + columns[None, :] * K + inner[:, None]
        total = tl.zeros((TILE_M, TILE_N), dtype=tl.float32)
        for _ in range(0, K, TILE_K):
            total = tl.dot(tl.load(x_tile), tl.load(weight_tile), total)
            x_tile += TILE_K
            weight_tile += TILE_K
        positive = tl.maximum(total.to(tl.bfloat16).to(tl.float32), 0.0)
        tl.store(
            out_ptr + rows[:, None] * N + columns[None, :],
            (positive * positive).to(tl.bfloat16),
            mask=(rows < M)[:, None],
        )
