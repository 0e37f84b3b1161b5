"""What follows from a difference, in one sentence: a bound is a promise, an exact code length is a fact.

From two exact code lengths follows which model is better on the text. Of two bounds the lower one promises more; which
likelihood is higher does not follow. A bound below an exact code length, beyond its sampling error, is a likelihood
that is higher; an exact code length below a bound says nothing of the likelihood behind the bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

from bpb_harness.comparison.digits import said_size
from bpb_harness.comparison.text_error import LEAST_P
from bpb_harness.result import ESTIMATED_BOUND, EXACT

Conclusion = Literal["better", "better-likelihood", "lower-bound", "shorter-than-bound", "unresolved", "equal"]


@final
@dataclass(frozen=True)
class Side:
    """One of two systems.

    Attributes:
        name: what the sentence calls it.
        relation: ``=``, ``<=`` or ``~<=``.
        bits: per byte.
        order: of a chain rule or an autoregressive model; empty otherwise.
        is_trusted: whether its sampling error is.
    """

    name: str
    relation: str
    bits: float
    order: str
    is_trusted: bool


@final
@dataclass(frozen=True)
class Verdict:
    """What follows.

    Attributes:
        conclusion: of the text that was scored: "better" (two exact lengths), "better-likelihood" (a bound below an
            exact length), "lower-bound" (two bounds), "shorter-than-bound" (an exact length below a bound: nothing
            follows of the other's likelihood), "unresolved" (masks hide it), "equal".
        winner: the name of the system with fewer bits; None where it is not shown.
        sentence: in words.
    """

    conclusion: Conclusion
    winner: str | None
    sentence: str


def judge(
    baseline: Side,
    system: Side,
    delta: float,
    mask_interval: tuple[float, float] | None,
    text: TextEvidence,
    unit: str,
) -> Verdict:
    """What follows from a difference, system less baseline, in bits per byte.

    Args:
        baseline: the first system.
        system: the other one.
        delta: the difference.
        mask_interval: its 95 % interval over masks; None where that is not known.
        text: what units say of other text.
        unit: "byte" or "token".
    """
    if delta == 0.0:
        sentence = f"{system.name} and {baseline.name} need the same number of bits, unit by unit as far as this shows"
        return Verdict("equal", None, sentence)
    winner, loser = (system, baseline) if delta < 0.0 else (baseline, system)
    by = f"{said_size(delta)} bits per {unit} ({100.0 * abs(delta) / loser.bits:.2g} %)"
    if mask_interval is None:
        sentence = (
            f"whether {winner.name} needs fewer bits than {loser.name} is not shown: nothing tells the error from "
            "masks; draw more of them (--samples)"
        )
        return Verdict("unresolved", None, sentence)
    if mask_interval[0] <= 0.0 <= mask_interval[1] and mask_interval[0] < mask_interval[1]:
        sentence = (
            f"which of {winner.name} and {loser.name} needs fewer bits is not shown: the difference of {by} is within "
            "the error from masks; draw more of them (--samples)"
        )
        return Verdict("unresolved", None, sentence)
    untrusted = [side.name for side in (winner, loser) if not side.is_trusted]
    if untrusted:
        sentence = (
            f"which of {winner.name} and {loser.name} needs fewer bits is not shown: the error from masks of "
            f"{' and '.join(untrusted)} is not to be trusted, and so the difference of {by} is not"
        )
        return Verdict("unresolved", None, sentence)
    conclusion, said = _what_follows(winner, loser, by)
    return Verdict(conclusion, winner.name, f"{said} {text.sentence(winner, loser)}")


@final
@dataclass(frozen=True)
class TextEvidence:
    """What units say of other text of the same kind.

    Attributes:
        p: corrected; None where nothing tells.
        level: below which it is taken to hold.
        units: how many of what, in words.
        favours_winner: whether the units, freed of the luck of their mask rates, favour the same system.
        corrected: for how many comparisons, in words; empty of one.
        or_less: whether the corrected p may be smaller than it is.
    """

    p: float | None
    level: float
    units: str
    favours_winner: bool
    corrected: str = ""
    or_less: bool = False

    def sentence(self, winner: Side, loser: Side) -> str:
        """Whether the difference is one of the models, or of this text."""
        if self.p is None:
            return f"It says nothing of other text: {self.units} cannot."
        if self.p < self.level and self.favours_winner:
            return f"It would hold on other text of this kind ({self._p} over {self.units}{self.corrected})."
        turned = f"{loser.name} may need no more bits than {winner.name}"
        if EXACT not in {winner.relation, loser.relation}:
            turned = f"the bound of {loser.name} may be no higher than {winner.name}'s"
        return f"On other text of this kind {turned} ({self._p} over {self.units}{self.corrected})."

    @property
    def _p(self) -> str:
        assert self.p is not None
        return said_p(self.p, or_less=self.or_less)


def said_p(p: float, *, or_less: bool = False) -> str:
    """A p value in words; ten thousand resamples tell no smaller ones apart."""
    return f"p = {max(p, LEAST_P):.2g}{' or less' if or_less or p <= LEAST_P else ''}"


def _what_follows(winner: Side, loser: Side, by: str) -> tuple[Conclusion, str]:
    if winner.relation == EXACT and loser.relation == EXACT:
        said = f"{winner.name} is better than {loser.name} on this text: it needs {by} fewer"
        return "better", f"{said}, and both lengths are exact{_orders(winner, loser)}."
    if loser.relation == EXACT:
        estimated = "the upper limit of its estimated bound" if winner.relation == ESTIMATED_BOUND else "its bound"
        said = f"{winner.name} has the higher likelihood on this text: {estimated} lies below the exact code length of"
        return "better-likelihood", f"{said} {loser.name}{_orders(loser)}, the bound itself by {by}."
    if winner.relation == EXACT:
        said = (
            f"{winner.name}, whose code length is exact{_orders(winner)}, needs {by} fewer on this text than the bound"
        )
        rest = "may lie anywhere below its bound, so that nothing follows about which likelihood is higher."
        return "shorter-than-bound", f"{said} of {loser.name} promises; what {loser.name} needs {rest}"
    estimated = "estimated bound" if ESTIMATED_BOUND in {winner.relation, loser.relation} else "bound"
    said = f"{winner.name} promises fewer bits than {loser.name} on this text: its {estimated} is {by} lower"
    return "lower-bound", f"{said}. Two bounds do not say which likelihood is higher."


def _orders(*sides: Side) -> str:
    orders = dict.fromkeys(side.order for side in sides if side.order)
    return f" ({' against '.join(orders)})" if orders else ""
