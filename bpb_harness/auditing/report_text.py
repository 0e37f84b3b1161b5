"""Audits for a terminal: one claim with everything found, or a table of many."""

from __future__ import annotations

from collections.abc import Sequence

from bpb_harness.auditing.report import (
    AuditReport,
    claimed_to_text,
    corrected_to_text,
    counts_to_text,
    detail_of,
    leading_codes,
    one_line,
    rules_counted,
    unread_to_text,
)
from bpb_harness.auditing.verdict import Verdict
from bpb_harness.findings import CODES, Severity
from bpb_harness.terminal.page import Page, Style
from bpb_harness.terminal.screen import Screen
from bpb_harness.terminal.table import Column, add_table

_LABELS, _FINDINGS = 13, 11  # columns before the text beside a label, and before what a finding says
_LONGEST_TITLE = 80
_VERDICTS: dict[Verdict, Style] = {
    Verdict.CONFIRMED: "bold green",
    Verdict.CONSISTENT: "bold",
    Verdict.REFUTED: "bold red",
    Verdict.UNVERIFIABLE: "bold yellow",
}
_SEVERITIES: dict[Severity, Style] = {Severity.REFUTES: "bold red", Severity.WARNS: "bold yellow"}
_WIDEST_NAME, _WIDEST_CODES = 60, 31


def report_to_text(report: AuditReport, screen: Screen) -> str:
    """One claim: verdict, why, the numbers, every finding, what is missing."""
    page = Page(screen, _LABELS)
    page.paragraph(f"{_name_of(report)}: {report.verdict.value.upper()}", _VERDICTS[report.verdict])
    page.paragraph(one_line(report.judgement.reason), indent=2)
    if report.claimed_bpb is not None:
        where = one_line(report.claimed_in)
        page.row("  claimed", f"{claimed_to_text(report.claimed_bpb)} bits per byte ({where})")
    elif report.claimed_in is not None:
        page.row("  claimed", one_line(report.claimed_in))
    derivation = one_line(report.judgement.corrected_from or "")
    if report.corrected_bpb is not None:
        page.row("  corrected", f"{corrected_to_text(report.corrected_bpb)} bits per byte")
        page.row("", derivation)
    elif derivation:
        page.row("  corrected", derivation)
    if report.rules is not None:
        page.row("  rules", one_line(report.rules))
    for finding in report.findings:
        head = f"{finding.severity.value:<7}  {finding.code} {CODES[finding.code].name}"
        page.paragraph(head, _SEVERITIES.get(finding.severity, ""), indent=2)
        page.paragraph(one_line(detail_of(finding, report.judgement.reason)), indent=_FINDINGS)
    for number, item in enumerate(report.judgement.missing):
        page.row("" if number else "  missing", one_line(item))
    return f"{page}\n"


def summary_to_text(reports: Sequence[AuditReport], screen: Screen | None = None, unread: Sequence[str] = ()) -> str:
    """A table of many verdicts.

    Args:
        reports: one a claim.
        screen: what it is laid out for; None: a file.
        unread: folders that were passed over because their only record is of a kind that is not read.
    """
    page = Page(screen or Screen(), _LABELS)
    columns = [
        Column("name", _WIDEST_NAME),
        Column("verdict"),
        Column("claimed"),
        Column("corrected"),
        Column("codes", _WIDEST_CODES),
        Column("reason"),
    ]
    rows = [
        (
            one_line(report.name),
            report.verdict.value,
            claimed_to_text(report.claimed_bpb),
            corrected_to_text(report.corrected_bpb),
            ", ".join(leading_codes(report)),
            one_line(report.judgement.reason),
        )
        for report in reports
    ]
    add_table(page, columns, rows, styles=[_VERDICTS[report.verdict] for report in reports], styled=1)
    page.paragraph(f"{len(reports)} claim{'' if len(reports) == 1 else 's'}: {counts_to_text(reports)}")
    if rules := rules_counted(reports):
        page.paragraph(f"rules: {rules}")
    if (passed_over := unread_to_text(unread)) is not None:
        page.gap()
        page.paragraph(passed_over)
    return f"{page}\n"


def _name_of(report: AuditReport) -> str:
    """The claim's name, and the beginning of what the claimant calls it."""
    name, title = one_line(report.name), one_line(report.title or "")
    if not title or title == name:
        return name
    beginning = title if len(title) <= _LONGEST_TITLE else title[: _LONGEST_TITLE - 3].rstrip() + "..."
    return f'{name} "{beginning}"'
