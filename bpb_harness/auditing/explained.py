"""Bytes per token that fit nothing, where another finding has what explains them: then they are no open question."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from bpb_harness.auditing import codes
from bpb_harness.auditing.correction import SECOND_COUNT
from bpb_harness.auditing.evidence import Evidence
from bpb_harness.auditing.parts import Part
from bpb_harness.findings import Finding, Severity, place_in_script

_SUBSET = "BPB350"  # the script scores a subset
_EXPLAINS = 3e-3  # relative; as near as a ratio has to be to the split's own
_OF_LARGE_PARTS = 0.03  # by as much the bytes per token of parts differ from the whole text's
_SAYS_NEITHER = "a part of the split, or a mean of ratios, would explain it, and the record says neither"


def explained(
    finding: Finding, findings: Sequence[Finding], part: Part | None, evidence: Evidence | None = None
) -> Finding:
    """A ratio that fits nothing (BPB104), told with what explains it, or of a part (BPB302), with what may do so too.

    Any other finding is given back as it is.

    Args:
        finding: one of ``findings``.
        findings: all of them.
        part: the part of the text that was scored; None where it was the whole of it, as far as is known.
        evidence: the claim and its record, whose score is told by the bytes that the text may have.
    """
    divided, expected = finding.evidence.get("bytes_per_token"), finding.evidence.get("expected")
    if finding.code not in _OPEN or not isinstance(divided, float) or not isinstance(expected, float):
        return finding
    if (others := _may_explain(finding, findings, divided, expected)) is not None:
        return others
    if finding.code == codes.SLICE_INFERRED.code:
        return finding
    slack = _EXPLAINS if part is None else _OF_LARGE_PARTS
    for other in findings:
        if other.code == finding.code or not other.code.startswith("BPB1") or other.severity is Severity.INFORMS:
            continue
        constant = other.evidence.get("constant")
        is_factor = other.factor is not None and abs(divided / expected / other.factor - 1.0) <= slack
        is_constant = isinstance(constant, int | float) and abs(divided / constant - 1.0) <= _EXPLAINS
        if is_constant and (expects := _expects_other(other, expected)) is not None:
            return _of_a_guess(finding, other, divided, expects, evidence)
        if is_factor or is_constant:
            off = (divided / expected - 1.0) * 100
            message = (
                f"the record divides by {divided:.5f} bytes per token, where {expected:.5f} is expected ({off:+.2f} "
                f"%): {_named(other)} explains it"
            )
            refutes = other.severity is Severity.REFUTES
            return replace(finding, message=message, severity=Severity.INFORMS if refutes else finding.severity)
    finding = _without_the_right_count(finding, findings)
    if (partly := _partly(finding, findings, divided / expected)) is not None:
        return partly
    if finding.evidence.get("may_be_of_a_part") is not True:
        return finding
    said = _SAYS_NEITHER
    if part is not None and part.finding.code == _SUBSET:
        said = f"a part of the split would explain it, and the script scores one ({part.told_by})"
    return replace(finding, message=f"{finding.message.rstrip('.')}; {said}")


def of_the_table(finding: Finding, findings: Sequence[Finding]) -> Finding:
    """A byte table of a script that counts by the rule (BPB162), where the score was divided by something else.

    Any other finding is given back as it is.

    Args:
        finding: one of ``findings``.
        findings: all of them.
    """
    if finding.code != _COUNTS_BY_THE_RULE:
        return finding
    off = next((each for each in findings if each.code in _DIVIDED_OTHERWISE), None)
    second = next((each for each in findings if each.evidence.get(SECOND_COUNT) is True), None)
    if off is None and second is None:
        return finding
    but = "that does not make the number right that the score was divided by"
    but = f"{but} ({off.code})" if off is not None and second is None else but
    if second is not None:
        but = f"the claimed score is divided by another count: {_named(second)}"
    return replace(finding, message=f"{finding.message.replace(_IS_RIGHT, _FOLLOWS_THE_RULE).rstrip('.')}; {but}")


_IS_RIGHT = "The script's byte count, followed for four tokens without running it, is right:"
_FOLLOWS_THE_RULE = "A byte table of the script, followed for four tokens without running it, counts by the rule:"
_DIVIDED_OTHERWISE = frozenset({codes.BYTES_OFF.code, codes.BYTES_BUG.code, codes.BYTES_WRONG.code})
_OPEN = frozenset({codes.BYTES_OFF.code, codes.SLICE_INFERRED.code})
# Faults of a script's count whose size hangs on the text, and whether they make the bytes fewer.
_OF_UNKNOWN_SIZE = {"BPB165": True, "BPB156": False}
_COUNTS_BY_THE_RULE = "BPB162"
# Mistakes of counting that a script shows: where it counts by the rule, they are none of its own.
_SHOWN_BY_SCRIPTS = frozenset(
    {"space_counted_twice", "space_twice_pieces_by_spelling", "question_mark_for_space", "space_never_counted"}
    | {"byte_pieces_by_spelling"}
)
_CANDIDATES = re.compile(r"; it could be that [^;]*")


def _expects_other(other: Finding, expected: float) -> float | None:
    """The bytes per token that a constant is held against, where they are other ones: those of another tokenizer."""
    expects = other.evidence.get("expected")
    return expects if isinstance(expects, float) and abs(expects / expected - 1.0) > _EXPLAINS else None


def _of_a_guess(finding: Finding, other: Finding, divided: float, expects: float, evidence: Evidence | None) -> Finding:
    """A constant of the script's, and the score by the bytes that the text may have where nothing surer is known."""
    message = (
        f"the record divides by {divided:.5f} bytes per token, which is a constant of the script by {_named(other)}; "
        f"the text may have {expects:.5f} ({other.evidence.get('tokenizer')})"
    )
    score = None if evidence is None else evidence.claim.score
    if evidence is not None and score is not None:
        held = score.value * divided / expects
        message += f", by which the score would be {held:.4f}{_so_low(evidence, other, held)}"
    facts = {**finding.evidence, "expected": expects, "tokenizer": None}
    return replace(finding, message=message, evidence=facts)


def _so_low(evidence: Evidence, other: Finding, held: float) -> str:
    """That a score lies below all that is known of its text, the one that a finding names as its tokenizer's."""
    for dataset, known in evidence.rules.pack.doubted_below.items():
        if str(other.evidence.get("tokenizer")).startswith(dataset) and held < known.bits_per_byte:
            return f", below {known.bits_per_byte:g}, under which no score of {dataset} is known to be sound"
    return ""


def _may_explain(finding: Finding, findings: Sequence[Finding], divided: float, expected: float) -> Finding | None:
    """Told with a fault of the script's count that goes the same way, by an amount that hangs on the text."""
    for other in findings:
        is_fewer = _OF_UNKNOWN_SIZE.get(other.code)
        if is_fewer is None or other.severity is Severity.INFORMS or is_fewer is not (divided < expected):
            continue
        prefix = finding.evidence.get("prefix_tokens")
        part = f"; so would a part of the split, a prefix of about {prefix:,} tokens" if isinstance(prefix, int) else ""
        message = (
            f"the record divides by {divided:.5f} bytes per token, where {expected:.5f} is expected "
            f"({(divided / expected - 1.0) * 100:+.2f} %): {_named(other)} would explain it, by how much hangs on the "
            f"text{part}"
        )
        return replace(finding, message=message, evidence={**finding.evidence, "candidates": []})
    return None


def _without_the_right_count(finding: Finding, findings: Sequence[Finding]) -> Finding:
    """Without mistakes of counting that it could be, where the script counts by the rule."""
    candidates = finding.evidence.get("candidates")
    is_right = any(other.code == _COUNTS_BY_THE_RULE for other in findings)
    if (
        not is_right
        or finding.evidence.get("printed_counts") is True  # of whatever counted those
        or not isinstance(candidates, list)
        or not candidates
        or not _SHOWN_BY_SCRIPTS.issuperset(candidates)
    ):
        return finding
    said = f"; the script beside it counts by the rule ({_COUNTS_BY_THE_RULE}), which explains none of that"
    message = _CANDIDATES.sub(said, finding.message, count=1)
    return replace(finding, message=message, evidence={**finding.evidence, "candidates": []})


def _partly(finding: Finding, findings: Sequence[Finding], off: float) -> Finding | None:
    """Told with the fault of the bytes that is most of it, where one refutes: then it is no open question what else."""
    for other in findings:
        if not other.code.startswith("BPB1") or other.severity is not Severity.REFUTES or other.factor is None:
            continue
        if (other.factor - 1.0) * (off - 1.0) > 0.0 and abs(off / other.factor - 1.0) <= _OF_LARGE_PARTS:
            divided, expected = finding.evidence["bytes_per_token"], finding.evidence["expected"]
            message = (
                f"the record divides by {divided:.5f} bytes per token, where {expected:.5f} is expected "
                f"({(off - 1.0) * 100:+.2f} %): {_named(other)} alone makes {(other.factor - 1.0) * 100:+.2f} %, "
                "and nothing that was found tells of the rest"
            )
            return replace(finding, message=message, evidence={**finding.evidence, "candidates": []})
    return None


def _named(finding: Finding) -> str:
    place = place_in_script(finding)
    return finding.code if place is None else f"{finding.code} ({place})"
