"""What could be behind a score, or bytes that are off: kinds by their factors, no more.

A factor alone proves nothing: a last line may be of another network, or of another way to score. So what is found here
is words of a finding, and neither refutes nor corrects.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bpb_harness.auditing.evidence import Evidence, Ratio, ratio_of
from bpb_harness.claim import ScoreLine
from bpb_harness.rules.byte_factors import ByteFactor
from bpb_harness.rules.denominators import Denominator
from bpb_harness.units import NATS_PER_BIT

# A known bug multiplies the bytes of the whole split by a number that is known to five digits.
BUG_FITS = 2e-4
_TOKENS_PER_BYTE = 3.0 / 2.0
_FITS = 0.01  # relative; a network that is quantised between the two lines moves less
_COARSEST = 0.01  # relative; a ratio that is known less well fits one unit or another by chance
_NEAR = 2e-4  # relative; so near is a count of the whole text to its own number
_APART = 0.05  # relative; no kind moves a score by less


def possible_kinds(evidence: Evidence) -> str:
    """Words that name the kinds that would make the score of the last line of its run with a loss; or none."""
    for line in evidence.lines:
        beside = _last_with_a_loss(evidence, line)
        if beside is None:
            continue
        factor = beside.bpb.value / line.bpb.value
        kinds = [f"{story} ({by:.4g})" for story, by in _factors(evidence) if abs(factor / by - 1.0) <= _FITS]
        if kinds and abs(factor - 1.0) > _APART:
            return (
                f". The last line of its run with a loss, {beside.bpb.source} ({beside.bpb}), is {factor:.4f} times "
                f"the score, which is what it would be if {'; or if '.join(kinds)}. That is a possible explanation "
                "and no proof: the two lines need not be of one network, scored in one way"
            )
    return ""


def possible_units(evidence: Evidence, ratio: Ratio, rows: Sequence[Denominator]) -> str:
    """Words that name the unit in which a score would be, by what it divides by; or none.

    Args:
        evidence: of the claim.
        ratio: loss / ln 2 / score, and to how many digits it is known.
        rows: texts under tokenizers that the claim may be of.
    """
    score = evidence.claim.score
    if score is None or ratio.uncertainty > _COARSEST:
        return ""
    for row in rows:
        for story, target in _units(row.bytes_per_token) if row.is_whole else ():
            if ratio.is_near(target, _NEAR):
                right = score.value * ratio.value / row.bytes_per_token
                own = "" if evidence.tokenizer_is_named else " of a tokenizer of its own, or"
                return (
                    f"; it may be{own} that {story}, which gives {target:.5f} under {row.tokenizer}: then the score "
                    f"is about {right:.4g} bits per byte"
                )
    return ""


def _units(bytes_per_token: float) -> Iterator[tuple[str, float]]:
    """Units, and what loss / ln 2 / score is of a score in each, in place of the bytes per token."""
    yield "the score is in nats per byte, the loss not divided by ln 2", bytes_per_token / NATS_PER_BIT
    yield "the loss was divided by ln 2 twice", bytes_per_token * NATS_PER_BIT
    yield "the score is in bits per token, not divided by bytes per token", 1.0
    yield "the score is the loss itself, in nats per token", 1.0 / NATS_PER_BIT


def bugs_near(evidence: Evidence, off: float) -> list[ByteFactor]:
    """Known mistakes of counting that multiply the bytes by about ``off``."""
    factors = [bug for bug in evidence.rules.pack.byte_factors if _has_the_tokens(evidence, off, bug)]
    return [bug for bug in factors if bug.lowest * (1 - BUG_FITS) <= off <= bug.highest * (1 + BUG_FITS)]


def candidates(evidence: Evidence, off: float) -> str:
    """Words that name those mistakes; or none."""
    bugs = bugs_near(evidence, off)
    return f"; it could be that {' or that '.join(bug.story for bug in bugs)}" if bugs else ""


def _has_the_tokens(evidence: Evidence, off: float, bug: ByteFactor) -> bool:
    """Whether the text has as many tokens as a bug needs for the bytes that it adds.

    A space that is spelt by three byte pieces is three tokens, and counts two bytes too many.
    """
    if evidence.full is None or bug.name != "space_counts_three":
        return True
    return _TOKENS_PER_BYTE * (off - 1.0) * evidence.full.bytes_per_token <= 1.0


def _last_with_a_loss(evidence: Evidence, line: ScoreLine) -> ScoreLine | None:
    with_loss = [other for other in evidence.run_of(line) if other.same_estimator and ratio_of(other) is not None]
    return with_loss[-1] if with_loss else None


def _factors(evidence: Evidence) -> Iterator[tuple[str, float]]:
    """Kinds and by what each divides a score."""
    for bug in evidence.rules.pack.byte_factors:
        if bug.is_point:
            yield bug.story, bug.lowest
    yield "the score is in nats per byte: the loss was not divided by ln 2", 1.0 / NATS_PER_BIT
    yield "the loss was divided by ln 2 twice", NATS_PER_BIT
    if evidence.full is not None:
        ratio = evidence.full.bytes_per_token
        yield "the score is in bits per token: it was not divided by bytes per token", 1.0 / ratio
        yield "the score is the loss itself, in nats per token", 1.0 / (ratio * NATS_PER_BIT)
        yield "it was divided by bytes per token twice", ratio
