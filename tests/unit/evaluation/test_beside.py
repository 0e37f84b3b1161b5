"""What is found beside scoring is found once, wherever it is asked for."""

from __future__ import annotations

import ctypes
import threading
from types import SimpleNamespace

import pytest
import torch

from bpb_harness.evaluation import device_ahead, freed_memory
from bpb_harness.evaluation.beside import Beside
from bpb_harness.evaluation.device_ahead import start_device
from bpb_harness.evaluation.freed_memory import give_back


@pytest.mark.parametrize("starts", [True, False])
def test_a_value_is_found_once_and_where_it_is_said(starts):
    threads = []

    def work():
        threads.append(threading.current_thread())
        return 7

    value = Beside(work, "seven")
    if starts:
        value.start()
    assert [value.result(), value.result()] == [7, 7]
    (thread,) = threads
    assert (thread is threading.current_thread()) != starts
    assert thread.name.startswith("seven") == starts


@pytest.mark.parametrize("starts", [True, False])
def test_what_fails_is_raised_to_each_who_asks(starts):
    times = []

    def work():
        times.append(1)
        raise ValueError("no value")

    value = Beside(work, "none")
    if starts:
        value.start()
    for _ in range(2):
        with pytest.raises(ValueError, match="no value"):
            value.result()
    assert times == [1]


@pytest.mark.parametrize(("system", "calls"), [("linux", [0]), ("darwin", []), ("win32", [])])
def test_freed_memory_goes_back_where_the_library_can(monkeypatch, system, calls):
    called = []
    monkeypatch.setattr(freed_memory.sys, "platform", system)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace(malloc_trim=called.append))
    give_back()
    assert called == calls


def test_a_library_without_that_call_keeps_it(monkeypatch):
    monkeypatch.setattr(freed_memory.sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace())
    give_back()


def finished() -> None:
    for thread in [each for each in threading.enumerate() if each.name == "device"]:
        thread.join()


def test_a_gpu_is_made_ready_on_a_thread_and_a_processor_is_not(monkeypatch):
    asked = []
    monkeypatch.setattr(device_ahead, "_ask", lambda *given: asked.append((*given, threading.current_thread().name)))
    start_device(torch.device("cpu"), torch.float32)
    start_device(torch.device("cuda"), torch.bfloat16)
    finished()
    assert asked == [(torch.device("cuda"), torch.bfloat16, "device")]


@pytest.mark.parametrize("fails", [True, False])
def test_what_fails_there_is_left_to_whoever_needs_it(monkeypatch, fails):
    made, zeros = [], torch.zeros

    def on_a_cpu(*shape, dtype, device):
        made.append((dtype, device))
        if fails:
            raise torch.OutOfMemoryError("no memory")
        return zeros(*shape, dtype=dtype)

    monkeypatch.setattr(torch, "zeros", on_a_cpu)
    start_device(torch.device("cuda"), torch.bfloat16)
    finished()
    assert made == [(torch.bfloat16, torch.device("cuda"))]
