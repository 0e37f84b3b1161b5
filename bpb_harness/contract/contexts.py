"""Where the context of a row ends is told for that row alone, and a context of 0 is none."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from bpb_harness.contract.difference import Answer
from bpb_harness.contract.probe import Probe, first_target
from bpb_harness.contract.subject import Subject
from bpb_harness.denoiser import ContextDenoiser
from bpb_harness.errors import ContextDependenceError, EmptyContextError


def check_contexts(subject: Subject, probe: Probe, first: Answer) -> None:
    """Move the contexts of half the rows, then of the others; and leave them out. Only for networks that are told.

    Args:
        subject: the network, a denoiser.
        probe: a few rows, with contexts of several lengths.
        first: the answer to them.

    Raises:
        ContextDependenceError: if the context length of a row changes the answer to another.
        EmptyContextError: if ``logits`` is not ``logits_given`` with contexts of 0.
    """
    if probe.by_blocks or not isinstance(subject.model, ContextDenoiser):
        return
    assert probe.context_lengths is not None
    contexts, least = probe.context_lengths, first_target(probe.x0, subject.model)
    moved = _moved(probe, contexts, least)
    rows = torch.arange(len(probe), device=probe.x0.device)
    for parity in (0, 1):
        stays = rows % 2 == parity
        kept = rows[stays].tolist()
        mixed = torch.where(stays, contexts, moved)
        if not torch.equal(mixed, contexts):
            other = replace(probe, context_lengths=mixed)
            subject.require_same(
                first.of_rows(kept),
                subject.price(other, first.spread).of_rows(kept),
                ContextDependenceError,
                "a row gets another answer when the context lengths of the other rows change",
                "an answer that depends on its own row alone",
            )
    if least:  # a network of blocks: a row that long has a context
        return
    empty = replace(probe, context_lengths=torch.zeros_like(contexts))
    subject.require_same(
        subject.ask_whole(empty),
        subject.ask(empty),
        EmptyContextError,
        "logits(xt) and logits_given(xt) with contexts of 0 give different answers",
        "the same answer",
    )


def _moved(probe: Probe, context_lengths: Tensor, least: int) -> Tensor:
    """Other lengths without a mask in the context, where there are any: the least, or for that up to the first mask."""
    first_mask = probe.counted.int().argmax(dim=1)
    return torch.where(context_lengths > least, least, first_mask)
