"""What was read out of a script's text, in the light of what running it showed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bpb_harness.auditing.script import codes
from bpb_harness.findings import Finding, Severity


@dataclass(frozen=True)
class Passed:
    """A function that computes a bound, or the exact length.

    Attributes:
        name: the function.
        lines: for each file, the lines that it passed through.
        contradicted: codes whose mistakes it was seen not to make.
    """

    name: str
    lines: Mapping[str, frozenset[int]]
    contradicted: frozenset[str]


@dataclass(frozen=True)
class Behaviour:
    """What running the functions showed.

    Attributes:
        findings: of the functions themselves.
        passed: the functions that compute a bound, or the exact length.
    """

    findings: tuple[Finding, ...]
    passed: tuple[Passed, ...] = ()


def weigh(findings: Sequence[Finding], behaviour: Behaviour) -> list[Finding]:
    """What was read out of the text, in the light of what running it showed.

    A finding about a line that a function passed through, while it was seen not to make that mistake, weighs one step
    less and says so: an error becomes a warning, a warning an info. No more than that, for a script may know that it is
    being tried: what reads as an error never stops standing in the way of "consistent". What was not
    followed of masks is a note where a function was seen to weigh them right. Findings of both kinds about one fault of
    the bytes do not multiply.
    """
    weighed = [_demoted(finding, behaviour) for finding in findings]
    static_bytes = [f for f in weighed if f.severity is Severity.REFUTES and f.code.startswith("BPB1")]
    for finding in behaviour.findings:
        if finding.code == codes.BYTES_RUN_WRONG.code and static_bytes:
            said = f"{finding.message} (which is what {static_bytes[0].code} reads out of the script)"
            weighed.append(replace(finding, severity=Severity.INFORMS, message=said, factor=None))
            continue
        same = finding.evidence.get("same_as")
        explained = [f for f in weighed if isinstance(same, list) and f.code in same]
        if explained and finding.code == codes.SCORE_RUN_WRONG.code:
            where = f"{explained[0].code}, line {explained[0].evidence.get('line')}"
            weighed.append(replace(finding, message=f"{finding.message}. What does it: {where}"))
        else:
            weighed.append(finding)
    return weighed


def _demoted(finding: Finding, behaviour: Behaviour) -> Finding:
    file, line = str(finding.evidence.get("file")), finding.evidence.get("line")
    less = {Severity.REFUTES: Severity.WARNS, Severity.WARNS: Severity.INFORMS}.get(finding.severity)
    if less is None:
        return finding
    if finding.code == codes.NOT_FOLLOWED.code and behaviour.passed:
        said = f"{behaviour.passed[0].name}, run alone on a short text, computes a bound or the exact length"
        return replace(finding, severity=less, message=f"{finding.message} (demoted: {said})")
    for passed in behaviour.passed:
        if finding.code in passed.contradicted and line in passed.lines.get(file, frozenset()):
            said = f"{passed.name}, run alone on a short text, passes through this line and does not do that"
            return replace(finding, severity=less, message=f"{finding.message} (demoted: {said})", factor=None)
    return finding
