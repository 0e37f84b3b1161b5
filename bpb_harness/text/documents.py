"""Documents in whatever people keep them: each file is recognised by its content, and its name is held against that."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bpb_harness.errors import CorpusError, UsageError
from bpb_harness.text.compressed import READABLE, TextBytes, compression_of, read_head
from bpb_harness.text.fields import Record, TextField
from bpb_harness.text.files import find_files, plain_suffix
from bpb_harness.text.json_lines import BLANK, LINES_SUFFIXES, decode, is_object, json_in, json_lines
from bpb_harness.text.signs import LONGEST_SIGN, sign_of
from bpb_harness.text.tables import arrow_documents, arrow_files, is_dataset_folder, parquet_documents

DEFAULT_FIELD = "text"
# What a folder is asked for. A bare .json is as likely a record about the texts as one of them.
_FOLDER_SUFFIXES = (".jsonl", ".txt", ".ndjson", ".jsonlines", ".parquet", ".arrow", ".json.gz", ".json.zst")
_TABLE_SUFFIXES = {".parquet": "Parquet", ".arrow": "Arrow", ".feather": "Feather"}
_READ = "JSON lines, plain text, Parquet or Arrow"
# Cyrillic in UTF-16 has one every second character; logs with colours have one in ten or fewer.
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_CHARACTERS_A_CONTROL = 5
_MARK = "\ufeff"  # of byte order: at the beginning of a file it says UTF-8 and is no text
_AS_LINES = 'write {"text": ...} a line to a .jsonl file'


@dataclass(frozen=True)
class DocumentFile:
    """A file, or a folder of the datasets library, whose format is known.

    Attributes:
        path: of the file or folder.
        kind: the format: "JSON lines", "plain text", "Parquet" or "Arrow".
        words: the same with its compression, as a result tells it.
        records: gives the documents with all fields that were asked for, one after the other.
    """

    path: Path
    kind: str
    words: str
    records: Callable[[], Iterator[Record]]

    def read(self) -> Iterator[str]:
        """The first field of each document, one after the other."""
        return (record.texts[0] for record in self.records())


def find_documents(paths: Sequence[Path | str], *, field: str | None = None, largest: int) -> list[DocumentFile]:
    """What files, folders and patterns hold, each recognised before anything is read as a document.

    Args:
        paths: files, folders or patterns, in the order of the text.
        field: the key or column of the text; None: `text`.
        largest: bytes of the longest document.

    Raises:
        UsageError: a key for plain text.
        CorpusError: nothing found, a format that is not read, or several formats in one folder or pattern; it names
            them and the next step.
    """
    return _find(paths, [TextField(field or DEFAULT_FIELD)], largest, are_named=field is not None)


def find_records(paths: Sequence[Path | str], fields: Sequence[TextField], *, largest: int) -> list[DocumentFile]:
    """Likewise, of documents of several texts each.

    Args:
        paths: files, folders or patterns, in the order of the text.
        fields: the keys or columns of the texts.
        largest: bytes of the longest.

    Raises:
        UsageError: plain text, which has no fields.
        CorpusError: as `find_documents`.
    """
    return _find(paths, fields, largest, are_named=True)


def _find(
    paths: Sequence[Path | str], fields: Sequence[TextField], largest: int, *, are_named: bool
) -> list[DocumentFile]:
    files = find_files(paths, _FOLDER_SUFFIXES, whole_folder=is_dataset_folder)
    _require_not_packed_twice(files)
    found = [_recognise(path, fields, largest, are_named=are_named) for path in files]
    kinds = {file.path: file.kind for file in found}
    for given in paths:
        members = find_files([given], _FOLDER_SUFFIXES, whole_folder=is_dataset_folder)
        _require_one_kind(given, {path: kinds[path] for path in members})
    return found


def _require_one_kind(given: Path | str, kinds: Mapping[Path, str]) -> None:
    """Refuse README.txt beside val.jsonl: what a folder or pattern stands for is then for the user to say."""
    first: dict[str, Path] = {}
    for path, kind in kinds.items():
        first.setdefault(kind, path)
    if len(first) > 1:
        example = max(first, key=list(kinds.values()).count)
        pattern = first[example].parent / f"*{''.join(first[example].suffixes[-2:]) or first[example].name}"
        raise CorpusError(
            f"{given}: documents of several kinds",
            seen=", ".join(f"{kind} ({path.name})" for kind, path in first.items()),
            expected="one kind in a folder or pattern",
            hint=f"say which are meant: --docs '{pattern}', or each file by its name",
        )


def _recognise(path: Path, fields: Sequence[TextField], largest: int, *, are_named: bool) -> DocumentFile:
    if path.is_dir():
        parts = arrow_files(path)
        for part in parts:
            _require_arrow(part)
        return DocumentFile(
            path,
            "Arrow",
            "a folder of the datasets library",
            lambda: (record for part in parts for record in arrow_documents(part, fields, largest=largest)),
        )
    compression = compression_of(path)
    packed = f"{compression}-compressed " if compression else ""
    with TextBytes(path) as file:
        sign = sign_of(file.read(LONGEST_SIGN))
    if not compression and sign == "Parquet":
        return DocumentFile(path, "Parquet", "Parquet", lambda: parquet_documents(path, fields, largest=largest))
    if not compression and sign in ("an Arrow file", "an Arrow stream"):
        return DocumentFile(path, "Arrow", sign, lambda: arrow_documents(path, fields, largest=largest))
    if sign is not None and sign != "a token shard":
        raise _not_read(path, packed + sign, sign)
    suffix = plain_suffix(path)
    if suffix in _TABLE_SUFFIXES:
        raise CorpusError(f"{path}: its content is not what its name says", expected=_TABLE_SUFFIXES[suffix])
    if suffix in (".csv", ".tsv"):
        raise _table_of_text(path, suffix[1:].upper())
    if suffix in LINES_SUFFIXES or (suffix != ".txt" and _first_line_is_object(path, largest)):
        lines = packed + "JSON lines"
        return DocumentFile(path, "JSON lines", lines, lambda: json_lines(path, fields, largest=largest))
    plain = packed + "plain text"
    return DocumentFile(path, "plain text", plain, lambda: _plain_text(path, fields[0], largest, is_named=are_named))


def _require_arrow(path: Path) -> None:
    sign = sign_of(read_head(path))
    if sign not in ("an Arrow file", "an Arrow stream"):
        raise CorpusError(f"{path}: not Arrow", seen=sign or "another beginning", hint="fetch it again")


def _require_not_packed_twice(files: Sequence[Path]) -> None:
    """Refuse val.jsonl beside val.jsonl.gz: the same documents twice."""
    names: dict[Path, Path] = {}
    for path in files:
        plain = path.with_suffix("") if path.suffix.lower() in (".gz", ".bz2", ".zst", ".zstd") else path
        before = names.setdefault(plain, path)
        if before is not path:
            raise CorpusError(
                f"{path}: the same file, compressed and not", seen=f"{before} and {path}", expected="one of them",
                hint="give the one file instead of the folder or pattern",
            )  # fmt: skip


def _not_read(path: Path, seen: str, sign: str) -> CorpusError:
    if sign == "a NumPy array":
        hint = "if it holds token ids, pass it with --data"
    elif sign.startswith("text in UTF-"):
        hint = f"convert it: iconv -f {sign.removeprefix('text in ')} -t UTF-8 {path.name} > FILE"
    elif sign in READABLE or sign.endswith("archive"):
        hint = "unpack it and give the files inside"
    else:
        hint = _AS_LINES
    return CorpusError(f"{path}: not read as documents", seen=seen, expected=_READ, hint=hint)


def _table_of_text(path: Path, kind: str) -> CorpusError:
    return CorpusError(
        f"{path}: not read as documents", seen=f"a {kind} table", expected=_READ,
        hint="write it with pandas: read_csv(FILE).to_json('docs.jsonl', orient='records', lines=True)",
    )  # fmt: skip


def _first_line_is_object(path: Path, largest: int) -> bool:
    with TextBytes(path) as file:
        for line in iter(lambda: file.readline(largest + 1), b""):
            text = line.decode("utf-8", errors="replace")
            if text.strip(BLANK):
                return is_object(text)
    return False


def _plain_text(path: Path, field: TextField, largest: int, *, is_named: bool) -> Iterator[Record]:
    with TextBytes(path) as file:
        raw = file.read(largest + 1)
    if len(raw) > largest:
        raise CorpusError(
            f"{path}: too long for one document",
            expected=f"at most {largest} bytes",
            hint='cut it into documents, one {"text": ...} a line of a .jsonl file',
        )
    text = decode(path, raw).removeprefix(_MARK)
    if "\x00" in text:
        raise CorpusError(
            f"{path}: binary data", seen=f"a NUL at byte {raw.index(0)}", expected=_READ,
            hint="pass token ids with --data and --shard-format, and text in UTF-8",
        )  # fmt: skip
    controls = len(_CONTROLS.findall(text))
    if controls * _CHARACTERS_A_CONTROL > len(text):
        raise CorpusError(
            f"{path}: no text in UTF-8", seen=f"{controls} control characters of {len(text)} characters",
            expected="text", hint="UTF-16 without its mark looks like that: iconv -f UTF-16LE -t UTF-8",
        )  # fmt: skip
    found = json_in(text, field.name)
    if found is not None:
        raise CorpusError(
            f"{path}: JSON under the name of plain text", seen=found, expected="text, or JSON lines called .jsonl",
            hint="name it .jsonl with an object a line, or wrap it as one document: {\"text\": ...}",
        )  # fmt: skip
    _require_no_table(path, text)
    if is_named:
        raise UsageError(
            f"{field.flag} {field.name}", seen=f"{path}, which is plain text", expected="JSON lines, Parquet or Arrow"
        )
    yield Record(str(path), (text,))


def _require_no_table(path: Path, text: str) -> None:
    """Refuse the table that a first line of column names shows, `text` among them, over rows of as many fields."""
    lines = text.lstrip(BLANK).split("\n", 2)
    for separator, kind in ((",", "CSV"), ("\t", "TSV")):
        names = lines[0].strip().split(separator)
        is_header = len(names) > 1 and all(re.fullmatch(r'"?\w{1,40}"?', name) for name in names)
        named = DEFAULT_FIELD in [name.strip('"') for name in names]
        if is_header and named and len(lines) > 1 and lines[1].count(separator) >= len(names) - 1:
            raise _table_of_text(path, kind)
