"""A fresh process: an empty working folder, a scrubbed environment, and two pipes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from bpb_harness.second_look.messages import Channel

# Of the environment it gets nothing that tells where the text is, or that it is one of several processes.
_LEFT_OUT = ("BPB_", "PWD", "OLDPWD", "RANK", "WORLD_SIZE", "LOCAL_", "GROUP_", "ROLE_", "MASTER_", "TORCHELASTIC_")

_SOON = 0.2  # seconds in which what has closed its pipes has ended


@final
@dataclass
class Server:
    """A running process in an empty folder, without descriptors or an environment that lead to the text."""

    process: subprocess.Popen[bytes]
    channel: Channel
    complaints: Any
    folder: tempfile.TemporaryDirectory[str]
    owner: int = field(default_factory=os.getpid)

    @classmethod
    def start(cls, module: str, *arguments: str) -> Server:
        """Run a module of this package, which talks to this process through its standard input and output."""
        folder = tempfile.TemporaryDirectory(prefix="bpb-process-")
        complaints = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the process
        command = [sys.executable, "-P", "-m", module, *arguments]
        process = subprocess.Popen(  # noqa: S603  # this interpreter and a module of this package
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints, cwd=folder.name,
            env=_environment(), start_new_session=True, bufsize=0,
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        return cls(process, Channel(process.stdout.fileno(), process.stdin.fileno()), complaints, folder)

    def last_words(self) -> str:
        """The last line of what the process said on its standard error, or the signal that ended it without a word."""
        self.complaints.seek(max(self.complaints.seek(0, os.SEEK_END) - 4096, 0))
        lines: list[str] = self.complaints.read().decode("utf-8", errors="replace").strip().splitlines()
        if lines:
            return lines[-1]
        code = self.process.returncode if self.wait(_SOON) else None
        return f"no message (ended by signal {-code})" if code is not None and code < 0 else "no message"

    def wait(self, seconds: float) -> bool:
        """Whether it ends by itself within some time."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self) -> None:
        """End the process, whatever it is doing: it keeps nothing that could be lost."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        with contextlib.suppress(ProcessLookupError):
            if hasattr(os, "killpg"):  # the fork that runs a network, too
                os.killpg(self.process.pid, signal.SIGKILL)
            else:
                self.process.kill()
        self.process.wait()
        self.complaints.close()
        self.folder.cleanup()


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_LEFT_OUT)}
    package = str(Path(__file__).resolve().parents[2])
    kept["PYTHONPATH"] = os.pathsep.join([package, *filter(None, [kept.get("PYTHONPATH")])])
    return kept
