"""Learnt vectors that read all tokens of a window by attention, and that each token of a causal network reads then."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from bpb_harness.auditing.script import codes
from bpb_harness.auditing.script.domains.analysis import Analysis, Hit
from bpb_harness.auditing.script.domains.causal import is_causal
from bpb_harness.auditing.script.domains.in_evaluation import is_of_training, tests_of
from bpb_harness.auditing.script.domains.layers import calls_to, is_made, path_through_layers
from bpb_harness.auditing.script.domains.roots import is_embedded, is_learnt, roots
from bpb_harness.auditing.script.frontend.walker import Frame

_ATTENTION = "scaled_dot_product_attention"


def check_reads_all(analysis: Analysis) -> Iterator[Hit]:
    """slots = attend(slots, x, x); x = x + attend(x, slots, slots): slots have read what stands behind a token.

    Both without a mask, on the way to the claimed score, in a network that is causal elsewhere. Vectors that read the
    tokens alone (a pooled summary) or are read alone (a prefix that is learnt) tell no token of those behind it.
    """
    program = analysis.program
    if not any(map(_is_open, program.calls.get(_ATTENTION, []))) or not is_causal(analysis):
        return
    read: dict[ast.expr, ast.Call] = {}  # by the learnt vectors
    told: dict[ast.expr, ast.Call] = {}
    for node, frame in path_through_layers(analysis):
        if not isinstance(node, ast.Call) or not _is_open(node) or not _comes_by(analysis, node, frame):
            continue
        queries, keys = (roots(program, each, frame) for each in node.args[:2])
        for learnt in _slots(analysis, queries) if keys and all(is_embedded(program, each) for each in keys) else ():
            read[learnt] = node
        for learnt in _slots(analysis, keys) if any(is_embedded(program, each) for each in queries) else ():
            told[learnt] = node
    for learnt, node in read.items():
        if learnt in told:
            yield _hit(analysis, learnt, node, told[learnt])
            return


def _hit(analysis: Analysis, learnt: ast.expr, read: ast.Call, told: ast.Call) -> Hit:
    said = (
        f"Learnt vectors ({ast.unparse(learnt)}) read all tokens of the window by an attention without a mask, and "
        "each token of the network, which is causal elsewhere, reads these vectors: what it is predicted from then "
        "depends on that token itself and on those after it, which no decoder has, and the score does not pay for what "
        "they tell"
    )
    return analysis.hit(codes.LOOKS_AHEAD, said, read, shown=[read, *([] if told is read else [told]), learnt])


def _slots(analysis: Analysis, found: list[ast.expr]) -> list[ast.expr]:
    """The learnt vectors that a tensor is of alone, where a run makes the module that holds them."""
    program = analysis.program
    if not found or not all(is_learnt(program, each) for each in found):
        return []
    owners = {program.scope(each).owner for each in found}
    makers = [call for owner in owners if owner for call in program.calls.get(owner, [])]
    return found if any(is_made(analysis, call) for call in makers) else []


def _is_open(call: ast.Call) -> bool:
    """Whether a call attends to all places: neither causal nor masked."""
    given = {each.arg: each.value for each in call.keywords}
    if len(call.args) != 3 or None in given:
        return False
    named = [value for name, value in given.items() if "mask" in str(name) or "causal" in str(name)]
    return all(isinstance(each, ast.Constant) and not each.value for each in named)


def _comes_by(analysis: Analysis, node: ast.Call, frame: Frame) -> bool:
    """Whether an evaluation comes by, as far as the tests tell that the calls stand under."""
    tests = [tests_of(analysis, *place) for place in calls_to(analysis.program, node, frame)]
    return None not in tests and not any(is_of_training(test) for of_place in tests for test in of_place or ())
