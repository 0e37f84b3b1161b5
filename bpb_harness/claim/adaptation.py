"""Epochs of adaptation that a log prints: test-time training that goes over the whole text, epoch after epoch.

``ttt_epoch:7/20 loss:1.9``, ``prequant_ttt: epoch 21/21``. Adaptation to what has been scored already, chunk by chunk,
begins its epochs again with every chunk; a burst of training at the end is on training text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_EPOCH = re.compile(
    r"(?P<label>(?:ttt|test[-_ ]time[-_ ]training)[^|\n]{0,24}?epoch)s?[ :=]{0,3}"
    r"(?P<number>[0-9]{1,4})\s?/\s?(?P<of>[0-9]{1,4})(?![0-9.])",
    re.IGNORECASE,
)
_LOSS = re.compile(r"loss[\s:=]{1,3}([0-9]{1,3}\.[0-9]{3,12})(?![0-9.])", re.IGNORECASE)
_OF_A_PART = re.compile(r"burst|\[[0-9]+\]|chunk[ :=#]{0,3}[0-9]+(?!\s?/|[0-9])|\bdoc\b|window", re.IGNORECASE)


@dataclass(frozen=True)
class Adaptation:
    """Several epochs over a text.

    Attributes:
        label: what the log calls them.
        first_line: where the first is printed.
        last_line: where the last is printed.
        epochs: how many.
        run: which run of the log.
    """

    label: str
    first_line: int
    last_line: int
    epochs: int
    run: int


@dataclass(frozen=True)
class EpochLine:
    """One line of a log that tells an epoch of adaptation.

    Attributes:
        label: what the log calls it.
        line: its number.
        number: which epoch.
        of: of how many.
        run: which run of the log.
        loss: the digits of the loss that it prints; None where it prints none.
    """

    label: str
    line: int
    number: int
    of: int
    run: int
    loss: str | None = None


def epoch_of(line: str, number: int, run: int) -> EpochLine | None:
    """The epoch of adaptation that a line tells; None where it tells none, or one of a part of the text."""
    found = _EPOCH.search(line)
    if found is None or _OF_A_PART.search(line):
        return None
    loss = _LOSS.search(line, found.end())
    told = None if loss is None else loss[1]
    return EpochLine(found["label"].strip(), number, int(found["number"]), int(found["of"]), run, told)


def adaptations(epochs: Iterable[EpochLine]) -> tuple[Adaptation, ...]:
    """The passes of two epochs or more that are gone through once in their run, or each time alike, in order.

    Epochs that begin again are those of the next chunk; but where every epoch has the very loss that it had before, the
    same network was trained on the same text again, for a second evaluation.
    """
    by_pass: dict[tuple[str, int, int], list[EpochLine]] = {}
    for epoch in epochs:
        by_pass.setdefault((epoch.label, epoch.of, epoch.run), []).append(epoch)
    return tuple(
        Adaptation(label, lines[0].line, lines[-1].line, of, run)
        for (label, of, run), told in by_pass.items()
        if of >= 2
        for lines in _passes(told, of)
    )


def _passes(lines: Sequence[EpochLine], of: int) -> list[list[EpochLine]]:
    """The one pass, or several with the same losses, one for each epoch; none where they are of parts."""
    passes: list[list[EpochLine]] = [[]]
    for line in lines:
        if passes[-1] and line.number < passes[-1][-1].number:
            passes.append([])
        passes[-1].append(line)
    if len(passes) == 1:
        return passes
    losses = [line.loss for line in passes[0]]
    are_alike = all([line.loss for line in each] == losses for each in passes)
    return passes if are_alike and None not in losses and len(set(losses)) == of else []
