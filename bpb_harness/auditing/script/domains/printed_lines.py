"""Lines that a script prints, by its syntax tree: with how many decimals, at which rounds of a loop, what their times
enclose.

Those alone that are one f-string with words at its beginning. What is not understood of one may be anything.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from bpb_harness.auditing.script.frontend.nodes import stored_in

_FEWEST_LETTERS = 4
_FIXED = re.compile(r"[-+ ]?0?[0-9]{0,2}\.([1-9])f")
_CLOCKS = frozenset(["perf_counter", "time", "monotonic"])
_LONGEST = 600  # characters of a pattern
_NUMBER = r"[-+ ]*(?:[0-9]+\.[0-9]{{{}}}(?![0-9])|nan|inf)"
_DECIMALS = r"[0-9]+\.[0-9]{"  # in the pattern of such a number
_LOOPS = (ast.For, ast.AsyncFor)
_Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Rounds:
    """At which rounds of a loop a line is printed.

    Attributes:
        group: of the patterns, that holds the loop's variable with ``added`` to it.
        added: what is added.
        divisor: of the variable, where
        rest: is left of it.
        others: values at which it is printed too.
        last: whether it is printed at the last round too, whichever that is.
        line: of the condition.
    """

    group: int
    added: int
    divisor: int
    rest: int
    others: tuple[int, ...]
    last: bool
    line: int


@dataclass(frozen=True)
class PrintedLine:
    """An f-string that a script prints.

    Attributes:
        line: where it stands.
        head: the words that it begins with.
        loose: all that it may print, with a group for each place, whatever comes there.
        strict: the same with as many decimals as it gives.
        rounds: at which rounds of the loop around it; None where that is open.
        time: the group that tells how long something took, and how many seconds one of its unit is.
        encloses: lines of the script that are printed within that time, whose own times are a part of it.
        cut: patterns of the line without its last places, where a number with fixed decimals is left, each with the
            words in front of the first place that is not there.
    """

    line: int
    head: str
    loose: re.Pattern[str]
    strict: re.Pattern[str]
    rounds: Rounds | None = None
    time: tuple[int, float] | None = None
    encloses: tuple[int, ...] = ()
    cut: tuple[tuple[str, str], ...] = ()


def printed_lines(tree: ast.Module, logs: Sequence[str] | None = None) -> list[PrintedLine]:
    """The lines of a program.

    Args:
        tree: its syntax tree.
        logs: texts, where lines alone are asked for whose first words stand in one of them; None: all lines.
    """
    functions: dict[str, list[_Function]] = {}
    for node in _statements(tree):
        if isinstance(node, _Function):
            functions.setdefault(node.name, []).append(node)
    timed = {name: _Timed(found[0]) for name, found in functions.items() if len(found) == 1}
    bodies = [tree.body, *(each.body for found in functions.values() for each in found)]
    return [line for body in bodies for line in _of_block(body, (), _Asked(timed, logs))]


def _statements(tree: ast.Module) -> Iterator[ast.AST]:
    """What statements stand in, outside in: a function stands in nothing else."""
    waiting: list[ast.AST] = [tree]
    for node in waiting:  # grows on the way
        yield node
        for name in _BLOCKS:
            waiting += getattr(node, name, ())


# In the order of a node's fields: a try has handlers before what stands under else.
_BLOCKS = ("body", "handlers", "orelse", "finalbody", "cases")


@dataclass
class _Timed:
    """A function whose times are looked for once, and only if something in front of a line calls it."""

    function: _Function

    @cached_property
    def lines(self) -> list[tuple[int, str]]:
        """The lines that it prints whenever it is called, with a time since something in it, and their clocks."""
        return _timed_in(self.function)


@dataclass(frozen=True)
class _Asked:
    """What is asked of a program: the functions of one name, and the texts that hold the lines that are asked for."""

    functions: Mapping[str, _Timed]
    logs: Sequence[str] | None

    def is_for(self, head: str) -> bool:
        """Whether lines that begin with some words are asked for."""
        return self.logs is None or any(head in log for log in self.logs)


def _of_block(body: Sequence[ast.stmt], above: Sequence[ast.stmt], asked: _Asked) -> Iterator[PrintedLine]:
    for place, statement in enumerate(body):
        text = _printed(statement)
        head = _head(text) if text is not None else None
        if text is not None and head is not None and asked.is_for(head):
            line = _line_of(text, head, above, _clock_before(body[:place], asked.functions))
            if line is not None:
                yield line
        if not isinstance(statement, _Function | ast.ClassDef):
            for name in ("body", "orelse", "finalbody"):
                # What stands under else is printed on other conditions, which nobody reads here.
                inner = getattr(statement, name, [])
                yield from _of_block(inner, (*above, statement) if name == "body" else (), asked)
            for handler in getattr(statement, "handlers", []):
                yield from _of_block(handler.body, (), asked)


def _printed(statement: ast.stmt) -> ast.JoinedStr | None:
    """What a statement prints as a line of its own: others are written on behind ``end=""``."""
    call = statement.value if isinstance(statement, ast.Expr) else None
    if (
        not isinstance(call, ast.Call)
        or len(call.args) != 1
        or any(each.arg in (None, "end") for each in call.keywords)
    ):
        return None
    text, is_written = call.args[0], isinstance(call.func, ast.Attribute) and call.func.attr == "write"
    if not isinstance(text, ast.JoinedStr) or (is_written and not _ends_its_line(text)):
        return None
    return text


def _ends_its_line(text: ast.JoinedStr) -> bool:
    last = text.values[-1] if text.values else None
    return isinstance(last, ast.Constant) and str(last.value).endswith("\n")


_Clock = dict[str, tuple[str, tuple[int, ...]]]


def _head(text: ast.JoinedStr) -> str | None:
    """The words that a line begins with; None where these are too few."""
    first = text.values[0] if text.values else None
    head = first.value.strip() if isinstance(first, ast.Constant) and isinstance(first.value, str) else ""
    return None if sum(letter.isalnum() for letter in head) < _FEWEST_LETTERS or "\n" in head else head


def _line_of(text: ast.JoinedStr, head: str, above: Sequence[ast.stmt], clocks: _Clock) -> PrintedLine | None:
    loose, strict, places, cut = "", "", list[ast.FormattedValue](), list[tuple[str, str]]()
    for number, part in enumerate(text.values):
        if isinstance(part, ast.FormattedValue):
            places.append(part)
            following = text.values[number + 1] if number + 1 < len(text.values) else None
            loose += "(.*?)"
            strict += f"({_of_place(part, following)})"
        elif isinstance(part, ast.Constant) and isinstance(part.value, str):
            if "\n" in part.value.strip():
                return None
            is_named = sum(map(str.isalpha, part.value)) >= _FEWEST_LETTERS and number + 1 < len(text.values)
            cut += [(strict, part.value.strip())] if is_named and _DECIMALS in strict else []
            written = r"\s*".join(map(re.escape, part.value.split()))
            padded = rf"\s*{written}\s*" if part.value.strip() else r"\s*"
            loose, strict = loose + padded, strict + padded
    if len(strict) > _LONGEST:
        return None
    time, encloses = _time_of(places, clocks)
    patterns = (re.compile(loose + r"\s*\Z"), re.compile(strict + r"\s*\Z"))
    return PrintedLine(text.lineno, head, *patterns, _rounds(places, above), time, encloses, tuple(cut))


def _of_place(place: ast.FormattedValue, following: ast.expr | None) -> str:
    """A pattern for what comes in a place: of a number with fixed decimals, where nothing else may follow on it."""
    spec = place.format_spec
    written = spec.values[0] if isinstance(spec, ast.JoinedStr) and len(spec.values) == 1 else None
    found = _FIXED.fullmatch(str(written.value)) if isinstance(written, ast.Constant) else None
    more = following.value[:1] if isinstance(following, ast.Constant) and isinstance(following.value, str) else ""
    is_apart = following is None or (more != "" and not more.isdigit() and more not in ".e")
    return _NUMBER.format(found[1]) if found is not None and place.conversion == -1 and is_apart else ".*?"


def _rounds(places: Sequence[ast.FormattedValue], above: Sequence[ast.stmt]) -> Rounds | None:
    """The one condition with a remainder between a line and the loop whose variable it prints."""
    loop = next((each for each in reversed(above) if isinstance(each, (*_LOOPS, ast.While))), None)
    name = _variable(loop) if isinstance(loop, _LOOPS) else None
    group = next(
        (number for number, place in enumerate(places, 1) if name and _added(place.value, name) is not None), None
    )
    if not isinstance(loop, _LOOPS) or name is None or group is None or _is_assigned_within(loop, name):
        return None
    for test in [each for each in above[above.index(loop) + 1 :] if isinstance(each, ast.If)]:
        for each in _all_of(test.test):
            found = _remainder(each, name, _number_of(loop))
            if found is not None:
                return Rounds(group, _added(places[group - 1].value, name) or 0, *found, test.lineno)
    return None


def _number_of(loop: ast.For | ast.AsyncFor) -> str | None:
    """How many rounds a loop has, as it is written: ``n`` of ``range(n)``, ``len(x)`` of ``enumerate(x)``."""
    called = loop.iter if isinstance(loop.iter, ast.Call) and not loop.iter.keywords else None
    if called is None or len(called.args) != 1 or not isinstance(called.func, ast.Name):
        return None
    number = ast.unparse(called.args[0])
    return {"range": number, "enumerate": f"len({number})"}.get(called.func.id)


def _variable(loop: ast.For | ast.AsyncFor) -> str | None:
    target, called = loop.target, loop.iter.func if isinstance(loop.iter, ast.Call) else None
    is_counted = isinstance(called, ast.Name) and called.id == "enumerate"
    if is_counted and isinstance(target, ast.Tuple):
        target = target.elts[0]
    return target.id if isinstance(target, ast.Name) else None


def _is_assigned_within(loop: ast.stmt, name: str) -> bool:
    stored = (each for each in ast.walk(loop) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store))
    return sum(each.id == name for each in stored) != 1


def _added(value: ast.expr, name: str) -> int | None:
    """What is added to a variable: of ``i`` nothing, of ``i + 1`` one."""
    if isinstance(value, ast.Name) and value.id == name:
        return 0
    if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Add):
        for one, other in ((value.left, value.right), (value.right, value.left)):
            if isinstance(one, ast.Name) and one.id == name and isinstance(other, ast.Constant):
                return other.value if type(other.value) is int else None
    return None


def _all_of(test: ast.expr) -> list[ast.expr]:
    if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And):
        return [part for each in test.values for part in _all_of(each)]
    return [test]


def _remainder(test: ast.expr, name: str, number: str | None) -> tuple[int, int, tuple[int, ...], bool] | None:
    """Divisor, rest, other values and the last of a condition on a variable; None where it lets more through."""
    parts = test.values if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.Or) else [test]
    found: list[tuple[int, int]] = []
    others, last = list[int](), False
    for part in parts:
        if not (isinstance(part, ast.Compare) and len(part.ops) == 1 and isinstance(part.ops[0], ast.Eq)):
            return None
        left, right = part.left, part.comparators[0]
        if isinstance(left, ast.BinOp) and isinstance(left.op, ast.Mod):
            added, divisor, rest = _added(left.left, name), _whole(left.right), _whole(right)
            if added is None or divisor is None or rest is None or divisor < 2:
                return None
            found.append((divisor, (rest - added) % divisor))
            continue
        added, value = _added(left, name), _whole(right)
        if added is None:
            return None
        if value is not None:
            others.append(value - added)
        elif ast.unparse(right) == {0: f"{number} - 1", 1: number}.get(added):
            last = True
        else:
            return None
    return (*found[0], tuple(others), last) if len(found) == 1 else None


def _whole(value: ast.expr) -> int | None:
    return value.value if isinstance(value, ast.Constant) and type(value.value) is int else None


def _clock_before(before: Sequence[ast.stmt], functions: Mapping[str, _Timed]) -> _Clock:
    """Variables that hold when something began, with the clock and the lines printed in functions called since then."""
    clocks: _Clock = {}
    for statement in before:
        target = statement.targets[0] if isinstance(statement, ast.Assign) and len(statement.targets) == 1 else None
        clock = _clock(statement.value) if isinstance(statement, ast.Assign) else None
        if isinstance(target, ast.Name) and clock is not None:
            clocks[target.id] = (clock, ())
            continue
        called = statement.value if isinstance(statement, ast.Assign | ast.Expr) else None
        if isinstance(called, ast.Call) and isinstance(called.func, ast.Name) and called.func.id in functions:
            timed = functions[called.func.id].lines if clocks else []
            clocks = {
                name: (clock, (*lines, *(line for line, own in timed if own == clock)))
                for name, (clock, lines) in clocks.items()
            }
        stored = stored_in(statement) if clocks else set()
        clocks = {name: held for name, held in clocks.items() if name not in stored}
    return clocks


def _clock(value: ast.expr) -> str | None:
    """The clock that an expression reads: ``time.perf_counter()``."""
    called = value.func if isinstance(value, ast.Call) and not value.args else None
    name = called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else None
    return name if name in _CLOCKS else None


def _timed_in(function: _Function) -> list[tuple[int, str]]:
    """Lines that a function prints whenever it is called, with a time since something in it, and their clocks."""
    began: dict[str, str] = {}
    found: list[tuple[int, str]] = []
    for statement in function.body:
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            target, clock = statement.targets[0], _clock(statement.value)
            if isinstance(target, ast.Name) and clock is not None:
                began[target.id] = clock
        text = _printed(statement)
        if text is not None:
            places = [each for each in text.values if isinstance(each, ast.FormattedValue)]
            for place in places:
                taken = _taken(place.value)
                if taken is not None and began.get(taken[1]) == taken[2]:
                    found.append((text.lineno, taken[2]))
        if any(isinstance(each, ast.Return) for each in ast.walk(statement)):
            break
    return found


def _taken(value: ast.expr) -> tuple[float, str, str] | None:
    """What a time is multiplied by, the variable of its beginning and its clock: ``1000 * (perf_counter() - t0)``."""
    if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Mult):
        for one, other in ((value.left, value.right), (value.right, value.left)):
            factor = other.value if isinstance(other, ast.Constant) else None
            taken = _taken(one)
            if taken is not None and isinstance(factor, int | float) and factor > 0:
                return (taken[0] * factor, taken[1], taken[2])
    if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Sub) and isinstance(value.right, ast.Name):
        clock = _clock(value.left)
        return None if clock is None else (1.0, value.right.id, clock)
    return None


def _time_of(places: Sequence[ast.FormattedValue], clocks: _Clock) -> tuple[tuple[int, float] | None, tuple[int, ...]]:
    for number, place in enumerate(places, 1):
        taken = _taken(place.value)
        if taken is not None and math.isfinite(taken[0]):
            clock, lines = clocks.get(taken[1], ("", ()))
            return (number, 1.0 / taken[0]), lines if clock == taken[2] else ()
    return None, ()
