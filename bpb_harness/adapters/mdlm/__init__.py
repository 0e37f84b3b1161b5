"""``mdlm``: checkpoints of the MDLM paper's code (Sahoo et al. 2024, arXiv 2406.07524), Lightning or folder.

The backbone is a diffusion transformer: layer norms modulated by the noise (adaLN, Peebles and Xie 2023, arXiv
2212.09748), rotary positions, gated residuals. Sizes are read from the tensors; noise schedule, time conditioning,
window length and the mask come from the hyper-parameters. Where the checkpoint holds an exponential moving average of
the weights, that is what is scored, as that code's own evaluator does. The paper's autoregressive baseline loads too.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor
from torch.nn import functional

from bpb_harness.adapters.accounting.account import Account, AccountedAdapter
from bpb_harness.adapters.adapter import AdaptedModel
from bpb_harness.adapters.mdlm.average import fill
from bpb_harness.adapters.mdlm.backbone import PREFIX, Attention, Backbone, has_backbone
from bpb_harness.adapters.mdlm.mask import mask_reason, mask_token_id_of
from bpb_harness.adapters.mdlm.settings import MdlmSettings
from bpb_harness.checkpoints import Checkpoint
from bpb_harness.errors import CheckpointError
from bpb_harness.networks.layers import ready
from bpb_harness.schedule import NoiseLevel


@final
class MdlmDenoiser(Backbone):
    """The diffusion transformer as a :class:`bpb_harness.denoiser.FactoredDenoiser`."""

    is_stateless = True
    vocab_size: int
    mask_token_id: int
    context_length: int
    time_conditioned: bool
    largest_sigma: float

    def hidden(self, xt: Tensor, level: NoiseLevel) -> Tensor:
        """Last hidden states, normalised and modulated, (B, L, D)."""
        # Without time conditioning that code feeds sigma = 0: the embedding is there, and constant.
        told = level.sigma.clamp(max=self.largest_sigma).float()
        sigma = told if self.time_conditioned else torch.zeros_like(told)
        return self.trunk(xt, functional.silu(self.sigma_map(sigma)), Attention(*self.angles(xt.shape[1], xt.device)))

    def logits(self, xt: Tensor, level: NoiseLevel) -> Tensor:
        return self.head(self.hidden(xt, level))


@final
class MdlmCausalLM(Backbone):
    """The paper's autoregressive baseline as a :class:`bpb_harness.denoiser.CausalLM`."""

    vocab_size: int
    context_length: int

    def logits(self, x: Tensor) -> Tensor:
        attention = Attention(*self.angles(x.shape[1], x.device), is_causal=True)
        return self.head(self.trunk(x, None, attention))


@final
class MdlmAdapter(AccountedAdapter):
    """Lightning checkpoints of the MDLM code and its successors, and folders with ``model_type: mdlm``."""

    name = "mdlm"

    def fits(self, checkpoint: Checkpoint) -> bool:
        return has_backbone(checkpoint, self.name)

    def build(self, account: Account, *, device: torch.device, dtype: torch.dtype) -> AdaptedModel:
        settings = MdlmSettings(account)
        is_causal = PREFIX + "sigma_map.mlp.0.weight" not in account.checkpoint.tensors
        settings.require_implemented(is_causal=is_causal)
        rows, _ = account.shape(PREFIX + "vocab_embed.embedding", 2)
        mask_token_id = mask_token_id_of(settings, rows)
        model = (MdlmCausalLM if is_causal else MdlmDenoiser)(account, dtype)
        settings.compare_sizes(**model.sizes)
        weights_note = fill(model, account, settings)
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
        notes = (weights_note, f"mask id {mask_token_id} of {rows} rows: {mask_reason(settings)}", *settings.notes())
        return AdaptedModel(model, self.name, settings.schedule(), notes)
