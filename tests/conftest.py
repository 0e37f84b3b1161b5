"""Fixtures shared by every test."""

from __future__ import annotations

import atexit
import gc
import logging
import os
import re
import shutil
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from _pytest.runner import runtestprotocol
from _pytest.tmpdir import tmppath_result_key

from tests.tiers import of_this_tier, settle_examples

_ROOT = Path(__file__).resolve().parent.parent

# A job in the background, or under nohup, inherits an ignored Ctrl-C and hands it on to the commands that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN and threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)


settle_examples()


def pytest_configure(config: pytest.Config) -> None:
    """A worker of pytest-xdist ends at once when all is done: to take apart what torch has made takes a second."""
    if hasattr(config, "workerinput"):
        atexit.register(os._exit, 0)  # it comes after what is registered later, of torch and of the product


def pytest_sessionstart(session: pytest.Session) -> None:
    distributed = session.config.pluginmanager.getplugin("dsession")
    if distributed is not None and _is_told_once(session.config):
        _count_what_is_not_told(distributed)


def _is_told_once(config: pytest.Config) -> bool:
    """Whether nobody asks for more of a test than that it passed."""
    options = config.option
    return (
        options.durations is None and not options.xmlpath and options.verbose <= 0 and options.reportchars in ("", "fE")
    )


_told: set[str] = set()  # tests of which a worker has told something


def _count_what_is_not_told(distributed: Any) -> None:
    """A test that is over, of which its worker has told nothing, has passed."""
    plain = distributed.worker_runtest_protocol_complete

    def complete(node: object, item_index: int, duration: float) -> None:
        nodeid = distributed.sched.collection[item_index]
        if nodeid not in _told:
            report = pytest.TestReport(nodeid, (nodeid, None, nodeid), {}, "passed", None, "call", duration=duration)
            distributed.worker_testreport(node, report)
        plain(node, item_index, duration)

    distributed.worker_runtest_protocol_complete = complete


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _told.add(report.nodeid)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What is left to the thorough tier does not run every day."""
    items[:], left = of_this_tier(items)
    config.hook.pytest_deselected(items=left)


# Collecting tests makes objects that stay: there is no garbage to look for until they run.
gc.disable()


def pytest_collection_finish() -> None:
    """What is there now stays to the end: thousands of cases and modules are not looked through at each collection.

    Nor once before it, which takes a second. What a test makes is looked through every 200,000 objects: every 700, or
    20,000, takes 9 % or 3 % of the time.
    """
    gc.freeze()
    gc.set_threshold(200_000, 20, 10)
    gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """A worker tells of a test that it is over, and more only if more happened than that it passed.

    Of the seven messages that pytest-xdist sends of each test, six say that it begins, is set up, run, torn down and
    over. They matter to lists of durations and to JUnit's files alone, and cost as much as a short test does.
    """
    if not hasattr(item.config, "workerinput") or not _is_told_once(item.config):
        return None
    reports = runtestprotocol(item, log=False, nextitem=nextitem)
    if not all(report.passed and not hasattr(report, "wasxfail") for report in reports):
        for report in reports:
            if report.when == "call" or not report.passed:
                item.ihook.pytest_runtest_logreport(report=report)
    return True


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return _ROOT


@pytest.fixture(scope="session")
def one_block() -> Path:
    """fixtures/checkpoints/mdlm-tiny.pt with the first of its four blocks alone, which takes a quarter of the time."""
    from tests.one_block import one_block_of

    return one_block_of("mdlm-tiny.pt")


_folders: Counter[str] = Counter()


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for the test alone, as pytest's own fixture makes it, without a link to the latest of its name.

    It stays where the test fails. Thousands of links, and of folders that nobody looks into, take seconds, and those of
    a run before are removed at the end, while one processor rests.
    """
    name = re.sub(r"\W", "_", request.node.name)[:30]
    while True:
        folder = tmp_path_factory.getbasetemp() / f"{name}{_folders[name]}"
        _folders[name] += 1
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
            break
    yield folder
    if request.node.stash[tmppath_result_key].get("call", True):
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def warned() -> Iterator[list[str]]:
    """What the harness logs while a test runs, from warnings up."""
    said: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("bpb_harness")
    logger.addHandler(handler)
    yield said
    logger.removeHandler(handler)


@pytest.fixture
def forked_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of bits are decoded in a process forked from one that has imported torch, isolated as ever."""
    from tests.forked_servers import start_forked

    monkeypatch.setattr("bpb_harness.proof.decoding.Server", SimpleNamespace(start=start_forked))


@pytest.fixture
def forked_second_look(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The process of the second look is forked, and none waits; whichever waited goes on to, afterwards.

    For tests that leave it in the midst of something, so that it is ended: the next one would be started anew.
    """
    from bpb_harness.second_look import waiting
    from tests.forked_servers import SUBPROCESS

    monkeypatch.setattr("bpb_harness.second_look.server.subprocess", SUBPROCESS)
    monkeypatch.setattr(waiting, "_idle", [])
    yield
    waiting.stop_all()


@pytest.fixture
def forked_running(monkeypatch: pytest.MonkeyPatch) -> None:
    """Functions of a submission run in a limited process forked from one that has imported torch already.

    Its limits are those of the product, set by the same program.
    """
    from tests.forked_servers import SUBPROCESS

    monkeypatch.setattr("bpb_harness.auditing.script.running.limited.subprocess", SUBPROCESS)


@pytest.fixture(scope="session")
def lab() -> Path:
    """The laboratory: real text, tokenizers and foreign checkpoints, which are no part of the project."""
    path = Path(os.environ.get("BPB_LAB", _ROOT.parent / "shared" / "lab"))
    if not path.is_dir():
        pytest.skip(f"no laboratory at {path}; set BPB_LAB")
    return path
