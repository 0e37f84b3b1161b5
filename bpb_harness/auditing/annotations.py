"""Audits as annotations of a workflow on GitHub: one command a line, which the runner shows beside the file's line."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from bpb_harness.auditing.report import AuditReport, claimed_to_text, corrected_to_text, one_line
from bpb_harness.auditing.verdict import Verdict
from bpb_harness.claim.untrusted_file import open_regular, resolved
from bpb_harness.errors import ClaimError
from bpb_harness.findings import CODES, Finding, Severity

WORKSPACE_VARIABLE = "GITHUB_WORKSPACE"
_VERDICTS = {Verdict.REFUTED: "error", Verdict.UNVERIFIABLE: "warning"}
_LEVELS = {Severity.REFUTES: "error", Severity.WARNS: "warning"}  # support and remarks stand in the other formats


def annotations_of(reports: Iterable[AuditReport], workspace: Path | None = None) -> str:
    """One line a verdict, at the file of the claim, and one line a finding that refutes or doubts, at its place.

    Args:
        reports: of audits.
        workspace: the folder that files are named from; None: ``GITHUB_WORKSPACE``, else the working folder. Files
            outside of it keep their whole path.
    """
    root = workspace or Path(os.environ.get(WORKSPACE_VARIABLE) or Path.cwd())
    return "".join(f"{line}\n" for report in reports for line in _of_report(report, _absolute(root)))


def workflow_command(level: str, message: str, properties: Mapping[str, object]) -> str:
    """``::level name=value,..::message``, escaped as GitHub's runner reads it back.

    Args:
        level: error, warning or notice.
        message: what is shown.
        properties: file, line, title; None for one that is not known.
    """
    known = {name: str(value) for name, value in properties.items() if value is not None}
    given = [f"{name}={_escaped(value, _IN_PROPERTIES)}" for name, value in known.items()]
    return f"::{level}{' ' if given else ''}{','.join(given)}::{_escaped(message, _IN_MESSAGES)}"


_IN_MESSAGES = {"%": "%25", "\r": "%0D", "\n": "%0A"}
_IN_PROPERTIES = {**_IN_MESSAGES, ":": "%3A", ",": "%2C"}


def _escaped(text: str, table: Mapping[str, str]) -> str:
    return "".join(table.get(character, character) for character in text)


def _of_report(report: AuditReport, root: Path) -> Iterator[str]:
    claim = _place([report.claimed_in or "", *report.files[:1]], report)
    properties = {**_properties(claim, report, root), "title": report.verdict.value}
    yield workflow_command(_VERDICTS.get(report.verdict, "notice"), _verdict_of(report), properties)
    for finding in _annotated(report):
        place = _properties(_place(_stated(finding), report) or _unread(finding, report) or claim, report, root)
        title = f"{finding.code} {CODES[finding.code].name}"
        yield workflow_command(_LEVELS[finding.severity], one_line(finding.message), {**place, "title": title})


def _annotated(report: AuditReport) -> list[Finding]:
    return [finding for finding in report.findings if finding.severity in _LEVELS]


def _verdict_of(report: AuditReport) -> str:
    said, reason = f"{one_line(report.name)}: {report.verdict.value}", report.judgement.reason
    if not any(finding.message == reason for finding in _annotated(report)):
        said += f": {one_line(reason)}"
    if report.claimed_bpb is not None:
        said += f"; claimed {claimed_to_text(report.claimed_bpb)} bits per byte"
    if report.corrected_bpb is not None:
        said += f", corrected {corrected_to_text(report.corrected_bpb)}"
    missing = [one_line(item) for item in report.judgement.missing if report.verdict is not Verdict.REFUTED]
    return said + (f"; what would settle it: {'; '.join(missing)}" if missing else "")


def _stated(finding: Finding) -> list[str]:
    """Where a finding says that it was met: ``train.log:9``, ``claim.json (weight)``, or a file and a line."""
    evidence = finding.evidence
    name, line = evidence.get("file"), evidence.get("line")
    has_line = line and evidence.get("is_unpacked") is not True  # the file has no such line
    stated: list[object] = [f"{name}:{line}" if has_line else name] if name else []
    for key in ("places", "place", "files"):
        value = evidence.get(key)
        stated += value if isinstance(value, list) else [value]
    return [place for place in stated if isinstance(place, str)]


def _place(stated: Sequence[str], report: AuditReport) -> tuple[str, int | None] | None:
    """The first place that is in one of the files that were read, and its line, if one or a key of JSON is named."""
    for place in stated:
        for name in sorted(report.files, key=len, reverse=True):
            rest = re.fullmatch(r"(?::([0-9]{1,9}))?(?: \(([^()]*)\))?(?: .*)?", place.removeprefix(name), re.DOTALL)
            if place.startswith(name) and rest is not None:
                return name, int(rest[1]) if rest[1] else _line_of(rest[2], _path_of(name, report))
    return None


def _unread(finding: Finding, report: AuditReport) -> tuple[str, None] | None:
    """The file that a finding names though nobody could read it."""
    name = finding.evidence.get("file")
    is_there = isinstance(name, str) and any((Path(path) / name).exists() for path in report.paths)
    return (str(name), None) if is_there else None


def _line_of(key: str | None, path: Path | None) -> int | None:
    """The one line of a file that has this key of JSON; None where several have, for nothing says which is meant."""
    if not key or path is None:
        return None
    spelled = json.dumps(key.rpartition(".")[2], ensure_ascii=False).encode()
    try:
        with open_regular(resolved(path)) as file:
            lines = file.read(_LOOKED_AT).split(b"\n")
    except (OSError, ClaimError):
        return None
    numbers = [number for number, line in enumerate(lines, 1) if spelled in line]
    return numbers[0] if len(numbers) == 1 else None


_LOOKED_AT = 1 << 20  # bytes


def _properties(place: tuple[str, int | None] | None, report: AuditReport, root: Path) -> dict[str, object]:
    name, line = place or (None, None)
    path = _path_of(name, report)
    if path is None:
        return {}
    whole = _absolute(path)
    shown = whole.relative_to(root) if whole.is_relative_to(root) else whole
    return {"file": shown.as_posix(), "line": line}


def _absolute(path: Path) -> Path:
    """Links are not followed: the repository's own name of a file is meant."""
    return Path(os.path.abspath(path))  # noqa: PTH100


def _path_of(name: str | None, report: AuditReport) -> Path | None:
    """Where a file of a report lies, among the paths that were audited; the first of them for what is in none."""
    paths = [Path(path) for path in report.paths]
    for path in paths:
        if name is not None and path.is_dir() and (path / name).exists():
            return path / name
        if name == path.name and not path.is_dir():
            return path
    return paths[0] if paths else None
