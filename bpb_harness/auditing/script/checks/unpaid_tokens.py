"""A cross-entropy that is scored and is not what all tokens cost: one of them is left out, or the loss is smoothed."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from bpb_harness.auditing.script import codes
from bpb_harness.auditing.script.domains.analysis import Analysis, Hit
from bpb_harness.auditing.script.domains.cancel import Factor
from bpb_harness.auditing.script.domains.trace import trace
from bpb_harness.auditing.script.domains.values import Evaluator
from bpb_harness.auditing.script.frontend.index import nodes_within
from bpb_harness.auditing.script.frontend.nodes import keyword
from bpb_harness.auditing.script.frontend.once import once
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import last_name
from bpb_harness.findings import Severity

_MAX_BEHIND = 100  # expressions that a setting is followed through
_LOSSES = frozenset(["cross_entropy", "nll_loss"])
_SETTING = frozenset(["setattr", "__setattr__"])


def check_unpaid_tokens(analysis: Analysis) -> Iterator[Hit]:
    """F.cross_entropy(logits, y, ignore_index=1), where 1 is a token; F.cross_entropy(.., label_smoothing=0.1).

    Of plain prices of tokens: where masks are drawn, what was not masked is marked by an id, and rightly left out.
    """
    if analysis.masks:
        return
    seen: set[tuple[ast.AST, int]] = set()
    for number, _, score in analysis.scores():
        node = score.node
        if not isinstance(node, ast.Call) or last_name(node.func) not in _LOSSES or (node, number) in seen:
            continue
        seen.add((node, number))
        ignored, smoothed = _given(analysis, score, "ignore_index"), _given(analysis, score, "label_smoothing")
        if ignored is not None and _is_token(analysis, node, ignored):
            said = (
                f"The loss that is scored leaves out what tokens of the id {ignored:g} cost (`ignore_index`): where "
                "the text has such tokens, the score does not pay for them"
            )
            yield Hit(codes.NO_CODE_LENGTH, said, node, number, None, Severity.WARNS, {"ignored": int(ignored)})
        if smoothed is not None and 0.0 < smoothed < 1.0:
            said = (
                f"The loss that is scored is smoothed (`label_smoothing={smoothed:g}`): that is not what the tokens "
                "cost, and more than it for a text that is predicted better than by chance"
            )
            yield Hit(codes.NO_CODE_LENGTH, said, node, number, None, Severity.WARNS, {"smoothed": smoothed})


def _given(analysis: Analysis, score: Factor, name: str) -> float | None:
    """The number that a keyword of the loss is known to have; None where it is not given, or hangs on anything."""
    assert isinstance(score.node, ast.Call)
    value = keyword(score.node, name)
    if value is None:
        return None
    parts = [part for part, _ in trace(analysis.program, value, score.frame, _MAX_BEHIND)]
    read = {part.attr for part in parts if isinstance(part, ast.Attribute)}
    if "training" in read or any(_may_change(analysis, attribute) for attribute in read):
        return None
    evaluator = Evaluator(analysis.program)
    number = evaluator.number(value, score.frame)
    return None if evaluator.leaves else number


def _may_change(analysis: Analysis, attribute: str) -> bool:
    """Whether an attribute may get another value than the one that is read: model.smoothing = 0.0 before scoring."""
    nodes = _all_nodes(analysis.program)
    bodies = (node.body for node in nodes if isinstance(node, ast.ClassDef))
    statements = (each for body in bodies for each in body if isinstance(each, ast.Assign | ast.AnnAssign))
    fields = sum(_stores(part, attribute) for each in statements for part in nodes_within(each))
    stored = sum(isinstance(node, ast.Attribute) and _stores(node, attribute) for node in nodes)
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    is_handed = any(
        keyword.arg == attribute for call in calls if last_name(call.func) not in _LOSSES for keyword in call.keywords
    )
    is_named = any(isinstance(node, ast.Constant) and node.value == attribute for node in nodes)
    sets_any = any(
        last_name(call.func) in _SETTING and not any(isinstance(each, ast.Constant) for each in call.args[1:2])
        for call in calls
    )
    return fields + stored > 1 or (fields > 0 and is_handed) or is_named or sets_any


@once
def _all_nodes(program: Program) -> list[ast.AST]:
    return [node for script in program.scripts for node in nodes_within(script.tree)]


def _stores(node: ast.AST, name: str) -> bool:
    called = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else None
    return called == name and not isinstance(node.ctx, ast.Load)  # type: ignore[attr-defined]


def _is_token(analysis: Analysis, call: ast.Call, number: float) -> bool:
    """Whether an id is one of the vocabulary, and is not called that of padding, which no text has."""
    sizes = {analysis.context.vocab_size} if analysis.context.vocab_size else analysis.vocab_sizes()
    given = next(each.value for each in call.keywords if each.arg == "ignore_index")
    is_padding = any("pad" in last_name(part).lower() for part in ast.walk(given) if isinstance(part, ast.expr))
    return number >= 0.0 and bool(sizes) and number < max(sizes) and not is_padding
