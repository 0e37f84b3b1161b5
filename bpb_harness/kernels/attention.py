"""Attention of normalised queries and keys, which needs no running maximum.

Softmax subtracts the largest score lest a power overflow. Queries and keys that are normalised, without gains, have
scores of at most sqrt(d) in size: exp of that is 3e3 for heads of 64, and sums of such numbers fit float32 for any
text. Without the maximum no step waits for the one before it. Sums are in float32, the weights of values are rounded to
bfloat16 before their product, as the kernels that torch comes with round them.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from bpb_harness.kernels import query_key, specialising
from bpb_harness.kernels.query_key import paired_angles, paired_rows, turned_qk

HEAD = 64  # of the attention kernel; of wider heads torch's are as fast


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding of the half-split kind, (B, L, H, d) with tables (1, L, 1, d / 2)."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos + b * sin, b * cos - a * sin), dim=-1).to(x.dtype)


def normalised_attention(
    x: Tensor, query: Tensor, key: Tensor, value: Tensor, cos: Tensor, sin: Tensor, positions: Tensor | None = None
) -> Tensor:
    """Attention of queries and keys that are turned and then normalised; every position sees every other.

    Args:
        x: (B, L, K) inputs of the three products.
        query: (H d, K) weight.
        key: (H d, K) weight.
        value: (H d, K) weight.
        cos: (1, L, 1, d / 2) float32 table.
        sin: likewise.
        positions: of the flattened batch, ascending but for padding at the end, (n,) int64.

    Returns:
        What the heads say, side by side, (B, L, H d); or at the positions alone, (n, H d).
    """
    (B, L, width), head = x.shape, 2 * cos.shape[-1]
    if not _is_fused(x, query, cos):
        # One wide product instead of three: x is read once. Each output is the same sum.
        q, k, v = functional.linear(x, torch.cat((query, key, value))).view(B, L, 3, -1, head).unbind(2)
        q, k = (functional.rms_norm(rotate(part, cos, sin), (head,)) for part in (q, k))
        return at_positions(attend(q, k, v), positions)
    rows = x.to(torch.bfloat16).reshape(B * L, width)
    angles = paired_angles(cos.view(L, head // 2), sin.view(L, head // 2))
    qk = turned_qk(rows, paired_rows(torch.cat((query, key)).to(torch.bfloat16), head), angles)
    v = rows @ value.to(torch.bfloat16).t()
    if head == HEAD:
        heads: Tensor = attention_of_powers(qk, v, L, head, positions)
        return heads if positions is not None else heads.view(B, L, -1)
    q, k = qk.view(B, L, 2, -1, head).unbind(2)
    return at_positions(attend(q, k, v.view(B, L, -1, head), scale=math.log(2.0)), positions)


def at_positions(heads: Tensor, positions: Tensor | None) -> Tensor:
    """(B, L, D) to (n, D) at positions of the flattened batch; as it is without any."""
    return heads if positions is None else heads.flatten(0, 1).index_select(0, positions)


def attend(q: Tensor, k: Tensor, v: Tensor, scale: float | None = None) -> Tensor:
    """Torch's attention, three (B, L, H, d) to what the heads say side by side, (B, L, H d)."""
    y = functional.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), scale=scale)
    return y.transpose(1, 2).flatten(2)


def _is_fused(x: Tensor, query: Tensor, cos: Tensor) -> bool:
    return (
        specialising.serves(x)
        and query_key.is_available(x.device)
        and cos.dtype == torch.float32
        and query_key.fits(x.shape[1], query, 2 * cos.shape[-1])
    )


def attend_by_powers(qk: Tensor, v: Tensor, length: int, head: int, positions: Tensor | None = None) -> Tensor:
    """:func:`attention_of_powers` outside a compiled network, where an operation of torch's own would import one."""
    attention = launch_attention if v.device.type == "cuda" else _plain
    return attention(qk, v, length, head, positions)


@torch.library.custom_op("bpb_harness::attention_of_powers", mutates_args=(), device_types="cpu")
def attention_of_powers(qk: Tensor, v: Tensor, length: int, head: int, positions: Tensor | None = None) -> Tensor:
    """Values averaged with weights 2^(q.k).

    Args:
        qk: (M, 2 H d) queries and keys, window after window; |q.k| stays below 100 or so.
        v: (M, H d) values.
        length: L, of a window; divides M. On a GPU a multiple of 128.
        head: d.
        positions: whose queries are asked, (n,) int64, ascending but for padding at the end; all if None.

    Returns:
        (M, H d), or (n, H d). Rows of padding hold any finite numbers.
    """
    return _plain(qk, v, length, head, positions)


def _plain(qk: Tensor, v: Tensor, length: int, head: int, positions: Tensor | None) -> Tensor:
    wide = torch.promote_types(v.dtype, torch.float32)
    q, k = qk.to(wide).view(-1, length, 2, v.shape[1] // head, head).transpose(1, 3).unbind(2)
    powers = torch.exp2(q @ k.transpose(-1, -2))
    y = powers @ v.to(wide).view(-1, length, v.shape[1] // head, head).transpose(1, 2)
    heads = (y / powers.sum(dim=-1, keepdim=True)).to(v.dtype).transpose(1, 2).reshape(v.shape)
    return heads if positions is None else heads.index_select(0, positions)


@attention_of_powers.register_fake
def _(qk: Tensor, v: Tensor, length: int, head: int, positions: Tensor | None = None) -> Tensor:  # noqa: ARG001
    return v.new_empty(v.shape if positions is None else (positions.shape[0], v.shape[1]))


@attention_of_powers.register_kernel("cuda")
def _launch(qk: Tensor, v: Tensor, length: int, head: int, positions: Tensor | None = None) -> Tensor:
    return launch_attention(qk, v, length, head, positions)


def launch_attention(qk: Tensor, v: Tensor, length: int, head: int, positions: Tensor | None) -> Tensor:
    """The kernel for every query, or for those of some positions."""
    from bpb_harness.kernels.on_gpu import attention

    return attention.launch_attention(qk, v, length, head, positions)
