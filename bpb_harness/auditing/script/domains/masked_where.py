"""Whether a boolean draw is true where tokens are hidden, or where they stay visible: from what is put where it holds.

A number that is put in place of tokens hides them; in place of costs it leaves out what stays visible, and so does a
number below 0, which no token has, in place of targets.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from bpb_harness.auditing.script.domains.algebra import is_cross_entropy
from bpb_harness.auditing.script.domains.trace import comes_from
from bpb_harness.auditing.script.domains.values import Evaluator
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import Scope, last_name
from bpb_harness.auditing.script.frontend.walker import Frame, operands

_FILLING = ("masked_fill", "masked_fill_")
_MAX_TRACED = 300


def masked_where_true(program: Program, node: ast.expr) -> bool:
    """Whether a boolean draw marks the tokens that are hidden, from how it is used in building the input."""
    for above in program.ancestors(node):
        if isinstance(above, ast.UnaryOp) and isinstance(above.op, ast.Invert | ast.Not):
            return not masked_where_true(program, above)
        if isinstance(above, ast.Call) and last_name(above.func) == "where" and len(above.args) == 3:
            return where_masks(program, above)
        if isinstance(above, ast.Assign) and isinstance(above.targets[0], ast.Name):
            return _used_as_mask(program, above.targets[0].id, program.scope(node))
        if isinstance(above, ast.stmt):
            break
    return True


def where_masks(program: Program, call: ast.Call) -> bool:
    """Whether where(m, a, b) hides the tokens where m holds, or leaves out the others."""
    first, second = (_number(program, argument) for argument in call.args[1:])
    if (first is None) is not (second is None):
        number, other = (first, call.args[2]) if second is None else (second, call.args[1])
        return (first is not None) is _hides(program, number or 0.0, other)
    said = [bool(re.search("mask", ast.unparse(argument), re.IGNORECASE)) for argument in call.args[1:3]]
    return said[0] or not said[1]


def _used_as_mask(program: Program, name: str, scope: Scope) -> bool:
    """What the first place that puts a number where a name holds says of it; else what the name says."""
    for test, masks in _places(program, scope):
        negated = isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Invert)
        held = test.operand if isinstance(test, ast.UnaryOp) and negated else test
        if isinstance(held, ast.Name) and held.id == name:
            return masks is not negated
    return not re.search(r"keep|visible|unmask|observed|clean", name, re.IGNORECASE)


def _places(program: Program, scope: Scope) -> Iterator[tuple[ast.expr, bool]]:
    """The conditions under which a scope puts numbers anywhere, and whether tokens are hidden where they hold."""
    for call in program.calls.get("where", ()):
        if program.scope(call) is scope and len(call.args) == 3:
            yield call.args[0], where_masks(program, call)
    for call in (call for name in _FILLING for call in program.calls.get(name, ())):
        if program.scope(call) is scope and len(operands(call)) == 3:
            filled, test, value = operands(call)
            yield test, _hides(program, _number(program, value), filled)
    for definition in (each for all_ in scope.definitions.values() for each in all_ if each.key is not None):
        target = definition.statement.targets[0] if isinstance(definition.statement, ast.Assign) else None
        if isinstance(target, ast.Subscript) and definition.value is not None and definition.key is not None:
            yield definition.key, _hides(program, _number(program, definition.value), target.value)


def _hides(program: Program, number: float | None, filled: ast.expr) -> bool:
    """Whether a number that is put in place of something hides a token."""
    if number is not None and number < 0.0:
        return False
    return not comes_from(program, filled, Frame.at(program, filled), is_cross_entropy, _MAX_TRACED)


def _number(program: Program, node: ast.expr) -> float | None:
    return Evaluator(program).number(node, Frame.at(program, node))
