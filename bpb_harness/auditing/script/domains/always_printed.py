"""What a script prints on the way to a place, whatever its settings are: lines that no run leaves out that comes there.

A statement stands on every way to a place where it stands in front of it, in a block that holds the place too. What is
printed for the first process alone is printed; what is printed in a loop or under a condition need not be. A function
that prints to a file, or with a level of its own, is told from one that prints to the console by its name and its
options, so that a log which one of them writes is held against that one alone.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from bpb_harness.auditing.script.domains.shown_in_logs import written_parts
from bpb_harness.auditing.script.domains.values import Evaluator
from bpb_harness.auditing.script.domains.ways import Way
from bpb_harness.auditing.script.frontend.index import nodes_within
from bpb_harness.auditing.script.frontend.once import once
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import last_name
from bpb_harness.auditing.script.frontend.walker import Frame

_PRINTING = re.compile(r"(?:^|_)(?:log0?|print0?|info|say|log_fn|print_fn)(?:_|$)|^(?:log|print)", re.IGNORECASE)
_FIRST_PROCESS = re.compile(r"master|main_process|is_main|is_first|rank_?(?:zero|0)|is_chief|is_primary", re.IGNORECASE)
_RANK = re.compile(r"rank$|rank\(\)$|process_index$", re.IGNORECASE)
_ALONE = re.compile(r"distributed|ddp|world_size", re.IGNORECASE)
_FEWEST_LETTERS = 4  # of a text that tells a line from all others
_LONGEST_KEY = 24
_DEEPEST = 2  # of functions that are called on the way


@dataclass(frozen=True)
class Printing:
    """A statement that prints a line.

    Attributes:
        node: the call.
        by: what prints it, with its options.
        parts: what is written out of the line, with places between for what is formatted.
        is_sure: whether it is printed whatever the settings are.
    """

    node: ast.Call
    by: str
    parts: tuple[str, ...]
    is_sure: bool = True

    @property
    def text(self) -> str:
        """A text that every such line holds: the first that has letters enough."""
        return _telling(self.parts)

    @property
    def key(self) -> str:
        """The beginning of that text, by which a line is known that was broken in two, or changed further on."""
        return self.text[:_LONGEST_KEY]


def printed_before(program: Program, way: Way, *, by_settings: bool = False) -> list[Printing]:
    """The lines that are printed before a place whenever a run comes to it, in their order.

    Args:
        program: the scripts.
        way: the calls that come to the place, and the place.
        by_settings: those too that the script's settings decide, as far as they are known.
    """
    found: list[Printing] = []
    taken = dict(program.taken)
    for node, frame in way:
        found += _in_front(program, node, frame, by_settings=by_settings)
    program.taken = taken  # a reader is told of those settings alone that decided something
    return found


def _in_front(program: Program, node: ast.AST, frame: Frame, *, by_settings: bool) -> list[Printing]:
    """Those of the node's own function, outside in."""
    found: list[Printing] = []
    above: list[tuple[ast.AST, ast.AST]] = []
    child = node
    for parent in program.ancestors(node):
        if isinstance(parent, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            above.append((parent, child))
            break
        above.append((parent, child))
        child = parent
    for parent, below in reversed(above):
        for block in _blocks(parent):
            if any(below is statement for statement in block):
                for statement in block:
                    if statement is below:
                        break
                    found += _always_in(program, statement, frame, 0, by_settings=by_settings)
    return found


def _blocks(node: ast.AST) -> Iterator[Sequence[ast.stmt]]:
    for name in ("body", "orelse", "finalbody"):
        block = getattr(node, name, None)
        if isinstance(block, list):
            yield block


def _always_in(
    program: Program, statement: ast.stmt, frame: Frame, depth: int, *, by_settings: bool
) -> Iterator[Printing]:
    """What a statement that has come to its end has printed."""
    if isinstance(statement, ast.Expr | ast.Assign | ast.AnnAssign) and isinstance(statement.value, ast.Call):
        own = printing(program, statement.value, frame) if isinstance(statement, ast.Expr) else None
        if own is not None:
            yield own
        else:
            yield from _in_called(program, statement.value, frame, depth, by_settings=by_settings)
    elif isinstance(statement, ast.With) or (isinstance(statement, ast.If) and is_first_process(statement.test)):
        for each in statement.body:
            yield from _always_in(program, each, frame, depth, by_settings=by_settings)
    elif isinstance(statement, ast.If) and by_settings:
        is_on = Evaluator(program).all_hold(((statement.test, True),), frame)
        branch = [] if is_on is None else statement.body if is_on else statement.orelse
        for each in branch:
            for found in _always_in(program, each, frame, depth, by_settings=True):
                yield replace(found, is_sure=False)


def _in_called(program: Program, call: ast.Call, frame: Frame, depth: int, *, by_settings: bool) -> Iterator[Printing]:
    """What a function of the program prints before anything may leave it."""
    callee = program.callee(call) if depth < _DEEPEST else None
    if callee is None or not isinstance(callee.node, ast.FunctionDef):
        return
    inner = frame.inside(program, callee, call)
    for statement in callee.node.body:
        if _may_leave(program, statement):
            return
        yield from _always_in(program, statement, inner, depth + 1, by_settings=by_settings)


@once
def _may_leave(_program: Program, statement: ast.stmt) -> bool:
    """Whether a function may be left within a statement of it, or rests there."""
    return any(part.__class__ in _LEAVES for part in nodes_within(statement))


_LEAVES = frozenset([ast.Return, ast.Yield, ast.YieldFrom])


def is_first_process(test: ast.expr) -> bool:
    """Whether a test asks for the first of several processes, and for nothing else."""
    if isinstance(test, ast.BoolOp):
        return all(is_first_process(each) or _is_alone(each) for each in test.values) and any(
            map(is_first_process, test.values)
        )
    if isinstance(test, ast.Compare):
        right = test.comparators[0]
        is_zero = isinstance(test.ops[0], ast.Eq) and isinstance(right, ast.Constant) and right.value == 0
        return is_zero and len(test.ops) == 1 and _RANK.search(ast.unparse(test.left)) is not None
    name = last_name(test.func if isinstance(test, ast.Call) else test)
    return _FIRST_PROCESS.search(name) is not None


def _is_alone(test: ast.expr) -> bool:
    return (
        isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not) and _ALONE.search(ast.unparse(test)) is not None
    )


def printing(program: Program, call: ast.Call, frame: Frame) -> Printing | None:
    """What a call prints, if it prints a line that can be told; None else."""
    name = last_name(call.func)
    if not _PRINTING.search(name) or len(call.args) != 1:
        return None
    parts = written_parts(call.args[0])
    told = _telling(parts)
    if _num_letters(told[:_LONGEST_KEY]) < _FEWEST_LETTERS or any("\n" in part.strip("\n") for part in parts):
        return None
    if not told.isascii() or not told.isprintable() or "  " in told:  # a log may have been copied without these
        return None
    given = frame.given(program, call.func) if isinstance(call.func, ast.Name) else None
    by = last_name(given[0]) if given is not None else name
    options = [f"{each.arg}={ast.unparse(each.value)}" for each in call.keywords if each.arg != "flush"]
    return Printing(call, f"{by}({', '.join(options)})", tuple(parts))


def _telling(parts: Sequence[str]) -> str:
    telling = (part.strip() for part in parts if _num_letters(part) >= _FEWEST_LETTERS)
    return next(telling, "")


def _num_letters(text: str) -> int:
    return sum(map(str.isalpha, text))
