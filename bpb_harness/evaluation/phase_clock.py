"""Where the seconds of an evaluation went, by wall clock; and what it is doing, for who wants to be told."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, Protocol, final, runtime_checkable

Phase = Literal["loading", "bytes", "checks", "compiling", "scoring", "adapting", "marks"]


@runtime_checkable
class Listener(Protocol):
    """What is told what is being done, beside how many tokens are."""

    def doing(self, what: str) -> None:
        """Called whenever something else is begun, with a word for it."""


@final
class PhaseClock:
    """Seconds of each phase. A phase within another one stops the other's clock, so that they add up to the whole.

    Args:
        progress: what counts the tokens; it is told what is begun, if it is a :class:`Listener`.
    """

    def __init__(self, progress: object = None) -> None:
        self._listener = progress if isinstance(progress, Listener) else None
        self._seconds: dict[Phase, float] = {}
        self._running: list[Phase] = []
        self._since = 0.0

    def tell(self, what: str) -> None:
        """Say what of a phase is begun: ``checks 7 of 11``."""
        if self._listener is not None:
            self._listener.doing(what)

    @property
    def seconds(self) -> dict[str, float]:
        """Of the phases so far, in the order in which they began first."""
        self._count()
        return {str(name): seconds for name, seconds in self._seconds.items()}

    @contextmanager
    def phase(self, name: Phase) -> Iterator[None]:
        """What happens inside belongs to this phase, but for what belongs to another one inside."""
        self._count()
        self._running.append(name)
        self._seconds.setdefault(name, 0.0)
        self.tell(name)
        try:
            yield
        finally:
            self._count()
            self._running.pop()
            if self._running:
                self.tell(self._running[-1])

    def _count(self) -> None:
        """Give what passed since the last change to the phase that runs."""
        now = time.perf_counter()
        if self._running:
            self._seconds[self._running[-1]] += now - self._since
        self._since = now
