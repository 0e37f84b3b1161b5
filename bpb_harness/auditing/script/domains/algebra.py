"""The reported score as products: which factors stand between the cross-entropies and the number that is printed.

The score's expression is unfolded from the place where it is printed, logged or stored, backwards through names,
sums, means and functions of the program, into terms; a term is a product of factors to the power +1 or -1.
Whatever is a factor here lies on the path to the score by construction. A training loss is never met.
"""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import ClassVar

from bpb_harness.auditing.script.domains.cancel import Whole, left_after_cancelling, weighted_mean
from bpb_harness.auditing.script.domains.sinks import Sink
from bpb_harness.auditing.script.domains.values import IDENTITY, Evaluator
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import Definition, Scope, dotted, last_name
from bpb_harness.auditing.script.frontend.walker import (
    DEEPEST_CALL,
    DEEPEST_INLINED,
    MAX_CALLERS,
    MAX_VALUES,
    Frame,
    Walker,
    operands,
)  # fmt: skip

_CROSS_ENTROPY = frozenset([
    "cross_entropy", "nll_loss", "CrossEntropyLoss", "NLLLoss", "log_softmax", "softmax", "logsumexp",
    "linear_cross_entropy",
])  # fmt: skip
_SUMMING = frozenset(
    ["sum", "nansum", "fsum", "cumsum", "all_reduce", "reduce_sum", "psum", "gather_sum", "trapz", "trapezoid", "simps"]
)
_AVERAGING = frozenset(["mean", "nanmean", "average", "fmean"])
_CASTS = IDENTITY | {"int", "float", "round", "masked_fill", "masked_fill_", "masked_select", "nan_to_num"}
_MAX_TERMS = 48


@dataclass(frozen=True)
class Factor:
    """One factor of a term.

    Attributes:
        node: the expression that could not be taken apart further.
        power: +1 or -1.
        frame: where its names are to be read.
    """

    node: ast.expr
    power: int
    frame: Frame


@dataclass(frozen=True)
class Term:
    """A product of factors, with the reductions (sum, mean, select) met on the way to them, outermost first."""

    factors: tuple[Factor, ...] = ()
    reductions: tuple[tuple[str, ast.AST], ...] = ()

    def cross_entropies(self) -> list[Factor]:
        """The factors that are a cross-entropy or log-probability."""
        return [factor for factor in self.factors if factor.power > 0 and is_cross_entropy(factor.node)]


def is_cross_entropy(node: ast.expr) -> bool:
    """Whether a call yields cross-entropies or log-probabilities."""
    return isinstance(node, ast.Call) and last_name(node.func) in _CROSS_ENTROPY


@dataclass(frozen=True)
class Spot:
    """Where an expression stands in the score.

    Attributes:
        frame: where its names are read.
        power: +1 in a numerator, -1 in a denominator.
        path: which element of a tuple or dictionary is meant, outermost first.
    """

    frame: Frame
    power: int = 1
    path: tuple[int | str, ...] = ()

    def into(self, *steps: int | str) -> Spot:
        """The same place, where elements of what is looked at are meant."""
        return replace(self, path=(*steps, *self.path))

    def out(self) -> Spot:
        """The same place, after the first step of the path was taken."""
        return replace(self, path=self.path[1:])

    def whole(self, sign: int = 1) -> Spot:
        """The same place, or the other side of the line, where all of an expression is meant."""
        return replace(self, power=self.power * sign, path=())


class Algebra(Walker[Spot, list[Term]]):
    """Unfolds expressions of a program into terms: the summands of a sum are terms of their own.

    Args:
        program: the program that the expressions belong to.
    """

    deepest: ClassVar[int] = 80
    most_steps: ClassVar[int] = 6_000

    def __init__(self, program: Program) -> None:
        super().__init__(program)
        self._open: set[tuple[int, int]] = set()

    def terms(self, sink: Sink) -> list[Term]:
        """The score of a sink as alternatives."""
        self.steps = 0
        return self.visit(sink.node, Spot(Frame.of(self.program, self.program.scope(sink.node))))

    def look(self, node: ast.expr, at: Spot) -> list[Term]:
        """The terms of an expression; none where it is carried round a loop: this round's is already being unfolded."""
        key = (id(node), id(at.frame))
        if key in self._open:
            return []
        self._open.add(key)
        try:
            kept = not at.path and isinstance(node, ast.BinOp | ast.Name | ast.Call | ast.Subscript)
            found = self.unknown(node, at) if kept and self._is_level(node, at.frame) else super().look(node, at)
        finally:
            self._open.discard(key)
        return found[:_MAX_TERMS]

    def unknown(self, node: ast.expr, at: Spot, /) -> list[Term]:
        """The expression as one factor."""
        return [Term((Factor(node, at.power, at.frame),))]

    def _all(self, nodes: Iterable[ast.expr], at: Spot) -> list[Term]:
        return [term for node in nodes for term in self.visit(node, at)]

    def _reduced(self, kind: str, node: ast.AST, found: list[Term]) -> list[Term]:
        return [replace(term, reductions=((kind, node), *term.reductions)) for term in found]

    # -- arithmetic -------------------------------------------------------------------------------

    def _binop(self, node: ast.BinOp, at: Spot) -> list[Term]:
        if at.path:
            return self.unknown(node, at)
        if isinstance(node.op, ast.Mult | ast.Div):
            left = left_after_cancelling(self.program, node, at.frame)
            if left is not None:
                return self._wholes(left, at)
        if isinstance(node.op, ast.Mult | ast.Div | ast.FloorDiv | ast.MatMult):
            return self._multiplied(node.left, node.right, at, isinstance(node.op, ast.Div | ast.FloorDiv))
        if isinstance(node.op, ast.Pow):
            exponent = self._number(node.right, at.frame)
            if exponent in (2.0, -1.0, -2.0):
                once = self.visit(node.left, at.whole(1 if exponent > 0 else -1))
                return _product(once, once) if abs(exponent) == 2.0 else once
        # A plain function of the noise level is kept whole.
        if isinstance(node.op, ast.Add | ast.Sub) and self._number(node, at.frame) is None:
            return self._all((side for side in (node.left, node.right) if not self._is_tiny(side, at.frame)), at)
        return self.unknown(node, at)

    def _unaryop(self, node: ast.UnaryOp, at: Spot) -> list[Term]:
        return self.visit(node.operand, at) if isinstance(node.op, ast.USub | ast.UAdd) else self.unknown(node, at)

    def _multiplied(self, left: ast.expr, right: ast.expr, at: Spot, divided: bool) -> list[Term]:
        return _product(self.visit(left, at.whole()), self.visit(right, at.whole(-1 if divided else 1)))

    def _wholes(self, factors: Iterable[Whole], at: Spot) -> list[Term]:
        """A product of factors that were kept whole, each unfolded."""
        terms = [Term()]
        for factor in factors:
            terms = _product(terms, self.visit(factor.node, Spot(factor.frame, at.power * factor.power)))
        return terms

    def _number(self, node: ast.expr, frame: Frame) -> float | None:
        return Evaluator(self.program).number(node, frame)

    def _is_level(self, node: ast.expr, frame: Frame) -> bool:
        """Whether the expression is a function of the noise level alone: a weight, to be kept whole."""
        evaluator = Evaluator(self.program)
        return evaluator.number(node, frame) is not None and bool(evaluator.leaves) and not evaluator.compared

    def _is_tiny(self, node: ast.expr, frame: Frame) -> bool:
        value = self._number(node, frame) if not isinstance(node, ast.Name) else None
        return value is not None and abs(value) < 1e-4

    # -- names ------------------------------------------------------------------------------------

    def _name(self, node: ast.Name, at: Spot) -> list[Term]:
        given = at.frame.given(self.program, node)
        if given is not None:
            return self.visit(given[0], replace(at, frame=given[1]))
        evaluator = Evaluator(self.program)
        definitions = [d for d in self.program.reaching(node) if evaluator.taken(d.statement, at.frame) is not False]
        sums: list[Term] = []
        scale: list[Term] = [Term()]
        for definition in definitions:
            if definition.value is None or definition.kind == "parameter":
                sums.extend(self._passed(definition, at))
            elif definition.kind == "augment" and isinstance(definition.operator, ast.Mult | ast.Div):
                sign = 1 if isinstance(definition.operator, ast.Mult) else -1
                scale = _product(scale, self.visit(definition.value, at.whole(sign)))
            else:
                found = self._defined(definition, definition.value, at)
                if not _is_start(definition, len(definitions), at.path):
                    sums.extend(found)
        return _product(sums, scale) if sums else self.unknown(node, at)

    def _defined(self, definition: Definition, value: ast.expr, at: Spot) -> list[Term]:
        first = at.path[0] if at.path else None
        if definition.kind == "mutation" and definition.key is not None and isinstance(first, str):
            key = definition.key.value if isinstance(definition.key, ast.Constant) else None
            return self.visit(value, at.out()) if key == first else []
        if definition.kind == "mutation":  # x.append(v): an element of x
            return self.visit(value, at.out() if definition.key is None and isinstance(first, int) else at)
        if definition.kind == "loop":
            return self._looped(value, at.into(*definition.index))
        return self.visit(value, at.into(*definition.index))

    def _looped(self, node: ast.expr, at: Spot) -> list[Term]:
        """The elements of what a loop runs over; a path means a part of an element, not of the whole."""
        if isinstance(node, ast.Tuple | ast.List):
            return self._all(node.elts, at)
        name = last_name(node.func) if isinstance(node, ast.Call) and at.path else ""
        if isinstance(node, ast.Call) and name == "zip":
            column = at.path[0]
            if isinstance(column, int) and column < len(node.args):
                return self._looped(node.args[column], at.out())
        if isinstance(node, ast.Call) and name == "enumerate" and node.args:
            return self._looped(node.args[0], at.out()) if at.path[0] == 1 else []
        return self.visit(node, at)

    def _passed(self, definition: Definition, at: Spot) -> list[Term]:
        """A parameter of the function that a sink stands in: what the calls of the program hand over."""
        handed = at.frame.handed(self.program, definition)[:MAX_CALLERS]
        terms = [term for value, frame in handed for term in self.visit(value, replace(at, frame=frame))]
        if not terms and definition.value is not None:
            scope = self.program.scope(definition.statement)
            return self.visit(definition.value, replace(at, frame=Frame(scope)))
        return terms

    # -- containers and calls ---------------------------------------------------------------------

    def _tuple(self, node: ast.Tuple | ast.List, at: Spot) -> list[Term]:
        first = at.path[0] if at.path else None
        if isinstance(first, int) and -len(node.elts) <= first < len(node.elts):
            return self.visit(node.elts[first], at.out())
        return self._all(node.elts, at)

    _list = _tuple

    def _dict(self, node: ast.Dict, at: Spot) -> list[Term]:
        for key, value in zip(node.keys, node.values, strict=True):
            if at.path and isinstance(at.path[0], str) and isinstance(key, ast.Constant) and key.value == at.path[0]:
                return self.visit(value, at.out())
        return []

    def _ifexp(self, node: ast.IfExp, at: Spot) -> list[Term]:
        return self._all((branch for branch in (node.body, node.orelse) if not _is_filler(branch)), at)

    def _listcomp(self, node: ast.ListComp | ast.GeneratorExp, at: Spot) -> list[Term]:
        return self.visit(node.elt, at)

    _generatorexp = _listcomp

    def _namedexpr(self, node: ast.NamedExpr | ast.Await, at: Spot) -> list[Term]:
        return self.visit(node.value, at)

    _await = _namedexpr

    def _subscript(self, node: ast.Subscript, at: Spot) -> list[Term]:
        index = node.slice.value if isinstance(node.slice, ast.Constant) else None
        if isinstance(index, int | str) and not isinstance(index, bool):
            if isinstance(index, str) and dotted(node.value).endswith("environ"):
                return self.unknown(node, at)
            return self.visit(node.value, at.into(index))
        found = self.visit(node.value, at)
        if not any(is_cross_entropy(factor.node) for term in found for factor in term.factors):
            return self.unknown(node, at)  # a table or a batch, not scores
        return self._reduced("select", node, found)

    def _attribute(self, node: ast.Attribute, at: Spot) -> list[Term]:
        computed = self.program.properties.get(node.attr, [])
        if len(computed) == 1:
            return self._all(computed[0].returns, replace(at, frame=Frame(computed[0])))
        terms: list[Term] = []
        if at.frame.depth < DEEPEST_CALL and len(self.program.values_of(node)) <= MAX_VALUES:
            for value, frame in at.frame.stored(self.program, node):
                terms.extend(self.visit(value, replace(at, frame=frame)) if not _is_filler(value) else [])
        return terms or self.unknown(node, at)

    def _call(self, node: ast.Call, at: Spot) -> list[Term]:
        name = last_name(node.func)
        if is_cross_entropy(node):
            found = self.unknown(node, at)
            return self._reduced("mean", node, found) if _averages(node) else found
        if name == "compile" or (isinstance(node.func, ast.Call) and last_name(node.func.func) in _CROSS_ENTROPY):
            return self.unknown(node, at)
        passed = self._linear(node, name, operands(node), at)
        if passed is not None:
            return passed
        callee = self.program.callee(node)
        if callee is not None and at.frame.depth < DEEPEST_INLINED and callee.returns:
            return self._inline(callee, node, at)
        return self.unknown(node, at)

    def _linear(self, node: ast.Call, name: str, worked_on: list[ast.expr], at: Spot) -> list[Term] | None:
        """Sums, means, casts and guards: what they are applied to."""
        if not worked_on:
            return None
        first, *more = worked_on
        if name in _CASTS:
            return self.visit(first, at)
        if name == "get" and more and isinstance(more[0], ast.Constant):
            key = more[0].value
            return self.visit(first, at.into(key)) if isinstance(key, str) else None
        if name in ("get", "result", "wait") and not node.args:
            return self.visit(first, at)  # of a call that runs elsewhere
        if name == "get" and len(node.args) == 1 and self._is_module(node.func) and isinstance(node.args[0], ast.Call):
            return self.visit(node.args[0], at)  # ray.get(f.remote(..))
        weights = next((keyword.value for keyword in node.keywords if keyword.arg == "weights"), None)
        if name in _AVERAGING and weights is not None:
            weighted = weighted_mean(self.program, first, weights, at.frame)
            if weighted is not None:
                return self._reduced("sum", node, self._wholes([*weighted[0], weighted[1]], at))
        if name in _SUMMING | _AVERAGING:
            return self._reduced("mean" if name in _AVERAGING else "sum", node, self.visit(first, at.whole()))
        if name in ("max", "clamp", "clamp_min", "maximum", "min", "neg"):
            return self.visit(next((part for part in worked_on if not isinstance(part, ast.Constant)), first), at)
        if name == "gather":
            return self.visit(first, at.whole())
        if name == "where" and len(more) == 2:
            return self._reduced("select", node, self._all((part for part in more if not _is_zero(part)), at.whole()))
        if name in ("mul", "multiply", "mul_", "div", "div_", "divide", "true_divide") and len(more) == 1:
            return self._multiplied(first, more[0], at, not name.startswith("mul"))
        return None

    def _is_module(self, func: ast.expr) -> bool:
        """Whether a function is called on a name that the program gives no value: a module's."""
        base = func.value if isinstance(func, ast.Attribute) else None
        return isinstance(base, ast.Name) and not self.program.reaching(base)

    def _inline(self, callee: Scope, node: ast.Call, at: Spot) -> list[Term]:
        inner = at.frame.inside(self.program, callee, node)
        evaluator = Evaluator(self.program)
        results = (r for r in callee.returns if evaluator.taken(r, inner) is not False and not _is_filler(r))
        return self._all(results, replace(at, frame=inner)) or self.unknown(node, at)


def _is_filler(node: ast.expr) -> bool:
    """nan, inf, 0 or None, given where there is no score."""
    if isinstance(node, ast.Constant):
        return not node.value
    if isinstance(node, ast.Call) and last_name(node.func) == "float" and node.args:
        return isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str)
    return isinstance(node, ast.Attribute) and node.attr in ("inf", "nan")


def _is_zero(node: ast.expr) -> bool:
    if isinstance(node, ast.Constant):
        return not node.value
    return isinstance(node, ast.Call) and last_name(node.func) in ("zeros_like", "zeros", "new_zeros")


def _is_start(definition: Definition, count: int, path: tuple[int | str, ...]) -> bool:
    """x = 0.0, x = torch.zeros(..), xs = []: the start of a sum whose summands follow."""
    if definition.kind != "assign" or count < 2:
        return False
    value = definition.part
    if isinstance(value, ast.Constant):
        return not value.value
    if isinstance(value, ast.List | ast.Dict):
        return not (value.elts if isinstance(value, ast.List) else value.keys)
    if not isinstance(value, ast.Call):
        return False
    name = last_name(value.func)
    if name in ("zeros", "zeros_like", "list", "dict", "defaultdict", "float") and not path:
        return True
    first = value.args[0] if name == "tensor" and value.args else None
    return isinstance(first, ast.Constant) and not first.value


def _averages(node: ast.Call) -> bool:
    """cross_entropy(..) without reduction= is a mean over its tokens."""
    if last_name(node.func) not in ("cross_entropy", "nll_loss"):
        return False
    for keyword in node.keywords:
        if keyword.arg == "reduction":
            return isinstance(keyword.value, ast.Constant) and keyword.value.value == "mean"
    return True


def _product(left: list[Term], right: list[Term]) -> list[Term]:
    if not left or not right:
        return left or right
    pairs = itertools.islice(itertools.product(left, right), _MAX_TERMS)
    return [Term(a.factors + b.factors, _reductions_of(a, b)) for a, b in pairs]


def _reductions_of(left: Term, right: Term) -> tuple[tuple[str, ast.AST], ...]:
    """The sums and means on the way to the scores: a sum of bytes that they are divided by is none of them."""
    sides = [side for side in (left, right) if any(is_cross_entropy(factor.node) for factor in side.factors)]
    return sides[0].reductions if len(sides) == 1 else left.reductions + right.reductions
