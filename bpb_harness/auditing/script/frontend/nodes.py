"""Questions about a node of a tree that many checks ask: where it stands, what it names, gives, and is given."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from bpb_harness.auditing.script.frontend.scopes import last_name


def position(node: ast.AST) -> tuple[int, int]:
    """Where a node begins: line and column."""
    return int(getattr(node, "lineno", 0)), int(getattr(node, "col_offset", 0))


def end_of(node: ast.AST) -> tuple[int, int]:
    """Where a node ends: line and column."""
    return int(getattr(node, "end_lineno", 0) or 0), int(getattr(node, "end_col_offset", 0) or 0)


def names_in(*nodes: ast.AST | None) -> set[str]:
    """The names that nodes speak of, if any."""
    return {part.id for node in nodes if node for part in ast.walk(node) if isinstance(part, ast.Name)}


def stored_in(statement: ast.AST) -> set[str]:
    """The names that a statement gives their values."""
    return {part.id for part in ast.walk(statement) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)}


def keyword(call: ast.Call, *names: str) -> ast.expr | None:
    """What a call is given by name."""
    return next((each.value for each in call.keywords if each.arg in names), None)


def arguments(call: ast.Call) -> list[ast.expr]:
    """All that a call is given."""
    return [*call.args, *(each.value for each in call.keywords)]


def all_of(test: ast.expr) -> list[ast.expr]:
    """The tests that have to hold where one does: a and b."""
    return test.values if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And) else [test]


def is_none(node: ast.AST | None) -> bool:
    """Whether it is None, written out."""
    return isinstance(node, ast.Constant) and node.value is None


def is_zero(node: ast.AST | None) -> bool:
    """Whether it is the number 0, written out."""
    return isinstance(node, ast.Constant) and node.value == 0 and not isinstance(node.value, bool)


def elements(node: ast.expr) -> list[ast.expr]:
    """What a tuple or list holds that is written out; of anything else the node itself."""
    return node.elts if isinstance(node, ast.Tuple | ast.List) else [node]


def calls_in(node: ast.AST) -> Iterator[ast.Call]:
    """The calls inside a node."""
    return (part for part in ast.walk(node) if isinstance(part, ast.Call))


def num_rounds(loop: ast.AST) -> ast.expr | None:
    """The number n of a loop over range(n)."""
    ranged = loop.iter if isinstance(loop, ast.For) else None
    is_range = isinstance(ranged, ast.Call) and last_name(ranged.func) == "range" and len(ranged.args) == 1
    return ranged.args[0] if is_range and isinstance(ranged, ast.Call) else None


def new_function(name: str, parameters: Sequence[str], body: list[ast.stmt]) -> ast.FunctionDef:
    """A function of plain parameters that was not parsed, with all fields that a parsed one has in this Python."""
    taken = ast.arguments([], [ast.arg(parameter) for parameter in parameters], None, [], [], None, [])
    function = ast.FunctionDef(name, taken, body, [], None)
    if "type_params" in function._fields:  # since Python 3.12, which sets it by itself from 3.13 on
        function.type_params = []  # type: ignore[attr-defined,unused-ignore]
    return function
