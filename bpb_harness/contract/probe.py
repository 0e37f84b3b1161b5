"""Questions: what a network sees, and where its answer counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from bpb_harness.denoiser import CausalLM, Denoiser
from bpb_harness.schedule import NoiseLevel, NoiseSchedule


@final
@dataclass(frozen=True)
class Probe:
    """One question.

    Attributes:
        x0: clean tokens, (B, L); for a causal model also its input.
        counted: positions whose distribution is compared, (B, L) bool; those that a denoiser does not see.
        targets: the token to be predicted at each position, (B, L).
        level: noise level of each row; None for a causal model.
    """

    x0: Tensor
    counted: Tensor
    targets: Tensor
    level: NoiseLevel | None

    def __getitem__(self, rows: slice | Tensor) -> Probe:
        level = None if self.level is None else self.level[rows]
        return Probe(self.x0[rows], self.counted[rows], self.targets[rows], level)

    def __len__(self) -> int:
        return len(self.x0)

    def repeated(self, size: int) -> Probe:
        """A batch of ``size`` rows, these over and over."""
        return self[torch.arange(size, device=self.x0.device) % len(self)]


def concatenated(probes: Sequence[Probe]) -> Probe:
    """The rows of several questions as one batch."""
    levels = [probe.level for probe in probes if probe.level is not None]
    level = None
    if levels:
        level = NoiseLevel(
            torch.cat([each.t for each in levels]),
            torch.cat([each.alpha_t for each in levels]),
            torch.cat([each.dalpha_t for each in levels]),
        )
    x0, counted, targets = ([getattr(probe, name) for probe in probes] for name in ("x0", "counted", "targets"))
    return Probe(torch.cat(x0), torch.cat(counted), torch.cat(targets), level)


def denoiser_probe(x0: Tensor, schedule: NoiseSchedule, generator: torch.Generator) -> Probe:
    """Masks at rates spread over the rows, one position masked at least and one visible where there are two."""
    B, L = x0.shape
    rates = (torch.arange(B, dtype=torch.float64) + torch.rand(B, generator=generator, dtype=torch.float64)) / B
    rates = 0.1 + 0.8 * rates
    masked = torch.rand(B, L, generator=generator, dtype=torch.float64) < rates.unsqueeze(1)
    forced = torch.randint(L, (B,), generator=generator)
    masked[torch.arange(B), (forced + 1) % L] = False
    masked[torch.arange(B), forced] = True
    u = schedule.min_mask_rate + (schedule.max_mask_rate - schedule.min_mask_rate) * rates
    return Probe(x0, masked.to(x0.device), x0, schedule.level_at(u).to(x0.device))


def revealed(probe: Probe, generator: torch.Generator) -> Probe:
    """The same windows with all shown that was masked, and a tenth of the rest masked: a draw of a low rate."""
    tenth = torch.rand(probe.counted.shape, generator=generator, dtype=torch.float64) < 0.1
    return Probe(probe.x0, tenth.to(probe.x0.device) & ~probe.counted, probe.targets, probe.level)


def causal_probe(x: Tensor) -> Probe:
    """All positions count; the last one's target lies outside the window and is taken to be its first token."""
    return Probe(x, torch.ones_like(x, dtype=torch.bool), x.roll(-1, dims=1), None)


def replaced(x0: Tensor, model: Denoiser | CausalLM, generator: torch.Generator) -> Tensor:
    """Other clean tokens at every position, where there are others."""
    if model.vocab_size < 2:
        return x0
    other = torch.randint(model.vocab_size - 1, x0.shape, generator=generator).to(x0.device)
    other = other + (other >= x0)
    if isinstance(model, Denoiser):
        other = torch.where(other == model.mask_token_id, x0, other)
    return other
