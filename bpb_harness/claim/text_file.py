"""Files of unknown origin as text: bounded in size, in whatever encoding they came, regular files only."""

from __future__ import annotations

import codecs
import os
from dataclasses import dataclass
from pathlib import Path

from bpb_harness.claim.packed_file import is_packed, unpack
from bpb_harness.claim.printed import Source
from bpb_harness.claim.record import Note, NoteKind
from bpb_harness.claim.untrusted_file import open_regular
from bpb_harness.errors import ClaimError

LARGEST_TEXT = 32 << 20  # bytes; of a larger log the first quarter and the last three are read
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig", "starts with a byte-order mark"),
    (codecs.BOM_UTF16_LE, "utf-16", "is UTF-16 text"),
    (codecs.BOM_UTF16_BE, "utf-16", "is UTF-16 text"),
)


@dataclass(frozen=True)
class TextFile:
    """A file's text and what was odd about it."""

    text: str
    notes: tuple[Note, ...] = ()


def read_text(path: Path, name: str, limit: int = LARGEST_TEXT) -> TextFile:
    """Read a file as text.

    Args:
        path: the file; one whose name ends with ``.gz`` is unpacked.
        name: its name for messages.
        limit: bytes; more than this and the middle is left out, with a note.

    Raises:
        ClaimError: if there is no such regular file, it cannot be read, or cannot be unpacked though it is called
            so.
    """
    try:
        with open_regular(path, name) as stream:
            size = os.fstat(stream.fileno()).st_size
            if is_packed(path.name):
                held = unpack(stream, name, limit)
                raw, size = held.content, held.num_bytes
            elif size <= limit:
                raw = stream.read(limit + 1)
            else:
                head = stream.read(limit // 4)
                stream.seek(size - (limit - limit // 4))
                raw = head + b"\n" + stream.read(limit)
    except OSError as problem:
        raise ClaimError(f"{name} cannot be read", seen=problem.strerror or type(problem).__name__) from problem
    notes = []
    if size > limit:
        message = f"{name} holds {size:,} bytes; only {limit:,} of them, its start and its end, were read"
        notes.append(Note(NoteKind.TRUNCATED, message, Source(name)))
    encoding = "utf-8"
    for mark, marked, what in _MARKS:
        if raw.startswith(mark):
            encoding = marked
            notes.append(Note(NoteKind.ENCODING, f"{name} {what}", Source(name)))
            break
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as problem:
        text = raw.decode(encoding, errors="replace")
        where = len(raw) - len(problem.object) + problem.start  # some codecs drop the mark before they count
        message = f"{name} is not valid {encoding.removesuffix('-sig')}: byte {where} cannot be decoded"
        notes.append(Note(NoteKind.UNDECODABLE, message, Source(name)))
    return TextFile(text, tuple(notes))
