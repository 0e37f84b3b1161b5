"""The transformer of the parameter-golf contest's baseline, of which entries are variants.

Causal, without norm weights: grouped key-value heads, normalised and then rotated queries and keys, skip connections
from the first half of the blocks to the second, tied embeddings, logits squashed to (-30, 30).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from bpb_harness.adapters.accounting.account import Account
from bpb_harness.adapters.golf_attention import GroupedHeads, attend, rotate_halves
from bpb_harness.errors import CheckpointError
from bpb_harness.networks.layers import count_blocks, rms_norm

# Neither stands in the file: the contest's settings.
ROTARY_BASE = 10_000.0
LOGIT_CAP = 30.0
# What is built in whatever the tensors are, in words.
BUILT_IN = "squared ReLU, norms without weights, rotation behind the norms of queries and keys"
# Tensors by which this transformer is known.
NEEDED = ("tok_emb.weight", "skip_weights", "blocks.0.attn.q_gain", "blocks.0.resid_mix", "blocks.0.mlp.fc.weight")


class _Attention(GroupedHeads):
    def __init__(self, width: int, num_heads: int, kv_width: int) -> None:
        super().__init__(width, num_heads, kv_width)
        self.q_gain = nn.Parameter(torch.empty(num_heads))

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        q, k, v = (self.apart(proj(x)) for proj in (self.c_q, self.c_k, self.c_v))
        q, k = rotate_halves(rms_norm(q), cos, sin), rotate_halves(rms_norm(k), cos, sin)
        q = q * self.q_gain.to(q.dtype)[:, None, None]
        projected: Tensor = self.proj(attend(q, k, v, is_causal=True).transpose(1, 2).flatten(2))
        return projected


class _Mlp(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc = nn.Linear(width, hidden, bias=False)
        self.proj = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        projected: Tensor = self.proj(functional.relu(self.fc(x)).square())
        return projected


class _Block(nn.Module):
    def __init__(self, width: int, num_heads: int, kv_width: int, hidden: int) -> None:
        super().__init__()
        self.attn = _Attention(width, num_heads, kv_width)
        self.mlp = _Mlp(width, hidden)
        self.attn_scale = nn.Parameter(torch.empty(width))
        self.mlp_scale = nn.Parameter(torch.empty(width))
        self.resid_mix = nn.Parameter(torch.empty(2, width))

    def forward(self, x: Tensor, x0: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        mix = self.resid_mix.to(x.dtype)
        x = mix[0] * x + mix[1] * x0
        x = x + self.attn_scale.to(x.dtype) * self.attn(rms_norm(x), cos, sin)
        out: Tensor = x + self.mlp_scale.to(x.dtype) * self.mlp(rms_norm(x))
        return out


class GolfTransformer(nn.Module):
    """What the variants share: sizes, blocks, and all that follows the embedding. They fill it from the account."""

    def __init__(self, account: Account, dtype: torch.dtype) -> None:
        super().__init__()
        checkpoint = account.checkpoint
        self.vocab_size, self._width = account.shape("tok_emb.weight", 2)
        width = self._width
        (num_heads,) = account.shape("blocks.0.attn.q_gain", 1)
        kv_width, _ = account.shape("blocks.0.attn.c_k.weight", 2)
        hidden, _ = account.shape("blocks.0.mlp.fc.weight", 2)
        num_blocks = count_blocks(checkpoint.tensors, "blocks")
        num_skips, _ = account.shape("skip_weights", 2, may_be_empty=True)
        head_width = width // max(num_heads, 1)
        sizes_fit = (
            num_heads * head_width == width
            and head_width % 2 == 0
            and kv_width % head_width == 0
            and num_heads % max(kv_width // head_width, 1) == 0
            and num_skips == num_blocks // 2
        )
        if not sizes_fit:
            raise CheckpointError(
                f"{checkpoint.path.name}: sizes",
                seen=f"width {width}, {num_heads} heads, key width {kv_width}, {num_blocks} blocks, {num_skips} skips",
                expected="heads that divide the width, key heads that divide the heads, skips for half the blocks",
            )
        self._dtype, self._head_width = dtype, head_width
        self.tok_emb = nn.Embedding(self.vocab_size, width)
        self.skip_weights = nn.Parameter(torch.empty(num_skips, width))
        self.blocks = nn.ModuleList(_Block(width, num_heads, kv_width, hidden) for _ in range(num_blocks))
        self.lm_head = nn.Linear(width, self.vocab_size, bias=False) if _UNTIED in checkpoint.tensors else None
        self.facts: dict[str, object] = {
            "vocab_size": self.vocab_size,
            "num_blocks": num_blocks,
            "width": width,
            "num_heads": num_heads,
            "num_kv_heads": kv_width // head_width,
            "mlp_ratio": hidden / width,
            "mlp_width": hidden,
            "tied": self.lm_head is None,
            "rotary_base": ROTARY_BASE,
            "logit_cap": LOGIT_CAP,
            "causal": True,
            "bias": False,
        }

    def _tables(self, length: int, device: torch.device) -> tuple[Tensor, Tensor]:
        exponent = torch.arange(0, self._head_width, 2, dtype=torch.float32, device=device) / self._head_width
        angle = torch.outer(torch.arange(length, dtype=torch.float32, device=device), ROTARY_BASE**-exponent)
        return angle.cos(), angle.sin()

    def _embedding(self, table: nn.Embedding) -> Tensor:
        # The contest keeps the embedding, and with it the residual stream and the logits, in bfloat16.
        return table.weight.to(self._dtype)

    def _from_embedded(self, embedded: Tensor) -> Tensor:
        """Logits (B, L, V) of embedded tokens (B, L, D), not yet normalised."""
        cos, sin = self._tables(embedded.shape[1], embedded.device)
        h = rms_norm(embedded).to(self._dtype)
        h0, num_encoders = h, len(self.blocks) // 2
        stack: list[Tensor] = []
        for index, block in enumerate(self.blocks):
            skip = index - num_encoders
            if skip >= 0 and stack:
                h = h + self.skip_weights[skip].to(h.dtype) * stack.pop()
            h = block(h, h0, cos, sin)
            if skip < 0:
                stack.append(h)
        unembedding = self._embedding(self.tok_emb) if self.lm_head is None else self.lm_head.weight
        return LOGIT_CAP * torch.tanh(functional.linear(rms_norm(h), unembedding) / LOGIT_CAP)


_UNTIED = "lm_head.weight"


def context_length(account: Account, otherwise: int) -> int:
    """The stated length of training windows, else another."""
    stated = account.stated("context_length")
    if stated is None:
        return otherwise
    if not isinstance(stated, int) or isinstance(stated, bool) or not 0 < stated < 1 << 24:
        raise CheckpointError(
            f"{account.checkpoint.path.name}: context length", seen=repr(stated), expected="a positive integer"
        )
    return stated
