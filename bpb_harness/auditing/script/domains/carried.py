"""Whether the weights that a function has trained are those that a score is made with.

Followed from the optimizer to the network that is asked, through files and buffers that are written and read on the
way. What is not known to be so is said in words, and is no proof.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence

from bpb_harness.auditing.script.domains.algebra import is_cross_entropy
from bpb_harness.auditing.script.domains.extent import loops_around
from bpb_harness.auditing.script.domains.trace import trace
from bpb_harness.auditing.script.domains.values import Evaluator
from bpb_harness.auditing.script.domains.ways import Way, way_of, ways_to
from bpb_harness.auditing.script.domains.written_files import writings
from bpb_harness.auditing.script.frontend.nodes import end_of, is_zero, position
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import Definition, Scope, last_name
from bpb_harness.auditing.script.frontend.walker import Frame, operands

_MAX_TRACED, _MAX_STEPS, _MAX_HOPS = 5_000, 20, 3
_WRAPS = frozenset([
    "compile", "DDP", "DistributedDataParallel", "to", "cuda", "float", "bfloat16", "eval", "train", "enumerate",
    "reversed", "list", "zip",
])  # fmt: skip
_PARAMETERS = frozenset(["parameters", "named_parameters"])
_OF_NETWORKS = ("state_dict", "load_state_dict", "parameters", "named_parameters", "eval", "train")
_ADDING = frozenset(["add_", "lerp_"])
_TENSORS = frozenset(["zeros", "zeros_like", "ones", "ones_like", "empty", "empty_like", "full", "tensor"])
_TEMPORARY = frozenset(["mkdtemp", "mkstemp", "TemporaryDirectory", "NamedTemporaryFile"])
_PUTS_BACK = ("load_state_dict", "copy_", "set_", "swap", "_foreach_copy_", "vector_to_parameters")
_RESETS = ("zero_", "zeros_", "fill_", "constant_", "normal_", "reset_parameters", "_foreach_zero_")
_RATES = frozenset(["lr", "learning_rate"])

_Root = tuple[Scope, str]
"""A variable: where it is, and what it is called."""


class Carried:
    """The weights that are trained on a way, and what becomes of them until a score.

    Args:
        program: the scripts.
        way: the calls that come to the training.
        met: where that way and the score's part; both stand in one scope there.
        scored: the calls that score, in that scope.
    """

    def __init__(self, program: Program, way: Way, met: int, scored: Sequence[ast.AST]) -> None:
        self._program, self._way, self._met = program, way, met
        self._learning, self._frame = way[met]
        if met == len(way) - 1:  # training that stands in that scope itself is all of its loop
            around = {above for node in scored for above in program.ancestors(node)}
            loops = [loop for loop in loops_around(program, self._learning) if loop not in around]
            self._learning = loops[-1] if loops else self._learning
        self._trained = set(self._roots_trained())

    def not_shown(self, scoring: ast.AST) -> str:
        """Why it is not known that a score is one of the trained weights; empty where it is.

        Args:
            scoring: the call that scores, in the scope where the ways part.
        """
        if not isinstance(scoring, ast.Call):
            return "training and scoring stand in one function"
        if self._is_put_back(scoring) or self._is_written_over(scoring) or self._is_under_manager(scoring):
            return "weights may be put back behind the training"
        if self._is_of_no_size():
            return "the steps of the training may be of no size: a factor of them is 0"
        networks = {each for each in self._asked(scoring) if each in self._trained or self._is_network(each, scoring)}
        if not networks or not all(self._has_learnt(root, scoring) for root in networks):
            return "the way of the trained weights to the network that scores was not followed"
        return ""

    def _asked(self, scoring: ast.Call) -> Iterator[_Root]:
        """The variables that a score is given; of a cross-entropy, those that its logits are worked out of."""
        given = [*operands(scoring), *(each.value for each in scoring.keywords)]
        if not is_cross_entropy(scoring) or self._program.callee(scoring) is not None:
            yield from (root for each in given if (root := self._root(each, self._frame)) is not None)
            return
        waiting, seen = given[:1], set[ast.AST]()
        while waiting and len(seen) < _MAX_TRACED:
            for name in (part for part in ast.walk(waiting.pop()) if isinstance(part, ast.Name) and part not in seen):
                seen.add(name)
                root = self._root(name, self._frame)
                yield from [root] if root is not None else []
                made = (each for each in self._program.reaching(name) if each.kind == "assign")
                waiting += [each.value for each in made if each.value is not None]

    # -- what is trained -------------------------------------------------------------------------------

    def _roots_trained(self) -> Iterator[_Root]:
        """The networks whose parameters are those of an optimizer that takes steps on the way."""
        for call, frame in self._steps():
            for name in operands(call):
                for part, where in trace(self._program, name, frame, _MAX_TRACED):
                    if isinstance(part, ast.Call) and isinstance(part.func, ast.Attribute) and (
                        part.func.attr in _PARAMETERS
                    ):  # fmt: skip
                        root = self._root(part.func.value, where)
                        yield from [root] if root is not None else []

    def _steps(self) -> Iterator[tuple[ast.Call, Frame]]:
        """The steps that are taken on the way, each with the frame that it is read in."""
        frames = {frame.scope: frame for _, frame in self._way[self._met + 1 :]}
        for call in self._program.calls.get("step", []):
            is_beside = self._met == len(self._way) - 1 and self._learning in self._program.ancestors(call)
            frame = self._frame if is_beside else frames.get(self._program.scope(call))
            if frame is not None:
                yield call, frame

    def _root(self, node: ast.expr, frame: Frame) -> _Root | None:
        """The variable that a network, or a part of one, is of: model of (compile(model).module).blocks[0]."""
        for _ in range(_MAX_STEPS):
            if isinstance(node, ast.Attribute | ast.Subscript | ast.Starred):
                node = node.value
            elif isinstance(node, ast.IfExp):
                node = node.body
            elif isinstance(node, ast.Call) and last_name(node.func) in _WRAPS and operands(node):
                node = operands(node)[0]
            elif not isinstance(node, ast.Name):
                return None
            elif (given := frame.given(self._program, node)) is not None:
                node, frame = given
            else:
                defined = self._program.reaching(node)
                is_sure = len(defined) == 1 or (bool(defined) and self._is_come_to(defined[0].statement, node))
                value = defined[0].value if is_sure and defined[0].kind in ("assign", "loop") else None
                if value is None or not _is_plain(value):
                    return (self._home(node, defined), node.id)
                node = value
        return None

    def _home(self, name: ast.Name, defined: Sequence[Definition]) -> Scope:
        """The function that a variable is of: one around that in which it is read, where that gives it no value."""
        scopes = {self._program.scope(each.statement) for each in defined if each.kind in ("assign", "loop")}
        return scopes.pop() if len(scopes) == 1 else self._program.scope(name)

    def _is_come_to(self, statement: ast.AST, use: ast.AST) -> bool:
        """Whether a log shows that a statement was come to before a use of what it makes: it hides what was before."""
        known, around = dict(self._program.tests_above(use)), {*self._program.ancestors(use)}
        loops = (loop for loop in loops_around(self._program, statement) if loop not in around)
        is_before = self._program.scope(statement) is self._program.scope(use) and position(statement) < position(use)
        return (
            is_before
            and not any(True for _ in loops)
            and all(
                known.get(test) is wanted or self._program.held.get(test) is wanted
                for test, wanted in self._program.tests_above(statement)
            )
        )

    # -- what becomes of it ----------------------------------------------------------------------------

    def _between(self, node: ast.AST, scoring: ast.AST) -> bool:
        return self._program.scope(node) is self._frame.scope and end_of(self._learning) < position(node) < position(
            scoring
        )

    def _is_done(self, node: ast.AST, scoring: ast.AST) -> bool:
        """Whether what stands between is come to where the training and the scoring were, on one process at least."""
        known = {*self._program.tests_above(self._learning), *self._program.tests_above(scoring)}
        own = [each for each in self._program.tests_above(node) if each not in known]
        return self._between(node, scoring) and all(
            _asks_for_process(test) or Evaluator(self._program).all_hold(((test, wanted),), self._frame) is True
            for test, wanted in own
        )

    def _is_put_back(self, scoring: ast.AST) -> bool:
        """Whether anything on the way back from the training, or behind it, may write other weights over it."""
        program = self._program
        for name in _PUTS_BACK:
            for call in program.calls.get(name, []):
                within = [node for node, frame in self._way[self._met + 1 :] if program.scope(call) is frame.scope]
                is_behind = any(position(call) > position(node) for node in within)
                if (is_behind or self._learning in program.ancestors(call)) and not self._is_running_mean(call):
                    return True
                if name != "load_state_dict" and self._between(call, scoring) and not self._is_of_no_network(call):
                    return True
        inner = {program.scope(node) for node, _ in self._way[self._met + 1 :]}
        for call in (each for calls in program.calls.values() for each in calls if self._between(each, scoring)):
            callee = program.callee(call)
            if callee is None or callee in inner or callee.mentions.isdisjoint((*_PUTS_BACK, *_RESETS)):
                continue
            given = {self._root(each, self._frame) for each in [*operands(call), *(k.value for k in call.keywords)]}
            if not given.isdisjoint(self._trained):
                return True
        return any(
            self._between(definition.statement, scoring) and definition.kind == "assign"
            for scope, name in self._trained
            for definition in scope.definitions.get(name, [])
        )

    def _is_behind(self, node: ast.AST, scoring: ast.AST) -> bool:
        """Whether a node stands behind the training, in a function on the way to it or before the scoring."""
        on_the_way = ((site, frame) for site, frame in self._way[self._met + 1 :])
        scope = self._program.scope(node)
        return self._between(node, scoring) or any(
            scope is frame.scope and position(node) > position(site) for site, frame in on_the_way
        )

    def _is_written_over(self, scoring: ast.AST) -> bool:
        """Whether weights may be set to others, or to what they began with: p.data = kept[n], init.zeros_(lora_b)."""
        resets = (call for name in _RESETS for call in self._program.calls.get(name, []))
        if any(self._is_behind(call, scoring) and not self._is_of_gradient(call) for call in resets):
            return True
        return any(
            isinstance(node, ast.Assign)
            and any(_is_data(target) and ast.unparse(target) not in ast.unparse(node.value) for target in node.targets)
            and self._is_behind(node, scoring)
            for node in self._own_nodes()
        )

    def _own_nodes(self) -> Iterator[ast.AST]:
        """All that stands in a function on the way."""
        for scope in dict.fromkeys(frame.scope for _, frame in self._way[self._met :]):
            yield from self._program.own_nodes(scope)

    def _is_of_gradient(self, call: ast.Call) -> bool:
        """Whether what is set to zero is a gradient, or a tensor that was made for itself."""
        named = ast.unparse(call.func)
        return ".grad." in named or self._is_of_no_network(call)

    def _is_under_manager(self, scoring: ast.AST) -> bool:
        """Whether a `with` that is left before the scoring may put weights back: a manager of the program's own."""
        around = {*self._program.ancestors(scoring)}
        behind = [each for node, _ in self._way[self._met :] for each in self._program.ancestors(node)]
        managers = (
            item.context_expr
            for each in behind
            if isinstance(each, ast.With | ast.AsyncWith) and each not in around
            for item in each.items
        )
        return any(self._puts_back(each) for each in managers)

    def _puts_back(self, manager: ast.expr) -> bool:
        made = [manager, *(each.value for each in self._program.reaching(manager))] if isinstance(
            manager, ast.Name
        ) else [manager]  # fmt: skip
        for call in (each for each in made if isinstance(each, ast.Call)):
            callee = self._program.callee(call)
            left = self._program.classes.get(last_name(call.func), {}).get("__exit__")
            for scope in (each for each in (callee, left) if each is not None):
                stored = (part for part in ast.walk(scope.node) if isinstance(part, ast.Assign))
                if not scope.mentions.isdisjoint((*_PUTS_BACK, *_RESETS)) or any(
                    _is_data(target) for each in stored for target in each.targets
                ):
                    return True
        return False

    def _is_of_no_size(self) -> bool:
        """Whether the steps may move nothing: lr=0.0, group["lr"] = 0.0, (loss * 0.0).backward()."""
        site = self._way[-1][0]
        if isinstance(site, ast.Call) and isinstance(site.func, ast.Attribute) and _is_times_zero(site.func.value):
            return True
        if any(
            isinstance(node, ast.Assign) and is_zero(node.value) and any(_is_rate(target) for target in node.targets)
            for node in self._own_nodes()
        ):
            return True
        return any(
            isinstance(part, ast.Call) and any(each.arg in _RATES and is_zero(each.value) for each in part.keywords)
            for call, frame in self._steps()
            for name in operands(call)
            for part, _ in trace(self._program, name, frame, _MAX_TRACED)
        )

    def _is_of_no_network(self, call: ast.Call) -> bool:
        """Whether what is written over is a tensor that was made for itself: delta = torch.zeros(..)."""
        written = call.func.value if isinstance(call.func, ast.Attribute) else None
        while isinstance(written, ast.Attribute | ast.Subscript):
            written = written.value
        defined = self._program.reaching(written) if isinstance(written, ast.Name) else ()
        return bool(defined) and all(
            each.kind == "assign" and isinstance(each.value, ast.Call) and last_name(each.value.func) in _TENSORS
            for each in defined
        )

    def _is_running_mean(self, call: ast.Call) -> bool:
        """Whether p.copy_(mean[n]) puts in what each round of the training has added its own weights to."""
        put = call.args[0] if last_name(call.func) == "copy_" and len(call.args) == 1 else None
        while isinstance(put, ast.Subscript):
            put = put.value
        site = next((each for each in self._way[self._met + 1 :] if each[1].scope is self._program.scope(call)), None)
        if not isinstance(put, ast.Name) or site is None:
            return False
        added = (part for loop in loops_around(self._program, site[0]) for part in ast.walk(loop))
        return any(
            isinstance(part, ast.Call)
            and last_name(part.func) in _ADDING
            and position(part) > position(site[0])
            and any(isinstance(each, ast.Name) and each.id == put.id for each in ast.walk(part.func))
            and any(self._is_parameter(value, site[1]) for value in part.args)
            for part in added
        )

    def _is_parameter(self, node: ast.expr, frame: Frame) -> bool:
        """Whether something is a trained network's: p of for n, p in model.named_parameters(), whether run or not."""
        names = (part for part in ast.walk(node) if isinstance(part, ast.Name))
        behind = (each.value for name in names for each in self._program.reaching(name) if each.kind == "loop")
        return any(
            isinstance(value, ast.Call)
            and isinstance(value.func, ast.Attribute)
            and value.func.attr in _PARAMETERS
            and self._root(value.func.value, frame) in self._trained
            for value in behind
        )

    def _is_network(self, root: _Root, scoring: ast.AST) -> bool:
        scope, name = root
        return any(True for _ in self._loaded_inside(root, scoring)) or any(
            isinstance(call.func, ast.Attribute)
            and self._program.scope(call) is scope
            and isinstance(call.func.value, ast.Name)
            and call.func.value.id == name
            for method in _OF_NETWORKS
            for call in self._program.calls.get(method, [])
        )

    def _has_learnt(self, root: _Root, scoring: ast.AST) -> bool:
        """Whether a network is a trained one, or has been given the weights of one, and none but those."""
        loaded = [
            (call.args[0], self._frame)
            for call in self._program.calls.get("load_state_dict", [])
            if call.args
            and self._between(call, scoring)
            and (root in self._trained or self._is_done(call, scoring))
            and isinstance(call.func, ast.Attribute)
            and self._root(call.func.value, self._frame) == root
        ]
        if not loaded and root not in self._trained:
            loaded = [*self._loaded_inside(root, scoring)]
        is_trained = root in self._trained
        return (is_trained or bool(loaded)) and all(self._is_of_trained(*each, scoring) for each in loaded)

    def _loaded_inside(self, root: _Root, scoring: ast.AST) -> Iterator[tuple[ast.expr, Frame]]:
        """What a function that makes a network behind the training loads into it."""
        scope, name = root
        for definition in scope.definitions.get(name, []):
            made = definition.value if self._between(definition.statement, scoring) else None
            callee = self._program.callee(made) if isinstance(made, ast.Call) else None
            if callee is None or not isinstance(made, ast.Call):
                continue
            inner = self._frame.inside(self._program, callee, made)
            for call in self._program.calls.get("load_state_dict", []):
                if self._program.scope(call) is callee and call.args:
                    yield call.args[0], inner

    def _is_of_trained(self, state: ast.expr, frame: Frame, scoring: ast.AST, hops: int = 0) -> bool:
        """Whether a state is made of the trained network's, after the training; what is read from a file too."""
        is_found = False
        for part, where in trace(self._program, state, frame, _MAX_TRACED):
            if not isinstance(part, ast.Call):
                continue
            name = last_name(part.func)
            if name == "state_dict" and isinstance(part.func, ast.Attribute):
                if self._root(part.func.value, where) not in self._trained or not self._is_after(part, where, scoring):
                    continue
                is_found = True
            elif name in ("open", "load", "BytesIO") and (part.args or name == "BytesIO"):
                if part.args and isinstance(part.args[0], ast.Call):
                    continue  # torch.load(io.BytesIO(blob)), which is followed as it stands
                if (name == "BytesIO" and part.args) or (name == "open" and self._is_temporary(part, where, scoring)):
                    continue
                written = [*self._written(part, scoring)] if hops < _MAX_HOPS else []
                if not any(self._is_of_trained(*each, scoring, hops + 1) for each in written):
                    return False
                is_found = True
        return is_found

    def _is_temporary(self, reading: ast.Call, frame: Frame, scoring: ast.AST) -> bool:
        """Whether a file lies in a folder that was made behind the training: nothing from before that is in it."""
        behind = trace(self._program, reading.args[0], frame, _MAX_TRACED) if reading.args else ()
        return any(
            isinstance(part, ast.Call) and last_name(part.func) in _TEMPORARY and self._is_after(part, where, scoring)
            for part, where in behind
        )

    def _is_after(self, node: ast.AST, frame: Frame, scoring: ast.AST) -> bool:
        """Whether a node that was met in a frame is come to between the training and the scoring."""
        return any(
            self._is_done(each, scoring)
            for way in way_of(self._program, node, frame)
            for each, _ in way
        )  # fmt: skip

    def _written(self, reading: ast.Call, scoring: ast.AST) -> Iterator[tuple[ast.expr, Frame]]:
        """What is written, behind the training, to where something is read from: torch.save, f.write, write_bytes."""
        for call in writings(self._program, reading):
            for way in ways_to(self._program, call):
                if any(self._is_done(each, scoring) for each, _ in way):
                    yield (call.args[0], way[-1][1])


def _asks_for_process(test: ast.expr) -> bool:
    """Whether a test asks which of several processes this is: the first one writes for all."""
    names = [last_name(part) for part in ast.walk(test) if isinstance(part, ast.Name | ast.Attribute)]
    return any(re.search(r"rank|master|main|distributed", name) for name in names)


def _is_data(target: ast.expr) -> bool:
    """Whether it is what a weight holds: p.data, p.data[:]."""
    while isinstance(target, ast.Subscript):
        target = target.value
    return isinstance(target, ast.Attribute) and target.attr == "data"


def _is_rate(target: ast.expr) -> bool:
    """Whether it is the size of an optimizer's steps: group["lr"]."""
    place = target.slice if isinstance(target, ast.Subscript) else None
    return isinstance(place, ast.Constant) and place.value in _RATES


def _is_times_zero(node: ast.expr) -> bool:
    """Whether all of an expression is multiplied by 0: scaler.scale(loss * 0.0)."""
    while isinstance(node, ast.Call) and operands(node):
        node = operands(node)[-1]
    if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Mult | ast.Div):
        return False
    factors = [node.left, node.right] if isinstance(node.op, ast.Mult) else [node.left]
    return any(is_zero(each) or _is_times_zero(each) for each in factors)


def _is_plain(value: ast.expr) -> bool:
    """Whether a value is another name for what is in it: base.module, compile(base), base if distributed else base."""
    if isinstance(value, ast.Call):
        return last_name(value.func) in _WRAPS and bool(operands(value)) and _is_plain(operands(value)[0])
    return isinstance(value, ast.Name | ast.Attribute | ast.Subscript | ast.IfExp)
