"""Starting a limited process: a task on its standard input, an answer from its standard output, and its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

_MAX_ANSWER = 64 * 2**20


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


def _kill(process: subprocess.Popen[bytes]) -> None:
    try:
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    except OSError:
        pass
