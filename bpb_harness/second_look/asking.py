"""The asking end: starts the fresh process, and puts questions to it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch

from bpb_harness.denoiser import CausalLM, Denoiser
from bpb_harness.errors import SecondLookError
from bpb_harness.second_look import waiting
from bpb_harness.second_look.answering import HeldLogits
from bpb_harness.second_look.fresh_process import DIRECT, FORK
from bpb_harness.second_look.questions import Answer, Ints, Question

_HINT = (
    "read files by the checkpoint's path or the code's own, not by the working folder; --no-contract leaves this out, "
    "and the signature says so"
)


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
class AnsweringProcess:
    """A fresh process with one network.

    Args:
        source: how it builds the network. It begins at once.
    """

    def __init__(self, source: ModelSource) -> None:
        forks = source.device.type == "cpu" and hasattr(os, "fork")
        self._server = waiting.take()
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

    def learn(self, asked: Mapping[str, Any], tokens: Ints) -> None:
        """Have its network learn from a chunk.

        Args:
            asked: which one, of how many, and what makes the learner: plain values.
            tokens: of the chunk, (n,) int64.

        Raises:
            SecondLookError: if the process fails.
        """
        failed = f"a fresh process that has only the checkpoint cannot learn from chunk {asked['chunk']}"
        self._owes_answer = True
        with contextlib.suppress(OSError):  # it is gone: its last words are in the next answer
            self._server.channel.send({"learn": dict(asked)}, tokens=tokens)
        self._receive(failed)
        self._owes_answer = False

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
                waiting.give_back(self._server)
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
