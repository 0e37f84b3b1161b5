"""``--method ar``: the exact code length of an autoregressive model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from torch import Tensor

from bpb_harness.denoiser import CausalLM, causal_logits, clean_log_probs


@final
@dataclass(frozen=True)
class AutoregressiveCode:
    """Chain rule of a causal model, span by span; the first token of the text is given, not paid for."""

    method: ClassVar[str] = "ar"
    relation: ClassVar[str] = "="

    def token_nats(self, model: CausalLM, x: Tensor, targets: Tensor) -> Tensor:
        """Negative log-likelihood of each target, (B, L) float64 nats.

        Args:
            model: the network.
            x: input tokens, (B, L) int64.
            targets: the token after each of them, (B, L) int64.
        """
        log_probs = clean_log_probs(causal_logits(model, x), vocab_size=model.vocab_size, mask_token_id=-1)
        return -log_probs.gather(-1, targets.unsqueeze(-1)).squeeze(-1).double()
