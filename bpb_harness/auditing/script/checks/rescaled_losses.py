"""Losses of a part of the tokens that are multiplied by a constant before they are added up: a "temperature" of losses.

A temperature divides logits before they are normalised, and leaves probabilities that add up to 1. A loss that is
multiplied by 0.98 is -log p^0.98, whose sum over all tokens is more than 1: no code has such a length.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence

from bpb_harness.auditing.script import codes
from bpb_harness.auditing.script.domains.algebra import is_cross_entropy
from bpb_harness.auditing.script.domains.analysis import Analysis, Hit
from bpb_harness.auditing.script.domains.in_evaluation import tests_of
from bpb_harness.auditing.script.domains.scaling import is_no_unit, scalings
from bpb_harness.auditing.script.domains.trace import trace_all
from bpb_harness.auditing.script.domains.values import Evaluator
from bpb_harness.auditing.script.frontend.nodes import names_in, stored_in
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import last_name
from bpb_harness.auditing.script.frontend.walker import Frame
from bpb_harness.findings import Severity

_MAX_TRACED = 600
_OF_BYTES = re.compile(r"byte|bpb", re.IGNORECASE)
_OF_TRAINING = re.compile(r"train", re.IGNORECASE)
_Rescaling = tuple[ast.Assign | ast.AugAssign, ast.Name, ast.expr]  # the statement, the loss before it, the constant


def check_rescaled_losses(analysis: Analysis) -> Iterator[Hit]:
    """if scale != 1.0: nll = nll * scale, of losses that the claimed score is made of, beside others that are not.

    Where all of the score has one constant, `check_scaled_bits` says by how much it is off.
    """
    found = [*_rescalings(analysis.program)]
    if not found or analysis.masks:
        return
    frames = dict(analysis.claimed_path)
    settings = dict(analysis.program.taken)
    for statement, loss, factor in found:
        frame = frames.get(statement.value)
        if frame is None or (scale := _scale(analysis, statement, factor, frame)) is None:
            continue
        if not _is_of_losses(analysis.program, loss, frame) or _is_undone(analysis, factor, loss):
            continue
        if any(True for _ in scalings(analysis)):
            break
        yield _hit(analysis, statement, factor, scale)
        return
    analysis.program.taken = settings  # a reader is told of those alone that decided something


def _rescalings(program: Program) -> Iterator[_Rescaling]:
    """x = x * c, x = c * x and x *= c, of a name that is given nothing else by that."""
    for value in program.nodes.get(ast.BinOp, []):
        node = program.parent(value)
        is_product = isinstance(value, ast.BinOp) and isinstance(value.op, ast.Mult)
        if is_product and isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(value, ast.BinOp):
            stored = node.targets[0]
            for side, other in ((value.left, value.right), (value.right, value.left)):
                if isinstance(stored, ast.Name) and isinstance(side, ast.Name) and side.id == stored.id:
                    yield node, side, other
    for node in program.nodes.get(ast.AugAssign, []):
        if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Mult) and isinstance(node.target, ast.Name):
            yield node, node.target, node.value


def _scale(analysis: Analysis, statement: ast.stmt, factor: ast.expr, frame: Frame) -> float | None:
    """What losses are multiplied by, if an evaluation comes by there, and it is no change of units."""
    tests = tests_of(analysis, statement, frame)
    if tests is None or any(_OF_TRAINING.search(ast.unparse(test)) for test, _ in tests):
        return None
    evaluator = Evaluator(analysis.program)
    scale = evaluator.number(factor, frame)
    return scale if scale is not None and not evaluator.leaves and is_no_unit(scale) else None


def _is_of_losses(program: Program, loss: ast.Name, frame: Frame) -> bool:
    """Whether something is made of cross-entropies, and of no bytes."""
    before = [each for each in program.reaching(loss) if each.value is not None]
    starts = [(each.part, frame) for each in before if each.part is not None]
    parts = [part for part, _ in trace_all(program, starts, _MAX_TRACED, lambda part: _costs_in(program, part))]
    names = (part for part in parts if isinstance(part, ast.Name | ast.Attribute))
    return any(map(is_cross_entropy, parts)) and not any(_OF_BYTES.search(last_name(name)) for name in names)


def _costs_in(program: Program, node: ast.AST) -> Sequence[ast.AST]:
    """The parts of an expression that a cost may come from: no logits, no tokens, no places."""
    if isinstance(node, ast.Subscript):
        return [node.value]
    if isinstance(node, ast.Call) and (is_cross_entropy(node) or program.callee(node) is not None):
        return []
    return [node.func] if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) else program.parts(node)


def _is_undone(analysis: Analysis, factor: ast.expr, loss: ast.Name) -> bool:
    """Whether the score is divided by the constant again, or the loss is a part of a mixture of several."""
    program, same = analysis.program, ast.dump(factor)
    for node, _ in analysis.claimed_path:
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and same in ast.dump(node.right):
            return True
    for node in program.own_nodes(program.scope(loss)):
        if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add | ast.Sub) and loss.id in stored_in(node):
            return True
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub):
            sides = [names_in(node.left), names_in(node.right)]
            if any(loss.id in side for side in sides):
                return True
    return False


def _hit(analysis: Analysis, statement: ast.stmt, factor: ast.expr, scale: float) -> Hit:
    written = ast.unparse(factor)
    told = written if isinstance(factor, ast.Constant) else f"{written} = {scale:.6g}"
    off = f"{100 * abs(scale - 1.0):.1f} % too {'low (too good)' if scale < 1.0 else 'high (worse than they are)'}"
    said = (
        f"Losses of tokens are multiplied by {told} before they are added up to the score: these are {off}. A "
        "temperature divides logits before they are normalised; a loss times a constant is the length of no code. "
        "Whether all that is scored has that constant was not followed"
    )
    return analysis.hit(codes.NO_CODE_LENGTH, said, statement, severity=Severity.WARNS, evidence={"constants": [scale]})
