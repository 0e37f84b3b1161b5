"""Devices and shares of processes, joining their group and leaving it."""

from __future__ import annotations

import os
import sys
import threading
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist

from bpb_harness import distributed
from bpb_harness.distributed import (
    Processes,
    leave_processes,
    open_processes,
    pick_device,
    see_own_gpu,
    take_threads,
)
from bpb_harness.errors import HarnessError, UsageError
from bpb_harness.torchrun import num_cores


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


class Together:
    """A store of processes that are really one."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def add(self, key: str, amount: int) -> int:
        self.numbers[key] = self.numbers.get(key, 0) + amount
        return self.numbers[key]


def test_whoever_asks_gets_the_next_item_and_nobody_gets_it_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Processes, "decide", lambda self, *values: (4.0,))  # the first one's count of deals
    store, items = Together(), list(range(40))
    deals = fast, slow = [Processes(rank, 2, store).deal(items) for rank in range(2)]
    taken: list[list[int]] = [[], []]
    quick, late = iter(fast), iter(slow)
    for item in quick:
        taken[0].append(item)
        if item % 10 == 0:
            taken[1] += [next(late)]
    assert sorted(taken[0] + taken[1]) == items
    assert len(taken[1]) == 4
    assert list(late) == []
    assert [deal.most_ahead for deal in deals] == [0, 0]
    assert list(store.numbers) == ["deal 4"]


def test_the_fewer_are_left_the_fewer_are_taken_in_advance() -> None:
    deal = Processes(1, 2).deal(range(40))
    ahead = [(item, deal.most_ahead) for item in deal]
    assert [item for item, most in ahead if most == 1] == [29, 31, 33]  # 7 to 11 are left
    assert [item for item, most in ahead if most == 0] == [35, 37, 39]
    assert {most for _, most in ahead} == {0, 1, 2}
    alone = Processes().deal(range(9))
    assert [alone.most_ahead for _ in alone] == [2] * 9


@pytest.mark.parametrize(
    ("variables", "threads"),
    [
        ({"TORCHELASTIC_RUN_ID": "a", "OMP_NUM_THREADS": "1"}, 3),
        ({"TORCHELASTIC_RUN_ID": "a", "OMP_NUM_THREADS": "2"}, None),
        ({"OMP_NUM_THREADS": "1"}, None),
        ({"TORCHELASTIC_RUN_ID": "a"}, None),
    ],
)
def test_processes_share_the_cores_where_torchrun_chose_one_thread(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], threads: int | None
) -> None:
    under_torchrun(monkeypatch)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(13)), raising=False)
    for name in ("TORCHELASTIC_RUN_ID", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    asked: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    take_threads()
    assert asked == ([] if threads is None else [threads])
    assert num_cores() == 3
    under_torchrun(monkeypatch, rank=None)
    assert num_cores() == 13


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


@pytest.mark.parametrize("trains", [True, False])
def test_who_scores_takes_threads_and_a_store_and_who_trains_neither(
    monkeypatch: pytest.MonkeyPatch, trains: bool
) -> None:
    under_torchrun(monkeypatch)
    asked: list[str] = []
    monkeypatch.setattr(distributed, "take_threads", lambda: asked.append("threads"))
    monkeypatch.setattr(distributed, "_open_store", Together)
    monkeypatch.setattr(dist, "is_initialized", lambda: False)
    monkeypatch.setattr(dist, "init_process_group", lambda _: asked.append("group"))
    monkeypatch.setattr(dist, "get_rank", lambda: 1)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(dist, "destroy_process_group", lambda: asked.append("left"))
    with open_processes(trains=trains) as processes:
        assert isinstance(processes.store, Together) is not trains
    assert asked == (["group", "left"] if trains else ["threads", "group", "left"])


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
    ("gpus", "rank", "listed", "seen"),
    [
        (2, 3, None, "1"),
        (2, 0, None, "0"),
        (3, 1, "4,MIG-7,2", "MIG-7"),
        (1, 1, None, None),
        (1, 1, "5", "5"),
        (2, None, None, None),
        (0, 1, None, None),
    ],
)
def test_a_process_sees_its_own_gpu_alone(
    monkeypatch: pytest.MonkeyPatch, gpus: int, rank: int | None, listed: str | None, seen: str | None
) -> None:
    under_torchrun(monkeypatch, gpus=gpus, rank=rank)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # so that what is set below does not outlive the test
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    if listed is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", listed)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    see_own_gpu()
    assert os.environ.get("CUDA_VISIBLE_DEVICES") == seen
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)  # too late: it is device 1 for good
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7,8")
    see_own_gpu()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "7,8"


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


GONE = "[/gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:65261. Check the logs of the remote"
LOST = "failed to recv, got 0 bytes. Connection was likely closed. Did the remote server shutdown or crash?"


@pytest.mark.parametrize("said", [GONE, LOST])
def test_a_process_that_has_ended_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    def fail(*_: object, **__: object) -> int:
        raise RuntimeError(said)

    processes, tensors = Processes(1, 2), [torch.zeros(2, dtype=torch.float64)]
    monkeypatch.setattr(torch.distributed, "broadcast", lambda *_, **__: None)
    dealt = Processes(1, 2, SimpleNamespace(add=fail)).deal([1, 2])
    for name in ("all_reduce", "broadcast", "all_gather_object"):
        monkeypatch.setattr(torch.distributed, name, fail)
    for wait in (
        processes.wait,
        lambda: processes.gather(1),
        lambda: processes.add(tensors),
        lambda: processes.average(tensors),
        lambda: list(dealt),
    ):
        with pytest.raises(HarnessError) as caught:
            wait()
        assert str(caught.value) == (
            "another process of this run has ended; see what it said; if nothing, what ended it"
        )


def test_what_else_is_wrong_between_processes_is_said_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("Timed out waiting 1800000ms for recv operation to complete")

    monkeypatch.setattr(torch.distributed, "all_gather_object", fail)
    with pytest.raises(RuntimeError, match="Timed out"):
        Processes(1, 2).gather(1)
