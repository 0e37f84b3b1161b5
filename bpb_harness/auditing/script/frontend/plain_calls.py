"""Calls in other words, put plainly: partial(f, a)(b), run = f and run(b), {"x": f}["x"](b), f(**given) are calls of f.

A tree is changed only where the words say the same: a name that stands for something is given it once in its function,
and so are the names that it is made of.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from typing import TypeVar

from bpb_harness.auditing.script.frontend.index import nodes_within
from bpb_harness.auditing.script.frontend.scopes import last_name

_Node = TypeVar("_Node", bound=ast.AST)
# What a text has that has any of these: most functions have none, and are not looked at.
# What is written in each is looked for first, ten times as fast as the patterns.
_MAY_HAVE = {
    "partial(": re.compile(r"\bpartial\("),
    "](": re.compile(r"\]\("),
    "lambda": re.compile(r"=\s*lambda\s*:"),
    "**": re.compile(r"\*\*[a-z_]\w*\s*[,)]"),
}
_NAMED = re.compile(r"^[ \t]+([A-Za-z_]\w*) = [A-Za-z_][\w.]*[ \t]*(?:#.*)?$", re.MULTILINE)


def make_calls_plain(body: Sequence[ast.stmt], text: str) -> None:
    """Change the calls of a tree, in place.

    Args:
        body: its statements.
        text: their text.
    """
    may_have = any(written in text and pattern.search(text) for written, pattern in _MAY_HAVE.items())
    if not may_have and not any(f"{name}(" in text for name in _NAMED.findall(text)):
        return
    for statement in body:
        for function in _outermost(statement):
            nodes = nodes_within(function)
            if _has_other_words(nodes):
                _Plain(function, nodes).visit(function)


def _outermost(statement: ast.stmt) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """The functions of a statement that stand in no other one."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
        yield statement
    elif isinstance(statement, ast.ClassDef):
        for each in statement.body:
            yield from _outermost(each)


def _has_other_words(nodes: Sequence[ast.AST]) -> bool:
    """Whether any call among nodes may be one in other words: of most functions none is, and nothing is changed."""
    called, given, spread, tables = set[str](), set[str](), set[str](), set[str]()
    for node in nodes:
        kind = node.__class__  # most are neither
        if kind is not ast.Call and kind is not ast.Assign:
            continue
        if isinstance(node, ast.Call):
            func = node.func
            is_looked_up = isinstance(func, ast.Subscript) and isinstance(func.slice, ast.Constant)
            if is_looked_up or isinstance(func, ast.Lambda) or _is_partial(func):
                return True
            if isinstance(func, ast.Name):
                called.add(func.id)
            for keyword in node.keywords:
                if keyword.arg is None and isinstance(keyword.value, ast.Name):
                    spread.add(keyword.value.id)
        elif isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            if isinstance(node.value, _MEANT) or _is_partial(node.value):
                given.add(node.targets[0].id)
            elif isinstance(node.value, ast.Call | ast.Dict):
                tables.add(node.targets[0].id)
    return not (called.isdisjoint(given) and spread.isdisjoint(tables))


_MEANT = (ast.Name, ast.Attribute, ast.Lambda)  # what a name that is called may stand for, with partial(..)


class _Plain(ast.NodeTransformer):
    """Puts the calls of one function plainly, and of those within it."""

    def __init__(self, function: ast.AST, nodes: Sequence[ast.AST]) -> None:
        self._given = Counter(node.id for node in nodes if isinstance(node, ast.Name) and _is_given(node))
        self._given.update(node.arg for node in nodes if isinstance(node, ast.arg))
        self._given.update(node.name for node in nodes if isinstance(node, ast.FunctionDef) and node is not function)
        given = (
            (each.targets[0], each.value) for each in nodes if isinstance(each, ast.Assign) and len(each.targets) == 1
        )
        self._values: Mapping[str, ast.expr] = {
            target.id: value
            for target, value in given
            if isinstance(target, ast.Name) and self._given[target.id] == 1 and self._stays(value)
        }

    def _stays(self, value: ast.expr) -> bool:
        """Whether what a value is made of is given no other value."""
        return all(self._given[part.id] <= 1 for part in ast.walk(value) if isinstance(part, ast.Name))

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """A call of what it comes to."""
        self.generic_visit(node)
        func = self._meant(node.func)
        if isinstance(func, ast.Lambda) and not (node.args or node.keywords or _has_arguments(func)):
            return _copied(func.body, node)
        if isinstance(func, ast.Call) and last_name(func.func) == "partial" and func.args:
            node.func = _copied(self._meant(func.args[0]), node)
            node.args = [*(_copied(each, node) for each in func.args[1:]), *node.args]
            node.keywords = [*(_copied(each, node) for each in func.keywords), *node.keywords]
        elif func is not node.func and isinstance(func, ast.Name | ast.Attribute):
            node.func = _copied(func, node)
        node.keywords = [each for keyword in node.keywords for each in self._spread(keyword, node)]
        return node

    def _meant(self, func: ast.expr) -> ast.expr:
        """What is called under a name, or looked up in a table that is written out."""
        if isinstance(func, ast.Name):
            value = self._values.get(func.id)
            is_call = isinstance(value, _MEANT) or _is_partial(value)
            return value if value is not None and is_call else func
        if isinstance(func, ast.Subscript) and isinstance(func.slice, ast.Constant):
            table = self._values.get(func.value.id) if isinstance(func.value, ast.Name) else func.value
            for key, value in zip(table.keys, table.values, strict=True) if isinstance(table, ast.Dict) else ():
                if isinstance(key, ast.Constant) and key.value == func.slice.value and isinstance(value, ast.Name):
                    return value
        return func

    def _spread(self, keyword: ast.keyword, node: ast.Call) -> list[ast.keyword]:
        """**given, where given = dict(x=x) or {"x": x}."""
        value = keyword.value
        held = self._values.get(value.id) if keyword.arg is None and isinstance(value, ast.Name) else None
        if isinstance(held, ast.Call) and last_name(held.func) == "dict" and not held.args:
            return [_copied(each, node) for each in held.keywords]
        if not isinstance(held, ast.Dict) or not all(
            isinstance(key, ast.Constant) and isinstance(key.value, str) for key in held.keys
        ):
            return [keyword]
        pairs = zip(held.keys, held.values, strict=True)
        return [
            ast.copy_location(ast.keyword(str(key.value), _copied(each, node)), node)
            for key, each in pairs
            if isinstance(key, ast.Constant)
        ]


def _is_given(name: ast.Name) -> bool:
    return isinstance(name.ctx, ast.Store | ast.Del)


def _is_partial(value: ast.expr | None) -> bool:
    return isinstance(value, ast.Call) and last_name(value.func) == "partial"


def _has_arguments(function: ast.Lambda) -> bool:
    given = function.args
    return bool(given.args or given.posonlyargs or given.kwonlyargs or given.vararg or given.kwarg)


def _copied(node: _Node, at: ast.AST) -> _Node:
    """A node once more, where another one stands."""
    again = deepcopy(node)
    for part in ast.walk(again):
        if hasattr(part, "lineno"):
            ast.copy_location(part, at)
    return again
