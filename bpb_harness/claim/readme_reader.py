"""READMEs: the scores in their tables and prose. What is read here can raise a doubt, never refute by itself."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice

from bpb_harness.claim.names import is_score_name, tokenizers_in
from bpb_harness.claim.printed import NUMBER, Printed, Source, parse_leading_number, parse_number, with_points
from bpb_harness.claim.record import Readme, TableRow
from bpb_harness.claim.stated_bytes import stated_in_cells

_RULE = re.compile(r"\|?\s*:?-{2,}:?\s*(?:\|\s*:?-+:?\s*)*\|?")
_STEPS_COLUMN = re.compile(
    r"T|T \(.{0,30}\)|num_steps|steps \(T\)"
    r"|(?:eval|evaluation|elbo|diffusion|denoising|discretization|sampling)[ _]steps.{0,10}",
    re.IGNORECASE,
)
_STEPS_CELL = re.compile(r"(?:\bT\s?=\s?)([0-9]{1,5})\b")
_PROSE = re.compile(
    rf"(?P<name>(?<![A-Za-z_])[A-Za-z_]{{0,60}}?(?:bpb|BPB)[A-Za-z_]{{0,60}})(?P<detail> ?\([^()]{{0,40}}\))?"
    rf"[*`\s]{{0,4}}[:=][*`\s~]{{0,6}}(?P<number>{NUMBER})(?![0-9A-Za-z_%]|\.[0-9])"
)
_BYTES_PER_TOKEN = re.compile(
    r"([0-9]{1,2}\.[0-9]{1,8})[*`\s]{1,4}(?:UTF-8 )?bytes?\s?(?:/|per)\s?token"
    r"|bytes?[ _](?:/|per)[ _]token[^0-9\n]{1,12}([0-9]{1,2}\.[0-9]{1,8})",
    re.IGNORECASE,
)
_MAX_SCORES = 500
_MAX_NUMBERS = 20_000
_EXACT_NUMBER = re.compile(r"(?<![\w.])[0-9]{1,2}\.([0-9]{3,12})(?![\w%]|\.[0-9])")
# Words that make a number near them not the score that is claimed, by what they say of it.
_WORDS = {
    "another's": r"baseline|sota|leaderboard|builds on",
    "an earlier one": r"previous|prior|before|older",
    "an earlier stage's": r"pre-?quant\w*|pre-?ttt|unquanti\w+",
    "a variant's": r"ablation|without",
    "a change": r"improv\w+|delta|gain",
    "expected": r"expect\w*|estimat\w*|project\w*|predict\w*|target",
    "what is compared with": r"vs|versus|beat\w*|from|merged|current|reference",
    "hoped for": r"hop(?:e|ed|ing)|towards?|aim\w*|goal|target\w*|pending|tbd|smoke|retract\w*",
    "the best one": r"record",
}
_SIGNS = r"~~|#[0-9]{2,5}"  # struck out; another submission's number


def _any_of(*kinds: str, signs: bool = False) -> re.Pattern[str]:
    words = "|".join(_WORDS[kind] for kind in kinds)
    return re.compile(rf"\b(?:{words})\b" + (f"|{_SIGNS}" if signs else ""), re.IGNORECASE)


_OF_NO_FINAL_SCORE = ("another's", "an earlier one", "an earlier stage's")
_BEFORE_ANOTHER = _any_of(*_OF_NO_FINAL_SCORE, "expected")  # before a number on its line of prose
# On its line, where another line has a number without them; of other records and of hopes whole lines speak too.
_BESIDE_ANOTHER = _any_of(*_OF_NO_FINAL_SCORE, "a variant's", "a change", "expected", "the best one")
# In a title or on a line with bold words: what names more than its own score claims none.
_IN_A_TITLE = _any_of(*(kind for kind in _WORDS if kind != "the best one"), signs=True)
_EARLIER = re.compile(
    r"(?:^|[\s_(-])(?:pre|base|baseline|before|without|train|float|fp32|unquanti\w+)(?=$|[\s_)-])", re.I
)
_OF_A_RUN = re.compile(r"\bstep[:= ]\s?[0-9]+\s?/\s?[0-9]+", re.IGNORECASE)  # a validation during training, quoted
_MEAN = re.compile(r"\b(?:mean|average|avg)\b", re.IGNORECASE)
# In a title or in bold: "1.1234 BPB", "1.13 Post-Quant val_bpb", "val_bpb 1.12", and a title that ends in "_1.1147".
_FIGURE = r"(?<![\w.,+\u2212-])[0-9]\.[0-9]{2,8}(?![0-9A-Za-z%]|[.,][0-9])"
_BPB = r"(?:(?:(?!train|base|std)[a-z]{1,12}\\?_){0,4}bpb|bits[ -]per[ -]byte)(?![A-Za-z])"
_OF_A_LOSS = r"(?:nats?|loss|per|and|or|vs|at|steps?|ppl|perplexity)\b"
_TO_FIGURE = rf"[*`:=~\u2248\s]{{1,4}}{_FIGURE}"
_STATED = re.compile(
    rf"(?P<before>{_FIGURE})[*`]{{0,2}} (?:(?!{_OF_A_LOSS})[A-Za-z0-9-]{{1,20}} ){{0,3}}?{_BPB}(?!{_TO_FIGURE})"
    rf"|(?<![A-Za-z_]){_BPB}(?: \([^()]{{0,40}}\))?[*`:=~\u2248\s]{{1,4}}(?P<behind>{_FIGURE})",
    re.IGNORECASE,
)
_ENDS_IN_FIGURE = re.compile(r"[_:\u2013\u2014-]\s?(?P<number>[0-9]\.[0-9]{4,8})[)\s*`]{0,3}$")
_OF_ANOTHER_QUANTITY = re.compile(r"(?:loss|nats?|ppl|perplexity|accuracy|seed|rate|lr|beta)[\W_]{1,4}$", re.IGNORECASE)
# Right before or behind such a number: it bounds a score, begins a range, or is a change of one.
_OF_A_BOUND = re.compile(
    r"(?:\b(?:below|under|by|than)\s|(?<![-=])[<>]\s?|[\u2264\u2265\u0394]\s?)[*`]{0,2}$", re.IGNORECASE
)
_IS_CHANGED = re.compile(
    r"[*`]{0,2}\s?(?:(?:lower|less|below|better|worse|higher|reduction|drop)\b|(?:->|=>|[-\u2013\u2192]|to)\s?[*`]{0,2}[0-9]\.[0-9])",
    re.IGNORECASE,
)
_BOLD = re.compile(r"\*\*(?!\s)([^*\n]{1,300})\*\*")
_HEADING, _TITLE = re.compile(r"#{1,6}\s+(.*)"), re.compile(r"#\s+(.*)")
_UNDERLINE = re.compile(r"=+")


def read_readme(text: str, file: str) -> Readme:
    """Read a README.

    Args:
        text: its text.
        file: its name, for sources.
    """
    lines = [with_points(line[:2000]) for line in text.split("\n")]
    rows = list(_table_rows(lines, file))
    scores: list[Printed] = []
    stated: Printed | None = None
    for number, line in enumerate(lines, 1):
        if len(scores) < _MAX_SCORES and "bpb" in line.lower():
            for found in _PROSE.finditer(line):
                name = found["name"] + (found["detail"] or "")
                score = parse_number(found["number"], Source(file, number), name)
                if score is not None and is_score_name(name) and 0.0 < score.value < 100.0:
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
    if own := headlines(readme):
        return own[0]
    rows = [row for row in readme.rows if _MEAN.search(" ".join(row.cells.values()))] or list(readme.rows)
    rows = [row for row in rows if not _EARLIER.search(row.score.name or "")] or rows
    if not rows:
        return None
    last = rows[-1].score
    return last if all(last.agrees_with(row.score.value, row.score.half_unit) for row in rows) else None


def headlines(readme: Readme) -> list[Printed]:
    """The scores in a README's prose that it does not call another's or an earlier one, in their order."""
    lines = readme.text.split("\n")
    of_line = {score: lines[(score.source.line or 1) - 1] for score in readme.scores}
    finals = [score for score, line in of_line.items() if not _OF_A_RUN.search(line)]
    finals = [score for score in finals if not _BEFORE_ANOTHER.search(of_line[score].partition(str(score))[0])]
    return [score for score in finals if not _BESIDE_ANOTHER.search(of_line[score])] or finals


def title_of(readme: Readme) -> str | None:
    """The heading that a README begins with, without its markup; None where it begins with something else."""
    lines = [line.strip() for line in readme.text.split("\n")[:_LEAD]]
    first = next((i for i, line in enumerate(lines) if line), 0)
    heading = _heading_at(lines, first, _TITLE)
    return re.sub(r"[*`#]", "", heading).strip() or None if heading is not None else None


def _heading_at(lines: Sequence[str], number: int, marked: re.Pattern[str]) -> str | None:
    """The words of a heading at a line: behind number signs, or with a line of ``=`` under them."""
    words, below = lines[number][:_LONGEST_TITLE], lines[number + 1 : number + 2]
    heading = marked.fullmatch(words)
    if heading is not None:
        return heading[1]
    return words if words and below and _UNDERLINE.fullmatch(below[0]) else None


def stated_scores(readme: Readme) -> list[Printed]:
    """The numbers that a README's title, or else bold words above its sections, give as its own score.

    Several that differ are several; of a title that names anything but its own score (a baseline, what it beats, what
    it hopes for) none counts.
    """
    lines = [with_points(line.strip()) for line in readme.text.split("\n")[:_LEAD]]
    first = next((i for i, line in enumerate(lines) if line), len(lines))
    if first == len(lines):
        return []
    heading = _heading_at(lines, first, _HEADING)
    if heading is not None:
        stated = [*_stated_in(heading, first + 1, readme.file, is_title=True)]
        if stated:
            return stated
    stated = []
    for number, line in enumerate(lines[first + 1 :], first + 2):
        if line.startswith("#") or _heading_at(lines, number - 1, _HEADING) is not None:
            break
        if not _IN_A_TITLE.search(line):
            for bold in _BOLD.finditer(line[:_LONGEST_TITLE]):
                stated += _stated_in(bold[1], number, readme.file, is_title=False)
    return stated


_LEAD, _LONGEST_TITLE = 60, 400
_LEAST_STATED = 0.2  # bits per byte


def _stated_in(words: str, line: int, file: str, *, is_title: bool) -> Iterator[Printed]:
    if _IN_A_TITLE.search(words):
        return
    found = list(_STATED.finditer(words))
    own = [
        each
        for each in found
        if not (_OF_A_BOUND.search(words[: each.start()]) or _IS_CHANGED.match(words[each.end() :]))
    ]
    texts = [each["before"] or each["behind"] for each in own]
    end = _ENDS_IN_FIGURE.search(words) if is_title and not found else None
    if end is not None and not _OF_ANOTHER_QUANTITY.search(words[: end.start("number")]):
        texts = [end["number"]]
    for text in texts:
        score = parse_number(text, Source(file, line), "bpb")
        if score is not None and score.value >= _LEAST_STATED:  # less is a difference
            yield score


def _table_rows(lines: list[str], file: str) -> Iterator[TableRow]:
    header: list[str] | None = None
    pairs: list[tuple[int, list[str]]] = []  # of a table that has a name and a value a row
    for i, line in enumerate(lines):
        if "|" not in line:
            header, pairs = None, []
        elif _RULE.fullmatch(line.strip()) and i > 0 and "|" in lines[i - 1]:
            header = _cells(lines[i - 1])
            pairs = [*_pairs_below(lines, i)] if len(header) == 2 else []
        elif header is not None:
            for row in _rows_of(header, _cells(line), Source(file, i + 1)):
                of_table = (stated_in_cells({cells[0]: cells[1]}, Source(file, at)) for at, cells in pairs)
                stated = row.bytes_per_token or next((each for each in of_table if each is not None), None)
                stated = stated or stated_in_cells({cells[0]: cells[1] for _, cells in pairs}, row.score.source)
                yield replace(row, bytes_per_token=stated)


def _pairs_below(lines: list[str], rule: int) -> Iterator[tuple[int, list[str]]]:
    """The rows of two cells below the rule of a table, with their lines."""
    for number, line in enumerate(lines[rule + 1 : rule + _MOST_PAIRS], rule + 2):
        cells = _cells(line)
        if "|" not in line or len(cells) != 2:
            return
        yield number, cells


_MOST_PAIRS = 60


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
            yield TableRow(named, score, steps, stated_in_cells(named, source))


def _steps(named: dict[str, str], row: str) -> int | None:
    for name, cell in named.items():
        if _STEPS_COLUMN.fullmatch(name) and re.fullmatch(r"[0-9]{1,5}", cell):
            return int(cell)
    found = _STEPS_CELL.search(row)
    return int(found[1]) if found else None


def seeds_of_tables(readme: Readme) -> Iterator[tuple[dict[str, Printed], Printed]]:
    """The scores of seeds that a table of a README lists in one column, with the row that it calls their mean."""
    columns: dict[str, list[TableRow]] = {}
    for row in readme.rows:
        columns.setdefault(row.score.name, []).append(row)
    for rows in columns.values():
        seeds: dict[str, Printed] = {}
        last = 0
        for row in rows:
            line = row.score.source.line or 0
            seeds = seeds if line == last + 1 else {}
            last = line
            seed = next((cell for name, cell in row.cells.items() if _SEED_COLUMN.fullmatch(name)), "")
            if _A_SEED.fullmatch(seed):
                seeds[seed] = row.score
            elif len(seeds) >= 2 and _MEAN.search(" ".join(row.cells.values())):
                yield dict(seeds), row.score


_SEED_COLUMN, _A_SEED = re.compile(r"(?:seed|run)s?", re.IGNORECASE), re.compile(r"[0-9]{1,10}")


def steps_table(readme: Readme) -> dict[int, Printed]:
    """Scores by number of diffusion steps, where a README's rows give them; a T with two scores is left out."""
    by_steps: dict[int, list[Printed]] = {}
    for row in readme.rows:
        if row.num_steps:
            by_steps.setdefault(row.num_steps, []).append(row.score)
    return {steps: scores[0] for steps, scores in sorted(by_steps.items()) if len(scores) == 1}
