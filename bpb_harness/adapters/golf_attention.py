"""Attention as the contest's transformers draw it: heads that share keys and values in groups, half-split rotation."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class GroupedHeads(nn.Module):
    """The projections, by the contest's names; what happens between them differs from entry to entry.

    Args:
        width: D, of the residual stream.
        num_heads: of queries.
        kv_width: of all key heads together, and of all value heads.
    """

    def __init__(self, width: int, num_heads: int, kv_width: int) -> None:
        super().__init__()
        self.head_width = width // num_heads
        self.c_q = nn.Linear(width, width, bias=False)
        self.c_k = nn.Linear(width, kv_width, bias=False)
        self.c_v = nn.Linear(width, kv_width, bias=False)
        self.proj = nn.Linear(width, width, bias=False)

    def apart(self, x: Tensor) -> Tensor:
        """Heads side by side, (B, L, H d), to (B, H, L, d)."""
        return x.view(*x.shape[:2], -1, self.head_width).transpose(1, 2)


def attend(q: Tensor, k: Tensor, v: Tensor, *, is_causal: bool) -> Tensor:
    """What each query head finds, (B, H, L, d), given keys and values (B, Hkv, L, d) that groups of heads share."""
    # Repeated by hand: scaled_dot_product_attention(enable_gqa=True) is not fused everywhere.
    groups = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(groups, dim=1), v.repeat_interleave(groups, dim=1)
    return functional.scaled_dot_product_attention(q.to(v.dtype), k.to(v.dtype), v, is_causal=is_causal)


def rotate_halves(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding of the half-split kind, (B, H, L, d) with tables (L, d / 2)."""
    a, b = x.chunk(2, dim=-1)
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)
    return torch.cat((a * cos + b * sin, b * cos - a * sin), dim=-1)
