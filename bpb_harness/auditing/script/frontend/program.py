"""The scripts of a submission as one program: scopes, definitions, and which definition a name refers to.

Everything is read from the syntax tree. The resolution is flow-sensitive where that is cheap (a later
assignment in the same block hides an earlier one) and errs on the side of more candidates elsewhere.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["assign", "augment", "loop", "parameter", "mutation"]
Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
MAX_WORK = 400_000  # ten times what the scripts of fixtures/scripts take at most
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_LOOPS = (ast.For, ast.AsyncFor, ast.While)
_MUTATORS = frozenset([
    "append", "extend", "add", "add_", "sub_", "mul_", "div_", "copy_", "index_add_", "scatter_add_", "update", "write",
    "fill_", "masked_fill_", "insert",
])  # fmt: skip
# What frameworks that run functions elsewhere hang onto a function: f.remote(x) calls f(x).
_ELSEWHERE = frozenset([
    "remote", "remote_gen", "spawn", "local", "map", "starmap", "for_each", "delay", "apply_async", "submit", "run",
    "fn",
])  # fmt: skip
# Names that tensors and modules have themselves; only `self.sum()` can mean a method of the script.
_TENSOR_METHODS = frozenset([
    "sum", "mean", "to", "float", "double", "item", "cpu", "cuda", "view", "reshape", "log", "exp", "sqrt", "clamp",
    "expand", "gather", "eval", "train", "append", "forward", "parameters", "state_dict", "get", "size", "numel",
    "encode", "decode", "backward", "step", "zero_grad", "format", "join", "write", "items", "keys", "values", "split",
    "read", "max", "min", "abs", "pow", "add", "mul", "div", "flatten", "squeeze", "unsqueeze", "type", "detach",
    "clone", "copy", "update",
])  # fmt: skip


@dataclass(frozen=True, eq=False)
class Definition:
    """One way in which a name gets its value.

    Attributes:
        name: the name.
        kind: assign (=), augment (+= and its kin), loop (for, comprehension), parameter, or mutation (x[i] = v,
            x.append(v)).
        statement: the node that does it; positions and blocks are taken from it.
        value: the expression assigned, added, iterated over; None for a parameter without a default.
        index: which element of a tuple is meant, outermost first.
        operator: of an augmented assignment.
        key: the index expression of a mutation `x[key] = value`.
    """

    name: str
    kind: Kind
    statement: ast.AST
    value: ast.expr | None
    index: tuple[int, ...] = ()
    operator: ast.operator | None = None
    key: ast.expr | None = None

    @property
    def part(self) -> ast.expr | None:
        """The element of a literal tuple that an unpacking assigns; the whole value where it is none."""
        value = self.value
        for position in self.index:
            if not isinstance(value, ast.Tuple | ast.List) or position >= len(value.elts):
                break
            value = value.elts[position]
        return value


@dataclass(eq=False)
class Scope:
    """A module, function or lambda with its definitions and return values."""

    name: str
    node: ast.Module | Function
    parent: Scope | None
    file: int
    owner: str | None = None  # the class, for a method
    parameters: list[str] = field(default_factory=list)
    definitions: dict[str, list[Definition]] = field(default_factory=dict)
    returns: list[ast.expr] = field(default_factory=list)

    @property
    def is_method(self) -> bool:
        """Whether the first parameter is the instance."""
        return self.owner is not None and bool(self.parameters) and self.parameters[0] in ("self", "cls")


@dataclass(frozen=True)
class Script:
    """One parsed file."""

    path: str
    text: str
    tree: ast.Module
    layers: int = 0

    def line(self, node: ast.AST) -> str:
        """The source line of a node, trimmed to what fits in a report."""
        number = getattr(node, "lineno", 0)
        lines = self.text.split("\n")
        text = lines[number - 1].strip() if 0 < number <= len(lines) else ""
        return text if len(text) <= 160 else text[:157] + "..."


class Program:
    """All scripts of a submission, indexed.

    Args:
        scripts: parsed files; a function that one imports from another is found by its name.
    """

    def __init__(self, scripts: Sequence[Script]) -> None:
        self.scripts = list(scripts)
        self.functions: dict[str, list[Scope]] = {}
        self.classes: dict[str, dict[str, Scope]] = {}
        self.attributes: dict[str, list[ast.expr]] = {}  # self.x = value, class X: x: int = value
        self.properties: dict[str, list[Scope]] = {}
        self.options: dict[str, ast.expr] = {}  # add_argument("--x", default=value)
        self.calls: dict[str, list[ast.Call]] = {}  # by the last part of the callee's name
        self.scopes: list[Scope] = []
        self.work_left = MAX_WORK  # expressions that may still be looked at: hostile scripts come to an end
        self._parts: dict[ast.AST, tuple[ast.AST, ...]] = {}
        self._own_nodes: dict[int, tuple[ast.AST, ...]] = {}
        self._parent: dict[int, ast.AST] = {}
        self._scope: dict[int, Scope] = {}
        self._block: dict[int, tuple[int, str]] = {}
        self._aliases: dict[str, str] = {}
        for number, script in enumerate(self.scripts):
            self._index(number, script)
        self._reached: dict[ast.Name, list[Definition]] = {}  # the same names are asked for again and again

    # -- construction ---------------------------------------------------------------------------

    def _index(self, number: int, script: Script) -> None:
        for node in ast.walk(script.tree):
            for name, value in ast.iter_fields(node):
                for child in value if isinstance(value, list) else (value,):
                    if isinstance(child, ast.AST) and not isinstance(child, ast.expr_context | ast.operator):
                        self._parent[id(child)] = node
                        if isinstance(child, ast.stmt | ast.excepthandler) and isinstance(value, list):
                            self._block[id(child)] = (id(node), name)
        module = Scope("<module>", script.tree, None, number)
        self._scope[id(script.tree)] = module
        self.scopes.append(module)
        # ast.walk goes outside in, so the scope of a parent exists before that of its child.
        for node in ast.walk(script.tree):
            if isinstance(node, _FUNCTIONS):
                self._open(node, number)
        for node in ast.walk(script.tree):
            self._define(node)

    def _open(self, node: Function, number: int) -> None:
        owner = self._parent.get(id(node))
        class_name = owner.name if isinstance(owner, ast.ClassDef) else None
        name = node.name if not isinstance(node, ast.Lambda) else "<lambda>"
        above = self.parent(node)
        scope = Scope(name, node, self.scope(above) if above else None, number, class_name)
        self._scope[id(node)] = scope
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
            self.scope(node).returns.append(node.value)
        elif isinstance(node, ast.ImportFrom | ast.Import):
            self._aliases.update({a.asname: a.name for a in node.names if a.asname})
        elif isinstance(node, ast.Call):
            self._call(node)

    def _call(self, node: ast.Call) -> None:
        last = last_name(node.func)
        self.calls.setdefault(last, []).append(node)
        func = node.func
        if isinstance(func, ast.Attribute) and last in _ELSEWHERE:
            self.calls.setdefault(last_name(func.value), []).append(node)
        if isinstance(func, ast.Attribute) and last in _MUTATORS and isinstance(func.value, ast.Name) and node.args:
            value = node.args[-1]
            self._add(self.scope(node), Definition(func.value.id, "mutation", node, value))
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
            self._add(self.scope(node), Definition(target.id, "augment", node, node.value, operator=node.op))
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
            owner = self.parent(node)
            if isinstance(owner, ast.ClassDef) and kind == "assign" and not index:
                self.attributes.setdefault(target.id, []).append(value)
                return
            self._add(self.scope(node), Definition(target.id, kind, node, value, index))
        elif isinstance(target, ast.Attribute):
            if not index:
                self.attributes.setdefault(target.attr, []).append(value)
        elif isinstance(target, ast.Subscript):
            base = target.value
            if isinstance(base, ast.Name):
                found = Definition(base.id, "mutation", node, value, index, key=target.slice)
                self._add(self.scope(node), found)

    def spend(self, work: int = 1) -> bool:
        """Count work against the program's bound; False once it is used up."""
        self.work_left -= work
        return self.work_left > 0

    # -- questions --------------------------------------------------------------------------------

    def parts(self, node: ast.AST) -> tuple[ast.AST, ...]:
        """The expressions right inside a node, with generators and keywords; worked out once."""
        found = self._parts.get(node)
        if found is None:
            inside = ast.iter_child_nodes(node)
            found = tuple(each for each in inside if isinstance(each, ast.expr | ast.comprehension | ast.keyword))
            self._parts[node] = found
        return found

    def parent(self, node: ast.AST) -> ast.AST | None:
        """The node that holds this one."""
        return self._parent.get(id(node))

    def ancestors(self, node: ast.AST) -> Iterator[ast.AST]:
        """The nodes that hold this one, innermost first."""
        above = self.parent(node)
        while above is not None:
            yield above
            above = self.parent(above)

    def scope(self, node: ast.AST) -> Scope:
        """The scope in which a node stands; a function's own node stands for its inside."""
        here: ast.AST | None = node
        while here is not None:
            found = self._scope.get(id(here))
            if found is not None:
                return found
            here = self.parent(here)
        raise AssertionError("a node outside the program")

    def script(self, node: ast.AST) -> Script:
        """The file of a node."""
        return self.scripts[self.scope(node).file]

    def _blocks(self, node: ast.AST) -> list[tuple[int, str]]:
        """The blocks that hold a node within its scope, innermost first."""
        blocks = []
        here: ast.AST | None = node
        while here is not None:
            block = self._block.get(id(here))
            if block is not None:
                blocks.append(block)
            here = self.parent(here)
            if isinstance(here, (*_FUNCTIONS, ast.Module)):
                break
        return blocks

    def _loops(self, node: ast.AST) -> set[int]:
        loops = set()
        for above in self.ancestors(node):
            if isinstance(above, _FUNCTIONS):
                break
            if isinstance(above, _LOOPS):
                loops.add(id(above))
        return loops

    def reaching(self, use: ast.Name) -> list[Definition]:
        """The definitions that a use of a name may refer to, the nearest first."""
        if use not in self._reached:
            self._reached[use] = self._find_reaching(use)
        return list(self._reached[use])

    def _find_reaching(self, use: ast.Name) -> list[Definition]:
        for above in self.ancestors(use):
            if isinstance(above, ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp):
                for generator in above.generators:
                    found = [d for d in self.scope(above).definitions.get(use.id, []) if d.statement is generator]
                    if found:
                        return found
            if isinstance(above, ast.stmt):
                break
        scope: Scope | None = self.scope(use)
        local = True
        while scope is not None:
            definitions = [
                d for d in scope.definitions.get(use.id, []) if not isinstance(d.statement, ast.comprehension)
            ]
            if definitions:
                return self._nearest(use, definitions) if local else definitions
            scope, local = scope.parent, False
        return []

    def carried(self, use: ast.Name, definitions: Sequence[Definition]) -> tuple[ast.For, Definition] | None:
        """The loop and the assignment that hand a name's value on from one round to the next; None where none does.

        The assignment stands in the loop's own body, after the use, so that every round makes it once.
        """
        loops = self._loops(use)
        for definition in definitions:
            statement = definition.statement
            if definition.kind != "assign" or not isinstance(statement, ast.stmt):
                continue
            loop = self.parent(statement)
            later = _position(statement) >= (use.lineno, use.col_offset) or statement is self._statement(use)
            if isinstance(loop, ast.For) and id(loop) in loops and later and statement in loop.body:
                return loop, definition
        return None

    def _nearest(self, use: ast.Name, definitions: list[Definition]) -> list[Definition]:
        statement = self._statement(use)
        blocks = set(self._blocks(use))
        loops = self._loops(use)
        line = (use.lineno, use.col_offset)
        before, after = [], []
        for definition in definitions:
            same = definition.statement is statement and definition.kind not in ("parameter", "loop")
            if not same and _position(definition.statement) < line:
                before.append(definition)
            elif loops & self._loops(definition.statement):
                after.append(definition)  # carried round the loop
        before.sort(key=lambda d: _position(d.statement), reverse=True)
        kept: list[Definition] = []
        for definition in before:
            kept.append(definition)
            own = self._block.get(id(definition.statement))
            whole = definition.kind in ("assign", "loop") and (own is None or own in blocks)
            if definition.kind == "loop" and isinstance(definition.statement, _LOOPS):
                whole = id(definition.statement) in loops
            if whole:
                hidden = self._loops(definition.statement)
                # Inside a loop that both share, the assignment hides what an earlier round left.
                return kept + [d for d in after if not (loops & self._loops(d.statement)) <= hidden]
        return kept + after

    def _statement(self, node: ast.AST) -> ast.AST:
        here: ast.AST = node
        while not isinstance(here, ast.stmt):
            above = self.parent(here)
            if above is None:
                return here
            here = above
        return here

    def callee(self, call: ast.Call) -> Scope | None:
        """The function of the program that a call means; None for library calls and ambiguous names."""
        func = call.func
        if isinstance(func, ast.Name):
            name = self._aliases.get(func.id, func.id)
            found = self.functions.get(name)
            if found:
                same = [scope for scope in found if scope.file == self.scope(call).file]
                return (same or found)[-1]
            if func.id in self.classes:
                return None
            return self._forward(func)
        if isinstance(func, ast.Attribute):
            on_self = isinstance(func.value, ast.Name) and func.value.id == "self"
            elsewhere = self._called_elsewhere(func)
            if elsewhere is not None:
                return elsewhere
            if func.attr in _TENSOR_METHODS and not on_self:
                return (
                    self._forward(func.value) if func.attr == "forward" and isinstance(func.value, ast.Name) else None
                )
            if on_self:
                owner = self._owner(call)
                if owner is not None and func.attr in self.classes.get(owner, {}):
                    return self.classes[owner][func.attr]
            methods = [methods[func.attr] for methods in self.classes.values() if func.attr in methods]
            if len(methods) == 1:
                return methods[0]
            if not methods:
                plain = self.functions.get(func.attr, [])
                if len(plain) == 1:
                    return plain[0]
                return self._called_attribute(func.attr)
        return None

    def _called_elsewhere(self, func: ast.Attribute) -> Scope | None:
        """The function f of f.remote(..), Class().method.remote(..); None where the name is no function's."""
        if func.attr not in _ELSEWHERE:
            return None
        name = last_name(func.value)
        if isinstance(func.value, ast.Name) and self.reaching(func.value):
            return None  # a variable of that name
        found = self.functions.get(self._aliases.get(name, name), [])
        if isinstance(func.value, ast.Attribute) and not found:
            found = [methods[name] for methods in self.classes.values() if name in methods]
        return found[-1] if found else None

    def values_of(self, node: ast.Attribute) -> list[ast.expr]:
        """What an attribute is set to: by its own class for self.x, by the command line for args.x, else anywhere."""
        values = self.attributes.get(node.attr, [])
        if isinstance(node.value, ast.Name) and node.value.id == "self":
            owner = self._owner(node)
            own = [value for value in values if self._owner(value) == owner]
            return own or values
        if node.attr in self.options:
            return [self.options[node.attr]]
        # Class-level fields are settings; what an __init__ stores is usually handed over from them.
        fields = [value for value in values if self._is_field(value)]
        return fields or values

    def _is_field(self, value: ast.expr) -> bool:
        above = self.parent(value)
        return above is not None and isinstance(self.parent(above), ast.ClassDef)

    def _owner(self, node: ast.AST) -> str | None:
        for above in self.ancestors(node):
            if isinstance(above, ast.ClassDef):
                return above.name
        return None

    def _called_attribute(self, name: str) -> Scope | None:
        """self.noise(t) where self.noise = LogLinearNoise(..) was set."""
        for value in self.attributes.get(name, []):
            found = self._class_in(value)
            if found is not None:
                return found
        return None

    def _forward(self, func: ast.Name, depth: int = 0) -> Scope | None:
        """model(x) where model = Model(..), perhaps wrapped, perhaps passed as an argument."""
        if depth > 4:
            return None
        for definition in self.reaching(func):
            if definition.kind == "parameter":
                for argument in self.arguments(self.scope(definition.statement), func.id):
                    found = (
                        self._forward(argument, depth + 1)
                        if isinstance(argument, ast.Name)
                        else self._class_in(argument)
                    )
                    if found is not None:
                        return found
            if definition.value is None or definition.kind != "assign":
                continue
            found = self._class_in(definition.value)
            if found is not None:
                return found
            for part in ast.walk(definition.value):
                if isinstance(part, ast.Name) and part.id != func.id:
                    found = self._forward(part, depth + 1)
                    if found is not None:
                        return found
        return None

    def _class_in(self, value: ast.expr) -> Scope | None:
        for part in ast.walk(value):
            if isinstance(part, ast.Call) and isinstance(part.func, ast.Name) and part.func.id in self.classes:
                methods = self.classes[part.func.id]
                return methods.get("forward") or methods.get("__call__")
        return None

    def arguments(self, scope: Scope, parameter: str) -> list[ast.expr]:
        """What the calls of a function in the program hand over for a parameter."""
        found = []
        name = scope.owner if scope.name == "__init__" and scope.owner else scope.name
        for call in self.calls.get(name, []):
            if scope.name == "__init__" or self.callee(call) is scope:
                value = self.bind(scope, call).get(parameter)
                if value is not None:
                    found.append(value)
        return found

    def bind(self, scope: Scope, call: ast.Call) -> Mapping[str, ast.expr]:
        """The arguments of a call by parameter name."""
        names = scope.parameters[1:] if scope.is_method else scope.parameters
        bound: dict[str, ast.expr] = {}
        for name, value in zip(names, call.args, strict=False):
            if isinstance(value, ast.Starred):
                break
            bound[name] = value
        bound.update({keyword.arg: keyword.value for keyword in call.keywords if keyword.arg in scope.parameters})
        return bound

    def reachable(self) -> set[int]:
        """The ids of the scopes that running the files can enter.

        A file without an entry point is a library: all that it holds counts.
        """
        started = [scope for scope in self.scopes if isinstance(scope.node, ast.Module)]
        if not any(self._enters(scope) for scope in started):
            return {id(scope) for scope in self.scopes}
        seen: set[int] = set()
        by_name: dict[str, list[Scope]] = {}
        for scope in self.scopes:
            for name in {scope.name, *([scope.owner] if scope.owner else [])}:
                by_name.setdefault(name, []).append(scope)
        while started:
            scope = started.pop()
            if id(scope) in seen:
                continue
            seen.add(id(scope))
            for node in self.own_nodes(scope):
                name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
                name = self._aliases.get(name, name)
                started.extend(by_name.get(name, []))
                if isinstance(node, ast.Lambda):
                    started.append(self._scope[id(node)])
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _is_registered(node):
                    started.append(self._scope[id(node)])
        return seen

    def _enters(self, module: Scope) -> bool:
        for node in self.own_nodes(module):
            if isinstance(node, ast.Call) and (
                last_name(node.func) in self.functions or last_name(node.func) in self.classes
            ):
                return True
            if isinstance(node, ast.For | ast.While):
                return True
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _is_registered(node):
                return True
        return False

    def own_nodes(self, scope: Scope) -> Sequence[ast.AST]:
        """The nodes of a scope without the insides of the functions that it defines; worked out once."""
        found = self._own_nodes.get(id(scope))
        if found is None:
            found = self._own_nodes[id(scope)] = tuple(self._find_own_nodes(scope))
        return found

    @staticmethod
    def _find_own_nodes(scope: Scope) -> Iterator[ast.AST]:
        body = [scope.node.body] if isinstance(scope.node, ast.Lambda) else list(scope.node.body)
        stack: list[ast.AST] = list(reversed(body))
        while stack:
            node = stack.pop()
            yield node
            if isinstance(node, _FUNCTIONS) and not isinstance(node, ast.Lambda):
                stack.extend(node.decorator_list)
                continue
            if not isinstance(node, ast.Lambda):
                stack.extend(reversed(list(ast.iter_child_nodes(node))))


def _is_registered(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether a decorator may call the function from outside: a command, a hook, a main."""
    quiet = {"no_grad", "inference_mode", "staticmethod", "classmethod", "property", "lru_cache", "cache", "compile",
             "dataclass", "autocast", "jit", "script"}  # fmt: skip
    return any(last_name(d.func if isinstance(d, ast.Call) else d) not in quiet for d in node.decorator_list)


def _position(node: ast.AST) -> tuple[int, int]:
    return (getattr(node, "lineno", 0), getattr(node, "col_offset", 0))


def last_name(node: ast.expr) -> str:
    """The last part of a dotted name: sum of torch.sum and of x.sum."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def dotted(node: ast.expr) -> str:
    """A dotted name as written; empty where it is none."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        base = dotted(node.value)
        return f"{base}.{node.attr}" if base else ""
    return ""
