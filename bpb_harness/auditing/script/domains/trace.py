"""What a value is computed from."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from bpb_harness.auditing.script.domains.values import Evaluator
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.walker import DEEPEST_CALL, DEEPEST_INLINED, MAX_CALLERS, Frame, Source

LIMIT = 4_000  # expressions that one value is followed through


def trace(
    program: Program,
    node: ast.expr,
    frame: Frame,
    limit: int = LIMIT,
    opened: Callable[[ast.AST], Iterable[ast.AST]] | None = None,
) -> Iterator[tuple[ast.AST, Frame]]:
    """Every expression that a value is computed from, with the frame to read it in: see `trace_all`."""
    return trace_all(program, [(node, frame)], limit, opened)


def trace_all(
    program: Program,
    starts: Sequence[Source],
    limit: int = LIMIT,
    opened: Callable[[ast.AST], Iterable[ast.AST]] | None = None,
) -> Iterator[tuple[ast.AST, Frame]]:
    """Every expression that any of some values is computed from, each once, with the frame to read it in.

    Args:
        program: where names and functions are looked up.
        starts: the values, each with the frame in which its names are read.
        limit: the most expressions that are visited.
        opened: the parts of an expression that are looked into; None: all of them.
    """
    seen: set[tuple[ast.AST, Frame]] = set()
    stack: list[tuple[ast.AST, Frame]] = list(reversed(starts))
    known = program.behind
    while stack and limit > 0 and program.spend():
        met = stack.pop()
        if met in seen:
            continue
        seen.add(met)
        limit -= 1
        yield met
        here, where = met
        kind = here.__class__
        if kind is ast.Constant or kind is ast.Lambda:
            continue
        if kind is ast.Name or kind is ast.Attribute or kind is ast.Call:
            behind = known.get(met)
            if behind is None:
                behind = known[met] = list(_BEHIND[kind](program, here, where))
            stack.extend(behind)
        if kind is not ast.Name:
            parts = program.parts(here) if opened is None else opened(here)
            stack.extend([(child, where) for child in parts])


def _behind_name(program: Program, name: ast.Name, frame: Frame) -> Iterator[Source]:
    given = frame.given(program, name)
    if given is not None:
        yield given
        return
    evaluator = Evaluator(program)
    for definition in program.reaching(name):
        if definition.kind == "parameter":
            yield from frame.handed(program, definition)[:MAX_CALLERS]
        elif evaluator.taken(definition.statement, frame) is not False:
            part = definition.value if definition.kind == "loop" else definition.part
            if part is not None:
                yield part, frame
            if definition.key is not None:
                yield definition.key, frame


def _behind_attribute(program: Program, node: ast.Attribute, frame: Frame) -> list[Source]:
    computed = [result for scope in program.properties.get(node.attr, ()) for result in scope.returns]
    return [*frame.stored(program, node), *frame.elsewhere(program, computed)] if frame.depth < DEEPEST_CALL else []


def _behind_call(program: Program, node: ast.Call, frame: Frame) -> list[Source]:
    callee = program.callee(node)
    if callee is None or frame.depth >= DEEPEST_INLINED:
        return []
    inner, evaluator = frame.inside(program, callee, node), Evaluator(program)
    return [(result, inner) for result in callee.returns if evaluator.taken(result, inner) is not False]


_BEHIND: dict[type[ast.AST], Callable[[Program, Any, Frame], Iterable[Source]]] = {
    ast.Name: _behind_name, ast.Attribute: _behind_attribute, ast.Call: _behind_call,
}  # fmt: skip
