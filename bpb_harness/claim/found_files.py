"""The files of a record, one by one: which are of it, and what each holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bpb_harness.claim.claim_file import is_claim_file, lacks_format, read_claim_file
from bpb_harness.claim.listing import LARGEST_JSON, kind_by_name
from bpb_harness.claim.lm_eval_results import is_lm_eval_results, read_lm_eval_results
from bpb_harness.claim.log_reader import read_log
from bpb_harness.claim.nanochat_report import is_nanochat_report, read_nanochat_report
from bpb_harness.claim.own_result import is_own_file, is_result, read_own_result
from bpb_harness.claim.printed import Source
from bpb_harness.claim.reading import Reading
from bpb_harness.claim.readme_reader import read_readme
from bpb_harness.claim.record import Claim, LogRecord, Note, NoteKind, Readme
from bpb_harness.claim.score_table import read_score_table
from bpb_harness.claim.submission import read_submission
from bpb_harness.claim.text_file import read_text
from bpb_harness.claim.tolerant_json import DuplicateKey, parse_json
from bpb_harness.claim.trainer_results import (
    is_lightning_table,
    is_trainer_results,
    is_trainer_state,
    read_lightning_table,
    read_trainer_results,
    read_trainer_state,
)
from bpb_harness.claim.wandb_summary import is_wandb_summary, read_wandb_summary
from bpb_harness.errors import ClaimError

_LARGEST_README = 4 << 20
_LARGEST_TABLE = 4 << 20
_MAX_VALUES_SHOWN = 5


@dataclass
class FoundFiles:
    """What the files of a record hold, taken one by one.

    Attributes:
        named: files that somebody named; of the others some are left alone.
        has_submission: a submission.json is among them.
        reading: what is looked for.
        notes: remarks about the reading.
        states: of each trainer_state.json its depth, what it holds and its name; one of them counts.
        summaries: what wandb kept of runs.
        written_by_hand: those of the claim files that are not a score's own.
        read: names of files that were read.
    """

    named: frozenset[Path]
    has_submission: bool
    reading: Reading
    notes: list[Note]
    logs: list[LogRecord] = field(default_factory=list)
    submissions: list[Claim] = field(default_factory=list)
    states: list[tuple[int, Any, str]] = field(default_factory=list)
    claim_files: list[Claim] = field(default_factory=list)
    written_by_hand: list[Claim] = field(default_factory=list)
    readme: Readme | None = None
    scripts: list[Path] = field(default_factory=list)
    tables: list[LogRecord] = field(default_factory=list)
    summaries: list[LogRecord] = field(default_factory=list)
    read: list[str] = field(default_factory=list)

    def take(self, file: Path, shown: Path, short: str) -> None:
        """One file more; what cannot be read is a note, or an error where somebody named it."""
        kind = kind_by_name(shown) or "log"  # a file that somebody names is a log unless its name says otherwise
        if kind == "script" and not (file in self.named and _is_empty(file)):
            self.scripts.append(file)
            self.read.append(short)
            return
        is_submission = shown.name.lower() == "submission.json"
        try:
            self._take_text(file, shown, short, kind)
        except ClaimError as problem:
            if not is_submission:
                if file in self.named or "claim" in shown.name.lower():
                    raise
                if kind in ("json", "table") or _is_empty(file):
                    return  # some other JSON of the folder
            self.notes.append(Note(NoteKind.UNREADABLE, str(problem), Source(short)))

    def _take_text(self, file: Path, shown: Path, short: str, kind: str) -> None:
        if _is_empty(file):
            raise ClaimError(f"{short} is empty", seen="0 bytes", expected="a record of a score")
        limit = {"json": LARGEST_JSON, "summary": LARGEST_JSON, "readme": _LARGEST_README, "table": _LARGEST_TABLE}.get(
            kind
        )
        text_file = read_text(file, short, limit) if limit else read_text(file, short)
        is_taken = True
        if kind == "summary":
            is_taken = self._take_summary(text_file.text, file, short)
        elif kind == "json":
            is_taken = self._take_json(text_file.text, file, shown, short)
        elif kind in _WANTED:
            is_taken = self._take_of_a_trainer(text_file.text, file, short, kind)
        elif kind == "table" and file not in self.named:
            table = read_score_table(text_file.text, short)
            is_taken = bool(table.lines)
            self.tables += [replace(table, path=file)] if is_taken else []
        elif kind == "readme":
            self.readme = self.readme or read_readme(text_file.text, short)
        else:
            self.logs.append(replace(read_log(text_file.text, short, self.reading.templates), path=file))
        if is_taken:
            self.notes.extend(text_file.notes)
            self.read.append(short)

    def _take_json(self, text: str, file: Path, shown: Path, short: str) -> bool:
        """Whether the file is of the record: what an author writes beside a submission is not, unless it is named."""
        parsed, is_named = parse_json(text, short), file in self.named
        is_submission = shown.name.lower() == "submission.json"
        if is_own_file(parsed.value):
            if not is_named and (self.has_submission or not is_result(parsed.value)):
                return False
            self.claim_files.append(read_own_result(text, short))
        elif is_claim_file(parsed.value) or (lacks_format(parsed.value) and not is_submission):
            self.written_by_hand.append(read_claim_file(parsed.value, short))
            self.claim_files.append(self.written_by_hand[-1])
        elif is_trainer_state(parsed.value) and not is_named:
            self.states.append((len(shown.parts), parsed.value, short))
            return False
        elif is_submission or is_named or not self.has_submission:
            self.submissions.append(read_json_claim(parsed.value, short, self.reading))
        else:
            return False  # a configuration or a result of its own: not what was submitted
        self.notes.extend(_json_notes(parsed.repairs, parsed.duplicate_keys, short))
        return True

    def _take_summary(self, text: str, file: Path, short: str) -> bool:
        parsed = parse_json(text, short)
        if not is_wandb_summary(parsed.value):
            if file in self.named:
                raise ClaimError(
                    f"{short} is no record that is read", expected="a summary of wandb, with its _step or a score"
                )
            return False
        summary = read_wandb_summary(parsed.value, short)
        self.summaries += [replace(summary, path=file)] if summary.lines or summary.spoilt_at else []
        self.notes.extend(_json_notes(parsed.repairs, parsed.duplicate_keys, short))
        return True

    def place_summaries(self) -> None:
        """Summaries of runs stand for logs where none prints a score, and beside those that do: of the same runs."""
        (self.tables if any(log.lines or log.spoilt_at for log in self.logs) else self.logs).extend(self.summaries)

    def _take_of_a_trainer(self, text: str, file: Path, short: str, kind: str) -> bool:
        is_named = file in self.named
        written = None if self.has_submission and not is_named else _of_a_trainer(text, kind, short)
        if written is None and is_named:
            raise ClaimError(f"{short} is no record that is read", expected=_WANTED[kind])
        if written is not None:
            self.submissions.append(written)
        return written is not None

    def take_state(self) -> None:
        """Of several states of Trainer the run's own: each checkpoint has one too, with all that came before it."""
        if self.states and not self.has_submission:
            _, value, short = min(self.states, key=lambda state: (state[0], -_steps_of(state[1])))
            self.submissions.append(read_trainer_state(value, short))
            self.read.append(short)


_WANTED = {
    "report": "a nanochat report, which begins with '# nanochat training report'",
    "metrics": "a metrics.csv of Lightning, with the columns step and epoch",
}


def _of_a_trainer(text: str, kind: str, file: str) -> Claim | None:
    """The claim in a report or a table of metrics; None for one of another kind."""
    if kind == "report":
        return read_nanochat_report(text, file) if is_nanochat_report(text) else None
    return read_lightning_table(text, file) if is_lightning_table(text) else None


def _steps_of(state: Any) -> int:
    steps = state["global_step"]
    return steps if isinstance(steps, int) else 0


def read_json_claim(value: Any, file: str, reading: Reading) -> Claim:
    """The claim in a parsed JSON value that is neither a claim file nor of ours: whoever wrote it."""
    if is_lm_eval_results(value):
        return read_lm_eval_results(value, file)
    if is_trainer_state(value):
        return read_trainer_state(value, file)
    if is_trainer_results(value):
        return read_trainer_results(value, file)
    return read_submission(value, file, reading)


def _is_empty(file: Path) -> bool:
    return file.is_file() and file.stat().st_size == 0


def _json_notes(repairs: Sequence[str], duplicate_keys: Sequence[DuplicateKey], file: str) -> Iterator[Note]:
    for repair in repairs:
        kind = NoteKind.ENCODING if "byte-order mark" in repair else NoteKind.REPAIRED
        yield Note(kind, f"{file} is not valid JSON: {repair}; read all the same", Source(file))
    for twice in duplicate_keys:
        values = " and ".join(twice.values[:_MAX_VALUES_SHOWN])
        message = f"{file} holds {twice.key[:60]!r} more than once, as {values}; the last, {twice.taken}, is audited"
        yield Note(NoteKind.AMBIGUOUS, message, Source(file, key=twice.key))
