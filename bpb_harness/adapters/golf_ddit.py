"""``golf-ddit``: the parameter-golf contest's masked-diffusion entry #820, from its state dict or int8 file.

The diffusion transformer of the MDLM code, drawn as the contest draws its baseline: norms without weights, which the
noise shifts and scales, gated residuals, grouped key-value heads, normalised and then rotated queries and keys, squared
ReLU. Everything sees both sides. Its tensors say neither how many heads there are nor how long its windows were.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from bpb_harness.adapters.accounting.account import Account, AccountedAdapter
from bpb_harness.adapters.adapter import AdaptedModel
from bpb_harness.adapters.golf_attention import GroupedHeads, attend, rotate_halves
from bpb_harness.adapters.golf_stated import (
    StatedSettings,
    positive_number,
    source_of,
    switch,
    taken_for_granted,
    whole_number,
)
from bpb_harness.adapters.mdlm.backbone import SigmaMap
from bpb_harness.checkpoints import Checkpoint
from bpb_harness.errors import CheckpointError
from bpb_harness.kernels.attention import at_positions
from bpb_harness.networks.layers import autocast, count_blocks, ready, rms_norm
from bpb_harness.schedule import LogLinear, NoiseLevel

# Stands in no file: the entry's. The prior term that its evaluator pays is that of this schedule.
SCHEDULE = LogLinear(1e-3)
STATED = StatedSettings(
    family="a masked-diffusion entry of the parameter-golf contest",
    read={
        "num_heads": whole_number(1, 10_000),
        "train_seq_len": whole_number(1, 1 << 20),
        "time_conditioning": switch,
        "rope_base": positive_number,
    },
    # By the date that the entry's folder carries: what its command and its log state.
    presets={"2026-03-25": {"num_heads": "8", "train_seq_len": "512", "time_conditioning": "1"}},
    contest={"rope_base": "10000"},
    expected={"time_conditioning": "0 or 1", "rope_base": "a positive number"},
)
_NEEDED = (
    "vocab_embed.weight", "sigma_map.mlp.0.weight", "blocks.0.attn.c_q.weight", "blocks.0.adaLN_modulation.weight",
    "output_layer.linear.weight",
)  # fmt: skip


@final
@dataclass(frozen=True)
class DditSettings:
    """What the network does beside its tensors.

    Attributes:
        num_heads: of queries; the width of a head, and with it the number of key-value heads, follows.
        train_seq_len: tokens of a training window, the longest that are scored.
        time_conditioning: whether it is told the noise; else it is told that there is none.
        rope_base: of the rotary embedding.
    """

    num_heads: int
    train_seq_len: int
    time_conditioning: bool
    rope_base: float

    def __str__(self) -> str:
        return (
            f"num_heads={self.num_heads},train_seq_len={self.train_seq_len},"
            f"time_conditioning={int(self.time_conditioning)},rope_base={self.rope_base:g}"
        )


class _Attention(GroupedHeads):
    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """What the heads say, side by side, (B, L, D), before their last product."""
        q, k, v = (self.apart(proj(x)) for proj in (self.c_q, self.c_k, self.c_v))
        q, k = rotate_halves(rms_norm(q), cos, sin), rotate_halves(rms_norm(k), cos, sin)
        return attend(q, k, v, is_causal=False).transpose(1, 2).flatten(2)


class _Mlp(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc = nn.Linear(width, hidden)
        self.proj = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        projected: Tensor = self.proj(functional.relu(self.fc(x)).square())
        return projected


class _Block(nn.Module):
    def __init__(self, width: int, num_heads: int, kv_width: int, hidden: int, conditioning: int) -> None:
        super().__init__()
        self.attn = _Attention(width, num_heads, kv_width)
        self.mlp = _Mlp(width, hidden)
        self.adaLN_modulation = nn.Linear(conditioning, 6 * width)

    def forward(self, x: Tensor, c: Tensor, cos: Tensor, sin: Tensor, positions: Tensor | None = None) -> Tensor:
        """(B, L, D) to the same, or to (n, D) at some positions of the flattened batch."""
        said = self.adaLN_modulation(c)
        shift, scale, *_ = _each(said, None).chunk(6, dim=-1)
        heads, windows = self.attn(rms_norm(x) * (1 + scale) + shift, cos, sin), None
        if positions is not None:  # attention looks everywhere, what follows it is each position's own
            windows = positions // x.shape[1]
            heads, x = at_positions(heads, positions), at_positions(x, positions)
        _, _, gate, shift, scale, mlp_gate = _each(said, windows).chunk(6, dim=-1)
        x = x + gate.to(x.dtype) * self.attn.proj(heads)
        out: Tensor = x + mlp_gate.to(x.dtype) * self.mlp(rms_norm(x) * (1 + scale) + shift)
        return out


def _each(said: Tensor, windows: Tensor | None) -> Tensor:
    """What is said to rows (B, C): to all positions of each, (B, 1, C); or to positions of some windows, (n, C)."""
    return said.unsqueeze(1) if windows is None else said.index_select(0, windows)


class _OutputLayer(nn.Module):
    def __init__(self, width: int, rows: int, conditioning: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, rows)
        self.adaLN_modulation = nn.Linear(conditioning, 2 * width)


@final
class GolfDdit(nn.Module):
    """The network as a :class:`bpb_harness.denoiser.PickingDenoiser`."""

    is_stateless = True
    autocasts = True
    cos: Tensor
    sin: Tensor

    def __init__(self, account: Account, dtype: torch.dtype) -> None:
        super().__init__()
        checkpoint = account.checkpoint
        name = checkpoint.path.name
        self.settings = DditSettings(**STATED.values(STATED.texts(checkpoint.stated), name))
        num_heads = self.settings.num_heads
        rows, width = account.shape("vocab_embed.weight", 2)
        kv_width, _ = account.shape("blocks.0.attn.c_k.weight", 2)
        hidden, _ = account.shape("blocks.0.mlp.fc.weight", 2)
        conditioning, num_features = account.shape("sigma_map.mlp.0.weight", 2)
        num_blocks = count_blocks(checkpoint.tensors, "blocks")
        head_width = width // num_heads
        sizes_fit = (
            rows > 2 and num_features % 2 == 0 and head_width > 0 and num_heads * head_width == width
            and head_width % 2 == 0 and kv_width % head_width == 0 and num_heads % (kv_width // head_width) == 0
        )  # fmt: skip
        if not sizes_fit:
            raise CheckpointError(
                f"{name}: sizes",
                seen=f"{rows} rows of vocab_embed, width {width}, num_heads {num_heads}, key width {kv_width}, "
                f"{num_features} features of sigma",
                expected="3 rows or more, heads of an even width that divide the width, key heads that divide the "
                "heads, an even number of features",
            )
        self.time_conditioned = self.settings.time_conditioning
        self.context_length = self.settings.train_seq_len
        self.vocab_size = self.mask_token_id = rows - 1  # the mask is the row behind the tokens
        self._dtype = dtype
        self.vocab_embed = nn.Embedding(rows, width)
        self.sigma_map = SigmaMap(num_features, conditioning)
        self.blocks = nn.ModuleList(_Block(width, num_heads, kv_width, hidden, conditioning) for _ in range(num_blocks))
        self.output_layer = _OutputLayer(width, rows, conditioning)
        cos, sin = _rotary_tables(self.context_length, head_width, self.settings.rope_base)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        account.fill(self)
        account.compare(
            {
                "vocab_size": self.vocab_size, "mask_token_id": self.mask_token_id, "num_blocks": num_blocks,
                "width": width, "num_heads": num_heads, "num_kv_heads": kv_width // head_width,
                "mlp_ratio": hidden / width, "mlp_width": hidden, "rotary_base": self.settings.rope_base,
                "context_length": self.context_length, "time_conditioned": self.time_conditioned,
                "schedule": SCHEDULE.name, "noise_eps": SCHEDULE.eps, "tied": False, "causal": False,
            }
        )  # fmt: skip

    def hidden(self, xt: Tensor, level: NoiseLevel) -> Tensor:
        """Last hidden states, normalised and modulated, (B, L, D)."""
        return self._hidden(xt, level, None)

    def hidden_at(self, xt: Tensor, level: NoiseLevel, positions: Tensor) -> Tensor:
        """The same at ascending positions of the flattened batch, (n, D): the last block answers for these alone."""
        return self._hidden(xt, level, positions)

    def _hidden(self, xt: Tensor, level: NoiseLevel, positions: Tensor | None) -> Tensor:
        sigma = level.sigma.float()
        with autocast(xt.device, self._dtype):
            # The contest keeps the embedding, and with it the residual stream, in bfloat16.
            x = functional.embedding(xt, self.vocab_embed.weight.to(self._dtype))
            c = functional.silu(self.sigma_map(sigma if self.time_conditioned else torch.zeros_like(sigma))).to(x.dtype)
            cos, sin = self.cos[: xt.shape[1]], self.sin[: xt.shape[1]]
            *first, last = self.blocks
            for block in first:
                x = block(x, c, cos, sin)
            x = last(x, c, cos, sin, positions)
            windows = None if positions is None else positions // xt.shape[1]
            shift, scale = _each(self.output_layer.adaLN_modulation(c), windows).chunk(2, dim=-1)
            return rms_norm(x) * (1 + scale) + shift

    def head(self, hidden: Tensor) -> Tensor:
        """Logits (n, V + 1) of hidden states (n, D); the last column is the mask."""
        with autocast(hidden.device, self._dtype):
            logits: Tensor = self.output_layer.linear(hidden)
            return logits

    def logits(self, xt: Tensor, level: NoiseLevel) -> Tensor:
        return self.head(self.hidden(xt, level))


def _rotary_tables(length: int, head_width: int, base: float) -> tuple[Tensor, Tensor]:
    """Cosines and sines of positions 0 .. length - 1, each (length, d / 2), as the entry's training had them.

    Its script turns the frequencies into bfloat16 with the rest of the network. The angles are computed in a compiled
    graph, in float32, and kept in bfloat16, where its evaluator finds them. (The same lines run without compilation
    round positions and angles too: beyond 256 two positions share one angle. That is another network.)
    """
    exponent = torch.arange(0, head_width, 2, dtype=torch.float32) / head_width
    frequency = (1.0 / base**exponent).bfloat16().float()
    angle = torch.outer(torch.arange(length, dtype=torch.float32), frequency)
    return angle.cos().bfloat16().float(), angle.sin().bfloat16().float()


@final
class GolfDditAdapter(AccountedAdapter):
    """State dicts and int8 files of the contest's masked-diffusion entry #820."""

    name = "golf-ddit"

    def fits(self, checkpoint: Checkpoint) -> bool:
        known_layout = checkpoint.layout in ("tensors", "golf-int8", "native")
        return known_layout and all(name in checkpoint.tensors for name in _NEEDED)

    def takes_stated(self, checkpoint: Checkpoint) -> bool:
        return self.fits(checkpoint)

    def build(self, account: Account, *, device: torch.device, dtype: torch.dtype) -> AdaptedModel:
        model = GolfDdit(account, dtype)
        ready(model, device)
        source = source_of(account.checkpoint.stated)
        stated = str(model.settings).replace(",", ", ")
        notes = (
            f"vocabulary of {model.vocab_size} and mask id {model.mask_token_id}, the row behind it",
            f"what stands in no tensor comes from {source}: {stated}",
            taken_for_granted("squared ReLU, norms without weights, rotation behind the norms of queries and keys"),
        )
        return AdaptedModel(model, f"{self.name}[{model.settings}]", account.schedule() or SCHEDULE, notes)
