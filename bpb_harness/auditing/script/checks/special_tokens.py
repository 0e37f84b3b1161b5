"""Tokens that are never masked, and a mask id that is an ordinary token."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from bpb_harness.auditing.script import codes
from bpb_harness.auditing.script.domains.analysis import Analysis, Hit, MaskDraw
from bpb_harness.auditing.script.domains.trace import trace
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import Definition, last_name
from bpb_harness.auditing.script.frontend.walker import Frame
from bpb_harness.findings import Severity

_BOUNDARY = re.compile(
    r"(^|_|\.)(bos|eos|eot|boundary|boundaries|special|is_special|doc|sep|cls)(_|$|\.|\b)", re.IGNORECASE
)
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
    for node, frame in trace(program, draw.score.node, draw.score.frame, 1_500):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitAnd):
            sides = [node.left, node.right]
            for side, other in (sides, sides[::-1]):
                if _holds(program, side, frame, draw.node) and _names_boundary(program, other, frame, negated=True):
                    yield node
                    break
        elif isinstance(node, ast.Call) and last_name(node.func) in ("logical_and", "masked_fill", "masked_fill_"):
            operands = ([node.func.value] if isinstance(node.func, ast.Attribute) else []) + list(node.args)
            if len(operands) >= 2 and _holds(program, operands[0], frame, draw.node):
                negated = last_name(node.func) == "logical_and"
                if any(_names_boundary(program, operand, frame, negated=negated) for operand in operands[1:]):
                    yield node
        elif isinstance(node, ast.Name):
            spared = (d for d in program.reaching(node) if _spares(program, d, frame))
            yield from (d.statement for d in spared if d.kind == "augment" or _holds(program, node, frame, draw.node))


def _spares(program: Program, definition: Definition, frame: Frame) -> bool:
    """mask[x0 == BOS] = False, mask &= x0 != BOS."""
    if definition.kind == "mutation" and definition.key is not None and _is_false(definition.value):
        return _names_boundary(program, definition.key, frame, negated=False)
    if definition.kind == "augment" and isinstance(definition.operator, ast.BitAnd) and definition.value is not None:
        return _names_boundary(program, definition.value, frame, negated=True)
    return False


def _is_false(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and node.value in (False, 0)


def _holds(program: Program, node: ast.expr, frame: Frame, wanted: ast.AST) -> bool:
    return any(part is wanted for part, _ in trace(program, node, frame, 60))


def _names_boundary(program: Program, node: ast.expr, frame: Frame, *, negated: bool) -> bool:
    """~is_special, x0 != BOS_ID (negated) or is_special, x0 == BOS_ID: by name, or by a tokenizer's own bos_id()."""
    comparisons = (ast.NotEq,) if negated else (ast.Eq,)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Invert | ast.Not):
        return negated and _is_boundary(program, node.operand, frame)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitAnd | ast.BitOr):
        sides = (node.left, node.right)
        return any(_names_boundary(program, side, frame, negated=negated) for side in sides)
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        if not isinstance(node.ops[0], comparisons):
            return False
        return any(_is_boundary(program, side, frame) for side in (node.left, node.comparators[0]))
    if isinstance(node, ast.Name):
        definitions = [d for d in program.reaching(node) if d.value is not None and d.kind == "assign"]
        if negated:
            return any(
                _names_boundary(program, d.value, frame, negated=True)
                for d in definitions
                if d.value is not None and not isinstance(d.value, ast.Name)
            )
        return _is_boundary(program, node, frame)
    if isinstance(node, ast.Subscript) and not negated:
        return _is_boundary(program, node, frame)
    return False


def _is_boundary(program: Program, node: ast.expr, frame: Frame, depth: int = 0) -> bool:
    text = ast.unparse(node)
    if _PADDING.search(text) and not _BOUNDARY.search(text):
        return False
    if _BOUNDARY.search(text):
        return True
    if isinstance(node, ast.Name) and depth < 4:
        if node.id in frame.bindings:
            inner, where = frame.bindings[node.id]
            return _is_boundary(program, inner, where, depth + 1)
        return any(
            _is_boundary(program, d.value, frame, depth + 1)
            for d in program.reaching(node)
            if d.value is not None and d.kind == "assign" and not d.index
        )
    return False


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
