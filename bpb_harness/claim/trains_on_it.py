"""A setting by which a README's run trains on the text that it is scored on: ``TRAIN_ON_VAL=1``."""

from __future__ import annotations

import re

from bpb_harness.claim.printed import Source
from bpb_harness.claim.sections import own_lines
from bpb_harness.claim.settings import is_of_a_trial

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
_LIST = re.compile(r"\s{0,8}(?:[-*+|]|[0-9]{1,2}[.)]) ?")
# What is said of a run that is none of the claim's, or of a setting that is refused.
_OF_A_TEST = re.compile(
    r"(?<![A-Za-z])(?:sanity|smoke|debug\w*|test|over-?fit\w*|memori[sz]\w*|would|break\w*|violat\w*|rais\w*|errors?|reject\w*"
    r"|refus\w*|guard\w*|leak\w*|cheat\w*|bound|not|never|n't|without)(?![A-Za-z])",
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
    said = above = ""  # the last words, and the last heading
    for number, line in enumerate(own_lines("\n".join(lines)), 1):
        if _FENCE.match(line):
            inside = not inside
            continue
        if not inside and line.startswith("#"):
            above, said = line, ""
        elif not inside and line.strip() and not _LIST.match(line):
            said = line
        if _ON.search(line) and any(_OF_A_TEST.search(each) for each in (above, said, line)):
            return None
        found = _ON.search(line.partition("#")[0])
        if found is not None and inside and is_of_a_trial(text, found[0].partition("=")[0]):
            return None
        if found is not None and (inside or _ITEM.match(line)):
            return Source(file, number), found[0]
    return None
