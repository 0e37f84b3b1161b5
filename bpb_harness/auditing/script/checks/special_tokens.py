"""Tokens that are never masked, and a mask id that is an ordinary token."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from enum import IntEnum

from bpb_harness.auditing.script import codes
from bpb_harness.auditing.script.domains.added_beside import added_to, held_beside
from bpb_harness.auditing.script.domains.analysis import Analysis, Hit, MaskDraw
from bpb_harness.auditing.script.domains.trace import assigned, comes_from, origins, trace
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import Definition, last_name
from bpb_harness.auditing.script.frontend.walker import Frame, Origin, Source
from bpb_harness.findings import Severity

_ENDS = re.compile(
    r"(^|_)(bos|eos|eot|boundary|boundaries|sep|cls|doc_(start|end|break|sep|id|token)s?|(is|new|start|end)_doc)(_|$)",
    re.IGNORECASE,
)
_ANY_SPECIAL = re.compile(r"(^|_)special(_|$)", re.IGNORECASE)
_PADDING = re.compile(r"(^|_)pad", re.IGNORECASE)
_PAID = re.compile(r"(^|_)(bos|eos|eot|boundary|boundaries|special|sep|docs?|documents?|ends?)(_|$)", re.IGNORECASE)
_MAX_NAMES = 4  # that a condition goes by, one after another
_MAX_PAID = 200  # expressions that a summand of the score is followed through


class _Spared(IntEnum):
    """What tokens are known to be: of a definition that says more than a name, the definition counts."""

    UNKNOWN = 0
    PADDING = 1  # no text
    SPECIAL = 2  # by a name that holds of padding too
    ENDS = 3


def check_special_tokens(analysis: Analysis) -> Iterator[Hit]:
    """Document boundaries that the evaluation's masks spare."""
    done: set[tuple[int, int]] = set()
    for draw in analysis.masks:
        for node, spared in _spared(analysis, draw):
            if (id(node), draw.sink) in done:
                continue
            done.add((id(node), draw.sink))
            yield _hit_of(analysis, draw, node, spared)
    yield from _mask_ids(analysis)


def _hit_of(analysis: Analysis, draw: MaskDraw, node: ast.AST, spared: _Spared) -> Hit:
    if spared is _Spared.SPECIAL:
        said = (
            "Tokens that the script calls special are never masked, and what they are was not followed: if ends of "
            "documents are among them, the model is told where documents end, and the score may not pay for that"
        )
        return analysis.hit(codes.BOUNDARY_FREE, said, node, draw.sink, severity=Severity.WARNS)
    paid = _paid_apart(analysis, draw)
    if paid is not None:
        said = (
            "Boundary tokens are never masked, so that the model is told where documents end; what the script adds to "
            "the score for them is not judged"
        )
        return analysis.hit(
            codes.BOUNDARY_FREE, said, node, draw.sink, shown=(node, paid), severity=Severity.WARNS
        )  # fmt: skip
    said = (
        "Boundary tokens are never masked, so that the model is told where documents end, and the score leaves "
        "out what that would cost"
    )
    return analysis.hit(codes.BOUNDARY_FREE, said, node, draw.sink)


def _paid_apart(analysis: Analysis, draw: MaskDraw) -> ast.AST | None:
    """A summand of the score that is of ends, beside one of the draw's: a price of each end, or of each place.

    Totals that a list, a dictionary or an object holds count as one: which of them is added up was not followed.
    """
    program, sink = analysis.program, analysis.sinks[draw.sink].node
    for node, frame in trace(program, sink, Frame.at(program, sink)):
        if not isinstance(node, ast.expr):
            continue
        told, beside = _in_place_of(program, node) or (node, added_to(program, node))
        held = held_beside(program, node) if not beside else []
        if held and not _is_price(program, node, frame):
            continue
        if (
            (beside or held)
            and _is_of_ends(program, told, frame)
            and not any(draw.is_at(part) for part, _ in trace(program, node, frame, values_alone=True))
            and any(comes_from(program, each, frame, draw.is_at) for each in beside or held)
        ):
            return node
    return None


def _is_price(program: Program, node: ast.expr, frame: Frame) -> bool:
    """Whether a value is more than a count or a mask: a product, a logarithm, a choice of prices."""
    return any(
        (isinstance(part, ast.BinOp) and isinstance(part.op, ast.Mult | ast.Div))
        or (isinstance(part, ast.Call) and last_name(part.func) in _PRICING)
        for part, _ in _parts(program, node, frame)
    )


_PRICING = frozenset(["log", "log2", "log1p", "log_softmax", "cross_entropy", "where", "mul"])


def _in_place_of(program: Program, node: ast.expr) -> tuple[ast.expr, list[ast.expr]] | None:
    """The condition and the other arm of torch.where(x0 == EOS_ID, price, nats)."""
    call = program.parent(node)
    arms = call.args[1:3] if isinstance(call, ast.Call) and last_name(call.func) == "where" else []
    if not isinstance(call, ast.Call) or len(arms) < 2 or node not in arms or _is_false(node):
        return None
    return call.args[0], [arm for arm in arms if arm is not node]


def _is_of_ends(program: Program, node: ast.expr, frame: Frame) -> bool:
    """Whether a factor names ends, or what it is computed from asks for them."""
    names = (last_name(part) for part in ast.walk(node) if isinstance(part, ast.Name | ast.Attribute))
    return any(map(_PAID.search, names)) or any(
        _what_is(program, part, at) is _Spared.ENDS
        for part, at in _parts(program, node, frame)
        if isinstance(part, ast.Compare | ast.Call) and _is_asked(part)
    )


def _parts(program: Program, node: ast.expr, frame: Frame) -> list[tuple[ast.AST, Frame]]:
    return [*trace(program, node, frame, _MAX_PAID, lambda part: () if _is_asked(part) else program.parts(part))]


def _is_asked(node: ast.AST) -> bool:
    """x0 == EOS_ID, x0.eq(EOS_ID), x0.shape: what x0 holds comes of the text, not of this."""
    called = last_name(node.func) if isinstance(node, ast.Call) else ""
    is_shape = called in ("size", "numel", "len") or (isinstance(node, ast.Attribute) and node.attr == "shape")
    return isinstance(node, ast.Compare) or called in _ASKING or is_shape


_ASKING = frozenset(["eq", "ne", "isin", "equal", "not_equal"])


def _spared(analysis: Analysis, draw: MaskDraw) -> Iterator[tuple[ast.AST, _Spared]]:
    """Conditions on boundary tokens that a draw is combined with."""
    program = analysis.program
    for node, frame in analysis.behind(draw.score):
        found = _combined(program, node, frame, draw)
        if found > _Spared.PADDING:
            yield node, found
        if isinstance(node, ast.Name):
            spared = [(d, what) for d in program.reaching(node) if (what := _spares(program, d, frame)) > 1]
            holds = bool(spared) and comes_from(program, node, frame, draw.is_at, 60)
            yield from ((d.statement, what) for d, what in spared if d.kind == "augment" or holds)


def _combined(program: Program, node: ast.AST, frame: Frame, draw: MaskDraw) -> _Spared:
    """draw & (x0 != BOS), torch.logical_and(draw, x0 != BOS), draw.masked_fill(x0 == BOS, False)."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitAnd):
        sides = [node.left, node.right]
        return max(
            _condition(program, other, frame, negated=True)
            if comes_from(program, side, frame, draw.is_at, 60) else _Spared.UNKNOWN
            for side, other in (sides, sides[::-1])
        )  # fmt: skip
    if isinstance(node, ast.Call) and last_name(node.func) in ("logical_and", "masked_fill", "masked_fill_"):
        operands = ([node.func.value] if isinstance(node.func, ast.Attribute) else []) + list(node.args)
        if len(operands) >= 2 and comes_from(program, operands[0], frame, draw.is_at, 60):
            negated = last_name(node.func) == "logical_and"
            return max(_condition(program, operand, frame, negated=negated) for operand in operands[1:])
    return _Spared.UNKNOWN


def _spares(program: Program, definition: Definition, frame: Frame) -> _Spared:
    """mask[x0 == BOS] = False, mask &= x0 != BOS."""
    if definition.kind == "mutation" and definition.key is not None and _is_false(definition.value):
        return _condition(program, definition.key, frame, negated=False)
    if definition.kind == "augment" and isinstance(definition.operator, ast.BitAnd) and definition.value is not None:
        return _condition(program, definition.value, frame, negated=True)
    return _Spared.UNKNOWN


def _is_false(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and node.value in (False, 0)


def _condition(program: Program, node: ast.expr, frame: Frame, *, negated: bool, depth: int = 0) -> _Spared:
    """~is_special, x0 != BOS_ID (negated) or is_special, x0 == BOS_ID: which tokens it spares."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Invert | ast.Not):
        return _what_is(program, node.operand, frame) if negated else _Spared.UNKNOWN
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitAnd | ast.BitOr):
        sides = (node.left, node.right)
        return max(_condition(program, side, frame, negated=negated, depth=depth) for side in sides)
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        is_meant = isinstance(node.ops[0], ast.NotEq if negated else ast.Eq)
        return _what_is(program, node, frame) if is_meant else _Spared.UNKNOWN
    if isinstance(node, ast.Name) and negated and depth < _MAX_NAMES:
        behind = (each for each in assigned(program, node, frame) if not isinstance(each.node, ast.Name))
        found = (_condition(program, each.node, each.frame, negated=True, depth=depth + 1) for each in behind)
        return max(found, default=_Spared.UNKNOWN)
    is_named = isinstance(node, ast.Name | ast.Subscript) and not negated
    return _what_is(program, node, frame) if is_named else _Spared.UNKNOWN


def _what_is(program: Program, node: ast.AST, frame: Frame, depth: int = 0) -> _Spared:
    """Which tokens an id, a list of ids or a condition is of: by what it is made of, then by its names."""
    if isinstance(node, ast.Name | ast.Attribute | ast.Call):
        inner: list[ast.AST] = list(program.parts(node)) if isinstance(node, ast.Call) else []
        within = max((_what_is(program, each, frame, depth) for each in inner if each is not getattr(node, "func", 0)),
                     default=_Spared.UNKNOWN)  # fmt: skip
        return max(within, _named(program, node, frame, depth))
    found = [_what_is(program, each, frame, depth) for each in program.parts(node)]
    if isinstance(node, ast.Compare) and _Spared.PADDING in found:
        return _Spared.PADDING
    return max(found, default=_Spared.UNKNOWN)


def _named(program: Program, node: ast.Name | ast.Attribute | ast.Call, frame: Frame, depth: int) -> _Spared:
    own = _by_name(last_name(node.func if isinstance(node, ast.Call) else node))
    if own is _Spared.PADDING or depth >= _MAX_NAMES:
        return own
    behind = (each for each in origins(program, node, frame) if not each.path)
    made = (part for each in behind for part in _made_of(each))
    found = max((_what_is(program, part, at, depth + 1) for part, at in made), default=_Spared.UNKNOWN)
    return found if found is _Spared.PADDING else max(own, found)


def _made_of(origin: Origin) -> Iterator[Source]:
    """What a name was assigned, and where something was put into it: table[PAD_ID] = True."""
    kind = "assign" if origin.definition is None else origin.definition.kind
    if kind == "assign":
        yield origin.node, origin.frame
    elif kind == "mutation" and origin.definition is not None and origin.definition.key is not None:
        yield origin.definition.key, origin.frame


def _by_name(name: str) -> _Spared:
    if _PADDING.search(name) and not re.search(r"bos|eos|eot|boundar", name, re.IGNORECASE):
        return _Spared.PADDING
    if _ENDS.search(name):
        return _Spared.ENDS
    return _Spared.SPECIAL if _ANY_SPECIAL.search(name) else _Spared.UNKNOWN


def _mask_ids(analysis: Analysis) -> Iterator[Hit]:
    """MASK_ID = 0 with 1,024 clean tokens: the absorbing state is a token of the text."""
    values = [*analysis.named_values(r"mask(_token)?_(id|idx|index|token)|mask_?id")]
    sizes = analysis.vocab_sizes() if values else ()
    if len(sizes) != 1:
        return
    (size,) = sizes
    for value in values:
        number = analysis.number(value)
        if number is None or not 0 <= number < size or number != int(number):
            continue
        if analysis.context.vocab_size is not None and number >= analysis.context.vocab_size:
            continue  # behind the tokenizer's last entry: room that the network made for it
        yield analysis.hit(
            codes.MASK_IS_TOKEN,
            f"The mask id {int(number)} lies inside the vocabulary of {size:,}: unless the text never has that token, "
            f"some of it is taken for masks",
            value, None, severity=Severity.WARNS, evidence={"mask_id": int(number), "vocab_size": size}
        )  # fmt: skip
        return
