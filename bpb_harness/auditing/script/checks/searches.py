"""Settings that were chosen by the scored text itself: a search over candidates, the best of which makes the score.

A two-part code pays for such a choice: log2 K bits tell a decoder which of K candidates was taken, once for the whole
text, and the rest is the score. Whatever the search does from one candidate to the next, n comparisons of scores have
at most 2^n outcomes: a bit for each, and each of them takes a pass over the text. Over millions of bytes that is
nothing: a remark. Not so where each window has a choice of its own that is made by its own tokens: then the bits are
due for every window, and nobody has paid them.
"""

from __future__ import annotations

import ast
import itertools
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bpb_harness.auditing.script import codes
from bpb_harness.auditing.script.domains.always_printed import printing
from bpb_harness.auditing.script.domains.analysis import Analysis, Hit
from bpb_harness.auditing.script.domains.extent import loops_around
from bpb_harness.auditing.script.domains.plain_loss import cost_of, plain_name
from bpb_harness.auditing.script.domains.scored_tokens import ScoredTokens, behind_target, is_held_out, scored_tokens
from bpb_harness.auditing.script.domains.shown_in_logs import output_of
from bpb_harness.auditing.script.domains.trace import trace
from bpb_harness.auditing.script.domains.values import Evaluator, taken
from bpb_harness.auditing.script.domains.ways import meeting, way_of, ways_to
from bpb_harness.auditing.script.frontend.nodes import arguments, elements, end_of, names_in, position
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import last_name
from bpb_harness.auditing.script.frontend.walker import Frame
from bpb_harness.findings import Json, Severity

_MAX_TRACED = 800
_LEAST_WORK = 60_000  # what has to be left of the program's bound: no other check may come to it by this one
_MAX_SEARCHES = 12
_SCORE = re.compile(r"(?:^|_)(?:loss|bpb|bpt|nll|bits|ce|ppl|nats)(?:_|$)", re.IGNORECASE)
_LABEL = re.compile(r"(?:^|[^a-z])(?:loss|bpb|nll|bits|ce)\s?[:=]\s?$", re.IGNORECASE)


@dataclass(frozen=True)
class _Search:
    """A comparison that keeps the smaller score.

    Attributes:
        node: the comparison, or the call that takes the minimum.
        score: the score of a candidate.
        best: the name of what is kept.
        chosen: the names that are set beside it.
    """

    node: ast.If | ast.Call
    score: ast.expr
    best: str
    chosen: tuple[str, ...]


def check_searches(analysis: Analysis) -> Iterator[Hit]:
    """Choices by the scored text: a remark for the whole of it, a doubt for each window."""
    program, settings = analysis.program, dict(analysis.program.taken)
    searches = [*_searches(program)][:_MAX_SEARCHES]
    if not searches or program.work_left < _LEAST_WORK:
        return
    whole: list[_Search] = []
    for tokens in scored_tokens(analysis):
        held_out = {part for part, _ in behind_target(analysis, tokens) if is_held_out(part)}
        for search in searches:
            if program.work_left < _LEAST_WORK // 2:
                break
            if not _is_of(program, search.score, held_out):
                continue
            if loops := _of_windows(analysis, tokens, search):
                yield _hit_of_windows(analysis, search, loops)
                return
            if search not in whole and _is_used(program, search) and _is_before(program, search, tokens):
                whole.append(search)
    whole = [search for search in whole if not _is_not_in_logs(analysis, search)]
    program.taken = settings
    if whole:
        yield _hit(analysis, sorted(whole, key=lambda each: position(each.node)))


def _searches(program: Program) -> Iterator[_Search]:
    """Places that keep the smaller of two scores: if bpb < best: best, chosen = bpb, t; min(scores, key=scores.get)."""
    for node in program.nodes.get(ast.If, ()):
        if not isinstance(node, ast.If):
            continue
        parts = node.test.values if isinstance(node.test, ast.BoolOp) else [node.test]
        for test in parts:
            sides = _smaller(test)
            if sides is None or not _is_score(program, sides[0]):
                continue
            set_there = [target for each in node.body if isinstance(each, ast.Assign) for target in _set(each)]
            best = _root(sides[1])
            if best in set_there:
                yield _Search(node, sides[0], best, tuple(name for name in set_there if name != best))
    for call in program.calls.get("min", ()):
        statement = program.parent(call)
        is_keyed = any(each.arg == "key" for each in call.keywords) and len(call.args) == 1
        if is_keyed and isinstance(statement, ast.Assign) and any(map(_SCORE.search, names_in(call))):
            names = [*_set(statement)]
            yield _Search(call, call.args[0], names[0], tuple(names))


def _smaller(test: ast.expr) -> tuple[ast.expr, ast.expr] | None:
    """The score and what it is held against, in score < best and best > score."""
    if not isinstance(test, ast.Compare) or len(test.ops) != 1:
        return None
    if isinstance(test.ops[0], ast.Lt | ast.LtE):
        return test.left, test.comparators[0]
    return (test.comparators[0], test.left) if isinstance(test.ops[0], ast.Gt | ast.GtE) else None


def _is_score(program: Program, node: ast.expr) -> bool:
    """Whether a value is called a score, or printed as one: val_bpb:{vb:.4f}."""
    if _SCORE.search(_name(node)):
        return True
    texts = program.labelled(program.scope(node)) if isinstance(node, ast.Name) else ()
    return any(
        isinstance(label, ast.Constant) and _LABEL.search(str(label.value))
        and isinstance(value, ast.FormattedValue)
        and isinstance(value.value, ast.Name) and value.value.id == node.id
        for text in texts if isinstance(text, ast.JoinedStr) and isinstance(node, ast.Name)
        for label, value in itertools.pairwise(text.values)
    )  # fmt: skip


def _name(node: ast.expr) -> str:
    """The name that a score has: vb of vb, val_bpb of result.val_bpb, loss of loss.item()."""
    while isinstance(node, ast.Call | ast.Subscript):
        inner = node.func if isinstance(node, ast.Call) else node.value
        node = inner.value if isinstance(inner, ast.Attribute) and isinstance(node, ast.Call) else inner
    return last_name(node)


def _root(node: ast.AST) -> str:
    while isinstance(node, ast.Subscript | ast.Attribute | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


def _set(statement: ast.Assign) -> Iterator[str]:
    for target in statement.targets:
        yield from map(_root, elements(target))


def _is_of(program: Program, score: ast.expr, held_out: set[ast.AST]) -> bool:
    """Whether a score is one of the text that is scored: both are read at one place."""
    return bool(held_out) and any(
        part in held_out for part, _ in trace(program, score, Frame.at(program, score), _MAX_TRACED)
    )


def _is_before(program: Program, search: _Search, tokens: ScoredTokens) -> bool:
    """Whether a search comes before a score, on any way to either, and not in each round of a loop around both."""
    for way in ways_to(program, search.node):
        for other in way_of(program, tokens.score.node, tokens.score.frame):
            met = meeting(program, way, other)
            if met is None or position(way[met][0]) >= position(other[met][0]):
                continue
            if any(taken(program, node, frame) is False for node, frame in way):
                continue
            scoring = loops_around(program, other[met][0])
            if not any(loop is each for loop in loops_around(program, way[met][0]) for each in scoring):
                return True
    return False


def _is_used(program: Program, search: _Search) -> bool:
    """Whether what was chosen is gone on with, by its name or by a file, and not only told."""
    body = search.node.body if isinstance(search.node, ast.If) else []
    within = [part for statement in body for part in ast.walk(statement)]
    if any(isinstance(part, ast.Call) and last_name(part.func) in _SAVING for part in within):
        return True
    if _loads_another(program, search):
        return True
    names = {name for name in search.chosen if not _NO_CHOICE.search(name)}
    own = {*ast.walk(search.node), program.parent(search.node)}
    scope = program.scope(search.node)
    if any(not names.isdisjoint(names_in(value)) for value in scope.returns):
        return True
    return bool(names) and any(
        call not in own and program.scope(call) is scope and not names.isdisjoint(names_in(*arguments(call)))
        for name, calls in program.calls.items() if not _TELLING.search(name)
        for call in calls
    )  # fmt: skip


def _loads_another(program: Program, search: _Search) -> bool:
    """Whether weights are loaded by what was chosen: else: load(others), or behind it under a test of its name."""
    node = search.node
    if not isinstance(node, ast.If):
        return False
    chosen = {name for name in search.chosen if name != search.best}
    for load in program.calls.get("load_state_dict", ()):
        if program.scope(load) is not program.scope(node):
            continue
        tests = [test for test, _ in program.tests_above(load)]
        if any(node.test is test for test in tests):
            return True
        if position(load) > position(node) and any(not chosen.isdisjoint(names_in(test)) for test in tests):
            return True
    return False


def _is_not_in_logs(analysis: Analysis, search: _Search) -> bool:
    """Whether the claim's logs hold nothing of a line that the search prints of each candidate: it was off then."""
    program, node = analysis.program, search.node
    logged, above = analysis.context.logged, program.parent(node)
    if not logged or not isinstance(node, ast.If) or not isinstance(above, ast.For | ast.While):
        return False
    calls = [each.value for each in (*above.body, *node.body) if isinstance(each, ast.Expr)]
    told = [printing(program, call, Frame.at(program, call)) for call in calls if isinstance(call, ast.Call)]
    keys = [each.key for each in told if each is not None]
    return bool(keys) and not any(
        key in line for score in logged for _, line in output_of(program, score) for key in keys
    )


_SAVING = frozenset(["save", "save_file", "savez", "dump"])
_NO_CHOICE = re.compile(
    r"(?:^|_)(?:loss|bpb|bpt|nll|bits|ce|ppl|step|epoch|iter|patience|count|time|label|tag|marker|name)", re.IGNORECASE
)
_TELLING = re.compile(
    r"log|print|write|summary|report|json|append|scalar|wandb|format|^(?:int|float|str|min|max|abs|round|len)$",
    re.IGNORECASE,
)


def _of_windows(analysis: Analysis, tokens: ScoredTokens, search: _Search) -> list[ast.AST]:
    """The loops over candidates, where each window has a choice of its own by its own tokens, which makes their score.

    What is kept begins anew in each round of the loop over the text, and is read in that round behind the search; what
    is read in the next one alone was chosen by tokens that were paid for.
    """
    program, node = analysis.program, search.node
    loops, scoring = loops_around(program, node), loops_around(program, tokens.score.node)
    around = next((loop for loop in reversed(loops) if any(loop is each for each in scoring)), None)
    if around is None or not _is_of_same_window(program, search, tokens):
        return []
    made = [each.statement for each in program.scope(node).definitions.get(search.best, ()) if each.kind == "assign"]
    starts = [each for each in made if position(each) < position(node) and program.is_inside(each, around)]
    inner = [loop for loop in loops if any(not program.is_inside(start, loop) for start in starts)]
    if not inner:
        return []
    names, end = {search.best, *search.chosen}, end_of(inner[-1])
    used = [part for part, _ in analysis.claimed_path if isinstance(part, ast.Name) and part.id in names]
    used = [part for part in used if program.is_inside(part, around) and position(part) > end]
    is_scored_with = position(tokens.score.node) > end and bool(used)
    return inner if is_scored_with or any(_is_added_up(program, part) for part in used) else []


def _is_of_same_window(program: Program, search: _Search, tokens: ScoredTokens) -> bool:
    """Whether candidates are scored on the very tokens that the score is of: by one name, which has one value."""
    cost = cost_of(program, search.score)
    tried, scored = plain_name(cost[1]) if cost is not None else None, plain_name(tokens.target)
    if tried is None or scored is None or program.scope(search.node) is not program.scope(tokens.score.node):
        return False
    is_one = tried.name.id == scored.name.id and tried.parts == scored.parts
    return is_one and {*program.reaching(tried.name)} == {*program.reaching(scored.name)}


def _is_added_up(program: Program, node: ast.AST) -> bool:
    """Whether something is added to a sum, or to a list, right there: nats += least, costs.append(least)."""
    for above in program.ancestors(node):
        if isinstance(above, ast.stmt):
            return isinstance(above, ast.AugAssign)
        if isinstance(above, ast.Call) and last_name(above.func) in ("append", "add_"):
            return True
    return False


# -- what it costs ------------------------------------------------------------------------------------------


def _hit(analysis: Analysis, whole: Sequence[_Search]) -> Hit:
    names = dict.fromkeys(name for search in whole for name in (*_told(search), search.best)[:1])
    numbers = [_tried(analysis.program, search) for search in whole]
    known = [number for number in numbers if number is not None]
    chosen = ", ".join(f"`{name}`" for name in [*names][:4])
    said = (
        "The script scores the text several times, with other settings or weights, and goes on with the best of them "
        f"({chosen}). A decoder can be told of that choice ahead, once for the whole text: "
    )
    evidence: dict[str, Json] = {"num_searches": len(whole)}
    if len(known) == len(numbers):
        bits = sum(math.log2(number + 1) for number in known)
        said += f"{_count(bits)} at most{_over(analysis, bits)}"
        evidence["bits"] = bits
    else:
        said += f"a bit at most for each comparison of scores, and for a thousand 1,000{_over(analysis, 1_000.0)}"
    said += ", which is too little to matter"
    nodes = tuple(search.node for search in whole)
    return analysis.hit(codes.CHOSEN_BY_TEXT, said, nodes[0], shown=nodes, evidence=evidence)


def _told(search: _Search) -> list[str]:
    return [name for name in search.chosen if name and not _NO_CHOICE.search(name)]


def _count(bits: float) -> str:
    return f"{bits:.0f} bit" if round(bits) == 1 else f"{bits:.0f} bits"


def _over(analysis: Analysis, bits: float) -> str:
    """What some bits are per byte of the text, where its size is known."""
    tokens, ratio = analysis.context.text_tokens, analysis.context.bytes_per_token
    return f", {bits / (tokens * ratio):.1e} bits per byte of this text" if tokens and ratio else ""


def _hit_of_windows(analysis: Analysis, search: _Search, loops: Sequence[ast.AST]) -> Hit:
    number = _candidates(analysis.program, loops)
    bits = "log2 of the number of candidates" if number is None else f"{math.log2(number + 1):.1f}"
    said = (
        f"For each window of the text the script keeps the best of several candidates (`{search.best}`), by the very "
        f"tokens of that window, and scores them with it: a decoder would have to be told which, {bits} bits for every "
        "window, and the score does not pay for them"
    )
    return analysis.hit(codes.CHOSEN_BY_TEXT, said, search.node, severity=Severity.WARNS)


def _tried(program: Program, search: _Search) -> int | None:
    """How many candidates a search tries."""
    return _candidates(program, loops_around(program, search.node)) if isinstance(search.node, ast.If) else None


def _candidates(program: Program, loops: Sequence[ast.AST]) -> int | None:
    """How many candidates loops go through; None where that is not written out."""
    product = 1
    for loop in loops:
        number = _length(program, loop.iter) if isinstance(loop, ast.For) else None
        if number is None:
            return None
        product *= number
    return product


def _length(program: Program, node: ast.expr) -> int | None:
    if isinstance(node, ast.Tuple | ast.List):
        return len(node.elts)
    if isinstance(node, ast.ListComp) and len(node.generators) == 1 and not node.generators[0].ifs:
        return _length(program, node.generators[0].iter)
    if isinstance(node, ast.Call) and last_name(node.func) == "range" and len(node.args) == 1:
        number = Evaluator(program).number(node.args[0], Frame.at(program, node))
        return int(number) if number is not None and 0 < number < 1e9 else None
    if isinstance(node, ast.Name):
        values = [each.value for each in program.reaching(node) if each.kind == "assign" and not each.index]
        return _length(program, values[0]) if len(values) == 1 and values[0] is not None else None
    return None
