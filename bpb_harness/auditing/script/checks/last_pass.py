"""Text that is trained on in several passes, and scored in the last of them alone."""

from __future__ import annotations

import ast
from collections.abc import Iterator
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
        if isinstance(test, ast.If) and _is_of_last(analysis, test.test, name, ast.unparse(arguments[-1]))
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


def _is_of_last(analysis: Analysis, test: ast.expr, name: str, end: str, depth: int = 0) -> bool:
    """epoch == E - 1, by itself, in a conjunction, or under a name."""
    if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And):
        return any(_is_of_last(analysis, part, name, end, depth) for part in test.values)
    if isinstance(test, ast.Name):
        values = [definition.value for definition in analysis.program.reaching(test) if depth < _MAX_NAMES]
        return bool(values) and all(
            value is not None and not isinstance(value, ast.Name) and _is_of_last(analysis, value, name, end, depth + 1)
            for value in values
        )
    if not isinstance(test, ast.Compare) or len(test.ops) != 1 or not isinstance(test.ops[0], ast.Eq | ast.GtE):
        return False
    sides = [test.left, test.comparators[0]]
    other = next((b for a, b in (sides, sides[::-1]) if isinstance(a, ast.Name) and a.id == name), None)
    if other is None or (isinstance(test.ops[0], ast.GtE) and other is test.left):
        return False
    if isinstance(other, ast.Constant):
        return other.value == _less_one(end)
    return ast.unparse(other) in (f"{end} - 1", f"({end}) - 1")


def _less_one(end: str) -> int | None:
    return int(end) - 1 if end.isdigit() else None


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
