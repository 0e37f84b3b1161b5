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
    unseeded = not _is_seeded(analysis) and any(map(_draws, analysis.program.nodes.get(ast.Call, [])))
    sines, rounded = list(_sine_hashes(analysis)), list(_rounded_draws(analysis))
    if not (unseeded or sines or rounded):
        return
    scored: dict[ast.AST, None] = {}
    for _, _, score in analysis.scores():
        scored.update(dict.fromkeys(node for node, _ in trace(analysis.program, score.node, score.frame, 1_500)))
    scored.update(dict.fromkeys(draw.node for draw in analysis.masks))
    draws = [node for node in scored if _draws(node)]
    if draws and unseeded:
        yield analysis.hit(codes.UNSEEDED, "Nothing seeds the generator that the evaluation draws from", draws[0])
    for rule, said, places in (
        (codes.SINE_HASH, "The masks come from a hash of sines, which is not uniform", sines),
        (codes.HALF_EVEN, "The number of masked tokens is rounded half to even, so it is not uniform", rounded),
    ):
        place = next((node for node in scored if any(node is other for other in places)), None)
        if place is not None:
            yield analysis.hit(rule, said, place)


def _draws(node: ast.AST) -> bool:
    return is_random(node) or _is_bernoulli(node)


def _is_bernoulli(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and last_name(node.func) in ("bernoulli", "randperm", "multinomial")


def _is_seeded(analysis: Analysis) -> bool:
    calls = analysis.program.calls
    for name in _SEEDERS:
        for call in calls.get(name, []):
            if call.args or call.keywords:
                return True
    return False


def _sine_hashes(analysis: Analysis) -> Iterator[ast.AST]:
    """frac(sin(x * 12.9898) * 43758.5453): a large multiple of a sine, of which the fraction is taken."""
    for sine in analysis.program.calls.get("sin", []):
        product = analysis.program.parent(sine)
        if isinstance(product, ast.BinOp) and isinstance(product.op, ast.Mult):
            scale = analysis.number(product.right if sine is product.left else product.left)
            if scale is not None and abs(scale) > 1_000:
                yield product


def _rounded_draws(analysis: Analysis) -> Iterator[ast.AST]:
    """round(t * L) as a number of tokens to mask: the ends get half their share, and halves go to even numbers."""
    for node in (call for name in ("round", "round_", "rint") for call in analysis.program.calls.get(name, [])):
        if dotted(node.func) == "round" and len(node.args) > 1:
            continue  # round(x, 4) is for a report
        operands = node.args or ([node.func.value] if isinstance(node.func, ast.Attribute) else [])
        for operand in operands:
            frame = Frame.of(analysis.program, analysis.program.scope(operand))
            if any(is_random(part) for part, _ in trace(analysis.program, operand, frame, 80)):
                yield node
                break
