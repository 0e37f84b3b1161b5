"""What names of a program mean: scopes, and the definitions in them."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

Kind = Literal["assign", "augment", "loop", "parameter", "mutation"]
Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


@dataclass(eq=False, slots=True)
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
    """A module, function or lambda.

    Attributes:
        name: the function's, or <module>, <lambda>.
        node: where it stands.
        parent: the scope around it.
        file: the number of its script.
        owner: the class, for a method.
        parameters: their names.
        definitions: by name, outside in.
        returns: what it returns or yields.
        mentions: the names and attributes in its body.
        enters: the lambdas in its body, and the functions that a decorator may call, by node: scopes that hold each
            other would outlive an audit, and their trees with them.
        labels: the texts, the keywords and the formatted names in its body that say byte or bpb.
    """

    name: str
    node: ast.Module | Function
    parent: Scope | None
    file: int
    owner: str | None = None
    parameters: list[str] = field(default_factory=list)
    definitions: dict[str, list[Definition]] = field(default_factory=dict)
    returns: list[ast.expr] = field(default_factory=list)
    mentions: set[str] = field(default_factory=set)
    enters: list[Function] = field(default_factory=list)
    labels: list[ast.AST] = field(default_factory=list)

    @property
    def is_method(self) -> bool:
        """Whether the first parameter is the instance."""
        return self.owner is not None and bool(self.parameters) and self.parameters[0] in ("self", "cls")


@dataclass(frozen=True)
class Script:
    """One parsed file.

    Attributes:
        path: where it lies.
        text: what was parsed.
        tree: its tree.
        layers: how many self-extracting layers were undone.
        lease: what holds the parts of the tree that other programs use after this one.
    """

    path: str
    text: str
    tree: ast.Module
    layers: int = 0
    lease: object = None

    def line(self, node: ast.AST) -> str:
        """The source line of a node, trimmed to what fits in a report."""
        return self.line_at(getattr(node, "lineno", 0))

    @cached_property
    def _lines(self) -> list[str]:
        return self.text.split("\n")

    def line_at(self, number: int) -> str:
        """A source line by its number, trimmed to what fits in a report; nothing where there is no such line."""
        text = self._lines[number - 1].strip() if 0 < number <= len(self._lines) else ""
        return text if len(text) <= 160 else text[:157] + "..."


def last_name(node: ast.expr) -> str:
    """The last part of a dotted name: sum of torch.sum and of x.sum."""
    kind = node.__class__  # asked a million times for a hundred scripts
    if kind is _ATTRIBUTE:
        return node.attr  # type: ignore[attr-defined,no-any-return]
    return node.id if kind is _NAME else ""  # type: ignore[attr-defined]


_ATTRIBUTE, _NAME = ast.Attribute, ast.Name


def dotted(node: ast.expr) -> str:
    """A dotted name as written; empty where it is none."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        base = dotted(node.value)
        return f"{base}.{node.attr}" if base else ""
    return ""
