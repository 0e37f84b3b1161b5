"""What an audit finds: one `Finding` a fact, under a stable code of the registry `CODES`.

Codes never change their meaning and are never used again for another one:

    BPB1xx  bytes: the denominator
    BPB2xx  bound and estimator: the numerator
    BPB3xx  sampling, coverage, errors
    BPB4xx  a record contradicts itself
    BPB5xx  artifact and rules of the contest
    BPB6xx  rescoring
    BPB9xx  reading: what was broken in the files

In each hundred the checks of records take 01 to 29 (codes.py), the checks of scripts 30 to 99 (beside themselves); of
the fourth, whose first part is full, records take those from 51 on too.

A check makes its findings with `Rule.finding`, so that a code's severity is written down once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

Json = str | int | float | bool | None | list["Json"] | dict[str, "Json"]


class Severity(StrEnum):
    """What a finding does to the verdict."""

    REFUTES = "error"  # it changes the number or voids it
    WARNS = "warning"  # the number cannot be trusted, or cannot be checked, because of it
    INFORMS = "info"  # a fact that a reader wants to know
    CONFIRMS = "support"  # positive evidence that the number is right

    @property
    def effect(self) -> str:
        """What it does to the verdict, in words: docs/audit.md has them too."""
        return _EFFECTS[self]


_EFFECTS = {
    Severity.REFUTES: "changes the number or voids it: the claim is **refuted**",
    Severity.WARNS: "for it the number cannot be trusted, or not be checked: neither confirmed nor consistent",
    Severity.INFORMS: "something that a reader wants to know",
    Severity.CONFIRMS: "positive evidence",
}


@dataclass(frozen=True)
class Finding:
    """One fact about a claim.

    Attributes:
        code: a key of `CODES`.
        severity: what it does to the verdict; `Rule.finding` takes it from the registry.
        message: one sentence or two, as a reviewer would write it.
        evidence: file, line and numbers; values that json.dumps takes.
        factor: multiply the claimed bits per byte by this to correct it; None where the finding gives no factor.
    """

    code: str
    severity: Severity
    message: str
    evidence: Mapping[str, Json] = field(default_factory=dict)
    factor: float | None = None

    def to_dict(self) -> dict[str, Json]:
        """The finding with the stable keys of the JSON output."""
        row: dict[str, Json] = {
            "code": self.code,
            "severity": self.severity.value,
            "message": self.message,
            "evidence": dict(self.evidence),
        }
        if self.factor is not None:
            row["factor"] = self.factor
        return row


@dataclass(frozen=True)
class Rule:
    """What a code means, for everybody and for ever.

    Attributes:
        code: `BPB` and three digits.
        name: a short slug, as a linter prints it.
        severity: the severity of its findings unless a check says otherwise.
        summary: one sentence for the table in docs/audit.md.
    """

    code: str
    name: str
    severity: Severity
    summary: str

    def finding(
        self,
        message: str,
        *,
        factor: float | None = None,
        severity: Severity | None = None,
        facts: Mapping[str, Json] | None = None,
        **evidence: Json,
    ) -> Finding:
        """A finding of this rule.

        Args:
            message: what was found, as a reviewer would write it.
            factor: multiply the claimed score by this to correct it.
            severity: where this case weighs more or less than the rule usually does.
            facts: evidence that is at hand as a mapping.
            **evidence: file, line, numbers.
        """
        return Finding(self.code, severity or self.severity, message, {**(facts or {}), **evidence}, factor)


CODES: dict[str, Rule] = {}
# Codes that were taken out, which are never used again: their names, and what there is in their place.
RETIRED: dict[str, tuple[str, str]] = {
    "BPB116": ("bytes-given-to-a-command", "BPB103 has what a record divides by, and no public record had another"),
    "BPB263": ("script-bfloat16-log-softmax", "nothing takes its place: no public record had it"),
    "BPB266": (
        "script-settings-differ-from-record",
        "nothing takes its place: what it met on the public record were other settings, under those names by chance",
    ),
    "BPB351": ("script-sampler-scores-duplicates", "nothing takes its place: no public record had it"),
    "BPB352": ("script-unseeded-noise", "nothing takes its place: no public record had it"),
    "BPB353": ("script-sine-hash-noise", "nothing takes its place: no public record had it"),
}


def register(code: str, name: str, severity: Severity, summary: str) -> Rule:
    """Enter a rule into `CODES`, once, when its module is imported.

    Returns:
        The rule, to be kept as a module constant: `STRAY_CONSTANT = register("BPB110", ...)`.
    """
    assert code not in CODES, f"{code} is taken by {CODES[code].name}"
    assert code not in RETIRED, f"{code} was {RETIRED[code][0]}"
    assert all(rule.name != name for rule in CODES.values()), f"{name} is taken"
    rule = Rule(code, name, severity, summary)
    CODES[code] = rule
    return rule


def refuting(findings: Iterable[Finding]) -> list[Finding]:
    """The findings that change the number or void it."""
    return [found for found in findings if found.severity is Severity.REFUTES]


def place_in_script(finding: Finding) -> str | None:
    """``train.py:9 and 12``, where a finding is of lines of a script; they may be those of what it unpacks to."""
    file, line, lines = (finding.evidence.get(key) for key in ("file", "line", "lines"))
    if not isinstance(file, str) or not isinstance(line, int):
        return None
    shown = listed(map(str, lines)) if isinstance(lines, list) else line
    return f"{file}:{shown}{UNPACKED if finding.evidence.get('is_unpacked') is True else ''}"


UNPACKED = " of what it unpacks to"


def listed(items: Iterable[str]) -> str:
    """Items as a sentence lists them: ``a``, ``a and b``, ``a, b and c``; nothing for none."""
    *others, last = [*items] or [""]
    return f"{', '.join(others)} and {last}" if others else last


def first_of(items: Sequence[str], most: int, separator: str = ", ") -> str:
    """The first items, and how many more there are: ``a, b and 3 more``."""
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return f"{separator.join(items[:most])}{more}"
