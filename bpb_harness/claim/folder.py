"""A submission's folder, or its files one by one, to one `Claim`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path, PurePosixPath
from typing import Any

from bpb_harness.claim.found_files import FoundFiles
from bpb_harness.claim.line_template import LOSS, SCORE, LineTemplate
from bpb_harness.claim.listing import holds_folders, is_claim_name, kind_by_name, list_files
from bpb_harness.claim.methods import method_in
from bpb_harness.claim.names import the_one, tokenizers_in
from bpb_harness.claim.packed_file import without_packing
from bpb_harness.claim.printed import Printed, Source
from bpb_harness.claim.prose_files import notes_of
from bpb_harness.claim.reading import PLAIN, Reading
from bpb_harness.claim.readme_reader import steps_table
from bpb_harness.claim.record import Claim, LogRecord, Note, NoteKind, Protocol, ScoreLine
from bpb_harness.claim.score_of_readme import Chosen, score_of_readme
from bpb_harness.claim.separate import two_claims
from bpb_harness.claim.untrusted_file import resolved
from bpb_harness.distinct_names import distinct_names
from bpb_harness.errors import ClaimError

_MAX_VALUES_SHOWN = 5


def read_claim(*paths: Path, reading: Reading = PLAIN) -> Claim:
    """`read_record`, with what logs alone claim where nobody wrote down any score."""
    return claim_of_logs(read_record(*paths, reading=reading))


def read_record(*paths: Path, reading: Reading = PLAIN) -> Claim:
    """Read one claim from a folder, or from files and folders that belong together.

    Args:
        *paths: folders, submission.json files, claim files, logs, READMEs, scripts.
        reading: what is looked for beyond what any record may hold.

    Raises:
        ClaimError: if a path does not exist, nothing in it can be read, a claim file is wrong, or two claim files are
            of different claims.
        InputError: if a score's own file is not what a command of ours writes.
    """
    listings = [list_files(path) for path in paths]
    files = _once(file for listing in listings for file in listing.files)
    skipped = [(shown, why) for listing in listings for shown, why in listing.skipped]
    named = frozenset(resolved(path) for path in paths if not path.is_dir())
    if not any(path in named or kind_by_name(shown) != "table" for path, shown in files):
        expected = "submission.json, a log, a README, a script or a claim file"
        hint = "bpb-audit --recursive audits its folders one by one" if any(map(holds_folders, paths)) else ""
        where = ", ".join(str(path) for path in paths)
        seen = "; ".join(f"{shown} is {why}" for shown, why in skipped[:_MAX_VALUES_SHOWN]) or None
        raise ClaimError(f"nothing to audit in {where}", seen=seen, expected=expected, hint=hint)
    name = paths[0].name or paths[0].resolve().name
    prose = notes_of([path for path in paths if path.is_dir()])
    return _read_files(name, files, named, [*_skipped_notes(skipped)], reading, prose)


def _once(files: Iterable[tuple[Path, Path]]) -> list[tuple[Path, Path]]:
    """Each file once: a link in a folder may lead to another file of it."""
    by_path: dict[Path, Path] = {}
    for path, shown in files:
        by_path.setdefault(path, shown)
    return [*by_path.items()]


def _skipped_notes(skipped: Sequence[tuple[Path, str]]) -> Iterator[Note]:
    for shown, why in skipped:
        kind = NoteKind.UNREADABLE if is_claim_name(shown) else NoteKind.SKIPPED
        yield Note(kind, f"{shown} was not read: it is {why}, no regular file of the folder", Source(str(shown)))


def _read_files(
    name: str,
    files: Sequence[tuple[Path, Path]],
    named: frozenset[Path],
    notes: list[Note],
    reading: Reading,
    prose: tuple[tuple[str, Path], ...],
) -> Claim:
    has_submission = any(shown.name.lower() == "submission.json" for _, shown in files)
    found = FoundFiles(named, has_submission, reading, notes)
    for (file, shown), short in zip(files, distinct_names([shown for _, shown in files]), strict=True):
        found.take(file, shown, short)
    found.take_state()
    found.place_summaries()
    if not found.read:
        raise ClaimError(f"nothing in {name} can be read", seen=notes[0].message if notes else "no file with a record")
    by_hand = found.written_by_hand
    only_claim_files = len(by_hand) == len(found.read) and all(is_claim_name(shown) for _, shown in files)
    _require_one_claim(by_hand, in_arguments=bool(named), searchable=only_claim_files)
    claim = _merged(name, found.claim_files, found.submissions, notes)
    claim = replace(claim, files=tuple(found.read))
    if claim.claimed_in != "submission" and any(_two_scores(claim, each) for each in found.submissions):
        # Scripts, README and logs are those of the submission, whose score is not the one audited.
        return _complete(replace(claim, logs=tuple(log for log in found.logs if _prints(log, claim.score))))
    readme = found.readme
    table = dict(claim.steps_table) or (steps_table(readme) if readme else {})
    claim = replace(
        claim, logs=tuple(found.logs), tables=tuple(found.tables), readme=readme, scripts=tuple(found.scripts),
        steps_table=table, prose=prose,
    )  # fmt: skip
    return _complete(claim)


def _require_one_claim(claim_files: Sequence[Claim], *, in_arguments: bool, searchable: bool) -> None:
    """Refuse claim files of several claims, which merged would refute each other."""
    names = two_claims(claim_files)
    if names is not None:
        where = "the arguments" if in_arguments else "one folder"
        recursive = (
            ", or their folder with bpb-audit --recursive" if in_arguments else ", or with bpb-audit --recursive"
        )
        hint = f"audit them one by one{recursive if searchable else ''}"
        raise ClaimError(f"two claims in {where}: {names[0]} and {names[1]}", hint=hint)


def _merged(name: str, claim_files: Sequence[Claim], submissions: Sequence[Claim], notes: list[Note]) -> Claim:
    """One claim of several sources: a claim file says what it says, the submission fills in the rest.

    A source with another score than the one audited fills in nothing: what it knows is of that other score.
    """
    merged = Claim(name)
    for claim in (*claim_files, *submissions):
        notes.extend(claim.notes)
        two = _two_scores(merged, claim)
        if two is None:
            merged = _fill(merged, claim)
            continue
        first, second = two
        message = f"two claimed scores: {first.source} says {first}, {second.source} says {second}"
        notes.append(
            Note(NoteKind.AMBIGUOUS, f"{message}; the first is audited, without the other's facts", first.source)
        )
    return replace(merged, name=name, notes=tuple(notes))


def _two_scores(first: Claim, second: Claim) -> tuple[Printed, Printed] | None:
    """The scores of two sources that rounding does not make one; losses, where one of the two is a perplexity."""
    pairs = [(first.score, second.score)]
    if first.perplexity is not None or second.perplexity is not None:
        pairs += [(first.perplexity, second.perplexity), (first.nats_per_token, second.nats_per_token)]
    for one, other in pairs:
        if one is not None and other is not None and not one.agrees_with(other.value, other.half_unit):
            return one, other
    return None


def _prints(log: LogRecord, score: Printed | None) -> bool:
    return score is not None and any(score.agrees_with(line.bpb.value, line.bpb.half_unit) for line in log.lines)


def _fill(first: Claim, second: Claim) -> Claim:
    """``first``, with what only ``second`` knows."""
    changes: dict[str, Any] = {}
    for field in fields(Claim):
        mine, theirs = getattr(first, field.name), getattr(second, field.name)
        if field.name not in ("name", "score", "claimed_in", "protocol", "same_estimator") and not mine and theirs:
            changes[field.name] = theirs
    if first.score is None and second.score is not None:
        changes |= {"score": second.score, "claimed_in": second.claimed_in}
    if first.nats_per_token is None and second.nats_per_token is not None:
        changes["same_estimator"] = second.same_estimator
    mine, theirs = first.protocol, second.protocol
    changes["protocol"] = replace(
        mine,
        **{
            field.name: getattr(theirs, field.name)
            for field in fields(Protocol)
            if getattr(mine, field.name) in (None, False) and getattr(theirs, field.name) not in (None, False)
        },
    )
    return replace(first, **changes)


def _complete(claim: Claim) -> Claim:
    """What only the logs or the README know: a score of the README where no JSON claims one, the tokenizer, T."""
    notes = list(claim.notes)
    score, claimed_in = claim.score, claim.claimed_in
    nats, same = claim.nats_per_token, claim.same_estimator
    null_claim = any(note.kind is NoteKind.NOT_A_NUMBER for note in notes)
    if score is None and not null_claim and (chosen := score_of_readme(claim, notes)) is not None:
        score, nats, same, claimed_in = chosen
    tokenizer, where = claim.tokenizer, claim.tokenizer_source
    if tokenizer is not None:
        tokenizer = the_one(tokenizers_in(tokenizer)) or tokenizer
    from_logs = [name for log in claim.logs for name in log.tokenizers]
    if claim.claimed_in != "claim file" and the_one(from_logs) is not None:
        tokenizer = the_one(from_logs)  # the path of the shards that were read outweighs prose
        where = Source(next(log.file for log in claim.logs if log.tokenizers))
    elif tokenizer is None and claim.readme is not None:
        tokenizer = the_one(claim.readme.tokenizers)
        where = Source(claim.readme.file, line=_line_that_names(tokenizer, claim.readme.text))
    protocol = claim.protocol
    steps = {log.num_steps for log in claim.logs if log.num_steps}
    if protocol.num_steps is None and len(steps) == 1:
        protocol = replace(protocol, num_steps=steps.pop())
    if protocol.method is None and score is not None:
        protocol = replace(protocol, method=method_in(score.name))
    return replace(
        claim,
        score=score,
        claimed_in=claimed_in,
        nats_per_token=nats,
        same_estimator=same,
        tokenizer=tokenizer,
        tokenizer_source=where if tokenizer else None,
        dataset=_dataset(claim),
        protocol=protocol,
        notes=tuple(notes),
    )


def _line_that_names(tokenizer: str | None, text: str) -> int | None:
    """The first line of a README that names a tokenizer."""
    lines = enumerate(text.split("\n"), 1) if tokenizer is not None else ()
    return next((number for number, line in lines if tokenizer in tokenizers_in(line)), None)


def _dataset(claim: Claim) -> str | None:
    """The text: as the logs' paths of its shards say, else as the record names it; a claim file comes first."""
    loaded = the_one(log.dataset for log in claim.logs if log.dataset)
    return claim.dataset or loaded if claim.claimed_in == "claim file" else loaded or claim.dataset


def logs_called(logs: Sequence[LogRecord], names: Sequence[LineTemplate]) -> tuple[LogRecord, ...]:
    """The logs that the first of some names fits that fits any; all of them where none does.

    A name that fits only logs without a score gives way to the next: a training's log beside those of its evaluations.

    Args:
        logs: of one record.
        names: templates of file names, the best first; train.log.gz is called train.log.
    """
    fitting = [called for name in names if (called := tuple(log for log in logs if _is_called(log, name)))]
    return next((called for called in fitting if any(map(_tells_a_score, called))), (*fitting, tuple(logs))[0])


def _is_called(log: LogRecord, name: LineTemplate) -> bool:
    return name.is_whole(without_packing(PurePosixPath(log.file).name))


def _tells_a_score(log: LogRecord) -> bool:
    """Whether a log prints a score, a loss that the rules look for, or NaN in the place of one."""
    return bool(log.lines) or log.spoilt_at is not None or any({SCORE, LOSS} & {*each.last} for each in log.found)


def claim_of_logs(
    claim: Claim,
    lines: Sequence[LineTemplate] = (),
    names: Sequence[LineTemplate] = (),
    *,
    averages: bool = False,
    averages_named: bool = False,
) -> Claim:
    """The claim, with the score that its logs end with where nobody wrote down any other.

    Args:
        claim: as `read_record` reads it.
        lines: of each log the last of each of these together is its score; none: its last score.
        names: which of several logs they are: see `logs_called`.
        averages: whether the mean of several logs stands for them. A claim is never made of last lines that nobody
            averaged, unless ``lines`` say which count; what a claim is compared with may be.
        averages_named: whether the mean of several logs stands for them where ``names`` fit them.
    """
    readme = claim.readme
    is_null = any(note.kind is NoteKind.NOT_A_NUMBER for note in claim.notes)
    called = {log.file for log in logs_called(claim.logs, names)}
    averages = averages or (averages_named and any(_is_called(log, name) for log in claim.logs for name in names))
    is_ruled = bool(lines) or len(called) < len(claim.logs)
    if is_ruled:
        of_claim = (_with_claimed_line(log, lines) if log.file in called else log for log in claim.logs)
        claim = replace(claim, logs=tuple(of_claim))
    if claim.score is not None or is_null or claim.other_scores or (readme and (readme.scores or readme.rows)):
        return claim
    notes: list[Note] = []
    logs = [log for log in claim.logs if log.claimed is not None] if is_ruled else claim.logs
    if len(called) < len(claim.logs):
        shown = ", ".join(sorted(called)[:_MAX_VALUES_SHOWN]) + (", .." if len(called) > _MAX_VALUES_SHOWN else "")
        message = f"of {len(claim.logs)} logs those carry the claim that the rules name so: {shown}"
        notes.append(Note(NoteKind.CHOICE, message, Source(min(called))))
    chosen = _score_of_logs(logs, notes, averages=averages or bool(lines), misnamed=claim.called_a_loss)
    claim = replace(claim, notes=(*claim.notes, *notes))
    if chosen is None:
        return claim
    score, nats, same, claimed_in = chosen
    protocol = replace(claim.protocol, method=claim.protocol.method or method_in(score.name))
    return replace(
        claim, score=score, nats_per_token=nats, same_estimator=same, claimed_in=claimed_in, protocol=protocol
    )


def _with_claimed_line(log: LogRecord, lines: Sequence[LineTemplate]) -> LogRecord:
    """A log, with what the last of some lines print together as its score, or what it ends with where there are none.

    Unchanged where none of the lines prints a score.
    """
    if not lines:
        return replace(log, claimed=log.final)
    bpb, loss = (log.printed_at(place, lines) for place in (SCORE, LOSS))
    if bpb is None or not 0.0 < bpb.value < _HIGHEST:
        return log
    here = [line for line in log.lines if line.bpb.source.line == bpb.source.line and line.bpb.value == bpb.value]
    label, nats = (here[0].label, here[0].nats_per_token) if here else ("", None)
    nats = loss if loss is not None and loss.value > 0.0 else nats
    line = ScoreLine(label, bpb, nats, same_estimator=True, run=here[0].run if here else 0)
    return replace(log, claimed=line, lines=(*(other for other in log.lines if other not in here), line))


_HIGHEST = 1000.0  # bits per byte; more is no score
_TELLING = 4  # decimals of a number that is known again


def _score_of_logs(
    logs: Sequence[LogRecord], notes: list[Note], *, averages: bool, misnamed: Printed | None
) -> Chosen | None:
    """The score that logs alone claim: what the only one ends with; of several, where that is wanted, the mean."""
    finals = [log.final for log in logs if log.final is not None]
    if not finals:
        return None
    last = finals[-1]
    if len(finals) == 1:
        (log,) = (log for log in logs if log.final is not None)
        others = sorted({line.label for line in log.lines if not line.is_training_step} - {last.label})
        where = f"{last.label or last.bpb.name!r} at {last.bpb.source}"
        message = f"no claim beside the log: its last score is taken, {where}"
        if misnamed is not None and misnamed.agrees_with(last.bpb.value) and (misnamed.decimals or 0) >= _TELLING:
            message = (
                f"{misnamed.source} gives {misnamed}, and calls it a loss: it is the log's last score, {where}, which "
                "is taken for the claim"
            )
        if others:
            message += f"; other scores in it: {', '.join(label[:60] or 'unnamed' for label in others[:8])}"
        notes.append(Note(NoteKind.CHOICE, message, last.bpb.source))
        return last.bpb, last.nats_per_token, last.same_estimator, "log"
    if len({line.label for line in finals}) > 1:
        message = "no claim beside the logs, and they end with differently named scores"
        notes.append(Note(NoteKind.AMBIGUOUS, message, last.bpb.source))
        return None
    if not averages:
        ends = ", ".join(f"{line.bpb} ({line.bpb.source})" for line in finals[:_MAX_VALUES_SHOWN])
        message = (
            f"no claim beside the logs, and {len(finals)} of them end with a score: {ends}; a mean of them is nobody's"
        )
        notes.append(Note(NoteKind.AMBIGUOUS, message, last.bpb.source))
        return None
    mean = _mean(finals)
    message = f"no claim beside the logs: the mean of their {len(finals)} last scores is taken"
    notes.append(Note(NoteKind.CHOICE, message, last.bpb.source))
    return mean


def _mean(lines: Sequence[ScoreLine]) -> Chosen:
    first = lines[0]
    source = Source(first.bpb.source.file, key=f"mean over {len(lines)} logs")
    decimals = max(line.bpb.decimals or 0 for line in lines)
    bpb = Printed(sum(line.bpb.value for line in lines) / len(lines), decimals, source, first.bpb.name)
    nats = [line.nats_per_token for line in lines if line.nats_per_token is not None]
    loss = Printed(sum(n.value for n in nats) / len(nats), nats[0].decimals, source, nats[0].name) if nats else None
    if len(nats) != len(lines):
        loss = None
    return bpb, loss, all(line.same_estimator for line in lines), "log"
