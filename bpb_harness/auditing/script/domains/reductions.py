"""What an expression makes one value of along dimensions of a tensor: a mean, a pool, a sum by einsum or by ones."""

from __future__ import annotations

import ast
from collections.abc import Container, Iterator
from typing import NamedTuple

from bpb_harness.auditing.script.domains.sequence_axis import reduced_axes
from bpb_harness.auditing.script.frontend.nodes import keyword
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import last_name
from bpb_harness.auditing.script.frontend.walker import operands

_POOLS = {"adaptive_avg_pool1d": "mean", "adaptive_max_pool1d": "max"}
_POOLING = {"AdaptiveAvgPool1d": "mean", "AdaptiveMaxPool1d": "max"}
OTHER_REDUCING = frozenset(["einsum", *_POOLS, *_POOLING])
_ONES = frozenset(["ones", "ones_like", "new_ones", "full", "full_like", "new_full"])
_MAX_NAMES = 3


class Reduction(NamedTuple):
    """An expression that makes one value of many.

    Attributes:
        node: the expression.
        tensor: what it reduces, or normalises.
        axes: along which dimensions; None for all.
        name: what it does, by torch's name.
        keeps: whether the dimension stays, with one place.
        is_spread: whether each of the places is given that value at once.
    """

    node: ast.expr
    tensor: ast.expr
    axes: frozenset[int] | None
    name: str
    keeps: bool = False
    is_spread: bool = False


def reductions(program: Program, node: ast.AST, names: Container[str]) -> Iterator[Reduction]:
    """What an expression reduces, if it does.

    Args:
        program: the scripts.
        node: the expression.
        names: the functions that reduce along dimensions which they are told.
    """
    if isinstance(node, ast.BinOp):
        yield from _by_ones(program, node, node.left, node.right)
    if not isinstance(node, ast.Call):
        return
    name = last_name(node.func)
    if name == "einsum":
        yield from _by_einsum(node)
    elif name in ("matmul", "bmm") and len(operands(node)) == 2:
        yield from _by_ones(program, node, *operands(node))
    elif (pool := _pool(program, node)) is not None and node.args:
        yield Reduction(node, node.args[0], frozenset([2]), pool, keeps=True)
    elif isinstance(node.func, ast.Attribute) and name in names and (reduced := reduced_axes(node)) is not None:
        kept = (each.value for each in node.keywords if each.arg in ("keepdim", "keepdims"))
        yield Reduction(node, *reduced, name, keeps=any(getattr(each, "value", False) for each in kept))


def multiplies_by_ones(program: Program) -> list[ast.AST]:
    """The products with a matrix of ones that a program makes."""
    products = (node for node in program.nodes.get(ast.BinOp, []) if isinstance(node, ast.BinOp))
    called = (call for name in ("matmul", "bmm") for call in program.calls.get(name, []) if len(operands(call)) == 2)
    found: list[ast.AST] = [node for node in products if [*_by_ones(program, node, node.left, node.right)]]
    return [*found, *(call for call in called if [*_by_ones(program, call, *operands(call))])]


def _by_ones(program: Program, node: ast.expr, left: ast.expr, right: ast.expr) -> Iterator[Reduction]:
    """torch.ones(1, T) @ x, which sums over the places, and torch.ones(T, T) @ x, which tells each place the sum."""
    if isinstance(node, ast.BinOp) and not isinstance(node.op, ast.MatMult):
        return
    ones = _ones(program, left)
    if ones is None:
        return
    sizes = ones.args if last_name(ones.func) == "ones" else []
    sizes = sizes[0].elts if len(sizes) == 1 and isinstance(sizes[0], ast.Tuple | ast.List) else sizes
    is_one = len(sizes) > 1 and isinstance(sizes[-2], ast.Constant) and sizes[-2].value == 1
    if len(sizes) > 1:
        yield Reduction(node, right, frozenset([1]), "sum", keeps=is_one, is_spread=not is_one)


def _ones(program: Program, node: ast.expr) -> ast.Call | None:
    """The call that makes a matrix of ones, scaled or not, which nothing changes afterwards: no tril of it."""
    for _ in range(_MAX_NAMES):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div | ast.Mult):
            node = node.left
        value = program.only_value(node) if isinstance(node, ast.Name) else None
        if value is None or not isinstance(node, ast.Name) or _is_changed(program, node):
            break
        node = value
    return node if isinstance(node, ast.Call) and last_name(node.func) in _ONES else None


def _is_changed(program: Program, name: ast.Name) -> bool:
    """Whether a method of a name's value may change it in place: mask.tril_()."""
    own = program.own_nodes(program.scope(name))
    called = (node.func for node in own if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute))
    return any(last_name(func.value) == name.id and func.attr.endswith("_") for func in called)


def _by_einsum(call: ast.Call) -> Iterator[Reduction]:
    """torch.einsum("btd->bd", x): what is summed over are the letters that the result lacks."""
    spelled = call.args[0] if len(call.args) == 2 else None
    if not isinstance(spelled, ast.Constant) or not isinstance(spelled.value, str) or "->" not in spelled.value:
        return
    given, made = spelled.value.replace(" ", "").split("->")[:2]
    axes = frozenset(place for place, letter in enumerate(given) if letter not in made)
    if axes and given.isalpha():
        yield Reduction(call, call.args[1], axes, "sum")


def _pool(program: Program, call: ast.Call) -> str | None:
    """What F.adaptive_avg_pool1d(x, 1), or a module that is nn.AdaptiveAvgPool1d(1), makes of the places of x."""
    name = last_name(call.func)
    if name in _POOLS:
        size = call.args[1] if len(call.args) > 1 else keyword(call, "output_size")
        return _POOLS[name] if isinstance(size, ast.Constant) and size.value == 1 else None
    for value in program.values_of(call.func) if isinstance(call.func, ast.Attribute) else []:
        if isinstance(value, ast.Call) and last_name(value.func) in _POOLING:
            size = value.args[0] if value.args else keyword(value, "output_size")
            return _POOLING[last_name(value.func)] if isinstance(size, ast.Constant) and size.value == 1 else None
    return None
