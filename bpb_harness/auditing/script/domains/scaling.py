"""Constants among the factors of a score that stand for no change of units, and for no number of things."""

from __future__ import annotations

import ast
import itertools
import math
from collections.abc import Iterator, Sequence

from bpb_harness.auditing.script.domains.algebra import Term, is_cross_entropy
from bpb_harness.auditing.script.domains.analysis import Analysis
from bpb_harness.auditing.script.domains.byte_counts import Counter
from bpb_harness.auditing.script.domains.cancel import Factor
from bpb_harness.auditing.script.domains.pieces import SUFFIX, find_byte_loops
from bpb_harness.auditing.script.domains.values import Evaluator
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import last_name
from bpb_harness.auditing.script.frontend.walker import Frame

LN2 = math.log(2.0)
UNIT = 2e-3
"""Relative; as near as rounded constants come to ln 2."""

_LEAST = 2e-3  # relative; what a constant moves less than that is rounding
_LARGEST = 20.0
_LOGARITHMS = frozenset(["log", "log2", "log10", "log1p"])
_HOW_MANY = frozenset(["numel", "size", "len", "sum", "count_nonzero"])
_MOST_NUMBERS = 8  # whose products are looked at
_DEEPEST = 4
Constant = tuple[Factor, float]
"""A factor that is a number, and its value."""


def scalings(analysis: Analysis) -> Iterator[tuple[int, list[Constant], float]]:
    """The scores of which each summand has the same constants: which score, the constants, and what they make of it.

    Only of plain prices of tokens (no masks are drawn) that are divided by bytes which were followed. Whole numbers and
    their reciprocals are numbers of things.

    Args:
        analysis: of the scripts.
    """
    loops = find_byte_loops(analysis.program)
    if not loops or analysis.masks:
        return
    for number, terms in enumerate(analysis.terms):
        scored = [term for term in terms if term.cross_entropies()]
        if not scored or Counter(analysis.program, loops).count(scored, SUFFIX) != SUFFIX.num_bytes:
            continue
        found = [_scaling(analysis, term) for term in scored]
        first = found[0]
        if first is None or any(each is None or _ids(each[0]) != _ids(first[0]) for each in found):
            continue
        yield number, *first


def _ids(constants: Sequence[Constant]) -> set[int]:
    return {id(factor.node) for factor, _ in constants}


def _scaling(analysis: Analysis, term: Term) -> tuple[list[Constant], float] | None:
    """The constants of a product that are no change of units, and what they multiply it by; None where none is."""
    if len(term.cross_entropies()) != 1 or len(term.choices) > 0:
        return None
    numbers = _numbers(analysis, term)
    if numbers is None:
        return None
    constants = [each for each in numbers if not _is_of_things(each[1])]
    of_things = [value**factor.power for factor, value in numbers if _is_of_things(value)]
    units = [each for each in constants if abs(each[1] ** each[0].power * LN2 - 1.0) <= UNIT]
    if units:
        others, scale = [each for each in constants if each is not units[0]], 1.0
    else:  # a logarithm to another base in the place of it
        others = [each for each in constants if each[0].power < 0 and is_logarithm(analysis.program, each[0])]
        if len(others) != 1 or len(constants) != 1:
            return None
        scale = LN2
    if not all(_is_written_out(analysis.program, factor.node, factor.frame) for factor, _ in others):
        return None
    for factor, value in others:
        scale *= value**factor.power
    is_told = abs(scale - 1.0) > _LEAST and 1.0 / _LARGEST < scale < _LARGEST
    return (others, scale) if others and is_told and not _may_undo(of_things, scale) else None


def _numbers(analysis: Analysis, term: Term) -> list[Constant] | None:
    """Factors that are numbers; None where one may be, and is not known: all that is known is part of the change then.

    What may be none is the price of a token, how many of something there are, and the bytes, which are counted.
    """
    found: list[Constant] = []
    for factor in term.factors:
        evaluator = Evaluator(analysis.program)
        value = evaluator.number(factor.node, factor.frame)
        if value is not None and value > 0.0 and not evaluator.leaves:
            found.append((factor, value))
        elif not (is_cross_entropy(factor.node) or (factor.power < 0 and factor.total) or _is_how_many(factor.node)):
            return None
    return found


def _is_how_many(node: ast.expr) -> bool:
    """y.numel(), y.size(0), y.shape[0], len(y), (y >= 0).sum()."""
    return any(
        (isinstance(part, ast.Call) and last_name(part.func) in _HOW_MANY)
        or (isinstance(part, ast.Attribute) and part.attr == "shape")
        for part in ast.walk(node)
    )


def is_no_unit(scale: float) -> bool:
    """Whether a factor is no number of things, and stands for no change between nats and bits."""
    is_unit = any(abs(scale * unit - 1.0) <= UNIT for unit in (LN2, 1.0 / LN2))
    is_told = abs(scale - 1.0) > _LEAST and 1.0 / _LARGEST < scale < _LARGEST
    return is_told and not is_unit and not _is_of_things(scale)


def _is_of_things(value: float) -> bool:
    """Whole numbers and their reciprocals: numbers of tokens, of windows, of processes."""
    return _is_whole(value) or _is_whole(1.0 / value)


def _may_undo(numbers: Sequence[float], scale: float) -> bool:
    """Whether some numbers of things give a score its unit back: 8 * loss / math.log(256)."""
    others = [each for each in numbers if each != 1.0]
    return len(others) > _MOST_NUMBERS or any(
        abs(scale * math.prod(chosen) - 1.0) <= _LEAST
        for length in range(len(others) + 1)
        for chosen in itertools.combinations(others, length)
    )


def _is_whole(value: float) -> bool:
    return abs(value - round(value)) < 1e-9


def _is_written_out(program: Program, node: ast.expr, frame: Frame, depth: int = 0) -> bool:
    """Whether a number stands in the script as such, 0.95 or math.log(10), in a product, and in no sum or mixture."""
    if depth == 0 and _is_in_a_sum(program, node):
        return False
    if isinstance(node, ast.Constant):
        return True
    if isinstance(node, ast.Call):
        return last_name(node.func) in _LOGARITHMS and all(isinstance(each, ast.Constant) for each in node.args)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult | ast.Div):
        return all(_is_written_out(program, side, frame, depth + 1) for side in (node.left, node.right))
    value = program.only_value(node)
    return value is not None and depth < _DEEPEST and _is_written_out(program, value, frame, depth + 1)


def _is_in_a_sum(program: Program, node: ast.expr) -> bool:
    """Whether a factor stands in a statement that adds or takes away: an average that moves along, a mixture."""
    statement: ast.AST | None = node
    while statement is not None and not isinstance(statement, ast.stmt):
        statement = program.parent(statement)
        if isinstance(statement, ast.BinOp) and isinstance(statement.op, ast.Add | ast.Sub):
            return True
    value = getattr(statement, "value", None)
    return value is None or _adds(value)


def _adds(node: ast.expr) -> bool:
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, ast.Add | ast.Sub) or _adds(node.left) or _adds(node.right)
    return isinstance(node, ast.IfExp | ast.BoolOp | ast.Compare)


def is_logarithm(program: Program, factor: Factor) -> bool:
    """math.log(10.0), or a name of it: of a number that somebody took for the base."""
    node: ast.expr | None = factor.node
    if isinstance(node, ast.Name):
        defined = program.reaching(node)
        node = defined[0].value if len(defined) == 1 else None
    is_natural = isinstance(node, ast.Call) and last_name(node.func) == "log" and len(node.args) == 1
    return is_natural and node is not None and _is_written_out(program, node, factor.frame)
