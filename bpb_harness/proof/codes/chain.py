"""The code behind ``--method chain``: in each of its orders, as it stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch

from bpb_harness.denoiser import CausalLM, Denoiser, clean_log_probs, denoiser_logits
from bpb_harness.estimators import ChainRule
from bpb_harness.estimators.orders import next_positions
from bpb_harness.proof.codes.code import Canvas, Code
from bpb_harness.proof.symbols import Symbols


@final
@dataclass(frozen=True)
class ChainProof(Code):
    """Its length is the score of the spans, token by token.

    Attributes:
        rule: the order, and what the network is told of each step.
    """

    is_drawn: ClassVar[bool] = False
    rule: ChainRule

    def num_calls(self, length: int) -> int:
        return self.rule.passes(length)

    def follow(self, model: Denoiser | CausalLM, canvas: Canvas, symbols: Symbols) -> None:
        assert isinstance(model, Denoiser)
        rule, length, context = self.rule, canvas.num_targets, canvas.context_length
        batch, device = len(canvas.windows), canvas.tokens.device
        order = rule.fixed_order(canvas.windows, length)
        visible = (torch.arange(context + length, device=device) < context).expand(batch, -1)
        rows = torch.arange(batch, device=device)[:, None]
        for step in range(rule.passes(length)):
            done = step * rule.tokens_per_step
            count = min(rule.tokens_per_step, length - done)
            contexts, level = rule.told(model, length - done, length, context, batch)
            logits = denoiser_logits(model, canvas.tokens, level.to(device), context_lengths=contexts.to(device))
            if order is None:
                log_probs = clean_log_probs(logits, vocab_size=model.vocab_size, mask_token_id=model.mask_token_id)
                chosen = next_positions(rule.order, log_probs, visible, count)
                log_probs = log_probs[rows, chosen]
            else:
                chosen = order[:, done : done + count].to(device) + context
                log_probs = clean_log_probs(
                    logits[rows, chosen], vocab_size=model.vocab_size, mask_token_id=model.mask_token_id
                )
            which = rows.expand(-1, count).flatten(), chosen.flatten() - context
            canvas.reveal(symbols, log_probs.flatten(0, 1), *which)
            visible = visible.scatter(1, chosen, True)
