"""From findings to a verdict, and to what the score should have been.

- *refuted*: a finding changes the number or voids it;
- *confirmed*: somebody else computed it: the harness rescored the checkpoint and got the same, and nothing says that
  its weights have learnt the text, or windows of it were proved, and nothing stands against it;
- *consistent*: the record agrees with itself: positive evidence for the number (a log that prints it) and for its
  denominator, and nothing that stands against either. Only its author has computed the number;
- *unverifiable*: everything else, with what is missing.

A rule of the contest (BPB5xx) that is broken voids the entry, not the number: it never changes the verdict.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from bpb_harness.auditing import codes
from bpb_harness.auditing.checks.losses import told_losses
from bpb_harness.auditing.checks.own_result import missing_of
from bpb_harness.auditing.checks.rescored import Recomputed
from bpb_harness.auditing.correction import corrected, is_of_record, named
from bpb_harness.auditing.evidence import Evidence
from bpb_harness.auditing.explained import explained, of_the_table
from bpb_harness.auditing.learnt import (
    CAME_FIRST,
    OF_ANOTHER_VERSION,
    ON_IT_ALONE,
    SHOWN_BY_ANOTHER_VERSION,
    SHOWN_BY_ITS_LOG,
    doubts_of_learning,
    is_of_learning,
    settling_learning,
    shown_by_all,
)
from bpb_harness.auditing.parts import Part, held_against_the_part, of_the_whole, part_scored
from bpb_harness.auditing.settling import A_PROOF, SCORED_AGAIN, settling
from bpb_harness.findings import Finding, Rule, Severity
from bpb_harness.rules.denominators import PREFIX

_THEIR_NUMBER = (
    "the score was computed a second time, and is right for these weights; whether it is the code length of a text "
    "that they have not seen, no rescoring shows"
)
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
        missing: what would settle it; empty where the harness itself has computed the score.
        corrected_bpb: what the score should have been; None where no such number can be given.
        corrected_from: how it was derived, or why it cannot be.
        rests_on: the codes of the findings that decided.
        corrected_of_part: where a part of the text was scored whose own bytes are known, the score of that part.
    """

    verdict: Verdict
    reason: str
    missing: tuple[str, ...]
    corrected_bpb: float | None
    corrected_from: str | None
    rests_on: tuple[str, ...] = ()
    corrected_of_part: float | None = None


_NUMBER_SUPPORT = frozenset({codes.IN_LOG.code, codes.SIBLING_IN_LOG.code, codes.LOSS_IN_LOG.code})
_SUBSET = "BPB350"  # the script scores a subset
_CONSTANT_TOTAL = "BPB355"  # and divides by the whole text's number, or prints it, whatever that is
_CONSTANTS = frozenset({codes.BYTES_CONSTANT.code, "BPB150"})  # stated, and in a script
# What a script may do beside its score, or to make it: counts of hashed contexts, a last pass over text it has learnt,
# a price without target among those that are mixed, the better of two prices, steps on a window before its score.
_VOIDS_WHAT_IS_SO_LOW = frozenset({"BPB267", "BPB272", "BPB273", "BPB274", "BPB275"})
_OF_CLAIMED_LINE = frozenset({"BPB273", "BPB274", "BPB275"})
# The score itself shows that something of the kind is behind it.
_WONDERS = {
    codes.BEYOND_PLAIN.code: "far below what the network itself scores in the same run",
    codes.BELOW_ALL_KNOWN.code: "below every score that is known to stand on that text",
}
_OTHER_UNIT = frozenset({codes.NATS_AS_BITS.code, codes.PER_TOKEN_AS_PER_BYTE.code})
_OF_MIXTURES = frozenset({"BPB267", "BPB274", "BPB275"})
# What a record lacks, and a proof makes up for: something behind the number, something behind the bytes.
_LACKS = frozenset({codes.NO_LOG.code, codes.BYTES_UNKNOWN.code})
_OF_BYTES = 1e-3  # bytes per token above 1 of a text whose tokens are bytes: a token that is two is a rare one
_FIVE_DIGITS = 2e-5  # relative; parts of the split as large as half of it are ten times as far off
# Any of these sets: a plausible gap of two estimators is no evidence unless the log itself tells what was scored.
_BYTES_SUPPORT = (
    frozenset({codes.BYTES_RIGHT.code}),
    frozenset({codes.BYTES_BESIDE.code}),
    frozenset({codes.TWO_ESTIMATORS.code, codes.SPLIT_LOADED.code}),
)
_SUPPORT = _NUMBER_SUPPORT.union(*_BYTES_SUPPORT)

# A fault of the estimator that a script shows, or the author admits, says more than a log that is missing.
_ESTIMATOR_RULES = [
    codes.LEARNT_BEFORE,
    codes.HINT_GATED,
    codes.TWO_ORDERS,
    codes.TEXT_STORED,
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
            codes.BYTES_CONTRADICT,
            *(codes.NATS_AS_BITS, codes.SLICE, codes.SLICE_INFERRED, codes.NO_RUN_PRINTS, codes.BEFORE_PACKING),
            *(codes.NO_LOG, codes.NOT_IN_LOG, codes.BYTES_OFF),
        ]
    )
}


def reconcile(findings: Sequence[Finding], evidence: Evidence | None = None) -> list[Finding]:
    """Settle findings that contradict each other, by the stronger evidence.

    A log's own bytes per token outweigh what a script lying beside it would have counted: the script need not be the
    one that ran. A score that the harness reproduces outweighs every suspicion but that its text was learnt. A proof
    stands in the place of what a record lacks, and outweighs nothing that it says. A constant in place of the bytes is
    held against the part of the text that was scored.

    Args:
        findings: of all checks.
        evidence: the claim and its record; None where nothing is held against a part of the text.
    """
    if any(finding.code in _OTHER_UNIT and finding.severity is Severity.REFUTES for finding in findings):
        findings = [finding for finding in findings if finding.code != codes.BEYOND_PLAIN.code]  # it says why it is low
    told = part_scored(evidence, findings) if evidence is not None else None
    findings = [of_the_whole(told, explained(finding, findings, told, evidence)) for finding in findings]
    findings = [of_the_table(finding, findings) for finding in findings]
    part = told if not to_five_digits(findings) else None
    if part is not None:
        findings = [held_against_the_part(part, finding) for finding in findings]
    found = {finding.code for finding in findings}
    findings = [_voiding(each, low, part) if (low := _so_low(each, findings)) else each for each in findings]
    if codes.BELOW_ALL_KNOWN.code in found:
        known = [codes.BELOW_ALL_KNOWN.code]
        findings = [_voiding(each, known, part) if _is_admitted(each) else each for each in findings]
    shown = shown_by_all(findings)
    findings = [_said_and_shown(finding, findings) if finding in shown else finding for finding in findings]
    settled = []
    is_behind = any(map(_voids_what_is_so_low, findings)) or any(map(_is_admitted, findings))  # a part of what refutes
    is_refuted = any(finding.severity is Severity.REFUTES for finding in findings)
    for finding in findings:
        demoted = None
        if (
            finding.code == codes.BELOW_ALL_KNOWN.code
            and is_refuted
            and not is_behind
            and _lifts(findings, finding, evidence)
        ):
            continue  # what refutes it says why it is so low
        if finding.code == codes.BYTES_UNKNOWN.code and any(map(_tells_constant, findings)):
            continue  # no loss is printed that would tell; but what it was divided by is known
        if finding.code == _SUBSET and to_five_digits(findings):
            settled.append(_beside_the_whole_split(finding))
            continue
        if finding.code == _SUBSET and (place := _whole_split_at(findings)) is not None:
            message = (
                f"{finding.message.rstrip('.')} (the record says so, and a log prints the whole split's score too, at "
                f"{place})"
            )
            settled.append(replace(finding, severity=Severity.INFORMS, message=message))
            continue
        if finding.code in _LACKS and codes.PROVED.code in found:
            message = f"{finding.message.rstrip('.')} (the proof stands in its place)"
            settled.append(replace(finding, severity=Severity.INFORMS, message=message))
            continue
        if finding.severity is Severity.REFUTES and codes.RESCORED_SAME.code in found and not is_of_learning(finding):
            demoted = "the harness gets the claimed score all the same"
        elif _is_script_bytes(finding) and (right := _right_of(findings)) is not None:
            if (
                finding.severity is Severity.REFUTES
                and finding.code in _OF_A_TABLE
                and _is_the_claims_own(right, evidence)
            ):
                settled.append(_not_what_ran(finding, right))
                continue
            demoted = (
                "the record divides by the right number all the same, so this script, as it was followed here, is not "
                "what made the score"
            )
        if demoted and finding.severity is Severity.REFUTES:
            message = f"{finding.message.rstrip('.')} ({demoted})"
            settled.append(replace(finding, severity=Severity.WARNS, message=message, factor=None))
        else:
            settled.append(_unlogged(evidence, _tied_to_the_log(finding, findings)))
    return settled


def _right_of(findings: Sequence[Finding]) -> Finding | None:
    return next((finding for finding in findings if finding.code == codes.BYTES_RIGHT.code), None)


def _is_the_claims_own(right: Finding, evidence: Evidence | None) -> bool:
    """Whether the right bytes per token are those of the claimed score itself, under a tokenizer that is named."""
    is_sure = right.severity is Severity.CONFIRMS and right.evidence.get("inferred") is False
    return is_sure and evidence is not None and not evidence.siblings


def _not_what_ran(finding: Finding, right: Finding) -> Finding:
    """A fault of a script's byte table that the claim's own loss and score contradict: it did not make the score."""
    places = right.evidence.get("places")
    where = f" ({', '.join(map(str, places[:_MOST_PLACES]))})" if isinstance(places, list) and places else ""
    message = (
        f"{_EFFECT.sub('', finding.message).rstrip('.')}. The claimed score was not divided by that: its own loss and "
        f"score{where} give the right bytes per token, so the script, as it was followed here, is not what made it"
    )
    return replace(finding, message=message, severity=Severity.INFORMS, factor=None)


_OF_A_TABLE = frozenset({"BPB151", "BPB152", "BPB153", "BPB154"})
_MOST_PLACES = 3
_EFFECT = re.compile(
    r"[;,:] (?:so the score is too (?:low|high)|the score is too low|which makes the score too low)"
    r"(?: \(too good\))?(?:: [^()]*?)?(?= \(|\.|$)"
)


def _lifts(findings: Sequence[Finding], low: Finding, evidence: Evidence | None) -> bool:
    """Whether what refutes a score may be all that makes it so low: no factor that leaves it below what is known."""
    factors = [each.factor for each in findings if each.severity is Severity.REFUTES]
    lowest, score = low.evidence.get("lowest"), None if evidence is None else evidence.claim.score
    if score is None or not isinstance(lowest, float):
        return True
    return any(factor is None or score.value * factor >= lowest for factor in factors)


def _unlogged(evidence: Evidence | None, finding: Finding) -> Finding:
    """A script's byte count that refutes a score which no log shows to be the script's: the reason says so."""
    is_refuting = finding.severity is Severity.REFUTES and _is_script_bytes(finding)
    if evidence is None or evidence.lines or not is_refuting or finding.message.endswith(_TIED):
        return finding
    return replace(finding, message=f"{finding.message.rstrip('.')}. {_UNLOGGED}")


def _beside_the_whole_split(finding: Finding) -> Finding:
    """A script that scores a part, beside a log of the whole split: another script's, where each run of it has that."""
    said = "the log divides by the whole split's number to five digits all the same"
    if finding.evidence.get("is_fixed") is not True:
        return replace(finding, severity=Severity.INFORMS, message=f"{finding.message.rstrip('.')} ({said})")
    message = (
        f"{finding.message.rstrip('.')} ({said}: the script, as it stands, did not write that log, and which did is "
        "not known)"
    )
    return replace(finding, severity=Severity.WARNS, message=message)


def _tied_to_the_log(finding: Finding, findings: Sequence[Finding]) -> Finding:
    """A script's byte fault by whose factor the record divides too: that ties the script to its numbers."""
    measured = [each.evidence.get("bug_factor") for each in findings if each.code == codes.BYTES_BUG.code]
    if finding.factor is None or not _is_script_bytes(finding) or finding.factor not in measured:
        return finding
    return replace(finding, message=f"{finding.message} {_TIED}")


_UNLOGGED = "That this script printed the score, no log shows."
_TIED = "The record's bytes per token are off by the factor of this count (BPB102), which ties the script to it."


def _tells_constant(finding: Finding) -> bool:
    """Whether the constant that the score was divided by is known: stated, or in every reported score of a script."""
    is_of_all = finding.evidence.get("another_score") is None
    return finding.code in _CONSTANTS and isinstance(finding.evidence.get("constant"), int | float) and is_of_all


def _so_low(finding: Finding, findings: Sequence[Finding]) -> list[str]:
    """The codes of what shows a score to be low, where a doubt refutes one that is.

    What averages and windows may have gained over a step of training is no sign of a mixture, unless the log shows one
    that cannot add up to 1.
    """
    if not _voids_what_is_so_low(finding):
        return []
    wonders = [each for each in findings if each.code in _WONDERS]
    if finding.code in _OF_MIXTURES and SHOWN_BY_ITS_LOG not in finding.evidence:
        wonders = [each for each in wonders if each.evidence.get("may_be_averaging") is not True]
    return sorted({each.code for each in wonders})


def _voids_what_is_so_low(finding: Finding) -> bool:
    """Whether a doubt of a script refutes a score that is low.

    A mixture, and a window's steps, have to be followed from the very line that carries the claim. Where a bound on the
    token's own price decides, and not another price of it, all prices may be of less than 1. One pass over a text,
    where neither log nor README tells how many there were, would be in order; and what another version of the script
    did, which wrote the logs, is not known where nothing else tells it.
    """
    is_sure = finding.code not in _OF_CLAIMED_LINE or finding.evidence.get("is_of_claimed_line") is True
    is_more = finding.code != "BPB275" or finding.evidence.get("better_of_two") is True
    is_told = not any(finding.evidence.get(each) is True for each in ("passes_not_told", OF_ANOTHER_VERSION))
    return finding.code in _VOIDS_WHAT_IS_SO_LOW and is_sure and is_more and is_told


def _is_admitted(finding: Finding) -> bool:
    """Whether the record says itself that the network was trained on the scored text, and on no other."""
    return finding.code == codes.PROSE_VOIDS.code and finding.evidence.get(ON_IT_ALONE) is True


def _voiding(finding: Finding, wonders: Sequence[str], part: Part | None) -> Finding:
    """What makes no probability, or text that was learnt, behind a score that is low; of a part or not."""
    low = " and ".join(f"{_WONDERS[code]} ({code})" for code in wonders)
    message = f"{finding.message.rstrip('.')}. And the score is low: {low}"
    if part is not None and codes.BELOW_ALL_KNOWN.code in wonders:
        message += f". Those are scores of the whole text, and a part of it was scored here: {part}"
    return replace(finding, severity=Severity.REFUTES, message=message)


def _said_and_shown(finding: Finding, findings: Sequence[Finding]) -> Finding:
    """A training on the scored text that is no doubt: the record's own words and its log say what its script does."""
    words = next(each for each in findings if each.evidence.get(CAME_FIRST) is True)
    shown = next(each for each in findings if each.code == codes.LEARNT_BEFORE.code and "epochs" in each.evidence)
    plain, _, _ = finding.message.partition(". This is a doubt")
    message = (
        f"{plain}. Another version of it ran, by the size that the log states, and did the same: "
        f"{finding.evidence[SHOWN_BY_ANOTHER_VERSION]} is a line of this training, {_when(finding, shown)}, and "
        f"{words.evidence['place']} says itself that it came first. A decoder would need those weights, which were "
        "fitted to the text, before it has the text, and the score pays nothing for them: it is the length of no code"
    )
    return replace(finding, message=message, severity=Severity.REFUTES)


def _when(finding: Finding, shown: Finding) -> str:
    """When a line of a log was printed: in one of the epochs that the log shows, or before the first."""
    epochs = f"{shown.evidence['epochs']} epochs"
    (file, line), (other, first) = (
        str(place).rpartition(":")[::2]
        for place in (finding.evidence[SHOWN_BY_ANOTHER_VERSION], shown.evidence.get("place", ""))
    )
    is_before = file == other and line.isdecimal() and first.isdecimal() and int(line) < int(first)
    return f"before its {epochs} and the score" if is_before else f"before the score, of one of {epochs}"


def to_five_digits(findings: Sequence[Finding]) -> bool:
    """Whether the record divides by the whole split's bytes per token so exactly that no part of it was scored.

    A run has to have counted them: the split's own number as a constant of the script is there whatever was scored.
    Where tokens are bytes, each part has one byte per token, as the whole has.
    """
    for finding in () if any(each.code == _CONSTANT_TOTAL for each in findings) else findings:
        divided, expected = finding.evidence.get("bytes_per_token"), finding.evidence.get("expected")
        if finding.code != codes.BYTES_RIGHT.code or finding.evidence.get("scope") == PREFIX:
            continue
        if isinstance(expected, float) and abs(expected - 1.0) <= _OF_BYTES:
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


def _whole_split_at(findings: Sequence[Finding]) -> str | None:
    """Where a log prints the whole split's score beside that of a part, which the record says it claims."""
    places = (found.evidence.get("full_split_at") for found in findings if found.code == codes.SLICE_WITH_FULL.code)
    return next((str(place) for place in places if place is not None), None)


def _is_script_bytes(finding: Finding) -> bool:
    return finding.code.startswith("BPB1") and not is_of_record(finding)


def judge(evidence: Evidence, findings: Sequence[Finding], recomputed: Recomputed | None) -> Judgement:
    """The verdict on a claim.

    Args:
        evidence: the claim and its record.
        findings: reconciled findings.
        recomputed: the harness's own score, where there is one.
    """
    refuting = sorted((finding for finding in findings if finding.severity is Severity.REFUTES), key=_hurts_its_author)
    own = evidence.claim.result if evidence.is_own_file_alone else None
    if refuting and (own is not None or evidence.claim.score is not None or evidence.claim.perplexity is not None):
        return _refuted(evidence, findings, refuting, recomputed)
    found = {finding.code for finding in findings}
    if codes.RESCORED_SAME.code in found:
        reason = "the score was computed a second time, from the checkpoint, and is the same"
        if learnt := doubts_of_learning(findings):
            return _of_these_weights(learnt)
        return Judgement(Verdict.CONFIRMED, reason, (), None, None, (codes.RESCORED_SAME.code,))
    blocking = [
        finding for finding in findings if finding.severity is Severity.WARNS and not finding.code.startswith("BPB5")
    ]
    if codes.PROVED.code in found and not blocking and not refuting:
        return Judgement(Verdict.CONFIRMED, _PROVED, (), None, None, (codes.PROVED.code,))
    if evidence.losses and {codes.LOSSES_IN_LOGS.code, codes.TOKENS_OF_RULES.code} <= found and not blocking:
        reason = f"{told_losses(evidence.losses)}, over the tokens that the rules fix; {_NOT_RECOMPUTED}"
        rests_on = (codes.LOSSES_IN_LOGS.code, codes.TOKENS_OF_RULES.code)
        return Judgement(Verdict.CONSISTENT, reason, (_BYTES_OF_TOKENS, SCORED_AGAIN), None, None, rests_on)
    has_number, has_bytes = bool(found & _NUMBER_SUPPORT), any(support <= found for support in _BYTES_SUPPORT)
    if has_number and has_bytes and not blocking and not refuting:
        reason = f"{_what_agrees(findings)}; {_NOT_RECOMPUTED}"
        again = f"{SCORED_AGAIN}; or {A_PROOF}"
        is_pair = codes.TWO_ESTIMATORS.code in found and not found & {codes.BYTES_RIGHT.code, codes.BYTES_BESIDE.code}
        settles = (_PRINTED, f"instead of that: {again}") if is_pair else (again,)
        return Judgement(Verdict.CONSISTENT, reason, settles, None, None, tuple(sorted(found & _SUPPORT)))
    missing = _missing(evidence, findings, recomputed, has_number=has_number, has_bytes=has_bytes)
    blocking.sort(key=_weight)
    reason = blocking[0].message if blocking else _NOTHING_AGAINST if own is None else _FILE_ALONE
    return Judgement(Verdict.UNVERIFIABLE, reason, missing, None, None, tuple(finding.code for finding in blocking[:1]))


def _of_these_weights(learnt: list[Finding]) -> Judgement:
    """The verdict on a number that is that of its checkpoint, whose weights may have learnt the text."""
    learnt.sort(key=_weight)
    asked = [str(finding.evidence["missing"]) for finding in learnt if finding.evidence.get("missing")]
    missing = tuple(dict.fromkeys([*asked, *settling_learning(learnt)]))
    rests_on = tuple(dict.fromkeys([learnt[0].code, codes.RESCORED_SAME.code]))
    reason = f"{_THEIR_NUMBER}, and {named(learnt[0])} says that it may not be"
    return Judgement(Verdict.UNVERIFIABLE, reason, missing, None, None, rests_on)


def _hurts_its_author(finding: Finding) -> bool:
    """Whether a fault makes the claim worse than it is: it is named behind those that make it better."""
    return finding.factor is not None and finding.factor < 1.0


def _first_said(refuting: Sequence[Finding]) -> Finding:
    """What a reviewer would say first: that the number is no score, rather than that it is off by an unknown factor."""
    first = refuting[0]
    if first.factor is None and first.code.startswith("BPB1"):
        return next((finding for finding in refuting if finding.code.startswith("BPB2")), first)
    return first


def _refuted(
    evidence: Evidence, findings: Sequence[Finding], refuting: Sequence[Finding], recomputed: Recomputed | None
) -> Judgement:
    """The verdict where something refutes: what is right, if that is known, and what would settle it."""
    first = _first_said(refuting)
    rests_on = tuple(dict.fromkeys(finding.code for finding in (first, *refuting)))
    score = evidence.claim.score
    if score is None:
        own = evidence.claim.result if evidence.is_own_file_alone else None
        derivation = None if own is not None else f"none: {named(refuting[0])} gives no number in its place"
        missing = _missing(evidence, findings, recomputed, has_number=False, has_bytes=False)
        return Judgement(Verdict.REFUTED, first.message, missing, None, derivation, rests_on)
    right = corrected(evidence, score, findings, refuting, recomputed)
    of_part = part_scored(evidence, findings) is not None
    expected = [score for score in (right.bits_per_byte, right.of_part) if score is not None]
    is_settled = any(finding.code == codes.RESCORED_DIFFERENT.code for finding in refuting)
    settles = settling(refuting, findings, expected, of_part=of_part, is_recomputed=is_settled)
    return Judgement(
        Verdict.REFUTED, first.message, settles, right.bits_per_byte, right.derivation, rests_on, right.of_part
    )


def _missing(
    evidence: Evidence, findings: Sequence[Finding], recomputed: Recomputed | None, *, has_number: bool, has_bytes: bool
) -> tuple[str, ...]:
    """What would be needed to say more of a claim that is not settled."""
    found = {finding.code for finding in findings}
    missing = [str(finding.evidence["missing"]) for finding in findings if finding.evidence.get("missing")]
    own = evidence.claim.result if evidence.is_own_file_alone else None
    if own is not None:
        is_proved = not found.isdisjoint({codes.PROOF_SHORT.code, codes.PROVED.code})
        missing += missing_of(own, is_rescored=recomputed is not None, is_proved=is_proved)
    elif evidence.claim.score is not None:
        if not has_number and not _lacks(findings, codes.NO_LOG):
            missing.append("a log that prints the claimed score")
        if not has_bytes and evidence.ratio is None and not _lacks(findings, codes.BYTES_UNKNOWN):
            missing.append("bytes per token: a loss in nats per token beside the score, or the script that counted")
        if not has_bytes and codes.TWO_ESTIMATORS.code in found:
            missing.append(_PRINTED)
        if learnt := doubts_of_learning(findings):
            missing += settling_learning(learnt)
        elif recomputed is None:
            missing.append(f"instead of all that: {SCORED_AGAIN}" if missing else SCORED_AGAIN)
    return tuple(dict.fromkeys(missing))


def _lacks(findings: Sequence[Finding], rule: Rule) -> bool:
    """Whether a finding of a kind says itself what is missing: it is asked for once."""
    return any(finding.code == rule.code and finding.evidence.get("missing") for finding in findings)


_NOTHING_AGAINST = "nothing speaks against the number, and not enough for it"
_NOT_RECOMPUTED = "only its author has computed the score"
# What tells two estimates of the whole text from one of a part of it.
_PRINTED = (
    "a log that prints how many tokens were scored, by how many bytes their bits were divided, and the loss and the "
    "T-step bound over the same tokens"
)
_BYTES_OF_TOKENS = "for bits per byte: the number of bytes of those tokens, which the rules do not know"
_FILE_ALONE = "the file agrees with itself, and only its writer has computed the number"


def _weight(finding: Finding) -> int:
    if finding.code == _CHARACTERS:
        return _WEIGHTIEST[codes.SLICE.code]
    if finding.code.startswith("BPB2") and not is_of_record(finding) and finding.code not in _LIGHT:
        return _WEIGHTIEST[codes.BEYOND_PLAIN.code]
    return _WEIGHTIEST.get(finding.code, len(_WEIGHTIEST))


_CHARACTERS = "BPB165"  # counted in place of bytes: what is wrong, by an amount that hangs on the text
# Number formats, an id: they bend a number rather than void it.
_LIGHT = frozenset({"BPB253", "BPB258", "BPB262"})


def _what_agrees(findings: Sequence[Finding]) -> str:
    """The evidence for the number and for its denominator, in one sentence."""
    by_code = {finding.code: finding for finding in findings}
    sibling, loaded = by_code.get(codes.SIBLING_IN_LOG.code), by_code.get(codes.SPLIT_LOADED.code)
    if codes.IN_LOG.code in by_code:
        found = by_code[codes.IN_LOG.code].evidence
        of_table, of_logs = ("a table prints", "a table of the record"), ("its logs print", "the log")
        of_summary = ("wandb's summaries give", "wandb's summary")
        many, one = of_summary if found.get("in_summary") else of_table if found.get("in_table") else of_logs
        if found.get("how") == "mean":
            number = f"the score is {'nearly ' if found.get('is_nearly') else ''}the mean of what {many}"
        else:
            what = f"{found['printed']:.12g}, nearly the score" if found.get("is_nearly") else "the score"
            number = f"{one} {'gives' if found.get('in_summary') else 'prints'} {what}"
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
        right = by_code.get(codes.BYTES_RIGHT.code)
        nearly = "nearly " if right is not None and right.evidence.get("is_near") else ""
        return f"{number}, and the record divides by {nearly}the right number of bytes"
    pair = by_code[codes.TWO_ESTIMATORS.code].evidence
    ratio, expected = pair["implied_ratio"], pair["expected_ratio"]
    return (
        f"{number}, and loads the whole split; that it scored all of it, it does not say. Loss and score are not one "
        f"quantity over the whole split (loss / ln 2 / score is {ratio:.3f}, not its {expected:.3f} bytes per token): "
        f"either they are two estimates, as their names say, the score one of a bound of T = {pair['num_steps']} "
        "steps, with which their gap is compatible, or a part of the split was scored (BPB206)"
    )
