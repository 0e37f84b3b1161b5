"""Whether an evaluation comes by where masks are drawn and hide tokens, or training alone does."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from bpb_harness.auditing.script.domains.analysis import Analysis, MaskDraw
from bpb_harness.auditing.script.domains.hidden_text import HiddenText
from bpb_harness.auditing.script.domains.values import Evaluator
from bpb_harness.auditing.script.frontend.once import once
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.walker import Frame

_Test = tuple[ast.expr, bool]  # and what it has to give
_Left = tuple[dict[ast.AST, int], list[tuple[int, ast.expr]]]


def open_tests(analysis: Analysis, draw: MaskDraw) -> list[_Test] | None:
    """The tests that nobody can evaluate under which masks are drawn or hide tokens, and what they have to give.

    None where an evaluation does not come by: where masks hide tokens only if something is known not to hold, or in a
    branch of training.
    """
    hiding = HiddenText(analysis, draw).calls
    found = {place: tests_of(analysis, *place) for place in [(draw.node, draw.frame), *hiding]}
    if hiding and all(found[place] is None for place in hiding):
        return None
    tests = [test for of_place in found.values() for test in of_place or ()]
    return None if any(map(is_of_training, tests)) else tests


def tests_of(analysis: Analysis, node: ast.AST, frame: Frame) -> list[_Test] | None:
    """The tests above a place that nobody can evaluate; None where one is known to fail."""
    evaluator = Evaluator(analysis.program)
    tests = _branches(analysis, node)
    held = [evaluator.all_hold((test,), frame) for test in tests]
    return None if False in held else [test for test, holds in zip(tests, held, strict=True) if holds is None]


def is_in_training(analysis: Analysis, node: ast.AST) -> bool:
    """Whether a place in a network's method is come to in training alone."""
    return any(map(is_of_training, _branches(analysis, node)))


def _branches(analysis: Analysis, node: ast.AST) -> list[_Test]:
    """The tests under which a place of a function is come to."""
    return [*analysis.program.tests_above(node), *chosen_by(analysis, node), *left_by(analysis, node)]


def left_by(analysis: Analysis, node: ast.AST) -> Iterator[_Test]:
    """The tests of ``if not self.training: return x`` before a place in its function."""
    here: ast.AST = node
    for above in analysis.program.ancestors(node):
        if isinstance(above, ast.FunctionDef | ast.AsyncFunctionDef):
            place, left = _left_in(analysis.program, above)
            yield from ((test, False) for number, test in left if number < place.get(here, 0))
            return
        here = above


@once
def _left_in(_program: Program, function: ast.FunctionDef | ast.AsyncFunctionDef) -> _Left:
    """The place of each statement of a function, and the tests of those that leave it; worked out once."""
    places: dict[ast.AST, int] = {each: number for number, each in enumerate(function.body)}
    left = [
        (number, each.test)
        for number, each in enumerate(function.body)
        if isinstance(each, ast.If) and isinstance(each.body[-1], ast.Return)
    ]
    return places, left


def chosen_by(analysis: Analysis, node: ast.AST) -> Iterator[_Test]:
    """The tests of the choices that an expression stands in: a if test else b."""
    for above in analysis.program.ancestors(node):
        if isinstance(above, ast.stmt):
            return
        if isinstance(above, ast.IfExp) and node is not above.test:
            yield above.test, node is above.body
        node = above


def is_of_training(test: _Test) -> bool:
    """Whether a branch is that of training: if model.training, if self.training and .., behind a return without it."""
    node, wanted = test
    while isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        node, wanted = node.operand, not wanted
    if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.And if wanted else ast.Or):
        return any(is_of_training((part, wanted)) for part in node.values)
    return wanted and isinstance(node, ast.Attribute) and node.attr == "training"
