"""A network that predicts each token from those before it, and is told something of all of the window at each place."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from bpb_harness.auditing.script import codes
from bpb_harness.auditing.script.domains.analysis import Analysis, Hit
from bpb_harness.auditing.script.domains.in_evaluation import is_of_training
from bpb_harness.auditing.script.domains.sequence_axis import SequenceAxis, reduced_axis
from bpb_harness.auditing.script.domains.values import Evaluator, taken
from bpb_harness.auditing.script.domains.ways import callers, position
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import Scope
from bpb_harness.auditing.script.frontend.walker import Frame

_REDUCING = frozenset(["mean", "sum", "max", "amax", "min", "amin", "std", "var", "norm", "logsumexp", "median"])
_NORMALISING = frozenset(["softmax", "log_softmax", "normalize"])
_CAUSAL = re.compile(r"\b(?:is_)?causal\s*=\s*True|\btri[lu](?:_indices)?\(", re.IGNORECASE)
_DEEPEST = 2  # functions that a value is handed back through
_WHOLE = frozenset[int]()  # no element of a tuple by itself
_LOOPS = (ast.For, ast.While)
_UP_TO = (*_LOOPS, ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_BROADCAST = frozenset(["unsqueeze", "expand", "repeat", "expand_as", "repeat_interleave"])


def check_looks_ahead(analysis: Analysis) -> Iterator[Hit]:
    """x * (1 + scale(x.mean(dim=1)).unsqueeze(1)): each place is scaled by what stands behind it, its target too.

    On the way to the claimed score, outside of what training alone does. A mean over what came before (cumsum) keeps
    the order; statistics that no logits are made of are not met. A network whose tokens are masked may look ahead.
    """
    program = analysis.program
    names = (_REDUCING | _NORMALISING) & program.calls.keys()
    if not names or analysis.masks or not any(_CAUSAL.search(script.text) for script in program.scripts):
        return
    for node, frame in analysis.claimed_path:
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or node.func.attr not in names:
            continue
        reduced = reduced_axis(node)
        if reduced is None or reduced[1] not in (1, -2) or _is_left_out(program, node, frame):
            continue
        if not SequenceAxis(program).is_first(reduced[0], frame):
            continue
        back = node if node.func.attr in _NORMALISING else _broadcast(analysis, node)
        if back is not None:
            yield _hit(analysis, node, back)
            return


def _hit(analysis: Analysis, node: ast.Call, back: ast.AST) -> Hit:
    program = analysis.program
    tests = [*program.tests_above(node), *program.tests_above(back)]
    open_test = next((test for test, wanted in tests if _holds(program, test, wanted) is None), None)
    under = "" if open_test is None else f", under the test {ast.unparse(open_test)!r}, which was not followed,"
    what = _WORDS.get(getattr(node.func, "attr", ""), "statistic")
    said = (
        f"The network takes{under} a {what} over all places of the window, "
        "those behind a token too, and gives it back to every place: what each token is predicted from then depends on "
        "that token itself and on those after it, which no decoder has, and the score does not pay for what they tell"
    )
    return analysis.hit(codes.LOOKS_AHEAD, said, node, shown=[node, *([] if back is node else [back])])


def _holds(program: Program, test: ast.expr, wanted: bool) -> bool | None:
    return Evaluator(program).all_hold(((test, wanted),), Frame.at(program, test))


_WORDS = {
    "mean": "mean", "sum": "sum", "max": "maximum", "amax": "maximum", "min": "minimum", "amin": "minimum",
    "std": "standard deviation", "var": "variance", "norm": "norm", "softmax": "softmax", "log_softmax": "softmax",
    "median": "median", "logsumexp": "log-sum-exp",
}  # fmt: skip


def _is_left_out(program: Program, node: ast.AST, frame: Frame) -> bool:
    """Whether an evaluation does not come by: in a branch of training, or one that is known not to be taken."""
    return taken(program, node, frame) is False or any(map(is_of_training, program.tests_above(node)))


def _broadcast(analysis: Analysis, node: ast.Call) -> ast.AST | None:
    """Where what is one value a window is put beside each of its places, on the way to the score."""
    program = analysis.program
    keeps = any(each.arg in ("keepdim", "keepdims") and getattr(each.value, "value", False) for each in node.keywords)
    at_once = _in_arithmetic(program, node) if keeps else None
    if at_once is not None:
        return at_once
    on_path = {part for part, _ in analysis.claimed_path}
    return next((part for part in _spread_from(program, node) if part in on_path), None)


def _spread_from(program: Program, node: ast.AST, which: frozenset[int] = _WHOLE, depth: int = 0) -> Iterator[ast.AST]:
    """What a function, and those that it returns to, broadcasts of a value, by the names that are made of it.

    Args:
        program: the scripts.
        node: the value.
        which: of a call that gives a tuple, which of its elements.
        depth: how many functions it was handed back through.
    """
    scope, names = program.scope(node), set[str]()
    for statement in _run_after(program, scope, node):
        value = statement.value
        if value is None or not _is_made_of(value, node, names):
            continue
        yield from (part for part in ast.walk(value) if _is_spread(part) and _is_made_of(part, node, names))
        made = which if value is node else _elements(value, node, names)
        if isinstance(statement, ast.Assign):
            names |= {part.id for target in statement.targets for part in _names(target, made)}
        elif depth < _DEEPEST:
            for call in callers(program, scope):
                yield from _spread_from(program, call, made, depth + 1)


def _run_after(program: Program, scope: Scope, node: ast.AST) -> list[ast.Assign | ast.Return]:
    """The statements that a function comes to behind a node; those of a loop before it in the next turn."""
    own = sorted((n for n in program.own_nodes(scope) if isinstance(n, ast.Assign | ast.Return)), key=position)
    later = [each for each in own if (each.end_lineno or 0, each.end_col_offset or 0) > position(node)]
    loop = next((above for above in program.ancestors(node) if isinstance(above, _UP_TO)), None)
    if not isinstance(loop, _LOOPS):
        return later
    end = (loop.end_lineno or 0, loop.end_col_offset or 0)
    inside = [each for each in own if position(loop) < position(each) < end]
    return [*(each for each in later if each in inside), *inside, *(each for each in later if each not in inside)]


def _elements(value: ast.expr, node: ast.AST, names: set[str]) -> frozenset[int]:
    """Which elements of a tuple are made of a value."""
    if not isinstance(value, ast.Tuple):
        return _WHOLE
    return frozenset(number for number, part in enumerate(value.elts) if _is_made_of(part, node, names))


def _names(target: ast.expr, made: frozenset[int]) -> Iterator[ast.Name]:
    """The names that are given such elements."""
    of_one = [target.elts[n] for n in made if n < len(target.elts)] if isinstance(target, ast.Tuple) and made else []
    yield from (part for each in of_one or [target] for part in ast.walk(each) if isinstance(part, ast.Name))


def _is_made_of(value: ast.AST, node: ast.AST, names: set[str]) -> bool:
    return any(part is node or (isinstance(part, ast.Name) and part.id in names) for part in ast.walk(value))


def _in_arithmetic(program: Program, node: ast.AST) -> ast.AST | None:
    """The sum, product or quotient that an expression, or the name that it is given, stands in."""
    for above in program.ancestors(node):
        if isinstance(above, ast.BinOp):
            return above
        if isinstance(above, ast.stmt):
            break
    return None


def _is_spread(node: ast.AST) -> bool:
    """v.unsqueeze(1), v[:, None], v.expand(-1, T, -1)."""
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Tuple) and len(node.slice.elts) > 1:
        second = node.slice.elts[1]
        return isinstance(second, ast.Constant) and second.value is None
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or node.func.attr not in _BROADCAST:
        return False
    if node.func.attr != "unsqueeze":
        return True
    return bool(node.args) and isinstance(node.args[0], ast.Constant) and node.args[0].value == 1
