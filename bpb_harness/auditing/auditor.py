"""One claim through every check: `audit`; many folders at once: `audit_folders`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bpb_harness.auditing import codes
from bpb_harness.auditing.checks.another_run import check_another_run
from bpb_harness.auditing.checks.before_packing import check_before_packing
from bpb_harness.auditing.checks.best_seed import check_best_seed
from bpb_harness.auditing.checks.borrowed_logs import check_borrowed_logs
from bpb_harness.auditing.checks.bound import check_bound
from bpb_harness.auditing.checks.byte_perplexity import check_byte_perplexity
from bpb_harness.auditing.checks.bytes import check_bytes, check_other_logs
from bpb_harness.auditing.checks.cut_short import check_cut_short
from bpb_harness.auditing.checks.learnt_in_log import check_learnt_in_log
from bpb_harness.auditing.checks.log_of_a_run import check_log_of_a_run
from bpb_harness.auditing.checks.log_origin import check_log_origin
from bpb_harness.auditing.checks.losses import check_losses, told_losses
from bpb_harness.auditing.checks.lowest_known import check_lowest_known
from bpb_harness.auditing.checks.other_version import check_other_version
from bpb_harness.auditing.checks.own_result import check_own_result
from bpb_harness.auditing.checks.part_told import check_part_told
from bpb_harness.auditing.checks.prose import check_prose
from bpb_harness.auditing.checks.proved import Proved, check_proved
from bpb_harness.auditing.checks.reading import check_reading
from bpb_harness.auditing.checks.record import check_record
from bpb_harness.auditing.checks.rescored import Recomputed, check_rescored
from bpb_harness.auditing.checks.rules import check_rules
from bpb_harness.auditing.checks.sampling import check_sampling
from bpb_harness.auditing.checks.stated_bytes import check_given_bytes, check_stated_bytes
from bpb_harness.auditing.checks.stored_text import check_stored_text
from bpb_harness.auditing.checks.summaries import check_summaries
from bpb_harness.auditing.checks.title_alone import check_title_alone
from bpb_harness.auditing.checks.two_orders import check_two_orders
from bpb_harness.auditing.checks.unlike_networks import check_unlike_networks
from bpb_harness.auditing.evidence import Evidence, gather, mean_of_seeds
from bpb_harness.auditing.held_script import differs
from bpb_harness.auditing.nothing import require_something
from bpb_harness.auditing.of_the_run import as_logged
from bpb_harness.auditing.ran_script import script_that_ran, with_remarks_of, with_script_that_ran
from bpb_harness.auditing.report import AuditReport, in_order
from bpb_harness.auditing.said import texts_of
from bpb_harness.auditing.twin_logs import Twin, twin_logs
from bpb_harness.auditing.unchecked import unchecked
from bpb_harness.auditing.verdict import Judgement, Verdict, judge, reconcile
from bpb_harness.claim import (
    Claim,
    ScoreLine,
    Source,
    claim_of_logs,
    find_submissions,
    find_unread,
    read_record,
    separate_claims,
)
from bpb_harness.claim.line_template import LOSS
from bpb_harness.claim.listing import kind_by_name
from bpb_harness.claim.names import the_one, tokenizers_in, vocabulary_of
from bpb_harness.claim.readme_reader import title_of
from bpb_harness.claim.settings import flags_of, set_beside, settings_of
from bpb_harness.claim.untrusted_file import resolved
from bpb_harness.errors import ClaimError, HarnessError, UsageError
from bpb_harness.findings import Finding, Json
from bpb_harness.rules import Candidates, Rules, candidates_of, rules_for
from bpb_harness.rules.pack import NATS_PER_TOKEN

if TYPE_CHECKING:
    from bpb_harness.auditing.script import ScriptContext

AnyPath = str | PathLike[str]
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
    report = _audited(paths, baseline, recomputed, proved, allow_code=allow_code, tokenizer=tokenizer, rules=rules)
    require_something(report, _paths(paths))
    return _told_of_submissions(report, _paths(paths))


def _told_of_submissions(report: AuditReport, paths: Sequence[Path]) -> AuditReport:
    """A report on a folder that claims nothing, with the submissions below it, which nothing here has looked at."""
    folders = [path for path in paths if path.is_dir()] if report.gives_no_score else []
    below = [found for folder in folders for found in find_submissions(folder) if resolved(found) != resolved(folder)]
    if not below:
        return report
    number = "one submission lies" if len(below) == 1 else f"{len(below)} submissions lie"
    reason = f"{report.judgement.reason.rstrip('.')}; {number} below it, audited with --recursive"
    missing = ("--recursive, for a report on each submission below the folder",)
    return replace(report, judgement=replace(report.judgement, reason=reason, missing=missing))


def _audited(
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
    if allow_code and tokenizer is None:
        raise UsageError("--allow-code runs the script's byte table on a tokenizer", hint="give --tokenizer FILE too")
    candidates = candidates_of(rules)
    claim = _with_tokenizer(read_record(*_paths(paths), reading=candidates.reading), tokenizer)
    chosen = rules_for(claim, candidates, _paths(paths))
    own = candidates.of(chosen.pack)
    if own.reading.names != candidates.reading.names:  # another contest's keys may stand in the record too
        claim = _with_tokenizer(read_record(*_paths(paths), reading=own.reading), tokenizer)
    evidence = _gathered(claim, chosen)
    rival = None
    if baseline is not None:
        rival = _gathered(read_record(*_paths(baseline), reading=own.reading), chosen, averages=True)
    rescored = recomputed if recomputed is None or isinstance(recomputed, Recomputed) else Recomputed.of(recomputed)
    findings = list(
        _findings(evidence, rival, rescored, proved, allow_code=allow_code, tokenizer=tokenizer, paths=_paths(paths))
    )
    folders = [path for path in _paths(paths) if path.is_dir()]
    findings += check_borrowed_logs(evidence, beside, folders) if beside else ()
    report = _report(evidence, findings, rescored)
    if report.verdict is Verdict.CONSISTENT:  # the one check that reads logs and scripts again
        origin = [*check_log_origin(evidence, folders)] or [*check_other_version(evidence, folders)]
        origin += check_title_alone(evidence, folders)
        report = _report(evidence, [*findings, *origin], rescored) if origin else report
    return replace(report, paths=tuple(map(str, _paths(paths))))


def _gathered(claim: Claim, rules: Rules, *, averages: bool = False) -> Evidence:
    """The evidence of a record, whose logs' scores count where nobody wrote down another: as the rules say."""
    rule = rules.pack.claim
    if rule.unit != NATS_PER_TOKEN:
        claim = claim_of_logs(claim, rule.lines, rule.logs, averages=averages, averages_named=rule.mean)
    elif not any(log.printed_at(LOSS, rule.lines) for log in claim.logs):
        claim = claim_of_logs(claim, names=rule.logs, averages=averages)
    return gather(claim, rules)


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
        report = _audited(
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
    return replace(unreadable(name, problem), paths=tuple(map(str, _paths(paths))))


def unread_folders(root: AnyPath) -> list[str]:
    """Folders that `audit_folders` passes over although they speak of scores, in .jsonl or .csv files alone.

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


def _paths(paths: AnyPath | Sequence[AnyPath]) -> list[Path]:
    if not all(str(path) for path in ([paths] if isinstance(paths, str | PathLike) else paths)):
        raise UsageError("a path", seen="an empty text", expected="a file or a folder", hint="'.' is this folder")
    return [Path(paths)] if isinstance(paths, str | PathLike) else [Path(path) for path in paths]


def _findings(
    evidence: Evidence,
    baseline: Evidence | None,
    recomputed: Recomputed | None,
    proved: Proved | None,
    *,
    allow_code: bool,
    tokenizer: AnyPath | None,
    paths: Sequence[Path],
) -> Iterator[Finding]:
    yield from check_reading(evidence)
    yield from check_own_result(evidence)
    if not evidence.is_own_file_alone:
        yield from _record_findings(evidence)
    yield from check_prose(evidence)
    if baseline is not None or not evidence.is_own_file_alone:
        yield from check_rules(_with_runs(evidence), baseline)
    if _scripts_of(evidence):
        yield from _script_findings(evidence, allow_code=allow_code, tokenizer=tokenizer)
        yield from _held_script(evidence)
    if recomputed is not None:
        yield from check_rescored(evidence, recomputed, texts_of(paths))
    if proved is not None:
        yield from check_proved(evidence, proved, texts_of(paths))


def _held_script(evidence: Evidence) -> Iterator[Finding]:
    """That a log holds another script than lies beside it."""
    held = evidence.held_script
    if held is not None and held.same is None:
        message = f"{held.log.file} holds the script that wrote it, which was read; {differs(held)}"
        lines: list[Json] = [line for _, line, _ in held.differing[:20]]
        yield codes.LOG_HOLDS_ANOTHER.finding(message, log=held.log.file, lines_of_log=lines)


def _with_runs(evidence: Evidence) -> Evidence:
    """For rules about runs: what several logs end with, where nobody averaged them into a claim."""
    is_open = evidence.claim.score is None and len(evidence.claim.logs) > 1
    return _gathered(evidence.claim, evidence.rules, averages=True) if is_open else evidence


def _record_findings(evidence: Evidence) -> Iterator[Finding]:
    """What somebody published, held against the rest of it."""
    yield from check_losses(evidence) if evidence.losses else check_record(evidence)
    yield from check_before_packing(evidence)
    yield from check_another_run(evidence)
    yield from check_log_of_a_run(evidence)
    yield from check_cut_short(evidence)
    yield from check_unlike_networks(evidence)
    yield from check_learnt_in_log(evidence)
    yield from check_two_orders(evidence)
    yield from check_stored_text(evidence)
    yield from check_summaries(evidence)
    yield from check_lowest_known(evidence)
    yield from check_bytes(evidence)
    yield from check_stated_bytes(evidence)
    yield from check_given_bytes(evidence)
    yield from check_byte_perplexity(evidence)
    yield from check_other_logs(evidence)
    yield from check_bound(evidence)
    yield from check_best_seed(evidence)
    yield from check_sampling(evidence)
    yield from check_part_told(evidence)


def _script_findings(evidence: Evidence, *, allow_code: bool, tokenizer: AnyPath | None) -> Iterator[Finding]:
    # Deferred: most records come without a script.
    from bpb_harness.auditing.script import LoggedScore, ScriptContext

    protocol, scripts = evidence.claim.protocol, _scripts_of(evidence)
    seeds, num_seeds = _of_listed_seeds(evidence)
    own = evidence.lines or seeds
    context = ScriptContext(
        num_windows=protocol.num_windows,
        num_tokens=evidence.scored_tokens,
        text_tokens=evidence.full.num_tokens if evidence.full else evidence.rules.pack.claim.num_tokens,
        bytes_per_token=evidence.full.bytes_per_token if evidence.full else None,
        text=str(evidence.full) if evidence.full else None,
        named_in=None if evidence.claim.tokenizer_source is None else str(evidence.claim.tokenizer_source),
        vocab_size=vocabulary_of(evidence.tokenizer),
        claimed=evidence.claim.score.value if evidence.claim.score else None,
        claimed_labels=tuple(dict.fromkeys(line.label for line in own if line.label)),
        logged=tuple(LoggedScore(*each) for each in _logged_scores(evidence, own)),
        num_seeds=None if evidence.lines else num_seeds,
        titles=_titles_of(evidence.claim),
        said=tuple(text for _, text in evidence.claim.said),
        readme=evidence.claim.readme.text if evidence.claim.readme is not None else "",
        settings=as_logged(evidence, settings_of(evidence.claim.readme.text)) if evidence.claim.readme else {},
        flags=flags_of(evidence.claim.readme.text) if evidence.claim.readme is not None else {},
        set_beside=set_beside(evidence.claim.scripts),
        word_hints=_word_hints(evidence),
        rules=evidence.rules,
    )
    names = {str(script): script.name for script in scripts}
    found = _checked(context, scripts, Path(tokenizer) if tokenizer else None, allow_code=allow_code)
    log, held = script_that_ran(evidence), evidence.held_script
    inside = held.scripts if held is not None else ()
    if log is not None and log.path is not None and not inside:
        inside = (log.path,)
    if inside:
        names |= {str(script): script.name for script in inside}
        ran = _checked(context, inside)
        standing = found if log is None else [*with_script_that_ran(found, ran, log)]
        found = standing if allow_code else with_remarks_of(standing, ran)
    for finding in found:
        # The report speaks of the submission's files, wherever they lie on this machine.
        message = finding.message
        for path, name in names.items():
            message = message.replace(path, name)
        yield replace(finding, message=message, evidence=_named(finding.evidence, names))


def _checked(
    context: ScriptContext, scripts: Sequence[Path], tokenizer: Path | None = None, *, allow_code: bool = False
) -> list[Finding]:
    """What scripts show, with each of the values that the README's commands give their settings."""
    from bpb_harness.auditing.contested import with_contested
    from bpb_harness.auditing.script import check_scripts

    def checked(settings: Mapping[str, str], flags: Mapping[tuple[str, str], str]) -> list[Finding]:
        given = replace(context, settings=settings, flags=flags)
        return [*check_scripts(scripts, given, tokenizer=tokenizer, allow_code=allow_code)]

    return with_contested(checked, context.settings, context.flags)


def _word_hints(evidence: Evidence) -> int | None:
    """How many hints the runs of the claim count as let through by where words begin; None where none counts them."""
    counted = [
        gates.num_within
        for line in evidence.lines if (log := evidence.log_of(line)) is not None
        for gates in log.gates if gates.run == line.run
    ]  # fmt: skip
    return max(counted, default=None)


def _of_listed_seeds(evidence: Evidence) -> tuple[Sequence[ScoreLine], int | None]:
    """The lines that print the scores of some seeds, whose mean over all that the record lists is the claim."""
    score = evidence.claim.score
    for scores in evidence.claim.seed_scores.values() if score is not None else ():
        if len(scores) < 2 or score is None or not score.agrees_with(mean_of_seeds(scores)):
            continue
        found = [
            line
            for line in evidence.siblings
            if any(seed.agrees_with(line.bpb.value, line.bpb.half_unit) for seed in scores.values())
        ]
        if found:
            return found, len(scores)
    return (), None


def _logged_scores(
    evidence: Evidence, lines: Sequence[ScoreLine]
) -> list[tuple[Path, str, int, int, tuple[tuple[int, float], ...], float]]:
    """Where the claim's lines stand, each in its log; none where one of them stands elsewhere."""
    found = []
    for line in lines:
        log = evidence.log_of(line)
        number = line.bpb.source.line
        if log is None or log.path is None or number is None or kind_by_name(log.path) != "log":
            return []
        at = [(other.bpb.source.line or 0, other) for other in log.lines]
        since = max((place for place, other in at if other.run < line.run), default=0)
        before = tuple((place, other.bpb.value) for place, other in at if since < place < number)
        found.append((log.path, log.file, number, since, before, line.bpb.value))
    return found


def _named(evidence: Mapping[str, Json], names: Mapping[str, str]) -> dict[str, Json]:
    return {key: _renamed(held, names) for key, held in evidence.items()}


def _renamed(held: Json, names: Mapping[str, str]) -> Json:
    if isinstance(held, list):
        return [_renamed(each, names) for each in held]
    if isinstance(held, dict):
        return _named(held, names)
    return names.get(held, held) if isinstance(held, str) else held


def _scripts_of(evidence: Evidence) -> list[Path]:
    """The scripts of the folder, or else those that the claim's own logs hold."""
    if evidence.claim.scripts:
        return list(evidence.claim.scripts)
    logs = evidence.claim_logs or evidence.claim.logs
    return [log.path for log in logs if log.path is not None and log.holds_script][:1]


def _with_tokenizer(claim: Claim, tokenizer: AnyPath | None) -> Claim:
    """The claim, with the tokenizer that only its file's name or the scripts name."""
    if claim.tokenizer is not None:
        return claim
    if tokenizer is not None and (name := the_one(tokenizers_in(Path(tokenizer).name))) is not None:
        return replace(claim, tokenizer=name, tokenizer_source=Source(str(tokenizer)))
    named = dict(found for script in claim.scripts if (found := _tokenizer_of(script)) is not None)
    name = the_one(named)  # where two scripts name two, nothing says which of them ran
    return claim if name is None else replace(claim, tokenizer=name, tokenizer_source=named[name])


def _tokenizer_of(script: Path) -> tuple[str, Source] | None:
    """The one tokenizer that a script names; None where it cannot be read, which the checks of scripts say."""
    from bpb_harness.auditing.script import decode_source  # deferred: most records come without a script

    try:
        source = decode_source(script)
    except ClaimError:
        return None
    name = the_one(tokenizers_in(source.text))
    if name is None:
        return None
    lines = enumerate(source.text.split("\n") if source.layers == 0 else (), 1)
    line = next((number for number, line in lines if name in tokenizers_in(line)), None)
    return name, Source(script.name, line)


def _titles_of(claim: Claim) -> tuple[str, ...]:
    """All that a claimant calls it."""
    heading = title_of(claim.readme) if claim.readme is not None else None
    return tuple(dict.fromkeys(each for each in (claim.title, heading) if each))


def _title_of(claim: Claim) -> str | None:
    """What the claimant calls it: the README's heading, for a record's own name is its author's as often as not."""
    heading = title_of(claim.readme) if claim.readme is not None else None
    return heading or claim.title


def _report(evidence: Evidence, findings: list[Finding], recomputed: Recomputed | None) -> AuditReport:
    settled = in_order(reconcile(findings, evidence))
    score, perplexity = evidence.claim.score, evidence.claim.perplexity
    claimed_in = str(score.source) if score else None
    if score is None and perplexity is not None:
        claimed_in = f"{perplexity.source}: a perplexity of {perplexity} per token"
    if evidence.losses:
        claimed_in = told_losses(evidence.losses)
    return AuditReport(
        name=evidence.claim.name,
        title=_title_of(evidence.claim),
        judgement=judge(evidence, settled, recomputed),
        claimed_bpb=score.value if score else None,
        claimed_in=claimed_in,
        findings=settled,
        files=(*evidence.claim.files, *(name for name, _ in evidence.notes)),
        rules=evidence.rules,
        unchecked=unchecked(evidence, settled, has_script=bool(_scripts_of(evidence))),
    )
