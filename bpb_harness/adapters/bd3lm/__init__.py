"""``bd3lm``: checkpoints of the block-diffusion code (BD3-LM, Arriola et al. 2025, arXiv 2503.09573).

The network is the diffusion transformer of :mod:`bpb_harness.adapters.mdlm`, with another rule of what attends to what.
Lightning checkpoints are read, and the folders that its authors published: ``config.json`` with ``model_type: bd3lm``
and weights of the same names.
"""

from __future__ import annotations

from typing import final

import torch

from bpb_harness.adapters.accounting.account import Account, AccountedAdapter
from bpb_harness.adapters.adapter import AdaptedModel
from bpb_harness.adapters.bd3lm.network import Bd3lmBlockDenoiser, Bd3lmDenoiser
from bpb_harness.adapters.bd3lm.settings import block_size_of, notes, require_implemented
from bpb_harness.adapters.mdlm.average import fill
from bpb_harness.adapters.mdlm.backbone import PREFIX, has_backbone
from bpb_harness.adapters.mdlm.mask import mask_reason, mask_token_id_of
from bpb_harness.adapters.mdlm.settings import MdlmSettings
from bpb_harness.checkpoints import Checkpoint
from bpb_harness.errors import CheckpointError
from bpb_harness.networks.layers import ready


@final
class Bd3lmAdapter(AccountedAdapter):
    """Lightning checkpoints of the BD3-LM code, and folders with ``model_type: bd3lm``."""

    name = "bd3lm"

    def fits(self, checkpoint: Checkpoint) -> bool:
        return has_backbone(checkpoint, self.name)

    def build(self, account: Account, *, device: torch.device, dtype: torch.dtype) -> AdaptedModel:
        settings, name = MdlmSettings(account), account.checkpoint.path.name
        require_implemented(settings, account)
        block_size = block_size_of(settings, name)
        rows, _ = account.shape(PREFIX + "vocab_embed.embedding", 2)
        mask_token_id = mask_token_id_of(settings, rows)
        is_modulated = _is_modulated(settings, account)
        # Without the embedding of the noise there is nothing to tell it by.
        time_conditioned = settings.time_conditioned and is_modulated
        alone = time_conditioned and block_size < settings.length
        model = (Bd3lmDenoiser if alone else Bd3lmBlockDenoiser)(
            account, dtype, block_size=block_size, time_conditioned=time_conditioned,
            largest_sigma=settings.largest_sigma,
        )  # fmt: skip
        settings.compare_sizes(**model.sizes)
        weights_note = fill(model, account, settings)
        model.context_length, model.mask_token_id = settings.length, mask_token_id
        # An appended mask is the last row, beyond the clean ids; one of the tokenizer's own lies among them.
        model.vocab_size = rows - 1 if mask_token_id == rows - 1 else rows
        ready(model, device)
        mask_note = f"mask id {mask_token_id} of {rows} rows: {mask_reason(settings)}"
        return AdaptedModel(
            model, self.name, settings.schedule(), (weights_note, mask_note, *notes(settings, block_size))
        )


def _is_modulated(settings: MdlmSettings, account: Account) -> bool:
    """Whether the norms are modulated by an embedding of the noise; the setting ``adaln`` of folders must agree."""
    has_it = PREFIX + "sigma_map.mlp.0.weight" in account.checkpoint.tensors
    if not has_it and not settings.is_folder:
        raise CheckpointError(
            f"{account.checkpoint.path.name} lacks the tensor {PREFIX}sigma_map.mlp.0.weight",
            expected="a network that is told the noise, as block diffusion has in that code",
        )
    stated = settings.flag("adaln") if settings.is_folder else None
    settings.one_of("adaln", stated, (has_it,), f"{has_it}, as the tensors are")
    if not has_it:
        account.set_settings_aside("cond_dim")
    return has_it
