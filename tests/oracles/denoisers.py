"""The oracles' beliefs as torch objects that satisfy the product's ``Denoiser`` and ``CausalLM`` protocols."""

from __future__ import annotations

import torch

from tests.oracles.conditionals import Conditionals, Markov


class OracleDenoiser:
    """Any :class:`Conditionals` as a denoiser of float64 logits.

    Args:
        model: what it believes.
        mask_token_id: None for the id after the last clean one; an id from 0 to V puts the mask inside the vocabulary,
            which then has V + 1 ids of which V are clean.
        context_length: the longest window.
        padding: further columns of logits, filled with large numbers: a harness that reads them is wrong.
        mask_logit: what the mask's own column holds, for a harness that forgets to remove it.
    """

    def __init__(
        self,
        model: Conditionals,
        *,
        mask_token_id: int | None = None,
        context_length: int = 64,
        padding: int = 0,
        mask_logit: float = 5.0,
    ) -> None:
        self.model = model
        inside = mask_token_id is not None
        self.vocab_size = model.vocab_size + inside
        self.mask_token_id = mask_token_id if inside else model.vocab_size
        self.context_length = context_length
        self.time_conditioned = model.time_conditioned
        self._clean_ids = [i for i in range(model.vocab_size + 1) if i != self.mask_token_id]
        self._width = model.vocab_size + 1 + padding
        self._mask_logit = mask_logit
        self.num_calls = 0

    def encode(self, x: tuple[int, ...]) -> torch.Tensor:
        """Token indices of the oracle -> ids of the denoiser, (L,) int64."""
        return torch.tensor([self._clean_ids[token] for token in x], dtype=torch.int64)

    def logits(self, xt: torch.Tensor, level: object) -> torch.Tensor:
        self.num_calls += 1
        index = {token_id: i for i, token_id in enumerate(self._clean_ids)}
        rates = (1.0 - level.alpha_t).tolist()  # type: ignore[attr-defined]
        logits = torch.full((*xt.shape, self._width), 50.0, dtype=torch.float64)
        logits[..., self.mask_token_id] = self._mask_logit
        beliefs = [
            self.model.log_probs(tuple(index.get(token) for token in window), u)
            for window, u in zip(xt.tolist(), rates, strict=True)
        ]
        if beliefs:
            logits[..., self._clean_ids] = torch.tensor(beliefs, dtype=torch.float64)
        return logits


class MarkovCausalLM:
    """A Markov chain as an autoregressive model: position i predicts token i + 1."""

    def __init__(self, model: Markov, context_length: int = 64) -> None:
        self.model, self.vocab_size, self.context_length = model, model.vocab_size, context_length
        self._table = torch.tensor(model.transition, dtype=torch.float64).log()

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        return self._table[x]
