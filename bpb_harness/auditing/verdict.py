"""From findings to a verdict, and to what the score should have been.

- *refuted*: a finding changes the number or voids it;
- *confirmed*: somebody else computed it: the harness rescored the checkpoint and got the same, or windows of it were
  proved, and nothing stands against it;
- *consistent*: the record agrees with itself: positive evidence for the number (a log that prints it) and for its
  denominator, and nothing that stands against either. Nobody but its author has computed the number;
- *unverifiable*: everything else, with what is missing.

A rule of the contest (BPB5xx) that is broken voids the entry, not the number: it never changes the verdict.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from bpb_harness.auditing import codes
from bpb_harness.auditing.checks.losses import told_losses
from bpb_harness.auditing.checks.lowest_known import lowest_of
from bpb_harness.auditing.checks.own_result import missing_of
from bpb_harness.auditing.checks.rescored import Recomputed
from bpb_harness.auditing.evidence import Evidence
from bpb_harness.findings import CODES, Finding, Severity
from bpb_harness.rules.denominators import PREFIX, Denominator

_PROVED = "windows that a hash of the score chooses came back from bits, and cost what the score says"


class Verdict(StrEnum):
    """What an audit concludes."""

    CONFIRMED = "confirmed"
    CONSISTENT = "consistent"
    REFUTED = "refuted"
    UNVERIFIABLE = "unverifiable"

    @property
    def exit_code(self) -> int:
        """0 confirmed or consistent, 1 refuted, 3 unverifiable."""
        return {Verdict.REFUTED: 1, Verdict.UNVERIFIABLE: 3}.get(self, 0)


@dataclass(frozen=True)
class Judgement:
    """A verdict and what it rests on.

    Attributes:
        verdict: the verdict.
        reason: one sentence.
        missing: what would be needed to say more; empty where the verdict is confirmed or refuted.
        corrected_bpb: what the score should have been; None where that is not recoverable.
        corrected_from: how it was derived, or why it cannot be.
    """

    verdict: Verdict
    reason: str
    missing: tuple[str, ...]
    corrected_bpb: float | None
    corrected_from: str | None


_NUMBER_SUPPORT = frozenset({codes.IN_LOG.code, codes.SIBLING_IN_LOG.code, codes.LOSS_IN_LOG.code})
_SUBSET = "BPB350"  # the script scores a subset
_HASHED = "BPB267"  # the script divides counts of hashed contexts
# The score itself shows that something of the kind is behind it.
_WONDERS = frozenset({codes.BEYOND_PLAIN.code, codes.BELOW_ALL_KNOWN.code})
_SLICES = frozenset({codes.SLICE.code, codes.SLICE_INFERRED.code, _SUBSET})
# What a record lacks, and a proof makes up for: something behind the number, something behind the bytes.
_LACKS = frozenset({codes.NO_LOG.code, codes.BYTES_UNKNOWN.code})
_FIVE_DIGITS = 2e-5  # relative; parts of the split as large as half of it are ten times as far off
# What makes a score no code length makes it too low.
_DOUBT_IT_IS_SO_LOW = frozenset({codes.LEARNT_BEFORE.code, codes.BEYOND_PLAIN.code, codes.PROSE_VOIDS.code})
# Any of these sets: a plausible gap of two estimators is no evidence unless the log itself tells what was scored.
_BYTES_SUPPORT = (
    frozenset({codes.BYTES_RIGHT.code}),
    frozenset({codes.BYTES_BESIDE.code}),
    frozenset({codes.TWO_ESTIMATORS.code, codes.SPLIT_LOADED.code}),
)

# A fault of the estimator that a script shows, or the author admits, says more than a log that is missing.
_ESTIMATOR_RULES = [
    codes.LEARNT_BEFORE,
    codes.BEYOND_PLAIN,
    codes.JOINT_PRICE,
    codes.PROSE_VOIDS,
    codes.BELOW_ALL_KNOWN,
]
# What a reviewer would say first about a claim that cannot be verified.
_WEIGHTIEST = {
    rule.code: rank
    for rank, rule in enumerate(
        [
            *(codes.NO_CLAIM, codes.RESCORED_UNCLEAR, *_ESTIMATOR_RULES),
            *(codes.WEIGHT_WRONG, codes.STEPS_SLOPE, codes.PAIR_IMPOSSIBLE, codes.PER_TOKEN_AS_PER_BYTE),
            *(codes.NATS_AS_BITS, codes.SLICE, codes.SLICE_INFERRED, codes.NO_LOG, codes.NOT_IN_LOG, codes.BYTES_OFF),
        ]
    )
}


def reconcile(findings: Sequence[Finding]) -> list[Finding]:
    """Settle findings that contradict each other, by the stronger evidence.

    A log's own bytes per token outweigh what a script lying beside it would have counted: the script need not be
    the one that ran. A score that the harness reproduces outweighs every suspicion. A proof stands in the place of what
    a record lacks, and outweighs nothing that it says.
    """
    found = {finding.code for finding in findings}
    if not found.isdisjoint(_WONDERS):
        findings = [_voiding(finding) if finding.code == _HASHED else finding for finding in findings]
    settled = []
    is_refuted = any(finding.severity is Severity.REFUTES for finding in findings)
    for finding in findings:
        demoted = None
        if finding.code == codes.BELOW_ALL_KNOWN.code and is_refuted:  # what refutes it says why it is so low
            continue
        if finding.code == _SUBSET and _to_five_digits(findings):
            message = f"{finding.message} (the log divides by the whole split's number to five digits all the same)"
            settled.append(replace(finding, severity=Severity.INFORMS, message=message))
            continue
        if finding.code in _LACKS and codes.PROVED.code in found:
            message = f"{finding.message} (the proof stands in its place)"
            settled.append(replace(finding, severity=Severity.INFORMS, message=message))
            continue
        if finding.severity is Severity.REFUTES and codes.RESCORED_SAME.code in found:
            demoted = "the harness gets the claimed score all the same"
        elif _is_script_bytes(finding) and codes.BYTES_RIGHT.code in found:
            demoted = "the log divides by the right number all the same, so this script is not what made it"
        if demoted and finding.severity is Severity.REFUTES:
            message = f"{finding.message} ({demoted})"
            settled.append(replace(finding, severity=Severity.WARNS, message=message, factor=None))
        else:
            settled.append(finding)
    return settled


def _voiding(finding: Finding) -> Finding:
    """Counts that are no probability, in the script of a score that no sound scoring reaches: they made it."""
    message = f"{finding.message}; the score is lower than any sound way of scoring makes it, as such counts do"
    return replace(finding, severity=Severity.REFUTES, message=message)


def _to_five_digits(findings: Sequence[Finding]) -> bool:
    """Whether the record divides by the whole split's bytes per token so exactly that no part of it was scored."""
    for finding in findings:
        divided, expected = finding.evidence.get("bytes_per_token"), finding.evidence.get("expected")
        if finding.code != codes.BYTES_RIGHT.code or finding.evidence.get("scope") == PREFIX:
            continue
        if (
            isinstance(divided, float)
            and isinstance(expected, float)
            and finding.evidence.get("uncertainty") is not None
        ):
            uncertainty = finding.evidence["uncertainty"]
            assert isinstance(uncertainty, float)
            if abs(divided / expected - 1.0) + uncertainty <= _FIVE_DIGITS:
                return True
    return False


def _is_script_bytes(finding: Finding) -> bool:
    return finding.code.startswith("BPB1") and not _is_record(finding)


def _is_record(finding: Finding) -> bool:
    return int(finding.code[-2:]) < 30


def judge(evidence: Evidence, findings: Sequence[Finding], recomputed: Recomputed | None) -> Judgement:
    """The verdict on a claim.

    Args:
        evidence: the claim and its record.
        findings: reconciled findings.
        recomputed: the harness's own score, where there is one.
    """
    refuting = [finding for finding in findings if finding.severity is Severity.REFUTES]
    found = {finding.code for finding in findings}
    own = evidence.claim.result if evidence.is_own_file_alone else None
    is_proved = not found.isdisjoint({codes.PROOF_SHORT.code, codes.PROVED.code})
    if refuting and evidence.claim.score is None and own is not None:
        return Judgement(Verdict.REFUTED, refuting[0].message, (), None, None)
    if refuting and evidence.claim.score is None and evidence.claim.perplexity is not None:
        derivation = f"not recoverable: {_named(refuting[0])} voids the number"
        return Judgement(Verdict.REFUTED, refuting[0].message, (), None, derivation)
    if refuting and evidence.claim.score is not None:
        partial = not found.isdisjoint(_SLICES)
        doubt = next((finding for finding in findings if finding.code in _DOUBT_IT_IS_SO_LOW), None)
        corrected, derivation = _corrected(evidence, refuting, recomputed, partial=partial, doubt=doubt)
        if corrected is None and recomputed is None:
            derivation = f"{derivation}; {_WOULD_TELL}" if derivation else _WOULD_TELL
        return Judgement(Verdict.REFUTED, refuting[0].message, (), corrected, derivation)
    if codes.RESCORED_SAME.code in found:
        return Judgement(Verdict.CONFIRMED, "the harness gets the same score from the checkpoint", (), None, None)
    blocking = [
        finding for finding in findings if finding.severity is Severity.WARNS and not finding.code.startswith("BPB5")
    ]
    if codes.PROVED.code in found and not blocking and not refuting:
        return Judgement(Verdict.CONFIRMED, _PROVED, (), None, None)
    if evidence.losses and {codes.LOSSES_IN_LOGS.code, codes.TOKENS_OF_RULES.code} <= found and not blocking:
        reason = f"{told_losses(evidence.losses)}, over the tokens that the rules fix; {_NOT_RECOMPUTED}"
        return Judgement(Verdict.CONSISTENT, reason, (_BYTES_OF_TOKENS,), None, None)
    has_number, has_bytes = bool(found & _NUMBER_SUPPORT), any(support <= found for support in _BYTES_SUPPORT)
    if has_number and has_bytes and not blocking and not refuting:
        reason = f"{_what_agrees(findings)}; {_NOT_RECOMPUTED}"
        return Judgement(Verdict.CONSISTENT, reason, (_TO_CONFIRM,), None, None)
    missing = [str(finding.evidence["missing"]) for finding in findings if finding.evidence.get("missing")]
    if own is not None:
        missing += missing_of(own, is_rescored=recomputed is not None, is_proved=is_proved)
    elif evidence.claim.score is not None:
        if not has_number:
            missing.append("a log that prints the claimed score")
        if not has_bytes and evidence.ratio is None:
            missing.append("bytes per token: a loss in nats per token beside the score, or the script that counted")
        if not has_bytes and codes.TWO_ESTIMATORS.code in found:
            missing.append("a log that says how many tokens of the split were scored")
        if recomputed is None:
            instead = ", which would do instead" if missing else ""
            missing.append(f"the checkpoint, to score it anew{instead} (--checkpoint, --data, --tokenizer)")
    blocking.sort(key=_weight)
    reason = blocking[0].message if blocking else _NOTHING_AGAINST if own is None else _FILE_ALONE
    return Judgement(Verdict.UNVERIFIABLE, reason, tuple(dict.fromkeys(missing)), None, None)


_WOULD_TELL = "the checkpoint, scored anew, would tell (--checkpoint, --data, --tokenizer)"
_NOTHING_AGAINST = "nothing stands against the number, and not enough for it"
_NOT_RECOMPUTED = "nobody but its author has computed it"
_TO_CONFIRM = (
    "to be confirmed: the checkpoint, scored anew (--checkpoint, --data, --tokenizer), or a proof in bits (--proof)"
)
_BYTES_OF_TOKENS = "for bits per byte: the number of bytes of those tokens, which the rules do not know"
_FILE_ALONE = "the file agrees with itself, and nobody but its writer has computed the number"


def _weight(finding: Finding) -> int:
    if _is_estimator_of_script(finding):
        return _WEIGHTIEST[codes.BEYOND_PLAIN.code]
    return _WEIGHTIEST.get(finding.code, len(_WEIGHTIEST))


def _is_estimator_of_script(finding: Finding) -> bool:
    return finding.code.startswith("BPB2") and not _is_record(finding) and finding.code not in _LIGHT


# Number formats, an id, a setting: they bend a number rather than void it.
_LIGHT = frozenset({"BPB253", "BPB258", "BPB262", "BPB266"})


def _what_agrees(findings: Sequence[Finding]) -> str:
    """The evidence for the number and for its denominator, in one sentence."""
    by_code = {finding.code: finding for finding in findings}
    sibling, loaded = by_code.get(codes.SIBLING_IN_LOG.code), by_code.get(codes.SPLIT_LOADED.code)
    if codes.IN_LOG.code in by_code:
        mean = by_code[codes.IN_LOG.code].evidence.get("how") == "mean"
        number = "the score is the mean of what its logs print" if mean else "the log prints the score"
    elif sibling is not None:
        which = "the full-split value" if sibling.evidence["full_split"] else "another score of that run,"
        number = (
            f"the score is the mean of its own {sibling.evidence['num_seeds']} seed results, which no log prints; the "
            f"log of {sibling.evidence['seeds_in_logs']} shows {which} {sibling.evidence['logged']:.5f}"
        )
    else:
        number = "the log's loss, divided by the right number of bytes, is the score"
    if codes.BYTES_BESIDE.code in by_code:
        return f"{number}; no loss stands beside it, and the other lines of its run divide by the right number of bytes"
    if codes.BYTES_RIGHT.code in by_code or loaded is None:
        return f"{number}, and the record divides by the right number of bytes"
    pair = by_code[codes.TWO_ESTIMATORS.code].evidence
    ratio = pair["implied_ratio"]
    return (
        f"{number}, and loads the whole split, whose bytes are exact; loss / ln 2 / score is {ratio:.3f} "
        f"because these are two estimators, whose gap is compatible with what T = {pair['num_steps']} steps cost"
    )


def _plausible(
    evidence: Evidence, corrected: float | None, derivation: str, doubt: Finding | None
) -> tuple[float | None, str]:
    """A correction by factors, unless it is too low to be believed: then a part of it was taken wrongly.

    Too low is what lies below all that is known to stand, and what lowers a score that is doubted for being low.
    """
    score, lowest = evidence.claim.score, lowest_of(evidence)
    if corrected is None or score is None:
        return corrected, derivation
    if lowest is not None and corrected < lowest:
        why = "below all that is known to stand on that text"
    elif doubt is not None and corrected < score.value:
        why = f"lower still than a score that {_named(doubt)} doubts"
    else:
        return corrected, derivation
    below = f"{derivation} would be {corrected:.4f}, {why}"
    return None, f"not recoverable: {below}; the tokenizer is probably not the one that it was taken for"


def _corrected(
    evidence: Evidence,
    refuting: Sequence[Finding],
    recomputed: Recomputed | None,
    *,
    partial: bool,
    doubt: Finding | None,
) -> tuple[float | None, str]:
    score = evidence.claim.score
    assert score is not None
    if recomputed is not None and any(finding.code == codes.RESCORED_DIFFERENT.code for finding in refuting):
        return recomputed.bits_per_byte, f"rescored by the harness: {recomputed.signature}"
    logged = next((finding for finding in refuting if finding.code == codes.LOG_CONTRADICTS.code), None)
    byte_faults = [finding for finding in refuting if finding.code.startswith("BPB1")]
    voiding = [finding for finding in refuting if finding not in byte_faults and finding is not logged]
    factors, ways = [], []
    if logged is not None and logged.factor is not None:
        factors.append(logged.factor)
        ways.append(f"claimed, the log's own {score.value * logged.factor:.5f}")
    factor, way = _byte_factor(byte_faults)
    if factor is not None:
        factors.append(factor)
        ways.append(way)
    value = score.value * math.prod(factors) if factors else None
    if byte_faults and factor is None:
        return None, f"not recoverable: {way}"
    without = [finding for finding in voiding if finding.factor is None]
    if without:
        only = f"; the number of bytes alone would make it {value:.4f}" if value is not None else ""
        return None, f"not recoverable: {_named(without[0])} voids the number{only}"
    for finding in voiding:
        assert finding.factor is not None
        value = (value if value is not None else score.value) * finding.factor
        ways.append(f"x {finding.factor:.5f} ({finding.code})")
    text = f"{score} {' '.join(ways)}"
    prefix = _prefix(evidence)
    if factor is not None and value is not None and partial and prefix is not None and evidence.full is not None:
        there = value * evidence.full.bytes_per_token / prefix.bytes_per_token
        text += (
            f", at the ratio of the full split; only a part was scored, and at the ratio of the first "
            f"{prefix.num_tokens:,} tokens, {prefix.bytes_per_token:.5f}, it is {there:.4f}"
        )
    return _plausible(evidence, value, text, doubt)


def _prefix(evidence: Evidence) -> Denominator | None:
    return next(
        (row for row in evidence.rules.table.rows if row.scope == PREFIX and row.tokenizer == evidence.tokenizer), None
    )


def _byte_factor(faults: Sequence[Finding]) -> tuple[float | None, str]:
    """One factor for the denominator: two findings about it describe one fault, they do not multiply."""
    if not faults:
        return None, ""
    measured = [finding for finding in faults if _is_record(finding)]
    chosen = next((finding for finding in measured if finding.factor is not None), None)
    if chosen is None and len({finding.code for finding in faults}) == 1:
        chosen = next((finding for finding in faults if finding.factor is not None), None)
    if chosen is not None and chosen.factor is not None:
        return chosen.factor, f"x {chosen.factor:.5f} ({_derivation(chosen)})"
    if len(faults) > 1 and all(finding.factor is not None for finding in faults):
        return None, "several faults of the byte count act together: " + ", ".join(f.code for f in faults)
    return None, f"{_named(faults[0])} gives no factor"


def _named(finding: Finding) -> str:
    return f"{finding.code} ({CODES[finding.code].name})"


def _derivation(finding: Finding) -> str:
    expected, tokenizer = finding.evidence.get("expected"), finding.evidence.get("tokenizer")
    counted = finding.evidence.get("bytes_per_token") or finding.evidence.get("constant")
    bug = finding.evidence.get("bug")
    if isinstance(expected, float) and isinstance(counted, int | float):
        named = f", {bug}" if bug else ""
        return f"{counted:.6g} / {expected:.6g} bytes per token, {tokenizer}{named}"
    return finding.code
