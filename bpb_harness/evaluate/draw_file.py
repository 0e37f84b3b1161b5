"""``--resume FILE``: finished draws, kept as they come, so that an interrupted evaluation goes on where it stopped.

A file of JSON lines. The first says what is scored, and a file of another evaluation is refused; each further line
holds the draws of one batch. Numbers are written so that they read back as the same float64. A line that a crash cut
short is dropped. Under torchrun every process writes its own part beside FILE; the first process joins them.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, final

import numpy as np

from bpb_harness.errors import InputError, UsageError
from bpb_harness.evaluate.draws import FinishedDraws

FORMAT, FORMAT_VERSION = "bpb-harness draws", 1

DrawKey = tuple[int, str]  # (pass, name of the bound)


@final
@dataclass(frozen=True)
class DrawFileHeader:
    """What a file of draws belongs to.

    Attributes:
        signature: of the score, without the number of passes.
        model: full digest of the checkpoint.
        data: full digest of the token stream.
        batch_tokens: forward tokens a call; a later run takes the same, for the same bits.
        device: where the draws were made, in words.
    """

    signature: str
    model: str
    data: str
    batch_tokens: int
    device: str

    def to_line(self) -> bytes:
        """The first line of the file."""
        record = {"format": FORMAT, "format_version": FORMAT_VERSION} | vars(self)
        return json.dumps(record).encode() + b"\n"


@final
@dataclass
class DrawFile:
    """A file of finished draws, open for more.

    Attributes:
        path: where it lies.
        header: its first line.
        finished: what it held when it was opened, by pass and bound.
    """

    path: Path
    header: DrawFileHeader
    finished: Mapping[DrawKey, list[FinishedDraws]] = field(default_factory=dict)
    _file: BinaryIO | None = field(default=None, repr=False)

    @classmethod
    def open(cls, path: Path, header: DrawFileHeader) -> DrawFile:
        """Open a file of this evaluation, or start one, and join the parts that other processes left beside it.

        Raises:
            UsageError: if the file belongs to another evaluation.
            InputError: if it is no such file, or cannot be read or written.
        """
        try:
            kept_header, body = _read(path, header)
            parts = sorted(path.parent.glob(f"{path.name}.part[0-9]*"))
            for part in parts:
                body += _read(part, header)[1]
            finished = _finished(path, body)
            temporary = path.with_name(path.name + ".tmp")
            temporary.write_bytes(kept_header.to_line() + body)
            temporary.replace(path)
            for part in parts:
                part.unlink()
            file = path.open("ab")
        except OSError as error:
            raise InputError(f"--resume {path}: {error.strerror or error}") from None
        return cls(path, kept_header, finished, file)

    @classmethod
    def open_part(cls, path: Path, header: DrawFileHeader, rank: int) -> DrawFile:
        """Start the part of another process than the first."""
        part = path.with_name(f"{path.name}.part{rank}")
        try:
            part.write_bytes(header.to_line())
            return cls(part, header, {}, part.open("ab"))
        except OSError as error:
            raise InputError(f"--resume {part}: {error.strerror or error}") from None

    def keep(self, key: DrawKey, done: FinishedDraws) -> None:
        """Append the draws of a batch; they are with the operating system when this returns."""
        assert self._file is not None
        record = {
            "pass": key[0],
            "bound": key[1],
            "rows": done.rows.tolist(),
            "nats": done.nats.tolist(),
            "num_masked": done.num_masked.tolist(),
            "control": done.control.tolist(),
        }
        self._file.write(json.dumps(record, allow_nan=False).encode() + b"\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _read(path: Path, expected: DrawFileHeader) -> tuple[DrawFileHeader, bytes]:
    """The header and the whole lines below it; those of a file to come if there is none."""
    try:
        first, _, body = path.read_bytes().partition(b"\n")
    except FileNotFoundError:
        return expected, b""
    record = _json(first)
    if record is None or record.pop("format", None) != FORMAT:
        raise InputError(f"--resume {path}: not a file of draws", hint="name a file that bpb-eval wrote, or a new one")
    if record.pop("format_version", None) != FORMAT_VERSION:
        raise InputError(f"--resume {path}: a file of draws of another version", expected=FORMAT_VERSION)
    try:
        header = DrawFileHeader(**record)
    except TypeError:
        raise InputError(f"--resume {path}: its first line is incomplete") from None
    for name in ("signature", "model", "data"):
        if getattr(header, name) != getattr(expected, name):
            raise UsageError(
                f"--resume {path} belongs to another evaluation",
                seen=f"{name} {getattr(header, name)}",
                expected=getattr(expected, name),
                hint="name another file, or repeat that evaluation's flags",
            )
    return header, body[: body.rfind(b"\n") + 1]


def _finished(path: Path, body: bytes) -> dict[DrawKey, list[FinishedDraws]]:
    found: dict[DrawKey, list[FinishedDraws]] = defaultdict(list)
    for number, line in enumerate(body.splitlines(), start=2):
        record = _json(line)
        try:
            if record is None:
                raise ValueError("not JSON")
            done = FinishedDraws(
                np.array(record["rows"], dtype=np.int64),
                np.array(record["nats"], dtype=np.float64),
                np.array(record["num_masked"], dtype=np.int64),
                np.array(record["control"], dtype=np.float64),
            )
            if len({len(column) for column in vars(done).values()}) > 1:
                raise ValueError("columns of different lengths")
            if not np.isfinite(done.nats + done.control).all():
                raise ValueError("no finite number")
            if (done.nats < 0).any() or (done.num_masked < 1).any():
                raise ValueError("no draw has less than 0 nats or 1 masked token")
            found[int(record["pass"]), str(record["bound"])].append(done)
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"--resume {path}: line {number} is damaged", seen=f"{type(error).__name__}") from None
    return dict(found)


def _json(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None
