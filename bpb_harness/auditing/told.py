"""What a report says beside its findings: the same words in text, in Markdown and on a page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bpb_harness.auditing import codes
from bpb_harness.auditing.learnt import UNSEEN
from bpb_harness.auditing.verdict import Verdict
from bpb_harness.findings import CODES, Finding, Json, Severity, listed
from bpb_harness.units import counted

if TYPE_CHECKING:
    from bpb_harness.auditing.report import AuditReport

_MEANINGS = {
    Verdict.CONFIRMED: "the score was computed a second time, without its author, and is what was claimed",
    Verdict.CONSISTENT: "the record agrees with itself and with what is known of the text",
    Verdict.UNVERIFIABLE: "the record does not decide whether the score is right",
}
# Rules of the contest that an entry breaks by what is found; others cannot be applied, or are not shown to be kept.
_KEPT = {
    codes.OVER_CAP.code: "an artifact within the cap, and its score",
    codes.OVER_TIME.code: "a run within the time, and its score",
    codes.FEW_RUNS.code: "as many runs as the rules ask for",
}
# What does not agree with the rest of a record, and says nothing against the score itself.
_APART = frozenset(
    {
        codes.TABLE_CONTRADICTS.code, codes.OTHER_LOGS_FAULTY.code, codes.SPREAD_CONTRADICTS.code,
        codes.LOSS_BESIDE.code,
    }
)  # fmt: skip
_OF_OWN_FILE = frozenset({codes.RESULT_ARITHMETIC.code, codes.RESULT_SIGNATURE.code, codes.RESULT_RELATION.code})
_BY_SCORE = "the score was computed a second time, from the checkpoint"
_BY_PROOF = "windows of the score came back from their bits"


_IN_SHORT = {Verdict.CONFIRMED: "computed a second time", Verdict.CONSISTENT: "no fault found; not verified"}


def in_short(report: AuditReport) -> str:
    """What stands behind the verdict in the title, where the word alone says more or less than it means."""
    return f" ({_IN_SHORT[report.verdict]})" if report.verdict in _IN_SHORT else ""


def meaning_of(report: AuditReport) -> str:
    """The verdict in words, and the codes that it rests on."""
    rests_on = listed(report.judgement.rests_on)
    meaning = _refutation(report) if report.verdict is Verdict.REFUTED else _MEANINGS[report.verdict]
    if report.verdict is Verdict.UNVERIFIABLE and report.judgement.rests_on == (codes.NO_CLAIM.code,):
        meaning = "no claimed score was found that could be right or wrong"
    apart = list(dict.fromkeys(found.code for found in report.findings if found.code in _APART))
    if report.verdict is Verdict.CONSISTENT and apart:
        meaning = (
            "the score agrees with what prints it and with what is known of the text, though not all of the record "
            f"agrees with it ({listed(apart)})"
        )
    parts = dict.fromkeys(found.code for found in report.findings if _is_part_of_a_fault(found, report))
    more = f"; {listed(parts)} {'is' if len(parts) == 1 else 'are'} part of the same fault" if parts else ""
    return meaning + (f". The verdict rests on {rests_on}{more}" if rests_on else "")


def _refutation(report: AuditReport) -> str:
    if report.corrected_bpb is not None:
        return "the right score is another one, given below"
    rests_on = report.judgement.rests_on
    if rests_on and all(code.startswith("BPB1") for code in rests_on):
        return "it was not divided by the bytes of the text; the right score is not known"
    if rests_on and _OF_OWN_FILE.issuperset(rests_on):
        return "the file contradicts itself: it is not as it was written, and which of its numbers hold is not known"
    return "what was computed is neither a code length of that text nor a bound on one; the right score is not known"


def broken_rules(report: AuditReport) -> list[str]:
    """A sentence for each rule of its contest that the entry breaks, whatever becomes of the score."""
    broken = [found.code for found in report.findings if found.code in _KEPT and found.severity is Severity.WARNS]
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
    behind = [found for found in findings if found.severity is Severity.CONFIRMS or _carries(found, report)]
    of_rules = [found for found in findings if found.code.startswith("BPB5") and found.severity is Severity.WARNS]
    findings = _without_repeats(findings)
    parts = [found for found in findings if _is_part_of_a_fault(found, report)]
    refutes = "What refutes the score" if report.verdict is Verdict.REFUTED else "What would refute a score made so"
    groups = [
        (refutes, [each for each in findings if each.severity is Severity.REFUTES or each in parts]),
        ("Doubts", [each for each in findings if each.severity is Severity.WARNS and each not in of_rules + parts]),
        ("What agrees with the score", behind),
        ("Rules of the contest (they concern the entry, not the score)", of_rules),
        ("Remarks", [each for each in findings if each.severity is Severity.INFORMS and each not in behind]),
    ]
    return [Group(heading, tuple(held)) for heading, held in groups if held]


ALSO = "also"
"""In the evidence of a finding that is told: what others say of the same line, in a sentence."""

_OF_A_SPACE = frozenset({"BPB151", "BPB152", "BPB153"})
_MORE_OF_A_TABLE = {
    "BPB154": ("counted for a byte piece", "{:g} bytes for the byte token `<0x41>`, the letters of its name"),
    "BPB156": ("counted for a control token", "{:g} bytes for the token `<s>`, which stands for no text"),
}


def _without_repeats(findings: Sequence[Finding]) -> list[Finding]:
    """What else a byte table counts wrongly on the line that refutes the score, told with that line and not again."""
    told = []
    for finding in findings:
        is_more = finding.code in _MORE_OF_A_TABLE
        if is_more and any(each.code in _OF_A_SPACE and _is_beside(finding, each) for each in findings):
            continue
        same = [other for other in findings if finding.code in _OF_A_SPACE and _is_beside(other, finding)]
        told.append(replace(finding, evidence={**finding.evidence, ALSO: _more_said(same)}) if same else finding)
    return told


def _more_said(parts: Sequence[Finding]) -> str:
    more = [words.format(part.evidence[key]) for part in parts for key, words in [_MORE_OF_A_TABLE[part.code]]]
    return f"The same table counts {', and '.join(more)} ({listed(dict.fromkeys(part.code for part in parts))})."


def _is_beside(part: Finding, fault: Finding) -> bool:
    """Whether a part of a table's fault is of the very line of another that refutes."""
    key = _MORE_OF_A_TABLE.get(part.code, ("", ""))[0]
    same_line = all(part.evidence.get(name) == fault.evidence.get(name) for name in ("file", "line"))
    is_counted = isinstance(part.evidence.get(key), int | float)
    return fault.severity is Severity.REFUTES and part.severity is Severity.WARNS and same_line and is_counted


def _carries(finding: Finding, report: AuditReport) -> bool:
    """Whether a finding that only informs by itself is one that a consistent score rests on."""
    is_behind = report.verdict is Verdict.CONSISTENT and finding.code in report.judgement.rests_on
    return finding.severity is Severity.INFORMS and is_behind


# What only warns by itself, and is part of a fault where one of the others refutes the score: what more a script's
# byte table does wrong, the README's word for a constant, and the score that shows what learning the text has made, or
# counts that add up to more than 1.
_PARTS_OF: dict[str, frozenset[str]] = {
    **dict.fromkeys(("BPB154", "BPB155", "BPB156"), frozenset({"BPB151", "BPB152", "BPB153", "BPB154"})),
    codes.BYTES_STATED.code: frozenset({codes.BYTES_CONSTANT.code, "BPB150"}),
    **dict.fromkeys(
        (codes.BEYOND_PLAIN.code, codes.BELOW_ALL_KNOWN.code),
        frozenset({"BPB267", "BPB272", "BPB273", "BPB274", "BPB275"}),
    ),
}


def _is_part_of_a_fault(finding: Finding, report: AuditReport) -> bool:
    """Whether a finding that only warns belongs to one that refutes the score: it is no doubt."""
    faults = {other.code for other in report.findings if other.severity is Severity.REFUTES}
    return finding.severity is Severity.WARNS and not faults.isdisjoint(_PARTS_OF.get(finding.code, ()))


_MAX_QUOTED = 6


def quoted(report: AuditReport) -> dict[tuple[str, str], list[tuple[str, str]]]:
    """Lines of scripts that findings rest on: where each stands, and the line itself, which is never broken.

    Returns:
        By a finding's code and message; a line is quoted once, for the first finding in the report's order.
    """
    shown: set[tuple[object, object]] = set()
    told = {}
    for finding in (each for group in grouped(report) for each in group.findings):
        lines = None if finding.severity is Severity.INFORMS else finding.evidence.get("quoted")
        held = [line for line in lines if isinstance(line, dict)] if isinstance(lines, list) else []
        fresh = [line for line in held if (line["file"], line["line"]) not in shown]
        shown.update((line["file"], line["line"]) for line in fresh)
        alike: dict[tuple[Json, str], list[Json]] = {}  # the same code on several lines is shown once
        for line in fresh:
            alike.setdefault((line["file"], _printable(str(line["code"]))), []).append(line["line"])
        said = [(_place_of(file, lines, finding), code) for (file, code), lines in alike.items()]
        left = len(said) - _MAX_QUOTED
        more = [("and", f"{left} more line{'s' if left > 1 else ''}")] if left > 0 else []
        told[finding.code, finding.message] = said[:_MAX_QUOTED] + more
    return told


def _place_of(file: Json, lines: Sequence[Json], finding: Finding) -> str:
    numbers = listed(map(str, lines))
    is_own = file == finding.evidence.get("file")
    return f"line{'s' if len(lines) > 1 else ''} {numbers}" if is_own else _printable(f"{file}:{numbers}")


def _printable(text: str) -> str:
    """One line with the spaces that it has, and with the number of what a terminal would obey: ``<U+001B>``."""
    return "".join(each if each.isprintable() else f"<U+{ord(each):04X}>" for each in text.expandtabs(4))


# Codes of what --allow-code runs, and of what the harness computes itself.
_OF_RUNNING = frozenset({"BPB157", "BPB158", "BPB159", "BPB163", "BPB164", "BPB269", "BPB270", "BPB271"})
_OF_SCORING = frozenset({"BPB601", "BPB602", "BPB603"})
_OF_PROOFS = frozenset({"BPB604", "BPB605", "BPB606", "BPB607"})
_MAX_FILES = 12


def how_found(report: AuditReport) -> str:
    """What was read, and whether anything was run or computed."""
    found = {finding.code for finding in report.findings}
    shown = ", ".join(report.files[:_MAX_FILES]) or "nothing"
    more = f" and {counted(len(report.files) - _MAX_FILES, 'more file')}" if len(report.files) > _MAX_FILES else ""
    done = ["functions of its scripts were run by themselves"] if found & _OF_RUNNING else []
    done += ["its checkpoint was scored"] if found & _OF_SCORING else []
    done += ["a proof was decoded with its checkpoint"] if found & _OF_PROOFS else []
    return f"{shown}{more}; {' and '.join(done) if done else 'nothing of it was run'}"


def settles(report: AuditReport) -> Sequence[str]:
    """What would settle the claim, at least one item, and what the entry needs to keep the rules that it breaks."""
    found = dict.fromkeys(finding.code for finding in report.findings if finding.severity is Severity.WARNS)
    kept = [f"for the rules of the contest: {_KEPT[code]} ({code})" for code in found if code in _KEPT]
    return [*(report.judgement.missing or [_settled(report)]), *kept]


def _settled(report: AuditReport) -> str:
    """Of a number that the harness has computed: nothing, as far as its computation goes."""
    how = _BY_PROOF if codes.PROVED.code in report.judgement.rests_on else _BY_SCORE
    if report.verdict is not Verdict.CONFIRMED or UNSEEN not in report.unchecked:
        return f"nothing more: {how}"
    return f"of the number nothing, for {how}; {UNSEEN}, only training the network again would show"


def sentence(text: str) -> str:
    """A text with a capital and a full stop; a name of a file or a number at its beginning stays as it is."""
    first = text.split(" ", 1)[0]
    begun = text if re.search(r"[^a-z'\-,;:]", first) else text[:1].upper() + text[1:]
    return begun if begun.endswith((".", "?", "!", "...")) else f"{begun}."
