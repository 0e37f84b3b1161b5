"""``--method chain``: an exact code length from a masked denoiser, by the chain rule.

Tokens are revealed one after another (or several at a time); each is paid for under the network's prediction given the
tokens already revealed. Any order is a code as long as a decoder can follow it: it may depend on tokens already paid
for and on shared randomness, never on the token to come. MATHS.md, section on the chain rule.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bpb_harness.denoiser import Denoiser, clean_log_probs, denoiser_logits, is_told_contexts
from bpb_harness.errors import UsageError
from bpb_harness.estimators.orders import Order, next_positions
from bpb_harness.sampling.streams import RandomStreams
from bpb_harness.schedule import NoiseLevel, NoiseSchedule


@final
@dataclass(frozen=True)
class ChainRule:
    """Code length of a window under an order of its positions.

    Attributes:
        schedule: tells a time-conditioned network its noise level: u = u_max m / L, at least u_0, with m of L
            tokens still masked.
        streams: shared randomness of the random order.
        order: left-to-right, random (one order a window), or by a score of the predictions: next come the positions
            whose likeliest token is likeliest (confidence), whose prediction has the lowest entropy, or the largest
            margin between the probabilities of its two likeliest tokens. Ties go by position.
        tokens_per_step: positions revealed together; their predictions do not see each other.
    """

    schedule: NoiseSchedule
    streams: RandomStreams
    order: Order = "left-to-right"
    tokens_per_step: int = 1

    method: ClassVar[str] = "chain"
    relation: ClassVar[str] = "="

    def __post_init__(self) -> None:
        if self.order not in get_args(Order):
            raise UsageError("--order", seen=self.order, expected=" or ".join(get_args(Order)))
        if self.tokens_per_step < 1:
            raise UsageError("--tokens-per-step", seen=self.tokens_per_step, expected="1 or more")

    def passes(self, length: int) -> int:
        """Calls of the network for a window of ``length`` tokens."""
        return -(-length // self.tokens_per_step)

    def token_nats(
        self, denoiser: Denoiser, x0: Tensor, windows: npt.NDArray[np.int64], *, context_length: int = 0
    ) -> Tensor:
        """Code length of each token, given those revealed before it.

        Args:
            denoiser: the network.
            x0: context and targets, (B, C + L) int64 on the network's device.
            windows: index in the corpus of each row, (B,): it addresses the random order.
            context_length: C, tokens that are visible from the start and not paid for.

        Returns:
            (B, L) float64 nats, on the device of ``x0``.
        """
        return self.reveal(denoiser, x0, windows, context_length=context_length)[0]

    def reveal(
        self, denoiser: Denoiser, x0: Tensor, windows: npt.NDArray[np.int64], *, context_length: int = 0
    ) -> tuple[Tensor, Tensor]:
        """What :meth:`token_nats` gives, and the step in which each token was revealed, from 0 on; (B, L) each."""
        batch, length = len(x0), x0.shape[1] - context_length
        order = self.fixed_order(windows, length)
        order = None if order is None else order.to(x0.device) + context_length
        visible = (torch.arange(x0.shape[1], device=x0.device) < context_length).expand(x0.shape)
        nats = torch.zeros(x0.shape, dtype=torch.float64, device=x0.device)
        revealed = torch.zeros_like(x0)
        for step in range(self.passes(length)):
            done = step * self.tokens_per_step
            count = min(self.tokens_per_step, length - done)
            context, level = self.told(denoiser, length - done, length, context_length, batch)
            xt = torch.where(visible, x0, denoiser.mask_token_id)
            logits = denoiser_logits(denoiser, xt, level.to(x0.device), context_lengths=context.to(x0.device))
            if order is not None:
                chosen = order[:, done : done + count]
                log_probs = self._normalise(denoiser, _rows(logits, chosen))
            else:
                log_probs = self._normalise(denoiser, logits)
                chosen = next_positions(self.order, log_probs, visible, count)
                log_probs = _rows(log_probs, chosen)
            paid = log_probs.gather(-1, x0.gather(1, chosen).unsqueeze(-1)).squeeze(-1)
            nats = nats.scatter(1, chosen, -paid.double())
            revealed = revealed.scatter(1, chosen, step)
            visible = visible.scatter(1, chosen, True)
        return nats[:, context_length:], revealed[:, context_length:]

    def told(
        self, denoiser: Denoiser, num_masked: int, length: int, context_length: int, batch: int
    ) -> tuple[Tensor, NoiseLevel]:
        """What the network is told of a step: lengths of contexts and noise levels, (B,) each.

        No time of the schedule masks less than u_0.

        Args:
            denoiser: the network.
            num_masked: m, targets that are not yet revealed.
            length: L, targets of the span.
            context_length: tokens before them.
            batch: B.
        """
        if self.grows_context(denoiser):
            context_length, length = context_length + length - num_masked, num_masked
        mask_rate = max(self.schedule.max_mask_rate * num_masked / length, self.schedule.min_mask_rate)
        level = self.schedule.level_at(torch.full((batch,), mask_rate, dtype=torch.float64))
        return torch.full((batch,), context_length), level

    def grows_context(self, denoiser: Denoiser) -> bool:
        """Whether tokens become context once they are paid for: left to right, if the network is told of contexts.

        All that is left is then masked, so that the rate told is u_max at every step.
        """
        return self.order == "left-to-right" and is_told_contexts(denoiser)

    def fixed_order(self, windows: npt.NDArray[np.int64], length: int) -> Tensor | None:
        """(B, L) positions in the order of reveal, or None where the network decides."""
        if self.order == "left-to-right":
            return torch.arange(length).expand(len(windows), length)
        if self.order == "random":
            return torch.from_numpy(np.stack([self.streams.order(int(window), 0, length) for window in windows]))
        return None

    @staticmethod
    def _normalise(denoiser: Denoiser, logits: Tensor) -> Tensor:
        return clean_log_probs(logits, vocab_size=denoiser.vocab_size, mask_token_id=denoiser.mask_token_id)


def _rows(values: Tensor, chosen: Tensor) -> Tensor:
    """(B, L, W) at positions (B, n) -> (B, n, W)."""
    return values.gather(1, chosen.unsqueeze(-1).expand(-1, -1, values.shape[-1]))
