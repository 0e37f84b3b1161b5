"""How often the run of a claim went over its text: as its log prints, its README says, or else by a default."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bpb_harness.auditing.script.domains.analysis import Analysis
from bpb_harness.auditing.script.domains.rounds_in_logs import number_in_logs
from bpb_harness.auditing.script.domains.trace import trace
from bpb_harness.auditing.script.domains.values import Evaluator
from bpb_harness.auditing.script.frontend.walker import Frame

_MAX_TRACED = 1_500
_WORDS = {"one": 1, "single": 1, "two": 2, "three": 3, "four": 4, "five": 5, "ten": 10}
_IN_WORDS = re.compile(rf"\b(\d{{1,4}}|{'|'.join(_WORDS)})[\s-]+(?:epoch|pass(?:es)?\b)", re.IGNORECASE)
_OF_SCORED_TEXT = re.compile(r"ttt|test[- ]time|chunk|document|\beval|adapt|scor|\blora", re.IGNORECASE)


@dataclass(frozen=True)
class Passes:
    """How often a text was gone over.

    Attributes:
        number: how often; None where it is not known.
        told: what says so, in words; empty where the script itself does, or a command, or nothing.
        is_sure: whether the run is known to have made so many: it is no more than a default else.
    """

    number: int | None
    told: str = ""
    is_sure: bool = True

    def __str__(self) -> str:
        if self.number is None:
            return "several passes"
        if not self.is_sure:
            return f"several passes ({self.number} by its default; in one pass the same lines would be in order)"
        return f"{self.number} passes ({self.told})" if self.told else f"{self.number} passes"


def passes_of_run(analysis: Analysis, loop: ast.stmt, arguments: Sequence[ast.expr]) -> Passes:
    """How often a loop over a range went round in the run of the claim.

    What its log prints goes before what a command or the script sets. A default holds where the README says nothing
    else; where that names several numbers it says none.

    Args:
        analysis: the program, and what the record says.
        loop: the loop.
        arguments: of its range, one or two.
    """
    first = 0.0 if len(arguments) == 1 else analysis.number(arguments[0])
    frame = Frame.at(analysis.program, loop)
    logged = number_in_logs(analysis.program, arguments[-1], frame, analysis.context.logged)
    if first is not None and logged is not None and logged.lines:
        score, line = logged.lines[0]
        return Passes(int(logged.number - first), f"{score.file}:{line} prints their number")
    end = analysis.number(arguments[-1])
    by_default = None if first is None or end is None else int(end - first)
    settings = _settings_behind(analysis, arguments, frame)
    if by_default is not None and settings is None:
        return Passes(by_default)
    said = {*_said(analysis, settings or ())} - {0}
    if len(said) == 1:
        return Passes(said.pop(), "its README says so")
    return Passes(by_default, is_sure=False)


def _settings_behind(analysis: Analysis, arguments: Sequence[ast.expr], frame: Frame) -> list[str] | None:
    """The settings without a known value that a number depends on; None where it depends on none."""
    evaluator = Evaluator(analysis.program)
    behind = [each for part in arguments for each in trace(analysis.program, part, frame, _MAX_TRACED)]
    asked = [
        (part, where) for part, where in behind if isinstance(part, ast.Call) and evaluator.is_default(part, where)
    ]
    names = [evaluator.setting_asked(part, where) for part, where in asked]
    return [name for name in names if name is not None] if asked else None


def _said(analysis: Analysis, settings: Sequence[str]) -> Iterator[int]:
    """The numbers of passes that the README names: in lines about the scored text, or as the value of a setting."""
    named = [re.compile(rf"\b{re.escape(name)}\b\W{{1,5}}(\d{{1,4}})\b", re.IGNORECASE) for name in settings]
    for line in "\n".join([analysis.context.readme, *analysis.context.said]).split("\n"):
        if _OF_SCORED_TEXT.search(line):  # else they may be those of the training
            yield from (_number(found[1]) for found in _IN_WORDS.finditer(line))
        yield from (int(found[1]) for each in named for found in each.finditer(line))


def _number(word: str) -> int:
    return int(word) if word.isdigit() else _WORDS[word.lower()]
