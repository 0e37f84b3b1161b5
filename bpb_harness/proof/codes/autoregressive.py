"""The code behind ``--method ar``: token after token, of a network that is shown no later one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch

from bpb_harness.denoiser import CausalLM, Denoiser, causal_logits, clean_log_probs
from bpb_harness.proof.codes.code import Canvas, Code
from bpb_harness.proof.symbols import Symbols


@final
@dataclass(frozen=True)
class AutoregressiveProof(Code):
    """Its length is the score of the spans; the input ends before the token to come, so that none is there to read."""

    is_drawn: ClassVar[bool] = False

    def num_calls(self, length: int) -> int:
        return length

    def follow(self, model: Denoiser | CausalLM, canvas: Canvas, symbols: Symbols) -> None:
        assert not isinstance(model, Denoiser)
        assert canvas.context_length > 0
        rows = torch.arange(len(canvas.windows))
        for target in range(canvas.num_targets):
            logits = causal_logits(model, canvas.tokens[:, : canvas.context_length + target])
            log_probs = clean_log_probs(logits[:, -1], vocab_size=model.vocab_size, mask_token_id=-1)
            canvas.reveal(symbols, log_probs, rows, torch.full_like(rows, target))
