"""The tests of tests/unit that `make quick` leaves to `make tests`: those that take most of the processor's time.

    python -m tests.benchmarks.slow_units > tests/not_quick.txt

runs the folder once, in one process, and prints the options that leave them out. A test is one of them if a case of it
takes 0.03 seconds, or all its cases together 0.06; who is first pays for an import that others need as well. What is
forked from a process that has imported torch (``tests/forked_servers.py``) counts, that process included.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections import defaultdict
from collections.abc import Iterator

import pytest

from tests.forked_servers import seconds_of_forks

_CASE, _ALL = 0.03, 0.06  # seconds of a processor, of the tests' process and of those that it started


class _Clock:
    """Processor time of each case, by test."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = defaultdict(list)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        before = _seconds()
        try:
            return (yield)
        finally:
            self.seconds[item.nodeid.partition("[")[0]].append(_seconds() - before)


def _seconds() -> float:
    """Of a processor so far: this process, those that it started and that have ended, and what it has forked."""
    return sum(os.times()[:4]) + seconds_of_forks()


def main() -> None:
    clock = _Clock()
    with contextlib.redirect_stdout(sys.stderr):
        failed = pytest.main(["-q", "-p", "no:xdist", "tests/unit"], plugins=[clock])
    for test, cases in sorted(clock.seconds.items()):
        if max(cases) >= _CASE or sum(cases) >= _ALL:
            print(f"--deselect={test}")
    sys.exit(failed)


if __name__ == "__main__":
    main()
