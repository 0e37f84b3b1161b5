"""The calls through which running a program comes to one of its nodes."""

from __future__ import annotations

import ast
import itertools

from bpb_harness.auditing.script.frontend.once import once
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import Scope
from bpb_harness.auditing.script.frontend.walker import Frame

_MAX_WAYS, _MAX_CALLERS, _DEEPEST = 12, 6, 6

Way = tuple[tuple[ast.AST, Frame], ...]
"""Calls, outermost first, and what they come to; each with the frame that it is read in."""


@once
def callers(program: Program, scope: Scope) -> list[ast.Call]:
    """The calls of a function."""
    if isinstance(scope.node, ast.Module | ast.Lambda):
        return []
    name = scope.owner if scope.name == "__init__" and scope.owner else scope.name
    calls = program.calls.get(name, [])
    return [call for call in calls if program.callee(call) is scope][:_MAX_CALLERS]


def ways_to(program: Program, node: ast.AST, depth: int = 0) -> list[Way]:
    """The calls through which running the program comes to a node, outermost first, the node itself last."""
    scope = program.scope(node)
    calls = callers(program, scope) if depth < _DEEPEST else []
    if not calls:
        return [((node, Frame.of(program, scope)),)]
    ways = [
        (*way, (node, way[-1][1].inside(program, scope, call)))
        for call in calls if program.scope(call) is not scope
        for way in ways_to(program, call, depth + 1)
    ]  # fmt: skip
    return ways[:_MAX_WAYS]


def way_of(program: Program, node: ast.AST, frame: Frame) -> list[Way]:
    """The same for a node that was met in a frame: the calls that the frame was opened by."""
    inner: list[tuple[ast.AST, Frame]] = [(node, frame)]
    while (opened := opened_by(program, frame)) is not None and len(inner) < 2 * _DEEPEST:
        inner.insert(0, opened)
        frame = opened[1]
    return [(*way[:-1], *inner) for way in ways_to(program, inner[0][0])]


def opened_by(program: Program, frame: Frame) -> tuple[ast.Call, Frame] | None:
    """The call that a frame was opened by, if one was."""
    for value, outer in frame.bindings.values():
        for above in itertools.chain([value], program.ancestors(value)):
            if isinstance(above, ast.Call) and program.callee(above) is frame.scope:
                return above, outer
            if isinstance(above, ast.stmt):
                break
    return None


def meeting(program: Program, way: Way, other: Way) -> int | None:
    """Where two ways part: the place of the first calls that differ, which stand in one scope; None if they do not."""
    for number, ((one, _), (two, _)) in enumerate(zip(way, other, strict=False)):
        if one is not two:
            return number if program.scope(one) is program.scope(two) else None
    return None
