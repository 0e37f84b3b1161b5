"""BPB511: a size of the artifact that the record states, and that none of its logs prints, where they print sizes."""

from __future__ import annotations

import itertools
import math
import re
import statistics
from collections.abc import Iterator, Sequence
from math import inf

from bpb_harness.auditing import codes
from bpb_harness.auditing.checks.packed_over_cap import hidden_by_rounding, whole_numbers
from bpb_harness.auditing.evidence import Evidence
from bpb_harness.auditing.said import sizes_stated_in, text_of_log
from bpb_harness.claim import LogRecord, Printed
from bpb_harness.findings import Finding, first_of

_SMALLEST = 1_000_000  # bytes; a number of fewer is of something else, or in another unit
_MAX_SHOWN = 3
_ESTIMATED = re.compile(
    r"(?<![a-z])(?:est(?:im|\.|\b)|approx|expect|project|predict)|[~\u2248]|\uc608\uc0c1|\ucd94\uc815", re.IGNORECASE
)
_OF_ALL = re.compile(r"total|submission|(?:with|incl[a-z.]*|and|\+)\s?(?:the\s)?code\b", re.IGNORECASE)
_UNITS = (1000, 1 << 10)  # of what is written as megabytes


def check_size_in_no_log(evidence: Evidence) -> Iterator[Finding]:
    """Name the first stated size that is none of its logs', no mean, no sum with any code of the record's."""
    claim = evidence.claim
    stated = [size for size in claim.artifact_bytes if size.value >= _SMALLEST and size.decimals == 0]
    # What stands at the top is the artifact's; of several that do not, one may be another run's.
    top = [size for size in stated if "." not in (size.source.key or "")] or stated
    size = top[0] if top else None
    if size is None or _is_printed_elsewhere(evidence):
        return  # in the latter case, of which of its packings the score is, and which is stated, is not known
    lines = {log.file: text_of_log(log).split("\n") for log in claim.logs if log.artifact_bytes}
    measured = (
        (log, [each for each in log.artifact_bytes if not _ESTIMATED.search(_line_of(lines[log.file], each))])
        for log in claim.logs
    )
    sizes = {log.file: each for log, each in measured if each}
    printed = [sizes[log.file][-1] for log in evidence.claim_logs if log.file in sizes]
    if len(printed) != len(evidence.claim_logs) or not printed:
        return
    if len(claim.seeds) > len(printed) or any(
        _is(size, each) for size in top for log in claim.logs for each in _sizes(log)
    ):
        return
    stated_code = {log.file: sizes_stated_in(log) for log in claim.logs}
    counted = {code for each in stated_code.values() for code in each}
    code = counted | _sizes_of_scripts(evidence) | claim.whole_numbers | _in_readme(evidence)
    if any(_is_made_of(size, logs, code) for logs in (claim.logs, evidence.claim_logs)):
        return
    alone = [
        each
        for log in claim.logs
        for each in sizes.get(log.file, ())
        if not _is_total(log, each, lines[log.file], stated_code[log.file])
    ]
    if any(
        abs(size.value - each.value - more) <= max(_hidden(size), each.half_unit) for each in alone for more in code
    ):
        return  # the network's size is called the artifact's, and what is stated counts the code too
    if _is_printed(size, claim.artifact_bytes, claim.logs):
        return
    listed = first_of([f"{_written(each)} ({each.source})" for each in printed], _MAX_SHOWN)
    twice = any(int(size.value) == int(each.value) + code for each in printed for code in counted)
    how = "; that is a total of theirs and the code, which is in it, once more" if twice else ""
    cap = evidence.rules.pack.largest_artifact
    is_over = cap is not None and size.value <= cap < min(each.value for each in printed)
    over = f", over the cap of {cap:,}" if is_over else ""
    message = f"{size.value:,.0f} bytes, by {size.source}, are in none of its logs, which print {listed}{over}{how}"
    yield codes.SIZE_IN_NO_LOG.finding(message, size=size.value, printed=[each.value for each in printed])


def _is_printed_elsewhere(evidence: Evidence) -> bool:
    """Whether a log that is none of the claim's prints the same scores: one of them may be of another packing."""
    own = {log.file for log in evidence.claim_logs}
    scores = {(line.bpb.value, line.label) for line in evidence.lines}
    others = (log for log in evidence.claim.logs if log.file not in own)
    return any((line.bpb.value, line.label) in scores for log in others for line in log.lines)


def _line_of(lines: Sequence[str], size: Printed) -> str:
    number = size.source.line
    return lines[number - 1] if number is not None and number <= len(lines) else ""


def _is_total(log: LogRecord, size: Printed, lines: Sequence[str], code: Sequence[int]) -> bool:
    """Whether a printed size counts the code: by its line, or as the sum of two others of its log."""
    packed = {each.value for each in log.packed}
    is_sum = any(abs(size.value - network - more) <= size.half_unit for network in packed for more in code)
    return is_sum or _OF_ALL.search(_line_of(lines, size)) is not None


def _written(size: Printed) -> str:
    """A size, with no digit that is not printed."""
    digits = round(6.0 - math.log10(2.0 * size.half_unit))  # behind the point of megabytes
    if digits >= 6:
        return f"{size.value:,.0f}"
    return f"{size.value / 1e6:.{digits}f} MB" if digits > 0 else f"about {size.value:,.0f}"


def _is_printed(size: Printed, stated: Sequence[Printed], logs: Sequence[LogRecord]) -> bool:
    """Whether a log has the number anywhere, or those of which it is the mean, the record's other sizes."""
    numbers = set[int]().union(*(whole_numbers(text_of_log(log).split("\n"), (0, inf)) for log in logs))
    others = [int(each.value) for each in stated if each is not size]
    is_mean = bool(others) and abs(size.value - statistics.fmean(others)) <= 1.0
    return int(size.value) in numbers or (is_mean and numbers.issuperset(others))


def _sizes(log: LogRecord) -> tuple[Printed, ...]:
    return (*log.artifact_bytes, *log.packed)


def _is(size: Printed, printed: Printed) -> bool:
    """Whether a size is a printed one up to the rounding of either, also where it counts 1,024 to a kilobyte."""
    of_units = [(large * small) / 1e6 for large, small in itertools.product(_UNITS, _UNITS)]
    factors = [*of_units, *(1.0 / unit for unit in of_units)]
    return min(abs(size.value - printed.value * factor) for factor in factors) <= max(_hidden(size), printed.half_unit)


def _is_made_of(size: Printed, logs: Sequence[LogRecord], code: set[int]) -> bool:
    """Whether it is a mean over logs, or a packed network's size, or their mean, with any size of code."""
    totals = {each.value for log in logs for each in log.artifact_bytes}
    networks = [[each.value for each in log.packed if each.value not in totals] for log in logs]
    made = [*_means([[each.value for each in log.artifact_bytes] for log in logs])]
    packed = [*itertools.chain.from_iterable(networks), *_means(networks)]
    made += [value + more for value in packed for more in (0, *code)]
    return any(abs(size.value - value) <= _hidden(size) for value in made)


def _means(sizes: Sequence[Sequence[float]]) -> Iterator[float]:
    """Of what each log prints first, next, and so on, and last, next to last, and so on; of one log each."""
    own = [each for each in sizes if each]
    for place in range(min(map(len, own), default=0)):
        yield statistics.fmean(each[place] for each in own)
        yield statistics.fmean(each[-1 - place] for each in own)


def _in_readme(evidence: Evidence) -> set[int]:
    """What a README may give as the size of code that was packed behind the run."""
    readme = evidence.claim.readme
    found = _OF_CODE.findall(readme.text) if readme is not None else []
    return {int(each.replace(",", "").replace("_", "")) for each in found}


_OF_CODE = re.compile(
    r"(?<![0-9.,_])[0-9]{1,3}(?:[,_][0-9]{3})(?![0-9.,_]*[0-9])|(?<![0-9.,_])[0-9]{4,6}(?![0-9.,_]*[0-9])"
)


def _sizes_of_scripts(evidence: Evidence) -> set[int]:
    return {path.stat().st_size for path in evidence.claim.scripts if path.is_file()}


def _hidden(size: Printed) -> int:
    return hidden_by_rounding(int(size.value))
