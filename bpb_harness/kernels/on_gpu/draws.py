"""Masks and the sums behind their control variates; :mod:`bpb_harness.kernels.draws` is their plain form."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from bpb_harness.sampling.bigram import BUCKET_MASK, BUCKET_STEP
from bpb_harness.sampling.control_variate import INDEX_SHIFT, LEAST_UNITS, REST_SHIFT
from bpb_harness.sampling.streams import ROUNDS

_SUMS = 14  # of a draw: |M|, drawn, and four columns of all, the first and the last target
_WORDS_AT_ONCE, _TOKENS_AT_ONCE = 256, 1024

# Kernels have no types: triton reads annotations itself, and knows its own alone.


@triton.jit  # type: ignore[untyped-decorator]
def _philox(block, window, sample, left, right, ROUNDS: tl.constexpr):  # type: ignore[no-untyped-def]
    """Four words of the generator; uint64 all of them."""
    zero = block * 0
    c0, c1, c2, c3 = block, window + zero, sample + zero, zero
    first = zero + 0xD2E7470EE14C6C93
    second = zero + 0xCA5A826395121157
    for _ in tl.static_range(ROUNDS):
        high0, low0 = tl.umulhi(first, c0), first * c0
        high1, low1 = tl.umulhi(second, c2), second * c2
        c0, c1, c2, c3 = high1 ^ c1 ^ left, low1, high0 ^ c3 ^ right, low0
        left = left + 0x9E3779B97F4A7C15
        right = right + 0xBB67AE8584CAA73B
    return c0, c1, c2, c3


@triton.jit  # type: ignore[untyped-decorator]
def _mask_kernel(  # type: ignore[no-untyped-def]
    table, out, N, ROUNDS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    rows = tl.num_programs(0)
    window = tl.load(table + row).to(tl.uint64)
    sample = tl.load(table + rows + row).to(tl.uint64)
    context = tl.load(table + 2 * rows + row)
    threshold = tl.load(table + 3 * rows + row)
    left = tl.load(table + 4 * rows + row).to(tl.uint64)
    right = tl.load(table + 5 * rows + row).to(tl.uint64)
    length = N - context
    one = tl.full((1,), 1, tl.uint64)
    drawn, _, _, _ = _philox(one, window, sample, left, right, ROUNDS)
    target = ((drawn >> 11).to(tl.float64) * 1.1102230246251565e-16 * length.to(tl.float64)).to(tl.int64)
    group = tl.program_id(1).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    w0, w1, w2, w3 = _philox((group + 1).to(tl.uint64), window, sample, left, right, ROUNDS)
    for lane in tl.static_range(4):
        place = group * 4 + (lane - 1)
        word = w0 if lane == 0 else w1 if lane == 1 else w2 if lane == 2 else w3
        masked = ((word >> 11).to(tl.int64) < threshold) | (place == target)
        tl.store(out + row * N + context + place, masked.to(tl.int8), mask=(place >= 0) & (place < length))


@triton.jit  # type: ignore[untyped-decorator]
def _log2(values, table, INDEX: tl.constexpr, REST: tl.constexpr):  # type: ignore[no-untyped-def]
    bits = values.to(tl.int64, bitcast=True)
    index = (bits >> INDEX) & 4095
    low = tl.load(table + index)
    on_line = ((tl.load(table + index + 1) - low) * ((bits >> REST) & 16777215)) >> 24
    return (((bits >> 52) - 1023) << 24) + low + on_line


@triton.jit  # type: ignore[untyped-decorator]
def _sum_kernel(  # type: ignore[no-untyped-def]
    table, x0, masks, unigram, known, pseudo, pairs, log2, sums, N, LEAST: tl.constexpr, STEP: tl.constexpr,
    MASK: tl.constexpr, INDEX: tl.constexpr, REST: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    context = tl.load(table + 2 * tl.num_programs(0) + row)
    column = tl.program_id(1).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    is_target = (column >= context) & (column < N)
    has_left, has_right = is_target & (column > 0), is_target & (column < N - 1)
    at = row * N + column
    token = tl.load(x0 + at, mask=is_target, other=0)
    before = tl.load(x0 + at - 1, mask=has_left, other=0)
    after = tl.load(x0 + at + 1, mask=has_right, other=0)
    masked = tl.load(masks + at, mask=is_target, other=0) != 0
    sees_left = has_left & (tl.load(masks + at - 1, mask=has_left, other=1) == 0)
    sees_right = has_right & (tl.load(masks + at + 1, mask=has_right, other=1) == 0)
    none = tl.load(unigram + token)
    own = tl.load(pseudo + token)
    in_front = tl.load(pairs + ((before * STEP + token) & MASK))
    behind = tl.load(pairs + ((token * STEP + after) & MASK))
    beside_left = tl.load(known + before) - _log2(in_front + own, log2, INDEX, REST)
    beside_right = tl.load(known + after) - _log2(behind + own, log2, INDEX, REST)
    left = tl.where(has_left, beside_left, none)
    right = tl.where(has_right, beside_right, none)
    both = left + right - none
    both = tl.where(both > LEAST, both, LEAST)
    seen = tl.where(sees_left, tl.where(sees_right, both, left), tl.where(sees_right, right, none))
    to = sums + row * 14
    tl.atomic_add(to, tl.sum(tl.where(masked, 1, 0).to(tl.int64), 0))
    tl.atomic_add(to + 1, tl.sum(tl.where(masked, seen, 0), 0))
    for place in tl.static_range(4):
        units = none if place == 0 else left if place == 1 else right if place == 2 else both
        tl.atomic_add(to + 2 + place, tl.sum(tl.where(is_target, units, 0), 0))
        tl.store(to + 6 + place + column * 0, units, mask=is_target & (column == context))
        tl.store(to + 10 + place + column * 0, units, mask=is_target & (column == N - 1))


def launch_masks(table: Tensor, x0: Tensor) -> Tensor:
    """The masks of draws, from their table and their clean tokens."""
    rows, length = x0.shape
    masked = torch.zeros((rows, length), dtype=torch.bool, device=x0.device)
    grid = (rows, triton.cdiv(length + 1, 4 * _WORDS_AT_ONCE))
    _mask_kernel[grid](table, masked.view(torch.int8), length, ROUNDS=ROUNDS, BLOCK=_WORDS_AT_ONCE)
    return masked


def launch_sums(
    table: Tensor,
    x0: Tensor,
    masked: Tensor,
    *,
    unigram: Tensor,
    context: Tensor,
    pseudo_pairs: Tensor,
    pairs: Tensor,
    log2: Tensor,
) -> Tensor:
    """The sums behind the control variates of masks; tables are those of neighbours, and of logarithms."""
    rows, length = x0.shape
    sums = torch.zeros((rows, _SUMS), dtype=torch.int64, device=x0.device)
    _sum_kernel[(rows, triton.cdiv(length, _TOKENS_AT_ONCE))](
        table, x0, masked.view(torch.int8), unigram, context, pseudo_pairs, pairs, log2, sums, length,
        LEAST=LEAST_UNITS, STEP=BUCKET_STEP, MASK=BUCKET_MASK, INDEX=INDEX_SHIFT, REST=REST_SHIFT,
        BLOCK=_TOKENS_AT_ONCE,
    )  # fmt: skip
    return sums
