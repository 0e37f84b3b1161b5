"""Whether one of several values that stand side by side is among those that are taken out of them, and is weighed."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterable, Sequence

from bpb_harness.auditing.script.domains.trace import comes_from
from bpb_harness.auditing.script.domains.values import IDENTITY, Evaluator
from bpb_harness.auditing.script.frontend.index import nodes_within
from bpb_harness.auditing.script.frontend.nodes import keyword
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import last_name
from bpb_harness.auditing.script.frontend.walker import Frame, operands

_FEW = 400  # expressions between a place and what it is looked up in, arguments of the function that joins too
_NEVER = 1e4  # nats below which a weight is none
_PARTING = frozenset(["narrow", "index_select", "split", "chunk", "unbind", "tensor_split", "take", "masked_select"])


def is_among(
    program: Program, parts: Sequence[tuple[ast.AST, Frame]], joined: ast.Call, index: int, number: int
) -> bool | None:
    """Whether one of the values that a call joins is left on the way from it to what is computed.

    Args:
        program: where names are looked up.
        parts: all that is on the way, with the frames.
        joined: the call that puts the values side by side.
        index: which of them is meant.
        number: how many there are.

    Returns:
        False where an index leaves it out; None where that is not known.
    """
    told: list[bool | None] = []
    for part, frame in parts:
        held = part.value if isinstance(part, ast.Subscript) else next(iter(_parted(part)), None)
        if held is None or not comes_from(program, held, frame, lambda node: node is joined, _FEW):
            continue
        told.append(
            _selects(program, part.slice, frame, joined, index, number) if isinstance(part, ast.Subscript) else None
        )
    told += (
        [None] if any(_is_written_over(program, part, frame, joined, index, number) for part, frame in parts) else []
    )
    return False if False in told else None if None in told else True


def is_weighed(program: Program, weights: Sequence[tuple[ast.AST, Frame]], index: int, number: int) -> bool:
    """Whether nothing sets the weight of one of several values to nothing: to 0, or its logarithm to minus infinity.

    What masks weights does so for all that is known: w * keep, w.masked_fill(mask, 0.0), torch.where(mask, w, 0.0).
    """
    inside = (node for part, _ in weights if _is_softmax(part) for node in nodes_within(part))
    nodes = {*(part for part, _ in weights), *inside}
    names = {last_name(part) for part in nodes if isinstance(part, ast.Name | ast.Attribute)} - {""}
    if any(_is_nothing(part) or _masks(part) or _is_display_without(part, index, number) for part in nodes):
        return False
    for target in program.nodes.get(ast.Subscript, []):
        set_by = program.parent(target)
        if not isinstance(target, ast.Subscript) or not isinstance(set_by, ast.Assign) or set_by.value is target:
            continue
        elements = target.slice.elts if isinstance(target.slice, ast.Tuple) else [target.slice]
        is_taken = bool(elements) and (_is_nothing(set_by.value) or _is_zero(set_by.value))
        if not is_taken or last_name(target.value) not in names:
            continue
        if _holds(program, elements[-1], Frame.at(program, set_by), index, number) is not False:
            return False
    return True


def _is_softmax(node: ast.AST) -> bool:
    """Whether weights are made of their logarithms, which stand inside of it."""
    return isinstance(node, ast.Call) and last_name(node.func) in ("softmax", "log_softmax")


def _masks(node: ast.AST) -> bool:
    """Whether a mask is a factor of weights, a summand of logarithms or what fills them, or zeros stand beside them."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult | ast.Add):
        return _is_mask(node.left) or _is_mask(node.right)
    if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Mult):
        return _is_mask(node.value)
    called = last_name(node.func) if isinstance(node, ast.Call) else ""
    if not isinstance(node, ast.Call) or called not in _MASKING:
        return False
    given = operands(node)
    if called in ("mul", "mul_", "multiply"):
        return any(map(_is_mask, given))
    if called in ("cat", "stack", "concat"):
        entries = given[0].elts if given and isinstance(given[0], ast.List | ast.Tuple) else []
        return any(isinstance(each, ast.Call) and last_name(each.func) in _ZEROS for each in entries)
    return called == "pad" or any(_is_zero(each) or _is_nothing(each) for each in given)


_MASKING = frozenset([
    "mul", "mul_", "multiply", "cat", "stack", "concat", "pad", "masked_fill", "masked_fill_", "index_fill",
    "index_fill_", "where",
])  # fmt: skip
_ZEROS = frozenset(["zeros", "zeros_like", "new_zeros"])
_NAMED_MASK = re.compile(r"(?:^|_)(?:mask|keep|kept|active|enabled?|allow(?:ed)?|drop|on)(?:$|_|s$)", re.IGNORECASE)


def _is_mask(node: ast.expr) -> bool:
    """A factor that is 0 or 1, by its name or as a comparison."""
    while isinstance(node, ast.Subscript) or (
        isinstance(node, ast.Call) and last_name(node.func) in IDENTITY and isinstance(node.func, ast.Attribute)
    ):
        node = node.value if isinstance(node, ast.Subscript) else operands(node)[0]
    is_named = isinstance(node, ast.Name | ast.Attribute) and _NAMED_MASK.search(last_name(node)) is not None
    return is_named or isinstance(node, ast.Compare)


def _parted(node: ast.AST) -> Iterable[ast.expr]:
    return operands(node)[:1] if isinstance(node, ast.Call) and last_name(node.func) in _PARTING else ()


def _is_written_over(program: Program, node: ast.AST, frame: Frame, joined: ast.Call, index: int, number: int) -> bool:
    """Whether an entry of what a name holds is set, and may be the one that is meant: prices[..., 4] = 50.0."""
    if not isinstance(node, ast.Name):
        return False
    defined = program.reaching(node)
    keys = [each.key for each in defined if each.kind == "mutation" and each.key is not None]
    values = [each.value for each in defined if each.kind == "assign" and each.value is not None]
    if not keys or not any(value is joined for value in values):
        return False
    return any(
        _selects(program, key, frame, joined, index, number) is not False
        and any(_selects(program, key, frame, joined, other, number) is False for other in range(number))
        for key in keys
    )


def _selects(program: Program, where: ast.expr, frame: Frame, joined: ast.Call, index: int, number: int) -> bool | None:
    """Whether x[where] has the value that stands at an index of the dimension that x was joined along."""
    elements = list(where.elts) if isinstance(where, ast.Tuple) else [where]
    dots = [place for place, each in enumerate(elements) if isinstance(each, ast.Constant) and each.value is ...]
    dimension = _dimension(program, joined)
    if dimension is None:
        return None
    if dimension >= 0:
        is_reached = dimension < len(elements) and not any(place <= dimension for place in dots)
        return _holds(program, elements[dimension], frame, index, number) if is_reached else True
    if dots:
        is_reached = -dimension <= len(elements) - 1 - dots[0]
        return _holds(program, elements[dimension], frame, index, number) if is_reached else True
    # How many dimensions there are is not known: a slice of the last may be one of these.
    last = elements[-1]
    may_be = isinstance(last, ast.Slice | ast.List) and len(elements) > 1
    if not may_be or not _is_few(program, last, frame, number):
        return True
    return True if _holds(program, last, frame, index, number) is True else None


def _is_few(program: Program, element: ast.expr, frame: Frame, number: int) -> bool:
    """Whether a slice ends within so many values as are joined, by its numbers."""
    if not isinstance(element, ast.Slice):
        return True
    bounds = [_number(program, each, frame) for each in (element.lower, element.upper) if each is not None]
    return bool(bounds) and all(each is not None and abs(each) < number for each in bounds)


def _dimension(program: Program, joined: ast.Call) -> int | None:
    if last_name(joined.func) == "column_stack":
        return -1
    given = keyword(joined, "dim") or keyword(joined, "axis") or next(iter(joined.args[1:2]), None)
    value = 0.0 if given is None else _number(program, given, Frame.at(program, joined))
    return None if value is None else int(value)


def _holds(program: Program, element: ast.expr, frame: Frame, index: int, number: int) -> bool | None:
    """Whether a place of an index is, or has, the one that is meant; None where it is not known."""
    if isinstance(element, ast.Slice):
        given = [element.lower, element.upper, element.step]
        bounds = [None if each is None else _number(program, each, frame) for each in given]
        if any(each is not None and value is None for each, value in zip(given, bounds, strict=True)):
            return None
        first, last, step = (None if value is None else int(value) for value in bounds)
        return index in range(number)[slice(first, last, step)]
    if isinstance(element, ast.Constant) and (element.value is None or element.value is ...):
        return True
    if isinstance(element, ast.Name):
        value = program.only_value(element)
        if isinstance(value, ast.List | ast.Tuple | ast.Call):
            element = value
    if isinstance(element, ast.Call) and element.args and isinstance(element.args[0], ast.List | ast.Tuple):
        element = element.args[0]
    if isinstance(element, ast.List | ast.Tuple):
        places = [_number(program, each, frame) for each in element.elts]
        known = {int(place) % number for place in places if place is not None}
        return True if index in known else None if None in places else False
    place = _number(program, element, frame)
    return None if place is None else int(place) % number == index


def _number(program: Program, node: ast.expr, frame: Frame) -> float | None:
    evaluator = Evaluator(program)
    value = evaluator.number(node, frame)
    return None if evaluator.leaves else value


def _is_nothing(node: ast.AST) -> bool:
    """Whether an expression is a weight's logarithm that makes it none: float("-inf"), -math.inf, -1e9, finfo.min."""
    if isinstance(node, ast.Call) and last_name(node.func) == "float" and node.args:
        text = node.args[0].value if isinstance(node.args[0], ast.Constant) else ""
        return str(text).strip().lower().startswith("-inf")
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = node.operand
        if isinstance(inner, ast.Constant) and isinstance(inner.value, int | float):
            return inner.value >= _NEVER
        is_float = isinstance(inner, ast.Call) and last_name(inner.func) == "float" and bool(inner.args)
        return is_float or (isinstance(inner, ast.Name | ast.Attribute) and last_name(inner) in ("inf", "Inf", "infty"))
    is_least = isinstance(node, ast.Attribute) and node.attr == "min" and isinstance(node.value, ast.Call)
    return is_least and last_name(node.value.func) == "finfo"  # type: ignore[attr-defined]


def _is_zero(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value in (0, False)


def _is_display_without(node: ast.AST, index: int, number: int) -> bool:
    """Whether a list of weights that add up to 1, or a mask, has a 0 there: [0.4, 0.3, 0.3, 0.0], [1, 1, 1, 0]."""
    if not isinstance(node, ast.List | ast.Tuple) or len(node.elts) != number:
        return False
    values = [
        each.value for each in node.elts if isinstance(each, ast.Constant) and isinstance(each.value, int | float)
    ]
    if all(isinstance(value, bool) for value in values):
        return len({*values}) > 1  # what it is that holds of one alone was not followed
    is_mask = {*values} == {0, 1}
    return len(values) == number and values[index] == 0 and (is_mask or math.isclose(sum(values), 1.0, abs_tol=1e-6))
