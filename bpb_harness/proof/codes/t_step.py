"""The code behind the T-step bound: positions are revealed together whose tau lies in one step of the grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
import torch

from bpb_harness.denoiser import CausalLM, Denoiser
from bpb_harness.estimators import DiscreteBound
from bpb_harness.proof.codes.code import Canvas, Code, reveal_at, reveal_uniformly
from bpb_harness.proof.symbols import Symbols
from bpb_harness.sampling.streams import RandomStreams


@final
@dataclass(frozen=True)
class TStepProof(Code):
    """Mean length over tau: the bound of T steps, exactly (MATHS.md, equation 35).

    Targets with tau > u_max come first, uniformly over the clean tokens; then, for i = T, .., 1, those with
    u_{i-1} < tau <= u_i, each given all targets with tau > u_i; last those with tau <= u_0. Steps that reveal nothing
    make no call.

    Attributes:
        bound: the schedule and its grid.
        streams: where tau comes from.
        draw: which draw of it.
    """

    is_drawn: ClassVar[bool] = True
    bound: DiscreteBound
    streams: RandomStreams
    draw: int = 0

    def num_calls(self, length: int) -> int:
        return min(self.bound.num_steps + 1, length)

    def follow(self, model: Denoiser | CausalLM, canvas: Canvas, symbols: Symbols) -> None:
        assert isinstance(model, Denoiser)
        length, grid, schedule = canvas.num_targets, self.bound.grid, self.bound.schedule
        rates = [self.streams.reveal_rates(int(window), length, self.draw) for window in canvas.windows]
        # Step i has u_{i-1} < tau <= u_i; 0 is reconstruction, and T + 1 the prior.
        step = torch.searchsorted(grid, torch.from_numpy(np.stack(rates)))
        last = self.bound.num_steps
        reveal_uniformly(model, canvas, symbols, step > last)
        for index in torch.unique(step[step <= last]).flip(0).tolist():
            told = grid[index].expand(len(canvas.windows))
            reveal_at(model, canvas, symbols, step == index, told, schedule)
