"""A constant among the factors of a score that stands for no change of units: on the loss, or beside the bytes."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from bpb_harness.auditing.script import codes
from bpb_harness.auditing.script.domains.analysis import Analysis, Hit
from bpb_harness.auditing.script.domains.scaling import LN2, UNIT, Constant, is_logarithm, scalings
from bpb_harness.auditing.script.domains.sinks import printed_losses
from bpb_harness.findings import Json, Severity


def check_scaled_bits(analysis: Analysis) -> Iterator[Hit]:
    """bits = val_loss / math.log(2.0) * 0.95, bits = val_loss / math.log(10.0), return 0.95 * F.cross_entropy(...)."""
    for number, constants, scale in scalings(analysis):
        yield _hit(analysis, number, constants, scale)


def _hit(analysis: Analysis, number: int, others: Sequence[Constant], scale: float) -> Hit:
    nodes = [factor.node for factor, _ in others]
    said = " and ".join(_told(analysis, each) for each in others)
    off = f"{100 * abs(scale - 1.0):.1f} % too {'low (too good)' if scale < 1.0 else 'high (worse than it is)'}"
    evidence: dict[str, Json] = {"constants": [value for _, value in others], "scale": scale}
    printed = printed_losses(analysis.program, analysis.sinks[number])
    losses = [term for loss in printed for term in analysis.algebra.terms(loss)]
    of_loss = {id(factor.node) for term in losses for factor in term.factors}
    if all(id(node) in of_loss for node in nodes):
        message = f"The loss that is scored is {said}: what is printed as the loss, and the score, are {off}."
        return Hit(codes.NO_CODE_LENGTH, message, nodes[0], number, 1.0 / scale, None, evidence, tuple(nodes))
    message = f"Beside the bytes that the script counts, the bits are {said}: by that the score is {off}."
    if not losses:  # nothing tells whether a printed loss has it too
        return Hit(codes.NO_CODE_LENGTH, message, nodes[0], number, None, Severity.WARNS, evidence, tuple(nodes))
    return Hit(codes.SCALED_BITS, message, nodes[0], number, 1.0 / scale, None, evidence, tuple(nodes))


def _told(analysis: Analysis, constant: Constant) -> str:
    factor, value = constant
    written = ast.unparse(factor.node)
    shown = written if isinstance(factor.node, ast.Constant) else f"{written} = {value:.6g}"
    if factor.power < 0 and is_logarithm(analysis.program, factor) and abs(value / LN2 - 1.0) > UNIT:
        return f"divided by {shown} (bits take ln 2 = 0.693147)"
    return f"{'divided' if factor.power < 0 else 'multiplied'} by {shown}"
