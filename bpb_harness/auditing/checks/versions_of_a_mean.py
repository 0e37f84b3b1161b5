"""BPB453: a mean over runs of several versions of a script, or of other settings, by what their logs state.

Versions are told by the sizes of the code, and by names that one log's list of settings has and another's has not. A
seed that was written into the script changes its size too, so nothing follows for the score: a reader may want to know
which version each run is of, and which of them lies beside the logs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bpb_harness.auditing import codes
from bpb_harness.auditing.checks.listed_settings import unlike_settings
from bpb_harness.auditing.evidence import Evidence
from bpb_harness.auditing.said import sizes_stated_in
from bpb_harness.findings import Finding, first_of

_MAX_SHOWN = 4
_PACKED = 0.8  # of its size; what is packed is smaller than that


def check_versions_of_a_mean(evidence: Evidence) -> Iterator[Finding]:
    """Name the sizes, where each log of a mean states some and none is stated by all, and settings that differ."""
    logs = evidence.claim_logs if evidence.how == "mean" else ()
    at = [line.bpb.source for line in evidence.lines]
    unlike = unlike_settings(logs, {source.file: source.line for source in at if source.line is not None})
    stated = {log.file: {*sizes_stated_in(log)} for log in logs}
    is_of_sizes = len(stated) >= 2 and all(stated.values()) and not set.intersection(*stated.values())
    sizes = _by_size(stated) if is_of_sizes else {}
    if not sizes and not unlike:
        return
    settings = f"list other settings: {first_of(unlike, _MAX_SHOWN)}"
    if not sizes:
        message = f"the logs of the runs of the mean {settings}"
    else:
        shown = first_of([f"{size:,} bytes by {sizes[size]}" for size in sorted(sizes)], _MAX_SHOWN)
        or_packed = ", or one that was packed for some of them" if min(sizes) < _PACKED * max(sizes) else ""
        message = (
            f"the runs of the mean are not of one script as it lies: their logs state other sizes of its code, {shown}"
            f"; several versions of it ran{or_packed}{f'; their logs {settings}' if unlike else ''}"
        )
    yield codes.VERSIONS_OF_A_MEAN.finding(message, sizes=[*sorted(sizes)], logs=[*stated], settings=[*unlike])


def _by_size(stated: Mapping[str, set[int]]) -> dict[int, str]:
    """A log of each size of the code; the largest that it states is that before it was packed."""
    return {max(each): file for file, each in reversed([*stated.items()])}
