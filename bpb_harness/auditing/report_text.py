"""Audits for a terminal: one claim with everything found, or a table of many."""

from __future__ import annotations

from collections.abc import Sequence

from bpb_harness.auditing.report import (
    AuditReport,
    claimed_to_text,
    corrected_to_text,
    counts_to_text,
    detail_of,
    heading_of,
    leading_codes,
    numbers_of,
    one_line,
    rules_counted,
    unread_to_text,
)
from bpb_harness.auditing.told import broken_rules, grouped, in_short, meaning_of, quoted, sentence, settles
from bpb_harness.auditing.verdict import Verdict
from bpb_harness.findings import CODES, Severity
from bpb_harness.terminal.page import Page, Style
from bpb_harness.terminal.screen import Screen
from bpb_harness.terminal.table import Column, add_table

_LABELS, _FINDINGS = 13, 4  # columns before the text beside a label, and before a finding
_VERDICTS: dict[Verdict, Style] = {
    Verdict.CONFIRMED: "bold green",
    Verdict.CONSISTENT: "bold",
    Verdict.REFUTED: "bold red",
    Verdict.UNVERIFIABLE: "bold yellow",
}
_SEVERITIES: dict[Severity, Style] = {Severity.REFUTES: "bold red", Severity.WARNS: "bold yellow"}
_WIDEST_NAME, _WIDEST_CODES = 60, 31


def report_to_text(report: AuditReport, screen: Screen) -> str:
    """One claim: verdict, why, the numbers, every finding, and what would settle it."""
    page = Page(screen, _LABELS)
    page.paragraph(f"{heading_of(report)}: {report.verdict.value.upper()}{in_short(report)}", _VERDICTS[report.verdict])
    page.paragraph(sentence(one_line(report.judgement.reason)), indent=2)
    for broken in broken_rules(report):
        page.paragraph(broken, indent=2)
    page.gap()
    page.row("  verdict", f"{report.verdict.value}: {meaning_of(report)}")
    for label, text in numbers_of(report):
        page.row(f"  {label}", text)
    quotes = quoted(report)
    for group in grouped(report):
        page.gap()
        page.paragraph(f"{group.heading}:", "bold", indent=2)
        for finding in group.findings:
            style = _SEVERITIES.get(finding.severity, "")
            page.paragraph(f"{finding.code} {CODES[finding.code].name}", style, indent=_FINDINGS)
            said = sentence(one_line(detail_of(finding, report.judgement.reason)))
            page.paragraph(said, indent=_FINDINGS + 2)
            for where, code in quotes[finding.code, finding.message]:
                page.whole(f"{' ' * (_FINDINGS + 4)}{where}: {code}")
    page.gap()
    page.paragraph("What would settle it:", "bold", indent=2)
    for item in settles(report):
        page.paragraph(f"- {one_line(item)}", indent=_FINDINGS, hanging=2)
    return f"{page}\n"


def summary_to_text(reports: Sequence[AuditReport], screen: Screen | None = None, unread: Sequence[str] = ()) -> str:
    """A table of many verdicts.

    Args:
        reports: one a claim.
        screen: what it is laid out for; None: a file.
        unread: what was passed over although it speaks of scores: folders without a log or a claim, and files above
            submissions.
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
