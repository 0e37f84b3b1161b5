"""The reported score as products: which factors stand between the cross-entropies and the number that is printed.

The score's expression is unfolded from the place where it is printed, logged or stored, backwards through names,
sums, means and functions of the program, into terms; a term is a product of factors to the power +1 or -1.
Whatever is a factor here lies on the path to the score by construction. A training loss is never met.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from bpb_harness.auditing.script.domains.cancel import Whole, left_after_cancelling, weighted_mean
from bpb_harness.auditing.script.domains.values import IDENTITY, Evaluator
from bpb_harness.auditing.script.frontend.program import Definition, Program, Scope, dotted, last_name
from bpb_harness.auditing.script.frontend.walker import Frame

_LABEL = re.compile(r"bpb|bits[_ \-/]*(per[_ \-]*)?byte", re.IGNORECASE)
_ENDS_IN_LABEL = re.compile(
    r"(bpb|bits[_ \-/]*(?:per[_ \-]*)?byte)[^:=,;|\w]*\w{0,12}[^:=,;|\w]*[:=]?[^:=,;|\w]*$", re.I
)
_ELSEWHERE = re.compile(
    r"train|approx|proxy|sanity|debug|rough|target|baseline|best|delta|diff|gap|thresh|improv|limit|uniform|prior|std|err",
    re.IGNORECASE,
)
_FINAL = re.compile(r"final|variational|elbo|roundtrip|full|var_bpb|official", re.IGNORECASE)
_CROSS_ENTROPY = frozenset([
    "cross_entropy", "nll_loss", "CrossEntropyLoss", "NLLLoss", "log_softmax", "softmax", "logsumexp",
    "linear_cross_entropy",
])  # fmt: skip
_SUMMING = frozenset(
    ["sum", "nansum", "fsum", "cumsum", "all_reduce", "reduce_sum", "psum", "gather_sum", "trapz", "trapezoid", "simps"]
)
_AVERAGING = frozenset(["mean", "nanmean", "average", "fmean"])
_MAX_TERMS = 48
_MAX_STEPS = 6_000
_MAX_DEPTH = 80


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


@dataclass(frozen=True)
class Sink:
    """A place where the program reports bits per byte.

    Attributes:
        node: the expression whose value is reported.
        label: the text or key that names it.
        final: whether the label says that this is the score, not progress.
    """

    node: ast.expr
    label: str
    final: bool


def is_cross_entropy(node: ast.expr) -> bool:
    """Whether a call yields cross-entropies or log-probabilities."""
    return isinstance(node, ast.Call) and last_name(node.func) in _CROSS_ENTROPY


def find_sinks(program: Program) -> list[Sink]:
    """The places that report the score; final ones alone where there are any."""
    reachable = program.reachable()
    sinks: list[Sink] = []
    for scope in program.scopes:
        if id(scope) in reachable:
            sinks.extend(_sinks_of(program, scope))
    unique = {id(sink.node): sink for sink in sinks}
    kept = [sink for sink in unique.values() if not _ELSEWHERE.search(sink.label)]
    final = [sink for sink in kept if sink.final]
    return final or kept


def _sinks_of(program: Program, scope: Scope) -> Iterator[Sink]:
    for node in program.own_nodes(scope):
        if isinstance(node, ast.JoinedStr):
            yield from _formatted(node)
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and isinstance(key.value, str) and _LABEL.search(key.value):
                    yield _sink(value, key.value)
        elif isinstance(node, ast.Assign):
            target = node.targets[0]
            if isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Constant):
                key_text = str(target.slice.value)
                if _LABEL.search(key_text):
                    yield _sink(node.value, key_text)
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod) and isinstance(node.left, ast.Constant):
            values = node.right.elts if isinstance(node.right, ast.Tuple) else [node.right]
            yield from _percent(str(node.left.value), values)
        elif isinstance(node, ast.Call):
            yield from _called(node)


def _sink(node: ast.expr, label: str) -> Sink:
    names = " ".join(part.id for part in ast.walk(node) if isinstance(part, ast.Name))
    return Sink(node, label, bool(_FINAL.search(label) or _FINAL.search(names)))


def _formatted(node: ast.JoinedStr) -> Iterator[Sink]:
    text = ""
    for part in node.values:
        if isinstance(part, ast.Constant):
            text += str(part.value)
        elif isinstance(part, ast.FormattedValue):
            label = text[-60:]
            if _ENDS_IN_LABEL.search(label) or (isinstance(part.value, ast.Name) and _LABEL.search(part.value.id)):
                name = part.value.id if isinstance(part.value, ast.Name) else ""
                yield _sink(part.value, text if _FINAL.search(text) else f"{_tail(label)} {name}")
            text += " # "


def _tail(label: str) -> str:
    return re.split(r"[,;|#]|\s{2,}", label)[-1].strip()[-30:] or label


def _percent(text: str, values: list[ast.expr]) -> Iterator[Sink]:
    pieces = re.split(r"%[-+ #0]*\d*(?:\.\d+)?[sdifgeEGr]", text)
    for label, value in zip(pieces, values, strict=False):
        if _ENDS_IN_LABEL.search(label):
            yield _sink(value, label)


def _called(node: ast.Call) -> Iterator[Sink]:
    for keyword in node.keywords:
        if (
            keyword.arg
            and _LABEL.search(keyword.arg)
            and last_name(node.func) in ("log", "info", "dict", "write", "print")
        ):
            yield _sink(keyword.value, keyword.arg)
    func = node.func
    if isinstance(func, ast.Attribute) and func.attr == "format" and isinstance(func.value, ast.Constant):
        pieces = re.split(r"\{[^{}]*\}", str(func.value.value))
        for label, value in zip(pieces, node.args, strict=False):
            if _ENDS_IN_LABEL.search(label):
                yield _sink(value, label)
    for label_node, value in itertools.pairwise(node.args):
        if isinstance(label_node, ast.Constant) and isinstance(label_node.value, str):
            if isinstance(value, ast.Constant | ast.JoinedStr):
                continue
            if "%" not in label_node.value and _ENDS_IN_LABEL.search(label_node.value):
                yield _sink(value, label_node.value)
            elif "%" in label_node.value:
                values = node.args[node.args.index(label_node) + 1 :]
                yield from _percent(label_node.value, values)


class Algebra:
    """Unfolds expressions of a program into terms.

    Args:
        program: the program that the expressions belong to.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self._steps = 0
        self._open: set[tuple[int, int]] = set()

    def terms(self, sink: Sink) -> list[Term]:
        """The score of a sink as alternatives: the summands of a sum are terms of their own."""
        self._steps = 0
        return self.expand(sink.node, Frame(self.program.scope(sink.node)), 1, (), 0)

    def expand(self, node: ast.expr, frame: Frame, power: int, path: tuple[int | str, ...], depth: int) -> list[Term]:
        """Unfold one expression.

        Args:
            node: the expression.
            frame: where its names are read.
            power: +1 in a numerator, -1 in a denominator.
            path: which element of a tuple or dictionary is meant, outermost first.
            depth: how deep the recursion is.
        """
        self._steps += 1
        if depth > _MAX_DEPTH or self._steps > _MAX_STEPS or not self.program.spend():
            return [Term((Factor(node, power, frame),))]
        key = (id(node), id(frame))
        if key in self._open:
            return []  # carried round a loop: this round's value is already being unfolded
        self._open.add(key)
        try:
            found = self._expanded(node, frame, power, path, depth + 1)
        finally:
            self._open.discard(key)
        return found[:_MAX_TERMS]

    def _expanded(
        self, node: ast.expr, frame: Frame, power: int, path: tuple[int | str, ...], depth: int
    ) -> list[Term]:
        if (
            isinstance(node, ast.BinOp | ast.Name | ast.Call | ast.Subscript)
            and not path
            and self._is_level(node, frame)
        ):
            return [Term((Factor(node, power, frame),))]
        if isinstance(node, ast.BinOp) and not path:
            return self._binary(node, frame, power, depth)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
            return self.expand(node.operand, frame, power, path, depth)
        if isinstance(node, ast.Name):
            return self._name(node, frame, power, path, depth)
        if isinstance(node, ast.Tuple | ast.List):
            return self._element(node.elts, frame, power, path, depth)
        if isinstance(node, ast.Dict):
            return self._entry(node, frame, power, path, depth)
        if isinstance(node, ast.Subscript):
            return self._subscript(node, frame, power, path, depth)
        if isinstance(node, ast.Call):
            return self._call(node, frame, power, path, depth)
        if isinstance(node, ast.IfExp):
            branches = [branch for branch in (node.body, node.orelse) if not self._is_filler(branch)]
            return [term for branch in branches for term in self.expand(branch, frame, power, path, depth)]
        if isinstance(node, ast.ListComp | ast.GeneratorExp):
            return self.expand(node.elt, frame, power, path, depth)
        if isinstance(node, ast.NamedExpr | ast.Await):
            return self.expand(node.value, frame, power, path, depth)
        if isinstance(node, ast.Attribute):
            return self._attribute(node, frame, power, path, depth)
        return [Term((Factor(node, power, frame),))]

    # -- arithmetic -------------------------------------------------------------------------------

    def _binary(self, node: ast.BinOp, frame: Frame, power: int, depth: int) -> list[Term]:
        left = left_after_cancelling(self.program, node, frame) if isinstance(node.op, ast.Mult | ast.Div) else None
        if left is not None:
            return self._wholes(left, power, depth)
        if isinstance(node.op, ast.Mult | ast.Div | ast.FloorDiv | ast.MatMult):
            right = -power if isinstance(node.op, ast.Div | ast.FloorDiv) else power
            return _product(
                self.expand(node.left, frame, power, (), depth), self.expand(node.right, frame, right, (), depth)
            )
        if isinstance(node.op, ast.Pow):
            exponent = Evaluator(self.program).number(node.right, frame)
            if exponent in (2.0, -1.0, -2.0):
                once = self.expand(node.left, frame, power if exponent > 0 else -power, (), depth)
                return _product(once, once) if abs(exponent) == 2.0 else once
        if isinstance(node.op, ast.Add | ast.Sub) and not self._is_scalar(node, frame):
            sides = [side for side in (node.left, node.right) if not self._is_tiny(side, frame)]
            return [term for side in sides for term in self.expand(side, frame, power, (), depth)]
        return [Term((Factor(node, power, frame),))]

    def _wholes(self, factors: list[Whole], power: int, depth: int) -> list[Term]:
        """A product of factors that were kept whole, each unfolded."""
        terms = [Term()]
        for factor in factors:
            terms = _product(terms, self.expand(factor.node, factor.frame, power * factor.power, (), depth))
        return terms

    def _is_level(self, node: ast.expr, frame: Frame) -> bool:
        """Whether the expression is a function of the noise level alone: a weight, to be kept whole."""
        evaluator = Evaluator(self.program)
        return evaluator.number(node, frame) is not None and bool(evaluator.leaves) and not evaluator.compared

    def _is_scalar(self, node: ast.expr, frame: Frame) -> bool:
        """Whether the expression is a plain function of the noise level, to be kept whole."""
        return Evaluator(self.program).number(node, frame) is not None

    def _is_tiny(self, node: ast.expr, frame: Frame) -> bool:
        value = Evaluator(self.program).number(node, frame) if not isinstance(node, ast.Name) else None
        return value is not None and abs(value) < 1e-4

    def _is_filler(self, node: ast.expr) -> bool:
        """nan, inf, 0 or None, given where there is no score."""
        if isinstance(node, ast.Constant):
            return not node.value
        if isinstance(node, ast.Call) and last_name(node.func) == "float" and node.args:
            return isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str)
        return isinstance(node, ast.Attribute) and node.attr in ("inf", "nan")

    # -- names ------------------------------------------------------------------------------------

    def _name(self, node: ast.Name, frame: Frame, power: int, path: tuple[int | str, ...], depth: int) -> list[Term]:
        bound = frame.bindings.get(node.id)
        definitions = self.program.reaching(node)
        if bound is not None and all(d.kind == "parameter" for d in definitions):
            return self.expand(bound[0], bound[1], power, path, depth)
        evaluator = Evaluator(self.program)
        definitions = [d for d in definitions if evaluator.taken(d.statement, frame) is not False]
        sums: list[Term] = []
        scale: list[Term] = [Term()]
        for definition in definitions:
            if definition.value is None or definition.kind == "parameter":
                sums.extend(self._passed(definition, node, frame, power, path, depth))
                continue
            found = self._definition(definition, frame, power, path, depth)
            if definition.kind == "augment" and isinstance(definition.operator, ast.Mult | ast.Div):
                sign = power if isinstance(definition.operator, ast.Mult) else -power
                scale = _product(scale, self.expand(definition.value, frame, sign, (), depth))
            elif not self._is_start(definition, len(definitions), path):
                sums.extend(found)
        if not sums:
            return [Term((Factor(node, power, frame),))]
        return _product(sums, scale)

    def _definition(
        self, definition: Definition, frame: Frame, power: int, path: tuple[int | str, ...], depth: int
    ) -> list[Term]:
        assert definition.value is not None
        if definition.kind == "augment" and isinstance(definition.operator, ast.Mult | ast.Div):
            return []
        if definition.kind == "mutation":
            if definition.key is not None and path and isinstance(path[0], str):
                key = definition.key.value if isinstance(definition.key, ast.Constant) else None
                if key != path[0]:
                    return []
                return self.expand(definition.value, frame, power, path[1:], depth)
            if definition.key is None:  # x.append(v): an element of x
                path = path[1:] if path and isinstance(path[0], int) else path
            return self.expand(definition.value, frame, power, path, depth)
        if definition.kind == "loop":
            return self._looped(definition.value, frame, power, (*definition.index, *path), depth)
        return self.expand(definition.value, frame, power, (*definition.index, *path), depth)

    def _looped(self, node: ast.expr, frame: Frame, power: int, path: tuple[int | str, ...], depth: int) -> list[Term]:
        """The elements of what a loop runs over; a path means a part of an element, not of the whole."""
        if isinstance(node, ast.Tuple | ast.List):
            return [term for element in node.elts for term in self.expand(element, frame, power, path, depth)]
        if isinstance(node, ast.Call) and last_name(node.func) == "zip" and path:
            column = path[0]
            if isinstance(column, int) and column < len(node.args):
                return self._looped(node.args[column], frame, power, path[1:], depth)
        if isinstance(node, ast.Call) and last_name(node.func) == "enumerate" and path and node.args:
            return self._looped(node.args[0], frame, power, path[1:], depth) if path[0] == 1 else []
        return self.expand(node, frame, power, path, depth)

    def _is_start(self, definition: Definition, count: int, path: tuple[int | str, ...]) -> bool:
        """x = 0.0, x = torch.zeros(..), xs = []: the start of a sum whose summands follow."""
        if definition.kind != "assign" or count < 2:
            return False
        value = definition.value
        if isinstance(value, ast.Tuple) and definition.index and definition.index[0] < len(value.elts):
            value = value.elts[definition.index[0]]
        if isinstance(value, ast.Constant):
            return not value.value
        if isinstance(value, ast.List | ast.Dict):
            return not (value.elts if isinstance(value, ast.List) else value.keys)
        if not isinstance(value, ast.Call):
            return False
        name = last_name(value.func)
        if name in ("zeros", "zeros_like", "list", "dict", "defaultdict", "float") and not path:
            return True
        return (
            name == "tensor"
            and bool(value.args)
            and isinstance(value.args[0], ast.Constant)
            and not value.args[0].value
        )

    def _passed(
        self, definition: Definition, node: ast.Name, frame: Frame, power: int, path: tuple[int | str, ...], depth: int
    ) -> list[Term]:
        """A parameter of the function that a sink stands in: what the calls of the program hand over."""
        scope = self.program.scope(definition.statement)
        arguments = self.program.arguments(scope, node.id) if frame.depth < 8 else []
        terms = []
        for argument in arguments[:4]:
            caller = Frame(self.program.scope(argument), depth=frame.depth + 1)
            terms.extend(self.expand(argument, caller, power, path, depth))
        if not terms and definition.value is not None:
            return self.expand(definition.value, Frame(scope), power, path, depth)
        return terms

    # -- containers and calls ---------------------------------------------------------------------

    def _element(
        self, elements: list[ast.expr], frame: Frame, power: int, path: tuple[int | str, ...], depth: int
    ) -> list[Term]:
        if path and isinstance(path[0], int) and -len(elements) <= path[0] < len(elements):
            return self.expand(elements[path[0]], frame, power, path[1:], depth)
        return [term for element in elements for term in self.expand(element, frame, power, path, depth)]

    def _entry(self, node: ast.Dict, frame: Frame, power: int, path: tuple[int | str, ...], depth: int) -> list[Term]:
        if path and isinstance(path[0], str):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == path[0]:
                    return self.expand(value, frame, power, path[1:], depth)
        return []

    def _subscript(
        self, node: ast.Subscript, frame: Frame, power: int, path: tuple[int | str, ...], depth: int
    ) -> list[Term]:
        index = node.slice
        if isinstance(index, ast.Constant) and isinstance(index.value, int | str) and not isinstance(index.value, bool):
            if isinstance(index.value, str) and dotted(node.value).endswith("environ"):
                return [Term((Factor(node, power, frame),))]
            return self.expand(node.value, frame, power, (index.value, *path), depth)
        found = self.expand(node.value, frame, power, path, depth)
        if not any(is_cross_entropy(factor.node) for term in found for factor in term.factors):
            return [Term((Factor(node, power, frame),))]  # a table or a batch, not scores
        return [_reduced(term, "select", node) for term in found]

    def _attribute(
        self, node: ast.Attribute, frame: Frame, power: int, path: tuple[int | str, ...], depth: int
    ) -> list[Term]:
        values = self.program.values_of(node)
        computed = self.program.properties.get(node.attr, [])
        if len(computed) == 1:
            return [t for r in computed[0].returns for t in self.expand(r, Frame(computed[0]), power, path, depth)]
        if values and frame.depth < 8 and len(values) <= 6:
            terms: list[Term] = []
            for value in values:
                if not self._is_filler(value):
                    terms.extend(
                        self.expand(value, Frame(self.program.scope(value), depth=frame.depth + 1), power, path, depth)
                    )
            if terms:
                return terms
        return [Term((Factor(node, power, frame),))]

    def _call(self, node: ast.Call, frame: Frame, power: int, path: tuple[int | str, ...], depth: int) -> list[Term]:
        name = last_name(node.func)
        if name in ("log_softmax", "softmax", "logsumexp") or is_cross_entropy(node):
            found = [Term((Factor(node, power, frame),))]
            return [_reduced(term, "mean", node) for term in found] if _averages(node) else found
        if name in ("compile",):
            return [Term((Factor(node, power, frame),))]
        receiver = node.func.value if isinstance(node.func, ast.Attribute) else None
        library = receiver is not None and dotted(receiver).split(".")[0] in (
            "torch", "np", "numpy", "math", "F", "jnp", "jax", "dist", "statistics", "st",
        )  # fmt: skip
        operands = [*node.args] if library or receiver is None else [receiver, *node.args]
        if isinstance(node.func, ast.Call) and last_name(node.func.func) in _CROSS_ENTROPY:
            return [Term((Factor(node, power, frame),))]
        passed = self._linear(node, name, operands, frame, power, path, depth)
        if passed is not None:
            return passed
        callee = self.program.callee(node)
        if callee is not None and frame.depth < 10 and callee.returns:
            return self._inline(callee, node, frame, power, path, depth)
        return [Term((Factor(node, power, frame),))]

    def _linear(
        self,
        node: ast.Call,
        name: str,
        operands: list[ast.expr],
        frame: Frame,
        power: int,
        path: tuple[int | str, ...],
        depth: int,
    ) -> list[Term] | None:
        """Sums, means, casts and guards: what they are applied to."""
        if name in IDENTITY | {"int", "float", "round", "masked_fill", "masked_fill_", "masked_select", "nan_to_num"}:
            return self.expand(operands[0], frame, power, path, depth) if operands else None
        if name == "get" and len(operands) > 1 and isinstance(operands[1], ast.Constant):
            key = operands[1].value
            return self.expand(operands[0], frame, power, (key, *path), depth) if isinstance(key, str) else None
        if name in ("get", "result", "wait") and not node.args and operands:
            return self.expand(operands[0], frame, power, path, depth)  # of a call that runs elsewhere
        if name == "get" and len(node.args) == 1 and self._is_module(node.func) and isinstance(node.args[0], ast.Call):
            return self.expand(node.args[0], frame, power, path, depth)  # ray.get(f.remote(..))
        weights = next((keyword.value for keyword in node.keywords if keyword.arg == "weights"), None)
        if name in _AVERAGING and operands and weights is not None:
            weighted = weighted_mean(self.program, operands[0], weights, frame)
            if weighted is not None:
                return [_reduced(term, "sum", node) for term in self._wholes([*weighted[0], weighted[1]], power, depth)]
        if name in _SUMMING | _AVERAGING and operands:
            kind = "mean" if name in _AVERAGING else "sum"
            found = self.expand(operands[0], frame, power, (), depth)
            return [_reduced(term, kind, node) for term in found]
        if name in ("max", "clamp", "clamp_min", "maximum", "min", "neg") and operands:
            operand = next((part for part in operands if not isinstance(part, ast.Constant)), operands[0])
            return self.expand(operand, frame, power, path, depth)
        if name == "gather" and operands:
            return self.expand(operands[0], frame, power, (), depth)
        if name == "where" and len(operands) == 3:
            branches = [operand for operand in operands[1:] if not self._is_zero(operand)]
            found = [term for branch in branches for term in self.expand(branch, frame, power, (), depth)]
            return [_reduced(term, "select", node) for term in found]
        if name in ("mul", "multiply", "mul_", "div", "div_", "divide", "true_divide") and len(operands) == 2:
            sign = power if name.startswith("mul") else -power
            return _product(
                self.expand(operands[0], frame, power, (), depth), self.expand(operands[1], frame, sign, (), depth)
            )
        return None

    def _is_module(self, func: ast.expr) -> bool:
        """Whether a function is called on a name that the program gives no value: a module's."""
        base = func.value if isinstance(func, ast.Attribute) else None
        return isinstance(base, ast.Name) and not self.program.reaching(base)

    def _is_zero(self, node: ast.expr) -> bool:
        if isinstance(node, ast.Constant):
            return not node.value
        return isinstance(node, ast.Call) and last_name(node.func) in ("zeros_like", "zeros", "new_zeros")

    def _inline(
        self, callee: Scope, node: ast.Call, frame: Frame, power: int, path: tuple[int | str, ...], depth: int
    ) -> list[Term]:
        bound = {name: (value, frame) for name, value in self.program.bind(callee, node).items()}
        inner = Frame(callee, bound, frame.depth + 1)
        evaluator = Evaluator(self.program)
        terms: list[Term] = []
        for result in callee.returns:
            if evaluator.taken(result, inner) is False or self._is_filler(result):
                continue
            terms.extend(self.expand(result, inner, power, path, depth))
        return terms or [Term((Factor(node, power, frame),))]


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


def _reduced(term: Term, kind: str, node: ast.AST) -> Term:
    return replace(term, reductions=((kind, node), *term.reductions))


def trace(program: Program, node: ast.expr, frame: Frame, limit: int = 4_000) -> Iterator[tuple[ast.AST, Frame]]:
    """Every expression that a value is computed from, with the frame to read it in.

    Args:
        program: where names and functions are looked up.
        node: the expression to start at.
        frame: where its names are read.
        limit: the most expressions that are visited.
    """
    seen: set[tuple[int, int]] = set()
    stack: list[tuple[ast.AST, Frame]] = [(node, frame)]
    evaluator = Evaluator(program)
    alive: list[Frame] = []  # `seen` holds ids, which are only unique among living frames
    while stack and limit > 0 and program.spend():
        here, where = stack.pop()
        alive.append(where)
        if (id(here), id(where)) in seen:
            continue
        seen.add((id(here), id(where)))
        limit -= 1
        yield here, where
        if isinstance(here, ast.Lambda):
            continue
        if isinstance(here, ast.Name):
            bound = where.bindings.get(here.id)
            definitions = program.reaching(here)
            if bound is not None and all(d.kind == "parameter" for d in definitions):
                stack.append(bound)
                continue
            for definition in definitions:
                if definition.kind == "parameter":
                    for argument in program.arguments(program.scope(definition.statement), here.id)[:4]:
                        if where.depth < 8:
                            stack.append((argument, Frame(program.scope(argument), depth=where.depth + 1)))
                elif evaluator.taken(definition.statement, where) is not False:
                    if definition.value is not None:
                        stack.append((_narrowed(definition), where))
                    if definition.key is not None:
                        stack.append((definition.key, where))
            continue
        if isinstance(here, ast.Attribute) and where.depth < 8:
            values = program.values_of(here)[:6] + [r for s in program.properties.get(here.attr, []) for r in s.returns]
            stack.extend((value, Frame(program.scope(value), depth=where.depth + 1)) for value in values)
        if isinstance(here, ast.Call):
            callee = program.callee(here)
            if callee is not None and where.depth < 10:
                bindings = {name: (value, where) for name, value in program.bind(callee, here).items()}
                inner = Frame(callee, bindings, where.depth + 1)
                stack.extend(
                    (result, inner) for result in callee.returns if evaluator.taken(result, inner) is not False
                )
        stack.extend(
            (child, where)
            for child in ast.iter_child_nodes(here)
            if isinstance(child, ast.expr | ast.comprehension | ast.keyword)
        )


def _narrowed(definition: Definition) -> ast.expr:
    """The element of a literal tuple that an unpacking assigns, or the whole value."""
    value = definition.value
    assert value is not None
    if definition.kind == "loop":
        return value
    for position in definition.index:
        if isinstance(value, ast.Tuple | ast.List) and position < len(value.elts):
            value = value.elts[position]
        else:
            break
    return value
