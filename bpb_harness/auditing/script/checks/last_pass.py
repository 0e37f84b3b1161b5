"""Text that is trained on in several passes, where the sum of the last one, or of the best, is the score."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from bpb_harness.auditing.learnt import FITTED
from bpb_harness.auditing.script import codes
from bpb_harness.auditing.script.domains.algebra import is_cross_entropy
from bpb_harness.auditing.script.domains.analysis import Analysis, Hit
from bpb_harness.auditing.script.domains.idle_steps import MAY_BE_CHANGED, Idle, idle_steps
from bpb_harness.auditing.script.domains.kept_sums import best_kept
from bpb_harness.auditing.script.domains.other_networks import are_of_others
from bpb_harness.auditing.script.domains.passes_of_run import Passes, passes_of_run
from bpb_harness.auditing.script.domains.plain_loss import plain_name
from bpb_harness.auditing.script.domains.rounds_that_learn import Rounds, is_left_by, is_other_text
from bpb_harness.auditing.script.domains.trace import trace, trace_all
from bpb_harness.auditing.script.frontend.index import nodes_within
from bpb_harness.auditing.script.frontend.nodes import elements, end_of, position
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import Definition, last_name
from bpb_harness.auditing.script.frontend.walker import Frame
from bpb_harness.findings import Json

_MAX_TRACED = 1_500
_MAX_NAMES, _MAX_VALUES = 4, 12  # that a test goes by, one after another
_OPEN = f"This is a doubt, and no more: {MAY_BE_CHANGED}"
_LEARNING = frozenset({"backward", "step"})
_Learning = dict[str, list[ast.Call]]  # by its name, in the order of the text


def check_last_pass(analysis: Analysis) -> Iterator[Hit]:
    """for epoch in range(E): loss; if epoch == E - 1: total += loss; loss.backward().

    A decoder has no text to learn before it is told the text: what the passes before the last have learnt of it costs
    nothing in the score. One pass is in order, for it scores each part before it learns it. So it is where each pass
    begins its total anew, and what the last one has added up is used behind the loop.
    """
    tests, begun = _tests_of_last(analysis), _begun_anew(analysis)
    settings = dict(analysis.program.taken)
    scopes = {frame.scope for _, frame in analysis.claimed_path} if tests or begun else set()
    found: list[_Test | _Begun] = [*tests, *begun]
    for each in (each for each in found if analysis.program.scope(each.loop) in scopes):
        passes = passes_of_run(analysis, each.loop, each.arguments)
        if passes.number is not None and passes.number <= 1:
            continue
        idle = idle_steps(analysis.program, each.learning[0], Frame.at(analysis.program, each.loop))
        if idle is Idle.ALWAYS or idle is Idle.BY_DEFAULT:
            continue
        added = _scores(analysis, each) if isinstance(each, _Test) else _kept(analysis, each)
        if added:
            hit = _hit(analysis, each, passes, added)
            yield hit if idle is None else replace(hit, message=f"{hit.message}. {_OPEN}")
            return
    analysis.program.taken = settings  # a reader is told of those alone that decided something


def _hit(analysis: Analysis, found: _Test | _Begun, passes: Passes, added: Sequence[ast.AST]) -> Hit:
    how = "adds up the score in the last one alone"
    if isinstance(found, _Begun):
        how = "begins its sum anew in each, so that the score is that of the last one"
        how += " (or of the best one, where a test asks for it)" if found.best else ""
    but = " (unless the first pass is the best)" if isinstance(found, _Begun) and found.best else ""
    said = (
        f"The script goes over the same text in {passes}, trains on it in each, and {how}: what it trains on was "
        f"learnt before it is scored{but}, and the score does not pay for what was learnt of it"
    )
    evidence: dict[str, Json] = {FITTED: True} if passes.number is None else {FITTED: True, "passes": passes.number}
    evidence |= {} if passes.is_sure else {"passes_not_told": True}
    shown = [*_written(analysis, found, passes.number), found.loop, found.test, *added[:1], *found.learning]
    return analysis.hit(codes.LAST_PASS, said, found.test, shown=shown, evidence=evidence)


class _Test(NamedTuple):
    """A loop's test for its last pass, with the loop's variable, the arguments of its range and where it learns."""

    loop: ast.For | ast.While
    test: ast.If
    name: str
    arguments: list[ast.expr]
    learning: list[ast.Call]


class _Begun(NamedTuple):
    """A loop whose passes each begin a total anew: where that is, what is added to it, and where the loop learns."""

    loop: ast.For | ast.While
    test: ast.stmt
    name: str
    arguments: list[ast.expr]
    learning: list[ast.Call]
    total: str
    added: list[ast.AugAssign]
    best: bool


_Counted = tuple[ast.For | ast.While, tuple[str, list[ast.expr]], _Learning]


def _counted(analysis: Analysis) -> list[_Counted]:
    """The loops that learn and count their rounds, each with its variable, its range's arguments and where it learns.

    Each round goes on with what those before it have learnt, and there is one behind the first.
    """
    program, within = analysis.program, _learning_within(analysis.program)
    loops = [loop for loop in within if isinstance(loop, ast.For | ast.While)]
    ranged = [(loop, _range_of(program, loop)) for loop in sorted(loops, key=lambda each: each.lineno)]
    found = []
    for loop, counted in ((loop, counted) for loop, counted in ranged if counted is not None):
        rounds = Rounds(program, loop, _Last(program, counted[0], counted[1][-1]).is_asked)
        calls = {name: [*filter(rounds.may_learn_first, made)] for name, made in within[loop].items()}
        learning = {name: made for name, made in calls.items() if made}
        if learning.keys() >= _LEARNING and rounds.go_on(learning):
            found.append((loop, counted, learning))
    return found


def _tests_of_last(analysis: Analysis) -> list[_Test]:
    """Loops over a range that learn, anywhere in the program, with their tests for the last pass."""
    within = _learning_within(analysis.program)
    return [
        _Test(loop, test, name, arguments, learning)
        for loop, (name, arguments), learnt in _counted(analysis)
        for test in nodes_within(loop)
        if isinstance(test, ast.If) and _Last(analysis.program, name, arguments[-1]).is_asked(test.test)
        if (learning := _first_outside(learnt, within.get(test, {})))
    ]


def _begun_anew(analysis: Analysis) -> list[_Begun]:
    """Loops that learn, anywhere in the program, with the totals that each of their passes begins anew."""
    return [
        _Begun(loop, begun, name, arguments, _first_outside(learnt, {}), total, added, bool(best))
        for loop, (name, arguments), learnt in _counted(analysis)
        for begun, total in _set_to_zero(loop)
        if (added := _added_to(loop, begun, total)) and _has_one_optimizer(analysis.program, loop, learnt)
        if (best := best_kept(analysis.program, loop, name, total)) is not None
    ]


def _set_to_zero(loop: ast.For | ast.While) -> list[tuple[ast.stmt, str]]:
    """The statements by which each round sets a name, or all that it holds, to zero, before anything else."""
    first = [each for each in loop.body if not isinstance(each, ast.For)]
    first += [inner for each in loop.body if isinstance(each, ast.For) for inner in each.body]
    return [(each, name) for each in first for name in _zeroed(each)]


def _zeroed(statement: ast.stmt) -> list[str]:
    """n of n = 0, n[b] = torch.zeros(()) and n.zero_()."""
    if isinstance(statement, ast.Assign) and _is_zero(statement.value):
        return [name for target in statement.targets for each in elements(target) for name in _whole_name(each)]
    call = statement.value if isinstance(statement, ast.Expr) else None
    if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "zero_":
        return _whole_name(call.func.value)
    return []


def _whole_name(node: ast.expr) -> list[str]:
    """total of total and of total[b]."""
    held = node.value if isinstance(node, ast.Subscript) else node
    return [held.id] if isinstance(held, ast.Name) else []


def _is_zero(node: ast.expr) -> bool:
    if isinstance(node, ast.Tuple):
        return all(map(_is_zero, node.elts))
    if isinstance(node, ast.Call):
        is_number = last_name(node.func) in ("tensor", "float64", "float", "Tensor")
        return last_name(node.func) in _ZEROS or (is_number and bool(node.args) and _is_zero(node.args[0]))
    return isinstance(node, ast.Constant) and node.value == 0 and not isinstance(node.value, bool)


def _added_to(loop: ast.AST, begun: ast.stmt, total: str) -> list[ast.AugAssign]:
    """Where a loop adds to a total, behind where it begins it, if nothing else gives the total a value there."""
    stored = [
        part for part in nodes_within(loop)
        if isinstance(part, ast.Assign | ast.AugAssign) and part is not begun
        and any(name == total for target in _targets(part) for name in _whole_name(target))
    ]  # fmt: skip
    added = [part for part in stored if isinstance(part, ast.AugAssign) and isinstance(part.op, ast.Add)]
    is_behind = all(position(part) > position(begun) for part in added)
    return added if is_behind and len(added) == len(stored) else []


def _targets(statement: ast.Assign | ast.AugAssign) -> list[ast.expr]:
    return statement.targets if isinstance(statement, ast.Assign) else [statement.target]


def _has_one_optimizer(program: Program, loop: ast.AST, learning: _Learning) -> bool:
    """Whether what takes the steps is made before the loop, for all of its passes."""
    stepped = [call.func.value for call in learning["step"] if isinstance(call.func, ast.Attribute)]
    made = [each for part in stepped if isinstance(part, ast.Name) for each in program.reaching(part)]
    return bool(made) and not any(above is loop for each in made for above in program.upward(each.statement))


def _kept(analysis: Analysis, begun: _Begun) -> list[ast.AugAssign]:
    """Where the total of a pass is added to, if the score is made of it behind the loop, and the text is learnt."""
    program, scope = analysis.program, analysis.program.scope(begun.loop)
    behind = end_of(begun.loop)
    if not analysis.program.spend(len(analysis.claimed_path)) or not any(
        isinstance(node, ast.Name) and node.id == begun.total and position(node) > behind
        and program.scope(node) is scope and is_left_by(program, node, begun.loop)
        for node, _ in analysis.claimed_path
    ):  # fmt: skip
        return []
    return [each for each in begun.added if _is_learnt(program, each, begun)]


def _is_learnt(program: Program, added: ast.AugAssign, found: _Test | _Begun) -> bool:
    """Whether what is added up is of tokens that the steps are taken by, of a text that is every pass's."""
    frame = Frame.at(program, found.loop)
    starts = [(value, frame) for value in _values_within(program, added.value, found.test)]
    parts = [part for part, _ in trace_all(program, starts, _MAX_TRACED)]
    if any(isinstance(part, ast.Name) and part.id == found.name for part in parts):
        return False
    inside = [part for part in parts if program.is_inside(part, found.loop)]
    is_fetched = any(isinstance(part, ast.Call) and _NEXT.search(last_name(part.func)) for part in inside)
    if (
        is_fetched
        or is_other_text(program, found.loop, parts)
        or any(isinstance(part, ast.Call) and last_name(part.func) in _FETCHING for part in parts)
    ):
        return False
    steps = [call for call in program.calls.get("step", []) if program.is_inside(call, found.loop)]
    names = {part.id for part in parts if isinstance(part, ast.Name)}
    if are_of_others(program, steps, frame, names):
        return False
    losses = [call.func.value for call in found.learning if isinstance(call.func, ast.Attribute)]
    learnt = (part for loss in losses for part, _ in trace(program, loss, frame, _MAX_TRACED))
    return not _tokens_asked(program, learnt).isdisjoint(_tokens_asked(program, inside))


def _values_within(program: Program, value: ast.expr, test: ast.stmt) -> list[ast.expr]:
    """A value, and what its names are given below a test, whichever way that goes in the first round."""
    values = [value]
    for each in values:
        named = [part for part in ast.walk(each) if isinstance(part, ast.Name) and len(values) < _MAX_VALUES]
        given = [made for name in named for made in program.reaching(name) if made.value is not None]
        inside = [made for made in given if program.is_inside(made.statement, test)]
        values += [made.value for made in inside if made.value is not None and made.value not in values]
    return values


def _tokens_asked(program: Program, parts: Iterable[ast.AST]) -> set[Definition]:
    """Where the tokens get their values that a network, or a cross-entropy, is asked for."""
    asked: list[ast.expr] = []
    for part in parts:
        if isinstance(part, ast.Call) and is_cross_entropy(part):
            asked += part.args[1:2]
        elif isinstance(part, ast.Call) and (program.asks_network(part) or _ASKING.match(last_name(part.func))):
            asked += part.args
    named = [plain for each in asked if (plain := plain_name(each)) is not None]
    return {definition for each in named for definition in program.reaching(each.name)}


_ZEROS = frozenset(["zeros", "zeros_like", "new_zeros"])
_FETCHING = frozenset(["next", "next_batch", "get_batch"])  # in any function: other text in each pass
_ASKING = re.compile(r"forward|(?:get_|compute_)?(?:logits|loss)|per_token")  # of a network whose class is known
_NEXT = re.compile(r"next|batch$|sample|rand|shuffle|choice|pop|fetch|draw|read|islice|^take|chunks$", re.IGNORECASE)


def _learning_within(program: Program) -> dict[ast.AST, _Learning]:
    """The calls that learn in each loop, and in the body of each test: gathered once, however many tests there are."""
    within: dict[ast.AST, _Learning] = {}
    for name in sorted(_LEARNING):
        for call in sorted(program.calls.get(name, []), key=lambda each: (each.lineno, each.col_offset)):
            child: ast.AST = call
            for above in program.ancestors(call):
                is_inside = isinstance(above, ast.If) and not isinstance(child, ast.expr) and child not in above.orelse
                if is_inside or isinstance(above, ast.For | ast.While):
                    within.setdefault(above, {}).setdefault(name, []).append(call)
                child = above
    return within


def _first_outside(all_: _Learning, inside: _Learning) -> list[ast.Call]:
    """Where a loop learns outside of a test, in the passes before the last too: its gradient, and its step."""
    outside = {name: calls for name, calls in all_.items() if len(calls) > len(inside.get(name, ()))}
    if outside.keys() < _LEARNING:
        return []
    return [next(call for call in calls if call not in inside.get(name, ())) for name, calls in outside.items()]


def _range_of(program: Program, loop: ast.For | ast.While) -> tuple[str, list[ast.expr]] | None:
    """The variable of a loop over a range with one argument or two, and these; of while n < E: ... n += 1 too."""
    if isinstance(loop, ast.While):
        return _counted_by_hand(program, loop)
    name, ranged = loop.target, loop.iter
    if not isinstance(name, ast.Name) or not isinstance(ranged, ast.Call) or last_name(ranged.func) != "range":
        return None
    return (name.id, ranged.args) if len(ranged.args) in (1, 2) else None


def _counted_by_hand(program: Program, loop: ast.While) -> tuple[str, list[ast.expr]] | None:
    """n of while n < E, where one is added to it in each round, and where it begins before the loop; with both ends."""
    test = loop.test
    if not isinstance(test, ast.Compare) or len(test.ops) != 1 or not isinstance(test.ops[0], ast.Lt | ast.NotEq):
        return None
    name, end = test.left, test.comparators[0]
    if not isinstance(name, ast.Name):
        return None
    given = [each for each in program.scope(loop).definitions.get(name.id, []) if each.kind != "parameter"]
    steps = [each.statement for each in given if program.is_inside(each.statement, loop)]
    begins = [each.value for each in given if each.statement not in steps]
    is_one = len(steps) == 1 and any(steps[0] is each for each in loop.body) and _adds_one(steps[0])
    if not is_one or len(begins) != 1 or not isinstance(begins[0], ast.Constant):
        return None
    return name.id, [begins[0], end]


def _adds_one(statement: ast.AST) -> bool:
    is_added = isinstance(statement, ast.AugAssign) and isinstance(statement.op, ast.Add)
    return is_added and isinstance(statement.value, ast.Constant) and statement.value.value == 1  # type: ignore[attr-defined]


def _written(analysis: Analysis, found_loop: _Test | _Begun, num_passes: int | None) -> list[ast.AST]:
    """Where the number of passes is written down, if it is."""
    if num_passes is None:
        return []
    told = str(num_passes)  # a number, or the text that an environment's variable defaults to
    frame, found = Frame.at(analysis.program, found_loop.loop), []
    for node, _ in trace(analysis.program, found_loop.arguments[-1], frame, _MAX_TRACED):
        defined = analysis.program.reaching(node) if isinstance(node, ast.Name) else ()
        values = [node, *(definition.value for definition in defined)]  # a parameter's default too
        found += [value for value in values if isinstance(value, ast.Constant) and str(value.value) == told]
    return [*found[-1:]]  # the furthest: what the others were given


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


def _scores(analysis: Analysis, found: _Test) -> list[ast.AugAssign]:
    """Where a total that a reported score is made of is added to below a test, of a text that is every pass's."""
    if not analysis.program.spend(len(analysis.claimed_path)):
        return []
    test, scope = found.test, analysis.program.scope(found.test)
    totals = {
        node.id
        for node, _ in analysis.claimed_path
        if isinstance(node, ast.Name)
        and analysis.program.scope(node) is scope
        and is_left_by(analysis.program, node, found.loop)
    }
    added = [
        node
        for node in (part for statement in test.body for part in ast.walk(statement))
        if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name) and node.target.id in totals
    ]
    return [each for each in added if _is_learnt(analysis.program, each, found)]
