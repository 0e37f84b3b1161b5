"""Answers in which every row is a distribution already, but none that a softmax gives back: probabilities and such.

A network that returns p where log p is asked for scores just below the uniform distribution, and nothing crashes. What
tells is that every row sums to one on a scale that is not the natural logarithm's: logits of a network that is asked
for logits do so by no chance.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from bpb_harness.errors import LogitsScaleError

# Of a sum over a row: sums of 50,000 probabilities in bfloat16, of 8 bits each, lie within half of this.
_SUMS_TO_ONE = 0.01
_FEWEST_ROWS = 2


@dataclass(frozen=True)
class _Scale:
    """How probabilities may be written: the name, what gives them back, and what makes log p of them."""

    name: str
    probabilities: Callable[[Tensor], Tensor]
    remedy: str


_SCALES = (
    _Scale("probabilities", lambda x: torch.where(x < 0.0, math.nan, x), "return their logarithm"),
    _Scale("negative log-probabilities", lambda x: torch.exp(-x), "return them with their sign turned round"),
    _Scale("log2 of probabilities", torch.exp2, "multiply them by ln 2"),
    _Scale("log10 of probabilities", lambda x: torch.exp(x * math.log(10.0)), "multiply them by ln 10"),
)
_POSITIONS = "log-probabilities that sum to one over the positions of a window, not over its tokens' columns"


@final
class ScaleWatch:
    """Looks at the rows of one answer, handed over in chunks.

    Args:
        vocab_size: clean tokens; columns behind them may belong to the distribution or not.
        shape: (B, L) of the answer.
    """

    def __init__(self, vocab_size: int, shape: tuple[int, int]) -> None:
        self._vocab_size, self._shape = vocab_size, shape
        self._left = {scale.name: scale for scale in _SCALES}
        self._num_rows = 0
        self._tells = False  # some row is not uniform, which every scale makes the same of
        self._over_positions: Tensor | None = None

    def note(self, logits: Tensor, counted: Tensor, start: int) -> None:
        """Look at some rows.

        Args:
            logits: (n, width), of the flattened positions from ``start`` on.
            counted: (n,) which of them are asked for.
            start: place of the first.
        """
        rows = logits[counted].float()
        self._num_rows += len(rows)
        if len(rows):
            clean = rows[:, : self._vocab_size]
            self._tells = self._tells or bool((clean.amax(-1) - clean.amin(-1) > 0.0).any())
            self._left = {name: scale for name, scale in self._left.items() if self._fits(scale, rows)}
        self._add_over_positions(logits.float(), start)

    def _fits(self, scale: _Scale, rows: Tensor) -> bool:
        shares = scale.probabilities(rows)
        sums = (shares[:, : self._vocab_size].sum(-1), shares.sum(-1))  # NaN is no 1
        return any(bool(((each - 1.0).abs() <= _SUMS_TO_ONE).all()) for each in sums)

    def _add_over_positions(self, logits: Tensor, start: int) -> None:
        """Sums of e^x over the positions of each window, column by column."""
        windows, length = self._shape
        shares = logits[:, : self._vocab_size].exp()
        if self._over_positions is None:
            self._over_positions = shares.new_zeros((windows, self._vocab_size))
        places = torch.arange(start, start + len(shares), device=shares.device) // length
        self._over_positions.index_add_(0, places, shares)

    def check(self) -> None:
        """Refuse what all rows showed.

        Raises:
            LogitsScaleError: naming what was returned in the place of logits.
        """
        if self._num_rows < _FEWEST_ROWS or self._vocab_size < 2 or not self._tells:
            return
        for scale in self._left.values():
            raise _not_logits(scale.name, f"every one of {self._num_rows} rows sums to 1 as such", scale.remedy)
        sums = self._over_positions
        if self._shape[1] >= _FEWEST_ROWS and sums is not None and bool(((sums - 1.0).abs() <= _SUMS_TO_ONE).all()):
            raise _not_logits(_POSITIONS, f"every one of {sums.numel()} such sums is 1", "normalise the last dimension")


def _not_logits(what: str, seen: str, remedy: str) -> LogitsScaleError:
    return LogitsScaleError(
        f"the network returns {what}", seen=seen, expected="logits, or log p to base e", hint=remedy
    )
