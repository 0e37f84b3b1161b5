"""``golf-prefix``: the parameter-golf contest's prefix-conditioned suffix diffusion, from its state dict or int8 file.

The contest's causal transformer, which is told two things more, each by a table that is added to the embedding: which
tokens are the given prefix and which the suffix, and the step of the suffix's noise. It predicts masked tokens of the
suffix at their own position. The mask is an id inside the vocabulary, whose logit the harness leaves out.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from bpb_harness.adapters.accounting.account import Account, AccountedAdapter
from bpb_harness.adapters.adapter import AdaptedModel
from bpb_harness.adapters.golf_stated import taken_for_granted
from bpb_harness.adapters.golf_transformer import (
    BUILT_IN,
    LOGIT_CAP,
    NEEDED,
    ROTARY_BASE,
    GolfTransformer,
    context_length,
)
from bpb_harness.checkpoints import Checkpoint
from bpb_harness.errors import CheckpointError
from bpb_harness.networks.layers import autocast, ready
from bpb_harness.schedule import LogLinear, NoiseLevel

TABLES = ("time_emb.weight", "role_emb.weight")
# Stand in no file: the entry's mask, the longest windows of its runs, and those that are scored unless others are
# asked for. Rotary angles are computed, so windows of any length go through.
MASK_TOKEN_ID = 2
CONTEXT_LENGTH, WINDOW_LENGTH = 1024, 512
# Step s masks s of num_steps parts of the suffix.
SCHEDULE = LogLinear()
_ROLES = 2
_NOT_THE_NETWORK = r"(.*\.)?diffusion_(min_prefix|eval_max_seqs|eval_batch_size)"


@final
class GolfPrefix(GolfTransformer):
    """The network as a :class:`bpb_harness.denoiser.ContextDenoiser`."""

    time_conditioned = True

    def __init__(self, account: Account, dtype: torch.dtype) -> None:
        super().__init__(account, dtype)
        name = account.checkpoint.path.name
        num_rows, _ = account.shape("time_emb.weight", 2)
        num_roles, _ = account.shape("role_emb.weight", 2)
        if num_rows < 2:
            raise CheckpointError(
                f"{name}: time_emb.weight", seen=f"{num_rows} row", expected="2 or more: step 0, and those of the noise"
            )
        if num_roles != _ROLES:
            raise CheckpointError(
                f"{name}: role_emb.weight", seen=f"{num_roles} rows", expected=f"{_ROLES}: prefix and suffix"
            )
        self.num_steps = num_rows - 1
        self.mask_token_id = _mask_token_id(account, self.vocab_size)
        account.require_one_block(CONTEXT_LENGTH)
        self.context_length = context_length(account, CONTEXT_LENGTH)
        self.time_emb = nn.Embedding(num_rows, self._width)
        self.role_emb = nn.Embedding(num_roles, self._width)
        account.fill(self)
        account.compare(
            self.facts | {"num_diffusion_steps": self.num_steps, "time_conditioned": True, "diffusion_enabled": True}
        )
        account.set_settings_aside(_NOT_THE_NETWORK)

    def steps(self, level: NoiseLevel) -> Tensor:
        """The step that the network is told at each level, (B,) int64: the one whose mask rate is nearest, not 0.

        Step s of T was trained at the mask rate s / T alone, so at those rates it is told s. Between them any step
        gives a bound; the nearest is told the least wrong rate, and the last digits of u decide nothing at a rate that
        was trained, as they would if u T were rounded up or down. Of two as near it is the noisier. Step 0, at which
        nothing is masked, was never trained.
        """
        nearest = torch.floor(self.num_steps * level.mask_rate + 0.5)
        return nearest.clamp(1, self.num_steps).to(torch.int64)

    def logits(self, xt: Tensor, level: NoiseLevel) -> Tensor:
        return self.logits_given(xt, level, torch.zeros(xt.shape[0], dtype=torch.int64, device=xt.device))

    def logits_given(self, xt: Tensor, level: NoiseLevel, context_lengths: Tensor) -> Tensor:
        """(B, L, V); the step is told at all positions, the prefix too, as in training."""
        is_suffix = torch.arange(xt.shape[1], device=xt.device) >= context_lengths[:, None]
        with autocast(xt.device, self._dtype):
            tokens = functional.embedding(xt, self._embedding(self.tok_emb))
            times = functional.embedding(self.steps(level), self._embedding(self.time_emb))
            roles = functional.embedding(is_suffix.to(torch.int64), self._embedding(self.role_emb))
            return self._from_embedded(tokens + times[:, None] + roles)


def _mask_token_id(account: Account, vocab_size: int) -> int:
    """The stated mask, else the entry's: an id inside the vocabulary, for the embedding has no row behind it."""
    stated = account.stated("mask_token_id")
    mask = MASK_TOKEN_ID if stated is None else stated
    if not isinstance(mask, int) or isinstance(mask, bool) or not 0 <= mask < vocab_size:
        raise CheckpointError(
            f"{account.checkpoint.path.name}: mask id",
            seen=repr(mask),
            expected=f"an id below {vocab_size}, the rows of tok_emb.weight",
        )
    return mask


@final
class GolfPrefixAdapter(AccountedAdapter):
    """State dicts and int8 files of the contest's prefix-conditioned entry."""

    name = "golf-prefix"

    def fits(self, checkpoint: Checkpoint) -> bool:
        known_layout = checkpoint.layout in ("tensors", "golf-int8", "native")
        return known_layout and all(name in checkpoint.tensors for name in (*NEEDED, *TABLES))

    def build(self, account: Account, *, device: torch.device, dtype: torch.dtype) -> AdaptedModel:
        model = GolfPrefix(account, dtype)
        ready(model, device)
        mask = "stated" if account.stated("mask_token_id") is not None else "the contest entry's"
        notes = [
            f"mask id {model.mask_token_id}, inside the vocabulary, is {mask}; rotary base {ROTARY_BASE:g} and logit "
            f"cap {LOGIT_CAP:g} are the contest's",
            f"at mask rate u of the targets the network is told the nearest of its steps 1 to {model.num_steps}, "
            f"round({model.num_steps} u)",
            taken_for_granted(BUILT_IN),
        ]
        window = None
        if account.stated("context_length") is None:
            window = WINDOW_LENGTH
            notes.append(
                f"windows are {WINDOW_LENGTH} tokens unless --context says otherwise (at most {CONTEXT_LENGTH}): the "
                "file does not say what it was trained on"
            )
        schedule = account.schedule() or SCHEDULE
        return AdaptedModel(model, self.name, schedule, tuple(notes), window_length=window)
