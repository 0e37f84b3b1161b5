"""How much is scored, against what the record says."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bpb_harness.auditing.script import codes
from bpb_harness.auditing.script.context import LoggedScore
from bpb_harness.auditing.script.domains.algebra import is_cross_entropy
from bpb_harness.auditing.script.domains.analysis import Analysis, Hit
from bpb_harness.auditing.script.domains.dealt_out import is_divided, is_slice_of_share
from bpb_harness.auditing.script.domains.extent import LOOPS, Extents, Limit
from bpb_harness.auditing.script.domains.printed_scores import printed_lines_of
from bpb_harness.auditing.script.domains.scored_tokens import behind_target, scored_tokens
from bpb_harness.auditing.script.domains.skipped import left_out, seconds_allowed
from bpb_harness.auditing.script.domains.trace import trace
from bpb_harness.auditing.script.domains.values import Evaluator
from bpb_harness.auditing.script.frontend.once import once
from bpb_harness.auditing.script.frontend.scopes import dotted, last_name
from bpb_harness.auditing.script.frontend.walker import Frame
from bpb_harness.findings import Json

_ENOUGH = 0.99  # of a text: what whole windows leave over is no part
_ONE_SPLIT = 4e6  # tokens; of a text that is not known, so many may be the split itself: enwik8's and text8's have 5e6
_MAX_TRACED = 200  # expressions behind a limit
_PROCESSES = 8  # that share a text, where nothing says how many
_LONGEST_ROUND = 2**16  # tokens that a round scores, where nothing says how many


def check_coverage(analysis: Analysis) -> Iterator[Hit]:
    """What bounds the text whose tokens are scored, whatever its size: in every score that the program reports."""
    taken = dict(analysis.program.taken)
    limits = [scored.limit for scored in scored_texts(analysis)]
    if not limits or any(limit is None for limit in limits):
        analysis.program.taken = taken  # settings that limit nothing are no matter for a reader
        yield from _left_out(analysis)
        return
    limit = max((limit for limit in limits if limit is not None), key=lambda limit: limit.amount)
    is_of_a_test = Path(analysis.program.script(limit.node).path).name.startswith("test_")
    num_tokens = analysis.context.text_tokens or _tokens_of(analysis)
    if is_of_a_test or not _is_part(limit, num_tokens):
        return
    if _is_of_shares(analysis, limit):
        yield from _part_of_shares(analysis, limit, num_tokens)
        return
    stated = analysis.context.num_windows
    beside = f"; the record says {stated:,} windows" if stated is not None and stated != limit.number else ""
    name, value = _name_of(analysis, limit), int(limit.number)
    evidence: dict[str, Json] = {"limit": value, "name": name}
    called = f" ({name})" if name != f"{value}" else ""
    windows = limit.number * limit.each[0] if limit.each is not None else 0.0
    # Less than so many windows hold: they were dealt out or overlap, and how many tokens they are is not known.
    is_told = limit.amount >= windows or limit.amount == limit.number
    said = f"{value:,} windows{'' if limit.each is not None else ', batches or documents'}{called}"
    if limit.is_tokens and is_told:
        tokens, first = int(limit.amount), "the first " if limit.is_first else ""
        evidence |= {"num_tokens": tokens, "is_first": limit.is_first}
        whole = f"{first}{tokens:,} tokens"
        if limit.each is not None and limit.amount == windows:
            said += f" of {limit.each[0]:,.0f} tokens each ({limit.each[1]}), {whole},"
        else:
            said = f"{whole}{called}"
    if _is_fixed(analysis, limit):
        evidence["is_fixed"] = True
    message = f"At most {said} are scored, not the whole split{beside}"
    yield analysis.hit(codes.SUBSET, message, limit.node, evidence=evidence)


def _is_of_shares(analysis: Analysis, limit: Limit) -> bool:
    """Whether a limit cuts what a process's number has chosen, and not the text that is dealt out."""
    program = analysis.program
    for tokens in scored_tokens(analysis):
        for part, frame in behind_target(analysis, tokens):
            if is_slice_of_share(program, part, frame) and isinstance(part, ast.Subscript):
                bounds, base = (
                    {each for each, _ in trace(program, side, frame, _MAX_TRACED)} for side in (part.slice, part.value)
                )
                if limit.node in bounds - base:
                    return True
    return False


def _part_of_shares(analysis: Analysis, limit: Limit, text_tokens: int | None) -> Iterator[Hit]:
    """A limit of each process's share; one that is not divided among them is one where several have less together."""
    number, name = f"{int(limit.amount):,} {'tokens' if limit.is_tokens else 'elements'}", _name_of(analysis, limit)
    evidence: dict[str, Json] = {"limit": int(limit.number), "name": name}
    if is_divided(analysis.program, limit.node, Frame(analysis.program.scope(limit.node))):
        if limit.is_tokens:
            evidence |= {"num_tokens": int(limit.amount), "is_first": False}
        said = f"Of each process's share of the text the beginning alone is scored, together about {number} at most"
    elif _is_part(limit.of(_PROCESSES), text_tokens):
        said = f"Of each process's share of the text at most the first {number} are scored"
    else:
        return
    yield analysis.hit(codes.SUBSET, f"{said} ({name}), not the whole split", limit.node, evidence=evidence)


def _is_fixed(analysis: Analysis, limit: Limit) -> bool:
    """Whether a limit holds in every run: it stands under no test, and no setting gives it."""
    if analysis.program.tests_above(limit.node):
        return False
    evaluator = Evaluator(analysis.program)
    return all(evaluator.setting_asked(*met) is None for met in _with_defaults(analysis, limit.node))


def _left_out(analysis: Analysis) -> Iterator[Hit]:
    """What every score leaves out between its windows, or behind a time; what one leaves to another is not left out."""
    found: dict[int, set[tuple[ast.AST, str]]] = {}
    for tokens in scored_tokens(analysis):
        score = (tokens.score.node, tokens.score.frame)
        left = left_out(analysis.program, behind_target(analysis, tokens), score)
        if left is None:
            return
        found.setdefault(tokens.sink, set()).add(left)
    if found and all(len(places) == 1 for places in found.values()):
        ((node, what),) = next(iter(found.values()))
        if _took_less(analysis, node):
            return
        yield analysis.hit(codes.SUBSET, f"The script scores a part of the text alone: {what}", node)


def _took_less(analysis: Analysis, node: ast.AST) -> bool:
    """Whether scoring stops at a time, and each log of the claim tells of an evaluation that took less."""
    logged = analysis.context.logged
    allowed = seconds_allowed(analysis.program, node) if logged else None
    if allowed is None or len(logged) < analysis.context.num_scores:
        return False
    taken = [_seconds_taken(analysis, score) for score in logged]
    return all(each is not None and each < allowed for each in taken)


def _seconds_taken(analysis: Analysis, score: LoggedScore) -> float | None:
    """How long the evaluation of a score took, by its line or one before it that gives the same score rounded."""
    before, own = ["", "", *printed_lines_of(analysis.program, score)][score.line : score.line + 2]
    lines = [own, before] if _gives(before, score) else [own]
    times = [(float(match[1]), match[2]) for line in lines for match in _EVAL_TIME.finditer(line)]
    return max((value / 1000.0 if unit == "ms" else value for value, unit in times), default=None)


def _gives(line: str, score: LoggedScore) -> bool:
    numbers = [(float(text), len(text.partition(".")[2])) for text in _SCORE.findall(line)]
    return score.value is not None and any(
        abs(number - score.value) <= 0.5001 * 10.0**-digits for number, digits in numbers
    )


_SCORE = re.compile(r"(?<![0-9.])[0-9]{1,2}\.[0-9]{1,16}(?![0-9])")
_EVAL_TIME = re.compile(r"(?<![a-z_])eval_time\s?[:=]\s?([0-9]{1,9}(?:\.[0-9]{1,6})?)\s?(ms|s)(?![a-z])")


@dataclass(frozen=True)
class Scored:
    """The text that a cross-entropy of a score is of.

    Attributes:
        sink: the number of the score.
        limit: what bounds it, however long the text is; None where nothing does.
        is_followed: whether it was followed back to where it is read.
    """

    sink: int
    limit: Limit | None
    is_followed: bool


@once
def scored_texts(analysis: Analysis) -> list[Scored]:
    """The text of each cross-entropy of the scores that are meant; worked out once."""
    extents = Extents(analysis.program, lambda: _scoring_loops(analysis))
    found = []
    for tokens in scored_tokens(analysis):
        extents.steps, extents.lost = 0, []
        extent = extents.visit(tokens.target, tokens.frame)
        is_one_draw = extent.is_drawn and not extent.loops  # how often it is drawn is not seen
        limit = None if is_one_draw else extent.covered
        if limit is not None and _may_be_lifted(analysis, limit):
            found.append(Scored(tokens.sink, None, is_followed=False))
            continue
        is_followed = limit is not None or not (extents.lost or is_one_draw)
        found.append(Scored(tokens.sink, limit, is_followed))
    return found


def _may_be_lifted(analysis: Analysis, limit: Limit) -> bool:
    """Whether it is a setting's default, and a shell script of the folder sets that to more, or to something else."""
    beside = analysis.context.set_beside
    if not beside:
        return False
    evaluator = Evaluator(analysis.program)
    asked = (evaluator.setting_asked(*met) for met in _with_defaults(analysis, limit.node))
    open_to = {name for name in asked if name is not None} - analysis.program.settings.keys()
    return any(_lifts(value, limit.number) for name in open_to for value in beside.get(name, ()))


def _with_defaults(analysis: Analysis, node: ast.expr) -> Iterator[tuple[ast.AST, Frame]]:
    """What a value is computed from, the defaults of parameters among it."""
    program, starts, met = analysis.program, [node], set[ast.AST]()
    while starts:
        start = starts.pop()
        for part, frame in trace(program, start, Frame(program.scope(start)), _MAX_TRACED):
            yield part, frame
            if isinstance(part, ast.Name) and part not in met:
                met.add(part)
                defaults = (each.value for each in program.reaching(part) if each.kind == "parameter")
                starts += [value for value in defaults if value is not None]


def _lifts(value: str, number: float) -> bool:
    """Whether a setting may bound less than a number: 0 and -1 mostly mean no bound at all."""
    try:
        return not 0.0 < float(value.replace("_", "")) <= number
    except ValueError:
        return True


def _tokens_of(analysis: Analysis) -> int | None:
    """How many tokens the text has, by the tokenizer that the scripts name; else the fewest that it has under any."""
    if analysis.named_row is not None:
        return analysis.named_row[0].num_tokens
    return min((row.num_tokens for row in analysis.context.rules.table.rows if row.is_whole), default=None)


def _is_part(limit: Limit, text_tokens: int | None) -> bool:
    """Whether so much is less than the text, as far as is known how long that is."""
    tokens = limit.amount if limit.is_tokens else limit.amount * _LONGEST_ROUND
    if text_tokens is not None:
        return tokens < _ENOUGH * text_tokens
    return tokens < _ONE_SPLIT if limit.is_tokens else limit.amount < _ONE_SPLIT / 1024


def _name_of(analysis: Analysis, limit: Limit) -> str:
    """What a limit is called: its own name, or that of what is made of it."""
    named = dotted(limit.node)
    above = analysis.program.parent(limit.node)
    while not named and isinstance(above, ast.Call | ast.BinOp | ast.IfExp):
        above = analysis.program.parent(above)
    target = above.targets[0] if not named and isinstance(above, ast.Assign) else None
    return named or (target.id if isinstance(target, ast.Name) else ast.unparse(limit.node))


def _scoring_loops(analysis: Analysis) -> set[ast.AST]:
    """Loops that add something that comes from a cross-entropy to the score; calibration adds no such thing."""
    found: set[ast.AST] = set()
    for node, frame in analysis.path:
        if not isinstance(node, ast.expr) or (name := _added_to(analysis, node)) is None:
            continue
        loops = [above for above in _within(analysis, node) if isinstance(above, LOOPS)]
        if not loops or all(loop in found for loop in loops):
            continue
        if any(is_cross_entropy(part) for part, _ in trace(analysis.program, node, frame, 1_500)):
            anew = next((n for n, loop in enumerate(loops) if _starts_in(analysis, name, loop)), len(loops))
            found.update(loops[:anew])
    return found


def _within(analysis: Analysis, node: ast.AST) -> Iterator[ast.AST]:
    """What holds a node, as far as its function."""
    for above in analysis.program.ancestors(node):
        if isinstance(above, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            return
        yield above


def _added_to(analysis: Analysis, node: ast.expr) -> str | None:
    """The total or the list that a value is added to from round to round; None where it is not."""
    above = analysis.program.parent(node)
    if isinstance(above, ast.AugAssign) and above.value is node:
        return ast.unparse(above.target)
    if isinstance(above, ast.Assign):
        name = ast.unparse(above.targets[0])
        is_kept = isinstance(above.targets[0], ast.Subscript)
        return (
            name if is_kept or any(ast.unparse(p) == name for p in ast.walk(node) if isinstance(p, ast.Name)) else None
        )
    if isinstance(above, ast.Call) and last_name(above.func) in ("append", "extend", "add_", "update"):
        return ast.unparse(above.func.value) if isinstance(above.func, ast.Attribute) else None
    return None


def _starts_in(analysis: Analysis, name: str, loop: ast.AST) -> bool:
    """Whether a loop starts a total anew in each round: then it is no loop over the text."""
    scope = analysis.program.scope(loop)
    return any(
        each.kind == "assign" and any(above is loop for above in analysis.program.ancestors(each.statement))
        and not any(isinstance(p, ast.Name) and p.id == name for p in ast.walk(each.value or ast.Constant(0)))
        for each in scope.definitions.get(name, [])
    )  # fmt: skip
