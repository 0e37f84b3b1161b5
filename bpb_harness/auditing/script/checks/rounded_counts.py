"""A number of masked tokens that is rounded, so that it is not uniform."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from bpb_harness.auditing.script import codes
from bpb_harness.auditing.script.domains.analysis import Analysis, Hit
from bpb_harness.auditing.script.domains.trace import comes_from
from bpb_harness.auditing.script.domains.values import draws_numbers, is_random
from bpb_harness.auditing.script.frontend.scopes import dotted
from bpb_harness.auditing.script.frontend.walker import Frame


def check_rounded_counts(analysis: Analysis) -> Iterator[Hit]:
    """round(t * L) as a number of tokens to mask: the ends get half their share, and halves go to even numbers."""
    rounded = {*_rounded_draws(analysis)}
    for _, _, score in analysis.scores() if rounded else ():
        for node, _ in analysis.behind(score):
            if node in rounded:
                said = "The number of masked tokens is rounded half to even, so it is not uniform"
                yield analysis.hit(codes.HALF_EVEN, said, node)
                return


def _rounded_draws(analysis: Analysis) -> Iterator[ast.AST]:
    """Calls that round what is made of a random draw."""
    if not draws_numbers(analysis.program):
        return
    for node in (call for name in ("round", "round_", "rint") for call in analysis.program.calls.get(name, [])):
        if dotted(node.func) == "round" and len(node.args) > 1:
            continue  # round(x, 4) is for a report
        operands = node.args or ([node.func.value] if isinstance(node.func, ast.Attribute) else [])
        frame = Frame.at(analysis.program, node)
        if any(comes_from(analysis.program, operand, frame, is_random, 80) for operand in operands):
            yield node
