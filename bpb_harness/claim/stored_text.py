"""What a log tells of tokens of the text that are stored beside the network, and are not predicted.

``paid_prefix_tokens:1040297 paid_prefix_bytes:768000`` and ``paid_prefix:loaded 6,200,000 tokens from prefix.xz
(4,240,472 bytes)``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from bpb_harness.claim.printed import Source

_LONGEST_LINE = 1_000
_STORED = re.compile(
    r"(?<![a-z])(?:(?:paid|stored|memori[sz]ed)[-_ ]?prefix"
    r"|(?:stored|memori[sz]ed)[-_ ](?:val|valid|validation|eval|test)[-_ ](?:tokens|targets|text))(?![a-z])"
)
_COUNT = r"(?P<{0}>[1-9][0-9,_]{{0,17}})(?![0-9.a-z%])"
_TOKENS = re.compile(
    rf"tokens\s?[:=]\s?{_COUNT.format('named')}"
    rf"|(?<![0-9.,_a-z:=]){_COUNT.format('counted')} (?:val(?:idation)? )?tokens\b"
)
_BYTES = re.compile(rf"bytes\s?[:=]\s?{_COUNT.format('named')}|(?<![0-9.,_a-z:=]){_COUNT.format('counted')} bytes\b")
_OWN_BYTES = re.compile(rf"(?:prefix|stored)[-_ ]bytes\s?[:=]\s?{_COUNT.format('named')}(?P<counted>)")


@dataclass(frozen=True)
class StoredText:
    """A line that says how many tokens of the text are stored beside the network.

    Attributes:
        words: the line's words for it.
        source: where it stands.
        run: which run of the log.
        num_tokens: so many.
        num_bytes: what they take up there; None where it does not say.
    """

    words: str
    source: Source
    run: int
    num_tokens: int
    num_bytes: int | None = None


def stored_told(line: str, source: Source, run: int) -> StoredText | None:
    """What a line of a log says of stored tokens; None where it says nothing of them, or that there are none.

    Args:
        line: the line, in small letters.
        source: where it stands.
        run: which run of the log.
    """
    line = line[:_LONGEST_LINE]
    begin = _STORED.search(line)
    tokens = _TOKENS.search(line, begin.start()) if begin is not None else None
    if begin is None or tokens is None:
        return None
    size = _OWN_BYTES.search(line, begin.start()) or _BYTES.search(line, begin.start())
    words = line[begin.start() : tokens.end()]
    words = words if tokens["named"] is None else words.split()[-1]
    return StoredText(words, source, run, _count(tokens), None if size is None else _count(size))


def _count(found: re.Match[str]) -> int:
    return int(re.sub("[,_]", "", found["named"] or found["counted"]))
