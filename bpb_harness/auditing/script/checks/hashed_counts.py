"""Counts in hashed tables, looked up for the target alone: a quotient that is no distribution over the vocabulary."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from bpb_harness.auditing.script import codes
from bpb_harness.auditing.script.domains.analysis import Analysis, Hit
from bpb_harness.auditing.script.domains.trace import trace
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import last_name
from bpb_harness.auditing.script.frontend.walker import Frame, operands

_MAX_TRACED = 400
_HASHING = (ast.Mod, ast.BitAnd, ast.BitXor)
_ADDING = ("at", "index_add_", "scatter_add_", "put_")
_NO_COUNT = ("sqrt", "exp", "softmax", "norm", "matmul", "dot", "sum", "mean")  # an optimizer, a network, a whole
_HASHES = frozenset(
    ["hash", "crc32", "adler32", "murmurhash", "xxh32", "xxh64", "remainder", "fmod", "bitwise_xor", "bitwise_and"]
)


def check_hashed_counts(analysis: Analysis) -> Iterator[Hit]:
    """counts[hash(context, target)] / counts[hash(context)] on the path to a score.

    Targets that collide share a count, so that the quotients over the vocabulary add up to more than 1; nothing that
    is priced by them is the length of a code.
    """
    counted = _counted_up(analysis.program)
    if not _reads(analysis.program, counted) or not any(
        _looked_up(node) in counted for node, _ in analysis.claimed_path
    ):
        return  # what a quotient of the path is made of is on the path too
    for node, frame in analysis.claimed_path:
        quotient = _quotient(node)
        if quotient is None:
            continue
        above = _hashed_entries(analysis.program, quotient[0], frame, counted)
        below = _hashed_entries(analysis.program, quotient[1], frame, counted) if above else {}
        if below and _is_count(analysis.program, quotient[1], frame, counted):
            divided = _divided(analysis.program, *quotient)
            tables = ", ".join(sorted({*above.values(), *below.values()}))
            said = f"{divided}, so this is no probability, and a score made of it is too low (too good)"
            yield analysis.hit(codes.HASHED_COUNTS, said, node, evidence={"tables": tables})
            return


def _divided(program: Program, over: ast.expr, under: ast.expr) -> str:
    """What a count is divided by, in words, with what that does to the sum over all tokens."""
    if ast.dump(over) in map(ast.dump, _addends(under)):
        return _OF_ITSELF
    parts = (part for part in _written_out(program, over) if isinstance(part, ast.Call))
    is_cut = any(last_name(part.func) in _BOUNDING for part in parts)
    return f"A count of a hashed context with its target{_CUT if is_cut else ''}{_OF_CONTEXT}"


def _addends(node: ast.expr) -> list[ast.expr]:
    """The summands of a divisor, behind a bound on it: of np.maximum(n + 1024, 1)."""
    if isinstance(node, ast.Call) and last_name(node.func) in _RAISING:
        return [each for operand in operands(node) for each in _addends(operand)]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return [*_addends(node.left), *_addends(node.right)]
    return [node]


_RAISING = frozenset(["maximum", "max", "clamp", "clamp_min", "clip", "float"])
_BOUNDING = frozenset(["minimum", "min", "fmin", "clamp", "clamp_max", "clip"])
_CUT = ", cut to at most that of the context,"
_OF_CONTEXT = (
    " is divided by the count of the context, for the target alone: targets that collide add up to more than 1"
)
_OF_ITSELF = (
    "A count of a hashed context with its target is divided by itself and a constant, for the target alone: over all "
    "tokens such quotients do not add up to 1"
)


def _reads(program: Program, tables: set[str]) -> bool:
    """Whether the program looks anything up in one of some tables."""
    places = (node for node in program.nodes.get(ast.Subscript, []) if _looked_up(node) in tables)
    return any(not isinstance(node.ctx, ast.Store) for node in places if isinstance(node, ast.Subscript))


def _quotient(node: ast.AST) -> tuple[ast.expr, ast.expr] | None:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        return node.left, node.right
    if isinstance(node, ast.Call) and last_name(node.func) in ("divide", "true_divide", "div") and len(node.args) == 2:
        return node.args[0], node.args[1]
    return None


def _is_count(program: Program, below: ast.expr, frame: Frame, counted: set[str]) -> bool:
    """Whether a divisor is the count of one place for the target alone, and no sum over several, root or norm.

    What weighs one of two places is a share of both counts; what is divided by the sum over a table adds up to 1, and
    what is divided by a column has every token of the vocabulary in its rows.
    """
    if any(isinstance(part, ast.Subscript) and _is_column(part.slice) for part in ast.walk(below)):
        return False
    if any(isinstance(part, ast.Call) and last_name(part.func) in _NO_COUNT for part in _written_out(program, below)):
        return False
    addends = [below]
    while isinstance(first := addends[0], ast.BinOp) and isinstance(first.op, ast.Add):
        addends[:1] = [first.left, first.right]
    return sum(bool(_tables(program, addend, frame, counted)) for addend in addends) <= 1


def _is_column(index: ast.expr) -> bool:
    """Whether an index is ``[:, None]``: a dimension more, to divide rows by."""
    return isinstance(index, ast.Tuple) and any(
        (isinstance(each, ast.Constant) and each.value is None) or last_name(each) == "newaxis" for each in index.elts
    )


def _written_out(program: Program, node: ast.expr) -> Iterator[ast.AST]:
    """The parts of an expression, its names replaced by what they were assigned, once; without indices.

    A hash may be a sum over a context: how a place is found says nothing of what is looked up there.
    """
    for part in _without_indices(node):
        yield part
        if isinstance(part, ast.Name):
            for definition in program.reaching(part):
                if definition.kind == "assign" and definition.value is not None:
                    yield from _without_indices(definition.value)


def _without_indices(node: ast.AST) -> Iterator[ast.AST]:
    waiting = [node]
    while waiting:
        part = waiting.pop()
        yield part
        waiting += [part.value] if isinstance(part, ast.Subscript) else ast.iter_child_nodes(part)


def _hashed_entries(program: Program, node: ast.expr, frame: Frame, counted: set[str]) -> dict[ast.expr, str]:
    """The hashed places at which a value is looked up in tables of counts, and the names of those."""
    entries = _tables(program, node, frame, counted)
    return {index: name for name, index, where in entries if _is_hashed(program, index, where)}


def _tables(program: Program, node: ast.expr, frame: Frame, counted: set[str]) -> list[tuple[str, ast.expr, Frame]]:
    """Look-ups in tables of counts on the way to a value: the table's name, the place, the frame."""
    found = []

    def opened(part: ast.AST) -> Sequence[ast.AST]:  # how an entry's place is found is long, and no entry
        return () if _looked_up(part) in counted else program.parts(part)

    for part, where in trace(program, node, frame, _MAX_TRACED, opened):
        name = _looked_up(part)
        if name in counted and isinstance(part, ast.Subscript):
            found.append((str(name), part.slice, where))
    return found


def _looked_up(node: ast.AST) -> str | None:
    """The table that an entry is looked up in: of table[k], table[order][k]."""
    if not isinstance(node, ast.Subscript) or isinstance(node.slice, ast.Slice | ast.Constant):
        return None
    return last_name(node.value) or (last_name(node.value.value) if isinstance(node.value, ast.Subscript) else None)


def _counted_up(program: Program) -> set[str]:
    """The tables to whose entries the program adds: table[k] += 1, np.add.at(table, k, 1)."""
    tables: list[ast.expr] = []
    for node in program.nodes.get(ast.AugAssign, []):
        if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add) and isinstance(node.target, ast.Subscript):
            tables.append(node.target)
    for call in (call for name in _ADDING for call in program.calls.get(name, [])):
        tables += [*call.args[:1], *([call.func.value] if isinstance(call.func, ast.Attribute) else [])]
    return {_base(table) for table in tables} - {""}


def _base(node: ast.expr) -> str:
    while isinstance(node, ast.Subscript):
        node = node.value
    return last_name(node)


def _is_hashed(program: Program, index: ast.expr, frame: Frame) -> bool:
    """Whether a place in a table is worked out by multiplying and folding, not taken as an id."""
    parts = [part for part, _ in trace(program, index, frame, _MAX_TRACED)]
    if any(isinstance(part, ast.Call) and last_name(part.func) in _HASHES for part in parts):
        return True
    folded = any(isinstance(part, ast.BinOp) and isinstance(part.op, _HASHING) for part in parts)
    mixed = any(
        isinstance(part, ast.BinOp) and isinstance(part.op, ast.Mult | ast.BitXor | ast.LShift) for part in parts
    )
    return folded and mixed
