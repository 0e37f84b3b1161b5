"""What a record says of the run itself, where its logs show that another version of the script made the score."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from bpb_harness.auditing.learnt import OF_ANOTHER_VERSION
from bpb_harness.auditing.script.domains.analysis import Analysis
from bpb_harness.auditing.script.domains.log_of_script import other_size
from bpb_harness.auditing.script.domains.printed_scores import printed_lines_of
from bpb_harness.auditing.script.domains.shown_in_logs import is_of_another_script
from bpb_harness.errors import ClaimError
from bpb_harness.findings import Json

# Of a run that did it otherwise, or of one that is still to come.
_NOT_DONE = re.compile(
    r"(?<![a-z])(?:no|not|never|without|neither|nor|none|instead|off|disabled?|removed?|dropped|drops?|un(?:used|like)"
    r"|replaced|avoid(?:s|ed)?|rejected|illegal|invalid|banned|ruled out|try|tried|todo|next|later|future"
    r"|plan(?:s|ned)?|idea|ideas|would|could|should|might|previous(?:ly)?|earlier|prior|other|others)(?![a-z])|n't|n\u2019t|~~",
    re.IGNORECASE,
)
_AHEAD = re.compile(
    r"\s{0,3}#{1,6}\s.*(?<![a-z])(?:next|future|later|todo|ideas?|not|no|related|prior|previous|tried|fail\w*|ablat\w*"
    r"|negative|reject\w*|does)(?![a-z])",
    re.IGNORECASE,
)
_SETTINGS = re.compile(r"\b[A-Z][A-Z0-9_]+=\S*")  # that a command gives: to the script that lies there
_HEADING = re.compile(r"\s{0,3}#{1,6}\s")
_READS_ITSELF = re.compile(r"\b__file__\b")
_LONGEST = 400  # characters of a line that are looked at


class Told(NamedTuple):
    """What says of a run what a script shows.

    Attributes:
        says: one line that does.
        named: what it names, which a sentence of that line must not say was left out.
        denies: what in a README takes it back, whatever else it says.
    """

    says: re.Pattern[str]
    named: re.Pattern[str]
    denies: re.Pattern[str]


# Of counts surely, and of what a text has an order or a context of: "length buckets by context" are none.
_COUNTS = r"n-?gram|back-?off|count|cache"
_OF_TEXT = r"order|context"
_HASHES = r"(?<![a-z])hash(?:ed|ing|es)?(?![a-z])"
_HASHED = rf"{_HASHES}|buckets?(?![a-z])"
HASHED_COUNTS = Told(
    re.compile(
        rf"^(?:(?=.*(?:{_COUNTS}))(?=.*(?:{_HASHED}))|(?=.*(?:{_OF_TEXT}))(?=.*{_HASHES}))"
        r"(?!.*(?:embed|bigram_?hash|trigram_?hash|bigram_vocab|sha-?[0-9]"
        r"|(?:git|file|commit|code|data|log|content)[ _-]?hash))",
        re.IGNORECASE,
    ),
    re.compile(_HASHED, re.IGNORECASE),
    re.compile(
        r"normali[sz](?:ed|es?|ing|ation)[^.\n]{0,40}(?:distribution|probabilit|n-?gram|vocab|tokens|counts?|1(?:\.0)?\b)"
        r"|full[- ]vocab|(?:sums?|adds? up|summing) to (?:1|one)\b|proper (?:distribution|mixture|probabilit)"
        r"|collision[- ]free|(?:no|without) (?:hash(?:es|ing)?|collisions?)\b|exact counts?\b|valid distribution",
        re.IGNORECASE,
    ),
)
_ENTROPY = r"(?<!cross-)(?<!cross )(?<!cross_)entropy"
ENTROPY_EXPERT = Told(
    re.compile(
        rf"^(?=.*{_ENTROPY})(?=.*expert)(?!.*(?:adaptive|gat(?:e|ing)))|^\s*\|\s*\W*{_ENTROPY}\W*\|", re.IGNORECASE
    ),
    re.compile(_ENTROPY, re.IGNORECASE),
    re.compile(
        r"normali[sz]ed mixture|proper (?:distribution|mixture)|(?:sums?|adds? up) to (?:1|one)\b", re.IGNORECASE
    ),
)


def said_of_another(analysis: Analysis, told: Told | None, node: ast.AST) -> tuple[str, dict[str, Json]]:
    """What to add to a finding of a script that none of the claim's logs is of: a sentence, and evidence.

    Nothing where a log may be one of the script, or there is none.

    Args:
        analysis: the scripts.
        told: what would say of the run what the script shows; None where nothing would.
        node: where it shows that. The size of a module that a script imports, no log states.
    """
    logged = analysis.context.logged
    if not logged or not all(is_of_another_script(analysis.program, score) for score in logged):
        return "", {}
    sizes = _sizes(analysis)
    module = _module_of(analysis, node, None if sizes is None else sizes[0])
    if sizes is not None and module is not None:
        sizes = (sizes[0], module.size)
    script = "the script" if module is None else module.importing
    seen = "" if sizes is None else f": {logged[0].file} states {sizes[0]:,} bytes of code, {script} has {sizes[1]:,}"
    place = None if told is None else _place(analysis, told)
    evidence: dict[str, Json] = {} if sizes is None else {"stated_size": sizes[0], "script_size": sizes[1]}
    own = "" if module is None else f". Of {module.name}, which {script} imports, no log tells the size"
    if place is not None:
        said = f". Another version of {script} wrote the log{seen}{own}; that the run did the same, {place} says"
        return said, {**evidence, "said_of_the_run": place}
    did = f"what {'that one' if module is None else f'the {module.name} of the run'} did is not known"
    said = f". This is a doubt, and no more: another version of {script} wrote the log{seen}{own}; {did}"
    return said, {**evidence, OF_ANOTHER_VERSION: True}


class _Module(NamedTuple):
    """A file that a script imports, and that script.

    Attributes:
        name: of the file.
        importing: the name of the script.
        size: of the script, in bytes.
    """

    name: str
    importing: str
    size: int


def _module_of(analysis: Analysis, node: ast.AST, stated: int | None) -> _Module | None:
    """The file that a node is in, if a script imports it and it is not the one whose size the log may state.

    A script that states its own size reads itself.
    """
    program = analysis.program
    own = program.script(node)
    imports = re.compile(rf"^[ \t]*(?:from|import)[ \t][^\n#]*\b{re.escape(Path(own.path).stem)}\b", re.MULTILINE)
    if stated is None or _READS_ITSELF.search(own.text):
        return None
    importing = [
        (abs(file.stat().st_size - stated), file)
        for script in program.scripts
        if script is not own and (file := Path(script.path)).is_file() and imports.search(script.text)
    ]
    if not importing:
        return None
    file = min(importing)[1]
    return _Module(Path(own.path).name, file.name, file.stat().st_size)


def _sizes(analysis: Analysis) -> tuple[int, int] | None:
    try:
        return other_size(analysis.program, analysis.context.logged[0])
    except (ClaimError, OSError):
        return None


def _place(analysis: Analysis, told: Told) -> str | None:
    """Where it is said: a line of the README, the record's JSON, or a line of a log that no script is."""
    context = analysis.context
    texts = (context.readme, *context.said, *context.titles)
    if any(told.denies.search(text) for text in texts):
        return None
    is_ahead = False
    for number, line in enumerate(context.readme.split("\n"), 1):
        is_ahead = _AHEAD.match(line) is not None if _HEADING.match(line) else is_ahead
        if not is_ahead and _says(told, line):
            return f"line {number} of the README"
    if any(_says(told, text) for text in (*context.said, *context.titles)):
        return "the record's own description"
    return next(_in_logs(analysis, told), None)


def _in_logs(analysis: Analysis, told: Told) -> Iterator[str]:
    for score in analysis.context.logged:
        lines = printed_lines_of(analysis.program, score)[: score.line]
        for number, line in enumerate(lines, 1):
            if _says(told, line):
                yield f"{score.file}:{number}"


def _says(told: Told, line: str) -> bool:
    """Whether a line says it, and no word beside what it names that it was not done."""
    text = _SETTINGS.sub("", line[:_LONGEST])
    if told.says.search(text) is None:
        return False
    return any(told.named.search(each) and not _NOT_DONE.search(each) for each in _SENTENCE.split(text))


_SENTENCE = re.compile(r"(?<=[.;!?])\s")
