"""BPB428: a mean over runs whose networks have other numbers of parameters: no score of any of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from bpb_harness.auditing import codes
from bpb_harness.auditing.evidence import Evidence, is_rounded_mean
from bpb_harness.claim import Printed, ScoreLine
from bpb_harness.findings import Finding


def check_unlike_networks(evidence: Evidence) -> Iterator[Finding]:
    """Only where all runs of the mean print a number of parameters can one of them be a run of too many."""
    score = evidence.claim.score
    of_size: dict[float, list[ScoreLine]] = {}
    printed: dict[float, Printed] = {}
    for line in evidence.lines:
        size = _parameters(evidence, line)
        if size is not None:
            of_size.setdefault(size.value, []).append(line)
            printed.setdefault(size.value, size)
    if score is None or len(of_size) < 2 or _is_of_one(score, of_size):
        return
    told = ", ".join(f"{size.value:,.0f} by {size.source}" for size in printed.values())
    message = (
        f"the score is the mean of networks that differ in their number of parameters ({told}): a mean over seeds is "
        "of one network, and this one is the score of none"
    )
    missing = "the score of one of the networks, or its mean over seeds"
    yield codes.UNLIKE_NETWORKS.finding(
        message, places=[str(size.source) for size in printed.values()], missing=missing
    )


def _parameters(evidence: Evidence, line: ScoreLine) -> Printed | None:
    """The last number of parameters that the line's log prints in front of it."""
    log = next((log for log in evidence.claim_logs if log.file == line.bpb.source.file), None)
    before = [size for size in log.parameters if (size.source.line or 0) < (line.bpb.source.line or 0)] if log else []
    return before[-1] if before else None


def _is_of_one(score: Printed, of_size: Mapping[float, Sequence[ScoreLine]]) -> bool:
    """Whether the runs of one network have the mean by themselves: then another's agrees with it by chance."""
    means = [[line.bpb.value for line in lines] for lines in of_size.values() if len(lines) > 1]
    return any(score.agrees_with(sum(each) / len(each)) or is_rounded_mean(score, each) for each in means)
