"""BPB429: a log whose only score to be claimed is a candidate of a search that ended in an error.

Nobody claims it: the run was to print a score of its own behind the search, and did not come to that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from bpb_harness.auditing import codes
from bpb_harness.auditing.evidence import Evidence
from bpb_harness.auditing.said import text_of
from bpb_harness.errors import ClaimError
from bpb_harness.findings import Finding

_CANDIDATE = re.compile(r"(?<![a-z])(?:search|sweep|(?:re)*refine|grid|trial|candidate)(?![a-z])", re.IGNORECASE)
_ENDED = re.compile(
    r"Traceback \(most recent call last\)|\bdeath signal\b|\bSIG(?:TERM|KILL|INT|SEGV)\b|^Killed$|\bout of memory\b",
    re.MULTILINE,
)


def check_cut_short(evidence: Evidence) -> Iterator[Finding]:
    """The last score of a log that nobody claims otherwise, a candidate's, with an error behind it."""
    if evidence.claim.claimed_in != "log" or len(evidence.lines) != 1:
        return
    (line,) = evidence.lines
    log, place = evidence.log_of(line), line.bpb.source.line
    if log is None or log.path is None or place is None or not _CANDIDATE.search(line.label.partition("{")[0]):
        return
    if any((other.bpb.source.line or 0) > place for other in log.lines):
        return
    try:
        behind = text_of(log.path, log.file).split("\n")[place:]
    except ClaimError:
        return
    number = next((number for number, text in enumerate(behind, place + 1) if _ENDED.search(text)), None)
    if number is None:
        return
    message = (
        f"{line.bpb.source} is a candidate of a search by its name, {line.label!r}, and the run ends in an error in "
        f"line {number}, with no score behind the search: nothing says that it is the score of this run"
    )
    yield codes.CUT_SHORT.finding(
        message, place=str(line.bpb.source), ended_at=number, missing="the log of a whole run"
    )
