"""What stands before the bits: everything by which a decoder makes the very same calls as the encoder."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self, final

import numpy as np
import numpy.typing as npt

from bpb_harness.errors import InputError, UsageError

Ints = npt.NDArray[np.int64]

_MAX_TOKENS = 1 << 24
_LONGEST_TEXT = 4096  # it is printed: a line, and nothing that a terminal acts on
_MAX_TOKENS_A_CALL = 1 << 22


@final
@dataclass(frozen=True)
class Header:
    """Of one file of bits; plain values.

    Attributes:
        harness, torch: versions that wrote it.
        device: "cpu" or "cuda", and its name.
        dtype, threads, precision: the arithmetic.
        adapter, weights, block_size, stated: how the checkpoint was read.
        runs_code: whether its network is code that came with it.
        code: sha256 of the file of ``--model``, and the function in it; None where there is none.
        model, data, tokenizer: digests.
        score: the line that was printed.
        num_spans: how many it is of.
        method, num_steps, order, tokens_per_step, seed, schedule: the code.
        context_length: tokens a window, at most.
        windows: the spans that are coded, by their index.
        contexts, lengths: tokens before the targets of each, and targets.
        batches: which of them went through the network together, by their place in ``windows``.
        digest: sha256 of the targets, as little-endian uint32.
        network_bits: -log2 p of the targets by the network, while they were coded.
    """

    harness: str
    torch: str
    device: str
    device_name: str
    dtype: str
    threads: int
    precision: str
    adapter: str | None
    weights: str | None
    block_size: int | None
    stated: list[str]
    runs_code: bool
    code: str | None
    model: str
    data: str
    tokenizer: str
    score: str
    num_spans: int
    method: str
    num_steps: int | None
    order: str
    tokens_per_step: int
    seed: int
    schedule: str | None
    vocab_size: int
    windows: list[int]
    contexts: list[int]
    lengths: list[int]
    batches: list[list[int]]
    digest: str
    network_bits: float

    @property
    def noun(self) -> str:
        """What its spans are called: the first token of an autoregressive window is no context to speak of."""
        return "windows" if max(self.contexts) <= 1 else "spans"

    def plain(self) -> dict[str, Any]:
        """As it stands in the file."""
        return asdict(self)

    @classmethod
    def read(cls, plain: Mapping[str, Any], name: str) -> Self:
        """A header of a file that anybody may have written.

        Raises:
            InputError: if it is none; nothing in it is then acted on.
        """
        expected = {each.name: each.type for each in fields(cls)}
        if set(plain) != set(expected):
            wrong = sorted(set(plain) ^ set(expected))
            raise InputError(f"{name}: header", seen=f"{wrong[0]!r} too many or missing", hint=_AGAIN)
        for key, kind in expected.items():
            if not _is_kind(plain[key], str(kind)):
                raise InputError(f"{name}: header: {key}", seen=repr(plain[key])[:80], expected=str(kind), hint=_AGAIN)
        header = cls(**plain)
        header._require_consistent(name)
        return header

    def _require_consistent(self, name: str) -> None:
        def require(holds: bool, what: str, seen: object, expected: str) -> None:
            if not holds:
                raise InputError(f"{name}: header: {what}", seen=seen, expected=expected, hint=_AGAIN)

        count = len(self.windows)
        require(self.device in {"cpu", "cuda"}, "device", repr(self.device), "cpu or cuda")
        require(self.dtype in {"float32", "bfloat16"}, "dtype", repr(self.dtype), "float32 or bfloat16")
        require(self.precision in {"highest", "high", "medium"}, "precision", repr(self.precision), "highest")
        require(1 <= self.threads <= 4096, "threads", self.threads, "1 to 4096")
        require(count > 0, "windows", "none", "at least 1")
        require(len(self.contexts) == len(self.lengths) == count, "lengths", len(self.lengths), str(count))
        inside = all(0 <= window < self.num_spans for window in self.windows)
        require(inside and len(set(self.windows)) == count, "windows", "one twice or outside", "distinct windows")
        require(min(self.lengths) > 0 and min(self.contexts) >= 0, "lengths", min(self.lengths), "1 or more")
        total = sum(self.lengths) + sum(self.contexts)
        require(total <= _MAX_TOKENS, "tokens", f"{total:,}", f"at most {_MAX_TOKENS:,}")
        placed = sorted(place for batch in self.batches for place in batch)
        require(placed == list(range(count)) and all(self.batches), "batches", "others", "each window once")
        for batch in self.batches:
            shapes = {(self.contexts[place], self.lengths[place]) for place in batch}
            require(len(shapes) == 1, "batches", "windows of several shapes together", "one shape a batch")
            (shape,) = shapes
            size = len(batch) * sum(shape)
            require(size <= _MAX_TOKENS_A_CALL, "batches", f"{size:,} tokens", f"at most {_MAX_TOKENS_A_CALL:,}")


_AGAIN = "take a file that bpb-prove --proof wrote"


def _is_kind(value: object, kind: str) -> bool:
    for option in kind.split(" | "):
        match option:
            case "None":
                good = value is None
            case "bool":
                good = isinstance(value, bool)
            case "int":
                good = _is_int(value)
            case "float":
                good = isinstance(value, float) and math.isfinite(value) and value >= 0.0
            case "str":
                good = isinstance(value, str) and value.isprintable() and len(value) <= _LONGEST_TEXT
            case "list[int]":
                good = isinstance(value, list) and all(_is_int(each) for each in value)
            case "list[str]":
                good = isinstance(value, list) and all(isinstance(each, str) for each in value)
            case "list[list[int]]":
                good = isinstance(value, list) and all(_is_kind(each, "list[int]") for each in value)
            case _:
                raise AssertionError(option)
        if good:
            return True
    return False


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 64


def digest_of(tokens: Ints) -> str:
    """sha256 of tokens."""
    return hashlib.sha256(np.ascontiguousarray(tokens, dtype="<u4").tobytes()).hexdigest()


def code_of_loader(loader: str | None) -> str | None:
    """What ``code`` says of a value of ``--model``.

    Raises:
        UsageError: if there is no such file.
    """
    if not loader:
        return None
    file, _, function = loader.rpartition(":")
    try:
        return f"{hashlib.sha256(Path(file).read_bytes()).hexdigest()}/{function}"
    except OSError as error:
        raise UsageError("--model", seen=f"{loader}: {error.strerror}", expected="FILE.py:LOADER") from None
