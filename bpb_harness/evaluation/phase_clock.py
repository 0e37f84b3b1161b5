"""Where the seconds of an evaluation went, by wall clock."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, final

Phase = Literal["loading", "checks", "compiling", "scoring", "adapting", "marks"]


@final
class PhaseClock:
    """Seconds of each phase. A phase within another one stops the other's clock, so that they add up to the whole."""

    def __init__(self) -> None:
        self._seconds: dict[Phase, float] = {}
        self._running: list[Phase] = []
        self._since = 0.0

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
        try:
            yield
        finally:
            self._count()
            self._running.pop()

    def _count(self) -> None:
        """Give what passed since the last change to the phase that runs."""
        now = time.perf_counter()
        if self._running:
            self._seconds[self._running[-1]] += now - self._since
        self._since = now
