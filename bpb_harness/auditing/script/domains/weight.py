"""The weight that a scored term has at each mask rate, and whether it is a mean over the masked tokens."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property

from bpb_harness.auditing.script.domains.algebra import Term, is_cross_entropy
from bpb_harness.auditing.script.domains.analysis import Analysis, MaskDraw
from bpb_harness.auditing.script.domains.cancel import Factor
from bpb_harness.auditing.script.domains.trace import comes_from, trace
from bpb_harness.auditing.script.domains.values import IDENTITY, Evaluator, Leaf
from bpb_harness.auditing.script.frontend.scopes import last_name
from bpb_harness.auditing.script.frontend.walker import operands

_MAX_TRACED = 400
# What says where or how a tensor is kept, not what it holds.
_OF_STORAGE = frozenset(["device", "dtype", "map_location", "weights_only", "generator", "non_blocking"])
_OF_SIZE = frozenset(["len", "numel", "size", "shape", "ndim", "dim"])


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

    @cached_property
    def is_open(self) -> bool:
        """Whether a factor may be a weight of the mask rate that is not known: of a table, a file, a function.

        What a mask, a text or a count is multiplied by is none: it does not come from the mask rate, and it comes from
        what the scored text comes from.
        """
        return any(self._may_weigh(factor) for factor in self.draw.term.factors if factor not in self.factors)

    def _may_weigh(self, factor: Factor) -> bool:
        program = self.analysis.program
        if is_cross_entropy(factor.node):
            return False
        evaluator = Evaluator(program)
        if evaluator.number(factor.node, factor.frame) is not None:
            others = (leaf for leaf in evaluator.grids if leaf.node is not self.leaf.node and not self._is_own(leaf))
            return not evaluator.compared and (any(others) or self._is_filled(factor.node))
        if _is_size(factor.node):
            return False
        behind = [part for part, _ in trace(program, factor.node, factor.frame, _MAX_TRACED, self._opened)]
        if any(part is self.leaf.node for part in behind):
            return True
        if factor.power < 0 or any(self.analysis.draws_masks(part) for part in behind):
            return False
        of_text = {part for part, _ in self.analysis.behind(self.draw.score)}
        return not any(part in of_text and self._is_source(part) for part in behind)

    def _is_own(self, leaf: Leaf) -> bool:
        """Whether a list is that of the mask rates themselves, by which a quadrature's integrand is divided."""
        draw = self.draw
        return self.analysis.has_quadrature and comes_from(
            self.analysis.program, draw.rate, draw.frame, lambda node: node is leaf.node, _MAX_TRACED
        )

    def _is_filled(self, node: ast.expr) -> bool:
        """Whether entries of a table are set after it was made: ``w = torch.ones(T)``, and then ``w[1:] = ..``."""
        return any(
            isinstance(part, ast.Name) and any(each.kind == "mutation" for each in self.analysis.program.reaching(part))
            for part in ast.walk(node)
        )

    def _is_source(self, node: ast.AST) -> bool:
        """What a text is read from: a call, or what a loop runs over."""
        above = self.analysis.program.parent(node)
        return isinstance(node, ast.Call) or (isinstance(above, ast.For | ast.comprehension) and node is above.iter)

    def _opened(self, node: ast.AST) -> Iterable[ast.AST]:
        """The parts of an expression, without the draw of masks and what only says where a tensor is kept."""
        if self.analysis.draws_masks(node):
            return ()
        if isinstance(node, ast.Attribute) and node.attr in _OF_STORAGE | _OF_SIZE:
            return ()
        program = self.analysis.program
        if isinstance(node, ast.Call):
            if last_name(node.func) in _OF_SIZE:
                return ()
            if (callee := program.callee(node)) is not None and callee.returns:
                return ()  # its results are looked into, with what was handed over
            if last_name(node.func) in IDENTITY and operands(node):
                return operands(node)[:1]
            kept = [part for part in node.keywords if part.arg not in _OF_STORAGE]
            return [node.func, *node.args, *kept]
        return program.parts(node)

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


def _is_size(node: ast.expr) -> bool:
    """x.shape, x.shape[1], x.size(1), len(x): a number of tokens, whatever the mask rate."""
    if isinstance(node, ast.Subscript):
        return _is_size(node.value)
    asked = node.func if isinstance(node, ast.Call) else node
    return isinstance(node, ast.Call | ast.Attribute) and last_name(asked) in _OF_SIZE


def divides_by_count(analysis: Analysis, draw: MaskDraw) -> bool:
    """Whether a term is a mean over the masked tokens, and is not multiplied by their number again."""
    term: Term = draw.term
    divided = sum(analysis.is_mask_count(factor) for factor in term.factors) + _is_mean_over_masked(analysis, draw)
    return divided > (_times_counted(analysis, term) if divided else 0)


def _times_counted(analysis: Analysis, term: Term) -> int:
    """How often a term is multiplied by a number of masked tokens: what it is divided by, as often, cancels."""
    by_itself = [factor for factor in term.factors if isinstance(factor.node, ast.Call)]
    numbers = [factor for factor in (*term.sums, *by_itself) if factor.power > 0]
    return sum(analysis.is_mask_count(replace(factor, power=-1)) for factor in numbers)


def _is_mean_over_masked(analysis: Analysis, draw: MaskDraw) -> bool:
    """Whether the scores of the masked tokens are selected, and the mean of these is taken."""
    term: Term = draw.term
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
