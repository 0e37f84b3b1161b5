"""What a comparison needs of a score: the costs of its units and its draws; in a file, or as it comes from a run.

A file of a score (``--score-file``) is one JSON object: settings as they are, arrays as base64 of their little-endian
bytes, so that they read back to the last bit, and a checksum over all of it. Nothing here imports torch.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self, final

import numpy as np
import numpy.typing as npt

from bpb_harness.errors import InputError
from bpb_harness.foreign_files import kind_of
from bpb_harness.whole_file import write_whole

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

FORMAT = "bpb-score/1"
BLOCK_UNITS = 2048  # bytes, or tokens where no bytes are counted, of the smallest block
_LARGEST_FILE = 1 << 31
_LARGEST_NUMBER = 2.0**53  # of an array, or of a window: squares of more overflow, and no text costs as much
_HINT = "write it again: bpb-eval ... --score-file FILE"
_KINDS: Mapping[type, str] = {np.float64: "<f8", np.int64: "<i8"}


@final
@dataclass(frozen=True)
class UnitCosts:
    """What some units of a text cost, whose sums are those of the score; (n,) float64 each.

    Attributes:
        nats: of each.
        level_free_nats: of each, as if its masks had met all mask rates; the same where none were drawn.
        num_units: bytes of each, or tokens where none are counted.
        num_tokens: tokens of each that were paid for.
    """

    nats: Floats
    level_free_nats: Floats
    num_units: Floats
    num_tokens: Floats

    def __post_init__(self) -> None:
        _require(len({len(getattr(self, each.name)) for each in fields(self)}) == 1, "columns of different lengths")

    def __len__(self) -> int:
        return len(self.nats)


@final
@dataclass(frozen=True)
class SpanDraws:
    """The draws of a sampled bound, (R,) each, second draws of spans last, and what is known of its spans, (N,).

    Attributes:
        window: span of each draw, int64.
        sample: which draw of its span, int64.
        v: where the design looked, float64.
        level: mask rate, float64.
        value_nats: what each draw says of its span's bound, float64.
        share: each draw's share of its span's bound, (R,) where every node of a grid was looked at; else (0,).
        difficulty: of each span, float64.
        num_replicates: so many draws at the end are second draws of spans, for the error alone.
        num_passes: of the same design.
        is_independent: the rates of a span's draws have nothing to do with one another.
    """

    window: Ints
    sample: Ints
    v: Floats
    level: Floats
    value_nats: Floats
    share: Floats
    difficulty: Floats
    num_replicates: int
    num_passes: int
    is_independent: bool


@final
@dataclass(frozen=True)
class ScoreCosts:
    """A score, as a comparison takes it.

    Attributes:
        signature: the line of its settings.
        relation: ``=``, ``<=`` or ``~<=``.
        nats: total.
        stderr_nats: of the total, from the sampling of masks; 0 where none was drawn, None where it is not known.
        degrees_of_freedom: of that error; None where the normal law serves.
        is_trusted: whether nothing speaks against that error.
        warning: what a reader must be told of the score; empty: nothing.
        model: digest of the checkpoint.
        tokens: digest of the token stream.
        text: digest of the bytes that its documents spell; empty where no bytes are known.
        raw_text: digest of the documents that were encoded; empty where tokens were read.
        tokenizer: digest of the tokenizer's file.
        counts_bytes: whether rates are over bytes; over tokens else.
        num_unpaid: tokens of the text before the first that was paid for.
        unpaid_units: bytes of these.
        vocab_size: ids that a token may have.
        context_units: bytes, or tokens, of the longest window.
        share_apart: how much of the squared error from masks shows between documents: 1 where each window lies in one,
            less where windows hold several, which share masks (MATHS.md, equation 42).
        starts: first target of each span.
        ends: behind the last one of each.
        span_units: bytes, or tokens, of each span's targets.
        documents: costs of each document; None where nothing says where they end, or only spans' sums are known.
        blocks: costs of each `BLOCK_UNITS` of the text.
        draws: None where no masks were drawn by a design.
    """

    signature: str
    relation: str
    nats: float
    stderr_nats: float | None
    degrees_of_freedom: float | None
    is_trusted: bool
    warning: str
    model: str
    tokens: str
    text: str
    raw_text: str
    tokenizer: str
    counts_bytes: bool
    num_unpaid: int
    unpaid_units: int
    vocab_size: int
    context_units: float
    share_apart: float
    starts: Ints
    ends: Ints
    span_units: Floats
    documents: UnitCosts | None
    blocks: UnitCosts
    draws: SpanDraws | None

    @property
    def num_units(self) -> float:
        """Bytes, or tokens, of the whole score."""
        return float(self.span_units.sum())

    @property
    def num_tokens(self) -> int:
        """Tokens that were paid for."""
        return int((self.ends - self.starts).sum())

    def write(self, path: Path) -> None:
        """Write a file of the score, whole or not at all.

        Raises:
            OutputError: if it cannot be written.
        """
        body = json.dumps(self.to_plain(), allow_nan=False).encode()
        check = hashlib.sha256(body).hexdigest()
        write_whole(path, lambda file: file.write(body[:-1] + f', "check": "{check}"}}\n'.encode()))

    def to_plain(self) -> dict[str, Any]:
        """Plain values, as they stand in files."""
        values: dict[str, Any] = _plain(self)
        return {"format": FORMAT} | values

    @classmethod
    def of_plain(cls, record: Mapping[str, Any], where: str) -> Self:
        """A score from plain values, which anybody may have written.

        Raises:
            InputError: if they are none.
        """
        try:
            fields_of_it = dict(record)
            if fields_of_it.pop("format") != FORMAT:
                raise ValueError("another format")
            score: Self = _made(cls, fields_of_it)
            _require_sound(score)
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError, binascii.Error) as error:
            raise InputError(
                f"{where}: a file of a score that cannot be used", seen=f"{type(error).__name__}: {error}", hint=_HINT
            ) from None
        return score

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file of a score.

        Raises:
            InputError: if it is none, was damaged or changed, or is of another version.
        """
        try:
            kind, size = kind_of(path.stat().st_mode), path.stat().st_size
            if kind is not None or size > _LARGEST_FILE:
                raise InputError(f"{path}: not a file of a score", seen=kind or f"{size:,} bytes", hint=_HINT)
            content = path.read_bytes()
        except OSError as error:
            raise InputError(f"{path}: cannot be read", seen=error.strerror or error) from None
        body, comma, rest = content.rpartition(b', "check": "')
        if not comma or rest != hashlib.sha256(body + b"}").hexdigest().encode() + b'"}\n':
            raise InputError(f"{path}: a file of a score that is damaged or was changed", hint=_HINT)
        try:
            record = json.loads(body + b"}")
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}: a file of a score that cannot be used", seen=error, hint=_HINT) from None
        return cls.of_plain(record, str(path))


def is_score_file(path: Path) -> bool:
    """Whether a file begins as those of scores do."""
    try:
        if not path.is_file():  # a pipe would wait for its writer
            return False
        with path.open("rb") as file:
            return file.read(len(_BEGINNING)) == _BEGINNING
    except OSError:  # not to be read: whoever reads it whole says so
        return False


_BEGINNING = b'{"format": "bpb-score/'


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        kind = _KINDS[value.dtype.type]
        return {"type": kind, "base64": base64.b64encode(value.astype(kind).tobytes()).decode()}
    if hasattr(value, "__dataclass_fields__"):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    return value


def _made(kind: Any, record: Mapping[str, Any]) -> Any:
    """An object of a class from the plain values of all its fields, each of the type that it has there."""
    if not isinstance(record, dict) or record.keys() != {each.name for each in fields(kind)}:
        raise ValueError(f"fields of {kind.__name__}")
    return kind(**{each.name: _value(str(each.type), each.name, record[each.name]) for each in fields(kind)})


def _value(kind: str, name: str, value: Any) -> Any:
    optional = kind.endswith(" | None")
    if optional and value is None:
        return None
    kind = kind.removesuffix(" | None")
    if kind in {"UnitCosts", "SpanDraws"}:
        return _made({"UnitCosts": UnitCosts, "SpanDraws": SpanDraws}[kind], value)
    if kind in {"Floats", "Ints"}:
        return _array(kind, name, value)
    if kind == "float" and type(value) is int:
        value = float(value)
    wanted = {"str": str, "int": int, "float": float, "bool": bool}[kind]
    if type(value) is not wanted:
        raise ValueError(f"{name} is {type(value).__name__}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name} is {value}")
    return value


def _array(kind: str, name: str, value: Any) -> npt.NDArray[Any]:
    wanted = "<f8" if kind == "Floats" else "<i8"
    if not isinstance(value, dict) or value.get("type") != wanted:
        raise ValueError(f"{name} is no array of {wanted}")
    array = np.frombuffer(base64.b64decode(value["base64"], validate=True), dtype=wanted)
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds NaN or infinity")
    if kind == "Floats" and len(array) and np.abs(array).max() > _LARGEST_NUMBER:
        raise ValueError(f"{name} holds {np.abs(array).max():g}")
    return array.astype(np.float64 if kind == "Floats" else np.int64)


def _require(holds: object, what: str) -> None:
    if not holds:
        raise ValueError(what)


def _require_sound(score: ScoreCosts) -> None:
    """Refuse arrays that do not belong together, and units that do not add up."""
    spans = len(score.starts)
    _require(spans, "no spans")
    _require(spans == len(score.ends) == len(score.span_units), "spans of different lengths")
    _require((score.ends > score.starts).all(), "a span without targets")
    _require(score.starts[0] >= 0 and (score.starts[1:] >= score.ends[:-1]).all(), "spans that overlap")
    _require(0 <= score.num_unpaid <= int(score.starts[0]) and score.unpaid_units >= 0, "num_unpaid")
    _require(score.vocab_size >= 2, "vocab_size")
    _require(score.degrees_of_freedom is None or score.degrees_of_freedom > 0.0, "degrees_of_freedom")
    _require(0.0 < score.share_apart <= 1.0, "share_apart")
    _require(0.0 <= score.context_units <= _LARGEST_NUMBER, "context_units")
    _require(score.stderr_nats is None or score.stderr_nats >= 0.0, "stderr_nats")
    _require(score.relation in {"=", "<=", "~<="}, "relation")
    for units in (score.documents, score.blocks):
        if units is not None:
            _require(abs(math.fsum(units.nats) - score.nats) <= 1e-6 * abs(score.nats) + 1e-6, "units do not add up")
            short = abs(float(units.num_units.sum()) - score.num_units)
            _require(short <= 1e-6 * score.num_units, "bytes do not add up")
            _require((units.num_tokens >= 0.0).all() and (units.num_units >= 0.0).all(), "a unit of less than nothing")
            tokens = abs(float(units.num_tokens.sum()) - score.num_tokens)
            _require(tokens <= 1e-6 * score.num_tokens, "tokens do not add up")
    if score.draws is not None:
        draws = score.draws
        rows = len(draws.window)
        _require(rows == len(draws.sample) == len(draws.v) == len(draws.level) == len(draws.value_nats), "draws")
        _require(len(draws.share) in {0, rows}, "shares")
        _require(len(draws.difficulty) == spans, "difficulty")
        _require(0 <= draws.num_replicates <= rows, "replicates")
        _require(draws.num_passes >= 1, "passes")
        for rates in (draws.v, draws.level):
            _require(not rows or (float(rates.min()) >= 0.0 and float(rates.max()) <= 1.0), "mask rates")
        _require(not rows or 0 <= int(draws.window.min()) <= int(draws.window.max()) < spans, "a draw of no span")
