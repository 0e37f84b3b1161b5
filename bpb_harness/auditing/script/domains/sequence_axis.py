"""Whether dimension 1 of a tensor of a network, or 2, is the sequence: (batch, sequence, ..), (batch, heads, sequence).

As far as a script tells.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence

from bpb_harness.auditing.script.domains.trace import comes_from
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import last_name
from bpb_harness.auditing.script.frontend.walker import Frame

_DEEPEST, _MOST_STEPS = 24, 400
_BATCH = re.compile(r"^(?:b|bs|bsz|bsize|batch\w*|n_?batch)$", re.IGNORECASE)
_SEQUENCE = re.compile(
    r"^(?:t|l|seq\w*|len\w*|ctx\w*|(?:n|num)_(?:tok|pos|interval|chunk|block|patch|segment)\w*)$", re.IGNORECASE
)
_IDS = re.compile(r"ids?$|idx|tok|input|seq", re.IGNORECASE)
_PLAIN_IDS = re.compile(r"^(?:(?:input|token|tok)?_?ids|idx|x|inputs?|tokens?)$", re.IGNORECASE)
# What gives each element, or each vector along the last dimension, a value of its own.
_ELEMENTWISE = frozenset([
    "float", "to", "type", "type_as", "half", "bfloat16", "double", "detach", "clone", "contiguous", "clamp",
    "clamp_min", "clamp_max", "abs", "pow", "square", "sqrt", "rsqrt", "exp", "log", "log2", "log1p", "tanh", "sigmoid",
    "relu", "silu", "gelu", "softplus", "masked_fill", "mul", "add", "div", "sub", "dropout", "rms_norm", "layer_norm",
    "linear", "normalize", "nan_to_num", "neg", "leaky_relu", "softmax",
])  # fmt: skip
_LIBRARIES = frozenset(["F", "functional", "torch", "nn"])
_REDUCING = frozenset(["mean", "sum", "amax", "amin", "std", "var", "norm", "logsumexp"])


class SequenceAxis:
    """Follows a tensor back to token ids that are embedded, or to where its dimensions are named.

    Args:
        program: the scripts.
        axis: which dimension, 1 or 2.
        of_three: whether the tensor has to have three dimensions: then it is -2 too.
    """

    def __init__(self, program: Program, axis: int = 1, *, of_three: bool = False) -> None:
        self._program, self._axis, self._of_three, self._left = program, axis, of_three, _MOST_STEPS
        self._seen: set[tuple[ast.AST, Frame]] = set()

    def is_sequence(self, node: ast.AST | None, frame: Frame, depth: int = 0) -> bool:
        """Whether the dimension is the sequence; False where that is not told."""
        if node is None or depth > _DEEPEST or self._left <= 0 or (node, frame) in self._seen:
            return False
        self._left -= 1
        self._seen.add((node, frame))
        if isinstance(node, ast.Name):
            return (self._axis == 1 and self._is_named(node)) or self._was_given(node, frame, depth)
        if isinstance(node, ast.BinOp):
            return self.is_sequence(node.left, frame, depth + 1) or self.is_sequence(node.right, frame, depth + 1)
        if isinstance(node, ast.UnaryOp):
            return self.is_sequence(node.operand, frame, depth + 1)
        if isinstance(node, ast.Subscript):
            is_kept = _keeps(node.slice, self._axis, 8 if self._of_three else self._axis + 1)
            return is_kept and self.is_sequence(node.value, frame, depth + 1)
        return isinstance(node, ast.Call) and self._called(node, frame, depth)

    def _is_named(self, name: ast.Name) -> bool:
        """B, T, D = x.shape."""
        for node in self._program.own_nodes(self._program.scope(name)):
            if not isinstance(node, ast.Assign):
                continue
            target, value = node.targets[0], node.value
            value = value.func if isinstance(value, ast.Call) and not value.args else value
            is_shape = isinstance(value, ast.Attribute) and value.attr in ("shape", "size")
            if is_shape and isinstance(target, ast.Tuple) and last_name(value.value) == name.id:  # type: ignore[attr-defined]
                return self._are_sizes(target.elts)
        return False

    def _was_given(self, name: ast.Name, frame: Frame, depth: int) -> bool:
        """By an assignment, or by a caller."""
        given = frame.given(self._program, name)
        if given is not None:
            return self.is_sequence(given[0], given[1], depth + 1)
        for each in self._program.reaching(name):
            if each.kind == "assign" and each.index in ((), (0,)) and self.is_sequence(each.value, frame, depth + 1):
                return True
            if each.kind == "augment" and self.is_sequence(each.value, frame, depth + 1):
                return True
            if each.kind == "parameter" and any(
                self.is_sequence(source, where, depth + 1) for source, where in frame.handed(self._program, each)
            ):
                return True
        return False

    def _called(self, call: ast.Call, frame: Frame, depth: int) -> bool:
        name, func, first = last_name(call.func), call.func, call.args[0] if call.args else None
        callee = self._program.callee(call)
        if callee is not None and callee.name not in ("forward", "__call__"):
            inside = frame.inside(self._program, callee, call)
            return any(self.is_sequence(each, inside, depth + 1) for each in callee.returns)
        if isinstance(func, ast.Attribute) and last_name(func.value) not in (*_LIBRARIES, "self"):
            if name in _ELEMENTWISE or (name in _REDUCING and self._is_of_last(call)):
                return self.is_sequence(func.value, frame, depth + 1)
            if name in ("reshape", "view"):
                return self._axis == 1 and self._are_sizes(call.args)
            if _is_transposed(call):
                return SequenceAxis(self._program, 3 - self._axis).is_sequence(func.value, frame, depth + 1)
        if isinstance(func, ast.Attribute) and last_name(func.value) in _LIBRARIES:
            if name == "scaled_dot_product_attention" and self._axis == 2 and first is not None:
                return comes_from(self._program, first, frame, _is_transposed, _MOST_STEPS)
            if name in ("bmm", "matmul"):
                return self._axis == 1 and self.is_sequence(first, frame, depth + 1)
            return name in _ELEMENTWISE and self.is_sequence(first, frame, depth + 1)
        if self._is_embedding(func):
            names = _PLAIN_IDS if self._of_three else _IDS
            return self._axis == 1 and isinstance(first, ast.Name) and names.search(first.id) is not None
        is_module = isinstance(func, ast.Subscript) or last_name(getattr(func, "value", func)) == "self"
        is_module |= self._of_dict(func) is not None
        return (is_module or callee is not None) and self.is_sequence(first, frame, depth + 1)

    def _are_sizes(self, sizes: Sequence[ast.expr]) -> bool:
        return _are_batch_and_sequence(sizes) and (len(sizes) == 3 or not self._of_three)

    def _is_of_last(self, call: ast.Call) -> bool:
        """Whether a call reduces dimensions behind the sequence alone."""
        axes = _axes(call, of_method=True)
        return axes is not None and len(axes) == 1 and axes <= {-1, *range(self._axis + 1, 4)}

    def _is_embedding(self, func: ast.expr) -> bool:
        values = self._program.values_of(func) if isinstance(func, ast.Attribute) else []
        if (held := self._of_dict(func)) is not None:
            values = [held]
        return any(isinstance(value, ast.Call) and last_name(value.func) == "Embedding" for value in values)

    def _of_dict(self, func: ast.expr) -> ast.expr | None:
        """nn.Embedding(..) of self.trunk.wte, where self.trunk = nn.ModuleDict(dict(wte=nn.Embedding(..)))."""
        if not isinstance(func, ast.Attribute) or not isinstance(func.value, ast.Attribute):
            return None
        for value in self._program.values_of(func.value):
            if isinstance(value, ast.Call) and last_name(value.func) == "ModuleDict":
                for held in (part for part in ast.walk(value) if isinstance(part, ast.keyword)):
                    if held.arg == func.attr:
                        return held.value
        return None


def _is_transposed(node: ast.AST) -> bool:
    """t.transpose(1, 2)."""
    if not isinstance(node, ast.Call) or last_name(node.func) != "transpose":
        return False
    return {each.value for each in node.args if isinstance(each, ast.Constant)} == {1, 2}


def reduced_axes(call: ast.Call) -> tuple[ast.expr, frozenset[int] | None] | None:
    """What a call reduces, or normalises, and along which dimensions, None for all; None where that is not told."""
    func = call.func
    of_method = isinstance(func, ast.Attribute) and last_name(func.value) not in _LIBRARIES
    if not isinstance(func, ast.Attribute) or (not of_method and not call.args):
        return None
    tensor = func.value if of_method else call.args[0]
    if len(call.args) == (not of_method) and not call.keywords:
        return tensor, None
    axes = _axes(call, of_method=of_method)
    return None if axes is None else (tensor, axes)


def _axes(call: ast.Call, *, of_method: bool) -> frozenset[int] | None:
    named = [each.value for each in call.keywords if each.arg in ("dim", "axis")]
    given = named or call.args[0 if of_method else 1 :][:1]
    if not given:
        return None
    try:
        value = ast.literal_eval(given[0])
    except (ValueError, TypeError):
        return None
    axes = value if isinstance(value, tuple | list) else (value,)
    return frozenset(axes) if all(type(each) is int for each in axes) else None


def _are_batch_and_sequence(sizes: Sequence[ast.expr]) -> bool:
    """B, T, .. as the sizes of a tensor; of weights they are called otherwise."""
    if len(sizes) < 2:
        return False
    batch, length = sizes[0], sizes[1]
    if isinstance(length, ast.BinOp):  # L // interval
        length = length.left
    return _BATCH.search(last_name(batch)) is not None and _SEQUENCE.search(last_name(length)) is not None


def _keeps(index: ast.expr, axis: int, first: int | None) -> bool:
    """[:, 1:] and [:, :-1, :], which leave the first dimensions, or all, where they are, and of the sequence the most.

    A few places of it are no window: [:, :1].
    """
    parts = index.elts if isinstance(index, ast.Tuple) else [index]
    if not all(isinstance(part, ast.Slice) for part in parts[:first]):
        return False
    cut = parts[axis] if len(parts) > axis else None
    return not isinstance(cut, ast.Slice) or _is_whole(cut)


def _is_whole(cut: ast.Slice) -> bool:
    """Whether a slice leaves out one place at each end at most: 1:, :-1, :seqlen."""
    low = cut.lower.value if isinstance(cut.lower, ast.Constant) else None if cut.lower is not None else 0
    end = cut.upper
    if isinstance(end, ast.UnaryOp) and isinstance(end.op, ast.USub):
        is_end = isinstance(end.operand, ast.Constant) and end.operand.value == 1
    elif isinstance(end, ast.Call | ast.Subscript):
        is_end = any(isinstance(part, ast.Attribute) and part.attr in ("shape", "size") for part in ast.walk(end))
    else:
        is_end = end is None or _SEQUENCE.search(last_name(end)) is not None
    return low in (0, 1) and is_end and cut.step is None
