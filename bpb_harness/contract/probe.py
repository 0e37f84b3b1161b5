"""Questions: what a network sees, and where its answer counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor
from torch.nn import functional

from bpb_harness.denoiser import BlockDenoiser, CausalLM, ContextDenoiser, Denoiser, num_blocks, own_block_size
from bpb_harness.schedule import NoiseLevel, NoiseSchedule

# Rates reach both ends: a network that is told the noise level must not tell a question from a draw by it.
_MIN_RATE = 1e-3


@final
@dataclass(frozen=True)
class Probe:
    """One question.

    Attributes:
        x0: clean tokens, (B, L); for a causal model also its input.
        counted: positions whose distribution is compared, (B, L) bool; those that a denoiser does not see.
        targets: the token to be predicted at each position, (B, L).
        level: noise level of each row, (B,); of each block of a row, (B, K), where all blocks are asked in one call;
            None for a causal model.
        context_lengths: how many tokens of each row are context, (B,) int64, none of them counted; None where the
            network is not told.
        clean: of blocks in one call, what stands in the clean half, (B, L); None: ``x0``.
    """

    x0: Tensor
    counted: Tensor
    targets: Tensor
    level: NoiseLevel | None
    context_lengths: Tensor | None = None
    clean: Tensor | None = None

    @property
    def by_blocks(self) -> bool:
        """Whether all blocks of a row are asked in one call."""
        return self.level is not None and self.level.t.ndim == 2

    def __getitem__(self, rows: slice | Tensor) -> Probe:
        level = None if self.level is None else self.level[rows]
        contexts = None if self.context_lengths is None else self.context_lengths[rows]
        clean = None if self.clean is None else self.clean[rows]
        return Probe(self.x0[rows], self.counted[rows], self.targets[rows], level, contexts, clean)

    def __len__(self) -> int:
        return len(self.x0)

    def repeated(self, size: int) -> Probe:
        """A batch of ``size`` rows, these over and over."""
        return self[torch.arange(size, device=self.x0.device) % len(self)]


def concatenated(probes: Sequence[Probe]) -> Probe:
    """The rows of several questions as one batch; none with a clean half of its own."""
    assert all(probe.clean is None for probe in probes)
    levels = [probe.level for probe in probes if probe.level is not None]
    level = None
    if levels:
        level = NoiseLevel(
            torch.cat([each.t for each in levels]),
            torch.cat([each.alpha_t for each in levels]),
            torch.cat([each.dalpha_t for each in levels]),
        )
    contexts = [probe.context_lengths for probe in probes if probe.context_lengths is not None]
    x0, counted, targets = ([getattr(probe, name) for probe in probes] for name in ("x0", "counted", "targets"))
    return Probe(
        torch.cat(x0), torch.cat(counted), torch.cat(targets), level, torch.cat(contexts) if contexts else None
    )  # fmt: skip


def denoiser_probe(x0: Tensor, schedule: NoiseSchedule, generator: torch.Generator, model: Denoiser) -> Probe:
    """Masks at rates spread over the rows, one position masked at least and one visible where there are two.

    Where the network is told of contexts, they are of 0 tokens in the first row and ever more in the others, and all
    masks lie behind them. Of a network of blocks, all of this is within the last block of a row.
    """
    start = first_target(x0, model)
    probe = _of_targets(x0[:, start:], schedule, generator)
    counted = functional.pad(probe.counted, (start, 0))
    probe = replace(probe, x0=x0, targets=x0, counted=counted)
    if not isinstance(model, ContextDenoiser):
        return probe
    B, L = x0.shape
    ends = start + (torch.arange(B) + torch.rand(B, generator=generator, dtype=torch.float64)) * (L - start) / B
    ends[0] = start
    return _behind(probe, ends.to(torch.int64).to(x0.device))


def first_target(x0: Tensor, model: Denoiser | None) -> int:
    """Where the last block of a row begins; 0 for a network without blocks."""
    size = own_block_size(model)
    return 0 if size is None else (x0.shape[1] - 1) // size * size


def _of_targets(x0: Tensor, schedule: NoiseSchedule, generator: torch.Generator) -> Probe:
    B, L = x0.shape
    rates = (torch.arange(B, dtype=torch.float64) + torch.rand(B, generator=generator, dtype=torch.float64)) / B
    rates = rates.clamp(min=_MIN_RATE)
    masked = torch.rand(B, L, generator=generator, dtype=torch.float64) < rates.unsqueeze(1)
    forced = torch.randint(L, (B,), generator=generator)
    masked[torch.arange(B), (forced + 1) % L] = False
    masked[torch.arange(B), forced] = True
    u = schedule.min_mask_rate + (schedule.max_mask_rate - schedule.min_mask_rate) * rates
    return Probe(x0, masked.to(x0.device), x0, schedule.level_at(u).to(x0.device))


def block_probe(x0: Tensor, schedule: NoiseSchedule, generator: torch.Generator, model: BlockDenoiser) -> Probe:
    """All blocks of each row: a mask rate of its own for each, one position masked at least."""
    (B, L), size = x0.shape, model.block_size
    count = num_blocks(L, size)
    rates = torch.rand(B, count, generator=generator, dtype=torch.float64).clamp(min=_MIN_RATE)
    masked = torch.rand(B, L, generator=generator, dtype=torch.float64) < rates.repeat_interleave(size, dim=1)[:, :L]
    starts = torch.arange(count) * size
    within = torch.rand(B, count, generator=generator, dtype=torch.float64) * (L - starts).clamp(max=size)
    masked.scatter_(1, starts + within.to(torch.int64), True)
    u = schedule.min_mask_rate + (schedule.max_mask_rate - schedule.min_mask_rate) * rates
    return Probe(x0, masked.to(x0.device), x0, schedule.level_at(u).to(x0.device))


def _behind(probe: Probe, context_lengths: Tensor) -> Probe:
    """The question with contexts: nothing in them is masked, and the last token where nothing else would be.

    Nor is the first token of a row masked, so that each could have a longer or a shorter context.
    """
    counted = probe.counted & _is_target(probe.x0, context_lengths)
    counted[:, 0] = False
    counted[:, -1] |= ~counted.any(dim=1)
    return replace(probe, counted=counted, context_lengths=context_lengths)


def _is_target(x0: Tensor, context_lengths: Tensor) -> Tensor:
    return torch.arange(x0.shape[1], device=x0.device) >= context_lengths.unsqueeze(1)


def revealed(probe: Probe, generator: torch.Generator, model: Denoiser | None = None) -> Probe:
    """The same windows with all shown that was masked, and a tenth of the rest masked: a draw of a low rate.

    Where there are contexts, every other row shows as context what was masked, up to its last token, which is masked.
    Of a network of blocks, a tenth of the last block of each row, where blocks are not asked in one call.
    """
    tenth = torch.rand(probe.counted.shape, generator=generator, dtype=torch.float64) < 0.1
    if not probe.by_blocks:
        tenth[:, : first_target(probe.x0, model)] = False
    shown = replace(probe, counted=tenth.to(probe.x0.device) & ~probe.counted)
    if probe.context_lengths is None:
        return shown
    contexts = probe.context_lengths.clone()
    contexts[1::2] = probe.x0.shape[1] - 1
    return replace(shown, counted=shown.counted & _is_target(probe.x0, contexts), context_lengths=contexts)


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
