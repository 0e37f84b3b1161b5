"""Masks of a given number of tokens: those whose noise ranks lowest, as in any-order bounds."""

from __future__ import annotations

import ast

from bpb_harness.auditing.script.domains.trace import trace
from bpb_harness.auditing.script.domains.values import IDENTITY, Evaluator, is_random
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import last_name
from bpb_harness.auditing.script.frontend.walker import Frame, operands

_MAX_NAMES = 6
_MAX_TRACED = 200


def ranked_noise(program: Program, node: ast.expr) -> ast.Call | None:
    """The noise of rand(x.shape).argsort(1).argsort(1), the ranks of its entries; None of anything else."""
    ranks = 0
    for _ in range(_MAX_NAMES):
        if isinstance(node, ast.Call) and is_random(node):
            return node if ranks == _TWICE else None
        name = last_name(node.func) if isinstance(node, ast.Call) else ""
        if isinstance(node, ast.Call) and operands(node) and (name == "argsort" or name in IDENTITY):
            node, ranks = operands(node)[0], ranks + (name == "argsort")
        else:
            value = program.only_value(node)
            if value is None:
                return None
            node = value
    return None


_TWICE = 2  # the order of the order: once gives places, not ranks


def width_of(program: Program, noise: ast.Call, frame: Frame) -> float | None:
    """How many entries a row of noise has: by the number itself, or by the view of the text that it is shaped as."""
    sizes = [part for size in noise.args for part in (size.elts if isinstance(size, ast.Tuple) else [size])]
    last = sizes[-1] if sizes else None
    if last is None or isinstance(last, ast.Starred):
        return None
    number = Evaluator(program).number(last, frame)
    if number is not None:
        return number
    for part, where in trace(program, last, frame, _MAX_TRACED):
        if isinstance(part, ast.Call) and last_name(part.func) in ("view", "reshape") and len(operands(part)) > 1:
            width = Evaluator(program).number(operands(part)[-1], where)
            return width if width is not None and width > 0 else None
    return None
