"""The byte-table function of a script, cut out with the constants and helpers that it needs and nothing else."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from bpb_harness.auditing.script.domains.pieces import PIECE_CALLS
from bpb_harness.auditing.script.frontend.nodes import arguments
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import Scope, Script, dotted, last_name

Role = Literal["processor", "path", "size", "device", "token", "previous", "default"]
_MODULES = frozenset(["numpy", "torch", "sentencepiece", "math", "typing", "functools", "collections", "__future__"])
_PROCESSORS = frozenset(["SentencePieceProcessor", "Load", "load"])


@dataclass(frozen=True)
class TableFunction:
    """A function that can be run alone.

    Attributes:
        name: its name.
        code: Python source of the function, the helpers that it calls, the constants and imports that they use.
        roles: for each positional parameter, what is to be handed over.
        processors: global names that stand for the tokenizer.
        script: the file it comes from.
        line: where it stands.
    """

    name: str
    code: str
    roles: tuple[Role, ...]
    processors: tuple[str, ...]
    script: str
    line: int

    @property
    def is_per_token(self) -> bool:
        """Whether it counts one token (after another), and does not build a table."""
        return "token" in self.roles


def find_table_functions(scripts: list[Script]) -> tuple[list[TableFunction], list[str]]:
    """The functions that look at pieces and can be cut out, and why others cannot."""
    program = Program(scripts)
    found: list[TableFunction] = []
    reasons: list[str] = []
    seen: set[int] = set()
    for name in sorted(PIECE_CALLS):
        for call in program.calls.get(name, []):
            scope = program.scope(call)
            while isinstance(scope.node, ast.Lambda) and scope.parent is not None:
                scope = scope.parent
            if id(scope) in seen:
                continue
            seen.add(id(scope))
            try:
                found.append(_cut_out(program, scope))
            except _NotAloneError as error:
                reasons.append(str(error))
    return found, reasons


class _NotAloneError(Exception):
    """The function needs more than can be given to it; the message says what."""


def _cut_out(program: Program, scope: Scope) -> TableFunction:
    node = scope.node
    if not isinstance(node, ast.FunctionDef) or scope.parent is None or scope.owner is not None:
        raise _NotAloneError(f"the byte table of {program.scripts[scope.file].path} is not built by a plain function")
    if not isinstance(scope.parent.node, ast.Module):
        raise _NotAloneError(f"{scope.name} is defined inside another function")
    functions, statements, processors = _closure(program, scope)
    roles = tuple(_role(scope, parameter) for parameter in scope.parameters)
    pieces = [*statements, *(_bare(function) for function in functions)]
    code = ast.unparse(ast.fix_missing_locations(ast.Module(body=pieces, type_ignores=[])))
    script = program.scripts[scope.file]
    return TableFunction(scope.name, code, roles, tuple(sorted(processors)), script.path, node.lineno)


def _closure(program: Program, scope: Scope) -> tuple[list[ast.FunctionDef], list[ast.stmt], set[str]]:
    """The function and its helpers, the constants and imports they use, and the names that mean the tokenizer."""
    module = scope
    while module.parent is not None:
        module = module.parent
    assert isinstance(module.node, ast.Module)
    functions: list[ast.FunctionDef] = []
    statements: list[ast.stmt] = []
    processors: set[str] = set()
    waiting = [scope]
    done: set[str] = set()
    while waiting:
        current = waiting.pop()
        assert isinstance(current.node, ast.FunctionDef)
        functions.append(current.node)
        for name in sorted(_free_names(current)):
            if name in done:
                continue
            done.add(name)
            helper = next((s for s in program.functions.get(name, []) if s.parent is module), None)
            if helper is not None and isinstance(helper.node, ast.FunctionDef):
                if helper is not scope:
                    waiting.append(helper)
                continue
            if _is_processor(current, name):
                processors.add(name)
                continue
            statement = _module_statement(module.node, name)
            if statement is None:
                raise _NotAloneError(f"{scope.name} needs {name}, which is no constant of the script")
            if statement not in statements:
                statements.append(statement)
    return functions, statements, processors


def _free_names(scope: Scope) -> set[str]:
    inside = set(scope.definitions)
    free = set()
    node = scope.node
    assert isinstance(node, ast.FunctionDef)
    for statement in node.body:
        for part in ast.walk(statement):
            if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
                inside.add(part.id)
            elif isinstance(part, ast.arg):
                inside.add(part.arg)
            elif isinstance(part, ast.alias):
                inside.add((part.asname or part.name).split(".")[0])
    roots: list[ast.AST] = [*node.body, *node.args.defaults]
    for root in roots:
        for part in ast.walk(root):
            if isinstance(part, ast.Name) and part.id not in inside and not hasattr(builtins, part.id):
                free.add(part.id)
    return free


def _is_processor(scope: Scope, name: str) -> bool:
    return any(
        isinstance(part, ast.Call)
        and last_name(part.func) in PIECE_CALLS
        and isinstance(part.func, ast.Attribute)
        and dotted(part.func.value) == name
        for part in ast.walk(scope.node)
    )


def _module_statement(module: ast.Module, name: str) -> ast.stmt | None:
    """The import or literal assignment that gives a module-level name its value."""
    for statement in module.body:
        if isinstance(statement, ast.Import):
            for alias in statement.names:
                if (alias.asname or alias.name.split(".")[0]) == name and alias.name.split(".")[0] in _MODULES:
                    return ast.Import([alias])
        elif isinstance(statement, ast.ImportFrom):
            for alias in statement.names:
                if (alias.asname or alias.name) == name and (statement.module or "").split(".")[0] in _MODULES:
                    return ast.ImportFrom(statement.module, [alias], 0)
        elif isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            target = statement.targets[0]
            if isinstance(target, ast.Name) and target.id == name and _is_literal(statement.value):
                return statement
    return None


def _is_literal(node: ast.expr) -> bool:
    allowed = (ast.Constant, ast.Tuple, ast.List, ast.Set, ast.Dict, ast.UnaryOp, ast.USub, ast.Load, ast.BinOp,
               ast.Add, ast.Sub, ast.Mult)  # fmt: skip
    return all(isinstance(part, allowed) for part in ast.walk(node))


def _bare(node: ast.FunctionDef) -> ast.FunctionDef:
    """The function without decorators and annotations, which are not needed and may name anything."""
    copy = ast.parse(ast.unparse(node)).body[0]
    assert isinstance(copy, ast.FunctionDef)
    copy.decorator_list, copy.returns = [], None
    for part in ast.walk(copy):
        if isinstance(part, ast.arg):
            part.annotation = None
    for part in ast.walk(copy):
        for _, value in ast.iter_fields(part):
            if isinstance(value, list):
                value[:] = [_without_annotation(item) for item in value]
    return copy


def _without_annotation(node: object) -> object:
    if isinstance(node, ast.AnnAssign):
        if node.value is None:
            return ast.Pass()
        return ast.copy_location(ast.Assign([node.target], node.value), node)
    return node


def _role(scope: Scope, parameter: str) -> Role:
    """What a parameter stands for, by how the function uses it."""
    node = scope.node
    assert isinstance(node, ast.FunctionDef)
    if _is_processor(scope, parameter):
        return "processor"
    for part in ast.walk(node):
        if isinstance(part, ast.Call) and last_name(part.func) in _PROCESSORS:
            handed = arguments(part)
            if any(isinstance(inner, ast.Name) and inner.id == parameter for one in handed for inner in ast.walk(one)):
                return "path"
        if isinstance(part, ast.keyword) and part.arg == "device" and dotted(part.value) == parameter:
            return "device"
        if isinstance(part, ast.Call) and last_name(part.func) == "to" and parameter in map(dotted, part.args):
            return "device"
    asked = set(_asked(node))
    if parameter in asked:
        return "token"
    annotation = next((a.annotation for a in node.args.args if a.arg == parameter), None)
    if annotation is not None and "device" in ast.unparse(annotation):
        return "device"
    if asked and any(name in asked for name in scope.parameters):
        return "previous"
    defaults = {d.name for d in scope.definitions.get(parameter, []) if d.kind == "parameter" and d.value is not None}
    return "default" if parameter in defaults else "size"


def _asked(node: ast.AST) -> Iterator[str]:
    """Names handed to the tokenizer as an id."""
    for part in ast.walk(node):
        if isinstance(part, ast.Call) and last_name(part.func) in PIECE_CALLS and part.args:
            first = part.args[0]
            yield from [first.id] if isinstance(first, ast.Name) else []
