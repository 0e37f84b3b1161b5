"""BPB424: what wandb kept of a run, held against the log of the run.

A summary holds what each metric was last. Beside a log that prints the claim it should hold a number that the log
prints, or that the record names; one that neither does is another run's, or contradicts.
"""

from __future__ import annotations

from collections.abc import Iterator

from bpb_harness.auditing import codes
from bpb_harness.auditing.evidence import Evidence
from bpb_harness.claim import LogRecord, Printed, ScoreLine
from bpb_harness.claim.names import stem
from bpb_harness.claim.wandb_summary import is_summary_name, plain_name
from bpb_harness.findings import Finding, Severity, first_of

_MAX_SHOWN = 3
_MIN_DECIMALS = 3  # of numbers that are kept of lines that speak of bpb


def check_summaries(evidence: Evidence) -> Iterator[Finding]:
    """Name the summaries of wandb whose score is in no log; a doubt where they are of the run that is claimed.

    Of that run they are where another of their scores is in a log of the claim, or where nothing in the record agrees
    with any summary. Beside a summary that fits, one that does not is some other run's, and is only named.
    """
    if evidence.claim.score is None or not evidence.lines:
        return
    summaries = [table for table in evidence.claim.tables if is_summary_name(table.file)]
    known = _Known(evidence)
    contradicting = {each.file: at for each in summaries if (at := _contradicting(each, known, evidence)) is not None}
    if not contradicting:
        return
    is_all = len(contradicting) == len(summaries)
    doubted = [each for each in summaries if each.file in contradicting and (is_all or known.is_of_the_claim(each))]
    named = [each for each in summaries if each.file in contradicting and each not in doubted]
    line = evidence.lines[0]
    of_log = f"{line.bpb} ({line.bpb.source})" if evidence.how == "line" else f"{len(evidence.lines)} lines of logs"
    if doubted:
        shown = first_of([contradicting[each.file] for each in doubted], _MAX_SHOWN, "; ")
        message = f"wandb's summary contradicts the log that the score stands in: {shown}, against {of_log}"
        yield codes.SUMMARY_CONTRADICTS.finding(
            message,
            places=[each.file for each in doubted],
            missing="the run's whole log, or its history in wandb: which of the two numbers it ended with",
        )
    if named:
        shown = first_of([contradicting[each.file] for each in named], _MAX_SHOWN, "; ")
        message = f"wandb's summary of some run does not fit the logs: {shown}; other summaries fit them"
        yield codes.SUMMARY_CONTRADICTS.finding(
            message, severity=Severity.INFORMS, places=[each.file for each in named]
        )


class _Known:
    """Every score that the record gives, but for those of wandb's summaries."""

    def __init__(self, evidence: Evidence) -> None:
        claim = evidence.claim
        logs = [log for log in claim.logs if not is_summary_name(log.file)]
        seeds = [score for scores in claim.seed_scores.values() for score in scores.values()]
        self.printed: list[Printed] = [*(line.bpb for log in logs for line in log.lines), *seeds, *claim.other_scores]
        self.printed += [claim.score] if claim.score is not None else []
        self.of_readme = claim.readme.numbers if claim.readme is not None else ()
        self.beside = frozenset[float]().union(*(log.numbers_beside_bpb for log in logs))
        self.of_claim = [line.bpb for log in evidence.claim_logs for line in log.lines if log in logs]

    def holds(self, score: Printed) -> bool:
        """Whether a score is one of them, up to the rounding of either."""
        if any(each.agrees_with(score.value, score.half_unit) for each in self.printed):
            return True
        told = [*self.of_readme, *((number, _half_unit(number)) for number in self.beside)]
        return any(abs(number - score.value) <= max(half, score.half_unit) * 2.0 for number, half in told)

    def is_of_the_claim(self, summary: LogRecord) -> bool:
        """Whether a score of a summary stands in a log of the claim."""
        scores = [line.bpb for line in summary.lines]
        return any(each.agrees_with(score.value, score.half_unit) for score in scores for each in self.of_claim)


def _half_unit(number: float) -> float:
    """Of a number of three decimals or more, of which the value alone is kept."""
    return 0.5 * 10.0 ** -max(_MIN_DECIMALS, len(repr(number).partition(".")[2]))


def _contradicting(summary: LogRecord, known: _Known, evidence: Evidence) -> str | None:
    """What a summary gives in place of a score that the record knows; None where it fits.

    Of one that fits in another of its scores, what has the name of the claimed score counts: a run keeps many more.
    Of several numbers of one metric, such as its least and its last, one that fits is enough.
    """
    if not summary.lines:
        return None if summary.spoilt_at is None else f"{summary.spoilt_at} gives no finite number"
    strange = [line for line in summary.lines if not known.holds(line.bpb)]
    if len(strange) < len(summary.lines):
        fitting = {line.label for line in summary.lines if line not in strange}
        strange = [line for line in strange if _is_called_so(line, evidence) and line.label not in fitting]
    if not strange:
        return None
    return f"{strange[-1].bpb.source} gives {strange[-1].bpb}, which no log prints and the record names nowhere"


def _is_called_so(line: ScoreLine, evidence: Evidence) -> bool:
    names = {stem(plain_name(each.bpb.name)) for each in evidence.lines}
    return stem(plain_name(line.bpb.name)) in names
