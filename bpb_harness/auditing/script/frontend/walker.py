"""One way through the expressions of a program, whatever is asked of them.

A domain (numbers, products, bytes of a specimen) is a `Walker` with one method for each kind of node that it knows,
named after it: `_binop`, `_call`. What a name, a parameter, an attribute, a call or an element of a display goes back
to is the same for all: see `Walker.origins` and `Frame`.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import Definition, Scope, dotted

LIBRARIES = frozenset(["torch", "np", "numpy", "math", "F", "jnp", "jax", "mx", "nn", "dist", "statistics", "st"])
DEEPEST_CALL = 8  # of frames that are opened to look at what callers hand over
DEEPEST_INLINED = 10  # of frames of functions that are called
MAX_CALLERS = 4  # that are looked at
MAX_VALUES = 6  # that an attribute may be set to

Path = tuple[int | str, ...]  # which element of a value is meant, outermost first
Value = TypeVar("Value")


@dataclass(eq=False, slots=True)
class Frame:
    """A scope together with what its parameters were given, each to be read in the caller's frame.

    Attributes:
        scope: the scope.
        bindings: what a call hands over for its parameters.
        depth: how many frames this one was opened from.
        is_whole: whether that is all that it hands over: the other parameters have their defaults.
    """

    scope: Scope
    bindings: Mapping[str, Source] = field(default_factory=dict)
    depth: int = 0
    is_whole: bool = False

    def given(self, program: Program, name: ast.Name) -> Source | None:
        """What the caller handed over for a name; None where the function gives it another value."""
        bound = self.bindings.get(name.id)
        return bound if bound is not None and all(d.kind == "parameter" for d in program.reaching(name)) else None

    def inside(self, program: Program, callee: Scope, call: ast.Call) -> Frame:
        """The frame of a function that is called from this one: the same one whenever it is asked for."""
        key = (Frame, self, callee, call)
        if key not in program.memo:
            bindings = {name: (value, self) for name, value in program.bind(callee, call).items()}
            is_whole = not any(isinstance(value, ast.Starred) for value in call.args)
            is_whole = is_whole and all(keyword.arg is not None for keyword in call.keywords)
            program.memo[key] = Frame(callee, bindings, self.depth + 1, is_whole)
        frame: Frame = program.memo[key]
        return frame

    def handed(self, program: Program, definition: Definition) -> list[Source]:
        """What this frame's call hands over for a parameter, if anything; else what any call of the program does."""
        if self.is_whole and program.scope(definition.statement) is self.scope:
            return [self.bindings[definition.name]] if definition.name in self.bindings else []
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
    def at(program: Program, node: ast.AST) -> Frame:
        """The frame of the scope in which a node stands, whoever calls it."""
        return Frame.of(program, program.scope(node))

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


class Origin(NamedTuple):
    """An expression that a value may come from.

    Attributes:
        node: the expression.
        frame: where its names are read.
        path: which element of it is meant.
        definition: how a name gets it; None where it is no name's.
    """

    node: ast.expr
    frame: Frame
    path: Path = ()
    definition: Definition | None = None


class Walker(Generic[Value]):
    """Visits expressions, under bounds on depth and on steps.

    Args:
        program: where names and functions are looked up; its bound on work is shared by all walkers.
        depth: how deep the walk that this one is part of has come.
    """

    deepest: ClassVar[int]
    most_steps: ClassVar[int]
    follows_defaults: ClassVar[bool] = False  # of parameters that nothing is handed over for
    _names: ClassVar[dict[type[ast.AST], str]]  # of the methods, by kind of node

    def __init_subclass__(cls) -> None:
        """Each domain has methods of its own."""
        cls._names = {}

    def __init__(self, program: Program, depth: int = 0) -> None:
        self.program = program
        self.depth = depth
        self.steps = 0

    def visit(self, node: ast.expr, frame: Frame, path: Path = ()) -> Value:
        """What an expression, or an element of it, stands for, its names read in a frame."""
        self.steps += 1
        if self.depth > self.deepest or self.steps > self.most_steps or not self.program.spend():
            return self.stopped(node, frame, path)
        self.depth += 1
        try:
            return self.look(node, frame, path)
        finally:
            self.depth -= 1

    def look(self, node: ast.expr, frame: Frame, path: Path) -> Value:
        """The method for a kind of node, within the bounds."""
        kind = node.__class__
        name = self._names.get(kind)
        if name is None:
            name = "_" + kind.__name__.lower()
            self._names[kind] = name = name if hasattr(self, name) else "unknown"
        found: Value = getattr(self, name)(node, frame, path)
        return found

    # -- what a domain says -----------------------------------------------------------------------

    def unknown(self, node: ast.expr, frame: Frame, path: Path = (), /) -> Value:
        """What stands for an expression that this domain does not know."""
        raise NotImplementedError

    def stopped(self, node: ast.expr, frame: Frame, path: Path, /) -> Value:
        """What stands for an expression that lies beyond the bounds."""
        return self.unknown(node, frame, path)

    def defined(self, node: ast.Name, frame: Frame, path: Path, /) -> Value:
        """What stands for a name that no caller gave its value."""
        return self.unknown(node, frame, path)

    def taken(self, _node: ast.AST, _frame: Frame, /) -> bool | None:
        """Whether the branch in which a node stands is taken; None where that is not known."""
        return None

    # -- what is the same in all ------------------------------------------------------------------

    def _name(self, node: ast.Name, frame: Frame, path: Path) -> Value:
        given = frame.given(self.program, node)
        return self.visit(*given, path) if given is not None else self.defined(node, frame, path)

    def _namedexpr(self, node: ast.NamedExpr | ast.Await, frame: Frame, path: Path) -> Value:
        return self.visit(node.value, frame, path)

    _await = _namedexpr

    def origins(self, node: ast.expr, frame: Frame, path: Path = ()) -> list[Origin]:
        """What an expression has its value from, one step back; nothing where it is made of parts of its own."""
        kind = node.__class__
        if kind in _STEPS_BACK:
            return _STEPS_BACK[kind](self, node, frame, path)
        element, rest = element_of(node, path)
        return [Origin(element, frame, rest)] if element is not node else []

    def _behind_name(self, node: Any, frame: Frame, path: Path) -> list[Origin]:
        given = frame.given(self.program, node)
        if given is not None:
            return [Origin(*given, path)]
        found: list[Origin] = []
        for definition in self.program.reaching(node):
            if definition.kind == "parameter":
                found += self._behind_parameter(definition, frame, path)
            elif definition.value is not None and self.taken(definition.statement, frame) is not False:
                value, way = definition.value, _way_into(definition, path)
                if way and definition.kind != "loop":  # of what it runs over, the path is one into each element
                    value, way = element_of(value, way)
                if way is not None:
                    found.append(Origin(value, frame, way, definition))
        return found

    def _behind_parameter(self, definition: Definition, frame: Frame, path: Path) -> list[Origin]:
        sources = frame.handed(self.program, definition)[:MAX_CALLERS]
        if self.follows_defaults and not sources and definition.value is not None:
            sources = [(definition.value, Frame.at(self.program, definition.statement))]
        return [Origin(*source, path, definition) for source in sources]

    def _behind_attribute(self, node: Any, frame: Frame, path: Path) -> list[Origin]:
        if frame.depth >= DEEPEST_CALL:
            return []
        computed = [result for scope in self.program.properties.get(node.attr, ()) for result in scope.returns]
        sources = [*frame.stored(self.program, node), *frame.elsewhere(self.program, computed)]
        return [Origin(*source, path) for source in sources]

    def _behind_call(self, node: Any, frame: Frame, path: Path) -> list[Origin]:
        given = frame.given(self.program, node.func) if isinstance(node.func, ast.Name) else (node.func, frame)
        is_lambda = given is not None and isinstance(given[0], ast.Lambda)  # of several that are handed over, this one
        callee = self.program.scope(given[0]) if given is not None and is_lambda else self.program.callee(node)
        if callee is None or frame.depth >= DEEPEST_INLINED:
            return []
        inner = frame.inside(self.program, callee, node)
        return [Origin(result, inner, path) for result in callee.returns if self.taken(result, inner) is not False]

    def _behind_choice(self, node: Any, frame: Frame, path: Path) -> list[Origin]:
        return [Origin(branch, frame, path) for branch in (node.body, node.orelse)]

    def _behind_look_up(self, node: Any, frame: Frame, path: Path) -> list[Origin]:
        step = step_of(node)
        return [Origin(node.value, frame, (step, *path))] if step is not None else []

    def only_origin(self, node: ast.expr, frame: Frame) -> Origin | None:
        """The one expression that another has its value from; None where there is none, or more."""
        found = self.origins(node, frame)
        return found[0] if len(found) == 1 else None


_STEPS_BACK: dict[type[ast.AST], Callable[[Walker[Any], Any, Frame, Path], list[Origin]]] = {
    ast.Name: Walker._behind_name, ast.Attribute: Walker._behind_attribute, ast.Call: Walker._behind_call,
    ast.IfExp: Walker._behind_choice, ast.Subscript: Walker._behind_look_up,
}  # fmt: skip


def _way_into(definition: Definition, path: Path) -> Path | None:
    """Which element of what a definition sets is meant by a path into the name; None where it sets another one."""
    if definition.kind != "mutation" or not path:
        return (*definition.index, *path)
    if definition.key is None:  # x.append(v): an element of x
        return path[1:] if isinstance(path[0], int) else path
    if isinstance(path[0], str):
        return path[1:] if isinstance(definition.key, ast.Constant) and definition.key.value == path[0] else None
    return path


def step_of(node: ast.Subscript) -> int | str | None:
    """The number or the key that an element is looked up by, where it is written out."""
    index = node.slice.value if isinstance(node.slice, ast.Constant) else None
    return index if isinstance(index, int | str) and not isinstance(index, bool) else None


def element_of(node: ast.expr, path: Path) -> tuple[ast.expr, Path]:
    """The element of displays that a path means, as far as it is written out, and the rest of the path."""
    while path and (element := _held(node, path[0])) is not None:
        node, path = element, path[1:]
    return node, path


def _held(node: ast.expr, key: int | str) -> ast.expr | None:
    """What a tuple, list or dictionary that is written out holds at a place."""
    if isinstance(node, ast.Tuple | ast.List):
        return node.elts[key] if isinstance(key, int) and -len(node.elts) <= key < len(node.elts) else None
    items = zip(node.keys, node.values, strict=True) if isinstance(node, ast.Dict) else ()
    return next((value for each, value in items if isinstance(each, ast.Constant) and each.value == key), None)
