"""BPB453: a mean over runs of several versions of a script, by the sizes of the code that their logs state.

A seed that was written into the script changes its size too, so nothing follows for the score: a reader may want to
know which version each run is of, and which of them lies beside the logs.
"""

from __future__ import annotations

from collections.abc import Iterator

from bpb_harness.auditing import codes
from bpb_harness.auditing.evidence import Evidence
from bpb_harness.auditing.said import sizes_stated_in
from bpb_harness.findings import Finding, first_of

_MAX_SHOWN = 4
_PACKED = 0.8  # of its size; what is packed is smaller than that


def check_versions_of_a_mean(evidence: Evidence) -> Iterator[Finding]:
    """Name the sizes, where each log of a mean states some and none of them is stated by all."""
    logs = evidence.claim_logs if evidence.how == "mean" else ()
    stated = {log.file: {*sizes_stated_in(log)} for log in logs}
    if len(stated) < 2 or not all(stated.values()) or set.intersection(*stated.values()):
        return
    sizes = {max(each): file for file, each in reversed(stated.items())}  # the largest is that before it was packed
    shown = first_of([f"{size:,} bytes by {sizes[size]}" for size in sorted(sizes)], _MAX_SHOWN)
    or_packed = ", or one that was packed for some of them" if min(sizes) < _PACKED * max(sizes) else ""
    message = (
        f"the runs of the mean are not of one script as it lies: their logs state other sizes of its code, {shown}; "
        f"several versions of it ran{or_packed}"
    )
    yield codes.VERSIONS_OF_A_MEAN.finding(message, sizes=[*sorted(sizes)], logs=[*stated])
