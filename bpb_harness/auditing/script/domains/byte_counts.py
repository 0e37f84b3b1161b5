"""The bytes that a score's denominator holds for one specimen after an ordinary token."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from bpb_harness.auditing.script.domains.algebra import Term, is_cross_entropy
from bpb_harness.auditing.script.domains.cancel import Factor
from bpb_harness.auditing.script.domains.changed import Change, Choice, Condition
from bpb_harness.auditing.script.domains.changed_tables import CONVERTING, TableChanges, converted_together
from bpb_harness.auditing.script.domains.divisors import is_share, may_be_bytes, names_bytes
from bpb_harness.auditing.script.domains.pieces import WORD, ByteLoop, Specimen, initial_entry
from bpb_harness.auditing.script.domains.values import IDENTITY, Evaluator, taken
from bpb_harness.auditing.script.frontend.index import nodes_within
from bpb_harness.auditing.script.frontend.nodes import is_none, position
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import Definition, last_name
from bpb_harness.auditing.script.frontend.walker import Frame, Origin, Path, Walker, operands

_Table = tuple[ByteLoop, str]
_Fold = Callable[[Sequence[float]], float]
_FOLDS: dict[type, _Fold] = {
    ast.BitAnd: all, ast.And: all, ast.BitOr: any, ast.Or: any, ast.Add: sum, ast.Mult: math.prod,
    ast.Sub: lambda values: values[0] - values[1],
}  # fmt: skip
_BINDING = ("assign", "loop")
_NAMED_FOLDS: dict[str, _Fold] = {
    "logical_and": all, "logical_or": any, "logical_not": lambda values: not values[0], "add": sum,
}  # fmt: skip


_OF_BITS = (math.log(2.0), 1.0 / math.log(2.0))


@dataclass(frozen=True)
class _Counted:
    """What a change of a count comes to for a specimen.

    Attributes:
        key: what two mentions of it share.
        value: the bytes.
        change: the change.
        is_sure: whether all of its conditions are known.
        is_met: whether none of them fails.
    """

    key: object
    value: float
    change: Change
    is_sure: bool
    is_met: bool = True


def _of_one_value(products: list[list[_Counted]]) -> list[list[_Counted]] | None:
    """The summands without those of other values that a name might have; None where it is not known which it has."""
    left = products
    uses = dict.fromkeys(choice.use for product in left for each in product for choice in each.change.choices)
    for use in uses:
        values: dict[int, list[list[_Counted]]] = {}
        rest: list[list[_Counted]] = []
        for product in left:
            numbers = [choice.number for each in product for choice in each.change.choices if choice.use is use]
            (values.setdefault(numbers[0], []) if numbers else rest).append(product)
        met = {n: found for n, found in values.items() if any(all(each.is_met for each in one) for one in found)}
        if not values:
            continue
        if not met:
            left = rest
            continue
        nearest = met[min(met)]
        choices = {choice for product in nearest for each in product for choice in each.change.choices}
        is_sure = all(each.is_sure for product in nearest for each in product) and all(
            choice.is_nearest_first for choice in choices if choice.use is use
        )
        sums = {sum(math.prod(each.value for each in one) for one in found) for found in met.values()}
        if not is_sure and len(sums) > 1:
            return None
        left = rest + nearest
    return left


def _asked_about(test: ast.expr) -> set[str]:
    """The names whose value a test asks for, not their size or whether they are there at all."""
    if isinstance(test, ast.Name):
        return {test.id}
    if isinstance(test, ast.Attribute) or (isinstance(test, ast.Call) and last_name(test.func) in _OF_SIZE):
        return set()
    if isinstance(test, ast.Compare) and any(isinstance(op, ast.Is | ast.IsNot) for op in test.ops):
        return set()
    parts = [part for part in ast.iter_child_nodes(test) if isinstance(part, ast.expr)]
    return set().union(*map(_asked_about, parts))


_OF_SIZE = frozenset(["len", "numel", "size", "dim", "isinstance"])


class Counter(Walker[float | None]):
    """Works out what the tables in an expression count; None where it holds none or is not understood.

    Args:
        program: the program.
        loops: the loops that fill tables, with their outcomes.
    """

    deepest: ClassVar[int] = 200
    most_steps: ClassVar[int] = 100_000

    def __init__(self, program: Program, loops: list[ByteLoop]) -> None:
        super().__init__(program)
        self.loops = loops
        self.specimen: Specimen = WORD
        self.used: ByteLoop | None = None
        self.num_entries = 0  # of tables that were asked for
        self.is_open = False  # whether a condition asks about the token what is not known of it
        self.is_unclear = False  # whether something may have written to a table, or it may be another one
        self._writes = TableChanges(program)
        self.met: list[tuple[ast.expr, float]] = []  # expressions that count something for the last specimen
        # By specimen, what factors count, and the loop that fills the table of each.
        self._known: dict[tuple[str, ast.expr, Frame], tuple[tuple[object, float] | None, ByteLoop | None]] = {}
        self._changes: dict[tuple[int, ByteLoop | None], tuple[_Counted | None, ByteLoop | None]] = {}
        self._indices: dict[ast.AST, set[str]] = {}

    def count(self, terms: list[Term], specimen: Specimen) -> float | None:
        """Bytes for a specimen: the sum over the denominator's summands; None where it has no table."""
        self.specimen, self.met, self.is_open = specimen, [], False
        added: dict[object, list[_Counted]] = {}
        self._changes = {}
        for term in terms:
            counted = [known for change in term.below if (known := self._known_of(change)) is not None]
            if counted:
                added.setdefault(frozenset(each.key for each in counted), counted)
            elif term.cross_entropies():
                return None  # a summand of the denominator that is not understood
        left = _of_one_value([*added.values()])
        if not left or self.is_open or self.is_unclear:
            return None
        return sum(math.prod(each.value for each in product) for product in left)

    def divides_alone(self, terms: list[Term]) -> bool:
        """Whether the total of the tables divides, and nothing beside it that may be the bytes of the text instead."""
        for term in terms:
            tabled = [change for change in term.below if self._known_of(change) is not None]
            others = (change for change in term.below if change not in tabled)
            above = (factor.node for factor in term.factors if factor.power > 0)
            if tabled and (
                any(map(is_share, tabled))
                or any(may_be_bytes(self.program, change) for change in others)
                or any(names_bytes(node) for node in above if not is_cross_entropy(node))
            ):
                return False
        return True

    def _known_of(self, change: Change) -> _Counted | None:
        """`_added_by`, once for all of the terms that share a change."""
        key = (id(change), self.used)
        if key not in self._changes:
            self._changes[key] = self._added_by(change), self.used
        counted, self.used = self._changes[key]
        return counted

    def _added_by(self, change: Change) -> _Counted | None:
        """What a change adds for the specimen; None where it holds no table."""
        tabled: dict[object, float] = {}
        scale, is_inside = float(change.sign), False
        for factor in change.factors:
            value = self._value(factor)
            if value is not None:
                tabled[value[0]] = value[1]
                is_inside = is_inside or value[0] is not factor.node
                self.met.append((factor.node, value[1]))
                self.is_unclear = self.is_unclear or self._writes.of_count(factor.node)
            else:
                scale *= self._scale_of(factor)
        if is_inside:  # a loop that looks at the pieces was walked through as it stands
            return _Counted(frozenset(tabled), math.prod(tabled.values()), change, True)
        asks_tables = bool(tabled)
        known: list[bool] = []
        unknown: list[Condition] = []
        for condition in change.conditions:
            before = self.num_entries
            truth = self.visit(condition.test, condition.frame)
            asks_tables = asks_tables or self.num_entries > before
            if self.num_entries == before and not self._is_of_token(condition.test, change):
                unknown.append(condition)  # a setting: not of this token
            elif truth is None:
                self.is_open = True
            else:
                known.append(bool(truth) is condition.wanted)
        if not asks_tables:
            return None
        if not tabled:
            self.met.extend((factor.node, scale) for factor in change.factors)
        which = tuple(Choice(condition.test, int(not condition.wanted)) for condition in unknown)
        change = replace(change, choices=change.choices + which)
        counted = math.prod(tabled.values()) * scale * float(all(known))
        return _Counted(change.key, counted, change, not unknown, all(known))

    def _is_of_token(self, test: ast.expr, change: Change) -> bool:
        """Whether a test asks about what tables are looked up by in a change: about the token."""
        asked = _asked_about(test)
        parts = (*(factor.node for factor in change.factors), *(each.test for each in change.conditions))
        return bool(asked) and not all(asked.isdisjoint(self._looked_up_by(part)) for part in parts)

    def _looked_up_by(self, node: ast.AST) -> set[str]:
        """The names that tables are looked up by in an expression, which stands in many changes; worked out once."""
        found = self._indices.get(node)
        if found is None:
            entries = (part for part in nodes_within(node) if isinstance(part, ast.Subscript))
            names = (part for entry in entries for part in nodes_within(entry.slice) if isinstance(part, ast.Name))
            found = self._indices[node] = {name.id for name in names}
        return found

    def _scale_of(self, factor: Factor) -> float:
        """What a number multiplies a count by; 1 where it is none, or the ln 2 that makes bits of nats."""
        number = Evaluator(self.program).number(factor.node, factor.frame)
        if number is None or number == 0.0 or any(math.isclose(number, each, rel_tol=1e-3) for each in _OF_BITS):
            return 1.0
        return float(number**factor.power)

    def _value(self, factor: Factor) -> tuple[object, float] | None:
        """What a factor counts, under a key: factors of one running count or one function share it."""
        key = (self.specimen.name, factor.node, factor.frame)
        if key not in self._known:  # a factor stands in many terms
            before, self.used = self.used, None
            self._known[key] = self._counted(factor), self.used
            self.used = before
        value, used = self._known[key]
        self.used = used or self.used
        return value

    def _counted(self, factor: Factor) -> tuple[object, float] | None:
        node = factor.node
        for loop in self.loops:
            if any(above is loop.node for above in self.program.ancestors(node)):
                return self._inside(loop, node)
        value = self.visit(node, factor.frame)
        return None if value is None else (node, value)

    def _inside(self, loop: ByteLoop, node: ast.AST) -> tuple[object, float] | None:
        """A count inside the loop or function that looks at the pieces."""
        outcome = loop.outcomes[self.specimen.name]
        key: object = id(loop.node)
        value = outcome.writes.get("<return>")
        if isinstance(loop.node, ast.For):
            above = self.program.ancestors(node)
            adding = next((each for each in above if isinstance(each, ast.AugAssign) or each is loop.node), None)
            # A variable that an addition uses: it belongs to the loop's count, if there is only one.
            counts = {name for counted in loop.outcomes.values() for name in counted.added}
            names = {last_name(adding.target)} if isinstance(adding, ast.AugAssign) else counts
            if len(names) != 1:
                return None
            (name,) = names
            key, value = (id(loop.node), name), outcome.added.get(name, 0.0)
        if not isinstance(value, bool | int | float):
            return None
        self.used = loop
        return key, float(value)

    def unknown(self, _node: ast.expr, _frame: Frame, _path: Path = (), /) -> float | None:
        """None: the expression holds no table, or is not understood."""
        return None

    def stopped(self, _node: ast.expr, _frame: Frame, _path: Path, /) -> float | None:
        """Raise where it is nested too deeply: a count must not be taken for one without tables."""
        if self.depth > self.deepest:
            raise RecursionError
        return None

    def _subscript(self, node: ast.Subscript, frame: Frame, _path: Path) -> float | None:
        tables = self._tables(node.value, frame)
        # Else a sum of tables, or a slice of counts.
        return self._entry_of(tables) if tables else self.visit(node.value, frame)

    def _unaryop(self, node: ast.UnaryOp, frame: Frame, _path: Path) -> float | None:
        value = self.visit(node.operand, frame) if isinstance(node.op, ast.Invert | ast.Not) else None
        return None if value is None else float(not value)

    def _compare(self, node: ast.Compare, frame: Frame, _path: Path) -> float | None:
        op = node.ops[0]
        if isinstance(op, ast.In | ast.NotIn):
            held = self._entry_of(self._tables(node.comparators[0], frame))
            return None if held is None else float(bool(held) is isinstance(op, ast.In))
        # prev == bos: an ordinary token is none.
        return float(isinstance(op, ast.NotEq)) if isinstance(op, ast.Eq | ast.NotEq) else None

    def defined(self, node: ast.Name, frame: Frame, _path: Path, /) -> float | None:
        """The entry of the table that a name is, or the sum of what is assigned and added to it."""
        table = self._written_here(node, frame)
        if table is not None:
            return self._entry(table)
        found = [
            (self.visit(value, where), definition)
            for value, where, _, definition in self.origins(node, frame)
            if definition is not None and definition.kind in ("assign", "augment") and not definition.index
        ]
        known = [value for value, _ in found if value is not None]
        self.is_unclear = self.is_unclear or (bool(known) and self._writes.of_count(node))
        if not known or len(known) < len(found) or sum(each.kind == "assign" for _, each in found) > 1:
            return known[0] if found and len(known) == len(found) and len({*known}) == 1 else None
        total = None
        for value, definition in reversed(found):  # the nearest stands first
            fold = _FOLDS.get(type(definition.operator), sum)
            total = value if total is None else float(fold([total, value or 0.0]))
        return total

    def _binop(self, node: ast.BinOp | ast.BoolOp, frame: Frame, _path: Path) -> float | None:
        sides = node.values if isinstance(node, ast.BoolOp) else [node.left, node.right]
        values = [self.visit(side, frame) for side in sides]
        known = [value for value in values if value is not None]
        if len(known) < len(values):
            constants = [Evaluator(self.program).number(side, frame) for side in sides]
            filled = [v if v is not None else c for v, c in zip(values, constants, strict=True)]
            if not known or any(value is None for value in filled):
                # A condition on the document (not the first token) holds for an ordinary token.
                is_and = isinstance(node, ast.BoolOp) or isinstance(node.op, ast.BitAnd)
                return float(all(known)) if known and is_and else None
            known = [value for value in filled if value is not None]
        fold = _FOLDS.get(type(node.op))
        return None if fold is None else float(fold(known))

    _boolop = _binop

    def _call(self, node: ast.Call, frame: Frame, _path: Path) -> float | None:
        name, worked_on = last_name(node.func), operands(node)
        if name in IDENTITY | {"sum", "int", "float", "bool", "byte", "short"} and worked_on:
            return self.visit(worked_on[0], frame)
        values = [self.visit(operand, frame) for operand in worked_on] if name in _NAMED_FOLDS else [None]
        known = [value for value in values if value is not None]
        return float(_NAMED_FOLDS[name](known)) if len(known) == len(values) else None

    # -- tables -----------------------------------------------------------------------------------

    def _entry(self, table: _Table) -> float | None:
        loop, name = table
        self.num_entries += 1
        self.is_unclear = self.is_unclear or self._writes.of_table(loop.node, name)
        self.used = loop if self.used is None or WORD.name in loop.outcomes else self.used
        value = loop.outcomes[self.specimen.name].writes.get(name)
        if value is None:
            value = initial_entry(self.program, loop.scope, name)
        return float(value) if isinstance(value, bool | int | float) else None

    def _entry_of(self, tables: Sequence[_Table]) -> float | None:
        """What all of some tables hold; None where they differ: which of them it is, nobody says."""
        entries = {self._entry(table) for table in tables}
        return entries.pop() if len(entries) == 1 else None

    def _tables(self, node: ast.expr, frame: Frame, path: Path = (), depth: int = 0) -> list[_Table]:
        """The loops and arrays that a table expression goes back to, through calls, tuples and attributes."""
        if depth > 14 or not self.program.spend():
            return []
        found = self._written_here(node, frame) if not path else None
        if found is not None and not isinstance(node, ast.Attribute):
            return [found]
        behind = self._origins(node, frame, path)
        each = [self._tables(value, where, way, depth + 1) for value, where, way, _ in behind]
        every = [table for tables in each for table in tables]
        is_choice = not isinstance(node, ast.Call) or self.program.callee(node) is not None  # x.to(device): of either
        self.is_unclear = self.is_unclear or (is_choice and bool(every) and not all(each))
        return [*dict.fromkeys(every)] or ([found] if found is not None else [])

    def _origins(self, node: ast.expr, frame: Frame, path: Path) -> list[Origin]:
        together = converted_together(node)
        if together is not None:
            return [Origin(together, frame, path)] if path and isinstance(path[0], int) else []
        behind = self.origins(node, frame, path)
        if isinstance(node, ast.Call) and not behind and last_name(node.func) in CONVERTING:
            worked_on = operands(node)
            before = len(worked_on) - len(node.args)  # the object that it is a method of
            return [Origin(operand, frame, path) for operand in worked_on[: before + 1]]
        return [each for each in behind if self._is_whole(each)]

    def _is_whole(self, origin: Origin) -> bool:
        """Whether it may be all of the value: not an entry, not what a loop then fills, in no branch that is left."""
        definition = origin.definition
        if is_none(origin.node) or (definition is not None and definition.kind not in ("assign", "parameter")):
            return False
        if definition is not None and definition.kind == "assign" and self._is_filled_later(definition):
            return False
        return taken(self.program, origin.node, origin.frame) is not False

    def _is_filled_later(self, definition: Definition) -> bool:
        """Whether it makes a table that a loop behind it fills."""
        return any(
            definition.name in loop.written
            and isinstance(loop.node, ast.For)
            and self.program.scope(definition.statement) is loop.scope
            and position(definition.statement) < position(loop.node)
            for loop in self.loops
        )

    def _written_here(self, node: ast.expr, frame: Frame) -> _Table | None:
        name = last_name(node)
        for loop in self.loops:
            if node is loop.node and len(loop.written) == 1:
                return loop, next(iter(loop.written))
            if name in loop.written and (isinstance(node, ast.Attribute) or self._is_of(node, frame, loop)):
                return loop, name
        return None

    def _is_of(self, node: ast.expr, frame: Frame, loop: ByteLoop) -> bool:
        """Whether a name is one of a loop's scope (the frame's own, or one around that), as the loop has left it."""
        if not isinstance(node, ast.Name):
            return False
        found = self.program.reaching(node)
        is_there = frame.scope is loop.scope or any(self.program.scope(each.statement) is loop.scope for each in found)
        return is_there and not any(each.kind in _BINDING and self._is_later(each, loop) for each in found)

    def _is_later(self, definition: Definition, loop: ByteLoop) -> bool:
        """Whether a name is given another value than the table that a loop fills."""
        if self.program.scope(definition.statement) is not loop.scope:
            return False
        if not isinstance(loop.node, ast.For):
            return definition.statement not in self.program.ancestors(loop.node)
        return position(definition.statement) > position(loop.node)
