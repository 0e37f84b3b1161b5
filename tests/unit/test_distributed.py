"""Leaving a group of processes."""

from __future__ import annotations

import sys
import threading

import pytest
import torch.distributed as dist

from bpb_harness.distributed import leave_processes


def test_threads_that_wait_for_the_interpreter_get_it_before_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """As gloo's do, for their last tensors; here nobody gives it up but who wants to."""
    left: list[str] = []
    monkeypatch.setattr(dist, "destroy_process_group", lambda: left.append("group"))
    waiting = threading.Lock()
    waiting.acquire()

    def let_go() -> None:
        with waiting:
            left.append("tensor")

    thread = threading.Thread(target=let_go)
    thread.start()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e3)
    try:
        waiting.release()
        leave_processes()
        seen = list(left)
    finally:
        sys.setswitchinterval(interval)
        thread.join()
    assert seen == ["group", "tensor"]
