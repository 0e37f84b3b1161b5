"""Text that is learnt before it is scored: by passes of training over it, by steps on a window before its score.

What a quantization gathers of it (GPTQ's Hessians, AWQ's activations) decides how each weight is rounded, and so is
learnt of it too. How much that is worth, a record does not show: it is a doubt, and no more.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import lru_cache, partial

from bpb_harness.auditing.learnt import FITTED, PACKED_AT, SHOWN_BY_ANOTHER_VERSION
from bpb_harness.auditing.script import codes
from bpb_harness.auditing.script.context import LoggedScore
from bpb_harness.auditing.script.domains.always_printed import printing
from bpb_harness.auditing.script.domains.analysis import Analysis, Hit
from bpb_harness.auditing.script.domains.called_in_logs import called_in_logs
from bpb_harness.auditing.script.domains.carried import Carried
from bpb_harness.auditing.script.domains.extent import loops_around
from bpb_harness.auditing.script.domains.fitted_window import fitted_cost, is_asked_before, is_unused, steps_taken
from bpb_harness.auditing.script.domains.gathered import Gathering, gatherings, written_into_weights
from bpb_harness.auditing.script.domains.idle_steps import MAY_BE_CHANGED, Idle, idle_steps
from bpb_harness.auditing.script.domains.not_in_logs import NotTaken, not_taken
from bpb_harness.auditing.script.domains.rounds_in_logs import Rounds
from bpb_harness.auditing.script.domains.scored_tokens import ScoredTokens, scored_tokens
from bpb_harness.auditing.script.domains.share_learnt import Learnt, share_learnt
from bpb_harness.auditing.script.domains.shared_fit import shared_fit
from bpb_harness.auditing.script.domains.shown_in_logs import Shown, is_of_another_script, output_of, shown_in_logs
from bpb_harness.auditing.script.domains.trace import trace, trace_all
from bpb_harness.auditing.script.domains.values import QuickEvaluator, come_to, taken
from bpb_harness.auditing.script.domains.ways import Way, callers, meeting, way_of, ways_to
from bpb_harness.auditing.script.frontend.nodes import (
    all_of,
    arguments,
    is_zero,
    keyword,
    names_in,
    num_rounds,
    position,
    stored_in,
)
from bpb_harness.auditing.script.frontend.once import once
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import Scope, last_name
from bpb_harness.auditing.script.frontend.walker import Frame, operands
from bpb_harness.findings import Json, Severity

_MAX_TRACED = 800  # expressions that a loss or a target is followed through
_LEAST_WORK = 60_000  # what has to be left of the program's bound: no other check may come to it by this one
_MOST_WORK = 8_000  # that is done to follow one loss, or one target
_MAX_SITES, _MAX_WAYS, _MOST_ALIKE = 16, 6, 4
_STEPS = frozenset({
    "step", "add_", "sub_", "addcdiv_", "apply_gradients", "apply_updates", "update", "lerp_", "_foreach_add_", "copy_",
})  # fmt: skip
_GRADIENTS = frozenset({"value_and_grad", "grad", "grad_and_value"})
# Names of held-out text, and of text to train on; sizes, intervals and scores of either are none.
_TEXT = r"tok|data|ids|file|path|shard|bytes?$|doc|text|loader|stream|set$|split|pattern|corpus|glob|seqs?$|_?[xy]$"
_HELD_OUT = re.compile(r"(?:^|_)(?:val|valid|validation|eval|test|dev|held_?out)(?:_|$)", re.IGNORECASE)
_TRAINED = re.compile(r"(?:^|[^a-z])train", re.IGNORECASE)
_OF_TEXT = re.compile(_TEXT, re.IGNORECASE)
_NO_TEXT = re.compile(r"batch|size|every|loss|bpb|iter|step|stride|frac|num|count|freq|interval|len", re.IGNORECASE)
_OF_FILES = re.compile(r"[./*]|^(?:val|valid|validation|test|dev|eval|train|training)$", re.IGNORECASE)
_HELD_OUT_FILE = re.compile(r"(?:^|[^a-z])(?:val|valid|validation|test|dev|eval|held_?out)(?:[^a-z]|$)", re.IGNORECASE)
_GIVEN = frozenset(["assign", "mutation", "parameter"])  # what was handed over is from before what a function does
_SAVED = re.compile(r"orig|init|sav|snap|backup|before|restor|clean|base", re.IGNORECASE)


def check_learns_first(analysis: Analysis) -> Iterator[Hit]:
    """Whole passes of training over the scored text before its score, and steps on a window before that is scored.

    Scoring each part before it is learnt is in order, whatever is learnt of it afterwards.
    """
    program, settings = analysis.program, dict(analysis.program.taken)
    if program.work_left < _LEAST_WORK or not (sites := _sites(program)):
        return
    found: dict[int, list[_Found]] = {}
    unfitted, by_default = set[int](), set[int]()
    for tokens in scored_tokens(analysis):
        here = [*_learnt_before(analysis, tokens, sites)]
        by_default |= {tokens.sink} if not any(place.by_default is not None for place in here) else set()
        found.setdefault(tokens.sink, []).extend(here)
        unfitted |= {tokens.sink} if not any(place.fitted is not None for place in here) else set()
    taken_here = {sink: [place for place in each if place.absent is None] for sink, each in found.items()}
    if not found or not all(taken_here.values()):
        absent = next((place for each in found.values() for place in each if place.absent is not None), None)
        if absent is not None and all(found.values()):
            yield _not_there(analysis, absent)
            return
        program.taken = settings  # a reader is told of those alone that decided something
        return
    best = [min(each, key=lambda place: (place.is_window, place.open)) for each in taken_here.values()]
    first = min(best, key=lambda place: (place.is_window, not place.open))  # what is open of any is open
    is_named = bool(analysis.claimed) and all(
        any(analysis.prints_same(number, claimed) for number in found) for claimed in analysis.claimed
    )
    if first.is_window:
        hit = _hit_of_window(analysis, first, is_known=is_named and unfitted.isdisjoint(analysis.claimed))
        is_of_claim = hit.severity is None and is_named and by_default.isdisjoint(analysis.claimed)
        yield replace(hit, evidence={**hit.evidence, "is_of_claimed_line": True}) if is_of_claim else hit
    else:
        yield _hit(analysis, first, is_known=is_named and not any(place.is_window for place in best))


def _hit_of_window(analysis: Analysis, found: _Found, *, is_known: bool) -> Hit:
    """The finding: an error where steps are known to have been taken for the claimed score.

    Args:
        analysis: the scripts.
        found: where the tokens are learnt.
        is_known: whether all that the claimed score is made of was followed, and is scored behind such steps.
    """
    said = (
        "The script takes steps of training on the very tokens that it scores next, and scores them afterwards: "
        "the score does not pay for what was learnt of them"
    )
    if found.is_shared:
        said = (
            "The script fits one vector to all windows of a batch at once, each without the tokens that are scored in "
            "it. But the windows overlap: what is scored in one of them (all of it where a window is at least as long "
            "as two strides, else its end) stands in the next one before what that scores, and so is in the fit that "
            "it is scored with, but for a batch's last window. The score does not pay for what was learnt of it"
        )
    said += f". This is a doubt, and no more: {found.open}" if found.open else ""
    hit = analysis.hit(codes.LEARNS_FIRST, said, found.site, shown=found.shown, evidence={FITTED: True})
    if not is_known or found.fitted is None or not analysis.context.logged:
        return hit
    score, line = next(iter(found.fitted.lines), (analysis.context.logged[0], None))
    place = f"{score.file}:{score.line}" if line is None else f"line {score.line}"
    told = f"{score.file}:{line} tells of {found.fitted.number} steps, and " if line is not None else ""
    which = "the claimed score" if analysis.context.num_scores == 1 else "one of the scores whose mean is claimed"
    said += (
        f". {told}{place} prints what comes of it as {which}. A decoder would need what was fitted to the tokens "
        "before it has the tokens, and the score pays nothing for it: it is the length of no code"
    )
    evidence: dict[str, Json] = {**hit.evidence, "log": score.file, "line_of_log": line or score.line}
    evidence |= {} if line is None else {"steps": found.fitted.number}
    return replace(hit, message=said, severity=Severity.REFUTES, evidence=evidence)


def _hit(analysis: Analysis, found: _Found, *, is_known: bool) -> Hit:
    """The finding: an error where the logs show that it came so, and the weights are followed to the claimed score.

    Args:
        analysis: the scripts.
        found: where the text is learnt.
        is_known: whether all scores that may be the claimed one were followed to where they are made.
    """
    said = (
        "The script trains on the text that it scores, and scores it afterwards: what is scored was learnt before, "
        "and the score does not pay for what was learnt of it"
    )
    if found.pattern:
        said = (
            f"{found.pattern}: the text that is scored may have been learnt before, and the score does not pay for "
            "what was learnt of it"
        )
        return analysis.hit(codes.LEARNS_FIRST, said, found.site, shown=found.shown)
    if found.is_shape:
        said = (
            "The script may train on the text that it scores, before it scores it. This is a doubt, and no more: "
            "whether the tokens that it trains on are the text, or made anew in their shape, was not followed"
        )
        return analysis.hit(codes.LEARNS_FIRST, said, found.site, shown=found.shown)
    why_open = found.open or ("" if is_known else _UNNAMED)
    if why_open or found.in_logs is None:
        said += f". This is a doubt, and no more: {why_open}"
        evidence: dict[str, Json] = {}
        if found.of_another_size is not None and is_known:
            score, number = found.of_another_size.lines[0]
            evidence[SHOWN_BY_ANOTHER_VERSION] = f"{score.file}:{number}"
        return analysis.hit(codes.LEARNS_FIRST, said, found.site, shown=found.shown, evidence=evidence)
    score, number = found.in_logs.lines[0]
    num_scores = analysis.context.num_scores
    which = "the claimed score" if num_scores == 1 else f"one of the {num_scores} scores whose mean is claimed,"
    before = [(line, bpb) for line, bpb in score.before if line < number]
    last = f"{_LAST} is {before[-1][1]:.4f}, in line {before[-1][0]}" if before else ""
    where = "is printed where this training is called, and nowhere else" if found.in_logs.is_beside else _ITS_OWN
    said += (
        f". That it came so the log shows: {score.file}:{number} {where}, before "
        f"{which} in line {score.line}{last}. A decoder would need those weights, which were fitted to the text, "
        "before it has the text, and the score pays nothing for them: it is the length of no code"
    )
    part = share_learnt(analysis, found.site)
    if part is not None:
        said = said.replace(_ALL, f"a part of {_ALL}", 1) + _of_a_part(part)
    hit = analysis.hit(codes.LEARNS_FIRST, said, found.site, shown=found.shown)
    evidence = {**hit.evidence, "log": score.file, "line_of_log": number}
    evidence |= {"tokens_learnt_at_most": part.most} if part is not None else {}
    evidence |= {"plain": before[-1][1], "plain_at": f"{score.file}:{before[-1][0]}"} if before else {}
    packed = _packed_before(analysis, score, number)
    evidence |= {FITTED: True, PACKED_AT: packed} if packed is not None else {}
    return replace(hit, severity=Severity.REFUTES, evidence=evidence)


def _packed_before(analysis: Analysis, score: LoggedScore, number: int) -> int | None:
    """The line behind which the text was learnt where a run states the size of its packed network; None elsewhere.

    Nothing is packed again before the score: what was learnt goes into no file.
    """
    sized = [line for line, text in output_of(analysis.program, score) if _PACKED.search(text)]
    return sized[-1] if sized and sized[-1] < number else None


_PACKED = re.compile(r"total submission size|serialized model.{0,40}(?:int[0-9]|zlib|lzma|zstd|brotli)", re.IGNORECASE)
_LAST = ". The last score printed before that (its windows and weights may differ)"
_ALL = "what is scored was learnt before"
_ITS_OWN = "is a line that this training alone prints"


def _of_a_part(part: Learnt) -> str:
    """How much of the text was learnt, in words."""
    score, line = part.told
    return (
        f". These are at most {part.most:,} of the {part.whole:,} tokens of the text, {part.most / part.whole:.1%} "
        f"({part.steps:,} steps, which {score.file}:{line} prints, of {part.each:,} tokens by the script's settings)"
    )


def _not_there(analysis: Analysis, found: _Found) -> Hit:
    """The remark that a training on the scored text did not come, as the logs show: no doubt of the score."""
    absent = found.absent
    assert absent is not None
    script = analysis.program.script(absent.printing.node)
    num_others = len({score.file for score in analysis.context.logged}) - 1
    others = {0: "", 1: "; the other log has none either"}.get(
        num_others, f"; the other {num_others} logs have none either"
    )
    said = (
        "The script can train on the text that it scores, before it scores it. By its log, the claimed run did "
        f"not: behind line {absent.before} of {absent.file}, the last of what is always printed before that training, "
        f"there is no line {absent.printing.text!r}, which the training prints first "
        f"({script.path}:{absent.printing.node.lineno}); {absent.why}{others}. That no line was taken out of the log "
        "is not checked"
    )
    return analysis.hit(
        codes.LEARNS_FIRST,
        said,
        found.site,
        shown=(*found.shown, absent.printing.node),
        severity=Severity.INFORMS,
        evidence={"log": absent.file, "line_of_log": absent.before, "not_in_log": absent.printing.text},
    )


_UNNAMED = "which of the printed scores is the claimed one was not followed"


@dataclass(frozen=True)
class _Found:
    """Where the scored text is learnt before it is scored.

    Attributes:
        site: where gradients are worked out.
        shown: what a report quotes.
        is_window: whether that is a window of it at a time.
        in_logs: what the logs of the claim show of it.
        of_another_size: what logs show of it that state another size of the code, where nothing else is open.
        open: why it is not shown that the claimed score is one of the trained weights; empty where it is.
        absent: what the logs show of it not having come.
        fitted: how many steps are known to be taken on a window before it is scored, if any are.
        by_default: how many are by the script's own settings, if any are.
        pattern: of the files that are learnt, in words, where it is that alone which takes in the scored ones.
        is_shape: whether it may be the shape of the text alone that the tokens trained on have of it.
        is_shared: whether it is fitted to what stands before the scored tokens of several windows that overlap.
    """

    site: ast.AST
    shown: tuple[ast.AST, ...]
    is_window: bool
    in_logs: Shown | None = None
    of_another_size: Shown | None = None
    open: str = ""
    absent: NotTaken | None = None
    fitted: Rounds | None = None
    by_default: Rounds | None = None
    pattern: str = ""
    is_shape: bool = False
    is_shared: bool = False


@dataclass(frozen=True)
class _Sources:
    """What texts a value comes from: names and files of held-out text, and whether there are others too."""

    held_out: frozenset[object] = frozenset()
    files: frozenset[str] = frozenset()  # of every kind, folders too
    is_trained: bool = False
    is_cut: bool = False
    parts: tuple[tuple[ast.AST, Frame], ...] = field(default=(), repr=False)


# -- where something is learnt ----------------------------------------------------------------------


def _sites(program: Program) -> list[tuple[ast.Call, ast.expr]]:
    """The calls that work out gradients, each with its loss; those whose functions take a step by them."""
    found = [
        (call, _made_right_before(program, call, call.func.value))
        for call in program.calls.get("backward", [])
        if isinstance(call.func, ast.Attribute)
    ]
    for call in program.calls.get("grad", []):  # torch.autograd.grad(loss, parameters)
        if len(call.args) > 1 and isinstance(call.func, ast.Attribute) and last_name(call.func.value) == "autograd":
            found.append((call, call.args[0]))
    named = {
        statement.targets[0].id
        for made in (call for name in sorted(_GRADIENTS) for call in program.calls.get(name, []))
        for statement in (program.statement(made),)
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name)
    }
    found += [(call, call) for name in sorted(named) for call in program.calls.get(name, []) if call.args]
    return [each for each in found if _is_learning(program, each[0])][:_MAX_SITES]


def _is_learning(program: Program, call: ast.Call) -> bool:
    """Whether gradients are used for steps: of an optimizer, in place, or bias = bias - lr * gradient."""
    if _takes_steps(program, program.scope(call)):
        return True
    named = names_in(program.statement(call))
    return any(
        isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub)
        and program.scope(node) is program.scope(call)
        and any(
            isinstance(part, ast.Name) and part.id in named and program.statement(call) in _made(program, part)
            for part in ast.walk(node.right)
        )
        for node in program.nodes.get(ast.BinOp, [])
    )  # fmt: skip


def _made(program: Program, name: ast.Name) -> list[ast.AST]:
    return [each.statement for each in program.reaching(name)]


def _made_right_before(program: Program, call: ast.Call, loss: ast.expr) -> ast.expr:
    """What a name was given in the same round of a loop, under a `with` or not, which nothing but that can be left of.

    A function that trains in two places has the same names in both.
    """
    nearest = next(iter(program.reaching(loss)), None) if isinstance(loss, ast.Name) else None
    if nearest is None or nearest.kind != "assign" or nearest.index or nearest.value is None:
        return loss
    around = (node for node in program.ancestors(nearest.statement) if not isinstance(node, ast.With | ast.AsyncWith))
    loop = next(around, None)
    is_there = isinstance(loop, ast.For | ast.While) and program.is_inside(call, loop)
    return nearest.value if is_there and position(nearest.statement) < position(call) else loss


def _takes_steps(program: Program, scope: Scope | None, depth: int = 0) -> bool:
    """Whether a function, or one that calls it, updates anything in place."""
    if scope is None or depth > 2:
        return False
    if not _STEPS.isdisjoint(scope.mentions) or _subtracts(program, scope):
        return True
    return any(_takes_steps(program, program.scope(call), depth + 1) for call in callers(program, scope))


def _subtracts(program: Program, scope: Scope) -> bool:
    """Whether it does p -= lr * p.grad itself."""
    nodes = program.nodes.get(ast.AugAssign, [])
    return any(
        isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Sub) and program.scope(node) is scope
        for node in nodes
    )


def _is_run(program: Program, way: Way, surely: int = 0, after: int = 0) -> bool:
    """Whether a way is taken, as far as is known: its tests, early returns, loops of no rounds.

    Args:
        program: the scripts.
        way: the calls, and what they come to.
        surely: in how many of them, from outside in, a test of which nothing is known counts as one that fails.
        after: in how many of them it is known that it is.
    """
    for number, (node, frame) in enumerate(way[after:], after):
        is_taken = taken(program, node, frame)
        if is_taken is False or (number < surely and is_taken is None and not _is_given(program, node, frame)):
            return False
        if _has_left(program, node, frame) or not all(
            _goes_round(program, loop, frame) for loop in loops_around(program, node)
        ):
            return False
    return True


def _is_given(program: Program, node: ast.AST, frame: Frame) -> bool:
    """Whether all tests above a node that are not known ask for what the caller has given: if optimizer is not None."""
    for test, wanted in program.tests_above(node):
        parts = all_of(test) if wanted else [test]
        if not all(_holds(program, each, wanted, frame) for each in parts):
            return False
    return True


def _holds(program: Program, test: ast.expr, wanted: bool, frame: Frame) -> bool:
    """Whether a test is known to hold: it asks whether the file is run, which process this is, or for what is given."""
    is_entry = any(isinstance(part, ast.Name) and part.id == "__name__" for part in ast.walk(test))
    is_known = is_entry or _asks_for_first(test, wanted) or _asks_for_later(program, test, wanted)
    if is_known or QuickEvaluator(program).all_hold(((test, wanted),), frame) is True:
        return True
    name, is_there = test, True
    if isinstance(test, ast.Compare) and isinstance(test.ops[0], ast.Is | ast.IsNot):
        name, is_there = test.left, isinstance(test.ops[0], ast.IsNot)
    given = frame.given(program, name) if isinstance(name, ast.Name) else None
    return given is not None and is_there is wanted and isinstance(given[0], ast.Call | ast.Name)


def _asks_for_first(test: ast.expr, wanted: bool) -> bool:
    """Whether a test asks for the first of several processes, which there always is: master_process, rank == 0."""
    if isinstance(test, ast.Compare):
        other = test.comparators[0]
        is_zero = isinstance(test.ops[0], ast.Eq) and isinstance(other, ast.Constant) and other.value == 0
        return wanted and is_zero and _RANK.search(last_name(_called(test.left))) is not None
    return wanted and _FIRST.fullmatch(last_name(_called(test))) is not None


def _asks_for_later(program: Program, test: ast.expr, wanted: bool) -> bool:
    """Whether a test of each round asks whether the first window is in none of it: not any(w == 0 for w in batch)."""
    while isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        test, wanted = test.operand, not wanted
    listed: ast.expr | None = None
    if isinstance(test, ast.Compare) and isinstance(test.ops[0], ast.In | ast.NotIn) and is_zero(test.left):
        listed = test.comparators[0] if isinstance(test.ops[0], ast.NotIn) is wanted else None
    elif isinstance(test, ast.Call) and last_name(test.func) == "any" and test.args and not wanted:
        each = test.args[0]
        asked = each.elt if isinstance(each, ast.GeneratorExp | ast.ListComp) else None
        is_equal = isinstance(asked, ast.Compare) and isinstance(asked.ops[0], ast.Eq)
        if isinstance(each, ast.GeneratorExp | ast.ListComp) and is_equal and isinstance(asked, ast.Compare):
            listed = each.generators[0].iter if is_zero(asked.comparators[0]) else None
    rounds = {*program.ancestors(test)} if isinstance(listed, ast.Name) else set()
    made = program.reaching(listed) if isinstance(listed, ast.Name) else ()
    return any(isinstance(up, ast.For) and up in rounds for each in made for up in program.ancestors(each.statement))


def _called(node: ast.expr) -> ast.expr:
    return node.func if isinstance(node, ast.Call) else node


_RANK = re.compile(r"(?:^|get_|local_|global_)rank$")
_FIRST = re.compile(r"_?(?:is_)?(?:master|main|rank_?(?:zero|0))(?:_process|_rank)?")


def _has_left(program: Program, node: ast.AST, frame: Frame) -> bool:
    """Whether the function has returned before it comes to a node: if not enabled: return."""
    leaving, place = _leaving(program, frame.scope), position(node)
    before = itertools.takewhile(lambda each: position(each) < place, leaving)
    return any(QuickEvaluator(program).all_hold(((each.test, True),), frame) is True for each in before)


@once
def _leaving(_program: Program, scope: Scope) -> list[ast.If]:
    """The tests of a function's own body by which it returns early, in their order."""
    body = scope.node.body if isinstance(scope.node, ast.FunctionDef | ast.AsyncFunctionDef) else []
    tests = (each for each in body if isinstance(each, ast.If))
    return [each for each in tests if isinstance(each.body[-1], ast.Return | ast.Raise)]


def _goes_round(program: Program, loop: ast.AST, frame: Frame) -> bool:
    rounds = num_rounds(loop)
    number = None if rounds is None else QuickEvaluator(program).number(rounds, frame)
    return number is None or number > 0


# -- before or after ----------------------------------------------------------------------------------


def _learnt_before(
    analysis: Analysis, tokens: ScoredTokens, sites: Sequence[tuple[ast.Call, ast.expr]]
) -> Iterator[_Found]:
    program = analysis.program
    text = _sources(program, tokens.target, tokens.frame)
    if not text.held_out or text.is_cut:
        return
    scored_ways = [way for way in way_of(program, tokens.score.node, tokens.score.frame) if _is_run(program, way)]
    for site, loss in sites:
        ways = ways_to(program, site)
        for way in ways:
            for other in scored_ways:
                if program.work_left < _LEAST_WORK // 2:
                    return
                met = meeting(program, way, other)
                if met is None:
                    continue
                is_only = len(ways) < _MAX_WAYS and all(
                    len(each) > met and each[met][0] is way[met][0] for each in ways
                )
                are_alike = is_only or _are_alike(analysis, ways, scored_ways, other, met)
                # Else the lines may be those of another call.
                logged = analysis.context.logged if are_alike else _behind_others(analysis, ways, way, met)
                shown = shown_in_logs(program, way, met, other[met][0], logged)
                shown = shown or called_in_logs(program, way, met, analysis.context.logged)
                if shown is not None and is_only and _came_to(program, way[: shown.level + 1]):
                    _forget_sources(program)
                if not _is_run(program, way, surely=met + 1, after=0 if shown is None else shown.level + 1):
                    continue
                found = _found_at(analysis, tokens, text, (site, loss), way, other, met)
                idle = None if found is None else idle_steps(program, site, way[-1][1])
                if found is None or idle is Idle.ALWAYS:
                    continue
                if idle is Idle.BY_DEFAULT and (shown is None or found.is_window):
                    continue
                if found.is_window and idle is Idle.MAY_BE_CHANGED:
                    yield replace(found, open=MAY_BE_CHANGED)
                    return
                if found.is_window:
                    steps = partial(steps_taken, analysis, tokens, loss, way[met:], other[met][0])
                    yield replace(found, fitted=steps(), by_default=steps(by_default=True))
                    return
                if (
                    shown is None
                    and not found.is_window
                    and (absent := _not_taken(analysis, site, way, other, met)) is not None
                ):
                    yield replace(found, absent=absent)
                    continue
                others = (_found_at(analysis, tokens, text, (site, loss), each, other, met) for each in ways)
                if idle is not None:
                    yield replace(found, open=_NO_RATE if idle is Idle.BY_DEFAULT else MAY_BE_CHANGED)
                    return
                if shown is not None and are_alike and not all(others):
                    shown = called_in_logs(program, way, met, analysis.context.logged)  # by which call it was
                found = replace(found, is_shape=not found.pattern and _is_shape(program, (loss, way[-1][1]), text))
                yield _weighed(analysis, found, way, met, scored_ways, shown)
                return


def _not_taken(analysis: Analysis, site: ast.Call, way: Way, other: Way, met: int) -> NotTaken | None:
    """What the logs show of a training that did not come, of one that stands before the scoring alone."""
    if not analysis.context.logged or _order(analysis.program, way[met][0], other[met][0]) != -1:
        return None
    context = analysis.context
    found = not_taken(analysis.program, way, met, other[met][0], context, is_own=False)
    if found is None:
        return None
    if (context.settings or context.flags) and not found.is_claimed:
        bare = Program(analysis.program.scripts)  # as it is without the README's settings
        ways = (each for each in ways_to(bare, site) if len(each) > met)
        if not any(_is_run(bare, each, surely=met + 1) for each in ways):
            return found
    return not_taken(analysis.program, way, met, other[met][0], context, is_own=True)


def _came_to(program: Program, way: Way) -> bool:
    """Note that all of a way was come to; whether that is news."""
    return any([come_to(program, node) for node, _ in way])  # noqa: C419 all of them


def _are_alike(analysis: Analysis, ways: Sequence[Way], scored: Sequence[Way], other: Way, met: int) -> bool:
    """Whether the weights of each of several ways to a training are scored: any of them may have printed a line."""
    program = analysis.program
    if not analysis.context.logged or not 1 < len(ways) <= _MOST_ALIKE:
        return False
    return all(
        len(each) > met
        and meeting(program, each, other) == met
        and not _not_carried(program, each, met, scored)
        for each in ways
    )  # fmt: skip


def _behind_others(analysis: Analysis, ways: Sequence[Way], way: Way, met: int) -> tuple[LoggedScore, ...]:
    """The claim's scores, each with its run from where the other calls of a training are behind it, and its own is not.

    Where a function that trains is called in several places, one behind another, a line that is printed between the
    last of them and those before it tells whose the lines behind that are.
    """
    program, (call, frame) = analysis.program, way[met]
    beside = [each[met] for each in ways if len(each) > met and each[met][1].scope is frame.scope]
    others = [node for node, _ in beside if node is not call]
    is_last = all(position(node) < position(call) for node in others)
    if not others or not is_last or len(beside) < len(ways) or len(ways) > _MOST_ALIKE:
        return ()
    if any(loops_around(program, node) for node in (call, *others)):
        return ()
    first = max(position(node) for node in others)
    between = [
        found.key
        for node in program.own_nodes(program.scope(call))
        if isinstance(node, ast.Call) and first < position(node) < position(call) and not loops_around(program, node)
        if (found := printing(program, node, frame)) is not None
        if sum(script.text.count(found.key) for script in program.scripts) == 1
    ]
    kept: list[LoggedScore] = []
    for score in analysis.context.logged if between else ():
        lines = output_of(program, score)
        at = next((number for number, line in lines if any(key in line for key in between)), None)
        kept += [] if at is None else [replace(score, since=at, before=())]
    return tuple(kept)


_NO_RATE = "by the script's own settings no step is taken, or its learning rate is 0, and nothing tells otherwise"
_OTHER_SIZE = "the log states a size of its code that no script there has"
_NOT_SHOWN = "no log of the claim shows before its score, by a line that nothing else prints, that it came so"


def _weighed(
    analysis: Analysis, found: _Found, way: Way, met: int, scored: Sequence[Way], shown: Shown | None
) -> _Found:
    """What was found, with what is open of whether a run trained so, and scored those weights."""
    program = analysis.program
    if shown is None:
        return replace(found, open=_NOT_SHOWN)
    own = tuple(each for each in shown.lines if not is_of_another_script(program, each[0]))
    is_run = _is_run(program, way, surely=len(way), after=shown.level + 1)
    if not own:
        is_all_else_known = is_run and not _not_carried(program, way, met, scored)
        return replace(found, open=_OTHER_SIZE, of_another_size=shown if is_all_else_known else None)
    if not is_run:
        return replace(found, open="whether the training that the log speaks of comes to a step is not known")
    return replace(found, in_logs=replace(shown, lines=own), open=_not_carried(program, way, met, scored))


def _not_carried(program: Program, way: Way, met: int, scored: Sequence[Way]) -> str:
    """Why it is not known that all that is scored behind the training is scored by its weights; empty where it is."""
    carried = Carried(program, way, met, [other[met][0] for other in scored if len(other) > met])
    for other in scored:
        at = meeting(program, way, other)
        order = _order(program, way[at][0], other[at][0]) if at is not None else None
        if at != met or order is None:
            return "training and scoring stand in one function"
        if order < 0 and (reason := carried.not_shown(other[met][0])):
            return reason
    is_behind = any(_order(program, way[met][0], other[met][0]) == -1 for other in scored)
    return "" if is_behind else "the text is trained on and scored in turns"


def _found_at(
    analysis: Analysis,
    tokens: ScoredTokens,
    text: _Sources,
    site: tuple[ast.Call, ast.expr],
    way: Way,
    other: Way,
    met: int,
) -> _Found | None:
    """Whether what is learnt on one way is the text that is scored on the other one, and is learnt before."""
    program = analysis.program
    learning, scoring = way[met][0], other[met][0]
    order = _order(program, learning, scoring)
    if order is None:
        return None
    around = [loop for loop in loops_around(program, learning) if program.is_inside(scoring, loop)]
    varies = _varies(program, text, around) or _is_made_in(program, scoring, around)
    if varies and order < 0:
        if is_asked_before(program, scoring, learning) or is_unused(program, scoring, way[met:]):
            return None
        return _of_window(analysis, tokens, site, way[met:], scoring)
    if varies or (order > 0 and not (around and _is_whole(program, other, met))):
        return None
    learnt = _sources(program, site[1], way[-1][1])
    is_same = not learnt.is_trained and _is_same(program, learnt, text)
    pattern = "" if is_same or _is_joined(analysis, learnt, text) else _pattern_over(program, learnt, text)
    if pattern is None:
        return None
    if _is_undone(program, way, met, scoring if order < 0 else None) or _is_of_a_copy(program, way, met, scoring):
        return None
    shown = dict.fromkeys([*(node for node, _ in way[met:]), scoring])
    return _Found(site[0], tuple(shown), is_window=False, pattern=pattern)


def _order(program: Program, learning: ast.AST, scoring: ast.AST) -> int | None:
    """-1 where the learning stands before the scoring, 1 behind it; None where one is part of the other."""
    one, two = [learning, *program.ancestors(learning)], [scoring, *program.ancestors(scoring)]
    common = next((node for node in one if any(node is each for each in two)), None)
    if common is None:
        return None
    first = next((node for node, above in itertools.pairwise(one) if above is common), None)
    second = next((node for node, above in itertools.pairwise(two) if above is common), None)
    if first is None or second is None:
        return None
    return -1 if position(first) < position(second) else 1


def _is_whole(program: Program, other: Way, met: int) -> bool:
    """Whether scoring is a function of its own, which goes over the text by itself in each round."""
    call = other[met][0]
    callee = program.callee(call) if isinstance(call, ast.Call) else None
    is_network = callee is None or callee.name in ("forward", "__call__")
    return not is_network and any(loops_around(program, node) for node, _ in other[met + 1 :])


def _varies(program: Program, text: _Sources, loops: Sequence[ast.AST]) -> bool:
    """Whether the tokens are others in each round of loops."""
    if not loops:
        return False
    for node, _ in text.parts:
        if isinstance(node, ast.Name):
            for definition in program.reaching(node):
                made = definition.statement
                if any(made is loop or program.is_inside(made, loop) for loop in loops):
                    return True
    return False


def _is_made_in(program: Program, scoring: ast.AST, loops: Sequence[ast.AST]) -> bool:
    """Whether what is scored, or the network that scores it, is made anew in each round of loops: runs of their own."""
    given = operands(scoring) if isinstance(scoring, ast.Call) and loops else []
    return any(
        definition.kind in ("assign", "loop")
        and any(above is loop for loop in loops for above in program.upward(definition.statement))
        for name in given if isinstance(name, ast.Name)
        for definition in program.reaching(name)
    )  # fmt: skip


# -- which text -----------------------------------------------------------------------------------------


@once
def _sources(program: Program, node: ast.expr, frame: Frame) -> _Sources:
    return _find_sources(program, node, frame)


def _forget_sources(program: Program) -> None:
    for key in [key for key in program.memo if isinstance(key, tuple) and key[0] is _sources]:
        del program.memo[key]


def _is_shape(program: Program, learnt: tuple[ast.expr, Frame], text: _Sources) -> bool:
    """Whether the tokens trained on may have the shape of the text, and no more: torch.randint_like(val_tokens, 9)."""
    found = _find_sources(program, *learnt, looked_into=_filled_of)
    overwritten = {
        (program.scope(call), call.func.value.id)
        for name in sorted(_FILLING)
        for call in program.calls.get(name, [])
        if isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name)
    }
    is_overwritten = any(
        isinstance(part, ast.Name) and (program.scope(part), part.id) in overwritten for part, _ in found.parts
    )
    return is_overwritten or found.held_out.isdisjoint(text.held_out)


def _filled_of(program: Program, node: ast.AST) -> Sequence[ast.AST]:
    """The parts of an expression that its values come from, of which its shape is none."""
    if isinstance(node, ast.Attribute) and node.attr == "shape":
        return []
    if not isinstance(node, ast.Call) or program.callee(node) is not None:
        return _looked_into(program, node)
    name = last_name(node.func)
    is_anew = name in _FILLING or name in _ANEW or name.endswith("_like") or name.startswith("new_")
    return [] if is_anew and name != "new_tensor" else _looked_into(program, node)


_FILLING = frozenset(["random_", "zero_", "fill_", "normal_", "uniform_", "bernoulli_", "exponential_"])
_ANEW = frozenset([
    "randint", "rand", "randn", "randperm", "zeros", "ones", "empty", "full", "size", "numel", "dim", "len", "arange",
    "integers",
])  # fmt: skip


def _find_sources(
    program: Program,
    node: ast.expr,
    frame: Frame,
    looked_into: Callable[[Program, ast.AST], Sequence[ast.AST]] | None = None,
) -> _Sources:
    before = program.work_left
    program.work_left = min(before, _MOST_WORK)
    is_asked = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and program.callee(node) is None
    given = node.args if isinstance(node, ast.Call) and is_asked else []  # what made the network made no token
    starts = [(each, frame) for each in given or [node]]
    parts = tuple(
        trace_all(
            program, starts, _MAX_TRACED,
            opened=lambda part: (looked_into or _looked_into)(program, part),
            enters=lambda part: not program.asks_network(part) and not _names_network(program, part),
        )
    )  # fmt: skip
    left = program.work_left
    program.work_left = before - (min(before, _MOST_WORK) - max(0, left))
    if left <= 0:
        return _Sources()  # not followed to its end
    held_out: set[object] = set()
    files: set[str] = set()
    named_trained = False
    for part, where in parts:
        if isinstance(part, ast.Constant) and isinstance(part.value, str) and _OF_FILES.search(part.value):
            files.add(part.value)
        elif isinstance(part, ast.Name | ast.Attribute):
            is_trained, is_held_out = _kind_of_text(last_name(part))
            named_trained |= is_trained
            if is_held_out:
                held_out |= _made_by(program, part, where)
    of_files = {text for text in files if _HELD_OUT_FILE.search(text) and not _TRAINED.search(text)}
    trained = any(_TRAINED.search(text) for text in files) or (named_trained and not of_files)
    return _Sources(frozenset(held_out | of_files), frozenset(files), trained, _is_cut(program, parts), parts)


@lru_cache(maxsize=4096)
def _kind_of_text(name: str) -> tuple[bool, bool]:
    """Whether a name is one of text to train on, and whether it is one of held-out text."""
    if not _OF_TEXT.search(name) or _NO_TEXT.search(name):
        return False, False
    return _TRAINED.search(name) is not None, _HELD_OUT.search(name) is not None


def _is_same(program: Program, learnt: _Sources, text: _Sources) -> bool:
    """Whether what is learnt is the scored text, not another file of its folder, and not the rest of a text."""
    shared = learnt.held_out & text.held_out
    if not shared or (shared <= text.files and not text.files <= learnt.files):
        return False
    highs = {ast.dump(cut.upper) for cut in _cuts(program, text) if cut.upper is not None}
    if any(cut.lower is not None and ast.dump(cut.lower) in highs for cut in _cuts(program, learnt)):
        return False  # tokens[:n] is scored, tokens[n:] is learnt
    scored, taken_apart = _taken_apart(program, text), _taken_apart(program, learnt)
    return not any(names.isdisjoint(scored[made]) for made, names in taken_apart.items() if made in scored)


def _is_joined(analysis: Analysis, learnt: _Sources, text: _Sources) -> bool:
    """Whether the scored text is one of several that are put together to be learnt, and nothing is taken out again."""
    program = analysis.program
    cuts = (cut for cut in _cuts(program, learnt) if ast.unparse(cut) not in _SHIFTS)
    if any(True for _ in cuts) or any(_takes_out(part) for part, _ in learnt.parts):
        return False
    for part, frame in learnt.parts:
        joined = [_sources(program, each, frame) for each in _put_together(part)]
        if any(each.is_trained for each in joined) and any(
            not each.is_trained and _is_same(program, each, text) for each in joined
        ):
            return True
    return False


def _pattern_over(program: Program, learnt: _Sources, text: _Sources) -> str | None:
    """That the files to train on are found by a pattern that the scored files match too, in words; None if not so.

    fineweb_*.bin beside fineweb_val_*.bin, in one folder, with nothing taken out of what is found.
    """
    wide, own = learnt.files - text.files, text.files - learnt.files
    if len(wide) != 1 or len(own) != 1 or any(map(_TRAINED.search, learnt.files)):
        return None
    (pattern,), (scored,) = wide, own
    if not _HELD_OUT_FILE.search(scored):
        return None
    is_glob = "*" in pattern and not _HELD_OUT_FILE.search(pattern) and fnmatchcase(scored, pattern)
    if not is_glob or "glob" not in program.calls:
        return None
    if any(_takes_out(part) or _is_part_of_files(part) for part, _ in learnt.parts):
        return None
    return f"The pattern of the files to train on, {pattern!r}, takes in the scored ones, {scored!r}, as well"


def _is_part_of_files(node: ast.AST) -> bool:
    """files[1:], sorted(glob.glob(pattern))[:-1]: what is left out may be what is scored."""
    cut = node.value if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice) else None
    return cut is not None and _FILES.search(ast.unparse(cut)) is not None


_FILES = re.compile(r"file|shard|path|glob", re.IGNORECASE)


def _put_together(node: ast.AST) -> Sequence[ast.expr]:
    """What cat([a, b]), ConcatDataset([a, b]) and files_a + files_b put one behind the other."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return [node.left, node.right]
    if not isinstance(node, ast.Call) or last_name(node.func) not in _JOINING:
        return []
    display = next((each for each in node.args[:1] if isinstance(each, ast.List | ast.Tuple)), None)
    return display.elts if display is not None else node.args


def _takes_out(node: ast.AST) -> bool:
    """Whether a part of something is chosen: [f for f in files if "val" not in f], random_split(..)."""
    if isinstance(node, ast.ListComp | ast.GeneratorExp):
        return any(each.ifs for each in node.generators)
    return isinstance(node, ast.Call) and last_name(node.func) in _SPLITTING


_SHIFTS = frozenset([":-1", "1:", ":"])  # of inputs and targets
_JOINING = frozenset(["cat", "concat", "concatenate", "hstack", "chain", "ConcatDataset"])
_SPLITTING = frozenset([
    "random_split", "train_test_split", "Subset", "filter", "split", "tensor_split", "chunk", "compress",
])  # fmt: skip


def _cuts(program: Program, sources: _Sources) -> Iterator[ast.Slice]:
    """The slices that something is made by, but for those of its windows."""
    for part, _ in sources.parts:
        if isinstance(part, ast.Subscript) and isinstance(part.slice, ast.Slice) and not loops_around(program, part):
            yield part.slice


def _taken_apart(program: Program, sources: _Sources) -> dict[ast.AST, set[str]]:
    """Statements that give their names parts of one value, each with the names that something is made of."""
    found: dict[ast.AST, set[str]] = {}
    for part, frame in sources.parts:
        if isinstance(part, ast.Name) and part.id not in frame.bindings:
            for each in program.reaching(part):
                if each.kind == "assign" and each.index:
                    found.setdefault(each.statement, set()).add(each.name)
    return found


def _names_network(program: Program, node: ast.AST) -> bool:
    """Whether a name is one of a network, by what is asked of it where it stands: what it has learnt is no token."""
    if not isinstance(node, ast.Name):
        return False
    networks = _networks(program)
    return bool(networks) and (program.scope(node), node.id) in networks


@once
def _networks(program: Program) -> set[tuple[Scope, str]]:
    return {
        (program.scope(call), call.func.value.id)
        for name in _OF_NETWORKS
        for call in program.calls.get(name, [])
        if isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name)
    }


_OF_NETWORKS = ("state_dict", "load_state_dict", "parameters", "named_parameters", "named_modules")


def _looked_into(program: Program, node: ast.AST) -> Sequence[ast.AST]:
    """The parts of an expression that tokens come from: not the network that is asked, which was trained on others."""
    if isinstance(node, ast.Call) and program.asks_network(node):
        return arguments(node)
    return program.parts(node)


def _made_by(program: Program, part: ast.Name | ast.Attribute, frame: Frame) -> set[object]:
    """What tells one held-out text from another: where its name is given its value."""
    if isinstance(part, ast.Attribute):
        return {f".{part.attr}"}
    if part.id in frame.bindings:
        return set()
    return {(each.statement, each.name) for each in program.reaching(part) if each.kind == "assign"}


def _is_cut(program: Program, parts: Sequence[tuple[ast.AST, Frame]]) -> bool:
    """Whether a text begins in the middle of another one: what stands before that may be learnt."""
    for part, frame in parts:
        cut = part.slice if isinstance(part, ast.Subscript) else None
        low = cut.lower if isinstance(cut, ast.Slice) and not loops_around(program, part) else None
        if low is None or (isinstance(low, ast.Constant) and low.value in (0, 1)):
            continue
        if not any("rank" in name for name in _names_behind(program, low, frame)):  # the other processes have that
            return True
    return False


def _names_behind(program: Program, node: ast.expr, frame: Frame) -> Iterator[str]:
    parts = trace(program, node, frame, 60)
    yield from (last_name(part).lower() for part, _ in parts if isinstance(part, ast.Name | ast.Attribute))


# -- what takes it back ---------------------------------------------------------------------------------


def _is_undone(program: Program, way: Way, met: int, scoring: ast.AST | None) -> bool:
    """Whether weights from before the learning are put back, in any function on the way, before the scoring."""
    for number, (node, frame) in enumerate(way):
        end = position(scoring) if number == met and scoring is not None else None
        for name in ("load_state_dict", "copy_", "update", "load_weights"):
            for call in program.calls.get(name, []) if number >= met else ():
                is_behind = position(call) > position(node) and (end is None or position(call) < end)
                if program.scope(call) is frame.scope and is_behind and _is_from_before(program, call, node):
                    return True
    return False


def _is_from_before(program: Program, call: ast.Call, node: ast.AST) -> bool:
    parts = [part for arg in call.args for part in ast.walk(arg)]
    moves = (part for part in parts if isinstance(part, ast.Call) and last_name(part.func) == "to")
    places = {name for move in moves for name in move.args}  # device of v.to(device), which is no weight
    places |= {name for part in parts for name in _state_of_trained(program, call, part, node)}
    names = (part for part in parts if isinstance(part, ast.Name) and part not in places)
    plain = last_name(call.func) == "load_state_dict"
    return any(
        (plain or _SAVED.search(name.id) is not None)
        and (defined := program.reaching(name))
        and all(each.kind in _GIVEN and position(each.statement) < position(node) for each in defined)
        for name in names
    )


def _state_of_trained(program: Program, loading: ast.Call, part: ast.AST, node: ast.AST) -> Iterator[ast.Name]:
    """The trained network of network.state_dict(), which is asked behind the learning: what it holds was learnt.

    Args:
        program: the scripts.
        loading: the call that puts the state somewhere, behind the learning.
        part: a part of what it puts there.
        node: the learning, or the call that comes to it.
    """
    asked = part.func if isinstance(part, ast.Call) else None
    network = asked.value if isinstance(asked, ast.Attribute) and asked.attr == "state_dict" else None
    if not isinstance(network, ast.Name):
        return
    receiver = loading.func.value if isinstance(loading.func, ast.Attribute) else None
    given = [*operands(node), *(each.value for each in node.keywords)] if isinstance(node, ast.Call) else []
    stepped = (
        call.func.value
        for name in ("parameters", "named_parameters")
        for call in program.calls.get(name, [])
        if isinstance(call.func, ast.Attribute) and program.scope(call) is program.scope(node)
    )
    is_copy = any(each.value is not None and "copy" in ast.unparse(each.value) for each in program.reaching(network))
    is_own = isinstance(receiver, ast.Name) and receiver.id == network.id
    # A copy that is kept has its weights asked for too, to freeze them; an optimizer is made of one that learns.
    learning = [*_optimized(program, node)] if is_copy else [*given, *stepped]
    if is_own or any(isinstance(each, ast.Name) and each.id == network.id for each in learning):
        yield network


def _optimized(program: Program, node: ast.AST) -> Iterator[ast.expr]:
    """The networks, in a node's function, of network.parameters() that a call with a learning rate is given first."""
    for name in ("parameters", "named_parameters"):
        for call in program.calls.get(name, []):
            above = program.parent(call)
            is_made = isinstance(above, ast.Call) and above.args[:1] == [call] and keyword(above, "lr") is not None
            if is_made and isinstance(call.func, ast.Attribute) and program.scope(call) is program.scope(node):
                yield call.func.value


def _is_of_a_copy(program: Program, way: Way, met: int, scoring: ast.AST) -> bool:
    """Whether a copy learns, and another network is scored."""
    call = way[met][0]
    statement = program.statement(call)
    named = [part for part in ast.walk(scoring) if isinstance(part, ast.Name)]
    scored = {part.id for part in named} | {
        each.value.id for part in named for each in program.reaching(part) if isinstance(each.value, ast.Name)
    }
    given = [name for name in operands(call) if isinstance(name, ast.Name)] if isinstance(call, ast.Call) else []
    for name in given:
        values = [each.value for each in program.reaching(name) if each.value is not None]
        if any("deepcopy" in ast.unparse(value) for value in values) and name.id not in scored:
            return True
    copied = any(
        program.scope(other) is frame.scope
        and position(other) < position(node)
        and not _is_teacher(program, other, frame.scope)
        for other in program.calls.get("deepcopy", [])
        for node, frame in way[met + 1 :]
    )
    return copied and stored_in(statement).isdisjoint(scored)


def _is_teacher(program: Program, made: ast.Call, scope: Scope) -> bool:
    """Whether it is not the copy that learns: the network that it was made of is asked for losses too."""
    named = {last_name(arg) for arg in made.args} - stored_in(program.statement(made))
    return any(_is_asked(scope, name) for name in named)


def _is_asked(scope: Scope, name: str) -> bool:
    """Whether a function asks a network of that name for anything: model(x), model.forward_logits(x)."""
    called = (part.func for part in ast.walk(scope.node) if isinstance(part, ast.Call))
    return any(
        (isinstance(func, ast.Name) and func.id == name)
        or (isinstance(func, ast.Attribute) and last_name(func.value) == name and func.attr.startswith(_ASKING))
        for func in called
    )


_ASKING = ("forward", "loss", "logits", "compute", "__call__")


# -- a window at a time -----------------------------------------------------------------------------------


def _of_window(
    analysis: Analysis, tokens: ScoredTokens, site: tuple[ast.Call, ast.expr], learning: Way, scoring: ast.AST
) -> _Found | None:
    """Steps on the very targets that are scored behind them: what is fitted to a token has seen it."""
    frame = learning[-1][1]
    cost, is_shared = fitted_cost(analysis, tokens, site[1], frame), False
    if cost is None:
        cost, is_shared = shared_fit(analysis, tokens, site[1], learning, scoring), True
    shown = () if cost is None else (cost, site[0], tokens.score.node)
    return None if cost is None else _Found(site[0], shown, is_window=True, is_shared=is_shared)


# -- statistics ---------------------------------------------------------------------------------------------


def check_calibrates(analysis: Analysis) -> Iterator[Hit]:
    """Statistics of the scored text that become weights before it is scored: a quantization calibrated on it."""
    program, settings = analysis.program, dict(analysis.program.taken)
    if program.work_left < _LEAST_WORK or not (sites := gatherings(program)):
        return
    found: dict[int, tuple[ast.AST, ...]] = {}
    for tokens in scored_tokens(analysis):
        found[tokens.sink] = found.get(tokens.sink) or next(_gathered_before(analysis, tokens, sites), ())
    if not found or not all(found.values()):
        program.taken = settings  # a reader is told of those alone that decided something
        return
    shown = next(iter(found.values()))
    hit = analysis.hit(codes.LEARNS_FIRST, _CALIBRATED, shown[0], shown=shown)
    yield replace(hit, evidence={**hit.evidence, "missing": _CALIBRATED_ELSEWHERE})


_CALIBRATED = (
    "The script asks the network about the text that it scores, gathers statistics of what passes through its layers, "
    "and makes weights of them that are scored on that text afterwards (a quantization that is calibrated on it): the "
    "score does not pay for what the weights hold of the text by that. How much it is worth, nothing here shows"
)
_CALIBRATED_ELSEWHERE = (
    "the network quantized once more with statistics of training text, or of text that it made itself, and its score"
)


def _gathered_before(
    analysis: Analysis, tokens: ScoredTokens, sites: Sequence[Gathering]
) -> Iterator[tuple[ast.AST, ...]]:
    """What a report quotes of statistics of the scored text that become weights before it is scored."""
    program = analysis.program
    text = _sources(program, tokens.target, tokens.frame)
    if not text.held_out or text.is_cut:
        return
    scored_ways = [way for way in way_of(program, tokens.score.node, tokens.score.frame) if _is_run(program, way)]
    for site, way in [(each, way) for each in sites for way in ways_to(program, each.call)]:
        learnt = _sources(program, site.asked, way[-1][1])
        if learnt.is_trained or not _is_same(program, learnt, text):
            continue
        for other in scored_ways:
            met = meeting(program, way, other)
            if program.work_left < _LEAST_WORK // 2:
                return
            if met is None or not _is_run(program, way, surely=met + 1):
                continue
            node, scoring = way[met][0], other[met][0]
            around = [loop for loop in loops_around(program, node) if loop in {*program.ancestors(scoring)}]
            if _varies(program, text, around):
                continue
            made = written_into_weights(program, way, met, scoring, site.names)
            if made is not None:
                yield tuple(dict.fromkeys([site.call, *(each for each, _ in way[met:]), made, scoring]))


# -- places -------------------------------------------------------------------------------------------------
