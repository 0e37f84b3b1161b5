"""Weights that are changed behind their packing, by their loss on the scored text, and then scored.

A loop writes into a state that was read back from the packed file, loads it, asks the network what a part of the scored
text costs, and keeps or undoes the write by that. As a choice that is short (a bit at most for each comparison); but
it stands in no file, so that what scores is not what was packed.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import NamedTuple

from bpb_harness.auditing.script import codes
from bpb_harness.auditing.script.context import LoggedScore
from bpb_harness.auditing.script.domains.analysis import Analysis, Hit
from bpb_harness.auditing.script.domains.extent import loops_around
from bpb_harness.auditing.script.domains.networks import Networks
from bpb_harness.auditing.script.domains.printed_scores import calls_behind, printed_lines_of
from bpb_harness.auditing.script.domains.scored_tokens import behind_target, is_held_out, scored_tokens
from bpb_harness.auditing.script.domains.shown_in_logs import printed_texts
from bpb_harness.auditing.script.domains.trace import trace
from bpb_harness.auditing.script.domains.ways import callers
from bpb_harness.auditing.script.domains.written_files import writings
from bpb_harness.auditing.script.frontend.nodes import end_of, names_in, position, stored_in
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import Scope, last_name
from bpb_harness.auditing.script.frontend.walker import Frame, operands
from bpb_harness.findings import Json, Severity

_MAX_TRACED, _LEAST_WORK = 2_000, 60_000
_READING = frozenset(["open", "load", "BytesIO", "read_bytes"])
_SAVING = frozenset(["save", "save_file", "save_model", "savez", "savez_compressed", "dump", "write_bytes", "tofile"])
_LONGEST_LINE = 500


class _Search(NamedTuple):
    """A loop that keeps or undoes what it writes into a state.

    Attributes:
        loop: the loop.
        state: the name of the state that is written into.
        asking: a call that loads the state and gives a loss of the network.
        keeping: the comparison.
    """

    loop: ast.AST
    state: str
    asking: ast.Call
    keeping: ast.If


def check_searched_weights(analysis: Analysis) -> Iterator[Hit]:
    """A claimed score of weights that a search by the scored text changed behind their packing."""
    program, logged = analysis.program, analysis.context.logged
    if not logged or not analysis.claimed or program.work_left < _LEAST_WORK:
        return
    for search in [*_searches(program)][:4]:
        scope = program.scope(search.loop)
        if not _is_by_scored_text(analysis, search) or not _is_read_back(program, search, scope):
            continue
        loaded = [_loaded_for(program, scope, search, analysis.sinks[each].node) for each in sorted(analysis.claimed)]
        first = loaded[0]
        if first is None or not all(loaded) or _is_packed_since(program, scope, search):
            continue
        shown = [(score, *found) for score in logged if (found := _kept_in_log(program, search, score)) is not None]
        if shown:
            yield _hit(analysis, search, first, shown[0])
            return


def _hit(analysis: Analysis, search: _Search, loaded: ast.Call, shown: tuple[LoggedScore, int, int]) -> Hit:
    score, line, num_kept = shown
    changes = "1 such change was kept" if num_kept == 1 else f"{num_kept:,} such changes were kept"
    said = (
        f"The weights that score were changed behind their packing, by their loss on the scored text itself: a loop "
        f"writes into `{search.state}`, which was read back from the packed file, asks the network what a part of that "
        f"text costs, and undoes what does not lower it; {changes} ({score.file}:{line}). What is left is loaded for "
        f"the claimed score (line {loaded.lineno}), and written to no file: the packed network is another one, and the "
        "score pays for none of it"
    )
    evidence: dict[str, Json] = {
        "log": score.file, "line_of_log": line, "kept": num_kept,
        "missing": "a score of the packed network as its file holds it",
    }  # fmt: skip
    shown_nodes = (search.keeping, search.asking, loaded)
    return analysis.hit(
        codes.CHOSEN_BY_TEXT, said, search.keeping, severity=Severity.WARNS, shown=shown_nodes, evidence=evidence
    )


# -- the search --------------------------------------------------------------------------------------------


def _searches(program: Program) -> Iterator[_Search]:
    for load in program.calls.get("load_state_dict", ()):
        asked = program.scope(load)
        if not asked.returns or not load.args:
            continue
        state = {
            part.id
            for part, _ in trace(program, load.args[0], Frame.of(program, asked), _MAX_TRACED)
            if isinstance(part, ast.Name)
        }
        calls = callers(program, asked)
        for call in calls:
            for loop in loops_around(program, call)[-1:]:
                for written in sorted(_entries_written(loop) & state):
                    keeping = _keeping(program, loop, written, calls)
                    if keeping is not None:
                        yield _Search(loop, written, call, keeping)


def _entries_written(node: ast.AST) -> set[str]:
    """The names into entries of which something is put: state of state[name] = value."""
    targets = (target for each in ast.walk(node) if isinstance(each, ast.Assign) for target in each.targets)
    return {
        target.value.id
        for target in targets
        if isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name)
    }


def _keeping(program: Program, loop: ast.AST, state: str, asking: list[ast.Call]) -> ast.If | None:
    """The comparison of what was asked for with what is kept, one of whose branches writes into the state."""
    for node in ast.walk(loop):
        if not isinstance(node, ast.If) or state not in _entries_written(node):
            continue
        for test in ast.walk(node.test):
            if not isinstance(test, ast.Compare) or not isinstance(test.ops[0], ast.Lt | ast.LtE | ast.Gt | ast.GtE):
                continue
            sides = (test.left, *test.comparators)
            is_tried = [any(_is_asked(program, part, asking, loop) for part in ast.walk(side)) for side in sides]
            stored = {name for each in ast.walk(node) if isinstance(each, ast.Assign) for name in stored_in(each)}
            if any(is_tried) and any(isinstance(side, ast.Name) and side.id in stored for side in sides):
                return node
    return None


def _is_asked(program: Program, part: ast.AST, asking: list[ast.Call], loop: ast.AST) -> bool:
    if part in asking:
        return True
    return isinstance(part, ast.Name) and any(
        each.value in asking and program.is_inside(each.statement, loop) for each in program.reaching(part)
    )


def _is_by_scored_text(analysis: Analysis, search: _Search) -> bool:
    """Whether what is asked for is a loss on the text that is scored: both are read at one place."""
    program = analysis.program
    callee = program.callee(search.asking)
    behind = {
        part
        for value in (callee.returns if callee is not None else ())
        for part, _ in trace(program, value, Frame.of(program, callee), _MAX_TRACED)  # type: ignore[arg-type]
    }
    return any(
        part in behind and is_held_out(part)
        for tokens in scored_tokens(analysis)
        for part, _ in behind_target(analysis, tokens)
    )


# -- what it comes of, and what becomes of it --------------------------------------------------------------


def _is_read_back(program: Program, search: _Search, scope: Scope) -> bool:
    """Whether the state was read, before the loop, from a file that the function itself wrote before that."""
    start = position(search.loop)
    made = [
        each for each in scope.definitions.get(search.state, ()) if each.kind == "assign" and each.value is not None
    ]
    parts = [
        part
        for each in made
        for part, _ in trace(program, each.value, Frame.of(program, scope), _MAX_TRACED)  # type: ignore[arg-type]
    ]
    readings = [part for part in parts if isinstance(part, ast.Call) and last_name(part.func) in _READING]
    return bool(made) and all(position(each.statement) < start for each in made) and any(
        position(written) < position(reading) < start
        for reading in readings if program.scope(reading) is scope
        for written in writings(program, reading)
    )  # fmt: skip


def _loaded_for(program: Program, scope: Scope, search: _Search, printed: ast.expr) -> ast.Call | None:
    """The last load before the call that makes a printed score, if it is of the state that was searched."""
    calls = calls_behind(program, printed)
    if calls is None or len(calls) != 1 or program.scope(printed) is not scope:
        return None
    scoring, networks = next(iter(calls)), Networks(program, scope)
    given = networks.given(scoring)
    if given is None or len(given) != 1 or networks.loads_inside(scoring):
        return None
    end = end_of(search.loop)
    loads = [call for call, into in networks.loads if into in (*given, None) and position(call) < position(scoring)]
    if not loads or position(loads[-1]) < end or networks.may_be_written(next(iter(given)), loads[-1], scoring):
        return None
    parts = trace(program, loads[-1].args[0], networks.frame, _MAX_TRACED)
    return loads[-1] if any(isinstance(part, ast.Name) and part.id == search.state for part, _ in parts) else None


def _is_packed_since(program: Program, scope: Scope, search: _Search) -> bool:
    """Whether anything may be written to a file behind the start of the search, by the function or what it calls."""
    waiting, seen = [scope], {scope}
    while waiting:
        here = waiting.pop()
        for node in program.own_nodes(here):
            if not isinstance(node, ast.Call) or (here is scope and position(node) < position(search.loop)):
                continue
            if last_name(node.func) in _SAVING or _opens_to_write(node):
                return True
            callee = program.callee(node)
            if callee is not None and callee not in seen:
                seen.add(callee)
                waiting.append(callee)
    return False


def _opens_to_write(call: ast.Call) -> bool:
    modes = [*operands(call)[1:], *(each.value for each in call.keywords if each.arg == "mode")]
    written = [each.value for each in modes if isinstance(each, ast.Constant) and isinstance(each.value, str)]
    return last_name(call.func) == "open" and any("b" in each and not {*"wax+"}.isdisjoint(each) for each in written)


# -- what a log shows of it --------------------------------------------------------------------------------


def _kept_in_log(program: Program, search: _Search, score: LoggedScore) -> tuple[int, int] | None:
    """The last line of a log, before a score, that counts the changes that were kept, and how many it counts."""
    counters = {
        each.target.id
        for each in ast.walk(search.keeping)
        if isinstance(each, ast.AugAssign) and isinstance(each.op, ast.Add) and isinstance(each.target, ast.Name)
    }
    above = dict(program.tests_above(search.loop))
    lines = printed_lines_of(program, score)[: score.line - 1]
    found: list[tuple[int, int]] = []
    for text, tests in printed_texts(program, program.scope(search.loop)):
        pattern = _pattern(text, counters) if above.items() <= dict(tests).items() else None
        if pattern is None or not names_in(text) & counters:
            continue
        for number, line in enumerate(lines, 1):
            match = pattern.fullmatch(line.strip()) if len(line) <= _LONGEST_LINE else None
            if match is not None and number > score.since:
                found.append((number, int(match["kept"])))
    return max(found) if found and max(found)[1] > 0 else None


def _pattern(text: ast.JoinedStr, counters: set[str]) -> re.Pattern[str] | None:
    """What a text prints, with the number that one of the counters has."""
    parts, num_counters = list[str](), 0
    for part in text.values:
        if isinstance(part, ast.Constant):
            parts.append(re.escape(str(part.value)))
        elif isinstance(part, ast.FormattedValue) and isinstance(part.value, ast.Name) and part.value.id in counters:
            num_counters += 1
            parts.append("(?P<kept>[0-9]{1,9})")
        else:
            parts.append(r"[^\s{}]{1,40}")
    letters = sum(map(str.isalpha, "".join(str(part.value) for part in text.values if isinstance(part, ast.Constant))))
    return re.compile("".join(parts).strip()) if num_counters == 1 and letters >= 4 else None
