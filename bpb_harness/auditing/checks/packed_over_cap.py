"""BPB501: a packed network that is over the cap by itself, in a record that states a size below it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import reduce

from bpb_harness.auditing import codes
from bpb_harness.auditing.evidence import Evidence
from bpb_harness.claim import LogRecord, Printed
from bpb_harness.claim.text_file import read_text
from bpb_harness.errors import ClaimError
from bpb_harness.findings import Finding

_WHOLE = re.compile(r"(?<![0-9.,_])[0-9]{1,3}(?:[,_]?[0-9]{3}){2,3}(?![0-9]|[.,_][0-9])")
_WITH_CODE = re.compile(r"total|submission|artifact|code", re.IGNORECASE)
_NEAR = 0.7  # of the cap; a number from here to the cap may be the size that it was packed into in the end


def check_packed_over_cap(evidence: Evidence, stated: Sequence[Printed], cap: int) -> list[Finding]:
    """Sizes of packed networks in the logs of the claim, where these print nothing that could be of a smaller one.

    What the record states is another network's then, or nobody's.

    Args:
        evidence: the claim and its record.
        stated: the sizes that the record states, none of them over the cap.
        cap: what the rules allow, in bytes.
    """
    found = [size for log in evidence.claim_logs if (size := _smallest_packed(log)) is not None and size.value > cap]
    if not found:  # as of nearly all: their logs are not read again
        return []
    numbers = {log.file: _whole_numbers(log) for log in evidence.claim_logs}
    over = [size for size in found if not any(_NEAR * cap < number < cap for number in numbers[size.source.file])]
    if not over:
        return []
    printed = reduce(set.union, numbers.values(), set[int]())
    foreign = next((size for size in stated if int(size.value) not in printed), None)
    listed = "; ".join(f"{size.value:,.0f} ({size.source})" for size in over[:3])
    beside = "" if foreign is None else f"; no log of the claim prints {foreign.value:,.0f}, of {foreign.source}"
    message = f"the packed network alone is over the cap of {cap:,} bytes, by its log: {listed}{beside}"
    return [codes.OVER_CAP.finding(message, cap=cap, sizes=[size.value for size in over])]


def _smallest_packed(log: LogRecord) -> Printed | None:
    """In whole bytes, without code; what was packed in several ways is submitted in the smallest."""
    smallest = min(log.packed, key=lambda size: size.value, default=None)
    if smallest is None or smallest.decimals != 0 or _WITH_CODE.search(smallest.name):
        return None
    return smallest


def _whole_numbers(log: LogRecord) -> set[int]:
    """The whole numbers of a million and more that a log prints; none where it cannot be read again."""
    try:
        text = "" if log.path is None else read_text(log.path, log.file).text
    except ClaimError:
        return set()
    return {int(re.sub("[,_]", "", found[0])) for found in _WHOLE.finditer(text)}
