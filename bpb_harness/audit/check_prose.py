"""BPB213: what the README says of its own score. Prose can hold a confirmation back; it never refutes."""

from __future__ import annotations

from collections.abc import Iterator

from bpb_harness.audit import codes
from bpb_harness.audit.evidence import Evidence
from bpb_harness.audit.finding import Finding
from bpb_harness.claim.readme_prose import voiding_sentences


def check_prose(evidence: Evidence) -> Iterator[Finding]:
    """Name each sentence that would void the score."""
    readme = evidence.claim.readme
    if readme is None or evidence.claim.score is None:
        return
    for found in voiding_sentences(readme.text, readme.file):
        message = f"{found.source} says {found.sentence[:300]!r}: if it is so, {found.meaning}"
        yield codes.PROSE_VOIDS.finding(
            message, place=str(found.source), missing="the script that made the score, for what the README says of it"
        )
