"""BPB305: is the score the best of several seeds, and does the record call it their mean?"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

from bpb_harness.auditing import codes
from bpb_harness.auditing.evidence import Evidence, Ratio, mean_of_seeds, ratio_of
from bpb_harness.claim import Printed
from bpb_harness.findings import Finding, Json, Severity


def check_best_seed(evidence: Evidence) -> list[Finding]:
    """A score of one seed, where the record lists more of that score, or their logs print them."""
    score, listed = evidence.claim.score, evidence.claim.seed_scores
    if score is None:
        return []
    if (found := _best_of(score, listed.get(score.name, {}))) is not None:
        where = ""
    elif (found := _best_of(score, _ends_of_logs(evidence))) is not None:
        label = evidence.lines[0].label
        where = f", by {label!r} in their logs" if label else ", by what their logs print"
    else:
        return []
    seed, mean, num_seeds = found
    message = f"the score is that of the best of {num_seeds} seeds ({seed}){where}; their mean is {mean:.5f}"
    facts: dict[str, Json] = {"seed": seed, "mean": mean, "num_seeds": num_seeds}
    words = evidence.claim.says_mean
    if words is None:  # or gives the mean beside it, in numbers of its own
        return [codes.BEST_SEED.finding(message, facts=facts)]
    message += f", and {score.source.file} calls it {words!r}"
    missing = f"that mean as the claim, or words in {score.source.file} that say whose score it is"
    return [codes.BEST_SEED.finding(message, severity=Severity.WARNS, facts=facts, missing=missing)]


def _best_of(score: Printed, scores: Mapping[str, Printed]) -> tuple[str, float, int] | None:
    """The seed whose score is the claim, where none is better and the mean is another; that mean, and of how many."""
    if len(scores) < 2:
        return None
    seed, mean = min(scores, key=lambda each: scores[each].value), mean_of_seeds(scores)
    is_best = score.agrees_with(scores[seed].value) and not score.agrees_with(mean)
    return (seed, mean, len(scores)) if is_best else None


def _ends_of_logs(evidence: Evidence) -> dict[str, Printed]:
    """What the logs end with that print the claim's line, by seed; nothing where a seed has two, or none is told.

    A log of no seed that prints the scores of others alone is made of these, and tells of no run of its own. Nor is
    anything averaged of lines whose losses and scores are not in one ratio: they divide by other bytes, or are wrong.
    """
    if evidence.how != "line":
        return {}
    label, ends, unnamed = evidence.lines[0].label, dict[str, Printed](), set[float]()
    ratios: list[Ratio] = []
    for log in evidence.claim.logs:
        lines = [line for line in log.lines if line.label == label and not line.is_training_step]
        alike = [line.bpb for line in lines]
        ratios += [ratio for line in lines[-1:] if (ratio := ratio_of(line)) is not None]
        if alike and log.seed is None:
            unnamed |= {bpb.value for bpb in alike}
        elif alike and log.seed is not None:
            if log.seed in ends and ends[log.seed].value != alike[-1].value:
                return {}
            ends[log.seed] = alike[-1]
    is_one = all(one.agrees_with(other, 0.0) for one, other in combinations(ratios, 2))
    return ends if is_one and unnamed <= {bpb.value for bpb in ends.values()} else {}
