"""BPB432, the remark: a line of a log with foreign words in its middle, where dozens of its kind have none.

A hand puts them there, or another program that writes to the same screen; either way the log is not as the script
wrote it. Nothing follows for the score.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from bpb_harness.auditing import codes
from bpb_harness.auditing.evidence import Evidence
from bpb_harness.auditing.said import text_of_log, texts_of_scripts
from bpb_harness.findings import Finding, Severity

_STEP = re.compile(r"\s{0,8}(?:step|iter(?:ation)?)[ :=]{1,2}[0-9]", re.IGNORECASE)
_FIGURE = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_WORDS = re.compile(r"[^0-9#:=]*[A-Za-z]{3}[^0-9#:=]*")  # no name with a value of its own
_FEWEST_ALIKE, _MOST_FOREIGN, _MOST_LINES, _LONGEST = 30, 2, 20_000, 300


def check_foreign_text(evidence: Evidence) -> Iterator[Finding]:
    """Name the first line of training, in a log of the claim, that others' words stand in."""
    for log in evidence.claim_logs:
        rows = enumerate(text_of_log(log).split("\n")[:_MOST_LINES], 1)
        steps = [(number, line.rstrip()) for number, line in rows if len(line) < _LONGEST and _STEP.match(line)]
        found = [row for row in _foreign(steps) if not _is_of_a_script(row[2], evidence)]
        if found and len(found) <= _MOST_FOREIGN:
            number, line, words, alike = found[0]
            message = (
                f"`{line}` ({log.file}:{number}) has `{words}` in its middle, and {alike} lines of its kind have "
                "nothing there: put in by hand or by another program, so the log is not as the script wrote it"
            )
            yield codes.UNLIKE_ITS_SCRIPT.finding(
                message, severity=Severity.INFORMS, log=log.file, lines_of_log=[row for row, *_ in found]
            )
            return


def _is_of_a_script(words: str, evidence: Evidence) -> bool:
    """Whether a script has all of some words: it may print them in some of its lines (a warmup, a new best)."""
    programs = [*texts_of_scripts(evidence.claim.scripts)]
    each = _PLAIN.findall(words)
    return any(all(word in program for word in each) for program in programs)


_PLAIN = re.compile(r"[A-Za-z]{3,}")


def _foreign(rows: Sequence[tuple[int, str]]) -> Iterator[tuple[int, str, str, int]]:
    """Rows that are of a kind but for some words in them, with these, and how many are of that kind."""
    shapes = [_FIGURE.sub("#", row) for _, row in rows]
    counts = Counter(shapes)
    kinds = [shape for shape, count in counts.items() if count >= _FEWEST_ALIKE]
    for (number, row), shape in zip(rows, shapes, strict=True):
        for kind in kinds if counts[shape] == 1 else ():
            words = _between(shape, kind)
            if words is not None and words in row and _WORDS.fullmatch(words):
                yield number, row, words, counts[kind]
                break


def _between(shape: str, kind: str) -> str | None:
    """What a shape has more than a kind, in one place that is neither its beginning nor its end."""
    more = len(shape) - len(kind)
    same = next((place for place, letter in enumerate(kind) if shape[place] != letter), None) if more > 0 else None
    if same is None or same == 0 or shape[same + more :] != kind[same:]:
        return None
    return shape[same : same + more]
