"""A text that is scored whole, trained on, and scored again, pass by pass: the claimed score is of a later pass."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from statistics import fmean

from bpb_harness.auditing.script import codes
from bpb_harness.auditing.script.domains.analysis import Analysis, Hit
from bpb_harness.auditing.script.domains.extent import loops_around
from bpb_harness.auditing.script.domains.printed_passes import PrintedPasses, passes_not_in_logs, printed_passes
from bpb_harness.auditing.script.domains.shown_in_logs import is_of_another_script
from bpb_harness.auditing.script.domains.trace import trace
from bpb_harness.auditing.script.domains.values import Evaluator, taken
from bpb_harness.auditing.script.domains.ways import ways_to
from bpb_harness.auditing.script.frontend.index import nodes_within
from bpb_harness.auditing.script.frontend.nodes import names_in, num_rounds, position
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import last_name
from bpb_harness.auditing.script.frontend.walker import Frame
from bpb_harness.findings import Json, Severity

_MAX_TRACED = 1_500  # expressions that a score, or a loss, is followed through
_LEAST_WORK = 20_000  # what has to be left of the program's bound
_MAX_SITES = 16
_STEPS = frozenset(["step", "add_", "sub_", "addcdiv_", "apply_gradients", "lerp_"])
_TEXT = r"(?:tok|data|ids|doc|text|loader|stream|corpus|seqs?$|x$|y$)"
_HELD_OUT = re.compile(rf"(?:^|_)(?:val|valid|validation|eval|test|dev|held_?out)_{_TEXT}", re.IGNORECASE)
_TRAINED = re.compile(rf"(?:^|_)train(?:ing)?_{_TEXT}", re.IGNORECASE)
# What puts other weights in the place of those that were trained, or hands out other text at each call.
_ANEW = frozenset([
    "load_state_dict", "copy_", "deepcopy", "set_", "swap", "restore", "reset_parameters", "reset_weights",
])  # fmt: skip
_DRAWN = frozenset(["next", "pop", "popleft", "next_batch", "get_batch", "choice", "choices", "sample"])


def check_scored_again(analysis: Analysis) -> Iterator[Hit]:
    """for phase in range(N): sums = 0; score the text; print the score; train on the text. The last score is claimed.

    One pass that scores each part of the text before it trains on it is in order: its sums begin once, and what it
    scores is another part in each round. Here each round scores the same, and begins its sums anew. Decided where the
    logs print a better score for the last round than for the first, and it is the claimed one.
    """
    program = analysis.program
    sites = program.calls.get("backward", [])[:_MAX_SITES]
    for printed in printed_passes(program, analysis.context.logged) if sites else ():
        if program.work_left < _LEAST_WORK:
            return
        passes = [each for each in printed.passes if not is_of_another_script(program, each[0])]
        site = _learnt_between(program, printed, sites) if passes and _scores_the_same(program, printed) else None
        if site is not None:
            yield _hit(analysis, replace(printed, passes=tuple(passes)), site)
            return
    yield from _not_shown(analysis, sites)


def _not_shown(analysis: Analysis, sites: Sequence[ast.Call]) -> Iterator[Hit]:
    """The doubt where the claimed score comes of such passes by the settings, and no log holds what each prints."""
    program, settings = analysis.program, dict(analysis.program.taken)
    if any(is_of_another_script(program, score) for score in analysis.context.logged):
        return  # which may print its passes in other words
    scopes = {program.scope(node) for node, _ in analysis.claimed_path} if sites and analysis.claimed else set()
    for printed in passes_not_in_logs(program, analysis.context.logged) if scopes else ():
        if program.work_left < _LEAST_WORK:
            break
        number = _num_passes(program, printed.loop) if program.scope(printed.loop) in scopes else 0
        is_asked = number > 1 or (printed.later is not None and program.scope(printed.loop) in scopes)
        site = _learnt_between(program, printed, sites) if is_asked and _scores_the_same(program, printed) else None
        if site is not None:
            yield _doubt(analysis, printed, site, number)
            return
    program.taken = settings


def _doubt(analysis: Analysis, printed: PrintedPasses, site: ast.Call, number: int) -> Hit:
    often = f", {number} times by its settings" if number > 1 else ""
    said = (
        "The script scores the text, trains on it, and scores the same text again, each time with sums of its own"
        f"{often}: what a later pass scores was learnt before, and the score does not pay for what was learnt of it. "
    )
    if printed.later is None:
        said += (
            "No log of the claim holds the line that each pass prints, so that of which of them the claimed score is"
        )
        said += ", is not known. This is a doubt, and no more"
    else:
        score, told, turn = printed.later
        said += (
            f"{score.file}:{told.line} is the line of pass {turn}, with {told.bpb:.5f}, and no log of the claim holds "
            "that of the first pass, which scores a text that was not learnt before. This is a doubt, and no more"
        )
    shown = [printed.loop, printed.call, site]
    missing = {"missing": "the logs as the runs printed them, with the score of each pass"}
    return analysis.hit(codes.LEARNS_FIRST, said, site, shown=shown, evidence=missing)


def _num_passes(program: Program, loop: ast.For) -> int:
    """How often a loop over range(n) goes round, by the settings; 0 where that is not known, or it is not come to."""
    rounds, ways = num_rounds(loop), ways_to(program, loop)
    number = None if rounds is None else Evaluator(program).number(rounds, Frame.at(program, loop))
    is_come_to = any(all(taken(program, node, at) is not False for node, at in way) for way in ways)
    return int(number) if number is not None and is_come_to else 0


def _hit(analysis: Analysis, printed: PrintedPasses, site: ast.Call) -> Hit:
    """The refutation, with the score of the first pass in place of the last one's."""
    score, first, last = printed.passes[0]
    num_scores = analysis.context.num_scores
    which = "the claimed score" if num_scores == 1 else f"one of the {num_scores} scores whose mean is claimed"
    said = (
        "The script scores the text, trains on it, and scores the same text again, each time with sums of its own: "
        "what a later pass scores was learnt before, and the score does not pay for what was learnt of it. That it "
        f"came so the log shows: {score.file}:{first.line} prints {first.bpb:.5f} for the first pass, and "
        f"{score.file}:{last.line} {last.bpb:.5f} for the last one, which line {score.line} gives: {which}"
    )
    factor = None
    if len(printed.passes) == num_scores:
        right = fmean(each.bpb for _, each, _ in printed.passes)
        factor = right / fmean(each.bpb for _, _, each in printed.passes)
        mean = "" if num_scores == 1 else f", the mean of the first passes of {num_scores} logs"
        said += f". The score of a text that was not learnt before is that of the first pass: {right:.5f}{mean}"
    plain_at = f"{score.file}:{first.line}"
    evidence: dict[str, Json] = {
        "log": score.file, "line_of_log": last.line, "plain": first.bpb, "plain_at": plain_at,
    }  # fmt: skip
    shown = [printed.loop, printed.call, site]
    hit = analysis.hit(codes.LEARNS_FIRST, said, site, shown=shown, severity=Severity.REFUTES, evidence=evidence)
    return replace(hit, factor=factor)


# -- the same text in each round --------------------------------------------------------------------------


def _scores_the_same(program: Program, printed: PrintedPasses) -> bool:
    """Whether what a loop prints is, in each round, the score of the same held-out text, with sums begun anew."""
    loop, parts = printed.loop, _behind(program, printed.score, Frame.at(program, printed.call))
    if _is_used(parts, loop, program) or _is_anew(program, loop):
        return False
    if any(isinstance(part, ast.Call) and last_name(part.func) in _DRAWN for part, _ in parts):
        return False
    return bool(_texts(parts)) and all(_begins_anew(program, part, loop) for part, _ in parts)


def _behind(program: Program, node: ast.expr, frame: Frame) -> list[tuple[ast.AST, Frame]]:
    return list(trace(program, node, frame, _MAX_TRACED, enters=lambda part: not program.asks_network(part)))


def _is_used(parts: Sequence[tuple[ast.AST, Frame]], loop: ast.For, program: Program) -> bool:
    """Whether a value depends on which round of a loop it is."""
    return any(
        isinstance(part, ast.Name) and any(each.statement is loop for each in program.reaching(part))
        for part, _ in parts
    )


def _begins_anew(program: Program, part: ast.AST, loop: ast.For) -> bool:
    """Whether a name that a loop adds to is given a value in each round, before: else it is carried on."""
    if not isinstance(part, ast.Name):
        return True
    inside = [each for each in program.reaching(part) if program.is_inside(each.statement, loop)]
    adding = [each for each in inside if each.kind in ("augment", "mutation")]
    given = [each for each in inside if each.kind == "assign" and part.id not in names_in(each.value)]
    carried = [each for each in inside if each.kind == "assign" and part.id in names_in(each.value)]
    if not adding and not carried:
        return True
    first = min((position(each.statement) for each in given), default=None)
    return first is not None and all(first < position(each.statement) for each in (*adding, *carried))


def _is_anew(program: Program, loop: ast.For) -> bool:
    """Whether a round puts weights back, or makes a network of its own."""
    networks = {name for name, methods in program.classes.items() if "forward" in methods}
    called = {last_name(node.func) for node in nodes_within(loop) if isinstance(node, ast.Call)}
    return not called.isdisjoint(_ANEW | networks)


# -- what is learnt between -------------------------------------------------------------------------------


def _learnt_between(program: Program, printed: PrintedPasses, sites: Sequence[ast.Call]) -> ast.Call | None:
    """Where gradients of the same text are worked out behind the scoring, in the same loop, for steps."""
    scored = _texts(_behind(program, printed.score, Frame.at(program, printed.call)))
    behind = _made_at(program, printed)
    for site in sites:
        if not isinstance(site.func, ast.Attribute) or program.scope(site).mentions.isdisjoint(_STEPS):
            continue
        for way in ways_to(program, site):
            inside = [node for node, _ in way if printed.loop in loops_around(program, node)]
            if not inside or position(inside[0]) <= behind or _is_anew_on(program, way):
                continue
            parts = _behind(program, site.func.value, way[-1][1])
            names = {last_name(part) for part, _ in parts if isinstance(part, ast.Name | ast.Attribute)}
            if not scored.isdisjoint(_texts(parts)) and not any(map(_TRAINED.search, names)):
                return site
    return None


def _is_anew_on(program: Program, way: Sequence[tuple[ast.AST, Frame]]) -> bool:
    """Whether a function that trains puts weights back itself, or trains a copy."""
    return any(not program.scope(node).mentions.isdisjoint(_ANEW) for node, _ in way[-1:])


def _made_at(program: Program, printed: PrintedPasses) -> tuple[int, int]:
    """Where a round has its score."""
    defined = program.reaching(printed.score) if isinstance(printed.score, ast.Name) else ()
    return max((position(each.statement) for each in defined), default=position(printed.call))


def _texts(parts: Sequence[tuple[ast.AST, Frame]]) -> set[str]:
    """The held-out texts that something is computed from, by their names."""
    names = (last_name(part) for part, _ in parts if isinstance(part, ast.Name | ast.Attribute))
    return {name for name in names if _HELD_OUT.search(name)}
