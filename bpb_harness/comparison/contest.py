"""The rule of parameter-golf: by what a record must beat the last, over runs from several seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from bpb_harness.errors import UsageError
from bpb_harness.rules import shipped_pack

CONTEST = "parameter-golf"


@final
@dataclass(frozen=True)
class ContestRule:
    """Welch's test over runs.

    Attributes:
        baseline_nats_per_token: mean over the runs of the baseline.
        candidate_nats_per_token: mean over the runs of the candidate.
        num_baseline: runs.
        num_candidate: runs.
        margin_nats: what the candidate must be better by.
        p: one-sided, of its being better by no more than that.
        level: p must lie below it.
        holds: whether it does.
    """

    baseline_nats_per_token: float
    candidate_nats_per_token: float
    num_baseline: int
    num_candidate: int
    margin_nats: float
    p: float
    level: float
    holds: bool

    def sentence(self) -> str:
        """The outcome in words."""
        better = self.baseline_nats_per_token - self.candidate_nats_per_token
        outcome = "holds" if self.holds else "does not hold"
        return (
            f"contest's rule {outcome}: the mean of {self.num_candidate} runs is {better:.5f} nats per token below "
            f"that of {self.num_baseline} of the baseline ({self.baseline_nats_per_token:.5f}); better by no more than "
            f"{self.margin_nats} at p = {self.p:.2g} (Welch, one-sided), asked for is p < {self.level}"
        )


def contest_rule(baseline: Sequence[float], candidate: Sequence[float]) -> ContestRule:
    """Apply it to nats per token of runs.

    Raises:
        UsageError: for fewer than two runs of either, or runs that do not differ at all.
    """
    if min(len(baseline), len(candidate)) < 2:
        raise UsageError(
            "--contest-rule: runs from several seeds", seen=f"{len(baseline)} of the baseline and {len(candidate)} of "
            "the candidate", expected="two or more of each",
        )  # fmt: skip
    if np.ptp(baseline) == 0.0 and np.ptp(candidate) == 0.0:
        raise UsageError(
            "--contest-rule: runs from several seeds", seen="runs that do not differ", expected="each trained anew"
        )
    rule = shipped_pack(CONTEST).gain
    assert rule is not None
    from scipy import stats  # deferred: takes a second to import

    shifted = np.asarray(baseline) - rule.more_than
    p = float(stats.ttest_ind(shifted, candidate, equal_var=False, alternative="greater").pvalue)
    return ContestRule(
        float(np.mean(baseline)), float(np.mean(candidate)), len(baseline), len(candidate), rule.more_than, p,
        rule.p_below, p < rule.p_below,
    )  # fmt: skip
