"""Functions that are handed over, and called where they are a parameter: timed("sliding", score_sliding, model, data).

A helper that takes the time of what it is given, and prints it with the name that it is given, is called once for each
score. Each of its calls is one of the function that it is handed, with what is left of its arguments. That call is
entered into the program inside of the helper's, and what the helper prints of it is a score of that place.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bpb_harness.auditing.script.frontend.once import once
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import Scope

_MAX_CALLS = 16  # of one helper
_SCOPES_OF_THEIR_OWN = (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


@dataclass(frozen=True)
class HandedOver:
    """A call of a helper as one of the function that it hands over.

    Attributes:
        call: the call of that function, which stands inside of the helper's.
        bound: what the helper's call hands over for its parameters.
    """

    call: ast.Call
    bound: Mapping[str, ast.expr]


@once
def handed_over(program: Program, inner: ast.Call) -> Sequence[HandedOver]:
    """The calls that one of a parameter stands for, entered into the program; worked out once.

    Args:
        program: the scripts.
        inner: fn(*args, **kwargs) of def timed(label, fn, *args, **kwargs).
    """
    return [*_made(program, inner)]


def element_of(program: Program, handed: HandedOver, index: Sequence[int]) -> ast.expr:
    """What a handed function gives, or an element of it: as one that is looked up by its place."""
    node: ast.expr = handed.call
    above = program.parent(node)
    for place in index:
        node = ast.copy_location(ast.Subscript(node, ast.copy_location(ast.Constant(place), node), ast.Load()), node)
    if above is not None and node is not handed.call:
        program.enter(node, above)
    return node


def calls_of_parameters(program: Program) -> Iterator[ast.Call]:
    """The calls of parameters in functions that take any arguments, to hand them on."""
    for scope in program.scopes:
        if isinstance(scope.node, ast.FunctionDef) and scope.node.args.vararg is not None:
            for name in scope.parameters:
                yield from (call for call in program.calls.get(name, ()) if _is_of_parameter(program, call, scope))


def _is_of_parameter(program: Program, call: ast.Call, scope: Scope) -> bool:
    defined = program.reaching(call.func) if isinstance(call.func, ast.Name) else ()
    return bool(defined) and all(
        each.kind == "parameter" and program.scope(each.statement) is scope for each in defined
    )


def _made(program: Program, inner: ast.Call) -> Iterator[HandedOver]:
    helper = program.scope(inner)
    calls = [call for call in program.calls.get(helper.name, ()) if program.callee(call) is helper]
    for call in calls if len(calls) <= _MAX_CALLS and helper.owner is None else ():
        bound = program.bind(helper, call)
        handed = bound.get(inner.func.id) if isinstance(inner.func, ast.Name) else None
        arguments = _arguments(helper, inner, call, bound)
        if arguments is None or not isinstance(handed, ast.Name) or handed.id not in program.functions:
            continue
        if any(isinstance(part, _SCOPES_OF_THEIR_OWN) for each in arguments for part in ast.walk(each)):
            continue
        made = ast.copy_location(ast.Call(handed, [], []), call)
        made.args = [each for each in arguments if isinstance(each, ast.expr)]
        made.keywords = [each for each in arguments if isinstance(each, ast.keyword)]
        made = copy.deepcopy(made)
        program.enter(made, call)
        program.calls.setdefault(handed.id, []).append(made)
        yield HandedOver(made, bound)


def _arguments(
    helper: Scope, inner: ast.Call, call: ast.Call, bound: Mapping[str, ast.expr]
) -> list[ast.expr | ast.keyword] | None:
    """What the handed function is called with: what the helper's call gives, by place and by name; None if unknown."""
    if any(isinstance(each, ast.Starred) for each in call.args) or any(each.arg is None for each in call.keywords):
        return None
    if not isinstance(helper.node, ast.FunctionDef):
        return None
    own = helper.node.args
    found: list[ast.expr | ast.keyword] = []
    for each in inner.args:
        if isinstance(each, ast.Starred):
            if own.vararg is None or not isinstance(each.value, ast.Name) or each.value.id != own.vararg.arg:
                return None
            found += call.args[len(own.posonlyargs) + len(own.args) :]
        elif isinstance(each, ast.Name) and each.id in bound:
            found.append(bound[each.id])
        else:
            return None
    for keyword in inner.keywords:
        if keyword.arg is not None:
            value = bound.get(keyword.value.id) if isinstance(keyword.value, ast.Name) else None
            if value is None:
                return None
            found.append(ast.copy_location(ast.keyword(keyword.arg, value), keyword))
        elif own.kwarg is None or not isinstance(keyword.value, ast.Name) or keyword.value.id != own.kwarg.arg:
            return None
        else:
            found += [each for each in call.keywords if each.arg not in helper.parameters]
    return found
