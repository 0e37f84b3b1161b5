"""Text that a scoring loop leaves out between its windows, or behind the time that it has."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from bpb_harness.auditing.script.domains.extent import LOOPS, between
from bpb_harness.auditing.script.domains.values import Evaluator, taken
from bpb_harness.auditing.script.frontend.nodes import names_in
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import FUNCTIONS, last_name
from bpb_harness.auditing.script.frontend.walker import Frame, Source

_NEARLY_ALL = 100  # one in so many rounds is no part that matters
_NO_SCORES = ("nan", "inf")
_CLOCKS = frozenset({"time", "perf_counter", "monotonic", "process_time", "time_ns"})


def left_out(program: Program, parts: Sequence[tuple[ast.AST, Frame]], score: Source) -> tuple[ast.AST, str] | None:
    """What leaves a part of the text out, and how much that is, in words; None where nothing is seen to.

    Args:
        program: the scripts.
        parts: all expressions that the scored tokens are computed from, with their frames.
        score: the cross-entropy, and where its names are read.
    """
    for part, frame in parts:
        cut = part.slice if isinstance(part, ast.Subscript) else None
        if isinstance(cut, ast.Slice) and (found := _by_slice(program, part, cut, frame)) is not None:
            return found
    for loop, frame in _rounds(program, parts, score):
        found = _by_branch(program, loop, frame, score[0])
        if found is not None:
            return found
    return None


def _by_slice(program: Program, node: ast.AST, cut: ast.Slice, frame: Frame) -> tuple[ast.AST, str] | None:
    """windows[::2]; tokens[i : i + L] of range(0, n, S), S larger than L."""
    evaluator = Evaluator(program)
    if cut.step is not None:
        step = evaluator.number(cut.step, frame)
        is_fixed = cut.lower is None or evaluator.number(cut.lower, frame) is not None
        if step is not None and step >= 2 and is_fixed and not evaluator.leaves and not _is_of_ranks(cut.step):
            return node, f"one in {step:g} of its windows or tokens"
        return None
    low = cut.lower.left if isinstance(cut.lower, ast.BinOp) else cut.lower  # i of i + 1
    each_has = between(cut.lower, cut.upper) if cut.lower is not None and cut.upper is not None else None
    if not isinstance(low, ast.Name) or each_has is None:
        return None
    length = evaluator.number(each_has, frame)
    for each in program.reaching(low):
        ranged = each.value
        if each.kind != "loop" or not isinstance(ranged, ast.Call) or last_name(ranged.func) != "range":
            return None
        if len(ranged.args) != 3 or _is_of_ranks(ranged) or not isinstance(ranged.args[0], ast.Constant):
            return None
        step = evaluator.number(ranged.args[2], frame)
        ratio = step / length if step is not None and length else _times(ranged.args[2], each_has)
        if ratio is None or ratio <= 1.02 or evaluator.leaves:
            return None
        windows = f"windows of {_told(length, each_has)} every {_told(step, ranged.args[2])}"
        return ranged, f"{100 / ratio:.3g} % of its tokens, {windows}"
    return None


def _told(value: float | None, node: ast.expr) -> str:
    return f"{value:,.0f}" if value is not None else ast.unparse(node)


def _times(step: ast.expr, length: ast.expr) -> float | None:
    """k of k * L, where neither is known."""
    if not isinstance(step, ast.BinOp) or not isinstance(step.op, ast.Mult):
        return None
    for one, other in ((step.left, step.right), (step.right, step.left)):
        if isinstance(one, ast.Constant) and isinstance(one.value, int) and ast.unparse(other) == ast.unparse(length):
            return float(one.value)
    return None


def _is_of_ranks(node: ast.expr) -> bool:
    """Whether the rounds of a loop are dealt out to processes, or to several loops."""
    names = [part for part in ast.walk(node) if isinstance(part, ast.Name | ast.Attribute)]
    said = (last_name(part).lower() for part in names)
    return any(word in name for name in said for word in ("rank", "world", "shard", "worker", "num_proc", "device"))


def _rounds(program: Program, parts: Sequence[tuple[ast.AST, Frame]], score: Source) -> Iterator[tuple[ast.AST, Frame]]:
    """The loops that hand out what is scored, and those around the score, each once."""
    seen: set[ast.AST] = set()
    found: list[tuple[ast.AST, Frame]] = []
    for part, frame in parts:
        if isinstance(part, ast.Name):
            found += [(each.statement, frame) for each in program.reaching(part) if each.kind == "loop"]
    for above in program.ancestors(score[0]):
        if isinstance(above, FUNCTIONS):
            break
        found.append((above, score[1]))
    for loop, frame in found:
        if isinstance(loop, LOOPS) and loop not in seen:
            seen.add(loop)
            yield loop, frame


def _by_branch(program: Program, loop: ast.AST, frame: Frame, score: ast.AST) -> tuple[ast.AST, str] | None:
    """if i % 2: continue; if time.time() - start > budget: break."""
    statements = loop.body if isinstance(loop, LOOPS) else []
    for branch in (each for each in statements if isinstance(each, ast.If)):
        last = branch.body[-1] if branch.body else None
        if not isinstance(last, ast.Break | ast.Continue) or taken(program, branch, frame) is False:
            continue
        if Evaluator(program).all_hold(((branch.test, True),), frame) is False:
            continue
        above = {score, *program.ancestors(score)}
        behind = statements[statements.index(branch) + 1 :]
        if isinstance(last, ast.Continue) and loop in above and above.isdisjoint(behind):
            continue  # this round was scored already
        if isinstance(last, ast.Continue) and (every := _every(loop, branch.test)) is not None:
            return branch, every
        if isinstance(last, ast.Break) and _is_of_time(program, branch.test) and not _makes_up(branch):
            return branch, "as much of it as comes before a time is up, and nothing tells how much that was"
    return None


def _makes_up(branch: ast.If) -> bool:
    """Whether a branch adds up what is left in a loop of its own, or leaves no score behind."""
    parts = (part for each in branch.body if isinstance(each, LOOPS) for part in ast.walk(each))
    return any(isinstance(part, ast.AugAssign) for part in parts) or _spoils(branch)


def _spoils(branch: ast.If) -> bool:
    """Whether a branch leaves no score behind: nats = float("nan"), or None."""
    kept = [each.value for each in branch.body if isinstance(each, ast.Assign)]
    return any(
        (isinstance(value, ast.Constant) and value.value is None)
        or last_name(value) in _NO_SCORES
        or (
            isinstance(value, ast.Call)
            and any(isinstance(arg, ast.Constant) and arg.value in _NO_SCORES for arg in value.args)
        )
        for value in kept
    )


def _every(loop: ast.AST, test: ast.expr) -> str | None:
    """i % k, i % k != c and i % k == c, of the loop's own index and a number k."""
    is_equal = isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq)
    if isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq | ast.NotEq):
        if not isinstance(test.comparators[0], ast.Constant):
            return None
        test = test.left
    if not isinstance(test, ast.BinOp) or not isinstance(test.op, ast.Mod) or not isinstance(test.left, ast.Name):
        return None
    number = test.right.value if isinstance(test.right, ast.Constant) else None
    own = names_in(loop.target) if isinstance(loop, ast.For) else set()
    if not isinstance(number, int) or number < 2 or test.left.id not in own or (is_equal and number >= _NEARLY_ALL):
        return None
    return f"{number - 1} in {number} of its rounds" if is_equal else f"one in {number} of its rounds"


def _is_of_time(program: Program, test: ast.expr) -> bool:
    """Whether a test holds the time that has passed against a limit."""
    if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.Or):
        return any(_is_of_time(program, part) for part in test.values)
    if not isinstance(test, ast.Compare) or not isinstance(test.ops[0], ast.Gt | ast.GtE):
        return False
    return any(_asks_clock(program, part) for part in ast.walk(test.left))


def _asks_clock(program: Program, node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        return last_name(node.func) in _CLOCKS
    values = [each.value for each in program.reaching(node)] if isinstance(node, ast.Name) else []
    called = [part for value in values if value is not None for part in ast.walk(value) if isinstance(part, ast.Call)]
    return any(last_name(call.func) in _CLOCKS for call in called)


def seconds_allowed(program: Program, branch: ast.AST) -> float | None:
    """The time at which a branch breaks off, in seconds by a clock that counts them; None where that is not known."""
    test = branch.test if isinstance(branch, ast.If) and isinstance(branch.body[-1], ast.Break) else None
    if not isinstance(test, ast.Compare) or len(test.ops) != 1 or not isinstance(test.ops[0], ast.Gt | ast.GtE):
        return None
    values = [test.left]
    if isinstance(test.left, ast.Name):
        values = [each.value for each in program.reaching(test.left) if each.value is not None]
    is_passed = [isinstance(each, ast.BinOp) and isinstance(each.op, ast.Sub) for each in values]
    asked = [part for each in values for part in ast.walk(each) if isinstance(part, ast.Call | ast.BinOp)]
    if not values or not all(is_passed) or len(asked) != 2 * len(values):
        return None  # the clock, less when it started: anything more may be another unit
    if not all(last_name(part.func) in _CLOCKS - {"time_ns"} for part in asked if isinstance(part, ast.Call)):
        return None
    return Evaluator(program).number(test.comparators[0], Frame.at(program, test))
