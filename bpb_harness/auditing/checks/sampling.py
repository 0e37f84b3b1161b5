"""BPB3xx: how much of the split was scored, with how many seeds, and how sure is the number?"""

from __future__ import annotations

from collections.abc import Iterator

from bpb_harness.auditing import codes
from bpb_harness.auditing.evidence import SCATTER, WHOLE_SPLIT, Evidence
from bpb_harness.claim import Printed
from bpb_harness.claim.methods import DISCRETE, MC
from bpb_harness.claim.names import FULL_SPLIT
from bpb_harness.findings import Finding, Json

_SLICE_IS_CLOSE = 0.01  # a slice's score within this of the whole split's is no other claim


def check_sampling(evidence: Evidence) -> Iterator[Finding]:
    """Coverage, seeds and standard errors."""
    if evidence.claim.score is None:
        return
    yield from _coverage(evidence)
    yield from _no_error(evidence)


def _coverage(evidence: Evidence) -> Iterator[Finding]:
    score, scored, full = evidence.claim.score, evidence.scored_tokens, evidence.full
    assert score is not None
    disclosed = evidence.claim.protocol.slice_text
    of_split = evidence.share_of_split(scored) if scored is not None else None
    if of_split is not None and of_split >= WHOLE_SPLIT:
        return
    loaded = {size for log in evidence.claim_logs for size in log.split_tokens}
    if scored in loaded and disclosed is None and (evidence.share_of_bytes or 0.0) > 1.0 + SCATTER:
        return  # more bytes than the whole split has are no part of it: check_bytes says so
    if disclosed is None and of_split is None:
        return  # nothing is said of how much was scored, or of no text whose size is known
    if disclosed is not None and scored is None and FULL_SPLIT.search(disclosed):
        return
    what = f"{scored:,} tokens" if scored is not None else f"a slice ({disclosed})"
    most = "" if full is not None else "at most "
    share = f", {most}{100.0 * of_split:.2g} % of the split" if of_split is not None else ""
    whole = _whole_split_score(evidence)
    if whole is not None and abs(whole.value / score.value - 1.0) <= _SLICE_IS_CLOSE:
        message = (
            f"the score is that of {what}{share}, and says so; the whole split's is published beside it: "
            f"{whole} ({whole.source})"
        )
        place = _whole_split_printed(evidence)
        facts: dict[str, Json] = {"full_split_at": place} if place is not None else {}
        yield codes.SLICE_WITH_FULL.finding(
            message, facts=facts, scored_tokens=scored, full_split_bpb=whole.value, slice=disclosed
        )
        return
    message = f"only {what}{share} were scored ({evidence.scored_by}), so this is no score of the whole split"
    if scored is None:
        message = f"the score is that of {what}, and no score of the whole split stands beside it"
    yield codes.SLICE.finding(
        message,
        scored_tokens=scored,
        scored_by=evidence.scored_by,
        split_tokens=full.num_tokens if full else None,
        slice=disclosed,
        missing="a score of the whole split",
    )


def _whole_split_score(evidence: Evidence) -> Printed | None:
    """A score of the whole split, of the same estimator where the record names it, nearest to the claim."""
    score = evidence.claim.score
    assert score is not None
    named = [other for other in evidence.claim.other_scores if FULL_SPLIT.search(other.name)]
    named = [other for other in named if not other.name.startswith(evidence.rules.names.seeds)] or named
    return min(named, key=lambda other: abs(other.value - score.value), default=None)


def _whole_split_printed(evidence: Evidence) -> str | None:
    """Where a log prints a score that the record calls one of the whole split, be it of one of several seeds."""
    named = [other for other in evidence.claim.other_scores if FULL_SPLIT.search(other.name)]
    lines = (line.bpb for log in evidence.claim.logs for line in log.lines if not line.is_training_step)
    return next((str(bpb.source) for bpb in lines if any(each.agrees_with(bpb.value) for each in named)), None)


def _told_runs(evidence: Evidence) -> str:
    """Whose score it is, as far as the record tells, and that nothing tells its error."""
    if evidence.lines:
        return f"the score is that of one run ({evidence.lines[0].bpb.source.file}), and no standard error is given"
    if evidence.claim.seeds:
        return f"the record names one seed ({evidence.claim.seeds[0]}), and no standard error is given"
    return "neither a second seed nor a standard error is given"


def _no_error(evidence: Evidence) -> Iterator[Finding]:
    claim = evidence.claim
    seeds = max(len(claim.seeds), len(evidence.lines), *(len(scores) for scores in claim.seed_scores.values()), 0)
    if claim.std is not None or seeds >= 2:
        return
    sampled = claim.protocol.method in (MC, DISCRETE)
    message = _told_runs(evidence) + (
        "; the score is an estimate of a bound and has a sampling error of its own" if sampled else ""
    )
    yield codes.NO_ERROR.finding(message, num_seeds=seeds or None, method=claim.protocol.method)
