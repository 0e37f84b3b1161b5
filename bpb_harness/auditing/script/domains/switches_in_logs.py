"""Which way a test went in the run of the claim, by lines of its log: what its branch alone prints, or its own value.

A default says what a script would do, and the environment of the run may have said otherwise. `if use_cache:` was true
where the log holds a line that is printed under such an if alone, or one that prints `use_cache` as True.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence

from bpb_harness.auditing.script.context import LoggedScore
from bpb_harness.auditing.script.domains.shown_in_logs import (
    Template,
    is_of_one_place,
    output_of,
    printed_texts,
    spelled_texts,
    telling_part,
    template_of,
    words_of,
)
from bpb_harness.auditing.script.domains.values import Evaluator, hold
from bpb_harness.auditing.script.frontend.index import nodes_within
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import Script
from bpb_harness.auditing.script.frontend.walker import Frame

_VALUES = {"True": True, "False": False, "1": True, "0": False}


def switch_by_logs(program: Program, node: ast.AST, logged: tuple[LoggedScore, ...]) -> bool:
    """Note which way the tests above a node went in the runs of a claim, as far as their logs show; whether any is new.

    Args:
        program: the scripts.
        node: the place.
        logged: the lines that carry the claim: each counts with what its run prints before it.
    """
    news = {}
    for test, _ in program.tests_above(node) if logged else ():
        went = None if test in program.held else _went(program, test, logged)
        if went is not None:
            news[test] = went
    return bool(news) and hold(program, news)


def _went(program: Program, test: ast.expr, logged: tuple[LoggedScore, ...]) -> bool | None:
    """Which way a test went, where all logs that show it show the same; worked out once."""
    key = (_went, test)
    if key not in program.memo:
        found = {way for score in logged for way in _ways(program, test, score)}
        program.memo[key] = found.pop() if len(found) == 1 else None
    way: bool | None = program.memo[key]
    return way


def against_the_logs(
    scripts: Sequence[Script], settings: Mapping[str, str], logged: tuple[LoggedScore, ...]
) -> frozenset[str]:
    """Settings of commands under which a script would not print what all logs of a claim hold, and by default would.

    Args:
        scripts: the scripts.
        settings: what the commands set, each one value.
        logged: the lines that carry the claim.
    """
    asked = {name: value for name, value in settings.items() if any(name in script.text for script in scripts)}
    if not asked or not logged:
        return frozenset()
    program = Program(scripts, asked)
    against: dict[str, list[tuple[ast.expr, bool]]] = {}
    for name, test, wanted in _decided_by_one(program):
        if all({*_ways(program, test, score)} == {wanted} for score in logged):
            against.setdefault(name, []).append((test, wanted))
    if not against:
        return frozenset()
    own = Program(scripts, {name: value for name, value in asked.items() if name not in against})
    return frozenset(
        name for name, tests in against.items() if all(_holds(own, test, wanted=wanted) for test, wanted in tests)
    )


def _decided_by_one(program: Program) -> Iterator[tuple[str, ast.expr, bool]]:
    """Tests by which a line would not be printed, for a setting alone: its name, the test, and what the line needs."""
    for scope in program.scopes:
        needed = dict.fromkeys(
            each for text, tests in printed_texts(program, scope) for each in tests if template_of(text)
        )
        for test, wanted in needed:
            noted = len(program.noted)
            if _holds(program, test, wanted=wanted) is False and not _hangs_on_a_round(program, test):
                names = {name for name, _ in program.noted[noted:]}
                yield from ((name, test, wanted) for name in names if len(names) == 1)


def _hangs_on_a_round(program: Program, test: ast.expr) -> bool:
    """Whether a test may go another way in another round of a loop: its value is the first one's."""
    asked = Evaluator(program)
    asked.visit(test, Frame.at(program, test))
    return bool(asked.leaves) or any(isinstance(each, ast.For | ast.While) for each in program.ancestors(test))


def _holds(program: Program, test: ast.expr, *, wanted: bool) -> bool | None:
    return Evaluator(program).all_hold(((test, wanted),), Frame.at(program, test))


def _ways(program: Program, test: ast.expr, score: LoggedScore) -> Iterator[bool]:
    scope = program.scope(test)
    for text, tests in printed_texts(program, scope):
        template = template_of(text)
        if template is None or not is_of_one_place(program, template):
            continue
        places = [part.value for part in text.values if isinstance(part, ast.FormattedValue)]
        shown = [number for number, value in enumerate(places) if _is_same(program, value, test)]
        branches = {wanted for other, wanted in tests if _is_same(program, other, test)}
        for words in _printed(program, score, template) if shown or branches else ():
            yield from branches
            yield from (_VALUES[words[number]] for number in shown if words[number] in _VALUES)
    for text, tests in spelled_texts(program, scope):
        template = template_of(text)
        branches = {wanted for other, wanted in tests if _is_same(program, other, test)}
        if template is None or not branches or not is_of_one_place(program, template):
            continue
        if any(words_of(line, template) is not None for _, line in output_of(program, score)):
            yield from branches


def _printed(program: Program, score: LoggedScore, template: Template) -> Iterator[list[str]]:
    read = _values_of if telling_part(template) == template[0] else words_of
    found = (read(line, template) for _, line in output_of(program, score))
    yield from (words for words in found if words is not None)


def _values_of(line: str, template: Template) -> list[str] | None:
    """What stands in the places of a template in a line that begins as it does; a list has blanks."""
    if not line.startswith(template[0]):
        return None
    place, values = len(template[0]), list[str]()
    for part in template[1:]:
        end = line.find(part, place) if part else len(line)
        if end < 0:
            return None
        values.append(line[place:end].strip())
        place = end + len(part)
    return values


def _is_same(program: Program, one: ast.expr, two: ast.expr) -> bool:
    """Whether two tests of a function ask the same: as written, and of names that were given their value together."""
    if one is two:
        return True
    if one.__class__ is not two.__class__ or ast.dump(one) != ast.dump(two):
        return False
    names = ([part for part in nodes_within(each) if isinstance(part, ast.Name)] for each in (one, two))
    return all([*program.reaching(a)] == [*program.reaching(b)] for a, b in zip(*names, strict=True))
