"""Prices of single tokens: whether a value is a network's price of the very token that is scored.

A price is picked from a network's distribution by the target, or a cross-entropy that is not summed. What was summed,
averaged or handed on from an earlier token is a price no more.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import Definition, last_name
from bpb_harness.auditing.script.frontend.walker import Frame, Source, Walker, operands

_MAX_FOLLOWED = 160
_CROSS_ENTROPY = frozenset(["cross_entropy", "nll_loss"])
_PICKING = frozenset(["gather", "take_along_dim", "take_along_axis"])
_NETWORK = frozenset(["softmax", "log_softmax"])
_BY_MASK = frozenset(["one_hot", "scatter", "scatter_", "eye", "einsum"])  # may pick by the target in their way
_REDUCING = frozenset([
    "sum", "mean", "nansum", "nanmean", "fsum", "average", "amax", "amin", "median", "var", "std", "norm", "cumsum",
    "all_reduce", "len", "numel", "argmax", "argmin", "topk", "sort", "argsort", "quantile", "entropy", "eval",
])  # fmt: skip
_FILLED = frozenset([
    "full_like", "zeros_like", "ones_like", "empty_like", "rand_like", "randn_like",
    "new_full", "new_zeros", "new_ones", "new_empty", "new_tensor",
])  # fmt: skip
_SHIFTING = frozenset(["roll", "pad", "shift"])
_TARGET = re.compile(r"(?:.*_)?(?:y|st|tgts?|targets?|labels?|next)(?:_.*)?|.*(?:target|label|tgt).*", re.IGNORECASE)


@dataclass
class Kinds:
    """What a value was found to be made of.

    Attributes:
        from_network: a network's distribution.
        is_picked: something is looked up at the target.
        may_be_picked: something is looked up at a place that may be the target.
        is_price: a cross-entropy that is neither summed nor averaged.
        reduced: sums and maxima that were met.
    """

    from_network: bool = False
    is_picked: bool = False
    may_be_picked: bool = False
    is_price: bool = False
    reduced: bool = False

    @property
    def is_of_target(self) -> bool:
        """Whether it is a network's price of the target."""
        return self.is_price or (self.from_network and self.is_picked)

    @property
    def is_without_target(self) -> bool:
        """Whether it is a number made of a whole distribution, whatever the target is."""
        return self.from_network and self.reduced and not (self.is_price or self.is_picked or self.may_be_picked)


class _StepsBack(Walker[None]):
    """What values come from, in all branches: which are taken is told by the way to the score, and costs much."""

    def unknown(self, *_: object) -> None:
        """Nothing is worked out."""


def kinds_of(program: Program, node: ast.expr, frame: Frame, *, through_sums: bool = False) -> Kinds:
    """What a value is made of, as far back as the network's distribution.

    Args:
        program: where names and functions are looked up.
        node: the value.
        frame: where its names are read.
        through_sums: whether what is summed is looked into; else a sum is nothing.
    """
    found, seen, left = Kinds(), set[Source](), _MAX_FOLLOWED
    stack: list[Source] = [(node, frame)]
    steps = _StepsBack(program)
    while stack and left > 0 and program.spend():
        met = stack.pop()
        if met in seen:
            continue
        seen.add(met)
        left -= 1
        stack.extend(_behind(steps, *met, found, through_sums=through_sums))
    return found


def _behind(steps: _StepsBack, node: ast.expr, frame: Frame, found: Kinds, *, through_sums: bool) -> Iterable[Source]:
    if isinstance(node, ast.Name):
        return _of_name(steps, node, frame)
    if isinstance(node, ast.Call):
        return _of_call(steps, node, frame, found, through_sums=through_sums)
    if isinstance(node, ast.Subscript):
        return _of_entry(node, frame, found)
    if isinstance(node, ast.Attribute):
        return [(node.value, frame)] if not isinstance(node.value, ast.Name) else []  # x.max(-1).values; no state
    if isinstance(node, ast.IfExp):
        return [(node.body, frame), (node.orelse, frame)]
    if isinstance(node, ast.Compare):
        found.may_be_picked |= isinstance(node.ops[0], ast.Eq)  # (ids == target) * p
        return []
    if isinstance(node, ast.Constant | ast.Lambda | ast.BoolOp):
        return []
    if isinstance(node, ast.ListComp | ast.GeneratorExp):
        return [(node.elt, frame)]
    return [(part, frame) for part in steps.program.parts(node) if isinstance(part, ast.expr)]


def _of_name(steps: _StepsBack, node: ast.Name, frame: Frame) -> Iterator[Source]:
    for origin in steps.origins(node, frame):
        if origin.definition is None or _is_at_once(origin.definition, node):
            yield origin.node, origin.frame


def _is_at_once(definition: Definition, use: ast.Name) -> bool:
    """Whether a definition gives a name its value before a use, in the same round: nothing kept, summed or appended."""
    if definition.kind == "parameter":
        return True
    if definition.kind == "augment" or (definition.kind == "mutation" and definition.key is None):
        return False
    place = (getattr(definition.statement, "lineno", 0), getattr(definition.statement, "col_offset", 0))
    return (
        definition.kind == "loop"
        or isinstance(definition.statement, ast.comprehension)
        or place < (use.lineno, use.col_offset)
    )


def _of_call(steps: _StepsBack, node: ast.Call, frame: Frame, found: Kinds, *, through_sums: bool) -> list[Source]:
    name, worked_on = last_name(node.func), operands(node)
    if name in _CROSS_ENTROPY:
        is_each = any(
            keyword.arg == "reduction" and isinstance(keyword.value, ast.Constant) and keyword.value.value == "none"
            for keyword in node.keywords
        )
        found.is_price |= is_each
        found.may_be_picked = True
        return []
    if name in _NETWORK:
        found.from_network = True
        return []
    if name in _SHIFTING or name in _FILLED:  # of a price they take its shape alone
        return []
    if name == "entropy":
        found.from_network = found.reduced = True
        return []
    if name in _REDUCING or (name in ("max", "min") and _is_over_all(node)):
        found.reduced |= name in ("sum", "nansum", "max", "amax", "topk")
        return [(each, frame) for each in worked_on[:1]] if through_sums else []
    if name in _PICKING:
        found.is_picked = True
        return [(each, frame) for each in worked_on[:1]]
    found.may_be_picked |= name in _BY_MASK
    if name == "where" and len(node.args) == 3:
        return [(each, frame) for each in node.args[1:]]
    inside = [(origin.node, origin.frame) for origin in steps.origins(node, frame)]
    return inside or [(each, frame) for each in worked_on]


def _is_over_all(call: ast.Call) -> bool:
    """Whether max or min is over one tensor, not of two."""
    written = [*operands(call), *(keyword.value for keyword in call.keywords if keyword.arg not in ("dim", "axis"))]
    others = [each for each in written[1:] if _whole_number(each) is None]
    return not others


def _whole_number(node: ast.expr) -> int | None:
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None
    return value if isinstance(value, int) else None


def _of_entry(node: ast.Subscript, frame: Frame, found: Kinds) -> list[Source]:
    entries = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    if any(map(_is_earlier, entries)):
        return []
    places = [each for each in entries if not isinstance(each, ast.Slice) and not _is_constant(each)]
    found.is_picked |= len(places) >= 2 or any(_TARGET.fullmatch(last_name(each)) is not None for each in places)
    found.may_be_picked |= bool(places) and isinstance(node.ctx, ast.Load) and not isinstance(node.slice, ast.Tuple)
    return [(node.value, frame)]


def _is_earlier(entry: ast.expr) -> bool:
    """Whether an index leads to earlier tokens: [:-1], [i - 1], [-1]."""
    if isinstance(entry, ast.Slice):
        upper = _whole_number(entry.upper) if entry.upper is not None else None
        return entry.lower is None and upper is not None and upper < 0
    return isinstance(entry, ast.BinOp) and isinstance(entry.op, ast.Sub) and _whole_number(entry.right) is not None


def _is_constant(entry: ast.expr) -> bool:
    return isinstance(entry, ast.Constant) or _whole_number(entry) is not None
