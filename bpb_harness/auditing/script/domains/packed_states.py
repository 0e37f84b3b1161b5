"""Where the weights come from that are loaded into networks: out of a packed file, or from before it was packed."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import NamedTuple

from bpb_harness.auditing.script.domains.networks import Networks
from bpb_harness.auditing.script.domains.printed_scores import calls_behind
from bpb_harness.auditing.script.domains.trace import trace
from bpb_harness.auditing.script.domains.ways import callers, way_of
from bpb_harness.auditing.script.domains.written_files import writings
from bpb_harness.auditing.script.frontend.nodes import end_of, position
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import Definition, last_name
from bpb_harness.auditing.script.frontend.walker import Frame, Source

_MAX_TRACED, _MAX_HOPS, _DEEPEST = 2_000, 2, 30
_MAX_CALLERS = 3  # that a score is looked for in the callers of
_UNPACKING = re.compile(r"dequant|decompress", re.IGNORECASE)
_COPYING = frozenset(["cpu", "clone", "deepcopy", "numpy"])
# What hands a tensor, or a dictionary of tensors, on with its values as they are, but for their precision.
_SAME = frozenset([
    "to", "cpu", "cuda", "clone", "detach", "float", "bfloat16", "half", "type", "contiguous", "items", "copy", "mul",
    "div",
])  # fmt: skip
_SAME_IN = frozenset(["deepcopy", "dict", "list", "OrderedDict"])


class PackedStates:
    """The states that one function loads.

    Args:
        program: the scripts.
        networks: those of the function.
    """

    def __init__(self, program: Program, networks: Networks) -> None:
        self._program, self.networks = program, networks
        self._kept: set[str] = set()  # the variables that hold weights from before
        self._followed: set[ast.AST] = set()  # the statements that put them there

    def unpacked_before(self, node: ast.AST) -> ast.Call | None:
        """The last state before a place that was read back from a packed one, where it is loaded."""
        loads = (call for call, _ in reversed(self.networks.loads) if position(call) < position(node))
        return next((call for call in loads if self.is_unpacked(call.args[0])), None)

    def is_unpacked(self, state: ast.expr) -> bool:
        """Whether a state was read back from a packed one."""
        return any(
            isinstance(part, ast.Call) and _UNPACKING.search(last_name(part.func)) is not None
            for part, _ in self._trace(state, self.networks.frame)
        )

    def packed_from(self, state: ast.expr) -> dict[Definition, ast.AST]:
        """The networks that a state which was read back was packed from, each with the last place where it was."""
        found: dict[Definition, ast.AST] = {}
        for network, place in self._packed(state, self.networks.frame, 0):
            if network not in found or position(found[network]) < position(place):
                found[network] = place
        return found

    def _trace(self, state: ast.expr, frame: Frame) -> Iterator[tuple[ast.AST, Frame]]:
        return trace(self._program, state, frame, _MAX_TRACED)

    def _packed(self, state: ast.expr, frame: Frame, hops: int) -> Iterator[tuple[Definition, ast.AST]]:
        parts = [*self._trace(state, frame)]
        # Else what quantizes it in place quantizes the network.
        is_copied = any(isinstance(each, ast.Call) and last_name(each.func) in _COPYING for each, _ in parts)
        for part, where in parts:
            if not isinstance(part, ast.Call) or not isinstance(part.func, ast.Attribute | ast.Name):
                continue
            if last_name(part.func) == "state_dict" and isinstance(part.func, ast.Attribute):
                network, place = self.networks.of(part.func.value, where), self._place_of(part, where)
                if network is not None and place is not None and is_copied:
                    yield network, place
            elif last_name(part.func) in ("open", "load", "BytesIO") and hops < _MAX_HOPS:
                for source in self._written(part):
                    yield from self._packed(*source, hops + 1)

    def _place_of(self, node: ast.AST, frame: Frame) -> ast.AST | None:
        """Where the function itself comes to a node that was met in a frame."""
        scope = self.networks.scope
        ways = way_of(self._program, node, frame)
        places = [next((each for each, _ in way if self._program.scope(each) is scope), None) for way in ways]
        return places[0] if len({id(each) for each in places}) == 1 else None

    def _written(self, reading: ast.Call) -> Iterator[Source]:
        """What is written to where something is read from: torch.save(x, path), f.write(x), by the same words."""
        for call in writings(self._program, reading):
            yield call.args[0], Frame.at(self._program, call)

    # -- weights from before ---------------------------------------------------------------------------------

    def is_from_before(self, state: ast.expr, frame: Frame, packed: ast.AST, depth: int = 0) -> bool:
        """Whether a state is all made of weights that a network had before it was packed: their mean, as often as not.

        Args:
            state: what is loaded.
            frame: where its names are read.
            packed: where the function packs the network.
            depth: how far it was followed already.
        """
        if depth > _DEEPEST or not self._program.spend():
            return False
        if isinstance(state, ast.Name):
            return self._is_named_before(state, frame, packed, depth + 1)
        if isinstance(state, ast.DictComp):
            return self.is_from_before(state.value, frame, packed, depth + 1)
        if isinstance(state, ast.BinOp) and isinstance(state.op, ast.Div | ast.Mult):
            return self.is_from_before(state.left, frame, packed, depth + 1)
        if isinstance(state, ast.Subscript):
            return self.is_from_before(state.value, frame, packed, depth + 1)
        return isinstance(state, ast.Call) and self._is_made_before(state, frame, packed, depth + 1)

    def may_be_renewed(self, since: ast.AST, until: ast.AST) -> bool:
        """Whether anything between two places may put other weights into the variables that held those from before."""
        low, high = end_of(since), position(until)
        held = {*self._followed, until}
        renewed = (
            name.id in self._kept
            and low < position(name) < high
            and held.isdisjoint(self._program.ancestors(name))
            and (isinstance(name.ctx, ast.Store) or self.networks.writes(name))
            for name in self.networks.names
        )
        called = (
            callee is not None and not callee.mentions.isdisjoint(self._kept) and self.networks.may_write(callee)
            for callee in self.networks.called_between(low, high)
        )
        return any(renewed) or any(called)

    def _is_named_before(self, name: ast.Name, frame: Frame, packed: ast.AST, depth: int) -> bool:
        given = frame.given(self._program, name)
        if given is not None:
            return self.is_from_before(*given, packed, depth)
        defined = [each for each in self._program.reaching(name) if each.kind != "mutation"]
        made = [each for each in defined if not (isinstance(each.value, ast.Constant) and each.value.value is None)]
        self._kept |= {each.name for each in made}
        self._followed |= {each.statement for each in made}
        # Of a loop over the items of a state each is one of its tensors.
        return bool(made) and all(
            each.value is not None
            and (each.kind == "loop" or (each.kind == "assign" and not each.index))
            and self.is_from_before(each.value, frame, packed, depth)
            for each in made
        )

    def _is_made_before(self, call: ast.Call, frame: Frame, packed: ast.AST, depth: int) -> bool:
        name = last_name(call.func)
        if name == "state_dict" and isinstance(call.func, ast.Attribute):
            place = self._place_of(call, frame)
            is_network = self.networks.of(call.func.value, frame) in self.networks.all
            return is_network and place is not None and end_of(place) <= end_of(packed)
        if name in _SAME and isinstance(call.func, ast.Attribute):
            return self.is_from_before(call.func.value, frame, packed, depth)
        if name in _SAME_IN and call.args:
            return self.is_from_before(call.args[0], frame, packed, depth)
        if name == "load" and call.args and not isinstance(call.args[0], ast.Call):
            written = [*self._written(call)]
            return bool(written) and all(self.is_from_before(*each, packed, depth) for each in written)
        callee = self._program.callee(call)
        if callee is None:
            return False
        inner = frame.inside(self._program, callee, call)
        made = [each for each in callee.returns if not (isinstance(each, ast.Constant) and each.value is None)]
        return bool(made) and all(self.is_from_before(each, inner, packed, depth) for each in made)


class ReadBack(NamedTuple):
    """A function that loads a packed state and calls what makes a score: its states, that load, and that call."""

    states: PackedStates
    load: ast.Call
    scoring: ast.Call


def read_back_before(program: Program, printed: ast.expr) -> ReadBack | None:
    """The function behind a printed score, or the nearest of its callers, that read a packed state back before it.

    Args:
        program: the scripts.
        printed: the score where it is printed; one that several calls make is followed no further.
    """
    behind = calls_behind(program, printed)
    scope = program.scope(printed)
    calls = [*behind] if behind is not None else []
    for _ in range(_MAX_CALLERS):
        if len(calls) == 1 and not isinstance(scope.node, ast.Module | ast.Lambda):
            states = PackedStates(program, Networks(program, scope))
            load = states.unpacked_before(calls[0])
            if load is not None:
                return ReadBack(states, load, calls[0])
        calls = callers(program, scope)
        if len(calls) != 1:
            break
        scope = program.scope(calls[0])
    return None
