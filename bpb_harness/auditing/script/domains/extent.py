"""How much of a text a value has been, over all rounds of the loops that it comes through.

What bounds it is followed back from the tokens that are scored: through slices, lists, ranges, loaders and the loops
that hand out their elements. A bound that does not grow with the text is a limit; where one way back has none, there
is none.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, NamedTuple

from bpb_harness.auditing.script.domains.values import IDENTITY, UNKNOWN_ERRORS, Evaluator
from bpb_harness.auditing.script.frontend.index import nodes_within
from bpb_harness.auditing.script.frontend.nodes import keyword, names_in
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import FUNCTIONS, Definition, last_name
from bpb_harness.auditing.script.frontend.walker import Frame, Origin, Path, Walker, operands

LOOPS = (ast.For, ast.AsyncFor, ast.While)
_COMPREHENSIONS = (ast.ListComp, ast.GeneratorExp, ast.SetComp)
_EMPTY = frozenset(
    ["zeros", "empty", "full", "ones", "zeros_like", "empty_like", "full_like", "new_zeros", "new_empty"]
)
_HANDING_ON = IDENTITY | {
    "sorted", "iter", "DataLoader", "stack", "cat", "concatenate", "vstack", "hstack", "pin_memory", "copy",
    "get_tensor", "ascontiguousarray",
}  # fmt: skip
_RANGES = ("range", "arange", "trange")
_SIZES = frozenset(["len", "numel", "size"])
_FIRST_OF = {"islice": 1, "take": 0, "head": 0, "narrow": 2}  # where the number of those that are taken stands
_DRAWN = frozenset(["randint", "choice", "choices", "sample", "integers", "randperm", "permutation"])
_ANEW = re.compile("next|batch|sample|draw", re.IGNORECASE)  # calls that give something else in each round
_OWN_SPLIT = 1e6  # elements from the middle of a text: a split that is given by numbers
_ROWS = frozenset(["view", "reshape", "unflatten", "unfold", "chunk", "split"])


def loops_around(program: Program, node: ast.AST) -> list[ast.AST]:
    """The loops around a node, innermost first, as far as its function."""
    found: list[ast.AST] = []
    inner = node
    for above in program.ancestors(node):
        if isinstance(above, FUNCTIONS):
            break
        if isinstance(above, LOOPS) and inner is not getattr(above, "iter", None):
            found.append(above)
        inner = above
    return found


@dataclass(frozen=True)
class Limit:
    """What bounds a number or a collection, however long the text is.

    Attributes:
        amount: how many it is at most.
        node: the expression that sets it.
        number: what that is.
        each: of an amount of tokens, how many each element has, and how that is written.
        is_tokens: whether it is an amount of tokens.
        is_first: whether they are those that the text begins with.
    """

    amount: float
    node: ast.expr
    number: float
    each: tuple[float, str] | None = None
    is_tokens: bool = False
    is_first: bool = False

    def of(self, factor: float) -> Limit:
        """The limit of so many times as many."""
        return replace(self, amount=self.amount * factor)


@dataclass(frozen=True)
class Extent:
    """A number or a collection, and how it depends on loops.

    Attributes:
        most: of a number the largest, of a collection how many elements it has at most; None: nothing bounds it.
        rounds: of what differs from round to round, how many there are in all.
        top: of a collection of numbers, the largest of them.
        loops: in which rounds it differs.
        value: of a number that is known, what it is.
        width: tokens of each element; None where that is not known.
        is_drawn: whether each look at it gives another: the next batch, a random place.
        is_empty: whether it is there to be filled.
        is_number: whether it is a number, and no collection.
    """

    most: Limit | None = None
    rounds: Limit | None = None
    top: Limit | None = None
    loops: frozenset[ast.AST] = frozenset()
    value: float | None = None
    width: float | None = 1.0
    is_drawn: bool = False
    is_empty: bool = False
    is_number: bool = False

    @property
    def covered(self) -> Limit | None:
        """How much it has been at most, over all rounds."""
        return self.rounds if self.loops else self.most

    def within(self, limit: Limit | None) -> Extent:
        """The same, of no more than that."""
        if limit is None:
            return self
        if self.loops:
            return replace(self, rounds=least(self.rounds, limit))
        return replace(self, most=least(self.most, limit), is_empty=False)


UNBOUNDED = Extent()
EMPTY = Extent(is_empty=True)


def least(*limits: Limit | None) -> Limit | None:
    """The smallest of several limits: of those in tokens, if any is."""
    known = [limit for limit in limits if limit is not None]
    return min(known, key=lambda limit: (not limit.is_tokens, limit.amount), default=None)


def times(limits: Sequence[Limit | None]) -> Limit | None:
    """The limit of a product; None where one of its factors has none."""
    found: Limit | None = None
    for limit in limits:
        if limit is None:
            return None
        found = limit if found is None else found.of(limit.amount)
    return found


class _Break(NamedTuple):
    """What a loop is left by, with the names of what is counted, and whether one of them is itself held against it."""

    limit: Limit
    names: frozenset[str]
    is_plain: bool


class Extents(Walker[Extent]):
    """Follows expressions back to what bounds them.

    Args:
        program: the scripts.
        scoring: gives the loops that add to a score from round to round; asked only where something is drawn anew.
    """

    deepest: ClassVar[int] = 90
    most_steps: ClassVar[int] = 6_000
    follows_defaults: ClassVar[bool] = True

    def __init__(self, program: Program, scoring: Callable[[], set[ast.AST]]) -> None:
        super().__init__(program)
        self._find_scoring = scoring
        self.lost: list[ast.expr] = []  # what could not be followed
        targets = (part.target for part in program.nodes.get(ast.AugAssign, []) if isinstance(part, ast.AugAssign))
        self._remembered = {target.attr for target in targets if isinstance(target, ast.Attribute)}
        self._known: dict[tuple[ast.AST, Frame, Path], Extent | None] = {}
        self._left: dict[tuple[ast.AST, Frame], list[_Break]] = {}  # by what loops are left

    @cached_property
    def scoring(self) -> set[ast.AST]:
        """The loops that add to a score from round to round."""
        return self._find_scoring()

    def look(self, node: ast.expr, frame: Frame, path: Path) -> Extent:
        """The extent of an expression; nothing bounds what is made of itself round a loop."""
        key = (node, frame, path)
        if key not in self._known:
            self._known[key] = None
            self._known[key] = super().look(node, frame, path)
        return self._known[key] or UNBOUNDED

    def unknown(self, node: ast.expr, _frame: Frame, _path: Path = (), /) -> Extent:
        """Nothing is known to bound it."""
        self.lost.append(node)
        return UNBOUNDED

    def taken(self, node: ast.AST, frame: Frame, /) -> bool | None:
        """Whether the branch in which a node stands is taken; None where that is not known."""
        return Evaluator(self.program).taken(node, frame)

    # -- numbers ----------------------------------------------------------------------------------

    def number(self, node: ast.expr | None, frame: Frame) -> Extent:
        """The extent of a number: what it is, if that is known."""
        if node is None:
            return UNBOUNDED
        evaluator = Evaluator(self.program)
        value = None if self._moves(node) else evaluator.number(node, frame)
        if value is not None and not evaluator.leaves:
            return _constant(value, node)
        found = self.visit(node, frame)
        return found if found.is_number or found.is_empty else replace(found, most=found.top, is_number=True)

    def _moves(self, node: ast.expr) -> bool:
        """Whether a number holds a place that an object remembers, such as self.pos."""
        return any(isinstance(part, ast.Attribute) and part.attr in self._remembered for part in nodes_within(node))

    def _joinedstr(self, _node: ast.JoinedStr | ast.Compare, _frame: Frame, _path: Path) -> Extent:
        return UNBOUNDED  # the name of a file, a truth

    _compare = _joinedstr

    def _constant(self, node: ast.Constant, _frame: Frame, _path: Path) -> Extent:
        value = node.value
        if not isinstance(value, int | float) or value <= 0:
            return EMPTY if value is None else UNBOUNDED
        return _constant(value, node)

    def _binop(self, node: ast.BinOp, frame: Frame, _path: Path) -> Extent:
        left, right = self.number(node.left, frame), self.number(node.right, frame)
        if isinstance(node.op, ast.Mult) and any(isinstance(side, ast.List) for side in (node.left, node.right)):
            return EMPTY  # [0] * n
        return replace(_both(left, right), most=_arithmetic(node.op, left, right), is_number=True)

    def _boolop(self, node: ast.BoolOp, frame: Frame, _path: Path) -> Extent:
        """limit or len(tokens)."""
        *chosen, last = node.values
        for each in chosen:
            holds = self._holds(each, frame)
            if holds is None:
                return self._merged([self.number(part, frame) for part in node.values])
            if holds is isinstance(node.op, ast.Or):
                return self.number(each, frame)
        return self.number(last, frame)

    def _ifexp(self, node: ast.IfExp, frame: Frame, path: Path) -> Extent:
        holds = self._holds(node.test, frame)
        branches = [node.body, node.orelse] if holds is None else [node.body if holds else node.orelse]
        return self._merged(
            [self.visit(branch, frame, path) if path else self.number(branch, frame) for branch in branches]
        )

    def _holds(self, test: ast.expr, frame: Frame) -> bool | None:
        try:
            return bool(Evaluator(self.program).visit(test, frame))
        except UNKNOWN_ERRORS:
            return None

    def _unaryop(self, node: ast.UnaryOp, frame: Frame, _path: Path) -> Extent:
        return replace(self.number(node.operand, frame), most=None, value=None)

    # -- names ------------------------------------------------------------------------------------

    def defined(self, node: ast.Name, frame: Frame, path: Path, /) -> Extent:
        """What all of its definitions leave it; nothing where one of them does."""
        found: list[Extent] = []
        behind = self.origins(node, frame, path)
        if not behind:  # a module or a builtin is nothing to follow; what nobody is seen to hand over is
            return self.unknown(node, frame) if self.program.reaching(node) else UNBOUNDED
        for value, where, way, definition in behind:
            if definition is None:
                found.append(self.visit(value, where, way))
            elif definition.kind == "augment":
                return self._counter(node, definition, frame)
            elif definition.kind == "loop":
                found.append(self._of_round(definition.statement, self.visit(value, where, way), where))
            else:
                found.append(self._after(definition, node, self.visit(value, where, way)))
                if definition.kind == "assign" and (
                    self._hides(definition, node, where) or _cuts_down(self.program, definition)
                ):
                    break  # what stood there before is gone, or is less than that
        return self._merged(found)

    def _after(self, definition: Definition, use: ast.Name, found: Extent) -> Extent:
        """Behind the loop that fills a list it holds what all rounds have put there; else what the last one has."""
        ended = {*loops_around(self.program, definition.statement)} - {*loops_around(self.program, use)}
        if not found.loops & ended:
            return found
        rest = found.loops - ended
        return replace(found, loops=rest, most=found.rounds if definition.kind == "mutation" and not rest else None)

    def _hides(self, definition: Definition, use: ast.Name, frame: Frame) -> bool:
        """Whether what a branch assigns is all that is left of a name, for the branch is known to be taken."""
        tests = self.program.tests_above(definition.statement)
        return bool(tests) and self.taken(definition.statement, frame) is True and not loops_around(self.program, use)

    def _merged(self, found: Sequence[Extent]) -> Extent:
        """What may be any of several: as much as the largest of them."""
        filled = [each for each in found if not each.is_empty]
        if len(filled) < 2:
            return filled[0] if filled else EMPTY if found else UNBOUNDED
        covered = [each.covered for each in filled]
        known = [limit for limit in covered if limit is not None]
        most = max(known, key=lambda limit: limit.amount) if len(known) == len(covered) else None
        tops = [each.top for each in filled if each.top is not None]
        top = max(tops, key=lambda limit: limit.amount) if len(tops) == len(filled) else None
        loops = frozenset[ast.AST]().union(*(each.loops for each in filled))
        widths = {each.width for each in filled}
        return Extent(
            None if loops else most, most, top, loops, None, widths.pop() if len(widths) == 1 else None,
            any(each.is_drawn for each in filled), is_number=all(each.is_number for each in filled),
        )  # fmt: skip

    def _of_round(self, loop: ast.AST, iterated: Extent, frame: Frame) -> Extent:
        """What a loop hands out, one element a round."""
        step, place = self._step(loop, frame)
        breaks = self._breaks(loop, frame)
        plain = [each for each in breaks if each.is_plain and each.names == {place}]  # if i >= 200: break
        at = least(*(each.limit for each in plain))
        others = [each.limit for each in breaks if each not in plain]
        rounds = least(iterated.covered, None if at is None else at.of(1.0 / step), *others)
        top = least(iterated.top, at)
        loops = iterated.loops | {loop}
        return Extent(
            top, rounds, None, loops, None, iterated.width, iterated.is_drawn, is_number=top is not None
        )  # fmt: skip

    def _step(self, loop: ast.AST, frame: Frame) -> tuple[float, str]:
        """By how much the name that a loop over a range counts advances, and the name; empty where it is none."""
        called = loop.iter if isinstance(loop, ast.For) else None
        is_range = isinstance(called, ast.Call) and last_name(called.func) in _RANGES
        if not isinstance(loop, ast.For) or not isinstance(loop.target, ast.Name) or not is_range:
            return 1.0, ""
        step = (
            self.number(called.args[2], frame).value if isinstance(called, ast.Call) and len(called.args) > 2 else 1.0
        )
        return max(1.0, step or 1.0), loop.target.id

    def _counter(self, node: ast.Name, definition: Definition, frame: Frame) -> Extent:
        """pos += L: as far as the loop's test lets it come, and as often as the loop goes round."""
        starts = [each for each in self.program.reaching(node) if each.kind == "assign"]
        around = [loop for loop in loops_around(self.program, definition.statement) if self._is_in(node, loop)]
        # From the loop on that starts it anew, it counts afresh.
        loops = [loop for loop in around if not any(self._is_in(each.statement, loop) for each in starts)]
        if not loops:
            return UNBOUNDED
        tests = [loop.test for loop in loops if isinstance(loop, ast.While)]
        bounds = (self._stop_of(test, {node.id}, frame, (ast.Lt, ast.LtE)) for test in tests)
        breaks = (each for loop in loops for each in self._breaks(loop, frame))
        most = least(*bounds, *(each.limit for each in breaks if node.id in each.names))
        rounds = times([self._rounds(loop, frame) if isinstance(loop, ast.For) else None for loop in loops])
        return Extent(most, rounds, None, frozenset(loops), is_number=True)

    # -- loops ------------------------------------------------------------------------------------

    def _is_in(self, node: ast.AST, loop: ast.AST) -> bool:
        return any(above is loop for above in self.program.ancestors(node))

    def _rounds(self, loop: ast.AST, frame: Frame) -> Limit | None:
        """How often a loop goes round."""
        iterated = self.visit(loop.iter, frame) if isinstance(loop, ast.For) else UNBOUNDED
        return self._of_round(loop, iterated, frame).rounds

    def _breaks(self, loop: ast.AST, frame: Frame) -> list[_Break]:
        """if i >= 200: break, if seen > 200_000: break; worked out once."""
        key = (loop, frame)
        if key not in self._left:
            self._left[key] = []
            self._left[key] = [*self._breaks_of(loop, frame)] if isinstance(loop, LOOPS) else []
        return self._left[key]

    def _breaks_of(self, loop: ast.AST, frame: Frame) -> Iterator[_Break]:
        parts = nodes_within(loop)
        if not self.program.spend(len(parts)):
            return
        counted = _counted_in(loop, parts)
        for branch in (part for part in parts if isinstance(part, ast.If)):
            if not any(isinstance(part, ast.Break | ast.Continue) for part in branch.body):
                continue
            if loops_around(self.program, branch)[:1] != [loop]:
                continue
            above = self.program.tests_above(branch)
            if above and Evaluator(self.program).all_hold(above, frame) is False:
                continue
            named = frozenset(part.id for part in ast.walk(branch.test) if isinstance(part, ast.Name)) & counted.keys()
            is_left = any(isinstance(part, ast.Break) for part in branch.body)
            ops = (ast.Gt, ast.GtE, ast.Eq) if is_left else (ast.Gt, ast.GtE)  # if i == 3: continue leaves out one
            limit = self._stop_of(branch.test, set(named), frame, ops) if named else None
            if limit is not None:
                held = (part.left for part in ast.walk(branch.test) if isinstance(part, ast.Compare))
                is_plain = all(isinstance(each, ast.Name) for each in held)
                yield _Break(replace(limit, is_tokens=any(not counted[name] for name in named)), named, is_plain)

    def _stop_of(self, test: ast.expr, names: set[str], frame: Frame, ops: tuple[type[ast.cmpop], ...]) -> Limit | None:
        """The limit that a test holds a count against; none where the test cannot hold, or nobody knows."""
        if isinstance(test, ast.BoolOp):
            parts = [self._stop_of(part, names, frame, ops) for part in test.values]
            if isinstance(test.op, ast.Or):
                return least(*parts)
            others = [part for part, limit in zip(test.values, parts, strict=True) if limit is None]
            sure = ops[0] is ast.Lt or all(self._holds(part, frame) is True for part in others)
            return least(*parts) if sure else None
        if not isinstance(test, ast.Compare) or len(test.ops) != 1 or not isinstance(test.ops[0], ops):
            return None
        if isinstance(test.left, ast.BinOp) and isinstance(test.left.op, ast.Mod):
            return None  # every so many rounds
        counts = names_in(test.left)
        return self.number(test.comparators[0], frame).most if counts & names else None

    def _anew(self, node: ast.Call, found: Extent, frame: Frame) -> Extent:
        """What every round of the loops that score draws anew: as much in all as they have rounds."""
        if not found.is_drawn or found.loops:
            return found
        around = loops_around(self.program, node)
        loops = [loop for loop in around if loop in self.scoring] if around else []
        if not loops:
            return found
        rounds = times([self._rounds(loop, frame) for loop in loops])
        if rounds is not None and found.most is not None:
            rounds = replace(
                found.most, amount=rounds.amount * found.most.amount, node=rounds.node, number=rounds.number
            )
        return Extent(None, rounds, None, frozenset(loops), None, found.width)

    # -- collections ------------------------------------------------------------------------------

    def _listcomp(self, node: ast.ListComp | ast.GeneratorExp | ast.SetComp, frame: Frame, _path: Path) -> Extent:
        own = frozenset[ast.AST](node.generators)
        element = self.visit(node.elt, frame)
        if element.loops & own or element.is_drawn:
            covered = element.covered
        else:
            covered = times([self.visit(each.iter, frame).covered for each in node.generators])
        loops = element.loops - own
        return Extent(None if loops else covered, covered, element.most, loops, None, element.width, element.is_drawn)

    _generatorexp = _setcomp = _listcomp

    def _list(self, node: ast.List | ast.Tuple, frame: Frame, path: Path) -> Extent:
        if path or not node.elts:
            behind = self.origins(node, frame, path)
            return self._merged([self.visit(each.node, each.frame, each.path) for each in behind]) if behind else EMPTY
        return self._merged([self.visit(part, frame) for part in node.elts])

    _tuple = _list

    def _starred(self, node: ast.Starred, frame: Frame, path: Path) -> Extent:
        return self.visit(node.value, frame, path)

    def _attribute(self, node: ast.Attribute, frame: Frame, path: Path) -> Extent:
        if node.attr in self._remembered:
            return Extent(is_drawn=True, is_number=True)
        behind = self.origins(node, frame, path)
        if behind:
            return self._merged([self.visit(each.node, each.frame, each.path) for each in behind])
        if isinstance(node.value, ast.Name) and node.value.id in ("self", "args"):
            return self.unknown(node, frame)
        return self.visit(node.value, frame, path)

    def _subscript(self, node: ast.Subscript, frame: Frame, path: Path) -> Extent:
        index = node.slice.elts[0] if isinstance(node.slice, ast.Tuple) and node.slice.elts else node.slice
        if isinstance(index, ast.Slice):
            return self._cut(node, index, frame, path)
        if isinstance(index, ast.Constant) and not isinstance(node.slice, ast.Tuple):
            if isinstance(node.value, ast.Attribute) and node.value.attr == "shape":
                return self._size(node.value.value, frame) if index.value == 0 else UNBOUNDED
            step = () if index.value in (None, Ellipsis) else (index.value,)
            return self.visit(node.value, frame, (*step, *path))
        base, place = self.visit(node.value, frame, path), self.visit(index, frame)
        if not place.loops:
            is_one = place.is_number or place.is_drawn
            return replace(base, is_drawn=base.is_drawn or place.is_drawn) if is_one else base.within(place.covered)
        return replace(_both(base, place), rounds=least(base.covered, place.covered), width=base.width)

    def _cut(self, node: ast.Subscript, cut: ast.Slice, frame: Frame, path: Path) -> Extent:
        """A slice: a part of the text where its ends stay, a window of it where they move."""
        base = self.visit(node.value, frame, path)
        low, high = self.number(cut.lower, frame), self.number(cut.upper, frame)
        if base.loops or (cut.lower is None and cut.upper is None):
            return base
        if not low.loops and not high.loops:
            return self._part(node, base, cut, low, high)
        is_flat = base.width == 1.0 and not _NO_TOKENS.search(last_name(node.value))
        length = self._length(cut, frame) if is_flat else None
        is_first = low.loops and cut.lower is not None and _from_0(self.program, cut.lower)
        rounds = _in_tokens(low.rounds or high.rounds, length, base.width, is_first=bool(is_first))
        positions = None if high.most is None else replace(high.most, is_tokens=is_flat, is_first=True)
        found = _both(base, _both(low, high))
        return replace(found, most=None, rounds=least(base.covered, rounds, positions), top=None, width=1.0)

    def _part(self, node: ast.Subscript, base: Extent, cut: ast.Slice, low: Extent, high: Extent) -> Extent:
        if cut.upper is None:
            last = None if low.value is None or low.value >= 0 or cut.lower is None else -low.value
            return base if last is None or cut.lower is None else base.within(_wide(Limit(last, cut.lower, last), base))
        if high.most is None or (high.value is not None and high.value <= 0):
            is_place = low.value is None and high.value is None and not low.most
            return replace(base, is_drawn=True) if is_place and cut.lower is not None and not high.most else base
        taken = high.most.amount - (low.value or 0.0)
        if low.value and taken >= _OWN_SPLIT:
            return base  # text8[90_000_000:95_000_000]
        limit = replace(high.most, amount=taken, is_first=not low.value, is_tokens=_is_of_tokens(node.value))
        return base.within(_wide(limit, base)) if taken > 0 else base

    def _length(self, cut: ast.Slice, frame: Frame) -> tuple[float, str] | None:
        """L of tokens[i : i + L] and tokens[i * L : (i + 1) * L], a target's one more left out."""
        low, high = cut.lower, cut.upper
        if low is None or high is None:
            return None
        step = between(low, high) or self._unfolded(low, _without_one(high))
        value = None if step is None else Evaluator(self.program).number(step, frame)
        return (value, ast.unparse(step)) if step is not None and value is not None and value >= 1 else None

    def _unfolded(self, low: ast.expr, high: ast.expr) -> ast.expr | None:
        """end of start : end where end = start + L, or min(start + L, ..)."""
        defined = self.program.reaching(high) if isinstance(high, ast.Name) else ()
        values = [each.value for each in defined if each.kind == "assign" and not each.index]
        if len(values) != 1 or values[0] is None:
            return None
        candidates = (
            values[0].args if isinstance(values[0], ast.Call) and last_name(values[0].func) == "min" else values
        )
        return next((found for each in candidates if each is not None and (found := between(low, each))), None)

    def _size(self, node: ast.expr, frame: Frame) -> Extent:
        """How many elements something has: of a window, what each round's has."""
        whole = self.visit(node, frame)
        number = None if whole.covered is None else replace(whole.covered, is_tokens=False, each=None)
        return Extent(None if whole.loops else number, number, None, whole.loops, is_number=True)

    # -- calls ------------------------------------------------------------------------------------

    def _call(self, node: ast.Call, frame: Frame, path: Path) -> Extent:
        return self._anew(node, self._called(node, last_name(node.func), frame, path), frame)

    def _called(self, node: ast.Call, name: str, frame: Frame, path: Path) -> Extent:
        args, worked_on = node.args, operands(node)
        if name in _RANGES and args:
            return self._range(args, frame)
        if name in ("enumerate", "zip") and args:
            return self._columns(args, name, frame, path)
        if name == "min" and len(args) > 1:
            found = [self.number(each, frame) for each in args]
            loops = frozenset[ast.AST]().union(*(each.loops for each in found))
            rounds = next((each.rounds for each in found if each.loops), None)
            return Extent(least(*(each.most for each in found)), rounds, None, loops, is_number=True)
        if name == "max" and len(args) > 1:
            return self._merged([self.number(each, frame) for each in args])
        if name in ("int", "round", "float", "ceil", "floor") and len(args) == 1:
            return self.number(args[0], frame)
        if name in _SIZES and worked_on and (name != "size" or not args or getattr(args[0], "value", 0) == 0):
            return self._size(worked_on[0], frame)
        if name in _EMPTY:
            return EMPTY
        if name == "next" and args:
            given = self.visit(args[0], frame, path)
            return Extent(given.covered, width=given.width, is_drawn=True)
        if name in _DRAWN:
            return self._drawn(node, frame)
        if name in _FIRST_OF and len(args) > _FIRST_OF[name]:
            base = self.visit(worked_on[0], frame, path)
            stop = self.number(args[2 if name == "islice" and len(args) > 2 else _FIRST_OF[name]], frame).most
            return base.within(stop)
        if name in ("select", "Subset") and len(worked_on) > 1:
            return self.visit(worked_on[0], frame, path).within(self.visit(worked_on[1], frame).covered)
        if name in ("fromfile", "frombuffer", "memmap"):
            return self._mapped(node, frame)
        return self._passed(node, name, worked_on, frame, path)

    def _passed(self, node: ast.Call, name: str, worked_on: list[ast.expr], frame: Frame, path: Path) -> Extent:
        """What a function of the program gives back, or what one of a library is given."""
        if name in _ROWS and len(worked_on) > 1:
            base = self.visit(worked_on[0], frame, path)
            width = Evaluator(self.program).number(worked_on[-1], frame)
            is_flat = width is not None and width < 0
            return replace(base, width=base.width if base.loops or is_flat else width)
        if name in _HANDING_ON and worked_on:
            return self.visit(worked_on[0], frame, path)
        behind = self.origins(node, frame, path)
        if behind:
            return self._merged([self._given_back(each) for each in behind])
        given = [self.visit(each, frame) for each in worked_on if Evaluator(self.program).number(each, frame) is None]
        given += [self.visit(each.value, frame) for each in node.keywords if isinstance(each.value, ast.Name)]
        moved = [each for each in given if each.loops]
        covered = least(*(each.covered for each in moved or given if not each.is_number))
        loops = frozenset[ast.AST]().union(*(each.loops for each in moved))
        is_drawn = bool(_ANEW.search(name)) or any(each.is_drawn for each in given)
        return Extent(None if loops else covered, covered, None, loops, None, None if moved else 1.0, is_drawn)

    def _given_back(self, origin: Origin) -> Extent:
        """What a function gives back: where it returns, the loops around that have ended."""
        found = self.visit(origin.node, origin.frame, origin.path)
        if not isinstance(self.program.parent(origin.node), ast.Return) or not found.loops:
            return found
        loops = found.loops - {*loops_around(self.program, origin.node)}
        return replace(found, loops=loops) if loops else replace(found, loops=loops, most=None)

    def _range(self, args: list[ast.expr], frame: Frame) -> Extent:
        start = self.number(args[0], frame) if len(args) > 1 else Extent(value=0.0)
        stop = self.number(args[min(1, len(args) - 1)], frame)
        step = self.number(args[2], frame).value if len(args) > 2 else 1.0
        loops = start.loops | stop.loops
        count, top = None, stop.most
        if stop.most is not None:
            span = max(0.0, stop.most.amount - (start.value or 0.0))
            count = stop.most.of(span / stop.most.amount / (step if step and step > 0 else 1.0))
            if start.value is not None and stop.value is not None and step is not None and step >= 1 and span:
                last = start.value + step * (math.ceil(span / step) - 1)  # range(0, 500, 64) ends with 448
                top = replace(stop.most, amount=max(1.0, last))
        if len(args) > 1 and loops and count is None:
            each = between(args[0], args[1])
            length = None if each is None else Evaluator(self.program).number(each, frame)
            count = start.rounds.of(length) if start.rounds is not None and length else None
        return Extent(None if loops else count, count, top, loops)

    def _columns(self, args: list[ast.expr], name: str, frame: Frame, path: Path) -> Extent:
        """enumerate and zip: as many as the shortest has, and of a path the column that it means."""
        which = path[0] if path and isinstance(path[0], int) else None
        if name == "enumerate":
            inner = self.visit(args[0], frame, path[1:] if which == 1 else ())
            return replace(inner, top=inner.covered) if which == 0 else inner
        columns = [self.visit(each, frame, path[1:] if which == n else ()) for n, each in enumerate(args)]
        own = columns[which] if which is not None and which < len(columns) else columns[0]
        return own.within(least(*(each.covered for each in columns)))

    def _drawn(self, node: ast.Call, frame: Frame) -> Extent:
        """So many random places or elements; a permutation has as many as there are."""
        if last_name(node.func) in ("randperm", "permutation") and node.args:
            return replace(self.number(node.args[0], frame), is_drawn=True, value=None)
        sized = keyword(node, "size", "k")
        sized = sized if sized is not None else next((each for each in node.args if isinstance(each, ast.Tuple)), None)
        if sized is None and len(node.args) > 1:
            sized = node.args[-1]
        if isinstance(sized, ast.Tuple):
            sized = sized.elts[0] if sized.elts else None
        return Extent(self.number(sized, frame).most, is_drawn=True)

    def _mapped(self, node: ast.Call, frame: Frame) -> Extent:
        """A file: all of it, or as many elements as are asked for."""
        asked = keyword(node, "count", "shape")
        asked = asked.elts[0] if isinstance(asked, ast.Tuple) and len(asked.elts) == 1 else asked
        limit = self.number(asked, frame).most if asked is not None else None
        file = self.visit(node.args[0], frame) if node.args else UNBOUNDED
        found = replace(file, value=None, width=1.0, is_empty=False)
        return found.within(None if limit is None or found.loops else replace(limit, is_tokens=True, is_first=True))


def _cuts_down(program: Program, definition: Definition) -> bool:
    """if n > 100: n = 100, which is min(n, 100)."""
    above = program.parent(definition.statement)
    test = above.test if isinstance(above, ast.If) else None
    if not isinstance(test, ast.Compare) or not isinstance(test.ops[0], ast.Gt | ast.GtE) or definition.value is None:
        return False
    is_own = last_name(test.left) == definition.name
    return is_own and ast.unparse(test.comparators[0]) == ast.unparse(definition.value)


def _constant(value: float, node: ast.expr) -> Extent:
    return Extent(Limit(value, node, value) if value > 0 else None, value=value, is_number=True)


def _counted_in(loop: ast.AST, parts: Sequence[ast.AST]) -> dict[str, bool]:
    """The names that a loop of these parts counts up or hands out, and whether by one a round."""
    counted: dict[str, bool] = {}
    for part in parts:
        if isinstance(part, ast.AugAssign) and isinstance(part.op, ast.Add) and isinstance(part.target, ast.Name):
            counted[part.target.id] = isinstance(part.value, ast.Constant)
        elif isinstance(part, ast.Call) and isinstance(part.func, ast.Attribute) and part.func.attr == "append":
            counted[last_name(part.func.value)] = True  # len(losses)
    if isinstance(loop, ast.For) and isinstance(loop.iter, ast.Call) and last_name(loop.iter.func) == "enumerate":
        index = loop.target.elts[0] if isinstance(loop.target, ast.Tuple) else loop.target
        counted |= {index.id: True} if isinstance(index, ast.Name) else {}
    elif isinstance(loop, ast.For) and isinstance(loop.target, ast.Name):
        counted[loop.target.id] = True
    return counted


def _both(left: Extent, right: Extent) -> Extent:
    """What is made of two: it differs in the rounds of both."""
    moving = [each.rounds for each in (left, right) if each.loops]
    same = left.loops <= right.loops or right.loops <= left.loops
    rounds = (least(*moving) if same else times(moving)) if moving else None
    return Extent(None, rounds, None, left.loops | right.loops, is_drawn=left.is_drawn or right.is_drawn)


def _arithmetic(op: ast.operator, left: Extent, right: Extent) -> Limit | None:
    """The most that a sum, a difference, a product or a quotient of two numbers can be, neither being negative."""
    if isinstance(op, ast.Add):
        if left.most is None or right.most is None:
            return left.most if right.value == 0 else right.most if left.value == 0 else None
        told = right if left.value is not None else left  # by the one that is not plainly a number
        return replace(told.most, amount=left.most.amount + right.most.amount) if told.most is not None else None
    if isinstance(op, ast.Sub):
        return left.most
    if isinstance(op, ast.Mult):
        return times([left.most, right.most])
    if isinstance(op, ast.Div | ast.FloorDiv):
        return None if left.most is None else left.most.of(1.0 / max(1.0, right.value or 1.0))
    return right.most if isinstance(op, ast.Mod) else None


def between(low: ast.expr, high: ast.expr) -> ast.expr | None:
    """L of i and i + L, or of i * L and (i + 1) * L, with a one more or less on either side."""
    low, high = _without_one(low), _without_one(high)
    written = ast.unparse(low)
    if isinstance(high, ast.BinOp) and isinstance(high.op, ast.Add):
        if ast.unparse(high.left) == written:
            return high.right
        if ast.unparse(high.right) == written:
            return high.left
    if isinstance(low, ast.BinOp) and isinstance(low.op, ast.Mult):
        is_next = ast.unparse(high) == f"({ast.unparse(low.left)} + 1) * {ast.unparse(low.right)}"
        return low.right if is_next else None
    return None


def _without_one(node: ast.expr) -> ast.expr:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub):
        return node.left if getattr(node.right, "value", None) == 1 else node
    return node


def _from_0(program: Program, low: ast.expr) -> bool:
    """Whether i, or i of i * L, is that of range(n)."""
    index = low.left if isinstance(low, ast.BinOp) and isinstance(low.op, ast.Mult) else low
    defined = program.reaching(index) if isinstance(index, ast.Name) else ()
    return bool(defined) and all(
        each.kind == "loop" and isinstance(each.value, ast.Call) and last_name(each.value.func) == "range"
        and (len(each.value.args) == 1 or getattr(each.value.args[0], "value", None) == 0)
        for each in defined
    )  # fmt: skip


_NO_TOKENS = re.compile(
    "doc|seq|window|batch|chunk|sample|text|byte|file|shard|start|row|example|idx|order", re.IGNORECASE
)


def _is_of_tokens(node: ast.expr) -> bool:
    """Whether something is called as tokens are."""
    name = last_name(node)
    return bool(re.search("tok|ids|val|data", name, re.IGNORECASE)) and not _NO_TOKENS.search(name)


def _wide(limit: Limit, base: Extent) -> Limit:
    """A number of elements, in tokens where each has a known number of them."""
    if base.width is not None and base.width > 1.0:
        return replace(limit.of(base.width), is_tokens=True, each=(base.width, f"{base.width:g}"))
    return limit if base.width is not None else replace(limit, is_tokens=False)


def _in_tokens(
    rounds: Limit | None, length: tuple[float, str] | None, width: float | None, *, is_first: bool
) -> Limit | None:
    """So many slices, in tokens where the length of each is known."""
    if rounds is None or rounds.is_tokens or length is None or width is None:
        return rounds
    tokens = length[0] * width
    return replace(rounds, amount=rounds.amount * tokens, each=(tokens, length[1]), is_tokens=True, is_first=is_first)
