"""Documents in JSON lines, and whether a text that is not called so is JSON all the same."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bpb_harness.errors import CorpusError
from bpb_harness.findings import first_of
from bpb_harness.foreign_files import KeyGivenTwiceError, load_once
from bpb_harness.text.compressed import TextBytes
from bpb_harness.text.fields import Record, TextField, label_of, pass_flag, require_text
from bpb_harness.text.files import plain_suffix

LINES_SUFFIXES = (".jsonl", ".ndjson", ".jsonlines", ".json")
BLANK = "\ufeff \t\r\n"
# Above this a text is not parsed whole to learn whether it is JSON: its values would take many times its size.
_LARGEST_PARSED = 16 * 2**20
_BEGINS_LIKE_JSON = re.compile(r'\[\s*[{"\[]|\{\s*"(?:[^"\\\n]|\\.){0,200}"\s*:')
_MAY_BE_ROWS = re.compile(r'(?:^|\n)[\ufeff \t]*[{["]')
_NO_BLANK = re.compile(f"[^{BLANK}]|\\Z")
_DECODER = json.JSONDecoder()
_KEYS_SHOWN = 8


def json_lines(path: Path, fields: Sequence[TextField], *, largest: int) -> Iterator[Record]:
    """The documents of a file of JSON objects, one a line; blank lines are passed over.

    Args:
        path: the file, compressed or not.
        fields: the keys of the texts.
        largest: bytes of the longest line.

    Raises:
        CorpusError: a line that is no JSON object, gives a key two values, lacks a key, or one of whose texts is no
            text, or is empty where it must not be; it names the line.
    """
    offset = 0
    with TextBytes(path) as file:
        for number, line in enumerate(iter(lambda: file.readline(largest + 1), b""), start=1):
            if len(line) > largest:
                raise CorpusError(f"{path}: line {number} is longer than {largest} bytes")
            decoded = decode(path, line, offset)
            offset += len(line)
            if decoded.strip(BLANK):
                yield _record(path, number, decoded, fields)


def decode(path: Path, raw: bytes, offset: int = 0) -> str:
    """Bytes as UTF-8.

    Args:
        path: for the message.
        raw: a part of the file.
        offset: the bytes of the file before it.

    Raises:
        CorpusError: with the place of the first byte that is not.
    """
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        is_shard = offset == 0 and raw[:4] in (b"\x88\xd8\x34\x01", b"\xa1\xd9\x34\x01")
        raise CorpusError(
            f"{path}: invalid UTF-8 at byte {offset + error.start}",
            seen=f"0x{raw[error.start]:02X}",
            expected="text",
            hint="this is a token shard: pass it with --data" if is_shard else "convert the file to UTF-8",
        ) from error


def is_object(line: str) -> bool:
    """Whether a line is a JSON object that is not empty."""
    stripped = line.strip(BLANK)
    if not stripped.startswith("{"):
        return False
    try:
        return bool(json.loads(stripped))
    except (ValueError, RecursionError):
        return False


def json_in(text: str, field: str) -> str | None:
    """What JSON a text is that is not called JSON lines, in words; None: plain text, whatever it begins with.

    It is JSON if all of it is one object or one array of objects, texts or arrays; if half of its lines or more are
    objects, or all of several are objects, texts or arrays of them; or if it begins as an object whose first key is
    `field` and which does not end.
    """
    start = text.lstrip(BLANK)
    whole = _array(start) if start.startswith("[") else _objects(start)
    if whole is not None:
        return whole
    kinds = [_kind(line) for line in text.split("\n") if line.strip(BLANK)] if _MAY_BE_ROWS.search(text) else []
    objects, others = kinds.count("object"), kinds.count("nothing")
    if kinds and not others and len(kinds) > 1:
        return "JSON lines"
    if objects and 2 * objects >= len(kinds):
        return f"JSON lines, but for {len(kinds) - objects} of {len(kinds)} lines" if others else "JSON lines"
    if re.match(r'\{\s*"' + re.escape(field) + r'"\s*:', start) and not _begins_with_a_whole_object(start):
        return f"the beginning of a JSON object with the key {field!r}"
    return None


def _kind(line: str) -> str:
    """Whether a line is a JSON object, a JSON text or an array that holds some, or nothing of the kind."""
    stripped = line.strip(BLANK)
    if not stripped.startswith(("{", "[", '"')):
        return "nothing"
    try:
        value = json.loads(stripped)
    except (ValueError, RecursionError):
        return "nothing"
    if isinstance(value, dict) and value:
        return "object"
    holds_text = isinstance(value, str) or (
        isinstance(value, list) and any(isinstance(one, str | dict) for one in value)
    )
    return "text" if holds_text else "nothing"


def _array(text: str) -> str | None:
    """The one JSON array of more than numbers that a text is, in words."""
    if len(text) > _LARGEST_PARSED:
        return "a JSON array" if _BEGINS_LIKE_JSON.match(text) and text.rstrip(BLANK).endswith("]") else None
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError):
        return None
    holds_texts = any(isinstance(row, dict | str | list) for row in rows)
    return f"a JSON array of {len(rows)} values" if holds_texts else None


def _objects(text: str) -> str | None:
    """The JSON objects, one after the other, that a text is (the last may be cut), in words."""
    head, position, count = text[:_LARGEST_PARSED], 0, 0
    first: dict[str, Any] = {}
    while head.startswith("{", position):
        try:
            value, end = _DECODER.raw_decode(head, position)
        except (ValueError, RecursionError):
            break
        first, count = first or value, count + 1
        position = _NO_BLANK.search(head, end).start()  # type: ignore[union-attr]
    rest = head[position : position + 1000]
    if not first or (rest and not _BEGINS_LIKE_JSON.match(rest)):
        return None
    if count == 1 and not rest:
        return f"one JSON object with {keys_of(first)}"
    return "JSON lines" if _is_lines(text) else "JSON objects one after the other"


def _begins_with_a_whole_object(text: str) -> bool:
    try:
        _DECODER.raw_decode(text)
    except (ValueError, RecursionError):
        return False
    return True


def _is_lines(text: str) -> bool:
    return all(is_object(line) for line in text.split("\n") if line.strip(BLANK))


def keys_of(row: dict[str, Any]) -> str:
    """The keys of an object in words, the first few of them."""
    names = [repr(key if len(key) <= 40 else key[:40] + "...") for key in row]
    return f"the key{'' if len(row) == 1 else 's'} {first_of(names, _KEYS_SHOWN)}" if row else "no keys"


def _record(path: Path, number: int, line: str, fields: Sequence[TextField]) -> Record:
    where = f"{path}: line {number}"
    try:
        row = load_once(line.strip(BLANK))
    except KeyGivenTwiceError as error:
        raise CorpusError(f"{where}: {error}", expected="each key once", hint="leave one of them out") from error
    except (ValueError, RecursionError) as error:
        raise CorpusError(f"{where} is not JSON: {error}", hint=_next_step(path, line)) from error
    if not isinstance(row, dict):
        hint = f"write one object a line: jq -c '.[]' {path.name} > docs.jsonl" if isinstance(row, list) else None
        raise CorpusError(f"{where} has no {fields[0].noun}", seen=_type(row), expected=_example(fields), hint=hint)
    return Record(where, tuple(_text(path, where, row, field, fields) for field in fields))


def _text(path: Path, where: str, row: dict[str, Any], field: TextField, fields: Sequence[TextField]) -> str:
    what, name = f"{where} has no {field.noun}", field.name
    if name not in row:
        raise CorpusError(what, seen=keys_of(row), expected=repr(name), hint=_other_key(path, row, field, fields))
    text = label_of(row[name]) if field.is_label else row[name]
    if not isinstance(text, str):
        expected = "a text, a number, true, false or null" if field.is_label else _example(fields)
        hint = None if field.is_label else _other_key(path, row, field, fields)
        raise CorpusError(what, seen=f"{_type(row[name])} under {name!r}", expected=expected, hint=hint)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise CorpusError(
            f"{where}: a lone surrogate at character {error.start} is no text",
            seen=f"\\u{ord(text[error.start]):04x} under {name!r}",
            hint="leave it out, or write both halves of its character, as Python does with "
            "text.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace')",
        ) from error
    require_text(where, field, text)
    return text


def _example(fields: Sequence[TextField]) -> str:
    return "{" + ", ".join(f'"{field.name}": "..."' for field in fields) + "}"


def _type(value: object) -> str:
    return "null" if value is None else type(value).__name__


def _other_key(path: Path, row: dict[str, Any], field: TextField, fields: Sequence[TextField]) -> str:
    """The next step where a row lacks the key."""
    for key, value in row.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            return f"write one object a line: jq -c '.[{json.dumps(key)}][]' {path.name} > docs.jsonl"
    return pass_flag(field, [key for key, value in row.items() if isinstance(value, str)], fields)


def _next_step(path: Path, line: str) -> str | None:
    """What to do about a file of which a line is not JSON: it may be one JSON document over many lines."""
    if plain_suffix(path) not in LINES_SUFFIXES:
        return "name it .jsonl if it holds JSON lines, and .txt if it is plain text"
    if not line.strip(BLANK).startswith(("{", "[")):
        return None
    with TextBytes(path) as file:
        head = file.read(_LARGEST_PARSED + 1)
    try:
        value = json.loads(head.decode("utf-8-sig")) if len(head) <= _LARGEST_PARSED else None
    except (ValueError, RecursionError):
        return None
    if isinstance(value, list):
        return f"it is a JSON array over several lines: jq -c '.[]' {path.name} > docs.jsonl"
    if isinstance(value, dict):
        lists = [
            key for key, inner in value.items() if isinstance(inner, list) and inner and isinstance(inner[0], dict)
        ]
        inside = f".[{json.dumps(lists[0])}][]" if lists else "."
        return f"it is one JSON object over several lines: jq -c '{inside}' {path.name} > docs.jsonl"
    return None
