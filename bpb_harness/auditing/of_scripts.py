"""What the scripts of a record show: the tokenizer that they name, and what their checks find.

A script in a log whose size is the one that the log states has written that log. What it shows to be wrong is wrong
with the score, whatever the scripts beside it do; what these show, it does not take back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from bpb_harness.auditing import codes
from bpb_harness.auditing.checks.printed_counts import counted_of
from bpb_harness.auditing.evidence import Evidence, mean_of_seeds
from bpb_harness.auditing.held_script import differs, score_line, script_that_ran
from bpb_harness.auditing.learnt import OF_ANOTHER_VERSION
from bpb_harness.auditing.of_the_run import as_logged
from bpb_harness.auditing.said import name_of
from bpb_harness.auditing.which_script import the_script_of
from bpb_harness.claim import Claim, LogRecord, ScoreLine, Source
from bpb_harness.claim.listing import kind_by_name
from bpb_harness.claim.names import the_one, tokenizers_in, vocabulary_of
from bpb_harness.claim.readme_reader import title_of
from bpb_harness.claim.settings import Contested, Logged, flags_of, set_beside, settings_of
from bpb_harness.errors import ClaimError
from bpb_harness.findings import Finding, Json, Severity

if TYPE_CHECKING:
    from bpb_harness.auditing.script import LoggedScore, ScriptContext

AnyPath = str | PathLike[str]
_STANDS = (Severity.REFUTES, Severity.WARNS)


def with_tokenizer(claim: Claim, tokenizer: AnyPath | None) -> Claim:
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


def scripts_of(evidence: Evidence) -> list[Path]:
    """The scripts of the folder, or else those that the claim's own logs hold."""
    if evidence.claim.scripts:
        return list(evidence.claim.scripts)
    logs = evidence.claim_logs or evidence.claim.logs
    return [log.path for log in logs if log.path is not None and log.holds_script][:1]


def check_of_scripts(evidence: Evidence, *, allow_code: bool, tokenizer: AnyPath | None) -> Iterator[Finding]:
    """What the scripts of a record show, and that a log holds another one; nothing where there are none."""
    scripts = scripts_of(evidence)
    if not scripts:
        return
    context = _context(evidence)
    found = _checked(context, scripts, Path(tokenizer) if tokenizer else None, allow_code=allow_code)
    log, held = script_that_ran(evidence.claim_logs, evidence.claim.scripts, evidence.lines), evidence.held_script
    inside = held.scripts if held is not None else ()
    if log is not None and log.path is not None and not inside:
        inside = (log.path,)
    if inside:
        ran = _checked(context, inside)
        found = found if log is None else [*_with_what_ran(found, ran, log)]
        if not allow_code:  # remarks on the script that ran, in place of those on the ones beside it
            remarks = (each for each in ran if each.severity not in _STANDS)
            found = [*(each for each in found if each.severity in _STANDS), *remarks]
    elif not allow_code and (wrote := the_script_of(evidence, scripts)) is not None:
        remarks = (each for each in _checked(context, [wrote]) if each.severity not in _STANDS)
        found = [*(each for each in found if each.severity in _STANDS), *remarks]
    names = {str(script): name_of(script, evidence.claim.files) for script in (*scripts, *inside)}
    for finding in found:
        # The report speaks of the submission's files, wherever they lie on this machine.
        message = finding.message
        for path, name in names.items():
            message = message.replace(path, name)
        yield replace(finding, message=message, evidence=_named(finding.evidence, names))
    if held is not None and held.same is None:
        message = f"{held.log.file} holds the script that wrote it, which was read; {differs(held)}"
        lines: list[Json] = [line for _, line, _ in held.differing[:20]]
        yield codes.LOG_HOLDS_ANOTHER.finding(message, log=held.log.file, lines_of_log=lines)


def _context(evidence: Evidence) -> ScriptContext:
    """What the record says to the checks of its scripts."""
    from bpb_harness.auditing.script import ScriptContext  # deferred: most records come without a script

    claim = evidence.claim
    settings = as_logged(evidence, settings_of(claim.readme.text)) if claim.readme else {}
    seeds, num_seeds = _of_listed_seeds(evidence)
    own = evidence.lines or seeds
    counted = counted_of(evidence)
    whole = counted if counted is not None and counted.is_whole else None
    return ScriptContext(
        num_windows=claim.protocol.num_windows,
        num_tokens=evidence.scored_tokens,
        text_tokens=evidence.full.num_tokens if evidence.full else evidence.rules.pack.claim.num_tokens,
        bytes_per_token=evidence.full.bytes_per_token if evidence.full else None,
        text=str(evidence.full) if evidence.full else None,
        named_in=None if claim.tokenizer_source is None else str(claim.tokenizer_source),
        vocab_size=vocabulary_of(evidence.tokenizer),
        tokenizer_is_certain=evidence.tokenizer_is_certain,
        claimed=claim.score.value if claim.score else None,
        claimed_labels=tuple(dict.fromkeys(line.label for line in own if line.label)),
        logged=tuple(_logged_scores(evidence, own)),
        score_lines={
            log.path: number
            for log in claim.logs
            if log.path is not None and log.holds_script and (number := score_line(log, own)) is not None
        },
        num_seeds=None if evidence.lines else num_seeds,
        titles=titles_of(claim),
        said=tuple(text for _, text in claim.said),
        readme=claim.readme.text if claim.readme is not None else "",
        settings=settings,
        uncontested={name: given for name, given in settings.items() if not isinstance(given, Contested | Logged)},
        flags=flags_of(claim.readme.text) if claim.readme is not None else {},
        set_beside=set_beside(claim.scripts),
        word_hints=_word_hints(evidence),
        printed_times=None if whole is None else whole.times,
        printed_at=None if whole is None else str(whole.counts.source),
        rules=evidence.rules,
    )


def _checked(
    context: ScriptContext, scripts: Sequence[Path], tokenizer: Path | None = None, *, allow_code: bool = False
) -> list[Finding]:
    """What scripts show, with each of the values that the README's commands give their settings."""
    from bpb_harness.auditing.contested import with_contested
    from bpb_harness.auditing.script import ReadOnce, check_scripts

    shared = ReadOnce()

    def checked(settings: Mapping[str, str], flags: Mapping[tuple[str, str], str]) -> list[Finding]:
        given = replace(context, settings=settings, flags=flags)
        return [*check_scripts(scripts, given, tokenizer=tokenizer, allow_code=allow_code, shared=shared)]

    return with_contested(checked, context.settings, context.flags)


def _with_what_ran(beside: Sequence[Finding], ran: Sequence[Finding], log: LogRecord) -> Iterator[Finding]:
    """What the scripts beside a log show, with what is wrong with the one that it holds and that ran."""
    refuted = {finding.code for finding in ran if finding.severity is Severity.REFUTES}
    sure = {finding.code for finding in ran if finding.evidence.get(OF_ANOTHER_VERSION) is not True}
    beside = [each for each in beside if each.evidence.get(OF_ANOTHER_VERSION) is not True or each.code not in sure]
    doubts = {finding.code for finding in beside if finding.severity is Severity.WARNS}
    yield from (each for each in beside if each.severity is Severity.REFUTES or each.code not in refuted)
    known = {finding.code for finding in beside if finding.severity is Severity.REFUTES}
    for finding in ran:
        is_new = finding.code not in known and (finding.severity is Severity.REFUTES or finding.code not in doubts)
        if finding.severity in _STANDS and is_new:
            whose = f"the script is the one that {log.file} holds and states the size of, and none of those beside it"
            yield replace(finding, message=f"{finding.message.rstrip('.')}: {whose}")


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


def _logged_scores(evidence: Evidence, lines: Sequence[ScoreLine]) -> list[LoggedScore]:
    """Where the claim's lines stand, each in its log; none where one of them stands elsewhere."""
    from bpb_harness.auditing.script import LoggedScore  # deferred, as above

    found = []
    for line in lines:
        log = evidence.log_of(line)
        number = line.bpb.source.line
        if log is None or log.path is None or number is None or kind_by_name(log.path) != "log":
            return []
        at = [(other.bpb.source.line or 0, other) for other in log.lines]
        since = max((place for place, other in at if other.run < line.run), default=0)
        before = tuple((place, other.bpb.value) for place, other in at if since < place < number)
        found.append(LoggedScore(log.path, log.file, number, since, before, line.bpb.value))
    return found


def titles_of(claim: Claim) -> tuple[str, ...]:
    """All that a claimant calls it."""
    heading = title_of(claim.readme) if claim.readme is not None else None
    return tuple(dict.fromkeys(each for each in (claim.title, heading) if each))


def _named(evidence: Mapping[str, Json], names: Mapping[str, str]) -> dict[str, Json]:
    return {key: _renamed(held, names) for key, held in evidence.items()}


def _renamed(held: Json, names: Mapping[str, str]) -> Json:
    if isinstance(held, list):
        return [_renamed(each, names) for each in held]
    if isinstance(held, dict):
        return _named(held, names)
    return names.get(held, held) if isinstance(held, str) else held
