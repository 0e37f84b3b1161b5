"""Which stream each batch runs on, with streams that only keep a record."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
import torch

from bpb_harness.evaluation import cuda_streams
from bpb_harness.evaluation.cuda_streams import CudaStreams


class Stream:
    """A stream of some device; it notes what it waited for."""

    def __init__(self, index):
        self.index, self.waited = index, []

    def wait_stream(self, other):
        self.waited.append(other)


@pytest.fixture
def entered(monkeypatch):
    """Streams in the order in which batches ran on them."""
    entered: list[Stream] = []

    @contextmanager
    def stream(one):
        entered.append(one)
        yield

    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda index: f"current of {index}")
    cuda_streams._streams.cache_clear()
    yield entered
    cuda_streams._streams.cache_clear()


def run(in_turn, counts):
    for count in counts:
        with in_turn.next(count):
            pass


def test_batches_take_turns_on_streams_that_wait_for_what_came_before(entered):
    run(CudaStreams(torch.device("cuda:1"), 2), [2] * 5)
    assert len(set(entered)) == 2
    assert entered[0] is entered[2] is entered[4]
    assert entered[1] is entered[3]
    for stream in set(entered):
        assert (stream.index, stream.waited) == (1, ["current of 1"])


def test_another_pass_has_the_same_streams_and_waits_again(entered):
    for _ in range(2):
        run(CudaStreams(torch.device("cuda:0"), 2), [2] * 2)
    assert len(set(entered)) == 2
    assert all(stream.waited == ["current of 0"] * 2 for stream in entered)


def test_one_batch_at_a_time_stays_on_one_stream(entered):
    run(CudaStreams(torch.device("cuda:0"), 2), [2, 2, 2, 1, 1, 1])
    assert len(set(entered[:3])) == 2
    assert len(set(entered[3:])) == 1


def test_a_device_without_an_index_is_the_one_that_is_current(entered, monkeypatch):
    for current in (0, 3):
        monkeypatch.setattr(torch.cuda, "current_device", lambda current=current: current)
        run(CudaStreams(torch.device("cuda"), 2), [2])
    assert [stream.index for stream in entered] == [0, 3]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_without_turns_there_are_no_streams(entered, device):
    run(CudaStreams(torch.device(device), 1), [1, 1])
    assert entered == []
