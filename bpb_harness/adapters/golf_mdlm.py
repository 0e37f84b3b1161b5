"""``golf-mdlm``: a masked-diffusion transformer of the parameter-golf contest, from its bare state dict.

A bidirectional transformer whose norms are modulated by the noise: shift and scale from sigma. Rotary embeddings come
before the norms of queries and keys, from tables that the file carries. Sizes are read from the tensors.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from bpb_harness.adapters.accounting.account import Account, AccountedAdapter
from bpb_harness.adapters.adapter import AdaptedModel
from bpb_harness.adapters.golf_stated import taken_for_granted
from bpb_harness.checkpoints import Checkpoint
from bpb_harness.errors import CheckpointError
from bpb_harness.kernels.attention import at_positions, attend, normalised_attention, rotate
from bpb_harness.kernels.specialising import is_specialised
from bpb_harness.kernels.squared_relu import squared_relu_linear
from bpb_harness.networks.layers import autocast, count_blocks, ready, rms_norm
from bpb_harness.schedule import LogLinear, NoiseLevel

# The contest pads the vocabulary with its mask to a multiple of this; its tokenizers' sizes are multiples themselves.
_PADDING = 64
# Stands in no file: the contest entry's.
SCHEDULE = LogLinear(1e-3)


class _Modulation(nn.Module):
    """Shift and scale of a norm, from the conditioning vector."""

    def __init__(self, width: int, conditioning: int) -> None:
        super().__init__()
        self.proj = nn.Linear(conditioning, 2 * width)

    def forward(self, x: Tensor, c: Tensor, windows: Tensor | None = None) -> Tensor:
        """(B, L, D) with c (B, C); or (n, D) at positions of some windows (n,) of the batch."""
        modulation = self.proj(c)
        modulation = modulation.unsqueeze(1) if windows is None else modulation.index_select(0, windows)
        scale, shift = modulation.chunk(2, dim=-1)
        modulated: Tensor = rms_norm(x) * (1 + scale) + shift
        return modulated


class _Attention(nn.Module):
    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.c_q = nn.Linear(width, width, bias=False)
        self.c_k = nn.Linear(width, width, bias=False)
        self.c_v = nn.Linear(width, width, bias=False)
        self.c_proj = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, positions: Tensor | None = None) -> Tensor:
        """What the heads say, side by side, before their last product; (B, L, D), or (n, D) at some positions."""
        if is_specialised():
            return normalised_attention(x, self.c_q.weight, self.c_k.weight, self.c_v.weight, cos, sin, positions)
        q, k, v = (proj(x).view(*x.shape[:2], self.num_heads, -1) for proj in (self.c_q, self.c_k, self.c_v))
        return at_positions(attend(rms_norm(rotate(q, cos, sin)), rms_norm(rotate(k, cos, sin)), v), positions)


class Block(nn.Module):
    """Attention, then a squared ReLU; each norm is modulated."""

    def __init__(self, width: int, num_heads: int, hidden: int, conditioning: int) -> None:
        super().__init__()
        self.attn = _Attention(width, num_heads)
        self.adaln_attn = _Modulation(width, conditioning)
        self.adaln_mlp = _Modulation(width, conditioning)
        self.mlp_fc = nn.Linear(width, hidden, bias=False)
        self.mlp_proj = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor, c: Tensor, cos: Tensor, sin: Tensor, positions: Tensor | None = None) -> Tensor:
        """(B, L, D) to the same, or to (n, D) at some positions of the flattened batch."""
        heads, windows = self.attn(self.adaln_attn(x, c), cos, sin, positions), None
        if positions is not None:  # attention looks everywhere, what follows it is each position's own
            windows = positions // x.shape[1]
            x = at_positions(x, positions)
        x = x + self.attn.c_proj(heads)
        out: Tensor = x + self.mlp_proj(squared_relu_linear(self.adaln_mlp(x, c, windows), self.mlp_fc.weight))
        return out


class _SigmaMap(nn.Module):
    """Embedding of the noise sigma: sines and cosines, then two linear layers."""

    freqs: Tensor

    def __init__(self, num_freqs: int, hidden: int, conditioning: int) -> None:
        super().__init__()
        self.register_buffer("freqs", torch.empty(num_freqs))
        self.mlp = nn.Sequential(nn.Linear(2 * num_freqs, hidden), nn.SiLU(), nn.Linear(hidden, conditioning))

    def forward(self, sigma: Tensor) -> Tensor:
        angle = sigma.unsqueeze(-1) * self.freqs
        embedded: Tensor = self.mlp(torch.cat((torch.sin(angle), torch.cos(angle)), dim=-1))
        return embedded


@final
class GolfMdlm(nn.Module):
    """The network as a :class:`bpb_harness.denoiser.PickingDenoiser`."""

    time_conditioned = True
    is_stateless = True
    autocasts = True
    cos: Tensor
    sin: Tensor

    def __init__(self, account: Account, dtype: torch.dtype) -> None:
        super().__init__()
        checkpoint = account.checkpoint
        rows, width = account.shape("wte.weight", 2)
        _, self.context_length, _, half_head = account.shape("cos", 4)
        sigma_hidden, _ = account.shape("sigma_map.mlp.0.weight", 2)
        conditioning, _ = account.shape("sigma_map.mlp.2.weight", 2)
        (num_freqs,) = account.shape("sigma_map.freqs", 1)
        hidden, _ = account.shape("blocks.0.mlp_fc.weight", 2)
        if rows <= _PADDING or half_head < 1 or width % (2 * half_head):
            raise CheckpointError(
                f"{checkpoint.path.name}: sizes",
                seen=f"{rows} rows of wte, width {width}, head width {2 * half_head}",
                expected=f"more than {_PADDING} rows and a width that heads divide",
            )
        self.vocab_size = self.mask_token_id = rows - _PADDING
        self._dtype = dtype
        self.wte = nn.Embedding(rows, width)
        self.sigma_map = _SigmaMap(num_freqs, sigma_hidden, conditioning)
        self.blocks = nn.ModuleList(
            Block(width, width // (2 * half_head), hidden, conditioning)
            for _ in range(count_blocks(checkpoint.tensors, "blocks"))
        )
        # The head is named apart: `head` is a method here.
        self.unembed = nn.Linear(width, rows, bias=False)
        self.register_buffer("cos", torch.empty(1, self.context_length, 1, half_head))
        self.register_buffer("sin", torch.empty(1, self.context_length, 1, half_head))
        account.fill(self, _THEIR_NAMES)
        account.compare(
            {
                "vocab_size": self.vocab_size,
                "mask_token_id": self.mask_token_id,
                "num_blocks": len(self.blocks),
                "width": width,
                "num_heads": width // (2 * half_head),
                "num_kv_heads": width // (2 * half_head),
                "mlp_ratio": hidden / width,
                "mlp_width": hidden,
                "time_conditioned": True,
                "schedule": SCHEDULE.name,
                "noise_eps": SCHEDULE.eps,
                "tied": False,
                "causal": False,
            }
        )

    def hidden(self, xt: Tensor, level: NoiseLevel) -> Tensor:
        """Last hidden states, normalised, (B, L, D)."""
        return self._hidden(xt, level, None)

    def hidden_at(self, xt: Tensor, level: NoiseLevel, positions: Tensor) -> Tensor:
        """The same at ascending positions of the flattened batch, (n, D): the last block answers for these alone."""
        return self._hidden(xt, level, positions)

    def _hidden(self, xt: Tensor, level: NoiseLevel, positions: Tensor | None) -> Tensor:
        with autocast(xt.device, self._dtype):
            c = functional.silu(self.sigma_map(level.sigma.float()))
            cos, sin = self.cos[:, : xt.shape[1]], self.sin[:, : xt.shape[1]]
            x = self.wte(xt)
            *first, last = self.blocks
            for block in first:
                x = block(x, c, cos, sin)
            return rms_norm(last(x, c, cos, sin, positions))

    def head(self, hidden: Tensor) -> Tensor:
        """Logits (n, W) of hidden states (n, D); column V is the mask, later ones are padding."""
        with autocast(hidden.device, self._dtype):
            logits: Tensor = self.unembed(hidden)
            return logits

    def logits(self, xt: Tensor, level: NoiseLevel) -> Tensor:
        return self.head(self.hidden(xt, level))


_THEIR_NAMES = {"unembed.weight": "head.weight"}


@final
class GolfMdlmAdapter(AccountedAdapter):
    """State dicts of the contest's masked-diffusion entry."""

    name = "golf-mdlm"

    def fits(self, checkpoint: Checkpoint) -> bool:
        needed = ("wte.weight", "head.weight", "cos", "sin", "sigma_map.freqs", "blocks.0.adaln_attn.proj.weight")
        return checkpoint.layout in ("tensors", "native") and all(name in checkpoint.tensors for name in needed)

    def build(self, account: Account, *, device: torch.device, dtype: torch.dtype) -> AdaptedModel:
        with device:  # nothing is computed before it is filled: the host need not hold it too
            model = GolfMdlm(account, dtype)
        account.require_one_block(model.context_length)
        stated = account.stated("context_length")
        is_length = isinstance(stated, int) and not isinstance(stated, bool) and 0 < stated <= model.context_length
        if stated is not None and not is_length:
            raise CheckpointError(
                f"{account.checkpoint.path.name}: context length",
                seen=repr(stated),
                expected=f"at most {model.context_length}, the length of the rotary tables",
            )
        model.context_length = model.context_length if stated is None else stated
        ready(model, device)
        note = (
            f"vocabulary of {model.vocab_size} and mask id {model.mask_token_id}, from {model.wte.num_embeddings} rows"
        )
        width, head_width = model.wte.embedding_dim, 2 * model.cos.shape[-1]
        rest = taken_for_granted(
            f"{width // head_width} heads of {head_width}, all of which is rotated, rotation before the norms of "
            "queries and keys, squared ReLU, norms without weights"
        )
        # The length of the rotary tables is often twice that of the training windows.
        schedule = account.schedule() or SCHEDULE
        return AdaptedModel(
            model, self.name, schedule, (note, rest), context_is_guess=stated is None,
            vocabulary_is_guess=account.stated("vocab_size") is None and account.stated("mask_token_id") is None,
        )  # fmt: skip
