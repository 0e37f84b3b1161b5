"""BPB425: the score of a network before it was packed, where the log scores nothing of what was packed behind it.

A record that says so is held back too: what is submitted, and counted in bytes, is another network than the scored one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from bpb_harness.auditing import codes
from bpb_harness.auditing.evidence import Evidence
from bpb_harness.findings import Finding

_NOT_PACKED = re.compile(r"pre[-_ ]?quant|post[-_ ]?ema", re.IGNORECASE)
_TO_BE_PACKED = re.compile(r"pre[-_ ]?quant", re.IGNORECASE)


def check_before_packing(evidence: Evidence) -> Iterator[Finding]:
    """The last score of a log, of a network that is packed behind it, or that its name says is still to be."""
    if evidence.how != "line":
        return
    (line,) = evidence.lines
    log = evidence.log_of(line)
    place = line.bpb.source
    if log is None or place.line is None or not (line.is_training_step or _NOT_PACKED.search(line.label)):
        return
    packed = next((size for size in reversed(log.packed) if (size.source.line or 0) > place.line), None)
    if any((other.bpb.source.line or 0) > place.line for other in log.lines):
        return
    if packed is not None:
        size = f"{packed.source}: {packed.name!r}"
        then = f"the network was packed after it ({size}); the log prints no score behind that"
    elif _TO_BE_PACKED.search(line.label):
        then = "the log ends with neither the size nor a score of a packed network"
    else:
        return
    message = (
        f"the score is that of {line.label or line.bpb.name!r} at {place}, and {then}, so nothing says what the packed "
        "network scores"
    )
    yield codes.BEFORE_PACKING.finding(
        message,
        place=str(place),
        packed_at=None if packed is None else str(packed.source),
        missing="a score of the packed network, read back from its file",
    )
