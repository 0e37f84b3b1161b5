"""BPB217: hints in the order of the file, scores by the documents' lengths, and training on what was scored in between.

Decided by lines of the log: what counts the hints is often no Python. The scripts only excuse, where they begin the
counts anew at each document.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from bpb_harness.auditing import codes
from bpb_harness.auditing.evidence import Evidence
from bpb_harness.auditing.said import text_of_log, texts_of_scripts
from bpb_harness.claim import LogRecord, ScoreLine
from bpb_harness.claim.scoring_order import OrdersTold
from bpb_harness.findings import Finding

_DOCUMENT = re.compile(r"bos|eos|doc|boundar|== ?1\b", re.IGNORECASE)
_EACH = re.compile(r"^[ \t]*for\b[^\n]{0,120}\bdocs?\w*[^\n]{0,120}:[ \t]*$", re.IGNORECASE | re.MULTILINE)
_RESET = re.compile(r"(?<![.\w])([\w.]{0,60}\b(?:reset|clear)\w{0,40})\(", re.IGNORECASE)
_MADE = re.compile(
    r"(?<![.\w])(\w{0,40}(?:state|hint|gram|count|table)\w{0,40}) ?= ?(?:\w{1,60}\(|\{\})", re.IGNORECASE
)
_SET_TO = re.compile(r"reset_(?:at_|on_|per_|each_)?(?:bos|doc|boundar)", re.IGNORECASE)
_NEAR, _CLOSE = 4, 320  # lines, and characters, from where a document begins
# What is begun anew at each document beside the counts, and says nothing of them.
_OTHER = re.compile(
    r"lora|opt|adapt|timer|clock|peak|memory|meter|stats|seed|grad|dynamo|param|model|weight|network|buffer|kv|loss",
    re.IGNORECASE,
)
_COMMENT = re.compile(r"(?m)#[^\n]*$")
_OFF = re.compile(
    r"(?=.*(?:hint|tilt|gram)).*(?:\b(?:disabled|off|unused|skipped|dropped)\b"
    r"|\b(?:boost|beta|alpha|weight|applied)\s?[=:]\s?0(?:\.0*)?(?![.\d]))",
    re.IGNORECASE,
)


def check_two_orders(evidence: Evidence) -> Iterator[Finding]:
    """The first score of the claim that comes of two orders."""
    lines = {(line.bpb.source.file, line.run): line for line in evidence.lines}
    found = [
        told
        for log in evidence.claim_logs
        for told in log.orders
        if (line := lines.get((log.file, told.run))) is not None and _comes_of(log, told, line)
    ]
    if not found or any(map(_begins_anew, texts_of_scripts(evidence.claim.scripts))):
        return
    told = found[0]
    message = (
        f"{told.hints} counts {told.num_hints:,} hints of one pass over {told.num_targets:,} tokens, before the "
        f"documents are scored by their length ({told.first} to line {told.last.line}), by a network that is trained "
        f"in between on those that were scored ({told.trained}). Unless that pass goes by length too, or begins anew "
        "at each document, some document is scored by a network that was trained on another one, whose hints came of "
        "the first: neither can be decoded before the other, and the sum is the length of no code"
    )
    yield codes.TWO_ORDERS.finding(
        message,
        place=str(told.hints),
        missing="a score whose hints, training and scoring go through the documents in one order, or without the hints",
    )


def _comes_of(log: LogRecord, told: OrdersTold, line: ScoreLine) -> bool:
    """Whether a score is printed behind the documents that are told of, and not before them too, with hints in use."""
    first, last = told.first.line or 0, told.last.line or 0
    if (line.bpb.source.line or 0) <= last:
        return False
    before = (each.bpb for each in log.lines if each.run == told.run and (each.bpb.source.line or 0) < first)
    if any(abs(each.value - line.bpb.value) <= max(each.half_unit, line.bpb.half_unit) * 1.01 for each in before):
        return False
    between = text_of_log(log).split("\n")[told.hints.line or 0 : first - 1]
    return not any(map(_OFF.match, between))


def _begins_anew(script: str) -> bool:
    """Whether a script begins counts anew at each document, as far as its words tell."""
    text = _COMMENT.sub("", script)
    if _SET_TO.search(text):
        return True
    for begun, what in ((_DOCUMENT, _RESET), (_EACH, _MADE)):
        for found in begun.finditer(text):
            near = "\n".join(text[found.start() : found.start() + _CLOSE].split("\n")[:_NEAR])
            if not all(map(_OTHER.search, what.findall(near))):
                return True
    return False
