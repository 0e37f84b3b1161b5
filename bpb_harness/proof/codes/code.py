"""What a code is: a loop over the steps in which the tokens of some spans become known."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bpb_harness.denoiser import CausalLM, Denoiser, clean_log_probs, denoiser_logits, num_clean_tokens
from bpb_harness.proof.symbols import Symbols
from bpb_harness.schedule import NoiseSchedule

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@final
@dataclass
class Canvas:
    """Spans of one shape as far as they are known; a code fills it.

    Attributes:
        tokens: context and targets, (B, C + L) int64 on the network's device; what is not known yet holds the mask.
        windows: index of each row among the spans that were scored, (B,): it addresses the shared randomness.
        context_length: C, tokens that are known from the start.
    """

    tokens: Tensor
    windows: Ints
    context_length: int

    @property
    def num_targets(self) -> int:
        """L."""
        return int(self.tokens.shape[1]) - self.context_length

    def reveal(self, symbols: Symbols, log_probs: Tensor, rows: Tensor, targets: Tensor) -> None:
        """Pay for some targets, and write them down.

        Args:
            symbols: writes or reads the tokens.
            log_probs: predictions of each, (n, V).
            rows: (n,) int64.
            targets: which target of its row each is, (n,) int64, counted from 0.
        """
        found = symbols.exchange(log_probs.double().cpu().numpy(), rows.cpu().numpy(), targets.cpu().numpy())
        self.tokens[rows, targets + self.context_length] = torch.from_numpy(found).to(self.tokens.device)


class Code(ABC):
    """A code of spans.

    Attributes:
        is_drawn: whether its length varies with the shared randomness, and is a bound in the mean alone.
    """

    is_drawn: ClassVar[bool]

    @abstractmethod
    def follow(self, model: Denoiser | CausalLM, canvas: Canvas, symbols: Symbols) -> None:
        """Reveal every target of a canvas.

        Args:
            model: the network.
            canvas: whose targets are all masked; afterwards they are all known.
            symbols: writes the tokens, or reads them.

        Raises:
            NumericsError: if a prediction is not a number.
        """

    @abstractmethod
    def num_calls(self, length: int) -> int:
        """The most calls of the network for a span of ``length`` targets."""


def reveal_uniformly(denoiser: Denoiser, canvas: Canvas, symbols: Symbols, which: Tensor) -> None:
    """Pay for targets, (B, L) bool, that the leftover prior is of: all clean tokens are equally likely."""
    rows, targets = which.nonzero(as_tuple=True)
    if not len(rows):
        return
    row = torch.full((denoiser.vocab_size,), -float(np.log(num_clean_tokens(denoiser))), dtype=torch.float64)
    if 0 <= denoiser.mask_token_id < denoiser.vocab_size:
        row[denoiser.mask_token_id] = -torch.inf
    canvas.reveal(symbols, row.expand(len(rows), -1), rows, targets)


def reveal_at(
    denoiser: Denoiser, canvas: Canvas, symbols: Symbols, which: Tensor, rates: Tensor, schedule: NoiseSchedule
) -> None:
    """Pay for targets under one call of the network, on the rows that have any.

    Args:
        denoiser: the network; it sees what is known of each row.
        canvas: the rows.
        symbols: writes or reads the tokens.
        which: targets, (B, L) bool.
        rates: mask rate that each row's network is told, (B,) float64.
        schedule: makes noise levels of them.
    """
    active = which.any(dim=1).nonzero()[:, 0]
    if not len(active):
        return
    device = canvas.tokens.device
    contexts = torch.full((len(active),), canvas.context_length, device=device)
    level = schedule.level_at(rates[active]).to(device)
    logits = denoiser_logits(denoiser, canvas.tokens[active.to(device)], level, context_lengths=contexts)
    rows, targets = which[active].nonzero(as_tuple=True)
    picked = logits[rows.to(device), (targets + canvas.context_length).to(device)]
    log_probs = clean_log_probs(picked, vocab_size=denoiser.vocab_size, mask_token_id=denoiser.mask_token_id)
    canvas.reveal(symbols, log_probs, active[rows], targets)
