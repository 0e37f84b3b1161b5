"""The modules that a network calls by their place in a list: self.blocks[i](x), for block in self.blocks: x = block(x).

Calls of one class of modules are followed elsewhere; here a list may hold several, each under tests of its own.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from bpb_harness.auditing.script.domains.analysis import Analysis
from bpb_harness.auditing.script.domains.in_evaluation import tests_of
from bpb_harness.auditing.script.domains.trace import LIMIT, trace, trace_all
from bpb_harness.auditing.script.domains.values import UNKNOWN_ERRORS, Evaluator
from bpb_harness.auditing.script.domains.ways import opened_by
from bpb_harness.auditing.script.frontend.index import nodes_within
from bpb_harness.auditing.script.frontend.once import once
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import Scope
from bpb_harness.auditing.script.frontend.walker import Frame, Source

_DEEPEST = 3  # lists of names of lists
_MOST_LAYERS = 24  # calls that are looked into
_MOST_CALLS = 16  # that a place is inside of
_BY_PLACE = frozenset([ast.Subscript, ast.Name])  # what is called there: self.blocks[i], block

Place = tuple[ast.AST, Frame]


@once
def path_through_layers(analysis: Analysis) -> list[Place]:
    """What the claimed score is computed from, with what the layers compute that are called out of a list."""
    program = analysis.program
    path = list(analysis.claimed_path)
    seen, looked_into = set[tuple[Scope, ast.AST]](), 0
    for node, frame in path:  # grows on the way
        if looked_into >= _MOST_LAYERS:
            break
        if node.__class__ is not ast.Call or node.func.__class__ not in _BY_PLACE:
            continue
        assert isinstance(node, ast.Call)
        starts: list[Source] = []
        for layer in layers_called(analysis, node):
            if (layer, node) not in seen:
                seen.add((layer, node))
                looked_into += 1
                starts += [(each, _opened(program, layer, node, frame)) for each in layer.returns]
        path += trace_all(program, starts, LIMIT)
    return path


def _opened(program: Program, layer: Scope, call: ast.Call, frame: Frame) -> Frame:
    """The frame of a layer, one for each call, of no depth: a frame that lies deep has parameters' defaults alone."""
    key = (path_through_layers, layer, call, frame)
    if key not in program.memo:
        inner = frame.inside(program, layer, call)
        program.memo[key] = Frame(layer, inner.bindings, 0, inner.is_whole)
        program.memo[(_opened, program.memo[key])] = call, frame
    opened: Frame = program.memo[key]
    return opened


def calls_to(program: Program, node: ast.AST, frame: Frame) -> Iterator[Place]:
    """A place, and the calls through which the path came to it, of layers too, the innermost first."""
    here: Place | None = (node, frame)
    left = _MOST_CALLS
    while here is not None and left > 0:
        yield here
        left -= 1
        here = program.memo.get((_opened, here[1])) or opened_by(program, here[1])


def is_in_layer(program: Program, scope: Scope, depth: int = 0) -> bool:
    """Whether a function is a method of a module, or one calls it."""
    if scope.owner:
        return "forward" in program.classes.get(scope.owner, {})
    calls = program.calls.get(scope.name, []) if scope.name and depth < _DEEPEST else []
    return any(is_in_layer(program, within, depth + 1) for within in dict.fromkeys(map(program.scope, calls)))


def layers_called(analysis: Analysis, call: ast.Call) -> list[Scope]:
    """What a call runs of a list of modules: the ``forward`` of each of its classes that is built in the run."""
    program = analysis.program
    if program.callee(call) is not None:
        return []
    built = [each for held in _lists(program, call.func) for each in _built(program, held)]
    return list(dict.fromkeys(layer for layer, made in built if is_made(analysis, made)))


def _lists(program: Program, func: ast.expr) -> Iterator[ast.expr]:
    """self.blocks of self.blocks[i], and of a name that goes through it."""
    if isinstance(func, ast.Subscript) and isinstance(func.value, ast.Attribute):
        yield from program.values_of(func.value)
    for definition in program.reaching(func) if isinstance(func, ast.Name) else ():
        if definition.value is None or definition.kind not in ("loop", "assign"):
            continue
        held = (part for part in nodes_within(definition.value) if isinstance(part, ast.Attribute))
        yield from (value for part in held for value in program.values_of(part))


def _built(program: Program, held: ast.expr, depth: int = 0) -> Iterator[tuple[Scope, ast.Call]]:
    """The modules of a list, each with the call that makes it: [Block(d) for ..], and what is appended to a name."""
    for part in nodes_within(held):
        if isinstance(part, ast.Call) and isinstance(part.func, ast.Name):
            forward = program.classes.get(part.func.id, {}).get("forward")
            if forward is not None:
                yield forward, part
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load) and depth < _DEEPEST:
            for definition in program.reaching(part):
                if definition.value is not None and definition.kind in ("assign", "mutation"):
                    yield from _built(program, definition.value, depth + 1)


def is_made(analysis: Analysis, made: ast.Call) -> bool:
    """Whether a run makes a module, as far as the settings tell that the tests above it ask for."""
    frame = Frame.at(analysis.program, made)
    open_tests = tests_of(analysis, made, frame)
    return open_tests is not None and all(_is_set(analysis.program, test, frame) for test, _ in open_tests)


def _is_set(program: Program, test: ast.expr, frame: Frame) -> bool:
    """Whether a test asks for settings, all of which are there, and neither empty nor zero: SSM_LAYERS=7."""
    evaluator = Evaluator(program)
    asked = [(part, at) for part, at in trace(program, test, frame) if evaluator.setting_asked(part, at) is not None]
    try:
        values = [evaluator.visit(part, at) for part, at in asked if isinstance(part, ast.expr)]
    except UNKNOWN_ERRORS:
        return False
    return bool(values) and all(value not in ("", "0", 0, None) for value in values)
