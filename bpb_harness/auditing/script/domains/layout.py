"""How a tensor of a layer lies that is made of the layer's input place by place: (batch, heads, places, channels)."""

from __future__ import annotations

import ast

from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import Scope, dotted, last_name

# B: batch, T: places, C: channels, H: heads, D: channels of a head, 3 and P: parts that are taken one by one.
ALONG_PLACES = "BHTD"
_VIEWS = {4: "BTHD", 5: "BT3HD"}
_SAME = frozenset(["contiguous", "to", "float", "bfloat16", "half", "type_as", "clone"])
_OF_CHANNELS = frozenset(["linear", "rms_norm", "layer_norm"])
_OF_MODULES = frozenset(["nn.Linear", "torch.nn.Linear", "nn.RMSNorm", "torch.nn.RMSNorm", "nn.LayerNorm"])
_TURNING = _SAME | {"cat", "size", "chunk"}  # of halves of channels
_DEEPEST = 24

Found = tuple[str, tuple[Scope, str]]


class Layout:
    """Follows a tensor back to a parameter of the function that it stands in; what is not known whole is None.

    Args:
        program: the scripts.
    """

    def __init__(self, program: Program) -> None:
        self._program = program

    def of(self, node: ast.expr, depth: int = 0) -> Found | None:
        """How a tensor lies, and of which parameter it is made."""
        if depth > _DEEPEST:
            return None
        if isinstance(node, ast.Name):
            return self._of_name(node, depth)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):  # q * self.gain[None, :, None, None]
            index = node.right.slice if isinstance(node.right, ast.Subscript) else None
            is_plain = isinstance(node.right, ast.Constant) or (isinstance(index, ast.Tuple) and len(index.elts) == 4)
            return self.of(node.left, depth + 1) if is_plain else None
        if isinstance(node, ast.GeneratorExp | ast.ListComp):  # q, k, v = (each.transpose(1, 2) for each in ..)
            is_plain = len(node.generators) == 1 and not node.generators[0].ifs
            found = self.of(node.elt, depth + 1) if is_plain else None
            return (f"P{found[0]}", found[1]) if found is not None else None
        return self._of_call(node, depth) if isinstance(node, ast.Call) else None

    def _of_name(self, node: ast.Name, depth: int) -> Found | None:
        defined = self._program.reaching(node)
        if len(defined) != 1:
            return None
        (given,) = defined
        if given.kind == "parameter":
            return "BTC", (self._program.scope(given.statement), given.name)
        if given.kind == "loop" and not given.index and given.value is not None:
            found = self.of(given.value, depth + 1)
            return (found[0][1:], found[1]) if found is not None and found[0][0] in "3P" else None
        if given.kind != "assign" or given.part is None:
            return None
        found = self.of(given.part, depth + 1)
        if found is None or not given.index or given.part is not given.value:
            return found
        return (found[0][1:], found[1]) if len(given.index) == 1 and found[0][0] in "3P" else None

    def _of_call(self, call: ast.Call, depth: int) -> Found | None:
        func, name = call.func, last_name(call.func)
        if any(isinstance(each, ast.Starred) for each in call.args):
            return None
        if self._is_of_channels(call):
            found = self.of(call.args[0], depth + 1)
            return found if found is not None and found[0][0] not in "3P" else None
        if not isinstance(func, ast.Attribute) or self._program.callee(call) is not None:
            return None
        found = self.of(func.value, depth + 1)
        if found is None or name in _SAME:
            return found
        lies = self._moved(call, name, *found)
        return (lies, found[1]) if lies else None

    def _moved(self, call: ast.Call, name: str, lies: str, of: tuple[Scope, str]) -> str | None:
        if name in ("view", "reshape") and lies == "BTC" and not call.keywords:
            is_named = len(call.args) in _VIEWS and all(self._is_size(call.args[axis], axis, of) for axis in (0, 1))
            return _VIEWS[len(call.args)] if is_named else None
        axes = [_number(each) for each in call.args]
        if name == "transpose" and len(axes) == 2 and not call.keywords:
            order = [*range(len(lies))]
            if any(axis is None or not 0 <= axis < len(lies) for axis in axes):
                return None
            first, second = (axis for axis in axes if axis is not None)
            order[first], order[second] = second, first
            return "".join(lies[axis] for axis in order)
        if name == "permute" and sorted(-1 if axis is None else axis for axis in axes) == [*range(len(lies))]:
            return "".join(lies[axis] for axis in axes if axis is not None)
        axes += [_number(each.value) for each in call.keywords if each.arg == "dim"]
        if name in ("chunk", "split") and lies == "BTC" and axes[1:] in ([-1], [2]):
            return f"P{lies}"
        if name == "unbind" and len(axes) == 1 and axes[0] is not None and lies[axes[0]] == "3":
            return "3" + lies.replace("3", "")
        is_of_heads = name == "repeat_interleave" and axes[1:] == [1] and lies == ALONG_PLACES
        return lies if is_of_heads else None

    def _is_size(self, node: ast.expr, axis: int, of: tuple[Scope, str]) -> bool:
        """Whether a name is of b, t, c = x.shape, where x is the parameter."""
        defined = self._program.reaching(node) if isinstance(node, ast.Name) else ()
        if len(defined) != 1 or defined[0].index != (axis,) or defined[0].value is None:
            return False
        statement, value = defined[0].statement, defined[0].value
        value = value.func if isinstance(value, ast.Call) and not value.args else value
        targets = statement.targets if isinstance(statement, ast.Assign) else []
        is_of_three = len(targets) == 1 and isinstance(targets[0], ast.Tuple) and len(targets[0].elts) == 3
        is_shape = isinstance(value, ast.Attribute) and value.attr in ("shape", "size")
        return is_of_three and is_shape and self.of(value.value) == ("BTC", of)  # type: ignore[attr-defined]

    def _is_of_channels(self, call: ast.Call) -> bool:
        """F.rms_norm(x, ..), self.c_q(x), and a function that turns halves of channels: each place for itself."""
        func, callee = call.func, self._program.callee(call)
        if not call.args:
            return False
        if callee is not None:
            return _is_plain_layer(callee) or _turns(callee)
        if dotted(func).startswith(("F.", "torch.nn.functional.")):
            return last_name(func) in _OF_CHANNELS
        made = (
            self._program.values_of(func) if isinstance(func, ast.Attribute) and last_name(func.value) == "self" else []
        )
        return bool(made) and all(isinstance(each, ast.Call) and dotted(each.func) in _OF_MODULES for each in made)


def _is_plain_layer(layer: Scope) -> bool:
    """def forward(self, x): return F.linear(x, ..)."""
    if layer.name != "forward" or len(layer.returns) != 1 or not isinstance(layer.returns[0], ast.Call):
        return False
    (call,) = layer.returns
    names = [name for name in layer.parameters if name != "self"]
    first = call.args[0] if isinstance(call, ast.Call) and call.args else None
    is_given = isinstance(first, ast.Name) and names[:1] == [first.id]
    kinds = [each.kind for each in layer.definitions.get(names[0], [])] if names else []
    return is_given and kinds == ["parameter"] and last_name(call.func) in _OF_CHANNELS  # type: ignore[attr-defined]


def _turns(function: Scope) -> bool:
    """def rotate(x, cos, sin): x1, x2 = x[..., :half], x[..., half:]; return torch.cat((x1 * cos + ..), dim=-1)."""
    if len(function.returns) != 1 or not isinstance(function.node, ast.FunctionDef) or function.owner:
        return False
    body = [node for statement in function.node.body for node in ast.walk(statement)]
    for node in body:
        if isinstance(node, ast.Call) and last_name(node.func) not in _TURNING:
            return False
        if isinstance(node, ast.Call) and last_name(node.func) in ("cat", "chunk"):
            dims = [_number(each.value) for each in node.keywords if each.arg == "dim"]
            if (dims or [_number(each) for each in node.args[-1:]]) != [-1]:
                return False
        if isinstance(node, ast.Subscript) and not _is_of_last(node):
            return False
        if isinstance(node, ast.If | ast.For | ast.While | ast.Lambda | ast.comprehension | ast.IfExp):
            return False
    return any(isinstance(node, ast.Subscript) for node in body)


def _is_of_last(node: ast.Subscript) -> bool:
    """x[..., :half]."""
    parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else []
    return len(parts) == 2 and isinstance(parts[0], ast.Constant) and parts[0].value is ...


def _number(node: ast.expr) -> int | None:
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError):
        return None
    return value if type(value) is int else None
