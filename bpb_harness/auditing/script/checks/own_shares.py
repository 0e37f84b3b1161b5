"""Parts of the text that are dealt out to processes, each scored by one of them, where nothing adds the scores up."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator

from bpb_harness.auditing.script import codes
from bpb_harness.auditing.script.domains.analysis import Analysis, Hit
from bpb_harness.auditing.script.domains.scored_tokens import behind_target, scored_tokens
from bpb_harness.auditing.script.domains.trace import trace
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import Scope, last_name
from bpb_harness.auditing.script.frontend.walker import Frame, operands

_ADDING_UP = re.compile(r"reduce|gather|psum|pmean|sync|collect|across|broadcast|barrier|merge|aggregate", re.I)
_RANK = re.compile(r"(?:^|_)(?:rank|process_index)$", re.IGNORECASE)
_RANGES = frozenset(["range", "arange", "islice"])
_SAMPLERS = frozenset(["DistributedSampler", "split_dataset_by_node", "shard"])
_MAX_TRACED = 60
_PLACING = frozenset(["to", "cuda", "device_put"])
_SIZES = frozenset(["size", "numel", "len"])


def check_own_shares(analysis: Analysis) -> Iterator[Hit]:
    """Every score of a share of the text that one process has, without any exchange between processes on its way."""
    program = analysis.program
    if not any(_RANK.search(name) for scope in program.scopes for name in scope.mentions):
        return
    taken = dict(program.taken)
    places: dict[int, ast.AST | None] = {}
    for tokens in scored_tokens(analysis):
        dealt = (_dealt_at(program, part, frame) for part, frame in behind_target(analysis, tokens))
        place = next((each for each in dealt if each is not None), None)
        places[tokens.sink] = places.get(tokens.sink, place) and place
    if not places or any(place is None for place in places.values()) or _is_added_up(analysis):
        program.taken = taken  # a reader is told of those settings alone that decided something
        return
    said = (
        "Each process scores a part of the text of its own, and nothing adds the parts up: where there are more "
        "processes than one, the score is that of one part alone"
    )
    place = next(iter(places.values()))
    if place is not None:
        yield analysis.hit(codes.SUBSET, said, place)


def _dealt_at(program: Program, node: ast.AST, frame: Frame) -> ast.AST | None:
    """Where a part of something is chosen by a process's number: a slice, a range, a sampler."""
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice):
        bounds = [node.slice.lower, node.slice.upper, node.slice.step]
    elif isinstance(node, ast.Call) and last_name(node.func) in _RANGES:
        bounds = [*node.args]
    elif isinstance(node, ast.Call) and last_name(node.func) in _SAMPLERS:
        return node
    else:
        return None
    is_dealt = any(_is_of_process(program, each, frame) for each in bounds if each is not None)
    return node if is_dealt else None


def _is_of_process(program: Program, node: ast.expr, frame: Frame) -> bool:
    def opened(part: ast.AST) -> Iterable[ast.AST]:  # where values lie, and how many there are, chooses none of them
        if isinstance(part, ast.JoinedStr) or (isinstance(part, ast.Attribute) and part.attr == "shape"):
            return ()
        if isinstance(part, ast.keyword) and part.arg == "device":
            return ()
        called = last_name(part.func) if isinstance(part, ast.Call) else ""
        if called in _SIZES:
            return ()
        return operands(part)[:1] if called in _PLACING and isinstance(part, ast.Call) else program.parts(part)

    parts = (part for part, _ in trace(program, node, frame, _MAX_TRACED, opened))
    return any(
        _RANK.search(last_name(part.func if isinstance(part, ast.Call) else part)) is not None
        for part in parts
        if isinstance(part, ast.Name | ast.Attribute | ast.Call)
    )


def _is_added_up(analysis: Analysis) -> bool:
    """Whether any function on the way to a score, or one that it calls, may exchange anything between processes."""
    program = analysis.program
    if _may_exchange(program.scope(sink.node) for sink in analysis.sinks):  # the whole way takes longer to go
        return True
    return _may_exchange(dict.fromkeys(frame.scope for _, frame in analysis.path))


def _may_exchange(scopes: Iterable[Scope | None]) -> bool:
    return any(_ADDING_UP.search(name) for scope in scopes if scope is not None for name in scope.mentions)
