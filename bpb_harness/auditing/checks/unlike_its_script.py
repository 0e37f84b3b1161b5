"""BPB432: a log with lines that no script of the record prints so, by two signs or more of three.

The rounds of a loop at which a line is printed, the decimals of its numbers, and a time that is shorter than one which
it encloses. One sign is what another version of the script leaves as well, and nothing is said of it. Lines count whose
first words stand in nothing else of the record's programs. In a log that tells the size of the script by itself, lines
that it lacks or cuts count alone: lines_of_its_script.py.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bpb_harness.auditing import codes
from bpb_harness.auditing.checks.lines_of_its_script import unlike_of_its_size
from bpb_harness.auditing.checks.log_origin import logs_to_explain
from bpb_harness.auditing.evidence import Evidence
from bpb_harness.auditing.programs import Programs
from bpb_harness.auditing.said import quoted, text_of_log
from bpb_harness.claim import LogRecord
from bpb_harness.findings import Finding, listed

if TYPE_CHECKING:
    from bpb_harness.auditing.script import PrintedLine, Rounds

_LONGEST_LINE = 400
_FEWEST_SIGNS = 2


@dataclass
class _Signs:
    """What a log has that its scripts do not print: lines by number and text, with where the script says otherwise."""

    decimals: list[tuple[int, str, str]] = field(default_factory=list)
    rounds: list[tuple[int, str, str]] = field(default_factory=list)
    times: list[str] = field(default_factory=list)

    def told(self, file: str) -> list[str]:
        told = []
        if self.rounds:
            number, text, where = self.rounds[0]
            told.append(f"`{text}` ({file}:{number}){_more(self.rounds)} of a round at which {where} prints nothing")
        if self.decimals:
            number, text, where = self.decimals[0]
            told.append(f"`{text}` ({file}:{number}){_more(self.decimals)} with other decimals than {where} gives")
        return [*told, *self.times[:1]]


def _more(lines: Sequence[object]) -> str:
    more = len(lines) - 1
    return " is" if not more else f" and {more} more line{'s' if more > 1 else ''} are"


def check_unlike_its_script(evidence: Evidence, programs: Programs) -> Iterator[Finding]:
    """Name a log of the claim that no script of the record prints as it is."""
    if not evidence.claim.scripts or not programs.folders:
        return
    logs = {log.file: log for line in evidence.lines for log in logs_to_explain(evidence, line)[:1]}
    printed: dict[str, list[tuple[str, PrintedLine]]] | None = None
    for log in logs.values():
        printed = _by_head(programs, logs.values()) if printed is None else printed
        signs = _signs_of(log, printed) if printed else _Signs()
        told = signs.told(log.file)
        of_size = unlike_of_its_size(evidence, programs, log, printed)
        if len(told) >= _FEWEST_SIGNS:
            lines = [number for number, *_ in (*signs.rounds, *signs.decimals)]
            yield _finding(log, f": {listed(told)}", lines)
            return
        if of_size is not None:
            yield _finding(log, f", {of_size[0]}", of_size[1])
            return


def _finding(log: LogRecord, how: str, lines: Sequence[int]) -> Finding:
    missing = f"the log as the run printed it, or the script that wrote {log.file}"
    message = f"no script of the record prints {log.file} as it is{how}"
    return codes.UNLIKE_ITS_SCRIPT.finding(message, log=log.file, lines_of_log=[*lines], missing=missing)


def _by_head(programs: Programs, logs: Iterable[LogRecord]) -> dict[str, list[tuple[str, PrintedLine]]]:
    """What programs print, by the words that it begins with, where these stand in a log and nothing else of theirs."""
    from bpb_harness.auditing.script import printed_lines  # deferred: most records have no script

    texts, read = programs.texts, [text_of_log(log) for log in logs]
    heads: dict[str, list[tuple[str, PrintedLine]]] = {}
    for file, text in zip(programs.every, texts, strict=False):
        if file.suffix != ".py":
            continue
        try:
            tree = ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return {}
        source = programs.source(file)
        inside = " of what it unpacks to" if source is not None and source.layers else ""
        for line in printed_lines(tree, read):
            heads.setdefault(line.head, []).append((f"{file.name}:{{}}{inside}", line))
    return {head: found for head, found in heads.items() if sum(text.count(head) for text in texts) == len(found)}


def _signs_of(log: LogRecord, heads: Mapping[str, Sequence[tuple[str, PrintedLine]]]) -> _Signs:
    signs, text = _Signs(), text_of_log(log)
    rounds: dict[tuple[str, Rounds], list[tuple[int, int, str]]] = {}
    taken: dict[tuple[str, int], tuple[float, float, int]] = {}
    lines = text.rstrip().split("\n")
    for number, line in enumerate(lines, 1):
        row = line[:_LONGEST_LINE].strip()
        is_whole = number < len(lines) and not lines[number][:1].isdigit() and "\x1b" not in row
        for head, ways in heads.items() if len(line) < _LONGEST_LINE else ():
            met = [(place, way) for place, way in ways if way.loose.match(row)] if row.startswith(head) else []
            if not met:
                continue
            place, way = met[0]
            if is_whole and not any(each.strict.match(row) for _, each in met):
                signs.decimals.append((number, quoted(row), place.format(way.line)))
            if len(met) == 1:
                _enter_time(signs, taken, place, way, (log.file, number, row))
                _enter_round(rounds, place, way, (number, row))
    for (place, condition), found in rounds.items():
        where = place.format(condition.line)
        signs.rounds += [(number, quoted(row), where) for number, row in _not_printed(condition, found)]
    return signs


def _enter_round(
    rounds: dict[tuple[str, Rounds], list[tuple[int, int, str]]], place: str, way: PrintedLine, at: tuple[int, str]
) -> None:
    """Keep the round that a line tells, with those of the same condition."""
    number, row = at
    found = way.loose.match(row)
    told = found[way.rounds.group].strip() if found is not None and way.rounds is not None else ""
    if way.rounds is not None and told.isascii() and told.isdecimal() and len(told) < 10:
        rounds.setdefault((place, way.rounds), []).append((number, int(told) - way.rounds.added, row))


def _not_printed(rounds: Rounds, found: Sequence[tuple[int, int, str]]) -> list[tuple[int, str]]:
    """The lines of rounds that a condition keeps back; where it lets the last through, of each run but the last."""
    runs: list[list[tuple[int, int, str]]] = []
    for before, each in zip([None, *found], found, strict=False):
        if before is None or each[1] <= before[1]:
            runs.append([])
        runs[-1].append(each)
    kept: list[tuple[int, str]] = []
    for run in runs:
        held = [
            (number, row)
            for number, value, row in run
            if value % rounds.divisor != rounds.rest and value not in rounds.others
        ]
        kept += held[:-1] if rounds.last else held
    return kept


def _enter_time(
    signs: _Signs,
    taken: dict[tuple[str, int], tuple[float, float, int]],
    place: str,
    way: PrintedLine,
    at: tuple[str, int, str],
) -> None:
    """Hold the time that a line tells against those that it encloses, and keep it."""
    file, number, row = at
    found = way.strict.match(row) if way.time is not None else None
    if found is None or way.time is None:
        return
    told = found[way.time[0]].strip()
    try:
        seconds = float(told) * way.time[1]
    except ValueError:
        return
    half = 0.5 * 10.0 ** -len(told.partition(".")[2]) * way.time[1]
    for line in way.encloses:
        inner = taken.pop((place, line), None)
        if inner is not None and seconds + half < inner[0] - inner[1] - 1e-9:
            signs.times.append(
                f"{seconds:.6g} s at {file}:{number} for what encloses the {inner[0]:.6g} s of line {inner[2]} "
                f"({place.format(way.line)} and {place.format(line)})"
            )
    taken[place, way.line] = (seconds, half, number)
