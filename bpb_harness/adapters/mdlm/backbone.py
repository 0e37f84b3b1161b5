"""The diffusion transformer of the MDLM code and its successors, whatever attends to what.

Layer norms modulated by the noise (adaLN, Peebles and Xie 2023, arXiv 2212.09748), rotary positions, gated residuals.
Sizes are read from the tensors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from bpb_harness.adapters.accounting.account import Account
from bpb_harness.checkpoints import Checkpoint
from bpb_harness.errors import CheckpointError
from bpb_harness.networks.layers import autocast, count_blocks

PREFIX = "backbone."
ROTARY = PREFIX + "rotary_emb.inv_freq"
_NEEDED = ("vocab_embed.embedding", "rotary_emb.inv_freq", "blocks.0.attn_qkv.weight", "output_layer.linear.weight")


def has_backbone(checkpoint: Checkpoint, model_type: str) -> bool:
    """Whether a checkpoint holds this network: one of Lightning's, or a folder whose settings call it so."""
    is_folder = checkpoint.layout == "folder" and checkpoint.config.get("model_type") == model_type
    return (checkpoint.layout == "lightning" or is_folder) and all(
        PREFIX + name in checkpoint.tensors for name in _NEEDED
    )


class _LayerNorm(nn.Module):
    """Layer norm with a scale and no shift, computed in float32."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width))

    def forward(self, x: Tensor) -> Tensor:
        return functional.layer_norm(x.float(), self.weight.shape, self.weight)


@final
@dataclass(frozen=True)
class Attention:
    """Where tokens stand, and what each attends to.

    Attributes:
        cos: of the angles of each token's position, (L, d / 2), d the width of a head.
        sin: the same.
        mask: query by key, (L, L) bool; None where nothing is hidden, or later positions alone.
        is_causal: whether later positions are hidden.
    """

    cos: Tensor
    sin: Tensor
    mask: Tensor | None = None
    is_causal: bool = False


class _Block(nn.Module):
    def __init__(self, width: int, num_heads: int, hidden: int, conditioning: int | None) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm1 = _LayerNorm(width)
        self.attn_qkv = nn.Linear(width, 3 * width, bias=False)
        self.attn_out = nn.Linear(width, width, bias=False)
        self.norm2 = _LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(approximate="tanh"), nn.Linear(hidden, width))
        self.adaLN_modulation = None if conditioning is None else nn.Linear(conditioning, 6 * width)

    def forward(self, x: Tensor, c: Tensor | None, attention: Attention) -> Tensor:
        if self.adaLN_modulation is None or c is None:
            x = x + self._attention(self.norm1(x), attention)
            plain: Tensor = x + self.mlp(self.norm2(x))
            return plain
        shift1, scale1, gate1, shift2, scale2, gate2 = self.adaLN_modulation(c).unsqueeze(1).chunk(6, dim=-1)
        x = x + gate1 * self._attention(self.norm1(x) * (1 + scale1) + shift1, attention)
        gated: Tensor = x + gate2 * self.mlp(self.norm2(x) * (1 + scale2) + shift2)
        return gated

    def _attention(self, x: Tensor, attention: Attention) -> Tensor:
        B, L, _ = x.shape
        q, k, v = self.attn_qkv(x).view(B, L, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        q, k = (_rotate(part, attention.cos, attention.sin) for part in (q, k))
        y = functional.scaled_dot_product_attention(q, k, v, attn_mask=attention.mask, is_causal=attention.is_causal)
        out: Tensor = self.attn_out(y.transpose(1, 2).reshape(B, L, -1))
        return out


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding of the half-split kind, (B, H, L, d) with tables (L, d / 2)."""
    a, b = x.chunk(2, dim=-1)
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


class _Embedding(nn.Module):
    def __init__(self, rows: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.empty(rows, width))


class SigmaMap(nn.Module):
    """Embedding of sigma: cosines, then sines, at geometric frequencies from 1 to 1 / 10000; two linear layers."""

    def __init__(self, num_features: int, conditioning: int) -> None:
        super().__init__()
        self.num_features = num_features
        self.mlp = nn.Sequential(
            nn.Linear(num_features, conditioning), nn.SiLU(), nn.Linear(conditioning, conditioning)
        )

    def forward(self, sigma: Tensor) -> Tensor:
        half = self.num_features // 2
        steps = torch.arange(half, dtype=torch.float32, device=sigma.device)
        angle = sigma.unsqueeze(-1) * torch.exp(-math.log(10_000.0) / half * steps)
        embedded: Tensor = self.mlp(torch.cat((angle.cos(), angle.sin()), dim=-1))
        return embedded


class _OutputLayer(nn.Module):
    def __init__(self, width: int, rows: int, conditioning: int | None) -> None:
        super().__init__()
        self.norm_final = _LayerNorm(width)
        self.linear = nn.Linear(width, rows)
        self.adaLN_modulation = None if conditioning is None else nn.Linear(conditioning, 2 * width)


class Backbone(nn.Module):
    """What denoisers and causal models share; submodules in the order that moving averages follow."""

    def __init__(self, account: Account, dtype: torch.dtype) -> None:
        super().__init__()
        checkpoint = account.checkpoint
        rows, width = account.shape(PREFIX + "vocab_embed.embedding", 2)
        (half_head,) = account.shape(ROTARY, 1)
        hidden, _ = account.shape(PREFIX + "blocks.0.mlp.0.weight", 2)
        if half_head < 1 or width % (2 * half_head):
            raise CheckpointError(
                f"{checkpoint.path.name}: sizes",
                seen=f"width {width}, head width {2 * half_head}",
                expected="a multiple",
            )
        conditioning: int | None = None
        self.vocab_embed = _Embedding(rows, width)
        if PREFIX + "sigma_map.mlp.0.weight" in checkpoint.tensors:
            conditioning, num_features = account.shape(PREFIX + "sigma_map.mlp.0.weight", 2)
            self.sigma_map = SigmaMap(num_features, conditioning)
        num_blocks = count_blocks(checkpoint.tensors, PREFIX + "blocks")
        num_heads = width // (2 * half_head)
        self.blocks = nn.ModuleList(_Block(width, num_heads, hidden, conditioning) for _ in range(num_blocks))
        self.output_layer = _OutputLayer(width, rows, conditioning)
        self._dtype, self._half_head, self.is_modulated = dtype, half_head, conditioning is not None
        self.sizes = {"hidden_size": width, "n_blocks": num_blocks, "n_heads": num_heads, "vocab_size": rows}
        if conditioning is not None:
            self.sizes["cond_dim"] = conditioning
        account.take_equal(ROTARY, self._frequencies(torch.device("cpu")))

    def _frequencies(self, device: torch.device) -> Tensor:
        steps = torch.arange(self._half_head, dtype=torch.float32, device=device)
        return 10_000.0 ** (-steps / self._half_head)

    def angles(self, length: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Cosines and sines of positions 0 .. length - 1, each (length, d / 2)."""
        positions = torch.arange(length, dtype=torch.float32, device=device)
        angle = torch.outer(positions, self._frequencies(device))
        return angle.cos(), angle.sin()

    def trunk(self, x: Tensor, c: Tensor | None, attention: Attention, *, num_read: int | None = None) -> Tensor:
        """Last hidden states, normalised and modulated.

        Args:
            x: tokens, (B, L) int64.
            c: what the norms are modulated by, (B, D) or (1, D); None without.
            attention: between these tokens.
            num_read: so many of each row, the first, are returned; None: all.

        Returns:
            (B, num_read, width).
        """
        with autocast(x.device, self._dtype):
            h = self.vocab_embed.embedding[x]
            for block in self.blocks:
                h = block(h, c, attention)
            h = self.output_layer.norm_final(h[:, :num_read])
            if self.output_layer.adaLN_modulation is not None and c is not None:
                shift, scale = self.output_layer.adaLN_modulation(c).unsqueeze(1).chunk(2, dim=-1)
                h = h * (1 + scale) + shift
            trunk: Tensor = h
            return trunk

    def head(self, hidden: Tensor) -> Tensor:
        """Logits (n, W) of hidden states (n, D)."""
        with autocast(hidden.device, self._dtype):
            logits: Tensor = self.output_layer.linear(hidden)
            return logits
