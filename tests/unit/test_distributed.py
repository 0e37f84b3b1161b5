"""Devices and shares of processes, joining their group and leaving it."""

from __future__ import annotations

import sys
import threading

import pytest
import torch
import torch.distributed as dist

from bpb_harness.distributed import Processes, leave_processes, open_processes, pick_device
from bpb_harness.errors import UsageError


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


def test_rows_of_a_batch_go_to_one_process_each() -> None:
    rows = torch.arange(12).view(6, 2)
    shares = [Processes(rank, 4).share_rows(rows) for rank in range(4)]
    assert [share[:, 0].tolist() for share in shares] == [[0, 8], [2, 10], [4], [6]]


def test_alone_everything_stays_as_it_is() -> None:
    values = [torch.tensor([1.0, 2.0]), torch.tensor(3.0)]
    alone = Processes()
    alone.average(values)
    alone.wait()
    assert alone.decide(0.5, 2.0) == (0.5, 2.0)
    assert [value.tolist() for value in values] == [[1.0, 2.0], 3.0]


@pytest.mark.parametrize(("trains", "expected"), [(False, (0, 1)), (True, (1, 2))])
def test_a_group_that_the_program_started_is_trained_in_and_not_scored_in(
    monkeypatch: pytest.MonkeyPatch, trains: bool, expected: tuple[int, int]
) -> None:
    under_torchrun(monkeypatch)
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_rank", lambda: 1)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(dist, "destroy_process_group", lambda: pytest.fail("it is not ours to leave"))
    with open_processes(trains=trains) as processes:
        assert (processes.rank, processes.count) == expected


@pytest.mark.parametrize(
    ("trains", "gpus", "backend"), [(False, 2, "gloo"), (True, 0, "gloo"), (True, 2, "cpu:gloo,cuda:nccl")]
)
def test_gradients_on_gpus_go_through_nccl(
    monkeypatch: pytest.MonkeyPatch, trains: bool, gpus: int, backend: str
) -> None:
    under_torchrun(monkeypatch, gpus=gpus)
    asked: list[str] = []

    def refuse(name: str) -> None:
        asked.append(name)
        raise RuntimeError("nobody answers")

    monkeypatch.setattr(dist, "init_process_group", refuse)
    monkeypatch.setattr(dist, "is_nccl_available", lambda: True)
    with pytest.raises(UsageError, match="cannot be joined: got nobody answers"), open_processes(trains=trains):
        pass
    assert asked == [backend]


@pytest.mark.parametrize(
    ("name", "gpus", "rank", "expected"),
    [("auto", 0, None, "cpu"), ("auto", 2, None, "cuda"), ("cuda", 2, 3, "cuda:1"), ("cpu", 2, 1, "cpu")],
)
def test_each_process_has_a_device_of_its_own(
    monkeypatch: pytest.MonkeyPatch, name: str, gpus: int, rank: int | None, expected: str
) -> None:
    under_torchrun(monkeypatch, gpus=gpus, rank=rank)
    assert str(pick_device(name)) == expected


@pytest.mark.parametrize(
    ("name", "what"), [("cuda", "--device cuda: got no CUDA device"), ("gpu", "--device: got 'gpu'")]
)
def test_devices_that_are_not_there_are_refused(monkeypatch: pytest.MonkeyPatch, name: str, what: str) -> None:
    under_torchrun(monkeypatch, gpus=0)
    with pytest.raises(UsageError) as refused:
        pick_device(name)
    assert what in str(refused.value)


def under_torchrun(monkeypatch: pytest.MonkeyPatch, *, gpus: int = 0, rank: int | None = 1) -> None:
    """The environment of one of its processes, or of none, on a machine with so many GPUs."""
    given = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 4, "MASTER_ADDR": "localhost", "MASTER_PORT": 1}
    for variable, value in given.items():
        monkeypatch.delenv(variable, raising=False)
        if rank is not None:
            monkeypatch.setenv(variable, str(value))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
