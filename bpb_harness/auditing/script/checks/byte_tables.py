"""Byte tables and the loops that use them: what they count for a few specimens, against what the text has."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from bpb_harness.auditing.byte_factors import byte_factors
from bpb_harness.auditing.script import codes
from bpb_harness.auditing.script.domains.algebra import Factor, Term
from bpb_harness.auditing.script.domains.analysis import Analysis, Hit
from bpb_harness.auditing.script.domains.pieces import (
    BYTE,
    CONTROL,
    PIECE_CALLS,
    SUFFIX,
    WORD,
    ByteLoop,
    Specimen,
    find_byte_loops,
    initial_entry,
    stored_names,
)
from bpb_harness.auditing.script.domains.values import IDENTITY, Evaluator
from bpb_harness.auditing.script.frontend.program import Program, dotted, last_name
from bpb_harness.auditing.script.frontend.walker import Frame
from bpb_harness.findings import Rule, Severity


def check_byte_tables(analysis: Analysis) -> Iterator[Hit]:
    """What the script counts for a word, a word part, a byte piece and a control token."""
    loops = find_byte_loops(analysis.program)
    if not loops:
        return
    for number, terms in enumerate(analysis.terms):
        counter = _Counter(analysis, loops)
        counted = {specimen.name: counter.count(terms, specimen) for specimen in (WORD, SUFFIX, BYTE, CONTROL)}
        if counted[WORD.name] is None or counter.used is None:
            continue
        yield from _judged(analysis, number, counter.used, counted)


def _judged(analysis: Analysis, number: int, loop: ByteLoop, counted: dict[str, float | None]) -> Iterator[Hit]:
    word, suffix, byte, control = (counted[s.name] for s in (WORD, SUFFIX, BYTE, CONTROL))
    place = _place(analysis.program, loop)
    evidence = {f"counted for {name}": value for name, value in counted.items()}
    if suffix != SUFFIX.num_bytes or word is None:
        return  # not understood well enough to judge the rest by it
    if (word, byte, control) == (WORD.num_bytes, BYTE.num_bytes, CONTROL.num_bytes):
        yield Hit(
            codes.BYTES_READ,
            "Read on specimens, the script counts bytes by the official rule: 4 for \u2581the after "
            "another word, 3 for ing, 1 for a byte piece, 0 for <s>.",
            place,
            number,
            None,
            None,
            {**evidence},
        )
    spelt = byte == len(BYTE.piece)
    if word == WORD.num_bytes + 1:
        name = "space_twice_pieces_by_spelling" if spelt else "space_counted_twice"
        yield _space_hit(
            codes.SPACE_TWICE,
            "counts 5 bytes for \u2581the after another word; the text has 4: the space "
            "is in the table and is added again",
            name,
            place,
            number,
            evidence,
        )
    elif word == WORD.num_bytes - 1:
        if loop.decodes_singly is None:
            yield _space_hit(
                codes.SPACE_NEVER,
                "counts 3 bytes for \u2581the after another word; the text has 4: the leading space is never counted",
                "space_never_counted",
                place,
                number,
                evidence,
            )
        else:
            yield _space_hit(
                codes.SPACE_NEVER,
                "decodes ids one by one, which strips the leading space: 3 bytes for "
                "\u2581the after another word; the text has 4",
                "space_never_counted",
                place,
                number,
                evidence,
            )
    elif word in (WORD.num_bytes + 2, WORD.num_bytes + 3):
        yield _space_hit(
            codes.WRONG_MARKER,
            f"counts {word:g} bytes for \u2581the after another word; the text has 4: "
            "U+2581 is not recognised and counts as three bytes",
            "question_mark_for_space",
            place,
            number,
            evidence,
            exact=word == WORD.num_bytes + 2,
        )
    if loop.decodes_singly is not None:
        yield Hit(
            codes.DECODED_SINGLY,
            "The script decodes ids one by one: a byte piece becomes U+FFFD, three bytes.",
            loop.decodes_singly,
            number,
        )
    elif spelt:
        severity = Severity.WARNS if word != WORD.num_bytes else None
        yield Hit(
            codes.BYTE_SPELLING,
            "The script counts 6 bytes for the byte piece <0x41>, its spelling; it is 1.",
            place,
            number,
            None,
            severity,
            {**evidence},
        )
    if control:
        yield Hit(
            codes.SPECIAL_COUNTED,
            f"The script counts {control:g} bytes for <s>, which spells nothing.",
            place,
            number,
            None,
            None,
            {**evidence},
        )


def _space_hit(
    rule: Rule,
    what: str,
    bug: str,
    place: ast.AST,
    number: int,
    evidence: dict[str, float | None],
    *,
    exact: bool = True,
) -> Hit:
    known = next((row for row in byte_factors() if row.name == bug), None)
    factor = known.lowest if known is not None and exact else None
    times = f"; on English text the score times {factor:.5f} is what it should be" if factor else ""
    return Hit(rule, f"The script {what}{times}.", place, number, factor, None, {**evidence})


def _place(program: Program, loop: ByteLoop) -> ast.AST:
    """The line that stores or adds the bytes, for the report."""
    for node in ast.walk(loop.node):
        if isinstance(node, ast.Call) and last_name(node.func) in PIECE_CALLS:
            for part in ast.walk(loop.node):
                if isinstance(part, ast.Assign | ast.AugAssign) and any(
                    isinstance(piece, ast.Call) and last_name(piece.func) == "len" for piece in ast.walk(part)
                ):
                    return part
            return node
    del program
    return loop.node


_Table = tuple[ByteLoop, str]


class _Counter:
    """Works out the bytes that a score's denominator holds for one specimen after an ordinary token."""

    def __init__(self, analysis: Analysis, loops: list[ByteLoop]) -> None:
        self.analysis, self.program, self.loops = analysis, analysis.program, loops
        self.used: ByteLoop | None = None

    def count(self, terms: list[Term], specimen: Specimen) -> float | None:
        """Bytes for a specimen: the sum over the denominator's summands; None where it has no table."""
        total, found = 0.0, False
        seen: set[object] = set()
        for term in terms:
            tabled: dict[object, float] = {}
            for factor in term.factors:
                value = self._value(factor, specimen) if factor.power < 0 else None
                if value is not None:
                    tabled[value[0]] = value[1]
            if not tabled:
                if term.cross_entropies():
                    return None  # a summand of the denominator that is not understood
                continue
            key = frozenset(tabled)
            if key in seen:
                continue
            seen.add(key)
            product = 1.0
            for number in tabled.values():
                product *= number
            total += product
            found = True
        return total if found else None

    def _value(self, factor: Factor, specimen: Specimen) -> tuple[object, float] | None:
        """What a factor counts, under a key: factors of one running count or one function share it."""
        node = factor.node
        for loop in self.loops:
            if any(above is loop.node for above in self.program.ancestors(node)):
                return self._inside(loop, node, specimen)
        value = self._expression(node, factor.frame, specimen)
        if value is None and isinstance(node, ast.Constant):
            value = self._conditional(node, factor.frame, specimen)
        return None if value is None else (id(node), value)

    def _inside(self, loop: ByteLoop, node: ast.AST, specimen: Specimen) -> tuple[object, float] | None:
        """A count inside the loop or function that looks at the pieces."""
        outcome = loop.outcomes[specimen.name]
        if isinstance(loop.node, ast.For):
            for above in self.program.ancestors(node):
                if isinstance(above, ast.AugAssign):
                    self.used = loop
                    name = last_name(above.target)
                    return (id(loop.node), name), outcome.added.get(name, 0.0)
                if above is loop.node:
                    # A variable that an addition uses: it belongs to the loop's count, if there is only one.
                    names = {name for counted in loop.outcomes.values() for name in counted.added}
                    if len(names) != 1:
                        return None
                    self.used = loop
                    name = names.pop()
                    return (id(loop.node), name), outcome.added.get(name, 0.0)
        value = outcome.writes.get("<return>")
        if not isinstance(value, bool | int | float):
            return None
        self.used = loop
        return id(loop.node), float(value)

    def _conditional(self, node: ast.Constant, frame: Frame, specimen: Specimen) -> float | None:
        """if has_space[tok] and not boundary[prev]: count += 1."""
        above = self.program.parent(node)
        branch = self.program.parent(above) if isinstance(above, ast.AugAssign) else None
        if not isinstance(branch, ast.If) or not isinstance(node.value, int | float):
            return None
        test = self._expression(branch.test, frame, specimen)
        return None if test is None else float(node.value) * float(bool(test))

    def _expression(self, node: ast.expr, frame: Frame, specimen: Specimen) -> float | None:
        """The value of a vectorised expression over tables; None where it holds none or is not understood."""
        if isinstance(node, ast.Subscript):
            return self._lookup(node, frame, specimen)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Invert | ast.Not):
            value = self._expression(node.operand, frame, specimen)
            return None if value is None else float(not value)
        if isinstance(node, ast.BinOp | ast.BoolOp):
            return self._operation(node, frame, specimen)
        if isinstance(node, ast.Call):
            return self._call(node, frame, specimen)
        if isinstance(node, ast.Name):
            return self._name(node, frame, specimen)
        if isinstance(node, ast.IfExp):
            test = self._expression(node.test, frame, specimen)
            if test is None:
                return None
            branch = node.body if test else node.orelse
            return (
                float(branch.value)
                if isinstance(branch, ast.Constant) and isinstance(branch.value, int)
                else (self._expression(branch, frame, specimen))
            )
        if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.In | ast.NotIn):
            table = self._table(node.comparators[0], frame)
            held = self._entry(table, specimen) if table is not None else None
            return None if held is None else float(bool(held) is isinstance(node.ops[0], ast.In))
        if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Eq | ast.NotEq):
            return float(isinstance(node.ops[0], ast.NotEq))  # prev == bos: an ordinary token is none
        return None

    def _name(self, node: ast.Name, frame: Frame, specimen: Specimen) -> float | None:
        bound = frame.bindings.get(node.id)
        if bound is not None:
            return self._expression(bound[0], bound[1], specimen)
        table = self._written_here(node, frame)
        if table is not None:
            return self._entry(table, specimen)
        values = [
            self._expression(definition.value, frame, specimen)
            for definition in self.program.reaching(node)
            if definition.value is not None and definition.kind in ("assign", "augment") and not definition.index
        ]
        known = [value for value in values if value is not None]
        return sum(known) if known and len(known) == len(values) else None

    def _operation(self, node: ast.BinOp | ast.BoolOp, frame: Frame, specimen: Specimen) -> float | None:
        sides = node.values if isinstance(node, ast.BoolOp) else [node.left, node.right]
        values = [self._expression(side, frame, specimen) for side in sides]
        known = [value for value in values if value is not None]
        if len(known) < len(values):
            constants = [Evaluator(self.program).number(side, frame) for side in sides]
            filled = [v if v is not None else c for v, c in zip(values, constants, strict=True)]
            if not known or any(value is None for value in filled):
                # A condition on the document (not the first token) holds for an ordinary token.
                is_and = isinstance(node, ast.BoolOp) or isinstance(node.op, ast.BitAnd)
                return float(all(known)) if known and is_and else None
            known = [value for value in filled if value is not None]
        op = node.op
        if isinstance(op, ast.BitAnd | ast.And):
            return float(all(known))
        if isinstance(op, ast.BitOr | ast.Or):
            return float(any(known))
        if isinstance(op, ast.Add):
            return known[0] + known[1]
        if isinstance(op, ast.Sub):
            return known[0] - known[1]
        return known[0] * known[1] if isinstance(op, ast.Mult) else None

    def _call(self, node: ast.Call, frame: Frame, specimen: Specimen) -> float | None:
        name = last_name(node.func)
        receiver = node.func.value if isinstance(node.func, ast.Attribute) else None
        if receiver is not None and dotted(receiver).split(".")[0] in ("torch", "np", "numpy"):
            operands = list(node.args)
        else:
            operands = [*([receiver] if receiver is not None else []), *node.args]
        if name in IDENTITY | {"sum", "int", "float", "bool", "byte", "short"} and operands:
            return self._expression(operands[0], frame, specimen)
        if name in ("logical_and", "logical_or", "logical_not", "where", "add"):
            values = [self._expression(operand, frame, specimen) for operand in operands]
            if name == "where" and len(operands) == 3:
                test, first, second = values
                if test is None:
                    return None
                chosen, other = (operands[1], first) if test else (operands[2], second)
                return other if other is not None else Evaluator(self.program).number(chosen, frame)
            if any(value is None for value in values):
                return None
            known = [value for value in values if value is not None]
            return {
                "logical_and": float(all(known)),
                "logical_or": float(any(known)),
                "logical_not": float(not known[0]),
                "add": sum(known),
            }.get(name)
        if name in ("index_select", "take", "gather") and len(operands) >= 2:
            table = self._table(operands[0], frame)
            return self._entry(table, specimen) if table else None
        return None

    # -- tables -----------------------------------------------------------------------------------

    def _lookup(self, node: ast.Subscript, frame: Frame, specimen: Specimen) -> float | None:
        table = self._table(node.value, frame)
        if table is not None:
            return self._entry(table, specimen)
        return self._expression(node.value, frame, specimen)  # a sum of tables, or a slice of counts

    def _entry(self, table: _Table, specimen: Specimen) -> float | None:
        loop, name = table
        self.used = loop if self.used is None or WORD.name in loop.outcomes else self.used
        value = loop.outcomes[specimen.name].writes.get(name)
        if value is None:
            value = initial_entry(self.program, loop.scope, name)
        return float(value) if isinstance(value, bool | int | float) else None

    def _table(self, node: ast.expr, frame: Frame, path: tuple[object, ...] = (), depth: int = 0) -> _Table | None:
        """The loop and array that a table expression goes back to, through calls, tuples and attributes."""
        if depth > 14:
            return None
        found = self._written_here(node, frame) if not path else None
        if found is not None:
            return found
        for value, where, inner in self._sources(node, frame, path):
            found = self._table(value, where, inner, depth + 1)
            if found is not None:
                return found
        return None

    def _written_here(self, node: ast.expr, frame: Frame) -> _Table | None:
        name = last_name(node)
        for loop in self.loops:
            if isinstance(node, ast.ListComp) and isinstance(node.elt, ast.Call):
                callee = self.program.callee(node.elt)
                if callee is not None and callee.node is loop.node:
                    return loop, "<return>"
            written = {name for outcome in loop.outcomes.values() for name in outcome.writes} | stored_names(loop.node)
            if node is loop.node and len(written) == 1:
                return loop, written.pop()
            if isinstance(node, ast.Name) and frame.scope is loop.scope and name in written:
                return loop, name
            if isinstance(node, ast.Attribute) and name in written:
                return loop, name
        return None

    def _sources(
        self, node: ast.expr, frame: Frame, path: tuple[object, ...]
    ) -> Iterator[tuple[ast.expr, Frame, tuple[object, ...]]]:
        """Where a value comes from: what a name was assigned, what a call returns, the element of a tuple."""
        if isinstance(node, ast.Name):
            yield from self._sources_of_name(node, frame, path)
        elif isinstance(node, ast.Tuple | ast.List):
            if path and isinstance(path[0], int) and path[0] < len(node.elts):
                yield node.elts[path[0]], frame, path[1:]
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if path and isinstance(key, ast.Constant) and key.value == path[0]:
                    yield value, frame, path[1:]
        elif isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
            yield node.value, frame, (node.slice.value, *path)
        elif isinstance(node, ast.Attribute):
            yield from ((v, Frame(self.program.scope(v)), path) for v in self.program.values_of(node)[:6])
        elif isinstance(node, ast.Call):
            callee = self.program.callee(node)
            if callee is not None:
                bound = {name: (value, frame) for name, value in self.program.bind(callee, node).items()}
                yield from ((result, Frame(callee, bound, frame.depth + 1), path) for result in callee.returns)
            elif last_name(node.func) in IDENTITY | {"bool", "short", "pin_memory", "copy"}:
                receiver = node.func.value if isinstance(node.func, ast.Attribute) else None
                if receiver is not None and dotted(receiver) not in ("torch", "np", "numpy"):
                    yield receiver, frame, path
                yield from ((argument, frame, path) for argument in node.args[:1])

    def _sources_of_name(
        self, node: ast.Name, frame: Frame, path: tuple[object, ...]
    ) -> Iterator[tuple[ast.expr, Frame, tuple[object, ...]]]:
        if node.id in frame.bindings:
            value, where = frame.bindings[node.id]
            yield value, where, path
            return
        for definition in self.program.reaching(node):
            if definition.kind == "parameter":
                for argument in self.program.arguments(self.program.scope(definition.statement), node.id)[:4]:
                    yield argument, Frame(self.program.scope(argument), depth=frame.depth + 1), path
            elif definition.kind == "assign" and definition.value is not None:
                yield definition.value, frame, (*definition.index, *path)
