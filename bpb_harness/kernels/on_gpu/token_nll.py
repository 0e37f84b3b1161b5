"""The cost of a token from its row of logits; :mod:`bpb_harness.kernels.token_nll` is its plain form."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

_TILE_NUMBERS, _WARPS = 4096, 4

# Kernels have no types: triton reads annotations itself, and knows its own alone.


@triton.jit  # type: ignore[untyped-decorator]
def _kernel(  # type: ignore[no-untyped-def]
    logits_ptr, targets_ptr, out_ptr, num_rows, apart, V: tl.constexpr, MASK: tl.constexpr, TILE: tl.constexpr,
    TILE_V: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * TILE + tl.arange(0, TILE)
    column = tl.arange(0, TILE_V)
    is_row = row < num_rows
    has_mass = (column < V) & (column != MASK)
    logits = tl.load(
        logits_ptr + row[:, None] * apart + column[None, :], mask=is_row[:, None] & has_mass[None, :],
        other=-float("inf"),
    ).to(tl.float32)  # fmt: skip
    # Of rows beyond the end all is -inf, and what comes out NaN, which is not stored.
    largest = tl.max(logits, axis=1)
    total = tl.sum(tl.exp(logits - largest[:, None]), axis=1)
    target = tl.load(targets_ptr + row, mask=is_row, other=0)
    its_own = tl.load(logits_ptr + row * apart + target, mask=is_row, other=0.0).to(tl.float32)
    its_own = tl.where(target == MASK, -float("inf"), its_own)
    tl.store(out_ptr + row, tl.log(total) - (its_own - largest), mask=is_row)


def launch_nll(logits: Tensor, targets: Tensor, vocab_size: int, mask_token_id: int) -> Tensor:
    """-log p of each target, (n,) float32, of vocabularies that fit."""
    assert logits.stride(1) == 1
    out = torch.empty(len(logits), dtype=torch.float32, device=logits.device)
    tile_columns = triton.next_power_of_2(vocab_size)
    tile = max(_TILE_NUMBERS // tile_columns, 1)
    _kernel[(triton.cdiv(len(logits), tile),)](
        logits, targets, out, len(logits), logits.stride(0), V=vocab_size, MASK=mask_token_id, TILE=tile,
        TILE_V=tile_columns, num_warps=_WARPS,
    )  # fmt: skip
    return out
