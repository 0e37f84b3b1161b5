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
    claim = evidence.claim
    dataset = claim.dataset if evidence.full is None else evidence.full.dataset
    score, known = claim.score, _lowest().get(dataset or "")
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


@cache
def _lowest() -> Mapping[str, tuple[float, str]]:
    """Of each text, the bits per byte below which a record is not taken at its word, and why."""
    rows = csv.DictReader(StringIO(_TABLE.read_text(encoding="utf-8")))
    return {row["dataset"]: (float(row["bits_per_byte"]), row["note"]) for row in rows}
