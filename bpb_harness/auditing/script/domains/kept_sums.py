"""Which pass's sum is left behind a loop that begins it anew in each: the last one's, the best one's, or an unknown."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from bpb_harness.auditing.script.domains.trace import trace
from bpb_harness.auditing.script.frontend.index import nodes_within
from bpb_harness.auditing.script.frontend.nodes import end_of, names_in, position, stored_in
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import last_name
from bpb_harness.auditing.script.frontend.walker import Frame

_MAX_TRACED = 400
_COPYING = frozenset(["copy_", "append", "extend", "add_", "set_", "fill_", "update", "insert"])


def best_kept(program: Program, loop: ast.For | ast.While, variable: str, total: str) -> list[ast.If] | None:
    """The tests below which a loop copies a total because it is less than what was kept of earlier passes.

    None where it cannot be told whose sum is used behind the loop: a round may go on to the next one early, the total
    is changed in place behind the loop, or copied by another test than one of the sums themselves.

    Args:
        program: the scripts.
        loop: the loop.
        variable: which counts its rounds.
        total: what each round begins anew.
    """
    if _goes_on_early(program, loop) or _is_changed_behind(program, loop, total):
        return None
    derived, best = _derived(loop, total), []
    for statement in _copies(program, loop, total, derived):
        tests = [
            each for each in program.ancestors(statement) if isinstance(each, ast.If) and program.is_inside(each, loop)
        ]
        asked = [each for each in tests if _is_of_less(each, derived) and _is_in_body(program, statement, each)]
        others = [each for each in tests if each not in asked]
        if len(asked) != 1 or any(_goes_by(program, each.test, variable) for each in others):
            return None
        best += asked
    return best


def _is_in_body(program: Program, node: ast.AST, test: ast.If) -> bool:
    return any(above in test.body for above in [node, *program.ancestors(node)])


def _goes_on_early(program: Program, loop: ast.AST) -> bool:
    """Whether a loop has a continue of its own."""
    return any(isinstance(node, ast.Continue) and _loop_of(program, node) is loop for node in nodes_within(loop))


def _loop_of(program: Program, node: ast.AST) -> ast.AST | None:
    return next((above for above in program.ancestors(node) if isinstance(above, ast.For | ast.While)), None)


def _is_changed_behind(program: Program, loop: ast.AST, total: str) -> bool:
    """Whether a total is given another value in place behind a loop."""
    scope, behind = program.scope(loop), end_of(loop)
    calls = [call for name in ("copy_", "fill_", "set_") for call in program.calls.get(name, [])]
    cut = [each for each in scope.definitions.get(total, []) if each.kind == "mutation" and each.key is not None]
    return any(position(each.statement) > behind for each in cut) or any(
        isinstance(call.func, ast.Attribute) and total in names_in(call.func.value)
        and position(call) > behind and program.scope(call) is scope
        for call in calls
    )  # fmt: skip


def _derived(loop: ast.AST, total: str) -> set[str]:
    """A total, and all that a loop makes of it, but by adding up."""
    derived, before = {total}, 0
    while len(derived) > before:
        before = len(derived)
        for node in nodes_within(loop):
            if isinstance(node, ast.Assign) and names_in(node.value) & derived:
                derived |= _names_given(node)
    return derived


def _names_given(statement: ast.Assign) -> set[str]:
    """n of n = v and of n[b] = v, where v may be several."""
    bases = [each.value if isinstance(each, ast.Subscript) else each for each in statement.targets]
    return {each.id for each in bases if isinstance(each, ast.Name)} | {
        name for each in bases if isinstance(each, ast.Tuple | ast.List) for name in stored_in(each)
    }


def _copies(program: Program, loop: ast.AST, total: str, derived: set[str]) -> Iterator[ast.AST]:
    """The statements of a loop that make something of a total which is read behind the loop."""
    read = _read_behind(program, loop) - {total}
    for node in nodes_within(loop):
        given: set[str] = set()
        if isinstance(node, ast.Assign) and names_in(node.value) & derived:
            given = _names_given(node)
        elif isinstance(node, ast.Call) and last_name(node.func) in _COPYING and isinstance(node.func, ast.Attribute):
            given = names_in(node.func.value) if names_in(*node.args) & derived else set()
        if given & read:
            yield node


def _read_behind(program: Program, loop: ast.AST) -> set[str]:
    behind = end_of(loop)
    return {
        node.id for node in nodes_within(program.scope(loop).node)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and position(node) > behind
    }  # fmt: skip


def _is_of_less(test: ast.If, derived: set[str]) -> bool:
    """new < kept, or kept > new, of the sums, where its body gives what is kept the new one."""
    compared = test.test
    if not isinstance(compared, ast.Compare) or len(compared.ops) != 1:
        return False
    left, right = compared.left, compared.comparators[0]
    less = isinstance(compared.ops[0], ast.Lt | ast.LtE)
    if not less and not isinstance(compared.ops[0], ast.Gt | ast.GtE):
        return False
    new, kept = (left, right) if less else (right, left)
    given = {name for each in test.body for part in ast.walk(each) if isinstance(part, ast.Assign)
             for name in _names_given(part)}  # fmt: skip
    return bool(names_in(new) & derived - given) and not names_in(new) & given and bool(names_in(kept) & given)


def _goes_by(program: Program, test: ast.expr, variable: str) -> bool:
    parts = trace(program, test, Frame.at(program, test), _MAX_TRACED)
    return any(isinstance(part, ast.Name) and part.id == variable for part, _ in parts)
