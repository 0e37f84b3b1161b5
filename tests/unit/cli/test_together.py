"""Processes that one command starts: each knows its place, and what ends one of them ends all, with a word on why."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from bpb_harness.cli import _together
from bpb_harness.cli._together import is_to_start, require_devices, run_together
from bpb_harness.errors import UsageError


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """As started by hand; and those that are left are soon told to end."""
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", _together.STARTED):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_together, "_SECONDS_TO_END", 0.2)
    monkeypatch.setattr(_together, "_SECONDS_TO_KEEP", 60.0)
    monkeypatch.setattr(_together, "_PAUSE", 0.01)


BEGIN = """
import os, signal, sys, time
rank = int(os.environ["RANK"])

def meet():
    "Until all are here, with whatever they want to do about signals."
    open(f"here {rank}", "w").close()
    while not all(os.path.exists(f"here {other}") for other in range(int(os.environ["WORLD_SIZE"]))):
        time.sleep(0.01)

def end_when_interrupted():
    signal.signal(signal.SIGINT, lambda *_: sys.exit(130))
    meet()
"""
SLEEP = "time.sleep(60)"


def run(code, count=2):
    return run_together(count, ["-c", BEGIN + code], "bpb-eval")


def test_each_process_is_told_its_place(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "OMP_NUM_THREADS")
    code = f"open({str(tmp_path)!r} + f'/{{rank}}', 'w').write(' '.join(os.environ[name] for name in {names}))"
    assert run(code, 3) == 0
    told = [(tmp_path / str(rank)).read_text().split() for rank in range(3)]
    port = told[0][5]
    assert told == [[str(rank), str(rank), "3", "3", "127.0.0.1", port, "7"] for rank in range(3)]
    assert 0 < int(port) < 1 << 16


def test_the_terminal_reaches_them_through_this_process_alone():
    assert run("sys.exit(os.getsid(0) != os.getpid())") == 0


def test_threads_are_shared_where_nobody_has_chosen(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(_together, "num_cores", lambda: 12)
    assert _together._environment(0, 4, 1)["OMP_NUM_THREADS"] == "3"
    assert _together._environment(0, 40, 1)["OMP_NUM_THREADS"] == "1"


def test_they_run_this_package_whatever_lies_in_the_working_folder(tmp_path, monkeypatch, repository):
    (tmp_path / "bpb_harness").mkdir()
    (tmp_path / "bpb_harness" / "__init__.py").write_text("raise SystemExit(9)\n")
    monkeypatch.chdir(tmp_path)
    ours = str(repository / "bpb_harness" / "__init__.py")
    assert run(f"import bpb_harness; sys.exit(bpb_harness.__file__ != {ours!r})") == 0


@pytest.mark.parametrize("failing", [0, 1])
def test_the_first_that_fails_says_how_all_end(failing, capfd):
    assert run(f"end_when_interrupted()\nsys.exit(4) if rank == {failing} else None\n{SLEEP}") == 4
    assert capfd.readouterr().err == ""  # that one has said why


def test_those_that_are_left_may_keep_what_they_have(tmp_path):
    code = """
try:
    meet()
    if rank == 1: sys.exit(2)
    time.sleep(60)
except KeyboardInterrupt: open("kept", "w").write("all of it"); sys.exit(130)
"""
    assert run(code) == 2
    assert (tmp_path / "kept").read_text() == "all of it"


def test_whoever_does_not_listen_is_ended(monkeypatch):
    monkeypatch.setattr(_together, "_SECONDS_TO_KEEP", 0.4)
    assert run(f"signal.signal(signal.SIGINT, signal.SIG_IGN)\nmeet()\nsys.exit(3) if rank else None\n{SLEEP}") == 3


def test_a_process_that_a_signal_ended_is_named(capfd):
    assert run(f"end_when_interrupted()\nos.kill(os.getpid(), 9) if rank else None\n{SLEEP}") == 137
    said = capfd.readouterr().err
    assert said == (
        "bpb-eval: process 1 of 0 .. 1 was ended by SIGKILL; with --resume FILE a run goes on where it was\n"
    )


@pytest.mark.parametrize(("sent", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 128 + signal.SIGTERM)])
def test_a_signal_is_passed_on_once(sent, expected, tmp_path, capfd):
    code = """
signal.signal(signal.SIGINT, lambda *_: open(f"interrupted {rank}", "a").write("x") and sys.exit(130))
meet()
time.sleep(60)
"""

    def send():
        while len(list(tmp_path.glob("here *"))) < 2:
            time.sleep(0.01)
        os.kill(os.getpid(), sent)

    sender = threading.Thread(target=send)
    sender.start()
    assert run(code) == expected
    sender.join()
    times = [path.read_text() for path in tmp_path.glob("interrupted *")]
    assert times == (["x", "x"] if sent == signal.SIGINT else [])
    assert capfd.readouterr().err == ""
    assert signal.getsignal(sent) in (signal.default_int_handler, signal.SIG_DFL)


def test_no_more_processes_are_started_than_there_are_devices(monkeypatch):
    monkeypatch.setattr(_together, "num_cores", lambda: 4)
    monkeypatch.setattr(_together.Path, "glob", lambda *_: map(_together.Path, ["/dev/nvidia0", "/dev/nvidiactl"]))
    require_devices(4)
    with pytest.raises(UsageError, match=r"got 99, expected 1 \.\. 4: a process for each core, or GPU"):
        require_devices(99)
    monkeypatch.setattr(_together, "num_cores", lambda: 1)
    with pytest.raises(UsageError, match="leave it out"):
        require_devices(2)
    monkeypatch.setattr(_together.Path, "glob", lambda *_: [_together.Path(f"/dev/nvidia{k}") for k in range(8)])
    require_devices(8)  # a core for all of them


def test_no_two_processes_share_a_gpu(monkeypatch):
    import torch

    for there, device, fits in ((1, "auto", False), (1, "cpu", True), (0, "auto", True), (2, "cuda", True)):
        monkeypatch.setattr(torch.cuda, "device_count", lambda there=there: there)
        monkeypatch.delenv(_together.STARTED, raising=False)
        _together.require_gpus(device)  # alone, or of torchrun, which says itself where its processes go
        monkeypatch.setenv(_together.STARTED, "2")
        if fits:
            _together.require_gpus(device)
            continue
        with pytest.raises(UsageError, match="--devices: got 2, expected at most 1, the GPUs that torch finds"):
            _together.require_gpus(device)


def test_a_number_that_cannot_be_meant_is_refused(monkeypatch):
    monkeypatch.setattr(_together, "num_cores", lambda: 8)
    for count in (0, -1, 5000):
        with pytest.raises(UsageError, match="--devices: got"):
            require_devices(count)
    require_devices(8)
    assert is_to_start(8)
    assert not is_to_start(1)
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match="2 processes of torchrun"):
        require_devices(2)
    require_devices(1)
    monkeypatch.setenv(_together.STARTED, "2")
    require_devices(2)
    assert not is_to_start(2)
