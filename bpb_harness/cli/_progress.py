"""What a command does, said on stderr: a line that is written over on a terminal, elsewhere one every 30 seconds."""

from __future__ import annotations

import contextlib
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TextIO, final

_SECONDS_BETWEEN_LINES, _SECONDS_BETWEEN_LOOKS = 30.0, 0.5
_LEAST_SECONDS_BETWEEN_WRITES = 0.1
_LEAST_SECONDS_FOR_FORECAST = 1.0
_SECONDS_TO_END = 1.0
_FALLBACK_COLUMNS = 80
_START_OVER = "\r\x1b[2K"  # to the first column, and clear the line


@final
class Progress:
    """What is being done, since when, and how much of it: in words.

    Args:
        command: its name, which begins each line.
        clock: seconds.
    """

    def __init__(self, command: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._command, self._clock = command, clock
        self._began = clock()
        self._what = "starting"
        self._counted: tuple[int, int] | None = None
        self._first: tuple[int, float] | None = None
        self.show: Callable[[], None] = lambda: None
        self.show_soon: Callable[[], None] = lambda: None

    def doing(self, what: str) -> None:
        """Another thing is done from here on, of which nothing is counted yet."""
        if what != self._what:
            self._what, self._counted, self._first = what, None, None
            self.show()

    def __call__(self, done: int, total: int) -> None:
        """So many tokens of so many."""
        if self._first is None:
            self._first = (done, self._clock())
        self._counted = (done, total)
        self.show_soon()

    def line(self) -> str:
        """For example ``bpb-eval: scoring, 43 % of 92,190 tokens, 0:08, about 0:11 left``."""
        parts = [self._what]
        if self._counted is not None and self._counted[1] > 0:
            done, total = self._counted
            parts.append(f"{100.0 * done / total:.0f} % of {total:,} tokens")
        parts.append(clock_time(self._clock() - self._began))
        left = self._seconds_left()
        if left is not None:
            parts.append(f"about {clock_time(left)} left")
        return f"{self._command}: {', '.join(parts)}"

    def _seconds_left(self) -> float | None:
        """By the speed since the first count, which may be of what an earlier run has done."""
        if self._counted is None or self._first is None:
            return None
        (done, total), (first, since) = self._counted, self._first
        seconds = self._clock() - since
        if done <= first or seconds < _LEAST_SECONDS_FOR_FORECAST:
            return None
        return seconds * (total - done) / (done - first)


def clock_time(seconds: float) -> str:
    """``0:08``, ``12:31``, ``2:05:00``."""
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@contextlib.contextmanager
def progress_bar(command: str, *, shown: bool = True) -> Iterator[Progress]:
    """Say on stderr what is done, until the block ends.

    Args:
        command: its name.
        shown: whether to say it: not with ``--quiet``, and in one of the processes that score together alone.

    Yields:
        What is told of it.
    """
    progress = Progress(command)
    stream = sys.stderr
    if not shown or stream is None:  # None: it was closed before the command began
        yield progress
    elif stream.isatty():
        with _on_a_terminal(progress, stream):
            yield progress
    else:
        with _repeatedly(_SECONDS_BETWEEN_LINES, lambda: _write(stream, f"{progress.line()}\n")):
            yield progress


@contextlib.contextmanager
def _on_a_terminal(progress: Progress, stream: TextIO) -> Iterator[None]:
    """One line, cut to the terminal's width and written over; gone at the end, and before anything else is written."""
    columns = shutil.get_terminal_size(fallback=(_FALLBACK_COLUMNS, 24)).columns
    last = [-_LEAST_SECONDS_BETWEEN_WRITES]

    def show() -> None:
        last[0] = time.monotonic()
        _write(stream, _START_OVER + progress.line()[: columns - 1])

    def show_soon() -> None:
        if time.monotonic() - last[0] >= _LEAST_SECONDS_BETWEEN_WRITES:
            show()

    progress.show, progress.show_soon = show, show_soon
    show()
    sys.stderr = _ClearedBefore(stream)
    try:
        with _repeatedly(_SECONDS_BETWEEN_LOOKS, show):
            yield
    finally:
        progress.show = progress.show_soon = lambda: None
        sys.stderr = stream
        _write(stream, _START_OVER)


@contextlib.contextmanager
def _repeatedly(seconds: float, call: Callable[[], None]) -> Iterator[None]:
    """Call every so many seconds, from a thread of its own."""
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(seconds):
            call()

    thread = threading.Thread(target=run, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(_SECONDS_TO_END)  # it may be stuck in a pipe that nobody reads


def _write(stream: TextIO, text: str) -> None:
    """Progress is no reason to fail: a stream that is closed gets none."""
    with contextlib.suppress(OSError, ValueError):
        stream.write(text)
        stream.flush()


@final
class _ClearedBefore:
    """Standard error while a line stands there: whatever else is written begins in its place."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return self._stream.write(_START_OVER + text if text.strip() else text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
