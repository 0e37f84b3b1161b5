"""What a network says of itself: that it ignores the noise level, that its trunk and head are the network."""

from __future__ import annotations

from dataclasses import replace

import torch

from bpb_harness.contract.difference import Answer, Difference
from bpb_harness.contract.probe import Probe
from bpb_harness.contract.subject import Subject
from bpb_harness.denoiser import Denoiser, FactoredBlockDenoiser, PickingDenoiser, splits
from bpb_harness.errors import FactoringError, TimeConditioningError
from bpb_harness.result import Remark
from bpb_harness.schedule import NoiseSchedule


def check_time_conditioning(subject: Subject, probe: Probe, first: Answer, schedule: NoiseSchedule) -> list[Remark]:
    """The same masks at a noise level far away: u = 0.95 of the range where it was low, 0.05 where it was high.

    Raises:
        TimeConditioningError: if the answer moves, and the network says that it ignores the level.
    """
    assert isinstance(subject.model, Denoiser)
    assert probe.level is not None
    low, high = schedule.min_mask_rate, schedule.max_mask_rate
    is_high = probe.level.mask_rate > (low + high) / 2
    rates = torch.where(is_high, 0.05, 0.95).to(torch.float64)
    level = schedule.level_at(low + (high - low) * rates.cpu()).to(probe.x0.device)
    elsewhere = subject.ask(replace(probe, level=level))
    if not subject.model.time_conditioned:
        subject.require_same(
            first,
            elsewhere,
            TimeConditioningError,
            "the network says that it ignores the noise level, and its answer depends on it",
            "the same answer at every noise level",
        )
    elif Difference.between(first, elsewhere).identical:
        message = "the network says that it depends on the noise level, and its answer is the same at u = 0.05 and 0.95"
        return [Remark("contract.time-conditioning-unused", message)]
    return []


def check_factoring(subject: Subject, probe: Probe, first: Answer) -> None:
    """Where a network splits into trunk and head, the two together must be the network.

    Raises:
        FactoringError: if they are not, or at some positions alone.
    """
    model = subject.model
    if probe.by_blocks:
        if isinstance(model, FactoredBlockDenoiser):
            what = "head(block_hidden(xt, x0)) and block_logits(xt, x0) give different answers"
            subject.require_same(subject.ask_whole(probe), first, FactoringError, what, "the same answer")
        return
    if not isinstance(model, Denoiser) or not splits(model):
        return
    what = "head(hidden(xt)) and logits(xt) give different answers"
    subject.require_same(subject.ask_whole(probe), first, FactoringError, what, "the same answer")
    if isinstance(model, PickingDenoiser):
        what = "hidden_at(xt) gives other answers at fewer positions"
        subject.require_same(first, subject.price(probe, first.spread), FactoringError, what, "the same answer")
