"""What else a score is divided by, beside what was taken for its bytes: whether that may be the bytes of the text.

A share of each token (``losses / lengths``), a rate of each chunk or a plain number may stand on the way to a score
that is then divided by bytes that nobody can look into: a file's size, an argument, an entry of a table that was read.
"""

from __future__ import annotations

import ast
import re
from typing import ClassVar

from bpb_harness.auditing.script.domains.cancel import Factor
from bpb_harness.auditing.script.domains.changed import Change
from bpb_harness.auditing.script.domains.values import IDENTITY, Evaluator
from bpb_harness.auditing.script.frontend.index import nodes_within
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import last_name
from bpb_harness.auditing.script.frontend.walker import Frame, Path, Walker, operands

_FEWEST_BYTES = 1e7  # of a text whose bytes are written out as a number
_NAMES_BYTES = re.compile(r"byte|utf8|uint8|(?:^|_)chars?(?:_|$)|official", re.IGNORECASE)
_SPELLING = frozenset(["encode", "join", "bytes", "bytearray", "read", "read_bytes", "read_text", "decode", "tobytes"])
_COUNTING = frozenset([
    "numel", "nelement", "size", "dim", "count_nonzero", "get_world_size", "device_count", "ones", "ones_like", "range",
    "arange",
])  # fmt: skip
_PASSING = IDENTITY | {"int", "float", "round", "max", "min", "maximum", "minimum", "clamp", "clamp_min", "sum", "abs"}
_SIZES = frozenset(["shape", "size", "ndim", "nelement"])


def is_share(change: Change) -> bool:
    """Whether a divisor is one of each token, for nothing in it was added up."""
    return not any(factor.sums for factor in change.factors)


def may_be_bytes(program: Program, divisor: Change) -> bool:
    """Whether a divisor may be the bytes of the text: it is no small number, and no count of tokens or batches."""
    return not all(is_plain(program, factor) for factor in divisor.factors)


def is_plain(program: Program, factor: Factor) -> bool:
    """Whether a factor is a small number, a noise level, or a count of tokens, windows or batches."""
    return not names_bytes(factor.node) and _TokenCounts(program).visit(factor.node, factor.frame)


def names_bytes(node: ast.AST) -> bool:
    """Whether a name in an expression says that it is of bytes."""
    names = (part for part in nodes_within(node) if isinstance(part, ast.Name | ast.Attribute))
    return any(_NAMES_BYTES.search(last_name(name)) for name in names)


class _TokenCounts(Walker[bool]):
    """Whether an expression is a small number, a noise level, or a count of tokens, windows or batches."""

    deepest: ClassVar[int] = 30
    most_steps: ClassVar[int] = 300
    follows_defaults: ClassVar[bool] = True

    def __init__(self, program: Program) -> None:
        super().__init__(program)
        self._open: set[tuple[ast.expr, Frame]] = set()

    def look(self, node: ast.expr, frame: Frame, path: Path) -> bool:
        """A number by its size; what is carried round a loop is what else it is made of."""
        if (node, frame) in self._open:
            return True
        number = Evaluator(self.program).number(node, frame) if not path else None
        if number is not None:
            return abs(number) < _FEWEST_BYTES and not names_bytes(node)
        self._open.add((node, frame))
        try:
            return super().look(node, frame, path)
        finally:
            self._open.discard((node, frame))

    def unknown(self, node: ast.expr, frame: Frame, path: Path = (), /) -> bool:
        """What it goes back to, where all of that is known."""
        behind = self.origins(node, frame, path)
        return bool(behind) and all(self.visit(each.node, each.frame, each.path) for each in behind)

    def stopped(self, _node: ast.expr, _frame: Frame, _path: Path, /) -> bool:
        """Not known to be one."""
        return False

    def _compare(self, _node: ast.Compare, _frame: Frame, _path: Path) -> bool:
        return True  # of which some are selected

    def _binop(self, node: ast.BinOp, frame: Frame, _path: Path) -> bool:
        return self.visit(node.left, frame) and self.visit(node.right, frame)

    def _unaryop(self, node: ast.UnaryOp, frame: Frame, _path: Path) -> bool:
        return self.visit(node.operand, frame)

    def _attribute(self, node: ast.Attribute, frame: Frame, path: Path) -> bool:
        return node.attr in _SIZES or self.unknown(node, frame, path)

    def _subscript(self, node: ast.Subscript, frame: Frame, path: Path) -> bool:
        return self.unknown(node, frame, path) or self.visit(node.value, frame)

    def _call(self, node: ast.Call, frame: Frame, path: Path) -> bool:
        name, worked_on = last_name(node.func), operands(node)
        if name == "len":
            return not any(self._is_text(each, frame) for each in worked_on)
        if name in _COUNTING:
            return True
        if name in _PASSING and worked_on:
            return all(self.visit(each, frame) for each in worked_on)
        return self.unknown(node, frame, path)

    def _is_text(self, node: ast.expr, frame: Frame) -> bool:
        """Whether a string, or bytes, may be asked for its length."""
        behind = [node, *(each.node for each in self.origins(node, frame))]
        parts = (part for each in behind for part in nodes_within(each))
        return any(isinstance(part, ast.Call) and last_name(part.func) in _SPELLING for part in parts)
