"""BPB432 of a log that tells the size of a script of the record, so that no longer and no shorter version wrote it.

Two things that another size would go with: lines that begin with a label of that script's and are none of those that it
begins so, and lines that stop in front of a number which the script prints on them. The size is what the log states, or
what its total has more than the model in the line before.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bpb_harness.auditing.checks.modules_elsewhere import modules_elsewhere
from bpb_harness.auditing.evidence import Evidence
from bpb_harness.auditing.of_the_run import lines_of_the_run
from bpb_harness.auditing.programs import Programs
from bpb_harness.auditing.said import quoted, text_of_log
from bpb_harness.claim import LogRecord
from bpb_harness.claim.figure_lines import FigureLine
from bpb_harness.errors import ClaimError
from bpb_harness.findings import listed

if TYPE_CHECKING:
    from bpb_harness.auditing.script import PrintedLine

_LABEL = re.compile(r"\s{0,8}(?P<label>[A-Za-z_][A-Za-z0-9_]{3,40}):")
_BEGUN_WITH = re.compile(r"[\"']\s{0,8}([A-Za-z_][A-Za-z0-9_]{3,40}):")  # a text of a script, by its label
_VALUE_ALONE = re.compile(r"\s{0,8}\S{1,60}:\s{0,3}\S{0,400}\s{0,8}\Z")  # a setting, of a loop over their names
_FEWEST_BEGINNINGS, _FEWEST_CUT = 2, 2
_LONGEST_LINE = 400

Heads = Mapping[str, Sequence[tuple[str, "PrintedLine"]]]


def unlike_of_its_size(
    evidence: Evidence, programs: Programs, log: LogRecord, heads: Heads
) -> tuple[str, list[int]] | None:
    """What a log has that the script whose size it tells does not print, in words, with the lines of the log.

    Args:
        evidence: the claim and its record.
        programs: all programs of the record.
        log: of the claim.
        heads: what they print, by words that stand nowhere else in them, each with its place.
    """
    script = _script_of_size(programs, log)
    source = programs.source(script) if script is not None else None
    if script is None or source is None:
        return None
    lines = [(number, line) for number, line in lines_of_the_run(evidence, log) if len(line) <= _LONGEST_LINE]
    if _are_of_several_runs(lines):
        return None
    strange = _of_no_line(lines, source.text, programs)
    if strange and modules_elsewhere(evidence, programs):
        strange = []
    cut = _cut_off(lines, heads)
    cut = cut if len({place for *_, place in cut}) >= _FEWEST_CUT else []
    told = [_told_strange(strange, log)] if strange else []
    told += [_told_cut(cut, log)] if cut else []
    if not told:
        return None
    numbers = [number for number, *_ in strange] + [number for number, *_ in cut]
    return f"though it tells the size of {script.name}: {listed(told)}", numbers


def _script_of_size(programs: Programs, log: LogRecord) -> Path | None:
    """The one script whose size a log tells."""
    from bpb_harness.auditing.script import told_code_size  # deferred: most records come without a script

    text = text_of_log(log)
    try:
        found = [file for file in programs.every if file.suffix == ".py" and told_code_size(text, file) is not None]
    except ClaimError:
        return None
    return found[0] if len(found) == 1 else None


def _are_of_several_runs(lines: Sequence[tuple[int, str]]) -> bool:
    """Whether a line of what a run begins with stands there twice: an earlier one may be another version's."""
    first = [line.strip() for _, line in lines if _OF_A_BEGINNING.search(line)]
    return len(set(first)) < len(first)


_OF_A_BEGINNING = re.compile(
    r"(?<![a-z])(?:seed|num_params|model_params|parameters|world_size|tokenizer)", re.IGNORECASE
)


def _of_no_line(lines: Sequence[tuple[int, str]], source: str, programs: Programs) -> list[tuple[int, str, str]]:
    """Lines that no program prints, with the label that they and some lines of a script begin with."""
    from bpb_harness.auditing.script import Printable  # deferred, as above

    labels = {each["label"] for _, line in lines if (each := _LABEL.match(line)) is not None}
    begun_with = Counter(_BEGUN_WITH.findall(source))  # all labels of the script at once: a log may have hundreds
    own = {label for label in labels if begun_with[label] >= _FEWEST_BEGINNINGS}
    printable = Printable(programs.texts) if own else None
    if printable is None or not printable.is_known or printable.has_trainer:
        return []
    strange: list[tuple[int, str, str]] = []
    for number, line in lines:
        begun = _LABEL.match(line)
        if begun is None or begun["label"] not in own or _VALUE_ALONE.match(line) or not line.isascii():
            continue
        text = " ".join(line.split())
        if not printable.holds(FigureLine(number, text, len(text))):
            strange.append((number, text, begun["label"]))
    return strange


def _cut_off(lines: Sequence[tuple[int, str]], heads: Heads) -> list[tuple[int, str, str, str]]:
    """Lines that stop in front of words that a script prints with a number on them, and where it does."""
    found = []
    behind = {number: line.strip() for number, line in lines}
    for number, line in lines:
        row = line.strip()
        ways = next((ways for head, ways in heads.items() if row.startswith(head)), ())
        if len(ways) != 1 or ways[0][1].loose.match(row):
            continue
        place, way = ways[0]
        words = next((words for pattern, words in way.cut[::-1] if re.fullmatch(pattern, row)), None)
        if words is not None and not behind.get(number + 1, "").startswith(words):
            found.append((number, row, words, place.format(way.line)))
    return found


def _told_strange(strange: Sequence[tuple[int, str, str]], log: LogRecord) -> str:
    number, text, label = strange[0]
    are = _more(strange, "is", "are")
    return f"`{quoted(text)}` ({log.file}:{number}){are} none of those that it prints with `{label}:`"


def _told_cut(cut: Sequence[tuple[int, str, str, str]], log: LogRecord) -> str:
    number, row, words, place = cut[0]
    lacks = _more(cut, "lacks", "lack")
    return f"`{quoted(row)}` ({log.file}:{number}){lacks} what is printed behind that, `{words}` ({place})"


def _more(lines: Sequence[object], one: str, several: str) -> str:
    more = len(lines) - 1
    return f" and {more} more line{'s' if more > 1 else ''} {several}" if more else f" {one}"
