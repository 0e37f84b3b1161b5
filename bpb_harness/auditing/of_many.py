"""Submissions of a folder, one after the other: what is wrong with one, its own report says, and the rest goes on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from bpb_harness.auditing import codes
from bpb_harness.auditing.auditor import NamedRules, audited, paths_of
from bpb_harness.auditing.of_scripts import AnyPath
from bpb_harness.auditing.report import AuditReport
from bpb_harness.auditing.twin_logs import Twin, twin_logs
from bpb_harness.auditing.verdict import Judgement, Verdict
from bpb_harness.claim import find_submissions, find_unread, separate_claims
from bpb_harness.errors import HarnessError, UsageError
from bpb_harness.rules import candidates_of


def audit_folders(
    root: AnyPath,
    *,
    baseline: AnyPath | None = None,
    allow_code: bool = False,
    tokenizer: AnyPath | None = None,
    rules: NamedRules = None,
) -> Iterator[AuditReport]:
    """Audit every submission below a folder; one that cannot be read is unverifiable, and the rest goes on.

    Claim files of several claims in one folder get a report each.

    Raises:
        ClaimError: if ``root`` is no folder.
    """
    candidates = candidates_of(rules)
    found = submissions_below(Path(root))
    twins = twin_logs(found)
    for name, folder in found:
        yield from audit_each(
            folder,
            name,
            baseline=baseline,
            allow_code=allow_code,
            tokenizer=tokenizer,
            rules=candidates,
            beside=twins.get(folder, ()),
        )


def submissions_below(root: Path) -> list[tuple[str, Path]]:
    """The folders of `audit_folders`, with the names that their reports have.

    Raises:
        ClaimError: if ``root`` is no folder.
    """
    found = find_submissions(root)
    return [(str(folder.relative_to(root)) if folder != root else folder.name, folder) for folder in found]


def audit_each(
    folder: Path,
    name: str,
    *,
    baseline: AnyPath | None = None,
    allow_code: bool = False,
    tokenizer: AnyPath | None = None,
    rules: NamedRules = None,
    beside: Sequence[Twin] = (),
) -> list[AuditReport]:
    """`audit_one_of_many`, once for each claim of a submission's folder that holds claim files of several."""
    try:
        paths = separate_claims(folder)
    except Exception:  # whatever is wrong with this folder, its own report says so, and the others get theirs
        paths = [folder]
    reports = []
    for path in paths:
        below = path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.name
        shown = name if path == folder else f"{name}/{below}"
        report = audit_one_of_many(
            path, shown, baseline=baseline, allow_code=allow_code, tokenizer=tokenizer, rules=rules, beside=beside
        )
        reports.append(report)
    return reports


def audit_one_of_many(
    folder: AnyPath | Sequence[AnyPath],
    name: str,
    *,
    baseline: AnyPath | None = None,
    allow_code: bool = False,
    tokenizer: AnyPath | None = None,
    rules: NamedRules = None,
    beside: Sequence[Twin] = (),
) -> AuditReport:
    """`audit`, for one of many claims: whatever is wrong with one, the others get their reports.

    Args:
        folder: the submission's folder.
        name: what the report calls it.
        baseline: see `audit`.
        allow_code: see `audit`.
        tokenizer: see `audit`.
        rules: see `audit`.
        beside: logs of it that others of the many hold too.

    Raises:
        UsageError: see `audit`; what is wrong with the command is wrong with all of its claims.
    """
    candidates = candidates_of(rules)  # what is wrong with a pack is wrong with the command
    try:
        report = audited(
            folder, baseline=baseline, allow_code=allow_code, tokenizer=tokenizer, rules=candidates, beside=beside
        )
    except UsageError:
        raise
    except HarnessError as problem:
        return _unread(folder, name, str(problem))
    except Exception as fault:  # of this program; a report on the other folders is worth more than its traceback
        said = f"{name} could not be audited: a fault of this program, {type(fault).__name__}: {fault}"
        return _unread(folder, name, said)
    return replace(report, name=name)


def _unread(paths: AnyPath | Sequence[AnyPath], name: str, problem: str) -> AuditReport:
    return replace(unreadable(name, problem), paths=tuple(map(str, paths_of(paths))))


def unread_folders(root: AnyPath) -> list[str]:
    """What `audit_folders` passes over although it speaks of scores: folders, and files above submissions.

    Raises:
        ClaimError: if ``root`` is no folder.
    """
    top = Path(root)
    return [str(folder.relative_to(top)) if folder != top else folder.name for folder in find_unread(top)]


def unreadable(name: str, problem: str) -> AuditReport:
    """The report on a folder of many that could not be read at all."""
    finding = codes.UNREADABLE.finding(problem, missing="a record that can be read")
    judgement = Judgement(Verdict.UNVERIFIABLE, problem, ("a record that can be read",), None, None)
    return AuditReport(name, judgement, None, None, (finding,))
