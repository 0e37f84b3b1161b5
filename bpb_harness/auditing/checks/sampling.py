"""BPB3xx: how much of the split was scored, with how many seeds, and how sure is the number?"""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Iterator

from bpb_harness.auditing import codes
from bpb_harness.auditing.evidence import SCATTER, WHOLE_SPLIT, Evidence, rounds_to
from bpb_harness.claim import LogRecord, Printed, ScoreLine
from bpb_harness.claim.methods import DISCRETE, MC
from bpb_harness.claim.names import FULL_SPLIT
from bpb_harness.claim.stated_spread import StatedSpread, spread_told
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
    """Whose score it is, as far as the record tells, and what tells its error."""
    called = _called_a_mean(evidence)
    score, readme = evidence.claim.score, evidence.claim.readme
    spread = spread_told(readme, score) if readme is not None and score is not None else None
    if called is not None:
        seeds = evidence.claim.seeds
        told = "of how many runs, and with what standard error, was not read"
        if alike := mean_alike(evidence):
            deviation = statistics.stdev(line.bpb.value for line in alike)
            told = (
                f"that over {len(alike)} logs rounds to it (standard deviation {deviation:.5f}), and no standard error"
            )
            told += " is given"
        elif len(seeds) == 1:
            told = f"the record names one seed ({seeds[0]}), and no standard error is given"
        return f"{called} calls the score a mean; {told if spread is None else _of_a_mean(spread)}"
    if evidence.lines:
        own = evidence.lines[0].bpb.source.file
        files = " or ".join([own, *(line.bpb.source.file for line in ends_alike(evidence))][:_MAX_LOGS])
        whose = f"the score is that of one run ({files})"
        if alike := mean_alike(evidence):
            whose += f", or the mean over {len(alike)} logs that rounds to it as well"
    elif evidence.claim.seeds:
        whose = f"the record names one seed ({evidence.claim.seeds[0]})"
    elif spread is None:
        return "neither a second seed nor a standard error is given"
    else:
        whose = "of which runs the score is, was not read"
    return f"{whose}, and no standard error is given" if spread is None else f"{whose}; {_of_one(spread)}"


def _deviation(spread: StatedSpread) -> str:
    """What a README gives as a spread, in words: of one number, or of several that it does not tell apart."""
    if spread.value is None:
        return f"{spread.source} gives several spreads"
    if spread.is_error:
        return f"{spread.source} gives a standard error of {spread.value}"
    name = "a standard deviation of" if spread.is_named else "a spread, which it does not call by a name, of"
    return f"{spread.source} gives {name} {spread.value}"


def _of_one(spread: StatedSpread) -> str:
    """What a spread says of the score of one run."""
    if spread.is_error:
        return _deviation(spread)
    return f"{_deviation(spread)}: a standard deviation over seeds of this very score is the standard error of one run"


def _of_a_mean(spread: StatedSpread) -> str:
    """What a spread says of a mean."""
    if spread.is_error:
        return _deviation(spread)
    if spread.value is None or spread.num_seeds is None or not spread.is_named:
        return (
            f"{_deviation(spread)}: a standard deviation over n runs, by sqrt(n), is the standard error of their mean"
        )
    error = spread.value.value / math.sqrt(spread.num_seeds)
    return f"{_deviation(spread)}, over {spread.num_seeds} runs: the standard error of their mean is {error:.2g}"


def ends_alike(evidence: Evidence) -> list[ScoreLine]:
    """Lines of the claim's name that end other logs, of other runs, with a score that is rounded to it too.

    Which of them it is, the size of what is submitted may tell, of those that print one.
    """
    first, claim = evidence.lines[0], evidence.claim
    own = first.bpb.source.file
    sizes = {size.value for size in claim.artifact_bytes}
    alike = [(log, end) for log in claim.logs if log.file != own and (end := _end_alike(evidence, log)) is not None]
    if any(log.file == own and any(size.value in sizes for size in log.artifact_bytes) for log in claim.logs):
        alike = [(log, end) for log, end in alike if not log.artifact_bytes]
    return [end for _, end in alike]


def mean_alike(evidence: Evidence) -> list[ScoreLine]:
    """Where the score is in one log, the last lines of that name in all logs of such a name, if their mean is it too.

    Such a name: but for its numbers, in the same folder. None where the score has as many digits as the line.
    """
    score, lines = evidence.claim.score, evidence.lines
    if (
        score is None
        or evidence.how != "line"
        or len(lines) != 1
        or (score.decimals or 0) >= (lines[0].bpb.decimals or 0)
    ):
        return []
    name = _NUMBERS.sub("#", lines[0].bpb.source.file)
    own = evidence.log_of(lines[0])
    folder = own.path.parent if own is not None and own.path is not None else None
    ends = [
        [line for line in log.lines if line.label == lines[0].label and not line.is_training_step][-1:]
        for log in evidence.claim.logs
        if _NUMBERS.sub("#", log.file) == name and log.path is not None and log.path.parent == folder
    ]
    last = sorted((line for each in ends for line in each), key=lambda line: line.bpb.source.file)
    is_whole = len(last) == len(ends) >= 2 and len({line.score_and_loss for line in last}) == len(last)
    return last if is_whole and rounds_to(score, statistics.fmean(line.bpb.value for line in last)) else []


_NUMBERS = re.compile(r"[0-9]+")


def _end_alike(evidence: Evidence, log: LogRecord) -> ScoreLine | None:
    score, first = evidence.claim.score, evidence.lines[0]
    ends = [line for line in log.lines if line.label == first.label and not line.is_training_step][-1:]
    is_one = score is not None and any(rounds_to(score, end.bpb.value, end.bpb.half_unit) for end in ends)
    return ends[0] if is_one and ends[0].score_and_loss != first.score_and_loss else None


def _called_a_mean(evidence: Evidence) -> str | None:
    """Where the record calls the score a mean: the name of its line, or a line of the README that gives it."""
    score, readme = evidence.claim.score, evidence.claim.readme
    named = next((line.bpb.source for line in evidence.lines if _MEAN.search(line.label)), None)
    if named is not None or score is None or readme is None:
        return None if named is None else str(named)
    for number, whole in enumerate(readme.text.split("\n"), 1):
        line = whole[:_LONGEST]
        means = _NUMBER.findall(line) if _ROW_OF_MEANS.match(line) else [each["mean"] for each in _GIVEN.finditer(line)]
        if any(_is_score(score, text) for text in means):
            return f"{readme.file}:{number}"
    return None


def _is_score(score: Printed, text: str) -> bool:
    """Whether a number has four digits or more behind its point, and is the score as far as the fewer digits go."""
    digits = len(text.partition(".")[2])
    return digits >= _TELLING and rounds_to(score, float(text), 0.5 * 10.0**-digits)


_MEAN = re.compile(r"(?<![a-z])(?:mean|average|avg)(?![a-z])", re.IGNORECASE)
_NUMBER = re.compile(r"(?<![0-9.])[0-9]{1,3}\.[0-9]{4,16}(?![0-9])")
_ROW_OF_MEANS = re.compile(r"\s{0,3}\|[\s*_]{0,6}(?:mean|average|avg)(?![a-z])", re.IGNORECASE)
_GIVEN = re.compile(
    r"(?<!no )(?<!not a )(?<!the other )(?<![a-z])(?:mean|average|avg)(?![a-z])"
    r"(?: (?:of|over) [0-9]{1,2} (?:seeds|runs))?"
    rf"[^0-9\n.;]{{0,40}}(?P<mean>{_NUMBER.pattern})",
    re.IGNORECASE,
)
_TELLING, _LONGEST = 4, 1_000
_MAX_LOGS = 4


def _no_error(evidence: Evidence) -> Iterator[Finding]:
    claim = evidence.claim
    tables = (*claim.seed_scores.values(), claim.runs_beside)
    seeds = max(len(claim.seeds), len(evidence.lines), *(len(scores) for scores in tables))
    if claim.std is not None or seeds >= 2:
        return
    sampled = claim.protocol.method in (MC, DISCRETE)
    message = _told_runs(evidence) + (
        "; the score is an estimate of a bound and has a sampling error of its own" if sampled else ""
    )
    yield codes.NO_ERROR.finding(message, num_seeds=seeds or None, method=claim.protocol.method)
