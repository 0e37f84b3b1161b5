"""The lines of a log that print what a call gave: by the texts of the scripts, and where no other text prints them."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence

from bpb_harness.auditing.script.context import LoggedScore
from bpb_harness.auditing.script.domains.shown_in_logs import lines_of
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import Scope, last_name
from bpb_harness.claim.embedded_code import is_code

_PRINTING = re.compile(r"log|print|info|write", re.IGNORECASE)
_FEWEST_LETTERS = 4  # that are written out of a text
_LONGEST_LINE, _MOST_LINES = 500, 200
_MAX_NAMES = 6  # that a value is followed through
_NOT_IN_WORDS = frozenset(" {}")  # in what was formatted: the script itself may stand in a log

_Template = tuple[str, ...]
"""What is written out of a text, between places for what is formatted."""


def calls_behind(program: Program, value: ast.expr, depth: int = 0) -> set[ast.Call] | None:
    """The calls that a printed value comes from; None where one of its names may be anything else."""
    if isinstance(value, ast.Call) and program.callee(value) is not None:
        return {value}
    found: set[ast.Call] = set()
    if not program.spend():
        return None
    for name in (part for part in ast.walk(value) if isinstance(part, ast.Name)):
        defined = program.reaching(name)
        if not defined:
            continue  # a module, or a function
        for each in defined:
            if each.kind != "assign" or each.value is None or depth > _MAX_NAMES:
                return None
            behind = calls_behind(program, each.value, depth + 1)
            if behind is None:
                return None
            found |= behind
    return found


def texts_of(program: Program, scope: Scope, call: ast.Call) -> list[ast.JoinedStr]:
    """The texts with a score in which a function prints what a call gave."""
    texts = (node for node in program.labelled(scope) if isinstance(node, ast.JoinedStr))
    return [text for text in texts if _is_of(program, text, call)]


def _is_of(program: Program, text: ast.JoinedStr, call: ast.Call) -> bool:
    names = (part for each in text.values if isinstance(each, ast.FormattedValue) for part in ast.walk(each.value))
    return any(
        definition.value is call
        for name in names
        if isinstance(name, ast.Name)
        for definition in program.reaching(name)
    )


def printed_in_log(program: Program, texts: Sequence[ast.JoinedStr], score: LoggedScore) -> list[tuple[int, float]]:
    """The scores before a claimed one that these texts have printed, and no other text can have: lines and values."""
    own = [template for text in texts if (template := _template(text)) is not None]
    others = [
        template
        for scope in program.scopes
        if scope.labels
        for node in program.labelled(scope)
        if isinstance(node, ast.JoinedStr) and node not in texts and (template := _template(node)) is not None
    ]
    lines = printed_lines_of(program, score)
    return [
        (number, bpb)
        for number, bpb in score.before[-_MOST_LINES:]
        if any(_is_by(each, lines, number) for each in own) and not any(_is_by(each, lines, number) for each in others)
    ]


def first_printed(program: Program, call: ast.Call, score: LoggedScore, since: int) -> int | None:
    """The first line that a printing call alone can have printed, between a line and a score of the claim."""
    text = call.args[0] if call.args and _PRINTING.search(last_name(call.func)) else None
    template = _template(text)
    begin = _begin(text)
    if template is None or sum(script.text.count(begin) for script in program.scripts) != 1:
        return None
    lines = printed_lines_of(program, score)
    return next((number for number in range(since + 1, score.line) if _is_by(template, lines, number)), None)


def _begin(text: ast.AST | None) -> str:
    first = text.values[0] if isinstance(text, ast.JoinedStr) and text.values else text
    return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else ""


def _template(text: ast.AST | None) -> _Template | None:
    """What is written out of a text of one line, with places in between; None where that is little."""
    parts = text.values if isinstance(text, ast.JoinedStr) else [text]
    written = [""]
    for part in parts:
        if isinstance(part, ast.Constant):
            written[-1] += str(part.value)
        else:
            written.append("")
    letters = sum(map(str.isalpha, "".join(written)))
    return None if letters < _FEWEST_LETTERS or any("\n" in each for each in written) else tuple(written)


def _is_by(template: _Template, lines: Sequence[str], number: int) -> bool:
    """Whether a whole line is a template with a word in each of its places: in one go, whatever the line is."""
    line = lines[number - 1].strip() if 0 < number <= len(lines) else ""
    first, last = template[0].lstrip(), template[-1].rstrip()
    if len(template) == 1:
        return line == template[0].strip()
    if len(line) > _LONGEST_LINE or not line.startswith(first) or not line.endswith(last):
        return False
    place, end = len(first), len(line) - len(last)
    for part in (*template[1:-1], None):
        found = line.find(part, place + 1, end) if part is not None else end
        word = line[place : max(found, 0)].strip()
        if found < place or not word or not _NOT_IN_WORDS.isdisjoint(word):
            return False
        place = found + len(part or "")
    return True


def printed_lines_of(program: Program, score: LoggedScore) -> list[str]:
    """The lines of the log that a score of the claim stands in, empty where they are a script; none where unread."""
    key = (printed_lines_of, score.path)
    if key not in program.memo:
        lines = lines_of(program, score)
        program.memo[key] = ["" if is_source else line for line, is_source in zip(lines, is_code(lines), strict=True)]
    found: list[str] = program.memo[key]
    return found
