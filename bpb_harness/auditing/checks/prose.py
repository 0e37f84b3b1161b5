"""BPB213 and 214: what README, title or notes say of the score. Prose alone holds a confirmation back, and no more."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from bpb_harness.auditing import codes, learnt
from bpb_harness.auditing.checks.found_in_log import label_of
from bpb_harness.auditing.evidence import Evidence
from bpb_harness.auditing.learnt import LEARNT
from bpb_harness.auditing.said import text_of
from bpb_harness.claim import LogRecord
from bpb_harness.claim.figure_lines import figure_line
from bpb_harness.claim.prose_files import voiding_in_note
from bpb_harness.claim.readme_prose import (
    VoidingSentence,
    first_trained_document,
    voiding_headings,
    voiding_sentences,
    voiding_title,
)
from bpb_harness.claim.trains_on_it import trains_on_scored_text
from bpb_harness.claim.voiding_statements import (
    FITTED,
    PRICED_JOINTLY,
    SAY_THAT_IT_CAME_FIRST,
    SAY_THAT_IT_WAS_LEARNT,
    TRAINED_ON_IT,
)
from bpb_harness.errors import ClaimError
from bpb_harness.findings import Finding, Json, Severity, listed


def check_prose(evidence: Evidence) -> Iterator[Finding]:
    """Name the sentences that would void the score, those that mean the same together."""
    claim = evidence.claim
    if claim.score is None:
        return
    readme = claim.readme
    sentences = [*voiding_sentences(readme.text, readme.file)] if readme is not None else []
    sentences += voiding_headings(readme.text, readme.file) if readme is not None else ()
    sentences += [replace(each, source=at) for at, text in claim.said for each in voiding_sentences(text, at.file)]
    sentences += [each for file, text in evidence.notes for each in voiding_in_note(text, file, claim.score)]
    title = voiding_title(claim.title, claim.score.source.file) if claim.title is not None else None
    said: dict[str, list[VoidingSentence]] = {}
    for found in [*sentences, *([title] if title is not None else [])]:
        said.setdefault(found.meaning, []).append(found)
    for meaning, alike in said.items():
        yield _finding_of(evidence, meaning, alike)
    yield from _trained_on_scored_documents(evidence)
    yield from _trained_by_setting(evidence)


def _trained_by_setting(evidence: Evidence) -> Iterator[Finding]:
    """A setting of the README's run that is called after training on the scored text, which no log tells to be off."""
    readme = evidence.claim.readme
    told = trains_on_scored_text(readme.text, readme.file) if readme is not None else None
    if told is None or any(_OFF.search(_text_of(log)) for log in evidence.claim_logs or evidence.claim.logs):
        return
    message = (
        f"{told[0]} sets `{told[1]}`: if that does what it is called after, the network was trained on the text that "
        "it is scored on"
    )
    missing = "the script of that run, and its log with this setting in it"
    yield codes.PROSE_VOIDS.finding(message, place=str(told[0]), missing=missing, facts={LEARNT: True})


_OFF = re.compile(r"train_on_val\w{0,20}[\"']?\s?[:=]\s?[\"']?(?:0|false)\b", re.IGNORECASE)


def _trained_on_scored_documents(evidence: Evidence) -> Iterator[Finding]:
    """Training shards that begin, by the README, in front of the last of the documents that a log scores."""
    claim = evidence.claim
    prose = [(claim.readme.file, claim.readme.text)] if claim.readme is not None else []
    of_prose = (first_trained_document(text, file) for file, text in (*prose, *evidence.notes))
    told = next(filter(None, of_prose), None)
    if told is None:
        return
    for log in evidence.claim_logs or claim.logs:
        scored = [int(digits) for digits in _SCORED_DOCUMENTS.findall(_text_of(log))]
        if scored and max(scored) > told[0]:
            message = (
                f"{told[1]} says that the training shards begin after the first {told[0]:,} documents, and {log.file} "
                f"scores {max(scored):,}: if both are counted from the beginning of one text, the network was trained "
                f"on {max(scored) - told[0]:,} of the documents that it is scored on"
            )
            missing = "the script that cut the shards, and the first document of the training shards that were used"
            yield codes.PROSE_VOIDS.finding(message, place=str(told[1]), missing=missing, facts={LEARNT: True})
            return


_SCORED_DOCUMENTS = re.compile(r"\btotal_docs\s?[:=]\s?([0-9]{2,12})\b")


def _text_of(log: LogRecord) -> str:
    """A log once more; nothing where it is no longer there."""
    if log.path is None:
        return ""
    try:
        return text_of(log.path, log.file)
    except ClaimError:
        return ""


# Training at test time is "on validation data" too; this is said of the training that the network is of.
_ON_IT_ALONE = re.compile(r"\bval(?:idation)?[- ]only[- ]train", re.IGNORECASE)
# Of a setting that may be off, of another run, or of a number or two that are fitted.
_OF_LESS = re.compile(
    r"\b(?:flags?|options?|switch(?:es|ed)?|off|disabled?|defaults?|unused|scalars?|temperatures?|gates?|mixing|chosen"
    r"|compar\w*|would|could|might)\b",
    re.IGNORECASE,
)


def _finding_of(evidence: Evidence, meaning: str, alike: Sequence[VoidingSentence]) -> Finding:
    """One finding of sentences that mean the same, with the first of them and the places of all."""
    first, places = alike[0], list(dict.fromkeys(str(found.source) for found in alike))
    too = f" (so {'does' if len(places) == 2 else 'do'} {listed(places[1:])})" if len(places) > 1 else ""
    said = first.sentence[:300]
    message = (
        f"{first.source} says {said!r}{too}: if it is so, {meaning}"
        if first.technique is None or first.technique == said
        else f"{first.source} names {first.technique!r}, in {said!r}{too}: if that is what such names usually stand "
        f"for, {meaning}"
    )
    rule = codes.JOINT_PRICE if meaning == PRICED_JOINTLY else codes.PROSE_VOIDS
    facts: dict[str, Json] = {"places": [*places]} if len(places) > 1 else {}
    facts |= {LEARNT: True} if meaning in SAY_THAT_IT_WAS_LEARNT else {}
    facts |= {learnt.FITTED: True} if meaning == FITTED else {}
    facts |= {learnt.CAME_FIRST: True} if meaning in SAY_THAT_IT_CAME_FIRST else {}
    alone = [found.sentence for found in alike if _ON_IT_ALONE.search(found.sentence)]
    is_alone = meaning == TRAINED_ON_IT and not all(map(_OF_LESS.search, alone))
    facts |= {learnt.ON_IT_ALONE: True} if is_alone else {}
    missing = f"{_script_of(evidence)}: does it do what the record says?"
    return rule.finding(
        message, severity=Severity.WARNS, place=places[0], missing=missing,
        facts=facts,
    )  # fmt: skip


def _script_of(evidence: Evidence) -> str:
    """The script that has to be looked into: by its line, where none that lies there prints one like that."""
    from bpb_harness.auditing.script import Printable, decode_source  # deferred: most records say nothing of the kind

    any_script, scripts = "a look into the script that made the score", evidence.claim.scripts
    line = next(iter(evidence.lines), None)
    log = None if line is None else evidence.log_of(line)
    if line is None or log is None or not scripts or any(each.holds_script for each in evidence.claim.logs):
        return any_script
    number, lines = line.bpb.source.line or 0, _text_of(log).split("\n")
    printed = figure_line(lines[number - 1], number) if 0 < number <= len(lines) else None
    try:
        printable = Printable([decode_source(script).text for script in scripts])
    except ClaimError:
        return any_script
    if printed is None or not printable.is_known or printable.has_trainer or printable.holds(printed):
        return any_script
    names = listed([script.name for script in scripts]) if len(scripts) <= _MOST_NAMED else "the scripts beside it"
    does = "does" if len(scripts) == 1 else "do"
    return f"the script that printed {label_of(line)!r} ({line.bpb.source}), a line that {names} {does} not print"


_MOST_NAMED = 3
