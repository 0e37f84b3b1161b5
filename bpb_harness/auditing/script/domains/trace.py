"""What a value is computed from."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator, Sequence

from bpb_harness.auditing.script.domains.values import Evaluator
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.walker import DEEPEST_CALL, Frame, Origin, Source, element_of

_MOST_NAMES = 6  # that something goes by, one after another
LIMIT = 4_000  # expressions that one value is followed through


def trace(
    program: Program,
    node: ast.expr,
    frame: Frame,
    limit: int = LIMIT,
    opened: Callable[[ast.AST], Iterable[ast.AST]] | None = None,
    enters: Callable[[ast.AST], bool] | None = None,
    *,
    values_alone: bool = False,
) -> Iterator[tuple[ast.AST, Frame]]:
    """Every expression that a value is computed from, with the frame to read it in: see `trace_all`."""
    return trace_all(program, [(node, frame)], limit, opened, enters, values_alone=values_alone)


def comes_from(
    program: Program, node: ast.expr, frame: Frame, is_meant: Callable[[ast.AST], bool], limit: int = LIMIT
) -> bool:
    """Whether a value is computed from anything that is meant."""
    return any(is_meant(part) for part, _ in trace(program, node, frame, limit))


def origins(program: Program, node: ast.expr, frame: Frame) -> list[Origin]:
    """What an expression has its value from, one step back, in the branches that are taken."""
    return Evaluator(program).origins(node, frame)


def assigned(program: Program, node: ast.expr, frame: Frame) -> list[Origin]:
    """What a name was assigned as a whole, or its caller gave it."""
    behind = origins(program, node, frame) if isinstance(node, ast.Name) else []
    whole = (origin for origin in behind if not origin.path)
    return [origin for origin in whole if origin.definition is None or origin.definition.kind == "assign"]


def made_by(program: Program, name: ast.Name, frame: Frame, depth: int = 0) -> list[Source]:
    """What makes all that a name may hold, in whatever function it was; nothing where a part of that is not known."""
    made: list[Source] = []
    behind = origins(program, name, frame) if depth < _MOST_NAMES else []
    for origin in behind:
        is_whole = not origin.path and (origin.definition is None or origin.definition.kind in ("assign", "parameter"))
        here = [(origin.node, origin.frame)] if is_whole else []
        if here and isinstance(origin.node, ast.Name):
            here = made_by(program, origin.node, origin.frame, depth + 1)
        if not here:
            return []
        made += here
    return made


def trace_all(
    program: Program,
    starts: Sequence[Source],
    limit: int = LIMIT,
    opened: Callable[[ast.AST], Iterable[ast.AST]] | None = None,
    enters: Callable[[ast.AST], bool] | None = None,
    *,
    values_alone: bool = False,
) -> Iterator[tuple[ast.AST, Frame]]:
    """Every expression that any of some values is computed from, each once, with the frame to read it in.

    Args:
        program: where names and functions are looked up.
        starts: the values, each with the frame in which its names are read.
        limit: the most expressions that are visited.
        opened: the parts of an expression that are looked into; None: all of them.
        enters: whether it is asked where an expression has its value from; None: always.
        values_alone: of a tuple that a function returns and that is unpacked, the element alone where it is written
            out; and what is put into an entry, not what says into which.
    """
    groups: list[tuple[Frame, list[ast.AST]]] = [(frame, [node]) for node, frame in reversed(starts)]  # last first
    seen_in: dict[Frame, set[ast.AST]] = {}
    known: dict[tuple[ast.AST, Frame | int], list[Source]] = {} if values_alone else program.behind
    alike = program.behind_alike
    steps_back, unpacked = Evaluator(program), set[Source]() if values_alone else None
    while groups and limit > 0:
        where, waiting = groups.pop()
        seen = seen_in.setdefault(where, set())
        while waiting and limit > 0:
            left = program.work_left = program.work_left - 1  # as `spend` counts it, for each of a million expressions
            if left <= 0:
                return
            here = waiting.pop()
            if here in seen:
                continue
            seen.add(here)
            limit -= 1
            met = here, where
            yield met
            kind = here.__class__
            if kind in _CLOSED:
                continue
            if kind in _FOLLOWED and (enters is None or enters(here)):
                # What is behind comes after the parts of the expression, and before what stands beside it.
                name, nodes = alike.get(here, _ASKED)
                if nodes is not None and name not in where.bindings and not (nodes and values_alone):
                    waiting.extend(nodes)
                else:
                    # What attributes are set to, how deep a frame lies tells, whichever it is.
                    key = met if kind is not ast.Attribute else (here, where.depth)
                    behind = known.get(key)
                    if behind is None:
                        behind = known[key] = [*_behind(steps_back, here, where, unpacked)]  # type: ignore[arg-type]
                        if nodes is None and not values_alone:
                            _note_alike(program, here, where, behind)  # type: ignore[arg-type]
                    if behind:
                        groups.append((where, waiting))
                        groups.extend([(frame, [node]) for node, frame in behind])
                        waiting = []
            if kind is not ast.Name:
                waiting.extend(program.parts(here) if opened is None else opened(here))


def _note_alike(program: Program, node: ast.expr, frame: Frame, behind: Sequence[Source]) -> None:
    """Note what an expression has its value from, where that is the same in each frame that binds no such name.

    So it is for most: names of a module, attributes that nothing sets and the functions of libraries.
    """
    name, is_alike = "", False
    if isinstance(node, ast.Name):
        name = node.id
        is_alike = not any(
            each.kind == "parameter" or program.tests_above(each.statement) for each in program.reaching(node)
        )
    elif isinstance(node, ast.Call):
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        is_alike = program.callee(node) is None and not isinstance(node.func, ast.Lambda)
    elif isinstance(node, ast.Attribute):
        is_alike = not behind and frame.depth < DEEPEST_CALL  # deeper down nothing is looked up
    if is_alike and name not in frame.bindings:
        program.behind_alike[node] = name, [each for each, _ in behind]


_ASKED: tuple[str, list[ast.expr] | None] = "", None  # of what nothing is noted
_CLOSED = frozenset([ast.Constant, ast.Lambda])
_FOLLOWED = frozenset([ast.Name, ast.Attribute, ast.Call])


def _behind(
    steps_back: Evaluator, node: ast.expr, frame: Frame, unpacked: set[Source] | None = None
) -> Iterator[Source]:
    """What an expression has its value from; with a set, of calls that are unpacked the elements, noted in it."""
    if unpacked is not None and (node, frame) in unpacked:
        return
    for value, at, path, definition in steps_back.origins(node, frame):
        yield value, at
        if unpacked is not None and path and isinstance(value, ast.Call):
            unpacked.add((value, at))
            given = steps_back.origins(value, at, path)
            yield from ((element_of(each.node, each.path)[0], each.frame) for each in given)
        if definition is None:
            continue
        if unpacked is None and definition.key is not None:
            yield definition.key, at
        call = definition.statement
        if isinstance(call, ast.Call) and len(call.args) > 1:  # x.masked_fill_(m, v): where it is put as much as what
            yield call, at
