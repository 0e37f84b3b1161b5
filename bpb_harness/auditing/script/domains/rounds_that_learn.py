"""Whether the rounds of a loop go on learning one text: nothing is put back, nothing leaves, nothing else is read."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from bpb_harness.auditing.script.domains.put_back import is_put_back
from bpb_harness.auditing.script.domains.values import Evaluator
from bpb_harness.auditing.script.frontend.index import nodes_within
from bpb_harness.auditing.script.frontend.nodes import end_of, names_in, position
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import last_name
from bpb_harness.auditing.script.frontend.walker import Frame

_Test = tuple[ast.expr, bool]  # and what it has to give
_ANEW = re.compile(r"_*(?:reset|re_?init|restore|load_state_dict|deepcopy|init_)", re.IGNORECASE)
_TURNS = frozenset(["set_epoch", "seek"])
_LEAVING = ast.Continue | ast.Break | ast.Return | ast.Raise


class Rounds:
    """The rounds of a loop that learns.

    Args:
        program: the scripts.
        loop: the loop.
        is_last: whether a test asks for the last round.
    """

    def __init__(self, program: Program, loop: ast.For | ast.While, is_last: Callable[[ast.expr], bool]) -> None:
        self._program, self._loop, self._is_last = program, loop, is_last
        self._evaluator, self._frame = Evaluator(program), Frame.at(program, loop)

    def may_learn_first(self, call: ast.Call) -> bool:
        """Whether a call that learns may be come to before the last round: it is not off, nor for the last alone."""
        for test, wanted in self._tests(call):
            asked = test if wanted else ast.copy_location(ast.UnaryOp(ast.Not(), test), test)
            if self._is_last(asked) or self._evaluator.all_hold(((test, wanted),), self._frame) is False:
                return False
        return True

    def go_on(self, learning: Mapping[str, Sequence[ast.Call]]) -> bool:
        """Whether there is a round behind the first, with the weights that this has learnt."""
        calls = [node for node in nodes_within(self._loop) if isinstance(node, ast.Call)]
        if any(_ANEW.match(name := last_name(call.func)) or name in _TURNS for call in calls):
            return False
        is_changed = is_put_back(self._program, self._loop, learning["step"])
        return not (is_changed or self._is_left() or self._is_made(learning))

    def _tests(self, node: ast.AST) -> Iterator[_Test]:
        """The tests under which a round comes to a node: those above it, and those that go on to the next before it."""
        here = node
        for above in self._program.upward(node):
            if isinstance(above, ast.If) and here is not above.test:
                yield above.test, here in above.body
            body = [
                each
                for field in ("body", "orelse")
                for each in getattr(above, field, ())
                if here in getattr(above, field)
            ]
            for each in body[: body.index(here)] if here in body else ():
                if isinstance(each, ast.If) and isinstance(each.body[-1], _LEAVING):
                    yield each.test, False
            if above is self._loop:
                return
            here = above

    def _is_left(self) -> bool:
        """Whether a break of the loop, or a return, may end it before its last round."""
        for node in nodes_within(self._loop):
            if isinstance(node, ast.Return) or (isinstance(node, ast.Break) and self._nearest_loop(node) is self._loop):
                held = [self._evaluator.all_hold((test,), self._frame) for test in self._tests(node)]
                if False not in held:
                    return True
        return False

    def _nearest_loop(self, node: ast.AST) -> ast.AST | None:
        return next((up for up in self._program.ancestors(node) if isinstance(up, ast.For | ast.While)), None)

    def _is_made(self, learning: Mapping[str, Sequence[ast.Call]]) -> bool:
        """Whether each round makes a network of its own, whose parameters it hands to an optimizer."""
        stepped = [call.func.value for call in learning["step"] if isinstance(call.func, ast.Attribute)]
        for each in (made for part in stepped if isinstance(part, ast.Name) for made in self._program.reaching(part)):
            names = [part for part in ast.walk(each.value or ast.Pass()) if isinstance(part, ast.Name)]
            made = [one.statement for name in names for one in self._program.reaching(name) if one.kind == "assign"]
            if any(up is self._loop for one in made for up in self._program.ancestors(one)):
                return True
        return False


def is_left_by(program: Program, name: ast.Name, loop: ast.AST) -> bool:
    """Whether a name behind a loop may be what the loop left there: it is not given another value since."""
    made = program.reaching(name)
    return not made or any(position(each.statement) < end_of(loop) for each in made)


def is_other_text(program: Program, loop: ast.AST, parts: Iterable[ast.AST]) -> bool:
    """Whether each round reads on: at a place that it moves, or by a function that is not told where."""
    for part in (each for each in parts if program.is_inside(each, loop)):
        if isinstance(part, ast.Name):
            made = program.reaching(part)
            moved = [each for each in made if each.kind == "augment" and _is_in(program, each.statement, loop)]
            begun = [each for each in made if each.kind == "assign" and _is_in(program, each.statement, loop)]
            if moved and not begun and len(made) > len(moved):
                return True
        elif isinstance(part, ast.Call) and isinstance(part.func, ast.Name) and program.reaching(part.func):
            is_told = names_in(*part.args, *(each.value for each in part.keywords))
            if not is_told and program.callee(part) is None:
                return True
    return False


def _is_in(program: Program, node: ast.AST, loop: ast.AST) -> bool:
    return program.is_inside(node, loop)
