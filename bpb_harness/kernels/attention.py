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

try:
    import triton
    import triton.language as tl
    from triton.tools.tensor_descriptor import TensorDescriptor
except ImportError:  # no triton, or one before 3.4
    triton = None

HEAD = 64  # of the attention kernel; of wider heads torch's are as fast
_TILE_Q, _TILE_K, _WARPS, _STAGES = 128, 64, 8, 3


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


if triton is not None:
    # Kernels have no types: triton reads annotations itself, and knows its own alone.

    @triton.jit  # type: ignore[untyped-decorator]
    def _attention_kernel(  # type: ignore[no-untyped-def]
        q_desc, k_desc, v_desc, out_desc, LENGTH, HEADS: tl.constexpr, HEAD: tl.constexpr,
        TILE_Q: tl.constexpr, TILE_K: tl.constexpr,
    ):  # fmt: skip
        tiles = LENGTH // TILE_Q
        window_and_head = tl.program_id(0) // tiles  # neighbouring programs share their keys and values
        first = (window_and_head // HEADS) * LENGTH
        row = first + (tl.program_id(0) % tiles) * TILE_Q
        column = (window_and_head % HEADS) * HEAD
        width: tl.constexpr = HEADS * HEAD
        q = q_desc.load([row, column])
        total = tl.zeros((TILE_Q, HEAD), dtype=tl.float32)
        mass = tl.zeros((TILE_Q,), dtype=tl.float32)
        for place in range(0, LENGTH, TILE_K):
            k = k_desc.load([first + place, width + column])
            v = v_desc.load([first + place, column])
            powers = tl.exp2(tl.dot(q, k.T))
            mass += tl.sum(powers, axis=1)
            total = tl.dot(powers.to(q.dtype), v, total)
        out_desc.store([row, column], (total * (1.0 / mass)[:, None]).to(q.dtype))

    @triton.jit  # type: ignore[untyped-decorator]
    def _picked_attention_kernel(  # type: ignore[no-untyped-def]
        qk_ptr, positions_ptr, k_desc, v_desc, out_desc, num_positions,
        LENGTH: tl.constexpr, HEADS: tl.constexpr, HEAD: tl.constexpr, TILE_Q: tl.constexpr, TILE_K: tl.constexpr,
    ):  # fmt: skip
        # A tile's queries are of one window, or of several that follow each other: it passes all their keys, and
        # a query gives those of other windows no weight.
        tiles = tl.cdiv(num_positions, TILE_Q)
        row = (tl.program_id(0) % tiles) * TILE_Q
        column = (tl.program_id(0) // tiles) * HEAD
        width: tl.constexpr = HEADS * HEAD
        rows = row + tl.arange(0, TILE_Q)
        positions = tl.load(positions_ptr + rows, mask=rows < num_positions, other=0)
        places = positions[:, None] * (2 * width) + column + tl.arange(0, HEAD)[None, :]
        q = tl.load(qk_ptr + places)
        windows = (positions // LENGTH).to(tl.int32)
        # Padding repeats a position, mostly of the first window: it comes last, so the first row's window is real.
        first = (tl.load(positions_ptr + row) // LENGTH).to(tl.int32)
        last = tl.max(windows, axis=0)
        total = tl.zeros((TILE_Q, HEAD), dtype=tl.float32)
        mass = tl.zeros((TILE_Q,), dtype=tl.float32)
        for place in range(first * LENGTH, (last + 1) * LENGTH, TILE_K):
            k = k_desc.load([place, width + column])
            v = v_desc.load([place, column])
            powers = tl.where((windows == place // LENGTH)[:, None], tl.exp2(tl.dot(q, k.T)), 0.0)
            mass += tl.sum(powers, axis=1)
            total = tl.dot(powers.to(q.dtype), v, total)
        mass = tl.where(mass > 0.0, mass, 1.0)  # of padding beside queries of later windows
        out_desc.store([row, column], (total * (1.0 / mass)[:, None]).to(q.dtype))

    @attention_of_powers.register_kernel("cuda")
    def _launch(qk: Tensor, v: Tensor, length: int, head: int, positions: Tensor | None = None) -> Tensor:
        return launch_attention(qk, v, length, head, positions)

    def launch_attention(qk: Tensor, v: Tensor, length: int, head: int, positions: Tensor | None) -> Tensor:
        """The kernel for every query, or for those of some positions."""
        assert length % _TILE_Q == 0
        assert length % _TILE_K == 0
        qk, v = qk.contiguous(), v.contiguous()
        num_queries, width = len(v) if positions is None else len(positions), v.shape[1]
        out = torch.empty(num_queries, width, dtype=v.dtype, device=v.device)
        k_desc, v_desc = (TensorDescriptor.from_tensor(each, [_TILE_K, head]) for each in (qk, v))
        out_desc = TensorDescriptor.from_tensor(out, [_TILE_Q, head])
        sizes = {"HEADS": width // head, "HEAD": head, "TILE_Q": _TILE_Q, "TILE_K": _TILE_K}
        grid = (math.ceil(num_queries / _TILE_Q) * (width // head),)
        if positions is None:
            q_desc = TensorDescriptor.from_tensor(qk, [_TILE_Q, head])
            _attention_kernel[grid](
                q_desc, k_desc, v_desc, out_desc, length, **sizes, num_warps=_WARPS, num_stages=_STAGES
            )
        else:
            _picked_attention_kernel[grid](
                qk, positions.contiguous(), k_desc, v_desc, out_desc, num_queries,
                LENGTH=length, **sizes, num_warps=_WARPS, num_stages=_STAGES,
            )  # fmt: skip
        return out
