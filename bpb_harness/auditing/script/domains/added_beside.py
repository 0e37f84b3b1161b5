"""What an expression is added to: the other side of a sum, what else a total is given, wherever totals are held."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import last_name

_ADDING = frozenset(["add", "sub", "add_", "sub_", "index_add_", "scatter_add_", "index_add", "scatter_add", "hstack"])
_KEEPING = frozenset(["append", "extend", "insert", "update", "setdefault"])


def added_to(program: Program, node: ast.expr) -> list[ast.expr]:
    """The other side of a sum, or what else the total of a name is given: ``a + node``, ``total += node``."""
    above = program.parent(node)
    if not isinstance(above, ast.AugAssign | ast.BinOp) or not isinstance(above.op, ast.Add | ast.Sub):
        return []
    if isinstance(above, ast.BinOp):
        return [above.left if node is above.right else above.right]
    return _given(program, above.target, node) if isinstance(above.target, ast.Name) else []


def held_beside(program: Program, node: ast.expr) -> list[ast.expr]:
    """What is held beside an expression, and may be added to it where it is used, or is the same total.

    Entries of a list, dictionary or tuple and what they are stored into later, by whatever key; attributes of one name;
    the arguments of a function that adds.
    """
    above = program.parent(node)
    if isinstance(above, ast.keyword):
        above = program.parent(above)
    if isinstance(above, ast.List | ast.Tuple | ast.Set):
        return [each for each in above.elts if each is not node] + _around(program, above)
    if isinstance(above, ast.Dict):
        return [each for each in above.values if each is not node] + _around(program, above)
    if isinstance(above, ast.Call):
        return [*_of_call(program, above, node)]
    target: ast.expr | None = above.target if isinstance(above, ast.AugAssign | ast.AnnAssign) else None
    if isinstance(above, ast.Assign) and len(above.targets) == 1:
        target = above.targets[0]
    return _given(program, target, node) if isinstance(target, ast.Subscript | ast.Attribute) else []


def _around(program: Program, display: ast.expr) -> list[ast.expr]:
    """What a list that is written out is added to: ``totals += [price]``, ``prices.extend([price])``."""
    above = program.parent(display)
    return added_to(program, display) + (held_beside(program, display) if isinstance(above, ast.Call) else [])


def _of_call(program: Program, call: ast.Call, node: ast.expr) -> Iterator[ast.expr]:
    name = last_name(call.func)
    receiver = call.func.value if isinstance(call.func, ast.Attribute) else None
    if name in _ADDING:
        yield from (each for each in call.args if each is not node)
        if receiver is not None:
            yield receiver
            yield from _given(program, receiver, node)
    elif name in _KEEPING and receiver is not None:
        yield from _given(program, receiver, node)


def _given(program: Program, target: ast.expr | None, node: ast.expr) -> list[ast.expr]:
    """What else a name, or an attribute of that name, is given, in part or as a whole."""
    while isinstance(target, ast.Subscript):
        target = target.value
    given: list[ast.expr | None] = []
    if isinstance(target, ast.Name):
        given = [each.value for each in program.scope(target).definitions.get(target.id, [])]
    elif isinstance(target, ast.Attribute):
        given = [*program.attributes.get(target.attr, [])]
    return [each for each in given if each is not None and each is not node]
