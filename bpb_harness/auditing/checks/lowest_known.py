"""BPB420: a score below all that anybody has been known to reach on a text.

A record can be made to agree with itself about any number. Below what the best known codes need, with room to spare,
agreement says nothing: such numbers were memory of the text, tables of counts that cost nothing in the score, or leaks.
"""

from __future__ import annotations

from collections.abc import Iterator

from bpb_harness.auditing import codes
from bpb_harness.auditing.evidence import Evidence
from bpb_harness.findings import Finding
from bpb_harness.rules.pack import DoubtedBelow


def check_lowest_known(evidence: Evidence) -> Iterator[Finding]:
    """Warn of a score of a known text that lies below what the rules believe."""
    score, (dataset, known) = evidence.claim.score, _known_of(evidence)
    if score is None or known is None or score.value + score.half_unit >= known.bits_per_byte:
        return
    lowest, note = known.bits_per_byte, known.why
    yield codes.BELOW_ALL_KNOWN.finding(
        f"the claimed {score} bits per byte lie below {lowest:g}, under which no score of {dataset} is known to be "
        f"sound: {note}; that a record agrees with itself is no evidence of such a number",
        lowest=lowest,
        dataset=dataset,
    )


def lowest_of(evidence: Evidence) -> float | None:
    """Bits per byte below which no score of the claim's text is known to stand; None where the text is not known."""
    known = _known_of(evidence)[1]
    return None if known is None else known.bits_per_byte


def _known_of(evidence: Evidence) -> tuple[str | None, DoubtedBelow | None]:
    """The text, and what is known of it."""
    dataset = evidence.claim.dataset if evidence.full is None else evidence.full.dataset
    return dataset, evidence.rules.pack.doubted_below.get(dataset or "")
