"""The tokens that the cross-entropies of reported scores are of."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import NamedTuple, TypeGuard

from bpb_harness.auditing.script.domains.algebra import is_cross_entropy
from bpb_harness.auditing.script.domains.analysis import Analysis
from bpb_harness.auditing.script.domains.cancel import Factor
from bpb_harness.auditing.script.domains.trace import comes_from, trace
from bpb_harness.auditing.script.frontend.once import once
from bpb_harness.auditing.script.frontend.scopes import last_name
from bpb_harness.auditing.script.frontend.walker import Frame, operands

_MAX_BEHIND = 800  # expressions that scored tokens are followed through
_HELD_OUT = re.compile(r"(?:^|[^a-z])(?:val|valid|validation|test|dev|eval|held_?out)(?:[^a-z]|$)", re.IGNORECASE)


class ScoredTokens(NamedTuple):
    """The tokens that a cross-entropy of a score is of.

    Attributes:
        sink: the number of the score.
        score: the cross-entropy.
        target: the tokens.
        frame: where their names are read.
    """

    sink: int
    score: Factor
    target: ast.expr
    frame: Frame


@once
def scored_tokens(analysis: Analysis) -> list[ScoredTokens]:
    """What each cross-entropy of the scores that are meant is of; worked out once."""
    meant, found = _meant(analysis), dict[tuple[int, ast.AST, Frame], ScoredTokens]()
    for number, score in _scored(analysis):
        for target, frame in _targets(analysis, score) if number in meant else ():
            found.setdefault((number, target, frame), ScoredTokens(number, score, target, frame))
    return list(found.values())


def behind_target(analysis: Analysis, tokens: ScoredTokens) -> tuple[tuple[ast.AST, Frame], ...]:
    """What scored tokens are computed from, with frames: as far as so many expressions show; worked out once."""
    key = (behind_target, tokens.target, tokens.frame)
    if key not in analysis.program.memo:
        analysis.program.memo[key] = tuple(trace(analysis.program, tokens.target, tokens.frame, _MAX_BEHIND))
    parts: tuple[tuple[ast.AST, Frame], ...] = analysis.program.memo[key]
    return parts


def is_held_out(node: ast.AST) -> bool:
    """Whether a node names held-out text, or its files."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str) and _HELD_OUT.search(node.value) is not None
    return isinstance(node, ast.Name | ast.Attribute) and _HELD_OUT.search(last_name(node)) is not None


def _scored(analysis: Analysis) -> list[tuple[int, Factor]]:
    """The cross-entropies of each sink; where none is found, what a function gives that is not followed: a network."""
    found = [(number, score) for number, _, score in analysis.scores()]
    followed = {number for number, _ in found}
    found += [
        (number, factor)
        for number, terms in enumerate(analysis.terms) if number not in followed
        for term in terms
        for factor in term.factors if factor.power > 0 and _is_network(analysis, factor)
    ]  # fmt: skip
    return found or [(0, Factor(part, frame)) for part, frame in analysis.path if _is_cost(part)]


def _is_cost(node: ast.AST) -> TypeGuard[ast.Call]:
    return isinstance(node, ast.Call) and is_cross_entropy(node)


def _is_network(analysis: Analysis, factor: Factor) -> bool:
    """model(x, y), which gives a loss."""
    node = factor.node
    return isinstance(node, ast.Call) and len(operands(node)) > 1 and analysis.program.callee(node) is None


def _meant(analysis: Analysis) -> set[int]:
    """The scores that the record claims, where labels tell; else all."""
    scored = {number for number, _ in _scored(analysis)}
    return analysis.claimed & scored or scored


_TARGETS = ("target", "targets", "labels")
_AT = {"cross_entropy": 1, "nll_loss": 1, "linear_cross_entropy": 2}  # where the scored tokens are handed over


def _targets(analysis: Analysis, score: Factor) -> list[tuple[ast.expr, Frame]]:
    """The tokens that a cross-entropy is of: what it is handed, or what is looked up in log-probabilities."""
    node = score.node
    if not isinstance(node, ast.Call):
        return []
    named = [each.value for each in node.keywords if each.arg in _TARGETS]
    if not is_cross_entropy(node):
        return [(node, score.frame)]
    place = _AT.get(last_name(node.func))
    if named or (place is not None and len(node.args) > place):
        return [(named[0] if named else node.args[place or 0], score.frame)]
    found = _indices(analysis)
    return [(index, frame) for index, frame in found if frame is score.frame] or found


@once
def _indices(analysis: Analysis) -> list[tuple[ast.expr, Frame]]:
    """The places that are looked up in log-probabilities on the path to any score; worked out once."""
    return [
        (index, frame)
        for part, frame in analysis.path
        for where, index in _looked_up(part)
        if comes_from(analysis.program, where, frame, is_cross_entropy, 1_500)
    ]


def _looked_up(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    """log_probs and y of log_probs.gather(-1, y), torch.gather(log_probs, 1, y), log_probs[arange, y], log_probs[y]."""
    if isinstance(node, ast.Call) and last_name(node.func) in ("gather", "take_along_dim", "take_along_axis"):
        tensors = [each for each in operands(node) if not isinstance(each, ast.Constant | ast.UnaryOp)]
        tensors += [each.value for each in node.keywords if each.arg in ("index", "indices")]
        if len(tensors) > 1:
            yield tensors[0], tensors[1]
    elif isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name | ast.UnaryOp):
        index = node.slice.elts[-1] if isinstance(node.slice, ast.Tuple) else node.slice
        if isinstance(index, ast.Name | ast.Subscript | ast.Call | ast.Attribute):
            yield node.value, index
