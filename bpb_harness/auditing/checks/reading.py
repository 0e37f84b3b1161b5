"""BPB9xx: what was broken in the files, as the reader met it."""

from __future__ import annotations

from collections.abc import Iterator

from bpb_harness.auditing import codes
from bpb_harness.auditing.evidence import Evidence
from bpb_harness.claim import NoteKind
from bpb_harness.findings import Finding, Json, Rule, Severity

_RULES: dict[NoteKind, Rule] = {
    NoteKind.UNREADABLE: codes.UNREADABLE,
    NoteKind.SKIPPED: codes.UNREADABLE,
    NoteKind.REPAIRED: codes.REPAIRED,
    NoteKind.ENCODING: codes.ENCODING,
    NoteKind.UNDECODABLE: codes.UNDECODABLE,
    NoteKind.TRUNCATED: codes.TRUNCATED,
    NoteKind.AMBIGUOUS: codes.AMBIGUOUS,
    NoteKind.NOT_A_NUMBER: codes.NOT_A_NUMBER,
    NoteKind.IMPLAUSIBLE: codes.IMPLAUSIBLE,
    NoteKind.CHOICE: codes.CHOICE,
}
# English text under any tokenizer, by any model from random weights on: bits per byte of 0.3 to 12.
LOWEST_SCORE, _HIGHEST = 0.3, 12.0


def check_reading(evidence: Evidence) -> Iterator[Finding]:
    """Turn the reader's notes into findings."""
    for note in evidence.claim.notes:
        # Stray bytes in a log touch no metric line; in a record they may be digits.
        log = note.source.file in {record.file for record in evidence.claim.logs}
        # What is no file of the folder says nothing for the record, and nothing against it.
        aside = note.kind is NoteKind.SKIPPED or (note.kind is NoteKind.UNDECODABLE and log)
        severity = Severity.INFORMS if aside else None
        place: dict[str, Json] = {"file": note.source.file}
        if note.source.key:
            place["key"] = note.source.key
        if note.kind is NoteKind.UNREADABLE:
            place["missing"] = f"{note.source.file} repaired, so that it can be read (BPB901)"
        yield _RULES[note.kind].finding(note.message, severity=severity, facts=place)
    yield from _spoilt(evidence)
    score = evidence.claim.score
    if score is not None and not LOWEST_SCORE <= score.value <= _HIGHEST:
        message = f"{score.source} claims {score} bits per byte; text models lie between {LOWEST_SCORE} and {_HIGHEST}"
        yield codes.IMPLAUSIBLE.finding(message, claimed=score.value)


def _spoilt(evidence: Evidence) -> Iterator[Finding]:
    """A log is taken at its last number, and what it ends with is none: the run came to nothing."""
    claim = evidence.claim
    if claim.claimed_in != "log" and not evidence.losses:
        return
    for log in claim.logs:
        place = log.ends_spoilt(evidence.rules.pack.claim.lines)
        if place is not None:
            message = f"{place} prints no finite number where the claim would stand, after the last that is one"
            yield codes.NOT_A_NUMBER.finding(message, file=place.file, line=place.line)
