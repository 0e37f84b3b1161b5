"""Steps that change nothing: they are not come to, or all that take them have a learning rate of 0."""

from __future__ import annotations

import ast
import enum
import re
from collections.abc import Container, Iterable, Iterator, Sequence
from typing import TypeGuard

from bpb_harness.auditing.script.domains.changed import conditions_of
from bpb_harness.auditing.script.domains.changed_tables import TableChanges
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
_MAKING = frozenset(["tensor", "as_tensor", "Tensor", "FloatTensor", "scalar_tensor", "array", "asarray",
                     "from_numpy", "zeros", "zeros_like", "new_zeros", "full", "full_like", "new_full",
                     "Parameter", "list"])  # fmt: skip
_GRADIENTS = frozenset(["backward", "grad", "value_and_grad"])
_WRITING = frozenset(["add_", "sub_", "addcdiv_", "lerp_", "_foreach_add_"])


class Idle(enum.Enum):
    """Why steps change nothing: as they are written, or by what something else may change.

    That is a setting's default, a setting that is given another value, a rate that is written to, gradients that are
    read elsewhere than by the steps. What may be changed is nothing that is known: steps that may be taken.
    """

    ALWAYS = "always"
    BY_DEFAULT = "by default"
    MAY_BE_CHANGED = "may be changed"


MAY_BE_CHANGED = (
    "no step is taken as it stands there, or its learning rate is 0, but the script may change that elsewhere, or use "
    "the gradients by other means, and that was not followed"
)


def idle_steps(program: Program, learning: ast.AST, frame: Frame) -> Idle | None:
    """Whether the steps beside a gradient change nothing; None where one of them may.

    Args:
        program: the scripts.
        learning: where the gradient is worked out.
        frame: where names beside it are read.
    """
    settings = dict(program.taken)
    handed = _steps_of_helpers(program, learning, frame)
    found = _find_idle(program, learning, frame, handed) if handed else None
    if found is None:
        found = _find_idle(program, learning, frame)
        found = found if found is None or handed == [] else Idle.MAY_BE_CHANGED  # by what else is called, for all known
    if found is Idle.ALWAYS and _may_learn(program, learning):
        found = Idle.MAY_BE_CHANGED
    if found is None:
        program.taken = settings  # a reader is told of those alone that decided something
    return found


def _find_idle(
    program: Program, learning: ast.AST, frame: Frame, handed: Sequence[tuple[ast.Call, Frame]] = ()
) -> Idle | None:
    """What is known of the steps of a function, and of those that it hands over to others."""
    scope = program.scope(learning)
    steps = [
        (call, frame)
        for call in program.calls.get("step", [])
        if program.scope(call) is scope and not _is_done_before(program, call, learning)
    ]
    by_hand = [(step, frame) for step in _by_hand(program, learning)]
    tests = [(each, _left_by(program, *each)) for each in (*steps, *handed, *by_hand)]
    left = [(test, where) for (_, where), test in tests if test is not None]
    stay = [each for each, test in tests if test is None]
    taken = [(step, where) for step, where in stay if isinstance(step, ast.Call) and last_name(step.func) == "step"]
    own = [step for step, _ in stay if all(step is not each for each, _ in taken)]
    if left and not own and all(_is_of_schedule(program, *each) for each in taken):
        why = _why(program, left)
        return Idle.MAY_BE_CHANGED if why is Idle.ALWAYS and _are_given_anew(program, left) else why
    rates = [*_rates(program, taken), *_rates_by_hand(own, frame)]
    known = [rate for rate in rates if rate is not None]
    if not known or len(known) < len(rates) or not all(_is_zero(program, *rate) for rate in known):
        return None
    return Idle.MAY_BE_CHANGED if _are_filled(program, known) else _why(program, known)


def _steps_of_helpers(program: Program, learning: ast.AST, frame: Frame) -> list[tuple[ast.Call, Frame]] | None:
    """Steps of functions that are called beside a gradient, in its loop, and work out none themselves.

    None where one of them calls what takes steps in its turn.
    """
    steps = program.calls.get("step", [])
    own = {program.scope(call) for name in _GRADIENTS for call in program.calls.get(name, ())}
    stepping = {program.scope(call) for call in steps} - own
    found: list[tuple[ast.Call, Frame]] = []
    for call in (node for node in program.own_nodes(program.scope(learning)) if isinstance(node, ast.Call)):
        callee = program.callee(call)
        is_beside = loops_around(program, call)[:1] == loops_around(program, learning)[:1]
        if callee is None or callee in own or not is_beside or _is_done_before(program, call, learning):
            continue
        called = (program.callee(node) for node in program.own_nodes(callee) if isinstance(node, ast.Call))
        if any(each in stepping for each in called):
            return None
        inside = frame.inside(program, callee, call)
        found += [(step, inside) for step in steps if program.scope(step) is callee]
    return found


def _are_filled(program: Program, known: Sequence[Source]) -> bool:
    """Whether rates that were made as 0 may be written to in place: ``rate = torch.tensor(0.0)``, ``rate.fill_(x)``."""
    zeros = [zero for rate in known for zero in _zeros_of(program, *rate)]
    behind = (part for zero in zeros for part in trace(program, *zero, _MAX_TRACED))
    made = {part: where for part, where in behind if _is_written_to(part)}
    if not made:
        return False
    frames = {where.scope: where for where in made.values()}

    def keeps(call: ast.Call) -> bool:
        """rate.fill_(0.0), rate.mul_(x)."""
        name, frame = last_name(call.func), frames.get(program.scope(call)) or Frame.at(program, call)
        is_of_zero = name in ("fill_", "copy_", "add_", "sub_") and bool(call.args)
        return name in ("mul_", "div_", "zero_") or (is_of_zero and _is_zero(program, call.args[0], frame))

    changes = TableChanges(program)
    return changes.of_values(made, keeps) or changes.of_values(_rates_of_groups(program), keeps)


def _is_written_to(node: ast.AST) -> TypeGuard[ast.expr]:
    """Whether an expression makes something whose value may be changed in place: a tensor or a list."""
    return isinstance(node, ast.List) or (isinstance(node, ast.Call) and last_name(node.func) in _MAKING)


def _rates_of_groups(program: Program) -> Iterator[ast.expr]:
    """``group["lr"]`` where it is read, in whatever function."""
    nodes = (node for script in program.scripts for node in nodes_within(script.tree))
    return (node for node in nodes if _is_rate(node) and isinstance(node.ctx, ast.Load))


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


def _are_given_anew(program: Program, tests: Iterable[Source]) -> bool:
    """Whether attributes that tests ask for may be given another value: ``s.adapt = True``, by any of the names."""
    behind = (part for test in tests for part, _ in trace(program, *test, _MAX_TRACED))
    names = {part.attr for part in behind if isinstance(part, ast.Attribute)}
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


def _is_rate(node: ast.AST | None) -> TypeGuard[ast.Subscript]:
    return isinstance(node, ast.Subscript) and _is_key(node.slice)


def _left_by(program: Program, node: ast.AST, frame: Frame) -> ast.expr | None:
    """The test by which a statement is not come to, in whatever round of a loop; None where it may be."""
    above = conditions_of(program, program.statement(node), frame)
    tests = [*((each.test, each.wanted) for each in above), *((test, False) for test in _leaving(frame, node))]
    for test, wanted in tests:
        names = [part for part in ast.walk(test) if isinstance(part, ast.Name)]
        changes = any(each.kind in ("loop", "augment", "mutation") for name in names for each in program.reaching(name))
        if not changes and Evaluator(program).all_hold(((test, wanted),), frame) is False:
            return test
    return None


def _leaving(frame: Frame, node: ast.AST) -> Iterator[ast.expr]:
    """The tests by which a function has returned before it comes to a node: ``if not on: return``."""
    function = frame.scope.node
    body = function.body if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) else []
    for each in body:
        if isinstance(each, ast.If) and isinstance(each.body[-1], ast.Return) and position(each) < position(node):
            yield each.test


def _is_of_schedule(program: Program, step: ast.Call, frame: Frame) -> bool:
    """Whether a step is one of a schedule of learning rates."""
    receiver = step.func.value if isinstance(step.func, ast.Attribute) else None
    made = made_by(program, receiver, frame) if isinstance(receiver, ast.Name) else []
    return bool(made) and all(isinstance(each, ast.Call) and last_name(each.func).endswith("LR") for each, _ in made)


def _rates(program: Program, steps: Sequence[tuple[ast.Call, Frame]]) -> Iterator[Source | None]:
    """The learning rates of what takes steps, each with the frame to read it in; None for one that is not known."""
    for step, frame in steps:
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
    return bool(_zeros_of(program, node, frame))


def _zeros_of(program: Program, node: ast.expr, frame: Frame) -> list[Source]:
    """What makes a rate 0: itself, or factors of it."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        return [*_zeros_of(program, node.left, frame), *_zeros_of(program, node.right, frame)]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        return _zeros_of(program, node.left, frame)
    return [(node, frame)] if Evaluator(program).number(node, frame) == 0.0 else []
