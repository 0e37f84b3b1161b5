"""Which lines of a README are of the claimed run: none of sections about a baseline, ablations, changes or a trial."""

from __future__ import annotations

import re

_HEADING = re.compile(r"(?P<level>#{1,6}) +(?P<words>\S.{0,200})")
_FENCE = re.compile(r"[ \t]{0,8}(?:```|~~~)")
_WORDS = (
    r"baselines?|ablat\w*|prev\w*|prior|earlier|future|next|todo|plan\w*|tried|attempt\w*|fail\w*|negative|reject\w*"
    r"|didn\w*|alternat\w*|optional\w*|variants?|diff\w*|deltas?|chang\w*|vs|versus|compar\w*|histor\w*|sweeps?"
    r"|controls?|legacy|old\w*|other|experiment\w*|explor\w*|instead|unlike"
)
_OF_ANOTHER = re.compile(rf"(?<![a-z])(?:{_WORDS})(?![a-z])", re.IGNORECASE)


def own_lines(text: str) -> list[str]:
    """The lines of a README; those of sections, and behind comments in fences, of something else are left empty.

    The words of its title are of all of it.

    Args:
        text: the README.
    """
    kept: list[str] = []
    above: list[tuple[int, bool]] = []  # headings: how deep, and whether they are of something else
    comment = ""  # the last one in a fence
    inside = is_first = False
    for line in text.split("\n"):
        heading = None if inside else _HEADING.match(line)
        if heading is not None:
            level = len(heading["level"])
            above = [each for each in above if each[0] < level]
            is_title, is_first = not is_first, True
            above.append((level, not is_title and _OF_ANOTHER.search(heading["words"]) is not None))
        is_fence = _FENCE.match(line) is not None
        if is_fence:
            inside, comment = not inside, ""
        elif inside and line.lstrip().startswith("#"):
            comment = line
        is_other = any(other for _, other in above) or _OF_ANOTHER.search(comment) is not None
        kept.append("" if is_other and not is_fence else line)
    return kept
