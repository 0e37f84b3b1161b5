"""Serving processes that are forked from one that has imported torch already: milliseconds in place of seconds.

For tests of the asking end, which must bear whatever happens to a process at the other. What a fresh process is (its
folder, its environment, what it had imported) needs one that was started as the product starts it.
"""

from __future__ import annotations

import os
import resource
import runpy
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from multiprocessing import forkserver, get_context
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType, SimpleNamespace
from typing import IO, Any
from unittest import mock

from bpb_harness.second_look.server import Server

FORKS = get_context("forkserver")
_SECONDS = 60.0  # in which what has closed its pipes has ended, on a machine however busy
FORKS.set_forkserver_preload(
    [
        "bpb_harness.adapters",
        "bpb_harness.auditing.script",
        "bpb_harness.second_look.answering",
        "bpb_harness.cli.eval",
        "bpb_harness.evaluation.api",
        "sentencepiece",
        "tests.forked_servers",  # where it stands what a fork runs, or each would import it, and what it imports
        "tests.two_processes",
        "tests.settled",
    ]
)


class ForkedProcess:
    """What :class:`bpb_harness.second_look.server.Server` uses of ``subprocess.Popen``, and what starts a program of
    ``bpb_harness.auditing.script.running``: a module behind ``-m``, or a file at the command's end.
    """

    def __init__(
        self,
        command: list[str],
        *,
        stderr: IO[bytes] | int,
        cwd: str,
        env: dict[str, str],
        bufsize: int = -1,
        **_: Any,
    ) -> None:
        module, *arguments = command[command.index("-m") + 1 :] if "-m" in command else command[-1:]
        child_in, self._to_it = FORKS.Pipe(duplex=False)
        self._from_it, child_out = FORKS.Pipe(duplex=False)
        to = os.open(os.devnull, os.O_WRONLY) if isinstance(stderr, int) else os.dup(stderr.fileno())
        complaints = Connection(to, readable=False)
        self._process = FORKS.Process(
            target=_run, args=([module, *arguments], child_in, child_out, complaints, cwd, env)
        )
        with no_main_module():
            self._process.start()
        for end in (child_in, child_out, complaints):
            end.close()
        assert self._process.pid is not None
        self.pid = self._process.pid
        self.stdin = os.fdopen(os.dup(self._to_it.fileno()), "wb", buffering=0)
        self.stdout = os.fdopen(os.dup(self._from_it.fileno()), "rb", buffering=bufsize)
        self._to_it.close()
        self._from_it.close()
        if not os.read(self.stdout.fileno(), 1):  # then it leads a group of its own, which can be ended
            self._process.join(_SECONDS)
            raise RuntimeError(f"{module}: the forked process ended before it began, by {self._process.exitcode}")

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, seconds: float | None = None) -> int | None:
        self._process.join(seconds)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("a forked process", seconds or 0.0)
        return self._process.exitcode


SUBPROCESS = SimpleNamespace(
    Popen=ForkedProcess, PIPE=subprocess.PIPE, DEVNULL=subprocess.DEVNULL, TimeoutExpired=subprocess.TimeoutExpired
)


def start_forked(module: str, *arguments: str) -> Server:
    """In place of :meth:`bpb_harness.second_look.server.Server.start`."""
    with mock.patch("bpb_harness.second_look.server.subprocess", SUBPROCESS):
        return Server.start(module, *arguments)


def run_program(program: str, *words: object, seconds: int | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program of Python as ``python -c`` does; what it imports itself may be there already.

    Args:
        program: its text.
        words: behind it.
        seconds: of the processor, after which it is ended by a signal.
    """
    with TemporaryDirectory() as folder, no_main_module():
        out, err = Path(folder, "out"), Path(folder, "err")
        process = FORKS.Process(target=_run_program, args=(program, [*map(str, words)], out, err, seconds))
        process.start()
        process.join()
        assert process.exitcode is not None
        return subprocess.CompletedProcess(
            [program, *words], process.exitcode, out.read_text("utf-8"), err.read_text("utf-8")
        )


def _run_program(program: str, words: list[str], out: Path, err: Path, seconds: int | None) -> None:
    for number, path in enumerate((out, err), start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    if seconds is not None:
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    sys.argv = ["-c", *words]
    exec(compile(program, "<string>", "exec"), {"__name__": "__main__"})


def seconds_of_forks() -> float:
    """What the process that forks has taken of a processor, with those of its forks that have ended; of Linux alone."""
    pid = getattr(forkserver._forkserver, "_forkserver_pid", None)
    stat = Path("/proc", str(pid), "stat")
    if pid is None or not stat.exists():
        return 0.0
    fields = stat.read_text("utf-8").rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def no_main_module() -> Iterator[None]:
    """While a process is started: it does not import, and run, pytest a second time."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _run(
    command: list[str],
    child_in: Connection,
    child_out: Connection,
    complaints: Connection,
    cwd: str,
    env: dict[str, str],
) -> None:
    os.setsid()
    os.write(child_out.fileno(), b"!")
    for number, end in enumerate((child_in, child_out, complaints)):
        os.dup2(end.fileno(), number)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = command
    if command[0].endswith(".py"):
        sys.stdin = os.fdopen(0)  # multiprocessing closed it
        runpy.run_path(command[0], run_name="__main__")
    else:
        import_module(command[0]).main()
    os._exit(0)
