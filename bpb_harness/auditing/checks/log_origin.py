"""BPB427: a log whose lines no script of the record can print, so that another one wrote it.

A log holds the lines that its script prints. Where the claimed score stands in a log of which a large part matches no
literal text of any script beside it, that log is another program's: the baseline's, an earlier version's. Nothing is
said where scripts cannot be read whole, are notebooks or hold packed programs, or where the log holds its own script.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bpb_harness.auditing import codes
from bpb_harness.auditing.evidence import Evidence
from bpb_harness.auditing.programs import Programs
from bpb_harness.auditing.said import quoted, text_of_log
from bpb_harness.claim import LogRecord, ScoreLine
from bpb_harness.claim.figure_lines import FigureLine, figure_line, figure_lines
from bpb_harness.claim.listing import kind_by_name
from bpb_harness.findings import Finding, Json, first_of, listed

if TYPE_CHECKING:
    from bpb_harness.auditing.script import Printable

# Kinds of lines that no script can print, and their share of all kinds of the log: docs/audit.md has what they decide.
_FEWEST, _SHARE = 6, 0.4
_FEWEST_LOSSES = 2  # among these: what is started around a script prints sizes and times of its own, and no losses
_FEWEST_WITH_SCORE, _SHARE_WITH_SCORE = 4, 0.3  # where the claimed score's own line is one of them
_MAX_SHOWN, _MAX_NAMES = 3, 3
# What packs a network, or runs a program that may; torch's own files are zip archives that are not compressed.
_PACKS = re.compile(
    r"zlib|zst|lzma|brotli|bz2|gzip|lz4|compress|snappy|blosc|huffman|rans\b|zipfile|runpy|importlib|exec\("
)
_TELLS_LOSS = re.compile(r"loss|bpb", re.IGNORECASE)


@dataclass(frozen=True)
class _Strange:
    """What no script can print of a log."""

    log: LogRecord
    lines: Sequence[FigureLine]
    num_kinds: int
    text: str
    packs: bool = True  # some program, for all that is known


def check_log_origin(evidence: Evidence, programs: Programs) -> Iterator[Finding]:
    """Name a log of the claim that no script beside it can have written."""
    scripts = evidence.claim.scripts
    if not scripts or not programs.folders:
        return
    logs = {log.file: log for line in evidence.lines or evidence.siblings for log in logs_to_explain(evidence, line)}
    strange = _strange(evidence, [*logs.values()], programs.texts_of(scripts)) if logs else []
    if strange:  # programs that no other check reads: in folders further down, in other languages
        strange = _strange(evidence, [each.log for each in strange], programs.texts)
    unexplained = {each.log.file for each in strange}
    for line in evidence.lines or evidence.siblings:
        carrying = [log.file for log in logs_to_explain(evidence, line)]
        if carrying and unexplained.issuperset(carrying):
            yield _finding(next(each for each in strange if each.log.file == carrying[0]), strange, scripts)
            return


def logs_to_explain(evidence: Evidence, line: ScoreLine) -> list[LogRecord]:
    """The logs that print a score of the claim; none where one of them holds the script that wrote it."""
    carrying = [
        log
        for log in evidence.claim.logs
        if any(other.bpb.agrees_with(line.bpb.value, line.bpb.half_unit) for other in log.lines)
    ]
    own = [log for log in carrying if log.file == line.bpb.source.file]
    if any(log.holds_script for log in carrying):
        return []
    ordered = [*own, *(log for log in carrying if log not in own)]
    return [log for log in ordered if log.path is not None and kind_by_name(log.path) == "log"]


def _strange(evidence: Evidence, logs: Sequence[LogRecord], texts: Sequence[str]) -> list[_Strange]:
    """The logs of which too much can be printed by none of some programs."""
    from bpb_harness.auditing.script import Printable  # deferred: most records come without a script

    printable = Printable(texts) if texts else None
    if printable is None or not printable.is_known:
        return []
    packs = any(_PACKS.search(text) for text in texts)
    found = (_held_against(printable, evidence, log, packs=packs) for log in logs)
    return [each for each in found if each is not None]


def _held_against(printable: Printable, evidence: Evidence, log: LogRecord, *, packs: bool) -> _Strange | None:
    text = text_of_log(log)
    kinds = [line for line in figure_lines(text) if printable.holds(line) or not printable.may_be_of_library(line)]
    lines = [line for line in kinds if _is_strange(printable, line) and not _is_of_another_tongue(line)]
    of_score = [line for line in _lines_of_score(evidence, log, text) if _is_strange(printable, line)]
    share = len(lines) / max(len(kinds), 1)
    num_losses = sum(_TELLS_LOSS.search(line.text) is not None for line in lines)
    is_strange = len(lines) >= _FEWEST and share >= _SHARE and num_losses >= _FEWEST_LOSSES
    is_strange |= bool(of_score) and len(lines) >= _FEWEST_WITH_SCORE and share >= _SHARE_WITH_SCORE
    packs |= not _is_packed_and_scored(log, lines)
    return _Strange(log, lines, len(kinds), text, packs) if is_strange or not packs else None


def _is_packed_and_scored(log: LogRecord, strange: Sequence[FigureLine]) -> bool:
    """Whether lines that no script can print tell the size of a packed network, and two losses or scores behind it."""
    sizes = {size.source.line for size in log.packed}
    first = next((line.number for line in strange if line.number in sizes), None)
    behind = [line for line in strange if first is not None and line.number > first and _TELLS_LOSS.search(line.text)]
    return len(behind) >= _FEWEST_LOSSES


def _is_strange(printable: Printable, line: FigureLine) -> bool:
    """Whether neither the scripts nor a library of theirs can have printed a line."""
    return not printable.holds(line) and not printable.may_be_of_library(line)


def _is_of_another_tongue(line: FigureLine) -> bool:
    """Whether a line has letters of another script: its words may have been translated in the program since."""
    return any(letter.isalpha() and not letter.isascii() for letter in line.text)


def _lines_of_score(evidence: Evidence, log: LogRecord, text: str) -> Iterator[FigureLine]:
    lines = text.split("\n")
    for line in evidence.lines:
        number = line.bpb.source.line
        if line.bpb.source.file == log.file and number is not None and number <= len(lines):
            found = figure_line(lines[number - 1], number)
            if found is not None:
                yield found


def _finding(strange: _Strange, all_strange: Sequence[_Strange], scripts: Sequence[Path]) -> Finding:
    from bpb_harness.auditing.script import foreign_code_size  # deferred, as above

    file, names = strange.log.file, [script.name for script in scripts]
    shown = [f"`{quoted(line.text)}` ({file}:{line.number})" for line in strange.lines[:_MAX_SHOWN]]
    others = f", and so of {len(all_strange) - 1} more logs" if len(all_strange) > 2 else ""
    others = ", and so of another log" if len(all_strange) == 2 else others
    size = foreign_code_size(strange.text, scripts)
    stated = f"; it states a code size of {size:,} bytes, which no script there has" if size is not None else ""
    which = first_of(names, _MAX_NAMES)
    unpacked = "" if strange.packs else "; that run packed its network, and no script there packs one"
    message = (
        f"no script of the record can have written {file}: of the {strange.num_kinds} kinds of lines in it that print "
        f"figures of a run, {len(strange.lines)} are none that {which} can print{others}: "
        f"{listed(shown)}{stated}{unpacked}"
    )
    facts: dict[str, Json] = {"lines_of_log": [line.number for line in strange.lines]}
    facts |= {} if size is None else {"code_size": size}
    return codes.LOG_OF_ANOTHER_SCRIPT.finding(
        message,
        facts=facts,
        log=file,
        num_kinds=strange.num_kinds,
        logs=[each.log.file for each in all_strange],
        missing=f"the script that wrote {file}, or a log that {which} wrote",
    )
