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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from bpb_harness.auditing.script.domains.environment import asks_environment
from bpb_harness.auditing.script.frontend.answers import ASKER, Answers
from bpb_harness.auditing.script.frontend.nodes import position
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import FUNCTIONS, Definition, dotted, last_name
from bpb_harness.auditing.script.frontend.walker import Frame, Path, Walker, element_of, operands
from bpb_harness.claim.settings import Contested, Logged

UNKNOWN_ERRORS = (ArithmeticError, ValueError, TypeError, RecursionError)  # of arithmetic on what is read


class UnknownValueError(ValueError):
    """The expression is not made of things that this interpreter knows."""


@dataclass
class Leaf:
    """A free quantity: a uniform draw in (0, 1), or an index 0..length-1 into a grid."""

    node: ast.AST
    kind: str  # "uniform" or "index"
    length: int | None = None
    low: int = 0
    high: int | None = None

    @property
    def num_points(self) -> int | None:
        """Of a grid, as far as it is looked at."""
        return self.high if self.high is not None else self.length

    def again(self) -> Leaf:
        """The same, to be narrowed by itself."""
        return Leaf(self.node, self.kind, self.length, self.low, self.high)


@dataclass(frozen=True, slots=True)
class Valued:
    """What an expression was found to be, and what was met on the way.

    Attributes:
        value: its value.
        error: what was raised in place of one.
        is_fixed: whether no leaf was met: then it is the same at every point.
        leaves: those that were met, by the id of their node.
        compared: whether a comparison was evaluated.
        settings: those with which the script does otherwise than by its own default.
    """

    value: object
    error: type[Exception] | None
    is_fixed: bool
    leaves: Mapping[int, Leaf]
    compared: bool
    settings: tuple[tuple[str, str], ...]


def _power(base: float, exponent: float) -> float:
    if abs(exponent) > 64:
        raise UnknownValueError
    return math.pow(base, exponent)


BINARY: dict[type, Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: _power,
}
COMPARISONS: dict[type, Callable[[object, object], bool]] = {
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
    "exp": math.exp, "expm1": math.expm1, "log": math.log, "log1p": math.log1p, "log2": math.log2,
    "log10": math.log10, "sqrt": math.sqrt,
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
MAX_TEXT = 1_000  # characters that are put together
_DEEPEST_INLINED = 12  # of frames of functions that are called
_REMEMBERED = frozenset([ast.Name, ast.Attribute, ast.Call, ast.Subscript, ast.IfExp, ast.Compare, ast.BoolOp])
_LARGEST_KEPT = 2**128
_REVERSING = frozenset(["reversed", "flip"])
# Calls that look up an entry of a table, and what a table is made of that is filled later.
_LOOKING_UP = frozenset(["gather", "index_select", "take", "embedding", "get", "__getitem__"])
_STARTS = frozenset(["zeros", "ones", "empty", "full", "dict"])
_RANDOM = frozenset(["rand", "rand_like", "random", "uniform", "uniform_", "random_sample"])


_WHOLE_NUMBERS = frozenset(["randint", "integers"])


def _is_shape(node: ast.expr) -> bool:
    return isinstance(node, ast.Tuple | ast.List) or (isinstance(node, ast.Attribute) and node.attr == "shape")


def draws_numbers(program: Program) -> bool:
    """Whether a program draws uniform numbers anywhere: most that score do not."""
    return any(name in program.calls for name in _RANDOM)


def is_random(node: ast.AST) -> bool:
    """Whether a node is a call that draws uniform numbers."""
    if not isinstance(node, ast.Call) or last_name(node.func) not in _RANDOM:
        return False
    return last_name(node.func) != "uniform" or len(node.args) <= 3


class Evaluator(Walker[object]):
    """Evaluates expressions at one point of their leaves.

    Args:
        program: where names and functions are looked up.
        point: values of leaves by the id of their node: u of a uniform, i of an index. Missing ones take a default,
            and every leaf met is kept in `leaves`.
        depth: how deep the evaluation is that this one is part of.
    """

    deepest: ClassVar[int] = 70
    most_steps: ClassVar[int] = 20_000
    comparisons: ClassVar[Mapping[type, Callable[[object, object], bool]]] = COMPARISONS
    max_comparisons: ClassVar[int] = 1  # of a < b < c
    remembers: ClassVar[bool] = True  # what expressions stand for hangs on the program and the point alone

    def __init__(self, program: Program, point: Mapping[int, float] | None = None, depth: int = 0) -> None:
        super().__init__(program, depth)
        self.point = dict(point) if point else {}
        self._at = tuple(self.point.items()) if point else ()
        self.leaves: dict[int, Leaf] = {}
        self.compared = False  # whether a comparison was evaluated: then the value may be a draw of masks

    @property
    def grids(self) -> list[Leaf]:
        """The leaves met that are positions in a grid."""
        return [leaf for leaf in self.leaves.values() if leaf.kind == "index"]

    def number(self, node: ast.expr, frame: Frame) -> float | None:
        """The value as a finite float, or None."""
        if self.point or self.depth or self.steps or type(self) is not Evaluator:
            return self._worked_out(node, frame)
        # The same expressions are asked for at every level of what they are parts of.
        key = (Evaluator, node, frame)
        known = self.program.memo.get(key)
        if known is None:
            own = Evaluator(self.program)
            known = self.program.memo[key] = (own._worked_out(node, frame), own.leaves, own.compared)
        value: float | None = known[0]
        for place, leaf in known[1].items():
            if place not in self.leaves:
                self.leaves[place] = leaf.again()
        self.compared = self.compared or known[2]
        return value

    def _worked_out(self, node: ast.expr, frame: Frame) -> float | None:
        try:
            value = self.visit(node, frame)
            result = float(value) if isinstance(value, bool | int | float) else math.nan
        except UNKNOWN_ERRORS:
            return None
        return result if math.isfinite(result) else None

    def look(self, node: ast.expr, frame: Frame, path: Path) -> object:
        """The value of an expression, worked out once for all that ask for it at its point.

        What an expression is asked for on the way to its own value is not known.
        """
        if not self.remembers or node.__class__ not in _REMEMBERED:
            return self._looked(node, frame, path)
        answers: Answers[Valued] = self.program.valued
        known = answers.kept.get((node, frame, path))
        if known is not None and (known.is_fixed or not self._at):
            return self._recalled(known)
        question = (node, frame, path, self._at)
        if answers.is_open(question):
            raise UnknownValueError
        before, leaves, compared = answers.begin(question), self.leaves, self.compared
        met, noted = self.program.leaves_met, len(self.program.noted)
        self.leaves, self.compared = {}, False
        value, error, is_told = None, None, True
        try:
            value = self._looked(node, frame, path)
        except UNKNOWN_ERRORS as raised:
            error, is_told = type(raised), not isinstance(raised, RecursionError)
            raise
        except Exception:
            is_told = False
            raise
        finally:
            settings: tuple[tuple[str, str], ...] = ()
            if len(self.program.noted) > noted:
                settings = tuple(dict.fromkeys(self.program.noted[noted:]))
                self.program.noted[noted:] = settings
            is_fixed = self.program.leaves_met == met
            is_kept = answers.end(question, before) and is_told and _is_small(value)
            if is_kept and (is_fixed or not self._at):
                found = {key: leaf.again() for key, leaf in self.leaves.items()}
                answers.kept[node, frame, path] = Valued(value, error, is_fixed, found, self.compared, settings)
            own, self.leaves = self.leaves, leaves
            if own:
                self._meet(own)
            self.compared = self.compared or compared
        return value

    def _recalled(self, known: Valued) -> object:
        """What was worked out before, and what was met on the way, which is paid for."""
        self.steps += len(known.leaves)
        self.program.spend(len(known.leaves))
        self.program.leaves_met += not known.is_fixed
        if known.leaves:
            self._meet({key: leaf.again() for key, leaf in known.leaves.items()})
        self.compared = self.compared or known.compared
        for name, value in known.settings:
            self.program.note(name, value)
        if known.error is not None:
            raise known.error
        return known.value

    def _meet(self, leaves: Mapping[int, Leaf]) -> None:
        """Take leaves for those of this evaluation: what is known of them already, and they narrow it."""
        for key, leaf in leaves.items():
            known = self.leaves.setdefault(key, leaf)
            if known is not leaf:
                known.length, known.high = _least(known.length, leaf.length), _least(known.high, leaf.high)

    def stopped(self, node: ast.expr, frame: Frame, path: Path, /) -> object:
        """Raise `UnknownValueError`: with more work left, or from nearer by, it might be known."""
        self.program.valued.hangs_on = ASKER
        return self.unknown(node, frame, path)

    def _looked(self, node: ast.expr, frame: Frame, path: Path) -> object:
        """The value of an expression; of an element of a tuple the other elements need not be known."""
        if not path or (isinstance(node, ast.Call) and self._inlines(node, frame)):
            return super().look(node, frame, path)
        element, rest = element_of(node, path)
        if element is not node:
            return self.visit(element, frame, rest)
        value = super().look(node, frame, ())
        for place in path:
            if not isinstance(value, tuple) or not isinstance(place, int) or place >= len(value):
                raise UnknownValueError
            value = value[place]
        return value

    def _inlines(self, call: ast.Call, frame: Frame) -> bool:
        return frame.depth < _DEEPEST_INLINED and self.program.callee(call) is not None

    def unknown(self, _node: ast.expr, _frame: Frame, _path: Path = (), /) -> object:
        """Raise `UnknownValueError`."""
        raise UnknownValueError

    def _elsewhere(self, moved: Mapping[int, float] | None = None) -> Evaluator:
        """An evaluator at the same point, but for the leaves that are moved; it meets leaves of its own."""
        return Evaluator(self.program, {**self.point, **(moved or {})}, self.depth)

    def _only_grid(self) -> Leaf:
        grids = self.grids
        if len(grids) != 1:
            raise UnknownValueError
        return grids[0]

    # -- nodes ------------------------------------------------------------------------------------

    def _constant(self, node: ast.Constant, _frame: Frame, _path: Path) -> object:
        if isinstance(node.value, int) and abs(node.value) > 2**80:
            raise UnknownValueError
        return node.value

    def _tuple(self, node: ast.Tuple, frame: Frame, _path: Path) -> object:
        return tuple(self.visit(part, frame) for part in node.elts)

    def _list(self, node: ast.List, frame: Frame, _path: Path) -> object:
        """A literal list in a place where one element is wanted: a grid."""
        if not node.elts or any(isinstance(part, ast.Starred) for part in node.elts):
            raise UnknownValueError
        index = self._index(node, len(node.elts))
        return self.visit(node.elts[index % len(node.elts)], frame)

    def _listcomp(self, node: ast.ListComp | ast.GeneratorExp, frame: Frame, _path: Path) -> object:
        """An element of what a loop over a grid makes, one of each round: the leaf says which."""
        (first, *more) = node.generators
        return self.visit(node.elt, frame) if not more and not first.ifs else self.unknown(node, frame)

    _generatorexp = _listcomp

    def _dictcomp(self, node: ast.DictComp, frame: Frame, _path: Path) -> object:
        (first, *more) = node.generators
        is_whole = not more and not first.ifs
        return self._entry_stored(node, node.key, node.value, frame) if is_whole else self.unknown(node, frame)

    def _entry_stored(self, table: ast.AST, key: ast.expr, value: ast.expr, frame: Frame) -> object:
        """An entry of a table that a loop over a grid fills under keys one apart: the leaf is the table's own."""
        probe = self._elsewhere()
        first = real(probe.visit(key, frame))
        grid = probe._only_grid()
        length = grid.num_points
        if length is None or (length > 1 and self._elsewhere({id(grid.node): 1.0}).visit(key, frame) != first + 1):
            raise UnknownValueError
        place = max(self._index(table, int(first) + length), int(first))  # what stands before is asked for by nobody
        return self._elsewhere({id(grid.node): place - first}).visit(value, frame)

    def _stored(self, definitions: Sequence[Definition], frame: Frame) -> object:
        """An element of a table that one loop fills: xs = [], xs.append(v); x = zeros(n), x[i] = v. Else None."""
        start, stored = ([d for d in definitions if d.kind == kind] for kind in ("assign", "mutation"))
        if len(definitions) != 2 or len(start) != 1 or len(stored) != 1 or start[0].index or stored[0].index:
            return None
        first, value, statement = start[0].value, stored[0].value, stored[0].statement
        above = self.program.parent(statement) if isinstance(statement, ast.Call) else statement
        if value is None or above is None or not isinstance(self.program.parent(above), ast.For):
            return None
        if stored[0].key is not None:
            is_table = isinstance(first, ast.Call) and last_name(first.func) in _STARTS
            return self._entry_stored(statement, stored[0].key, value, frame) if is_table else None
        is_list = isinstance(first, ast.List) and not first.elts
        is_appended = isinstance(statement, ast.Call) and last_name(statement.func) == "append"
        return self.visit(value, frame) if is_list and is_appended else None

    def defined(self, node: ast.Name, frame: Frame, _path: Path, /) -> object:
        """What all definitions of a name agree on, or what a loop's round before left in it."""
        definitions = self.program.reaching(node)
        stored = self._stored(definitions, frame)
        if stored is not None:
            return stored
        carried = self.program.carried(node, definitions)
        if carried is not None:
            return self._carried(*carried, definitions, frame)
        return self._agreed(node, definitions, frame)

    def _carried(
        self, loop: ast.For, definition: Definition, definitions: Sequence[Definition], frame: Frame
    ) -> object:
        """What the round before left in a name; in the first round what stood before the loop.

        The rounds are those of the loop's own grid: the round before has the index before, or the one behind it where
        the loop runs backwards.
        """
        probe = self._elsewhere()
        probe.value_of_round(loop.iter, frame)
        grid = probe._only_grid()
        key = id(grid.node)
        self.leaves[key] = grid
        backwards = sum(isinstance(p, ast.Call) and last_name(p.func) in _REVERSING for p in ast.walk(loop.iter)) % 2
        if backwards and grid.length is None:
            raise UnknownValueError
        before = self.point.get(key, 0.0) + (1.0 if backwards else -1.0)
        if before < 0.0 or (backwards and before > (grid.length or 0) - 1.0):
            return self._agreed(None, [d for d in definitions if d is not definition], frame)
        return self._elsewhere({key: before})._defined(definition, frame)

    def value_of_round(self, iterated: ast.expr, frame: Frame) -> None:
        """Look at what a loop runs over, for its leaves; the value of an element may be unknown."""
        for index in ((), (0,), (1,), (1, 0), (1, 1)):
            try:
                self._element(iterated, index, frame)
            except (ArithmeticError, ValueError, TypeError, IndexError):
                continue
            if self.leaves:
                return
        raise UnknownValueError

    def _agreed(self, node: ast.Name | None, definitions: Sequence[Definition], frame: Frame) -> object:
        """The one value that all definitions of a name give."""
        values: list[object] = []
        comes_round = node is not None and any(is_later(each, node) for each in definitions)
        for definition in definitions:
            if definition.kind == "parameter":
                if node is None:
                    raise UnknownValueError
                values.append(self._parameter(definition, frame))
            elif definition.kind in ("assign", "loop") and definition.value is not None:
                # What a comprehension runs over is met inside of it alone: where it stands was asked about already.
                is_inside = isinstance(definition.statement, ast.comprehension)
                taken = True if is_inside else self.taken(definition.statement, frame)
                if taken is False:
                    continue
                values.append(self._defined(definition, frame))
                is_assigned = isinstance(definition.statement, ast.Assign | ast.AnnAssign)
                if taken and is_assigned and not values[:-1] and not comes_round:
                    break
            elif definition.kind == "mutation":
                continue
            else:
                raise UnknownValueError
        return _agreeing(values)

    def _defined(self, definition: Definition, frame: Frame) -> object:
        assert definition.value is not None
        node, index = definition.value, definition.index
        if definition.kind == "loop":
            return self._element(node, index, frame)
        return self.visit(node, frame, index)

    def _element(self, node: ast.expr, index: tuple[int, ...], frame: Frame) -> object:
        """One element of what a loop runs over; the leaf says which."""
        if isinstance(node, ast.Call):
            name = last_name(node.func)
            if name in ("tqdm", "reversed", "list", "tuple", "track") and node.args:
                return self._element(node.args[0], index, frame)
            if name == "enumerate" and node.args and index:
                before = set(self.leaves)
                value = self._element(node.args[0], index[1:], frame)
                if index[0] == 1:
                    return value
                new = [key for key in self.leaves if key not in before] or list(self.leaves)
                return self.point.get(new[-1], 0.0) if new else self.unknown(node, frame)
            if name == "zip" and index and index[0] < len(node.args):
                return self._zipped(node, index, frame)
        if isinstance(node, ast.List | ast.Tuple) and node.elts:
            chosen = node.elts[self._index(node, len(node.elts)) % len(node.elts)]
            return self.visit(chosen, frame, index)
        definitions = (
            self.program.reaching(node) if isinstance(node, ast.Name) and node.id not in frame.bindings else ()
        )
        is_one = len(definitions) == 1 and definitions[0].kind == "assign" and not definitions[0].index
        value = definitions[0].value if is_one else None
        if value is not None and (index or isinstance(value, ast.Tuple)):  # one that is written out is a grid too
            return self._element(value, index, frame)
        if index:
            raise UnknownValueError
        return self.visit(node, frame)

    def _zipped(self, node: ast.Call, index: tuple[int, ...], frame: Frame) -> object:
        """An element of one column of a zip: all columns are at the same place, which is a leaf of the zip's own."""
        column = node.args[index[0]]
        probe = self._elsewhere()
        value = probe._element(column, index[1:], frame)
        grids = probe.grids
        if not grids:
            self.leaves |= probe.leaves
            self.compared = self.compared or probe.compared  # an element of masks is a mask
            return value
        if len(grids) > 1 or any(leaf.low for leaf in grids):
            raise UnknownValueError
        (grid,) = grids
        length = grid.num_points
        known = self.leaves.setdefault(id(node), Leaf(node, "index", length))
        if length is not None:
            known.length = min(known.length, length) if known.length is not None else length
        inner = self._elsewhere({id(grid.node): self.point.get(id(node), 0.0)})
        value = inner._element(column, index[1:], frame)
        self.leaves |= {key: leaf for key, leaf in inner.leaves.items() if leaf.kind != "index"}
        return value

    def _parameter(self, definition: Definition, frame: Frame) -> object:
        values = [self.visit(*handed) for handed in frame.handed(self.program, definition)]
        if not values and definition.value is not None:
            values.append(self.visit(definition.value, Frame.at(self.program, definition.statement)))
        return _agreeing(values)

    def _attribute(self, node: ast.Attribute, frame: Frame, _path: Path) -> object:
        if node.attr == "pi":
            return math.pi
        if node.attr == "e" and isinstance(node.value, ast.Name) and node.value.id in ("math", "np", "numpy"):
            return math.e
        return _agreeing([self.visit(*stored) for stored in frame.stored(self.program, node)])

    def _binop(self, node: ast.BinOp, frame: Frame, _path: Path) -> object:
        if self._is_jitter(node):
            return self._uniform(node)
        return combined(type(node.op), self.visit(node.left, frame), self.visit(node.right, frame))

    def _is_jitter(self, node: ast.BinOp) -> bool:
        """A stratified draw, (i + u) / n or (u + i / n) % 1: uniform, whatever n is."""
        if not isinstance(node.op, ast.Mod | ast.Div):
            return False
        parts = self._drawn_near(node.left)
        if not parts:
            return False
        if isinstance(node.op, ast.Mod):
            return isinstance(node.right, ast.Constant) and node.right.value == 1
        if isinstance(node.op, ast.Div) and isinstance(node.left, ast.BinOp) and isinstance(node.left.op, ast.Add):
            left = node.left
            others = [side for side in (left.left, left.right) if not is_random(side) and side not in parts]
            return len(others) == 1 and not isinstance(others[0], ast.Constant)
        return False

    def _drawn_near(self, node: ast.expr) -> list[ast.AST]:
        """The draws in an expression, or else the names of such: looked for once, and paid for each time."""
        memo, key = self.program.memo, (Evaluator._drawn_near, node)
        if key not in memo:
            near = list(itertools.islice(ast.walk(node), 60))
            drawn = [part for part in near if is_random(part)]
            memo[key] = len(near), drawn or [part for part in near if isinstance(part, ast.Name) and self._drawn(part)]
        number, parts = memo[key]
        self.program.spend(number // 8)
        found: list[ast.AST] = parts
        return found

    def _drawn(self, name: ast.Name) -> bool:
        definitions = self.program.reaching(name)
        value = definitions[0].value if len(definitions) == 1 else None
        while isinstance(value, ast.Call) and last_name(value.func) in IDENTITY and operands(value):
            value = operands(value)[0]
        return value is not None and is_random(value)

    def _unaryop(self, node: ast.UnaryOp, frame: Frame, _path: Path) -> object:
        value = self.visit(node.operand, frame)
        if isinstance(node.op, ast.Not):
            return not value
        number = real(value)
        if isinstance(node.op, ast.Invert):
            if not isinstance(number, int):
                raise UnknownValueError
            return not number if isinstance(number, bool) else ~number
        return -number if isinstance(node.op, ast.USub) else number

    def _compare(self, node: ast.Compare, frame: Frame, _path: Path) -> object:
        if len(node.ops) > self.max_comparisons or any(type(op) not in self.comparisons for op in node.ops):
            raise UnknownValueError
        left = self.visit(node.left, frame)
        for op, comparator in zip(node.ops, node.comparators, strict=True):
            right = self.visit(comparator, frame)
            self.compared = True
            if not self.comparisons[type(op)](left, right):
                return False
            left = right
        return True

    def _boolop(self, node: ast.BoolOp, frame: Frame, _path: Path) -> object:
        result: object = None
        for part in node.values:
            result = self.visit(part, frame)
            if bool(result) is isinstance(node.op, ast.Or):
                break
        return result

    def _ifexp(self, node: ast.IfExp, frame: Frame, _path: Path) -> object:
        try:
            chosen = bool(self.visit(node.test, frame))
        except UnknownValueError:
            return self.visit(node.body, frame)
        return self.visit(node.body if chosen else node.orelse, frame)

    def _subscript(self, node: ast.Subscript, frame: Frame, _path: Path) -> object:
        index = node.slice
        if dotted(node.value).endswith("environ"):
            given = self._given(index, frame)
            if given is None:
                return self.unknown(node, frame)
            self._note_taken(None, *given, frame)
            return given[1]
        parts = index.elts if isinstance(index, ast.Tuple) else [index]
        if all(
            isinstance(p, ast.Slice) or (isinstance(p, ast.Constant) and p.value in (None, Ellipsis)) for p in parts
        ):
            first = next((p for p in parts if isinstance(p, ast.Slice) and (p.lower or p.upper or p.step)), None)
            if first is None:
                return self.visit(node.value, frame)
            return self._sliced(node.value, first, frame)
        return self._entry(node.value, index, frame)

    def _entry(self, base: ast.expr, index: ast.expr, frame: Frame) -> object:
        """What a table or a grid holds at a place."""
        if self._is_drawn(base, frame):
            return self.visit(base, frame)  # one draw is like the other: t[b, 0], alpha[:, 0]
        position = self._elsewhere().visit(index, frame)
        if isinstance(position, bool):
            return self.visit(base, frame)  # the entries where a mask holds
        place = real(self.visit(index, frame))
        probe = self._elsewhere()
        value = probe.visit(base, frame)
        if isinstance(value, tuple):
            if not -len(value) <= place < len(value):
                raise UnknownValueError
            return value[int(place)]
        grid = probe._only_grid()
        if place < 0 and grid.length is None:
            raise UnknownValueError
        place += (grid.length or 0) if place < 0 else 0
        return self._elsewhere({id(grid.node): place}).visit(base, frame)

    def _is_drawn(self, base: ast.expr, frame: Frame) -> bool:
        """Whether a value is made of uniform draws, and of no grid."""
        probe = self._elsewhere()
        try:
            value = probe.visit(base, frame)
        except UNKNOWN_ERRORS:
            return False
        return isinstance(value, int | float) and bool(probe.leaves) and not probe.grids

    def _mirrored(self, base: ast.expr, frame: Frame) -> object:
        """grid[::-1], reversed(grid): the same grid, looked at from its end."""
        probe = self._elsewhere()
        probe.visit(base, frame)
        grid = probe._only_grid()
        length = grid.num_points
        if length is None:
            raise UnknownValueError
        key = id(grid.node)
        self.leaves.setdefault(key, Leaf(grid.node, "index", length))
        return self._elsewhere({key: length - 1.0 - self.point.get(key, 0.0)}).visit(base, frame)

    def _sliced(self, base: ast.expr, part: ast.Slice, frame: Frame) -> object:
        """grid[1:] or grid[:-1]: the same grid, looked at one place further on, or one place shorter."""
        low = int(self.number(part.lower, frame) or 0) if part.lower is not None else 0
        high = self.number(part.upper, frame) if part.upper is not None else None
        if part.step is not None and part.lower is None and part.upper is None:
            return self._mirrored(base, frame) if self.number(part.step, frame) == -1.0 else self.unknown(base, frame)
        if part.step is not None or low < 0 or (part.lower is None and high is None):
            raise UnknownValueError
        probe = self._elsewhere()
        probe.visit(base, frame)
        grid = probe._only_grid()
        length = grid.length
        if length is None:
            raise UnknownValueError
        end = length if high is None else int(high) + (length if high < 0 else 0)
        if end - low < 1:
            raise UnknownValueError
        key = id(grid.node)
        known = self.leaves.setdefault(key, Leaf(grid.node, "index", length))
        known.high = min(known.high if known.high is not None else length, end - low)
        return self._elsewhere({key: self.point.get(key, 0.0) + low}).visit(base, frame)

    def _call(self, node: ast.Call, frame: Frame, path: Path) -> object:
        name = last_name(node.func)
        if not path and is_random(node):
            return self._uniform_call(node, name, frame)
        own = None if path else self._known(node, name, frame)
        if own is not None:
            return own
        return self._inline(node, frame, path)

    # -- calls ------------------------------------------------------------------------------------

    def _uniform_call(self, node: ast.Call, name: str, frame: Frame) -> object:
        draw = self._uniform(node)
        if name in ("uniform", "uniform_") and len(node.args) >= 2:
            low, high = (real(self.visit(argument, frame)) for argument in node.args[:2])
            return low + (high - low) * draw
        return draw

    def _whole_number(self, node: ast.Call, frame: Frame) -> object:
        """A number drawn from low to high, the latter with it of the standard library alone: as one that is real."""
        bounds = [real(self.visit(argument, frame)) for argument in node.args[:2] if not _is_shape(argument)]
        low, high = (0.0, *bounds) if len(bounds) == 1 else bounds
        last = high if dotted(node.func) == "random.randint" else high - 1.0
        return low + (last - low) * self._uniform(node)

    def _uniform(self, node: ast.AST) -> float:
        self.program.leaves_met += 1
        self.leaves.setdefault(id(node), Leaf(node, "uniform"))
        return self.point.get(id(node), 0.5)

    def _index(self, node: ast.AST, length: int | None) -> int:
        self.program.leaves_met += 1
        self.leaves.setdefault(id(node), Leaf(node, "index", length))
        return int(self.point.get(id(node), 0))

    def _known(self, node: ast.Call, name: str, frame: Frame) -> object:
        worked_on = operands(node)
        if name in ("get", "getenv") and asks_environment(self.program, node, frame):
            return self._setting(node, frame)
        if name in ("range", "arange", "linspace"):
            return self._grid(node, name, frame)
        if name in _WHOLE_NUMBERS:
            return self._whole_number(node, frame)
        if name == "len" and isinstance(node.func, ast.Name) and len(node.args) == 1:
            return self._length(node.args[0], frame)
        if name in ("int", "float", "bool", "str") and isinstance(node.func, ast.Name) and len(node.args) == 1:
            value = self.visit(node.args[0], frame)
            kinds: dict[str, Callable[[object], object]] = {"int": int, "float": float, "bool": bool, "str": str}  # type: ignore[dict-item]
            return kinds[name](value)
        if name in _UNARY_FUNCTIONS and len(worked_on) == 1:
            return _UNARY_FUNCTIONS[name](real(self.visit(worked_on[0], frame)))
        if dotted(node.func) in ("math.log", "log") and len(node.args) == 2:  # the second of numpy's is no base
            return math.log(*(real(self.visit(each, frame)) for each in node.args))
        if name in ("reversed", "flip", "flipud") and worked_on:
            return self._mirrored(worked_on[0], frame)
        if name in IDENTITY and worked_on:
            return self.visit(worked_on[0], frame)
        if name in _LOOKING_UP and len(worked_on) > 1 and not node.keywords:
            table, *at = worked_on if name != "embedding" else reversed(worked_on[:2])
            return self._entry(table, at[0] if name in ("take", "get") else at[-1], frame)
        if name in ("ones_like", "ones", "zeros_like", "zeros"):
            return 1.0 if name.startswith("ones") else 0.0
        if name in ("full_like", "full") and len(node.args) > 1:
            return self.visit(node.args[1], frame)
        if name in ("clamp", "clip", "clamp_min", "clamp_max", "clamp_", "maximum", "minimum", "max", "min", "pow"):
            return self._clamped(node, name, worked_on, frame)
        return None

    def _setting(self, node: ast.Call, frame: Frame) -> object:
        """What a script gets from the environment: what is known to stand there, else its own default."""
        given = self._given(node.args[0], frame) if node.args else None
        if given is not None:
            self._note_taken(node.args[1] if len(node.args) > 1 else None, *given, frame)
            return self.unknown(node, frame) if isinstance(given[1], Contested) else given[1]
        return self.visit(node.args[1], frame) if len(node.args) > 1 else self.unknown(node, frame)

    def is_default(self, node: ast.Call, frame: Frame) -> bool:
        """Whether a call asks the environment for what is not known to stand there."""
        is_asked = bool(node.args) and asks_environment(self.program, node, frame)
        return is_asked and self._given(node.args[0], frame) is None

    def setting_asked(self, node: ast.AST, frame: Frame) -> str | None:
        """The setting for which a call asks the environment, where its name is known; None of anything else."""
        if not isinstance(node, ast.Call) or not node.args or not asks_environment(self.program, node, frame):
            return None
        try:
            asked = self._elsewhere().visit(node.args[0], frame)
        except UNKNOWN_ERRORS:
            return None
        return asked if isinstance(asked, str) else None

    def _note_taken(self, default: ast.expr | None, name: str, value: str, frame: Frame) -> None:
        """A reader is told of each setting with which a script does otherwise than by its own default."""
        try:
            own = None if default is None else str(self._elsewhere().visit(default, frame))
        except UNKNOWN_ERRORS:
            own = None
        if own != value or isinstance(value, Logged):  # the README's would have been another
            self.program.note(name, value)

    def _given(self, name: ast.expr, frame: Frame) -> tuple[str, str] | None:
        """A name that is asked for, and what is known to stand in the environment under it."""
        if not self.program.settings:
            return None
        try:
            asked = self._elsewhere().visit(name, frame)
        except UNKNOWN_ERRORS:
            return None
        if not isinstance(asked, str) or asked not in self.program.settings:
            return None
        return asked, self.program.settings[asked]

    def _length(self, node: ast.expr, frame: Frame) -> object:
        """How many points a grid has."""
        probe = self._elsewhere()
        value = probe.visit(node, frame)
        if isinstance(value, tuple | str):
            return len(value)
        grid = probe._only_grid()
        return grid.high or grid.length or self.unknown(node, frame)

    def _grid(self, node: ast.Call, name: str, frame: Frame) -> object:
        numbers = [real(self.visit(argument, frame)) for argument in node.args[:3]]
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

    def _clamped(self, node: ast.Call, name: str, worked_on: list[ast.expr], frame: Frame) -> object:
        bounds = {keyword.arg: keyword.value for keyword in node.keywords}
        value, *others = (real(self.visit(operand, frame)) for operand in worked_on)
        if name == "pow":
            (exponent, *_) = others
            return float(value) ** float(exponent)
        low, high = (self.number(bounds[end], frame) if end in bounds else None for end in ("min", "max"))
        if name in ("maximum", "max", "clamp_min") and others:
            low = float(others[0])
        elif name in ("minimum", "min", "clamp_max") and others:
            high = float(others[0])
        else:
            low = float(others[0]) if others else low
            high = float(others[1]) if len(others) > 1 else high
        if low is None and high is None:
            raise UnknownValueError
        value = max(value, low) if low is not None else value
        return min(value, high) if high is not None else value

    def _inline(self, call: ast.Call, frame: Frame, path: Path) -> object:
        callee = self.program.callee(call) if self._inlines(call, frame) else None
        if callee is None:
            raise UnknownValueError
        inner = frame.inside(self.program, callee, call)
        values: list[object] = []
        for result in sorted(callee.returns, key=position):
            taken = self.taken(result, inner)
            if taken is False:
                continue
            values.append(self.visit(result, inner, path))
            if taken and not _is_in_loop(self.program, result):
                break  # later returns are never reached
        return _agreeing(values)

    def taken(self, node: ast.AST, frame: Frame, /) -> bool | None:
        """Whether the branch in which a node stands is taken; None where its tests cannot be evaluated."""
        is_plain = not self.point and not self.depth
        return taken(self.program, node, frame) if is_plain else self.all_hold(self.program.tests_above(node), frame)

    def all_hold(self, tests: tuple[tuple[ast.expr, bool], ...], frame: Frame) -> bool | None:
        """Whether tests give what is wanted of them; None where some cannot be evaluated."""
        sure = True
        for test, wanted in tests:
            try:
                known = self.program.held.get(test)
                holds = self._holds_throughout(test, frame) if known is None else known
            except UNKNOWN_ERRORS:
                sure = False
            else:
                if holds is not wanted:
                    return False
        return True if sure else None

    def _holds_throughout(self, test: ast.expr, frame: Frame) -> bool:
        """What a test gives; where it asks for the number of a module's part (a layer), of the last as of the first.

        Raises:
            UnknownValueError: if these differ.
        """
        first = self._elsewhere()
        holds = bool(first.visit(test, frame))
        parts = [(key, leaf) for key, leaf in first.leaves.items() if leaf.kind == "index" and key not in self.point]
        for key, leaf in parts:
            of_module = "forward" in self.program.classes.get(self.program.scope(leaf.node).owner or "", {})
            last = self._elsewhere({key: leaf.length - 1.0}) if of_module and leaf.length else first
            if bool(last.visit(test, frame)) is not holds:
                raise UnknownValueError
        return holds


class QuickEvaluator(Evaluator):
    """Settings and constants are found in a few steps; what takes many is none."""

    most_steps: ClassVar[int] = 300


def _is_in_loop(program: Program, result: ast.expr) -> bool:
    """Whether what a function returns stands in a loop of it: the loop may go round, or end, without coming to it."""
    own = itertools.takewhile(lambda above: not isinstance(above, FUNCTIONS), program.ancestors(result))
    return any(isinstance(above, ast.For | ast.While | ast.AsyncFor) for above in own)


def taken(program: Program, node: ast.AST, frame: Frame) -> bool | None:
    """Whether the branch in which a node stands is taken, wherever the leaves are; worked out once for all in it."""
    tests = program.tests_above(node)
    if not tests:
        return True
    key = (taken, tests[0], frame)  # the innermost branch
    if key not in program.memo:
        program.memo[key] = Evaluator(program).all_hold(tests, frame)
    is_taken: bool | None = program.memo[key]
    return is_taken


def come_to(program: Program, node: ast.AST) -> bool:
    """Note that a node was come to, whatever defaults say: the branches around it were taken; whether that is news."""
    return hold(program, dict(program.tests_above(node)))


def hold(program: Program, tests: Mapping[ast.expr, bool]) -> bool:
    """Note which way tests went, whatever defaults say; whether that is news.

    What was worked out without that is worked out again.
    """
    news = {test: wanted for test, wanted in tests.items() if program.held.get(test) is not wanted}
    if news:
        program.held.update(news)
        program.behind.clear()
        program.valued = Answers()
        for key in [key for key in program.memo if isinstance(key, tuple) and key[0] in (taken, Evaluator)]:
            del program.memo[key]
    return bool(news)


def real(value: object) -> float:
    """A number, as it is.

    Raises:
        UnknownValueError: if it is none.
    """
    if not isinstance(value, int | float):
        raise UnknownValueError
    return value


def combined(kind: type, left: object, right: object) -> object:
    """What an operation makes of two numbers, truths or short texts.

    Raises:
        UnknownValueError: if it makes nothing of them that is known here.
    """
    if kind is ast.Add and isinstance(left, str | bytes) and isinstance(right, type(left)):
        if len(left) + len(right) > MAX_TEXT:
            raise UnknownValueError
        return left + right  # type: ignore[operator]
    if isinstance(left, bool) and isinstance(right, bool) and kind in (ast.BitAnd, ast.BitOr):
        return left and right if kind is ast.BitAnd else left or right
    if kind not in BINARY:
        raise UnknownValueError
    return BINARY[kind](real(left), real(right))


def _agreeing(values: list[object]) -> object:
    """The one value that all have."""
    if not values or any(value != values[0] for value in values[1:]):
        raise UnknownValueError
    return values[0]


def is_later(definition: Definition, use: ast.Name) -> bool:
    """Whether a definition stands behind a use, which it reaches round a loop."""
    statement = definition.statement
    return (getattr(statement, "lineno", 0), getattr(statement, "col_offset", 0)) > (use.lineno, use.col_offset)


def _is_small(value: object) -> bool:
    """Whether a value may be kept: what grows with each look, in powers and in tuples of tuples, is bounded by work."""
    return abs(value) < _LARGEST_KEPT if isinstance(value, int) else not isinstance(value, tuple)


def _least(first: int | None, second: int | None) -> int | None:
    return first if second is None else second if first is None else min(first, second)


def _is_false(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and node.value is False
