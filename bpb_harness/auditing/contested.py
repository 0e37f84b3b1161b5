"""Settings that commands of a README give otherwise: what refutes a score has to do so with each of their values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TypeAlias, TypeVar

from bpb_harness.claim.settings import Contested
from bpb_harness.findings import Finding, Severity, first_of

_Key = TypeVar("_Key")
_Settings: TypeAlias = Mapping[str, str]
_Flags: TypeAlias = Mapping[tuple[str, str], str]
_Checked: TypeAlias = Callable[[_Settings, _Flags], list[Finding]]
_Place: TypeAlias = tuple[object, ...]
_READ_WITH = "BPB953"
_MOST_VALUES = 12


def with_contested(checked: _Checked, settings: _Settings, flags: _Flags) -> list[Finding]:
    """What scripts show with contested settings unknown, and what refutes with some of their values.

    It refutes where each value of a setting shows it, and is a doubt where some of them do.

    Args:
        checked: what they show with some settings and flags.
        settings: of the environment.
        flags: of command lines.
    """
    met, met_flags = _Met(settings), _Met(flags)
    found = checked(met, met_flags)
    given = [*met.items_met(), *((flag, value) for (_, flag), value in met_flags.items_met())]
    # What was not looked up where it is unknown is not looked up where it is known: it decides nothing.
    contested = {name: value for name, value in given if isinstance(value, Contested)}
    if not contested:
        return found
    read_with = next((finding.evidence.get("settings") for finding in found if finding.code == _READ_WITH), None)
    asked = {*read_with} if isinstance(read_with, dict) else set()
    most = max(2, _MOST_VALUES // len(contested))
    shown = {
        name: [_against(checked(*_given(settings, flags, name, value))) for value in contested[name].values[:most]]
        + [{}] * (name in asked and len(contested[name].values) > most)  # of the rest nothing is known
        for name in [*contested][: _MOST_VALUES // 2]
    }
    against = {place: finding for cases in shown.values() for case in cases for place, finding in case.items()}
    kept = [finding for finding in found if finding.severity not in _STANDS]
    unknown = _against(found)
    for place, finding in {**against, **unknown}.items():
        partly = [name for name, cases in shown.items() if 0 < sum(place in case for case in cases) < len(cases)]
        refuting = next((cases[0][place] for cases in shown.values() if _refutes(cases, place)), None)
        if refuting is not None and not partly:
            kept.append(refuting)
        elif finding.severity is Severity.WARNS and (place in unknown or not partly):
            kept.append(finding)
        else:
            kept.append(_doubted(finding, partly or sorted(contested)))
    return kept


class _Met(Mapping[_Key, str]):
    """Settings that know which of them were looked up."""

    def __init__(self, held: Mapping[_Key, str]) -> None:
        self._held = held
        self._met: set[_Key] = set()

    def __getitem__(self, key: _Key) -> str:
        value = self._held[key]
        self._met.add(key)
        return value

    def __iter__(self) -> Iterator[_Key]:
        return iter(self._held)

    def __len__(self) -> int:
        return len(self._held)

    def items_met(self) -> list[tuple[_Key, str]]:
        """Those that were looked up, in the order in which they are given."""
        return [(key, value) for key, value in self._held.items() if key in self._met]


_STANDS = (Severity.REFUTES, Severity.WARNS)


def _given(settings: _Settings, flags: _Flags, name: str, value: str) -> tuple[_Settings, _Flags]:
    if name in settings:
        return {**settings, name: value}, flags
    return settings, {key: value if key[1] == name else other for key, other in flags.items()}


def _against(findings: list[Finding]) -> dict[_Place, Finding]:
    return {_place(finding): finding for finding in findings if finding.severity in _STANDS}


def _refutes(cases: list[dict[_Place, Finding]], place: _Place) -> bool:
    """Whether something refutes with each value of a setting."""
    return all(place in case and case[place].severity is Severity.REFUTES for case in cases)


def _place(finding: Finding) -> _Place:
    line = finding.evidence.get("line")
    return finding.code, finding.evidence.get("file"), finding.message if line is None else line


def _doubted(finding: Finding, names: list[str]) -> Finding:
    said = f"not with every value that commands of the README give {first_of(names, 3)}"
    return replace(finding, severity=Severity.WARNS, factor=None, message=f"{finding.message.rstrip('.')} ({said})")
