"""How a count below the line is changed: what is added to it, under which conditions, with which sign and factor.

Statements (``if spaced: n += 1``, ``n -= 1``) and expressions (``n + (1 if spaced else 0)``, ``where``, ``a - b``) are
brought into one form, a sum of changes, so that the same is said of both.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from bpb_harness.auditing.script.domains.cancel import Factor
from bpb_harness.auditing.script.frontend.once import once
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.walker import Frame

_LEAVING = (ast.Continue, ast.Break, ast.Return)


@dataclass(frozen=True)
class Condition:
    """A test, and what it must give.

    Attributes:
        test: the expression.
        frame: where its names are read.
        wanted: whether it must hold.
    """

    test: ast.expr
    frame: Frame
    wanted: bool


@dataclass(frozen=True)
class Choice:
    """One of several values that a name, a parameter or a call may have: they are never added to each other.

    Attributes:
        use: where the value is used, or the test that tells which it is.
        number: which of them.
        is_nearest_first: whether the first one whose conditions hold is the value; else any of them may be.
    """

    use: ast.AST
    number: int
    is_nearest_first: bool = False


@dataclass(frozen=True)
class Change:
    """A summand of a count.

    Attributes:
        factors: what is multiplied.
        sign: +1 or -1.
        conditions: under which it is added.
        choices: the values that it belongs to, where there is a choice.
    """

    factors: tuple[Factor, ...]
    sign: int = 1
    conditions: tuple[Condition, ...] = ()
    choices: tuple[Choice, ...] = ()

    @property
    def key(self) -> object:
        """What two mentions of one change share."""
        asked = tuple((condition.test, condition.wanted) for condition in self.conditions)
        return tuple(factor.node for factor in self.factors), self.sign, asked, self.choices


@once
def conditions_of(program: Program, node: ast.AST, frame: Frame) -> tuple[Condition, ...]:
    """The conditions under which a statement is come to, in its function and its innermost loop."""
    above = program.tests_above(node)
    found = [Condition(test, frame, wanted) for test, wanted in above]
    return (*found, *(Condition(test, frame, False) for test in _left_by(program, node)))


def _left_by(program: Program, node: ast.AST) -> Iterator[ast.expr]:
    """The tests of ``if skipped: continue`` before a statement of a loop."""
    for above in program.ancestors(node):
        body = [*getattr(above, "body", [])] if isinstance(above, ast.For | ast.While | ast.If) else []
        orelse = [*getattr(above, "orelse", [])] if body else []
        for block in (body, orelse):
            place = next((i for i, each in enumerate(block) if each is node), None)
            for each in block[:place] if place is not None else ():
                if isinstance(each, ast.If) and not each.orelse and isinstance(each.body[-1], _LEAVING):
                    yield each.test
        if isinstance(above, ast.For | ast.While | ast.FunctionDef | ast.AsyncFunctionDef | ast.Module):
            return
        node = above
