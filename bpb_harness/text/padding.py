"""Runs of one token that spells nothing: padding, not documents.

A token between documents is paid for once a document. Where a shard was filled up to a length with it, the same token
stands many times in a row: each is paid for, none has a byte, and bits per byte of the text are no longer what is
scored.
"""

from __future__ import annotations

from dataclasses import dataclass
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
    found = SilentRuns()
    token, length = -1, 0  # the run that reaches the end of the chunk before
    for begin in range(0, stop, _CHUNK_TOKENS):
        chunk = source.read(begin, min(begin + _CHUNK_TOKENS, stop))
        cuts = np.flatnonzero(np.diff(chunk)) + 1
        starts, ends = np.concatenate([[0], cuts]), np.concatenate([cuts, [len(chunk)]])
        lengths = ends - starts
        if int(chunk[0]) == token:
            lengths[0] += length
        token, length = int(chunk[-1]), int(lengths[-1])
        repeats = is_silent[chunk[1:]] & (chunk[1:] == chunk[:-1])
        joined = bool(is_silent[chunk[0]]) and int(lengths[0]) > int(ends[0])
        repeated = found.repeated + int(np.count_nonzero(repeats)) + int(joined)
        lengths = np.where(is_silent[chunk[starts]] & (lengths > 1), lengths, 0)
        best = int(np.argmax(lengths))
        if lengths[best] > found.longest:
            first = begin + int(ends[best] - lengths[best])
            found = SilentRuns(repeated, int(lengths[best]), int(chunk[starts[best]]), first)
        else:
            found = SilentRuns(repeated, found.longest, found.token, found.start)
    return found
