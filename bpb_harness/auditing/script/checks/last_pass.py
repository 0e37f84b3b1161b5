"""Text that is trained on in several passes, and scored in the last of them alone."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from bpb_harness.auditing.script import codes
from bpb_harness.auditing.script.domains.analysis import Analysis, Hit
from bpb_harness.auditing.script.domains.trace import trace
from bpb_harness.auditing.script.domains.values import Evaluator
from bpb_harness.auditing.script.frontend.index import nodes_within
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import last_name
from bpb_harness.auditing.script.frontend.walker import Frame

_MAX_TRACED = 1_500
_MAX_NAMES = 4  # that a test goes by, one after another
_LEARNING = frozenset({"backward", "step"})


def check_last_pass(analysis: Analysis) -> Iterator[Hit]:
    """for epoch in range(E): loss; if epoch == E - 1: total += loss; loss.backward().

    A decoder has no text to learn before it is told the text: what the passes before the last have learnt of it costs
    nothing in the score. One pass is in order, for it scores each part before it learns it.
    """
    tests = _tests_of_last(analysis)
    scopes = {frame.scope for _, frame in analysis.path} if tests else set()
    for loop, test, name, arguments, learning in (each for each in tests if analysis.program.scope(each[0]) in scopes):
        num_passes = _num_passes(analysis, arguments)
        added = _scores(analysis, test, name) if num_passes is None or num_passes > 1 else []
        if added:
            passes = f"{num_passes} passes" if num_passes is not None else "several passes"
            if num_passes is not None and _is_by_default(analysis, loop):
                passes = f"several passes ({num_passes} by its default)"
            said = (
                f"The script goes over the same text in {passes}, trains on it in each, and adds up the score in "
                "the last one alone: what is scored was learnt before, and the score does not pay for what was "
                "learnt of it"
            )
            evidence = {} if num_passes is None else {"passes": num_passes}
            shown = [*_written(analysis, loop, num_passes), loop, test, *added[:1], *learning]
            yield analysis.hit(codes.LAST_PASS, said, test, shown=shown, evidence=evidence)
            return


class _Test(NamedTuple):
    """A loop's test for its last pass, with the loop's variable, the arguments of its range and where it learns."""

    loop: ast.For
    test: ast.If
    name: str
    arguments: list[ast.expr]
    learning: list[ast.Call]


def _tests_of_last(analysis: Analysis) -> list[_Test]:
    """Loops over a range that learn, anywhere in the program, with their tests for the last pass."""
    within = _learning_within(analysis.program)
    ranged = [(loop, found) for loop in within if isinstance(loop, ast.For) and (found := _range_of(loop)) is not None]
    return [
        _Test(loop, test, name, arguments, learning)
        for loop, (name, arguments) in sorted(ranged, key=lambda each: each[0].lineno)
        for test in (nodes_within(loop) if within[loop].keys() >= _LEARNING else ())
        if isinstance(test, ast.If) and _Last(analysis.program, name, arguments[-1]).is_asked(test.test)
        if (learning := _first_outside(within[loop], within.get(test, {})))
    ]


_Learning = dict[str, list[ast.Call]]  # by its name, in the order of the text


def _learning_within(program: Program) -> dict[ast.AST, _Learning]:
    """The calls that learn in each loop, and in the body of each test: gathered once, however many tests there are."""
    within: dict[ast.AST, _Learning] = {}
    for name in sorted(_LEARNING):
        for call in sorted(program.calls.get(name, []), key=lambda each: (each.lineno, each.col_offset)):
            child: ast.AST = call
            for above in program.ancestors(call):
                is_inside = isinstance(above, ast.If) and not isinstance(child, ast.expr) and child not in above.orelse
                if is_inside or isinstance(above, ast.For):
                    within.setdefault(above, {}).setdefault(name, []).append(call)
                child = above
    return within


def _first_outside(all_: _Learning, inside: _Learning) -> list[ast.Call]:
    """Where a loop learns outside of a test, in the passes before the last too: its gradient, and its step."""
    outside = {name: calls for name, calls in all_.items() if len(calls) > len(inside.get(name, ()))}
    if outside.keys() < _LEARNING:
        return []
    return [next(call for call in calls if call not in inside.get(name, ())) for name, calls in outside.items()]


def _num_passes(analysis: Analysis, arguments: list[ast.expr]) -> int | None:
    """How often a loop over a range goes round; None where that is not known."""
    first = 0.0 if len(arguments) == 1 else analysis.number(arguments[0])
    end = analysis.number(arguments[-1])
    return None if first is None or end is None else int(end - first)


def _range_of(loop: ast.For) -> tuple[str, list[ast.expr]] | None:
    """The variable of a loop over a range with one argument or two, and these."""
    name, ranged = loop.target, loop.iter
    if not isinstance(name, ast.Name) or not isinstance(ranged, ast.Call) or last_name(ranged.func) != "range":
        return None
    return (name.id, ranged.args) if len(ranged.args) in (1, 2) else None


def _written(analysis: Analysis, loop: ast.For, num_passes: int | None) -> list[ast.AST]:
    """Where the number of passes is written down, if it is."""
    if num_passes is None:
        return []
    told = str(num_passes)  # a number, or the text that an environment's variable defaults to
    assert isinstance(loop.iter, ast.Call)
    frame, found = Frame.at(analysis.program, loop), []
    for node, _ in trace(analysis.program, loop.iter.args[-1], frame, _MAX_TRACED):
        defined = analysis.program.reaching(node) if isinstance(node, ast.Name) else ()
        values = [node, *(definition.value for definition in defined)]  # a parameter's default too
        found += [value for value in values if isinstance(value, ast.Constant) and str(value.value) == told]
    return [*found[-1:]]  # the furthest: what the others were given


def _is_by_default(analysis: Analysis, loop: ast.For) -> bool:
    """Whether how often a loop goes round is a setting of which nothing tells what it was in the run."""
    frame, evaluator = Frame.at(analysis.program, loop), Evaluator(analysis.program)
    behind = trace(analysis.program, loop.iter, frame, _MAX_TRACED)
    return any(isinstance(part, ast.Call) and evaluator.is_default(part, where) for part, where in behind)


_Sum = dict[str, int]  # how often each thing is added up, by its text; numbers by none
_INVERTED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.GtE, ast.LtE: ast.Gt, ast.Gt: ast.LtE, ast.GtE: ast.Lt, ast.NotEq: ast.Eq,
}  # fmt: skip


class _Last:
    """Tests whether a round is the last one of a loop over a range.

    Args:
        program: the scripts.
        name: the loop's variable.
        end: where its range ends.
    """

    def __init__(self, program: Program, name: str, end: ast.expr) -> None:
        self._program = program
        self._left = _added(_added({name: 1}, self._sum(end), -1), {"": 1})  # epoch - (E - 1), 0 in the last round

    def is_asked(self, test: ast.expr, given: Mapping[str, _Sum] | None = None, depth: int = 0) -> bool:
        """epoch == E - 1 in any form, by itself, in a conjunction, under a name, or in a function that is one test."""
        if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And):
            return any(self.is_asked(part, given, depth) for part in test.values)
        if isinstance(test, ast.Name):
            values = [definition.value for definition in self._program.reaching(test) if depth < _MAX_NAMES]
            return bool(values) and all(
                value is not None and not isinstance(value, ast.Name) and self.is_asked(value, given, depth + 1)
                for value in values
            )
        if isinstance(test, ast.Call):
            return depth < _MAX_NAMES and self._is_asked_by(test, given or {}, depth)
        is_not = isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)
        compared = test.operand if isinstance(test, ast.UnaryOp) and is_not else test
        if not isinstance(compared, ast.Compare) or len(compared.ops) != 1:
            return False
        op = _INVERTED.get(type(compared.ops[0])) if is_not else type(compared.ops[0])
        sides = (self._sum(each, given or {}) for each in (compared.left, compared.comparators[0]))
        difference = _added(next(sides), next(sides), -1)
        turned = _added({}, difference, -1)
        if op is ast.Eq:
            return self._left in (difference, turned)
        if op in (ast.GtE, ast.Gt):  # epoch - E + 1 >= 0, or epoch - E + 2 > 0
            return _added(difference, {"": -1} if op is ast.Gt else {}) == self._left
        return op in (ast.LtE, ast.Lt) and _added(turned, {"": -1} if op is ast.Lt else {}) == self._left

    def _is_asked_by(self, call: ast.Call, given: Mapping[str, _Sum], depth: int) -> bool:
        callee = self._program.callee(call)
        body = callee.node.body if callee is not None and isinstance(callee.node, ast.FunctionDef) else []
        returned = body[-1].value if body and isinstance(body[-1], ast.Return) else None
        if callee is None or returned is None or len(body) > 2 or call.keywords:
            return False
        names = [each.arg for each in getattr(callee.node, "args").args]  # noqa: B009
        if len(names) != len(call.args):
            return False
        held = {name: self._sum(arg, given) for name, arg in zip(names, call.args, strict=True)}
        return self.is_asked(returned, held, depth + 1)

    def _sum(self, node: ast.expr, given: Mapping[str, _Sum] | None = None, depth: int = 0) -> _Sum:
        """What is added up: a - (b - 1) is a once, b taken off once, and 1."""
        if isinstance(node, ast.Constant) and isinstance(node.value, int):
            return {"": node.value} if node.value else {}
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub):
            sign = 1 if isinstance(node.op, ast.Add) else -1
            return _added(self._sum(node.left, given, depth), self._sum(node.right, given, depth), sign)
        if isinstance(node, ast.Name) and given is not None and node.id in given:
            return given[node.id]
        value = self._program.only_value(node) if depth < _MAX_NAMES else None
        if isinstance(value, ast.Name | ast.Attribute | ast.BinOp | ast.Constant):
            return self._sum(value, given, depth + 1)
        return {ast.unparse(node): 1}


def _added(one: _Sum, other: _Sum, times: int = 1) -> _Sum:
    both = {key: one.get(key, 0) + times * other.get(key, 0) for key in {**one, **other}}
    return {key: number for key, number in both.items() if number}


def _scores(analysis: Analysis, test: ast.If, name: str) -> list[ast.AugAssign]:
    """Where a total that a reported score is made of is added to below a test, of a text that is every pass's."""
    if not analysis.program.spend(len(analysis.path)):
        return []
    scope = analysis.program.scope(test)
    totals = {
        node.id for node, _ in analysis.path if isinstance(node, ast.Name) and analysis.program.scope(node) is scope
    }
    added = [
        node
        for node in (part for statement in test.body for part in ast.walk(statement))
        if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name) and node.target.id in totals
    ]
    frame = Frame.of(analysis.program, scope)
    behind = (part for node in added for part, _ in trace(analysis.program, node.value, frame, _MAX_TRACED))
    return [] if any(isinstance(part, ast.Name) and part.id == name for part in behind) else added
