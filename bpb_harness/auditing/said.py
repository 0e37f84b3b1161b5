"""All that the files of a record say, as text: README, JSON, logs and scripts, to look for names in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePath

from bpb_harness.claim import LogRecord
from bpb_harness.claim.listing import list_files
from bpb_harness.claim.text_file import read_text
from bpb_harness.distinct_names import distinct_names
from bpb_harness.errors import ClaimError

_MAX_BYTES = 2 << 20  # of one file; what a log says of its text stands at its ends
_LONGEST_SHOWN = 90  # characters
_SUFFIXES = frozenset({".csv", ".gz", ".json", ".jsonl", ".log", ".md", ".py", ".rst", ".sh", ".txt", ".yaml", ".yml"})


def texts_of(paths: Sequence[Path]) -> dict[str, str]:
    """The texts of a record's files, by their names; a file that cannot be read is left out: the claim's notes say so.

    Args:
        paths: the record's folder, or its files.
    """
    files = [(file, shown, path.is_dir()) for path in paths for file, shown in list_files(path).files]
    names = distinct_names(
        [shown for _, shown, _ in files], [str(shown) if in_folder else shown.name for _, shown, in_folder in files]
    )
    return dict(_texts(zip((file for file, *_ in files), names, strict=True)))


def _texts(files: Iterable[tuple[Path, str]]) -> Iterator[tuple[str, str]]:
    for file, name in files:
        if file.suffix.lower() not in _SUFFIXES and "." in file.name:
            continue
        try:
            yield name, text_of(file, name)
        except ClaimError:
            continue


def text_of(file: Path, name: str) -> str:
    """The text of a file, or its ends; of a script the innermost source, what packs itself unpacked.

    Raises:
        ClaimError: if it cannot be read.
    """
    from bpb_harness.auditing.script import decode_source  # deferred: most records come without a script

    source = decode_source(file).text if file.suffix.lower() == ".py" else None
    return source or read_text(file, name, _MAX_BYTES).text


def name_of(file: Path, files: Sequence[str]) -> str:
    """What a report calls a file of the record: one of two of one name by its folder too.

    Args:
        file: the file.
        files: what those that were read are called.
    """
    called = [name for name in files if file.parts[-len(PurePath(name).parts) :] == PurePath(name).parts]
    return max(called, key=len, default=file.name)


def texts_of_scripts(scripts: Iterable[Path]) -> Iterator[str]:
    """The texts of those that can be read."""
    for script in scripts:
        try:
            yield text_of(script, script.name)
        except ClaimError:
            continue


def text_of_log(log: LogRecord) -> str:
    """A log once more, whole; nothing where it cannot be read again."""
    try:
        return "" if log.path is None else read_text(log.path, log.file).text
    except ClaimError:
        return ""


def quoted(line: str) -> str:
    """A line of a log, or as much of it as a finding quotes."""
    return line if len(line) <= _LONGEST_SHOWN else f"{line[:_LONGEST_SHOWN]}.."


def sizes_stated_in(log: LogRecord) -> list[int]:
    """The sizes of the code that a log states."""
    from bpb_harness.auditing.script import stated_code_sizes  # deferred, as above

    return stated_code_sizes(text_of_log(log))
