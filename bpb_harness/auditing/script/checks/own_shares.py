"""Parts of the text that are dealt out to processes, each scored by one of them, where nothing adds the scores up."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator

from bpb_harness.auditing.script import codes
from bpb_harness.auditing.script.domains.analysis import Analysis, Hit
from bpb_harness.auditing.script.domains.dealt_out import RANK, dealt_at
from bpb_harness.auditing.script.domains.scored_tokens import behind_target, scored_tokens
from bpb_harness.auditing.script.frontend.scopes import Scope

_ADDING_UP = re.compile(r"reduce|gather|psum|pmean|sync|collect|across|broadcast|barrier|merge|aggregate", re.I)


def check_own_shares(analysis: Analysis) -> Iterator[Hit]:
    """Every score of a share of the text that one process has, without any exchange between processes on its way."""
    program = analysis.program
    if not any(RANK.search(name) for scope in program.scopes for name in scope.mentions):
        return
    taken = dict(program.taken)
    places: dict[int, ast.AST | None] = {}
    for tokens in scored_tokens(analysis):
        dealt = (dealt_at(program, part, frame) for part, frame in behind_target(analysis, tokens))
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


def _is_added_up(analysis: Analysis) -> bool:
    """Whether any function on the way to a score, or one that it calls, may exchange anything between processes."""
    program = analysis.program
    if _may_exchange(program.scope(sink.node) for sink in analysis.sinks):  # the whole way takes longer to go
        return True
    return _may_exchange(dict.fromkeys(frame.scope for _, frame in analysis.path))


def _may_exchange(scopes: Iterable[Scope | None]) -> bool:
    return any(_ADDING_UP.search(name) for scope in scopes if scope is not None for name in scope.mentions)
