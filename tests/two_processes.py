"""Commands that two processes run together, one after another, as torchrun would have them.

They are forked from a process that has imported torch already. torchrun itself, which starts three that have not, is
needed where its own doing is tested.
"""

from __future__ import annotations

import os
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
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
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def _started(
    module: str, commands: Sequence[Sequence[object]], cwd: Path, count: int = COUNT
) -> Iterator[tuple[list[ForkServerProcess], list[tuple[Path, Path]]]]:
    """The processes, and the files into which each says what it says on stdout and on stderr."""
    listed = [(_free_port(), [str(word) for word in words]) for words in commands]
    environment = {key: value for key, value in os.environ.items() if key != "BPB_DATA"} | {
        "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1", "WORLD_SIZE": str(count)
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder, no_main_module():
        streams = [(Path(folder, f"{rank}.out"), Path(folder, f"{rank}.err")) for rank in range(count)]
        processes = [
            FORKS.Process(
                target=_run,
                args=(module, listed, each, cwd, {**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)}),
            )
            for rank, each in enumerate(streams)
        ]
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
    module: str, words: Sequence[object], *, rank: int, when: Callable[[], bool], cwd: Path
) -> tuple[int, str]:
    """Run one command in two processes, and end one of them by SIGKILL once a condition holds.

    Args:
        module: whose ``main`` is the command.
        words: behind its name.
        rank: of the one that is ended.
        when: asked every few milliseconds.
        cwd: the folder in which they run.

    Returns:
        The other one's exit code, and what it said on stderr.
    """
    with _started(module, [words], cwd) as (processes, streams):
        while not when():
            assert all(process.is_alive() for process in processes), [path.read_text() for _, path in streams]
            time.sleep(0.005)
        processes[rank].kill()
        other = 1 - rank
        ends = _ends(processes[other])
        out, err = (path.read_text(encoding="utf-8") for path in streams[other])
    assert ends, err
    return int(out.split(_ENDED)[0].rpartition("\n")[2]), err.split(_ENDED)[0]


def _run(
    module: str,
    commands: Sequence[tuple[int, list[str]]],
    streams: Sequence[Path],
    cwd: Path,
    environment: dict[str, str],
) -> None:
    for number, path in enumerate(streams, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    torch.set_num_threads(1)
    main = import_module(module).main
    for port, words in commands:
        os.environ["MASTER_PORT"], sys.argv = str(port), ["command", *words]
        try:
            main()
        except SystemExit as ended:
            print(ended.code or 0, end=_ENDED, flush=True)
            print(end=_ENDED, file=sys.stderr, flush=True)
