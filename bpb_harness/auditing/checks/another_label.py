"""BPB407: a score that the README calls one of a sliding window, where the log prints it beside that window's own."""

from __future__ import annotations

import re
from collections.abc import Iterator

from bpb_harness.auditing import codes
from bpb_harness.auditing.evidence import Evidence
from bpb_harness.claim import ScoreLine
from bpb_harness.findings import Finding, Severity

_SLIDING = re.compile(r"slid", re.IGNORECASE)
_SLIDING_WINDOW = re.compile(r"(?<![a-z])sliding[ -]window", re.IGNORECASE)
_OTHERWISE = re.compile(
    r"(?<![a-z])(?:no|not|non|without|before|pre|from|to|vs|than|gains?|adds?)(?![a-z])", re.IGNORECASE
)
_NUMBER = re.compile(r"(?<![0-9.])[0-9]{1,2}\.[0-9]{4,16}(?![0-9])")
_LONGEST, _APART = 300, 1e-3


def check_another_label(evidence: Evidence) -> Iterator[Finding]:
    """A remark: of one line of a log, and of a README that gives the score once in a line of its own."""
    readme, score = evidence.claim.readme, evidence.claim.score
    if readme is None or score is None or evidence.how != "line" or len(evidence.lines) != 1:
        return
    own = evidence.lines[0]
    sliding = _own_sliding(evidence, own)
    if sliding is None:
        return
    for number, line in enumerate(readme.text.split("\n"), 1):
        given = _NUMBER.findall(line[:_LONGEST])
        if len(given) != 1 or not _SLIDING_WINDOW.search(line) or _OTHERWISE.search(line):
            continue
        half = 0.5001 * 10.0 ** -len(given[0].partition(".")[2])
        if abs(float(given[0]) - own.bpb.value) <= half:
            message = (
                f"{readme.file}:{number} calls the score one of a sliding window, and the log prints it as "
                f"{own.label!r} ({own.bpb.source}), and as {sliding.label!r} {sliding.bpb} ({sliding.bpb.source})"
            )
            places = [str(own.bpb.source), str(sliding.bpb.source)]
            yield codes.TABLE_CONTRADICTS.finding(message, severity=Severity.INFORMS, places=[*places])
            return


def _own_sliding(evidence: Evidence, own: ScoreLine) -> ScoreLine | None:
    """The line of the same run whose label is that of a line with the word for a sliding window behind it."""
    if not own.label or _SLIDING.search(own.label):
        return None
    same = [line for line in evidence.run_of(own) if line.label.startswith(own.label) and line is not own]
    found = [line for line in same if _SLIDING.search(line.label) and abs(line.bpb.value - own.bpb.value) > _APART]
    return found[-1] if found else None
