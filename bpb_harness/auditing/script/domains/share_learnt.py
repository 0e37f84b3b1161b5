"""How much of a text was learnt before it was scored, where a log prints the number of steps and each takes a slice."""

from __future__ import annotations

import ast
import re
from typing import NamedTuple

from bpb_harness.auditing.script.context import LoggedScore
from bpb_harness.auditing.script.domains.analysis import Analysis
from bpb_harness.auditing.script.domains.extent import loops_around
from bpb_harness.auditing.script.domains.rounds_in_logs import rounds_in_logs
from bpb_harness.auditing.script.domains.values import Evaluator
from bpb_harness.auditing.script.domains.ways import callers
from bpb_harness.auditing.script.frontend.index import nodes_within
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import last_name
from bpb_harness.auditing.script.frontend.walker import Frame

_HELD_OUT = re.compile(r"(?:^|_)(?:val|valid|validation|eval|test)(?:_|$)", re.IGNORECASE)
_DEALT_OUT = re.compile(r"rank|world|worker|shard", re.IGNORECASE)  # each process may learn another part
_DEEPEST = 4
_LARGEST = 0.5  # share of the text that is worth telling from all of it


class Learnt(NamedTuple):
    """A part of a text that steps of training were taken on.

    Attributes:
        steps: how many.
        each: tokens of a step.
        whole: tokens of the text.
        told: the score of whose run a line tells the steps, and that line.
    """

    steps: int
    each: int
    whole: int
    told: tuple[LoggedScore, int]

    @property
    def most(self) -> int:
        """Tokens that were learnt at most."""
        return self.steps * self.each


def share_learnt(analysis: Analysis, site: ast.AST) -> Learnt | None:
    """What part of the text was learnt in a loop; None where that is not known, or is most of it.

    Args:
        analysis: the scripts, and what the record says.
        site: where gradients are worked out.
    """
    program, whole = analysis.program, analysis.context.text_tokens
    loops = loops_around(program, site)
    if whole is None or len(loops) != 1 or not _is_called_once(program, site):
        return None
    frame = Frame.at(program, site)
    rounds = rounds_in_logs(program, loops[0], frame, analysis.context.logged)
    part = _only_slice(loops[0])
    if rounds is None or not rounds.lines or part is None or part.lower is None or part.upper is None:
        return None
    first, end = _summands(analysis, part.lower, frame), _summands(analysis, part.upper, frame)
    length = {key: end.get(key, 0.0) - first.get(key, 0.0) for key in {**first, **end}}
    each = length.pop((), 0.0) - 1.0  # the last one is a target alone
    if each < 1.0 or any(length.values()):
        return None
    learnt = Learnt(rounds.number, int(each), whole, rounds.lines[0])
    return learnt if learnt.most < _LARGEST * whole else None


_Summands = dict[tuple[str, ...], float]  # the number that a product of what is not known is taken times


def _summands(analysis: Analysis, node: ast.expr, frame: Frame, depth: int = 0) -> _Summands:
    """A number as a sum of products of known ones and of what is not known, such as where in a text a step begins."""
    evaluator = Evaluator(analysis.program)
    number = evaluator.number(node, frame)
    if evaluator.leaves:  # another number in each step
        number = None
    if number is not None or depth > _DEEPEST * 2:
        return {(): number} if number is not None else {(ast.dump(node),): 1.0}
    if isinstance(node, ast.Name) and (value := analysis.program.only_value(node)) is not None:
        return _summands(analysis, value, frame, depth + 1)
    if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Add | ast.Sub | ast.Mult):
        return {(ast.dump(node),): 1.0}
    left, right = (_summands(analysis, each, frame, depth + 1) for each in (node.left, node.right))
    if isinstance(node.op, ast.Mult):
        products = [((*one, *two), a * b) for one, a in left.items() for two, b in right.items()]
        return {
            tuple(sorted(key)): sum(b for other, b in products if sorted(other) == sorted(key)) for key, _ in products
        }
    sign = 1.0 if isinstance(node.op, ast.Add) else -1.0
    return {key: left.get(key, 0.0) + sign * right.get(key, 0.0) for key in {**left, **right}}


def _is_called_once(program: Program, node: ast.AST) -> bool:
    """Whether a function is called at one place, in no loop, and so is each that calls it."""
    for _ in range(_DEEPEST):
        calls = callers(program, program.scope(node))
        if not calls:
            return True
        if len(calls) != 1 or loops_around(program, calls[0]):
            return False
        node = calls[0]
    return False


def _only_slice(loop: ast.AST) -> ast.Slice | None:
    """The slice that a loop takes of a held-out text, where it takes one and nothing of it depends on the process."""
    parts = nodes_within(loop)
    names = {part.id for part in parts if isinstance(part, ast.Name)} | {
        part.attr for part in parts if isinstance(part, ast.Attribute)
    }
    taken = [part for part in parts if isinstance(part, ast.Subscript) and _HELD_OUT.search(last_name(part.value))]
    if any(map(_DEALT_OUT.search, names)) or len(taken) != 1:
        return None
    uses = [part for part in parts if isinstance(part, ast.Name) and part.id == last_name(taken[0].value)]
    index = taken[0].slice
    return index if len(uses) == 1 and isinstance(index, ast.Slice) and index.step is None else None
