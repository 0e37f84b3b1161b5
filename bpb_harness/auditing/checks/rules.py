"""BPB5xx: the contest's rules. They concern the entry, not the number, and never refute a score."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from bpb_harness.auditing import codes
from bpb_harness.auditing.evidence import Evidence
from bpb_harness.claim import Printed
from bpb_harness.findings import Finding
from bpb_harness.units import bits_to_nats

ARTIFACT_CAP_BYTES = 16_000_000
REQUIRED_GAIN_NATS = 0.005
REQUIRED_P = 0.01


def check_rules(evidence: Evidence, baseline: Evidence | None) -> Iterator[Finding]:
    """Artifact size, and with a baseline the rule of significance."""
    yield from _artifact(evidence)
    if baseline is not None and evidence.claim.score is not None:
        yield from _significance(evidence, baseline)


def _artifact(evidence: Evidence) -> Iterator[Finding]:
    sizes = [*evidence.claim.artifact_bytes] or [*_sizes_in_logs(evidence)]
    if not sizes:
        message = "no artifact size is stated; the cap is 16,000,000 bytes"
        yield codes.NO_SIZE.finding(message, cap=ARTIFACT_CAP_BYTES)
        return
    over = [size for size in sizes if size.value > ARTIFACT_CAP_BYTES]
    if over:
        listed = ", ".join(f"{size.value:,.0f} ({size.source})" for size in over[:4])
        message = f"the artifact is over the cap of 16,000,000 bytes: {listed}"
        yield codes.OVER_CAP.finding(message, cap=ARTIFACT_CAP_BYTES, sizes=[size.value for size in over])


def _sizes_in_logs(evidence: Evidence) -> Iterator[Printed]:
    # A log prints the size before and after compression; what is submitted is the smaller.
    for log in evidence.claim_logs or evidence.claim.logs:
        if log.artifact_bytes:
            yield min(log.artifact_bytes, key=lambda size: size.value)


def _significance(evidence: Evidence, baseline: Evidence) -> Iterator[Finding]:
    """Welch's one-sided test that the gain in nats per token is more than 0.005."""
    mine, theirs = nats_of_seeds(evidence), nats_of_seeds(baseline)
    names = f"{evidence.claim.name} against {baseline.claim.name}"
    if len(mine) < 2 or len(theirs) < 2:
        message = f"{names}: {len(mine)} and {len(theirs)} seeds with a known loss; the test needs two or more of each"
        yield codes.SIGNIFICANCE_UNTESTABLE.finding(message, num_seeds=len(mine), num_baseline_seeds=len(theirs))
        return
    gain = math.fsum(theirs) / len(theirs) - math.fsum(mine) / len(mine)
    p = welch_p_value(mine, theirs, REQUIRED_GAIN_NATS)
    numbers = f"{gain:+.5f} nats per token, p = {p:.2g} that it is 0.005 or less ({len(mine)} and {len(theirs)} seeds)"
    rule = codes.SIGNIFICANT if p < REQUIRED_P else codes.NOT_SIGNIFICANT
    said = "beats the baseline significantly" if p < REQUIRED_P else "does not beat the baseline by the contest's rule"
    yield rule.finding(f"{names}: {said}: {numbers}", gain_nats=gain, p_value=p, required_gain_nats=REQUIRED_GAIN_NATS)


def nats_of_seeds(evidence: Evidence) -> list[float]:
    """Nats per token of each seed: from the claim's log lines, else scores of the seeds times bytes per token."""
    losses = [
        line.nats_per_token.value for line in evidence.lines if line.nats_per_token is not None and line.same_estimator
    ]
    if len(losses) >= 2:
        return losses
    score = evidence.claim.score
    full = evidence.full
    if score is None or full is None:
        return losses
    tables = evidence.claim.seed_scores
    scores = tables.get(score.name) or next(
        (table for table in tables.values() if score.agrees_with(sum(p.value for p in table.values()) / len(table))), {}
    )
    if len(scores) >= 2:
        return [bits_to_nats(printed.value) * full.bytes_per_token for printed in scores.values()]
    if len(evidence.lines) >= 2:
        return [bits_to_nats(line.bpb.value) * full.bytes_per_token for line in evidence.lines]
    return losses


def welch_p_value(mine: Sequence[float], theirs: Sequence[float], required_gain: float) -> float:
    """One-sided p-value of Welch's test that ``mean(theirs) - mean(mine)`` is more than ``required_gain``.

    Args:
        mine: losses of the claim, two or more.
        theirs: losses of the baseline, two or more.
        required_gain: in the same unit.
    """
    gain = math.fsum(theirs) / len(theirs) - math.fsum(mine) / len(mine) - required_gain
    if len(set(mine)) == 1 and len(set(theirs)) == 1:
        return 0.0 if gain > 0.0 else 1.0
    from scipy import stats

    shifted = [loss + required_gain for loss in mine]
    return float(stats.ttest_ind(theirs, shifted, equal_var=False, alternative="greater").pvalue)
