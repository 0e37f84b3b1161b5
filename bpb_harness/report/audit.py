"""The page of an audit: `bpb-audit --report`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bpb_harness.auditing.report import (
    AuditReport,
    claimed_to_text,
    corrected_to_text,
    counts_to_text,
    heading_of,
    numbers_of,
    rules_counted,
    unread_to_text,
)
from bpb_harness.auditing.told import broken_rules, grouped, meaning_of, quoted, sentence, settles
from bpb_harness.auditing.verdict import Verdict
from bpb_harness.findings import CODES
from bpb_harness.report.page import render

if TYPE_CHECKING:
    from bpb_harness.findings import Json

# Refuted claims first: what is left out of a long page is what nobody has anything against.
_ORDER = (Verdict.REFUTED, Verdict.UNVERIFIABLE, Verdict.CONSISTENT, Verdict.CONFIRMED)
_MAX_CLAIMS, _MAX_ROWS, _MAX_FILES = 100, 1_000, 40


def audit_page(reports: Sequence[AuditReport], *, unread: Sequence[str] = (), command: str | None = None) -> str:
    """Verdicts as a page of HTML.

    Args:
        reports: one a claim, at least one.
        unread: what was passed over although it speaks of scores: folders without a log or a claim, and files above
            submissions.
        command: the line that makes it again.

    Returns:
        One page that needs nothing beside itself; the same for the same arguments, byte for byte. Of many claims it has
        the findings of 100 and a row of 1,000, the refuted first, and says how many it leaves out.
    """
    ordered = sorted(reports, key=lambda report: _ORDER.index(report.verdict))
    rows = ordered[:_MAX_ROWS]
    return render(
        "audit.html.j2",
        reports=ordered[:_MAX_CLAIMS],
        rows=rows,
        orders=[(key, words) for key, (words, _) in _SORTED_BY.items()],
        places=_places(rows),
        total=len(reports),
        counts={verdict.value: sum(report.verdict is verdict for report in reports) for verdict in Verdict},
        told=counts_to_text(reports),
        unread=unread_to_text(unread),
        rules=CODES,
        counted=rules_counted(reports),
        most_files=_MAX_FILES,
        claimed=claimed_to_text,
        corrected=corrected_to_text,
        evidence=_evidence,
        heading=heading_of,
        numbers=numbers_of,
        meaning=meaning_of,
        broken=broken_rules,
        grouped=grouped,
        settles=settles,
        quoted=quoted,
        sentence=sentence,
        command=command,
    )


def _number(value: float | None) -> tuple[bool, float]:
    """Numbers in their order, and behind them what has none."""
    return value is None, 0.0 if value is None else value


# Orders of the table: their words, and what claims are put in order by. A style sheet does it, without a script.
_SORTED_BY: Mapping[str, tuple[str, Callable[[AuditReport], Any]]] = {
    "verdict": ("by verdict", lambda report: _ORDER.index(report.verdict)),
    "name": ("by name", lambda report: report.name.casefold()),
    "claimed": ("by claimed score", lambda report: _number(report.claimed_bpb)),
    "corrected": ("by corrected score", lambda report: _number(report.corrected_bpb)),
}


def _places(rows: Sequence[AuditReport]) -> list[dict[str, int]]:
    """Of each row, where it stands in each order."""
    places: list[dict[str, int]] = [{} for _ in rows]
    for key, (_, sorted_by) in _SORTED_BY.items():
        for place, row in enumerate(sorted(range(len(rows)), key=lambda row: sorted_by(rows[row]))):
            places[row][key] = place
    return places


def _evidence(value: Json) -> str:
    """A value of the evidence in one line."""
    if isinstance(value, list):
        return ", ".join(map(_evidence, value))
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_evidence(each)}" for key, each in value.items())
    return "none" if value is None else str(value)
