"""What the claim's own logs say of the settings of its run: where a README gives others, the log knows better."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from bpb_harness.auditing.evidence import Evidence
from bpb_harness.auditing.said import text_of_log
from bpb_harness.claim import LogRecord
from bpb_harness.claim.embedded_code import is_code
from bpb_harness.claim.listing import kind_by_name
from bpb_harness.claim.settings import Contested, Logged
from bpb_harness.claim.settings_told import SettingTold, is_same_setting, may_differ, quantity, settings_told


def settings_of_the_run(evidence: Evidence, names: Collection[str]) -> Mapping[str, SettingTold]:
    """Settings that the logs which carry the claim give one value, all of them that give any.

    Args:
        evidence: the claim and its record.
        names: of the settings, in small letters.
    """
    found: dict[str, list[SettingTold]] = {}
    for log in evidence.claim_logs if names else ():
        for name, told in settings_told(lines_of_the_run(evidence, log), log.file, names).items():
            found.setdefault(name, []).extend(told)
    carrying = {log.file for log in evidence.claim_logs if log.path is not None and kind_by_name(log.path) == "log"}
    first = {name: told[0] for name, told in found.items() if {each.source.file for each in told} == carrying}
    return {
        name: told
        for name, told in first.items()
        if all(is_same_setting(told.value, other.value) for other in found[name])
    }


def lines_of_the_run(evidence: Evidence, log: LogRecord) -> Iterator[tuple[int, str]]:
    """What a log prints in front of the claim, of the runs that carry it."""
    carrying = [line for line in (*evidence.lines, *evidence.siblings) if line.bpb.source.file == log.file]
    text = text_of_log(log) if log.path is not None and kind_by_name(log.path) == "log" else ""
    if not text:
        return
    lines = text.split("\n")
    first = min(line.run for line in carrying)
    since = max((other.bpb.source.line or 0 for other in log.lines if other.run < first), default=0)
    until = max(line.bpb.source.line or 0 for line in carrying)
    code = is_code(lines[:until])
    yield from ((number, lines[number - 1]) for number in range(since + 1, until + 1) if not code[number - 1])


def as_logged(evidence: Evidence, settings: Mapping[str, str]) -> Mapping[str, str]:
    """What commands of a README set, with the value of the claim's own logs where they give another.

    Args:
        evidence: the claim and its record.
        settings: by name; values that are no numbers, switches or plain words are let be.
    """
    told = settings_of_the_run(evidence, {name.lower() for name in settings})
    return {name: _as_logged(value, told.get(name.lower())) for name, value in settings.items()}


def _as_logged(value: str, told: SettingTold | None) -> str:
    given = value.values if isinstance(value, Contested) else (value,)
    if told is None or not all(may_differ(each, told.value) for each in given):
        return value
    if not isinstance(value, Contested) and is_same_setting(value, told.value):
        return value
    same = next((each for each in given if is_same_setting(each, told.value)), None)
    return Logged(same or _spelt_as(given[0], told.value), place=str(told.source), instead=str(value))


def _spelt_as(given: str, value: str) -> str:
    """A value as the command spells its own: 1 for True, 600 for 600.000."""
    number = quantity(value)
    if number is None:
        return value
    is_word = quantity(given) is not None and not given.lstrip("+-")[:1].isdigit()
    if is_word and number in (0.0, 1.0):
        return ("true", "false")[number == 0.0] if given.islower() else ("True", "False")[number == 0.0]
    return str(int(number)) if number == int(number) and "." not in given else value
