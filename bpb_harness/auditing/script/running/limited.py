"""Starting a limited process: a task on its standard input, an answer from its standard output, and its end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

_MAX_ANSWER = 64 * 2**20
_LONGEST_REASON = 300


def exchanged(program: Path, task: bytes, wall_seconds: float) -> bytes:
    """Run a program of this folder on a task, under a wall clock and a bound on the length of its answer.

    It gets a stripped environment, the root as its folder and a session of its own, which is killed at the end with
    all that it may have started. What it did not answer is missing.
    """
    environment = {
        "PATH": "", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "LC_ALL": "C.UTF-8",
        "CUDA_VISIBLE_DEVICES": "",
    }  # fmt: skip
    process = subprocess.Popen(  # noqa: S603 - our own program; what it is handed is limited there
        [sys.executable, "-I", "-B", str(program)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        env=environment, cwd="/" if os.name == "posix" else None, start_new_session=True,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    timer = threading.Timer(wall_seconds, _kill, [process])
    timer.start()
    try:
        with process.stdin as stdin:
            stdin.write(task)
        with process.stdout as stdout:
            answer = stdout.read(_MAX_ANSWER)
    except OSError:
        answer = b""
    finally:
        timer.cancel()
        _kill(process)
        process.wait()
    return answer


def read_reply(line: bytes) -> dict[str, Any] | None:
    """One object of an answer; None where it is none.

    Foreign code shares the process that writes it, and may have written it itself: whatever JSON can be is refused
    here, or by whoever looks into it.
    """
    try:
        reply = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return reply if isinstance(reply, dict) else None


def told(reason: object) -> str:
    """What a reply says in words, as one short line of a report."""
    words = " ".join("".join(char if char.isprintable() else " " for char in str(reason)[:_LONGEST_REASON]).split())
    return words or "no reason is given"


def _kill(process: subprocess.Popen[bytes]) -> None:
    try:
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    except OSError:
        pass
