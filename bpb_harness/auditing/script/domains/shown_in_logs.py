"""Whether the logs of a claim show that a step was taken: a line that is printed beside it, and nowhere else.

A default says what a script would do; the environment of the run may have said otherwise. A line that one statement
alone can print says that this was reached. It counts where it stands in a loop around the step, so that each round
prints it behind a step, from its beginning to its end, in the run of a score of the claim, and before that score. Of a
mean it is enough that one of its scores is shown to be none.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bpb_harness.auditing.script.context import LoggedScore
from bpb_harness.auditing.script.domains.extent import loops_around
from bpb_harness.auditing.script.domains.ways import Way
from bpb_harness.auditing.script.frontend.code_size import foreign_code_size, stated_code_sizes
from bpb_harness.auditing.script.frontend.index import nodes_within
from bpb_harness.auditing.script.frontend.nodes import end_of, position
from bpb_harness.auditing.script.frontend.once import once
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import Scope, Script, last_name
from bpb_harness.claim.embedded_code import is_code
from bpb_harness.claim.log_reader import cleaned
from bpb_harness.claim.text_file import read_text
from bpb_harness.errors import ClaimError

_PRINTING = re.compile(r"log|print|info|write", re.IGNORECASE)
_SCRIPTS = frozenset([".py", ".ipynb"])  # else it is the log itself that holds the script
_FEWEST_LETTERS = 4  # that a line begins with
_LONGEST_LINE = 2_000  # characters of a log's line that are held against what a script prints
_MOST_SPELLED = 8  # of one text
_NO_SOURCE = frozenset("{}")  # in what was formatted: the script itself may stand in a log

Tests = tuple[tuple[ast.expr, bool], ...]
Template = tuple[str, ...]
"""What is written out of a text, between places for what is formatted."""


@dataclass(frozen=True)
class Shown:
    """What the logs show of a way.

    Attributes:
        level: the calls of the way, from outside in, up to which they were made.
        lines: scores of the claim, each with the first line that shows it.
        is_beside: whether that is a line from beside a call of it, and none of its rounds.
    """

    level: int
    lines: tuple[tuple[LoggedScore, int], ...]
    is_beside: bool = False


def shown_in_logs(
    program: Program, way: Way, met: int, apart: ast.AST, logged: tuple[LoggedScore, ...]
) -> Shown | None:
    """What the logs of the scores of a claim show of a way; None where none shows anything.

    Args:
        program: the scripts.
        way: the calls, and what they come to.
        met: from where on it is a way of its own.
        apart: what stands behind it, in no loop that counts.
        logged: the lines that carry the claim.
    """
    for level in range(len(way) - 1, met - 1, -1) if logged else ():
        node = way[level][0]
        around = [loop for loop in loops_around(program, node) if not program.is_inside(apart, loop)]
        for template in _printed_in(program, node, around):
            lines = [(score, first_printed(program, score, template)) for score in logged]
            found = tuple((score, number) for score, number in lines if number is not None)
            if found:
                return Shown(level, found)
    return None


def is_branch_shown(program: Program, node: ast.AST, logged: tuple[LoggedScore, ...]) -> bool:
    """Whether a log holds, before a score of the claim, a line that is printed in a node's branch and nowhere else."""
    above = dict(program.tests_above(node))
    for text, tests_above in printed_texts(program, program.scope(node)):
        tests = dict(tests_above)
        if any(tests.get(test) is not wanted for test, wanted in above.items()):
            continue
        template = template_of(text)
        if template is None or not is_of_one_place(program, template):
            continue
        if any(first_printed(program, score, template) is not None for score in logged):
            return True
    return False


def printed_texts(program: Program, scope: Scope) -> list[tuple[ast.JoinedStr, Tests]]:
    """The texts with values in them that a function prints, each with the tests above it; looked for once."""
    key = (printed_texts, scope)
    if key not in program.memo:
        program.memo[key] = [
            (text, program.tests_above(call))
            for call in program.own_nodes_among(scope, _printing_calls(program))
            if isinstance(call, ast.Call) and (text := _printed_by(call)) is not None
        ]
    found: list[tuple[ast.JoinedStr, Tests]] = program.memo[key]
    return found


@once
def _printing_calls(program: Program) -> frozenset[ast.AST]:
    """The calls that print a text with values in it, and all that they stand in."""
    calls = map(program.parent, program.nodes.get(ast.JoinedStr, ()))
    printing = (call for call in calls if isinstance(call, ast.Call) and _printed_by(call) is not None)
    return frozenset(node for call in printing for node in program.upward(call))


def _printed_by(call: ast.Call) -> ast.JoinedStr | None:
    """The text with values in it that a call prints, if it does."""
    text = call.args[0] if call.args else None
    return text if isinstance(text, ast.JoinedStr) and _PRINTING.search(last_name(call.func)) else None


def spelled_texts(program: Program, scope: Scope) -> list[tuple[ast.JoinedStr, Tests]]:
    """The texts that a function prints one way or another, as tests within them choose, each with all tests of it."""
    return [
        (each, (*tests, *chosen))
        for text, tests in printed_texts(program, scope)
        for each, chosen in ways_to_spell(text)
        if chosen
    ]


def _printed_in(program: Program, node: ast.AST, loops: list[ast.AST]) -> Iterator[Template]:
    """The lines that are printed in loops around a node, behind it in each round, and nowhere else."""
    beside = dict.fromkeys(text for loop in loops for text in _texts_beside(program, node, loop))
    for text in beside:
        template = template_of(text)
        if template is None:
            continue
        telling = telling_part(template)
        own = (part.value for each in beside for part in each.values if isinstance(part, ast.Constant))
        if _num_written(program, telling) == sum(str(part).count(telling) for part in own):
            yield template


def telling_part(template: Template) -> str:
    """What tells a line from others: what it begins with, if that is words, else the part with the most letters."""
    return template[0] if _num_letters(template[0]) >= _FEWEST_LETTERS else max(template, key=_num_letters)


def is_of_one_place(program: Program, template: Template) -> bool:
    """Whether no text but one of the scripts has what tells a line from others."""
    return _num_written(program, telling_part(template)) == 1


def _num_written(program: Program, words: str) -> int:
    """How often the scripts have some words; counted once."""
    key = (_num_written, words)
    if key not in program.memo:
        program.memo[key] = sum(script.text.count(words) for script in program.scripts)
    number: int = program.memo[key]
    return number


def _num_letters(part: str) -> int:
    return sum(map(str.isalpha, part))


def _texts_beside(program: Program, node: ast.AST, loop: ast.AST) -> Iterator[ast.JoinedStr]:
    """What is printed in a loop behind a node, where that was come to."""
    above, end = dict(program.tests_above(node)), end_of(node)
    own = {test for test in above if program.is_inside(test, loop)}
    for part, text in printed_within(program, loop):
        if position(part) <= end:
            continue
        tests = dict(program.tests_above(part))
        is_beside = own <= tests.keys() and all(tests[test] is above[test] for test in own)
        if is_beside and program.scope(part) is program.scope(node):
            yield text


def printed_within(program: Program, loop: ast.AST) -> list[tuple[ast.Call, ast.JoinedStr]]:
    """The calls in a loop that print a text, each with the text; looked for once."""
    key = (printed_within, loop)
    if key not in program.memo:
        calls = (part for part in nodes_within(loop) if isinstance(part, ast.Call))
        program.memo[key] = [(call, text) for call in calls if (text := _printed_by(call)) is not None]
    found: list[tuple[ast.Call, ast.JoinedStr]] = program.memo[key]
    return found


def written_parts(text: ast.expr) -> list[str]:
    """What is written out of a text, with places between; nothing of what is no text."""
    if isinstance(text, ast.Constant) and isinstance(text.value, str):
        return [text.value]
    if isinstance(text, ast.BinOp) and isinstance(text.op, ast.Add):
        left, right = written_parts(text.left), written_parts(text.right)
        return [*left[:-1], left[-1] + right[0], *right[1:]] if left and right else []
    if not isinstance(text, ast.JoinedStr):
        return []
    parts = [""]
    for part in text.values:
        if isinstance(part, ast.Constant):
            parts[-1] += str(part.value)
        else:
            parts.append("")
    return parts


def ways_to_spell(text: ast.JoinedStr) -> list[tuple[ast.JoinedStr, Tests]]:
    """A text with each part that a test chooses put in, by either way of it; itself where none does.

    {f" of {n}" if n else ""} in a text is one of two.
    """
    spelled: list[tuple[list[ast.expr], Tests]] = [([], ())]
    for part in text.values:
        choice = part.value if isinstance(part, ast.FormattedValue) else None
        both = _spelled_out(choice) if isinstance(choice, ast.IfExp) and len(spelled) < _MOST_SPELLED else []
        spelled = [
            ([*before, *values], (*tests, *test))
            for before, tests in spelled
            for values, test in both or [([part], ())]
        ]
    return [(text, ())] if len(spelled) == 1 else [(ast.JoinedStr(values=each), tests) for each, tests in spelled]


def _spelled_out(choice: ast.IfExp) -> list[tuple[list[ast.expr], Tests]]:
    """What a text has in the place of a choice between two texts, by either way of its test; nothing of others."""
    body, orelse = _parts_of(choice.body), _parts_of(choice.orelse)
    if body is None or orelse is None:
        return []
    return [(body, ((choice.test, True),)), (orelse, ((choice.test, False),))]


def _parts_of(text: ast.expr) -> list[ast.expr] | None:
    if isinstance(text, ast.JoinedStr):
        return text.values
    return [text] if isinstance(text, ast.Constant) and isinstance(text.value, str) else None


def template_of(text: ast.JoinedStr) -> Template | None:
    """What is written out of a text, with places in between; None where it does not tell it from others."""
    parts = written_parts(text)
    first = parts[0].strip("\n")
    is_telling = max(map(_num_letters, [first, *parts[1:]])) >= _FEWEST_LETTERS and not any(
        "\n" in part for part in (first, *parts[1:])
    )
    return (first.lstrip(), *parts[1:-1], parts[-1].rstrip()) if is_telling and len(parts) > 1 else None


def words_of(line: str, template: Template) -> list[str] | None:
    """The words in the places of a template, if a whole line is printed by it: in one go, whatever the line is."""
    line = line[:_LONGEST_LINE].strip()
    if not line.startswith(template[0]):
        line = cleaned(line).strip()
    return _words_of(line, template)


def _words_of(line: str, template: Template) -> list[str] | None:
    if not line.startswith(template[0]):
        return None
    place, words = len(template[0]), list[str]()
    for number, part in enumerate(template[1:], 1):
        is_last = number == len(template) - 1
        end = (len(line) - len(part) if line.endswith(part) else -1) if is_last else line.find(part, place + 1)
        word = line[place : max(end, 0)].strip()
        if end < place or not word or " " in word or not _NO_SOURCE.isdisjoint(word):
            return None
        words.append(word)
        place = end + len(part)
    return words


def is_of_script(program: Program, score: LoggedScore, script: Script) -> bool:
    """Whether a log states the size of a script's code."""
    file = Path(script.path)
    try:
        text = "\n".join(lines_of(program, score))
        return file.suffix in _SCRIPTS and bool(stated_code_sizes(text)) and foreign_code_size(text, [file]) is None
    except ClaimError:
        return False


def is_of_another_script(program: Program, score: LoggedScore) -> bool:
    """Whether a log states a size of its code that no script has: then another version of it ran; worked out once."""
    key = (is_of_another_script, score.path)
    if key not in program.memo:
        program.memo[key] = _is_of_another_script(program, score)
    found: bool = program.memo[key]
    return found


def _is_of_another_script(program: Program, score: LoggedScore) -> bool:
    files = [Path(script.path) for script in program.scripts]
    if score.path in files:  # which holds the script that wrote it
        return False
    files = [file for file in files if file.suffix in _SCRIPTS and file.is_file()]
    try:
        return bool(files) and foreign_code_size("\n".join(lines_of(program, score)), files) is not None
    except ClaimError:
        return True


def code_size_of(program: Program, score: LoggedScore) -> int | None:
    """The size of its code that a log states."""
    key = (code_size_of, score.path)
    if key not in program.memo:
        program.memo[key] = stated_code_sizes("\n".join(lines_of(program, score)))
    sizes: list[int] = program.memo[key]
    return sizes[-1] if sizes else None


def output_of(program: Program, score: LoggedScore) -> list[tuple[int, str]]:
    """The lines of a score's run up to the score, with their numbers, but for those of a script in the log."""
    key = (output_of, score)
    if key not in program.memo:
        lines = lines_of(program, score)
        code = is_code(lines)
        within = enumerate(lines[score.since : score.line], score.since + 1)
        program.memo[key] = [(number, line) for number, line in within if not code[number - 1]]
    found: list[tuple[int, str]] = program.memo[key]
    return found


def lines_of(program: Program, score: LoggedScore) -> list[str]:
    """The lines of the log that a score of the claim stands in."""
    key = (lines_of, score.path)
    if key not in program.memo:
        try:
            program.memo[key] = read_text(score.path, score.file).text.split("\n")
        except ClaimError:
            program.memo[key] = []
    found: list[str] = program.memo[key]
    return found


@once
def first_printed(program: Program, score: LoggedScore, template: Template) -> int | None:
    """The first line of a score's run that is printed by a template, before the score."""
    forms, text = _forms_of_lines(program, score)
    if any(part not in text for part in template):  # far cheaper than line by line, and nearly always so
        return None
    head = template[0]
    for number, (plain, clean) in enumerate(forms[score.since : score.line - 1], score.since + 1):
        line = plain if plain.startswith(head) else clean
        if line.startswith(head) and _words_of(line, template) is not None:  # few do
            return number
    return None


def _forms_of_lines(program: Program, score: LoggedScore) -> tuple[list[tuple[str, str]], str]:
    """The lines of a log as they are, and cleaned; and all of them as one text."""
    key = (_forms_of_lines, score.path)
    if key not in program.memo:
        plain = [line[:_LONGEST_LINE].strip() for line in lines_of(program, score)]
        forms = [(line, cleaned(line).strip()) for line in plain]
        program.memo[key] = (forms, "\n".join(form for both in forms for form in both))
    found: tuple[list[tuple[str, str]], str] = program.memo[key]
    return found
