"""Whether a test that stands beside a value decides anything of it: one that is counted, printed or kept does not.

Nor does one that another test beside it makes needless: ``owner[i] == key or count > 3``.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Container, Iterable

from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import last_name
from bpb_harness.auditing.script.frontend.walker import operands

_LEAVING = (ast.Return, ast.Raise, ast.Break, ast.Continue)
_SAYING = frozenset(["print", "log", "log0", "info", "debug", "write"])
_MOST_NAMES = 4  # that a test goes by, one after another


def bears_on(program: Program, test: ast.AST, value: ast.AST, names: Container[str], depth: int = 0) -> bool:
    """Whether a test may decide what a value is; also where that was not followed.

    Args:
        program: where names are looked up.
        test: a comparison.
        value: an expression of the same script.
        names: the names that the value, and what is made of it, are worked out by.
        depth: how many names the test was handed on by.
    """
    statement = program.statement(test)
    if isinstance(statement, ast.Assert):
        return False
    if isinstance(statement, ast.If | ast.While):
        body = [*statement.body, *statement.orelse]
        return value in {*ast.walk(statement)} or any(_does(part, names) for each in body for part in ast.walk(each))
    if isinstance(statement, ast.Expr):
        call = statement.value
        is_said = isinstance(call, ast.Call) and last_name(call.func) in _SAYING
        return not is_said and _meets(call, test, names)
    if isinstance(statement, ast.Assign | ast.AugAssign | ast.AnnAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        stored = {name for target in targets for name in _bases(target)}
        if any(name in names for name in stored) or value in {*ast.walk(statement)} or depth >= _MOST_NAMES:
            return True
        uses = _uses(program, statement, stored)
        return any(bears_on(program, use, value, names, depth + 1) for use in uses)
    return True


def is_needed(
    program: Program, test: ast.expr, is_harmless: Callable[[ast.expr, bool], bool], *, wanted: bool, depth: int = 0
) -> bool:
    """Whether what a test lets through has to pass it: no other test that is enough stands beside it.

    Args:
        program: where names are looked up.
        test: a comparison, or a name for one.
        is_harmless: whether another test, where it gives a value, lets nothing through that the first one keeps out.
        wanted: what the test must give.
        depth: how many names it was handed on by.
    """
    here: ast.AST = test
    for above in program.ancestors(test):
        others = [each for each in _tests_of(above) if each is not here]
        if _is_negation(above):
            wanted = not wanted
        elif others and _is_any(above) == wanted and not all(is_harmless(each, wanted) for each in others):
            return False
        elif isinstance(above, ast.Assign) and depth < _MOST_NAMES:
            names = {target.id for target in above.targets if isinstance(target, ast.Name)}
            uses = _uses(program, above, names)
            return all(is_needed(program, use, is_harmless, wanted=wanted, depth=depth + 1) for use in uses)
        elif not others:
            return True
        here = above
    return True


def _is_negation(node: ast.AST) -> bool:
    is_operator = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.Invert)
    return is_operator or (isinstance(node, ast.Call) and last_name(node.func) in ("logical_not", "bitwise_not"))


def _tests_of(node: ast.AST) -> list[ast.expr]:
    """The tests that are made one: a and b, a | b, np.logical_and(a, b)."""
    if isinstance(node, ast.BoolOp):
        return node.values
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitAnd | ast.BitOr):
        return [node.left, node.right]
    is_call = isinstance(node, ast.Call) and last_name(node.func) in ("logical_and", "logical_or")
    return operands(node) if is_call and isinstance(node, ast.Call) else []


def _is_any(node: ast.AST) -> bool:
    """Whether one of the tests is enough."""
    if isinstance(node, ast.Call):
        return last_name(node.func) == "logical_or"
    return isinstance(getattr(node, "op", None), ast.Or | ast.BitOr)


def _does(part: ast.AST, names: Container[str]) -> bool:
    """Whether a part of a branch leaves, stores to a name, or hands one to a call."""
    if isinstance(part, _LEAVING):
        return True
    if isinstance(part, ast.Assign | ast.AugAssign | ast.AnnAssign):
        targets = part.targets if isinstance(part, ast.Assign) else [part.target]
        return any(name in names for target in targets for name in _bases(target))
    return isinstance(part, ast.Expr) and _meets(part.value, None, names)


def _meets(call: ast.AST, test: ast.AST | None, names: Container[str]) -> bool:
    """Whether a name stands in a call, outside a test."""
    inside = {*ast.walk(test)} if test is not None else set()
    parts = (part for part in ast.walk(call) if isinstance(part, ast.Name) and part not in inside)
    return any(part.id in names for part in parts)


def _bases(target: ast.expr) -> Iterable[str]:
    """The names that a target stores to: n of n[i], and of (n, m) both; an attribute by its own."""
    if isinstance(target, ast.Tuple | ast.List):
        return [name for element in target.elts for name in _bases(element)]
    while isinstance(target, ast.Subscript | ast.Starred):
        target = target.value
    return [last_name(target)]


def _uses(program: Program, statement: ast.stmt, names: Container[str]) -> list[ast.expr]:
    """Where some names are read in the function of a statement, or some attributes anywhere in it."""
    return [
        node
        for node in ast.walk(program.scope(statement).node)
        if isinstance(node, ast.Name | ast.Attribute)
        and isinstance(node.ctx, ast.Load)
        and last_name(node) in names
        and program.statement(node) is not statement
    ]
