"""What cancels in a product: a mean of ratios, each weighed by what it was divided by, is a ratio of sums.

The score of a batch in bits per byte, times the bytes of the batch, is its bits. Read factor by factor the bytes would
stand above the line and below it, once as a sum of tables and once as another; so a product is taken apart into factors
that are kept whole, and what is the same value above and below is taken out before anything is unfolded.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from bpb_harness.auditing.script.domains.values import IDENTITY, Evaluator
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import Definition, last_name
from bpb_harness.auditing.script.frontend.walker import Frame, Source, operands

_MAX_FACTORS = 40
_DEEPEST = 16
_CASTS = IDENTITY | {"int", "float", "round"}
# Calls that give the same number when they are written twice.
_REPEATABLE = _CASTS | {"sum", "len", "numel", "encode", "size", "where", "logical_and", "logical_not"}


@dataclass(frozen=True)
class Whole:
    """A factor of a product that is kept whole.

    Attributes:
        node: the expression.
        frame: where its names are read.
        power: +1 or -1.
    """

    node: ast.expr
    frame: Frame
    power: int


def left_after_cancelling(program: Program, node: ast.expr, frame: Frame) -> list[Whole] | None:
    """The factors of a product without those that stand above and below the line; None where none does."""
    return _cancelled(program, list(_factors(program, node, frame, 1, 0)))


def weighted_mean(
    program: Program, values: ast.expr, weights: ast.expr, frame: Frame
) -> tuple[list[Whole], Whole] | None:
    """The summand of a weighted mean, and what its weights are summed to; None unless the weights cancel."""
    weight = _element(program, weights, frame)
    factors = [*_factors(program, values, frame, 1, 0), *_factors(program, weights, frame, 1, 0)]
    left = _cancelled(program, factors)
    return None if left is None or weight is None else (left, Whole(weight, frame, -1))


def _cancelled(program: Program, factors: list[Whole]) -> list[Whole] | None:
    if len(factors) > _MAX_FACTORS:
        return None
    left: list[tuple[object, Whole]] = []
    for factor in factors:
        key = _key(program, factor)
        twin = next((i for i, (other, had) in enumerate(left) if other == key and had.power == -factor.power), None)
        if twin is None:
            left.append((key, factor))
        else:
            del left[twin]
    return None if len(left) == len(factors) else [factor for _, factor in left]


def _key(program: Program, factor: Whole) -> object:
    """What two factors share that are the same value: one evaluation, or the same words about the same names."""
    parts = list(ast.walk(factor.node))
    calls = [part for part in parts if isinstance(part, ast.Call)]
    if len(parts) > 200 or any(last_name(call.func) not in _REPEATABLE for call in calls):
        return id(factor.node), id(factor.frame)
    names = [part for part in parts if isinstance(part, ast.Name)]
    meant = tuple(tuple(id(definition) for definition in program.reaching(name)) for name in names)
    return ast.dump(factor.node), meant, id(factor.frame)


def _factors(program: Program, node: ast.expr, frame: Frame, power: int, depth: int) -> Iterator[Whole]:
    if depth > _DEEPEST or not program.spend():
        yield Whole(node, frame, power)
        return
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult | ast.Div):
        yield from _factors(program, node.left, frame, power, depth + 1)
        right = -power if isinstance(node.op, ast.Div) else power
        yield from _factors(program, node.right, frame, right, depth + 1)
        return
    # A plain number or a noise level is one factor, whatever it was made of.
    inner = _behind(program, node, frame) if Evaluator(program).number(node, frame) is None else None
    if inner is None:
        yield Whole(node, frame, power)
    else:
        yield from _factors(program, inner[0], inner[1], power, depth + 1)


def _behind(program: Program, node: ast.expr, frame: Frame) -> Source | None:
    """The one expression that another has its value from; None where there is none, or more."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.UAdd):
        return node.operand, frame
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
        element = _element(program, node.value, frame)
        return None if element is None else (element, frame)
    if isinstance(node, ast.Name):
        return _behind_name(program, node, frame)
    if isinstance(node, ast.Call):
        return _behind_call(program, node, frame)
    return None


def _behind_call(program: Program, node: ast.Call, frame: Frame) -> Source | None:
    if last_name(node.func) in _CASTS:
        worked_on = operands(node)
        return (worked_on[0], frame) if worked_on else None
    callee = program.callee(node)
    if callee is None or len(callee.returns) != 1 or frame.depth > _DEEPEST:
        return None
    return callee.returns[0], frame.inside(program, callee, node)


def _behind_name(program: Program, node: ast.Name, frame: Frame) -> Source | None:
    given = frame.given(program, node)
    if given is not None:
        return given
    definitions = program.reaching(node)
    if len(definitions) == 1:
        (only,) = definitions
        if only.value is None:
            return None
        if only.kind == "assign" and not only.index:
            return only.value, frame
        column = _column(only) if only.kind == "loop" else None
        element = _element(program, column, frame) if column is not None else None
        return None if element is None else (element, frame)
    element = _element(program, node, frame)
    return None if element is None else (element, frame)


def _column(definition: Definition) -> ast.expr | None:
    """What a loop over a list, or a column of a loop over a zip, runs over."""
    value = definition.value
    if isinstance(value, ast.Call) and last_name(value.func) == "zip" and len(definition.index) == 1:
        return value.args[definition.index[0]] if definition.index[0] < len(value.args) else None
    return value if isinstance(value, ast.Name) and not definition.index else None


def _element(program: Program, node: ast.expr, frame: Frame) -> ast.expr | None:
    """The one value that is appended to a list which starts empty: what each of its elements is."""
    for _ in range(4):
        inner = _behind_call(program, node, frame) if isinstance(node, ast.Call) else None
        if inner is None or inner[1] is not frame:
            break
        node = inner[0]
    if not isinstance(node, ast.Name):
        return None
    definitions = program.reaching(node)
    appended = [d.value for d in definitions if d.kind == "mutation" and d.key is None and d.value is not None]
    starts = [d for d in definitions if d.kind == "assign"]
    if len(definitions) == 1 and starts and starts[0].value is not None and not starts[0].index:
        return _element(program, starts[0].value, frame) if not isinstance(starts[0].value, ast.Name) else None
    if len(appended) != 1 or len(starts) != 1 or len(definitions) != 2:
        return None
    start = starts[0].value
    for position in starts[0].index:  # ratios, sizes = [], []
        start = start.elts[position] if isinstance(start, ast.Tuple | ast.List) and position < len(start.elts) else None
    empty = isinstance(start, ast.List) and not start.elts
    return appended[0] if empty else None
