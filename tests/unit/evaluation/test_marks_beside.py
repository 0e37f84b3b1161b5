"""Marks are found beside a GPU that scores, and after a processor that does."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from bpb_harness.evaluation import reference_marks


@pytest.mark.parametrize(
    ("device", "is_first", "beside"), [("cuda", True, True), ("cuda", False, False), ("cpu", True, False)]
)
def test_marks_are_found_beside_a_gpu_and_after_a_cpu(monkeypatch, device, is_first, beside):
    asked, may_end = [], threading.Event()

    def marks(job, num_units):
        if beside:
            assert may_end.wait(60)
        asked.append((num_units, threading.current_thread().name))
        return "marks"

    monkeypatch.setattr(reference_marks, "_marks_of", marks)
    monkeypatch.setattr(reference_marks, "is_first_process", lambda: is_first)
    found = reference_marks.marks_beside(
        SimpleNamespace(device=SimpleNamespace(type=device)), SimpleNamespace(total_units=7)
    )
    assert asked == [], "nothing was waited for"
    may_end.set()
    assert found() == "marks"
    ((num_units, thread),) = asked
    assert num_units == 7
    assert thread.startswith("marks") == beside


def test_what_fails_there_fails_where_the_marks_are_asked_for(monkeypatch):
    def marks(job, num_units):
        raise ValueError("no marks")

    monkeypatch.setattr(reference_marks, "_marks_of", marks)
    found = reference_marks.marks_beside(
        SimpleNamespace(device=SimpleNamespace(type="cuda")), SimpleNamespace(total_units=7)
    )
    with pytest.raises(ValueError, match="no marks"):
        found()
