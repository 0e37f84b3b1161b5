"""Which files paths, folders and patterns stand for: regular files only, each once, in the order given."""

from __future__ import annotations

import glob
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from bpb_harness.errors import CorpusError
from bpb_harness.findings import first_of
from bpb_harness.foreign_files import kind_of

COMPRESSIONS = {".gz": "gzip", ".bz2": "bzip2", ".zst": "zstd", ".zstd": "zstd"}


def require_regular(path: Path) -> int:
    """The size of a regular file in bytes.

    Raises:
        CorpusError: a pipe, a device, a folder, or a file that is not there. Nothing is opened: a pipe would wait.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise cannot_be_read(path, error) from error
    kind = kind_of(status.st_mode)
    if kind is not None:
        raise CorpusError(f"{path}: cannot be read", seen=kind, expected="a file", hint="write it to a file first")
    return status.st_size


def cannot_be_read(path: Path, error: OSError) -> CorpusError:
    """What to say where the system refuses a file."""
    return CorpusError(f"{path}: cannot be read: {error.strerror or error}")


def plain_suffix(path: Path) -> str:
    """The suffix in lower case, without that of a compression: `.jsonl` of `val.JSONL.gz`."""
    inner = path.name[: -len(path.suffix)] if path.suffix.lower() in COMPRESSIONS else path.name
    return Path(inner).suffix.lower()


def corpus_name(files: Sequence[Path]) -> str:
    """`lab_val` from lab_val_000000.bin; characters that a signature uses itself become `_`."""
    whole = [path.with_suffix("") if path.suffix.lower() in COMPRESSIONS else path for path in files]
    stems = [re.sub(r"_\d{6}$", "", path.name.removesuffix(path.suffix)) for path in whole]
    names = list(dict.fromkeys(re.sub(r"[^A-Za-z0-9._-]+", "_", stem) or "data" for stem in stems))
    return names[0] if len(names) == 1 else f"{names[0]}+{len(names) - 1}"


def named_paths(paths: Sequence[Path | str]) -> str:
    """Of one or more files, what an error says: the first, and how many more."""
    return first_of([*map(str, paths)], 1)


def find_files(
    paths: Sequence[Path | str], suffixes: Sequence[str], *, whole_folder: Callable[[Path], bool] | None = None
) -> list[Path]:
    """The files that files, folders (those in it with one of the suffixes) and glob patterns stand for.

    Args:
        paths: in the order that the text has.
        suffixes: in lower case, such as `.jsonl`, of the files that a folder is asked for.
        whole_folder: whether a folder is itself one thing to read; then it is kept as it is.

    Raises:
        CorpusError: if one of them stands for nothing, is no regular file, or stands for a file that was named before.
    """
    found: list[Path] = []
    for given in paths:
        path = Path(given)
        if path.is_dir():
            matches = [path] if whole_folder is not None and whole_folder(path) else _files_in(path, suffixes)
        elif path.exists():
            matches = [path]
        else:
            matches = sorted(Path(match) for match in glob.glob(str(given)))  # noqa: PTH207 - patterns may be absolute
        if not matches:
            raise _nothing(path, given, suffixes)
        found += matches
    if not found:
        raise CorpusError("no data given", hint="give a file, a folder or a pattern")
    _require_once(found, whole_folder)
    return found


def _files_in(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    try:
        return sorted(entry for entry in folder.iterdir() if _has(entry, suffixes))
    except OSError as error:
        raise cannot_be_read(folder, error) from error


def _has(path: Path, suffixes: Sequence[str]) -> bool:
    both = "".join(path.suffixes[-2:]).lower()
    return (plain_suffix(path) in suffixes or both in suffixes) and not path.name.startswith(".")


def _require_once(files: Iterable[Path], whole_folder: Callable[[Path], bool] | None) -> None:
    seen: dict[tuple[int, int], Path] = {}
    for path in files:
        if not (whole_folder is not None and path.is_dir() and whole_folder(path)):
            require_regular(path)
        status = path.stat()
        before = seen.setdefault((status.st_dev, status.st_ino), path)
        if before is not path:
            names = str(path) if before == path else f"{before} and {path}"
            raise CorpusError(
                f"{path}: the same file is given twice", seen=names, expected="each once", hint="leave one of them out"
            )


def _nothing(path: Path, given: Path | str, suffixes: Sequence[str]) -> CorpusError:
    *others, last = suffixes
    wanted = f"{', '.join(others)} or {last}" if others else last
    if path.is_dir():
        return CorpusError(f"{given}: the folder holds no {wanted} file", hint=_look_below(path, suffixes))
    return CorpusError(f"{given}: no such file", hint=f"give a file, a folder of {wanted} files or a pattern")


def _look_below(folder: Path, suffixes: Sequence[str]) -> str:
    """The next step where a folder has none of the wanted files itself."""
    for inner in sorted(inner for inner in folder.iterdir() if inner.is_dir()):
        if any(_has(entry, suffixes) for entry in inner.iterdir()):
            return f"there are some in {inner}: give that folder"
    return "give a file, another folder or a pattern"
