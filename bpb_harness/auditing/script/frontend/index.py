"""One walk through the scripts of a submission: what stands where, and what defines what."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import cached_property
from operator import attrgetter
from typing import Any

from bpb_harness.auditing.script.frontend.nodes import keyword
from bpb_harness.auditing.script.frontend.scopes import (
    FUNCTIONS,
    Definition,
    Function,
    Kind,
    Scope,
    Script,
    last_name,
)  # fmt: skip

_MUTATORS = frozenset([
    "append", "extend", "add", "add_", "sub_", "mul_", "div_", "copy_", "index_add_", "scatter_add_", "update", "write",
    "fill_", "masked_fill_", "insert",
])  # fmt: skip
_MAKING_NEW = frozenset(["np", "numpy", "torch", "jnp", "mx"])
# What frameworks that run functions elsewhere hang onto a function: f.remote(x) calls f(x).
ELSEWHERE = frozenset([
    "remote", "remote_gen", "spawn", "local", "map", "starmap", "for_each", "delay", "apply_async", "submit", "run",
    "fn",
])  # fmt: skip
_WITHOUT_NODES = frozenset([
    "ctx", "op", "ops", "id", "attr", "arg", "kind", "type_comment", "type_ignores", "is_async", "level", "module",
    "simple", "conversion",
])  # fmt: skip
_TEXTS = (str, bytes)
_Kind = type[ast.AST]


def _kinds(above: _Kind) -> set[_Kind]:
    return {above}.union(*(_kinds(kind) for kind in above.__subclasses__()))


def _reader(names: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    if not names:
        return lambda _: ()
    if names == ("value",):
        return lambda node: (node.value,)
    get = attrgetter(*names)
    return get if len(names) > 1 else lambda node: (get(node),)


# The fields of each kind of node that may hold nodes other than operators.
_INSIDE: dict[type, tuple[str, ...]] = {
    kind: tuple(name for name in kind._fields if name not in _WITHOUT_NODES) for kind in _kinds(ast.AST)
} | {ast.Constant: ()}
# What each of them holds there; of a syntax tree that was parsed, all fields are set.
_HELD: dict[type, Callable[[Any], tuple[Any, ...]]] = {kind: _reader(names) for kind, names in _INSIDE.items()}
_IN_ONE_ROW: dict[type, Callable[[Any], Sequence[Any]]] = {
    ast.Call: lambda node: (node.func, *node.args, *node.keywords),
    ast.Compare: lambda node: (node.left, *node.comparators),
    ast.Assign: lambda node: (*node.targets, node.value),
    **dict.fromkeys([ast.Tuple, ast.List, ast.Set], attrgetter("elts")),
    **dict.fromkeys([ast.BoolOp, ast.JoinedStr], attrgetter("values")),
}


def _row(kind: type) -> Callable[[Any], Sequence[Any]]:
    """What a kind of node holds, lists and all, in one row; what is no node may stand among it."""
    get = _HELD[kind]
    if kind in _IN_ONE_ROW:
        return _IN_ONE_ROW[kind]
    return lambda node: [each for held in get(node) for each in (held if held.__class__ is list else (held,))]


_ROW: dict[type, Callable[[Any], Sequence[Any]]] = {kind: _row(kind) for kind in _INSIDE}
for _alone in (
    ast.Attribute,
    ast.BinOp,
    ast.Subscript,
    ast.keyword,
    ast.Expr,
    ast.Return,
    ast.FormattedValue,
    ast.UnaryOp,
    ast.Slice,
    ast.IfExp,
    ast.AugAssign,
    ast.Starred,
    ast.arg,
    ast.alias,
    ast.AnnAssign,
):
    _ROW[_alone] = _HELD[_alone]
_EMPTY = frozenset(kind for kind, names in _INSIDE.items() if not names)  # names and constants: half of all nodes
_FUNCTION_KINDS = frozenset(FUNCTIONS)
EXPRESSIONS = frozenset(_kinds(ast.expr) | {ast.comprehension, ast.keyword})  # with what stands in them alone
STATEMENTS = frozenset(_kinds(ast.stmt))
_IN_BLOCKS = STATEMENTS | {ast.excepthandler, ast.ExceptHandler}
# What holds statements, or scopes.
_WITH_BODIES = frozenset(kind for kind in _INSIDE if {"body", "cases"} & {*_INSIDE[kind]}) - {ast.IfExp}


def children(node: ast.AST) -> list[ast.AST]:
    """The nodes right inside a node, in the order in which they are written, without operators and contexts."""
    return [child for child in _ROW[node.__class__](node) if type(child) in _INSIDE]


def nodes_within(node: ast.AST) -> list[ast.AST]:
    """A node and all in it as `ast.walk` gives them, without operators and contexts; several times faster."""
    found = [node]
    for each in found:  # grows on the way
        if each.__class__ not in _EMPTY:
            found += [child for child in _ROW[each.__class__](each) if type(child) in _INSIDE]
    return found


def names_within(node: ast.AST) -> tuple[dict[str, list[ast.Name]], dict[str, list[ast.Attribute]]]:
    """The names and the attributes in a node, by name, in the order of `nodes_within`."""
    names, attributes, waiting = dict[str, list[ast.Name]](), dict[str, list[ast.Attribute]](), [node]
    for each in waiting:  # grows on the way
        for child in _ROW[each.__class__](each):
            kind = child.__class__
            if kind is ast.Name:  # most nodes are these or constants, and nothing is in them
                names.setdefault(child.id, []).append(child)
            elif kind is ast.Attribute:
                attributes.setdefault(child.attr, []).append(child)
                waiting.append(child)
            elif kind in _INSIDE and kind not in _EMPTY:
                waiting.append(child)
    return names, attributes


class Index:
    """The nodes of a program by what holds them, and its functions, classes, calls and definitions by name.

    Args:
        scripts: parsed files.
    """

    def __init__(self, scripts: Sequence[Script]) -> None:
        self.scopes: list[Scope] = []
        self.functions: dict[str, list[Scope]] = {}
        self.classes: dict[str, dict[str, Scope]] = {}
        self.attributes: dict[str, list[ast.expr]] = {}  # self.x = value, class X: x: int = value
        self.properties: dict[str, list[Scope]] = {}
        self.options: dict[str, ast.expr] = {}  # add_argument("--x", default=value)
        self.calls: dict[str, list[ast.Call]] = {}  # by the last part of the callee's name
        self.nodes: defaultdict[type[ast.AST], list[ast.AST]] = defaultdict(list)  # comparisons, negations, x += y
        self.aliases: dict[str, str] = {}
        self.imported: dict[str, set[str]] = {}  # the packages that a name comes from; "" of a relative import
        self.parents: dict[ast.AST, ast.AST] = {}
        self.scope_of: dict[
            ast.AST, Scope
        ] = {}  # of modules, functions and statements: a function's stands for its inside
        self.blocks: dict[ast.AST, tuple[ast.AST, str]] = {}  # of a statement: which list of which node
        # What programs have worked out of the trees alone, whatever their settings are.
        self.parts: dict[ast.AST, tuple[ast.AST, ...]] = {}
        self.own_nodes: dict[Scope, list[ast.AST]] = {}
        self.tests: dict[ast.AST, tuple[tuple[ast.expr, bool], ...]] = {}
        self.held: dict[ast.AST, frozenset[tuple[ast.AST, str]]] = {}
        self.looped: dict[ast.AST, frozenset[ast.AST]] = {}
        self.reached: dict[ast.Name, tuple[Definition, ...]] = {}
        for number, script in enumerate(scripts):
            self._walk(number, script)

    @cached_property
    def named(self) -> Sequence[tuple[dict[str, list[ast.Name]], dict[str, list[ast.Attribute]]]]:
        """Names and attributes of each script by name, looked for where some are asked for."""
        return [names_within(scope.node) for scope in self.scopes if isinstance(scope.node, ast.Module)]

    def _walk(self, number: int, script: Script) -> None:
        """Outside in, so that the scope of a node is known before what is inside of it.

        A node belongs to the body of a scope if the scope's own code holds it: not what a function holds that is
        defined there, but its decorators. Defaults and annotations belong to nobody's.
        """
        module = Scope("<module>", script.tree, None, number)
        self.scopes.append(module)
        self.scope_of[script.tree] = module
        nobody = Scope("", script.tree, None, number)
        parents, name, constant, attribute = self.parents, ast.Name, ast.Constant, ast.Attribute
        waiting: list[tuple[ast.AST, Scope, Scope]] = [(script.tree, module, module)]
        for node, scope, body in waiting:  # grows on the way
            kind = node.__class__
            if kind in _WITH_BODIES:
                self._walk_block(node, scope, body, nobody, waiting)
                continue
            mention = body.mentions.add
            for child in _ROW[kind](node):
                kind_of_child = child.__class__
                if kind_of_child is name:  # most nodes are one of these, and nothing is in them
                    parents[child] = node
                    mention(child.id)
                elif kind_of_child is attribute and child.value.__class__ is name:
                    inner = child.value
                    parents[child], parents[inner] = node, child
                    mention(child.attr)
                    mention(inner.id)
                elif kind_of_child is constant:
                    parents[child] = node
                    if child.value.__class__ in _TEXTS and _speaks_of_bytes(str(child.value)):
                        body.labels.append(child)
                elif kind_of_child in _INSIDE:
                    parents[child] = node
                    waiting.append((child, self._open(child, scope) if kind_of_child is ast.Lambda else scope, body))
            if kind in _NOTED:
                _NOTED[kind](self, node, scope, body)

    def _walk_block(
        self, node: ast.AST, scope: Scope, body: Scope, nobody: Scope, waiting: list[tuple[ast.AST, Scope, Scope]]
    ) -> None:
        """The children of a node that holds statements, or of a function."""
        kind, parents = node.__class__, self.parents
        inside = body
        for field, held in zip(_INSIDE[kind], _HELD[kind](node)):  # noqa: B905
            if held is None:
                continue
            if kind in _FUNCTION_KINDS:
                inside = scope if field == "body" else body if field == "decorator_list" else nobody
            is_list = held.__class__ is list
            for child in held if is_list else (held,):
                kind_of_child = child.__class__
                if kind_of_child not in _INSIDE:
                    continue
                parents[child] = node
                if self._is_leaf(child, inside):
                    continue
                own = self._open(child, scope) if kind_of_child in _FUNCTION_KINDS else scope
                if is_list and kind_of_child in _IN_BLOCKS:
                    self.scope_of[child], self.blocks[child] = own, (node, field)
                waiting.append((child, own, inside))
        if kind in _NOTED:
            _NOTED[kind](self, node, scope, body)

    def _is_leaf(self, node: Any, inside: Scope) -> bool:
        """Whether a node is a name, a constant or `name.attribute`, in which nothing more stands."""
        if isinstance(node, ast.Constant):
            if node.value.__class__ in _TEXTS and _speaks_of_bytes(str(node.value)):
                inside.labels.append(node)
            return True
        if isinstance(node, ast.Attribute):
            inner = node.value
            if not isinstance(inner, ast.Name):
                return False
            self.parents[inner] = node
            inside.mentions.add(node.attr)
            node = inner
        if isinstance(node, ast.Name):
            inside.mentions.add(node.id)
            return True
        return False

    def _open(self, node: Function, around: Scope) -> Scope:
        owner = self.parents[node]
        class_name = owner.name if isinstance(owner, ast.ClassDef) else None
        name = node.name if not isinstance(node, ast.Lambda) else "<lambda>"
        scope = self.scope_of[node] = Scope(name, node, around, around.file, class_name)
        self.scopes.append(scope)
        arguments = node.args
        positional = [*arguments.posonlyargs, *arguments.args]
        scope.parameters = [argument.arg for argument in (*positional, *arguments.kwonlyargs)]
        defaults: dict[str, ast.expr] = {}
        if arguments.defaults:
            names = [argument.arg for argument in positional][-len(arguments.defaults) :]
            defaults.update(zip(names, arguments.defaults, strict=False))
        defaults.update(
            {a.arg: d for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if d is not None}
        )
        for parameter in scope.parameters:
            self._add(scope, Definition(parameter, "parameter", node, defaults.get(parameter)))
        if isinstance(node, ast.Lambda):
            scope.returns.append(node.body)
            if isinstance(owner, ast.Assign) and isinstance(owner.targets[0], ast.Name):
                self.functions.setdefault(owner.targets[0].id, []).append(scope)
        elif class_name is not None:
            self.classes.setdefault(class_name, {})[name] = scope
            if any(last_name(d) in ("property", "cached_property") for d in node.decorator_list):
                self.properties.setdefault(name, []).append(scope)
        else:
            self.functions.setdefault(name, []).append(scope)
        return scope

    @staticmethod
    def _add(scope: Scope, definition: Definition) -> None:
        scope.definitions.setdefault(definition.name, []).append(definition)

    def _assigned(self, node: Any, scope: Scope, _body: Scope) -> None:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        for target in targets if node.value is not None else ():
            self._target(target, scope, node, node.value, "assign", ())

    def _loop(self, node: Any, scope: Scope, _body: Scope) -> None:
        self.nodes[node.__class__].append(node)
        self._target(node.target, scope, node, node.iter, "loop", ())

    def _opened_with(self, node: Any, scope: Scope, _body: Scope) -> None:
        for item in node.items:
            if item.optional_vars is not None:
                self._target(item.optional_vars, scope, node, item.context_expr, "assign", ())

    def _returned(self, node: Any, scope: Scope, _body: Scope) -> None:
        if node.value is not None:
            scope.returns.append(node.value)

    def _imported(self, node: Any, _scope: Scope, _body: Scope) -> None:
        self.aliases.update({name.asname: name.name for name in node.names if name.asname})
        for name in node.names:
            of = name.name if isinstance(node, ast.Import) else "" if node.level else node.module or ""
            self.imported.setdefault(name.asname or name.name.split(".")[0], set()).add(of.split(".")[0])

    def _attribute(self, node: Any, _scope: Scope, body: Scope) -> None:
        body.mentions.add(node.attr)

    def _named(self, node: Any, _scope: Scope, body: Scope) -> None:
        if node.arg is not None and _speaks_of_bytes(node.arg):
            body.labels.append(node)

    def _formatted(self, node: Any, _scope: Scope, body: Scope) -> None:
        if isinstance(node.value, ast.Name) and _speaks_of_bytes(node.value.id):
            body.labels.append(node)

    def _entered(self, node: Any, _scope: Scope, body: Scope) -> None:
        if isinstance(node, ast.Lambda) or is_registered(node):
            body.enters.append(node)

    def _call(self, node: Any, scope: Scope, _body: Scope) -> None:
        func = node.func
        last = last_name(func)
        self.calls.setdefault(last, []).append(node)
        if isinstance(func, ast.Name) and last != "add_argument":
            return
        if isinstance(func, ast.Attribute) and last in ELSEWHERE:
            self.calls.setdefault(last_name(func.value), []).append(node)
        if isinstance(func, ast.Attribute) and last in _MUTATORS and isinstance(func.value, ast.Name) and node.args:
            value = node.args[-1]
            if func.value.id not in _MAKING_NEW:  # np.append(x, v), torch.add(x, v)
                self._add(scope, Definition(func.value.id, "mutation", node, value))
        if last == "register_buffer" and len(node.args) > 1 and isinstance(node.args[0], ast.Constant):
            self.attributes.setdefault(str(node.args[0].value), []).append(node.args[1])
        if last == "add_argument" and node.args and isinstance(node.args[0], ast.Constant):
            default = keyword(node, "default")
            if default is not None:
                self.options[
                    str(node.args[-1].value if isinstance(node.args[-1], ast.Constant) else node.args[0].value)
                    .lstrip("-")
                    .replace("-", "_")
                ] = default

    def _listed(self, node: Any, _scope: Scope, _body: Scope) -> None:
        self.nodes[node.__class__].append(node)

    def _augment(self, node: Any, scope: Scope, _body: Scope) -> None:
        self.nodes[ast.AugAssign].append(node)
        target: ast.expr = node.target
        while isinstance(target, ast.Subscript):
            target = target.value
        if isinstance(target, ast.Name):
            self._add(scope, Definition(target.id, "augment", node, node.value, operator=node.op))
        elif isinstance(target, ast.Attribute) and isinstance(node.op, ast.Add):
            self.attributes.setdefault(target.attr, []).append(node.value)

    def _target(
        self, target: ast.expr, scope: Scope, node: ast.AST, value: ast.expr, kind: Kind, index: tuple[int, ...]
    ) -> None:
        if isinstance(target, ast.Starred):
            return
        if isinstance(target, ast.Tuple | ast.List):
            for position, element in enumerate(target.elts):
                self._target(element, scope, node, value, kind, (*index, position))
            return
        if isinstance(target, ast.Name):
            owner = self.parents.get(node)
            if isinstance(owner, ast.ClassDef) and kind == "assign" and len(index) < 2:
                elements = value.elts if index and isinstance(value, ast.Tuple | ast.List) else []  # a, b = 1, 2
                stored = elements[index[0]] if index and index[0] < len(elements) else None if index else value
                if stored is not None:
                    self.attributes.setdefault(target.id, []).append(stored)
                    return
            self._add(scope, Definition(target.id, kind, node, value, index))
        elif isinstance(target, ast.Attribute):
            if not index:
                self.attributes.setdefault(target.attr, []).append(value)
            elif (
                isinstance(value, ast.Tuple) and len(index) == 1 and index[0] < len(value.elts)
            ):  # self.a, self.b = x, y
                self.attributes.setdefault(target.attr, []).append(value.elts[index[0]])
            elif isinstance(value, ast.Call) and kind == "assign":  # self.a, self.b = f(x)
                self.attributes.setdefault(target.attr, []).append(self._element(value, index, node))
        elif isinstance(target, ast.Subscript):
            base = target.value
            if isinstance(base, ast.Name):
                found = Definition(base.id, "mutation", node, value, index, key=target.slice)
                self._add(scope, found)

    def _element(self, value: ast.expr, index: tuple[int, ...], statement: ast.AST) -> ast.expr:
        """An element of what a call gives, as one that is looked up by its place."""
        for place in index:
            at = ast.copy_location(ast.Constant(place), value)
            element = ast.copy_location(ast.Subscript(value, at, ast.Load()), value)
            self.parents[at], self.parents[element] = element, statement
            value = element
        return value


class Scripts(tuple[Script, ...]):
    """Scripts that several programs are made of, with other settings; their trees stay as they are."""

    @cached_property
    def indexed(self) -> Index:
        """What stands where in them, looked for once."""
        return Index(self)


_NOTED: dict[type, Callable[[Index, Any, Scope, Scope], None]] = {
    ast.Assign: Index._assigned, ast.AnnAssign: Index._assigned, ast.NamedExpr: Index._assigned,
    ast.AugAssign: Index._augment, ast.For: Index._loop, ast.AsyncFor: Index._loop, ast.comprehension: Index._loop,
    ast.With: Index._opened_with, ast.AsyncWith: Index._opened_with, ast.Return: Index._returned,
    ast.Yield: Index._returned, ast.Import: Index._imported, ast.ImportFrom: Index._imported, ast.Call: Index._call,
    ast.Attribute: Index._attribute, ast.keyword: Index._named, ast.FormattedValue: Index._formatted,
    ast.Lambda: Index._entered, ast.FunctionDef: Index._entered, ast.AsyncFunctionDef: Index._entered,
    ast.Compare: Index._listed, ast.UnaryOp: Index._listed, ast.BinOp: Index._listed,
    ast.Subscript: Index._listed, ast.If: Index._listed, ast.JoinedStr: Index._listed,
    ast.Global: Index._listed, ast.Nonlocal: Index._listed,
}  # fmt: skip


def _speaks_of_bytes(said: str) -> bool:
    said = said.lower()
    return "bpb" in said or "byte" in said


def is_registered(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether a decorator may call the function from outside: a command, a hook, a main."""
    quiet = {"no_grad", "inference_mode", "staticmethod", "classmethod", "property", "lru_cache", "cache", "compile",
             "dataclass", "autocast", "jit", "script"}  # fmt: skip
    return any(last_name(d.func if isinstance(d, ast.Call) else d) not in quiet for d in node.decorator_list)
