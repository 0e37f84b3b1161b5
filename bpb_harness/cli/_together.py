"""``--devices N``: processes that share the work of a command, started without importing anything that takes long.

Each is told its place as torchrun would tell it (:mod:`bpb_harness.torchrun`). Whatever ends one of them ends all:
those that are left have a moment to say so and to keep what they have done, and nothing is left running.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType

from bpb_harness.errors import UsageError
from bpb_harness.torchrun import num_cores, num_processes

STARTED = "BPB_DEVICES"  # is set in the processes that were started here
EXIT_SIGNALLED = 128  # plus the signal that ended a process, as shells have it
# After the first failure: until the others are interrupted, and from there until they are ended.
_SECONDS_TO_END, _SECONDS_TO_KEEP = 5.0, 20.0
_PAUSE = 0.05
_PASSED_ON = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


def require_devices(count: int) -> None:
    """Refuse a number that cannot be meant, before a process is started.

    Raises:
        UsageError: for less than 1 or more than there are, or within processes that torchrun started.
    """
    if count < 1:
        raise UsageError("--devices", seen=count, expected="1 or more")
    if count > 1 and num_processes() > 1 and STARTED not in os.environ:
        seen = f"{num_processes()} processes of torchrun"
        raise UsageError("--devices", seen=seen, expected="one of the two", hint="leave --devices out")
    if (most := most_devices()) < count and STARTED not in os.environ:
        raise UsageError(
            "--devices", seen=count, expected=f"1 .. {most}: a process for each core, or GPU, of this machine",
            hint=f"pass --devices {most}" if most > 1 else "leave it out",
        )  # fmt: skip


def most_devices() -> int:
    """How many processes this machine has devices for: cores that this one may use, or GPUs where those are more.

    GPUs are counted by their names in ``/dev``, for asking torch takes seconds: :func:`require_gpus` asks it.
    """
    return max(num_cores(), sum(name.name[6:].isdecimal() for name in Path("/dev").glob("nvidia*")))


def require_gpus(device: str) -> None:
    """Refuse more processes than there are GPUs, in those that were started, before one of them takes its own.

    Args:
        device: ``auto``, ``cpu`` or ``cuda``.

    Raises:
        UsageError: if several would share a GPU.
    """
    if STARTED not in os.environ or device == "cpu":
        return
    import torch  # deferred: who starts them does without

    count, there = int(os.environ[STARTED]), torch.cuda.device_count()
    if 0 < there < count:
        raise UsageError(
            "--devices", seen=count, expected=f"at most {there}, the GPUs that torch finds",
            hint=f"pass --devices {there}" if there > 1 else "leave it out",
        )  # fmt: skip


def is_to_start(count: int) -> bool:
    """Whether this process is to start others, and not one of those."""
    return count > 1 and num_processes() == 1


def is_watched() -> bool:
    """Whether somebody else says it if a process of this run ends: whoever has started them."""
    return STARTED in os.environ or "TORCHELASTIC_RUN_ID" in os.environ


def run_together(count: int, words: Sequence[str], name: str) -> int:
    """Start processes that run one command together, and wait for them.

    Args:
        count: how many.
        words: of the command, behind ``python``.
        name: of the command, in front of what is said.

    Returns:
        0, or the exit code of the first that failed; 128 plus its number for a signal.
    """
    processes: list[subprocess.Popen[bytes]] = []
    port = _port()
    try:
        with _passing_on(processes) as received:
            for rank in range(count):
                # A session of its own: Ctrl-C at the terminal reaches it once, from here.
                processes.append(
                    subprocess.Popen(  # noqa: S603  # this interpreter and this package
                        [sys.executable, "-P", *words], env=_environment(rank, count, port), start_new_session=True
                    )
                )
            failed = _wait(processes)
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.wait()
    if failed is None:
        return 0
    code = processes[failed].returncode
    if code >= 0:
        return code
    if not received:
        sent = signal.Signals(-code).name
        sys.stderr.write(
            f"{name}: process {failed} of 0 .. {count - 1} was ended by {sent}; with --resume FILE a run goes on where "
            "it was\n"
        )
    return EXIT_SIGNALLED - code


def _wait(processes: Sequence[subprocess.Popen[bytes]]) -> int | None:
    """Until all have ended; the first that failed, or None."""
    failed: int | None = None
    limits: list[tuple[float, signal.Signals]] = []
    while True:
        has_ended = [process.poll() is not None for process in processes]
        if failed is None:
            failed = next((rank for rank, process in enumerate(processes) if process.returncode), None)
            if failed is not None:
                now = time.monotonic()
                limits = [(now + _SECONDS_TO_END, signal.SIGINT), (now + _SECONDS_TO_KEEP, signal.SIGKILL)]
        if all(has_ended):
            return failed
        if limits and time.monotonic() > limits[0][0]:
            _, sent = limits.pop(0)
            for process in processes:
                process.send_signal(sent)  # to those that are left
        time.sleep(_PAUSE)


@contextlib.contextmanager
def _passing_on(processes: Sequence[subprocess.Popen[bytes]]) -> Iterator[list[int]]:
    """Signals that would end this process go to all of those; which they were."""
    received: list[int] = []

    def pass_on(number: int, _: FrameType | None) -> None:
        received.append(number)
        for process in processes:
            if process.poll() is None:
                process.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in _PASSED_ON}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _environment(rank: int, count: int, port: int) -> dict[str, str]:
    package = str(Path(__file__).resolve().parents[2])
    told = {
        STARTED: str(count),
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "PYTHONPATH": os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])]),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(max(num_cores() // count, 1))),
    }
    return {**os.environ, **told}
