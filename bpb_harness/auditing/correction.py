"""What a refuted score should have been, where published numbers alone tell; and why not, where they do not.

A check gives a factor. Only here, where every doubt is known, does it become a score: what is doubted is withheld.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bpb_harness.auditing import codes
from bpb_harness.auditing.checks.lowest_known import lowest_of
from bpb_harness.auditing.checks.rescored import Recomputed
from bpb_harness.auditing.evidence import SCATTER, Evidence
from bpb_harness.auditing.parts import Part, part_scored
from bpb_harness.claim import Printed
from bpb_harness.findings import CODES, Finding, Severity
from bpb_harness.rules.denominators import Denominator

# What makes a score no code length makes it too low; the last: the script learns the text before it scores it.
_DOUBT_IT_IS_SO_LOW = frozenset(
    {
        codes.LEARNT_BEFORE.code,
        codes.HINT_GATED.code,
        codes.TEXT_STORED.code,
        codes.BEYOND_PLAIN.code,
        codes.PROSE_VOIDS.code,
    }
    | {"BPB272", "BPB273"}
)

SECOND_COUNT = "is_second_count"  # evidence of a script's count that stands beside its first, and that the claim is of


@dataclass(frozen=True)
class Correction:
    """A corrected score.

    Attributes:
        bits_per_byte: the score; None where none can be given.
        derivation: how it was worked out, or why it cannot be.
        of_part: where a part of the text was scored whose own bytes are known, the score of that part.
    """

    bits_per_byte: float | None
    derivation: str
    of_part: float | None = None


def corrected(
    evidence: Evidence, score: Printed, findings: Sequence[Finding], refuting: Sequence[Finding],
    recomputed: Recomputed | None,
) -> Correction:  # fmt: skip
    """What a refuted score should have been.

    Args:
        evidence: the claim and its record.
        score: the claimed score.
        findings: all of them, reconciled.
        refuting: those that refute it.
        recomputed: the harness's own score, where there is one.
    """
    if recomputed is not None and any(finding.code == codes.RESCORED_DIFFERENT.code for finding in refuting):
        return Correction(recomputed.bits_per_byte, f"rescored by the harness: {recomputed.signature}")
    logged = next((finding for finding in refuting if finding.code == codes.LOG_CONTRADICTS.code), None)
    byte_faults = [finding for finding in refuting if finding.code.startswith("BPB1")]
    others = [finding for finding in refuting if finding not in byte_faults and finding is not logged]
    voiding = next((finding for finding in others if finding.factor is None), None)
    byte_factor, how = _byte_factor(byte_faults)
    if byte_faults and byte_factor is None:
        return Correction(None, f"none: {how}")
    if byte_factor is not None:
        byte_factor, how = _held_against_the_loss(evidence, score, findings, byte_faults, (byte_factor, how))
        if byte_factor is None:
            return Correction(None, f"none: {how}")
    if byte_factor is not None and any(finding.evidence.get(SECOND_COUNT) is True for finding in byte_faults):
        return Correction(
            None,
            f"none: the claimed bits over the text's own bytes would be {score.value * byte_factor:.4f}, but a model "
            "of bytes that are not the text's gives other bits than one of the text, and what that gives is not known",
        )
    if voiding is not None:
        # A lower number would lend what is voided a look of being better than it claims.
        is_told = byte_factor is not None and byte_factor > 1.0
        also = (
            f"; the right number of bytes alone would make it {score.value * (byte_factor or 1.0):.4f}"
            if is_told
            else ""
        )
        rest = _by_the_rest(evidence, voiding)
        if rest is not None:
            return Correction(None, f"none: {rest}")
        return Correction(None, f"none: {named(voiding)} gives no number in its place{also}")
    factors, ways = [], []
    if logged is not None and logged.factor is not None:
        factors.append(logged.factor)
        whose = "the summary's" if logged.evidence.get("in_summary") else "the log's"
        ways.append(f"claimed, {whose} own {score.value * logged.factor:.5f}")
    if byte_factor is not None:
        factors.append(byte_factor)
        ways.append(how)
    for finding in others:
        assert finding.factor is not None
        factors.append(finding.factor)
        ways.append(f"x {finding.factor:.5f} ({finding.code})")
    if not factors:
        return Correction(None, f"none: {named(refuting[0])} gives no factor")
    value, text = score.value * math.prod(factors), f"{score} {' '.join(ways)}"
    withheld = _why_withheld(evidence, score, value, findings)
    if withheld is not None:
        return Correction(None, f"none: {withheld}")
    if not evidence.lines and byte_faults and not any(map(is_of_record, byte_faults)):
        text += ", taken that the script printed the score, which no log shows"
    part = part_scored(evidence, findings) if byte_factor is not None else None
    return Correction(value, text) if part is None else _with_the_part(evidence, part, value, text)


def _by_the_rest(evidence: Evidence, voiding: Finding) -> str | None:
    """What the rest of a score's own file makes of it, where that file contradicts itself in the score alone."""
    own = evidence.claim.result
    if own is None or own.result.bits_per_byte is None or voiding.code != codes.RESULT_ARITHMETIC.code:
        return None
    if {found.place for found in own.contradictions} != {"bits_per_byte"}:
        return None
    rest = f"{own.result.length.bits_per_byte:.5f}"
    return (
        f"the rest of the file makes it {rest}, and nothing tells which of its numbers was computed: {named(voiding)}"
    )


def _held_against_the_loss(
    evidence: Evidence, score: Printed, findings: Sequence[Finding], faults: Sequence[Finding], told: tuple[float, str]
) -> tuple[float | None, str]:
    """A factor and its derivation, held against the record's own loss over the right bytes, where a loss stands there.

    No loss hangs on how bytes are counted: it goes before a factor that nearly fits it, and one that does not fit is
    of another fault than the one that was found.
    """
    ratio, full, (factor, how) = evidence.ratio, evidence.full, told
    if ratio is None or not ratio.same_estimator or full is None or not evidence.tokenizer_is_named:
        return told
    if any(finding.evidence.get(SECOND_COUNT) is True for finding in faults):
        return told  # the loss beside the score is that of what the first count is of
    if any(is_of_record(finding) for finding in faults) or part_scored(evidence, findings) is not None:
        return told  # a finding of the record is of that very loss
    by_loss = ratio.value / full.bytes_per_token
    off = abs(factor / by_loss - 1.0)
    if off <= max(SCATTER, ratio.uncertainty):
        return told
    if off > _NEARLY:
        other = score.value * by_loss
        return None, (
            f"the record's own loss over the right bytes, {other:.4f}, contradicts what {how} would make of the score, "
            f"{score.value * factor:.4f}"
        )
    of_faults = ", ".join(dict.fromkeys(finding.code for finding in faults))
    return by_loss, (
        f"x {by_loss:.5f} ({ratio.value:.6g} / {full.bytes_per_token:.6g} bytes per token: the record's own loss over "
        f"the right bytes; the factor of {of_faults}, {factor:.5f}, does not quite fit it)"
    )


_NEARLY = 0.03  # relative; a factor that is further off the record's own loss is another fault's


def _why_withheld(evidence: Evidence, score: Printed, value: float, findings: Sequence[Finding]) -> str | None:
    """Why a score worked out by factors is not to be believed: it is too low, and a part of it was taken wrongly.

    Too low is what lies below all that is known to be sound, and what lowers a score that is doubted for being low.
    """
    lowest = lowest_of(evidence)
    if lowest is not None and score.value <= value < lowest:
        return (
            f"the claim lies below {lowest:g} bits per byte, under which none is known to be sound on that text, and "
            f"its factor alone, by which it would be {value:.4f}, does not lift it: something else is behind it"
        )
    if lowest is not None and value < lowest:
        return (
            f"by its factor alone the score would lie below {lowest:g} bits per byte, under which none is known to be "
            "sound on that text, so something behind the factor, such as the tokenizer, is not what it was taken for"
        )
    doubts = (each for each in findings if each.code in _DOUBT_IT_IS_SO_LOW and each.severity is not Severity.INFORMS)
    doubt = next(doubts, None)
    if doubt is not None and value < score.value:
        return f"the factor would lower a score that is doubted already for being too low, by {named(doubt)}"
    return None


def _with_the_part(evidence: Evidence, part: Part, value: float, text: str) -> Correction:
    """A score worked out by the whole text's bytes per token, where a part was scored, with what it is by the part's.

    The bits of the part are what is known: for the whole text the one holds if the rest costs as much per token, the
    other if it costs as much per byte.
    """
    full: Denominator | None = evidence.full
    if part.row is None or full is None:
        said = f"that is by the whole text's bytes per token, of a part, {part}, whose own are not known"
        return Correction(value, f"{text}; {said}")
    there = value * full.bytes_per_token / part.row.bytes_per_token
    if part.num_tokens is None:
        said = (
            f"that is by the whole text's bytes per token, of a part, {part}; {part.known}: by those it is {there:.4f}"
        )
        return Correction(value, f"{text}; {said} for that part")
    said = (
        f"That holds if the whole text costs as much per token as the part that was scored ({part.told_by}). For that "
        f"part, and for the whole text if it costs as much per byte, it is {there:.4f}: {part.known}"
    )
    return Correction(value, f"{text}. {said}", there)


def _byte_factor(faults: Sequence[Finding]) -> tuple[float | None, str]:
    """One factor for the denominator: two findings about it describe one fault, they do not multiply."""
    if not faults:
        return None, ""
    measured = [finding for finding in faults if is_of_record(finding)]
    chosen = next((finding for finding in measured if finding.factor is not None), None)
    if chosen is None and len({finding.code for finding in faults}) == 1:
        chosen = next((finding for finding in faults if finding.factor is not None), None)
    if chosen is not None and chosen.factor is not None:
        return chosen.factor, f"x {chosen.factor:.5f} ({_derivation(chosen)})"
    if len(faults) > 1 and all(finding.factor is not None for finding in faults):
        return None, "several faults of the byte count act together: " + ", ".join(f.code for f in faults)
    return None, f"{named(faults[0])} gives no factor"


def _derivation(finding: Finding) -> str:
    expected, tokenizer = finding.evidence.get("expected"), finding.evidence.get("tokenizer")
    counted = finding.evidence.get("bytes_per_token") or finding.evidence.get("constant")
    if isinstance(expected, float) and isinstance(counted, int | float):
        text = str(tokenizer).partition(", ")[0]  # without who names it
        return f"{counted:.6g} / {expected:.6g} bytes per token, {text}: {finding.code}"
    if finding.code == codes.NATS_AS_BITS.code:
        return f"1 / ln 2, from nats to bits: {finding.code}"
    if finding.code == "BPB167":
        return f"without the constant: {finding.code}"
    return f"what the mistake does to the bytes of the whole text: {finding.code}"


def is_of_record(finding: Finding) -> bool:
    """Whether a finding is one of the record's, not of a script."""
    return int(finding.code[-2:]) < 30


def named(finding: Finding) -> str:
    """``BPB203 (two-pass)``."""
    return f"{finding.code} ({CODES[finding.code].name})"
