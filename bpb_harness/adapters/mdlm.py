"""``mdlm``: checkpoints of the MDLM paper's code (Sahoo et al. 2024, arXiv 2406.07524), Lightning or folder.

The backbone is a diffusion transformer: layer norms modulated by the noise (adaLN, Peebles and Xie 2023, arXiv
2212.09748), rotary positions, gated residuals. Sizes are read from the tensors; noise schedule, time conditioning,
window length and the mask come from the hyper-parameters. Where the checkpoint holds an exponential moving average of
the weights, that is what is scored, as that code's own evaluator does. The paper's autoregressive baseline loads too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from bpb_harness.adapters._network import autocast, count_blocks, fill, ready, shape_of
from bpb_harness.adapters._registry import AdaptedModel
from bpb_harness.checkpoint import EMA_PREFIX, Checkpoint
from bpb_harness.errors import CheckpointError
from bpb_harness.schedule import CosineMdlm, Geometric, LogLinear, NoiseLevel, NoiseSchedule

_BACKBONE = "backbone."
_BUFFERS = ("rotary_emb.inv_freq",)
_NOISE_EPS = 1e-3  # that code's constant for loglinear and cosine noise
# Tokenizers with a mask of their own; for the others that code appends one id, the last.
_MASK_IDS = {"bert-base-uncased": 103, "bert-base-cased": 103, "text8": 4}


class _LayerNorm(nn.Module):
    """Layer norm with a scale and no shift, computed in float32."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width))

    def forward(self, x: Tensor) -> Tensor:
        return functional.layer_norm(x.float(), self.weight.shape, self.weight)


class _Block(nn.Module):
    def __init__(self, width: int, num_heads: int, hidden: int, conditioning: int | None) -> None:
        super().__init__()
        self.num_heads, self.causal = num_heads, conditioning is None
        self.norm1 = _LayerNorm(width)
        self.attn_qkv = nn.Linear(width, 3 * width, bias=False)
        self.attn_out = nn.Linear(width, width, bias=False)
        self.norm2 = _LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(approximate="tanh"), nn.Linear(hidden, width))
        self.adaLN_modulation = None if conditioning is None else nn.Linear(conditioning, 6 * width)

    def forward(self, x: Tensor, c: Tensor | None, cos: Tensor, sin: Tensor) -> Tensor:
        if self.adaLN_modulation is None or c is None:
            x = x + self._attention(self.norm1(x), cos, sin)
            plain: Tensor = x + self.mlp(self.norm2(x))
            return plain
        shift1, scale1, gate1, shift2, scale2, gate2 = self.adaLN_modulation(c).unsqueeze(1).chunk(6, dim=-1)
        x = x + gate1 * self._attention(self.norm1(x) * (1 + scale1) + shift1, cos, sin)
        gated: Tensor = x + gate2 * self.mlp(self.norm2(x) * (1 + scale2) + shift2)
        return gated

    def _attention(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        B, L, _ = x.shape
        q, k, v = self.attn_qkv(x).view(B, L, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        y = functional.scaled_dot_product_attention(
            _rotate(q, cos, sin), _rotate(k, cos, sin), v, is_causal=self.causal
        )
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


class _SigmaMap(nn.Module):
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


class _Backbone(nn.Module):
    """What the denoiser and the causal model share; submodules in the order that moving averages follow."""

    def __init__(self, checkpoint: Checkpoint, tensors: Mapping[str, Tensor], dtype: torch.dtype) -> None:
        super().__init__()
        rows, width = shape_of(checkpoint, _BACKBONE + "vocab_embed.embedding", 2)
        (half_head,) = shape_of(checkpoint, _BACKBONE + "rotary_emb.inv_freq", 1)
        hidden, _ = shape_of(checkpoint, _BACKBONE + "blocks.0.mlp.0.weight", 2)
        if half_head < 1 or width % (2 * half_head):
            raise CheckpointError(
                f"{checkpoint.path.name}: sizes",
                seen=f"width {width}, head width {2 * half_head}",
                expected="a multiple",
            )
        conditioning: int | None = None
        self.vocab_embed = _Embedding(rows, width)
        if _BACKBONE + "sigma_map.mlp.0.weight" in checkpoint.tensors:
            conditioning, num_features = shape_of(checkpoint, _BACKBONE + "sigma_map.mlp.0.weight", 2)
            self.sigma_map = _SigmaMap(num_features, conditioning)
        num_blocks = count_blocks(checkpoint.tensors, _BACKBONE + "blocks")
        num_heads = width // (2 * half_head)
        self.blocks = nn.ModuleList(_Block(width, num_heads, hidden, conditioning) for _ in range(num_blocks))
        self.output_layer = _OutputLayer(width, rows, conditioning)
        self._dtype, self._half_head = dtype, half_head
        fill(self, tensors, checkpoint)

    def _trunk(self, x: Tensor, c: Tensor | None) -> Tensor:
        steps = torch.arange(self._half_head, dtype=torch.float32, device=x.device)
        angle = torch.outer(
            torch.arange(x.shape[1], dtype=torch.float32, device=x.device), 10_000.0 ** (-steps / self._half_head)
        )
        cos, sin = angle.cos(), angle.sin()
        with autocast(x.device, self._dtype):
            h = self.vocab_embed.embedding[x]
            for block in self.blocks:
                h = block(h, c, cos, sin)
            h = self.output_layer.norm_final(h)
            if self.output_layer.adaLN_modulation is not None and c is not None:
                shift, scale = self.output_layer.adaLN_modulation(c).unsqueeze(1).chunk(2, dim=-1)
                h = h * (1 + scale) + shift
            trunk: Tensor = h
            return trunk

    @torch.no_grad()
    def head(self, hidden: Tensor) -> Tensor:
        """Logits (n, W) of hidden states (n, D)."""
        with autocast(hidden.device, self._dtype):
            logits: Tensor = self.output_layer.linear(hidden)
            return logits


@final
class MdlmDenoiser(_Backbone):
    """The diffusion transformer as a :class:`bpb_harness.denoiser.FactoredDenoiser`."""

    is_stateless = True
    vocab_size: int
    mask_token_id: int
    context_length: int
    time_conditioned: bool

    @torch.no_grad()
    def hidden(self, xt: Tensor, level: NoiseLevel) -> Tensor:
        """Last hidden states, normalised and modulated, (B, L, D)."""
        # Without time conditioning that code feeds sigma = 0: the embedding is there, and constant.
        sigma = level.sigma.float() if self.time_conditioned else torch.zeros_like(level.alpha_t, dtype=torch.float32)
        return self._trunk(xt, functional.silu(self.sigma_map(sigma)))

    def logits(self, xt: Tensor, level: NoiseLevel) -> Tensor:
        return self.head(self.hidden(xt, level))


@final
class MdlmCausalLM(_Backbone):
    """The paper's autoregressive baseline as a :class:`bpb_harness.denoiser.CausalLM`."""

    vocab_size: int
    context_length: int

    @torch.no_grad()
    def logits(self, x: Tensor) -> Tensor:
        return self.head(self._trunk(x, None))


@final
class MdlmAdapter:
    """Lightning checkpoints of the MDLM code, and folders with ``model_type: mdlm``."""

    name = "mdlm"

    def fits(self, checkpoint: Checkpoint) -> bool:
        needed = (
            "vocab_embed.embedding",
            "rotary_emb.inv_freq",
            "blocks.0.attn_qkv.weight",
            "output_layer.linear.weight",
        )
        known_layout = checkpoint.layout in ("lightning", "folder")
        return known_layout and all(_BACKBONE + name in checkpoint.tensors for name in needed)

    def load(self, checkpoint: Checkpoint, *, device: torch.device, dtype: torch.dtype) -> AdaptedModel:
        settings = _Settings(checkpoint)
        rows, _ = shape_of(checkpoint, _BACKBONE + "vocab_embed.embedding", 2)
        mask_token_id = _mask_token_id(settings, rows)
        tensors, weights_note = _weights(checkpoint, settings)
        causal = _BACKBONE + "sigma_map.mlp.0.weight" not in checkpoint.tensors
        model = (MdlmCausalLM if causal else MdlmDenoiser)(checkpoint, tensors, dtype)
        model.context_length = settings.integer("model.length")
        # An appended mask is the last row, beyond the clean ids; one of the tokenizer's own lies among them.
        model.vocab_size = rows - 1 if mask_token_id == rows - 1 else rows
        ready(model, device)
        if isinstance(model, MdlmCausalLM):
            if mask_token_id != rows - 1:
                raise CheckpointError(f"{checkpoint.path.name}: an autoregressive model with a mask among its tokens")
            return AdaptedModel(model, self.name, None, (weights_note,))
        model.mask_token_id = mask_token_id
        model.time_conditioned = bool(settings.get("time_conditioning"))
        notes = [weights_note, f"mask id {mask_token_id} of {rows} rows: {_mask_reason(settings)}"]
        parameterization = settings.get("parameterization") or "subs"
        if parameterization not in ("subs", "d3pm"):
            raise CheckpointError(
                f"{checkpoint.path.name}: parameterization",
                seen=repr(parameterization),
                expected="subs or d3pm: networks that predict the clean token",
            )
        if settings.get("T"):
            notes.append(f"trained for T = {settings.get('T')} steps: --steps {settings.get('T')} is its own bound")
        if settings.get("training.sampling_eps"):
            notes.append(f"its own evaluator draws t from [{settings.get('training.sampling_eps')}, 1] only")
        return AdaptedModel(model, self.name, _schedule(settings), tuple(notes))


class _Settings:
    """Dotted look-up in the hyper-parameters; ``${a.b}`` refers to another entry."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._name, self._folder = checkpoint.path.name, checkpoint.layout == "folder"
        hyper_parameters = checkpoint.config.get("hyper_parameters")
        config = hyper_parameters.get("config") if isinstance(hyper_parameters, Mapping) else None
        if self._folder:
            config = {**checkpoint.config, "model": {"length": checkpoint.config.get("model_length")}}
        if not isinstance(config, Mapping):
            raise CheckpointError(
                f"{self._name} has no hyper-parameters", expected="hyper_parameters.config, as the MDLM code saves it"
            )
        self._config = config

    def get(self, dotted: str, depth: int = 0) -> Any:
        value: Any = self._config
        for part in dotted.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        reference = re.fullmatch(r"\$\{([\w.]+)\}", value) if isinstance(value, str) else None
        return self.get(reference[1], depth + 1) if reference and depth < 8 else value

    def integer(self, dotted: str) -> int:
        value = self.get(dotted)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 1 << 24:
            raise CheckpointError(f"{self._name}: {dotted}", seen=repr(value), expected="a positive integer")
        return value

    @property
    def tokenizer_name(self) -> str:
        """Empty for the published folders, which all use GPT-2's."""
        return "" if self._folder else str(self.get("data.tokenizer_name_or_path") or "")


def _mask_token_id(settings: _Settings, rows: int) -> int:
    mask_token_id = _MASK_IDS.get(settings.tokenizer_name.rsplit("/", 1)[-1], rows - 1)
    if mask_token_id >= rows:
        raise CheckpointError(
            f"mask id of {settings.tokenizer_name}", seen=mask_token_id, expected=f"below {rows} rows"
        )
    return mask_token_id


def _mask_reason(settings: _Settings) -> str:
    name = settings.tokenizer_name or "gpt2"
    if name.rsplit("/", 1)[-1] in _MASK_IDS:
        return f"the mask of {name}"
    known = "has none of its own" if name.startswith("gpt2") else "is taken to have none of its own"
    return f"appended, since the tokenizer {name} {known}"


def _schedule(settings: _Settings) -> NoiseSchedule | None:
    match settings.get("noise.type") or "loglinear":
        case "loglinear":
            return LogLinear(_NOISE_EPS)
        case "cosine":
            return CosineMdlm(_NOISE_EPS)
        case "geometric":
            return Geometric(float(settings.get("noise.sigma_min")), float(settings.get("noise.sigma_max")))
    return None


def _weights(checkpoint: Checkpoint, settings: _Settings) -> tuple[dict[str, Tensor], str]:
    """The backbone's tensors: the moving average where there is one, as that code's evaluator copies it."""
    tensors = {
        name.removeprefix(_BACKBONE): value
        for name, value in checkpoint.tensors.items()
        if name.startswith(_BACKBONE) and name.removeprefix(_BACKBONE) not in _BUFFERS
    }
    shadow = [value for name, value in checkpoint.tensors.items() if name.startswith(EMA_PREFIX)]
    if not shadow or settings.get("eval.disable_ema"):
        return tensors, "weights as trained (no moving average)"
    # In the order of parameters, which is the order of the state dict.
    if len(shadow) != len(tensors):
        raise CheckpointError(
            f"{checkpoint.path.name}: moving average", seen=f"{len(shadow)} tensors", expected=f"{len(tensors)}"
        )
    for (name, trained), average in zip(tensors.items(), shadow, strict=True):
        if trained.shape != average.shape:
            raise CheckpointError(
                f"{checkpoint.path.name}: moving average of {name}",
                seen=list(average.shape),
                expected=list(trained.shape),
            )
    return dict(zip(tensors, shadow, strict=True)), "weights: the moving average (EMA), as its own evaluator uses"
