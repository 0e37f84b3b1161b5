"""BPB103 by digits and by words: bytes per token that are a round number, or the constant that the README says.

A count of bytes over a count of tokens is a round number by chance alone. How often, the printed digits tell: the
numbers that they leave open, as a share of the way from one number of three digits to the next.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from bpb_harness.auditing.evidence import Evidence, Ratio, ratio_of
from bpb_harness.claim.readme_prose import numbers_in, voiding_sentences
from bpb_harness.claim.stated_bytes import given_bytes
from bpb_harness.claim.voiding_statements import CONSTANT_BYTES
from bpb_harness.rules.denominators import Denominator

# Chances that a count of bytes looks so. Of 2,000 public records the first refutes 0.2 honest ones if all of their
# ratios differ, and all but a few have one of some twenty; the second, 2, which it holds back as a doubt.
REFUTED_BELOW, DOUBTED_BELOW = 1e-4, 1e-3
_SINGLE_PRECISION = 1.2e-7  # relative; of a loss that was added up in float32 before it was printed
_TO_ALL_DIGITS = 5e-6  # relative; a row of the table as near as that is the reason for the number
_SMALLEST, _LARGEST = 1.05, 16.0  # one byte a token is a tokenizer of bytes
_SPACING = 0.01
_FEWEST_TOKENS = 100_000  # bytes over tokens of a little text are round numbers more often: 80 over 32
_WORDS_FIT = 2e-3  # relative; prints that leave more open tell one number of three digits from no other


@dataclass(frozen=True)
class ShownConstant:
    """A constant that a record divided by.

    Attributes:
        value: bytes per token.
        why: what shows it, in words.
        chance: that an honest count looks so; 0 where the author says it.
    """

    value: float
    why: str
    chance: float

    @property
    def refutes(self) -> bool:
        """Whether it is no coincidence."""
        return self.chance <= REFUTED_BELOW


def constant_shown(evidence: Evidence, ratio: Ratio, rows: list[Denominator]) -> ShownConstant | None:
    """The constant that the digits of a record's loss and score show, or its README's words and they together.

    Args:
        evidence: the claim and its record.
        ratio: what it divided by.
        rows: denominators that its text may have; none of them is called a constant.
    """
    shown = _by_words(evidence, ratio) or _by_digits(evidence, ratio)
    if shown is None or not _SMALLEST <= shown.value <= _LARGEST:
        return None
    near = max(_TO_ALL_DIGITS, ratio.uncertainty)
    return None if any(abs(row.bytes_per_token / shown.value - 1.0) <= near for row in rows) else shown


def _by_words(evidence: Evidence, ratio: Ratio) -> ShownConstant | None:
    readme = evidence.claim.readme
    if readme is None or ratio.uncertainty > _WORDS_FIT:
        return None
    for said in voiding_sentences(readme.text, readme.file):
        if said.meaning != CONSTANT_BYTES:
            continue
        for number in numbers_in(said.sentence):
            if number == float(f"{number:.3g}") and ratio.is_near(number, _TO_ALL_DIGITS):
                why = f"{said.source} says {said.sentence[:200]!r}, and loss / ln 2 / score is {ratio.value:.6g}"
                return ShownConstant(number, why, 0.0)
    for given in given_bytes(readme.text, readme.file):
        if ratio.is_near(given.value, _TO_ALL_DIGITS):
            why = f"{given.source} gives {given.name} to a command, and loss / ln 2 / score is {ratio.value:.6g}"
            return ShownConstant(given.value, why, 0.0)
    return None


def _by_digits(evidence: Evidence, ratio: Ratio) -> ShownConstant | None:
    full, scored = evidence.full, evidence.scored_tokens
    if full is None or min(full.num_tokens, scored or full.num_tokens) < _FEWEST_TOKENS:
        return None
    constant = round(ratio.value, 2)
    lowest, highest = _interval(ratio)
    if not lowest <= constant <= highest:
        return None
    others = [*_others(evidence)]
    if all(low <= constant <= high for low, high in others):  # else they divide by something else: they tell nothing
        lowest, highest = max([lowest, *(low for low, _ in others)]), min([highest, *(high for _, high in others)])
    chance = (highest - lowest) / _SPACING
    if chance > DOUBTED_BELOW:
        return None
    over = f" of {len(others)} lines" if len(others) > 1 else ""
    why = (
        f"the digits{over} leave no more open than {lowest:.9g} to {highest:.9g}, and a count of bytes lies so near a "
        f"number of three digits once in {1.0 / chance:,.0f} times"
    )
    return ShownConstant(constant, why, chance)


def _interval(ratio: Ratio) -> tuple[float, float]:
    slack = ratio.uncertainty + _SINGLE_PRECISION
    return ratio.value * (1.0 - slack), ratio.value * (1.0 + slack)


def _others(evidence: Evidence) -> Iterator[tuple[float, float]]:
    """What the other lines of the claim's own logs leave open of what they divide by."""
    for log in evidence.claim_logs:
        for line in log.lines:
            found = ratio_of(line) if line.same_estimator else None
            if found is not None and math.isfinite(found.value):
                yield _interval(found)
