"""The reported score as products: which factors stand between the cross-entropies and the number that is printed.

The score's expression is unfolded from the place where it is printed, logged or stored, backwards through names,
sums, means and functions of the program, into terms; a term is a product of factors to the power +1 or -1.
Whatever is a factor here lies on the path to the score by construction. A training loss is never met.
"""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from bpb_harness.auditing.script.domains.cancel import Factor, left_after_cancelling, weighted_mean
from bpb_harness.auditing.script.domains.changed import Change, Choice, Condition, conditions_of
from bpb_harness.auditing.script.domains.sinks import Sink
from bpb_harness.auditing.script.domains.values import IDENTITY, Evaluator, taken
from bpb_harness.auditing.script.frontend.answers import ASKER, Answers
from bpb_harness.auditing.script.frontend.nodes import keyword
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
_CASTS = IDENTITY | {"int", "float", "round", "masked_fill", "masked_fill_", "nan_to_num"}
_MAX_TERMS = 48


@dataclass(frozen=True)
class Term:
    """A product of factors, with the reductions (sum, mean, select) met on the way to them, outermost first.

    Attributes:
        factors: the factors.
        reductions: those of the scores; of a term without any, all of them.
        sums: the sums and means of what is no score, each to its power: numbers that the factors in them do not tell
            from masks.
        sign: +1 or -1; of a term of scores it says nothing.
        conditions: under which the term is added; of a term of scores they say nothing.
        choices: the values that the term belongs to, where there is a choice.
        below: what is below the line, as it stood there before it was turned round.
    """

    factors: tuple[Factor, ...] = ()
    reductions: tuple[tuple[str, ast.AST], ...] = ()
    sums: tuple[Factor, ...] = ()
    sign: int = 1
    conditions: tuple[Condition, ...] = ()
    choices: tuple[Choice, ...] = ()
    below: tuple[Change, ...] = ()

    def inverse(self) -> Term:
        """The term with its factors on the other side of the line."""
        factors, sums = (tuple(factor.inverse() for factor in side) for side in (self.factors, self.sums))
        change = Change(self.factors, self.sign, self.conditions, self.choices)
        return Term(factors, self.reductions, sums, below=(change,))

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
        found = found if kind == "select" else _within(node, found)
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
            sides = (node.left, node.right)
            added, more = ([] if self._is_tiny(side, frame) else self.visit(side, frame) for side in sides)
            return added + (_negative(more) if isinstance(node.op, ast.Sub) else more)
        return self.unknown(node, frame)

    def _unaryop(self, node: ast.UnaryOp, frame: Frame, path: Path) -> list[Term]:
        if not isinstance(node.op, ast.USub | ast.UAdd):
            return self.unknown(node, frame)
        found = self.visit(node.operand, frame, path)
        return found if isinstance(node.op, ast.UAdd) else _negative(found)

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
        if any(not isinstance(each.definition and each.definition.operator, _UNFOLDED) for each in behind):
            return self.unknown(node, frame)  # x &= y
        values = [each for each in behind if each.definition is not None and each.definition.kind in _ONE_OF_SEVERAL]
        values = [each for each in values if each.definition and not (several and _is_start(each.definition, path))]
        for origin in behind:
            value, where, way, definition = origin
            assert definition is not None
            power = _power_of(definition)
            if power:
                scale = _product(scale, self._multiplied([Factor(value, where, power)]))
            elif not (several and _is_start(definition, path)):
                found = self._looped(value, where, way) if definition.kind == "loop" else self.visit(value, where, way)
                if isinstance(definition.operator, ast.Sub) or _mutator(definition) in _TAKING:
                    found = _negative(found)
                found = _within(definition.statement, found) if _adds(definition) else found
                if definition.kind != "parameter":
                    found = _under(found, conditions_of(self.program, definition.statement, where))
                chosen = [i for i, each in enumerate(values) if each is origin] if len(values) > 1 else []
                is_nearest_first = definition.kind == "assign"
                sums += _under(found, choices=tuple(Choice(node, number, is_nearest_first) for number in chosen))
        return _product(sums, scale) if sums else self.unknown(node, frame)

    def _looped(self, node: ast.expr, frame: Frame, path: Path) -> list[Term]:
        """The elements of what a loop runs over; a path means a part of an element, not of the whole."""
        if isinstance(node, ast.Tuple | ast.List):
            return self._one_of(node, [(each, frame, path) for each in node.elts])
        name = last_name(node.func) if isinstance(node, ast.Call) and path else ""
        if isinstance(node, ast.Call) and name == "zip":
            column = path[0]
            if isinstance(column, int) and column < len(node.args):
                return self._looped(node.args[column], frame, path[1:])
        if isinstance(node, ast.Call) and name == "enumerate" and node.args:
            return self._looped(node.args[0], frame, path[1:]) if path[0] == 1 else []
        return self.visit(node, frame, path)

    def _one_of(self, node: ast.AST, sources: Sequence[tuple[ast.expr, Frame, Path]]) -> list[Term]:
        """The terms of several values of which an expression has one."""
        terms: list[Term] = []
        for number, source in enumerate(sources):
            choices = (Choice(node, number),) if len(sources) > 1 else ()
            terms += _under(self.visit(*source), choices=choices)
        return terms

    def _behind(self, node: ast.expr, frame: Frame, path: Path) -> list[Term]:
        """All that an expression may have its value from; nan and its like stand where there is no score."""
        behind = [origin for origin in self.origins(node, frame, path) if not _is_filler(origin.node)]
        if not isinstance(node, ast.Call) or len(behind) < 2:
            added = any(isinstance(self.program.parent(origin.node), ast.AugAssign) for origin in behind)
            sources = [(origin.node, origin.frame, origin.path) for origin in behind]
            whole = [term for source in sources for term in self._added_up(*source)] if added else None
            return (self._one_of(node, sources) if whole is None else whole) or self.unknown(node, frame)
        terms: list[Term] = []
        behind.sort(key=lambda origin: (origin.node.lineno, origin.node.col_offset))
        for number, (value, where, way, _) in enumerate(behind):  # of the first return that is come to
            conditions = conditions_of(self.program, value, where)
            terms += _under(self.visit(value, where, way), conditions, (Choice(node, number, True),))
        return terms or self.unknown(node, frame)

    def _added_up(self, node: ast.expr, frame: Frame, path: Path) -> list[Term]:
        """What self.total += .. adds to a total, or what that begins with."""
        above, found = self.program.parent(node), self.visit(node, frame, path)
        return _within(above, found) if isinstance(above, ast.AugAssign) else found

    def _ifexp(self, node: ast.IfExp, frame: Frame, path: Path) -> list[Term]:
        branches = [each for each in (node.body, node.orelse) if not _is_filler(each)]
        terms: list[Term] = []
        for branch in branches:
            condition = Condition(node.test, frame, branch is node.body)
            terms += _under(self.visit(branch, frame, path), (condition,))
        return terms or self.unknown(node, frame)

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
        conditions = tuple(Condition(test, frame, True) for each in node.generators for test in each.ifs)
        return _under(self.visit(node.elt, frame, path), conditions)

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
            reduction = _reduction_of(node)
            return found if reduction is None else self._reduced(reduction, node, found)
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
        weights = keyword(node, "weights")
        if name in _AVERAGING and weights is not None:
            weighted = weighted_mean(self.program, first, weights, frame)
            of_both = self._multiplied(weighted or [Factor(first, frame), Factor(weights, frame)])
            return self._reduced("mean" if weighted is None else "sum", node, of_both)
        if name in _SUMMING | _AVERAGING:
            found = self._reduced("mean" if name in _AVERAGING else "sum", node, self.visit(first, frame))
            return [term if _holds_a_score(term) else _noted(term, Factor(node, frame)) for term in found]
        if name in ("max", "clamp", "clamp_min", "maximum", "min", "neg"):
            return self.visit(
                next((part for part in worked_on if not isinstance(part, ast.Constant)), first), frame, path
            )
        if name in ("gather", "masked_select"):
            found = self.visit(first, frame)
            is_of_scores = any(map(_holds_a_score, found))
            return self._reduced("select", node, found) if is_of_scores else self.unknown(node, frame)  # of a table
        if name == "where" and len(more) == 2:
            kept = [part for part in more if not _is_zero(part)]
            found = [
                term
                for part in kept
                for term in _under(self.visit(part, frame), (Condition(first, frame, part is more[0]),))
            ]
            return self._reduced("select", node, found)
        if name in _JOINING:
            return self.visit(first, frame)  # each of what is joined
        if name in _DOTS and more:
            tensors = [part for part in worked_on if not isinstance(part, ast.Constant)]  # of einsum no equation
            return self._reduced("sum", node, self._multiplied([Factor(part, frame) for part in tensors]))
        if name in _ADDING and len(more) == 1 and not node.keywords:
            return self.visit(first, frame) + (_negative if name in _TAKING else list)(self.visit(more[0], frame))
        if name in ("mul", "multiply", "mul_", "div", "div_", "divide", "true_divide") and len(more) == 1:
            return self._multiplied([Factor(first, frame), Factor(more[0], frame, 1 if name.startswith("mul") else -1)])
        return None

    def _is_module(self, func: ast.expr) -> bool:
        """Whether a function is called on a name that the program gives no value: a module's."""
        base = func.value if isinstance(func, ast.Attribute) else None
        return isinstance(base, ast.Name) and not self.program.reaching(base)


_ONE_OF_SEVERAL = ("assign", "parameter")  # of these definitions a name has the value of one
_UNFOLDED = (type(None), ast.Add, ast.Sub, ast.Mult, ast.Div)
_JOINING = frozenset(["stack", "cat", "concat", "concatenate", "hstack", "vstack"])
_DOTS = frozenset(["dot", "inner", "vdot", "einsum"])
_TAKING = frozenset(["sub", "sub_", "subtract"])
_ADDING = frozenset(["add", "add_"]) | _TAKING


def _power_of(definition: Definition) -> int:
    """+1 or -1 where a definition multiplies or divides what is there; else 0."""
    if isinstance(definition.operator, ast.Mult | ast.Div):
        return 1 if isinstance(definition.operator, ast.Mult) else -1
    return {"mul_": 1, "div_": -1}.get(_mutator(definition), 0)


def _mutator(definition: Definition) -> str:
    """add_ of x.add_(y)."""
    call = definition.statement
    return last_name(call.func) if definition.kind == "mutation" and isinstance(call, ast.Call) else ""


def _adds(definition: Definition) -> bool:
    """Whether a definition adds to a total, or to a list."""
    return isinstance(definition.operator, ast.Add | ast.Sub) or _mutator(definition) in _ADDING | {"append"}


def _within(total: ast.AST, terms: list[Term]) -> list[Term]:
    """Terms that are added up to a total."""
    return [replace(term, factors=tuple(factor.within(total) for factor in term.factors)) for term in terms]


def _negative(terms: list[Term]) -> list[Term]:
    return [replace(term, sign=-term.sign) for term in terms]


def _under(terms: list[Term], conditions: tuple[Condition, ...] = (), choices: tuple[Choice, ...] = ()) -> list[Term]:
    """Terms that are added under conditions, or belong to one of several values."""
    if not conditions and not choices:
        return terms
    return [replace(term, conditions=term.conditions + conditions, choices=term.choices + choices) for term in terms]


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


def _reduction_of(node: ast.Call) -> str | None:
    """Whether cross_entropy(..) is a sum or a mean over its tokens, as it is without reduction=."""
    if last_name(node.func) not in ("cross_entropy", "nll_loss"):
        return None
    given = next((keyword.value for keyword in node.keywords if keyword.arg == "reduction"), ast.Constant("mean"))
    named = given.value if isinstance(given, ast.Constant) else None
    return named if named in ("sum", "mean") else None


def _noted(term: Term, sum_of_it: Factor) -> Term:
    """A term of a sum of what is no score: of a single factor, that is what the sum is one of."""
    return replace(term, sums=(*term.sums, term.factors[0] if len(term.factors) == 1 else sum_of_it))


def _product(left: list[Term], right: list[Term]) -> list[Term]:
    if not left or not right:
        return left or right
    # The sums and means on the way to the scores: a sum of bytes that they are divided by is none of them.
    ours, others = ([(term, _holds_a_score(term)) for term in side] for side in (left, right))
    return [
        _times(a, b, a_scores, b_scores)
        for (a, a_scores), (b, b_scores) in itertools.islice(itertools.product(ours, others), _MAX_TERMS)
    ]


def _times(a: Term, b: Term, a_scores: bool, b_scores: bool) -> Term:
    factors, sums, below = a.factors + b.factors, a.sums + b.sums, a.below + b.below
    if a_scores is not b_scores:
        scored = a if a_scores else b
        return replace(scored, factors=factors, sums=sums, below=below)
    return Term(
        factors, a.reductions + b.reductions, sums, a.sign * b.sign, a.conditions + b.conditions,
        a.choices + b.choices, below,
    )  # fmt: skip


def _holds_a_score(term: Term) -> bool:
    return any(is_cross_entropy(factor.node) for factor in term.factors)
