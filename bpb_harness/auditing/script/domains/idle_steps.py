"""Steps that change nothing: they are not come to, or all that take them have a learning rate of 0."""

from __future__ import annotations

import ast
import enum
import re
from collections.abc import Container, Iterable, Iterator, Sequence

from bpb_harness.auditing.script.domains.changed import conditions_of
from bpb_harness.auditing.script.domains.extent import loops_around
from bpb_harness.auditing.script.domains.rounds_in_logs import names_of
from bpb_harness.auditing.script.domains.trace import made_by, trace
from bpb_harness.auditing.script.domains.values import Evaluator
from bpb_harness.auditing.script.frontend.index import nodes_within
from bpb_harness.auditing.script.frontend.nodes import arguments, keyword, position, stored_in
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import FUNCTIONS, last_name
from bpb_harness.auditing.script.frontend.walker import Frame, Source

_MAX_TRACED = 200
_RATE_SECOND = re.compile(r"SGD|A?SGD|N?R?Adam\w*|Adagrad|Adadelta|RMSprop|Rprop|LBFGS|SparseAdam|Adafactor|Muon")
# Schedules that multiply the rate that the optimizer is made with.
_MULTIPLYING = frozenset(["LambdaLR", "MultiplicativeLR", "StepLR", "MultiStepLR", "ConstantLR", "LinearLR",
                          "ExponentialLR", "PolynomialLR"])  # fmt: skip
_HARMLESS = frozenset(["step", "unscale_", "print", "isinstance", "type", "len", "id"])
_WRITING = frozenset(["add_", "sub_", "addcdiv_", "lerp_", "_foreach_add_"])


class Idle(enum.Enum):
    """Why steps change nothing: as they are written, or by what something else may change.

    That is a setting's default, a setting that is given another value, a rate that is written to, gradients that are
    read elsewhere than by the steps.
    """

    ALWAYS = "always"
    BY_DEFAULT = "by default"
    MAY_BE_CHANGED = "may be changed"


def idle_steps(program: Program, learning: ast.AST, frame: Frame) -> Idle | None:
    """Whether the steps beside a gradient change nothing; None where one of them may.

    Args:
        program: the scripts.
        learning: where the gradient is worked out.
        frame: where names beside it are read.
    """
    settings = dict(program.taken)
    found = _find_idle(program, learning, frame)
    if found is Idle.ALWAYS and _may_learn(program, learning):
        found = Idle.MAY_BE_CHANGED
    if found is None:
        program.taken = settings  # a reader is told of those alone that decided something
    return found


def _find_idle(program: Program, learning: ast.AST, frame: Frame) -> Idle | None:
    scope = program.scope(learning)
    steps = [
        call
        for call in program.calls.get("step", [])
        if program.scope(call) is scope and not _is_done_before(program, call, learning)
    ]
    by_hand = [*_by_hand(program, learning)]
    left = {step: test for step in (*steps, *by_hand) if (test := _left_by(program, step, frame)) is not None}
    taken = [step for step in steps if step not in left]
    own = [step for step in by_hand if step not in left]
    if left and not own and all(_is_of_schedule(program, step, frame) for step in taken):
        why = _why(program, [(test, frame) for test in left.values()])
        return Idle.MAY_BE_CHANGED if why is Idle.ALWAYS and _are_given_anew(program, left.values()) else why
    rates = [*_rates(program, taken, frame), *_rates_by_hand(own, frame)]
    known = [rate for rate in rates if rate is not None]
    if not known or len(known) < len(rates) or not all(_is_zero(program, *rate) for rate in known):
        return None
    return _why(program, known)


def _is_done_before(program: Program, step: ast.Call, learning: ast.AST) -> bool:
    """Whether a step is over before a gradient is worked out for the first time, and never taken again.

    In a function that is called once, of another loop than the gradient: that of the training, which comes first.
    """
    scope, loops = program.scope(step), loops_around(program, step)
    calls = program.calls.get(scope.name, []) if isinstance(scope.node, FUNCTIONS) else []
    is_once = len(calls) < 2 and not any(loops_around(program, call) for call in calls)
    is_apart = not any(loop in loops for loop in loops_around(program, learning))
    return is_once and is_apart and position(step) < position(learning)


def _why(program: Program, known: Sequence[Source]) -> Idle:
    """Whether it is a setting's default, of which nothing else is known, that some values have."""
    evaluator = Evaluator(program)
    written = [*known, *((names_of(program, *rate)[-1], None) for rate in known)]  # a parameter's default too
    behind = (part for rate, at in written for part in trace(program, rate, at or Frame.at(program, rate), _MAX_TRACED))
    is_default = any(isinstance(part, ast.Call) and evaluator.is_default(part, where) for part, where in behind)
    return Idle.BY_DEFAULT if is_default else Idle.ALWAYS


def _are_given_anew(program: Program, tests: Iterable[ast.expr]) -> bool:
    """Whether attributes that tests ask for may be given another value: ``s.adapt = True``, by any of the names."""
    names = {part.attr for test in tests for part in ast.walk(test) if isinstance(part, ast.Attribute)}
    if not names:
        return False
    stored = (node for script in program.scripts for node in nodes_within(script.tree))
    if any(
        isinstance(node, ast.Attribute)
        and node.attr in names
        and isinstance(node.ctx, ast.Store)
        and not _is_made(program, node)
        for node in stored
    ):
        return True
    for call in program.calls.get("setattr", ()):
        name = call.args[1] if len(call.args) > 1 else None
        if not isinstance(name, ast.Constant) or name.value in names:
            return True
    updated = (call.func for call in program.calls.get("update", ()) if isinstance(call.func, ast.Attribute))
    return any(_is_dictionary(func.value) for func in updated)


def _is_made(program: Program, node: ast.Attribute) -> bool:
    """self.adapt = .. where its object is made."""
    return program.scope(node).name == "__init__" and isinstance(node.value, ast.Name) and node.value.id == "self"


def _is_dictionary(node: ast.expr) -> bool:
    """s.__dict__, vars(s)."""
    is_vars = isinstance(node, ast.Call) and last_name(node.func) == "vars"
    return is_vars or (isinstance(node, ast.Attribute) and node.attr == "__dict__")


def _may_learn(program: Program, learning: ast.AST) -> bool:
    """Whether something else than the steps that were looked at may use the gradient, or give the steps a rate."""
    scope = program.scope(learning)
    own, rounds = [*program.own_nodes(scope)], loops_around(program, learning)[:1]
    if any(isinstance(node, ast.Attribute) and _is_open(program, node) for node in own):
        return True
    for call in (node for node in own if isinstance(node, ast.Call)):
        name, callee = last_name(call.func), program.callee(call)
        if (name.startswith("_foreach_") and name.endswith("_")) or name == "load_state_dict":
            return True
        if callee is None or callee is scope or loops_around(program, call)[:1] != rounds:
            continue
        if any(isinstance(node, ast.Attribute) and node.attr == "grad" for node in program.own_nodes(callee)):
            return True
    return False


def _is_open(program: Program, node: ast.Attribute) -> bool:
    """p.grad where it is read for anything but a test, and groups of an optimizer but for their rate by its name."""
    above = program.parent(node)
    if node.attr == "grad":
        is_asked = isinstance(above, ast.Call) and above.func is node  # torch.autograd.grad
        return isinstance(node.ctx, ast.Load) and not isinstance(above, ast.Compare) and not is_asked
    if node.attr != "param_groups":
        return False
    if isinstance(above, ast.For) and isinstance(above.target, ast.Name):
        uses = (part for part in ast.walk(above) if isinstance(part, ast.Name) and part.id == above.target.id)
        return not all(use is above.target or _is_rate(program.parent(use)) for use in uses)
    return not (isinstance(above, ast.Subscript) and _is_rate(program.parent(above)))


def _is_rate(node: ast.AST | None) -> bool:
    return isinstance(node, ast.Subscript) and _is_key(node.slice)


def _left_by(program: Program, node: ast.AST, frame: Frame) -> ast.expr | None:
    """The test by which a statement is not come to, in whatever round of a loop; None where it may be."""
    for condition in conditions_of(program, program.statement(node), frame):
        names = [part for part in ast.walk(condition.test) if isinstance(part, ast.Name)]
        changes = any(each.kind in ("loop", "augment", "mutation") for name in names for each in program.reaching(name))
        if not changes and Evaluator(program).all_hold(((condition.test, condition.wanted),), frame) is False:
            return condition.test
    return None


def _is_of_schedule(program: Program, step: ast.Call, frame: Frame) -> bool:
    """Whether a step is one of a schedule of learning rates."""
    receiver = step.func.value if isinstance(step.func, ast.Attribute) else None
    made = made_by(program, receiver, frame) if isinstance(receiver, ast.Name) else []
    return bool(made) and all(isinstance(each, ast.Call) and last_name(each.func).endswith("LR") for each, _ in made)


def _rates(program: Program, steps: Sequence[ast.Call], frame: Frame) -> Iterator[Source | None]:
    """The learning rates of what takes steps, each with the frame to read it in; None for one that is not known."""
    for step in steps:
        receiver = step.func.value if isinstance(step.func, ast.Attribute) else None
        stepped = step.args[0] if step.args else receiver  # scaler.step(optimizer)
        if not isinstance(stepped, ast.Name):
            yield None
            continue
        made = made_by(program, stepped, frame)
        if any(isinstance(each, ast.Call) and last_name(each.func) in _MULTIPLYING for each, _ in made):
            continue  # a schedule takes a step too
        for each, where in made:
            rate = _rate_of(each) if isinstance(each, ast.Call) else None
            is_open = rate is None or _may_be_set(program, each, stepped, where, frame)
            yield None if rate is None or is_open else (rate, where)
        if not made:
            yield None


def _by_hand(program: Program, learning: ast.AST) -> Iterator[ast.BinOp | ast.AugAssign | ast.Call]:
    """Where a function takes gradients off something, or adds them to it, by itself."""
    gradients = stored_in(program.statement(learning))
    for node in program.own_nodes(program.scope(learning)):
        if isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Sub):
            if _is_of_gradient(_taken_off(node), gradients):
                yield node
        elif (
            isinstance(node, ast.Call)
            and last_name(node.func) in _WRITING
            and any(_is_of_gradient(each, gradients) for each in arguments(node))
        ):
            yield node


def _taken_off(node: ast.BinOp | ast.AugAssign) -> ast.expr:
    return node.right if isinstance(node, ast.BinOp) else node.value


def _rates_by_hand(written: Sequence[ast.BinOp | ast.AugAssign | ast.Call], frame: Frame) -> Iterator[Source | None]:
    """The factors of gradients that are taken off or added by hand."""
    for node in written:
        rate = keyword(node, "alpha", "value") if isinstance(node, ast.Call) else _taken_off(node)
        yield (rate, frame) if rate is not None else None


def _is_of_gradient(node: ast.expr, gradients: Container[str]) -> bool:
    return any(
        (isinstance(part, ast.Name) and part.id in gradients)
        or (isinstance(part, ast.Attribute) and part.attr == "grad")
        for part in ast.walk(node)
    )


def _rate_of(made: ast.Call) -> ast.expr | None:
    """The learning rate that an optimizer is made with."""
    named = keyword(made, "lr", "learning_rate")
    is_known = _RATE_SECOND.fullmatch(last_name(made.func)) is not None
    return named if named is not None else made.args[1] if is_known and len(made.args) > 1 else None


def _may_be_set(program: Program, made: ast.expr, stepped: ast.Name, at: Frame, frame: Frame) -> bool:
    """Whether parameters of an optimizer may have, or be given, another rate than the one it is made with."""
    names = stored_in(program.statement(made)) | {stepped.id}
    own = {program.scope(made): at, program.scope(stepped): frame}
    return any(
        _sets_rate(program, node, names, where)
        for scope, where in own.items()
        for node in program.own_nodes(scope)
        if node is not made and not (isinstance(node, ast.Call) and program.callee(node) in own)
    )


def _sets_rate(program: Program, node: ast.AST, names: Container[str], frame: Frame) -> bool:
    """Whether a node gives a group of parameters a rate that is not 0, or hands an optimizer to what may."""
    rates: list[ast.expr] = []
    if isinstance(node, ast.Dict):
        rates = [value for key, value in zip(node.keys, node.values, strict=True) if _is_key(key)]
    elif isinstance(node, ast.Assign | ast.AugAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        is_stored = any(isinstance(each, ast.Subscript) and _is_key(each.slice) for each in targets)
        is_scaled = isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Mult | ast.Div)
        rates = [node.value] if is_stored and not is_scaled else []
    elif isinstance(node, ast.Call) and last_name(node.func) not in _HARMLESS:
        given = last_name(node.func) == "dict" and keyword(node, "lr")
        rates = [given] if given else []
        if last_name(node.func) not in _MULTIPLYING and any(
            isinstance(each, ast.Name) and each.id in names for each in arguments(node)
        ):
            return True
    return not all(_is_zero(program, rate, frame) for rate in rates)


def _is_key(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and node.value == "lr"


def _is_zero(program: Program, node: ast.expr, frame: Frame) -> bool:
    """Whether a rate is 0: a product of it with anything too."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        return _is_zero(program, node.left, frame) or _is_zero(program, node.right, frame)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        return _is_zero(program, node.left, frame)
    return Evaluator(program).number(node, frame) == 0.0
