"""The code behind the continuous bound: one position a step, told its own tau."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
import torch

from bpb_harness.denoiser import CausalLM, Denoiser
from bpb_harness.estimators import ContinuousBound
from bpb_harness.proof.codes.code import Canvas, Code, reveal_at, reveal_uniformly
from bpb_harness.proof.symbols import Symbols
from bpb_harness.sampling.streams import RandomStreams


@final
@dataclass(frozen=True)
class ContinuousProof(Code):
    """Mean length over tau: the continuous bound (MATHS.md, equation 36).

    Targets with tau > u_max come first, uniformly; then those with tau > u_0 one after another, tau falling, each given
    all with a larger one and told tau as its mask rate; last those with tau <= u_0, together.

    Attributes:
        bound: the schedule.
        streams: where tau comes from.
        draw: which draw of it.
    """

    is_drawn: ClassVar[bool] = True
    bound: ContinuousBound
    streams: RandomStreams
    draw: int = 0

    def num_calls(self, length: int) -> int:
        return length

    def follow(self, model: Denoiser | CausalLM, canvas: Canvas, symbols: Symbols) -> None:
        assert isinstance(model, Denoiser)
        length, schedule = canvas.num_targets, self.bound.schedule
        low, high = schedule.min_mask_rate, schedule.max_mask_rate
        rates = [self.streams.reveal_rates(int(window), length, self.draw) for window in canvas.windows]
        tau = torch.from_numpy(np.stack(rates))
        reveal_uniformly(model, canvas, symbols, tau > high)
        alone = (tau <= high) & (tau > low)
        turn = tau.masked_fill(~alone, -1.0).argsort(dim=1, descending=True, stable=True).argsort(dim=1)
        for index in range(int(alone.sum(dim=1).max())):
            which = alone & (turn == index)
            told = torch.where(which, tau, 0.0).sum(dim=1)
            reveal_at(model, canvas, symbols, which, told, schedule)
        reveal_at(model, canvas, symbols, tau <= low, torch.full((len(tau),), low, dtype=torch.float64), schedule)
