"""The sizes that an exported program was made for, and whether inputs have them.

A program is one path through a network: sizes that it was not made for may go another. The sizes of its inputs, their
ranges and its conditions on them are read as data; arithmetic on sizes is computed here, not by an evaluator.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from bpb_harness.adapters.exported.archive import DTYPES, refusal

_SYMBOL = re.compile(r"(?:Symbol\(')?([su]\d{1,6})(?:'(?:, \w+=True)*\))?")
_NO_LIMIT = 1 << 63
_LONGEST_CONDITION = 2000
_ARITHMETIC: dict[type, Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_COMPARISONS: dict[type, Callable[[int, int], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_Sizes = Mapping[str, Sequence[int]]


@final
@dataclass(frozen=True)
class ShapeRules:
    """What inputs a program takes.

    Attributes:
        inputs: name of each, in order.
        dtypes: type of each.
        sizes: of each, numbers or names of sizes that may vary.
        ranges: smallest and largest value of each name.
        conditions: on the sizes, as the file spells them.
    """

    inputs: tuple[str, ...]
    dtypes: tuple[torch.dtype, ...]
    sizes: tuple[tuple[int | str, ...], ...]
    ranges: Mapping[str, tuple[int, int]]
    conditions: tuple[str, ...]

    def why_not(self, inputs: Sequence[Tensor]) -> str | None:
        """What of the inputs' sizes the program was not made for; None if nothing."""
        known: dict[str, int] = {}
        for name, stated, value in zip(self.inputs, self.sizes, inputs, strict=True):
            if len(stated) != value.ndim:
                return f"{name} with {len(stated)} dimensions"
            for dim, (wanted, size) in enumerate(zip(stated, value.shape, strict=True)):
                right = wanted if isinstance(wanted, int) else known.setdefault(wanted, size)
                if size != right:
                    return f"size {right} of {name} in dimension {dim}"
        for symbol, (low, high) in self.ranges.items():
            if symbol in known and not low <= known[symbol] <= high:
                return f"a size in {low} .. {high}"
        sizes = {name: tuple(value.shape) for name, value in zip(self.inputs, inputs, strict=True)}
        return next((text for text in self.conditions if not _holds(text, sizes)), None)


def read_shape_rules(
    program: Mapping[str, Any], graph: Mapping[str, Any], inputs: Sequence[str], file: str
) -> ShapeRules:
    """The rules that a program states.

    Raises:
        UnsafeCheckpointError: naming a size, range or condition that is not understood.
    """
    values = graph.get("tensor_values")
    if not isinstance(values, dict):
        raise refusal(file, "tensor_values of the graph", values, "an object")
    dtypes, sizes = [], []
    for name in inputs:
        meta = values.get(name)
        if not isinstance(meta, dict) or not isinstance(meta.get("sizes"), list):
            raise refusal(file, f"sizes of its input {name!r}", meta)
        dtype = DTYPES.get(meta["dtype"]) if type(meta.get("dtype")) is int else None
        if dtype is None:
            raise refusal(file, f"type of its input {name!r}", meta.get("dtype"))
        dtypes.append(dtype)
        sizes.append(tuple(_size(size, name, file) for size in meta["sizes"]))
    conditions = program.get("guards_code", [])
    if not isinstance(conditions, list):
        raise refusal(file, "guards_code", conditions, "a list of conditions")
    example = {name: (3,) * len(stated) for name, stated in zip(inputs, sizes, strict=True)}
    for text in conditions:
        try:
            _holds(text, example)
        except (ValueError, SyntaxError, RecursionError, MemoryError, ArithmeticError, LookupError):
            raise refusal(file, "a condition on sizes that is no arithmetic", text) from None
    return ShapeRules(tuple(inputs), tuple(dtypes), tuple(sizes), _ranges(program, file), tuple(conditions))


def _size(stated: object, name: str, file: str) -> int | str:
    if isinstance(stated, dict) and len(stated) == 1:
        number = stated.get("as_int")
        if type(number) is int and number >= 0:
            return number
        expression = stated.get("as_expr")
        text = expression.get("expr_str") if isinstance(expression, dict) else None
        symbol = _SYMBOL.fullmatch(text) if isinstance(text, str) else None
        if symbol is not None:
            return symbol[1]
    raise refusal(file, f"a size of its input {name!r} that is not a number or a name", stated)


def _ranges(program: Mapping[str, Any], file: str) -> dict[str, tuple[int, int]]:
    stated = program.get("range_constraints", {})
    ranges: dict[str, tuple[int, int]] = {}
    for text, limits in (stated if isinstance(stated, dict) else {"range_constraints": None}).items():
        symbol = _SYMBOL.fullmatch(text)
        low, high = (limits.get("min_val"), limits.get("max_val")) if isinstance(limits, dict) else ("", "")
        low, high = (-_NO_LIMIT if low is None else low), (_NO_LIMIT if high is None else high)
        if type(low) is not int or type(high) is not int or (symbol is None and not _is_plain(text)):
            raise refusal(file, "a range of sizes that is not understood", {text: limits})
        if symbol is not None:
            ranges[symbol[1]] = (low, high)
    return ranges


def _is_plain(text: str) -> bool:
    """An expression of sizes: its range says nothing beyond those of its names."""
    return re.fullmatch(r"[\w\s()*/+\-,<>=']{1,400}", text) is not None


def _holds(text: object, sizes: _Sizes) -> bool:
    if not isinstance(text, str) or len(text) > _LONGEST_CONDITION:
        raise ValueError("no condition")
    return bool(_evaluate(ast.parse(text, mode="eval").body, sizes))


def _evaluate(node: ast.expr, sizes: _Sizes) -> int:
    match node:
        case ast.Constant(value=bool() | int() as value):
            return value
        # L['xt'].size()[0]
        case ast.Subscript(
            value=ast.Call(
                func=ast.Attribute(
                    value=ast.Subscript(value=ast.Name(id="L"), slice=ast.Constant(value=str(name))), attr="size"
                ),
                args=[],
                keywords=[],
            ),
            slice=ast.Constant(value=int(dim)),
        ):
            return sizes[name][dim]
        case ast.BinOp(left=left, op=sign, right=right) if type(sign) in _ARITHMETIC:
            return _ARITHMETIC[type(sign)](_evaluate(left, sizes), _evaluate(right, sizes))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_evaluate(operand, sizes)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _evaluate(operand, sizes)
        case ast.BoolOp(op=sign, values=values):
            results = [bool(_evaluate(value, sizes)) for value in values]
            return all(results) if isinstance(sign, ast.And) else any(results)
        case ast.Call(func=ast.Name(id=("max" | "min" | "Max" | "Min") as name), args=[_, *_] as args, keywords=[]):
            chosen = max if name.lower() == "max" else min
            return chosen(_evaluate(value, sizes) for value in args)
        case ast.Compare(left=left, ops=signs, comparators=rights) if all(type(sign) in _COMPARISONS for sign in signs):
            terms = [_evaluate(term, sizes) for term in (left, *rights)]
            pairs = zip(signs, terms[:-1], terms[1:], strict=True)
            return all(_COMPARISONS[type(sign)](before, after) for sign, before, after in pairs)
    raise ValueError("no arithmetic on sizes")
