"""Bytes per token that fit nothing, where another finding has what explains them: then they are no open question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bpb_harness.auditing import codes
from bpb_harness.auditing.parts import Part
from bpb_harness.findings import Finding, Severity, place_in_script

_SUBSET = "BPB350"  # the script scores a subset
_EXPLAINS = 3e-3  # relative; as near as a ratio has to be to the split's own
_OF_LARGE_PARTS = 0.03  # by as much the bytes per token of parts differ from the whole text's
_SAYS_NEITHER = "a part of the split, or a mean of ratios, would explain it, and the record says neither"


def explained(finding: Finding, findings: Sequence[Finding], part: Part | None) -> Finding:
    """A ratio that fits nothing (BPB104), told with what explains it; any other finding as it is.

    Args:
        finding: one of ``findings``.
        findings: all of them.
        part: the part of the text that was scored; None where it was the whole of it, as far as is known.
    """
    divided, expected = finding.evidence.get("bytes_per_token"), finding.evidence.get("expected")
    if finding.code != codes.BYTES_OFF.code or not isinstance(divided, float) or not isinstance(expected, float):
        return finding
    slack = _EXPLAINS if part is None else _OF_LARGE_PARTS
    for other in findings:
        if other.code == finding.code or not other.code.startswith("BPB1") or other.severity is Severity.INFORMS:
            continue
        constant = other.evidence.get("constant")
        is_factor = other.factor is not None and abs(divided / expected / other.factor - 1.0) <= slack
        is_constant = isinstance(constant, int | float) and abs(divided / constant - 1.0) <= _EXPLAINS
        if is_factor or is_constant:
            off = (divided / expected - 1.0) * 100
            message = (
                f"the record divides by {divided:.5f} bytes per token, where {expected:.5f} is expected ({off:+.2f} "
                f"%): {_named(other)} explains it"
            )
            refutes = other.severity is Severity.REFUTES
            return replace(finding, message=message, severity=Severity.INFORMS if refutes else finding.severity)
    if (partly := _partly(finding, findings, divided / expected)) is not None:
        return partly
    if finding.evidence.get("may_be_of_a_part") is not True:
        return finding
    said = _SAYS_NEITHER
    if part is not None and part.finding.code == _SUBSET:
        said = f"a part of the split would explain it, and the script scores one ({part.told_by})"
    return replace(finding, message=f"{finding.message}; {said}")


def _partly(finding: Finding, findings: Sequence[Finding], off: float) -> Finding | None:
    """Told with the fault of the bytes that is most of it, where one refutes: then it is no open question what else."""
    for other in findings:
        if not other.code.startswith("BPB1") or other.severity is not Severity.REFUTES or other.factor is None:
            continue
        if (other.factor - 1.0) * (off - 1.0) > 0.0 and abs(off / other.factor - 1.0) <= _OF_LARGE_PARTS:
            divided, expected = finding.evidence["bytes_per_token"], finding.evidence["expected"]
            message = (
                f"the record divides by {divided:.5f} bytes per token, where {expected:.5f} is expected "
                f"({(off - 1.0) * 100:+.2f} %): {_named(other)} explains {(other.factor - 1.0) * 100:+.2f} % of it, "
                "and nothing that was found the rest"
            )
            return replace(finding, message=message, evidence={**finding.evidence, "candidates": []})
    return None


def _named(finding: Finding) -> str:
    place = place_in_script(finding)
    return finding.code if place is None else f"{finding.code} ({place})"
