"""BPB512: a number of parameters that the record states, and that none of the claim's logs prints."""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import inf

from bpb_harness.auditing import codes
from bpb_harness.auditing.checks.packed_over_cap import whole_numbers
from bpb_harness.auditing.evidence import Evidence
from bpb_harness.auditing.said import text_of_log
from bpb_harness.claim import Printed, Source
from bpb_harness.findings import Finding, first_of

_IN_README = re.compile(
    r"(?<![a-z_])(?:(?:model|total|num(?:ber of)?)[ _])param(?:eter)?s[`*]{0,4}\s?[|:=]\s?[`*]{0,4}"
    r"(?P<number>[0-9]{1,3}(?:,[0-9]{3}){2,3}|[0-9]{7,10})(?![0-9.,])[`*]{0,4}\s{0,4}\|?\s{0,4}$",
    re.IGNORECASE | re.MULTILINE,
)
_MAX_SHOWN, _OF_ONE_KIND = 3, 1.5


def check_stated_parameters(evidence: Evidence) -> Iterator[Finding]:
    """Name a stated number where every log of the claim prints one, and none of them holds it, rounded or not."""
    stated = next(_stated(evidence), None)
    logs = evidence.claim_logs
    printed = [log.parameters[-1] for log in logs if log.parameters]
    if stated is None or not printed or len(printed) != len(logs):
        return
    if any(not 1.0 / _OF_ONE_KIND < stated.value / each.value < _OF_ONE_KIND for each in printed):
        return  # of an adapter, of those that are trained, or of all that are random
    every = [each.value for log in evidence.claim.logs for each in log.parameters]
    if any(abs(stated.value - value) < _hidden(int(stated.value)) for value in every):
        return
    if any(int(stated.value) in whole_numbers(text_of_log(log).split("\n"), (0, inf)) for log in logs):
        return
    shown = first_of([f"{each.value:,.0f} ({each.source})" for each in printed], _MAX_SHOWN)
    message = f"{stated.source} gives {stated.value:,.0f} parameters, and the log of the score prints {shown}"
    yield codes.OTHER_PARAMETERS.finding(message, stated=stated.value, printed=[each.value for each in printed])


def _stated(evidence: Evidence) -> Iterator[Printed]:
    """What JSON states under a name of its own, else what a README does where it states one."""
    yield from evidence.claim.parameters[:1]
    readme = evidence.claim.readme
    found = [*_IN_README.finditer(readme.text)] if readme is not None else []
    numbers = {int(each["number"].replace(",", "")) for each in found}
    if readme is not None and len(numbers) == 1:
        line = readme.text.count("\n", 0, found[0].start()) + 1
        yield Printed(float(numbers.pop()), 0, Source(readme.file, line))


def _hidden(number: int) -> int:
    """What rounding may have hidden, by the last zeros."""
    zeros = len(str(number)) - len(str(number).rstrip("0"))
    return int(10**zeros) if zeros >= 3 else 1
