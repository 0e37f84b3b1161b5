"""What is found beside scoring is found once, wherever it is asked for."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch

from bpb_harness.checkpoints import Checkpoint
from bpb_harness.evaluation import api, beside, device_ahead
from bpb_harness.evaluation.beside import Beside
from bpb_harness.evaluation.device_ahead import start_device
from bpb_harness.evaluation.settings import Settings


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
def test_memory_that_the_way_there_took_goes_back_once_it_is_found(monkeypatch, starts):
    said = []
    monkeypatch.setattr(beside, "give_back", lambda: said.append("gives back"))
    value = Beside(lambda: said.append("works"), "value")
    if starts:
        value.start()
    value.result()
    assert said == ["works", "gives back"]


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


def finished() -> None:
    for thread in [each for each in threading.enumerate() if each.name == "device"]:
        thread.join()


def test_a_gpu_is_made_ready_on_a_thread(monkeypatch):
    asked = []
    monkeypatch.setattr(device_ahead, "_ask", lambda *given: asked.append((*given, threading.current_thread().name)))
    start_device(torch.device("cuda"), torch.bfloat16)
    finished()
    assert asked == [(torch.device("cuda"), torch.bfloat16, "device")]


@pytest.mark.parametrize(("device", "starts"), [("cuda", True), ("cpu", False)])
def test_whoever_scores_on_a_processor_makes_no_gpu_ready(monkeypatch, device, starts):
    asked = []
    monkeypatch.setattr(api, "pick_device", lambda name: torch.device(device))
    monkeypatch.setattr(api, "load_kernels", lambda place: asked.append(place.type))
    monkeypatch.setattr(api, "start_device", lambda *given: asked.append(given))
    monkeypatch.setattr(api, "load_model", lambda *_, **named: (Checkpoint(Path("x.pt"), "tensors", "0", {}), named))
    api.LoadedCheckpoint.load("x.pt", Settings(dtype="bfloat16"))
    # Kernels first: their imports are not for two threads at once.
    assert asked == (["cuda", (torch.device("cuda"), torch.bfloat16)] if starts else ["cpu"])


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
