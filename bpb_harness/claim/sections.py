"""Which lines of a README are of the claimed run: none of sections about a baseline, ablations, changes or a trial."""

from __future__ import annotations

import re

_HEADING = re.compile(r"(?P<level>#{1,6}) +(?P<words>\S.{0,200})")
_FENCE = re.compile(r"[ \t]{0,8}(?:```|~~~)")
_WORDS_OF_ANOTHER = (
    r"baselines?|ablat\w*|prev\w*|prior|earlier|future|next|todo|plan\w*|tried|attempt\w*|fail\w*|negative|reject\w*"
    r"|didn\w*|alternat\w*|optional\w*|variants?|diff\w*|deltas?|chang\w*|vs|versus|compar\w*|histor\w*|sweeps?"
    r"|controls?|legacy|old\w*|other|experiment\w*|explor\w*|instead|unlike"
)
_WORDS_LEFT_OPEN = (
    r"smoke|sanity|debug\w*|quick|proxy|toy|local\w*|mlx|mac|not|origin\w*|reference|search\w*|tun(?:e|ed|ing)|upstream"
    r"|parent|lineage|credits?|before|example|usage|would|pending|target\w*|propos\w*|intend\w*|launch\w*|competition"
    r"|scal\w*|eval\w*|stage|phase|step [0-9]"
)
OF_ANOTHER = re.compile(rf"(?<![a-z])(?:{_WORDS_OF_ANOTHER})(?![a-z])", re.IGNORECASE)
# And words that leave open of which run is spoken.
OF_ANOTHER_OR_OPEN = re.compile(rf"(?<![a-z])(?:{_WORDS_OF_ANOTHER}|{_WORDS_LEFT_OPEN})(?![a-z])", re.IGNORECASE)


def own_lines(text: str, of_another: re.Pattern[str], *, with_words_before: bool = False) -> list[str]:
    """The lines of a README; those of sections, and behind comments in fences, of something else are left empty.

    Args:
        text: the README.
        of_another: words of headings and comments that say so; a title's are of all of it.
        with_words_before: whether what is said in front of a list, a table or a fence counts too.
    """
    kept: list[str] = []
    above: list[tuple[int, bool]] = []  # headings: how deep, and whether they are of something else
    said = ""  # the last line of words in front of a list, a table or a fence
    comment = ""  # the last one in a fence
    inside = is_first = False
    for line in text.split("\n"):
        heading = None if inside else _HEADING.match(line)
        if heading is not None:
            level = len(heading["level"])
            above = [each for each in above if each[0] < level]
            is_title, is_first = not is_first, True
            above.append((level, not is_title and of_another.search(heading["words"]) is not None))
            said = ""
        is_fence = _FENCE.match(line) is not None
        if not inside and not is_fence and line.strip() and line.lstrip()[:1] not in "|-*+#":
            said = line
        if is_fence:
            inside, comment = not inside, ""
        elif inside and line.lstrip().startswith("#"):
            comment = line
        words = (said if with_words_before else "", comment)
        is_other = any(other for _, other in above) or any(map(of_another.search, words))
        kept.append("" if is_other and not is_fence else line)
    return kept
