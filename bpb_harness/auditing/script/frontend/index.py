"""One walk through the scripts of a submission: what stands where, and what defines what."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

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
# What frameworks that run functions elsewhere hang onto a function: f.remote(x) calls f(x).
ELSEWHERE = frozenset([
    "remote", "remote_gen", "spawn", "local", "map", "starmap", "for_each", "delay", "apply_async", "submit", "run",
    "fn",
])  # fmt: skip
_WITHOUT_NODES = frozenset(["ctx", "op", "ops", "id", "attr", "arg", "kind", "type_comment"])
_inside: dict[type[ast.AST], tuple[str, ...]] = {ast.Constant: ()}


def fields_of(kind: type[ast.AST]) -> tuple[str, ...]:
    """The fields of a kind of node that may hold nodes other than operators."""
    found = _inside.get(kind)
    if found is None:
        found = _inside[kind] = tuple(name for name in kind._fields if name not in _WITHOUT_NODES)
    return found


def children(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes right inside a node, in the order in which they are written, without operators and contexts."""
    for name in fields_of(node.__class__):
        value = getattr(node, name, None)
        if value.__class__ is list:
            yield from (child for child in value if isinstance(child, ast.AST))
        elif isinstance(value, ast.AST):
            yield value


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
        self.nodes: dict[type[ast.AST], list[ast.AST]] = {}  # by kind
        self.aliases: dict[str, str] = {}
        self.parents: dict[ast.AST, ast.AST] = {}
        self.scope_of: dict[ast.AST, Scope] = {}  # a function's own node stands for its inside
        self.blocks: dict[ast.AST, tuple[ast.AST, str]] = {}  # of a statement: which list of which node
        for number, script in enumerate(scripts):
            self._walk(number, script)

    def _walk(self, number: int, script: Script) -> None:
        """Outside in, so that the scope of a node is known before what is inside of it.

        A node belongs to the body of a scope if the scope's own code holds it: not what a function holds that is
        defined there, but its decorators. Defaults and annotations belong to nobody's.
        """
        module = Scope("<module>", script.tree, None, number)
        self.scopes.append(module)
        self.scope_of[script.tree] = module
        waiting: list[tuple[ast.AST, Scope | None]] = [(script.tree, module)]
        for node, body in waiting:  # grows on the way
            kind, scope = node.__class__, self.scope_of[node]
            self.nodes.setdefault(kind, []).append(node)
            for name in fields_of(kind):
                value = getattr(node, name, None)
                held = value if value.__class__ is list else (value,)
                inside = body if kind not in FUNCTIONS else _body_of(name, scope, body)
                for child in held:
                    if not isinstance(child, ast.AST):
                        continue
                    self.parents[child] = node
                    if held is value and isinstance(child, ast.stmt | ast.excepthandler):
                        self.blocks[child] = (node, name)
                    self.scope_of[child] = self._open(child, scope) if isinstance(child, FUNCTIONS) else scope
                    waiting.append((child, inside))
            if body is not None:
                self._mention(node, body)
            self._define(node)

    def _mention(self, node: ast.AST, body: Scope) -> None:
        said: object = ""
        if isinstance(node, ast.Name):
            body.mentions.add(node.id)
            said = node.id
        elif isinstance(node, ast.Attribute):
            body.mentions.add(node.attr)
        elif isinstance(node, ast.Constant):
            said = node.value
        elif isinstance(node, ast.keyword):
            said = node.arg
        elif isinstance(node, ast.Lambda) or (
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and is_registered(node)
        ):
            body.enters.append(self.scope_of[node])
        if said and not body.speaks_of_bytes and isinstance(said, str | bytes):
            text = str(said).lower()
            body.speaks_of_bytes = "bpb" in text or "byte" in text

    def _open(self, node: Function, around: Scope) -> Scope:
        owner = self.parents[node]
        class_name = owner.name if isinstance(owner, ast.ClassDef) else None
        name = node.name if not isinstance(node, ast.Lambda) else "<lambda>"
        scope = Scope(name, node, around, around.file, class_name)
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

    def _define(self, node: ast.AST) -> None:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                self._target(target, node, node.value, "assign", ())
        elif isinstance(node, ast.AnnAssign | ast.NamedExpr):
            if node.value is not None:
                self._target(node.target, node, node.value, "assign", ())
        elif isinstance(node, ast.AugAssign):
            self._augment(node)
        elif isinstance(node, ast.For | ast.AsyncFor | ast.comprehension):
            self._target(node.target, node, node.iter, "loop", ())
        elif isinstance(node, ast.With | ast.AsyncWith):
            for item in node.items:
                if item.optional_vars is not None:
                    self._target(item.optional_vars, node, item.context_expr, "assign", ())
        elif isinstance(node, ast.Return | ast.Yield) and node.value is not None:
            self.scope_of[node].returns.append(node.value)
        elif isinstance(node, ast.ImportFrom | ast.Import):
            self.aliases.update({a.asname: a.name for a in node.names if a.asname})
        elif isinstance(node, ast.Call):
            self._call(node)

    def _call(self, node: ast.Call) -> None:
        last = last_name(node.func)
        self.calls.setdefault(last, []).append(node)
        func = node.func
        if isinstance(func, ast.Attribute) and last in ELSEWHERE:
            self.calls.setdefault(last_name(func.value), []).append(node)
        if isinstance(func, ast.Attribute) and last in _MUTATORS and isinstance(func.value, ast.Name) and node.args:
            value = node.args[-1]
            self._add(self.scope_of[node], Definition(func.value.id, "mutation", node, value))
        if last == "add_argument" and node.args and isinstance(node.args[0], ast.Constant):
            default = next((keyword.value for keyword in node.keywords if keyword.arg == "default"), None)
            if default is not None:
                self.options[
                    str(node.args[-1].value if isinstance(node.args[-1], ast.Constant) else node.args[0].value)
                    .lstrip("-")
                    .replace("-", "_")
                ] = default

    def _augment(self, node: ast.AugAssign) -> None:
        target = node.target
        while isinstance(target, ast.Subscript):
            target = target.value  # type: ignore[assignment]
        if isinstance(target, ast.Name):
            self._add(self.scope_of[node], Definition(target.id, "augment", node, node.value, operator=node.op))
        elif isinstance(target, ast.Attribute) and isinstance(node.op, ast.Add):
            self.attributes.setdefault(target.attr, []).append(node.value)

    def _target(self, target: ast.expr, node: ast.AST, value: ast.expr, kind: Kind, index: tuple[int, ...]) -> None:
        if isinstance(target, ast.Starred):
            return
        if isinstance(target, ast.Tuple | ast.List):
            for position, element in enumerate(target.elts):
                self._target(element, node, value, kind, (*index, position))
            return
        if isinstance(target, ast.Name):
            owner = self.parents.get(node)
            if isinstance(owner, ast.ClassDef) and kind == "assign" and not index:
                self.attributes.setdefault(target.id, []).append(value)
                return
            self._add(self.scope_of[node], Definition(target.id, kind, node, value, index))
        elif isinstance(target, ast.Attribute):
            if not index:
                self.attributes.setdefault(target.attr, []).append(value)
        elif isinstance(target, ast.Subscript):
            base = target.value
            if isinstance(base, ast.Name):
                found = Definition(base.id, "mutation", node, value, index, key=target.slice)
                self._add(self.scope_of[node], found)


def _body_of(name: str, function: Scope, around: Scope | None) -> Scope | None:
    return function if name == "body" else around if name == "decorator_list" else None


def is_registered(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether a decorator may call the function from outside: a command, a hook, a main."""
    quiet = {"no_grad", "inference_mode", "staticmethod", "classmethod", "property", "lru_cache", "cache", "compile",
             "dataclass", "autocast", "jit", "script"}  # fmt: skip
    return any(last_name(d.func if isinstance(d, ast.Call) else d) not in quiet for d in node.decorator_list)
