"""BPB425: the score of a network before it was packed, where the log scores nothing of what was packed there or behind.

A record that says so is held back too: what is submitted, and counted in bytes, is another network than the scored one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from bpb_harness.auditing import codes
from bpb_harness.auditing.evidence import Evidence
from bpb_harness.claim import Printed, ScoreLine
from bpb_harness.findings import Finding

_NOT_PACKED = re.compile(r"pre[-_ ]?quant|post[-_ ]?ema", re.IGNORECASE)
_TO_BE_PACKED = re.compile(r"pre[-_ ]?quant", re.IGNORECASE)
_OF_PACKED = re.compile(r"round[-_ ]?trip|post[-_ ]?quant|(?<![a-z])quantized|int[0-9]|packed", re.IGNORECASE)


def check_before_packing(evidence: Evidence) -> Iterator[Finding]:
    """A score of a network that is packed behind it, or that its name says is still to be, and is not scored again."""
    if evidence.how != "line":
        return
    (line,) = evidence.lines
    log = evidence.log_of(line)
    place = line.bpb.source
    if log is None or place.line is None or not (line.is_training_step or _NOT_PACKED.search(line.label)):
        return
    if any(other.bpb.source == place and _OF_PACKED.search(other.bpb.name) for other in log.lines):
        return
    packed = [size for size in log.packed if (size.source.line or 0) > place.line]
    behind = [other for other in log.lines if (other.bpb.source.line or 0) > place.line]
    if any(not _is_before(other, packed[0] if packed else None) for other in behind):
        return
    if behind and not packed and not line.is_training_step:
        return
    so = "and does not tell what the packed network scores"
    if packed:
        size = f"{packed[-1].source}: {packed[-1].name!r}"
        then = f"the network was packed after it ({size}); the log prints no score behind that, {so}"
    elif _TO_BE_PACKED.search(line.label):
        then = f"the log ends with neither the size nor a score of a packed network, {so}"
    elif line.is_training_step and _has_no_artifact(evidence):
        then = f"the log prints neither a size nor a score of a packed network there or behind it, {so}"
    else:
        return
    message = f"the score is that of {line.label or line.bpb.name!r} at {place}, and {then}"
    yield codes.BEFORE_PACKING.finding(
        message,
        place=str(place),
        packed_at=str(packed[-1].source) if packed else None,
        missing="a score of the packed network, read back from its file",
    )


def _has_no_artifact(evidence: Evidence) -> bool:
    """Whether rules that cap an artifact are the record's own, which states no size of one, nor do its logs."""
    claim, rules = evidence.claim, evidence.rules
    is_own = claim.claimed_in != "log" or claim.readme is not None
    if {line.bpb.source.file for line in evidence.lines} & {table.file for table in claim.tables}:
        return False  # a row of a table need not be one of the training
    if rules.pack.largest_artifact is None or rules.is_assumed or not is_own:
        return False
    return not claim.artifact_bytes and not any(log.artifact_bytes or log.packed for log in claim.logs)


def _is_before(line: ScoreLine, packed: Printed | None) -> bool:
    """Whether a score is of the network in training too, before it is packed."""
    if packed is None:
        return line.is_training_step
    if (line.bpb.source.line or 0) > (packed.source.line or 0):
        return False
    return line.is_training_step or _NOT_PACKED.search(line.label) is not None
