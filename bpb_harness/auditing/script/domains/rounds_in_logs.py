"""How often a loop went round in the runs of a claim: as it is written, or as a log tells that prints that number."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bpb_harness.auditing.script.context import LoggedScore
from bpb_harness.auditing.script.domains.shown_in_logs import (
    Template,
    is_of_one_place,
    lines_of,
    template_of,
    ways_to_spell,
    words_of,
)
from bpb_harness.auditing.script.frontend.nodes import num_rounds
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.walker import Frame

_MAX_NAMES = 6  # that a number goes by, one after another


@dataclass(frozen=True)
class Rounds:
    """How often a loop went round, as far as logs tell.

    Attributes:
        number: how often.
        lines: scores of the claim, each with the line of its run that says so; none where the script itself does.
    """

    number: int
    lines: tuple[tuple[LoggedScore, int], ...] = ()


def rounds_in_logs(program: Program, loop: ast.AST, frame: Frame, logged: tuple[LoggedScore, ...]) -> Rounds | None:
    """How often a loop over range(n) went round in the runs of the claim: n is written out, or printed by itself.

    Args:
        program: the scripts.
        loop: the loop.
        frame: where its names are read.
        logged: the lines that carry the claim.
    """
    rounds = num_rounds(loop)
    return None if rounds is None else number_in_logs(program, rounds, frame, logged)


def number_in_logs(program: Program, node: ast.expr, frame: Frame, logged: tuple[LoggedScore, ...]) -> Rounds | None:
    """What a number was in the runs of the claim: it is written out, or printed by itself.

    Args:
        program: the scripts.
        node: the number.
        frame: where its names are read.
        logged: the lines that carry the claim.
    """
    names = names_of(program, node, frame)
    number = names[-1]
    if isinstance(number, ast.Constant):
        return Rounds(number.value) if isinstance(number.value, int) else None
    for text, place in _texts_with(program, names):
        template = template_of(text)
        if template is None or not is_of_one_place(program, template):
            continue
        told = [(score, found) for score in logged if (found := _told(program, score, template, place)) is not None]
        if told:
            least = min(value for _, (_, value) in told)
            return Rounds(least, tuple((score, line) for score, (line, _) in told))
    return None


def names_of(program: Program, number: ast.expr, frame: Frame) -> list[ast.expr]:
    """What a number is called, and was where it comes from: steps, args.steps; the last is where nothing is behind."""
    names = [number]
    while isinstance(number, ast.Name) and len(names) < _MAX_NAMES:
        given = frame.given(program, number)
        if given is not None:
            number, frame = given
        elif (value := program.only_value(number) or _default_of(program, number, frame)) is not None:
            number = value
        else:
            break
        names.append(number)
    return names


def _default_of(program: Program, name: ast.Name, frame: Frame) -> ast.expr | None:
    """What a parameter is where a call that is known leaves it out."""
    found = program.reaching(name) if frame.is_whole and name.id not in frame.bindings else ()
    is_own = len(found) == 1 and found[0].kind == "parameter" and program.scope(found[0].statement) is frame.scope
    return found[0].value if is_own else None


def _texts_with(program: Program, names: Sequence[ast.expr]) -> Iterator[tuple[ast.JoinedStr, int]]:
    """The texts that a number is printed in, by itself and by one of its names, each with the place of it."""
    for text in program.nodes.get(ast.JoinedStr, []):
        for each, _ in ways_to_spell(text) if isinstance(text, ast.JoinedStr) else ():
            values = [part.value for part in each.values if isinstance(part, ast.FormattedValue)]
            yield from ((each, n) for n, value in enumerate(values) if _is_one_of(program, value, names))


def _is_one_of(program: Program, value: ast.expr, names: Sequence[ast.expr]) -> bool:
    """Whether something is written as one of some names is, and is given the same value there."""
    same = (name for name in names if ast.dump(name) == ast.dump(value))
    return any(
        not isinstance(value, ast.Name) or not isinstance(name, ast.Name)
        or {*program.reaching(value)} == {*program.reaching(name)}
        for name in same
    )  # fmt: skip


def _told(program: Program, score: LoggedScore, template: Template, place: int) -> tuple[int, int] | None:
    """The first line of a score's run, up to the score, that is printed by a template, and the number in a place."""
    within = enumerate(lines_of(program, score)[score.since : score.line], score.since + 1)
    for number, line in within:
        words = words_of(line, template)
        if words is not None and words[place].isdigit():
            return number, int(words[place])
    return None
