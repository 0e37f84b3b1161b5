"""Runs of one token that spells nothing: padding, not documents.

A token between documents is paid for once a document. Where a shard was filled up to a length with it, the same token
stands many times in a row: each is paid for, none has a byte, and bits per byte of the text are no longer what is
scored.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

_CHUNK_TOKENS = 1 << 20
# Empty documents may follow each other; nobody's text has this many in a row.
LONGEST_RUN = 16


class TokenSource(Protocol):
    """What is asked for its tokens: a corpus."""

    def read(self, start: int, stop: int) -> NDArray[np.int64]:
        """Tokens start .. stop - 1."""


@dataclass(frozen=True)
class SilentRuns:
    """Tokens without bytes that follow a token of the same id.

    Attributes:
        repeated: how many there are.
        longest: tokens in the longest run, its first included; 0 where there is no run.
        token: of that run.
        start: where that run begins.
    """

    repeated: int = 0
    longest: int = 0
    token: int = 0
    start: int = 0

    @property
    def is_padding(self) -> bool:
        """Whether the longest run is longer than empty documents explain."""
        return self.longest > LONGEST_RUN


def silent_runs(source: TokenSource, is_silent: NDArray[np.bool_], stop: int) -> SilentRuns:
    """Runs of two and more equal tokens that spell nothing, among the first `stop`.

    Args:
        source: the tokens.
        is_silent: (V,) whether a token spells nothing wherever it stands.
        stop: how many tokens to look at.
    """
    repeated, longest = 0, SilentRuns()
    last, token, start = -2, -1, 0  # of the run that may go on in the next chunk
    for begin in range(0, stop, _CHUNK_TOKENS):
        chunk = source.read(begin, min(begin + _CHUNK_TOKENS, stop))
        at = np.flatnonzero(is_silent[chunk])  # few: the rest of the text is not looked at any more
        if not len(at):
            continue
        ids, at = chunk[at], at + begin
        follows = (np.diff(at, prepend=last) == 1) & (np.diff(ids, prepend=token) == 0)
        first = np.flatnonzero(np.append(True, ~follows[1:]))  # of each run, as far as this chunk has it
        starts, ends = at[first], at[np.append(first[1:], len(at)) - 1]
        if follows[0]:
            starts[0] = start
        lengths = ends - starts + 1
        best = int(np.argmax(lengths))
        if lengths[best] > max(longest.longest, 1):
            longest = SilentRuns(0, int(lengths[best]), int(ids[first[best]]), int(starts[best]))
        repeated += int(np.count_nonzero(follows))
        last, token, start = int(at[-1]), int(ids[-1]), int(starts[-1])
    return replace(longest, repeated=repeated)
