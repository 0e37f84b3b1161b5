"""Queries, keys and values in one kernel: the product, and the rotary embedding and norm of queries and keys after it.

Rounded where the plain form rounds under autocast: the product to bfloat16, the turned pairs to bfloat16, the
normalised ones to bfloat16. What is saved is a pass over queries and keys, to memory and back.
"""

from __future__ import annotations

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

_TILE_M, _TILE_N, _TILE_K, _WARPS, _STAGES = 128, 256, 64, 8, 4


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding of the half-split kind, (B, L, H, d) with tables (1, L, 1, d / 2)."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos + b * sin, b * cos - a * sin), dim=-1).to(x.dtype)


def turned_qkv(x: Tensor, weight: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries and keys, turned and then normalised, and values.

    Args:
        x: (B, L, K) inputs of the product.
        weight: (3 H d, K), queries before keys before values.
        cos: (1, L, 1, d / 2) float32 table.
        sin: likewise.

    Returns:
        Three tensors (B, L, H, d).
    """
    B, L, _ = x.shape
    head = 2 * cos.shape[-1]
    if not _is_fused(x, weight, cos):
        q, k, v = functional.linear(x, weight).view(B, L, 3, -1, head).unbind(2)
        return rms_norm(rotate(q, cos, sin)), rms_norm(rotate(k, cos, sin)), v
    rows = x.to(torch.bfloat16).reshape(B * L, x.shape[-1]).contiguous()
    out = torch.empty(B * L, weight.shape[0], dtype=torch.bfloat16, device=x.device)
    grid = (triton.cdiv(B * L, _TILE_M) * (weight.shape[0] // _TILE_N),)
    _turned_qkv[grid](
        rows, weight.to(torch.bfloat16).contiguous(), out,
        cos.reshape(L, head // 2).contiguous(), sin.reshape(L, head // 2).contiguous(), B * L,
        LENGTH=L, N=weight.shape[0], K=weight.shape[1], HEAD=head, EPS=torch.finfo(torch.float32).eps,
        TILE_M=_TILE_M, TILE_N=_TILE_N, TILE_K=_TILE_K, num_warps=_WARPS, num_stages=_STAGES,
    )  # fmt: skip
    q, k, v = out.view(B, L, 3, -1, head).unbind(2)
    return q, k, v


def _is_fused(x: Tensor, weight: Tensor, cos: Tensor) -> bool:
    """Whether the kernel serves: a tile holds whole heads of one window, of queries, of keys or of values."""
    head = 2 * cos.shape[-1]
    return (
        triton is not None
        and _fused.serves(x)
        and cos.dtype == torch.float32
        and head in (32, 64, 128)
        and weight.shape[0] % (3 * _TILE_N) == 0
        and weight.shape[1] % _TILE_K == 0
        and x.shape[1] % _TILE_M == 0
    )


if triton is not None:
    # Kernels have no types: triton reads annotations itself, and knows its own alone.

    @triton.jit  # type: ignore[untyped-decorator]
    def _turned_qkv(  # type: ignore[no-untyped-def]
        x_ptr, weight_ptr, out_ptr, cos_ptr, sin_ptr, M, LENGTH: tl.constexpr,
        N: tl.constexpr, K: tl.constexpr, HEAD: tl.constexpr, EPS: tl.constexpr,
        TILE_M: tl.constexpr, TILE_N: tl.constexpr, TILE_K: tl.constexpr,
    ):  # fmt: skip
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
        product = total.to(tl.bfloat16)
        if tile_n * TILE_N < 2 * (N // 3):
            places = ((tile_m * TILE_M) % LENGTH + tl.arange(0, TILE_M))[:, None] * (HEAD // 2)
            places += tl.arange(0, HEAD // 2)[None, :]
            cos, sin = tl.load(cos_ptr + places), tl.load(sin_ptr + places)
            product = _turned_and_normalised(product, cos, sin, EPS, TILE_M, TILE_N, HEAD)
        tl.store(out_ptr + rows[:, None] * N + columns[None, :], product, mask=(rows < M)[:, None])

    @triton.jit  # type: ignore[untyped-decorator]
    def _turned_and_normalised(  # type: ignore[no-untyped-def]
        product, cos, sin, EPS: tl.constexpr, TILE_M: tl.constexpr, TILE_N: tl.constexpr, HEAD: tl.constexpr
    ):
        pairs = tl.reshape(product, (TILE_M, TILE_N // HEAD, 2, HEAD // 2))
        a, b = tl.split(tl.permute(pairs, (0, 1, 3, 2)).to(tl.float32))
        c, s = cos[:, None, :], sin[:, None, :]
        turned_a = (a * c + b * s).to(tl.bfloat16).to(tl.float32)
        turned_b = (b * c - a * s).to(tl.bfloat16).to(tl.float32)
        squares = tl.sum(turned_a * turned_a + turned_b * turned_b, axis=2)
        factor = tl.rsqrt(squares / HEAD + EPS)[:, :, None]
        joined = tl.join((turned_a * factor).to(tl.bfloat16), (turned_b * factor).to(tl.bfloat16))
        return tl.reshape(tl.permute(joined, (0, 1, 3, 2)), (TILE_M, TILE_N))
