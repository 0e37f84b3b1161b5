"""Logs that are byte for byte those of another submission of one batch."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bpb_harness.claim.listing import kind_by_name, list_files
from bpb_harness.claim.untrusted_file import open_regular
from bpb_harness.errors import HarnessError

_SMALLEST = 1000  # bytes; of less two runs may print the same
_LARGEST = 64 << 20


@dataclass(frozen=True)
class Twin:
    """A log that another submission holds too.

    Attributes:
        path: the log.
        name: what the other submission is called.
        folder: where that lies.
        shown: what the log is called there.
    """

    path: Path
    name: str
    folder: Path
    shown: str


@dataclass(frozen=True)
class _Log:
    path: Path
    shown: str
    name: str
    folder: Path
    size: int


def twin_logs(named: Sequence[tuple[str, Path]]) -> Mapping[Path, tuple[Twin, ...]]:
    """Of each folder the logs that others hold too, with these; read are only files of one size.

    Args:
        named: submissions, by the names that their reports have.
    """
    of_size = defaultdict[int, list[_Log]](list)
    for name, folder in named:
        for log in _logs(name, folder):
            of_size[log.size].append(log)
    of_digest = defaultdict[str, list[_Log]](list)
    for logs in of_size.values():
        for log in logs if len({each.folder for each in logs}) > 1 else ():
            of_digest[_digest(log.path)].append(log)
    of_digest.pop("", None)
    twins = defaultdict[Path, list[Twin]](list)
    for logs in of_digest.values():
        for log in logs:
            others = {each.folder: each for each in reversed(logs) if each.folder != log.folder}
            for other in reversed(others.values()):
                twins[log.folder].append(Twin(log.path, other.name, other.folder, other.shown))
    return {folder: tuple(found) for folder, found in twins.items()}


def _logs(name: str, folder: Path) -> Iterator[_Log]:
    try:
        for path, shown in list_files(folder).files:
            if kind_by_name(path) == "log" and _SMALLEST <= (size := path.stat().st_size) <= _LARGEST:
                yield _Log(path, str(shown), name, folder, size)
    except (HarnessError, OSError):  # its own report says what is wrong with it
        return


def _digest(path: Path) -> str:
    try:
        with open_regular(path, str(path)) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    except (HarnessError, OSError):
        return ""
