"""How much is scored, against what the record says."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Collection, Iterator

from bpb_harness.auditing.script import codes
from bpb_harness.auditing.script.domains.algebra import is_cross_entropy
from bpb_harness.auditing.script.domains.analysis import Analysis, Hit
from bpb_harness.auditing.script.domains.trace import trace
from bpb_harness.auditing.script.frontend.scopes import Scope, dotted, last_name
from bpb_harness.findings import Json

_LIMIT = re.compile(
    r"(?<![a-z])(max|num|n|eval|val|limit|total)_?(eval|val|max|num)?_?(windows|seqs|sequences|batches|samples|chunks|examples|iters|docs|tokens)",
    re.IGNORECASE,
)

_SCORED_BY = frozenset(["cross_entropy", "nll_loss", "log_softmax", "logsumexp", "linear_cross_entropy"])


def check_coverage(analysis: Analysis) -> Iterator[Hit]:
    """for i in range(min(n, MAX_WINDOWS)), windows[:500], if i >= 500: break: in the functions that yield the score."""
    limited = _limited(analysis)
    if not limited:
        return
    scopes = dict.fromkeys(frame.scope for _, frame in analysis.path)
    limits = [
        (scope, node, *limited[node])
        for scope in scopes
        for node in analysis.program.own_nodes(scope)
        if node in limited
        and (not isinstance(node, ast.Call) or id(node) in analysis.path_nodes or _is_count(analysis, node))
    ]
    if not limits:
        return
    loops = _scoring_loops(analysis)
    # A limit that is worked out outside of a loop counts in the functions that score, and in those that call them.
    scoring = _scoring_scopes(analysis, loops, scopes)
    for scope, node, loop, (name, value) in limits:
        if loop in loops if loop is not None else scope in scoring:
            stated = analysis.context.num_windows
            beside = f"; the record says {stated:,} windows" if stated is not None and stated != value else ""
            evidence: dict[str, Json] = {"limit": value, "name": name}
            what = f"{value:,} ({name})"
            if (length := _length_of_each(analysis, node)) is not None:
                first, named, is_first = length
                evidence |= {"num_tokens": value * first, "is_first": is_first}
                each = f"{value:,} windows ({name}) of {first:,} tokens each ({named})"
                what = f"{each}, {'the first ' if is_first else ''}{value * first:,} tokens,"
            said = f"At most {what} are scored, not the whole split{beside}"
            yield analysis.hit(codes.SUBSET, said, node, evidence=evidence)
            return


_NO_TOKENS = re.compile("doc|seq|window|batch|chunk|sample|text|byte|file|shard", re.IGNORECASE)


def _length_of_each(analysis: Analysis, node: ast.AST) -> tuple[int, str, bool] | None:
    """min(500, len(tokens) // L), tokens[i * L : (i + 1) * L]: L, its name, and whether the first ones are meant.

    None where the slices of what is counted are not seen to be of that length: then they may be of anything.
    """
    if not isinstance(node, ast.Call) or last_name(node.func) != "min":
        return None
    for quotient in (part for part in node.args if isinstance(part, ast.BinOp) and isinstance(part.op, ast.FloorDiv)):
        length, named = analysis.number(quotient.right), ast.unparse(quotient.right)
        if length is None or length != int(length) or length < 2:
            continue
        counted = {part.id for part in ast.walk(quotient.left) if isinstance(part, ast.Name)} - {"len"}
        slices = [
            part
            for part, _ in analysis.path
            if isinstance(part, ast.Subscript) and isinstance(part.slice, ast.Slice) and _bounds(part.slice, named)
            if isinstance(part.value, ast.Name) and part.value.id in counted and not _NO_TOKENS.search(part.value.id)
        ]
        if slices:
            is_first = any(_begins_at_0(analysis, part, named) for part in slices)
            return int(length), named, is_first
    return None


def _bounds(cut: ast.Slice, named: str) -> bool:
    """start : start + L, or i * L : (i + 1) * L."""
    if cut.lower is None or cut.upper is None or cut.step is not None:
        return False
    lower, upper = ast.unparse(cut.lower), ast.unparse(cut.upper)
    return upper in (f"{lower} + {named}", f"{named} + {lower}") or (
        isinstance(cut.lower, ast.BinOp)
        and lower == f"{ast.unparse(cut.lower.left)} * {named}"
        and upper == f"({ast.unparse(cut.lower.left)} + 1) * {named}"
    )


def _begins_at_0(analysis: Analysis, part: ast.Subscript, named: str) -> bool:
    """Whether i of i * L runs over range(n): from the first token on."""
    lower = part.slice.lower if isinstance(part.slice, ast.Slice) else None
    if not isinstance(lower, ast.BinOp) or not isinstance(lower.left, ast.Name):
        return False
    if ast.unparse(lower) != f"{lower.left.id} * {named}":
        return False
    defined = analysis.program.reaching(lower.left)
    return bool(defined) and all(
        each.kind == "loop"
        and isinstance(each.value, ast.Call)
        and last_name(each.value.func) == "range"
        and len(each.value.args) == 1
        for each in defined
    )


def _limited(analysis: Analysis) -> dict[ast.AST, tuple[ast.AST | None, tuple[str, int]]]:
    """What limits anything in the program, wherever that is."""
    program = analysis.program
    places = (program.nodes.get(ast.For, []), program.nodes.get(ast.If, []), program.calls.get("min", []))
    found = ((place, _limit_of(analysis, place)) for place in itertools.chain(*places))
    return {place: limit for place, limit in found if limit is not None}


def _limit_of(analysis: Analysis, node: ast.AST) -> tuple[ast.AST | None, tuple[str, int]] | None:
    """What a node limits, whether or not it scores anything: in which loop, or outside of any, and to how much."""
    loop: ast.AST | None = None
    limit = None
    if isinstance(node, ast.For):
        loop, limit = node, _limited_loop(analysis, node)
    elif isinstance(node, ast.If) and any(isinstance(part, ast.Break) for part in node.body):
        loop = next((a for a in analysis.program.ancestors(node) if isinstance(a, ast.For | ast.While)), None)
        limit = _limit_of_test(analysis, node.test) if loop is not None else None
    elif isinstance(node, ast.Call) and last_name(node.func) == "min" and len(node.args) == 2:
        limit = _limit_among(analysis, node.args) or _named_least(analysis, node)
    return None if limit is None else (loop, limit)


def _scoring_loops(analysis: Analysis) -> set[ast.AST]:
    """Loops that add something that comes from a cross-entropy to the score; calibration adds no such thing."""
    found: set[ast.AST] = set()
    known: dict[ast.AST, bool] = {}
    may_draw = "multinomial" in analysis.program.calls
    for node, frame in analysis.path:
        if not isinstance(node, ast.expr) or not _is_added(analysis, node):
            continue
        loops = [above for above in _within(analysis, node) if isinstance(above, ast.For | ast.While)]
        if not loops or all(loop in found for loop in loops):
            continue
        if node not in known:
            behind = [part for part, _ in trace(analysis.program, node, frame, 1_500) if isinstance(part, ast.Call)]
            drawn = may_draw and any(last_name(part.func) == "multinomial" for part in behind)
            is_drawn = drawn and any(map(_generates, loops))
            known[node] = not is_drawn and any(map(is_cross_entropy, behind))
        if known[node]:
            found.update(loops)
    return found


def _generates(loop: ast.AST) -> bool:
    """Whether a loop may draw text from the network: what comes of that is no score, as where it calibrates."""
    called = {last_name(part.func) for part in ast.walk(loop) if isinstance(part, ast.Call)}
    return "multinomial" in called and called.isdisjoint(_SCORED_BY)


def _within(analysis: Analysis, node: ast.AST) -> Iterator[ast.AST]:
    """What holds a node, as far as its function."""
    for above in analysis.program.ancestors(node):
        if isinstance(above, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            return
        yield above


def _is_added(analysis: Analysis, node: ast.expr) -> bool:
    """Whether a value is added to a total, appended to a list, or stored from round to round."""
    above = analysis.program.parent(node)
    if isinstance(above, ast.AugAssign):
        return above.value is node
    if isinstance(above, ast.Assign):
        return True
    return isinstance(above, ast.Call) and last_name(above.func) in ("append", "extend", "add_", "update")


def _scoring_scopes(analysis: Analysis, loops: set[ast.AST], scopes: Collection[Scope]) -> set[Scope]:
    """The functions that hold such a loop, or call one that does."""
    if not loops:  # the score is added up in one expression, or by something that is not followed
        return set(scopes)
    scoring = {analysis.program.scope(loop) for loop in loops}
    for _ in range(4):
        for scope in scopes:
            if scope not in scoring and any(
                isinstance(node, ast.Call) and analysis.program.callee(node) in scoring
                for node in analysis.program.own_nodes(scope)
            ):
                scoring.add(scope)
    return scoring


def _is_count(analysis: Analysis, node: ast.Call) -> bool:
    above = analysis.program.parent(node)
    return isinstance(above, ast.Assign) and isinstance(above.targets[0], ast.Name)


def _named_least(analysis: Analysis, node: ast.Call) -> tuple[str, int] | None:
    """num_docs = min(500, ...): a number without a name, of what is named like a limit."""
    above = analysis.program.parent(node)
    target = above.targets[0] if isinstance(above, ast.Assign) else None
    if not isinstance(target, ast.Name) or not _LIMIT.search(target.id):
        return None
    numbers = [part.value for part in node.args if isinstance(part, ast.Constant)]
    whole = [number for number in numbers if isinstance(number, int) and 1 < number < 1e8]
    return (target.id, whole[0]) if len(whole) == 1 else None


def _limited_loop(analysis: Analysis, node: ast.For) -> tuple[str, int] | None:
    for part in ast.walk(node.iter):
        if isinstance(part, ast.Call) and last_name(part.func) in ("range", "islice") and part.args:
            position = part.args[-1] if last_name(part.func) == "islice" else part.args[min(1, len(part.args) - 1)]
            found = _limit_among(analysis, [position])
            if found is not None:
                return found
            if isinstance(position, ast.Call) and last_name(position.func) == "min":
                return _limit_among(analysis, position.args)
        if isinstance(part, ast.Subscript) and isinstance(part.slice, ast.Slice) and part.slice.upper is not None:
            found = _limit_among(analysis, [part.slice.upper])
            if found is not None:
                return found
    return None


def _limit_of_test(analysis: Analysis, test: ast.expr) -> tuple[str, int] | None:
    if isinstance(test, ast.BoolOp):
        return next((found for part in test.values if (found := _limit_of_test(analysis, part)) is not None), None)
    if isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], ast.GtE | ast.Gt | ast.Eq):
        return _limit_among(analysis, [test.comparators[0]])
    return None


def _limit_among(analysis: Analysis, candidates: list[ast.expr]) -> tuple[str, int] | None:
    """A candidate that is named like a limit and is a whole number; an unnamed number only through such a name."""
    for candidate in candidates:
        name = candidate.attr if isinstance(candidate, ast.Attribute) else dotted(candidate)
        if not name or not _LIMIT.search(name):
            continue
        value = analysis.number(candidate)
        if value is not None and 1 <= value < 1e8 and value == int(value):
            return name, int(value)
    return None
