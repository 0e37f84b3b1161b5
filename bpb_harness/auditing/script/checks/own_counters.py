"""BPB154 where the claimed score is divided by a count of its own, beside the byte table that the others are held by.

A mixture over bytes spells the tokens out: it joins the pieces of all tokens, or adds up their lengths, and divides by
how many bytes that gives. Such a table may count byte pieces by their spelling though the script's first one does not.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from bpb_harness.auditing.script import codes
from bpb_harness.auditing.script.domains.analysis import Analysis, Hit, doubted
from bpb_harness.auditing.script.domains.byte_counts import Counter
from bpb_harness.auditing.script.domains.cancel import Factor
from bpb_harness.auditing.script.domains.divisors import is_plain, may_be_bytes
from bpb_harness.auditing.script.domains.own_vocabulary import is_public_vocabulary
from bpb_harness.auditing.script.domains.pieces import (
    BYTE,
    CONTROL,
    SUFFIX,
    WORD,
    ByteLoop,
    Specimen,
    find_byte_loops,
)  # fmt: skip
from bpb_harness.auditing.script.frontend.index import nodes_within
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import last_name
from bpb_harness.findings import Json, Severity

_BUG = "byte_pieces_by_spelling"
_SLACK = 2e-4  # relative; by which the smallest known factor is rounded
_RIGHT = 3e-3  # relative; what right counts of public logs differ from the table by
_PLAIN = frozenset(["int", "float", "max", "bytes"])  # what leaves a count, or a string of bytes, as it is
_MOST_NAMES = 6  # that a count is followed through


def check_own_counters(analysis: Analysis) -> Iterator[Hit]:
    """Tables that count byte pieces by their spelling, and by whose total the claimed score is divided."""
    loops = find_byte_loops(analysis.program)
    spelt = [loop for loop in loops if any(_spells(loop, name) for name in _names(loop))]
    if not spelt or not analysis.claimed or _is_judged(analysis, loops, spelt):
        return
    for node, _ in analysis.claimed_path:
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            loop = next((each for each in spelt if _is_total(analysis.program, node.right, each)), None)
            divides = _divides(analysis, loop) if loop is not None else False
            if loop is not None and divides is not False and (hit := _hit(analysis, loop, node)) is not None:
                yield hit if divides else _beside_another(hit)
                return


def _divides(analysis: Analysis, loop: ByteLoop) -> bool | None:
    """Whether the claimed score is divided by a table's total alone; None where that cannot be told.

    A total that stands elsewhere on the way (a weight, a rate that is taken back) is no divisor of the score. Of the
    values that the score may have (a mixture, or the plain score where that is left out) one is enough: which of them
    it was, the bytes that the log prints tell.
    """
    program, ways = analysis.program, set[bool | None]()
    for term in (term for number in sorted(analysis.claimed) for term in analysis.terms[number]):
        own = [change for change in term.below if all(_is_total_of(program, each, loop) for each in change.factors)]
        others = [change for change in term.below if change not in own and may_be_bytes(program, change)]
        above = [each for each in term.factors if each.power > 0 and not is_plain(program, each)]
        if own or others:
            is_told = len(above) == 1 and bool(own) is not bool(others)  # one sum of prices, divided by one count
            ways.add(bool(own) if is_told else None)
    return None if None in ways or not ways else True in ways


def _is_total_of(program: Program, factor: Factor, loop: ByteLoop) -> bool:
    """Whether a factor is a table's total, or entries of the table that were added up, whatever the token is."""
    is_chosen = any(isinstance(node, ast.IfExp) for node in program.upward(factor.node))
    is_sum = bool(factor.sums) and not is_chosen and _is_of_table(program, factor.node, loop)
    return is_sum or _is_total(program, factor.node, loop)


def _beside_another(hit: Hit) -> Hit:
    return doubted(hit, "Whether that count is what the score is divided by in the end, the script does not tell.")


def _is_judged(analysis: Analysis, loops: list[ByteLoop], spelt: Sequence[ByteLoop]) -> bool:
    """Whether one of these is the byte table that the reported scores are made of."""
    for terms in analysis.terms:
        counter = Counter(analysis.program, loops)
        if counter.count(terms, WORD) is not None and counter.used in spelt:
            return True
    return False


def _hit(analysis: Analysis, loop: ByteLoop, divided: ast.BinOp) -> Hit | None:
    times = analysis.context.printed_times
    bug = next((each for each in analysis.context.rules.pack.byte_factors if each.name == _BUG), None)
    if times is not None and abs(times - 1.0) <= _RIGHT:
        return None  # the log counts them right
    fits = times is not None and bug is not None and bug.lowest * (1.0 - _SLACK) <= times <= bug.highest
    control = next((value for name in _names(loop) if (value := _counted(loop, CONTROL, name)) is not None), 0.0)
    also = f" and {control:g} for `<s>`, which stands for no text" if control else ""
    told = f": {analysis.context.printed_at} prints {times:.5f} times the bytes of the text" if fits else ""
    said = (
        "The script divides the claimed score by another count than that of its first byte table, and that count has 6 "
        f"bytes for the byte token `<0x41>`, the letters of its name, in place of 1{also}: the score is too low (too "
        f"good){told}."
    )
    evidence: dict[str, Json] = {
        f"counted for {each.name}": next(
            (n for name in _names(loop) if (n := _counted(loop, each, name)) is not None), None
        )
        for each in (WORD, SUFFIX, BYTE, CONTROL)
    }
    # One vocabulary or another may have no byte pieces.
    severity, place = None if fits and is_public_vocabulary(analysis) else Severity.WARNS, _asking(loop)
    factor = times if severity is None else None
    evidence["is_second_count"] = True
    return Hit(codes.BYTE_SPELLING, said, place, None, factor, severity, evidence, (place, divided))


def _asking(loop: ByteLoop) -> ast.AST:
    """The statement of the loop that spells a piece as bytes, or the loop."""
    for part in nodes_within(loop.node):
        if isinstance(part, ast.Assign) and any(
            isinstance(each, ast.Call) and last_name(each.func) == "encode" for each in nodes_within(part)
        ):
            return part
    return loop.node


def _names(loop: ByteLoop) -> list[str]:
    """The tables and strings of bytes that a loop fills."""
    outcome = loop.outcomes[WORD.name]
    return [*outcome.writes, *outcome.extended]


def _counted(loop: ByteLoop, specimen: Specimen, name: str) -> float | None:
    """The bytes of a token by a table of lengths, a table of spellings, or a string that is made longer."""
    outcome = loop.outcomes[specimen.name]
    value = outcome.writes.get(name, outcome.extended.get(name))
    if isinstance(value, bytes):
        return float(len(value))
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _spells(loop: ByteLoop, name: str) -> bool:
    """Whether words are counted right, and byte pieces by the letters of their names."""
    counted = [_counted(loop, each, name) for each in (WORD, SUFFIX, BYTE)]
    return counted == [WORD.num_bytes, SUFFIX.num_bytes, len(BYTE.piece)]


def _is_total(program: Program, node: ast.expr, loop: ByteLoop, depth: int = 0) -> bool:
    """Whether an expression is the bytes of all tokens: len(join of spellings), the sum of lengths, len(string)."""
    if isinstance(node, ast.Name):
        behind = _assigned(program, node) if depth < _MOST_NAMES else []
        return bool(behind) and all(_is_total(program, value, loop, depth + 1) for value in behind)
    if not isinstance(node, ast.Call):
        return False
    name = last_name(node.func)
    if name == "sum":
        summed = node.func.value if isinstance(node.func, ast.Attribute) and not node.args else _first(node)
        return summed is not None and _is_of_table(program, summed, loop)
    first = _first(node)
    if first is None:
        return False
    if name == "len":
        return _is_spelling(program, first, loop)
    return name in _PLAIN and _is_total(program, first, loop, depth + 1)


def _is_spelling(program: Program, node: ast.expr, loop: ByteLoop, depth: int = 0) -> bool:
    """Whether an expression is the text as a table spells it: b"".join(table[t] for t in tokens), or a string."""
    if isinstance(node, ast.Name):
        if node.id in loop.outcomes[WORD.name].extended and program.scope(node) is loop.scope:
            return True
        behind = _assigned(program, node) if depth < _MOST_NAMES else []
        return bool(behind) and all(_is_spelling(program, value, loop, depth + 1) for value in behind)
    first = _first(node) if isinstance(node, ast.Call) else None
    if first is None or not isinstance(node, ast.Call):
        return False
    if last_name(node.func) == "join":
        return isinstance(first, ast.GeneratorExp | ast.ListComp) and _is_of_table(program, first.elt, loop)
    return last_name(node.func) in _PLAIN and _is_spelling(program, first, loop, depth + 1)


def _is_of_table(program: Program, node: ast.expr, loop: ByteLoop, depth: int = 0) -> bool:
    """Whether an expression is entries of a table of the loop, or the table that has one for each token."""
    if isinstance(node, ast.Subscript):
        return _is_of_table(program, node.value, loop, depth)
    if isinstance(node, ast.GeneratorExp | ast.ListComp):
        return _is_of_table(program, node.elt, loop, depth)
    if not isinstance(node, ast.Name):
        return False
    if node.id in loop.written and program.scope(node) is loop.scope and _spells(loop, node.id):
        return True
    behind = _assigned(program, node) if depth < _MOST_NAMES else []
    return bool(behind) and all(_is_of_table(program, value, loop, depth + 1) for value in behind)


def _assigned(program: Program, node: ast.Name) -> list[ast.expr]:
    """All that a name was assigned as a whole; nothing where something else may have given it a value."""
    defined = program.reaching(node)
    if any(each.kind != "assign" or each.value is None or each.index for each in defined):
        return []
    return [each.value for each in defined if each.value is not None]


def _first(node: ast.Call) -> ast.expr | None:
    return node.args[0] if node.args else None
