"""Commands that two processes run together, one after another, as torchrun would have them: torch is imported once.

torchrun itself, which starts a third process, is needed where its own doing is tested.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

COUNT = 2
_ENDED = "\x1e"  # ASCII's record separator, on both streams, behind each command
_DRIVER = f"""
import importlib, json, os, sys
main = importlib.import_module(sys.argv[1]).main
for port, words in json.loads(sys.argv[2]):
    os.environ["MASTER_PORT"], sys.argv = str(port), ["command", *words]
    try:
        main()
    except SystemExit as ended:
        print(ended.code or 0, end={_ENDED!r}, flush=True)
        print(end={_ENDED!r}, file=sys.stderr, flush=True)
"""


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


def run_in_two(module: str, commands: Sequence[Sequence[object]], *, cwd: Path) -> list[Ended]:
    """Run commands in two processes that know of each other.

    Args:
        module: whose ``main`` is the command.
        commands: the words behind its name, of each command.
        cwd: the folder in which they run.
    """
    listed = [(_free_port(), [str(word) for word in words]) for words in commands]
    environment = {key: value for key, value in os.environ.items() if key != "BPB_DATA"} | {
        "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1", "WORLD_SIZE": str(COUNT)
    }  # fmt: skip
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _DRIVER, module, json.dumps(listed)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=cwd,
            env={**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(COUNT)
    ]  # fmt: skip
    outputs = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0] * COUNT, outputs
    spoken = [[stream.split(_ENDED)[:-1] for stream in each] for each in outputs]
    assert all(len(stream) == len(listed) for each in spoken for stream in each), outputs
    ended = []
    for index in range(len(listed)):
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
