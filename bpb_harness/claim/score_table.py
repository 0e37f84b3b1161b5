"""Tables of scores: ``.csv`` and ``.tsv`` files with a column of bits per byte, ``.jsonl`` files with an object a line.

Which of the rows is the claim nothing says, so no score is claimed by one; but a row can carry a score that is claimed
elsewhere, with the loss beside it.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import replace
from io import StringIO

from bpb_harness.claim.line_shapes import words_of_row
from bpb_harness.claim.log_reader import read_log
from bpb_harness.claim.names import is_score_name
from bpb_harness.claim.printed import with_points
from bpb_harness.claim.record import LogRecord

SUFFIXES = (".jsonl", ".ndjson", ".csv", ".tsv")
_MAX_ROWS = 20_000


def read_score_table(text: str, file: str) -> LogRecord:
    """Read a table: its rows as lines of a log, those of training steps told apart.

    Args:
        text: its text.
        file: its name, for sources.

    Returns:
        What it says; one without a column of scores, or that is no table, has no ``lines``.
    """
    if file.lower().endswith((".jsonl", ".ndjson")):
        return read_log(text, file)
    delimiter = "\t" if file.lower().endswith(".tsv") else _delimiter(text.partition("\n")[0])
    try:
        lines = dict(_lines(text, delimiter))
    except csv.Error:
        lines = {}
    padded = "\n".join(lines.get(number, "") for number in range(1, max(lines, default=0) + 1))
    return replace(read_log(padded, file), adaptations=())


def _delimiter(header: str) -> str:
    return max(",;\t", key=header.count)


def _lines(text: str, delimiter: str) -> Iterator[tuple[int, str]]:
    """Of each row its number in the file and what a log would print of it: settings, then names and numbers."""
    reader = csv.reader(StringIO(text), delimiter=delimiter)
    header = [name.strip() for name in next(reader, [])]
    if not any(map(is_score_name, header)):
        return
    for row, _ in zip(reader, range(_MAX_ROWS), strict=False):
        yield reader.line_num, " ".join(words_of_row(header, [with_points(cell.strip()) for cell in row]))
