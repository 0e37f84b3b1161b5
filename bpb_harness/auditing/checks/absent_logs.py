"""Logs that a README names beside the claim's own, by names that differ in their numbers alone, and that are not there.

A further seed that was run and is not shown may have been left out for its score: BPB401 names it.
"""

from __future__ import annotations

import re
from itertools import islice

from bpb_harness.auditing.evidence import Evidence
from bpb_harness.findings import first_of

_NAME = re.compile(r"(?<![\w.$*{}-])[\w.-]{0,80}[0-9][\w.-]{0,80}\.(?:log|txt|out)(?!\.?\w)")
# Logs of another record, or none that is meant.
_OF_OTHERS = re.compile(
    r"://|(?<!\w)records/|\.\./|(?<!\w)PR ?#?[0-9]|(?<!\w)e\.g\.|for example|example:", re.IGNORECASE
)
_NUMBER = re.compile(r"[0-9]+")
_MAX_SHOWN, _LARGEST, _MOST_FILES = 3, 1 << 18, 10_000


def absent_logs(evidence: Evidence) -> str | None:
    """What the README names so, in words, with its line; None where it names none."""
    readme = evidence.claim.readme
    there = {log.file.rpartition("/")[2] for log in evidence.claim.logs}
    own = {log.file.rpartition("/")[2] for log in evidence.claim_logs}
    shapes = {_NUMBER.sub("#", name) for name in own if _NUMBER.search(name)}
    found: dict[str, int] = {}
    for number, line in enumerate(readme.text[:_LARGEST].split("\n"), 1) if readme is not None and shapes else ():
        for name in _NAME.findall(line) if _OF_OTHERS.search(line) is None else ():
            if name not in there and _NUMBER.sub("#", name) in shapes:
                found.setdefault(name, number)
    lying = _names_below(evidence) if found else set()
    found = {name: number for name, number in found.items() if not any(each.startswith(name) for each in lying)}
    if readme is None or not found:
        return None
    shown, are = first_of([*found], _MAX_SHOWN), "is" if len(found) == 1 else "are"
    return f"{readme.file} names {shown} too (line {min(found.values())}), which {are} not there"


def _names_below(evidence: Evidence) -> set[str]:
    """Of all files in the folders of the logs and scripts, and below: a log may lie there unread, or packed."""
    folders = {file.parent for file in (*evidence.claim.scripts, *(log.path for log in evidence.claim.logs)) if file}
    return {file.name for folder in folders for file in islice(folder.rglob("*"), _MOST_FILES)}
