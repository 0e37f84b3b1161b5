"""The cost of a token from its row of logits, in one pass over them: log-softmax and the target's column of it."""

from __future__ import annotations

import torch
from torch import Tensor

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


def _launch(logits: Tensor, targets: Tensor, vocab_size: int, mask_token_id: int) -> Tensor:
    from bpb_harness.kernels.on_gpu.token_nll import launch_nll

    assert fits(vocab_size)
    return launch_nll(logits, targets, vocab_size, mask_token_id)
