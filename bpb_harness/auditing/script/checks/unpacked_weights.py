"""Scores of weights that were never packed, in a run that packs them, reads them back and scores those too.

What is submitted, and counted in bytes, is the packed network. A script may read it back into one network, and hand
another one to the evaluation whose score is claimed: the trained one; or load the mean of the trained weights once more
behind the round trip.
"""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bpb_harness.auditing.script import codes
from bpb_harness.auditing.script.context import LoggedScore
from bpb_harness.auditing.script.domains.analysis import Analysis, Hit
from bpb_harness.auditing.script.domains.extent import loops_around
from bpb_harness.auditing.script.domains.in_evaluation import is_in_training
from bpb_harness.auditing.script.domains.log_of_script import other_size, wrote_log
from bpb_harness.auditing.script.domains.packed_states import PackedStates, read_back_before
from bpb_harness.auditing.script.domains.printed_scores import first_printed, printed_in_log, texts_of
from bpb_harness.auditing.script.frontend.nodes import end_of, is_none, position
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import Definition, last_name
from bpb_harness.findings import Json

_LEAST_WORK, _MOST_WORK = 60_000, 40_000  # what has to be left of the program's bound, and what is taken of it
_MOST_PRINTED = 32  # calls that may print that weights were loaded again
_ROUNDING = ("quant", "ternar", "binar", "round", "sign", "fake", "int4", "int5", "int6", "int8")


def check_unpacked_weights(analysis: Analysis) -> Iterator[Hit]:
    """A claimed score whose network holds the trained weights, where others were read back from the packed file.

    Nothing is said unless the log prints the score of what was read back, before the claimed one.
    """
    program, logged = analysis.program, analysis.context.logged
    if not logged or "load_state_dict" not in program.calls or program.work_left < _LEAST_WORK or not analysis.claimed:
        return
    settings, left = dict(program.taken), program.work_left
    program.work_left = min(left, _MOST_WORK)
    try:
        found = [_unpacked(program, analysis.sinks[number].node, logged) for number in sorted(analysis.claimed)]
        if program.work_left <= 0 or not all(found) or _rounds_weights(analysis):
            return
    finally:
        program.work_left = left - min(left, _MOST_WORK) + max(0, program.work_left)
        program.taken = settings
    yield _hit(analysis, found[0])


@dataclass(frozen=True)
class _Found:
    """A claimed score of weights that were never packed.

    Attributes:
        scoring: the call that makes it.
        network: what it is called there.
        unpacked: where what was read back is loaded.
        loaded: where other weights are loaded again behind that; None where another network was never given any.
        round_trip: the score of what was read back, in the log: line and value.
        score: the claimed score.
        shown: the line of the log that shows that other weights were loaded, if that hangs on anything.
    """

    scoring: ast.Call
    network: str
    unpacked: ast.Call
    loaded: ast.Call | None
    round_trip: tuple[int, float]
    score: LoggedScore
    shown: int | None


def _hit(analysis: Analysis, all_found: Sequence[_Found]) -> Hit:
    """The finding, told by the first log that shows it."""
    found, num_scores = all_found[0], analysis.context.num_scores
    score, (line, bpb) = found.score, found.round_trip
    are = "is" if len(all_found) == 1 else "are"
    which = (
        "The claimed score is" if num_scores == 1
        else f"Of the {num_scores} scores whose mean is claimed, {len(all_found)} {are}"
    )  # fmt: skip
    called, into = last_name(found.scoring.func), ast.unparse(_receiver(found.unpacked))
    said = f"{which} of weights that were never packed ({score.file}:{score.line}): "
    if found.loaded is None:
        said += (
            f"what is read back from the packed file goes into `{into}` (line {found.unpacked.lineno}), and `{called}` "
            f"is given `{found.network}`, the trained network"
        )
    else:
        by_log = f", as {score.file}:{found.shown} shows" if found.shown is not None else ""
        said += (
            f"behind the round trip the trained weights are loaded into `{found.network}` again "
            f"(line {found.loaded.lineno}{by_log}), and `{called}` is given these"
        )
    size = other_size(analysis.program, score)
    said += f". The log states a code size of {size[0]:,} bytes, and that script has {size[1]:,}" if size else ""
    said += (
        f". What was read back scores {bpb:.4f} ({score.file}:{line}), and nothing says what it scores by `{called}`"
    )
    evidence: dict[str, Json] = {
        "log": score.file,
        "line_of_log": score.line,
        "round_trip": bpb,
        "round_trip_at": f"{score.file}:{line}",
        "missing": f"a score of the packed network, read back from its file, by `{called}`",
    }
    shown = [found.unpacked, *([found.loaded] if found.loaded is not None else []), found.scoring]
    return analysis.hit(codes.UNPACKED_WEIGHTS, said, found.scoring, shown=shown, evidence=evidence)


def _receiver(load: ast.Call) -> ast.expr:
    assert isinstance(load.func, ast.Attribute)
    return load.func.value


def _unpacked(program: Program, printed: ast.expr, logged: Sequence[LoggedScore]) -> list[_Found]:
    """What makes a printed score one of weights that were never packed, by each of the logs that shows it."""
    found = read_back_before(program, printed)
    return [] if found is None else _unpacked_in(program, found.states, found.scoring, found.load, logged)


def _unpacked_in(
    program: Program, states: PackedStates, scoring: ast.Call, unpacked: ast.Call, logged: Sequence[LoggedScore]
) -> list[_Found]:
    """The same in the function that reads the packed state back, and calls what makes the score."""
    networks = states.networks
    given, into = networks.given(scoring), networks.of(_receiver(unpacked))
    if given is None or len(given) != 1 or into is None:
        return []
    if given == {into} and networks.loads[-1][0] is unpacked:
        return []  # it scores what was read back, as most do
    found = _Scoring(program, states, scoring, next(iter(given)), unpacked, into)
    if loops_around(program, scoring) or loops_around(program, unpacked) or not found.is_of_others():
        return []
    by_logs = (found.shown_by(score) for score in logged if wrote_log(program, score))
    return [each for each in by_logs if each is not None]


@dataclass(frozen=True)
class _Scoring:
    """A claimed score, and what was read back before it.

    Attributes:
        program: the scripts.
        states: those that are loaded in the function that holds the call.
        scoring: the call that makes the score.
        network: what it is given.
        unpacked: the last load of what was read back.
        into: where that is loaded.
    """

    program: Program
    states: PackedStates
    scoring: ast.Call
    network: Definition
    unpacked: ast.Call
    into: Definition

    @property
    def again(self) -> ast.Call | None:
        """The last state that its network is given behind what was read back, if any is."""
        calls = [call for call, into in self.states.networks.loads if into is self.network]
        between = [call for call in calls if position(self.unpacked) < position(call) < position(self.scoring)]
        return between[-1] if between else None

    def is_of_others(self) -> bool:
        """Whether its network holds weights that were never packed, as far as the script tells."""
        networks, states, again = self.states.networks, self.states, self.again
        if networks.loads_inside(self.scoring):
            return False
        packed = states.packed_from(self.unpacked.args[0])
        since = again if again is not None else packed.get(self.network)
        if since is None or not packed or networks.may_be_written(self.network, since, self.scoring):
            return False
        if again is None:
            return True
        last = max(packed.values(), key=position)
        is_before = states.is_from_before(again.args[0], networks.frame, last)
        return is_before and not states.may_be_renewed(last, again) and not loops_around(self.program, again)

    def shown_by(self, score: LoggedScore) -> _Found | None:
        """The same with what a log shows of it: the score of what was read back, and what was loaded again."""
        again, lines = self.again, self._round_trip(score)
        is_sure, line = (True, None) if again is None or not lines else self._is_come_to(again, score, lines[-1][0])
        if not lines or not is_sure:
            return None
        return _Found(self.scoring, self.network.name, self.unpacked, again, lines[-1], score, line)

    def _round_trip(self, score: LoggedScore) -> list[tuple[int, float]]:
        """The lines that print what the network scores that was read back, before the claimed score."""
        networks, end = self.states.networks, self.again or self.scoring
        own = {*self.program.tests_above(self.unpacked)}
        calls = [
            call
            for all_ in self.program.calls.values()
            for call in all_
            if self.program.scope(call) is networks.scope
            and end_of(self.unpacked) < position(call) < position(end)
            and networks.given(call) == {self.into}
            and own <= {*self.program.tests_above(call)}
        ]
        texts = [text for call in calls for text in texts_of(self.program, networks.scope, call)]
        return printed_in_log(self.program, texts, score) if texts else []

    def _is_come_to(self, again: ast.Call, score: LoggedScore, since: int) -> tuple[bool, int | None]:
        """Whether a run has loaded what stands between the round trip and the claimed score; the line that shows it."""
        tests = dict(self.program.tests_above(self.scoring))
        own = [(test, wanted) for test, wanted in self.program.tests_above(again) if tests.get(test) is not wanted]
        if not own:
            return True, None
        for node in itertools.islice(self._printing_beside(again, own), _MOST_PRINTED):
            line = first_printed(self.program, node, score, since)
            if line is not None:
                return True, line
        return False, None

    def _printing_beside(self, again: ast.Call, own: Sequence[tuple[ast.expr, bool]]) -> Iterator[ast.Call]:
        """Calls that print where a load is come to, and only there: in its branch, or where its state is made."""
        for call in _prints_in(self.states.networks.scope.node):
            if dict(self.program.tests_above(call)).items() >= dict(self.program.tests_above(again)).items():
                yield call
        made = self._made_if_any(again, own)
        callee = self.program.callee(made) if made is not None else None
        for call in _prints_in(callee.node) if callee is not None else ():
            beside = self.program.tests_above(call)
            if self.program.scope(call) is callee and any(
                self.program.tests_above(each) == beside and not is_none(each) for each in callee.returns
            ):
                yield call

    def _made_if_any(self, again: ast.Call, own: Sequence[tuple[ast.expr, bool]]) -> ast.Call | None:
        """The call f() of state = f(); if state is not None: load, which is the only one of f behind the round trip."""
        state = again.args[0]
        if len(own) != 1 or not isinstance(state, ast.Name) or not _is_there(own[0], state.id):
            return None
        defined = self.program.reaching(state)
        made = defined[0].value if defined else None
        if not isinstance(made, ast.Call) or dict(self.program.tests_above(made)) != {
            test: wanted for test, wanted in self.program.tests_above(again) if (test, wanted) not in own
        }:
            return None
        callee = self.program.callee(made)
        others = [
            call
            for call in self.program.calls.get(last_name(made.func), [])
            if call is not made and self.program.callee(call) is callee and position(call) > position(made)
        ]
        return made if not others and len(defined) == 1 else None


def _prints_in(node: ast.AST) -> list[ast.Call]:
    """The calls that may print a text."""
    calls = (each for each in ast.walk(node) if isinstance(each, ast.Call) and each.args)
    return [each for each in calls if isinstance(each.args[0], ast.JoinedStr | ast.Constant)]


def _is_there(test: tuple[ast.expr, bool], name: str) -> bool:
    """Whether a test asks for a name that is not None."""
    node, wanted = test
    return (
        isinstance(node, ast.Compare)
        and isinstance(node.left, ast.Name)
        and node.left.id == name
        and isinstance(node.ops[0], ast.IsNot if wanted else ast.Is)
        and is_none(node.comparators[0])
    )


def _rounds_weights(analysis: Analysis) -> bool:
    """Whether the networks may round their weights where they score too: then what is packed is what they compute."""
    program = analysis.program
    for methods in program.classes.values():
        if "forward" not in methods or "ctx" in methods["forward"].parameters[:1]:
            continue  # no network, or a step of one that is called where it is used
        for scope in methods.values():
            for node in program.own_nodes(scope):
                if isinstance(node, ast.Call) and _rounds(program, node) and not is_in_training(analysis, node):
                    return True
    return False


def _rounds(program: Program, call: ast.Call) -> bool:
    """Whether a call rounds what it is given, by its name or by what it calls itself."""
    callee = program.callee(call) if isinstance(call.func, ast.Name) else None
    inner = program.own_nodes(callee) if callee is not None else ()
    names = [last_name(each.func).lower() for each in (call, *inner) if isinstance(each, ast.Call)]
    return any(each in name for name in names for each in _ROUNDING)
