"""Settings that a log lists in front of its run, a name and a value a line, and how those of several logs differ."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from bpb_harness.auditing.said import text_of_log
from bpb_harness.claim import LogRecord
from bpb_harness.claim.settings_told import is_same_setting

_LINE = re.compile(r"(?P<blanks>[ \t]{1,8})(?P<name>[A-Za-z_][A-Za-z0-9_]{1,60}): (?P<value>\S.{0,200})")
_FEWEST, _FIRST_LINES = 10, 5_000
_SWITCH = "_enabled"
# What a run is called, and where and when it ran, is no setting of its network.
_OF_A_RUN = re.compile(
    r"seed|(?<![a-z])(?:run|id|uuid|rank|host|port|pid)(?![a-z])|path|dir|file|log|name|date|time(?!s)|device|wandb|url|user"
    r"|session|addr|started|commit|(?<![a-z])(?:git|sha|job|node|pod|tag|label|comment|exp|tmp|output|out)(?![a-z])|_sha"
    r"|experiment|checkpoint_(?:file|name)|^(?:checkpoint|ckpt)$|slurm|hash(?:_id)?$",
    re.IGNORECASE,
)


def settings_listed(log: LogRecord, until: int | None = None) -> Mapping[str, str]:
    """The list of the run that a line is of, each name once; none where there is none of ten lines or more.

    A log of several starts has one of each: it is the last that begins as the longest does.

    Args:
        log: the log.
        until: the number of the line; None for the last one.
    """
    lists: list[list[tuple[str, str]]] = []
    current: list[tuple[str, str]] = []
    blanks = ""
    for line in (*text_of_log(log).split("\n")[:until][:_FIRST_LINES], ""):
        found = _LINE.fullmatch(line.rstrip("\r"))
        if found is not None and (not current or found["blanks"] == blanks):
            blanks = found["blanks"]
            current.append((found["name"], found["value"]))
            continue
        lists, current = [*lists, current] if len(current) >= _FEWEST else lists, []
    longest = max(lists, key=len, default=[])
    best = next((each for each in reversed(lists) if each[0][0] == longest[0][0]), [])
    return dict(best) if len(dict(best)) == len(best) else {}


def unlike_settings(logs: Sequence[LogRecord], lines: Mapping[str, int]) -> list[str]:
    """What of their settings some logs have otherwise than the others, in words; nothing where one has no list.

    A list that begins or ends with another name than the others may be cut off, and is held against none. What belongs
    to a feature that is off in all of them does nothing.

    Args:
        logs: several runs'.
        lines: of each log's file the line that carries its score; the last one where it is not among them.
    """
    lists = {log.file: settings_listed(log, lines.get(log.file)) for log in logs}
    ends = {(next(iter(each), None), next(reversed([*each]), None)) for each in lists.values()}
    if len(ends) != 1:
        return []
    names = dict.fromkeys(name for each in lists.values() for name in each)
    off = tuple(f"{name.removesuffix(_SWITCH)}_" for name in names if name.endswith(_SWITCH) and _is_off(name, lists))
    told = (name for name in names if not _OF_A_RUN.search(name) and not name.startswith(off))
    return [words for name in told for words in _unlike(name, lists)]


def _is_off(name: str, lists: Mapping[str, Mapping[str, str]]) -> bool:
    return all(each.get(name) in ("False", "0") for each in lists.values())


def _unlike(name: str, lists: Mapping[str, Mapping[str, str]]) -> list[str]:
    having = {file: each[name] for file, each in lists.items() if name in each}
    if len(having) < len(lists):
        (file, value), more = next(iter(having.items())), len(having) - 1
        also = f" and {more} other{'s' if more > 1 else ''}" if more else " alone"
        return [f"`{name}: {value}` in {file}{also}"]
    (first, value), *others = having.items()
    other = next(((file, own) for file, own in others if not is_same_setting(value, own)), None)
    return [] if other is None else [f"`{name}: {value}` in {first} and `{other[1]}` in {other[0]}"]
