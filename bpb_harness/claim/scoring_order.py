"""In which orders a log goes through the documents: for hints, for scores, and for what is trained in between.

``ngram_tilt:hints total=47851520 gated=628130``, then ``ttp: b776/782 .. dl:7534-8350 gd:0`` from the longest documents
to the shortest, and between two of these ``ttpp: phase:1/1 pd:1424 gd:1000``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import final

from bpb_harness.claim.printed import Source


@dataclass(frozen=True)
class OrdersTold:
    """Hints of one pass, and behind it documents that are scored by their length, with training in between.

    Attributes:
        hints: where the hints are counted.
        num_hints: how many.
        num_targets: over so many tokens.
        first: where the first documents are scored.
        last: where the last are.
        trained: where training on those that were scored is told.
        run: which run of the log.
    """

    hints: Source
    num_hints: int
    num_targets: int
    first: Source
    last: Source
    trained: Source
    run: int


_HINTS = re.compile(
    r"\b(?:total|n_tok\w{0,8}|targets)[=:]\s?(?P<of>[0-9][0-9,]{0,24}).{0,40}?\b(?:gated|hints)[=:]\s?"
    r"(?P<hints>[0-9][0-9,]{0,24})"
)
_BATCH = re.compile(r" (?:dl|doc_?len)[:=]\s?(?P<shortest>[0-9]{1,9})-(?P<longest>[0-9]{1,9})\b")
_PHASE = re.compile(r"(?:\b|_)phase[:=]\s?[0-9]{1,6}/[0-9]{1,6}\b.{0,80}?\bgd[:=]\s?0*[1-9][0-9]{0,17}\b")
_FEWEST = 6  # batches; in an order of their own, six lie by length once in 360 times
_MOST = 10_000


@final
@dataclass
class ScoringOrder:
    """Follows the lines of a log."""

    file: str
    _runs: dict[int, _Run] = field(default_factory=dict)

    def take(self, low: str, number: int, run: int) -> None:
        """Take one more line, in small letters; nothing is told before hints were counted."""
        of_run = self._runs.get(run)
        if of_run is None or not of_run.batches:
            found = _HINTS.search(low) if "hint" in low and "train" not in low else None
            if found is not None:
                hints, of = (int(found[name].replace(",", "")) for name in ("hints", "of"))
                self._runs[run] = of_run = _Run((number, hints, of))
        if of_run is None:
            return
        if " d" in low and (found := _BATCH.search(low)) is not None and len(of_run.batches) < _MOST:
            of_run.batches.append((number, int(found["shortest"]), int(found["longest"])))
        elif of_run.batches and "phase" in low and _PHASE.search(low):
            of_run.trained = of_run.trained or number

    @property
    def has_hints(self) -> bool:
        """Whether any run has counted hints so far."""
        return bool(self._runs)

    def told(self) -> Iterator[OrdersTold]:
        """The runs that have both orders."""
        for run, found in self._runs.items():
            number, num_hints, num_targets = found.hints
            if num_hints > 0 and found.trained and found.is_by_length:
                first, last = found.batches[0][0], found.batches[-1][0]
                if last > found.trained:
                    yield OrdersTold(
                        Source(self.file, number), num_hints, num_targets, Source(self.file, first),
                        Source(self.file, last), Source(self.file, found.trained), run,
                    )  # fmt: skip


@dataclass
class _Run:
    hints: tuple[int, int, int]  # line, hints, targets
    batches: list[tuple[int, int, int]] = field(default_factory=list)  # line, shortest and longest document
    trained: int = 0

    @property
    def is_by_length(self) -> bool:
        """Whether each batch has the shorter documents, down to the end, or the longer ones."""
        if len(self.batches) < _FEWEST or self.batches[0][1:] == self.batches[-1][1:]:
            return False
        falling = all(later[2] <= earlier[1] for earlier, later in pairwise(self.batches))
        return falling or all(later[1] >= earlier[2] for earlier, later in pairwise(self.batches))
