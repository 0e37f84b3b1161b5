"""Queries and keys normalised and rotated, and gradients; :mod:`bpb_harness.kernels.training` has the plain forms."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

ROTATED_ROWS = 8

# Kernels have no types: triton reads annotations itself, and knows its own alone.


@triton.jit  # type: ignore[untyped-decorator]
def _rotate_kernel(  # type: ignore[no-untyped-def]
    qkv_ptr, cos_ptr, sin_ptr, q_ptr, k_ptr, scale_ptr, num_rows, L, EPS: tl.constexpr,
    HEADS: tl.constexpr, HALF: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    rows = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    inside = (rows < num_rows)[:, None]
    column = tl.arange(0, HALF)[None, :]
    angle = (rows % L)[:, None] * HALF + column
    c, s = tl.load(cos_ptr + angle), tl.load(sin_ptr + angle)
    width: tl.constexpr = HEADS * 2 * HALF
    for head in tl.static_range(2 * HEADS):
        at = qkv_ptr + rows[:, None] * (3 * width) + head * (2 * HALF) + column
        first = tl.load(at, mask=inside, other=0.0).to(tl.float32)
        second = tl.load(at + HALF, mask=inside, other=0.0).to(tl.float32)
        scale = tl.rsqrt(tl.sum(first * first + second * second, axis=1) / (2 * HALF) + EPS)
        tl.store(scale_ptr + rows * (2 * HEADS) + head, scale, mask=rows < num_rows)
        first, second = first * scale[:, None], second * scale[:, None]
        if head < HEADS:
            to = q_ptr + rows[:, None] * width + head * (2 * HALF) + column
        else:
            to = k_ptr + rows[:, None] * width + (head - HEADS) * (2 * HALF) + column
        tl.store(to, (first * c + second * s).to(tl.bfloat16), mask=inside)
        tl.store(to + HALF, (second * c - first * s).to(tl.bfloat16), mask=inside)


@triton.jit  # type: ignore[untyped-decorator]
def _rotate_backward_kernel(  # type: ignore[no-untyped-def]
    gq_ptr, gk_ptr, gv_ptr, q_ptr, k_ptr, scale_ptr, cos_ptr, sin_ptr, out_ptr, num_rows, L,
    gq_b, gq_l, gq_h, gk_b, gk_l, gk_h, gv_b, gv_l, gv_h,
    HEADS: tl.constexpr, HALF: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    rows = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    inside = (rows < num_rows)[:, None]
    column = tl.arange(0, HALF)[None, :]
    window, place = rows // L, rows % L
    angle = place[:, None] * HALF + column
    c, s = tl.load(cos_ptr + angle), tl.load(sin_ptr + angle)
    width: tl.constexpr = HEADS * 2 * HALF
    for head in tl.static_range(2 * HEADS):
        if head < HEADS:
            source = gq_ptr + (window * gq_b + place * gq_l)[:, None] + head * gq_h + column
            result = q_ptr + rows[:, None] * width + head * (2 * HALF) + column
        else:
            source = gk_ptr + (window * gk_b + place * gk_l)[:, None] + (head - HEADS) * gk_h + column
            result = k_ptr + rows[:, None] * width + (head - HEADS) * (2 * HALF) + column
        first = tl.load(source, mask=inside, other=0.0).to(tl.float32)
        second = tl.load(source + HALF, mask=inside, other=0.0).to(tl.float32)
        y1 = tl.load(result, mask=inside, other=0.0).to(tl.float32)
        y2 = tl.load(result + HALF, mask=inside, other=0.0).to(tl.float32)
        scale = tl.load(scale_ptr + rows * (2 * HEADS) + head, mask=rows < num_rows, other=0.0)
        mean = (tl.sum(first * y1 + second * y2, axis=1) / (2 * HALF))[:, None]
        first = scale[:, None] * (first - y1 * mean)
        second = scale[:, None] * (second - y2 * mean)
        to = out_ptr + rows[:, None] * (3 * width) + head * (2 * HALF) + column
        tl.store(to, (first * c - second * s).to(tl.bfloat16), mask=inside)
        tl.store(to + HALF, (second * c + first * s).to(tl.bfloat16), mask=inside)
    whole = tl.arange(0, 2 * HALF)[None, :]
    for head in tl.static_range(HEADS):
        source = gv_ptr + (window * gv_b + place * gv_l)[:, None] + head * gv_h + whole
        to = out_ptr + rows[:, None] * (3 * width) + (2 * HEADS + head) * (2 * HALF) + whole
        tl.store(to, tl.load(source, mask=inside, other=0.0), mask=inside)


def launch_rotate(qkv: Tensor, cos: Tensor, sin: Tensor, *, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Queries and keys, normalised and rotated, and what each was multiplied by."""
    qkv, cos, sin = qkv.contiguous(), cos.contiguous(), sin.contiguous()
    batch, length, _, num_heads, size = qkv.shape
    q, k = (qkv.new_empty(batch, length, num_heads, size) for _ in range(2))
    scale = qkv.new_empty(batch, length, 2, num_heads, dtype=torch.float32)
    _rotate_kernel[(triton.cdiv(batch * length, ROTATED_ROWS),)](
        qkv, cos, sin, q, k, scale, batch * length, length, EPS=eps,
        HEADS=num_heads, HALF=size // 2, ROWS=ROTATED_ROWS, num_warps=4,
    )  # fmt: skip
    return q, k, scale


def launch_rotate_backward(
    grad_q: Tensor, grad_k: Tensor, grad_v: Tensor, q: Tensor, k: Tensor, scale: Tensor, cos: Tensor, sin: Tensor
) -> Tensor:
    """The gradient of queries, keys and values, side by side."""
    gradients = [each if each.stride(-1) == 1 else each.contiguous() for each in (grad_q, grad_k, grad_v)]
    q, k, scale, cos, sin = (each.contiguous() for each in (q, k, scale, cos, sin))
    batch, length, num_heads, size = q.shape
    out = q.new_empty(batch, length, 3, num_heads, size)
    strides = [stride for each in gradients for stride in each.stride()[:3]]
    _rotate_backward_kernel[(triton.cdiv(batch * length, ROTATED_ROWS),)](
        *gradients, q, k, scale, cos, sin, out, batch * length, length, *strides,
        HEADS=num_heads, HALF=size // 2, ROWS=ROTATED_ROWS, num_warps=4,
    )  # fmt: skip
    return out
