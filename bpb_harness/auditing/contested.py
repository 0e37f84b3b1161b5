"""Settings that commands of a README give otherwise: what refutes a score has to do so with each of their values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeAlias

from bpb_harness.claim.settings import Contested
from bpb_harness.findings import Finding, Severity, first_of

_Settings: TypeAlias = Mapping[str, str]
_Flags: TypeAlias = Mapping[tuple[str, str], str]
_Checked: TypeAlias = Callable[[_Settings, _Flags], list[Finding]]
_Place: TypeAlias = tuple[object, ...]
_READ_WITH = "BPB953"
_MOST_VALUES = 12


def with_contested(checked: _Checked, settings: _Settings, flags: _Flags) -> list[Finding]:
    """What scripts show with contested settings unknown, and what refutes with some of their values.

    It refutes where each value of a setting shows it, and is a doubt where some of them alone do.

    Args:
        checked: what they show with some settings and flags.
        settings: of the environment.
        flags: of command lines.
    """
    found = checked(settings, flags)
    read_with = next((finding.evidence.get("settings") for finding in found if finding.code == _READ_WITH), None)
    taken = read_with if isinstance(read_with, dict) else {}
    contested = {name: value for name, value in taken.items() if isinstance(value, Contested)}
    if not contested:
        return found
    most = max(2, _MOST_VALUES // len(contested))
    shown = {
        name: [_refuting(checked(*_given(settings, flags, name, value))) for value in contested[name].values[:most]]
        + [{}] * (len(contested[name].values) > most)  # of the rest nothing is known
        for name in [*contested][: _MOST_VALUES // 2]
    }
    kept = [finding for finding in found if finding.severity is not Severity.REFUTES]
    refuting = {place: finding for cases in shown.values() for case in cases for place, finding in case.items()}
    for place, finding in {**refuting, **_refuting(found)}.items():
        partly = [name for name, cases in shown.items() if 0 < sum(place in case for case in cases) < len(cases)]
        is_always = any(all(place in case for case in cases) for cases in shown.values()) and not partly
        kept.append(finding if is_always else _doubted(finding, partly or sorted(contested)))
    return kept


def _given(settings: _Settings, flags: _Flags, name: str, value: str) -> tuple[_Settings, _Flags]:
    if name in settings:
        return {**settings, name: value}, flags
    return settings, {key: value if key[1] == name else other for key, other in flags.items()}


def _refuting(findings: list[Finding]) -> dict[_Place, Finding]:
    return {_place(finding): finding for finding in findings if finding.severity is Severity.REFUTES}


def _place(finding: Finding) -> _Place:
    return finding.code, finding.evidence.get("file"), finding.evidence.get("line")


def _doubted(finding: Finding, names: list[str]) -> Finding:
    said = f"not with every value that commands of the README give {first_of(names, 3)}"
    return replace(finding, severity=Severity.WARNS, factor=None, message=f"{finding.message} ({said})")
