"""One claim through every check: `audit`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

from bpb_harness.auditing import codes
from bpb_harness.auditing.all_checks import findings_of, gathered
from bpb_harness.auditing.checks.bare_space import check_bare_space
from bpb_harness.auditing.checks.borrowed_logs import check_borrowed_logs
from bpb_harness.auditing.checks.log_origin import check_log_origin
from bpb_harness.auditing.checks.losses import told_losses
from bpb_harness.auditing.checks.modules_elsewhere import check_modules
from bpb_harness.auditing.checks.never_begun import check_never_begun
from bpb_harness.auditing.checks.other_version import check_other_version
from bpb_harness.auditing.checks.proved import Proved
from bpb_harness.auditing.checks.rescored import Recomputed
from bpb_harness.auditing.checks.sizes_add_up import check_sizes_add_up
from bpb_harness.auditing.checks.stated_digests import check_stated_digests
from bpb_harness.auditing.checks.title_alone import check_title_alone
from bpb_harness.auditing.checks.unlike_its_script import check_unlike_its_script
from bpb_harness.auditing.checks.unread_settings import check_unread_settings
from bpb_harness.auditing.evidence import Evidence
from bpb_harness.auditing.nothing import require_something
from bpb_harness.auditing.of_scripts import AnyPath, scripts_of, titles_of, with_tokenizer
from bpb_harness.auditing.programs import Programs
from bpb_harness.auditing.report import AuditReport, in_order
from bpb_harness.auditing.twin_logs import Twin
from bpb_harness.auditing.unchecked import unchecked, without_decided
from bpb_harness.auditing.verdict import Verdict, judge, reconcile
from bpb_harness.claim import find_submissions, read_record
from bpb_harness.claim.untrusted_file import resolved
from bpb_harness.errors import UsageError
from bpb_harness.findings import Finding, first_of
from bpb_harness.rules import Candidates, candidates_of, rules_for

NamedRules = AnyPath | Sequence[AnyPath] | Candidates | None


def audit(
    paths: AnyPath | Sequence[AnyPath],
    *,
    baseline: AnyPath | Sequence[AnyPath] | None = None,
    recomputed: Any | None = None,
    proved: Proved | None = None,
    allow_code: bool = False,
    tokenizer: AnyPath | None = None,
    rules: NamedRules = None,
) -> AuditReport:
    """Audit one claimed score from its record: what :func:`bpb_harness.audit` runs, and says."""
    if not isinstance(allow_code, bool):  # "no" is true to Python, and would run it
        raise UsageError("allow_code", seen=repr(allow_code), expected="True or False")
    if recomputed is not None and not hasattr(recomputed, "bits_per_byte"):
        raise UsageError("recomputed", seen=type(recomputed).__name__, expected="what bpb_harness.evaluate(...) gives")
    _require_one_folder(paths_of(paths))
    report = audited(paths, baseline, recomputed, proved, allow_code=allow_code, tokenizer=tokenizer, rules=rules)
    require_something(report, paths_of(paths))
    return _told_of_submissions(report, paths_of(paths))


def _require_one_folder(paths: Sequence[Path]) -> None:
    """Refuse several folders, whose files would be read as those of one claim, and refute each other."""
    folders = list({resolved(path): str(path) for path in paths if path.is_dir()}.values())
    if len(folders) > 1:
        expected = "one submission's folder, or files of one claim"
        hint = "audit them one by one: [bpb_harness.audit(folder) for folder in folders]"
        raise UsageError(
            "what is audited", seen=f"{len(folders)} folders, {first_of(folders, 3)}", expected=expected, hint=hint
        )


def _told_of_submissions(report: AuditReport, paths: Sequence[Path]) -> AuditReport:
    """A report on a folder that claims nothing, with the submissions below it, which nothing here has looked at."""
    folders = [path for path in paths if path.is_dir()] if report.gives_no_score else []
    below = [found for folder in folders for found in find_submissions(folder) if resolved(found) != resolved(folder)]
    if not below:
        return report
    number = "one submission lies" if len(below) == 1 else f"{len(below)} submissions lie"
    reason = f"{report.judgement.reason.rstrip('.')}; {number} below it, audited with bpb-audit --recursive"
    missing = ("`bpb-audit FOLDER --recursive`, for a report on each submission below the folder",)
    return replace(report, judgement=replace(report.judgement, reason=reason, missing=missing))


def audited(
    paths: AnyPath | Sequence[AnyPath],
    baseline: AnyPath | Sequence[AnyPath] | None = None,
    recomputed: Any | None = None,
    proved: Proved | None = None,
    *,
    allow_code: bool = False,
    tokenizer: AnyPath | None = None,
    rules: NamedRules = None,
    beside: Sequence[Twin] = (),
) -> AuditReport:
    """`audit`, of a folder that may be no record; ``beside`` are logs of it that others of many folders hold too."""
    if allow_code and tokenizer is None:
        raise UsageError("--allow-code runs the script's byte table on a tokenizer", hint="give --tokenizer FILE too")
    candidates = candidates_of(rules)
    claim = with_tokenizer(read_record(*paths_of(paths), reading=candidates.reading), tokenizer)
    chosen = rules_for(claim, candidates, paths_of(paths))
    own = candidates.of(chosen.pack)
    if own.reading.names != candidates.reading.names:  # another contest's keys may stand in the record too
        claim = with_tokenizer(read_record(*paths_of(paths), reading=own.reading), tokenizer)
    evidence = gathered(claim, chosen)
    rival = None
    if baseline is not None:
        rival = gathered(read_record(*paths_of(baseline), reading=own.reading), chosen, averages=True)
    rescored = recomputed if recomputed is None or isinstance(recomputed, Recomputed) else Recomputed.of(recomputed)
    findings = list(
        findings_of(
            evidence, rival, rescored, proved, allow_code=allow_code, tokenizer=tokenizer, paths=paths_of(paths)
        )
    )
    folders = [path for path in paths_of(paths) if path.is_dir()]
    if spaces := [*check_bare_space(evidence, folders, findings)]:
        findings = [*(each for each in findings if each.code != codes.BYTES_OFF.code), *spaces]
    findings += check_stated_digests(evidence, folders)
    findings += check_borrowed_logs(evidence, beside, folders) if beside else ()
    report = _report(evidence, findings, rescored)
    if report.verdict is Verdict.CONSISTENT:  # the one check that reads logs and scripts again
        programs = Programs(evidence.claim, folders)
        origin = [*check_log_origin(evidence, programs)] or [*check_unlike_its_script(evidence, programs)]
        origin = origin or [*check_other_version(evidence, programs)]
        origin += check_sizes_add_up(evidence)
        origin += check_title_alone(evidence, programs)
        origin += check_never_begun(evidence, programs)
        origin += check_modules(evidence, programs)
        origin += check_unread_settings(evidence, programs)
        report = _report(evidence, [*findings, *origin], rescored) if origin else report
    return replace(report, paths=tuple(map(str, paths_of(paths))))


def paths_of(paths: AnyPath | Sequence[AnyPath]) -> list[Path]:
    """What a command names.

    Raises:
        UsageError: if a path is an empty text, or none.
    """
    named = [paths] if isinstance(paths, str | PathLike) else paths
    is_several = isinstance(named, Iterable) and not isinstance(named, bytes | bytearray)
    if not is_several or not all(isinstance(path, str | PathLike) for path in named):
        expected = "a folder or a file, or a list of them"
        raise UsageError("what is audited", seen=type(paths).__name__, expected=expected)
    if not all(str(path) for path in named):
        raise UsageError("a path", seen="an empty text", expected="a file or a folder", hint="'.' is this folder")
    return [Path(path) for path in named]


def _also_read(findings: Sequence[Finding]) -> list[str]:
    """Files that are no part of the claim, and that a finding rests on."""
    return [
        *dict.fromkeys(
            str(each.evidence["read"])
            for each in findings
            if each.code == codes.BYTES_BUG.code and "read" in each.evidence
        )
    ]


def _report(evidence: Evidence, findings: list[Finding], recomputed: Recomputed | None) -> AuditReport:
    settled = in_order(without_decided(reconcile(findings, evidence)))
    score, perplexity = evidence.claim.score, evidence.claim.perplexity
    claimed_in = str(score.source) if score else None
    if score is None and perplexity is not None:
        claimed_in = f"{perplexity.source}: a perplexity of {perplexity} per token"
    if evidence.losses:
        claimed_in = told_losses(evidence.losses)
    return AuditReport(
        name=evidence.claim.name,
        title=next(reversed(titles_of(evidence.claim)), None),  # a heading: a record's own name is its author's
        judgement=judge(evidence, settled, recomputed),
        claimed_bpb=score.value if score else None,
        claimed_in=claimed_in,
        findings=settled,
        files=(*evidence.claim.files, *(name for name, _ in evidence.notes), *_also_read(settled)),
        rules=evidence.rules,
        unchecked=unchecked(evidence, settled, has_script=bool(scripts_of(evidence))),
    )
