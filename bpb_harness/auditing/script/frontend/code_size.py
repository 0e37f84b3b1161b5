"""The size of the script that ran, where a log states it, held against the scripts that lie beside it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from bpb_harness.auditing.script.frontend.source import decode_source
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


def foreign_code_size(text: str, scripts: Sequence[Path]) -> int | None:
    """The size of the code that a log states, if no script has it: in bytes or characters, however its lines end.

    Of several, as of the code before and after it was packed, the largest.

    Args:
        text: the log.
        scripts: what may have written it.

    Raises:
        ClaimError: if one of them cannot be read.
    """
    stated = stated_code_sizes(text)
    if not stated:
        return None
    sizes: set[int] = set()
    for script in scripts:
        source, written = decode_source(script).text, read_text(script, script.name).text
        for each in (source, written, written.replace("\r\n", "\n")):
            for same in (each, each.rstrip("\n")):
                sizes |= {len(same), len(same.encode("utf-8", "replace"))}
    return max(stated) if sizes.isdisjoint(stated) else None
