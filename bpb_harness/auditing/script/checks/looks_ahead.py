"""A network that predicts each token from those before it, and is told something of all of the window at each place."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

from bpb_harness.auditing.script import codes
from bpb_harness.auditing.script.domains.algebra import is_cross_entropy
from bpb_harness.auditing.script.domains.analysis import Analysis, Hit
from bpb_harness.auditing.script.domains.causal import is_causal
from bpb_harness.auditing.script.domains.handed_back import MadeOf, made_of
from bpb_harness.auditing.script.domains.in_evaluation import chosen_by, is_of_training, left_by
from bpb_harness.auditing.script.domains.layers import Place, calls_to, is_in_layer, path_through_layers
from bpb_harness.auditing.script.domains.reductions import OTHER_REDUCING, Reduction, multiplies_by_ones, reductions
from bpb_harness.auditing.script.domains.sequence_axis import SequenceAxis
from bpb_harness.auditing.script.domains.trace import comes_from, trace
from bpb_harness.auditing.script.domains.values import Evaluator, taken
from bpb_harness.auditing.script.frontend.once import once
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import last_name
from bpb_harness.auditing.script.frontend.walker import Frame

_REDUCING = frozenset(["mean", "sum", "max", "amax", "min", "amin", "std", "var", "norm", "logsumexp", "median"])
_NORMALISING = frozenset(["softmax", "log_softmax", "normalize"])
_THAT_REDUCE = frozenset([ast.Call, ast.BinOp])
_BROADCAST = frozenset(["unsqueeze", "expand", "repeat", "expand_as", "repeat_interleave"])


def check_looks_ahead(analysis: Analysis) -> Iterator[Hit]:
    """x * (1 + scale(x.mean(dim=1)).unsqueeze(1)): each place is scaled by what stands behind it, its target too.

    On the way to the claimed score, outside of what training alone does. A mean over what came before (cumsum) keeps
    the order; statistics that no logits are made of are not met. A network whose tokens are masked may look ahead.
    """
    program = analysis.program
    names = (_REDUCING | _NORMALISING | OTHER_REDUCING) & program.calls.keys()
    if (not names and not multiplies_by_ones(program)) or not is_causal(analysis):
        return
    path, settings = _path(analysis, names), dict(program.taken)
    for node, frame in path:
        if node.__class__ not in _THAT_REDUCE:  # most of a hundred thousand
            continue
        for reduced in _reductions(program, node):
            if reduced.axes is None and reduced.name in _NORMALISING:
                continue
            if _is_left_out(analysis, node, frame) or not _is_of_places(program, reduced.tensor, reduced.axes, frame):
                continue
            is_normalised = reduced.name in _NORMALISING
            back = _weighed(program, node, frame) if is_normalised else _given_back(program, path, reduced, frame)
            if back is not None:
                yield _hit(analysis, reduced, back)
                return
    program.taken = settings  # a reader is told of those alone that decided something


@once
def _reductions(program: Program, node: ast.AST) -> Sequence[Reduction]:
    """What an expression reduces: the same in each of the frames in which a path comes to it."""
    return [*reductions(program, node, _REDUCING | _NORMALISING)]


def _path(analysis: Analysis, names: Iterable[str]) -> list[Place]:
    """What the claimed score is computed from; of layers too, where some of them reduces anything along places."""
    program = analysis.program
    reducing: list[ast.AST] = [call for name in names for call in program.calls[name] if _may_reduce(program, call)]
    reducing += multiplies_by_ones(program)
    in_layers = any(map(partial(is_in_layer, program), dict.fromkeys(map(program.scope, reducing))))
    return path_through_layers(analysis) if in_layers else analysis.claimed_path


def _may_reduce(program: Program, call: ast.Call) -> bool:
    """Whether a call reduces what might be the places: along one of these dimensions, or all."""
    found = _reductions(program, call)
    return any(each.axes is None or not each.axes.isdisjoint((1, 2, -2, -1)) for each in found)


def _is_of_places(program: Program, tensor: ast.expr, axes: frozenset[int] | None, frame: Frame) -> bool:
    """Whether a tensor is reduced along the places of the window, perhaps with others; no losses of these."""
    if not any(axis.is_sequence(tensor, frame) for axis in _sequence_axes(program, axes)):
        return False
    is_alone = axes is not None and len(axes) == 1
    return is_alone or not comes_from(program, tensor, frame, is_cross_entropy)


def _sequence_axes(program: Program, axes: frozenset[int] | None) -> Iterator[SequenceAxis]:
    """Where the sequence may be, for a tensor to be reduced along it."""
    if axes is None or 1 in axes:
        yield SequenceAxis(program)
    if axes is not None and 2 in axes:
        yield SequenceAxis(program, 2)
    if axes is not None and -2 in axes:
        yield SequenceAxis(program, of_three=True)


def _hit(analysis: Analysis, reduced: Reduction, back: ast.AST) -> Hit:
    program, node = analysis.program, reduced.node
    tests = [*program.tests_above(node), *program.tests_above(back)]
    open_test = next((test for test, wanted in tests if _holds(program, test, wanted) is None), None)
    under = "" if open_test is None else f", under the test {ast.unparse(open_test)!r}, which was not followed,"
    what = _WORDS.get(reduced.name, "statistic")
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


def _is_left_out(analysis: Analysis, node: ast.AST, frame: Frame) -> bool:
    """Whether an evaluation does not come by: in a branch of training, or one that is known not to be taken.

    Behind an early return too, where a setting decides: what else it asks (is a table loaded?) other lines may change.
    """
    program = analysis.program
    if taken(program, node, frame) is False:
        return True
    places = list(calls_to(program, node, frame))
    tests = (test for place, _ in places for test in [*program.tests_above(place), *chosen_by(analysis, place)])
    early = [(test, at) for place, at in places for test in left_by(analysis, place)]
    if any(map(is_of_training, tests)) or any(is_of_training(test) for test, _ in early):
        return True
    evaluator = Evaluator(program)
    failing = ((test, at) for test, at in early if evaluator.all_hold((test,), at) is False)
    asked = (place for (test, _), at in failing for place in trace(program, test, at))
    return any(evaluator.setting_asked(part, at) is not None for part, at in asked)


def _weighed(program: Program, node: ast.AST, frame: Frame) -> ast.AST | None:
    """What is normalised along the places; of running means, cumsum(w * v) / cumsum(w), what is shared cancels."""
    parts = (part for found in made_of(program, node, frame) for part in found.parts())
    is_running = any(isinstance(part, ast.Call) and last_name(part.func) == "cumsum" for part in parts)
    return None if is_running else node


def _given_back(program: Program, path: list[Place], reduced: Reduction, frame: Frame) -> ast.AST | None:
    """Where what is one value a window, or one of all windows, is put beside each place, on the way to the score."""
    if reduced.is_spread:
        return reduced.node
    at_once = _in_arithmetic(program, reduced.node) if reduced.keeps else None
    if at_once is not None:
        return at_once
    on_path = {part for part, _ in path}
    is_of_all = reduced.axes is None or 0 in reduced.axes
    for found in made_of(program, reduced.node, frame):
        for part in found.parts():
            if part not in on_path:
                continue
            if (is_of_all or reduced.keeps) and _is_beside(program, part, found):
                return part
            if not is_of_all and (_is_spread(part) or _is_read(program, part, found)):
                return part
    return None


def _is_read(program: Program, part: ast.AST, found: MadeOf) -> bool:
    """torch.bmm(weights, v): each place has weights of its own, for values that all places share."""
    if isinstance(part, ast.BinOp) and isinstance(part.op, ast.MatMult):
        weights, values = part.left, part.right
    elif isinstance(part, ast.Call) and last_name(part.func) in ("bmm", "matmul") and len(part.args) == 2:
        weights, values = part.args
    else:
        return False
    return found.has(values) and SequenceAxis(program).is_sequence(weights, found.frame)


def _is_beside(program: Program, part: ast.AST, found: MadeOf) -> bool:
    """x / scale, of a scale that is the same for all places of x."""
    if not isinstance(part, ast.BinOp) or found.has(part.left) == found.has(part.right):
        return False
    other = part.left if found.has(part.right) else part.right
    return any(SequenceAxis(program, axis).is_sequence(other, found.frame) for axis in (1, 2))


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
