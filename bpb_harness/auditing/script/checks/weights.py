"""The weight of the cross-entropies against the mask rate that they were drawn at.

With u(s) the mask rate as a function of whatever the script draws or counts through (s uniform, or a step's index),
the bound needs the weight u'(s) / u(s) on the sum of the masked cross-entropies (MATHS.md: the continuous bound),
or u'(s) on their mean over the masked tokens. Both are tested numerically: the quotient of the script's weight and
the right one must not depend on s.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Iterator, Sequence

from bpb_harness.auditing.script import codes
from bpb_harness.auditing.script.domains.algebra import Factor, Term, is_cross_entropy
from bpb_harness.auditing.script.domains.analysis import Analysis, Hit, MaskDraw, agreed
from bpb_harness.auditing.script.domains.trace import trace
from bpb_harness.auditing.script.domains.values import Evaluator, Leaf
from bpb_harness.auditing.script.frontend.program import last_name
from bpb_harness.findings import Json

_SPREAD = 0.15  # a right weight is constant to rounding; a discrete step of a curved schedule bends it by a few percent
_FEWEST_POINTS = 3
_EXACT = 0.01  # what holds at every rate to this was written so
_FRACTIONS = (0.15, 0.3, 0.45, 0.6, 0.75, 0.9)
_SCHEDULES: dict[str, Callable[[float], float]] = {
    "linear (alpha = 1 - t)": lambda t: t,
    "alpha = cos(pi t / 2)": lambda t: 1.0 - math.cos(math.pi * t / 2),
    "alpha = 1 - cos(pi (1 - t) / 2)": lambda t: math.cos(math.pi * (1.0 - t) / 2),
    "alpha = cos(pi t / 2)^2": lambda t: 1.0 - math.cos(math.pi * t / 2) ** 2,
    "alpha = 1 - t^2": lambda t: t**2,
    "alpha = 1 - sqrt(t)": math.sqrt,
}


def check_weights(analysis: Analysis) -> Iterator[Hit]:
    """The weight law for every draw of masks behind a reported score."""
    for group in analysis.draw_groups:
        yield from agreed([_judged(analysis, draw) for draw in group])


def _judged(analysis: Analysis, draw: MaskDraw) -> list[Hit] | None:
    """The hits of one draw; None where its rate or its weight cannot be evaluated."""
    leaf = analysis.leaf_of(draw)
    if leaf is None:
        return None
    weight = Weight(analysis, draw, leaf)
    points = _points(leaf)
    samples = weight.samples(points)
    if len(samples) < _FEWEST_POINTS or len(samples) < min(4, len(points)):
        return None
    return list(_held(analysis, draw, leaf, weight, samples))


def _held(
    analysis: Analysis, draw: MaskDraw, leaf: Leaf, weight: Weight, samples: Sequence[tuple[float, float, float, float]]
) -> Iterator[Hit]:
    counted = divides_by_count(analysis, draw)
    # On the mean over the masked tokens the weight u' belongs, on their sum u' / u.
    right = [w / slope if counted else w * u / slope for _, w, u, slope in samples]
    place: ast.AST = weight.place or draw.node
    if _spread(right) <= _SPREAD:
        yield from _epsilon(analysis, draw, leaf, weight, counted)
        return
    products = [w * u / slope for _, w, u, slope in samples]
    over_rate = min(_spread(products), _exact([w * u for _, w, u, _ in samples]))
    other = _other_schedule(samples, leaf, counted) if weight.factors else None
    evidence: dict[str, Json] = {}
    if weight.factors and counted and over_rate <= _SPREAD:
        rule, said = codes.WEIGHT_AND_COUNT, "The score is a mean over the masked tokens and weighed by 1/t as well"
    elif weight.factors and _spread([w * (1 - u) / slope for _, w, u, slope in samples]) <= _SPREAD:
        rule, what = codes.WEIGHT_DSIGMA, "1/(1-u) in terms of the mask rate u, where dsigma/expm1(sigma), 1/u, belongs"
        said = f"The evaluation weighs by dsigma, {what}"
    elif weight.factors and _spread([w * u * u / slope for _, w, u, slope in samples]) <= _SPREAD:
        rule, said = codes.WEIGHT_TWICE, "The weight 1/t is applied twice"
    elif other is not None:
        rule, said = codes.OTHER_SCHEDULE, f"The weight belongs to the schedule {other}, the masks to another"
    else:
        rule, said = codes.WEIGHT_UNKNOWN, "The evaluation's weight is not the one that belongs to its mask rate"
        if not weight.factors:
            said = "The masked cross-entropies are averaged over mask rates without the weight 1/u"
        for (_, _, u, _), value in zip(samples, right, strict=True):
            evidence[f"weight over the right one at u = {u:.3g}"] = value
    yield analysis.hit(rule, said, place, draw.sink, evidence=evidence)


def _epsilon(analysis: Analysis, draw: MaskDraw, leaf: Leaf, weight: Weight, counted: bool) -> Iterator[Hit]:
    if leaf.kind != "uniform" or counted or not weight.factors:
        return
    middle = weight.samples([0.5])
    for tiny in weight.samples([1e-6], step=1e-8):
        _, w, u, slope = tiny
        _, w0, u0, slope0 = middle[0]
        if u < 1e-3 and abs((w * u / slope) / (w0 * u0 / slope0) - 1.0) > 0.05:
            said = "An epsilon or a clamp inside the weight bends it at low mask rates"
            yield analysis.hit(codes.WEIGHT_EPSILON, said, weight.place or draw.node, draw.sink)


def _points(leaf: Leaf) -> list[float]:
    if leaf.kind == "uniform":
        return list(_FRACTIONS)
    length = leaf.high if leaf.high is not None else leaf.length
    if length is None or length < _FEWEST_POINTS + 2:
        return []
    if length < 2 * len(_FRACTIONS):  # a few rates written out: all but the ends, which lack a neighbour
        return [float(s) for s in range(1, length - 1)]
    return sorted({float(round(fraction * (length - 1))) for fraction in _FRACTIONS})


def _spread(values: Sequence[float]) -> float:
    if any(not math.isfinite(value) or value == 0.0 for value in values) or min(values) * max(values) <= 0:
        return math.inf
    sizes = [abs(value) for value in values]
    return max(sizes) / min(sizes) - 1.0


def _exact(values: Sequence[float]) -> float:
    """The spread, where it is that of rounding alone: equal weights, whatever the distances of the rates."""
    spread = _spread(values)
    return spread if spread <= _EXACT else math.inf


def _other_schedule(samples: Sequence[tuple[float, float, float, float]], leaf: Leaf, counted: bool) -> str | None:
    for name, rate in _SCHEDULES.items():
        for offset in (0.0, 1.0):
            values = []
            for s, w, _, _ in samples:
                t = s if leaf.kind == "uniform" else (s + offset) / (leaf.length or 1)
                if not 0.01 < t < 0.99:
                    continue
                slope = (rate(t + 1e-4) - rate(t - 1e-4)) / 2e-4
                values.append(w / slope if counted else w * rate(t) / slope)
            if len(values) >= 3 and _spread(values) <= 0.05:
                return name
    return None


class Weight:
    """The factors of a scored term that are functions of the noise level.

    Args:
        analysis: the program.
        draw: the masks of the term.
        leaf: what the noise level is a function of.
    """

    def __init__(self, analysis: Analysis, draw: MaskDraw, leaf: Leaf) -> None:
        self.analysis, self.draw, self.leaf = analysis, draw, leaf
        self.factors = [factor for factor in draw.term.factors if self._depends(factor)]

    @property
    def place(self) -> ast.AST | None:
        """The factor to point at."""
        return self.factors[0].node if self.factors else None

    def _depends(self, factor: Factor) -> bool:
        if is_cross_entropy(factor.node):
            return False
        evaluator = Evaluator(self.analysis.program)
        if evaluator.number(factor.node, factor.frame) is None or evaluator.compared:
            return False
        return id(self.leaf.node) in evaluator.leaves

    def at(self, s: float) -> float | None:
        """The weight at one point."""
        product = 1.0
        for factor in self.factors:
            value = Evaluator(self.analysis.program, {id(self.leaf.node): s}).number(factor.node, factor.frame)
            if value is None or (value == 0.0 and factor.power < 0):
                return None
            product *= value if factor.power > 0 else 1.0 / value
        return product

    def samples(self, points: Sequence[float], step: float = 1e-5) -> list[tuple[float, float, float, float]]:
        """(s, weight, mask rate, slope of the mask rate) where all of them are known and the slope is not 0."""
        found = []
        half = step if self.leaf.kind == "uniform" else 1.0
        for s in points:
            weight = self.at(s)
            rates = [self.analysis.rate_at(self.draw, {id(self.leaf.node): s + d}) for d in (-half, 0.0, half)]
            if weight is None or any(rate is None for rate in rates):
                continue
            low, here, high = (float(rate) for rate in rates if rate is not None)
            slope = (high - low) / (2.0 * half)
            if abs(slope) > 1e-12 and 0.0 < here < 1.0:
                found.append((s, weight, here, slope))
        return found


def divides_by_count(analysis: Analysis, draw: MaskDraw) -> bool:
    """Whether a term is a mean over the masked tokens."""
    term: Term = draw.term
    if any(analysis.is_mask_count(factor) for factor in term.factors):
        return True
    # Outermost first: only a mean right above the selection of the masked tokens is a mean over them. A mean over
    # repeats or windows of sums is none.
    nearest: str | None = None
    for kind, node in term.reductions:
        if kind != "select":
            nearest = kind
        elif nearest == "mean" and isinstance(node, ast.Subscript):
            chosen = trace(analysis.program, node.slice, draw.score.frame, 120)
            if any(part is draw.node for part, _ in chosen):
                return True
    call = draw.score.node
    return nearest == "mean" and isinstance(call, ast.Call) and _selects_masked(analysis, draw, call)


def _selects_masked(analysis: Analysis, draw: MaskDraw, call: ast.Call) -> bool:
    """cross_entropy(logits[mask], x0[mask]), or targets that are -100 where nothing is masked."""
    for argument in call.args[1:2] or [keyword.value for keyword in call.keywords if keyword.arg == "target"]:
        nodes = [part for part, _ in trace(analysis.program, argument, draw.score.frame, 200)]
        ignored = any(
            isinstance(part, ast.UnaryOp) and isinstance(part.operand, ast.Constant) and part.operand.value == 100
            for part in nodes
        )
        if any(part is draw.node for part in nodes) and (ignored or any(isinstance(p, ast.Subscript) for p in nodes)):
            return True
    return any(keyword.arg == "ignore_index" for keyword in call.keywords) and last_name(call.func) == "cross_entropy"
