"""Whether something is fitted to the tokens of a window before that very window is scored with it.

Weights of the network, a vector that is added to its states, a bias of its logits: what is fitted to a token before
that is scored has seen it. What is fitted to another part of the window, its beginning, has not.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence

from bpb_harness.auditing.script.context import LoggedScore
from bpb_harness.auditing.script.domains.analysis import Analysis
from bpb_harness.auditing.script.domains.extent import loops_around
from bpb_harness.auditing.script.domains.plain_loss import Plain, cost_of, is_all_but_last, part_of, plain_name
from bpb_harness.auditing.script.domains.rounds_in_logs import Rounds, number_in_logs, rounds_in_logs
from bpb_harness.auditing.script.domains.scored_tokens import ScoredTokens
from bpb_harness.auditing.script.domains.shown_in_logs import is_of_another_script
from bpb_harness.auditing.script.domains.values import Evaluator
from bpb_harness.auditing.script.domains.ways import Way
from bpb_harness.auditing.script.frontend.index import nodes_within
from bpb_harness.auditing.script.frontend.nodes import end_of, names_in, num_rounds, position, stored_in
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import Scope, last_name
from bpb_harness.auditing.script.frontend.walker import Frame, operands

_MAX_CALLS, _MAX_NAMES, _MAX_SEEN = 6, 12, 200


def fitted_cost(analysis: Analysis, tokens: ScoredTokens, loss: ast.expr, frame: Frame) -> ast.Call | None:
    """The cross-entropy that steps are taken by, if it is of the tokens that are scored, whole or in part.

    Args:
        analysis: the scripts.
        tokens: what is scored.
        loss: what the steps go down.
        frame: where its names are read.
    """
    cost = cost_of(analysis.program, loss)
    found = _fitted_parts(analysis, tokens, loss, frame)
    if cost is None or found is None:
        return None
    learnt, scored = found
    is_met = not learnt or not learnt.isdisjoint(scored)
    is_met = is_met or (all(map(is_all_but_last, learnt)) and not _is_of_last_alone(analysis, tokens, scored))
    return cost[0] if is_met else None


def _is_of_last_alone(analysis: Analysis, tokens: ScoredTokens, scored: set[str]) -> bool:
    """Whether the last place of each window is all that is scored: it is not among all but the last."""
    return not {"-1:", "-1"}.isdisjoint({*scored, *_places_scored(analysis, tokens)})


def _fitted_parts(
    analysis: Analysis, tokens: ScoredTokens, loss: ast.expr, frame: Frame
) -> tuple[set[str], set[str]] | None:
    """The parts of a window that steps are taken by, and those that are scored; None where they are not of one."""
    program, cost = analysis.program, cost_of(analysis.program, loss)
    learnt = None if cost is None else plain_name(cost[1])
    name = None if learnt is None else _handed_over(program, learnt.name, frame, program.scope(tokens.target))
    if cost is None or learnt is None or name is None:
        return None
    for each in _by_earlier_names(program, Plain(name, learnt.parts)):
        scored = named_as(program, tokens.target, each.name.id)
        if scored is not None and {*program.reaching(each.name)} == {*program.reaching(scored.name)}:
            return {*each.parts, *cost[2]}, {*scored.parts, *parts_scored(analysis, tokens)}
    return None


def steps_taken(
    analysis: Analysis,
    tokens: ScoredTokens,
    loss: ast.expr,
    learning: Way,
    scoring: ast.AST,
    *,
    by_default: bool = False,
) -> Rounds | None:
    """How many steps were taken on each window before its score, where script and logs leave that beyond doubt.

    Args:
        analysis: the scripts.
        tokens: what is scored.
        loss: what the steps go down.
        learning: the way to them, from where it is not the score's.
        scoring: the score, or the call that comes to it, in the scope where the ways part.
        by_default: whether it is enough that the script's own settings give their number, and no log tells it.
    """
    program = analysis.program
    beside, around = dict(program.tests_above(scoring)), {*program.ancestors(scoring)}
    logged = tuple(each for each in analysis.context.logged if not is_of_another_script(program, each))
    least: Rounds | None = None
    for node, frame in learning:
        if any(test not in beside for test, _ in program.tests_above(node)):
            return None
        for loop in (each for each in loops_around(program, node) if each not in around):
            if is_left_before(program, loop, node, frame) is not False:
                return None
            rounds = rounds_in_logs(program, loop, frame, logged)
            if rounds is None and by_default:
                rounds = _rounds_by_default(program, loop, frame)
            if rounds is None or rounds.number < 1:
                return None
            least = rounds if least is None or rounds.number < least.number else least
    is_sure = bool(logged) and is_scored_with(program, scoring, learning)
    is_sure = is_sure and _are_same_parts(analysis, tokens, loss, learning[-1][1], logged)
    return least if is_sure else None


def is_left_before(program: Program, loop: ast.AST, node: ast.AST, frame: Frame) -> bool | None:
    """Whether a loop is left, or goes on to its next round, before it comes to a node; None where it may be."""
    held: set[bool | None] = set()
    for part in nodes_within(loop):
        if isinstance(part, ast.Break | ast.Continue | ast.Return) and position(part) < position(node):
            tests = [each for each in program.tests_above(part) if position(each[0]) > position(loop)]
            inner = next((up for up in program.ancestors(part) if isinstance(up, ast.For | ast.While)), None)
            holds = Evaluator(program).all_hold((*tests,), frame)
            held.add(holds if inner is loop or holds is False else None)
    return True if True in held else None if None in held else False


def _rounds_by_default(program: Program, loop: ast.AST, frame: Frame) -> Rounds | None:
    rounds = num_rounds(loop)
    number = None if rounds is None else Evaluator(program).number(rounds, frame)
    return None if number is None else Rounds(int(number))


# -- the same tokens ---------------------------------------------------------------------------------------


def named_as(program: Program, node: ast.expr, wanted: str) -> Plain | None:
    """A name that tokens have their values from: y of t = y[i, s:] and t, with the parts that are cut out of it."""
    parts: tuple[str, ...] = ()
    for _ in range(_MAX_NAMES):
        plain = plain_name(node)
        if plain is None:
            return None
        parts += plain.parts
        if plain.name.id == wanted:
            return Plain(plain.name, parts)
        value = program.only_value(plain.name)
        if value is None:
            return None
        node = value
    return None


def _by_earlier_names(program: Program, plain: Plain) -> Iterator[Plain]:
    """A name, and those that it has its values from, each with the parts that are cut out of it on the way."""
    for _ in range(_MAX_NAMES):
        yield plain
        value = program.only_value(plain.name)
        earlier = None if value is None else plain_name(value)
        if earlier is None:
            return
        plain = Plain(earlier.name, plain.parts + earlier.parts)


def _handed_over(program: Program, name: ast.Name, frame: Frame, scope: Scope) -> ast.Name | None:
    """The name in a scope that was handed over, from call to call, for a name of a function that is called there."""
    for _ in range(_MAX_CALLS):
        if program.scope(name) is scope:
            return name
        given = frame.given(program, name)
        plain = plain_name(given[0]) if given is not None else None
        if given is None or plain is None or plain.parts:
            return None
        name, frame = plain.name, given[1]
    return None


def parts_scored(analysis: Analysis, tokens: ScoredTokens) -> Iterator[str]:
    """The parts of a window whose costs are added to a score: s:wlen of nll[b, s:wlen]."""
    for number, term, score in analysis.scores():
        if number == tokens.sink and score.node is tokens.score.node:
            selected = (node.slice for kind, node in term.reductions if isinstance(node, ast.Subscript))
            yield from (part for index in selected if (part := part_of(index)) is not None)


def _places_scored(analysis: Analysis, tokens: ScoredTokens) -> Iterator[str]:
    """The places of a window, that are no part, whose costs are added to a score: -1 of nll[:, -1]."""
    for number, term, score in analysis.scores():
        if number == tokens.sink and score.node is tokens.score.node:
            indices = (node.slice for kind, node in term.reductions if isinstance(node, ast.Subscript))
            lasts = (each.elts[-1] if isinstance(each, ast.Tuple) and each.elts else each for each in indices)
            yield from (ast.unparse(each) for each in lasts if not isinstance(each, ast.Slice))


def _are_same_parts(
    analysis: Analysis, tokens: ScoredTokens, loss: ast.expr, frame: Frame, logged: tuple[LoggedScore, ...]
) -> bool:
    """Whether tokens that are scored are surely among those that are learnt.

    s of y[:, s:] has to be one value in both, however often it is given. Of all places but the last those are learnt
    that are scored with others, not the last of each window alone.
    """
    found = _fitted_parts(analysis, tokens, loss, frame)
    if found is None:
        return False
    learnt, scored = found
    if not learnt:
        return True  # all of the window is learnt
    lowest = [each.lower for part in learnt | scored for each in _slices(part)]
    names, scope = names_in(*lowest), analysis.program.scope(tokens.score.node)
    values = ([ast.dump(each.value) for each in scope.definitions.get(name, []) if each.value] for name in names)
    if not all(len(set(each)) <= 1 for each in values):
        return False
    if not learnt.isdisjoint(scored):
        return True
    if any(_places_scored(analysis, tokens)):
        return False
    return all(_num_from_end(analysis, part, tokens, logged) > 1 for part in scored)


def _num_from_end(analysis: Analysis, part: str, tokens: ScoredTokens, logged: tuple[LoggedScore, ...]) -> int:
    """How many places from the end a part begins: s of s = max(n - 64, 0); 0 where that is not known."""
    length = from_end(analysis.program, part, tokens)
    number = None if length is None else number_in_logs(analysis.program, length, tokens.score.frame, logged)
    return 0 if number is None else number.number


def from_end(program: Program, part: str, tokens: ScoredTokens) -> ast.expr | None:
    """How many places from the end a part begins: 64 of s = max(n - 64, 0)."""
    begins = _slices(part)[0].lower
    if isinstance(begins, ast.UnaryOp) and isinstance(begins.op, ast.USub):
        return begins.operand
    if isinstance(begins, ast.Name):
        scope = program.scope(tokens.score.node)
        defined = [each.value for each in scope.definitions.get(begins.id, []) if each.value is not None]
        begins = defined[0] if defined else None
    if isinstance(begins, ast.IfExp):  # of the first window all is scored
        begins = begins.orelse if isinstance(begins.body, ast.Constant) else begins.body
    if isinstance(begins, ast.Call) and last_name(begins.func) == "max":
        begins = next((each for each in begins.args if not isinstance(each, ast.Constant)), None)
    return begins.right if isinstance(begins, ast.BinOp) and isinstance(begins.op, ast.Sub) else None


def _slices(part: str) -> list[ast.Slice]:
    return [each for each in ast.walk(ast.parse(f"_[{part}]")) if isinstance(each, ast.Slice)]


# -- what is fitted, and is used ---------------------------------------------------------------------------


def is_asked_before(program: Program, scoring: ast.AST, learning: ast.AST) -> bool:
    """Whether the logits of a cross-entropy behind the steps were worked out before them, by what was there before."""
    asked = operands(scoring)[0] if isinstance(scoring, ast.Call) and operands(scoring) else None
    plain = plain_name(asked) if asked is not None else None
    made = [] if plain is None else [each for each in program.reaching(plain.name) if each.kind == "assign"]
    return bool(made) and all(position(each.statement) < position(learning) for each in made)


def is_unused(program: Program, scoring: ast.AST, learning: Way) -> bool:
    """Whether steps are never come to, or fit names made for them that nothing asks for until behind the score."""
    site, fitted = learning[-1][0], {*fitted_by(program, learning)}
    around = {*program.ancestors(scoring)}
    loops = [each for each in loops_around(program, site) if each not in around]
    if any(is_left_before(program, each, site, learning[-1][1]) for each in loops):
        return True
    if len(learning) > 1 or not fitted or not loops:
        return False
    scope, behind = program.scope(site), max(map(end_of, loops))
    made = [each for name in fitted for each in scope.definitions.get(name, ()) if position(each.statement) < behind]
    names = [last_name(each.value.func) if isinstance(each.value, ast.Call) else "" for each in made]
    if not made or not all(name in _FRESH for name in names):
        return False
    score = end_of(program.statement(scoring))
    uses = [part for part in nodes_within(scope.node) if isinstance(part, ast.Name) and part.id in fitted]
    return not any(_asks_for_fit(program, each, loops, score) for each in uses if isinstance(each.ctx, ast.Load))


_FRESH = frozenset(["zeros", "zeros_like", "new_zeros", "ones", "ones_like", "randn", "empty", "Parameter"])


def _asks_for_fit(program: Program, use: ast.Name, loops: Sequence[ast.AST], score: tuple[int, int]) -> bool:
    """Whether a name is used but in the steps' loops, for their optimizer, behind the score, or with another value."""
    if position(use) > score or any(up is loop for up in program.ancestors(use) for loop in loops):
        return False
    statement = program.statement(use)
    if isinstance(statement, ast.Assign) and position(statement) < position(loops[-1]):
        made = stored_in(statement)
        return not any(
            isinstance(part, ast.Attribute) and part.attr == "step" and not made.isdisjoint(names_in(part.value))
            for part in nodes_within(loops[-1])
        )
    since = program.reaching(use)
    return not since or not all(position(each.statement) > max(map(end_of, loops)) for each in since)


def is_scored_with(program: Program, scoring: ast.AST, learning: Way) -> bool:
    """Whether a score is asked, behind the steps, with what they have fitted."""
    fitted, first = {*fitted_by(program, learning)}, learning[0][0]
    around = {*program.ancestors(scoring)}
    behind = max([end_of(first), *(end_of(each) for each in loops_around(program, first) if each not in around)])
    waiting, seen = [scoring], set[ast.AST]()
    while waiting and len(seen) < _MAX_SEEN:
        for name in (part for part in ast.walk(waiting.pop()) if isinstance(part, ast.Name)):
            if name in seen or position(name) < behind:
                continue
            seen.add(name)
            made = [(each.part, each.statement) for each in program.reaching(name) if each.kind == "assign"]
            since = [part for part, at in made if part is not None and behind < position(at) < position(name)]
            if name.id in fitted and not since:  # else it is what it was given since
                return not _is_changed(program, name, behind)
            waiting += since
    return False


def _is_changed(program: Program, name: ast.Name, behind: tuple[int, int]) -> bool:
    """Whether something is put into what a name holds between the steps and its use: extra.data.zero_()."""
    for part in nodes_within(program.scope(name).node):
        if not behind < position(part) < position(name):
            continue
        called = part.func if isinstance(part, ast.Call) and isinstance(part.func, ast.Attribute) else None
        is_put = called is not None and re.search(r"[a-z]_$", called.attr) is not None
        stored = part if isinstance(part, ast.Attribute | ast.Subscript) and isinstance(part.ctx, ast.Store) else None
        if (is_put and name.id in names_in(called)) or (stored is not None and name.id in names_in(stored.value)):
            return True
    return False


def fitted_by(program: Program, learning: Way) -> Iterator[str]:
    """The names, where the score stands, of what steps change: of an optimizer, of what is made by a gradient."""
    site = learning[-1][0]
    if len(learning) > 1:
        yield from stored_in(program.statement(learning[0][0]))  # extra = fit(network, h, y)
        return
    for loop in loops_around(program, site)[:1]:
        given = stored_in(program.statement(site))
        for part in ast.walk(loop):
            if isinstance(part, ast.Assign) and given & names_in(part.value):
                yield from stored_in(part)
            elif isinstance(part, ast.Call) and isinstance(part.func, ast.Attribute) and part.func.attr == "step":
                yield from _names_of_optimizer(program, part.func.value)


def _names_of_optimizer(program: Program, node: ast.expr) -> Iterator[str]:
    """What AdamW([delta, bias], lr=..) and SGD(network.parameters(), ..) are made for."""
    for each in program.reaching(node) if isinstance(node, ast.Name) else ():
        made = operands(each.value)[:1] if isinstance(each.value, ast.Call) else []
        yield from (part.id for what in made for part in ast.walk(what) if isinstance(part, ast.Name))
