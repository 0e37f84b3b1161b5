"""Scoring procedures that no decoder could follow: two passes that condition on each other."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator
from dataclasses import replace

from bpb_harness.auditing.script import codes
from bpb_harness.auditing.script.domains.analysis import Analysis, Hit
from bpb_harness.auditing.script.domains.hidden_text import prediction
from bpb_harness.auditing.script.domains.trace import assigned
from bpb_harness.auditing.script.domains.weight import Weight
from bpb_harness.auditing.script.frontend.scopes import last_name
from bpb_harness.auditing.script.frontend.walker import Frame
from bpb_harness.findings import Severity

_HIDING = ("where", "masked_fill", "masked_fill_")


def check_two_passes(analysis: Analysis) -> Iterator[Hit]:
    """A mask and its complement, each scored with the other half shown, added up."""
    if not any(map(analysis.program.calls.get, _HIDING)) or not _has_complements(analysis):
        return
    for number, terms in enumerate(analysis.terms):
        inputs: dict[str, list[ast.AST]] = {}
        # Terms share their scores, and most of what is behind a score is behind the others too.
        scores = dict.fromkeys(score for term in terms for score in term.cross_entropies())
        behind = (analysis.behind(replace(score, node=prediction(score.node))) for score in scores)
        for node, frame in dict.fromkeys(itertools.chain.from_iterable(behind)):
            for name, negated in _conditions(analysis, node, frame):
                inputs.setdefault(name, []).append(negated)
        for pair in inputs.values():
            plain = [node for node in pair if not _is_inverted(node)]
            inverted = [node for node in pair if _is_inverted(node)]
            if not plain or not inverted:
                continue
            weighed = any(
                leaf is not None and Weight(analysis, draw, leaf).factors
                for draw in analysis.masks
                if draw.sink == number
                for leaf in (analysis.leaf_of(draw),)
            )
            place = inverted[0]
            said = (
                "Two passes over complementary masks are added up: each predicts the tokens that the other shows, so "
                "that no decoder can follow"
            )
            yield analysis.hit(codes.TWO_PASSES, said, place, number, severity=Severity.WARNS if weighed else None)
            break


def _has_complements(analysis: Analysis) -> bool:
    """Whether the program negates anything that could be the whole of a condition, by itself or under a name."""
    program = analysis.program
    negated = (node for node in program.nodes.get(ast.UnaryOp, []) if _is_inverted(node))
    return any(not isinstance(program.parent(node), ast.BinOp | ast.BoolOp | ast.Subscript) for node in negated)


def _conditions(analysis: Analysis, node: ast.AST, frame: Frame) -> Iterator[tuple[str, ast.AST]]:
    """The condition under which an input hides its tokens: of where(m, MASK, x0), masked_fill(x0, m, MASK)."""
    if not isinstance(node, ast.Call):
        return
    name = last_name(node.func)
    if name == "where" and len(node.args) == 3:
        test: ast.expr = node.args[0]
    elif name in ("masked_fill", "masked_fill_") and node.args:
        test = node.args[0] if isinstance(node.func, ast.Attribute) else node.args[min(1, len(node.args) - 1)]
    else:
        return
    if not _is_input(analysis, node, frame):
        return
    if isinstance(test, ast.Name) and test.id in frame.bindings:
        test, frame = frame.bindings[test.id]
    values = assigned(analysis.program, test, frame)
    inverted = values[0].node if len(values) == 1 else test
    if isinstance(inverted, ast.UnaryOp) and isinstance(inverted.op, ast.Invert):
        yield ast.dump(inverted.operand), inverted
    else:
        yield ast.dump(test), test


def _is_input(analysis: Analysis, node: ast.Call, frame: Frame) -> bool:
    """Whether a selection builds a network's input: one branch is a single number, the mask id, never negative."""
    last = node.args[1:] if last_name(node.func) == "where" else node.args[-1:]
    values = [analysis.number(argument, frame) for argument in last]
    return any(value is not None and value > 0.0 for value in values)


def _is_inverted(node: ast.AST) -> bool:
    return isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Invert)
