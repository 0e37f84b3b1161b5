"""One vector that is fitted to several windows of a batch at once, which overlap: each without what it scores.

Of windows that begin a stride apart each scores its last tokens, so many as the stride has. These stand in the next
window too, before the tokens that this scores: where one vector is fitted to what stands before the scored tokens of
both, the tokens that the first scores are in the fit. A vector for each window, or a batch of one, has not seen them.
"""

from __future__ import annotations

import ast

from bpb_harness.auditing.script.domains.analysis import Analysis
from bpb_harness.auditing.script.domains.fitted_window import (
    fitted_by,
    from_end,
    is_scored_with,
    named_as,
    parts_scored,
)
from bpb_harness.auditing.script.domains.plain_loss import cost_of
from bpb_harness.auditing.script.domains.scored_tokens import ScoredTokens
from bpb_harness.auditing.script.domains.values import IDENTITY, Evaluator
from bpb_harness.auditing.script.domains.ways import Way
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import Definition, last_name
from bpb_harness.auditing.script.frontend.walker import Frame, operands

_MAX_NAMES = 10
_ZEROS = frozenset(["zeros", "zeros_like", "new_zeros", "empty", "full"])
_FRESH = frozenset(["zeros", "new_zeros", "ones", "randn", "empty", "Parameter"])


def shared_fit(
    analysis: Analysis, tokens: ScoredTokens, loss: ast.expr, learning: Way, scoring: ast.AST
) -> ast.Call | None:
    """The cross-entropy of steps on what stands before the scored tokens of several overlapping windows, if it is one.

    Args:
        analysis: the scripts.
        tokens: what is scored.
        loss: what the steps go down.
        learning: the way to them, from where it is not the score's.
        scoring: the score, or the call that comes to it.
    """
    program, cost = analysis.program, cost_of(analysis.program, loss)
    learnt = None if cost is None or cost[2] or len(learning) > 1 else _up_to(program, cost[1])
    if cost is None or learnt is None:
        return None
    batch, end = learnt
    scored = named_as(program, tokens.target, batch.id)
    if scored is None or {*program.reaching(batch)} != {*program.reaching(scored.name)}:
        return None
    strides = [from_end(program, part, tokens) for part in parts_scored(analysis, tokens)]
    stride = _taken_off(end)
    if stride is None or not strides or any(each is None or not _is_same(each, stride) for each in strides):
        return None
    if not _is_of_neighbours(program, batch, stride, tokens.score.frame):
        return None
    is_shared = _is_one_for_all(program, learning) and is_scored_with(program, scoring, learning)
    return cost[0] if is_shared else None


def _up_to(program: Program, target: ast.expr) -> tuple[ast.Name, ast.expr] | None:
    """y and n of y[:, :n], and of y[mask] where rows of the mask were made true up to n."""
    while isinstance(target, ast.Call) and last_name(target.func) in IDENTITY and operands(target):
        target = operands(target)[0]
    if not isinstance(target, ast.Subscript) or not isinstance(target.value, ast.Name):
        return None
    index: ast.expr | None = target.slice
    if isinstance(index, ast.Name):
        masked = [each for each in program.reaching(index) if each.key is not None]
        made = [each for each in program.reaching(index) if each.key is None]
        if len(masked) != 1 or len(made) != 1 or not _is_zeros(made[0]) or not _is_true(masked[0].value):
            return None
        index = masked[0].key
    return None if index is None else _prefix(target.value, index)


def _prefix(name: ast.Name, index: ast.expr) -> tuple[ast.Name, ast.expr] | None:
    """A name, and n of the index [:, :n] or [b, :n]."""
    last = index.elts[-1] if isinstance(index, ast.Tuple) and len(index.elts) == 2 else None
    first = index.elts[0] if isinstance(index, ast.Tuple) else None
    is_prefix = isinstance(last, ast.Slice) and last.lower is None and last.step is None
    is_each = isinstance(first, ast.Slice | ast.Name)
    end = last.upper if isinstance(last, ast.Slice) and is_prefix and is_each else None
    return None if end is None else (name, end)


def _is_zeros(made: Definition) -> bool:
    return isinstance(made.value, ast.Call) and last_name(made.value.func) in _ZEROS


def _is_true(value: ast.expr | None) -> bool:
    return isinstance(value, ast.Constant) and value.value in (1, 1.0, True)


def _taken_off(end: ast.expr) -> ast.expr | None:
    """What a part leaves out at the end: s of :max(n - s, 0), of :n - s and of :-s."""
    if isinstance(end, ast.Call) and last_name(end.func) == "max":
        end = next((each for each in end.args if not isinstance(each, ast.Constant)), end)
    if isinstance(end, ast.UnaryOp) and isinstance(end.op, ast.USub):
        return end.operand
    return end.right if isinstance(end, ast.BinOp) and isinstance(end.op, ast.Sub) else None


def _is_same(one: ast.expr, other: ast.expr) -> bool:
    return ast.dump(one) == ast.dump(other)


def _is_of_neighbours(program: Program, batch: ast.Name, stride: ast.expr, frame: Frame) -> bool:
    """Whether the rows of a batch are windows that begin a stride apart, and there is more than one of them."""
    rows = [each for each in program.reaching(batch) if each.key is not None]
    loops = [up for each in rows[:1] for up in program.ancestors(each.statement) if isinstance(up, ast.For)]
    listed = loops[0].iter if len(rows) == 1 and loops else None
    if isinstance(listed, ast.Call) and last_name(listed.func) == "enumerate" and listed.args:
        listed = listed.args[0]
    parts: list[ast.Slice] = []
    for _ in range(_MAX_NAMES):
        value = program.only_value(listed) if isinstance(listed, ast.Name) else None
        if isinstance(listed, ast.Subscript) and isinstance(listed.slice, ast.Slice):
            parts.append(listed.slice)
            listed = listed.value
        elif isinstance(listed, ast.Name):
            listed = value if value is not None else _first_given(program, listed)
        elif isinstance(listed, ast.ListComp) and len(listed.generators) == 1:
            target = listed.generators[0].target
            is_plain = isinstance(target, ast.Name) and isinstance(listed.elt, ast.Name) and listed.elt.id == target.id
            listed = listed.generators[0].iter if is_plain else None
        elif isinstance(listed, ast.Call) and last_name(listed.func) == "list" and listed.args:
            listed = listed.args[0]
    is_range = isinstance(listed, ast.Call) and last_name(listed.func) == "range" and len(listed.args) == 3
    if not is_range or not isinstance(listed, ast.Call) or not _is_same(listed.args[2], stride):
        return False
    return bool(parts) and all(each.step is None for each in parts) and _is_of_several(program, parts[0], frame)


def _first_given(program: Program, name: ast.Name) -> ast.expr | None:
    """What a name is first given, where all that it is given behind that is parts of itself: w = w[:n]."""
    made = [each for each in program.reaching(name) if each.kind == "assign" and each.value is not None]
    own = [each for each in made if isinstance(each.value, ast.Subscript) and _is_part_of(each.value, name)]
    others = [each.value for each in made if each not in own]
    return others[0] if len(others) == 1 else None


def _is_part_of(value: ast.Subscript, name: ast.Name) -> bool:
    is_plain = isinstance(value.slice, ast.Slice) and value.slice.step is None
    return is_plain and isinstance(value.value, ast.Name) and value.value.id == name.id


def _is_of_several(program: Program, part: ast.Slice, frame: Frame) -> bool:
    """Whether i : i + n has more than one entry."""
    upper = part.upper
    if part.lower is None or not isinstance(upper, ast.BinOp) or not isinstance(upper.op, ast.Add):
        return False
    sides = [side for side in (upper.left, upper.right) if not _is_same(side, part.lower)]
    number = Evaluator(program).number(sides[0], frame) if len(sides) == 1 else None
    return number is not None and number > 1


def _is_one_for_all(program: Program, learning: Way) -> bool:
    """Whether what steps change has no entry of its own for each row: torch.zeros(1, 1, width)."""
    names = {*fitted_by(program, learning)}
    scope = program.scope(learning[-1][0])
    for name in names:
        made = [each.value for each in scope.definitions.get(name, ()) if each.kind == "assign"]
        calls = [value for value in made if isinstance(value, ast.Call) and last_name(value.func) in _FRESH]
        sizes = [call.args[0] for call in calls if call.args and not _is_of_more(call)]
        if len(sizes) != len(made) or not all(map(_is_of_one, sizes)):
            return False
    return bool(names)


def _is_of_more(call: ast.Call) -> bool:
    """torch.zeros(h.size(-1), 8): of more dimensions than the last one of another."""
    inner = call.args[0] if call.args else None
    if isinstance(inner, ast.Call) and last_name(inner.func) in _FRESH:
        return _is_of_more(inner)
    return len(call.args) > 1 and inner is not None and _is_last(inner)


def _is_of_one(size: ast.expr) -> bool:
    """Whether the first dimension of a shape is written out as 1, or the shape is the last dimension of another."""
    if isinstance(size, ast.Call) and last_name(size.func) in _FRESH and size.args:
        return _is_of_one(size.args[0])  # Parameter(torch.zeros(1, 1, width))
    first = size.elts[0] if isinstance(size, ast.Tuple | ast.List) and size.elts else size
    return (isinstance(first, ast.Constant) and first.value == 1) or (first is size and _is_last(size))


def _is_last(size: ast.expr) -> bool:
    """h.size(-1), h.shape[-1]."""
    place = size.slice if isinstance(size, ast.Subscript) and last_name(size.value) == "shape" else None
    if isinstance(size, ast.Call) and last_name(size.func) == "size" and len(size.args) == 1:
        place = size.args[0]
    is_negative = isinstance(place, ast.UnaryOp) and isinstance(place.op, ast.USub)
    return is_negative and isinstance(place.operand, ast.Constant) and place.operand.value == 1  # type: ignore[union-attr]
