"""BPB301: what a log, or a command of the README, says of the part of the text that an evaluation goes over.

A setting may be another evaluation's than the one that is claimed, so what is found holds a score back and never
refutes it; a line that counts the tokens of its own score decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from bpb_harness.auditing import codes
from bpb_harness.auditing.evidence import WHOLE_SPLIT, Evidence
from bpb_harness.auditing.said import texts_of_scripts
from bpb_harness.claim import LogRecord, ScoreLine
from bpb_harness.claim.settings import is_of_a_trial, settings_of
from bpb_harness.claim.told_by_log import PartTold, limited_by
from bpb_harness.findings import Finding

# Far more bytes than tokens of any vocabulary have, and than the documents of a text of the web have on average: what
# is still no whole text by these is a part of it, whichever tokenizer it was.
_MOST_BYTES_OF_A_TOKEN, _MOST_BYTES_OF_A_DOCUMENT = 20, 20_000
_LONGEST_WINDOW, _LARGEST_BATCH = 16_384, 1 << 20  # in tokens, where the log tells of none
# Evaluations of the network as it is, beside which such a setting often belongs to one that adapts it.
_AS_IT_IS = re.compile(r"round[-_ ]?trip|pre[-_ ]?quant|pre[-_ ]?ttt|post[-_ ]?ema|diagnostic", re.IGNORECASE)
_NUMBER = re.compile(r"[0-9][0-9_]{0,17}")


@dataclass(frozen=True)
class _Told:
    place: str
    words: str
    part: str  # what that is of the text
    num_tokens: int | None = None


def check_part_told(evidence: Evidence) -> Iterator[Finding]:
    """A part of the text that was scored by the words of a log or of a command; nothing where the score counts it."""
    claim = evidence.claim
    if claim.score is None or evidence.scored_tokens is not None or claim.protocol.slice_text is not None:
        return
    told = next((found for line in evidence.lines if (found := _by_log(evidence, line)) is not None), None)
    told = told or _by_command(evidence)
    if told is None:
        return
    message = (
        f"{told.place} says {told.words!r}, {told.part}; nothing says that the score is of more than that, so it is "
        "taken for no score of the whole split"
    )
    yield codes.SLICE.finding(
        message,
        scored_tokens=told.num_tokens,
        scored_by=f"{told.place} says so",
        split_tokens=evidence.full.num_tokens if evidence.full else None,
        place=told.place,
        missing="a score of the whole split, with the number of tokens that were scored",
    )


def _by_log(evidence: Evidence, line: ScoreLine) -> _Told | None:
    log = evidence.log_of(line)
    place = line.bpb.source.line
    if log is None or place is None:
        return None
    counted = [line.counted] if line.counted is not None else []
    before = [part for part in log.parts if part.run == line.run and (part.source.line or 0) < place] + counted
    return (
        _of_count(line, log, before)
        or _of_setting(evidence, line, [part for part in before if not part.is_counted])
        or _of_limit(evidence, line, log, [part for part in before if part.count is not None])
        or _of_bound(evidence, line, log)
    )


def _of_count(line: ScoreLine, log: LogRecord, before: list[PartTold]) -> _Told | None:
    """The last share that an evaluation counted, behind which no other score stands before this one."""
    last = next((part for part in reversed(before) if part.is_counted and part.fraction is not None), None)
    if last is None or not _is_next(line, log, last) or not 0.0 < (last.fraction or 0.0) < WHOLE_SPLIT:
        return None
    return _Told(str(last.source), last.words, f"{100.0 * (last.fraction or 0.0):.3g} % of the text")


def _is_next(line: ScoreLine, log: LogRecord, told: PartTold) -> bool:
    """Whether a score is the first behind a line, or the same as that: validations during training aside."""
    end, start = line.bpb.source.line or 0, told.source.line or 0
    others = [other for other in log.lines if not other.is_training_step]
    between = [other for other in others if start < (other.bpb.source.line or 0) < end]
    return all(abs(other.bpb.value - line.bpb.value) <= other.bpb.half_unit * 1.01 for other in between)


def _of_setting(evidence: Evidence, line: ScoreLine, before: list[PartTold]) -> _Told | None:
    """The last share that was set, for a score that is no validation during training and none of the plain network."""
    last = next((part for part in reversed(before) if part.fraction is not None), None)
    if last is None or line.is_training_step or _AS_IT_IS.search(line.label):
        return None
    assert last.fraction is not None
    if not 0.0 < last.fraction < WHOLE_SPLIT or (last.may_be_held_out and evidence.full is None):
        return None  # of no known split, a share may be what was held out of one's own text, and whole
    return _Told(str(last.source), last.words, f"{100.0 * last.fraction:g} % of the text")


def _of_limit(evidence: Evidence, line: ScoreLine, log: LogRecord, counts: list[PartTold]) -> _Told | None:
    """Too few documents, windows or tokens for the split: the last that were counted, or that an evaluation may take.

    Behind what was counted no other score stands before this one.
    """
    last = next(reversed(counts), None)
    if last is None or (last.is_counted and not _is_next(line, log, last)):
        return None
    share = _share_of(evidence, last.count or 0, last.unit or "", log.window or _LONGEST_WINDOW)
    num_tokens = last.count if last.unit == "tokens" else None
    return None if share is None else _Told(str(last.source), last.words, share, num_tokens)


def _share_of(evidence: Evidence, count: int, unit: str, window: int) -> str | None:
    """What so many units are of the split at most, in words; None where they may be all of it."""
    num_bytes, full = evidence.bytes_of_split, evidence.full
    if unit == "bytes":
        if num_bytes is None or not 0 < count < WHOLE_SPLIT * num_bytes:
            return None
        return f"{100.0 * count / num_bytes:.2g} % of the split's {num_bytes / 1e6:.2f} MB"
    tokens = count * {"tokens": 1, "windows": window, "batches": _LARGEST_BATCH}.get(unit, 0)
    if tokens and full is not None:
        is_part = tokens < WHOLE_SPLIT * full.num_tokens
        return f"at most {tokens:,} tokens, {100.0 * tokens / full.num_tokens:.2g} % of the split" if is_part else None
    most = tokens * _MOST_BYTES_OF_A_TOKEN or count * _MOST_BYTES_OF_A_DOCUMENT
    if num_bytes is None or not 0 < most < num_bytes:
        return None
    return f"and so few {unit} would have to have {num_bytes // count:,} bytes each to be the whole split"


def _of_bound(evidence: Evidence, line: ScoreLine, log: LogRecord) -> _Told | None:
    """The largest number of tokens that the run tells, where that is far below the split's and no other is said."""
    counts = [part for part in log.parts if part.tokens is not None and part.run == line.run]
    num_bytes = evidence.bytes_of_split
    if not counts or num_bytes is None or log.split_tokens or line.is_training_step:
        return None
    largest = max(counts, key=lambda part: part.tokens or 0)
    if largest.tokens is None or not 0 < largest.tokens * _MOST_BYTES_OF_A_TOKEN < num_bytes:
        return None
    words = f"{largest.tokens:,} tokens, which is the most that the log tells of its text"
    return _Told(str(largest.source), largest.words, words, largest.tokens)


def _by_command(evidence: Evidence) -> _Told | None:
    """The most that every command of the README lets an evaluation score; of tokens, if no log loads a known number."""
    readme, logs = evidence.claim.readme, evidence.claim_logs or evidence.claim.logs
    if readme is None or evidence.full is None:
        return None
    is_loaded = any(log.split_tokens for log in logs)
    window = max((log.window or 0 for log in logs), default=0) or _LONGEST_WINDOW
    for name, value in settings_of(readme.text).items():
        unit = limited_by(name, is_told=True)
        if unit is None or (unit == "tokens" and is_loaded) or _NUMBER.fullmatch(value) is None:
            continue
        count = int(value.replace("_", ""))
        share = _share_of(evidence, count, unit, window)
        if share is not None and _is_asked_for(evidence, name) and not is_of_a_trial(readme.text, name):
            return _Told(readme.file, f"{name}={value}", share, count if unit == "tokens" else None)
    return None


def _is_asked_for(evidence: Evidence, name: str) -> bool:
    """Whether a script of the record, or one in a log, asks for a setting; where none can be read, none denies it."""
    logs = evidence.claim_logs or evidence.claim.logs
    held = [log.path for log in logs if log.path is not None and log.embedded_code_lines]
    texts = [*texts_of_scripts((*evidence.claim.scripts, *held))]
    return not texts or any(name in text for text in texts)
