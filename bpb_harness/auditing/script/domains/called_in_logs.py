"""Whether the logs of a claim show that a training was called: a line from beside the call, and none of its rounds.

A line that stands where the call stands, under the same tests and in no loop, is printed only where the call is come
to: behind it, or before it with nothing between that leaves. That the function then comes to a step, its rounds say: of
all loops around the step but the innermost, over the text, the log prints the number, or the script has it written out.
What the rounds print has to be there too, before the score, and behind a line from before the call.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace

from bpb_harness.auditing.script.context import LoggedScore
from bpb_harness.auditing.script.domains.extent import loops_around
from bpb_harness.auditing.script.domains.rounds_in_logs import rounds_in_logs
from bpb_harness.auditing.script.domains.shown_in_logs import (
    Shown,
    Template,
    first_printed,
    is_of_one_place,
    printed_texts,
    printed_within,
    template_of,
)
from bpb_harness.auditing.script.domains.values import QuickEvaluator
from bpb_harness.auditing.script.domains.ways import Way
from bpb_harness.auditing.script.frontend.nodes import end_of, num_rounds, position
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import FUNCTIONS
from bpb_harness.auditing.script.frontend.walker import Frame

_LEAVING = (ast.Return, ast.Raise, ast.Break, ast.Continue)


def called_in_logs(program: Program, way: Way, met: int, logged: tuple[LoggedScore, ...]) -> Shown | None:
    """What the logs of the scores of a claim show of the calls of a way; None where none shows anything.

    Args:
        program: the scripts.
        way: the calls, and what they come to.
        met: from where on it is a way of its own.
        logged: the lines that carry the claim.
    """
    for level in range(len(way) - 2, met - 1, -1) if logged else ():
        rounds = _printed_in_rounds(program, way[level + 1 :])
        for template, is_behind in _printed_beside(program, way[level][0]):
            lines = [(score, first_printed(program, score, template)) for score in logged]
            found = tuple((score, number) for score, number in lines if number is not None)
            told = tuple(
                (score, number) for score, number in found
                if _goes_round(program, way[level + 1 :], score)
                and _has_rounds(program, replace(score, since=score.since if is_behind else number), rounds)
            )  # fmt: skip
            if told:
                return Shown(level, told, is_beside=True)
    return None


def _printed_in_rounds(program: Program, way: Way) -> list[Template | None]:
    """What is printed in the loops on the way to a step; None for what is known by nothing."""
    loops = [loop for node, _ in way for loop in loops_around(program, node)]
    return [template_of(text) for loop in loops for _, text in printed_within(program, loop)]


def _has_rounds(program: Program, score: LoggedScore, rounds: list[Template | None]) -> bool:
    """Whether a run holds a line of those that the rounds print, if they print any that is known."""
    known = [template for template in rounds if template is not None]
    if not rounds:
        return True
    return any(first_printed(program, score, template) is not None for template in known)


def _printed_beside(program: Program, call: ast.AST) -> Iterator[tuple[Template, bool]]:
    """The lines that are printed where a call stands, if it is come to, and nowhere else; and whether behind it."""
    scope = program.scope(call)
    if loops_around(program, call) or _is_tried(program, call):
        return
    above = dict(program.tests_above(call))
    for text, tests_above in printed_texts(program, scope):
        tests = dict(tests_above)
        is_beside = all(tests.get(test) is wanted for test, wanted in above.items())
        is_behind = position(text) > end_of(call)
        if not is_beside or not (is_behind or not _may_leave(program, text, call)):
            continue
        template = template_of(text)
        if template is not None and is_of_one_place(program, template):
            yield template, is_behind


def _is_tried(program: Program, call: ast.AST) -> bool:
    """Whether a call stands where what it raises may be caught, in its function."""
    for above in program.ancestors(call):
        if isinstance(above, FUNCTIONS):
            return False
        if isinstance(above, ast.Try):
            return True
    return False


def _may_leave(program: Program, before: ast.AST, call: ast.AST) -> bool:
    """Whether something between a line and a call leaves the function."""
    start, end = position(before), position(call)
    own = program.own_nodes(program.scope(call))
    return any(isinstance(node, _LEAVING) and start < position(node) < end for node in own)


def _goes_round(program: Program, way: Way, score: LoggedScore) -> bool:
    """Whether the loops on the way to a step are known to go round in the run of a score."""
    for number, (node, frame) in enumerate(way, 1):
        loops = loops_around(program, node)
        if number == len(way) and loops and _is_over_text(program, loops[0], frame):
            loops = loops[1:]
        rounds = [rounds_in_logs(program, loop, frame, (score,)) for loop in loops]
        if any(each is None or each.number < 1 for each in rounds):
            return False
    return True


def _is_over_text(program: Program, loop: ast.AST, frame: Frame) -> bool:
    """Whether a loop is over parts of a text, whose number no setting says."""
    rounds = num_rounds(loop)
    return isinstance(loop, ast.For) and (rounds is None or QuickEvaluator(program).number(rounds, frame) is None)
