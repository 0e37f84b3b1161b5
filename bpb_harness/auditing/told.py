"""What a report says beside its findings: the same words in text, in Markdown and on a page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bpb_harness.auditing import codes
from bpb_harness.auditing.verdict import Verdict
from bpb_harness.findings import CODES, Finding, Severity

if TYPE_CHECKING:
    from bpb_harness.auditing.report import AuditReport

_MEANINGS = {
    Verdict.CONFIRMED: "the score was computed a second time, without its author, and is what was claimed",
    Verdict.CONSISTENT: (
        "no fault was found; the record agrees with itself and with what is known of the text; but the score was not "
        "computed a second time"
    ),
    Verdict.UNVERIFIABLE: "the record does not decide whether the score is right",
}
# Rules of the contest that an entry breaks by what is found; others cannot be applied, or are not shown to be kept.
_BROKEN = frozenset({codes.OVER_CAP.code, codes.OVER_TIME.code, codes.FEW_RUNS.code})
SETTLED = "nothing more: the score was computed a second time, from the checkpoint"


def meaning_of(report: AuditReport) -> str:
    """The verdict in words, and the codes that it rests on."""
    *others, last = report.judgement.rests_on or ("",)
    rests_on = f"{', '.join(others)} and {last}" if others else last
    meaning = _refutation(report) if report.verdict is Verdict.REFUTED else _MEANINGS[report.verdict]
    return meaning + (f". The verdict rests on {rests_on}" if rests_on else "")


def _refutation(report: AuditReport) -> str:
    if report.corrected_bpb is not None:
        return "a finding below shows that the right score is another one, which is given"
    return "a finding below shows that the number is no score of that text; the right one is not known"


def broken_rules(report: AuditReport) -> list[str]:
    """A sentence for each rule of its contest that the entry breaks, whatever becomes of the score."""
    broken = [found.code for found in report.findings if found.code in _BROKEN and found.severity is Severity.WARNS]
    return [
        f"Besides, the entry breaks a rule of its contest: {_begun_small(CODES[code].summary).rstrip('.')} ({code})."
        for code in dict.fromkeys(broken)
    ]


def _begun_small(text: str) -> str:
    return text[:1].lower() + text[1:]


@dataclass(frozen=True)
class Group:
    """Findings under one heading."""

    heading: str
    findings: tuple[Finding, ...]


def grouped(report: AuditReport) -> list[Group]:
    """Findings by what they do to the verdict; those of the contest's rules apart, for they do nothing to it."""
    first = {code: place for place, code in enumerate(report.judgement.rests_on)}
    findings = sorted(report.findings, key=lambda found: first.get(found.code, len(first)))
    of_rules = [found for found in findings if found.code.startswith("BPB5") and found.severity is Severity.WARNS]
    groups = [
        ("What refutes the score", [found for found in findings if found.severity is Severity.REFUTES]),
        ("Doubts", [found for found in findings if found.severity is Severity.WARNS and found not in of_rules]),
        ("What agrees with the score", [found for found in findings if found.severity is Severity.CONFIRMS]),
        ("Rules of the contest (they concern the entry, not the score)", of_rules),
        ("Remarks", [found for found in findings if found.severity is Severity.INFORMS]),
    ]
    return [Group(heading, tuple(held)) for heading, held in groups if held]


# Codes of what --allow-code runs, and of what the harness computes itself.
_OF_RUNNING = frozenset({"BPB157", "BPB158", "BPB159", "BPB163", "BPB164", "BPB269", "BPB270", "BPB271"})
_MOST_FILES = 6


def how_found(report: AuditReport) -> str:
    """What was read, and whether anything was run or computed."""
    found = {finding.code for finding in report.findings}
    shown = ", ".join(report.files[:_MOST_FILES]) or "nothing"
    more = f" and {len(report.files) - _MOST_FILES} more files" if len(report.files) > _MOST_FILES else ""
    done = ["functions of its scripts were run by themselves"] if found & _OF_RUNNING else []
    done += ["its checkpoint was scored"] if any(code.startswith("BPB60") for code in found) else []
    return f"{shown}{more}; {' and '.join(done) if done else 'nothing of it was run'}"


def settles(report: AuditReport) -> Sequence[str]:
    """What would settle the claim, at least one item."""
    return report.judgement.missing or [SETTLED]


def sentence(text: str) -> str:
    """A text with a capital and a full stop; a name of a file or a number at its beginning stays as it is."""
    first = text.split(" ", 1)[0]
    begun = text if re.search(r"[^a-z'\-,;:]", first) else text[:1].upper() + text[1:]
    return begun if begun.endswith((".", "?", "!", "...")) else f"{begun}."
