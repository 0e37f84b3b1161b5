"""A proof of a network of code: it is scored in a process that leaves nothing behind, and decoded after its end."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import numpy.typing as npt

from bpb_harness.checkpoints import Checkpoint, digest_of
from bpb_harness.errors import ContractError, HarnessError, InputError, SecondLookError
from bpb_harness.evaluation.inputs import find_text
from bpb_harness.evaluation.settings import FLAGS, Settings
from bpb_harness.proof.decoding import Decoded
from bpb_harness.proof.header import Header
from bpb_harness.proof.reading import open_proof
from bpb_harness.proof.verdict import PROVED, REFUTED, UNPROVED
from bpb_harness.second_look.server import Server
from bpb_harness.text.corpus import Corpus
from bpb_harness.text.spans import Spans
from bpb_harness.whole_file import write_whole

Ints = npt.NDArray[np.int64]
Progress = Callable[[int, int], None]
_MODULE = "bpb_harness.proof.scoring_process"
_SECONDS_TO_END, _LEAST_SECONDS = 20.0, 120.0


@final
@dataclass(frozen=True)
class Contained:
    """What became of it.

    Attributes:
        lines: what the process that scored said, its last line apart.
        sentence: what follows.
        exit_code: as that of a :class:`bpb_harness.proof.prove.Proof`.
    """

    lines: str
    sentence: str
    exit_code: int

    def __str__(self) -> str:
        return f"{self.lines}\n{self.sentence}"


def needs_containing(settings: Settings) -> bool:
    """Whether code may run that has to be contained, and can be: not with a GPU, or a file of draws that is kept."""
    return settings.allow_code and settings.resume is None and settings.torch_device().type == "cpu"


def prove_contained(
    checkpoint: Path, settings: Settings, file: Path, *, num_windows: int | None, progress: Progress | None = None,
    time_limit: float | None = None,
) -> Contained | None:  # fmt: skip
    """As :func:`bpb_harness.proof.prove.prove`, of a network whose code nobody has read.

    Returns:
        None where the system offers no such thing.

    Raises:
        HarnessError: for anything that cannot be scored, coded or decoded.
    """
    began = time.monotonic()
    wish = {
        "checkpoint": str(checkpoint), "num_windows": num_windows, "cwd": os.getcwd(), "time_limit": time_limit,
        "settings": {name: _plain(getattr(settings, name)) for name in FLAGS},
        "environment": {name: value for name, value in os.environ.items() if name.startswith("BPB_")},
    }  # fmt: skip
    answer = _score(wish, progress)
    if answer is None:
        return None
    said, arrays = answer
    content = arrays["file"].tobytes()[: said["num_bytes"]]
    write_whole(file, lambda out: out.write(content))
    lines, _, sentence = str(said["lines"]).rpartition("\n")
    if said["exit_code"] != PROVED:
        code = said["exit_code"] if said["exit_code"] in {REFUTED, UNPROVED} else REFUTED
        return Contained(lines, sentence, code)
    # There it has just been decoded once: in less time than all of this has taken.
    seconds = time_limit or _LEAST_SECONDS + time.monotonic() - began
    opened = open_proof(file, checkpoint, model=settings.model, allow_code=True, seconds=seconds)
    text = find_text(Checkpoint(checkpoint, "user-code", digest_of(checkpoint), {}), settings).corpus
    sentence, code = _verdict(opened.header, opened.decoded, opened.given, text, arrays["starts"], opened.num_bits)
    return Contained(lines, sentence, code)


def _verdict(
    header: Header, decoded: Decoded, given: Ints, text: Corpus, starts: Ints, num_bits: int
) -> tuple[str, int]:
    """What follows from what came back, and the exit code: nothing but the file of bits is taken at its word."""
    if decoded.lost is not None:
        return f"not proved: the text did not come back: {decoded.lost}", REFUTED
    wrong = _num_wrong(header, decoded, given, text, starts)
    if wrong:
        return f"not proved: {wrong:,} of {sum(header.lengths):,} tokens came back as others", REFUTED
    these = f"{len(starts):,} of {header.num_spans:,} windows, chosen by a hash of the score,"
    if not decoded.is_isolated:
        return (
            f"decoded, not isolated: {these} came back from {num_bits:,} bits, by code that could reach other files",
            (UNPROVED),
        )
    context = sum(header.contexts)
    beside = f", given {context:,} tokens before them" if context else ""
    return f"proved: {these} came back, token by token, from {num_bits:,} bits{beside}", PROVED


def _num_wrong(header: Header, decoded: Decoded, given: Ints, text: Corpus, starts: Ints) -> int:
    """Tokens that are not those of the text; all, where spans or data are not those of the settings."""
    everything = sum(header.lengths)
    contexts, lengths = np.array(header.contexts), np.array(header.lengths)
    if header.data != text.digest or len(starts) != len(lengths):
        return everything
    spans = Spans(starts - contexts, starts, starts + lengths)
    inside = int(spans.context_starts.min()) >= 0 and int(spans.ends.max()) <= text.num_tokens
    order = np.argsort(starts)
    if not inside or (spans.ends[order][:-1] > starts[order][1:]).any():
        return everything
    before = [text.read(int(a), int(b)) for a, b in zip(spans.context_starts, spans.starts, strict=True)]
    if not np.array_equal(np.concatenate(before), given):
        return everything
    targets = [text.read(int(a), int(b)) for a, b in zip(spans.starts, spans.ends, strict=True)]
    return int((np.concatenate(decoded.spans) != np.concatenate(targets)).sum())


def _score(wish: dict[str, Any], progress: Progress | None) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """What the process that scores says; all that it was is over then."""
    server = Server.start(_MODULE)
    try:
        try:
            server.channel.receive()
        except (EOFError, ValueError):  # the system does not let it give up what it has to
            return None
        server.channel.send(wish)
        while True:
            said, arrays = _next(server)
            if "progress" not in said:
                break
            if progress is not None:
                progress(*said["progress"])
        if not server.wait(_SECONDS_TO_END):
            raise SecondLookError("the process that scores the network", seen="it goes on after its last word")
    finally:
        server.stop()
    if "error" in said:
        raise _error(said)
    return said, arrays


def _next(server: Server) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        return server.channel.receive()
    except (EOFError, ValueError):
        raise SecondLookError(
            "the process that scores the network ended", seen=server.last_words(),
            hint="--no-contract does not help: read the code",
        ) from None  # fmt: skip


def _error(said: dict[str, Any]) -> Exception:
    text = str(said["error"])
    if said.get("exit") == ContractError.exit_code:
        return ContractError(text)
    return InputError(text) if said.get("exit") == HarnessError.exit_code else RuntimeError(text)


def _plain(value: Any) -> Any:
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value
