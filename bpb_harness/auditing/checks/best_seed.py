"""BPB305: is the score the best of several seeds, and does the record call it their mean?"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import combinations

from bpb_harness.auditing import codes
from bpb_harness.auditing.evidence import Evidence, Ratio, mean_of_seeds, ratio_of
from bpb_harness.claim import Printed, Readme
from bpb_harness.findings import Finding, Json, Severity


def check_best_seed(evidence: Evidence) -> list[Finding]:
    """A score of one seed, where the record lists more of that score, or their logs print them."""
    score, listed = evidence.claim.score, evidence.claim.seed_scores
    if score is None:
        return []
    if (found := _best_of(score, listed.get(score.name, {}))) is not None:
        where = ""
    elif (found := _best_of(score, evidence.claim.runs_beside)) is not None:
        listed_in = next(iter(evidence.claim.runs_beside.values())).source
        where = f", by {listed_in.file} ({(listed_in.key or '').rsplit('.', 2)[0]})"
    elif (found := _best_of(score, _ends_of_logs(evidence))) is not None:
        label = evidence.lines[0].label
        where = f", by {label!r} in their logs" if label else ", by what their logs print"
    else:
        return _said_to_be_best(evidence)
    seed, mean, num_seeds = found
    message = f"the score is that of the best of {num_seeds} seeds ({seed}){where}; their mean is {mean:.5f}"
    facts: dict[str, Json] = {"seed": seed, "mean": mean, "num_seeds": num_seeds}
    words, file = evidence.claim.says_mean, score.source.file
    called = None if words is not None else _called_a_mean(evidence.claim.readme, score, mean, num_seeds)
    if words is None and called is None:  # or gives the mean beside it, in numbers of its own
        return [codes.BEST_SEED.finding(message, facts=facts)]
    if called is not None:
        message, file = f"{message}, and {called} calls it the mean of {num_seeds}", called.rpartition(":")[0]
    else:
        message += f", and {file} calls it {words!r}"
    missing = f"that mean as the claim, or words in {file} that say whose score it is"
    return [codes.BEST_SEED.finding(message, severity=Severity.WARNS, facts=facts, missing=missing)]


def _said_to_be_best(evidence: Evidence) -> list[Finding]:
    """What the record itself calls the best of its seeds: a line that names the seed of the claim's log."""
    log = evidence.log_of(evidence.lines[0]) if evidence.how == "line" and len(evidence.lines) == 1 else None
    readme, score = evidence.claim.readme, evidence.claim.score
    if log is None or log.seed is None or score is None:
        return []
    said = [(str(place), text) for place, text in evidence.claim.said]
    if readme is not None:
        said += [(f"{readme.file}:{number}", line) for number, line in enumerate(readme.text.split("\n"), 1)]
    for place, text in said:
        for sentence in re.split(r"(?<=[.;!?])\s", text[:_LONGEST_SAID]):
            named = _BEST.search(sentence)
            if named is not None and (named["seed"] or named["of"]) == log.seed and not _OF_A_MEAN.search(sentence):
                message = f"the score is that of the best of several seeds ({log.seed}), as {place} says: '{named[0]}'"
                return [codes.BEST_SEED.finding(message, seed=log.seed, place=place)]
    return []


_LONGEST_SAID = 4_000
_BEST = re.compile(
    r"(?<![a-z])(?<!not )(?<!not the )best(?![a-z])(?:[^.;!?\n]{0,60}?(?<![a-z])(?:from|of|by|with|is|was|:) |[ -])"
    r"(?:the )?seed[ :=-]{0,3}(?P<seed>[0-9]{1,10})(?![0-9.])"
    r"|(?<![a-z])seed[ :=-]{0,3}(?P<of>[0-9]{1,10})(?: |\s?\()(?:is |was )?(?:the )?best(?: of| seed|\))",
    re.IGNORECASE,
)
# Another quantity's or setting's best, or no score's.
_OF_A_MEAN = re.compile(
    r"(?<![a-z])(?:mean|average|avg|worst|config\w*|(?:hyper-?)?param\w*|settings?|recipe|rates?|lr"
    r"|schedule|step|epoch|trial|time|all seeds)(?![a-z])",
    re.IGNORECASE,
)


def _called_a_mean(readme: Readme | None, score: Printed, mean: float, num_seeds: int) -> str | None:
    """The line of a README that gives the score alone, cut or rounded, and calls it the mean of so many seeds."""
    for number, line in enumerate(readme.text.split("\n"), 1) if readme is not None else ():
        called = _MEAN_OF.search(line[:_LONGEST])
        given = _NUMBER.findall(line[:_LONGEST])
        if called is None or int(called["n"] or called["of"]) != num_seeds or len(given) != 1 or _OF_ONE.search(line):
            continue
        unit = 10.0 ** -len(given[0].partition(".")[2])
        if abs(float(given[0]) - score.value) < unit < abs(float(given[0]) - mean) - unit:
            return f"{readme.file}:{number}" if readme is not None else None
    return None


_LONGEST = 400
_NUMBER = re.compile(r"(?<![0-9.])[0-9]{1,2}\.[0-9]{4,16}(?![0-9])")
_MEAN_OF = re.compile(
    r"(?<![a-z0-9])(?:(?P<n>[0-9]{1,2})[- ](?:seed|run)s?[- ](?:mean|average)"
    r"|(?:mean|average) (?:of|over) (?P<of>[0-9]{1,2}) (?:seed|run)s)(?![a-z])",
    re.IGNORECASE,
)
# Whose score it is, or that their mean is another number, or is still to come.
_OF_ONE = re.compile(
    r"(?<![a-z])(?:no|not|best|seed [0-9]|below|above|pending|than|vs|without|single (?:run|seed)|one seed|will"
    r"|follows?|later|todo|tbd|soon|progress|planned|needs?|needed|missing|lacks?|await(?:s|ing)?|instead|rather|worse|higher"
    r"|lower)(?![a-z])",
    re.IGNORECASE,
)


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
