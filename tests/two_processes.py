"""Commands that two processes run together, one after another, as torchrun would have them.

They are forked from a process that has imported torch already. torchrun itself, which starts three that have not, is
needed where its own doing is tested.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import random
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import torch

from tests.forked_servers import FORKS, no_main_module

COUNT = 2
_ENDED = "\x1e"  # ASCII's record separator, on both streams, behind each command
_SECONDS = 300.0


@dataclass(frozen=True)
class Ended:
    """How one command ended, by rank."""

    codes: list[int]
    stdout: list[str]
    stderr: list[str]


def _free_port() -> int:
    """One that the system gives nobody who asks for any: it is taken seconds later, and would be another's by then."""
    while True:
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", random.SystemRandom().randrange(20_000, 32_768)))
            return int(listener.getsockname()[1])


@contextmanager
def _started(
    module: str,
    commands: Sequence[Sequence[object]],
    cwd: Path,
    count: int = COUNT,
    waits: Mapping[int, tuple[str, int] | None] | None = None,
) -> Iterator[tuple[list[ForkServerProcess], list[tuple[Path, Path]]]]:
    """The processes, and the files into which each says what it says on stdout and on stderr."""
    listed = [(_free_port(), [str(word) for word in words]) for words in commands]
    environment = {key: value for key, value in os.environ.items() if key != "BPB_DATA"} | {
        "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1", "WORLD_SIZE": str(count)
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder, no_main_module():
        streams = [(Path(folder, f"{rank}.out"), Path(folder, f"{rank}.err")) for rank in range(count)]
        processes = []
        for rank, each in enumerate(streams):
            place = {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            given = (module, listed, each, cwd, environment | place, (waits or {}).get(rank))
            processes.append(FORKS.Process(target=_run, args=given))
        for process in processes:
            process.start()
        yield processes, streams


def _ends(process: ForkServerProcess) -> bool:
    """Whether a process ends by itself; it is ended if not."""
    process.join(_SECONDS)
    ends = not process.is_alive()
    process.kill()
    return ends


def run_in_two(module: str, commands: Sequence[Sequence[object]], *, cwd: Path, count: int = COUNT) -> list[Ended]:
    """Run commands in two processes that know of each other, or in another number of them.

    Args:
        module: whose ``main`` is the command.
        commands: the words behind its name, of each command.
        cwd: the folder in which they run.
        count: how many processes.
    """
    with _started(module, commands, cwd, count) as (processes, streams):
        have_ended = [_ends(process) for process in processes]
        outputs = [[path.read_text(encoding="utf-8") for path in each] for each in streams]
    assert all(have_ended), outputs
    assert [process.exitcode for process in processes] == [0] * count, outputs
    spoken = [[stream.split(_ENDED)[:-1] for stream in each] for each in outputs]
    assert all(len(stream) == len(commands) for each in spoken for stream in each), outputs
    ended = []
    for index in range(len(commands)):
        said = [(out[index], err[index]) for out, err in spoken]
        parted = [(*out.rpartition("\n"), err) for out, err in said]
        ended.append(
            Ended(
                [int(code) for _, _, code, _ in parted],
                [before + newline for before, newline, _, _ in parted],
                [err for *_, err in parted],
            )
        )
    return ended


def kill_one_of_two(
    module: str,
    words: Sequence[object],
    *,
    rank: int,
    when: Callable[[], bool],
    cwd: Path,
    then_waits: tuple[str, int] | None = None,
) -> tuple[int, str]:
    """Run one command in two processes, and end one of them by SIGKILL once a condition holds.

    Args:
        module: whose ``main`` is the command.
        words: behind its name.
        rank: of the one that is ended.
        when: asked every few milliseconds.
        cwd: the folder in which they run.
        then_waits: ``module:name`` of a function and a number: at the end of so many calls of it the one that is to be
            ended waits, and does not come to its own end before.

    Returns:
        The other one's exit code, and what it said on stderr.
    """
    with _started(module, [words], cwd, waits={rank: then_waits}) as (processes, streams):
        while not when():
            assert all(process.is_alive() for process in processes), [path.read_text() for _, path in streams]
            time.sleep(0.005)
        processes[rank].kill()
        other = 1 - rank
        ends = _ends(processes[other])
        out, err = (path.read_text(encoding="utf-8") for path in streams[other])
    assert ends, err
    return int(out.split(_ENDED)[0].rpartition("\n")[2]), err.split(_ENDED)[0]


def interrupt_one(
    module: str, words: Sequence[object], *, how: int, waits: tuple[str, int], cwd: Path
) -> tuple[int, str, str]:
    """Run one command in one process, and send it a signal where it waits; see `kill_one_of_two`.

    Returns:
        The exit code, below 0 for the signal that ended it, and what it said on both streams.
    """
    with _started(module, [words], cwd, 1, {0: waits}) as ((process,), ((out, err),)):
        while not _mark(out).exists():
            assert process.is_alive(), err.read_text()
            time.sleep(0.005)
        assert process.pid is not None
        os.kill(process.pid, how)
        assert _ends(process), err.read_text()
        said, _, code = out.read_text(encoding="utf-8").split(_ENDED)[0].rpartition("\n")
        return process.exitcode or int(code), said, err.read_text(encoding="utf-8").split(_ENDED)[0]


def _mark(out: Path) -> Path:
    """The file that is there once the process that speaks to ``out`` waits."""
    return out.with_suffix(".waits")


def _wait_after(where: str, calls: int, mark: Path) -> None:
    """At the end of so many calls of a function or method, ``module:name``, wait to be ended or interrupted."""
    module, _, name = where.partition(":")
    *path, name = name.split(".")
    holder = functools.reduce(getattr, path, import_module(module))
    plain, count = getattr(holder, name), itertools.count(1)

    def waiting(*given: object, **named: object) -> object:
        done = plain(*given, **named)
        if next(count) == calls:
            mark.touch()
            time.sleep(_SECONDS)
        return done

    setattr(holder, name, waiting)


def _run(
    module: str,
    commands: Sequence[tuple[int, list[str]]],
    streams: Sequence[Path],
    cwd: Path,
    environment: dict[str, str],
    waits: tuple[str, int] | None,
) -> None:
    for number, path in enumerate(streams, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    torch.set_num_threads(1)
    if waits is not None:
        _wait_after(*waits, _mark(streams[0]))
    main = import_module(module).main
    for port, words in commands:
        os.environ["MASTER_PORT"], sys.argv = str(port), ["command", *words]
        try:
            main()
        except SystemExit as ended:
            print(ended.code or 0, end=_ENDED, flush=True)
            print(end=_ENDED, file=sys.stderr, flush=True)
