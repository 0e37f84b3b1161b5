"""One way through the expressions of a program, whatever is asked of them.

A domain (numbers, products, bytes of a specimen) is a `Walker` with one method for each kind of node that it knows,
named after it: `_binop`, `_call`. What a name, a parameter or a call goes back to is the same for all: see `Frame`.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Generic, TypeVar

from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import Definition, Scope, dotted

LIBRARIES = frozenset(["torch", "np", "numpy", "math", "F", "jnp", "jax", "dist", "statistics", "st"])
DEEPEST_CALL = 8  # of frames that are opened to look at what callers hand over
DEEPEST_INLINED = 10  # of frames of functions that are called
MAX_CALLERS = 4  # that are looked at
MAX_VALUES = 6  # that an attribute may be set to

At = TypeVar("At")
Value = TypeVar("Value")


@dataclass(eq=False, slots=True)
class Frame:
    """A scope together with what its parameters were given, each to be read in the caller's frame."""

    scope: Scope
    bindings: Mapping[str, Source] = field(default_factory=dict)
    depth: int = 0

    def given(self, program: Program, name: ast.Name) -> Source | None:
        """What the caller handed over for a name; None where the function gives it another value."""
        bound = self.bindings.get(name.id)
        return bound if bound is not None and all(d.kind == "parameter" for d in program.reaching(name)) else None

    def inside(self, program: Program, callee: Scope, call: ast.Call) -> Frame:
        """The frame of a function that is called from this one: the same one whenever it is asked for."""
        key = (Frame, self, callee, call)
        if key not in program.memo:
            bindings = {name: (value, self) for name, value in program.bind(callee, call).items()}
            program.memo[key] = Frame(callee, bindings, self.depth + 1)
        frame: Frame = program.memo[key]
        return frame

    def handed(self, program: Program, definition: Definition) -> list[Source]:
        """What the calls of the program hand over for a parameter, whoever calls."""
        if self.depth >= DEEPEST_CALL:
            return []
        return self.elsewhere(program, program.arguments(program.scope(definition.statement), definition.name))

    def stored(self, program: Program, node: ast.Attribute) -> list[Source]:
        """What an attribute is set to."""
        return self.elsewhere(program, program.values_of(node)[:MAX_VALUES])

    def elsewhere(self, program: Program, values: list[ast.expr]) -> list[Source]:
        """Expressions of the program, each to be read in the frame of its own scope."""
        depth = self.depth + 1
        return [(value, Frame.of(program, program.scope(value), depth)) for value in values]

    @staticmethod
    def of(program: Program, scope: Scope, depth: int = 0) -> Frame:
        """The frame of a scope, whoever calls it: the same one whenever it is asked for."""
        key = (Frame, scope, depth)
        if key not in program.memo:
            program.memo[key] = Frame(scope, depth=depth)
        frame: Frame = program.memo[key]
        return frame


Source = tuple[ast.expr, Frame]


def operands(call: ast.Call) -> list[ast.expr]:
    """What a function works on: its arguments, after the object that it is a method of; a library is no object."""
    receiver = call.func.value if isinstance(call.func, ast.Attribute) else None
    if receiver is None or dotted(receiver).split(".")[0] in LIBRARIES:
        return list(call.args)
    return [receiver, *call.args]


class Walker(Generic[At, Value]):
    """Visits expressions, under bounds on depth and on steps.

    Args:
        program: where names and functions are looked up; its bound on work is shared by all walkers.
        depth: how deep the walk that this one is part of has come.
    """

    deepest: ClassVar[int]
    most_steps: ClassVar[int]
    _names: ClassVar[dict[type[ast.AST], str]]  # of the methods, by kind of node

    def __init_subclass__(cls) -> None:
        """Each domain has methods of its own."""
        cls._names = {}

    def __init__(self, program: Program, depth: int = 0) -> None:
        self.program = program
        self.depth = depth
        self.steps = 0

    def visit(self, node: ast.expr, at: At) -> Value:
        """What an expression stands for, read at a place."""
        self.steps += 1
        if self.depth > self.deepest or self.steps > self.most_steps or not self.program.spend():
            return self.stopped(node, at)
        self.depth += 1
        try:
            return self.look(node, at)
        finally:
            self.depth -= 1

    def look(self, node: ast.expr, at: At) -> Value:
        """The method for a kind of node, within the bounds."""
        kind = node.__class__
        name = self._names.get(kind)
        if name is None:
            name = "_" + kind.__name__.lower()
            self._names[kind] = name = name if hasattr(self, name) else "unknown"
        found: Value = getattr(self, name)(node, at)
        return found

    def unknown(self, node: ast.expr, at: At, /) -> Value:
        """What stands for an expression that this domain does not know."""
        raise NotImplementedError

    def stopped(self, node: ast.expr, at: At, /) -> Value:
        """What stands for an expression that lies beyond the bounds."""
        return self.unknown(node, at)
