"""The forward pass of the contest's records: the baseline's transformer with what they added to it.

Hashed bigrams join the embedding, each position takes a share of the one before it ("smear"), the last blocks leave
out of their attention what lies along the token's own value (exclusive self attention), some blocks add a table of
tokens to their values, heads and blocks may be gated, and values of the first block may be mixed into later ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from bpb_harness.adapters.accounting.account import Account
from bpb_harness.adapters.golf_attention import GroupedHeads, attend, rotate_halves
from bpb_harness.adapters.golf_record.banks import taken_apart
from bpb_harness.adapters.golf_record.settings import RecordSettings
from bpb_harness.errors import CheckpointError
from bpb_harness.networks.layers import autocast, count_blocks, rms_norm

# Rotary angles are those of the base up to so many positions; a longer training window stretches them.
_UNSTRETCHED = 1024
_HASH = (36313, 27191)
_LEAK = 0.5


class _TokenTable(nn.Module):
    """A narrow table of tokens, or of hashed pairs, brought to a width and scaled."""

    def __init__(self, rows: int, width: int, to: int, *, is_projected: bool) -> None:
        super().__init__()
        self.embed = nn.Embedding(rows, width)
        self.proj = nn.Linear(width, to, bias=False) if is_projected else None
        self.scale = nn.Parameter(torch.empty(()))

    def forward(self, ids: Tensor, dtype: torch.dtype) -> Tensor:
        """(B, L) to (B, L, W)."""
        h = functional.embedding(ids, self.embed.weight.to(dtype))
        return (h if self.proj is None else self.proj(h)) * self.scale.to(dtype)


class _Attention(GroupedHeads):
    def __init__(self, width: int, num_heads: int, kv_width: int, *, is_gated: bool, mixes_values: bool) -> None:
        super().__init__(width, num_heads, kv_width)
        self.q_gain = nn.Parameter(torch.empty(num_heads))
        self.attn_gate = nn.Linear(width, num_heads) if is_gated else None
        self.vr_lambda = nn.Parameter(torch.empty(2)) if mixes_values else None
        self.is_exclusive = False

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, added: Tensor | None, first: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """What attention says, (B, L, D), and its values before any are mixed in.

        Args:
            x: (B, L, D).
            cos: rotary table (L, r / 2) of the first r dimensions of a head.
            sin: the other.
            added: joins the values, (B, L, Dkv).
            first: values of the first block, (B, Hkv, L, d).
        """
        # 1. Heads; q and k normalised, then rotated in their first dimensions.
        value = self.c_v(x) if added is None else self.c_v(x) + added
        q, k, v = (self.apart(part) for part in (self.c_q(x), self.c_k(x), value))
        q, k = _rotate_first(rms_norm(q), cos, sin), _rotate_first(rms_norm(k), cos, sin)
        q = q * self.q_gain.to(q.dtype)[:, None, None]
        # 2. Values of the first block, where they are mixed in.
        own = v
        if self.vr_lambda is not None and first is not None:
            share = self.vr_lambda.to(v.dtype)
            v = share[0] * first + share[1] * v
        # 3. Causal attention with grouped key-value heads.
        y = attend(q, k, v, is_causal=True)
        # 4. Without the part along the own value; gated head by head.
        if self.is_exclusive:
            along = functional.normalize(v, dim=-1).repeat_interleave(q.shape[1] // v.shape[1], dim=1)
            y = y - (y * along).sum(dim=-1, keepdim=True) * along
        if self.attn_gate is not None:
            y = y * torch.sigmoid(self.attn_gate(x)).transpose(1, 2)[..., None]
        projected: Tensor = self.proj(y.transpose(1, 2).flatten(2))
        return projected, own


def _rotate_first(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding of the first 2 r of a head's dimensions, tables (L, r)."""
    rotated = 2 * cos.shape[-1]
    return torch.cat((rotate_halves(x[..., :rotated], cos, sin), x[..., rotated:]), dim=-1)


class _Mlp(nn.Module):
    def __init__(self, width: int, hidden: int, activation: str) -> None:
        super().__init__()
        self.fc = nn.Linear(width, hidden, bias=False)
        self.proj = nn.Linear(hidden, width, bias=False)
        self.leak = _LEAK if activation == "leaky_relu" else 0.0

    def forward(self, x: Tensor) -> Tensor:
        projected: Tensor = self.proj(functional.leaky_relu(self.fc(x), self.leak).square())
        return projected


class _Block(nn.Module):
    def __init__(self, attention: _Attention, mlp: _Mlp, width: int, scale: float, *, is_gated: bool) -> None:
        super().__init__()
        self.attn, self.mlp, self.scale = attention, mlp, scale
        self.attn_scale = nn.Parameter(torch.empty(width))
        self.mlp_scale = nn.Parameter(torch.empty(width))
        self.resid_mix = nn.Parameter(torch.empty(2, width))
        self.dtg_gate = nn.Linear(width, 1) if is_gated else None

    def forward(
        self, x: Tensor, x0: Tensor, cos: Tensor, sin: Tensor, added: Tensor | None, first: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        mix = self.resid_mix.to(x.dtype)
        into = mix[0] * x + mix[1] * x0
        said, values = self.attn(rms_norm(into) * self.scale, cos, sin, added, first)
        out = into + self.attn_scale.to(x.dtype) * said
        out = out + self.mlp_scale.to(x.dtype) * self.mlp(rms_norm(out) * self.scale)
        if self.dtg_gate is not None:
            out = into + torch.sigmoid(self.dtg_gate(into)) * (out - into)
        return out, values


@final
@dataclass(frozen=True)
class _Sizes:
    """Sizes of the network: those of the tensors.

    Attributes:
        vocab_size, width, num_heads, num_blocks: of the network.
        kv_width: of the keys of all heads.
        hidden: width of the feed-forward layers.
        num_skips: from the first half of the blocks to the second.
        num_value_layers: that look tokens up for their values.
    """

    vocab_size: int
    width: int
    num_heads: int
    num_blocks: int
    kv_width: int
    hidden: int
    num_skips: int
    num_value_layers: int

    @classmethod
    def of(cls, account: Account, num_blocks: int, matrices: Mapping[str, Tensor]) -> Self:
        """Read them off; matrices that stand in banks are those taken apart."""
        vocab_size, width = account.shape("tok_emb.weight", 2)
        (num_heads,) = account.shape("blocks.0.attn.q_gain", 1)
        num_skips, _ = account.shape("skip_weights", 2, may_be_empty=True)
        kv_width, hidden = (
            len(matrices[f"{part}.weight"]) if matrices else account.shape(f"{part}.weight", 2)[0]
            for part in ("blocks.0.attn.c_k", "blocks.0.mlp.fc")
        )
        num_value_layers = sum(key.startswith("ve_layer_scales.") for key in account.checkpoint.tensors)
        return cls(vocab_size, width, num_heads, num_blocks, kv_width, hidden, num_skips, num_value_layers)

    @property
    def head_width(self) -> int:
        """Of one head."""
        return self.width // max(self.num_heads, 1)

    def require_fitting(self, rotated: int, rope_dims: int, name: str) -> None:
        """Refuse sizes that are of no such network.

        Raises:
            CheckpointError: with all of them.
        """
        fits = (
            self.num_heads * self.head_width == self.width
            and self.kv_width % self.head_width == 0
            and self.num_heads % max(self.kv_width // self.head_width, 1) == 0
            and self.num_skips == self.num_blocks // 2
            and rotated % 2 == 0
            and rotated <= self.head_width
        )
        if not fits:
            raise CheckpointError(
                f"{name}: sizes",
                seen=f"width {self.width}, {self.num_heads} heads, key width {self.kv_width}, {self.num_blocks} "
                f"blocks, {self.num_skips} skips, rope_dims {rope_dims}",
                expected="heads that divide the width, key heads that divide the heads, skips for half the blocks, an "
                f"even number of rotated dimensions, at most the head's {self.head_width}",
            )


@final
class RecordGpt(nn.Module):
    """The network as a :class:`bpb_harness.denoiser.CausalLM`."""

    def __init__(self, account: Account, dtype: torch.dtype) -> None:
        super().__init__()
        tensors, name = account.checkpoint.tensors, account.checkpoint.path.name
        # 1. Sizes, from the tensors.
        num_blocks = count_blocks(tensors, "blocks")
        matrices = taken_apart(account, num_blocks)
        sizes = _Sizes.of(account, num_blocks, matrices)
        self.settings = RecordSettings.of(
            account.checkpoint.stated, name=name, num_blocks=num_blocks, num_value_layers=sizes.num_value_layers
        )
        rotated = self.settings.rope_dims or sizes.head_width
        sizes.require_fitting(rotated, self.settings.rope_dims, name)
        # 2. Parts, as far as the file has them.
        self._dtype, self._rotated, width = dtype, rotated, sizes.width
        self.vocab_size, self.context_length = sizes.vocab_size, self.settings.train_seq_len
        self.tok_emb = nn.Embedding(self.vocab_size, width)
        self.skip_weights = nn.Parameter(torch.empty(sizes.num_skips, width))
        self.bigram = _table(account, "bigram", width)
        self.ve_shared = _table(account, "ve_shared", sizes.kv_width)
        self.ve_layer_scales = nn.ParameterList([nn.Parameter(torch.empty(1)) for _ in range(sizes.num_value_layers)])
        self.smear = _Smear(width) if "smear.gate" in tensors else None
        self.lm_head = nn.Linear(width, self.vocab_size, bias=False) if "lm_head.weight" in tensors else None
        self.blocks = nn.ModuleList(
            _Block(
                _Attention(
                    width, sizes.num_heads, sizes.kv_width,
                    is_gated=f"blocks.{index}.attn.attn_gate.weight" in tensors,
                    mixes_values=f"blocks.{index}.attn.vr_lambda" in tensors,
                ),
                _Mlp(width, sizes.hidden, self.settings.activation),
                width,
                1.0 / math.sqrt(index + 1) if self.settings.ln_scale else 1.0,
                is_gated=f"blocks.{index}.dtg_gate.weight" in tensors,
            )
            for index in range(num_blocks)
        )  # fmt: skip
        for block in list(self.blocks)[num_blocks - self.settings.xsa_last_n :]:
            block.attn.is_exclusive = True  # type: ignore[union-attr]
        if (sizes.num_value_layers > 0) != (self.ve_shared is not None):
            raise CheckpointError(
                f"{name}: value embeddings", seen=f"{sizes.num_value_layers} of ve_layer_scales",
                expected="some, with ve_shared", hint="the file is cut",
            )  # fmt: skip
        # 3. Their weights; what only training used decides nothing.
        account.fill(self, made=matrices)
        account.set_aside(r"mtp_heads\..*")
        account.compare(self._facts(sizes))

    def _facts(self, sizes: _Sizes) -> dict[str, object]:
        """What a file may say of itself too."""
        return {
            "vocab_size": sizes.vocab_size, "num_blocks": sizes.num_blocks, "width": sizes.width,
            "num_heads": sizes.num_heads, "num_kv_heads": sizes.kv_width // sizes.head_width,
            "mlp_ratio": sizes.hidden / sizes.width, "mlp_width": sizes.hidden, "tied": self.lm_head is None,
            "rotary_base": self.settings.rope_base, "logit_cap": self.settings.logit_softcap,
            "context_length": self.context_length, "causal": True, "bias": False,
        }  # fmt: skip

    def _tables(self, length: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Cosines and sines, (L, r / 2); the angles are those of the training window, however short a row is."""
        width, base = self._rotated, self.settings.rope_base
        exponent = torch.arange(0, width, 2, dtype=torch.float32, device=device) / width
        is_stretched = self.context_length > _UNSTRETCHED and width > 2
        if is_stretched:
            base *= (self.context_length / _UNSTRETCHED) ** (width / (width - 2))
        frequency = 1.0 / base**exponent
        if not is_stretched:
            # Stretched ones are computed where they are used; these lie in a buffer, which the contest's scripts turn
            # into bfloat16 with the rest of the network, before training.
            frequency = frequency.bfloat16().float()
        angle = torch.outer(torch.arange(length, dtype=torch.float32, device=device), frequency)
        return angle.cos(), angle.sin()

    def logits(self, x: Tensor) -> Tensor:
        """(B, L, V)."""
        with autocast(x.device, self._dtype):
            return self._logits(x)

    def _logits(self, ids: Tensor) -> Tensor:
        cos, sin = self._tables(ids.shape[1], ids.device)
        # The contest keeps embeddings, and with them the residual stream and the logits, in bfloat16.
        table = self.tok_emb.weight.to(self._dtype)
        h = functional.embedding(ids, table)
        if self.bigram is not None:
            h = h + self.bigram(_hashed_pairs(ids, self.bigram.embed.num_embeddings), h.dtype)
        h = rms_norm(h).to(self._dtype)
        h = h if self.smear is None else self.smear(h)
        shared = None if self.ve_shared is None else self.ve_shared(ids, h.dtype)
        h0, first, num_encoders, stack = h, None, len(self.blocks) // 2, list[Tensor]()
        for index, block in enumerate(self.blocks):
            skip = index - num_encoders
            if skip >= 0 and stack:
                h = h + self.skip_weights[skip].to(h.dtype) * stack.pop()
            h, values = block(h, h0, cos, sin, self._added(shared, index), first)
            first = values if first is None else first
            if skip < 0:
                stack.append(h)
        z = functional.linear(rms_norm(h), table if self.lm_head is None else self.lm_head.weight)
        cap = self.settings.logit_softcap
        return cap * torch.tanh(z / cap)

    def _added(self, shared: Tensor | None, index: int) -> Tensor | None:
        """What joins the values of a block."""
        if shared is None or index not in self.settings.ve_layers:
            return None
        scale = self.ve_layer_scales[self.settings.ve_layers.index(index)]
        added: Tensor = shared * scale.to(shared.dtype)
        return added


class _Smear(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.gate = nn.Parameter(torch.empty(width))

    def forward(self, x: Tensor) -> Tensor:
        """Each position takes a share of the one before it; before the first there is nothing."""
        share = torch.sigmoid(self.gate.to(x.dtype))
        before = functional.pad(x[:, :-1], (0, 0, 1, 0))
        return (1 - share) * x + share * before


def _table(account: Account, name: str, to: int) -> _TokenTable | None:
    """A table of tokens, where the file has it; without a projection where its rows have the width already."""
    tensors = account.checkpoint.tensors
    if f"{name}.embed.weight" not in tensors:
        return None
    rows, width = account.shape(f"{name}.embed.weight", 2)
    if rows < 2:
        raise CheckpointError(
            f"{account.checkpoint.path.name}: {name}.embed.weight", seen="1 row", expected="2 or more"
        )
    return _TokenTable(rows, width, to, is_projected=f"{name}.proj.weight" in tensors)


def _hashed_pairs(ids: Tensor, num_rows: int) -> Tensor:
    """Row of each token and the one before it, (B, L); the first has the last row.

    In 32-bit arithmetic, which wraps for vocabularies beyond 59,000.
    """
    tokens, modulus = ids.to(torch.int32), num_rows - 1
    mixed = torch.bitwise_xor(_HASH[0] * tokens[:, 1:], _HASH[1] * tokens[:, :-1]) % modulus
    return functional.pad(mixed, (1, 0), value=modulus).to(torch.int64)
