"""Tokens that are hidden at random on the way to a score, by draws that nothing else knows."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import replace

from bpb_harness.auditing.script.domains.analysis import Analysis, MaskDraw
from bpb_harness.auditing.script.domains.hidden_text import prediction
from bpb_harness.auditing.script.domains.hiding import hides_tokens
from bpb_harness.auditing.script.domains.in_evaluation import is_of_training, tests_of
from bpb_harness.auditing.script.domains.trace import trace
from bpb_harness.auditing.script.domains.values import draws_numbers, is_random
from bpb_harness.auditing.script.frontend.scopes import last_name
from bpb_harness.auditing.script.frontend.walker import Frame, Source, operands

_RANDOM = frozenset(
    ["randint", "randperm", "permutation", "multinomial", "bernoulli", "bernoulli_", "choice", "sample"]
)
_FILLING = frozenset(["masked_fill", "masked_fill_", "index_fill", "index_fill_"])
_MAX_TRACED = 300


def hides_at_random(analysis: Analysis, known: Sequence[MaskDraw]) -> bool:
    """Whether a score comes from tokens that are hidden at random, but for the draws that are known."""
    program = analysis.program
    if not draws_numbers(program) and _RANDOM.isdisjoint(program.calls):
        return False
    drawn = {part for draw in known for part, _ in trace(program, draw.node, draw.frame, _MAX_TRACED)}
    seen = dict.fromkeys(_seen(analysis))  # most of what is behind a score is behind the others too
    places = dict.fromkeys(place for node, frame in seen for place in _places(analysis, node, frame))
    return any(_is_hidden_at(analysis, *place, drawn) for place in places)


def _seen(analysis: Analysis) -> Iterator[tuple[ast.AST, Frame]]:
    """What networks are asked by for the scores; of a score whose cross-entropy was not come to, all behind it."""
    scores = [(number, score) for number, _, score in analysis.scores()]
    for _, score in scores:
        yield from analysis.behind(replace(score, node=prediction(score.node)))
    if len({number for number, _ in scores}) < len(analysis.sinks):
        yield from analysis.claimed_path


def _places(analysis: Analysis, node: ast.AST, frame: Frame) -> Iterator[Source]:
    """The draws of masks, and the conditions under which a number is put in place of something."""
    if isinstance(node, ast.Name):
        for each in analysis.program.reaching(node):
            if each.key is not None and each.value is not None and _is_token(analysis, each.value, frame):
                yield each.key, frame
    if not isinstance(node, ast.Call):
        if isinstance(node, ast.expr) and analysis.draws_masks(node):
            yield node, frame
        return
    name, given = last_name(node.func), operands(node)
    if analysis.draws_masks(node):
        yield node, frame
    elif name == "where" and len(node.args) == 3:
        if any(_is_token(analysis, each, frame) for each in node.args[1:]):
            yield node.args[0], frame
    elif name in _FILLING and len(given) > 2 and _is_token(analysis, given[-1], frame):
        yield given[-2], frame


def _is_token(analysis: Analysis, node: ast.expr, frame: Frame) -> bool:
    """Whether something may be the id of a token: a number that is not below 0."""
    number = analysis.number(node, frame)
    return number is not None and number >= 0.0


def _is_hidden_at(analysis: Analysis, test: ast.expr, frame: Frame, drawn: set[ast.AST]) -> bool:
    program = analysis.program
    tests = tests_of(analysis, test, frame)
    if tests is None or any(map(is_of_training, tests)):
        return False
    behind = [*trace(program, test, frame, _MAX_TRACED)]
    if any(part in drawn for part, _ in behind):
        return False
    calls = [(part, where) for part, where in behind if isinstance(part, ast.Call) and _draws(part)]
    return any(hides_tokens(program, call, analysis.scored or None, where) for call, where in calls[:1])


def _draws(call: ast.Call) -> bool:
    return is_random(call) or last_name(call.func) in _RANDOM
