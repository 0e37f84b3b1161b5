"""``--resume FILE``: finished draws, kept as they come, so that an interrupted evaluation goes on where it stopped.

A file of JSON lines. The first says what is scored, and a file of another evaluation is refused; each further line
holds the draws of one batch. Numbers are written so that they read back as the same float64. The last line of a
finished evaluation is its score as a comparison takes it. A line that a crash or a full disk cut short is dropped.
Under torchrun every process writes its own part beside FILE; the first process joins them.

Every line ends with a checksum of itself and of the first line, so that damage is found. Whoever changes a number can
write its checksum too: what can be made again is (:mod:`bpb_harness.evaluation.kept_draws`), and is not read from here.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, final

import numpy as np

from bpb_harness.costs import ScoreCosts
from bpb_harness.errors import InputError, UsageError
from bpb_harness.evaluation.draws import FinishedDraws
from bpb_harness.evaluation.methods import names
from bpb_harness.evaluation.resumed import SAME_FLAGS, is_adaptation_file, require_same
from bpb_harness.whole_file import write_whole, written

FORMAT, FORMAT_VERSION = "bpb-harness draws", 3

DrawKey = tuple[int, str]  # (pass, name of the bound)

_LINE = re.compile(rb'(.*), "check": "([0-9a-f]{32})"\}', re.DOTALL)
_HINT = "name a new file, or the copy of this one that bpb-eval wrote"
_LARGEST = 1 << 62
_SCORE = b'{"score": '
_COLUMNS = ("rows", "nats", "num_masked", "control")


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
        return _signed(b"", {"format": FORMAT, "format_version": FORMAT_VERSION} | vars(self))


def refused(draws: FinishedDraws, what: str, seen: object, expected: object) -> InputError:
    """What is said of a line that is not what was drawn."""
    return InputError(f"{draws.where}: {what}", seen=seen, expected=expected, hint=_HINT)


@final
@dataclass
class DrawFile:
    """A file of finished draws, open for more.

    Attributes:
        path: where it lies.
        header: its first line.
        finished: what it held when it was opened, by pass and bound.
        digest: of what it held, as hex.
    """

    path: Path
    header: DrawFileHeader
    finished: Mapping[DrawKey, list[FinishedDraws]] = field(default_factory=dict)
    digest: str = ""
    _file: BinaryIO | None = field(default=None, repr=False)

    @classmethod
    def open(cls, path: Path, header: DrawFileHeader) -> DrawFile:
        """Open a file of this evaluation, or start one, and join the parts that other processes left beside it.

        Raises:
            UsageError: if the file belongs to another evaluation.
            InputError: if it is no such file, cannot be read, or holds a line that was changed.
            OutputError: if it cannot be written.
        """
        parts = sorted(path.parent.glob(f"{path.name}.part[0-9]*"))
        kept_header = header
        bodies: dict[bytes, str] = {}  # a part that was joined, and not yet removed when a run ended, says things twice
        for number, source in enumerate([path, *parts]):
            read_header, lines = _read(source, header)
            kept_header = read_header if number == 0 else kept_header
            bodies |= {body: where for where, body in lines if body not in bodies and not body.startswith(_SCORE)}
        first = kept_header.to_line()
        finished = _by_key(bodies)
        write_whole(path, lambda file: file.writelines([first, *(_line(first, body) for body in bodies)]))
        with written(path):
            for part in parts:
                part.unlink()
            file = path.open("ab", buffering=0)
        digest = hashlib.sha256(first + b"".join(sorted(bodies))).hexdigest()
        return cls(path, kept_header, finished, digest, file)

    @classmethod
    def open_part(cls, path: Path, header: DrawFileHeader, rank: int) -> DrawFile:
        """Start the part of another process than the first."""
        part = path.with_name(f"{path.name}.part{rank}")
        with written(part):
            part.write_bytes(header.to_line())
            return cls(part, header, _file=part.open("ab", buffering=0))

    def keep(self, key: DrawKey, done: FinishedDraws) -> None:
        """Append the draws of a batch; they are with the operating system when this returns.

        Raises:
            OutputError: if there is no room; the file is left with the draws that it had.
        """
        assert self._file is not None
        record = {
            "pass": key[0],
            "bound": key[1],
            "rows": done.rows.tolist(),
            "nats": done.nats.tolist(),
            "num_masked": done.num_masked.tolist(),
            "control": done.control.tolist(),
        }
        line = memoryview(_signed(self.header.to_line(), record))
        end = os.fstat(self._file.fileno()).st_size
        try:
            with written(self.path):
                while line:
                    line = line[self._file.write(line) :]
        except BaseException:
            os.ftruncate(self._file.fileno(), end)
            raise

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


def keep_score(path: Path, costs: ScoreCosts) -> None:
    """Append the score that finished draws made, so that :mod:`bpb_harness.comparison` can take the file for it.

    Raises:
        OutputError: if there is no room.
    """
    with written(path):
        first = path.read_bytes().partition(b"\n")[0] + b"\n"
        with path.open("ab") as file:
            file.write(_signed(first, {"score": costs.to_plain()}))


def read_score(path: Path) -> ScoreCosts:
    """The score at the end of a file of draws.

    Raises:
        InputError: if the evaluation did not end, or the file is damaged.
    """
    first, _, body = path.read_bytes().partition(b"\n")
    header = _header(path, first)
    _, lines = _read(path, header)
    scores = [(where, line) for where, line in lines if line.startswith(_SCORE)]
    if not body or not scores:
        raise InputError(
            f"{path}: draws of a score that is not finished", expected="a file of --resume whose evaluation ended",
            hint="run that bpb-eval again: its draws are kept",
        )  # fmt: skip
    where, line = scores[-1]
    record = _json(line + b"}")
    if record is None:
        raise InputError(f"{where} holds no score", seen="not JSON", hint=_HINT)
    return ScoreCosts.of_plain(record["score"], where)


def is_draw_file(path: Path) -> bool:
    """Whether a file begins as those of draws do."""
    beginning = json.dumps({"format": FORMAT}).encode()[:-1]
    try:
        if not path.is_file():  # a pipe would wait for its writer
            return False
        with path.open("rb") as file:
            return file.read(len(beginning)) == beginning
    except OSError:  # not to be read
        return False


def _line(first: bytes, body: bytes) -> bytes:
    """A line from what stands before its checksum, which binds it to the first line."""
    check = hashlib.sha256(first + body).hexdigest()[:32].encode()
    return body + b', "check": "' + check + b'"}\n'


def _signed(first: bytes, record: Mapping[str, Any]) -> bytes:
    return _line(first, json.dumps(record, allow_nan=False).encode()[:-1])


def _checked(first: bytes, line: bytes) -> bytes | None:
    """What stands before the checksum of a line, if that is right."""
    found = _LINE.fullmatch(line)
    return found[1] if found is not None and _line(first, found[1]) == line + b"\n" else None


def _read(path: Path, expected: DrawFileHeader) -> tuple[DrawFileHeader, list[tuple[str, bytes]]]:
    """The header, and for each line below it where it stands and what; the expected one if there is no file."""
    if path.exists() and not path.is_file():
        raise InputError(
            f"--resume {path}: not a file of draws",
            seen="a folder" if path.is_dir() else "a pipe or a device",
            hint="name a file that bpb-eval wrote, or a new one",
        )
    if is_adaptation_file(path):
        raise UsageError(f"--resume {path} is of an evaluation with --ttt", hint=SAME_FLAGS)
    try:
        first, _, body = path.read_bytes().partition(b"\n")
    except FileNotFoundError:
        return expected, []
    except OSError as error:
        raise InputError(f"--resume {path}: cannot be read", seen=error.strerror or error) from None
    header = _header(path, first)
    stated = [{name: getattr(each, name) for name in ("signature", "model", "data")} for each in (header, expected)]
    require_same(f"--resume {path}", *stated)
    lines = []
    for number, line in enumerate(body[: body.rfind(b"\n") + 1].split(b"\n")[:-1], start=2):
        where = f"--resume {path}: line {number}"
        content = _checked(first + b"\n", line)
        if content is None:
            raise InputError(f"{where} is damaged or was changed", seen="another checksum", hint=_HINT)
        lines.append((where, content))
    return header, lines


def _header(path: Path, first: bytes) -> DrawFileHeader:
    record = _json(first)
    if record is None or record.pop("format", None) != FORMAT:
        raise InputError(f"--resume {path}: not a file of draws", hint="name a file that bpb-eval wrote, or a new one")
    version = record.pop("format_version", None)
    if type(version) is not int or version != FORMAT_VERSION:
        raise InputError(
            f"--resume {path}: a file of draws of another version",
            seen=repr(version)[:80],
            expected=FORMAT_VERSION,
            hint="name a new file: those draws are done again",
        )
    record.pop("check", None)
    kinds = {"signature": str, "model": str, "data": str, "batch_tokens": int, "device": str}
    if record.keys() != kinds.keys() or any(type(record[name]) is not kind for name, kind in kinds.items()):
        raise InputError(f"--resume {path}: its first line is incomplete", seen=", ".join(record)[:200], hint=_HINT)
    if _checked(b"", first) is None or not 1 <= record["batch_tokens"] < _LARGEST:
        raise InputError(f"--resume {path}: line 1 is damaged or was changed", seen="another checksum", hint=_HINT)
    return DrawFileHeader(**record)


def _by_key(bodies: Mapping[bytes, str]) -> dict[DrawKey, list[FinishedDraws]]:
    """The draws of each pass and bound; every draw once.

    Raises:
        InputError: naming the line that holds something else.
    """
    found: dict[DrawKey, list[FinishedDraws]] = defaultdict(list)
    seen: dict[tuple[DrawKey, int], str] = {}
    for body, where in bodies.items():
        record = _json(body + b"}")
        fault = "not JSON" if record is None else _fault(record)
        if record is None or fault is not None:
            raise InputError(f"{where} holds no draws", seen=fault, hint=_HINT)
        key = (record["pass"], record["bound"])
        for row in record["rows"]:
            if (key, row) in seen:
                raise InputError(f"{where} repeats draw {row}", seen=f"also in {seen[key, row]}", hint=_HINT)
            seen[key, row] = where
        found[key].append(_draws(record, where))
    return dict(found)


def _draws(record: Mapping[str, Any], where: str) -> FinishedDraws:
    return FinishedDraws(
        np.array(record["rows"], dtype=np.int64),
        np.array(record["nats"], dtype=np.float64),
        np.array(record["num_masked"], dtype=np.int64),
        np.array(record["control"], dtype=np.float64),
        where,
    )


def _fault(record: Mapping[str, Any]) -> str | None:
    """What keeps a line from being draws; None if nothing."""
    if record.keys() != {"pass", "bound", *_COLUMNS}:
        return f"keys {', '.join(record)}"[:200]
    if type(record["pass"]) is not int or not 0 <= record["pass"] < 1 << 32:
        return f"pass {record['pass']!r}"[:80]
    if record["bound"] not in names(lambda row: row.samples):
        return f"bound {record['bound']!r}"[:80]
    columns = [record[name] for name in _COLUMNS]
    if not all(isinstance(column, list) for column in columns) or len({len(column) for column in columns}) > 1:
        return "columns of different lengths"
    return next(_faults(*columns), None)


def _faults(rows: list[Any], nats: list[Any], num_masked: list[Any], control: list[Any]) -> Iterator[str]:
    for name, column, least in (("row", rows, 0), ("number of masked tokens", num_masked, 1)):
        yield from (f"{name} {x!r}"[:80] for x in column if type(x) is not int or not least <= x < _LARGEST)
    yield from (f"nats {x!r}"[:80] for x in nats if type(x) is not float or not 0.0 <= x < math.inf)
    yield from (f"control {x!r}"[:80] for x in control if type(x) is not float or not math.isfinite(x))


def _json(line: bytes) -> dict[str, Any] | None:
    """An object in which no key stands twice; None for anything else."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        record = dict(pairs)
        if len(record) != len(pairs):
            raise ValueError("a key that is there twice")
        return record

    try:
        record = json.loads(line, object_pairs_hook=once)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None
