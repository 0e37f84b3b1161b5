"""BPB450: a log that lacks a line which the script prints in every run, between two that it holds.

Logs are cut, are picked lines, or are of a version of the script that printed less, and are honest. So the log has to
be whole (four fifths of what is always printed, some of it on either side of the missing line), and it has to matter:
the log states the size of the script's own code, so that the line was taken out; or the size of another's, or none
though the script always prints it, and the missing line tells of what the record's title claims, of which nothing else
in the log tells.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bpb_harness.auditing.script import codes
from bpb_harness.auditing.script.context import LoggedScore
from bpb_harness.auditing.script.domains.always_printed import Printing, printed_before
from bpb_harness.auditing.script.domains.analysis import Analysis, Hit
from bpb_harness.auditing.script.domains.shown_in_logs import (
    code_size_of,
    is_of_another_script,
    is_of_script,
    output_of,
)
from bpb_harness.auditing.script.domains.ways import ways_to
from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import Script
from bpb_harness.findings import Json

_FEWEST, _SHARE = 6, 0.8  # of the lines that are always printed
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_SHORTEST = 3
_NOT_TELLING = frozenset([
    "record", "submission", "non", "model", "baseline", "network", "layer", "layers", "bytes", "size", "code", "log",
    "run", "runs", "seed", "train", "training", "val", "loss", "bpb", "eval", "evaluation", "score", "exact", "final",
    "param", "params", "parameters", "step", "steps", "time", "data", "tokens", "tokenizer", "int", "fp", "zlib",
    "zstd", "lzma", "brotli", "quant", "the", "and", "with", "for", "of", "to", "in", "on", "mlp", "attn",
    "attention", "heads", "dim", "bit", "bits", "gpu", "sxm",
])  # fmt: skip


@dataclass(frozen=True)
class _Gap:
    """A line that a log lacks, and the numbers of those on either side of it."""

    score: LoggedScore
    printing: Printing
    before: int
    behind: int


def check_log_lacks(analysis: Analysis) -> Iterator[Hit]:
    """The first such line, of a claim each of whose logs lacks it."""
    program, logged = analysis.program, analysis.context.logged
    printed = _printed(analysis, by_settings=False) if logged else []
    if len(printed) < _FEWEST or not all(_has_size(program, printed, each) for each in logged):
        return
    if any(score.line - score.since - len(output_of(analysis.program, score)) >= _LEAST_CODE for score in logged):
        return
    for gaps in _in_each_log(program, printed, logged):
        script = program.script(gaps[0].printing.node)
        if all(is_of_script(program, score, script) for score in logged):
            yield _taken_out(analysis, gaps[0], script)
            return
    if not all(is_of_another_script(program, score) or code_size_of(program, score) is None for score in logged):
        return
    more = _printed(analysis, by_settings=True)
    for gaps in (*_in_each_log(program, printed, logged), *_in_each_log(program, more, logged)):
        words = [_claimed_alone(analysis, gap) for gap in gaps]
        if all(words):
            yield _of_another(analysis, gaps[0], program.script(gaps[0].printing.node), words[0])
            return


def _has_size(program: Program, printed: Sequence[Printing], score: LoggedScore) -> bool:
    """Whether a log states the size of its code, or would if the script had written it."""
    return code_size_of(program, score) is not None or any(_CODE_SIZE in each.text.lower() for each in printed)


_CODE_SIZE = "code size"


def _in_each_log(
    program: Program, printed: Sequence[Printing], logged: Sequence[LoggedScore]
) -> Iterator[Sequence[_Gap]]:
    """The lines that each log lacks, with the gap in each."""
    found = [_gaps(program, printed, score) for score in logged]
    for first in found[0]:
        alike = [gap for gaps in found for gap in gaps if gap.printing is first.printing]
        if len(alike) == len(logged):
            yield alike


_LEAST_CODE = 30  # lines of a script; fewer are a stray traceback


def _printed(analysis: Analysis, *, by_settings: bool) -> list[Printing]:
    """What is printed before the claimed line, wherever that is known to come from one call alone."""
    found: list[list[Printing]] = []
    for number in sorted(analysis.claimed):
        ways = ways_to(analysis.program, analysis.sinks[number].node)
        found += [printed_before(analysis.program, ways[0], by_settings=by_settings)] if len(ways) == 1 else []
    return max(found, key=len, default=[])


def _gaps(program: Program, printed: Sequence[Printing], score: LoggedScore) -> list[_Gap]:
    lines = output_of(program, score)
    text, found = "\n".join(line for _, line in lines), []
    for by in dict.fromkeys(each.by for each in printed):
        group = [each for each in printed if each.by == by]
        at = [text.find(each.key) for each in group]
        if sum(place >= 0 for place in at) < max(_FEWEST, _SHARE * len(group)):
            continue
        for number, each in enumerate(group):
            before = next((place for place in reversed(at[:number]) if place >= 0), -1)
            behind = next((place for place in at[number:] if place >= 0), -1)
            if at[number] < 0 <= before < behind:
                numbers = (lines[text.count("\n", 0, place)][0] for place in (before, behind))
                found.append(_Gap(score, each, *numbers))
    return found


def _taken_out(analysis: Analysis, gap: _Gap, script: Script) -> Hit:
    said = (
        f"{_lacks(gap, script)}, though it states the size of the code that does, "
        f"{code_size_of(analysis.program, gap.score):,} bytes: the line was taken out, or changed"
    )
    return _hit(analysis, gap, said, f"{gap.score.file} as the run printed it")


def _of_another(analysis: Analysis, gap: _Gap, script: Script, words: Sequence[str]) -> Hit:
    size = code_size_of(analysis.program, gap.score)
    of_size = (
        f"states a code size of {size:,} bytes, which no script there has: another script made the score"
        if size is not None
        else "states no size of its code, which that script always prints too: another script made the score, or lines "
        "were taken out"
    )
    said = (
        f"{_lacks(gap, script)}, and {of_size}, and of what the title claims and that line tells of "
        f"({', '.join(words)}) the log says nothing"
    )
    return _hit(
        analysis, gap, said, f"the script that wrote {gap.score.file}, or a log that {Path(script.path).name} wrote"
    )


def _lacks(gap: _Gap, script: Script) -> str:
    return (
        f"{gap.score.file} lacks, between its lines {gap.before} and {gap.behind}, the line {gap.printing.text!r} that "
        f"{script.path} prints {'in every run' if gap.printing.is_sure else 'by its settings'}"
    )


def _hit(analysis: Analysis, gap: _Gap, said: str, missing: str) -> Hit:
    evidence: dict[str, Json] = {"log": gap.score.file, "line_of_log": gap.before, "not_in_log": gap.printing.text}
    return analysis.hit(codes.LOG_LACKS, said, gap.printing.node, evidence={**evidence, "missing": missing})


def _claimed_alone(analysis: Analysis, gap: _Gap) -> list[str]:
    """The words that the title and the missing line share, where the log has none of them."""
    told = {word.lower() for part in gap.printing.parts for word in _WORD.findall(part)}
    claimed = [word.lower() for title in analysis.context.titles for word in _WORD.findall(title)]
    shared = [word for word in dict.fromkeys(claimed) if word in told and len(word) >= _SHORTEST]
    shared = [word for word in shared if word not in _NOT_TELLING]
    text = "\n".join(line for _, line in output_of(analysis.program, gap.score)).lower()
    return shared if not any(word in text for word in shared) else []
