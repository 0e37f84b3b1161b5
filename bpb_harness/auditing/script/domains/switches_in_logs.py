"""Which way a test went in the run of the claim, by lines of its log: what its branch alone prints, or its own value.

A default says what a script would do, and the environment of the run may have said otherwise. `if use_cache:` was true
where the log holds a line that is printed under such an if alone, or one that prints `use_cache` as True.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from bpb_harness.auditing.script.context import LoggedScore
from bpb_harness.auditing.script.domains.shown_in_logs import (
    Template,
    is_of_one_place,
    output_of,
    printed_texts,
    telling_part,
    template_of,
    words_of,
)
from bpb_harness.auditing.script.domains.values import hold
from bpb_harness.auditing.script.frontend.index import nodes_within
from bpb_harness.auditing.script.frontend.program import Program

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
    if one is two or ast.dump(one) != ast.dump(two):
        return one is two
    names = ([part for part in nodes_within(each) if isinstance(part, ast.Name)] for each in (one, two))
    return all([*program.reaching(a)] == [*program.reaching(b)] for a, b in zip(*names, strict=True))
