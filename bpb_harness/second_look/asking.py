"""The asking end: starts the fresh process, and puts questions to it."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import torch

from bpb_harness.denoiser import CausalLM, Denoiser
from bpb_harness.errors import SecondLookError
from bpb_harness.second_look.answering import HeldLogits
from bpb_harness.second_look.fresh_process import DIRECT, FORK
from bpb_harness.second_look.messages import Channel
from bpb_harness.second_look.questions import Answer, Question

_HINT = (
    "read files by the checkpoint's path or the code's own, not by the working folder; --no-contract leaves this out, "
    "and the signature says so"
)
# Of the environment it gets nothing that tells where the text is, or that it is one of several processes.
_LEFT_OUT = ("BPB_", "PWD", "OLDPWD", "RANK", "WORLD_SIZE", "LOCAL_", "GROUP_", "ROLE_", "MASTER_", "TORCHELASTIC_")


@final
@dataclass(frozen=True)
class ModelSource:
    """How another process builds the network again.

    Attributes:
        load: arguments of :func:`bpb_harness.adapters.load_model`, plain values.
        device: where it runs there.
        dtype: "float32" or "bfloat16".
    """

    load: Mapping[str, Any]
    device: torch.device
    dtype: str

    def from_anywhere(self) -> dict[str, Any]:
        """The arguments as they hold in any working folder."""
        absolute = {**self.load, "path": str(Path(self.load["path"]).absolute())}
        file, colon, function = (self.load.get("model_loader") or "").rpartition(":")
        if colon:
            absolute["model_loader"] = f"{Path(file).absolute()}:{function}"
        return absolute


@final
@dataclass
class _Server:
    """A running process with nothing to do, or with one checkpoint."""

    process: subprocess.Popen[bytes]
    channel: Channel
    complaints: Any
    folder: tempfile.TemporaryDirectory[str]
    owner: int = field(default_factory=os.getpid)

    @classmethod
    def start(cls) -> _Server:
        folder = tempfile.TemporaryDirectory(prefix="bpb-second-look-")
        complaints = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the process
        command = [sys.executable, "-P", "-m", "bpb_harness.second_look.fresh_process"]
        process = subprocess.Popen(  # noqa: S603  # this interpreter and a module of this package
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints, cwd=folder.name,
            env=_environment(), start_new_session=True, bufsize=0,
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        return cls(process, Channel(process.stdout.fileno(), process.stdin.fileno()), complaints, folder)

    def last_words(self) -> str:
        """The last line of what the process said on its standard error."""
        self.complaints.seek(max(self.complaints.seek(0, os.SEEK_END) - 4096, 0))
        lines = self.complaints.read().decode("utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else "no message"

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


_idle: list[_Server] = []


def _stop_idle() -> None:
    for server in _mine():
        _idle.remove(server)
        server.stop()


atexit.register(_stop_idle)


def start_ahead() -> None:
    """Start a process that is not needed yet: what it imports takes seconds. It waits if nobody needs it after all."""
    if not _mine():
        _idle.append(_Server.start())


def _mine() -> list[_Server]:
    """The servers that wait, but for those of a process that this one was forked from."""
    return [server for server in _idle if server.owner == os.getpid()]


@final
class AnsweringProcess:
    """A fresh process with one network.

    Args:
        source: how it builds the network. It begins at once.
    """

    def __init__(self, source: ModelSource) -> None:
        forks = source.device.type == "cpu" and hasattr(os, "fork")
        waiting = _mine()
        self._server = waiting[0] if waiting else _Server.start()
        if waiting:
            _idle.remove(self._server)
        self._forks, self._is_done = forks, False
        self._digest: str | None = None
        self._owes_answer = True  # whatever is not at rest is not given to the next one
        try:
            assert self._server.process.stdin is not None
            self._server.process.stdin.write(FORK if forks else DIRECT)
            self._server.channel.send({
                "load": source.from_anywhere(), "device": str(source.device),
                "dtype": source.dtype, "threads": torch.get_num_threads(),
                "precision": torch.get_float32_matmul_precision(),
            })  # fmt: skip
        except OSError:  # it is gone; the first question says so
            pass

    def wait_until_built(self) -> str:
        """Wait for the network; returns the digest of its checkpoint.

        Raises:
            SecondLookError: if it cannot be built there.
        """
        if self._digest is None:
            built, _ = self._receive("a fresh process in an empty folder cannot build the network")
            self._digest, self._owes_answer = str(built["digest"]), False
        return self._digest

    def require_no_failure(self) -> None:
        """Raise at once what has gone wrong so far, without waiting for anything.

        Raises:
            SecondLookError: as :meth:`wait_until_built`.
        """
        if self._digest is None and self._server.channel.has_message():
            self.wait_until_built()

    def ask(self, questions: Sequence[Question]) -> list[Answer]:
        """Put questions one after another; each one's targets follow when the process holds its logits.

        Raises:
            SecondLookError: if the process fails.
        """
        self.wait_until_built()
        return [self._ask(question) for question in questions]

    def _ask(self, question: Question) -> Answer:
        failed = f"a fresh process that has only the checkpoint cannot score {question.what}"
        self._owes_answer = True
        try:
            asked = {
                "level": None if question.level is None else list(question.level),
                "context_length": question.context_length,
            }
            self._server.channel.send(asked, tokens=question.tokens, positions=question.positions)
            self._receive(failed)
            self._server.channel.send({"order": question.order}, targets=question.targets)
        except OSError:
            pass  # it is gone: its last words are in the next answer
        arrays = self._receive(failed)[1]
        self._owes_answer = False
        return Answer(arrays["nats"], arrays["score"])

    def _receive(self, failed: str) -> tuple[dict[str, Any], dict[str, Any]]:
        try:
            content, arrays = self._server.channel.receive()
        except (EOFError, ValueError):
            content, arrays = {"ended": self._server.process.poll()}, {}
        if "ended" in content:
            seen = f"it ended ({self._server.last_words()})"
            raise SecondLookError(failed, seen=seen, hint=_HINT)
        if "error" in content:
            raise SecondLookError(failed, seen=content["error"], hint=_HINT)
        return content, arrays

    def close(self) -> None:
        """End the process; after all went well, one that can be forked waits for the next checkpoint."""
        if self._is_done:
            return
        self._is_done = True
        if self._forks and not self._owes_answer and self._server.process.poll() is None:
            try:
                self._server.channel.send({"end": True})
            except OSError:
                pass
            else:
                _idle.append(self._server)
                return
        self._server.stop()


def ask_here(model: Denoiser | CausalLM, device: torch.device, questions: Sequence[Question]) -> list[Answer]:
    """Put the questions to a network of this process, one at a time."""
    return [
        HeldLogits(model, question.tokens, question.level, question.positions, device, question.context_length).answer(
            question.targets, question.order
        )
        for question in questions
    ]


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_LEFT_OUT)}
    package = str(Path(__file__).resolve().parents[2])
    kept["PYTHONPATH"] = os.pathsep.join([package, *filter(None, [kept.get("PYTHONPATH")])])
    return kept
