"""What the statements behind a value make of it, in its function and in those that it is handed back to."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from bpb_harness.auditing.script.domains.ways import callers, opened_by
from bpb_harness.auditing.script.frontend.nodes import position
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.walker import Frame

_DEEPEST = 2  # functions that a value is handed back through
_WHOLE = frozenset[int]()  # no element of a tuple by itself
_LOOPS = (ast.For, ast.While)
_UP_TO = (*_LOOPS, ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


@dataclass(frozen=True)
class MadeOf:
    """An expression that is made of a value.

    Attributes:
        value: the expression.
        node: what it is made of: the value, or the call that hands it back.
        names: those that are made of it.
        frame: where its names are read.
    """

    value: ast.expr
    node: ast.AST
    names: frozenset[str]
    frame: Frame

    def parts(self) -> Iterator[ast.AST]:
        """The parts of the expression that are made of the value."""
        return (part for part in ast.walk(self.value) if self.has(part))

    def has(self, part: ast.AST) -> bool:
        """Whether a part is made of the value."""
        return any(
            each is self.node or (isinstance(each, ast.Name) and each.id in self.names) for each in ast.walk(part)
        )


def made_of(
    program: Program, node: ast.AST, frame: Frame, which: frozenset[int] = _WHOLE, depth: int = 0
) -> Iterator[MadeOf]:
    """What is made of a value by the statements behind it, and by those behind the calls that give it back.

    Args:
        program: the scripts.
        node: the value.
        frame: where its names are read.
        which: of a call that gives a tuple, which of its elements.
        depth: how many functions it was handed back through.
    """
    names = set[str]()
    for statement in _run_after(program, node):
        if statement.value is None:
            continue
        found = MadeOf(statement.value, node, frozenset(names), frame)
        if not found.has(found.value):
            continue
        yield found
        made = which if found.value is node else _elements(found)
        if isinstance(statement, ast.Assign):
            names |= {part.id for target in statement.targets for part in _names(target, made)}
        elif depth < _DEEPEST:
            for call, outer in _calls(program, frame):
                yield from made_of(program, call, outer, made, depth + 1)


def _calls(program: Program, frame: Frame) -> list[tuple[ast.Call, Frame]]:
    """The call that a frame was opened by; where it was opened by none, those of its function."""
    opened = opened_by(program, frame)
    if opened is not None:
        return [opened]
    return [(call, Frame.at(program, call)) for call in callers(program, frame.scope)]


def _run_after(program: Program, node: ast.AST) -> list[ast.Assign | ast.Return]:
    """The statements that a function comes to behind a node; those of a loop before it in the next turn."""
    nodes = program.own_nodes(program.scope(node))
    own = sorted((each for each in nodes if isinstance(each, ast.Assign | ast.Return)), key=position)
    later = [each for each in own if (each.end_lineno or 0, each.end_col_offset or 0) > position(node)]
    loop = next((above for above in program.ancestors(node) if isinstance(above, _UP_TO)), None)
    if not isinstance(loop, _LOOPS):
        return later
    end = (loop.end_lineno or 0, loop.end_col_offset or 0)
    inside = [each for each in own if position(loop) < position(each) < end]
    return [*(each for each in later if each in inside), *inside, *(each for each in later if each not in inside)]


def _elements(found: MadeOf) -> frozenset[int]:
    """Which elements of a tuple are made of a value."""
    if not isinstance(found.value, ast.Tuple):
        return _WHOLE
    return frozenset(number for number, part in enumerate(found.value.elts) if found.has(part))


def _names(target: ast.expr, made: frozenset[int]) -> Iterator[ast.Name]:
    """The names that are given such elements."""
    of_one = [target.elts[n] for n in made if n < len(target.elts)] if isinstance(target, ast.Tuple) and made else []
    yield from (part for each in of_one or [target] for part in ast.walk(each) if isinstance(part, ast.Name))
