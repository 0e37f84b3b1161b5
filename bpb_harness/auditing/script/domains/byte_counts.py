"""The bytes that a score's denominator holds for one specimen after an ordinary token."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Sequence
from typing import ClassVar

from bpb_harness.auditing.script.domains.algebra import Term
from bpb_harness.auditing.script.domains.cancel import Factor
from bpb_harness.auditing.script.domains.pieces import WORD, ByteLoop, Specimen, initial_entry
from bpb_harness.auditing.script.domains.values import IDENTITY, Evaluator
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import Scope, last_name
from bpb_harness.auditing.script.frontend.walker import Frame, Origin, Path, Walker, operands

_Table = tuple[ByteLoop, str]
_Fold = Callable[[Sequence[float]], float]
_FOLDS: dict[type, _Fold] = {
    ast.BitAnd: all, ast.And: all, ast.BitOr: any, ast.Or: any, ast.Add: sum, ast.Mult: math.prod,
    ast.Sub: lambda values: values[0] - values[1],
}  # fmt: skip
_CONVERTING = IDENTITY | {"bool", "short", "pin_memory", "copy"}
_NAMED_FOLDS: dict[str, _Fold] = {
    "logical_and": all, "logical_or": any, "logical_not": lambda values: not values[0], "add": sum,
}  # fmt: skip


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
        self.met: list[tuple[ast.expr, float]] = []  # expressions that count something for the last specimen
        # By specimen, what factors count, and the loop that fills the table of each.
        self._known: dict[tuple[Specimen, ast.expr, Frame], tuple[tuple[object, float] | None, ByteLoop | None]] = {}

    def count(self, terms: list[Term], specimen: Specimen) -> float | None:
        """Bytes for a specimen: the sum over the denominator's summands; None where it has no table."""
        self.specimen, self.met = specimen, []
        total, found = 0.0, False
        seen: set[object] = set()
        for term in terms:
            tabled: dict[object, float] = {}
            for factor in term.factors:
                value = self._value(factor) if factor.power < 0 else None
                if value is not None:
                    tabled[value[0]] = value[1]
                    self.met.append((factor.node, value[1]))
            if not tabled:
                if term.cross_entropies():
                    return None  # a summand of the denominator that is not understood
                continue
            key = frozenset(tabled)
            if key in seen:
                continue
            seen.add(key)
            total, found = total + math.prod(tabled.values()), True
        return total if found else None

    def _value(self, factor: Factor) -> tuple[object, float] | None:
        """What a factor counts, under a key: factors of one running count or one function share it."""
        key = (self.specimen, factor.node, factor.frame)
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
        if value is None and isinstance(node, ast.Constant):
            value = self._conditional(node, factor.frame)
        return None if value is None else (id(node), value)

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

    def _conditional(self, node: ast.Constant, frame: Frame) -> float | None:
        """if has_space[tok] and not boundary[prev]: count += 1; 1 if has_space[tok] else 0."""
        above = self.program.parent(node)
        branch = self.program.parent(above) if isinstance(above, ast.AugAssign) else above
        if not isinstance(branch, ast.If | ast.IfExp) or not isinstance(node.value, int | float):
            return None
        if isinstance(branch, ast.IfExp) and not self._is_added(branch):
            return None
        test = self.visit(branch.test, frame)
        is_taken = bool(test) is (node is not getattr(branch, "orelse", None))
        return None if test is None else float(node.value) * float(is_taken)

    def _is_added(self, branch: ast.IfExp) -> bool:
        """Whether a choice is added as it stands: no second choice around it, nothing that scales or subtracts it."""
        for above in self.program.ancestors(branch):
            match above:
                case ast.IfExp() | ast.UnaryOp() | ast.comprehension() | ast.If():
                    return False
                case ast.BinOp(op=op) | ast.AugAssign(op=op) if not isinstance(op, ast.Add):
                    return False
                case ast.GeneratorExp(generators=generators) | ast.ListComp(generators=generators):
                    if any(each.ifs for each in generators):
                        return False
                case ast.For() | ast.FunctionDef() | ast.Module():
                    return True
        return True

    def unknown(self, _node: ast.expr, _frame: Frame, _path: Path = (), /) -> float | None:
        """None: the expression holds no table, or is not understood."""
        return None

    def stopped(self, _node: ast.expr, _frame: Frame, _path: Path, /) -> float | None:
        """Raise where it is nested too deeply: a count must not be taken for one without tables."""
        if self.depth > self.deepest:
            raise RecursionError
        return None

    def _subscript(self, node: ast.Subscript, frame: Frame, _path: Path) -> float | None:
        table = self._table(node.value, frame)
        # Else a sum of tables, or a slice of counts.
        return self._entry(table) if table is not None else self.visit(node.value, frame)

    def _unaryop(self, node: ast.UnaryOp, frame: Frame, _path: Path) -> float | None:
        value = self.visit(node.operand, frame) if isinstance(node.op, ast.Invert | ast.Not) else None
        return None if value is None else float(not value)

    def _compare(self, node: ast.Compare, frame: Frame, _path: Path) -> float | None:
        op = node.ops[0]
        if isinstance(op, ast.In | ast.NotIn):
            table = self._table(node.comparators[0], frame)
            held = self._entry(table) if table is not None else None
            return None if held is None else float(bool(held) is isinstance(op, ast.In))
        # prev == bos: an ordinary token is none.
        return float(isinstance(op, ast.NotEq)) if isinstance(op, ast.Eq | ast.NotEq) else None

    def defined(self, node: ast.Name, frame: Frame, _path: Path, /) -> float | None:
        """The entry of the table that a name is, or the sum of what is assigned and added to it."""
        table = self._written_here(node, frame)
        if table is not None:
            return self._entry(table)
        values = [
            self.visit(value, where)
            for value, where, _, definition in self.origins(node, frame)
            if definition is not None and definition.kind in ("assign", "augment") and not definition.index
        ]
        known = [value for value in values if value is not None]
        return sum(known) if known and len(known) == len(values) else None

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
        self.used = loop if self.used is None or WORD.name in loop.outcomes else self.used
        value = loop.outcomes[self.specimen.name].writes.get(name)
        if value is None:
            value = initial_entry(self.program, loop.scope, name)
        return float(value) if isinstance(value, bool | int | float) else None

    def _table(self, node: ast.expr, frame: Frame, path: Path = (), depth: int = 0) -> _Table | None:
        """The loop and array that a table expression goes back to, through calls, tuples and attributes."""
        if depth > 14 or not self.program.spend():
            return None
        found = self._written_here(node, frame) if not path else None
        if found is not None:
            return found
        tables = (
            self._table(value, where, way, depth + 1) for value, where, way, _ in self._origins(node, frame, path)
        )
        return next((table for table in tables if table is not None), None)

    def _origins(self, node: ast.expr, frame: Frame, path: Path) -> list[Origin]:
        together = converted_together(node)
        if together is not None:
            return [Origin(together, frame, path)] if path and isinstance(path[0], int) else []
        behind = self.origins(node, frame, path)
        if isinstance(node, ast.Call) and not behind and last_name(node.func) in _CONVERTING:
            worked_on = operands(node)
            before = len(worked_on) - len(node.args)  # the object that it is a method of
            return [Origin(operand, frame, path) for operand in worked_on[: before + 1]]
        return [each for each in behind if each.definition is None or each.definition.kind in ("assign", "parameter")]

    def _written_here(self, node: ast.expr, frame: Frame) -> _Table | None:
        name = last_name(node)
        for loop in self.loops:
            if node is loop.node and len(loop.written) == 1:
                return loop, next(iter(loop.written))
            if name in loop.written and (isinstance(node, ast.Attribute) or self._is_of(node, frame, loop.scope)):
                return loop, name
        return None

    def _is_of(self, node: ast.expr, frame: Frame, scope: Scope) -> bool:
        """Whether a name is one of a scope's: of the frame's own, or of one around that, such as the module's."""
        if frame.scope is scope or not isinstance(node, ast.Name):
            return isinstance(node, ast.Name)
        return any(self.program.scope(each.statement) is scope for each in self.program.reaching(node))


def converted_together(node: ast.expr) -> ast.expr | None:
    """``tables`` of ``[torch.tensor(each) for each in tables]`` and ``map(torch.tensor, tables)``.

    None where the elements are other ones, or not each of them is kept.
    """
    if isinstance(node, ast.ListComp | ast.GeneratorExp):
        (first, *more) = node.generators
        is_each = not more and not first.ifs and isinstance(first.target, ast.Name)
        return first.iter if is_each and _converts(node.elt, last_name(first.target)) else None
    if isinstance(node, ast.Call) and last_name(node.func) == "map" and len(node.args) == 2 and not node.keywords:
        way, tables = node.args
        if isinstance(way, ast.Lambda):
            names = way.args.args
            return tables if len(names) == 1 and _converts(way.body, names[0].arg) else None
        return tables if last_name(way) in _CONVERTING else None
    return None


def _converts(node: ast.expr, name: str) -> bool:
    """Whether an expression is a name's value in another form: on another device, of another type."""
    while isinstance(node, ast.Call) and last_name(node.func) in _CONVERTING and (worked_on := operands(node)):
        node = worked_on[0]
    return isinstance(node, ast.Name) and node.id == name
