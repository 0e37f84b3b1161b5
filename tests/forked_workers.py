"""Workers that are forked once everything is imported and collected: ``-p tests.forked_workers --workers 2``.

A worker of pytest-xdist starts anew: each imports torch and collects all tests, which takes as long as thousands of
them do. Here that is done once. A worker takes the tests of a file after another, so that what the tests of a file
share is made once; whoever is done first takes the next file. It tells of each test when it is over; one that ends
meanwhile is a failure of the test that it was at, and another one goes on with the rest.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import traceback
import warnings
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any, NoReturn

import pytest
from _pytest.runner import runtestprotocol


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--workers", type=int, default=0, help="forked processes that share the tests")


@dataclass
class _Worker:
    """One of them, as seen from the process that forked it.

    Attributes:
        pid: of the process.
        ends: of the pipe to it.
        left: indices of the tests that it was given and has not told of.
    """

    pid: int
    ends: Connection
    left: deque[int] = field(default_factory=deque)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """In place of pytest's own loop, where workers were asked for."""
    option = session.config.option
    if option.workers < 1 or option.collectonly or session.testsfailed or option.usepdb:
        return None
    files = deque(_files(session.items))
    base = session.config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
    sys.stdout.flush()
    workers: dict[Connection, _Worker] = {}
    numbers = iter(range(1 << 20))

    def start() -> None:
        worker = _start(session, base / f"worker{next(numbers)}", [*workers])
        workers[worker.ends] = worker

    try:
        for _ in range(min(option.workers, len(files))):
            start()
        while workers:
            for ends in wait([*workers]):
                assert isinstance(ends, Connection)
                worker = workers[ends]
                match _received(ends):
                    case "next":
                        given = files.popleft() if files else []
                        worker.left.extend(given)
                        ends.send(given)
                    case int(index), said:
                        assert worker.left.popleft() == index
                        _tell(session.items[index], said)
                    case None:
                        del workers[ends]
                        ends.close()
                        _, status = os.waitpid(worker.pid, 0)
                        if worker.left:
                            _tell_of_the_end(session.items[worker.left.popleft()], status)
                            files.extendleft([[*worker.left]] if worker.left else [])
                            start()
                if session.shouldfail:
                    raise session.Failed(session.shouldfail)
                if session.shouldstop:
                    raise session.Interrupted(session.shouldstop)
    finally:
        for worker in workers.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker.pid, signal.SIGKILL)
            os.waitpid(worker.pid, 0)
    return True


def _received(ends: Connection) -> Any:
    """What a worker says; None where it has ended."""
    try:
        return ends.recv()
    except EOFError:
        return None


def _files(items: list[pytest.Item]) -> Iterator[list[int]]:
    """Indices of the tests of each file."""
    for _, indices in groupby(range(len(items)), key=lambda index: items[index].path):
        yield [*indices]


def _start(session: pytest.Session, temporary: Any, others: list[Connection]) -> _Worker:
    ours, its = Pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads that a library has started: they wait
        pid = os.fork()
    if not pid:
        for connection in (ours, *others):
            connection.close()
        _work(session, its, temporary)
    its.close()
    return _Worker(pid, ours)


def _work(session: pytest.Session, ends: Connection, temporary: Any) -> NoReturn:
    """Run tests until there are no more, and leave."""
    code = 1
    try:
        temporary.mkdir()
        session.config._tmp_path_factory._basetemp = temporary  # type: ignore[attr-defined]
        capture: Any = session.config.pluginmanager.getplugin("capturemanager")
        capture.stop_global_capturing()  # its files are the other processes' too
        capture.start_global_capturing()
        capture.suspend_global_capture()
        collector = _Collector()
        session.config.pluginmanager.register(collector)
        indices = _taken(ends)
        while indices:
            following: list[int] = []
            for place, index in enumerate(indices, start=1):
                if place == len(indices):
                    following = _taken(ends)
                after = indices[place] if place < len(indices) else following[0] if following else None
                item = session.items[index]
                following_item = None if after is None else session.items[after]
                # By the hook: filters of warnings and explanations of assertions are wrapped around it.
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following_item)
                ends.send((index, _said(item, collector.reports)))
            indices = following
        ends.close()
        warnings.simplefilter("ignore")  # what an interpreter does at its end warns nobody
        atexit._run_exitfuncs()
        code = 0
    except KeyboardInterrupt:
        pass  # who forked it has got it too
    except BaseException:
        traceback.print_exc(file=sys.__stderr__)
    finally:
        os._exit(code)


class _Collector:
    """Runs a test in a worker; what came of it is told by the process that forked it."""

    reports: list[pytest.TestReport]

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool:
        self.reports = runtestprotocol(item, log=False, nextitem=nextitem)
        return True


def _taken(ends: Connection) -> list[int]:
    ends.send("next")
    taken: list[int] = ends.recv()
    return taken


def _said(item: pytest.Item, reports: list[pytest.TestReport]) -> list[Any]:
    """Reports of a test, as data; nothing where it passed and nobody wants to know more."""
    option, hook = item.config.option, item.config.hook
    if all(report.passed for report in reports) and option.durations is None and not option.xmlpath:
        return []
    return [hook.pytest_report_to_serializable(config=item.config, report=report) for report in reports]


def _tell(item: pytest.Item, said: list[Any]) -> None:
    """Tell pytest of a test that is over."""
    config = item.config
    reports = [config.hook.pytest_report_from_serializable(config=config, data=each) for each in said]
    for report in reports or [pytest.TestReport(item.nodeid, item.location, {}, "passed", None, "call")]:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)


def _tell_of_the_end(item: pytest.Item, status: int) -> None:
    """A worker has ended during a test."""
    code = os.waitstatus_to_exitcode(status)
    why = f"the worker ended by {signal.Signals(-code).name}" if code < 0 else f"the worker ended with {code}"
    report = pytest.TestReport(item.nodeid, item.location, {}, "failed", f"{why} during this test", "call")
    item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
