"""What a network tells of a text besides its answer: statistics that hooks gather, and what becomes of them.

A hook is a function that a layer calls with what comes in and goes out of it, or one that takes the place of a layer's
`forward`. What it adds up (activations, Hessians) stands in variables of the function that registers it, and the
network is asked about a text only to have the hooks called. Of interest is what is then made of the statistics: a
print shows them, a quantization writes them into the weights.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from bpb_harness.auditing.script.domains.ways import Way
from bpb_harness.auditing.script.frontend.index import nodes_within
from bpb_harness.auditing.script.frontend.nodes import elements, names_in, position
from bpb_harness.auditing.script.frontend.once import once
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import Scope, last_name

_REGISTERING = ("register_forward_hook", "register_forward_pre_hook")
_ASKING = re.compile(r"_*(?:get_)?(?:forward|logits|__call__)")  # what methods of networks begin with
_FILLED = frozenset([
    "dict", "list", "defaultdict", "OrderedDict", "Counter", "deque", "zeros", "zeros_like", "new_zeros",
])  # fmt: skip
_IN_PLACE = frozenset(["copy_", "mul_", "div_", "add_", "sub_", "set_"])
_WRITING = frozenset(["save", "savez", "savez_compressed", "save_file", "dumps", "dump"])
_OF_TEXT = frozenset(["json", "yaml"])  # what these write is no network
_WEIGHTS = frozenset(["data", "weight"])
_MAX_SITES, _DEEPEST, _MAX_ROUNDS = 8, 2, 3


class Gathering(NamedTuple):
    """A call that asks a network about a text while hooks gather statistics.

    Attributes:
        call: the call.
        asked: what the network is given.
        names: the variables of that function that the hooks fill.
    """

    call: ast.Call
    asked: ast.expr
    names: frozenset[str]


def gatherings(program: Program) -> list[Gathering]:
    """The calls that ask a network while hooks gather: nothing where no hook is set."""
    found: list[Gathering] = []
    set_in: dict[Scope, list[tuple[ast.AST, Sequence[ast.expr]]]] = {}
    for node, values in _hooked(program):
        set_in.setdefault(program.scope(node), []).append((node, values))
    for scope, hooks in set_in.items():
        names = {name for _, values in hooks for value in values for name in _filled_by(program, scope, value)}
        first = min(position(node) for node, _ in hooks)
        for call in _calls_in(program, scope) if names else ():
            if position(call) > first and call.args and _asks(program, call):
                found += [Gathering(call, each, frozenset(names)) for each in call.args[:1]]
    return found[:_MAX_SITES]


def _hooked(program: Program) -> Iterator[tuple[ast.AST, Sequence[ast.expr]]]:
    """Where hooks are set, and what they are: layer.register_forward_hook(f), layer.forward = f."""
    for name in _REGISTERING:
        yield from ((call, call.args) for call in program.calls.get(name, ()))
    for value in program.attributes.get("forward", ()):
        yield value, [value]


def _filled_by(program: Program, scope: Scope, hook: ast.expr) -> Iterator[str]:
    """The variables of a function that a hook may fill: those that it, or what makes it, speaks of."""
    spoken = names_in(hook)
    making = [program.scope(part) for part in ast.walk(hook) if isinstance(part, ast.Lambda)]
    making += [each for name in spoken for each in program.functions.get(name, ()) if each.file == scope.file]
    inside = [each for each in program.scopes if each in making or each.parent in making]
    for name in spoken.union(*(each.mentions for each in inside)):
        if any(_is_container(each.part) for each in scope.definitions.get(name, ()) if each.kind == "assign"):
            yield name


def _is_container(value: ast.expr | None) -> bool:
    if isinstance(value, ast.Call):
        return last_name(value.func) in _FILLED
    return isinstance(value, ast.Dict | ast.List | ast.DictComp | ast.ListComp)


def _calls_in(program: Program, scope: Scope) -> list[ast.Call]:
    return [call for calls in program.calls.values() for call in calls if program.scope(call) is scope]


def _asks(program: Program, call: ast.Call) -> bool:
    """Whether a call is one of a network: model(x), model.forward_logits(x)."""
    if isinstance(call.func, ast.Attribute):
        return _ASKING.match(call.func.attr) is not None
    name = call.func
    return isinstance(name, ast.Name) and any(each.kind in ("parameter", "assign") for each in program.reaching(name))


# -- what becomes of it -----------------------------------------------------------------------------------


def written_into_weights(
    program: Program, way: Way, met: int, scoring: ast.AST, names: frozenset[str]
) -> ast.AST | None:
    """Where weights are made of what was gathered, or such weights are written, before a score; None where nowhere.

    Args:
        program: the scripts.
        way: the calls that come to where it is gathered.
        met: where that way and the score's part; both stand in one scope there.
        scoring: what scores, in that scope.
        names: the variables that hold what was gathered, in the scope of the last of the calls.
    """
    held = set(names)
    for level in range(len(way) - 1, met - 1, -1):
        node, frame = way[level]
        end = position(scoring) if level == met else None
        made, is_returned = _spread(program, frame.scope, held, position(node), end)
        if made is not None:
            return made
        if level == met or not is_returned:
            return None
        held = _targets(program.statement(way[level - 1][0]))
    return None


def _spread(
    program: Program, scope: Scope, held: set[str], start: tuple[int, int], end: tuple[int, int] | None, depth: int = 0
) -> tuple[ast.AST | None, bool]:
    """The first place in a function where weights are made of some of its variables; whether it gives any of them back.

    Names that are given a value made of such a variable are such variables too: a rough reading, statement by
    statement, for a quantization is long and what it computes is of no interest here.
    """
    held = set(held)
    for _ in range(_MAX_ROUNDS):  # loops hand on from one round to the next
        before, is_returned = len(held), False
        for statement in _statements(program, scope):
            if position(statement) <= start or (end is not None and position(statement) >= end):
                continue
            parts = [part for each in _headers(statement) for part in ast.walk(each)]
            if not program.spend(len(parts)):
                return None, False
            if not any(isinstance(part, ast.Name) and part.id in held for part in parts):
                continue
            made = _weights_made(program, statement, parts, held, depth)
            if made is not None:
                return made, False
            is_returned |= isinstance(statement, ast.Return)
            held |= _targets(statement)
        if len(held) == before:
            break
    return None, is_returned


def _weights_made(
    program: Program, statement: ast.stmt, parts: Sequence[ast.AST], held: set[str], depth: int
) -> ast.AST | None:
    """Where a statement, or what it calls, makes or writes weights of variables: w.data = .., w.mul_(..), save(..)."""
    if isinstance(statement, ast.Assign | ast.AugAssign) and names_in(statement.value) & held:
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        if any(isinstance(each, ast.Attribute) and each.attr in _WEIGHTS for each in targets):
            return statement
    for call in (part for part in parts if isinstance(part, ast.Call)):
        name = last_name(call.func)
        receiver = call.func.value if isinstance(call.func, ast.Attribute) else None
        given = {each for value in [*call.args, *(k.value for k in call.keywords)] for each in names_in(value)}
        if given.isdisjoint(held):
            continue
        if name == "load_state_dict" or (name in _WRITING and last_name(receiver or call) not in _OF_TEXT):
            return call
        if name in _IN_PLACE and receiver is not None and _is_weight(receiver) and not names_in(receiver) & held:
            return call
        callee = program.callee(call) if depth < _DEEPEST else None
        if callee is not None:
            bound = {key for key, value in program.bind(callee, call).items() if names_in(value) & held}
            made, _ = _spread(program, callee, bound, (0, 0), None, depth + 1)
            if made is not None:
                return made
    return None


def _is_weight(node: ast.expr) -> bool:
    return any(isinstance(part, ast.Attribute) and part.attr in _WEIGHTS for part in ast.walk(node))


@once
def _statements(_program: Program, scope: Scope) -> list[ast.stmt]:
    """The statements of a function in their order, without those of functions in it; worked out once."""
    found: list[ast.stmt] = []
    body = [] if isinstance(scope.node, ast.Lambda) else scope.node.body
    waiting: list[ast.AST] = [*reversed(body)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        found += [node] if isinstance(node, ast.stmt) else []
        inside = [each for each in ast.iter_child_nodes(node) if isinstance(each, ast.stmt | ast.ExceptHandler)]
        waiting += reversed(inside)
    return found


def _headers(statement: ast.stmt) -> list[ast.expr]:
    """The expressions of a statement itself: of a loop what it runs over, of a test nothing."""
    if isinstance(statement, ast.If | ast.While | ast.Assert | ast.Delete):
        return []
    found = [each for each in ast.iter_child_nodes(statement) if isinstance(each, ast.expr)]
    if isinstance(statement, ast.With | ast.AsyncWith):
        found = [each.context_expr for each in statement.items]
    return found


def _targets(statement: ast.AST) -> set[str]:
    """The names that a statement gives their values, those of which it sets a part too."""
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, ast.AnnAssign | ast.AugAssign):
        targets = [statement.target]
    elif isinstance(statement, ast.For | ast.AsyncFor):
        targets = _values_of_loop(statement)
    elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        called = statement.value  # results.append(x), results.update(x): what it is called on holds it then
        is_filled = isinstance(called.func, ast.Attribute) and called.func.attr in ("append", "update", "extend")
        targets = [called.func.value] if isinstance(called.func, ast.Attribute) and is_filled else []
    else:
        return set()
    found: set[str] = set()
    for target in targets:
        for part in elements(target):
            here: ast.AST = part
            while isinstance(here, ast.Subscript | ast.Starred):
                here = here.value
            found |= set() if isinstance(here, ast.Attribute) else names_in(here)
    return found


def _values_of_loop(loop: ast.For | ast.AsyncFor) -> list[ast.expr]:
    """What a loop gives its values of: not the keys of x.items(), nor of x where its rounds look x[key] up."""
    over, target = loop.iter, loop.target
    if isinstance(over, ast.Call) and last_name(over.func) == "items" and isinstance(target, ast.Tuple):
        return target.elts[1:]
    looked_up = {
        ast.dump(part.value) for part in nodes_within(loop)
        if isinstance(part, ast.Subscript) and names_in(part.slice) & names_in(target)
    }  # fmt: skip
    return [] if isinstance(over, ast.Name) and ast.dump(over) in looked_up else [target]
