"""Spans: what of a corpus is paid for, and what before it is visible meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Self, final

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


@final
@dataclass(frozen=True)
class Spans:
    """Some tokens given others, of a corpus; (N,) int64 each.

    Tokens ``context_starts[i] .. starts[i] - 1`` are the context of span i: visible, never masked, never paid for.
    Tokens ``starts[i] .. ends[i] - 1`` are its targets. What lies behind is not in the input. A window is a span whose
    context is empty.

    Where the targets of all spans partition a text, and borders are fixed beforehand or by tokens already paid for, the
    sum of their code lengths is a code length of the text, by the chain rule (MATHS.md, section 9).

    Attributes:
        context_starts: position of the first token that the network sees.
        starts: position of the first target.
        ends: position behind the last target.
    """

    context_starts: Ints
    starts: Ints
    ends: Ints

    def __post_init__(self) -> None:
        assert len(self.context_starts) == len(self.starts) == len(self.ends)

    @classmethod
    def without_context(cls, starts: Ints, ends: Ints) -> Self:
        """Windows, whose networks see nothing of what comes before."""
        return cls(starts, starts, ends)

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def lengths(self) -> Ints:
        """Targets of each span."""
        return self.ends - self.starts

    @property
    def context_lengths(self) -> Ints:
        """Tokens of each span's context."""
        return self.starts - self.context_starts

    @property
    def input_lengths(self) -> Ints:
        """Tokens of each span, context and targets."""
        return self.ends - self.context_starts

    @property
    def have_context(self) -> bool:
        """Whether any of them has one."""
        return bool((self.context_starts < self.starts).any())

    @property
    def num_tokens(self) -> int:
        """Targets of all spans."""
        return int(self.lengths.sum())

    def take(self, which: slice | Ints) -> Self:
        """Some of the spans."""
        return replace(self, **{each.name: getattr(self, each.name)[which] for each in fields(self)})
