"""Other rows change nothing, nor how many there are: rows alone, in a few, and in a batch of the run's own size."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

from bpb_harness.contract.difference import Answer, Difference
from bpb_harness.contract.probe import Probe, block_probe, concatenated, denoiser_probe, revealed
from bpb_harness.contract.subject import Subject
from bpb_harness.denoiser import BlockDenoiser, Denoiser
from bpb_harness.errors import BatchSizeError, ContractError, RowDependenceError
from bpb_harness.schedule import NoiseSchedule

_MIN_ROWS = 3
_T = TypeVar("_T")


def check_rows(
    subject: Subject, few: Probe, first: Answer, windows: torch.Tensor, size: int, schedule: NoiseSchedule,
    generator: torch.Generator,
) -> tuple[Probe, Answer]:  # fmt: skip
    """Compare the rows of ``few`` in a batch of ``size`` rows with what they got among themselves.

    Around them stand what they hide themselves, and other draws of the same windows and of others: what a batch of the
    evaluation holds, and all that a network could look up.

    Args:
        subject: the network, a denoiser.
        few: a few rows.
        first: the answer to them.
        windows: clean tokens to make rows of, (N, L).
        size: rows of the largest batch that will be scored; fewer where memory is short.
        schedule: of the noise levels.
        generator: of the masks.

    Returns:
        The large batch, and the answer to it.

    Raises:
        BatchSizeError: if the number of rows changes an answer.
        RowDependenceError: if the other rows do.
    """
    check_alone(subject, few, first)
    assert isinstance(subject.model, Denoiser)
    wanted = windows[torch.arange(size, device=windows.device) % len(windows)]
    if few.by_blocks:
        assert isinstance(subject.model, BlockDenoiser)
        drawn = block_probe(wanted, schedule, generator, subject.model)
    else:
        drawn = denoiser_probe(wanted, schedule, generator, subject.model)
    others = concatenated([revealed(few, generator, subject.model), drawn])

    def ask(rows: int) -> tuple[Probe, list[int], Answer]:
        batch, places = _around(few, others, rows)
        return batch, places, subject.price(batch, first.spread)

    batch, places, answer = largest_that_fits(max(size, _MIN_ROWS), ask)
    for index, place in enumerate(places):
        there = answer.of_rows([place])
        if subject.differ(first.of_rows([index]), there):
            raise blame(subject, few[slice(index, index + 1)], there, index=index, size=len(batch), place=place)
    return batch, answer


def check_alone(subject: Subject, few: Probe, first: Answer) -> None:
    """Compare the last of a few rows with what it gets alone."""
    index = len(few) - 1
    row, there = few[slice(index, index + 1)], first.of_rows([index])
    if subject.differ(there, subject.price(row, first.spread)):
        raise blame(subject, row, there, index=index, size=len(few), place=index)


def blame(subject: Subject, row: Probe, there: Answer, *, index: int, size: int, place: int) -> ContractError:
    """Name what changed the answer to a row: how many rows there were, or what stood in them.

    Args:
        subject: the network.
        row: the row.
        there: the answer to it in a batch of others.
        index: its number, for the message.
        size: rows of that batch.
        place: its place there.
    """
    alone = subject.price(row, there.spread)
    among_copies = subject.price(row.repeated(size), there.spread).of_rows([place])
    try:
        subject.require_same(
            alone,
            among_copies,
            BatchSizeError,
            f"row {index} alone and in a batch of {size} copies get different answers",
            "an answer that does not depend on the number of rows",
        )
    except BatchSizeError as error:
        return error
    return RowDependenceError(
        f"row {index} gets another answer when the other {size - 1} rows of its batch change",
        seen=Difference.between(alone, there),
        expected="an answer that depends on its own row alone",
    )


def largest_that_fits(size: int, ask: Callable[[int], _T]) -> _T:
    """Ask with as many rows as memory allows: the evaluation will not take more either."""
    while True:
        try:
            return ask(size)
        except torch.OutOfMemoryError:
            if size <= _MIN_ROWS:
                raise
        # Outside the handler, whose traceback keeps the tensors of the failed attempt alive.
        torch.cuda.empty_cache()
        size = max((size + 1) // 2, _MIN_ROWS)


def _around(few: Probe, others: Probe, size: int) -> tuple[Probe, list[int]]:
    """A batch of ``size`` rows, the few spread over it; and where each of them stands."""
    count = min(len(few), size - 1)
    # Turned round: the first place, which networks favour, is another row's than in the few.
    places = [round(place) for place in torch.linspace(size - 1, 0, count).tolist()]
    rows = concatenated([few[slice(count)], others.repeated(size - count)])
    order = torch.full((size,), -1, dtype=torch.int64)
    order[torch.tensor(places)] = torch.arange(count)
    order[order < 0] = torch.arange(count, size)
    return rows[order.to(few.x0.device)], places
