"""BPB426: a log of which the README says that somebody put it together, or which says itself that it is not whole."""

from __future__ import annotations

import re
from collections.abc import Iterator

from bpb_harness.auditing import codes
from bpb_harness.auditing.evidence import Evidence
from bpb_harness.auditing.said import text_of_log
from bpb_harness.claim import LogRecord
from bpb_harness.claim.embedded_code import is_code
from bpb_harness.claim.listing import kind_by_name
from bpb_harness.findings import Finding, Severity, listed

_LONGEST, _LONGEST_SENTENCE = 100, 400
_MADE = r"(?:reconstructed|transcribed|retyped|re-typed|recreated|re-created)"
_WAS = r"(?:was|were|is|are|has been|have been)"
# Lines with which somebody says that a log was cut: [... steps 3-19 ...], "excerpt", "omitted for brevity".
_CUT = re.compile(
    r"\s{0,8}(?:\[\s?(?:\.\.\.|\u2026)\s?[A-Za-z0-9][^\[\]]{0,80}\]|\(\s?(?:\.\.\.|\u2026)\s?[A-Za-z0-9][^()]{0,80}\))\s{0,8}"
    r"|\W{0,6}(?:[A-Z][\w-]*\s){0,4}(?:[\w-]+\s){0,3}(?:log|run|output) excerpt(?![a-z])[^=]{0,60}"
    r"|[^=]{0,80}\bomitted for brevity\b[^=]{0,20}|[^=]{0,60}\(abridged\)[^=]{0,10}"
    r"|\W{0,6}(?:NOTE|Note)?:?\s?[Ll]og (?:was |is )?(?:truncated|cut|abridged|shortened)(?![a-z])[^=]{0,80}"
)
# Words that make it another log, or none: no training log was reconstructed, an earlier one was and is replaced.
_OTHERWISE = re.compile(
    r"(?<![a-z])(?:no|not|neither|nor|never|if|unless|whether|old|older|earlier|former|formerly|previous|previously"
    r"|originally|once)(?![a-z])", re.IGNORECASE,
)  # fmt: skip
_SINCE = re.compile(r"replaced|superseded|no longer|(?<![a-z])(?:now|since then)(?![a-z])", re.IGNORECASE)
_MAY_BE_CUT = re.compile(
    r"[\[(]\s?(?:\.\.\.|\u2026)|excerpt|omitted for|\(abridged\)|[Ll]og (?:was |is )?(?:trunc|cut|abr|short)"
)


def check_retold_logs(evidence: Evidence) -> Iterator[Finding]:
    """A doubt where the README says so of every log of the claim, a remark where one says so of itself."""
    logs = [log for log in evidence.claim_logs if log.path is not None and kind_by_name(log.path) == "log"]
    told = [found for log in logs if (found := _told_in_readme(evidence, log)) is not None]
    if told and len(told) == len(logs) == len(evidence.claim_logs):
        (line, sentence), readme = told[0], evidence.claim.readme
        names = listed(sorted({log.file for log in logs}))
        are = f"{names}, the log of the score, is no run's own" if len(logs) == 1 else f"{names} are no runs' own"
        place = f"{readme.file}:{line}" if readme is not None else ""
        message = f"{place} says that {are}: {sentence!r}"
        yield codes.NO_RUN_PRINTS.finding(message, places=[place], missing="the logs as the runs printed them")
        return
    for log in logs:
        if (cut := _says_that_it_is_cut(log)) is not None:
            message = f"{log.file} says of itself that it is not whole: {cut[1]!r} ({log.file}:{cut[0]})"
            places = [f"{log.file}:{cut[0]}"]
            yield codes.NO_RUN_PRINTS.finding(message, severity=Severity.INFORMS, places=[*places])
            return


def _told_in_readme(evidence: Evidence, log: LogRecord) -> tuple[int, str] | None:
    """The line of the README, and what it says there, that calls a log reconstructed."""
    readme = evidence.claim.readme
    if readme is None or not re.search(_MADE, readme.text):
        return None
    name = rf"`?(?:[\w./-]{{1,60}}/)?{re.escape(log.file.rsplit('/', 1)[-1])}`?"
    of_log = rf"(?<![\w./-])(?:{name}|(?:[Tt]he )?[Tt]raining logs?)"
    said = re.compile(
        rf"{of_log}(?: {_WAS} (?:manually |partly )?|[^.\n(]{{0,40}}\((?:{_WAS} )?){_MADE}(?![a-z])[^.\n]{{0,120}}"
    )
    for number, line in enumerate(readme.text.splitlines(), 1):
        match = said.search(line[:_LONGEST_SENTENCE])
        if match is not None and not _OTHERWISE.search(line[: match.start()]) and not _SINCE.search(line):
            return number, match[0].strip(" )")
    return None


def _lines_with(pattern: re.Pattern[str], text: str) -> list[int]:
    """The numbers of the lines in which something begins."""
    numbers: dict[int, None] = {}
    number, at = 1, 0
    for found in pattern.finditer(text):
        number, at = number + text.count("\n", at, found.start()), found.start()
        numbers[number] = None
    return list(numbers)


def _says_that_it_is_cut(log: LogRecord) -> tuple[int, str] | None:
    text = text_of_log(log)
    numbers = _lines_with(_MAY_BE_CUT, text)
    lines = text.split("\n") if numbers else []
    told = ((number, lines[number - 1]) for number in numbers)
    found = [(n, line.strip()) for n, line in told if len(line) <= _LONGEST and _CUT.fullmatch(line.rstrip())]
    code = is_code(lines) if found else []
    return next(((number, line) for number, line in found if not code[number - 1]), None)
