"""READMEs: the scores in their tables and prose. What is read here can raise a doubt, never refute by itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

from bpb_harness.claim.names import is_score_name, tokenizers_in
from bpb_harness.claim.printed import NUMBER, Printed, Source, parse_leading_number, parse_number
from bpb_harness.claim.record import Readme, TableRow

_RULE = re.compile(r"\|?\s*:?-{2,}:?\s*(?:\|\s*:?-+:?\s*)*\|?")
_STEPS_COLUMN = re.compile(
    r"T|T \(.{0,30}\)|num_steps|steps \(T\)"
    r"|(?:eval|evaluation|elbo|diffusion|denoising|discretization|sampling)[ _]steps.{0,10}",
    re.IGNORECASE,
)
_STEPS_CELL = re.compile(r"(?:\bT\s?=\s?)([0-9]{1,5})\b")
_PROSE = re.compile(
    rf"(?P<name>(?<![A-Za-z_])[A-Za-z_]{{0,60}}?(?:bpb|BPB)[A-Za-z_]{{0,60}})[*`\s]{{0,4}}[:=][*`\s~]{{0,6}}(?P<number>{NUMBER})(?![0-9A-Za-z_%]|\.[0-9])"
)
_BYTES_PER_TOKEN = re.compile(
    r"([0-9]{1,2}\.[0-9]{1,8})[*`\s]{1,4}(?:UTF-8 )?bytes?\s?(?:/|per)\s?token"
    r"|bytes?[ _](?:/|per)[ _]token[^0-9\n]{1,12}([0-9]{1,2}\.[0-9]{1,8})",
    re.IGNORECASE,
)
_MAX_SCORES = 500
_MAX_NUMBERS = 20_000
_EXACT_NUMBER = re.compile(r"(?<![\w.])[0-9]{1,2}\.([0-9]{3,12})(?![\w%]|\.[0-9])")
_NOT_THE_CLAIM = re.compile(
    r"\b(?:baseline|previous|prior|before|older|record|sota|leaderboard|pre-?quant\w*|pre-?ttt|unquanti\w+|ablation|without"
    r"|improv\w+|delta|gain|target)\b",
    re.IGNORECASE,
)
_EARLIER = re.compile(
    r"(?:^|[\s_(-])(?:pre|base|baseline|before|without|train|float|fp32|unquanti\w+)(?=$|[\s_)-])", re.I
)
_MEAN = re.compile(r"\b(?:mean|average|avg)\b", re.IGNORECASE)


def read_readme(text: str, file: str) -> Readme:
    """Read a README.

    Args:
        text: its text.
        file: its name, for sources.
    """
    lines = [line[:2000] for line in text.split("\n")]
    rows = list(_table_rows(lines, file))
    scores: list[Printed] = []
    stated: Printed | None = None
    for number, line in enumerate(lines, 1):
        if len(scores) < _MAX_SCORES and "bpb" in line.lower():
            for found in _PROSE.finditer(line):
                score = parse_number(found["number"], Source(file, number), found["name"])
                if score is not None and is_score_name(found["name"]) and 0.0 < score.value < 100.0:
                    scores.append(score)
        if stated is None and (words := _BYTES_PER_TOKEN.search(line)):
            stated = parse_number(words[1] or words[2], Source(file, number), "bytes per token")
    numbers = islice(_numbers(lines), _MAX_NUMBERS)
    return Readme(file, tuple(rows), tuple(scores), stated, tokenizers_in(text), text, tuple(numbers))


def _numbers(lines: list[str]) -> Iterator[tuple[float, float]]:
    for line in lines:
        if "." not in line:
            continue
        for found in _EXACT_NUMBER.finditer(line):
            yield float(found[0]), 0.5 * 10.0 ** -len(found[1])


def headline(readme: Readme) -> Printed | None:
    """The score that a README claims: the first in its prose that it does not call another's or an earlier one.

    Without prose the row of means of its tables, or the only score in them, columns of earlier stages left out; None
    where several could be meant.
    """
    lines = readme.text.split("\n")
    own = [score for score in readme.scores if not _NOT_THE_CLAIM.search(lines[(score.source.line or 1) - 1])]
    if own or readme.scores:
        return (own or readme.scores)[0]
    rows = [row for row in readme.rows if _MEAN.search(" ".join(row.cells.values()))] or list(readme.rows)
    rows = [row for row in rows if not _EARLIER.search(row.score.name or "")] or rows
    if not rows:
        return None
    last = rows[-1].score
    return last if all(last.agrees_with(row.score.value, row.score.half_unit) for row in rows) else None


def _table_rows(lines: list[str], file: str) -> Iterator[TableRow]:
    header: list[str] | None = None
    for i, line in enumerate(lines):
        if "|" not in line:
            header = None
        elif _RULE.fullmatch(line.strip()) and i > 0 and "|" in lines[i - 1]:
            header = _cells(lines[i - 1])
        elif header is not None:
            yield from _rows_of(header, _cells(line), Source(file, i + 1))


def _cells(line: str) -> list[str]:
    return [re.sub(r"[*`]", "", cell).strip() for cell in line.strip().strip("|").split("|")][:40]


def _rows_of(header: list[str], cells: list[str], source: Source) -> Iterator[TableRow]:
    named = dict(zip(header, cells, strict=False))
    steps = _steps(named, " ".join(cells))
    for name, cell in named.items():
        # Either a column of scores, or a table of keys and values whose key names a score.
        key = (
            name
            if is_score_name(name)
            else cells[0]
            if cells and is_score_name(cells[0]) and cell != cells[0]
            else None
        )
        score = parse_leading_number(cell, source, key) if key is not None else None
        if score is not None and 0.0 < score.value < 100.0:
            yield TableRow(named, score, steps)


def _steps(named: dict[str, str], row: str) -> int | None:
    for name, cell in named.items():
        if _STEPS_COLUMN.fullmatch(name) and re.fullmatch(r"[0-9]{1,5}", cell):
            return int(cell)
    found = _STEPS_CELL.search(row)
    return int(found[1]) if found else None


def steps_table(readme: Readme) -> dict[int, Printed]:
    """Scores by number of diffusion steps, where a README's rows give them; a T with two scores is left out."""
    by_steps: dict[int, list[Printed]] = {}
    for row in readme.rows:
        if row.num_steps:
            by_steps.setdefault(row.num_steps, []).append(row.score)
    return {steps: scores[0] for steps, scores in sorted(by_steps.items()) if len(scores) == 1}
