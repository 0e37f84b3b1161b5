"""A submission's folder, or its files one by one, to one `Claim`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from bpb_harness.claim.claim_file import is_claim_file, lacks_format, read_claim_file
from bpb_harness.claim.log_reader import read_log
from bpb_harness.claim.methods import method_in
from bpb_harness.claim.names import the_one, tokenizers_in
from bpb_harness.claim.printed import Printed, Source
from bpb_harness.claim.readme_reader import read_readme, steps_table
from bpb_harness.claim.record import Claim, LogRecord, Note, NoteKind, Protocol, Readme, ScoreLine
from bpb_harness.claim.submission import read_submission
from bpb_harness.claim.text_file import read_text
from bpb_harness.claim.tolerant_json import DuplicateKey, parse_json
from bpb_harness.errors import ClaimError

_MOST_FILES = 300
_LARGEST_JSON = 4 << 20
_LARGEST_README = 4 << 20
_MOST_VALUES_SHOWN = 5
_NO_LOG = re.compile(r"requirements.*\.txt|licen[cs]e.*|.*vocab.*\.txt|cmakelists\.txt", re.IGNORECASE)
_LOG_SUFFIXES = (".log", ".txt", ".out")
_TABLE_SUFFIXES = (".jsonl", ".csv")  # of scores, perhaps: which of the rows is the claim, nothing says
_LOOKED_AT = 1 << 16  # bytes at either end of such a file


def read_claim(*paths: Path) -> Claim:
    """Read one claim from a folder, or from files and folders that belong together.

    Args:
        *paths: folders, submission.json files, claim files, logs, READMEs, scripts.

    Raises:
        ClaimError: if a path does not exist, nothing in it can be read, or a claim file is wrong.
    """
    files = [file for path in paths for file in _files_of(path)]
    if not files:
        expected = "submission.json, a log, a README, a script or a claim file"
        holds_folders = any(inner.is_dir() for path in paths if path.is_dir() for inner in path.iterdir())
        hint = "its folders are audited one by one with --recursive" if holds_folders else ""
        where = ", ".join(str(path) for path in paths)
        raise ClaimError(f"nothing to audit in {where}", expected=expected, hint=hint)
    name = paths[0].name or paths[0].resolve().name
    return _read_files(name, files, named=frozenset(path for path in paths if not path.is_dir()))


def find_submissions(root: Path) -> list[Path]:
    """Every folder at or below ``root`` that looks like a submission: a submission.json or a claim file, or logs.

    Folders inside a submission are part of it. Links are not followed.

    Raises:
        ClaimError: if ``root`` is no folder.
    """
    return sorted(folder for folder, _, is_submission in _folders_below(root) if is_submission)


def find_unread(root: Path) -> list[Path]:
    """Folders at or below ``root`` that speak of bits per byte in .jsonl or .csv files alone, which nothing reads.

    Folders with a submission below them, where such a file is a list of others' scores, do not count.

    Raises:
        ClaimError: if ``root`` is no folder.
    """
    unread: list[Path] = []
    submissions: list[Path] = []
    for folder, entries, is_submission in _folders_below(root):
        if is_submission:
            submissions.append(folder)
        elif not any(_is_evidence(entry) for entry in entries) and any(_tabulates_scores(entry) for entry in entries):
            unread.append(folder)
    return sorted(folder for folder in unread if not any(folder in found.parents for found in submissions))


def _folders_below(root: Path) -> Iterator[tuple[Path, list[Path], bool]]:
    """Every folder with its entries and whether it is a submission; what a submission holds is not walked."""
    if not root.is_dir():
        raise ClaimError(f"{root} is no folder", hint="drop --recursive to audit a file")
    stack = [root]
    while stack:
        folder = stack.pop()
        try:
            entries = sorted(folder.iterdir())
        except OSError:
            continue
        if any(_is_claim(entry) for entry in entries):
            yield folder, entries, True
            continue
        below = [entry for entry in entries if entry.is_dir() and not entry.is_symlink() and entry.name[0] != "."]
        names = [entry.name.lower() for entry in entries]
        yield (
            folder,
            entries,
            not below and any(name.endswith(_LOG_SUFFIXES) and not _NO_LOG.fullmatch(name) for name in names),
        )
        stack.extend(below)


def _tabulates_scores(path: Path) -> bool:
    """Whether a .jsonl or .csv file speaks of bits per byte, at its beginning or its end."""
    if not path.name.lower().endswith(_TABLE_SUFFIXES) or path.is_symlink() or not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            words = file.read(_LOOKED_AT)
            file.seek(max(0, path.stat().st_size - _LOOKED_AT))
            words += file.read(_LOOKED_AT)
    except OSError:
        return False
    return re.search(rb"bpb|bits[ _]per[ _]byte", words, re.IGNORECASE) is not None


def _files_of(path: Path) -> list[Path]:
    try:
        if path.is_dir():
            return list(_listing(path))
        exists = path.exists()
    except (OSError, ValueError) as problem:
        raise ClaimError(f"{str(path)[:200]!r} cannot be read", seen=type(problem).__name__) from problem
    if not exists:
        raise ClaimError(f"{path} does not exist", hint="name a submission's folder, or its files")
    return [path]


def _listing(folder: Path) -> Iterator[Path]:
    """Files of a submission: its own and those one folder down (logs/), unless that is a submission of its own."""
    count = 0
    below: list[Path] = []
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            if not entry.is_symlink():
                below.append(entry)
        elif _kind(entry) is not None:
            yield entry
            count += 1
        if count >= _MOST_FILES:
            return
    inside = {inner: sorted(inner.iterdir()) for inner in below}
    if count == 0 and sum(any(_is_evidence(entry) for entry in entries) for entries in inside.values()) > 1:
        return  # a folder of submissions, not one
    for entries in inside.values():
        if any(_is_claim(entry) for entry in entries):
            continue
        for entry in entries:
            if count < _MOST_FILES and not entry.name.startswith(".") and entry.is_file() and _kind(entry) is not None:
                yield entry
                count += 1


def _is_claim(path: Path) -> bool:
    return path.name.lower() == "submission.json" or path.name.lower().endswith("claim.json")


def _is_evidence(path: Path) -> bool:
    return path.is_file() and not path.name.startswith(".") and (_is_claim(path) or _kind(path) == "log")


def _kind(path: Path) -> str | None:
    name = path.name.lower()
    if name.endswith(".json"):
        return "json"
    if name.startswith("readme"):
        return "readme"
    if name.endswith(".py"):
        return "script"
    if name.endswith(_LOG_SUFFIXES) and not _NO_LOG.fullmatch(name):
        return "log"
    return None


def _read_files(name: str, files: Sequence[Path], named: frozenset[Path]) -> Claim:
    notes: list[Note] = []
    logs: list[LogRecord] = []
    submissions: list[Claim] = []
    claim_files: list[Claim] = []
    readme: Readme | None = None
    scripts: list[Path] = []
    read: list[str] = []
    names = _short_names(files)
    has_submission = any(file.name.lower() == "submission.json" for file in files)
    for file, short in zip(files, names, strict=True):
        kind = _kind(file) or "log"  # a file that somebody names is a log unless its name says otherwise
        if kind == "script" and not (file in named and _is_empty(file)):
            scripts.append(file)
            read.append(short)
            continue
        is_submission = file.name.lower() == "submission.json"
        try:
            if _is_empty(file):
                raise ClaimError(f"{short} is empty", seen="0 bytes", expected="a record of a score")
            limit = {"json": _LARGEST_JSON, "readme": _LARGEST_README}.get(kind)
            text_file = read_text(file, short, limit) if limit else read_text(file, short)
            if kind == "json":
                parsed = parse_json(text_file.text, short)
                if is_claim_file(parsed.value) or (lacks_format(parsed.value) and not is_submission):
                    claim_files.append(read_claim_file(parsed.value, short))
                elif is_submission or file in named or not has_submission:
                    submissions.append(read_submission(parsed.value, short))
                else:
                    continue  # a configuration or a result of its own: not what was submitted
                notes.extend(_json_notes(parsed.repairs, parsed.duplicate_keys, short))
            elif kind == "readme":
                readme = readme or read_readme(text_file.text, short)
            else:
                logs.append(replace(read_log(text_file.text, short), path=file))
            notes.extend(text_file.notes)
            read.append(short)
        except ClaimError as problem:
            if not is_submission:
                if file in named or "claim" in file.name.lower():
                    raise
                if kind == "json" or _is_empty(file):
                    continue  # some other JSON of the folder
            notes.append(Note(NoteKind.UNREADABLE, str(problem), Source(short)))
    if not read:
        raise ClaimError(f"nothing in {name} can be read", seen=notes[0].message if notes else "no file with a record")
    claim = _merged(name, claim_files, submissions, readme, notes)
    claim = replace(claim, logs=tuple(logs), readme=readme, scripts=tuple(scripts), files=tuple(read))
    return _complete(claim)


def _is_empty(file: Path) -> bool:
    return file.is_file() and file.stat().st_size == 0


def _short_names(files: Sequence[Path]) -> list[str]:
    """Names without the folder, except where two files would share one."""
    short = [file.name for file in files]
    return [f"{file.parent.name}/{file.name}" if short.count(file.name) > 1 else file.name for file in files]


def _json_notes(repairs: Sequence[str], duplicate_keys: Sequence[DuplicateKey], file: str) -> Iterator[Note]:
    for repair in repairs:
        kind = NoteKind.ENCODING if "byte-order mark" in repair else NoteKind.REPAIRED
        yield Note(kind, f"{file} is not valid JSON: {repair}; read all the same", Source(file))
    for twice in duplicate_keys:
        values = " and ".join(twice.values[:_MOST_VALUES_SHOWN])
        message = f"{file} holds {twice.key[:60]!r} more than once, as {values}; the last, {twice.taken}, is audited"
        yield Note(NoteKind.AMBIGUOUS, message, Source(file, key=twice.key))


def _merged(
    name: str, claim_files: Sequence[Claim], submissions: Sequence[Claim], readme: Readme | None, notes: list[Note]
) -> Claim:
    """One claim of several sources: a claim file says what it says, the submission fills in the rest."""
    sources = [*claim_files, *submissions]
    merged = Claim(name)
    for claim in sources:
        notes.extend(claim.notes)
        if (
            merged.score is not None
            and claim.score is not None
            and not merged.score.agrees_with(claim.score.value, claim.score.half_unit)
        ):
            message = f"{merged.score.source} says {merged.score}, {claim.score.source} says {claim.score}"
            notes.append(
                Note(NoteKind.AMBIGUOUS, f"two claimed scores: {message}; the first is audited", merged.score.source)
            )
        merged = _fill(merged, claim)
    table = dict(merged.steps_table) or (steps_table(readme) if readme else {})
    return replace(merged, name=name, steps_table=table, notes=tuple(notes))


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
    """What only the logs or the README know: a score where no JSON claims one, the tokenizer, T, sizes."""
    notes = list(claim.notes)
    score, claimed_in = claim.score, claim.claimed_in
    nats, same = claim.nats_per_token, claim.same_estimator
    null_claim = any(note.kind is NoteKind.NOT_A_NUMBER for note in notes)
    if score is None and not null_claim:
        chosen = _score_of_logs(claim.logs, notes) or _score_of_readme(claim.readme, notes)
        if chosen is not None:
            score, nats, same, claimed_in = chosen
    tokenizer, where = claim.tokenizer, claim.tokenizer_source
    if tokenizer is not None:
        tokenizer = the_one(tokenizers_in(tokenizer)) or tokenizer
    from_logs = [name for log in claim.logs for name in log.tokenizers]
    if claim.claimed_in != "claim file" and the_one(from_logs) is not None:
        tokenizer = the_one(from_logs)  # the path of the shards that were read outweighs prose
        where = Source(next(log.file for log in claim.logs if log.tokenizers))
    elif tokenizer is None and claim.readme is not None:
        tokenizer, where = the_one(claim.readme.tokenizers), Source(claim.readme.file)
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
        dataset=claim.dataset or the_one(log.dataset for log in claim.logs if log.dataset),
        protocol=protocol,
        notes=tuple(notes),
    )


_Chosen = tuple[Printed, Printed | None, bool, str]


def _score_of_logs(logs: Sequence[LogRecord], notes: list[Note]) -> _Chosen | None:
    """The score that logs alone claim: what a log ends with; over several logs, the mean."""
    finals = [log.final for log in logs if log.final is not None]
    if not finals:
        return None
    last = finals[-1]
    if len(finals) == 1:
        (log,) = (log for log in logs if log.final is not None)
        others = sorted({line.label for line in log.lines if not line.is_training_step} - {last.label})
        message = (
            f"no claim beside the log: its last score is taken, {last.label or last.bpb.name!r} at {last.bpb.source}"
        )
        if others:
            message += f"; other scores in it: {', '.join(label[:60] or 'unnamed' for label in others[:8])}"
        notes.append(Note(NoteKind.CHOICE, message, last.bpb.source))
        return last.bpb, last.nats_per_token, last.same_estimator, "log"
    if len({line.label for line in finals}) > 1:
        message = "no claim beside the logs, and they end with differently named scores"
        notes.append(Note(NoteKind.AMBIGUOUS, message, last.bpb.source))
        return None
    mean = _mean(finals)
    message = f"no claim beside the logs: the mean of their {len(finals)} last scores is taken"
    notes.append(Note(NoteKind.CHOICE, message, last.bpb.source))
    return mean


def _mean(lines: Sequence[ScoreLine]) -> _Chosen:
    first = lines[0]
    source = Source(first.bpb.source.file, key=f"mean over {len(lines)} logs")
    decimals = max(line.bpb.decimals or 0 for line in lines)
    bpb = Printed(sum(line.bpb.value for line in lines) / len(lines), decimals, source, first.bpb.name)
    nats = [line.nats_per_token for line in lines if line.nats_per_token is not None]
    loss = Printed(sum(n.value for n in nats) / len(nats), nats[0].decimals, source, nats[0].name) if nats else None
    if len(nats) != len(lines):
        loss = None
    return bpb, loss, all(line.same_estimator for line in lines), "log"


def _score_of_readme(readme: Readme | None, notes: list[Note]) -> _Chosen | None:
    if readme is None or not (readme.scores or readme.rows):
        return None
    score = readme.scores[0] if readme.scores else readme.rows[0].score
    notes.append(
        Note(NoteKind.CHOICE, f"no other claim: the README's first score is taken, at {score.source}", score.source)
    )
    return score, None, False, "readme"
