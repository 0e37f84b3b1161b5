"""Logs that are those of another submission of one batch, but for blanks and the ends of their lines."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from bpb_harness.claim.listing import kind_by_name, list_files
from bpb_harness.claim.untrusted_file import open_regular
from bpb_harness.errors import HarnessError

_SMALLEST = 1000  # bytes; of less two runs may print the same
_LARGEST = 64 << 20
_BEGINNING = 20  # lines, by which files are told that may be the same


@dataclass(frozen=True)
class Twin:
    """A log that another submission holds too.

    Attributes:
        path: the log.
        name: what the other submission is called.
        folder: where that lies.
        shown: what the log is called there.
        is_exact: whether the two are the same byte for byte.
    """

    path: Path
    name: str
    folder: Path
    shown: str
    is_exact: bool = True


@dataclass(frozen=True)
class _Log:
    path: Path
    shown: str
    name: str
    folder: Path


def twin_logs(named: Sequence[tuple[str, Path]]) -> Mapping[Path, tuple[Twin, ...]]:
    """Of each folder the logs that others hold too, with these; read as a whole are only files that begin alike.

    Args:
        named: submissions, by the names that their reports have.
    """
    beginning = defaultdict[str, list[_Log]](list)
    for name, folder in named:
        for log in _logs(name, folder):
            beginning[_digest(log.path, _BEGINNING)].append(log)
    alike = defaultdict[str, list[_Log]](list)
    for begin, logs in beginning.items():
        for log in logs if begin and len({each.folder for each in logs}) > 1 else ():
            alike[_digest(log.path)].append(log)
    alike.pop("", None)
    twins = defaultdict[Path, list[Twin]](list)
    for logs in alike.values():
        exact = (
            {log.path: _digest_of_bytes(log.path) for log in logs} if len({each.folder for each in logs}) > 1 else {}
        )
        for log in logs if exact else ():
            own, others = exact[log.path], dict[Path, _Log]()
            for each in sorted(logs, key=lambda other: exact[other.path] != own):  # the same bytes first
                others.setdefault(each.folder, each)
            found = [(folder, others[folder]) for folder in dict.fromkeys(each.folder for each in logs)]
            twins[log.folder] += [
                Twin(log.path, other.name, folder, other.shown, is_exact=exact[other.path] == own != "")
                for folder, other in found
                if folder != log.folder
            ]
    return {folder: tuple(found) for folder, found in twins.items()}


def _logs(name: str, folder: Path) -> Iterator[_Log]:
    try:
        for path, shown in list_files(folder).files:
            if kind_by_name(path) == "log" and _SMALLEST <= path.stat().st_size <= _LARGEST:
                yield _Log(path, str(shown), name, folder)
    except (HarnessError, OSError):  # its own report says what is wrong with it
        return


def _digest(path: Path, most_lines: int | None = None) -> str:
    """Of the lines that are not empty, without the blanks that end them; empty where a log is not read."""
    digest = hashlib.sha256()
    try:
        with open_regular(path, str(path)) as file:
            lines = (kept for line in file if (kept := line.rstrip()))
            for line in islice(lines, most_lines):
                digest.update(line + b"\n")
    except (HarnessError, OSError):
        return ""
    return digest.hexdigest()


def _digest_of_bytes(path: Path) -> str:
    try:
        with open_regular(path, str(path)) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    except (HarnessError, OSError):
        return ""
