"""BPB420: a score below all that anybody has been known to reach on a text.

A record can be made to agree with itself about any number. Below what the best known codes need, with room to spare,
agreement says nothing: such numbers were memory of the text, tables of counts that nobody paid for, or leaks.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from functools import cache
from io import StringIO
from pathlib import Path

from bpb_harness.auditing import codes
from bpb_harness.auditing.evidence import Evidence
from bpb_harness.findings import Finding

_TABLE = Path(__file__).parents[1] / "data" / "lowest_scores.csv"


def check_lowest_known(evidence: Evidence) -> Iterator[Finding]:
    """Warn of a score of a known text that lies below the table's."""
    score, (dataset, known) = evidence.claim.score, _known_of(evidence)
    if score is None or known is None or score.value + score.half_unit >= known[0]:
        return
    lowest, note = known
    yield codes.BELOW_ALL_KNOWN.finding(
        f"the claimed {score} bits per byte lie below {lowest:g}, under which no score of {dataset} is known to stand: "
        f"{note}; that a record agrees with itself is no evidence of such a number",
        missing="the checkpoint, to score it anew, or a proof in bits",
        lowest=lowest,
        dataset=dataset,
    )


def lowest_of(evidence: Evidence) -> float | None:
    """Bits per byte below which no score of the claim's text is known to stand; None where the text is not known."""
    known = _known_of(evidence)[1]
    return None if known is None else known[0]


def _known_of(evidence: Evidence) -> tuple[str | None, tuple[float, str] | None]:
    """The text, and what is known of it."""
    dataset = evidence.claim.dataset if evidence.full is None else evidence.full.dataset
    return dataset, _lowest().get(dataset or "")


@cache
def _lowest() -> Mapping[str, tuple[float, str]]:
    """Of each text, the bits per byte below which a record is not taken at its word, and why."""
    rows = csv.DictReader(StringIO(_TABLE.read_text(encoding="utf-8")))
    return {row["dataset"]: (float(row["bits_per_byte"]), row["note"]) for row in rows}
