"""Masked tokens that have one price together, under the weight of tokens that are priced one by one.

Three ways are told by what is computed: the masks hide digits of token ids, and the whole id is priced; the network
that prices a masked token is also shown the text in the clear; a number that a network makes of the hidden and the
clear text, or a price that sees nothing hidden, is added to the log-probabilities and weighed with them.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TypeGuard

from bpb_harness.auditing.script import codes
from bpb_harness.auditing.script.domains.algebra import is_cross_entropy
from bpb_harness.auditing.script.domains.analysis import Analysis, Hit, MaskDraw
from bpb_harness.auditing.script.domains.cancel import Factor
from bpb_harness.auditing.script.domains.hidden_text import HiddenText, prediction, root_of
from bpb_harness.auditing.script.domains.trace import comes_from, trace
from bpb_harness.auditing.script.domains.weight import Weight
from bpb_harness.auditing.script.frontend.nodes import keyword
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import last_name
from bpb_harness.auditing.script.frontend.walker import Frame, Source, operands
from bpb_harness.findings import Severity

_MAX_TRACED = 400
_DIGIT_OPERATORS = (ast.FloorDiv, ast.Mod, ast.RShift, ast.BitAnd)
_DIGIT_CALLS = frozenset(["remainder", "fmod", "floor_divide", "bitwise_and", "bitwise_right_shift", "divmod"])
_JOINING = frozenset(["cat", "concat", "concatenate", "stack", "hstack", "vstack"])
# Calls that predict nothing. Side by side in one input, a list of tensors, is how block diffusion shows earlier blocks.
_COMBINING = frozenset([
    "where", "masked_fill", "masked_fill_", "gather", "scatter", "scatter_", "take_along_dim", "take_along_axis",
    "index_put", "index_put_", "zip", "dict", "list", "tuple", "isinstance", "maximum", "minimum", "einsum", "mul",
])  # fmt: skip
_LABELS = frozenset(["labels", "label", "targets", "target"])
_NO_BOUND = "under the weight of tokens that are priced one by one, which makes no bound of a joint price"
_DECIDES = (
    "the network's code, for whether the prediction of a masked token depends on other masked tokens in the clear; or "
    "check_code_length of bpb_harness.testing on the script's own score"
)


def check_joint_prices(analysis: Analysis) -> Iterator[Hit]:
    """Every weighed draw of masks behind a reported score."""
    for draw in analysis.masks:
        leaf = analysis.leaf_of(draw)
        weight = Weight(analysis, draw, leaf).factors if leaf is not None else []
        if not weight:
            continue
        text = HiddenText(analysis, draw)
        if not text.places:
            continue
        yield from _whole_from_digits(analysis, draw, text)
        yield from _shown_in_the_clear(analysis, draw, text)
        yield from _added(analysis, draw, text, {id(factor.node) for factor in weight})


# -- parts of a token are masked, the token is priced -------------------------------------------------


def _whole_from_digits(analysis: Analysis, draw: MaskDraw, text: HiddenText) -> Iterator[Hit]:
    program = analysis.program
    for target, frame in _targets(analysis, draw):
        whole = root_of(program, target, frame)
        if whole in text.roots:
            continue
        for hidden, where in text.texts:
            digits = _digits(program, hidden, where, whole)
            if digits is not None:
                said = f"The masks hide parts of a token's id, and the masked parts are priced jointly {_NO_BOUND}"
                yield analysis.hit(codes.JOINT_PRICE, said, digits, draw.sink)
                return


def _targets(analysis: Analysis, draw: MaskDraw) -> Iterator[Source]:
    """What a cross-entropy prices: its second argument, or what its log-probabilities are looked up at."""
    score = draw.score.node
    if isinstance(score, ast.Call) and last_name(score.func) in ("cross_entropy", "nll_loss"):
        named = [keyword.value for keyword in score.keywords if keyword.arg == "target"]
        yield from ((target, draw.score.frame) for target in [*operands(score)[1:2], *named])
        return
    for node, frame in analysis.path:
        if isinstance(node, ast.Call) and last_name(node.func) == "gather" and len(operands(node)) >= 1:
            picked = operands(node)[0]
            if comes_from(analysis.program, picked, frame, lambda part: part is score, 120):
                index = keyword(node, "index")
                chosen = index if index is not None else operands(node)[-1]
                yield _without_axes(chosen), frame


def _without_axes(node: ast.expr) -> ast.expr:
    """x of x[..., None] and x[:, :, None]."""
    while isinstance(node, ast.Subscript):
        parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        full = (isinstance(part, ast.Slice) and part.lower is None and part.upper is None for part in parts)
        added = (isinstance(part, ast.Constant) and part.value in (None, Ellipsis) for part in parts)
        if not all(is_full or is_added for is_full, is_added in zip(full, added, strict=True)):
            break
        node = node.value
    return node


def _digits(program: Program, node: ast.expr, frame: Frame, whole: object) -> ast.expr | None:
    """Where an expression takes digits of a tensor."""
    for part, where in trace(program, node, frame, _MAX_TRACED):
        if isinstance(part, ast.BinOp) and isinstance(part.op, _DIGIT_OPERATORS):
            taken_of: list[ast.expr] = [part.left]
        elif isinstance(part, ast.Call) and _takes_digits(part):
            taken_of = operands(part)[:1]
        else:
            continue
        if any(
            isinstance(inner, ast.Name) and root_of(program, inner, there) == whole
            for inner, there in trace(program, taken_of[0], where, 60)
        ):
            return part
    return None


def _takes_digits(call: ast.Call) -> bool:
    name = last_name(call.func)
    rounds = any(keyword.arg == "rounding_mode" for keyword in call.keywords)
    return bool(operands(call)) and (name in _DIGIT_CALLS or (name in ("div", "divide") and rounds))


# -- the network is shown what it prices --------------------------------------------------------------


def _shown_in_the_clear(analysis: Analysis, draw: MaskDraw, text: HiddenText) -> Iterator[Hit]:
    score = draw.score
    for node, frame in trace(analysis.program, prediction(score.node), score.frame, 1_500):
        shown = _clear_argument(analysis, node, frame, text)
        if shown is None:
            continue
        assert isinstance(node, ast.expr)
        if any(_is_shifted(part) for part, _ in text.seen_by(shown, frame)):
            said = (
                "Beside the text with its tokens hidden the network is given the text in the clear, shifted by one, so "
                f"that each masked token is priced given masked ones before it: one joint price, {_NO_BOUND}"
            )
            yield analysis.hit(codes.JOINT_PRICE, said, node, draw.sink)
        else:
            said = (
                "Beside the text with its tokens hidden the network is given the text in the clear: if a masked token "
                f"is priced given other masked ones, they are priced jointly {_NO_BOUND}"
            )
            doubt = {"missing": _DECIDES}
            yield analysis.hit(codes.JOINT_PRICE, said, node, draw.sink, severity=Severity.WARNS, evidence=doubt)
        return


def _clear_argument(analysis: Analysis, node: ast.AST, frame: Frame, text: HiddenText) -> ast.expr | None:
    """The argument of a network that is the text in the clear, where another one is the text with tokens hidden."""
    parts: list[ast.expr] = []
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        parts = [node.left, node.right]
    elif isinstance(node, ast.Call) and not is_cross_entropy(node) and last_name(node.func) not in _COMBINING:
        callee = analysis.program.callee(node)
        if (callee is not None and callee.returns) or _gives_a_loss_too(analysis, node):
            return None  # its results are on the trace themselves; labels are no input
        parts = [*node.args, *(keyword.value for keyword in node.keywords if keyword.arg not in _LABELS)]
    if len(parts) < 2 or not any(text.is_hidden_in(part, frame) for part in parts):
        return None
    clear = (part for part in parts if text.is_clear_in(part, frame) and not text.is_hidden_in(part, frame))
    return next(clear, None)


def _gives_a_loss_too(analysis: Analysis, call: ast.Call) -> bool:
    """logits, loss = model(z, x), model(z, x).logits: the text may be handed over as labels."""
    above = analysis.program.parent(call)
    if not isinstance(above, ast.Assign):
        return _is_one_of_several(above)
    target = above.targets[0]
    if not isinstance(target, ast.Name):
        return isinstance(target, ast.Tuple | ast.List)
    return any(
        _is_one_of_several(node) and isinstance(node.value, ast.Name) and node.value.id == target.id
        for node in analysis.program.own_nodes(analysis.program.scope(call))
    )


def _is_one_of_several(node: ast.AST | None) -> TypeGuard[ast.Attribute | ast.Subscript]:
    """out.logits, out[0]: an element of what a call returns."""
    if isinstance(node, ast.Subscript):
        return isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, int | str)
    return isinstance(node, ast.Attribute) and node.attr in ("logits", "loss")


def _is_shifted(node: ast.AST) -> bool:
    """x[:, :-1], x.roll(1, 1): each token stands where the next one is predicted."""
    if isinstance(node, ast.Subscript):
        last = node.slice.elts[-1] if isinstance(node.slice, ast.Tuple) and node.slice.elts else node.slice
        upper = last.upper if isinstance(last, ast.Slice) and last.lower is None else None
        return isinstance(upper, ast.UnaryOp) and isinstance(upper.op, ast.USub) and _is_one(upper.operand)
    if isinstance(node, ast.Call) and last_name(node.func) == "roll":
        named = [keyword.value for keyword in node.keywords if keyword.arg == "shifts"]
        return any(_is_one(shift) for shift in [*operands(node)[1:2], *named])
    return False


def _is_one(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value == 1 and not isinstance(node.value, bool)


# -- something is added to the log-probabilities ------------------------------------------------------


def _added(analysis: Analysis, draw: MaskDraw, text: HiddenText, weights: set[int]) -> Iterator[Hit]:
    """Summands that are weighed by the very factor that weighs the masked cross-entropies."""
    for term in analysis.terms[draw.sink]:
        if not any(id(factor.node) in weights for factor in term.factors):
            continue
        scores = term.cross_entropies()
        for factor in scores:
            if _sees_nothing_hidden(analysis, factor, text):
                said = f"A price of the text in the clear is weighed like masked tokens: a joint price {_NO_BOUND}"
                yield analysis.hit(codes.JOINT_PRICE, said, factor.node, draw.sink)
                return
        mixed = [] if scores else [f for f in term.factors if f.power > 0 and id(f.node) not in weights]
        for factor in mixed:
            sure = _mixes(analysis, factor, text)
            if sure is None:
                continue
            said = "A number made of the hidden text and of the clear one together, as an energy is, is added to "
            said += f"log-probabilities of masked tokens and weighed with them: a joint price {_NO_BOUND}"
            severity, doubt = (None, {}) if sure else (Severity.WARNS, {"missing": _DECIDES})
            yield analysis.hit(codes.JOINT_PRICE, said, factor.node, draw.sink, severity=severity, evidence=doubt)
            return


def _sees_nothing_hidden(analysis: Analysis, factor: Factor, text: HiddenText) -> bool:
    """Whether a cross-entropy is of predictions from the clear text alone."""
    predicted = prediction(factor.node)
    is_clear = text.is_clear_in(predicted, factor.frame)
    return is_clear and not comes_from(analysis.program, predicted, factor.frame, text.is_of_masks, 1_500)


def _mixes(analysis: Analysis, factor: Factor, text: HiddenText) -> bool | None:
    """Whether a summand is made of hidden and clear text together: True where the program shows how, None if not."""
    found = None
    for node, frame in trace(analysis.program, factor.node, factor.frame, _MAX_TRACED):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            parts: list[ast.expr] = [node.left, node.right]
        elif isinstance(node, ast.Call) and last_name(node.func) in _JOINING and node.args:
            parts = node.args[0].elts if isinstance(node.args[0], ast.List | ast.Tuple) else []
        elif isinstance(node, ast.Call) and _clear_argument(analysis, node, frame, text) is not None:
            found = False if found is None else found
            continue
        else:
            continue
        hidden = [text.is_hidden_in(part, frame) for part in parts]
        clear = [text.is_clear_in(part, frame) for part in parts]
        if any(hidden) and any(c and not h for c, h in zip(clear, hidden, strict=True)):
            return True
    return found
