"""What a value is computed from."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator, Sequence

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
    seen: set[tuple[int, int]] = set()
    stack: list[tuple[ast.AST, Frame]] = list(reversed(starts))
    evaluator = Evaluator(program)
    alive: list[Frame] = []  # `seen` holds ids, which are only unique among living frames
    while stack and limit > 0 and program.spend():
        here, where = stack.pop()
        alive.append(where)
        if (id(here), id(where)) in seen:
            continue
        seen.add((id(here), id(where)))
        limit -= 1
        yield here, where
        if isinstance(here, ast.Lambda):
            continue
        if isinstance(here, ast.Name):
            given = where.given(program, here)
            if given is not None:
                stack.append(given)
                continue
            for definition in program.reaching(here):
                if definition.kind == "parameter":
                    stack.extend(where.handed(program, definition)[:MAX_CALLERS])
                elif evaluator.taken(definition.statement, where) is not False:
                    part = definition.value if definition.kind == "loop" else definition.part
                    stack.extend((value, where) for value in (part, definition.key) if value is not None)
            continue
        if isinstance(here, ast.Attribute) and where.depth < DEEPEST_CALL:
            computed = [result for scope in program.properties.get(here.attr, []) for result in scope.returns]
            stack.extend(where.stored(program, here) + where.elsewhere(program, computed))
        if isinstance(here, ast.Call):
            callee = program.callee(here)
            if callee is not None and where.depth < DEEPEST_INLINED:
                inner = where.inside(program, callee, here)
                stack.extend(
                    (result, inner) for result in callee.returns if evaluator.taken(result, inner) is not False
                )
        parts = program.parts(here) if opened is None else opened(here)
        stack.extend((child, where) for child in parts)
