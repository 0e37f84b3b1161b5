"""Kernels that a compiled reference network is trained with on a GPU, each with its gradient.

Three passes over memory are saved. The squared ReLU lies in the product before it, and its derivative in the product
before that one's gradient; only r^2 is kept, for 2 r is 2 sqrt(r^2). Queries and keys are normalised and rotated in one
pass, and the gradients of queries, keys and values are written side by side, as the projection's gradient wants them.
Rows are gathered by index, and their gradients put back by the inverse of it, so that nothing is added atomically.

Forward, the arithmetic is that of the plain form, rounding for rounding; backward, gradients inside a kernel are not
rounded to bfloat16 as they are between two. On a CPU the same operations are plain tensor code: tests hold them
against the network as it is written.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bpb_harness.kernels import squared_relu
from bpb_harness.kernels.loading import has_triton
from bpb_harness.kernels.specialising import runs_in_bfloat16_on_gpu
from bpb_harness.kernels.squared_relu import squared_relu_product, squared_relu_product_backward

_EPS = torch.finfo(torch.float32).eps

_given_up: set[str] = set()
KINDS = frozenset({"squared_relu", "rotary"})


def is_specialised(x: Tensor, kind: str) -> bool:
    """Whether the kernels of a kind serve: in a network that is compiled for training, in bfloat16, on a GPU."""
    return (
        has_triton()
        and (kind != "squared_relu" or squared_relu.is_available())
        and torch.compiler.is_compiling()
        and torch.is_grad_enabled()
        and kind not in _given_up
        and runs_in_bfloat16_on_gpu(x)
    )


def give_up_specialising(kinds: frozenset[str] = KINDS) -> bool:
    """Compile networks for training as they are written from now on; False if that is so already."""
    new = not kinds <= _given_up
    _given_up.update(kinds)
    return new


def fits_rotary(width: int, num_heads: int) -> bool:
    """Whether half a head is a power of two."""
    half = width // num_heads // 2
    return half * 2 * num_heads == width and half >= 16 and half & (half - 1) == 0


def _product_dtype(x: Tensor) -> torch.dtype:
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


class _SquaredReluFeedForward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, up: Tensor, down: Tensor) -> Tensor:
        squares = squared_relu_product(x, up)
        ctx.save_for_backward(x, squares, up, down)
        out: Tensor = squares @ down.t()
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, squares, up, down = ctx.saved_tensors
        (grad,) = gradients
        grad_hidden = squared_relu_product_backward(grad, down, squares)
        return grad_hidden @ up, grad_hidden.t() @ x, grad.t() @ squares


def squared_relu_feed_forward(x: Tensor, up: Tensor, down: Tensor) -> Tensor:
    """relu(x up^T)^2 down^T; (..., D), (H, D) and (D, H) -> (..., D), in autocast's type."""
    dtype = _product_dtype(x)
    rows = x.to(dtype).reshape(-1, x.shape[-1])
    out: Tensor = _SquaredReluFeedForward.apply(rows, up.to(dtype), down.to(dtype))  # type: ignore[no-untyped-call]
    return out.view(x.shape)


class _RotatedProjection(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, cos: Tensor, sin: Tensor, num_heads: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        batch, length, width = x.shape
        qkv = (x.view(-1, width) @ weight.t()).view(batch, length, 3, num_heads, width // num_heads)
        q, k, scale = rotate(qkv, cos, sin)
        ctx.save_for_backward(x, weight, cos, sin, q, k, scale)
        return q, k, qkv[:, :, 2]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        x, weight, cos, sin, q, k, scale = ctx.saved_tensors
        rows = x.shape[0] * x.shape[1]
        grad = rotate_backward(*gradients, q, k, scale, cos, sin).view(rows, -1)
        return (grad @ weight).view(x.shape), grad.t() @ x.view(rows, -1), None, None, None


def rotated_projection(
    x: Tensor, weight: Tensor, cos: Tensor, sin: Tensor, num_heads: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries and keys, normalised and rotated, and values, in autocast's type.

    Args:
        x: (B, L, D).
        weight: (3 D, D).
        cos: (L, d / 2) float32.
        sin: (L, d / 2) float32.
        num_heads: H = D / d.

    Returns:
        three times (B, L, H, d).
    """
    dtype = _product_dtype(x)
    out: tuple[Tensor, Tensor, Tensor] = _RotatedProjection.apply(  # type: ignore[no-untyped-call]
        x.to(dtype).contiguous(), weight.to(dtype), cos, sin, num_heads
    )
    return out


class _GatheredRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, positions: Tensor, slots: Tensor) -> Tensor:
        ctx.save_for_backward(slots)
        ctx.num_slots = len(positions)
        return rows.index_select(0, positions)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (slots,) = ctx.saved_tensors
        (grad,) = gradients
        gathered = grad.index_select(0, slots.clamp(max=ctx.num_slots - 1))
        return torch.where((slots < ctx.num_slots)[:, None], gathered, 0.0), None, None


def gather_rows(rows: Tensor, positions: Tensor, slots: Tensor) -> Tensor:
    """``rows[positions]``, whose gradient is a selection too.

    Args:
        rows: (N, D).
        positions: (n,) int64. Rows of the result that are not in ``slots`` are padding: their gradient is dropped.
        slots: (N,) int64: where each row went, n or more if nowhere.
    """
    out: Tensor = _GatheredRows.apply(rows, positions, slots)  # type: ignore[no-untyped-call]
    return out


def _wide_dtype(x: Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32


@torch.library.custom_op("bpb_harness::rotate", mutates_args=(), device_types="cpu")
def rotate(qkv: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Normalise and rotate queries and keys.

    Args:
        qkv: (B, L, 3, H, d), contiguous.
        cos: (L, d / 2) float32.
        sin: (L, d / 2) float32.

    Returns:
        queries and keys, (B, L, H, d), and what each was multiplied by, (B, L, 2, H) float32.
    """
    wide = qkv[:, :, :2].to(_wide_dtype(qkv))
    scale = torch.rsqrt(wide.square().mean(dim=-1) + _EPS)
    first, second = (wide * scale[..., None]).chunk(2, dim=-1)
    c, s = cos[:, None, None], sin[:, None, None]
    rotated = torch.cat((first * c + second * s, second * c - first * s), dim=-1).to(qkv.dtype)
    return rotated[:, :, 0].contiguous(), rotated[:, :, 1].contiguous(), scale


@torch.library.custom_op("bpb_harness::rotate_backward", mutates_args=(), device_types="cpu")
def rotate_backward(
    grad_q: Tensor, grad_k: Tensor, grad_v: Tensor, q: Tensor, k: Tensor, scale: Tensor, cos: Tensor, sin: Tensor
) -> Tensor:
    """Gradient (B, L, 3, H, d) from those of queries, keys and values, and from what :func:`rotate` gave."""
    # A norm's gradient from its result y: scale (g - y mean(g y)); rotary positions do not change that mean.
    y, grad = (torch.stack(pair, dim=2).to(_wide_dtype(q)) for pair in ((q, k), (grad_q, grad_k)))
    first, second = (scale[..., None] * (grad - y * (grad * y).mean(dim=-1, keepdim=True))).chunk(2, dim=-1)
    c, s = cos[:, None, None], sin[:, None, None]
    back = torch.cat((first * c - second * s, second * c + first * s), dim=-1).to(q.dtype)
    return torch.cat((back, grad_v[:, :, None]), dim=2)


@rotate.register_fake
def _(qkv: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # noqa: ARG001
    batch, length, _, num_heads, size = qkv.shape
    q, k = (qkv.new_empty(batch, length, num_heads, size) for _ in range(2))
    return q, k, qkv.new_empty(batch, length, 2, num_heads, dtype=_wide_dtype(qkv))


@rotate_backward.register_fake
def _(grad_q: Tensor, grad_k: Tensor, grad_v: Tensor, q: Tensor, *_: Tensor) -> Tensor:  # noqa: ARG001
    batch, length, num_heads, size = q.shape
    return q.new_empty(batch, length, 3, num_heads, size)


@rotate.register_kernel("cuda")
def _launch_rotate(qkv: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    from bpb_harness.kernels.on_gpu.training import launch_rotate

    return launch_rotate(qkv, cos, sin, eps=_EPS)


@rotate_backward.register_kernel("cuda")
def _launch_rotate_backward(
    grad_q: Tensor, grad_k: Tensor, grad_v: Tensor, q: Tensor, k: Tensor, scale: Tensor, cos: Tensor, sin: Tensor
) -> Tensor:
    from bpb_harness.kernels.on_gpu.training import launch_rotate_backward

    return launch_rotate_backward(grad_q, grad_k, grad_v, q, k, scale, cos, sin)
