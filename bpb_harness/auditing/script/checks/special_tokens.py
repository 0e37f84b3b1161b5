"""Tokens that are never masked, and a mask id that is an ordinary token."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from bpb_harness.auditing.script import codes
from bpb_harness.auditing.script.domains.analysis import Analysis, Hit, MaskDraw
from bpb_harness.auditing.script.domains.trace import assigned, comes_from
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import Definition, last_name
from bpb_harness.auditing.script.frontend.walker import Frame
from bpb_harness.findings import Severity

_BOUNDARY = re.compile(
    r"(^|_|\.)(bos|eos|eot|boundary|boundaries|special|is_special|doc|sep|cls)(_|$|\.|\b)", re.IGNORECASE
)
_MAX_NAMES = 4  # that a condition goes by, one after another
_PADDING = re.compile(r"pad", re.IGNORECASE)


def check_special_tokens(analysis: Analysis) -> Iterator[Hit]:
    """Document boundaries that the evaluation's masks spare."""
    done: set[tuple[int, int]] = set()
    for draw in analysis.masks:
        for node in _spared(analysis, draw):
            if (id(node), draw.sink) in done:
                continue
            done.add((id(node), draw.sink))
            yield analysis.hit(
                codes.BOUNDARY_FREE,
                "Boundary tokens are never masked, so that the model is told where documents end, and the score leaves "
                "out what that would cost",
                node, draw.sink
            )  # fmt: skip
    yield from _mask_ids(analysis)


def _spared(analysis: Analysis, draw: MaskDraw) -> Iterator[ast.AST]:
    """Conditions on boundary tokens that a draw is combined with."""
    program = analysis.program
    for node, frame in analysis.behind(draw.score):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitAnd):
            sides = [node.left, node.right]
            for side, other in (sides, sides[::-1]):
                if comes_from(program, side, frame, draw.is_at, 60) and _names_boundary(
                    program, other, frame, negated=True
                ):
                    yield node
                    break
        elif isinstance(node, ast.Call) and last_name(node.func) in ("logical_and", "masked_fill", "masked_fill_"):
            operands = ([node.func.value] if isinstance(node.func, ast.Attribute) else []) + list(node.args)
            if len(operands) >= 2 and comes_from(program, operands[0], frame, draw.is_at, 60):
                negated = last_name(node.func) == "logical_and"
                if any(_names_boundary(program, operand, frame, negated=negated) for operand in operands[1:]):
                    yield node
        elif isinstance(node, ast.Name):
            spared = [d for d in program.reaching(node) if _spares(program, d, frame)]
            holds = bool(spared) and comes_from(program, node, frame, draw.is_at, 60)
            yield from (d.statement for d in spared if d.kind == "augment" or holds)


def _spares(program: Program, definition: Definition, frame: Frame) -> bool:
    """mask[x0 == BOS] = False, mask &= x0 != BOS."""
    if definition.kind == "mutation" and definition.key is not None and _is_false(definition.value):
        return _names_boundary(program, definition.key, frame, negated=False)
    if definition.kind == "augment" and isinstance(definition.operator, ast.BitAnd) and definition.value is not None:
        return _names_boundary(program, definition.value, frame, negated=True)
    return False


def _is_false(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and node.value in (False, 0)


def _names_boundary(program: Program, node: ast.expr, frame: Frame, *, negated: bool, depth: int = 0) -> bool:
    """~is_special, x0 != BOS_ID (negated) or is_special, x0 == BOS_ID: by name, or by a tokenizer's own bos_id()."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Invert | ast.Not):
        return negated and _is_boundary(program, node.operand, frame)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitAnd | ast.BitOr):
        sides = (node.left, node.right)
        return any(_names_boundary(program, side, frame, negated=negated, depth=depth) for side in sides)
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        is_meant = isinstance(node.ops[0], ast.NotEq if negated else ast.Eq)
        return is_meant and any(_is_boundary(program, side, frame) for side in (node.left, node.comparators[0]))
    if isinstance(node, ast.Name) and negated and depth < _MAX_NAMES:
        behind = (each for each in assigned(program, node, frame) if not isinstance(each.node, ast.Name))
        return any(_names_boundary(program, each.node, each.frame, negated=True, depth=depth + 1) for each in behind)
    return isinstance(node, ast.Name | ast.Subscript) and not negated and _is_boundary(program, node, frame)


def _is_boundary(program: Program, node: ast.expr, frame: Frame, depth: int = 0) -> bool:
    text = ast.unparse(node)
    if _BOUNDARY.search(text):
        return True
    if _PADDING.search(text) or depth >= _MAX_NAMES:
        return False
    return any(_is_boundary(program, each.node, each.frame, depth + 1) for each in assigned(program, node, frame))


def _mask_ids(analysis: Analysis) -> Iterator[Hit]:
    """MASK_ID = 0 with 1,024 clean tokens: the absorbing state is a token of the text."""
    values = [*analysis.named_values(r"mask(_token)?_(id|idx|index|token)|mask_?id")]
    sizes = analysis.vocab_sizes() if values else ()
    if len(sizes) != 1:
        return
    (size,) = sizes
    for value in values:
        number = analysis.number(value)
        if number is None or not 0 <= number < size or number != int(number):
            continue
        if analysis.context.vocab_size is not None and number >= analysis.context.vocab_size:
            continue  # behind the tokenizer's last entry: room that the network made for it
        yield analysis.hit(
            codes.MASK_IS_TOKEN,
            f"The mask id {int(number)} lies inside the vocabulary of {size:,}: unless the text never has that token, "
            f"some of it is taken for masks",
            value, None, severity=Severity.WARNS, evidence={"mask_id": int(number), "vocab_size": size}
        )  # fmt: skip
        return
