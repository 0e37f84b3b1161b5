"""Standard streams whose readers go away, as of `2>&1 | head -1`: what they leave is lost, the exit code stands."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO, final


def let_go(stream: TextIO) -> None:
    """Keep whoever writes or flushes from meeting the same error again: the rest goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


@contextmanager
def stderr_may_be_unread() -> Iterator[None]:
    """Lose what is said on stderr where it cannot be written: there is nobody to tell, and it is no result."""
    stream = sys.stderr
    if stream is not None:  # as it is where somebody closed it
        sys.stderr = _MayBeUnread(stream)
    try:
        yield
    finally:
        sys.stderr = stream


@final
class _MayBeUnread:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with self._lost():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._lost():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextmanager
    def _lost(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            let_go(self._stream)
