"""Later tokens change nothing in a causal model: every row of whole batches has its future replaced behind a cut."""

from __future__ import annotations

import torch
from torch import Tensor

from bpb_harness.contract.batch import blame, largest_that_fits
from bpb_harness.contract.difference import Answer, Difference
from bpb_harness.contract.probe import Probe, replaced
from bpb_harness.contract.subject import Subject
from bpb_harness.errors import CausalityError, ContractError


def check_causality(
    subject: Subject, few: Probe, first: Answer, *, size: int, most_rows: int, generator: torch.Generator
) -> tuple[Probe, Answer]:
    """Replace all tokens behind a cut, another cut in every row: nothing up to the cut may move.

    A model that looks one token ahead at one position alone is seen only by the cut at that position, so there are as
    many cuts as ``most_rows`` allows, up to one at every position; the first and the last that hides anything are
    always among them. Other rows stand in other windows with other futures: a model that looks at its neighbours, or
    ahead in large batches alone, is seen as well.

    Args:
        subject: the network.
        few: whole windows, where all positions count.
        first: the answer to them.
        size: rows of the largest batch that will be scored; fewer where memory is short.
        most_rows: rows that may be asked in all; at least one batch is.
        generator: of cuts and tokens.

    Returns:
        The first batch, and the answer to it.

    Raises:
        CausalityError: if later tokens change an answer.
        BatchSizeError: if the number of rows does.
        RowDependenceError: if other rows do.
    """
    length = few.x0.shape[1]
    cuts = _cuts(length, generator)
    cuts = cuts[: max(most_rows, size)]
    cuts = cuts.repeat(-(-size // len(cuts)))[: max(len(cuts), size)]
    futures = replaced(few.x0, subject.model, generator)
    asked = largest_that_fits(size, lambda rows: _ask(subject, few, first, futures, cuts[:rows], offset=0))
    start = rows = len(asked[0])
    while start < len(cuts):
        _ask(subject, few, first, futures, cuts[start : start + rows], offset=start)
        start += rows
    return asked


def _cuts(length: int, generator: torch.Generator) -> Tensor:
    """Last positions that are left as they are, in the order in which they are tried; all that hide a token."""
    if length < 2:
        return torch.zeros(1, dtype=torch.int64)
    order = torch.randperm(length - 1, generator=generator)
    ends = torch.tensor([0, length - 2])[: length - 1]
    return torch.cat((ends, order[(order != 0) & (order != length - 2)]))


def _ask(
    subject: Subject, few: Probe, first: Answer, futures: Tensor, cuts: Tensor, *, offset: int
) -> tuple[Probe, Answer]:
    """Ask one batch and compare it with what the windows got as they are."""
    window = (torch.arange(len(cuts)) + offset) % len(few)
    window, cuts = window.to(few.x0.device), cuts.to(few.x0.device)
    whole = few[window]
    kept = torch.arange(whole.x0.shape[1], device=few.x0.device) <= cuts.unsqueeze(-1)
    batch = Probe(torch.where(kept, whole.x0, futures[window]), kept, whole.targets, None)
    answer = subject.price(batch, first.spread)
    prices = first.nats.view(few.x0.shape)[window]
    expected = Answer(answer.places, prices[kept], first.spread)
    difference = Difference.between(expected, answer)
    if difference.exceeds(subject.tolerance):
        raise _blame(subject, whole, batch, answer, difference, cut=int(cuts[difference.row]))
    return batch, answer


def _blame(
    subject: Subject, whole: Probe, batch: Probe, answer: Answer, difference: Difference, *, cut: int
) -> ContractError:
    """Name what changed an answer: later tokens, if they do it in a row alone; else the batch."""
    row = difference.row
    one = slice(row, row + 1)
    before = subject.price(Probe(whole.x0[one], batch.counted[one], whole.targets[one], None), answer.spread)
    alone = Difference.between(before, subject.price(batch[one], answer.spread))
    if alone.exceeds(subject.tolerance) or len(batch) == 1:
        return CausalityError(
            f"the network says that it is causal; tokens behind position {cut} change its answer at or before it",
            seen=alone,
            expected="no change",
        )
    return blame(subject, batch[one], answer.of_rows([row]), index=row, size=len(batch), place=row)
