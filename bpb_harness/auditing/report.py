"""The report of an audit: as data, as text for a terminal, as Markdown for a thread, as a pandas row."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import cycle
from typing import TYPE_CHECKING

from bpb_harness.auditing.codes import NO_CLAIM
from bpb_harness.auditing.told import (
    ALSO,
    broken_rules,
    grouped,
    how_found,
    in_short,
    meaning_of,
    quoted,
    sentence,
    settles,
)
from bpb_harness.auditing.verdict import Judgement, Verdict
from bpb_harness.findings import CODES, Finding, Json, Severity, place_in_script
from bpb_harness.formats.audit import AUDIT_FORMAT, AUDITS_FORMAT
from bpb_harness.rules import Rules
from bpb_harness.terminal.screen import Screen

if TYPE_CHECKING:
    import jinja2
    import pandas as pd

_ORDER = {Severity.REFUTES: 0, Severity.WARNS: 1, Severity.CONFIRMS: 2, Severity.INFORMS: 3}


@dataclass(frozen=True)
class AuditReport:
    """What an audit of one claim found.

    Attributes:
        name: the claim's folder or file.
        judgement: verdict, reason, what is missing, corrected score.
        claimed_bpb: the claimed bits per byte; None where nothing is claimed.
        claimed_in: where the claim stands; of a perplexity without bytes, its value too.
        findings: refuting ones first, then doubts, evidence for, remarks.
        files: files that were read.
        title: what the claimant calls it; None where nobody names it.
        paths: what was audited, as it was given: a folder, or files.
        rules: the pack of rules that it was held against, and how that was chosen; None where nothing could be read.
        unchecked: what stays open of the claimed score, in words.
    """

    name: str
    judgement: Judgement
    claimed_bpb: float | None
    claimed_in: str | None
    findings: tuple[Finding, ...]
    files: tuple[str, ...] = field(default=())
    title: str | None = None
    paths: tuple[str, ...] = field(default=())
    rules: Rules | None = None
    unchecked: tuple[str, ...] = field(default=())

    @property
    def verdict(self) -> Verdict:
        """confirmed, consistent, refuted or unverifiable."""
        return self.judgement.verdict

    @property
    def corrected_bpb(self) -> float | None:
        """What the score should have been; None where none can be given."""
        return self.judgement.corrected_bpb

    @property
    def exit_code(self) -> int:
        """0 confirmed or consistent, 1 refuted, 3 unverifiable."""
        return self.verdict.exit_code

    @property
    def gives_no_score(self) -> bool:
        """Whether no file of the record gives any score: notes, a plan, an entry that waits for its run."""
        return any(finding.evidence.get("gives_none") is True for finding in self.with_code(NO_CLAIM.code))

    @property
    def claims_no_score(self) -> bool:
        """Whether the record does not say which score it claims: it gives none, or several, or calls none its own."""
        return self.verdict is Verdict.UNVERIFIABLE and bool(self.with_code(NO_CLAIM.code))

    def with_code(self, code: str) -> list[Finding]:
        """The findings under one code."""
        return [finding for finding in self.findings if finding.code == code]

    def to_dict(self) -> dict[str, Json]:
        """The report with the stable keys of the JSON output."""
        return {
            "format": AUDIT_FORMAT,
            "name": self.name,
            "title": self.title,
            "verdict": self.verdict.value,
            "claimed_bpb": self.claimed_bpb,
            "claimed_in": self.claimed_in,
            "corrected_bpb": self.corrected_bpb,
            "corrected_from": self.judgement.corrected_from,
            "reason": self.judgement.reason,
            "missing": list(self.judgement.missing),
            "findings": [finding.to_dict() for finding in self.findings],
            "files": list(self.files),
            "unchecked": list(self.unchecked),
            "rules": _rules(self.rules),
        }

    def to_text(self, screen: Screen | None = None) -> str:
        """The report as a terminal shows it; laid out for a file, where no screen is given."""
        from bpb_harness.auditing.report_text import report_to_text  # deferred: it is about this class

        return report_to_text(self, screen or Screen())

    def to_markdown(self) -> str:
        """The report as a reviewer pastes it into a thread."""
        return _template("report.md.j2").render(report=self, names=CODES).strip() + "\n"

    def to_frame(self) -> pd.DataFrame:
        """One row a finding, with the verdict repeated; needs pandas."""
        import pandas as pd

        rows = [
            {
                "name": self.name,
                "verdict": self.verdict.value,
                "claimed_bpb": self.claimed_bpb,
                "corrected_bpb": self.corrected_bpb,
                "code": finding.code,
                "severity": finding.severity.value,
                "message": finding.message,
                "factor": finding.factor,
            }
            for finding in self.findings
        ]
        columns = ["name", "verdict", "claimed_bpb", "corrected_bpb", "code", "severity", "message", "factor"]
        return pd.DataFrame(rows, columns=columns)


def _rules(rules: Rules | None) -> Json:
    return None if rules is None else {"name": rules.pack.name, "file": rules.pack.file, "chosen": rules.why}


def rules_counted(reports: Sequence[AuditReport]) -> str:
    """The packs that claims were held against, and how many were: ``parameter-golf 12, none 3``."""
    names = [report.rules.pack.name for report in reports if report.rules is not None]
    return ", ".join(f"{name} {names.count(name)}" for name in dict.fromkeys(names))


def in_order(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Findings by weight, then by code; the same finding twice is said once."""
    unique = {(finding.code, finding.message): finding for finding in findings}
    return tuple(sorted(unique.values(), key=lambda finding: (_ORDER[finding.severity], finding.code)))


def overall(reports: Sequence[AuditReport]) -> Verdict:
    """The verdict on many claims: the worst, of refuted, unverifiable, consistent and confirmed."""
    verdicts = {report.verdict for report in reports}
    for verdict in (Verdict.REFUTED, Verdict.UNVERIFIABLE, Verdict.CONSISTENT):
        if verdict in verdicts:
            return verdict
    return Verdict.CONFIRMED


def summary_to_dict(reports: Sequence[AuditReport], unread: Sequence[str] = ()) -> dict[str, Json]:
    """Many reports as data, with counts of the verdicts.

    Args:
        reports: one a claim.
        unread: what was passed over although it speaks of scores: folders without a log or a claim, and files above
            submissions.
    """
    counts: dict[str, Json] = {
        verdict.value: sum(report.verdict is verdict for report in reports) for verdict in Verdict
    }
    return {
        "format": AUDITS_FORMAT,
        "verdict": overall(reports).value,
        "counts": counts,
        "without_claim": sum(report.claims_no_score for report in reports),
        "without_score": sum(report.gives_no_score for report in reports),
        "audits": [report.to_dict() for report in reports],
        "unread": [*unread],
    }


def unread_to_text(unread: Sequence[str]) -> str | None:
    """The folders and files that were passed over, in one line; None where there are none."""
    if not unread:
        return None
    first = ", ".join(one_line(name) for name in unread[:_FIRST_NAMES])
    more = f" and {len(unread) - _FIRST_NAMES} more" if len(unread) > _FIRST_NAMES else ""
    places, s = ("1 folder or file", "s") if len(unread) == 1 else (f"{len(unread)} folders or files", "")
    return (
        f"{places} not audited, which speak{s} of bits per byte and belong{s} to no submission: a folder has no log, "
        f"submission.json or claim file, and a file lies above submissions: {first}{more}"
    )


_FIRST_NAMES = 5


def summary_to_markdown(
    reports: Sequence[AuditReport], unread: Sequence[str] = (), *, with_details: bool = False
) -> str:
    """A table of many verdicts for a thread, and what was passed over.

    Args:
        reports: one a claim.
        unread: see `summary_to_dict`.
        with_details: the reports themselves stand below the table too, of the first that are refuted or unverifiable.
    """
    summary = _template("summary.md.j2").render(
        reports=reports, counts=counts_to_text(reports), rules=rules_counted(reports), unread=unread_to_text(unread)
    )
    bad = (Verdict.REFUTED, Verdict.UNVERIFIABLE)
    doubtful = [report for report in reports if report.verdict in bad] if with_details else []
    parts = [summary.strip(), *(report.to_markdown().strip() for report in doubtful[:_MAX_DETAILS])]
    if len(doubtful) > _MAX_DETAILS:
        parts.append(f"{len(doubtful) - _MAX_DETAILS} more are in the table alone.")
    return "\n\n".join(parts) + "\n"


_MAX_DETAILS = 50


def counts_of(reports: Sequence[AuditReport]) -> Mapping[str, int]:
    """How many claims have each verdict."""
    return {verdict.value: sum(report.verdict is verdict for report in reports) for verdict in Verdict}


def counts_to_text(reports: Sequence[AuditReport]) -> str:
    """How many claims have each verdict, in words; of the last, the unverifiable, how many records claim no score."""
    told = ", ".join(f"{count} {verdict}" for verdict, count in counts_of(reports).items())
    unclaimed = sum(report.claims_no_score for report in reports)
    empty = sum(report.gives_no_score for report in reports)
    others = unclaimed - empty
    of_these = [f"{empty} give{_s(empty)} none at all"] if empty else []
    if others:
        they = "it does" if others == 1 else "they do"
        of_these.append(f"{others} give{_s(others)} numbers that {they} not call the score")
    return f"{told} (of these {unclaimed} claim{_s(unclaimed)} no score: {', '.join(of_these)})" if unclaimed else told


def _s(number: int) -> str:
    """The ending of a verb."""
    return "s" if number == 1 else ""


def leading_codes(report: AuditReport) -> list[str]:
    """The codes that the verdict rests on."""
    wanted = {
        Verdict.REFUTED: (Severity.REFUTES,),
        Verdict.UNVERIFIABLE: (Severity.WARNS,),
        Verdict.CONSISTENT: (Severity.CONFIRMS,),
        Verdict.CONFIRMED: (Severity.CONFIRMS,),
    }[report.verdict]
    return list(dict.fromkeys(finding.code for finding in report.findings if finding.severity in wanted))


@cache
def _template(name: str) -> jinja2.Template:
    import jinja2

    # Text and Markdown, not HTML: what a hostile record holds is made harmless by the filters below.
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("bpb_harness.auditing", "templates"),
        autoescape=False,  # noqa: S701
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "markdown": _markdown,
        "cell": _cell,
        "bpb": claimed_to_text,
        "corrected": corrected_to_text,
        "short": _short,
        "detail": detail_of,
        "sentence": lambda text: sentence(one_line(text)),
        "codes": lambda report: ", ".join(leading_codes(report)),
    }
    environment.globals |= {
        "heading": heading_of,
        "numbers": numbers_of,
        "in_short": in_short,
        "meaning": meaning_of,
        "broken": broken_rules,
        "grouped": grouped,
        "settles": settles,
        "quoted": quoted,
    }
    return environment.get_template(name)


def one_line(text: object) -> str:
    """Text of a record on one line, without anything that a terminal would obey."""
    return "".join(character for character in " ".join(str(text).split()) if character.isprintable())


def _markdown(text: object) -> str:
    """Text of a record that stays text in Markdown: no tables, tags, links, images or mentions; code stays code."""
    # Between backticks all is code, in which nothing of the kind is read; what is left over is escaped.
    parts = re.split(r"(`[^`]+`)", one_line(text))
    return "".join(part if is_code else _escaped(part) for part, is_code in zip(parts, cycle([False, True])))


def _cell(text: object) -> str:
    """The same within a table, where a bar ends the cell even in code."""
    return _escaped(one_line(text))


def _escaped(text: str) -> str:
    return re.sub(r"([\\|*_`\[\]#~])", r"\\\1", text.replace("&", "&amp;").replace("<", "&lt;")).replace(
        "@", "@<!-- -->"
    )


def _short(text: object, width: int) -> str:
    """The beginning of a text, cut to a width."""
    plain = one_line(text)
    return plain if len(plain) <= width else plain[: max(0, width - 3)].rstrip() + "..."


def heading_of(report: AuditReport) -> str:
    """What is audited: what the claimant calls it, or else folder or file."""
    name, title = one_line(report.name), one_line(report.title or "")
    return f'Audit of "{_short(title, _LONGEST_TITLE)}"' if title and title != name else f"Audit of {name}"


_LONGEST_TITLE = 80


def numbers_of(report: AuditReport) -> list[tuple[str, str]]:
    """Label and text of what is claimed, of what is right, and of where it was looked for."""
    rows = []
    where = one_line(report.claimed_in or "")
    if report.claimed_bpb is not None:
        rows.append(("claimed", f"{claimed_to_text(report.claimed_bpb)} bits per byte, in {where}"))
    elif where:
        rows.append(("claimed", where))
    derivation = one_line(report.judgement.corrected_from or "")
    if report.corrected_bpb is not None:
        of_part = report.judgement.corrected_of_part
        other = "" if of_part is None else f", or {corrected_to_text(of_part)} by those of the part that was scored"
        what = "bits per byte" if of_part is None else "bits per byte by the whole text's bytes per token"
        rows.append(("corrected", f"{corrected_to_text(report.corrected_bpb)} {what}{other}: {derivation}"))
    elif derivation:
        rows.append(("corrected", derivation))
    rows.append(("record", one_line(report.name)))
    rows.append(("read", one_line(how_found(report))))
    if report.unchecked:
        rows.append(("unchecked", "; ".join(report.unchecked)))
    if report.rules is not None:
        rows.append(("rules", one_line(report.rules)))
    return rows


def detail_of(finding: Finding, reason: str) -> str:
    """A finding's message; where the headline says it already, what its code means, and the place."""
    said = finding.message if finding.message != reason else _in_short(finding)
    also = finding.evidence.get(ALSO)
    return said if also is None else f"{sentence(said)} {also}"


def _in_short(finding: Finding) -> str:
    places = finding.evidence.get("places") or finding.evidence.get("place") or _line_of(finding)
    listed = [str(place) for place in places] if isinstance(places, list) else [str(places)] if places else []
    return CODES[finding.code].summary.rstrip(".") + (f" ({', '.join(listed)})" if listed else "")


def _line_of(finding: Finding) -> str | None:
    file = finding.evidence.get("file")
    return place_in_script(finding) or (None if file is None else str(file))


def corrected_to_text(value: float | None) -> str:
    """A corrected score: four digits, wherever it is shown; the published numbers behind it have no more."""
    return "-" if value is None else f"{value:.4f}" if value < 1000 else f"{value:.5g}"


def claimed_to_text(value: float | None) -> str:
    """A claimed score with the digits that it has; of a small one two at least, for it is not 0."""
    if value is None:
        return "-"
    if 0.0 < abs(value) < _NO_DECIMALS or value >= 1000:
        return f"{value:.5g}"
    decimals = 5 if abs(value) >= 1e-4 or value == 0.0 else 1 - math.floor(math.log10(abs(value)))
    return f"{value:.{decimals}f}".rstrip("0").rstrip(".")


_NO_DECIMALS = 1e-12  # smaller ones are told with an exponent
