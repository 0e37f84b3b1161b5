"""Whether a draw chooses tokens or their costs, or something of a network's own."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from bpb_harness.auditing.script.domains.analysis import Analysis, MaskDraw
from bpb_harness.auditing.script.domains.values import IDENTITY, Evaluator
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import last_name
from bpb_harness.auditing.script.frontend.walker import Frame, Path, Source, operands

_CHOOSING = frozenset([
    "where", "masked_fill", "masked_fill_", "masked_select", "masked_scatter", "masked_scatter_", "lerp", "lerp_",
    "index_put", "index_put_", "einsum", "mul", "mul_", "multiply",
])  # fmt: skip
_MAX_STEPS = 16  # from where a mask is used back to where it is drawn


def hides_tokens(analysis: Analysis, draw: MaskDraw) -> bool:
    """Whether a draw is seen to choose tokens or their costs: by ``where``, a test or an index, or times a cost.

    What is only multiplied by something else, as what a network drops or draws for its own weights is, chooses none.
    """
    program = analysis.program
    used: list[Source] = [(factor.node, factor.frame) for factor in draw.term.factors]
    selected = (part for kind, node in draw.term.reductions if kind == "select" for part in _choosing(program, node))
    used += [(part, draw.score.frame) for part in selected]
    for node, frame in analysis.behind(draw.score):
        used += [(part, frame) for part in _choosing(program, node)]
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub):
            # x * (1 - m) + MASK * m, or x + m * (MASK - x)
            others = [_beside_mask(program, side, frame, draw) for side in (node.left, node.right)]
            if all(others) or any(isinstance(other, ast.BinOp) and isinstance(other.op, ast.Sub) for other in others):
                return True
    return any(_is_drawn(program, *source, draw) for source in used)


def _choosing(program: Program, node: ast.AST) -> Iterator[ast.expr]:
    """What an expression chooses by."""
    if isinstance(node, ast.Call) and last_name(node.func) in _CHOOSING:
        yield from operands(node)
    elif isinstance(node, ast.Subscript):
        yield node.slice
    elif isinstance(node, ast.IfExp):
        yield node.test
    elif isinstance(node, ast.comprehension):
        yield from node.ifs
    elif isinstance(node, ast.Name):  # x[m] = MASK
        yield from (each.key for each in program.reaching(node) if each.key is not None)


def _beside_mask(program: Program, node: ast.expr, frame: Frame, draw: MaskDraw) -> ast.expr | None:
    """What the draw is multiplied by in a product; None where it is none of it."""
    sides = [node.left, node.right] if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult) else []
    pairs = zip(sides, sides[::-1], strict=True)
    return next((other for side, other in pairs if _is_drawn(program, side, frame, draw)), None)


def _is_drawn(program: Program, node: ast.expr, frame: Frame, draw: MaskDraw, path: Path = (), steps: int = 0) -> bool:
    """Whether an expression is the draw itself: under names, in other forms, negated, with other conditions."""
    if node is draw.node or steps > _MAX_STEPS:
        return node is draw.node
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitAnd | ast.BitOr | ast.Sub):
        inside = [node.left, node.right]
    elif isinstance(node, ast.UnaryOp):
        inside = [node.operand]
    elif isinstance(node, ast.Call) and last_name(node.func) in IDENTITY:
        inside = operands(node)[:1]
    else:
        found = Evaluator(program).origins(node, frame, path)
        return any(_is_drawn(program, each.node, each.frame, draw, each.path, steps + 1) for each in found)
    return any(_is_drawn(program, part, frame, draw, path, steps + 1) for part in inside)
