"""Which tokens of a window a loss is of: the cross-entropy that it is a mean or sum of, and what parts are cut out."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass

from bpb_harness.auditing.script.domains.algebra import is_cross_entropy
from bpb_harness.auditing.script.domains.values import IDENTITY
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import last_name
from bpb_harness.auditing.script.frontend.walker import operands

_LONGEST_LOSS = 12
_ZEROS = frozenset(["zeros", "zeros_like", "new_zeros"])


def cost_of(program: Program, loss: ast.expr) -> tuple[ast.Call, ast.expr, tuple[str, ...]] | None:
    """The cross-entropy that a loss is a mean or sum of, what it is asked for, and of which parts of a window it is.

    None where it is weighed by anything but zeros and ones that are put in by a slice.
    """
    parts: list[str] = []
    for _ in range(_LONGEST_LOSS):
        if isinstance(loss, ast.Name):
            value = program.only_value(loss)
            if value is None:
                return None
            loss = value
        elif isinstance(loss, ast.UnaryOp) and isinstance(loss.op, ast.USub):
            loss = loss.operand
        elif isinstance(loss, ast.BinOp) and isinstance(loss.op, ast.Div):
            loss = loss.left
        elif isinstance(loss, ast.BinOp) and isinstance(loss.op, ast.Mult):
            masked = [(side, _part_where_one(program, side)) for side in (loss.left, loss.right)]
            part = next((found for _, found in masked if found is not None), None)
            if part is None:
                return None
            loss = next(side for side, found in masked if found is None)
            parts.append(part)
        elif isinstance(loss, ast.Subscript):
            part = part_of(loss.slice)
            if part is None:
                return None
            parts.append(part)
            loss = loss.value
        elif is_cross_entropy(loss) and isinstance(loss, ast.Call):
            return (loss, loss.args[1], tuple(parts)) if len(loss.args) > 1 else None
        elif isinstance(loss, ast.Call) and last_name(loss.func) in ("gather", "take_along_dim"):
            return (loss, operands(loss)[-1], tuple(parts))
        elif isinstance(loss, ast.Call) and last_name(loss.func) in IDENTITY | {"mean", "sum", "float"}:
            loss = operands(loss)[0] if operands(loss) else loss
        else:
            return None
    return None


def _part_where_one(program: Program, mask: ast.expr) -> str | None:
    """The part of a window where zeros were made ones: s:wlen of mask[b, s:wlen] = 1."""
    while isinstance(mask, ast.Call) and last_name(mask.func) in IDENTITY and operands(mask):
        mask = operands(mask)[0]
    defined = program.reaching(mask) if isinstance(mask, ast.Name) else ()
    made = [each.value for each in defined if each.kind == "assign"]
    put = [each for each in defined if each.kind == "mutation" and each.key is not None]
    names = [last_name(value.func) if isinstance(value, ast.Call) else "" for value in made]
    if len(defined) != 2 or len(names) != 1 or names[0] not in _ZEROS or len(put) != 1 or put[0].key is None:
        return None
    is_one = isinstance(put[0].value, ast.Constant) and put[0].value.value in (1, 1.0, True)
    return part_of(put[0].key) if is_one else None


def part_of(index: ast.expr) -> str | None:
    """s:wlen of [b, s:wlen] and [:, s:wlen]; None where no part is cut out."""
    last = index.elts[-1] if isinstance(index, ast.Tuple) and index.elts else index
    if not isinstance(last, ast.Slice) or (last.lower is None and last.upper is None):
        return None
    return ast.unparse(last)


def is_all_but_last(part: str) -> bool:
    """Whether a part is a window's without its last place: :-1 and :length - 1."""
    cut = next(each for each in ast.walk(ast.parse(f"_[{part}]")) if isinstance(each, ast.Slice))
    end = cut.upper
    if cut.lower is not None or cut.step is not None or end is None:
        return False
    if isinstance(end, ast.UnaryOp) and isinstance(end.op, ast.USub):
        return isinstance(end.operand, ast.Constant) and end.operand.value == 1
    if not isinstance(end, ast.BinOp) or not isinstance(end.op, ast.Sub) or not _is_length(end.left):
        return False
    return isinstance(end.right, ast.Constant) and end.right.value == 1


def _is_length(node: ast.expr) -> bool:
    """Whether a name is that of a window's length, or a size is asked for."""
    return _LENGTH.search(last_name(node.func if isinstance(node, ast.Call) else node)) is not None


_LENGTH = re.compile(r"(?:^|_)(?:len|length|seq|seqlen|size|block_size|context|ctx|T|L)(?:_|$)")


@dataclass(frozen=True)
class Plain:
    """A name, and which parts of it are meant."""

    name: ast.Name
    parts: tuple[str, ...] = ()


def plain_name(node: ast.expr) -> Plain | None:
    """y of y.reshape(-1) and y[..., None]; of y[:, s:] the part that is cut out too."""
    parts: list[str] = []
    for _ in range(_LONGEST_LOSS):
        if isinstance(node, ast.Call) and last_name(node.func) in IDENTITY and operands(node):
            node = operands(node)[0]
        elif isinstance(node, ast.Subscript) and (part := part_of(node.slice)) is not None:
            parts.append(part)
            node = node.value
        elif isinstance(node, ast.Subscript) and _adds_axes(node.slice):
            node = node.value
        else:
            return Plain(node, tuple(parts)) if isinstance(node, ast.Name) else None
    return None


def _adds_axes(index: ast.expr) -> bool:
    each = index.elts if isinstance(index, ast.Tuple) else [index]
    return all(
        (isinstance(part, ast.Constant) and part.value in (None, Ellipsis))
        or (isinstance(part, ast.Slice) and part.lower is part.upper is None)
        for part in each
    )
