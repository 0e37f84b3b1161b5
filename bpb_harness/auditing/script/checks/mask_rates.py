"""The mask rates that an evaluation goes through: all of (0, 1], or a part of it; and what is left at t = 1."""

from __future__ import annotations

import ast
import math
import statistics
from collections.abc import Iterator
from dataclasses import replace

from bpb_harness.auditing.script import codes
from bpb_harness.auditing.script.domains.algebra import Term
from bpb_harness.auditing.script.domains.analysis import INFERRED, Analysis, Hit, MaskDraw, agreed
from bpb_harness.auditing.script.domains.cancel import Factor
from bpb_harness.auditing.script.domains.in_evaluation import open_tests
from bpb_harness.auditing.script.domains.masked_mean import masked_mean
from bpb_harness.auditing.script.domains.trace import trace
from bpb_harness.auditing.script.domains.values import Evaluator, Leaf
from bpb_harness.auditing.script.domains.weight import Weight
from bpb_harness.auditing.script.frontend.scopes import last_name
from bpb_harness.findings import Rule, Severity

_LONGEST_GRID = 2_000
_LONG_GRID = 24  # points, from which on some of them tell most grids
_UNEVEN = 0.1  # of quadrature weights against their intervals
_CUT = 0.02  # public code clips to [0.001, 0.999] and means it; what [0.05, 0.95] leaves out is dear
_SMALL_PRIOR = 0.01  # alpha(1) below this costs less than a hundredth of ln V per token


def check_mask_rates(analysis: Analysis) -> Iterator[Hit]:
    """Single rates, rates that do not span (0, 1], and steps at the wrong end."""
    for group in analysis.draw_groups:
        yield from agreed([_judged(analysis, draw) for draw in group])


def _judged(analysis: Analysis, draw: MaskDraw) -> list[Hit] | None:
    """The hits of one draw; None where its rate cannot be evaluated."""
    if analysis.rate_at(draw, {}) is None:
        return None
    leaf = analysis.leaf_of(draw)
    if leaf is None:
        return list(_single(analysis, draw))
    return list((_continuous if leaf.kind == "uniform" else _grid)(analysis, draw, leaf))


def _single(analysis: Analysis, draw: MaskDraw) -> Iterator[Hit]:
    rate = analysis.rate_at(draw, {})
    if rate is not None and 0.02 < rate < 0.98:
        tests = open_tests(analysis, draw)
        if tests is None:
            return
        said = f"The score masks at one rate, {rate:g}, alone: a pseudo-log-likelihood, which is no length of any code"
        if tests:
            said = f"If `{ast.unparse(tests[0][0])}` is {tests[0][1]}, t{said[1:]}"
        hit = analysis.hit(codes.SINGLE_RATE, said, draw.node, draw.sink, evidence={"mask_rate": rate})
        yield replace(hit, severity=Severity.WARNS) if tests else hit


def _continuous(analysis: Analysis, draw: MaskDraw, leaf: Leaf) -> Iterator[Hit]:
    ends = [analysis.rate_at(draw, {id(leaf.node): s}) for s in (0.0, 1.0)]
    if ends[0] is None or ends[1] is None:
        return
    low, high = sorted(end for end in ends if end is not None)
    if low < -1e-9 or high > 1 + 1e-9 or high - low < 1e-6:
        return
    if low > _CUT:
        yield _cut(analysis, draw, low, high)
    else:
        yield from _prior(analysis, draw, high)


def _cut(analysis: Analysis, draw: MaskDraw, low: float, high: float) -> Hit:
    said = f"The mask rates of the evaluation run from {low:.4g} to {high:.4g} only; {_OF_SOME}"
    return _hit(analysis, draw, codes.RATES_CUT, said, lowest_rate=low, highest_rate=high)


_THE_BOUND = "the bound is the integral over every mask rate from 0 to 1"
# A mean over some of the rates stands for the rest too: without the lowest it is too high, without the highest too low.
_OF_SOME = f"{_THE_BOUND}, and which way that moves the score depends on what is left out: it is no bound"


def _left_out(analysis: Analysis, share: float) -> str:
    """What the mask rates that are left out can do to the score, in words."""
    said = f"{_THE_BOUND}. The {share:.3g} that is left out can only add to it, for no cross-entropy is negative"
    vocabulary, known = analysis.context.vocab_size, analysis.denominator
    if vocabulary is not None and known is not None and not known[1].endswith(INFERRED):
        bits = math.log2(vocabulary)
        most = share * bits / known[0]
        said += (
            f": up to about {most:.2f} bits per byte ({share:.3g} x log2 V = {bits:.3g} bits, what a guess costs, / "
            f"{known[0]:.6g} bytes per token)"
        )
    return (
        f"{said}. The error of the sum over the other rates may go either way, and the record tells the size of "
        "neither: whatever its value, the number is no bound"
    )


def _hit(analysis: Analysis, draw: MaskDraw, rule: Rule, said: str, **evidence: float) -> Hit:
    ends = {evidence[name] for name in ("lowest_rate", "highest_rate") if name in evidence}
    written = _where_written(analysis, draw, ends)
    node, shown = (draw.node, draw.rate) if written is None else (written, written)
    return analysis.hit(rule, said, node, draw.sink, shown=[shown], evidence=evidence)


def _where_written(analysis: Analysis, draw: MaskDraw, ends: set[float]) -> ast.AST | None:
    """The list of numbers that holds the lowest and the highest rate, or the call that makes a grid; else None."""
    for node, _ in trace(analysis.program, draw.rate, draw.frame, 300):
        if isinstance(node, ast.List | ast.Tuple):
            numbers = [part.value for part in node.elts if isinstance(part, ast.Constant)]
            held = [float(number) for number in numbers if isinstance(number, int | float)]
            if ends and all(any(math.isclose(end, value) for value in held) for end in ends):
                return node
        if isinstance(node, ast.Call) and last_name(node.func) in ("linspace", "arange"):
            return node
    return None


def _grid(analysis: Analysis, draw: MaskDraw, leaf: Leaf) -> Iterator[Hit]:
    length = leaf.num_points
    if length is None or length < 2:
        yield from _single(analysis, draw) if length == 1 else ()
        return
    rates = [analysis.rate_at(draw, {id(leaf.node): float(s)}) for s in _indices(length)]
    known = [rate for rate in rates if rate is not None]
    if len(known) < len(rates):
        return
    low, high = min(known), max(known)
    if low < -1e-9 or high > 1 + 1e-9 or high - low < 1e-6:
        return
    # The grid's own step near each end, so that a schedule that is flat there is not taken for a cut.
    by_rate = sorted((rate, s) for rate, s in zip(known, _indices(length), strict=True))
    steps = (_step(analysis, draw, leaf, by_rate[0][1]), _step(analysis, draw, leaf, by_rate[-1][1]))
    found = list(_ends(analysis, draw, leaf, (low, high), steps, length))
    cut = _unpaid_ends(analysis, draw, leaf, (low, high), length) if not found else None
    found = [cut] if cut is not None else found
    # What a grid leaves out, weights that are not known may pay for.
    is_open = bool(found) and Weight(analysis, draw, leaf).is_open
    yield from (replace(hit, severity=Severity.WARNS) for hit in found) if is_open else found


def _unpaid_ends(analysis: Analysis, draw: MaskDraw, leaf: Leaf, ends: tuple[float, float], length: int) -> Hit | None:
    """A quadrature that leaves out what lies before its first rate or behind its last one."""
    low, high = ends
    total = high - low if analysis.has_quadrature else _total_weight(analysis, draw, leaf, length)
    if total is not None and total < 1.0 - 2.0 * _CUT:
        said = (
            f"The evaluation adds up losses at {_told_rates(analysis, draw, leaf, length)}, with weights that add up "
            f"to {total:.3g}, not 1; {_left_out(analysis, 1.0 - total)}"
        )
        place = analysis.quadrature if analysis.has_quadrature else Weight(analysis, draw, leaf).place
        cut = _hit(analysis, draw, codes.RATES_CUT, said, lowest_rate=low, highest_rate=high, total_weight=total)
        return replace(cut, quoted=(*cut.quoted, *([place] if place is not None else [])))
    if low > _CUT and high < 1.0 - _CUT and not _is_jittered(analysis, draw):
        return replace(_cut(analysis, draw, low, high), severity=Severity.WARNS)
    return None


def _is_jittered(analysis: Analysis, draw: MaskDraw) -> bool:
    """Whether a rate moves within its step: a grid with a random shift goes through all rates."""
    evaluator = Evaluator(analysis.program)
    evaluator.number(draw.rate, draw.frame)
    return any(leaf.kind == "uniform" for leaf in evaluator.leaves.values())


def _told_rates(analysis: Analysis, draw: MaskDraw, leaf: Leaf, length: int) -> str:
    """The mask rates in words: a few by their numbers, many by the first and the last."""
    every = [analysis.rate_at(draw, {id(leaf.node): float(s)}) for s in range(min(length, _MAX_TOLD + 1))]
    known = sorted(rate for rate in every if rate is not None)
    if len(known) == length <= _MAX_TOLD:
        return f"the {length} mask rates {', '.join(f'{rate:.4g}' for rate in known)}"
    ends = [analysis.rate_at(draw, {id(leaf.node): float(s)}) for s in (0, length - 1)]
    low, high = sorted(rate for rate in ends if rate is not None)
    return f"{length} mask rates from {low:.4g} to {high:.4g}"


_MAX_TOLD = 12


def _total_weight(analysis: Analysis, draw: MaskDraw, leaf: Leaf, length: int) -> float | None:
    """What the weights of a grid add up to, where each rate between two others is paid for its share of (0, 1].

    The scale is not known (bits or nats, tokens, bytes): it is what makes the weights between the ends fit the
    distances of their neighbours. None where no scale does.
    """
    weight = Weight(analysis, draw, leaf)
    mean = masked_mean(analysis, draw, leaf)
    counted = mean is not None and not mean.pooled
    if not 3 <= length <= _LONGEST_GRID or not (weight.factors or counted) or weight.is_open:
        return None
    if length >= _LONG_GRID and _is_paid_in_places(analysis, draw, weight, length, counted):
        return None
    rates = [analysis.rate_at(draw, {id(leaf.node): float(i)}) for i in range(length)]
    known = sorted((rate, i) for i, rate in enumerate(rates) if rate is not None)
    if len(known) < length:
        return None
    rules = [_Quadrature(known, before, behind) for before, behind in _RULES]
    paid: list[float] = []
    for place, (rate, i) in enumerate(known):
        w = weight.at(float(i))
        if w is None:
            return None
        paid.append(w if counted else w * rate)
        rules = [rule for rule in rules if rule.fits(place, paid[-1])]
        if not rules:  # most are told by their first weights
            return None
    return sum(paid) / statistics.median(rules[0].scales)


def _is_paid_in_places(analysis: Analysis, draw: MaskDraw, weight: Weight, length: int, counted: bool) -> bool:
    """Whether a long grid, looked at both of its ends and at each eighth point, leaves nothing out, or fits no rule.

    Between these points weights may hide some percent of unevenness, no end that is not paid.
    """
    places = sorted({*range(1, length - 1, 8), length - 2})
    found = {
        i: analysis.rate_at(draw, {id(weight.leaf.node): float(i)}) for at in places for i in range(at - 1, at + 2)
    }
    rates = {i: rate for i, rate in sorted(found.items()) if rate is not None}
    if len(rates) < len(found):
        return True
    step = 1 if rates[0] < rates[length - 1] else -1
    if list(rates) != sorted(rates, key=lambda i: step * rates[i]):
        return False  # in an order of its own
    rules: dict[tuple[int, int], list[float]] = {rule: [] for rule in _RULES}
    paid_at_ends = 0.0
    for i in (*places, 0, length - 1):
        w = weight.at(float(i))
        if w is None:
            return True
        paid = w if counted else w * rates[i]
        if i in (0, length - 1):
            paid_at_ends += paid
            continue
        for (before, behind), scales in list(rules.items()):
            share = (rates[i + behind * step] - rates[i - before * step]) / (before + behind)
            scales.append(paid / share if share > 0.0 else 0.0)
            if min(scales) <= 0.0 or max(scales) > (1.0 + _UNEVEN) * min(scales):
                del rules[before, behind]
        if not rules:
            return True
    (low, near_low), (near_high, high) = sorted(rates.values())[:2], sorted(rates.values())[-2:]
    shares = {(1, 1): (near_high + high - low - near_low) / 2.0, (1, 0): near_high - low}  # of all between the ends
    totals = (shares[rule] + paid_at_ends / statistics.median(scales) for rule, scales in rules.items())
    return all(total >= 1.0 - _CUT for total in totals)


# Half of both neighbouring intervals; the whole of the one before.
_RULES = ((1, 1), (1, 0))


class _Quadrature:
    """A rule by which each rate of a grid between two others is paid for its share of (0, 1].

    Attributes:
        scales: what is paid at each rate so far, over its share.
    """

    def __init__(self, known: list[tuple[float, int]], before: int, behind: int) -> None:
        rates = [rate for rate, _ in known]
        self._shares = [(rates[i + behind] - rates[i - before]) / (before + behind) for i in range(1, len(rates) - 1)]
        self._least, self._most = math.inf, -math.inf
        self.scales: list[float] = []

    def fits(self, place: int, paid: float) -> bool:
        """Whether what is paid at one rate after the other still does, but for the ends."""
        if not 1 <= place <= len(self._shares):
            return True
        share = self._shares[place - 1]
        if share <= 0.0:
            return False
        self.scales.append(paid / share)
        self._least, self._most = min(self._least, self.scales[-1]), max(self._most, self.scales[-1])
        return self._least > 0.0 and self._most / self._least <= 1.0 + _UNEVEN


def _indices(length: int) -> list[int]:
    return sorted({0, 1, length // 2, length - 2, length - 1} & set(range(length)))


def _step(analysis: Analysis, draw: MaskDraw, leaf: Leaf, s: int) -> float:
    """The distance of a grid point to its neighbour."""
    here, there = (analysis.rate_at(draw, {id(leaf.node): float(i)}) for i in (s, s + 1 if s == 0 else s - 1))
    return abs(here - there) if here is not None and there is not None else math.inf


def _ends(
    analysis: Analysis, draw: MaskDraw, leaf: Leaf, ends: tuple[float, float], steps: tuple[float, float], length: int
) -> Iterator[Hit]:
    (low, high), (first, last) = ends, steps
    missing = 1.0 - high
    run = f"The mask rates run from {low:.4g} to {high:.4g} in {length} steps"
    dear = "so that the most expensive step, where most is masked, is left out and the number is no bound"
    evidence = {"lowest_rate": low, "highest_rate": high, "grid_points": length}
    holds_low, holds_high = low <= 0.25 * first, missing <= 0.25 * last or missing <= 0.002
    drops_high = not holds_high and 0.75 * last <= missing <= 1.25 * last
    if drops_high and missing < 0.5 and holds_low:
        said = f"{run}: each step is scored at its cleaner end, {dear}"
        yield _hit(analysis, draw, codes.CLEANER_END, said, **evidence)
    elif drops_high and missing < 0.5:
        yield _hit(analysis, draw, codes.LAST_STEP_DROPPED, f"{run}: the steps stop before t = 1, {dear}", **evidence)
    elif low > 1.5 * first + _CUT:
        yield _cut(analysis, draw, low, high)
    elif holds_low and holds_high and length > 2 and not _pays_intervals(analysis, draw, leaf):
        said = (
            f"{length} equal weights on a grid from {low:.4g} to {high:.4g} that holds both of its "
            f"ends: {length - 1} steps are counted {length} times"
        )
        severity = None
        if length >= _FINE:
            said += f", which makes the number too high, by some {_ENDS_OVER_MEAN / length:.2f} bits per token"
            severity = Severity.INFORMS
        yield analysis.hit(
            codes.BOTH_ENDS, said, draw.node, draw.sink, shown=[draw.rate], severity=severity, evidence=evidence
        )
    elif holds_high or missing > 1.5 * last:
        yield from _prior(analysis, draw, high)


# By how much the mean of a token's costs at both ends of a grid lies above their mean over it, in bits: 10 (log2 of a
# vocabulary of 1,024) at one end, nothing at the other, and 3.4 in between. K points count it once in K too often.
_ENDS_OVER_MEAN = 1.6
_FINE = 64  # points from which on that is 0.01 bits per byte and less, to the author's own disadvantage


def _pays_intervals(analysis: Analysis, draw: MaskDraw, leaf: Leaf) -> bool:
    """Whether a trapezoid rule or weights of its own stand in the score, or may: then both ends belong."""
    if analysis.has_quadrature or analysis.calls("diff"):
        return True
    weight, length = Weight(analysis, draw, leaf), leaf.length or 2
    return weight.is_open or any(weight.at(float(s)) is None for s in (1, length - 1, length // 2))


def _prior(analysis: Analysis, draw: MaskDraw, high: float) -> Iterator[Hit]:
    """Whether tokens that are still visible at t = 1 are paid for."""
    visible = 1.0 - high
    if visible < 1e-6 or _has_prior(analysis, analysis.terms[draw.sink]):
        return
    said = (
        f"At t = 1 a share alpha(1) = {visible:.4g} of the tokens is still visible, and no prior term alpha(1) L ln V "
        f"counts what they cost: {visible:.4g} x log2 V bits per token are missing from the score"
    )
    hit = _hit(analysis, draw, codes.PRIOR_MISSING, said, alpha_1=visible)
    yield replace(hit, severity=Severity.WARNS) if visible < _SMALL_PRIOR else hit


def _has_prior(analysis: Analysis, terms: list[Term]) -> bool:
    """Whether some summand of the score is no cross-entropy: a constant, or a logarithm of the vocabulary."""
    for term in terms:
        if term.cross_entropies() or any(_varies(analysis, factor) for factor in term.factors):
            continue
        for factor in term.factors:
            if factor.power < 0:
                continue
            value = analysis.number(factor.node, factor.frame)
            if value is not None and value not in (0.0, 1.0):
                return True
            nodes = [part for part, _ in trace(analysis.program, factor.node, factor.frame, 300)]
            if any(isinstance(part, ast.Call) and last_name(part.func) in ("log", "log2") for part in nodes):
                return True
    return False


def _varies(analysis: Analysis, factor: Factor) -> bool:
    """Whether a factor depends on the noise level or is a mask itself: the prior does not."""
    evaluator = Evaluator(analysis.program)
    evaluator.number(factor.node, factor.frame)
    return bool(evaluator.leaves) or any(draw.node is factor.node for draw in analysis.masks)
