"""Whether a scored term is a mean over the masked tokens: of one mask rate each, or of several rates together.

The bound is the mean over mask rates of the mean over the tokens that are masked at each. Where windows of a batch have
rates of their own, and the mean is one over all of their masked tokens, or where losses and numbers of masked tokens
are added up over rates before one is divided by the other, a rate counts by how much it masks.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, replace

from bpb_harness.auditing.script.domains.algebra import Term, is_cross_entropy
from bpb_harness.auditing.script.domains.analysis import Analysis, MaskDraw
from bpb_harness.auditing.script.domains.cancel import Factor
from bpb_harness.auditing.script.domains.extent import loops_around
from bpb_harness.auditing.script.domains.trace import comes_from, origins, trace
from bpb_harness.auditing.script.domains.values import IDENTITY, Evaluator, Leaf, is_random
from bpb_harness.auditing.script.frontend.nodes import elements
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import last_name
from bpb_harness.auditing.script.frontend.walker import Frame, operands

_MAX_NAMES = 8
_MAX_TRACED = 120
_GRIDS = ("arange", "linspace")
_COUNTS = ("randint", "integers")


@dataclass(frozen=True)
class MaskedMean:
    """A mean over masked tokens.

    Attributes:
        pooled: what has mask rates of its own and is in one mean, in words; empty where each mean is of one rate.
    """

    pooled: str = ""


def masked_mean(analysis: Analysis, draw: MaskDraw, leaf: Leaf) -> MaskedMean | None:
    """The mean over masked tokens that a term is; None where it is none, or is multiplied by their number again."""
    term: Term = draw.term
    counts = [factor for factor in term.factors if analysis.is_mask_count(factor)]
    selected = _mean_over(analysis, draw)
    divided = len(counts) + (selected is not None)
    if divided <= (_times_counted(analysis, term) if divided else 0):
        return None
    added = [each for factor in counts for each in factor.total]
    if any(_varies_in(analysis.program, draw, leaf, loop) for each in added for loop in _rounds(analysis, each)):
        return MaskedMean("all mask rates")
    is_flat = any(_is_flat(analysis.program, factor) for factor in counts)
    is_flat = is_flat or (selected is not None and not _is_row(analysis.program, selected))
    return MaskedMean(_ROWS if is_flat and leaf.kind == "uniform" and _is_per_row(analysis, leaf) else "")


_ROWS = "the windows of a batch, each at a mask rate of its own"


# -- what is divided by a number of masked tokens ------------------------------------------------------


def _times_counted(analysis: Analysis, term: Term) -> int:
    """How often a term is multiplied by a number of masked tokens: what it is divided by, as often, cancels."""
    by_itself = [factor for factor in term.factors if isinstance(factor.node, ast.Call)]
    numbers = [factor for factor in (*term.sums, *by_itself) if factor.power > 0]
    return sum(analysis.is_mask_count(replace(factor, power=-1, total=factor.sums)) for factor in numbers)


def is_of_masked_alone(analysis: Analysis, draw: MaskDraw) -> bool:
    """Whether a term has the costs of the masked tokens alone: times the mask, selected by it, or asked for alone."""
    term: Term = draw.term
    if any(kind == "select" and _chooser(analysis, draw, node) is not None for kind, node in term.reductions):
        return True
    masks = (each for each in term.factors if each.power > 0 and not is_cross_entropy(each.node))
    if any(comes_from(analysis.program, each.node, each.frame, draw.is_at, _MAX_TRACED) for each in masks):
        return True
    return _asked_for(analysis, draw) is not None


def _mean_over(analysis: Analysis, draw: MaskDraw) -> ast.expr | None:
    """What selects the scores of the masked tokens, the mean of which is taken; None where that is not so."""
    term: Term = draw.term
    # Outermost first: only a mean right above the selection of the masked tokens is a mean over them. A mean over
    # repeats or windows of sums is none.
    nearest: str | None = None
    for kind, node in term.reductions:
        if kind != "select":
            nearest = kind
        elif nearest == "mean" and (chooser := _chooser(analysis, draw, node)) is not None:
            return chooser
    return _asked_for(analysis, draw) if nearest == "mean" else None


def _chooser(analysis: Analysis, draw: MaskDraw, node: ast.AST) -> ast.expr | None:
    """The masks of ce[m], ce.masked_select(m)."""
    if isinstance(node, ast.Subscript):
        chooser = node.slice
    elif isinstance(node, ast.Call) and last_name(node.func) == "masked_select" and len(operands(node)) > 1:
        chooser = operands(node)[1]
    else:
        return None
    is_of_draw = comes_from(analysis.program, chooser, draw.score.frame, draw.is_at, _MAX_TRACED)
    return chooser if is_of_draw else None


def _asked_for(analysis: Analysis, draw: MaskDraw) -> ast.expr | None:
    """The masks, or the targets, by which a cross-entropy is asked for the masked tokens alone."""
    call = draw.score.node
    if not isinstance(call, ast.Call) or not _selects_masked(analysis, draw, call):
        return None
    target: ast.expr = next((each.value for each in call.keywords if each.arg == "target"), call)
    target = call.args[1] if len(call.args) > 1 else target
    while isinstance(target, ast.Call) and last_name(target.func) in IDENTITY and operands(target):
        target = operands(target)[0]
    return _chooser(analysis, draw, target) or target


def _selects_masked(analysis: Analysis, draw: MaskDraw, call: ast.Call) -> bool:
    """cross_entropy(logits[mask], x0[mask]), or targets that are -100 where nothing is masked."""
    for argument in call.args[1:2] or [keyword.value for keyword in call.keywords if keyword.arg == "target"]:
        nodes = [part for part, _ in trace(analysis.program, argument, draw.score.frame, 1_500)]
        ignored = any(
            isinstance(part, ast.UnaryOp) and isinstance(part.operand, ast.Constant) and part.operand.value == 100
            for part in nodes
        )
        if any(part is draw.node for part in nodes) and (ignored or any(isinstance(p, ast.Subscript) for p in nodes)):
            return True
    return any(keyword.arg == "ignore_index" for keyword in call.keywords) and last_name(call.func) == "cross_entropy"


# -- of how many mask rates ------------------------------------------------------------------------------


def _is_flat(program: Program, count: Factor) -> bool:
    """Whether the number of masked tokens is one of all rows: m.sum(), not m.sum(1), not m[b].sum()."""
    sums: list[ast.AST] = [each for each in count.total if isinstance(each, ast.Call)] or [count.node]
    calls = [each for each in sums if isinstance(each, ast.Call)]
    return any(not _has_axis(call) and not _is_row(program, call) for call in calls)


def _is_row(program: Program, mask: ast.expr) -> bool:
    """Whether a mask is that of one row at a time: m[b], or what a loop hands out."""
    while isinstance(mask, ast.Call) and operands(mask):
        mask = operands(mask)[0]
    if isinstance(mask, ast.Subscript):
        return True
    found = program.reaching(mask) if isinstance(mask, ast.Name) else ()
    return bool(found) and all(each.kind == "loop" for each in found)


def _has_axis(call: ast.Call) -> bool:
    given = [*operands(call)[1:], *(keyword.value for keyword in call.keywords if keyword.arg in ("dim", "axis"))]
    return any(not isinstance(axis, ast.Tuple | ast.List) or len(axis.elts) == 1 for axis in given)


def _rounds(analysis: Analysis, total: ast.AST) -> Iterator[ast.AST]:
    """The loops in whose rounds a statement adds to a total, from where that begins."""
    program = analysis.program
    target = total.target if isinstance(total, ast.AugAssign) else total.func if isinstance(total, ast.Call) else None
    held = target.value if isinstance(target, ast.Attribute) and isinstance(total, ast.Call) else target
    if not isinstance(held, ast.Name) or (isinstance(total, ast.Call) and not _is_statement(program, total)):
        return
    begun = program.scope(total).definitions.get(held.id, [])
    starts = [{*loops_around(program, each.statement)} for each in begun if each.kind == "assign"]
    yield from (loop for loop in loops_around(program, total) if not any(loop in around for around in starts))


def _is_statement(program: Program, call: ast.Call) -> bool:
    return isinstance(program.parent(call), ast.Expr)


def _varies_in(program: Program, draw: MaskDraw, leaf: Leaf, loop: ast.AST) -> bool:
    """Whether each round of a loop has a mask rate of its own."""
    if program.is_inside(leaf.node, loop):
        return True
    own, around = program.scope(leaf.node), program.scope(loop)
    inner = around
    while inner is not own and inner.parent is not None:
        inner = inner.parent
    if inner is not own:
        return True  # of a function that is called in it
    names = (part for part, _ in trace(program, draw.rate, draw.frame, 200) if isinstance(part, ast.Name))
    made = (definition.statement for name in names for definition in program.reaching(name))
    return any(statement is loop or loop in {*program.ancestors(statement)} for statement in made)


def _is_per_row(analysis: Analysis, leaf: Leaf) -> bool:
    """Whether the rows of a batch may each have a mask rate of their own; not where there is one row, or one rate."""
    program = analysis.program
    near = [leaf.node, *ast.walk(leaf.node)]
    named = [each.value for name in near if isinstance(name, ast.Name) for each in program.reaching(name)]
    near += [part for value in named if value is not None for part in ast.walk(value)]
    calls = [part for part in near if isinstance(part, ast.Call)]
    if any(last_name(call.func) in _GRIDS and _is_tensor(program, call) for call in calls):
        return True
    return any(_has_rows(program, call) for call in calls if is_random(call) or last_name(call.func) in _COUNTS)


def _is_tensor(program: Program, grid: ast.Call) -> bool:
    """Whether a grid is one of all rows, not what a loop goes through."""
    return not any(isinstance(above, ast.For | ast.comprehension) for above in program.ancestors(grid))


def _has_rows(program: Program, call: ast.Call) -> bool:
    """Whether a draw may have more than one row: rand(B, 1), not rand(1), rand(()), random.random()."""
    name, sizes = last_name(call.func), [*call.args]
    if name == "rand_like":
        return True
    if name == "uniform_":  # torch.empty(B, 1).uniform_(0, 1)
        made = operands(call)[0]
        sizes = [*made.args] if isinstance(made, ast.Call) else [made]
    elif name == "uniform":
        sizes = sizes[2:]
    elif name in _COUNTS:
        sizes = [size for size in sizes if isinstance(size, ast.Tuple | ast.List | ast.Attribute)]
    sizes += [keyword.value for keyword in call.keywords if keyword.arg == "size"]
    each = [part for size in sizes for part in elements(size)]
    return any(not _is_one(program, part) for part in each)


def _is_one(program: Program, size: ast.expr) -> bool:
    """Whether a size is 1: by its number, or as that of x[None], x.unsqueeze(0), x.view(1, -1)."""
    frame = Frame.at(program, size)
    number = Evaluator(program).number(size, frame)
    if number is not None:
        return number == 1.0
    sized = _first_size_of(program, size)
    return sized is not None and _is_one_row(program, sized, frame)


def _first_size_of(program: Program, size: ast.expr) -> ast.expr | None:
    """x of x.shape[0], x.size(0), len(x), and of b where b, l = x.shape."""
    if isinstance(size, ast.Name):
        found = program.reaching(size)
        value = found[0].value if len(found) == 1 and found[0].index == (0,) else None
        return value.value if isinstance(value, ast.Attribute) and value.attr == "shape" else None
    if isinstance(size, ast.Subscript):
        is_first = isinstance(size.slice, ast.Constant) and size.slice.value == 0
        shape = size.value if is_first else None
        return shape.value if isinstance(shape, ast.Attribute) and shape.attr == "shape" else None
    if isinstance(size, ast.Call) and last_name(size.func) in ("size", "len"):
        base, *axis = operands(size) or [size]
        return base if all(isinstance(part, ast.Constant) and part.value == 0 for part in axis) else None
    return None


def _is_one_row(program: Program, node: ast.expr, frame: Frame, depth: int = 0) -> bool:
    if depth > _MAX_NAMES:
        return False
    if isinstance(node, ast.Subscript):
        first = node.slice.elts[0] if isinstance(node.slice, ast.Tuple) and node.slice.elts else node.slice
        return isinstance(first, ast.Constant) and first.value is None
    name = last_name(node.func) if isinstance(node, ast.Call) else ""
    if isinstance(node, ast.Call) and name in ("view", "reshape", "unsqueeze"):
        first = operands(node)[1] if len(operands(node)) > 1 else node
        return isinstance(first, ast.Constant) and first.value == (0 if name == "unsqueeze" else 1)
    if isinstance(node, ast.Call) and name in IDENTITY and operands(node):
        return _is_one_row(program, operands(node)[0], frame, depth + 1)
    behind = origins(program, node, frame)
    return bool(behind) and all(
        not each.path and _is_one_row(program, each.node, each.frame, depth + 1) for each in behind
    )
