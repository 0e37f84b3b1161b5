"""Number formats and orders of division on the path to the score."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from bpb_harness.auditing.script import codes
from bpb_harness.auditing.script.domains.analysis import Analysis, Hit
from bpb_harness.auditing.script.domains.trace import comes_from
from bpb_harness.auditing.script.frontend.scopes import last_name
from bpb_harness.auditing.script.frontend.walker import Frame

_NARROW = frozenset(["int16", "short", "uint8", "int8", "uint16"])


def check_precision(analysis: Analysis) -> Iterator[Hit]:
    """16-bit sums, means of ratios."""
    yield from _narrow_sums(analysis)
    yield from _means_of_ratios(analysis)


def _narrow_sums(analysis: Analysis) -> Iterator[Hit]:
    """sum(dtype=int16): it overflows at 32,767 bytes."""
    program = analysis.program
    sums = {call for name in ("sum", "cumsum") for call in program.calls.get(name, []) if _is_kept_narrow(call)}
    for node, _ in analysis.path if sums else ():
        if node in sums:
            yield analysis.hit(codes.NARROW_SUM, "Bytes are summed in a 16-bit type, which overflows at 32,767", node)
            return


def _is_kept_narrow(call: ast.Call) -> bool:
    return any(keyword.arg == "dtype" and last_name(keyword.value) in _NARROW for keyword in call.keywords)


def _means_of_ratios(analysis: Analysis) -> Iterator[Hit]:
    """mean([nats / bytes for each window]): windows of few bytes weigh as much as those of many."""
    for number, terms in enumerate(analysis.terms):
        for term in terms:
            if not term.cross_entropies():
                continue
            mean = next((node for kind, node in term.reductions if kind == "mean"), None)
            if mean is None or not isinstance(mean, ast.Call):
                continue
            ratio = _ratio_inside(analysis, mean)
            if ratio is not None:
                said = "The score is a mean of bits per byte over windows, not total bits over total bytes"
                yield analysis.hit(codes.MEAN_OF_RATIOS, said, ratio, number)
                break


def _ratio_inside(analysis: Analysis, mean: ast.Call) -> ast.AST | None:
    """The quotient of one window that is appended to what is averaged; None where the loop runs over seeds."""
    operand = mean.args[0] if mean.args else None
    if not isinstance(operand, ast.Name):
        return None
    program = analysis.program
    for definition in program.reaching(operand):
        if definition.kind != "mutation" or definition.value is None:
            continue
        loops = [above for above in program.ancestors(definition.statement) if isinstance(above, ast.For | ast.While)]
        if not loops or any(_is_over_runs(loop) for loop in loops):
            continue
        value = definition.value
        if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Div) and _counts_bytes(analysis, value.right):
            return definition.statement
    return None


def _is_over_runs(loop: ast.For | ast.While) -> bool:
    text = ast.unparse(loop.target) + " " + ast.unparse(loop.iter) if isinstance(loop, ast.For) else ""
    return bool(re.search(r"seed|run|trial|fold", text, re.IGNORECASE))


def _counts_bytes(analysis: Analysis, node: ast.expr) -> bool:
    """Whether a divisor is a number of bytes of this window: encoded text, or a sum over a byte table."""
    return comes_from(analysis.program, node, Frame.at(analysis.program, node), _is_of_bytes, 150)


def _is_of_bytes(part: ast.AST) -> bool:
    if isinstance(part, ast.Subscript):
        return re.search("byte", ast.unparse(part.value), re.IGNORECASE) is not None
    return isinstance(part, ast.Call) and last_name(part.func) in ("encode", "id_to_piece", "IdToPiece")
