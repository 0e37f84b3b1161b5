"""``golf-gpt``: the parameter-golf contest's autoregressive baseline and records that grew from it.

From state dicts, and from the contest's compressed files of int8 and int6 levels.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor
from torch.nn import functional

from bpb_harness.adapters.accounting.account import Account, AccountedAdapter
from bpb_harness.adapters.adapter import AdaptedModel
from bpb_harness.adapters.golf_prefix import TABLES
from bpb_harness.adapters.golf_record import RecordGpt, is_banked, is_record
from bpb_harness.adapters.golf_stated import source_of, taken_for_granted
from bpb_harness.adapters.golf_transformer import (
    BUILT_IN,
    LOGIT_CAP,
    NEEDED,
    ROTARY_BASE,
    GolfTransformer,
    context_length,
)
from bpb_harness.checkpoints import Checkpoint
from bpb_harness.networks.layers import autocast, ready

# Stands in no file: the contest's setting.
CONTEXT_LENGTH = 1024


@final
class GolfGpt(GolfTransformer):
    """The network as a :class:`bpb_harness.denoiser.CausalLM`."""

    def __init__(self, account: Account, dtype: torch.dtype) -> None:
        super().__init__(account, dtype)
        self.context_length = context_length(account, CONTEXT_LENGTH)
        account.fill(self)
        account.compare(self.facts)

    def logits(self, x: Tensor) -> Tensor:
        with autocast(x.device, self._dtype):
            return self._from_embedded(functional.embedding(x, self._embedding(self.tok_emb)))


@final
class GolfGptAdapter(AccountedAdapter):
    """State dicts and compressed files of the contest's baseline and its records."""

    name = "golf-gpt"

    def fits(self, checkpoint: Checkpoint) -> bool:
        tensors = checkpoint.tensors
        known_layout = checkpoint.layout in ("tensors", "golf-int8", "golf-int6", "native")
        is_prefix = all(name in tensors for name in TABLES)
        needed = [name for name in NEEDED if not (is_banked(tensors) and ".mlp." in name)]
        return known_layout and not is_prefix and all(name in tensors for name in needed)

    def takes_stated(self, checkpoint: Checkpoint) -> bool:
        return self.fits(checkpoint)

    def build(self, account: Account, *, device: torch.device, dtype: torch.dtype) -> AdaptedModel:
        checkpoint = account.checkpoint
        if checkpoint.stated or is_record(checkpoint.tensors):
            return self._record(account, device, dtype)
        model = GolfGpt(account, dtype)
        ready(model, device)
        stated = account.stated("context_length") is not None
        context = f"context {model.context_length}" + (" is stated;" if stated else ",")
        note = f"{context} rotary base {ROTARY_BASE:g} and logit cap {LOGIT_CAP:g} are the contest's"
        return AdaptedModel(model, self.name, None, (note, taken_for_granted(BUILT_IN)))

    def _record(self, account: Account, device: torch.device, dtype: torch.dtype) -> AdaptedModel:
        model = RecordGpt(account, dtype)
        ready(model, device)
        source = source_of(account.checkpoint.stated)
        note = f"what stands in no tensor comes from {source}: {str(model.settings).replace(',', ', ')}"
        rest = taken_for_granted("norms without weights, rotation behind the norms of queries and keys")
        return AdaptedModel(model, f"{self.name}[{model.settings}]", None, (note, rest))
