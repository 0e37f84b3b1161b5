"""The weight that a scored term has at each mask rate."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from functools import cached_property

from bpb_harness.auditing.script.domains.algebra import is_cross_entropy
from bpb_harness.auditing.script.domains.analysis import Analysis, MaskDraw
from bpb_harness.auditing.script.domains.cancel import Factor
from bpb_harness.auditing.script.domains.trace import comes_from, trace
from bpb_harness.auditing.script.domains.values import IDENTITY, Evaluator, Leaf
from bpb_harness.auditing.script.frontend.scopes import Scope, last_name
from bpb_harness.auditing.script.frontend.walker import operands

_MAX_TRACED = 400
# What says where or how a tensor is kept, not what it holds.
_OF_STORAGE = frozenset(["device", "dtype", "map_location", "weights_only", "generator", "non_blocking"])
_IN_PLACE = frozenset([
    "add_", "sub_", "mul_", "div_", "masked_fill_", "clamp_", "uniform_", "bernoulli_", "requires_grad_", "all_reduce_",
])  # fmt: skip
_PICKING = frozenset(["multinomial", "argmax", "topk", "argsort", "sort", "nonzero", "choice"])
_OF_ONE = IDENTITY | {"int", "max", "min", "round", "get", "getenv", "parse_args", "parse_known_args", "len"}
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
        what the scored text comes from. What a sum is divided by is common to all that is in it.
        """
        factors = (factor for factor in self.draw.term.factors if factor not in self.factors)
        return any(map(self._may_weigh, factors)) or any(
            kind == "select" and self._is_picked(node) for kind, node in self.draw.term.reductions
        )

    def _is_picked(self, node: ast.AST) -> bool:
        """Whether scores are looked up at places that are chosen by the masks: one of the masked tokens alone."""
        if not isinstance(node, ast.Call) or last_name(node.func) != "gather":
            return False
        program, draw = self.analysis.program, self.draw
        indices = [*operands(node)[1:], *(keyword.value for keyword in node.keywords)]
        frame = draw.score.frame
        return any(
            isinstance(part, ast.Call) and last_name(part.func) in _PICKING
            for index in indices
            if comes_from(program, index, frame, draw.is_at, _MAX_TRACED)
            for part, _ in trace(program, index, frame, _MAX_TRACED)
        )

    @cached_property
    def is_followed(self) -> bool:
        """Whether all that is added up is known: costs, masks, numbers, sizes."""
        if any(map(self._is_changed_unseen, {self.draw.frame.scope, self.draw.score.frame.scope})):
            return False
        return all(self._is_known(factor) for factor in self.draw.term.factors if factor.sums)

    def _is_changed_unseen(self, scope: Scope) -> bool:
        """Whether a function changes tensors in ways that are not followed: out=, addcdiv_, pow_."""
        calls = (node for node in self.analysis.program.own_nodes(scope) if isinstance(node, ast.Call))
        return any(
            any(keyword.arg == "out" for keyword in call.keywords)
            or (last_name(call.func).endswith("_") and last_name(call.func) not in _IN_PLACE)
            for call in calls
        )

    def _is_known(self, factor: Factor) -> bool:
        if is_cross_entropy(factor.node) or is_size(factor.node):
            return True
        program = self.analysis.program
        if Evaluator(program).number(factor.node, factor.frame) is not None:
            return not self._is_filled(factor.node)
        return comes_from(program, factor.node, factor.frame, self.draw.is_at, _MAX_TRACED)

    def _may_weigh(self, factor: Factor) -> bool:
        program = self.analysis.program
        if is_cross_entropy(factor.node):
            return False
        evaluator = Evaluator(program)
        if evaluator.number(factor.node, factor.frame) is not None:
            others = (leaf for leaf in evaluator.grids if leaf.node is not self.leaf.node and not self._is_own(leaf))
            return not evaluator.compared and (any(others) or self._is_filled(factor.node))
        if is_size(factor.node) or self._is_common(factor):
            return False
        behind = [part for part, _ in trace(program, factor.node, factor.frame, _MAX_TRACED, self._opened)]
        if any(part is self.leaf.node for part in behind):
            return True
        if any(self.analysis.draws_masks(part) for part in behind):
            return False
        if factor.power < 0 and not any(map(_may_be_many, behind)):
            return False  # a number of draws, of steps
        of_text = {part for part, _ in self.analysis.behind(self.draw.score)}
        return not any(part in of_text and self._is_source(part) for part in behind)

    def _is_common(self, factor: Factor) -> bool:
        """Whether a factor stands outside of all sums of the costs: what it multiplies is the sum over all rates."""
        return not factor.sums and (factor.power < 0 or bool(self.draw.score.sums))

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


def _may_be_many(node: ast.AST) -> bool:
    """Whether a call may give a table: all but casts, and what gives a setting."""
    return isinstance(node, ast.Call) and last_name(node.func) not in _OF_ONE


def is_size(node: ast.expr) -> bool:
    """x.shape, x.shape[1], x.size(1), len(x): a number of tokens, whatever the mask rate."""
    if isinstance(node, ast.Subscript):
        return is_size(node.value)
    asked = node.func if isinstance(node, ast.Call) else node
    return isinstance(node, ast.Call | ast.Attribute) and last_name(asked) in _OF_SIZE
