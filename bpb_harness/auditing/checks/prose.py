"""BPB213 and 214: what README or title say of the score. Prose can hold a confirmation back; it never refutes."""

from __future__ import annotations

from collections.abc import Iterator

from bpb_harness.auditing import codes
from bpb_harness.auditing.evidence import Evidence
from bpb_harness.claim.readme_prose import PRICED_JOINTLY, voiding_headings, voiding_sentences, voiding_title
from bpb_harness.findings import Finding, Severity


def check_prose(evidence: Evidence) -> Iterator[Finding]:
    """Name each sentence that would void the score."""
    claim = evidence.claim
    if claim.score is None:
        return
    readme = claim.readme
    sentences = [*voiding_sentences(readme.text, readme.file)] if readme is not None else []
    sentences += voiding_headings(readme.text, readme.file) if readme is not None else ()
    title = voiding_title(claim.title, claim.score.source.file) if claim.title is not None else None
    for found in [*sentences, *([title] if title is not None else [])]:
        message = f"{found.source} says {found.sentence[:300]!r}: if it is so, {found.meaning}"
        rule = codes.JOINT_PRICE if found.meaning == PRICED_JOINTLY else codes.PROSE_VOIDS
        missing = "a look into the script that made the score: does it do what the record says of it?"
        yield rule.finding(message, severity=Severity.WARNS, place=str(found.source), missing=missing)
