"""Scores of networks that each process packed for itself, where what one of them packed is written alone.

Whoever packs by statistics of the training text, gathered by a loader that gives each process a part of it, gets
another network in each process. The artifact is the first one's. Where the others read theirs back out of memory, and
score their parts of the text with it, most of the score is of networks that nobody kept.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from bpb_harness.auditing.script import codes
from bpb_harness.auditing.script.context import LoggedScore
from bpb_harness.auditing.script.domains.analysis import Analysis, Hit
from bpb_harness.auditing.script.domains.log_of_script import wrote_log
from bpb_harness.auditing.script.domains.networks import Networks
from bpb_harness.auditing.script.domains.packed_states import PackedStates, read_back_before
from bpb_harness.auditing.script.domains.shown_in_logs import output_of
from bpb_harness.auditing.script.domains.trace import trace
from bpb_harness.auditing.script.domains.written_files import writings
from bpb_harness.auditing.script.frontend.nodes import end_of, position
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import last_name
from bpb_harness.auditing.script.frontend.walker import Frame
from bpb_harness.findings import Json

_LEAST_WORK, _MOST_WORK = 60_000, 40_000  # what has to be left of the program's bound, and what is taken of it
_MOST_TRACED, _MAX_HOPS = 2_000, 2
_PROCESSES = re.compile(r"\bworld_size\s?[:=]\s?(\d{1,4})\b")
_OF_RANK = re.compile(r"(?:local_|global_|ddp_)?rank\Z")
_OF_FIRST = re.compile(r"master|main_process|is_main|is_rank_?(?:0|zero)|(?:\brank|get_rank\(\)) == 0")
_SHARING = re.compile(r"broadcast|all_?reduce|all_?gather|scatter|\breduce\b|\bsend\b|\brecv\b", re.IGNORECASE)


@dataclass(frozen=True)
class _Own:
    """What shows that each process packs a network of its own.

    Attributes:
        loader: where a loader is made that gives each process a part of the text.
        packing: where its network is packed.
        writing: where one of them writes what it has packed.
        load: where each reads its own back.
        scoring: the call that makes the score.
    """

    loader: ast.Call
    packing: ast.Call
    writing: ast.Call
    load: ast.Call
    scoring: ast.Call


def check_own_packed(analysis: Analysis) -> Iterator[Hit]:
    """blob = compress(quantize(state, seen(Loader(files, rank)))), written if rank == 0, and loaded again to score."""
    program, logged = analysis.program, analysis.context.logged
    if not logged or "load_state_dict" not in program.calls or program.work_left < _LEAST_WORK or not analysis.claimed:
        return
    processes = [_num_processes(program, score) for score in logged]
    if min(processes) < 2 or not all(wrote_log(program, score) for score in logged):
        return
    settings, left = dict(program.taken), program.work_left
    program.work_left = min(left, _MOST_WORK)
    try:
        found = [_own_of(program, analysis.sinks[number].node) for number in sorted(analysis.claimed)]
        if program.work_left <= 0 or None in found:
            return
    finally:
        program.work_left = left - min(left, _MOST_WORK) + max(0, program.work_left)
        program.taken = settings
    if found[0] is not None:
        yield _hit(analysis, found[0], min(processes))


def _hit(analysis: Analysis, own: _Own, num_processes: int) -> Hit:
    made, called = last_name(own.loader.func), last_name(own.scoring.func)
    said = (
        f"each of the {num_processes} processes packs a network of its own, by what `{made}` (line "
        f"{own.loader.lineno}) gives it of the text, reads that back out of memory (line {own.load.lineno}) and scores "
        f"its part of the text with it (`{called}`, line {own.scoring.lineno}); one of them alone writes what it has "
        f"packed (line {own.writing.lineno}): the rest is scored by networks that the artifact does not hold"
    )
    missing = "a score of the packed network, read back from its file by every process"
    shown = [own.packing, own.writing, own.load, own.scoring]
    evidence: dict[str, Json] = {"processes": num_processes, "missing": missing}
    return analysis.hit(codes.UNPACKED_WEIGHTS, said, own.scoring, shown=shown, evidence=evidence)


def _num_processes(program: Program, score: LoggedScore) -> int:
    """How many processes a log tells of, in front of its score; 1 where it tells none, or several numbers."""
    told = {int(found[1]) for _, line in output_of(program, score) for found in _PROCESSES.finditer(line[:2_000])}
    return told.pop() if len(told) == 1 else 1


def _own_of(program: Program, printed: ast.expr) -> _Own | None:
    """What shows that a printed score is of networks that processes packed for themselves."""
    found = read_back_before(program, printed)
    return None if found is None else _own_in(program, found.states, found.scoring, found.load)


def _own_in(program: Program, states: PackedStates, scoring: ast.Call, load: ast.Call) -> _Own | None:
    networks = states.networks
    given = networks.given(scoring)
    into = networks.of(load.func.value) if isinstance(load.func, ast.Attribute) else None
    if into is None or given != {into} or networks.may_be_written(into, load, scoring) or not _has_rank(scoring):
        return None
    unpacking = _unpacking(program, networks, load)
    blob = unpacking.args[0] if unpacking is not None and unpacking.args else None
    packing = program.only_value(blob) if isinstance(blob, ast.Name) else None
    if not isinstance(blob, ast.Name) or not isinstance(packing, ast.Call) or "compress" not in last_name(packing.func):
        return None
    writing = _written_by_the_first(program, blob)
    parts = _behind(program, packing, networks.frame) if writing is not None else ()
    loader = next((part for part in parts if _is_loader(program, part)), None)
    if writing is None or not isinstance(loader, ast.Call) or _share(program, networks, loader, load):
        return None
    return _Own(loader, packing, writing, load, scoring)


def _behind(program: Program, packing: ast.Call, frame: Frame, hops: int = 0) -> Iterator[ast.AST]:
    """What a packed state is made of, through the buffer that it was put into."""
    for part, _ in trace(program, packing, frame, _MOST_TRACED):
        yield part
        if isinstance(part, ast.Call) and last_name(part.func) == "BytesIO" and hops < _MAX_HOPS:
            for call in writings(program, part):
                yield from _behind(program, call, Frame.at(program, call), hops + 1)


def _has_rank(call: ast.Call) -> bool:
    given = [*call.args, *(each.value for each in call.keywords)]
    return any(isinstance(each, ast.Name) and _OF_RANK.match(each.id) for each in given)


def _unpacking(program: Program, networks: Networks, load: ast.Call) -> ast.Call | None:
    """The one call of the function that decompresses what is loaded."""
    found = {
        part
        for part, _ in trace(program, load.args[0], networks.frame, _MOST_TRACED)
        if isinstance(part, ast.Call) and "decompress" in last_name(part.func) and program.scope(part) is networks.scope
    }
    return found.pop() if len(found) == 1 else None


def _written_by_the_first(program: Program, blob: ast.Name) -> ast.Call | None:
    """Where what was packed is written, if one process alone does, wherever it is."""
    same = [*program.reaching(blob)]
    calls = [
        call
        for name in ("write", "write_bytes")
        for call in program.calls.get(name, ())
        if call.args and isinstance(call.args[0], ast.Name) and [*program.reaching(call.args[0])] == same
    ]
    others = [call for call in calls if not any(_is_of_first(program, test) for test in program.tests_above(call))]
    return calls[0] if calls and not others else None


def _is_of_first(program: Program, test: tuple[ast.expr, bool]) -> bool:
    """Whether a branch is that of the first process: if master_process, if rank == 0."""
    node, wanted = test
    value = program.only_value(node) or node
    return wanted and any(_OF_FIRST.search(ast.unparse(each)) for each in (node, value))


def _is_loader(program: Program, node: ast.AST) -> bool:
    """Whether an object is made with the number of the process, which its methods read to choose what they give."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or not _has_rank(node):
        return False
    methods = program.classes.get(node.func.id, {})
    return any(
        isinstance(part, ast.Attribute) and isinstance(part.ctx, ast.Load) and _OF_RANK.match(part.attr)
        for name, scope in methods.items()
        if name != "__init__"
        for part in program.own_nodes(scope)
    )


def _share(program: Program, networks: Networks, loader: ast.Call, load: ast.Call) -> bool:
    """Whether processes exchange anything from where a loader is made to where what was packed is loaded."""
    low, high = min(position(loader), end_of(loader)), end_of(load)
    called = {inner for callee in networks.called_between(low, high) for inner in networks.called_from(callee)}
    between = [
        call for calls in program.calls.values() for call in calls
        if program.scope(call) is networks.scope and low <= position(call) <= high
    ]  # fmt: skip
    inner = (part for callee in called for part in ast.walk(callee.node) if isinstance(part, ast.Call))
    return any(_SHARING.search(last_name(call.func)) for call in (*between, *inner))
