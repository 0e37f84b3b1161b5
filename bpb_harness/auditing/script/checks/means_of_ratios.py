"""A score that is a mean of scores: windows of few bytes weigh as much as those of many."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from bpb_harness.auditing.script import codes
from bpb_harness.auditing.script.domains.analysis import Analysis, Hit
from bpb_harness.auditing.script.domains.trace import comes_from
from bpb_harness.auditing.script.frontend.scopes import last_name
from bpb_harness.auditing.script.frontend.walker import Frame


def check_means_of_ratios(analysis: Analysis) -> Iterator[Hit]:
    """mean([nats / bytes for each window])."""
    said = "The score is a mean of bits per byte over windows, not total bits over total bytes"
    for number, terms in enumerate(analysis.terms):
        for term in (term for term in terms if term.cross_entropies()):
            mean = next((node for kind, node in term.reductions if kind == "mean"), None)
            ratio = _ratio_inside(analysis, mean) if isinstance(mean, ast.Call) else None
            if ratio is not None:
                yield analysis.hit(codes.MEAN_OF_RATIOS, said, ratio, number)
                break


def _ratio_inside(analysis: Analysis, mean: ast.Call) -> ast.AST | None:
    """The quotient of one window that is appended to what is averaged; None where the loop runs over seeds."""
    program, operand = analysis.program, mean.args[0] if mean.args else None
    for each in program.reaching(operand) if isinstance(operand, ast.Name) else ():
        value, above = each.value, program.ancestors(each.statement)
        loops = [loop for loop in above if isinstance(loop, ast.For | ast.While)]
        if each.kind != "mutation" or not loops or any(map(_is_over_runs, loops)):
            continue
        # Divided by bytes of this window: of encoded text, or a sum over a table.
        by = value.right if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Div) else None
        if by is not None and comes_from(program, by, Frame.at(program, by), _is_of_bytes, 150):
            return each.statement
    return None


def _is_over_runs(loop: ast.For | ast.While) -> bool:
    text = ast.unparse(loop.target) + " " + ast.unparse(loop.iter) if isinstance(loop, ast.For) else ""
    return bool(re.search(r"seed|run|trial|fold", text, re.IGNORECASE))


def _is_of_bytes(part: ast.AST) -> bool:
    if isinstance(part, ast.Subscript):
        return re.search("byte", ast.unparse(part.value), re.IGNORECASE) is not None
    return isinstance(part, ast.Call) and last_name(part.func) in ("encode", "id_to_piece", "IdToPiece")
