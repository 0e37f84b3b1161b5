"""``mdlm``: checkpoints of the MDLM paper's code (Sahoo et al. 2024, arXiv 2406.07524), Lightning or folder.

The backbone is a diffusion transformer: layer norms modulated by the noise (adaLN, Peebles and Xie 2023, arXiv
2212.09748), rotary positions, gated residuals. Sizes are read from the tensors; noise schedule, time conditioning,
window length and the mask come from the hyper-parameters. Where the checkpoint holds an exponential moving average of
the weights, that is what is scored, as that code's own evaluator does. The paper's autoregressive baseline loads too.
"""

from __future__ import annotations

import math
import re
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from bpb_harness.adapters.accounting.account import Account, AccountedAdapter
from bpb_harness.adapters.adapter import AdaptedModel
from bpb_harness.adapters.mdlm.settings import MdlmSettings
from bpb_harness.checkpoints import EMA_PREFIX, Checkpoint
from bpb_harness.errors import CheckpointError
from bpb_harness.networks.layers import autocast, count_blocks, ready
from bpb_harness.schedule import NoiseLevel

_BACKBONE = "backbone."
_ROTARY = _BACKBONE + "rotary_emb.inv_freq"
# Beside the backbone: what metrics count, BD3-LM's range of mask rates to train on.
_ASIDE = r"(train_metrics|valid_metrics|test_metrics|metrics|gen_ppl_metric)\..*|sampling_eps_(min|max)"
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

    def __init__(self, account: Account, dtype: torch.dtype) -> None:
        super().__init__()
        checkpoint = account.checkpoint
        rows, width = account.shape(_BACKBONE + "vocab_embed.embedding", 2)
        (half_head,) = account.shape(_ROTARY, 1)
        hidden, _ = account.shape(_BACKBONE + "blocks.0.mlp.0.weight", 2)
        if half_head < 1 or width % (2 * half_head):
            raise CheckpointError(
                f"{checkpoint.path.name}: sizes",
                seen=f"width {width}, head width {2 * half_head}",
                expected="a multiple",
            )
        conditioning: int | None = None
        self.vocab_embed = _Embedding(rows, width)
        if _BACKBONE + "sigma_map.mlp.0.weight" in checkpoint.tensors:
            conditioning, num_features = account.shape(_BACKBONE + "sigma_map.mlp.0.weight", 2)
            self.sigma_map = _SigmaMap(num_features, conditioning)
        num_blocks = count_blocks(checkpoint.tensors, _BACKBONE + "blocks")
        num_heads = width // (2 * half_head)
        self.blocks = nn.ModuleList(_Block(width, num_heads, hidden, conditioning) for _ in range(num_blocks))
        self.output_layer = _OutputLayer(width, rows, conditioning)
        self._dtype, self._half_head = dtype, half_head
        self.sizes = {"hidden_size": width, "n_blocks": num_blocks, "n_heads": num_heads, "vocab_size": rows}
        if conditioning is not None:
            self.sizes["cond_dim"] = conditioning
        account.take_equal(_ROTARY, self._frequencies(torch.device("cpu")))

    def _frequencies(self, device: torch.device) -> Tensor:
        steps = torch.arange(self._half_head, dtype=torch.float32, device=device)
        return 10_000.0 ** (-steps / self._half_head)

    def _trunk(self, x: Tensor, c: Tensor | None) -> Tensor:
        positions = torch.arange(x.shape[1], dtype=torch.float32, device=x.device)
        angle = torch.outer(positions, self._frequencies(x.device))
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
    largest_sigma: float

    @torch.no_grad()
    def hidden(self, xt: Tensor, level: NoiseLevel) -> Tensor:
        """Last hidden states, normalised and modulated, (B, L, D)."""
        # Without time conditioning that code feeds sigma = 0: the embedding is there, and constant.
        told = level.sigma.clamp(max=self.largest_sigma).float()
        sigma = told if self.time_conditioned else torch.zeros_like(told)
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
class MdlmAdapter(AccountedAdapter):
    """Lightning checkpoints of the MDLM code and its successors, and folders with ``model_type: mdlm``."""

    name = "mdlm"

    def fits(self, checkpoint: Checkpoint) -> bool:
        needed = (
            "vocab_embed.embedding",
            "rotary_emb.inv_freq",
            "blocks.0.attn_qkv.weight",
            "output_layer.linear.weight",
        )
        of_this_code = checkpoint.layout == "lightning" or (
            checkpoint.layout == "folder" and checkpoint.config.get("model_type") == self.name
        )
        return of_this_code and all(_BACKBONE + name in checkpoint.tensors for name in needed)

    def build(self, account: Account, *, device: torch.device, dtype: torch.dtype) -> AdaptedModel:
        settings = MdlmSettings(account)
        is_causal = _BACKBONE + "sigma_map.mlp.0.weight" not in account.checkpoint.tensors
        settings.require_implemented(is_causal=is_causal)
        rows, _ = account.shape(_BACKBONE + "vocab_embed.embedding", 2)
        mask_token_id = _mask_token_id(settings, rows)
        model = (MdlmCausalLM if is_causal else MdlmDenoiser)(account, dtype)
        settings.compare_sizes(**model.sizes)
        weights_note = _fill(model, account, settings)
        model.context_length = settings.length
        # An appended mask is the last row, beyond the clean ids; one of the tokenizer's own lies among them.
        model.vocab_size = rows - 1 if mask_token_id == rows - 1 else rows
        ready(model, device)
        if isinstance(model, MdlmCausalLM):
            if mask_token_id != rows - 1:
                raise CheckpointError(
                    f"{account.checkpoint.path.name}: an autoregressive model with a mask among its tokens"
                )
            # A causal network is told no noise.
            told = r"noise\..*|(algo\.)?(time_conditioning|mdlm_loss_scale)|model\.cond_dim"
            account.set_settings_aside(rf"(hyper_parameters\.config\.)?({told})")
            return AdaptedModel(model, self.name, None, (weights_note,))
        model.mask_token_id, model.largest_sigma = mask_token_id, settings.largest_sigma
        model.time_conditioned = settings.time_conditioned
        notes = (weights_note, f"mask id {mask_token_id} of {rows} rows: {_mask_reason(settings)}", *settings.notes())
        return AdaptedModel(model, self.name, settings.schedule(), notes)


def _mask_token_id(settings: MdlmSettings, rows: int) -> int:
    mask_token_id = _MASK_IDS.get(settings.tokenizer_name.rsplit("/", 1)[-1], rows - 1)
    if mask_token_id >= rows:
        raise CheckpointError(
            f"mask id of {settings.tokenizer_name}", seen=mask_token_id, expected=f"below {rows} rows"
        )
    return mask_token_id


def _mask_reason(settings: MdlmSettings) -> str:
    name = settings.tokenizer_name or "gpt2"
    if name.rsplit("/", 1)[-1] in _MASK_IDS:
        return f"the mask of {name}"
    known = "has none of its own" if name.startswith("gpt2") else "is taken to have none of its own"
    return f"appended, since the tokenizer {name} {known}"


def _fill(model: _Backbone, account: Account, settings: MdlmSettings) -> str:
    """Fill the network with the weights that its own evaluator takes, or that the user chose; says which they are.

    That code copies the moving average over the parameters before it evaluates, unless ``eval.disable_ema`` is set or
    none was kept (``training.ema`` is 0).
    """
    tensors = account.checkpoint.tensors
    account.set_aside(_ASIDE)
    shadow = [name for name in tensors if name.startswith(EMA_PREFIX)]
    # In the order of parameters, which is the order of the state dict.
    trained = [name for name in tensors if name.startswith(_BACKBONE) and name != _ROTARY]
    chosen = account.checkpoint.weights if account.checkpoint.weights_chosen else None
    switched_off = settings.get("eval.disable_ema") is True or settings.get("training.ema") == 0
    if not shadow or (switched_off and chosen != "ema"):
        account.fill(model, {name.removeprefix(_BACKBONE): name for name in trained})
        account.set_aside(re.escape(EMA_PREFIX) + r"\d+")
        if chosen == "state_dict":
            return "weights as trained (no moving average), as chosen by --weights state_dict"
        return "weights as trained (no moving average)"
    if len(shadow) != len(trained):
        raise CheckpointError(
            f"{account.checkpoint.path.name}: moving average",
            seen=f"{len(shadow)} tensors",
            expected=f"{len(trained)}",
        )
    for name, average in zip(trained, shadow, strict=True):
        if tensors[name].shape != tensors[average].shape:
            raise CheckpointError(
                f"{account.checkpoint.path.name}: moving average of {name.removeprefix(_BACKBONE)}",
                seen=list(tensors[average].shape),
                expected=list(tensors[name].shape),
            )
    averages = dict(zip(trained, shadow, strict=True))
    account.fill(model, {name: averages.get(_BACKBONE + name, _BACKBONE + name) for name in model.state_dict()})
    own = {_BACKBONE + name for name in model.state_dict()}
    account.set_aside("|".join(re.escape(name) for name in trained if name in own))
    how = "as chosen by --weights ema" if chosen == "ema" else "as its own evaluator uses"
    return f"weights: the moving average (EMA), {how}"
