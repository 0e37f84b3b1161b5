"""Whether the logs of a claim show that a step was not taken: they lack a line that is always printed with it.

A log shows that where it is whole: it holds what its script always prints before the step, four fifths of it at the
least and the last such line among it, then nothing that speaks of the step, and then the score. A line is taken out of
a log as soon as written into one, so something else has to say so too: the script leaves the step out by its own
settings, the log prints that it is switched off, it states the size of another script, or the score did not fall there.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass

from bpb_harness.auditing.script.context import LoggedScore, ScriptContext
from bpb_harness.auditing.script.domains.always_printed import Printing, printed_before, printing
from bpb_harness.auditing.script.domains.shown_in_logs import is_of_another_script, output_of
from bpb_harness.auditing.script.domains.ways import Way
from bpb_harness.auditing.script.frontend.nodes import all_of, end_of, position
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import last_name
from bpb_harness.auditing.script.frontend.walker import Frame

_FEWEST, _SHARE = 4, 0.8  # of the lines that are always printed before the step
_OF_LEARNING = re.compile(r"ttt|adapt|tun(?:e|ing)|distill|epoch|learn|train|\blr\b|sgd|adam", re.IGNORECASE)
_SHORTEST_NAME = 3
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9]*")
_OFF = r"[\"']?\s?[:=]\s?(?:0|False|off|none|disabled)(?![\w.])"


@dataclass(frozen=True)
class NotTaken:
    """What shows that a step was not taken in one of the claim's runs.

    Attributes:
        file: the log.
        before: the number of its last line that is printed before the step.
        printing: what would have been printed first.
        why: what else says so, in words.
        is_claimed: whether the record says that the step made its score.
    """

    file: str
    before: int
    printing: Printing
    why: str
    is_claimed: bool = False


def not_taken(
    program: Program, way: Way, met: int, apart: ast.AST, context: ScriptContext, *, is_own: bool
) -> NotTaken | None:
    """What the logs of all scores of a claim show of a step that none of them took; None where one of them may have.

    Args:
        program: the scripts.
        way: the calls, and the step that they come to.
        met: from where on it is a way of its own.
        apart: what stands behind it, or around it.
        context: the lines that carry the claim, and what the record says.
        is_own: whether the scripts take the step by their own settings.
    """
    step = next((node for node in program.upward(way[met][0]) if _holds(program, program.parent(node), apart)), None)
    printed = printed_before(program, way) if context.logged and step is not None else []
    own = [each for each in printed if any(node is step for node in program.upward(each.node))]
    own += printed_before(program, way[met + 1 :]) if step is not None else []
    own = [each for each in printed if any(each.node is other.node for other in own)]
    if not own or step is None:
        return None
    names = {name for test, wanted in program.tests_above(way[met][0]) if wanted for name in _asked(test)}
    looked = _Looked(program, printed, own, names, printed_behind(program, step, way[met][1]), context, is_own)
    found = [_not_in(looked, score) for score in context.logged]
    return found[0] if found and None not in found else None


@dataclass(frozen=True)
class _Looked:
    """A step that is looked for in logs.

    Attributes:
        program: the scripts.
        printed: what is printed before it in every run that comes to it.
        own: of that, what is printed with it alone, in front of it.
        names: the settings that have to be on for it.
        behind: what lines are known by that are printed behind it.
        context: what the record says.
        is_own: whether the scripts take it by their own settings.
    """

    program: Program
    printed: Sequence[Printing]
    own: Sequence[Printing]
    names: set[str]
    behind: Sequence[str]
    context: ScriptContext
    is_own: bool

    @property
    def words(self) -> set[str]:
        """What its own lines begin with."""
        found = (_WORD.search(each.key) for each in self.own)
        return {word[0].lower() for word in found if word and len(word[0]) >= _SHORTEST_NAME}


def _not_in(looked: _Looked, score: LoggedScore) -> NotTaken | None:
    lines = output_of(looked.program, score)
    first = looked.own[0]
    alike = [each for each in looked.printed if each.by == first.by]
    before = alike[: next(number for number, each in enumerate(alike) if each is first)]
    at = [next((number for number, line in lines if each.key in line), None) for each in before]
    there = [number for number in at if number is not None]
    is_whole = len(there) >= max(_FEWEST, _SHARE * len(at)) and at[-1] is not None
    if not is_whole or at[-1] != max(there):
        return None
    place, words = max(there), looked.words
    for number, line in lines:
        is_behind = place < number < score.line
        if any(each.key in line for each in looked.own):
            return None
        if is_behind and (_OF_LEARNING.search(line) or any(word in line.lower() for word in words)):
            return None
    why = _why(looked, score, lines)
    return NotTaken(score.file, place, first, why, _claims_it(looked)) if why else None


def _why(looked: _Looked, score: LoggedScore, lines: Sequence[tuple[int, str]]) -> str:
    """What says that the step was not taken, beside the line that is not there; empty where nothing does."""
    if not looked.is_own:
        return "by the script's own settings it is left out"
    if looked.names:
        off = re.compile(rf"(?<![A-Za-z0-9])(?:{'|'.join(map(re.escape, sorted(looked.names)))}){_OFF}", re.IGNORECASE)
        said = next((number for number, line in lines if off.search(line)), None)
        if said is not None:
            return f"line {said} says that it was switched off"
    if is_of_another_script(looked.program, score) and not _speaks_of_it(looked):
        return "the log states a size of its code that no script there has"
    scores = [*score.before, *([(score.line, score.value)] if score.value is not None else [])]
    told = dict(lines)
    later = next((each for each in scores if any(key in told.get(each[0], "") for key in looked.behind)), None)
    earlier = [each for each in scores if later is not None and each[0] < later[0]]
    if later is not None and earlier and later[1] >= earlier[-1][1] and not _claims_it(looked):
        return (
            f"the score does not fall there, from {earlier[-1][1]:.4f} in line {earlier[-1][0]} to "
            f"{later[1]:.4f} in line {later[0]}"
        )
    return ""


def _claims_it(looked: _Looked) -> bool:
    """Whether the record's title, its JSON, or what its README says where it gives the score, is that the step made it.

    A README that gives another score is of another run, and so is its title.
    """
    context = looked.context
    values = [score.value for score in context.logged if score.value is not None]
    claimed = context.claimed if context.claimed is not None or len(values) != 1 else values[0]
    giving = [line for line in context.readme.split("\n") if claimed is not None and _gives(line, claimed)]
    said = [title for title in context.titles if giving or title not in context.readme]
    said += [clause for text in context.said for clause in _CLAUSES.split(text)]
    return any(
        (_CLAIMED.search(line) or any(word in line.lower() for word in looked.words)) and not _DENIED.search(line)
        for line in (*said, *giving)
    )


def _gives(line: str, claimed: float) -> bool:
    numbers = (number[0] for number in _SCORE.finditer(line))
    return any(
        abs(float(number) - claimed) <= 0.5 * 10.0 ** -len(number.partition(".")[2]) + 1e-12 for number in numbers
    )


_CLAUSES = re.compile(r"[;,]\s|\.\s|\s[+|]\s")
_SCORE = re.compile(r"(?<![0-9.])[0-9]\.[0-9]{4,16}(?![0-9]|\.[0-9])")
_DENIED = re.compile(
    r"\b(?:no|non|not|never|without|off|disabled?|dropped|removed|unused|negative)\b|=\s?0\b", re.IGNORECASE
)


def _speaks_of_it(looked: _Looked) -> bool:
    """Whether the record's own words claim the step, or one like it."""
    said = "\n".join([*looked.context.titles, *looked.context.said, looked.context.readme])
    return _CLAIMED.search(said) is not None or any(word in said.lower() for word in looked.words)


_CLAIMED = re.compile(r"ttt|test[- ]time|adapt(?:s|ed|ing|ation)", re.IGNORECASE)


def printed_behind(program: Program, step: ast.AST, frame: Frame) -> list[str]:
    """What lines are known by that the step's own function prints behind it."""
    calls = (node for node in program.own_nodes(program.scope(step)) if isinstance(node, ast.Call))
    behind = (call for call in calls if position(call) > end_of(step))
    return [found.key for call in behind if (found := printing(program, call, frame)) is not None]


def _asked(test: ast.expr) -> set[str]:
    """The settings that a test asks to be on: ttt_enabled of args.ttt_enabled."""
    named = (last_name(each) for each in all_of(test) if isinstance(each, ast.Name | ast.Attribute))
    return {name for name in named if len(name) > _SHORTEST_NAME}


def _holds(program: Program, outer: ast.AST | None, inner: ast.AST) -> bool:
    return outer is None or any(outer is node for node in program.upward(inner))
