"""Numbers that expressions of a script stand for, worked out from the syntax tree by a small interpreter.

Nothing of the script runs: only arithmetic, comparisons, a list of functions named here, and functions of the script
made of the same. A random draw or a position in a grid is a *leaf*: its value is given from outside, so
that an expression becomes a function of the noise level, whatever its variables are called.
"""

from __future__ import annotations

import ast
import itertools
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bpb_harness.auditing.script.frontend.program import Definition, Program, Scope, dotted, last_name

_MAX_DEPTH = 70
_MAX_STEPS = 20_000


class UnknownValueError(Exception):
    """The expression is not made of things that this interpreter knows."""


@dataclass(frozen=True, eq=False)
class Frame:
    """A scope together with what its parameters were given, each to be read in the caller's frame."""

    scope: Scope
    bindings: Mapping[str, tuple[ast.expr, Frame]] = field(default_factory=dict)
    depth: int = 0


@dataclass
class Leaf:
    """A free quantity: a uniform draw in (0, 1), or an index 0..length-1 into a grid."""

    node: ast.AST
    kind: str  # "uniform" or "index"
    length: int | None = None
    low: int = 0
    high: int | None = None


_BINARY: dict[type, Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_COMPARE: dict[type, Callable[[object, object], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,  # type: ignore[dict-item]
    ast.LtE: operator.le,  # type: ignore[dict-item]
    ast.Gt: operator.gt,  # type: ignore[dict-item]
    ast.GtE: operator.ge,  # type: ignore[dict-item]
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
}
_UNARY_FUNCTIONS: dict[str, Callable[[float], float]] = {
    "exp": math.exp, "expm1": math.expm1, "log": math.log, "log1p": math.log1p, "log2": math.log2, "sqrt": math.sqrt,
    "rsqrt": lambda x: 1.0 / math.sqrt(x), "cos": math.cos, "sin": math.sin, "tan": math.tan, "abs": abs,
    "reciprocal": lambda x: 1.0 / x, "neg": operator.neg, "sigmoid": lambda x: 1.0 / (1.0 + math.exp(-x)),
    "square": lambda x: x * x, "floor": math.floor, "ceil": math.ceil, "round": round,
}  # fmt: skip
# Calls that hand their first argument (or the object they are called on) through, as far as one element is concerned.
IDENTITY = frozenset([
    "to", "float", "double", "half", "bfloat16", "item", "view", "reshape", "expand", "expand_as", "unsqueeze",
    "squeeze", "contiguous", "clone", "detach", "type", "type_as", "cpu", "cuda", "flatten", "repeat", "astype",
    "tensor", "as_tensor", "asarray", "array", "Tensor", "int32", "int64", "long", "from_numpy", "numpy",
    "broadcast_to", "requires_grad_", "float32", "float64", "tolist", "list", "tuple", "reversed", "tqdm", "trange",
    "permute", "transpose",
])  # fmt: skip
_REVERSING = frozenset(["reversed", "flip"])
_RANDOM = frozenset(["rand", "rand_like", "random", "uniform", "uniform_", "random_sample"])


def is_random(node: ast.AST) -> bool:
    """Whether a node is a call that draws uniform numbers."""
    if not isinstance(node, ast.Call) or last_name(node.func) not in _RANDOM:
        return False
    return last_name(node.func) != "uniform" or len(node.args) <= 3


class Evaluator:
    """Evaluates expressions at one point of their leaves.

    Args:
        program: where names and functions are looked up.
        point: values of leaves by the id of their node: u of a uniform, i of an index. Missing ones take a default,
            and every leaf met is kept in `leaves`.
    """

    def __init__(self, program: Program, point: Mapping[int, float] | None = None) -> None:
        self.program = program
        self.point = dict(point or {})
        self.leaves: dict[int, Leaf] = {}
        self.compared = False  # whether a comparison was evaluated: then the value may be a draw of masks
        self._steps = 0

    def number(self, node: ast.expr, frame: Frame) -> float | None:
        """The value as a finite float, or None."""
        try:
            value = self.value(node, frame)
        except (UnknownValueError, ArithmeticError, ValueError, TypeError, RecursionError):
            return None
        if isinstance(value, bool | int | float):
            try:
                result = float(value)
            except OverflowError:
                return None
            return result if math.isfinite(result) else None
        return None

    def value(self, node: ast.expr, frame: Frame, depth: int = 0) -> object:
        """The value.

        Raises:
            UnknownValueError: if the expression holds anything that is not known here.
        """
        self._steps += 1
        if depth > _MAX_DEPTH or self._steps > _MAX_STEPS or not self.program.spend():
            raise UnknownValueError
        method = getattr(self, "_" + type(node).__name__.lower(), None)
        if method is None:
            raise UnknownValueError
        return method(node, frame, depth + 1)

    # -- nodes ------------------------------------------------------------------------------------

    def _constant(self, node: ast.Constant, _frame: Frame, _depth: int) -> object:
        if isinstance(node.value, int) and abs(node.value) > 2**80:
            raise UnknownValueError
        return node.value

    def _tuple(self, node: ast.Tuple, frame: Frame, depth: int) -> object:
        return tuple(self.value(part, frame, depth) for part in node.elts)

    def _list(self, node: ast.List, frame: Frame, depth: int) -> object:
        """A literal list in a place where one element is wanted: a grid."""
        if not node.elts or any(isinstance(part, ast.Starred) for part in node.elts):
            raise UnknownValueError
        index = self._index(node, len(node.elts))
        return self.value(node.elts[index % len(node.elts)], frame, depth)

    def _name(self, node: ast.Name, frame: Frame, depth: int) -> object:
        bound = frame.bindings.get(node.id)
        definitions = self.program.reaching(node)
        if bound is not None and all(d.kind == "parameter" for d in definitions):
            return self.value(bound[0], bound[1], depth)
        carried = self.program.carried(node, definitions)
        if carried is not None:
            return self._carried(*carried, definitions, frame, depth)
        return self._agreed(node, definitions, frame, depth)

    def _carried(
        self, loop: ast.For, definition: Definition, definitions: list[Definition], frame: Frame, depth: int
    ) -> object:
        """What the round before left in a name; in the first round what stood before the loop.

        The rounds are those of the loop's own grid: the round before has the index before, or the one behind it where
        the loop runs backwards.
        """
        probe = Evaluator(self.program, self.point)
        probe.value_of_round(loop.iter, frame, depth)
        grids = [leaf for leaf in probe.leaves.values() if leaf.kind == "index"]
        if len(grids) != 1:
            raise UnknownValueError
        self.leaves |= {id(grids[0].node): grids[0]}
        backwards = sum(isinstance(p, ast.Call) and last_name(p.func) in _REVERSING for p in ast.walk(loop.iter)) % 2
        if backwards and grids[0].length is None:
            raise UnknownValueError
        here = self.point.get(id(grids[0].node), 0.0)
        before = here + 1.0 if backwards else here - 1.0
        if before < 0.0 or (backwards and before > (grids[0].length or 0) - 1.0):
            earlier = [d for d in definitions if d is not definition]
            return self._agreed(None, earlier, frame, depth)
        point = {**self.point, id(grids[0].node): before}
        return Evaluator(self.program, point)._defined(definition, frame, depth)

    def value_of_round(self, iterated: ast.expr, frame: Frame, depth: int) -> None:
        """Look at what a loop runs over, for its leaves; the value of an element may be unknown."""
        for index in ((), (0,), (1,), (1, 0), (1, 1)):
            try:
                self._element(iterated, index, frame, depth)
            except (UnknownValueError, ArithmeticError, ValueError, TypeError, IndexError):
                continue
            if self.leaves:
                return
        raise UnknownValueError

    def _agreed(self, node: ast.Name | None, definitions: list[Definition], frame: Frame, depth: int) -> object:
        """The one value that all definitions of a name give."""
        values: list[object] = []
        for definition in definitions:
            if definition.kind == "parameter":
                if node is None:
                    raise UnknownValueError
                values.append(self._parameter(definition, node.id, frame, depth))
            elif definition.kind in ("assign", "loop") and definition.value is not None:
                taken = self.taken(definition.statement, frame, depth)
                if taken is False:
                    continue
                values.append(self._defined(definition, frame, depth))
                if taken and isinstance(definition.statement, ast.Assign | ast.AnnAssign) and not values[:-1]:
                    break
            elif definition.kind == "mutation":
                continue
            else:
                raise UnknownValueError
        if not values or any(value != values[0] for value in values[1:]):
            raise UnknownValueError
        return values[0]

    def _defined(self, definition: Definition, frame: Frame, depth: int) -> object:
        assert definition.value is not None
        node, index = definition.value, definition.index
        if definition.kind == "loop":
            return self._element(node, index, frame, depth)
        return self._part(node, index, frame, depth)

    def _part(self, node: ast.expr, index: tuple[int, ...], frame: Frame, depth: int) -> object:
        """An element of a tuple, of which the other elements need not be known."""
        if index and isinstance(node, ast.Tuple | ast.List) and index[0] < len(node.elts):
            return self._part(node.elts[index[0]], index[1:], frame, depth)
        if index and isinstance(node, ast.Call):
            callee = self.program.callee(node)
            if callee is not None and frame.depth < 12:
                return self._inline(callee, node, frame, depth + 1, index)
        value = self.value(node, frame, depth)
        for position in index:
            if not isinstance(value, tuple) or position >= len(value):
                raise UnknownValueError
            value = value[position]
        return value

    def _element(self, node: ast.expr, index: tuple[int, ...], frame: Frame, depth: int) -> object:
        """One element of what a loop runs over; the leaf says which."""
        if isinstance(node, ast.Call):
            name = last_name(node.func)
            if name in ("tqdm", "reversed", "list", "tuple", "track") and node.args:
                return self._element(node.args[0], index, frame, depth)
            if name == "enumerate" and node.args and index:
                before = set(self.leaves)
                value = self._element(node.args[0], index[1:], frame, depth)
                if index[0] == 1:
                    return value
                new = [key for key in self.leaves if key not in before] or list(self.leaves)
                return self.point.get(new[-1], 0.0) if new else self._raise()
            if name == "zip" and index and index[0] < len(node.args):
                return self._zipped(node, index, frame, depth)
        if isinstance(node, ast.List | ast.Tuple) and node.elts:
            chosen = node.elts[self._index(node, len(node.elts)) % len(node.elts)]
            return self._part(chosen, index, frame, depth)
        if isinstance(node, ast.Name) and node.id not in frame.bindings and (index or self._is_literal(node)):
            definitions = self.program.reaching(node)
            definition = definitions[0] if len(definitions) == 1 else None
            if definition is None or definition.kind != "assign" or definition.value is None or definition.index:
                raise UnknownValueError
            return self._element(definition.value, index, frame, depth + 1)
        if index:
            raise UnknownValueError
        return self.value(node, frame, depth)

    def _is_literal(self, node: ast.Name) -> bool:
        """Whether a name stands for one tuple written out, which is a grid where a loop runs over it."""
        definitions = self.program.reaching(node)
        return len(definitions) == 1 and definitions[0].kind == "assign" and isinstance(definitions[0].value, ast.Tuple)

    def _zipped(self, node: ast.Call, index: tuple[int, ...], frame: Frame, depth: int) -> object:
        """An element of one column of a zip: all columns are at the same place, which is a leaf of the zip's own."""
        column = node.args[index[0]]
        probe = Evaluator(self.program, self.point)
        value = probe._element(column, index[1:], frame, depth)
        grids = [leaf for leaf in probe.leaves.values() if leaf.kind == "index"]
        if not grids:
            self.leaves |= probe.leaves
            return value
        if len(grids) > 1 or any(leaf.low for leaf in grids):
            raise UnknownValueError
        (grid,) = grids
        length = grid.high if grid.high is not None else grid.length
        known = self.leaves.setdefault(id(node), Leaf(node, "index", length))
        if length is not None:
            known.length = min(known.length, length) if known.length is not None else length
        at = {**self.point, id(grid.node): self.point.get(id(node), 0.0)}
        inner = Evaluator(self.program, at)
        value = inner._element(column, index[1:], frame, depth)
        self.leaves |= {key: leaf for key, leaf in inner.leaves.items() if leaf.kind != "index"}
        return value

    @staticmethod
    def _raise() -> object:
        raise UnknownValueError

    def _parameter(self, definition: Definition, name: str, frame: Frame, depth: int) -> object:
        scope = self.program.scope(definition.statement)
        values = []
        for argument in self.program.arguments(scope, name):
            if frame.depth > 8:
                break
            caller = Frame(self.program.scope(argument), depth=frame.depth + 1)
            values.append(self.value(argument, caller, depth))
        if not values and definition.value is not None:
            values.append(self.value(definition.value, Frame(scope), depth))
        if not values or any(value != values[0] for value in values[1:]):
            raise UnknownValueError
        return values[0]

    def _attribute(self, node: ast.Attribute, _frame: Frame, depth: int) -> object:
        if node.attr == "pi":
            return math.pi
        if node.attr == "e" and isinstance(node.value, ast.Name) and node.value.id in ("math", "np", "numpy"):
            return math.e
        candidates = self.program.values_of(node)
        values = []
        for value in candidates[:6]:
            values.append(self.value(value, Frame(self.program.scope(value)), depth))
        if not values or any(value != values[0] for value in values[1:]):
            raise UnknownValueError
        return values[0]

    def _binop(self, node: ast.BinOp, frame: Frame, depth: int) -> object:
        if self._is_jitter(node):
            return self._uniform(node)
        left, right = self.value(node.left, frame, depth), self.value(node.right, frame, depth)
        if isinstance(node.op, ast.Pow):
            if not isinstance(left, int | float) or not isinstance(right, int | float) or abs(right) > 64:
                raise UnknownValueError
            return float(left) ** float(right)
        if isinstance(left, bool) and isinstance(right, bool) and isinstance(node.op, ast.BitAnd | ast.BitOr):
            return left and right if isinstance(node.op, ast.BitAnd) else left or right
        function = _BINARY.get(type(node.op))
        if function is None or not isinstance(left, int | float) or not isinstance(right, int | float):
            raise UnknownValueError
        return function(left, right)

    def _is_jitter(self, node: ast.BinOp) -> bool:
        """A stratified draw, (i + u) / n or (u + i / n) % 1: uniform, whatever n is."""
        if not isinstance(node.op, ast.Mod | ast.Div):
            return False
        near = list(itertools.islice(ast.walk(node.left), 60))
        self.program.spend(len(near) // 8)
        parts: list[ast.AST] = [part for part in near if is_random(part)]
        if not parts:
            parts = [part for part in near if isinstance(part, ast.Name) and self._drawn(part)]
        if not parts:
            return False
        if isinstance(node.op, ast.Mod):
            return isinstance(node.right, ast.Constant) and node.right.value == 1
        if isinstance(node.op, ast.Div) and isinstance(node.left, ast.BinOp) and isinstance(node.left.op, ast.Add):
            left = node.left
            others = [side for side in (left.left, left.right) if not is_random(side) and side not in parts]
            return len(others) == 1 and not isinstance(others[0], ast.Constant)
        return False

    def _drawn(self, name: ast.Name) -> bool:
        definitions = self.program.reaching(name)
        return len(definitions) == 1 and definitions[0].value is not None and is_random(definitions[0].value)

    def _unaryop(self, node: ast.UnaryOp, frame: Frame, depth: int) -> object:
        value = self.value(node.operand, frame, depth)
        if isinstance(node.op, ast.Not):
            return not value
        if not isinstance(value, int | float):
            raise UnknownValueError
        if isinstance(node.op, ast.Invert):
            return not value if isinstance(value, bool) else ~value if isinstance(value, int) else self._raise()
        return -value if isinstance(node.op, ast.USub) else value

    def _compare(self, node: ast.Compare, frame: Frame, depth: int) -> object:
        if len(node.ops) != 1 or type(node.ops[0]) not in _COMPARE:
            raise UnknownValueError
        left, right = self.value(node.left, frame, depth), self.value(node.comparators[0], frame, depth)
        self.compared = True
        return _COMPARE[type(node.ops[0])](left, right)

    def _boolop(self, node: ast.BoolOp, frame: Frame, depth: int) -> object:
        result: object = None
        for part in node.values:
            result = self.value(part, frame, depth)
            if bool(result) is isinstance(node.op, ast.Or):
                break
        return result

    def _ifexp(self, node: ast.IfExp, frame: Frame, depth: int) -> object:
        try:
            chosen = bool(self.value(node.test, frame, depth))
        except UnknownValueError:
            return self.value(node.body, frame, depth)
        return self.value(node.body if chosen else node.orelse, frame, depth)

    def _subscript(self, node: ast.Subscript, frame: Frame, depth: int) -> object:
        index = node.slice
        environment = dotted(node.value).endswith("environ")
        if environment:
            raise UnknownValueError
        parts = index.elts if isinstance(index, ast.Tuple) else [index]
        if all(
            isinstance(p, ast.Slice) or (isinstance(p, ast.Constant) and p.value in (None, Ellipsis)) for p in parts
        ):
            first = next((p for p in parts if isinstance(p, ast.Slice) and (p.lower or p.upper)), None)
            if first is None:
                return self.value(node.value, frame, depth)
            return self._sliced(node.value, first, frame, depth)
        position = Evaluator(self.program, self.point).value(index, frame, depth)
        if isinstance(position, bool):
            return self.value(node.value, frame, depth)  # the entries where a mask holds
        position = self.value(index, frame, depth)
        if not isinstance(position, int | float):
            raise UnknownValueError
        probe = Evaluator(self.program, self.point)
        value = probe.value(node.value, frame, depth)
        if isinstance(value, tuple):
            return value[int(position)]
        grids = [leaf for leaf in probe.leaves.values() if leaf.kind == "index"]
        if len(grids) != 1:
            raise UnknownValueError
        if position < 0 and grids[0].length is None:
            raise UnknownValueError
        position = position + (grids[0].length or 0) if position < 0 else position
        chosen = Evaluator(self.program, {**self.point, id(grids[0].node): position})
        return chosen.value(node.value, frame, depth)

    def _sliced(self, base: ast.expr, part: ast.Slice, frame: Frame, depth: int) -> object:
        """grid[1:] or grid[:-1]: the same grid, looked at one place further on, or one place shorter."""
        low = int(self.number(part.lower, frame) or 0) if part.lower is not None else 0
        high = self.number(part.upper, frame) if part.upper is not None else None
        if part.step is not None or low < 0 or (part.lower is None and high is None):
            raise UnknownValueError
        probe = Evaluator(self.program, self.point)
        probe.value(base, frame, depth)
        grids = [leaf for leaf in probe.leaves.values() if leaf.kind == "index"]
        if len(grids) != 1 or grids[0].length is None:
            raise UnknownValueError
        length = grids[0].length
        end = length if high is None else int(high) + (length if high < 0 else 0)
        if end - low < 1:
            raise UnknownValueError
        key = id(grids[0].node)
        known = self.leaves.setdefault(key, Leaf(grids[0].node, "index", length))
        known.high = min(known.high if known.high is not None else length, end - low)
        point = self.point.get(key, 0.0) + low
        return Evaluator(self.program, {**self.point, key: point}).value(base, frame, depth)

    def _call(self, node: ast.Call, frame: Frame, depth: int) -> object:
        name = last_name(node.func)
        if is_random(node):
            return self._uniform_call(node, name, frame, depth)
        own = self._known(node, name, frame, depth)
        if own is not None:
            return own
        callee = self.program.callee(node)
        if callee is not None and frame.depth < 12:
            return self._inline(callee, node, frame, depth)
        raise UnknownValueError

    # -- calls ------------------------------------------------------------------------------------

    def _uniform_call(self, node: ast.Call, name: str, frame: Frame, depth: int) -> object:
        draw = self._uniform(node)
        if name in ("uniform", "uniform_") and len(node.args) >= 2:
            low, high = self.value(node.args[0], frame, depth), self.value(node.args[1], frame, depth)
            if isinstance(low, int | float) and isinstance(high, int | float):
                return low + (high - low) * draw
            raise UnknownValueError
        return draw

    def _uniform(self, node: ast.AST) -> float:
        self.leaves.setdefault(id(node), Leaf(node, "uniform"))
        return self.point.get(id(node), 0.5)

    def _index(self, node: ast.AST, length: int | None) -> int:
        self.leaves.setdefault(id(node), Leaf(node, "index", length))
        return int(self.point.get(id(node), 0))

    def _known(self, node: ast.Call, name: str, frame: Frame, depth: int) -> object:
        receiver = node.func.value if isinstance(node.func, ast.Attribute) else None
        library = receiver is not None and dotted(receiver).split(".")[0] in (
            "torch",
            "np",
            "numpy",
            "math",
            "F",
            "jnp",
            "jax",
        )
        on_object = receiver is not None and not library
        operands = [receiver, *node.args] if on_object and receiver is not None else list(node.args)
        if name in ("get", "getenv") and dotted(node.func) in ("os.environ.get", "os.getenv", "environ.get", "getenv"):
            return self.value(node.args[1], frame, depth) if len(node.args) > 1 else self._raise()
        if name in ("range", "arange", "linspace"):
            return self._grid(node, name, frame, depth)
        if name == "len" and isinstance(node.func, ast.Name) and len(node.args) == 1:
            return self._length(node.args[0], frame, depth)
        if name in ("int", "float", "bool", "str") and isinstance(node.func, ast.Name) and len(node.args) == 1:
            value = self.value(node.args[0], frame, depth)
            kinds: dict[str, Callable[[object], object]] = {"int": int, "float": float, "bool": bool, "str": str}  # type: ignore[dict-item]
            return kinds[name](value)
        if name in _UNARY_FUNCTIONS and len(operands) == 1:
            return self._unary(name, operands[0], frame, depth)
        if name in IDENTITY and operands:
            return self.value(operands[0], frame, depth)
        if name in ("ones_like", "ones", "zeros_like", "zeros"):
            return 1.0 if name.startswith("ones") else 0.0
        if name in ("full_like", "full") and len(node.args) > 1:
            return self.value(node.args[1], frame, depth)
        if name in ("clamp", "clip", "clamp_min", "clamp_max", "clamp_", "maximum", "minimum", "max", "min", "pow"):
            return self._clamped(node, name, operands, frame, depth)
        return None

    def _length(self, node: ast.expr, frame: Frame, depth: int) -> object:
        """How many points a grid has."""
        probe = Evaluator(self.program, self.point)
        value = probe.value(node, frame, depth)
        grids = [leaf for leaf in probe.leaves.values() if leaf.kind == "index"]
        if isinstance(value, tuple | str):
            return len(value)
        length = (grids[0].high or grids[0].length) if len(grids) == 1 else None
        if length is None:
            raise UnknownValueError
        return length

    def _unary(self, name: str, operand: ast.expr, frame: Frame, depth: int) -> object:
        value = self.value(operand, frame, depth)
        if not isinstance(value, int | float):
            raise UnknownValueError
        return _UNARY_FUNCTIONS[name](value)

    def _grid(self, node: ast.Call, name: str, frame: Frame, depth: int) -> object:
        numbers: list[float] = []
        for argument in node.args[:3]:
            value = self.value(argument, frame, depth)
            if not isinstance(value, int | float):
                raise UnknownValueError
            numbers.append(value)
        keywords = {keyword.arg: keyword.value for keyword in node.keywords}
        if name == "linspace":
            for extra in ("steps", "num"):
                if extra in keywords and len(numbers) == 2:
                    numbers.append(self.number(keywords[extra], frame) or 0.0)
            if len(numbers) != 3 or numbers[2] < 1:
                raise UnknownValueError
            start, stop, count = numbers[0], numbers[1], int(numbers[2])
            gaps = count if _is_false(keywords.get("endpoint")) else max(1, count - 1)
            step = (stop - start) / gaps
        else:
            if not numbers:
                raise UnknownValueError
            start, stop = (0.0, numbers[0]) if len(numbers) == 1 else (numbers[0], numbers[1])
            step = numbers[2] if len(numbers) > 2 else 1.0
            if step == 0:
                raise UnknownValueError
            count = max(0, math.ceil((stop - start) / step - 1e-9))
        if not 1 <= count <= 10_000_000:
            raise UnknownValueError
        return start + step * self._index(node, count)

    def _clamped(self, node: ast.Call, name: str, operands: list[ast.expr], frame: Frame, depth: int) -> object:
        bounds = {keyword.arg: keyword.value for keyword in node.keywords}
        if not operands:
            raise UnknownValueError
        value = self.value(operands[0], frame, depth)
        others = [self.value(operand, frame, depth) for operand in operands[1:]]
        if not isinstance(value, int | float) or not all(isinstance(other, int | float) for other in others):
            raise UnknownValueError
        if name == "pow":
            exponent = others[0] if others else self._raise()
            return float(value) ** float(exponent)  # type: ignore[arg-type]
        low = self.number(bounds["min"], frame) if "min" in bounds else None
        high = self.number(bounds["max"], frame) if "max" in bounds else None
        if name in ("maximum", "max", "clamp_min") and others:
            low = float(others[0])  # type: ignore[arg-type]
        elif name in ("minimum", "min", "clamp_max") and others:
            high = float(others[0])  # type: ignore[arg-type]
        else:
            low = float(others[0]) if others else low  # type: ignore[arg-type]
            high = float(others[1]) if len(others) > 1 else high  # type: ignore[arg-type]
        if low is None and high is None:
            raise UnknownValueError
        value = max(value, low) if low is not None else value
        return min(value, high) if high is not None else value

    def _inline(self, callee: Scope, call: ast.Call, frame: Frame, depth: int, index: tuple[int, ...] = ()) -> object:
        bound = {name: (value, frame) for name, value in self.program.bind(callee, call).items()}
        inner = Frame(callee, bound, frame.depth + 1)
        values: list[object] = []
        for result in callee.returns:
            taken = self.taken(result, inner, depth)
            if taken is False:
                continue
            values.append(self._part(result, index, inner, depth))
            if taken:
                break  # later returns are never reached
        if any(value != values[0] for value in values[1:]):
            raise UnknownValueError
        if not values:
            raise UnknownValueError
        return values[0]

    def taken(self, node: ast.AST, frame: Frame, depth: int = 0) -> bool | None:
        """Whether the branch in which a node stands is taken; None where its tests cannot be evaluated."""
        child: ast.AST = node
        sure = True
        for above in self.program.ancestors(node):
            if isinstance(above, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.Module):
                break
            if isinstance(above, ast.If) and child is not above.test:
                try:
                    test = bool(Evaluator(self.program, self.point).value(above.test, frame, depth))
                except (UnknownValueError, ArithmeticError, ValueError, TypeError, RecursionError):
                    sure = False
                else:
                    if test is not any(child is statement for statement in above.body):
                        return False
            child = above
        return True if sure else None


def _is_false(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and node.value is False
