"""What was worked out of expressions, kept where it hangs on nothing but the expression and its frame."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

NOTHING = 1 << 60  # what an answer hangs on that every asker would be given
ASKER = -1  # what an answer hangs on that was cut off by the bounds on depth and work

Answer = TypeVar("Answer")


@dataclass(eq=False, slots=True)
class Answers(Generic[Answer]):
    """Answers by question, each kept once it hangs on no question around it.

    A question that is met again on the way to its own answer is cut off there. What was answered on the way back hangs
    on it, and is no answer for those who ask from elsewhere; the answer to the question itself is one.

    Attributes:
        kept: the answers.
        open: the questions that are being answered, and how many there were before them.
        hangs_on: the outermost question that what has been answered since the innermost was opened hangs on.
    """

    kept: dict[Hashable, Answer] = field(default_factory=dict)
    open: dict[Hashable, int] = field(default_factory=dict)
    hangs_on: int = NOTHING

    def is_open(self, question: Hashable) -> bool:
        """Whether a question is being answered already: then what is answered next hangs on it."""
        place = self.open.get(question)
        if place is None:
            return False
        self.hangs_on = min(self.hangs_on, place)
        return True

    def begin(self, question: Hashable) -> int:
        """Open a question; returns what has been answered until now hangs on, for `end`."""
        self.open[question] = len(self.open)
        before, self.hangs_on = self.hangs_on, NOTHING
        return before

    def end(self, question: Hashable, before: int) -> bool:
        """Close a question: whether its answer may be kept."""
        is_whole = self.hangs_on >= self.open.pop(question)
        self.hangs_on = before if is_whole else min(before, self.hangs_on)
        return is_whole
