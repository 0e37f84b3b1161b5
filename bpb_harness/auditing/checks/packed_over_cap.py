"""BPB501: a packed network that is over the cap by itself, in a record that states another size."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from functools import reduce
from math import inf

from bpb_harness.auditing import codes
from bpb_harness.auditing.evidence import Evidence
from bpb_harness.auditing.said import text_of_log
from bpb_harness.claim import LogRecord, Printed
from bpb_harness.findings import Finding

_WHOLE = re.compile(r"(?<![0-9.,_])[0-9]{1,3}(?:[,_]?[0-9]{3}){2,3}(?![0-9]|[.,_][0-9])")
_WITH_CODE = re.compile(r"total|submission|artifact|code", re.IGNORECASE)
_PACKS = re.compile(r"quanti|gptq|prun|pack|compress|strip|serializ", re.IGNORECASE)
# Of a network that is submitted, and of another or of a part of it.
_OF_IT = re.compile(r"model|network|weight|blob|(?<![a-z])(?:zlib|zstd|lzma|brotli)(?![a-z])", re.IGNORECASE)
_OF_ANOTHER = re.compile(
    r"teacher|draft|optimi[sz]er|checkpoint|ckpt|(?<![a-z])(?:raw|part|shard|chunk|piece|ema|best|full|old)(?![a-z])",
    re.IGNORECASE,
)
_IN_PARTS = re.compile(r"(?<![a-z])(?:part|shard|chunk|piece|half)s?(?![a-z])", re.IGNORECASE)
_NEAR = 0.7  # of the cap; a number from here to the cap may be the size that it was packed into in the end
_Lines = tuple[float, float]  # of a run in a log: behind the first of two numbers, and before the other


def check_packed_over_cap(evidence: Evidence, stated: Sequence[Printed], cap: int) -> list[Finding]:
    """Sizes of packed networks in the claimed runs, where these print nothing that could be of a smaller one.

    What the record states is another network's then, or nobody's.

    Args:
        evidence: the claim and its record.
        stated: the sizes that the record states.
        cap: what the rules allow, in bytes.
    """
    found = [
        (log, run, size)
        for log in evidence.claim_logs
        for run in own_runs(evidence, log)
        if (size := _smallest_packed(log, run)) is not None and size.value > cap
    ]
    if not found:  # as of nearly all: their logs are not read again
        return []
    lines = {log.file: text_of_log(log).split("\n") for log in evidence.claim_logs}
    over = [
        size
        for log, run, size in found
        if not _may_be_smaller(lines[log.file], run, size, cap)
        and not _is_scored_elsewhere(evidence, log, run)
        and not any(each.value > cap and int(each.value) in whole_numbers(lines[log.file], run) for each in stated)
    ]
    if not over:
        return []
    printed = reduce(set.union, (whole_numbers(each, (0, inf)) for each in lines.values()), set[int]())
    foreign = next((size for size in stated if int(size.value) not in printed), None)
    listed = "; ".join(f"{size.value:,.0f} ({size.source})" for size in over[:3])
    beside = "" if foreign is None else f"; no log of the claim prints {foreign.value:,.0f}, of {foreign.source}"
    message = f"the packed network alone is over the cap of {cap:,} bytes, by its log: {listed}{beside}"
    return [codes.OVER_CAP.finding(message, cap=cap, sizes=[size.value for size in over])]


def own_runs(evidence: Evidence, log: LogRecord) -> list[_Lines]:
    """The lines of the runs that the claim's scores in a log are of; all of them where it holds one run."""
    ends = {line.run: line.bpb.source.line or 0 for line in log.lines}
    runs = sorted(ends)
    own = {line.run for line in (*evidence.lines, *evidence.siblings) if line in log.lines}
    if len(runs) < 2:
        return [(0, inf)]
    behind = {run: ends[before] for before, run in itertools.pairwise(runs)}
    return [(behind.get(run, 0), ends[run] + 1 if run != runs[-1] else inf) for run in runs if run in own]


def _is_scored_elsewhere(evidence: Evidence, log: LogRecord, run: _Lines) -> bool:
    """Whether another log, of another packing, prints a claimed score of a run too."""
    own = {
        line.bpb.value for line in evidence.lines if line in log.lines and run[0] < (line.bpb.source.line or 0) < run[1]
    }
    others = (each for each in evidence.claim.logs if each is not log and each.packed != log.packed)
    return any(line.bpb.value in own for other in others for line in other.lines)


def _may_be_smaller(lines: Sequence[str], run: _Lines, size: Printed, cap: int) -> bool:
    """Whether a run prints a number that may be of a smaller network, or speaks of a packing or of parts behind it."""
    if any(_NEAR * cap < number < cap for number in whole_numbers(lines, run)):
        return True
    behind = (text for number, text in enumerate(lines, 1) if (size.source.line or 0) < number < run[1])
    return any(
        (_PACKS.search(text) and not _TELLS.search(text)) or (_IN_PARTS.search(text) and _WHOLE.search(text))
        for text in behind
    )


_TELLS = re.compile(r"bpb|bytes|val_loss", re.IGNORECASE)  # a score or a size, of what was packed


def _smallest_packed(log: LogRecord, run: _Lines) -> Printed | None:
    """In whole bytes, without code; what was packed in several ways is submitted in the smallest.

    None where that is called a teacher's, a checkpoint's or another's: who is submitted is not told then.
    """
    packed = [size for size in log.packed if run[0] < (size.source.line or 0) < run[1]]
    smallest = min(packed, key=lambda size: size.value, default=None)
    if smallest is None or smallest.decimals != 0 or _WITH_CODE.search(smallest.name):
        return None
    return None if _OF_ANOTHER.search(smallest.name) or not _OF_IT.search(smallest.name) else smallest


def hidden_by_rounding(number: int) -> int:
    """What rounding may have hidden of a stated number, by its last zeros: 1 where there are fewer than three."""
    zeros = len(str(number)) - len(str(number).rstrip("0"))
    return int(10**zeros) if zeros >= 3 else 1


def whole_numbers(lines: Sequence[str], run: _Lines) -> set[int]:
    """The whole numbers of a million and more that a log prints in some lines."""
    text = "\n".join(line for number, line in enumerate(lines, 1) if run[0] < number < run[1])
    return {int(re.sub("[,_]", "", found[0])) for found in _WHOLE.finditer(text)}
