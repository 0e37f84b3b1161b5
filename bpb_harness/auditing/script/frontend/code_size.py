"""The size of the script that ran, where a log states it, held against the scripts that lie beside it."""

from __future__ import annotations

import base64
import lzma
import re
import zlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from bpb_harness.auditing.script.frontend.source import decode_source
from bpb_harness.claim.record import NoteKind
from bpb_harness.claim.text_file import read_text

# Code size: 16740 bytes (lzma compressed; raw 72788 bytes)
_CODE_SIZE = re.compile(
    r"\bcode size[^:\n]{0,40}: ?([0-9][0-9,]{0,20}) ?bytes(?:[^\n]{0,40}?\braw:? ?([0-9][0-9,]{0,20}) ?bytes)?",
    re.IGNORECASE,
)


def stated_code_sizes(text: str) -> list[int]:
    """The sizes of the code that a log states, in bytes."""
    low, places, place = text.lower(), list[int](), -1
    if len(low) != len(text):  # a letter that is two in small
        places = [found.start() for found in _CODE_SIZE.finditer(text)]
    while (place := low.find("code size", place + 1)) >= 0 and len(low) == len(text):
        places.append(place)
    stated = (found for place in places if (found := _CODE_SIZE.match(text, place)) is not None)
    # Of both the one that is counted comes last.
    return [int(number.replace(",", "")) for found in stated for number in found.groups()[::-1] if number]


def foreign_code_size(text: str, scripts: Sequence[Path], *, exactly: bool = False) -> int | None:
    """The size of the code that a log states, if no script has it: in bytes or characters, however its lines end.

    Blank lines at the end of a script are no part of it: what lies beside a log lost some, or has more. A script that
    packs its own text may state the size of that. Of several sizes, as of the code before and after it was packed, the
    largest.

    Args:
        text: the log.
        scripts: what may have written it.
        exactly: whether all but one last line break counts, and nothing is packed.

    Raises:
        ClaimError: if one of them cannot be read.
    """
    stated = stated_code_sizes(text)
    if not stated:
        return None
    texts = [_texts_of(script) for script in scripts]
    sizes = {size for each in texts for size in _sizes_of(*each, any_blanks=not exactly)}
    packs = [text for each in texts for text in {*each} if not exactly and _may_be_packed(stated, text)]
    is_foreign = sizes.isdisjoint(stated) and all(_packed_sizes(text).isdisjoint(stated) for text in packs)
    return max(stated) if is_foreign else None


_READS_ITSELF = re.compile(r"\b__file__\b")
_PACKS = {"lzma": re.compile(r"\blzma\s*\.\s*compress\("), "zlib": re.compile(r"\bzlib\s*\.\s*compress\(")}
_WRAPPED = re.compile(r"""\bf("{3}|'{3}|"|')((?:(?!\1).){0,400}?)\{[^{}\n]{1,80}\}((?:(?!\1).){0,200}?)\1""", re.DOTALL)
_MOST_WRAPPERS, _LONGEST_PACKED = 40, 2**19


def _may_be_packed(stated: Sequence[int], text: str) -> bool:
    """Whether a stated size could be a script's packed text: code shrinks to less than two thirds of itself."""
    return any(3 * size < 2 * len(text) for size in stated)


@lru_cache(maxsize=32)
def _packed_sizes(text: str) -> frozenset[int]:
    """The sizes that a script's own text may have where it is packed by it; nothing of one that packs none.

    Of what unpacks it again, the text of one formatted value, each place is tried: the whole is a match to the byte.
    """
    if len(text) > _LONGEST_PACKED or not _READS_ITSELF.search(text):
        return frozenset()
    around = {0}
    for found in list(_WRAPPED.finditer(text))[:_MOST_WRAPPERS]:
        size = sum(len(part.replace("\\n", "\n")) for part in found.groups()[1:])
        around |= {size, size + len("b''")}
    packed = {same for name, packs in _PACKS.items() if packs.search(text) for same in _compressed(name, text.encode())}
    ways = [way for each in packed for way in (each, base64.b85encode(each), base64.b64encode(each))]
    return frozenset(len(way) + more for way in ways for more in around)


def _compressed(name: str, data: bytes) -> Iterator[bytes]:
    if name == "zlib":
        yield from (zlib.compress(data, level) for level in (6, 9))
        return
    yield from (lzma.compress(data, preset=preset) for preset in (6, 9, 9 | lzma.PRESET_EXTREME))


def told_code_size(text: str, script: Path) -> int | None:
    """The size of a script, if a log tells it: as that of its code, or by what a total has more than the model's.

    The latter where nothing is stated, of two sizes with one name of which one stands right behind the other.

    Raises:
        ClaimError: if the script cannot be read.
    """
    told = stated_code_sizes(text) or [*_added_sizes(text)]
    return max((size for size in _sizes_of(*_texts_of(script)) if size in told), default=None) if told else None


_MODEL, _TOTAL = "Serialized model", "Total submission size"
_SUM = re.compile(rf"^\s{{0,8}}({_MODEL}|{_TOTAL})([^:\n]{{0,60}}): ([0-9]{{1,12}}) bytes\s{{0,3}}$")


def _added_sizes(text: str) -> Iterator[int]:
    if _TOTAL not in text or _MODEL not in text:
        return
    before: re.Match[str] | None = None
    for line in text.split("\n"):
        found = _SUM.match(line) if "bytes" in line[-8:] else None
        if found is not None and before is not None and found[1] == _TOTAL and before[1] == _MODEL:
            yield from [int(found[3]) - int(before[3])] if found[2] == before[2] else []
        before = found


def _texts_of(script: Path) -> tuple[str, str]:
    """A script's source, and its text as it lies there, which may be packed."""
    read = read_text(script, script.name)
    is_marked = any(note.kind is NoteKind.ENCODING for note in read.notes)
    return decode_source(script).text, f"{_MARK}{read.text}" if is_marked else read.text


_MARK = "\ufeff"  # a byte-order mark, which is a character to who reads the script as UTF-8


def _sizes_of(source: str, written: str, *, any_blanks: bool = False) -> set[int]:
    """The sizes of a script in bytes and characters, packed or not, however its lines end.

    A byte-order mark at the start and blank lines at the end count or do not; any_blanks: or in part, with blanks of
    every kind.
    """
    sizes: set[int] = set()
    texts = {source, written, written.removeprefix(_MARK)}
    for each in texts | {text.replace("\r\n", "\n") for text in texts - {source}}:
        bare = each.rstrip(None if any_blanks else "\n")
        apart = len(each) - len(bare)
        blanks = range(max(1, apart) + 1) if any_blanks else (0, apart)
        sizes |= {size + more for size in (len(bare), len(bare.encode("utf-8", "replace"))) for more in blanks}
    return sizes
