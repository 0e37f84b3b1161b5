"""The cost of a token from its row of logits, in one pass over them: log-softmax and the target's column of it."""

from __future__ import annotations

import torch
from torch import Tensor

try:
    import triton
    import triton.language as tl
except ImportError:
    triton = None

_TILE_NUMBERS, _WARPS = 4096, 4
LARGEST_VOCABULARY = 16_384


def fits(vocab_size: int) -> bool:
    """Whether a tile holds whole rows of logits."""
    return vocab_size <= LARGEST_VOCABULARY


def nll_of_logits(logits: Tensor, targets: Tensor, vocab_size: int, mask_token_id: int) -> Tensor:
    """-log p of each target, over the clean tokens alone, in nats.

    Args:
        logits: (n, W), W >= V, bfloat16 or float32.
        targets: (n,) int64.
        vocab_size: V; later columns have no mass.
        mask_token_id: has none either.

    Returns:
        (n,) float32.
    """
    if logits.device.type == "cuda":
        return _launch(logits, targets, vocab_size, mask_token_id)
    wide = logits[:, :vocab_size].float()
    if 0 <= mask_token_id < vocab_size:
        wide = wide.index_fill(1, torch.tensor([mask_token_id], device=wide.device), -torch.inf)
    return -torch.log_softmax(wide, dim=-1).gather(-1, targets.unsqueeze(-1)).squeeze(-1)


if triton is not None:
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

    def _launch(logits: Tensor, targets: Tensor, vocab_size: int, mask_token_id: int) -> Tensor:
        assert fits(vocab_size)
        assert logits.stride(1) == 1
        out = torch.empty(len(logits), dtype=torch.float32, device=logits.device)
        tile_columns = triton.next_power_of_2(vocab_size)
        tile = max(_TILE_NUMBERS // tile_columns, 1)
        _kernel[(triton.cdiv(len(logits), tile),)](
            logits, targets, out, len(logits), logits.stride(0), V=vocab_size, MASK=mask_token_id, TILE=tile,
            TILE_V=tile_columns, num_warps=_WARPS,
        )  # fmt: skip
        return out
