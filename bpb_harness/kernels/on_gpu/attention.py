"""Attention of normalised queries and keys; :mod:`bpb_harness.kernels.attention` is its plain form."""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor

_TILE_Q, _TILE_K, _WARPS, _STAGES = 128, 64, 8, 3

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
        _attention_kernel[grid](q_desc, k_desc, v_desc, out_desc, length, **sizes, num_warps=_WARPS, num_stages=_STAGES)
    else:
        _picked_attention_kernel[grid](
            qk, positions.contiguous(), k_desc, v_desc, out_desc, num_queries,
            LENGTH=length, **sizes, num_warps=_WARPS, num_stages=_STAGES,
        )  # fmt: skip
    return out
