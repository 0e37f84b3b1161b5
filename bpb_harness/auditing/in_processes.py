"""Many audits at once: each claim in one of a few processes, the reports in the order of the claims."""

from __future__ import annotations

import gc
import importlib
import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial

from bpb_harness.auditing.report import AuditReport

_AHEAD = 8  # claims for each process that are waiting or done before their turn
_RARELY = 2_000_000, 20, 100  # objects that are new; searches of the new, and of these, before one of older ones
_WORTH_IT = 64  # claims; fewer are audited before processes have started

Audit = Callable[[], Sequence[AuditReport]]  # of one claim, or of the claims of one folder


def audit_in_processes(
    audits: Sequence[Audit], given_up: Callable[[int, str], AuditReport], *, processes: int | None = None
) -> Iterator[AuditReport]:
    """The reports of audits that know nothing of each other, in their order.

    An audit that ends its process (a parser that overflows, memory that the system takes back) is tried once more,
    alone; if that process ends too, the claim has a report that says so, and the others have theirs.

    Args:
        audits: what to run; sent to other processes.
        given_up: the report on the audit of some number that ended its process.
        processes: how many; by default one for each core, and none beside this one for a few audits.
    """
    if processes is None:
        processes = _num_cores() if len(audits) >= _WORTH_IT else 1
    if processes <= 1:
        with searched_rarely():
            yield from _one_by_one(audits)
        return
    # Their findings have codes of scripts, which nothing in this process has looked at.
    importlib.import_module("bpb_harness.auditing.script.codes")
    done = 0
    while done < len(audits):
        try:
            for reports in _in_pool(audits[done:], processes):
                done += 1
                yield from reports
        except BrokenProcessPool:
            yield from _alone(audits[done], partial(given_up, done))
            done += 1


def _one_by_one(audits: Sequence[Audit]) -> Iterator[AuditReport]:
    # Deferred: a single audit shares nothing, and most records come without a script.
    from bpb_harness.auditing.script.frontend.trees import SharedTrees

    trees = SharedTrees()
    for audit in audits:
        with trees.used():
            reports = audit()
        yield from reports


def _in_pool(audits: Sequence[Audit], processes: int) -> Iterator[Sequence[AuditReport]]:
    pool = ProcessPoolExecutor(processes, mp_context=_context(), initializer=_start)
    try:
        ahead = [pool.submit(audit) for audit in audits[: _AHEAD * processes]]
        for number in range(len(audits)):
            following = number + _AHEAD * processes
            if following < len(audits):
                ahead.append(pool.submit(audits[following]))
            yield ahead.pop(0).result()
    finally:
        pool.shutdown(cancel_futures=True)


def _alone(audit: Audit, given_up: Callable[[str], AuditReport]) -> Sequence[AuditReport]:
    try:
        return next(_in_pool([audit], 1))
    except BrokenProcessPool:
        return [given_up("the process that audited it ended before it had a report; its files are too much for it")]


def _context() -> multiprocessing.context.BaseContext:
    # A copy of this process starts at once; of one with threads, or with torch's, it may hang.
    copied = sys.platform == "linux" and threading.active_count() == 1 and "torch" not in sys.modules
    return multiprocessing.get_context("fork" if copied else "spawn")


def _num_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def searched_rarely() -> Iterator[None]:
    """Where trees of a hundred thousand nodes are read, of which none stays, garbage is searched for rarely."""
    before = gc.get_threshold()
    gc.set_threshold(*_RARELY)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _start() -> None:
    from bpb_harness.auditing.script.frontend.trees import SharedTrees

    SharedTrees().use()
    gc.freeze()
    gc.set_threshold(*_RARELY)
