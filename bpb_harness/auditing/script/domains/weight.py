"""The weight that a scored term has at each mask rate, and whether it is a mean over the masked tokens."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from bpb_harness.auditing.script.domains.algebra import Term, is_cross_entropy
from bpb_harness.auditing.script.domains.analysis import Analysis, MaskDraw
from bpb_harness.auditing.script.domains.cancel import Factor
from bpb_harness.auditing.script.domains.trace import comes_from, trace
from bpb_harness.auditing.script.domains.values import Evaluator, Leaf
from bpb_harness.auditing.script.frontend.scopes import last_name


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
        elif (
            nearest == "mean"
            and isinstance(node, ast.Subscript)
            and comes_from(analysis.program, node.slice, draw.score.frame, draw.is_at, 120)
        ):
            return True
    call = draw.score.node
    return nearest == "mean" and isinstance(call, ast.Call) and _selects_masked(analysis, draw, call)


def _selects_masked(analysis: Analysis, draw: MaskDraw, call: ast.Call) -> bool:
    """cross_entropy(logits[mask], x0[mask]), or targets that are -100 where nothing is masked."""
    for argument in call.args[1:2] or [keyword.value for keyword in call.keywords if keyword.arg == "target"]:
        nodes = [part for part, _ in trace(analysis.program, argument, draw.score.frame, 1_500)]
        ignored = any(
            isinstance(part, ast.UnaryOp) and isinstance(part.operand, ast.Constant) and part.operand.value == 100
            for part in nodes
        )
        if any(part is draw.node for part in nodes) and (ignored or any(isinstance(p, ast.Subscript) for p in nodes)):
            return True
    return any(keyword.arg == "ignore_index" for keyword in call.keywords) and last_name(call.func) == "cross_entropy"
