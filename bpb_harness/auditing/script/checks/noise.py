"""Where the evaluation's random numbers come from."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from bpb_harness.auditing.script import codes
from bpb_harness.auditing.script.domains.analysis import Analysis, Hit
from bpb_harness.auditing.script.domains.trace import trace
from bpb_harness.auditing.script.domains.values import is_random
from bpb_harness.auditing.script.frontend.scopes import dotted, last_name
from bpb_harness.auditing.script.frontend.walker import Frame

_SEEDERS = frozenset([
    "manual_seed", "seed", "manual_seed_all", "seed_everything", "set_seed", "default_rng", "PRNGKey", "RandomState",
    "key",
])  # fmt: skip


def check_noise(analysis: Analysis) -> Iterator[Hit]:
    """Unseeded draws, hashes of sines, counts rounded half to even: on the path to the score."""
    scored: dict[int, ast.AST] = {}
    for _, _, score in analysis.scores():
        scored.update({id(node): node for node, _ in trace(analysis.program, score.node, score.frame, 1_500)})
    for draw in analysis.masks:
        scored[id(draw.node)] = draw.node
    draws = [node for node in scored.values() if is_random(node) or _is_bernoulli(node)]
    if draws and not _is_seeded(analysis):
        yield analysis.hit(codes.UNSEEDED, "Nothing seeds the generator that the evaluation draws from", draws[0])
    yield from _sine_hash(analysis, list(scored.values()))
    yield from _rounded_counts(analysis, list(scored.values()))


def _is_bernoulli(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and last_name(node.func) in ("bernoulli", "randperm", "multinomial")


def _is_seeded(analysis: Analysis) -> bool:
    calls = analysis.program.calls
    for name in _SEEDERS:
        for call in calls.get(name, []):
            if call.args or call.keywords:
                return True
    return False


def _sine_hash(analysis: Analysis, scored: list[ast.AST]) -> Iterator[Hit]:
    """frac(sin(x * 12.9898) * 43758.5453): a large multiple of a sine, of which the fraction is taken."""
    for node in scored:
        if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Mult):
            continue
        for sine, scale in ((node.left, node.right), (node.right, node.left)):
            if not isinstance(sine, ast.Call) or last_name(sine.func) != "sin":
                continue
            value = analysis.number(scale)
            if value is not None and abs(value) > 1_000:
                yield analysis.hit(codes.SINE_HASH, "The masks come from a hash of sines, which is not uniform", node)
                return


def _rounded_counts(analysis: Analysis, scored: list[ast.AST]) -> Iterator[Hit]:
    """round(t * L) as a number of tokens to mask: the ends get half their share, and halves go to even numbers."""
    for node in scored:
        if not isinstance(node, ast.Call) or last_name(node.func) not in ("round", "round_", "rint"):
            continue
        if dotted(node.func) == "round" and len(node.args) > 1:
            continue  # round(x, 4) is for a report
        operands = node.args or ([node.func.value] if isinstance(node.func, ast.Attribute) else [])
        inner = [
            part for operand in operands for part, _ in trace(analysis.program, operand, _frame(analysis, operand), 80)
        ]
        if any(is_random(part) for part in inner):
            said = "The number of masked tokens is rounded half to even, so it is not uniform"
            yield analysis.hit(codes.HALF_EVEN, said, node)
            return


def _frame(analysis: Analysis, node: ast.AST) -> Frame:
    return Frame.of(analysis.program, analysis.program.scope(node))
