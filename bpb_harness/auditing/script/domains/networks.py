"""The networks of one function: which one a call is given, what is loaded into it, and what may write over it."""

from __future__ import annotations

import ast
from collections.abc import Container, Iterator, Sequence
from functools import cached_property

from bpb_harness.auditing.script.frontend.nodes import calls_in, end_of, position
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import Definition, Scope, last_name
from bpb_harness.auditing.script.frontend.walker import Frame, operands

_MAX_STEPS = 20
_WRAPS = frozenset(["compile", "DDP", "DistributedDataParallel", "to", "cuda", "float", "bfloat16", "eval", "train"])
_OF_NETWORKS = ("state_dict", "load_state_dict", "parameters", "named_parameters")
# Methods of a network that leave its weights as they are, and functions of libraries that do.
_READING = frozenset([
    "state_dict", "eval", "train", "parameters", "named_parameters", "modules", "named_modules", "buffers",
    "named_buffers", "children", "named_children",
])  # fmt: skip
_HARMLESS = frozenset([
    "compile", "DDP", "DistributedDataParallel", "deepcopy", "print", "id", "type", "hasattr", "getattr", "isinstance",
    "sum", "len",
])  # fmt: skip
_WRITING = frozenset([
    "load_state_dict", "copy_", "set_", "swap", "step", "backward", "add_", "sub_", "mul_", "div_", "lerp_", "addcdiv_",
    "zero_", "fill_", "clamp_", "round_", "_foreach_add_", "_foreach_mul_", "_foreach_copy_", "setattr", "prune",
])  # fmt: skip


_DISPLAYS = (ast.List, ast.Tuple, ast.Set, ast.Dict, ast.ListComp, ast.DictComp)


class Networks:
    """The networks of one function, each by the definition that makes it.

    Args:
        program: the scripts.
        scope: the function.
    """

    def __init__(self, program: Program, scope: Scope) -> None:
        self._program, self.scope = program, scope
        self.frame = Frame.of(program, scope)
        self._known: dict[tuple[ast.AST, Frame], Definition | None] = {}
        self._changing: dict[ast.AST, bool] = {}  # statements, by whether they hold a call that writes

    def of(self, node: ast.AST, frame: Frame | None = None) -> Definition | None:
        """The definition that makes what an expression is, or is a part of; None where there is none, or several.

        Args:
            node: model of compile(model), DDP(model).module, model.blocks[0].
            frame: where its names are read; None: in the function.
        """
        key = (node, frame or self.frame)
        if key not in self._known:
            self._known[key] = None  # what is asked for on the way to itself
            self._known[key] = self._find(*key)
        return self._known[key]

    def _find(self, node: ast.AST, where: Frame) -> Definition | None:
        for _ in range(_MAX_STEPS if self._program.spend() else 0):
            if isinstance(node, ast.Attribute | ast.Subscript):
                node = node.value
            elif isinstance(node, ast.IfExp):
                return self._the_one(node.body, node.orelse, frame=where)
            elif isinstance(node, ast.Call) and last_name(node.func) in _WRAPS and operands(node):
                node = operands(node)[0]
            elif not isinstance(node, ast.Name):
                return None
            elif (given := where.given(self._program, node)) is not None:
                node, where = given
            else:
                return self._named(node, where)
        return None

    def _named(self, name: ast.Name, frame: Frame) -> Definition | None:
        defined = [each for each in self._program.reaching(name) if each.kind != "mutation"]
        values = [each.value for each in defined if each.kind == "assign" and each.value is not None]
        if not defined or len(values) < len(defined):
            return None
        if len(defined) == 1 and (defined[0].index or not _is_plain(values[0])):
            return None if isinstance(values[0], _DISPLAYS) else defined[0]
        return None if any(each.index for each in defined) else self._the_one(*values, frame=frame)

    def _the_one(self, *nodes: ast.expr, frame: Frame) -> Definition | None:
        found = {self.of(node, frame) for node in nodes}
        return found.pop() if len(found) == 1 else None

    @cached_property
    def all(self) -> set[Definition]:
        """Whatever is asked for its weights, or given some."""
        named = (self.of(each) for each in self._receivers)
        return {each for each in named if each is not None}

    @cached_property
    def _receivers(self) -> list[ast.expr]:
        calls = (call for name in _OF_NETWORKS for call in self._program.calls.get(name, []))
        return [
            call.func.value
            for call in calls
            if isinstance(call.func, ast.Attribute) and self._is_here(call)
        ]  # fmt: skip

    @cached_property
    def _unclear(self) -> set[str]:
        return {each.id for each in self._receivers if isinstance(each, ast.Name) and self.of(each) is None}

    def _is_here(self, node: ast.AST) -> bool:
        """Whether a node stands in the function, or in one that is defined in it."""
        scope: Scope | None = self._program.scope(node)
        while scope is not None and scope is not self.scope:
            scope = scope.parent
        return scope is not None

    def given(self, call: ast.Call) -> set[Definition] | None:
        """The networks that a call is given; None where one of its arguments may be any of several."""
        found: set[Definition] = set()
        for each in [*operands(call), *(keyword.value for keyword in call.keywords)]:
            network = self.of(each)
            if network in self.all and network is not None:
                found.add(network)
            elif any(isinstance(part, ast.Name) and part.id in self._unclear for part in ast.walk(each)):
                return None
        return found

    @cached_property
    def loads(self) -> list[tuple[ast.Call, Definition | None]]:
        """What is loaded into networks by the function itself, in its order; None for one that is not known."""
        calls = [call for call in self._program.calls.get("load_state_dict", []) if call.args]
        own = [
            (call, self.of(call.func.value))
            for call in calls
            if isinstance(call.func, ast.Attribute) and self._program.scope(call) is self.scope
        ]
        return sorted(own, key=lambda each: position(each[0]))

    # -- what may write over weights ---------------------------------------------------------------------

    def may_be_written(self, network: Definition, since: ast.AST, until: ast.AST) -> bool:
        """Whether anything between two nodes of the function may give a network other weights."""
        low, high = end_of(since), position(until)
        held = {position(part) for part in ast.walk(until)}
        for call, loaded in self.loads:
            if low < position(call) < high and loaded in (network, None):
                return True
        for name in self.names:
            place = position(name)
            if low < place < high and place not in held and self.of(name) is network and self.writes(name):
                return True
        own = (callee for callee in self.called_between(low, high, held) if self._is_here(callee.node))
        return any(self._has(callee, network) and self.may_write(callee) for callee in own)

    def called_between(
        self, low: tuple[int, int], high: tuple[int, int], held: Container[tuple[int, int]] = ()
    ) -> Iterator[Scope]:
        """The functions that the function calls between two places, but for some places."""
        for calls in self._program.calls.values():
            for call in calls:
                if low < position(call) < high and position(call) not in held:
                    callee = self._program.callee(call) if self._program.scope(call) is self.scope else None
                    if callee is not None and callee is not self.scope:
                        yield callee

    @cached_property
    def names(self) -> list[ast.Name]:
        """The names in the function itself."""
        nodes = ast.walk(self.scope.node)
        return [each for each in nodes if isinstance(each, ast.Name) and self._program.scope(each) is self.scope]

    def writes(self, name: ast.Name) -> bool:
        """Whether the statement of a name may write over the weights of what it names."""
        program = self._program
        statement = next(each for each in program.ancestors(name) if isinstance(each, ast.stmt))
        if isinstance(statement, ast.Delete):
            return False
        if isinstance(statement, ast.For | ast.While | ast.With | ast.AsyncWith):
            return True  # over its parameters, or within a context that swaps them
        if isinstance(statement, ast.Assign | ast.AugAssign | ast.AnnAssign):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            if any(not isinstance(part, ast.Name | ast.Tuple) and self.of(part) is not None for part in targets):
                return True
        if isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign | ast.Expr) and self._changes(statement):
            return True
        above = program.parent(name)
        if isinstance(above, ast.Attribute):
            called = program.parent(above)
            return isinstance(called, ast.Call) and called.func is above and above.attr not in _READING
        if isinstance(above, _DISPLAYS):
            return True  # what becomes of its elements is not followed
        if isinstance(above, ast.keyword):
            above = program.parent(above)
        if not isinstance(above, ast.Call) or above.func is name:
            return False
        callee = program.callee(above)
        return self.may_write(callee) if callee is not None else last_name(above.func) not in _HARMLESS

    def _has(self, callee: Scope, network: Definition) -> bool:
        """Whether a function within the function has a network without being given it."""
        names = (part for part in ast.walk(callee.node) if isinstance(part, ast.Name))
        return any(self.of(name) is network for name in names)

    def _changes(self, statement: ast.stmt) -> bool:
        if statement not in self._changing:
            calls = calls_in(statement)
            self._changing[statement] = any(last_name(call.func) in _WRITING for call in calls)
        return self._changing[statement]

    def may_write(self, scope: Scope) -> bool:
        """Whether a function, or one that it calls, does anything that may be a change of weights."""
        return any(
            (isinstance(node, ast.Call) and last_name(node.func) in _WRITING)
            or (isinstance(node, ast.Assign | ast.AugAssign) and any(map(_is_of_another, _targets(node))))
            for here in self.called_from(scope)
            for node in self._program.own_nodes(here)
        )

    def loads_inside(self, call: ast.Call) -> bool:
        """Whether a call comes to anything that loads weights."""
        callee = self._program.callee(call)
        return callee is not None and any("load_state_dict" in here.mentions for here in self.called_from(callee))

    def called_from(self, scope: Scope) -> list[Scope]:
        """A function, and all that it calls, one after another."""
        key = (Networks, self.scope, scope)
        if key not in self._program.memo:
            waiting, found = [scope], dict.fromkeys([scope])
            while waiting:
                for node in self._program.own_nodes(waiting.pop()):
                    callee = self._program.callee(node) if isinstance(node, ast.Call) else None
                    if callee is not None and callee not in found and callee is not self.scope:
                        found[callee] = None
                        waiting.append(callee)
            self._program.memo[key] = [*found]
        called: list[Scope] = self._program.memo[key]
        return called


def _targets(node: ast.Assign | ast.AugAssign) -> Sequence[ast.expr]:
    return node.targets if isinstance(node, ast.Assign) else [node.target]


def _is_of_another(target: ast.expr) -> bool:
    """Whether it is an attribute of something else than the object whose method sets it."""
    parts = target.elts if isinstance(target, ast.Tuple) else [target]
    attributes = [part for part in parts if isinstance(part, ast.Attribute)]
    return any(not (isinstance(each.value, ast.Name) and each.value.id == "self") for each in attributes)


def _is_plain(value: ast.expr) -> bool:
    """Whether a value is another name for what is in it: base.module, compile(base), base if distributed else base."""
    if isinstance(value, ast.Call):
        return last_name(value.func) in _WRAPS and bool(operands(value)) and _is_plain(operands(value)[0])
    if isinstance(value, ast.IfExp):
        return _is_plain(value.body) and _is_plain(value.orelse)
    return isinstance(value, ast.Name | ast.Attribute | ast.Subscript)
