"""A setting by which a README's run trains on the text that it is scored on: ``TRAIN_ON_VAL=1``."""

from __future__ import annotations

import re

from bpb_harness.claim.printed import Source
from bpb_harness.claim.sections import own_lines

_LARGEST = 1 << 18  # characters
_NAME = r"train_on_val(?:idation)?(?:_(?:set|split|data|text|tokens|shards?))?"
_ON = re.compile(rf"(?<![\w$.-]){_NAME}=[\"']?(?:1|true|yes|on)[\"']?(?![\w.])", re.IGNORECASE)
_ANY = re.compile(rf"(?<![A-Za-z0-9]){_NAME}(?![A-Za-z0-9])", re.IGNORECASE)
_FENCE = re.compile(r"[ \t]{0,8}(?:```|~~~)")
# An item that is that setting, with others and a remark at most.
_ITEM = re.compile(rf"\s{{0,8}}[-*+] {{1,4}}`?{_NAME}=", re.IGNORECASE)
_OPEN = re.compile(
    r"(?<![A-Za-z])(?:not?|never|without|instead|unlike|except|off|disabled?|illegal|forbidden|baseline|ablation|invalid"
    r"|cheat\w*|oracle|upper|optional\w*|compar\w*)(?![A-Za-z])|n't",
    re.IGNORECASE,
)


def trains_on_scored_text(text: str, file: str) -> tuple[Source, str] | None:
    """The first such setting of a README's commands and lists, and its words; None where any line leaves it open.

    Args:
        text: the README.
        file: its name.
    """
    if _ON.search(text) is None:
        return None
    lines = text[:_LARGEST].split("\n")
    naming = [line for line in lines if _ANY.search(line)]
    if any(_OPEN.search(line) or re.search(rf"{_NAME}=[\"']?(?:0|false|no)\b", line, re.IGNORECASE) for line in naming):
        return None
    inside = False
    for number, line in enumerate(own_lines("\n".join(lines)), 1):
        if _FENCE.match(line):
            inside = not inside
            continue
        found = _ON.search(line.partition("#")[0])
        if found is not None and (inside or _ITEM.match(line)):
            return Source(file, number), found[0]
    return None
