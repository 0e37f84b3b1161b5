"""Prose of a record beside its README: which files those are, and which of their words are of its claim.

Such notes speak of other runs, of other submissions and of plans too. A note counts where it gives the claimed score,
or names a log that prints it; of one that gives other scores as well, the sentences that speak of the claim.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from bpb_harness.claim.listing import prose_below
from bpb_harness.claim.printed import Printed
from bpb_harness.claim.readme_prose import VoidingSentence, voiding_sentences
from bpb_harness.claim.record import Claim
from bpb_harness.claim.text_file import read_text
from bpb_harness.claim.word_classes import THE_CLAIM, closed
from bpb_harness.distinct_names import distinct_names
from bpb_harness.errors import ClaimError

# By their names of others, of what is to come, or of how to do something.
_NOT_OF_THE_RUN = re.compile(
    r"plan|todo|roadmap|next|future|idea|proposal|related|referenc|source|bibliograph|licen[cs]e|notice|third.?party"
    r"|change|history|archaeolog|leaderboard|prompt|agent|claude|skill|contributing|guide|runbook|quickstart|instruction"
    r"|checklist|theory|journal|diary|session|template",
    re.IGNORECASE,
)
_OF_THE_CLAIM = closed(rf"{THE_CLAIM}|\b(?:this|our|the) (?:submission|entry|submitted \w+)\b|\bsubmission\.json\b")
_MOST_BYTES = 1 << 18  # of one note
_COARSEST = 0.5e-4  # half of the last digit of a number that tells whose note it is
_A_SCORE = re.compile(r"(?<![\w.])(?:0\.[3-9][0-9]|[1-3]\.[0-9]{2})[0-9]{1,10}(?![\w.]*[0-9])")


def notes_of(folders: Sequence[Path]) -> tuple[tuple[str, Path], ...]:
    """The notes of a record's folders, with the names that a report calls them by."""
    found = [(file, shown) for folder in folders for file, shown in prose_below(folder)]
    kept = [(file, shown) for file, shown in found if _NOT_OF_THE_RUN.search(shown.name) is None]
    names = distinct_names([shown for _, shown in kept])
    return tuple((name, file) for (file, _), name in zip(kept, names, strict=True))


def notes_on(claim: Claim, logs: Sequence[str]) -> list[tuple[str, str]]:
    """The names and texts of the notes that speak of a claim: they give its score, or name a log that prints it.

    Args:
        claim: a record.
        logs: the names of the logs that print the claimed score.
    """
    score, found = claim.score, list[tuple[str, str]]()
    for name, file in claim.prose if score is not None else ():
        try:
            text = read_text(file, name, _MOST_BYTES).text
        except ClaimError:
            continue
        if score is not None and (_gives(text, score) or any(PurePosixPath(log).name in text for log in logs)):
            found.append((name, text))
    return found


def voiding_in_note(text: str, file: str, score: Printed) -> list[VoidingSentence]:
    """The sentences of a note on a claim that would void its score, where no other score may be meant."""
    others = [number for number in _A_SCORE.findall(text) if not score.agrees_with(*_read(number))]
    found = voiding_sentences(text, file)
    return [each for each in found if not others or _OF_THE_CLAIM.search(each.sentence) or _gives(each.sentence, score)]


def _gives(text: str, score: Printed) -> bool:
    """Whether a text gives a score, to four decimals at the least."""
    read = (_read(number) for number in _A_SCORE.findall(text))
    return any(half <= _COARSEST and score.agrees_with(value, half) for value, half in read)


def _read(number: str) -> tuple[float, float]:
    """A number, and half of its last digit."""
    return float(number), 0.5 * 10.0 ** -len(number.partition(".")[2])
