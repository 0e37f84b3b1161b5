"""Scores that a loop prints round by round, as a claim's logs hold them: phase=0 bpb=1.0807, phase=1 bpb=1.0780."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from bpb_harness.auditing.script.context import LoggedScore
from bpb_harness.auditing.script.domains.extent import loops_around
from bpb_harness.auditing.script.domains.shown_in_logs import lines_of
from bpb_harness.auditing.script.frontend.nodes import num_rounds
from bpb_harness.auditing.script.frontend.program import Program

_PRINTING = re.compile(r"log|print|info|write", re.IGNORECASE)
_OF_SCORE = re.compile(r"(?:^|[^a-z])(?:bpb|bits_per_byte)[ :=]{1,3}$", re.IGNORECASE)
_NUMBER = re.compile(r"[0-9]{1,3}\.[0-9]{3,16}")
_FEWEST_LETTERS, _MOST_PLACES = 4, 8
_LONGEST_LINE = 500  # characters; a line of a score is far shorter
_LEAST_GAIN = 1e-4  # bits per byte; the order of sums, and kernels, change a score by less


@dataclass(frozen=True)
class Pass:
    """The score of one round, the line of the log that prints it, and which round that calls itself, from 0."""

    bpb: float
    line: int
    number: int | None = None


@dataclass(frozen=True)
class PrintedPasses:
    """A statement that prints the score of each round of a loop, and what the logs hold of it.

    Attributes:
        call: what prints.
        loop: whose rounds they are.
        score: the expression that is printed as the score.
        passes: for each score of the claim whose log shows them: the first round, and the last, which is that score.
        later: where a log holds the line of a later round than the first, and none of the rounds before that: its
            score, the line, and which round it is, counted from 1.
    """

    call: ast.Call
    loop: ast.For
    score: ast.expr
    passes: tuple[tuple[LoggedScore, Pass, Pass], ...]
    later: tuple[LoggedScore, Pass, int] | None = None


def printed_passes(program: Program, logged: tuple[LoggedScore, ...]) -> Iterator[PrintedPasses]:
    """Loops whose last round prints a claimed score, better than the one that their first round prints before it."""
    for call, text, place, loop in _rounds(program) if logged else ():
        pattern = _pattern(program, text, place, loop)
        found = [shown for score in logged if pattern and (shown := _shown(program, score, pattern)) is not None]
        if found:
            yield PrintedPasses(call, loop, place.value, tuple(found))


def passes_not_in_logs(program: Program, logged: tuple[LoggedScore, ...]) -> Iterator[PrintedPasses]:
    """Such loops of which no log holds a line of the first round, though each round prints one."""
    for call, text, place, loop in _rounds(program) if logged else ():
        pattern = _pattern(program, text, place, loop)
        if pattern is None:
            continue
        told = [(score, passes) for score in logged if (passes := _told(program, score, pattern))]
        later = [(score, passes[0], passes[0].number) for score, passes in told if passes[0].number]
        if not told:
            yield PrintedPasses(call, loop, place.value, ())
        elif later and len(later) == len(told):
            score, first, number = later[0]
            yield PrintedPasses(call, loop, place.value, (), (score, first, number + 1))


_Round = tuple[ast.Call, ast.JoinedStr, ast.FormattedValue, ast.For]


def _rounds(program: Program) -> Iterator[_Round]:
    """What prints a score in each round of a loop."""
    for name, calls in program.calls.items():
        for call in calls if _PRINTING.search(name) else ():
            text = call.args[0] if call.args else None
            place = _place_of_score(text) if isinstance(text, ast.JoinedStr) else None
            loop = next(iter(loops_around(program, call)), None) if place is not None else None
            if isinstance(text, ast.JoinedStr) and place is not None and isinstance(loop, ast.For):
                yield call, text, place, loop


def _place_of_score(text: ast.JoinedStr) -> ast.FormattedValue | None:
    """What stands behind bpb= or val_bpb: in what is printed."""
    before = ""
    for part in text.values:
        if isinstance(part, ast.FormattedValue) and _OF_SCORE.search(before):
            return part
        before = str(part.value) if isinstance(part, ast.Constant) else ""
    return None


def _pattern(program: Program, text: ast.JoinedStr, place: ast.FormattedValue, loop: ast.For) -> _Pattern | None:
    """What a statement prints, whole lines of it; None where another statement may begin a line so too."""
    first = text.values[0].value if isinstance(text.values[0], ast.Constant) else ""
    is_telling = isinstance(first, str) and sum(map(str.isalpha, first)) >= _FEWEST_LETTERS and "\n" not in first
    num_places = sum(isinstance(part, ast.FormattedValue) for part in text.values)
    if not is_telling or num_places > _MOST_PLACES or sum(s.text.count(str(first)) for s in program.scripts) != 1:
        return None
    first_of = {part: first for part in text.values if (first := _first_number(part, loop)) is not None}
    numbered = next(iter(first_of), None)
    parts = [
        re.escape(str(part.value)) if isinstance(part, ast.Constant)
        else f"(?P<bpb>{_NUMBER.pattern})" if part is place
        else r"(?P<number>[0-9]{1,6})" if part is numbered else r"[^\s{}]{1,40}?"
        for part in text.values
    ]  # fmt: skip
    return _Pattern(re.compile("".join(parts).strip()), None if numbered is None else first_of[numbered])


class _Pattern(NamedTuple):
    """What a round prints, and what its first one prints as its number, where it prints that."""

    text: re.Pattern[str]
    first: int | None


def _first_number(part: ast.expr, loop: ast.For) -> int | None:
    """What {turn} or {turn + 1} is in the first round of a loop over range(n); None of anything else."""
    value = part.value if isinstance(part, ast.FormattedValue) and num_rounds(loop) is not None else None
    added: object = 0
    if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Add) and isinstance(value.right, ast.Constant):
        added, value = value.right.value, value.left
    is_own = isinstance(value, ast.Name) and isinstance(loop.target, ast.Name) and value.id == loop.target.id
    return added if is_own and isinstance(added, int) else None


def _shown(program: Program, score: LoggedScore, pattern: _Pattern) -> tuple[LoggedScore, Pass, Pass] | None:
    """The first round that a log prints before a score, and the last one, if that is the score, and better."""
    lines, found = lines_of(program, score), _told(program, score, pattern)
    if len(found) < 2 or not lines[score.line - 1 : score.line]:
        return None
    first, last = found[0], found[-1]
    is_claim = any(_is_one(last.bpb, number) for number in _NUMBER.findall(lines[score.line - 1]))
    return (score, first, last) if is_claim and first.bpb - last.bpb >= _LEAST_GAIN else None


def _told(program: Program, score: LoggedScore, pattern: _Pattern) -> list[Pass]:
    """The rounds that a log prints up to a score."""
    lines = lines_of(program, score)
    found = []
    for number, line in enumerate(lines[score.since : score.line], score.since + 1):
        match = pattern.text.fullmatch(line.strip()) if len(line) <= _LONGEST_LINE else None
        if match is not None:
            turn = None if pattern.first is None else int(match["number"]) - pattern.first
            found.append(Pass(float(match["bpb"]), number, turn))
    return found


def _is_one(value: float, number: str) -> bool:
    """Whether a number is a value, as far as its own digits go."""
    return abs(value - float(number)) <= 0.5 * 10.0 ** -len(number.partition(".")[2]) + 1e-12
