"""BPB512: a number of parameters that the record states, and that none of the claim's logs prints."""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import inf

from bpb_harness.auditing import codes
from bpb_harness.auditing.checks.packed_over_cap import hidden_by_rounding, whole_numbers
from bpb_harness.auditing.evidence import Evidence
from bpb_harness.auditing.said import text_of_log
from bpb_harness.claim import Printed, Source
from bpb_harness.findings import Finding, first_of

_IN_README = re.compile(
    r"(?<![a-z_])(?:(?:model|total|num(?:ber of)?)[ _])param(?:eter)?s[`*]{0,4}\s?[|:=]\s?[`*]{0,4}"
    r"(?P<number>[0-9]{1,3}(?:,[0-9]{3}){2,3}|[0-9]{7,10})(?![0-9.,])[`*]{0,4}[ \t\r]{0,4}\|?[ \t\r]{0,4}$",
    re.IGNORECASE | re.MULTILINE,
)
_NUMBER = r"[0-9]{1,3}(?:,[0-9]{3}){2,3}|[0-9]{7,10}"
_ANYWHERE = re.compile(
    rf"(?<![0-9.,])(?P<before>{_NUMBER})[`*]{{0,4}} (?:[a-z]{{1,12}} )?param"
    rf"|param[a-z_]{{0,12}}[^0-9\n]{{1,12}}(?P<after>{_NUMBER})(?![0-9.,])",
    re.IGNORECASE,
)
_SCORE = re.compile(r"bpb[^0-9\n]{1,12}(?P<score>[0-9]\.[0-9]{3,10})(?![0-9])", re.IGNORECASE)
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
    if any(abs(stated.value - value) < hidden_by_rounding(int(stated.value)) for value in every):
        return
    if any(int(stated.value) in whole_numbers(text_of_log(log).split("\n"), (0, inf)) for log in logs):
        return
    shown = first_of([f"{each.value:,.0f} ({each.source})" for each in printed], _MAX_SHOWN)
    message = f"{stated.source} gives {stated.value:,.0f} parameters, and the log of the score prints {shown}"
    yield codes.OTHER_PARAMETERS.finding(message, stated=stated.value, printed=[each.value for each in printed])


def _stated(evidence: Evidence) -> Iterator[Printed]:
    """What JSON states under a name of its own, else what a README does where it states one."""
    yield from evidence.claim.parameters
    readme = evidence.claim.readme
    found = [*_IN_README.finditer(readme.text)] if readme is not None else []
    numbers = {int(each["number"].replace(",", "")) for each in found}
    if readme is None or len(numbers) != 1 or _of_several(readme.text) or _is_of_another(evidence, found[0]):
        return
    line = readme.text.count("\n", 0, found[0].start()) + 1
    yield Printed(float(numbers.pop()), 0, Source(readme.file, line))


def _of_several(text: str) -> bool:
    """Whether a README gives several numbers of parameters, in its prose or its tables."""
    found = {each["after"] or each["before"] for each in _ANYWHERE.finditer(text)}
    return len({number.replace(",", "") for number in found}) > 1


def _is_of_another(evidence: Evidence, found: re.Match[str]) -> bool:
    """Whether the lines around a number give scores, none of which is the claim's or in a log of it."""
    text = found.string
    first, last = text.rfind("\n\n", 0, found.start()) + 1, text.find("\n\n", found.end())
    block = text[first : last if last >= 0 else len(text)]
    scores = [each["score"] for each in _SCORE.finditer(block)]
    own = [line.bpb for log in evidence.claim_logs for line in log.lines]
    own += [evidence.claim.score] if evidence.claim.score is not None else []
    return bool(scores) and not any(
        each.agrees_with(float(score), 0.5 * 10.0 ** -len(score.partition(".")[2])) for score in scores for each in own
    )
