"""BPB501: a record that gives sizes of one network packed in several ways, of which a log prints one over the cap."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from bpb_harness.auditing import codes
from bpb_harness.auditing.checks.packed_over_cap import whole_numbers
from bpb_harness.auditing.evidence import Evidence
from bpb_harness.auditing.said import text_of_log
from bpb_harness.claim import Printed
from bpb_harness.findings import Finding, Severity, first_of

_MAX_SHOWN = 3


def of_several_packings(evidence: Evidence, over: Sequence[Printed], cap: int) -> Finding | None:
    """What to say instead of sizes over the cap, where the record gives them beside others that are within it.

    Args:
        evidence: the claim and its record.
        over: sizes that its logs print, each over the cap.
        cap: what the rules allow, in bytes.

    Returns:
        None where the record does not give them all, or no other.
    """
    given = evidence.claim.packing_bytes
    within = [size for size in given if size.value <= cap]
    if not over or not within or not {size.value for size in over} <= {size.value for size in given}:
        return None
    printed: set[int] = set()
    for log in evidence.claim_logs or evidence.claim.logs:
        printed |= whole_numbers(text_of_log(log).split("\n"), (0, inf))
    sizes = f"{over[0].value:,.0f} bytes ({over[0].source})"
    others = first_of([f"{size.value:,.0f} ({size.source.key})" for size in within], _MAX_SHOWN)
    told = "" if any(int(size.value) in printed for size in within) else "; no log of the claim prints any of these"
    message = (
        f"a log tells a packing of {sizes}, over the cap of {cap:,}; {within[0].source.file} gives sizes of others, "
        f"within it: {others}{told}"
    )
    return codes.OVER_CAP.finding(message, severity=Severity.INFORMS, cap=cap, sizes=[size.value for size in within])
