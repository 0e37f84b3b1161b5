"""What cancels in a product: a mean of ratios, each weighed by what it was divided by, is a ratio of sums.

The score of a batch in bits per byte, times the bytes of the batch, is its bits. Read factor by factor the bytes would
stand above the line and below it, once as a sum of tables and once as another; so a product is taken apart into factors
that are kept whole, and what is the same value above and below is taken out before anything is unfolded.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, replace
from typing import ClassVar

from bpb_harness.auditing.script.domains.values import IDENTITY, Evaluator
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import Definition, last_name
from bpb_harness.auditing.script.frontend.walker import Frame, Path, Walker, operands

_MAX_FACTORS = 40
_MAX_NAMES = 8  # that a list goes by, one after another
_CASTS = IDENTITY | {"int", "float", "round"}
# Calls that give the same number when they are written twice.
_REPEATABLE = _CASTS | {"sum", "len", "numel", "encode", "size", "where", "logical_and", "logical_not"}


@dataclass(frozen=True)
class Factor:
    """One factor of a product.

    Attributes:
        node: the expression, which is not taken apart further.
        frame: where its names are read.
        power: +1 or -1.
        sums: the sums and means that it stands in, innermost first: calls, and statements that add to a total.
        total: of what was turned round, those that it stood in before: it is divided by such a sum.
    """

    node: ast.expr
    frame: Frame
    power: int = 1
    sums: tuple[ast.AST, ...] = ()
    total: tuple[ast.AST, ...] = ()

    def inverse(self) -> Factor:
        """The factor on the other side of the line."""
        return replace(self, power=-self.power, sums=(), total=self.sums or self.total)

    def within(self, total: ast.AST) -> Factor:
        """The factor in one sum more."""
        return replace(self, sums=(*self.sums, total))


def left_after_cancelling(program: Program, node: ast.expr, frame: Frame) -> list[Factor] | None:
    """The factors of a product without those that stand above and below the line; None where none does."""
    return _cancelled(program, _Factors(program).visit(node, frame))


def weighted_mean(program: Program, values: ast.expr, weights: ast.expr, frame: Frame) -> list[Factor] | None:
    """The factors of a weighted mean, what its weights are summed to among them; None unless the weights cancel."""
    factors = _Factors(program)
    weight = factors.element(weights, frame)
    left = _cancelled(program, [*factors.visit(values, frame), *factors.visit(weights, frame)])
    return None if left is None or weight is None else [*left, Factor(weight, frame, -1)]


def _cancelled(program: Program, factors: list[Factor]) -> list[Factor] | None:
    if len(factors) > _MAX_FACTORS or len({factor.power for factor in factors}) < 2:
        return None
    left: list[tuple[object, Factor]] = []
    for factor in factors:
        key = _key(program, factor)
        twin = next((i for i, (other, had) in enumerate(left) if other == key and had.power == -factor.power), None)
        if twin is None:
            left.append((key, factor))
        else:
            del left[twin]
    return None if len(left) == len(factors) else [factor for _, factor in left]


def _key(program: Program, factor: Factor) -> object:
    """What two factors share that are the same value: one evaluation, or the same words about the same names."""
    parts = list(ast.walk(factor.node))
    calls = [part for part in parts if isinstance(part, ast.Call)]
    if len(parts) > 200 or any(last_name(call.func) not in _REPEATABLE for call in calls):
        return id(factor.node), id(factor.frame)
    names = [part for part in parts if isinstance(part, ast.Name)]
    meant = tuple(tuple(id(definition) for definition in program.reaching(name)) for name in names)
    return ast.dump(factor.node), meant, id(factor.frame)


class _Factors(Walker[list[Factor]]):
    """Takes a product apart into factors that are kept whole."""

    deepest: ClassVar[int] = 16
    most_steps: ClassVar[int] = 10_000

    def look(self, node: ast.expr, frame: Frame, path: Path) -> list[Factor]:
        """A plain number or a noise level is one factor, whatever it was made of."""
        is_product = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult | ast.Div)
        is_whole = not is_product and Evaluator(self.program).number(node, frame) is not None
        return self.unknown(node, frame) if is_whole else super().look(node, frame, path)

    def unknown(self, node: ast.expr, frame: Frame, _path: Path = (), /) -> list[Factor]:
        """The expression as one factor."""
        return [Factor(node, frame)]

    def _binop(self, node: ast.BinOp, frame: Frame, _path: Path) -> list[Factor]:
        if not isinstance(node.op, ast.Mult | ast.Div):
            return self.unknown(node, frame)
        left, right = self.visit(node.left, frame), self.visit(node.right, frame)
        return left + ([replace(each, power=-each.power) for each in right] if isinstance(node.op, ast.Div) else right)

    def _unaryop(self, node: ast.UnaryOp, frame: Frame, _path: Path) -> list[Factor]:
        return self.visit(node.operand, frame) if isinstance(node.op, ast.UAdd) else self.unknown(node, frame)

    def _call(self, node: ast.Call, frame: Frame, _path: Path) -> list[Factor]:
        if last_name(node.func) in _CASTS and operands(node):
            return self.visit(operands(node)[0], frame)
        only = self.only_origin(node, frame)
        return self.unknown(node, frame) if only is None else self.visit(only.node, only.frame)

    def _subscript(self, node: ast.Subscript, frame: Frame, _path: Path) -> list[Factor]:
        return self._each(self.element(node.value, frame), node, frame)

    def defined(self, node: ast.Name, frame: Frame, _path: Path, /) -> list[Factor]:
        """What a name was assigned, or what each element of the list is that it is, or runs over."""
        only = self.only_origin(node, frame)
        if only is None or only.definition is None:
            return self._each(self.element(node, frame), node, frame)
        if only.definition.kind == "assign" and not only.path:
            return self.visit(only.node, frame)
        column = _column(only.definition) if only.definition.kind == "loop" else None
        return self._each(self.element(column, frame), node, frame)

    def _each(self, element: ast.expr | None, node: ast.expr, frame: Frame) -> list[Factor]:
        return self.unknown(node, frame) if element is None else self.visit(element, frame)

    def element(self, node: ast.expr | None, frame: Frame) -> ast.expr | None:
        """The one value that is appended to a list which starts empty: what each of its elements is."""
        for _ in range(_MAX_NAMES):  # a list may be made of itself, round a loop
            while isinstance(node, ast.Call) and last_name(node.func) in _CASTS and operands(node):
                node = operands(node)[0]
            found = self.origins(node, frame) if isinstance(node, ast.Name) else []
            by_kind = {origin.definition.kind: origin for origin in found if origin.definition is not None}
            start, appended = by_kind.get("assign"), by_kind.get("mutation")
            if start is None or start.path or (len(found) == 1 and isinstance(start.node, ast.Name)):
                return None
            if len(found) > 1:
                is_empty = isinstance(start.node, ast.List) and not start.node.elts and len(found) == 2
                if not is_empty or appended is None or appended.definition is None:
                    return None
                return appended.node if appended.definition.key is None else None
            node = start.node
        return None


def _column(definition: Definition) -> ast.expr | None:
    """What a loop over a list, or a column of a loop over a zip, runs over."""
    value = definition.value
    if isinstance(value, ast.Call) and last_name(value.func) == "zip" and len(definition.index) == 1:
        return value.args[definition.index[0]] if definition.index[0] < len(value.args) else None
    return value if isinstance(value, ast.Name) and not definition.index else None
