"""BPB401: in what words a line of a log, or the mean of several, gives the claimed score, or nearly gives it."""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence

from bpb_harness.auditing.checks.sampling import ends_alike, mean_alike
from bpb_harness.auditing.evidence import Evidence
from bpb_harness.auditing.of_the_run import lines_of_the_run
from bpb_harness.claim import Printed, ScoreLine
from bpb_harness.claim.wandb_summary import is_summary_name
from bpb_harness.findings import first_of

_MAX_VALUES = 6
_SMALLEST_SHOWN = 5e-6  # of five decimals


def told_of_log(evidence: Evidence, score: Printed) -> str:
    """How the claim's lines, of which there are some, give its score: the number itself where they give another."""
    return _as_mean(evidence, score) if evidence.how == "mean" else _as_line(evidence, score)


def left_out_of_logs(evidence: Evidence) -> str | None:
    """That a log of the claim says, in a line in brackets, that lines in front of the score were left out."""
    for log in evidence.claim_logs:
        for number, line in lines_of_the_run(evidence, log):
            if _LEFT_OUT.fullmatch(line[:_LONGEST_MARK]):
                said = f"lines in front of it were left out: `{line.strip()}` ({log.file}:{number})"
                return f"{'the log' if len(evidence.claim_logs) == 1 else 'a log'} says that {said}"
    return None


_LONGEST_MARK = 120
_OF_LINES = r"steps?|lines?|logs?|output|warm-?up|iterations?|epochs?|omitted|truncated|trimmed|skipped|snip(?:ped)?"
_LEFT_OUT = re.compile(
    rf"\s*[\[(<{{]\s?(?:\.\.\.|\u2026)[^\[\](){{}}<>]{{0,60}}\b(?:{_OF_LINES})\b[^\[\](){{}}<>]{{0,40}}[\])>}}]\s*",
    re.IGNORECASE,
)


def nearly_that(evidence: Evidence) -> str:
    """``that``, of a line whose number is rounded to the score."""
    return "nearly that" if evidence.is_nearly else "that"


def label_of(line: ScoreLine) -> str:
    """What a line calls its score."""
    return line.label or line.bpb.name


def _as_mean(evidence: Evidence, score: Printed) -> str:
    """That the score is a mean of lines, or nearly, and how far these lie apart."""
    lines, values = evidence.lines, [line.bpb.value for line in evidence.lines]
    files = {line.bpb.source.file for line in lines}
    kind = "summaries" if all(map(is_summary_name, files)) else "logs"
    over = f"{len(values)} {kind}" if len(files) > 1 else f"{len(values)} lines of one log"
    over = f"{len(values)} runs in {len(files)} logs" if 1 < len(files) < len(values) else over
    each = first_of([f"{line.bpb} ({line.bpb.source})" for line in lines], _MAX_VALUES)
    nearly = f"nearly the mean, {statistics.fmean(values):.{min(score.decimals or 0, 8) + 2}f},"
    which = nearly if evidence.is_nearly else "the mean"
    return f"the score is {which} of {label_of(lines[0])!r} over {over}: {each}{_deviation(values)}"


def _deviation(values: Sequence[float]) -> str:
    if len(values) < 2:
        return ""
    deviation = statistics.stdev(values)
    if deviation == 0.0:
        return "; all the same, to the last digit that is printed"
    return f"; standard deviation {f'{deviation:.5f}' if deviation >= _SMALLEST_SHOWN else f'{deviation:.1g}'}"


def _as_line(evidence: Evidence, score: Printed) -> str:
    """That one line prints the score, or what is nearly it."""
    (line,) = evidence.lines
    is_table = line.bpb.source.file in {table.file for table in evidence.claim.tables}
    is_summary = is_summary_name(line.bpb.source.file)
    where = "wandb's summary" if is_summary else "a table of the record" if is_table else "the log"
    if evidence.is_nearly:
        apart = score.value - line.bpb.value
        return (
            f"the score is nearly in {where}: {label_of(line)!r} at {line.bpb.source} is {line.bpb}, and the claimed "
            f"{score} is {abs(apart):.2g} {'above' if apart > 0 else 'below'} that"
            f"{', which was cut off and not rounded' if _is_cut_off(score, line.bpb) else ''}"
        )
    others = ends_alike(evidence)
    also = f"; {others[0].bpb.source} prints it too, of another run" if others else ""
    unsettled = ", and which is claimed was not established" if others else ""
    mean = _mean_beside(evidence, score)
    return f"the score is in {where}: {label_of(line)!r} at {line.bpb.source}{also}{unsettled}{mean}"


def _mean_beside(evidence: Evidence, score: Printed) -> str:
    """That the mean of logs of one name rounds to the score as well as the line of one of them does."""
    alike = mean_alike(evidence)
    if not alike:
        return ""
    mean = f"{statistics.fmean(line.bpb.value for line in alike):.{min(score.decimals or 0, 8) + 2}f}"
    at = first_of([str(line.bpb.source) for line in alike], _MAX_VALUES)
    return f"; so is the mean of that of {len(alike)} logs, {mean}, rounded to its digits ({at})"


def _is_cut_off(score: Printed, whole: Printed) -> bool:
    """Whether a score has the first digits of a number with more of them."""
    return (whole.decimals or 0) > (score.decimals or 0) and f"{whole}".startswith(f"{score}")
