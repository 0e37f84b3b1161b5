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
from dataclasses import replace

from bpb_harness.auditing.script import codes
from bpb_harness.auditing.script.domains.analysis import Analysis, Hit, MaskDraw, agreed
from bpb_harness.auditing.script.domains.hidden_at_random import hides_at_random
from bpb_harness.auditing.script.domains.in_evaluation import open_tests
from bpb_harness.auditing.script.domains.masked_mean import MaskedMean, is_of_masked_alone, masked_mean
from bpb_harness.auditing.script.domains.values import Leaf
from bpb_harness.auditing.script.domains.weight import Weight
from bpb_harness.auditing.script.frontend.once import once
from bpb_harness.findings import Json, Severity

_SPREAD = 0.15  # a right weight is constant to rounding; a discrete step of a curved schedule bends it by a few percent
_MIN_POINTS = 3
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
        judged = [_judged(analysis, draw) for draw in group]
        yield from [] if _is_any_open(analysis, group) else agreed(judged)


def has_open_masks(analysis: Analysis) -> bool:
    """Whether tokens are hidden at random behind a score, and it is not known how often, or what their costs weigh."""
    known = [draw for group in analysis.draw_groups for draw in group]
    if any(not _are_weighed(analysis, group) for group in analysis.draw_groups):
        return True
    return hides_at_random(analysis, known)


def _are_weighed(analysis: Analysis, draws: Sequence[MaskDraw]) -> bool:
    """Whether the weight of any of some draws can be evaluated, and all of it, or a quadrature weighs them."""
    if analysis.has_quadrature or all(open_tests(analysis, draw) is None for draw in draws):
        return True
    return any(_judged(analysis, draw) is not None for draw in draws) and not _is_any_open(analysis, draws)


def _is_any_open(analysis: Analysis, draws: Sequence[MaskDraw]) -> bool:
    """Whether there may be a weight behind some draws of one score that is not known."""
    leaves = ((draw, analysis.leaf_of(draw)) for draw in draws)
    return any(Weight(analysis, draw, leaf).is_open for draw, leaf in leaves if leaf is not None)


@once
def _judged(analysis: Analysis, draw: MaskDraw) -> list[Hit] | None:
    """The hits of one draw; None where its rate or its weight cannot be evaluated. Worked out once."""
    leaf = analysis.leaf_of(draw)
    if leaf is None or (leaf.kind != "uniform" and analysis.has_quadrature):
        return None  # a quadrature weighs the rates itself, and what divides its integrand is not followed
    weight = Weight(analysis, draw, leaf)
    points = _points(leaf)
    samples = weight.samples(points)
    if len(samples) < _MIN_POINTS or len(samples) < min(4, len(points)):
        return None
    return list(_held(analysis, draw, leaf, weight, samples))


def _held(
    analysis: Analysis, draw: MaskDraw, leaf: Leaf, weight: Weight, samples: Sequence[tuple[float, float, float, float]]
) -> Iterator[Hit]:
    mean = masked_mean(analysis, draw, leaf)
    counted, is_pooled = mean is not None, mean is not None and bool(mean.pooled)
    # On the mean over the masked tokens the weight u' belongs, on their sum u' / u.
    right = [w / slope if counted else w * u / slope for _, w, u, slope in samples]
    place: ast.AST = weight.place or draw.node
    if _spread(right) <= _SPREAD and not is_pooled:
        yield from _epsilon(analysis, draw, leaf, weight, counted)
        return
    products = [w * u / slope for _, w, u, slope in samples]
    over_rate = min(_spread(products), _exact([w * u for _, w, u, _ in samples]))
    other = _other_schedule(samples, leaf, counted) if weight.factors else None
    evidence: dict[str, Json] = {}
    severity: Severity | None = None
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
        rule = codes.WEIGHT_UNKNOWN
        said = f"The evaluation's weight is not the one that belongs to its mask rate u ({_belongs(counted)})"
        if mean is not None and mean.pooled and not weight.factors:
            said = _of_pooled(mean)
        elif not weight.factors:
            said = "The masked cross-entropies are averaged over mask rates without the weight 1/u"
            if mean is None and _is_missing(analysis, draw, weight, samples):
                said, severity = f"{said}: {_NO_BOUND}", Severity.REFUTES
        for (_, _, u, _), value in zip(samples, right, strict=True):
            evidence[f"weight over the right one at u = {u:.3g}"] = value
    yield analysis.hit(rule, said, place, draw.sink, severity=severity, evidence=evidence)


_NO_BOUND = (
    "a token counts as often as it is masked, so that the number stands for the mean of u f(u) over the mask rates u "
    "in place of that of f(u), the mean cost of a masked token at u, and is no bound"
)


def _is_missing(
    analysis: Analysis, draw: MaskDraw, weight: Weight, samples: Sequence[tuple[float, float, float, float]]
) -> bool:
    """Whether it is sure that masked tokens cost the same at each rate: all that is added up is known."""
    scores = {(score.node, score.frame) for number, _, score in analysis.scores() if number == draw.sink}
    if len(scores) > 1:
        return False  # a second pass may be asked for the rest
    others = [
        term
        for term in analysis.terms[draw.sink]
        if any(score.node is draw.score.node for score in term.cross_entropies())
    ]
    if any(Weight(analysis, replace(draw, term=term), weight.leaf).factors for term in others):
        return False  # the weight may stand where nobody can say that it does not
    is_even = _spread([w / slope for _, w, _, slope in samples]) <= _SPREAD
    return is_even and weight.is_followed and is_of_masked_alone(analysis, draw)


def _of_pooled(mean: MaskedMean) -> str:
    """What a mean over the masked tokens of several mask rates does, in words."""
    said = (
        f"The mean over the masked tokens is one over {mean.pooled}: what masks more counts more in it, and the bound "
        "counts every mask rate alike"
    )
    return f"{said}. Of one window at a time it would be right" if mean.pooled.startswith("the windows") else said


def _belongs(counted: bool) -> str:
    """The right weight, in words."""
    if counted:
        return "the mean over the masked tokens needs the same weight at every rate: du, the distance between rates"
    return "the sum over the masked tokens needs 1/u, times the distance between rates"


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
    length = leaf.num_points
    if length is None or length < _MIN_POINTS + 2:
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
