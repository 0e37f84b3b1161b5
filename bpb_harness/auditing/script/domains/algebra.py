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

from bpb_harness.auditing.script.domains.cancel import Factor, left_after_cancelling, weighted_mean
from bpb_harness.auditing.script.domains.sinks import Sink
from bpb_harness.auditing.script.domains.values import IDENTITY, Evaluator, taken
from bpb_harness.auditing.script.frontend.answers import ASKER, Answers
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import Definition, dotted, last_name
from bpb_harness.auditing.script.frontend.walker import MAX_VALUES, Frame, Path, Walker, element_of, operands, step_of

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
class Term:
    """A product of factors, with the reductions (sum, mean, select) met on the way to them, outermost first.

    Attributes:
        factors: the factors.
        reductions: those of the scores; of a term without any, all of them.
        sums: the sums and means of what is no score, each to its power: numbers that the factors in them do not tell
            from masks.
    """

    factors: tuple[Factor, ...] = ()
    reductions: tuple[tuple[str, ast.AST], ...] = ()
    sums: tuple[Factor, ...] = ()

    def inverse(self) -> Term:
        """The term with its factors on the other side of the line."""
        factors, sums = (
            tuple(replace(factor, power=-factor.power) for factor in side) for side in (self.factors, self.sums)
        )
        return replace(self, factors=factors, sums=sums)

    def cross_entropies(self) -> list[Factor]:
        """The factors that are a cross-entropy or log-probability."""
        return [factor for factor in self.factors if factor.power > 0 and is_cross_entropy(factor.node)]


def is_cross_entropy(node: ast.AST) -> bool:
    """Whether a call yields cross-entropies or log-probabilities."""
    return isinstance(node, ast.Call) and last_name(node.func) in _CROSS_ENTROPY


class Algebra(Walker[list[Term]]):
    """Unfolds expressions of a program into terms: the summands of a sum are terms of their own.

    Args:
        program: the program that the expressions belong to.
    """

    deepest: ClassVar[int] = 80
    most_steps: ClassVar[int] = 6_000
    follows_defaults: ClassVar[bool] = True

    def __init__(self, program: Program) -> None:
        super().__init__(program)
        self._answers: Answers[tuple[list[Term], int]] = Answers()  # with the steps that they took

    def terms(self, sink: Sink) -> list[Term]:
        """The score of a sink as alternatives."""
        self.steps = 0
        return self.visit(sink.node, Frame.at(self.program, sink.node))

    def look(self, node: ast.expr, frame: Frame, path: Path) -> list[Term]:
        """The terms of an expression; none where it is carried round a loop: this round's is already being unfolded."""
        answers = self._answers
        known = answers.kept.get((node, frame, path))
        if known is not None:  # worked out once, and paid for each time: products grow with each look
            found, steps = known
            self.steps += steps
            is_paid = self.program.spend(steps) and self.steps <= self.most_steps
            return found if is_paid else self.stopped(node, frame, path)
        question = (node, frame)
        if answers.is_open(question):
            return []
        before, begun = answers.begin(question), self.steps
        found = []
        try:
            kept = not path and isinstance(node, ast.BinOp | ast.Name | ast.Call | ast.Subscript)
            is_whole = kept and self._is_level(node, frame)
            found = (self.unknown(node, frame) if is_whole else super().look(node, frame, path))[:_MAX_TERMS]
        finally:
            if answers.end(question, before):
                answers.kept[node, frame, path] = found, self.steps - begun
        return found

    def stopped(self, node: ast.expr, frame: Frame, path: Path, /) -> list[Term]:
        """The expression as one factor, for want of work or depth."""
        self._answers.hangs_on = ASKER
        return self.unknown(node, frame, path)

    def unknown(self, node: ast.expr, frame: Frame, _path: Path = (), /) -> list[Term]:
        """The expression as one factor."""
        return [Term((Factor(node, frame),))]

    def taken(self, node: ast.AST, frame: Frame, /) -> bool | None:
        """Whether the branch in which a node stands is taken; None where that is not known."""
        return taken(self.program, node, frame)

    def _all(self, nodes: Iterable[ast.expr], frame: Frame, path: Path = ()) -> list[Term]:
        return [term for node in nodes for term in self.visit(node, frame, path)]

    def _reduced(self, kind: str, node: ast.AST, found: list[Term]) -> list[Term]:
        return [replace(term, reductions=((kind, node), *term.reductions)) for term in found]

    # -- arithmetic -------------------------------------------------------------------------------

    def _binop(self, node: ast.BinOp, frame: Frame, path: Path) -> list[Term]:
        if path:
            return self.unknown(node, frame)
        if isinstance(node.op, ast.Mult | ast.Div):
            left = left_after_cancelling(self.program, node, frame)
            if left is not None:
                return self._multiplied(left)
        if isinstance(node.op, ast.Mult | ast.Div | ast.FloorDiv | ast.MatMult):
            power = -1 if isinstance(node.op, ast.Div | ast.FloorDiv) else 1
            return self._multiplied([Factor(node.left, frame), Factor(node.right, frame, power)])
        if isinstance(node.op, ast.Pow):
            exponent = self._number(node.right, frame)
            if exponent in (2.0, -1.0, -2.0):
                once = self._multiplied([Factor(node.left, frame, 1 if exponent > 0 else -1)])
                return _product(once, once) if abs(exponent) == 2.0 else once
        # A plain function of the noise level is kept whole.
        if isinstance(node.op, ast.Add | ast.Sub) and self._number(node, frame) is None:
            return self._all((side for side in (node.left, node.right) if not self._is_tiny(side, frame)), frame)
        return self.unknown(node, frame)

    def _unaryop(self, node: ast.UnaryOp, frame: Frame, path: Path) -> list[Term]:
        is_sign = isinstance(node.op, ast.USub | ast.UAdd)
        return self.visit(node.operand, frame, path) if is_sign else self.unknown(node, frame)

    def _multiplied(self, factors: Iterable[Factor]) -> list[Term]:
        """A product of factors, each unfolded."""
        terms = [Term()]
        for factor in factors:
            found = self.visit(factor.node, factor.frame)
            terms = _product(terms, found if factor.power > 0 else [term.inverse() for term in found])
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

    # -- names, containers and calls --------------------------------------------------------------

    def defined(self, node: ast.Name, frame: Frame, path: Path, /) -> list[Term]:
        """The sum of what all definitions of a name give, times what it is multiplied by."""
        behind = self.origins(node, frame, path)
        several = len({id(origin.definition) for origin in behind}) > 1
        sums: list[Term] = []
        scale: list[Term] = [Term()]
        for value, where, way, definition in behind:
            assert definition is not None
            if isinstance(definition.operator, ast.Mult | ast.Div):
                power = 1 if isinstance(definition.operator, ast.Mult) else -1
                scale = _product(scale, self._multiplied([Factor(value, where, power)]))
            elif not (several and _is_start(definition, path)):
                sums += self._looped(value, where, way) if definition.kind == "loop" else self.visit(value, where, way)
        return _product(sums, scale) if sums else self.unknown(node, frame)

    def _looped(self, node: ast.expr, frame: Frame, path: Path) -> list[Term]:
        """The elements of what a loop runs over; a path means a part of an element, not of the whole."""
        if isinstance(node, ast.Tuple | ast.List):
            return self._all(node.elts, frame, path)
        name = last_name(node.func) if isinstance(node, ast.Call) and path else ""
        if isinstance(node, ast.Call) and name == "zip":
            column = path[0]
            if isinstance(column, int) and column < len(node.args):
                return self._looped(node.args[column], frame, path[1:])
        if isinstance(node, ast.Call) and name == "enumerate" and node.args:
            return self._looped(node.args[0], frame, path[1:]) if path[0] == 1 else []
        return self.visit(node, frame, path)

    def _behind(self, node: ast.expr, frame: Frame, path: Path) -> list[Term]:
        """All that an expression may have its value from; nan and its like stand where there is no score."""
        behind = (origin for origin in self.origins(node, frame, path) if not _is_filler(origin.node))
        terms = [term for value, where, way, _ in behind for term in self.visit(value, where, way)]
        return terms or self.unknown(node, frame)

    _ifexp = _behind

    def _attribute(self, node: ast.Attribute, frame: Frame, path: Path) -> list[Term]:
        is_one = len(self.program.values_of(node)) <= MAX_VALUES
        return self._behind(node, frame, path) if is_one else self.unknown(node, frame)

    def _tuple(self, node: ast.Tuple | ast.List, frame: Frame, path: Path) -> list[Term]:
        element, rest = element_of(node, path)
        return self.visit(element, frame, rest) if element is not node else self._all(node.elts, frame, path)

    _list = _tuple

    def _dict(self, node: ast.Dict, frame: Frame, path: Path) -> list[Term]:
        element, rest = element_of(node, path)
        return self.visit(element, frame, rest) if element is not node else []

    def _listcomp(self, node: ast.ListComp | ast.GeneratorExp, frame: Frame, path: Path) -> list[Term]:
        return self.visit(node.elt, frame, path)

    _generatorexp = _listcomp

    def _subscript(self, node: ast.Subscript, frame: Frame, path: Path) -> list[Term]:
        step = step_of(node)
        if step is not None:
            is_setting = dotted(node.value).endswith("environ")
            return self.unknown(node, frame) if is_setting else self.visit(node.value, frame, (step, *path))
        found = self.visit(node.value, frame, path)
        if not any(is_cross_entropy(factor.node) for term in found for factor in term.factors):
            return self.unknown(node, frame)  # a table or a batch, not scores
        return self._reduced("select", node, found)

    def _call(self, node: ast.Call, frame: Frame, path: Path) -> list[Term]:
        name = last_name(node.func)
        if is_cross_entropy(node):
            found = self.unknown(node, frame)
            return self._reduced("mean", node, found) if _averages(node) else found
        if name == "compile" or (isinstance(node.func, ast.Call) and last_name(node.func.func) in _CROSS_ENTROPY):
            return self.unknown(node, frame)
        passed = self._linear(node, name, operands(node), frame, path)
        return passed if passed is not None else self._behind(node, frame, path)

    def _linear(
        self, node: ast.Call, name: str, worked_on: list[ast.expr], frame: Frame, path: Path
    ) -> list[Term] | None:
        """Sums, means, casts and guards: what they are applied to."""
        if not worked_on:
            return None
        first, *more = worked_on
        if name in _CASTS:
            return self.visit(first, frame, path)
        if name == "get" and more and isinstance(more[0], ast.Constant):
            key = more[0].value
            return self.visit(first, frame, (key, *path)) if isinstance(key, str) else None
        if name in ("get", "result", "wait") and not node.args:
            return self.visit(first, frame, path)  # of a call that runs elsewhere
        if name == "get" and len(node.args) == 1 and self._is_module(node.func) and isinstance(node.args[0], ast.Call):
            return self.visit(node.args[0], frame, path)  # ray.get(f.remote(..))
        weights = next((keyword.value for keyword in node.keywords if keyword.arg == "weights"), None)
        if name in _AVERAGING and weights is not None:
            weighted = weighted_mean(self.program, first, weights, frame)
            if weighted is not None:
                return self._reduced("sum", node, self._multiplied(weighted))
        if name in _SUMMING | _AVERAGING:
            found = self._reduced("mean" if name in _AVERAGING else "sum", node, self.visit(first, frame))
            return [term if _holds_a_score(term) else _noted(term, Factor(node, frame)) for term in found]
        if name in ("max", "clamp", "clamp_min", "maximum", "min", "neg"):
            return self.visit(
                next((part for part in worked_on if not isinstance(part, ast.Constant)), first), frame, path
            )
        if name == "gather":
            found = self.visit(first, frame)
            return found if any(map(_holds_a_score, found)) else self.unknown(node, frame)  # an entry of a table
        if name == "where" and len(more) == 2:
            return self._reduced("select", node, self._all((part for part in more if not _is_zero(part)), frame))
        if name in ("mul", "multiply", "mul_", "div", "div_", "divide", "true_divide") and len(more) == 1:
            return self._multiplied([Factor(first, frame), Factor(more[0], frame, 1 if name.startswith("mul") else -1)])
        return None

    def _is_module(self, func: ast.expr) -> bool:
        """Whether a function is called on a name that the program gives no value: a module's."""
        base = func.value if isinstance(func, ast.Attribute) else None
        return isinstance(base, ast.Name) and not self.program.reaching(base)


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


def _is_start(definition: Definition, path: Path) -> bool:
    """x = 0.0, x = torch.zeros(..), xs = []: the start of a sum whose summands follow."""
    if definition.kind != "assign":
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


def _noted(term: Term, sum_of_it: Factor) -> Term:
    """A term of a sum of what is no score: of a single factor, that is what the sum is one of."""
    return replace(term, sums=(*term.sums, term.factors[0] if len(term.factors) == 1 else sum_of_it))


def _product(left: list[Term], right: list[Term]) -> list[Term]:
    if not left or not right:
        return left or right
    # The sums and means on the way to the scores: a sum of bytes that they are divided by is none of them.
    ours, others = ([(term, _holds_a_score(term)) for term in side] for side in (left, right))
    return [
        Term(
            a.factors + b.factors,
            a.reductions + b.reductions if a_scores is b_scores else a.reductions if a_scores else b.reductions,
            a.sums + b.sums,
        )
        for (a, a_scores), (b, b_scores) in itertools.islice(itertools.product(ours, others), _MAX_TERMS)
    ]


def _holds_a_score(term: Term) -> bool:
    return any(is_cross_entropy(factor.node) for factor in term.factors)
