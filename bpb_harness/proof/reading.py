"""From a file of bits, which anybody may have written, back to the text."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import numpy as np
import numpy.typing as npt
import torch

from bpb_harness.byte_count import Tokenizer
from bpb_harness.errors import HarnessError, InputError, UsageError
from bpb_harness.evaluation.methods import METHODS
from bpb_harness.evaluation.settings import Settings
from bpb_harness.proof.agreement import line_of
from bpb_harness.proof.bit_file import read_bits
from bpb_harness.proof.cashed import Cashed, cash
from bpb_harness.proof.choice import Choice
from bpb_harness.proof.codes import code_of
from bpb_harness.proof.decoding import Decoded, Progress, decode, same_device
from bpb_harness.proof.header import Header, digest_of
from bpb_harness.proof.verdict import PROVED, REFUTED, UNPROVED
from bpb_harness.result import Signature
from bpb_harness.schedule import parse_schedule
from bpb_harness.second_look.asking import ModelSource

Ints = npt.NDArray[np.int64]
MAX_SPANS = 1 << 24
MAX_SECONDS = 3600.0


def read_file(file: Path) -> tuple[Header, Ints, bytes]:
    """A file of bits: header, given tokens, and the bits of the targets.

    Raises:
        InputError: if it is none.
    """
    plain, streams = read_bits(file)
    header = Header.read(plain, file.name)
    if len(streams) != 2 or len(streams[0]) != 4 * sum(header.contexts):
        raise InputError(
            f"{file.name}: streams", seen=len(streams), expected="given tokens of the header's number, and bits"
        )
    choice = Choice(header.model, header.data, header.score)
    if header.num_spans > MAX_SPANS:
        raise InputError(
            f"{file.name}: header: num_spans", seen=f"{header.num_spans:,}", expected=f"at most {MAX_SPANS:,}"
        )
    _require_code(header, file.name)
    if choice.spans(header.num_spans, len(header.windows)).tolist() != header.windows:
        raise InputError(
            f"{file.name}: windows", seen="others", expected="those that the score's hash chooses",
            hint="take a file that bpb-prove --proof wrote",
        )  # fmt: skip
    line_of(header, file.name)
    return header, np.frombuffer(streams[0], dtype="<u4").astype(np.int64), streams[1]


def _require_code(header: Header, name: str) -> None:
    """Refuse settings of a code that there are not."""
    try:
        schedule = None if header.schedule is None else parse_schedule(header.schedule)
        if schedule is None and not METHODS[header.method].is_causal:
            raise UsageError("schedule", seen="none", expected="that of the masked network")
        steps = header.num_steps if METHODS[header.method].takes_steps else None
        settings = Settings.of({
            "method": header.method, "num_steps": steps, "order": header.order,
            "tokens_per_step": header.tokens_per_step, "seed": header.seed,
        })  # fmt: skip
        code_of(settings.estimators(schedule)[0], Choice("", "", "").streams)
    except (HarnessError, KeyError) as error:
        raise InputError(f"{name}: header", seen=str(error), hint="take a file that bpb-prove --proof wrote") from None


@final
@dataclass(frozen=True)
class Opened:
    """A file of bits that was decoded.

    Attributes:
        header: of the file.
        decoded: what came out.
        given: tokens before the targets, one span after another.
        num_bits: of the targets.
        differences: how this machine differs from the one that wrote it.
        runs_code: whether code that is not this package's ran.
        cashed: what its windows cost beside the score; None where they did not come back, or nobody asked.
    """

    header: Header
    decoded: Decoded
    given: Ints
    num_bits: int
    differences: list[str]
    runs_code: bool
    cashed: Cashed | None = None

    @property
    def is_same(self) -> bool:
        """Whether the tokens are those that were written."""
        if self.decoded.lost is not None:
            return False
        return digest_of(np.concatenate(self.decoded.spans)) == self.header.digest

    @property
    def exit_code(self) -> int:
        """0 decoded, 1 to something else or dearer than the score says, 3 where that is not all that it takes.

        That is: code that was not isolated, a score by ``--no-contract``, or one whose number the windows leave open.
        """
        if not self.is_same or self.exceeds_score:
            return REFUTED
        return PROVED if self.is_alone and self.is_checked and self.doubt is None else UNPROVED

    @property
    def doubt(self) -> str | None:
        """Why the windows leave open whether the number of the score holds; None where they do not, or nobody asked."""
        return None if self.cashed is None else self.cashed.doubt()

    @property
    def is_alone(self) -> bool:
        """Whether what decoded could reach nothing else, or was no foreign code."""
        return self.decoded.is_isolated or not self.runs_code

    @property
    def is_checked(self) -> bool:
        """Whether the network of the score kept its contract, as its line says."""
        return Signature.parse(self.header.score).contract in {None, "checked"}

    @property
    def exceeds_score(self) -> bool:
        """Whether its windows cost more than the score says of the whole, as far as that is known."""
        return self.cashed is not None and self.cashed.exceeds_score()

    def sentence(self) -> str:
        """What follows, in one sentence."""
        if not self.is_same and self.differences:
            return f"not decoded: the numerics differ from those of the encoder ({'; '.join(self.differences)})"
        if not self.is_same:
            return (
                "not decoded: the tokens are not those that were written, whose digest the file holds; its bits were "
                "changed, or the numerics differ in a way that nobody has named"
            )
        if self.exceeds_score:
            return f"not proved: {self.these} cost more than the score says by more than 4 errors"
        if not self.is_alone:
            return self.not_isolated()
        came_back = f"{self.these} came back from {self.num_bits:,} bits"
        if not self.is_checked:
            return (
                f"decoded, not checked: {came_back}; the score was made with --no-contract, and a network that reads "
                "other rows decodes what it coded"
            )
        if self.doubt is not None:
            return f"decoded, not proved: {came_back}, and leave the number of the score open: {self.doubt}"
        given = sum(self.header.contexts)
        beside = f", given {given:,} tokens before them" if given else ""
        return f"proved: {self.these} came back, token by token, from {self.num_bits:,} bits{beside}"

    @property
    def these(self) -> str:
        """Which windows, in words: :func:`read_file` takes no others than the hash chooses."""
        header = self.header
        return f"{len(header.windows):,} of {header.num_spans:,} {header.noun}, chosen by a hash of the score,"

    def not_isolated(self) -> str:
        """What follows where code could reach more than the file of bits."""
        came_back = f"{self.these} came back from {self.num_bits:,} bits"
        return f"decoded, not isolated: {came_back}, by code that could reach other files"

    def __str__(self) -> str:
        header = self.header
        return "\n".join([
            f"written by bpb-harness {header.harness}, torch {header.torch}, on {header.device} "
            f"({header.device_name}), {header.dtype}, {header.threads} threads",
            f"  of the score {header.score}",
            f"  model {header.model[:16]}, data {header.data[:16]}, tokenizer {header.tokenizer[:16]}, "
            f"tokens {header.digest[:16]}",
            f"  decoded in a process of its own, {self.decoded.in_words}",
            *([] if self.cashed is None else [f"  cashed: {self.cashed}"]),
            self.sentence(),
        ])  # fmt: skip


def open_proof(
    file: Path, checkpoint: Path, *, model: str | None, allow_code: bool, seconds: float = MAX_SECONDS,
    progress: Progress | None = None, tokenizer: Tokenizer | None = None,
) -> Opened:  # fmt: skip
    """Decode a file of bits.

    Args:
        file: the bits.
        checkpoint: of the network.
        model: ``FILE.py:LOADER``, where the network is code.
        allow_code: the permission to run it.
        seconds: how long that may take.
        progress: called with (tokens decoded, tokens in all).
        tokenizer: that of the score, to hold the cost against it; None: not wanted.

    Raises:
        HarnessError: if one of them is not what it should be.
    """
    header, given, bits = read_file(file)
    if tokenizer is not None and tokenizer.digest != header.tokenizer:
        raise UsageError(
            "--tokenizer", seen=tokenizer.digest[:16], expected=f"{header.tokenizer[:16]}, that of the score",
            hint="pass the tokenizer that the score was made with",
        )  # fmt: skip
    if header.runs_code and not allow_code:
        hint = "pass --model FILE.py:LOADER and --allow-code to run it"
        raise UsageError(f"{file.name} was written by a network that is code", hint=hint)
    if header.device == "cuda" and not torch.cuda.is_available():
        raise UsageError(
            f"{file.name} was written on {header.device_name}", seen="no GPU here", hint="decode it where there is one"
        )
    source = ModelSource(
        {
            "path": str(checkpoint), "adapter": header.adapter, "model_loader": model, "allow_code": allow_code,
            "weights": header.weights, "block_size": header.block_size,
            "stated": header.stated,
        },
        torch.device(header.device), header.dtype,
    )  # fmt: skip
    if not checkpoint.exists():
        raise UsageError("CHECKPOINT", seen=str(checkpoint), expected="a file or folder that exists")
    decoded = decode(header, given, bits, source, seconds=seconds, progress=progress)
    opened = Opened(header, decoded, given, 8 * len(bits), same_device(header), allow_code)
    if tokenizer is None or not opened.is_same:
        return opened
    cashed = cash(
        header, line_of(header, file.name), given=given, tokens=decoded.spans, nats=decoded.nats,
        num_bits=opened.num_bits, tokenizer=tokenizer,
    )  # fmt: skip
    return replace(opened, cashed=cashed)
