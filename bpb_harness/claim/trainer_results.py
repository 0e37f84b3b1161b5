"""What Hugging Face's Trainer and Lightning write of a run, as claims: a score in bits per byte that the user added.

Trainer's ``trainer_state.json`` has a list of what was logged; ``eval_results.json`` and ``all_results.json`` have the
last numbers. Lightning's ``metrics.csv`` has a row a step and a column a metric. Neither knows bits per byte: where
nobody added such a metric there is a loss alone, which is no claim.

The loss beside a score is not taken for nats per token of the same text: both average over batches by their number of
samples, which is the mean over tokens only where every sample has as many.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from itertools import islice
from typing import Any

from bpb_harness.claim.names import is_score_name
from bpb_harness.claim.printed import Printed, Source, from_json, parse_number
from bpb_harness.claim.record import Claim, Note, NoteKind

_MOST_ROWS = 1_000_000
_PROGRAM = "a trainer"
_LOSSES = ("eval_loss", "test_loss", "val_loss", "valid_loss", "validation_loss")


@dataclass(frozen=True)
class _Evaluation:
    """One evaluation of a run.

    Attributes:
        scores: what it gives in bits per byte.
        loss: its loss; None where it gives none.
        step: of training.
        spoilt: the names of scores that it gives as NaN or infinite, and where.
    """

    scores: tuple[Printed, ...]
    loss: Printed | None
    step: int | None
    spoilt: tuple[tuple[str, Source], ...] = ()


def is_trainer_state(value: object) -> bool:
    """Whether a parsed JSON value is a ``trainer_state.json``."""
    return isinstance(value, Mapping) and isinstance(value.get("log_history"), list) and "global_step" in value


def is_trainer_results(value: object) -> bool:
    """Whether it is an ``eval_results.json`` or ``all_results.json``: flat, with a loss that Trainer names so."""
    if not isinstance(value, Mapping) or any(isinstance(held, Mapping | list) for held in value.values()):
        return False
    return "eval_loss" in value and ("epoch" in value or "eval_runtime" in value)


def is_lightning_table(text: str) -> bool:
    """Whether a text is a ``metrics.csv`` of Lightning's CSVLogger, which always has a step and an epoch."""
    return {"epoch", "step"} <= {name.strip() for name in text[:10_000].partition("\n")[0].split(",")}


def read_trainer_state(value: Mapping[str, Any], file: str) -> Claim:
    """A claim from a parsed ``trainer_state.json``: of its last evaluation, if that is the one that was kept.

    Args:
        value: the parsed JSON object.
        file: its name, for sources.
    """
    entries = [entry for entry in value["log_history"] if isinstance(entry, Mapping)]
    evaluations = [
        _evaluation(entry, Source(file, key=f"log_history.{number}"), entry.get("step"))
        for number, entry in enumerate(entries)
    ]
    claim = _claim_of([each for each in evaluations if each.scores or each.loss or each.spoilt], file)
    kept = value.get("best_model_checkpoint")
    best = from_json(value.get("best_metric"), Source(file, key="best_metric"))
    if claim.score is None or kept is None or best is None:
        return claim
    if best.agrees_with(claim.score.value, claim.score.half_unit):
        return claim
    if not any(best.agrees_with(score.value, score.half_unit) for each in evaluations for score in each.scores):
        return claim  # best by something else than the score
    message = (
        f"{file} names {str(kept)[-80:]!r} as the checkpoint that was kept, with {best}, and its last evaluation gives "
        f"{claim.score}: which is claimed, it does not say"
    )
    return _without(NoteKind.AMBIGUOUS, message, Source(file, key="best_metric"))


def read_trainer_results(value: Mapping[str, Any], file: str) -> Claim:
    """A claim from a parsed ``eval_results.json`` or ``all_results.json``.

    Args:
        value: the parsed JSON object.
        file: its name, for sources.
    """
    return _claim_of([_evaluation(value, Source(file), None)], file)


def read_lightning_table(text: str, file: str) -> Claim:
    """A claim from a ``metrics.csv``: the last row that gives a score.

    Args:
        text: the file's.
        file: its name, for sources.
    """
    rows = csv.DictReader(StringIO(text), restval="")
    evaluations: list[_Evaluation] = []
    try:
        columns = [_plain(name) for name in rows.fieldnames or ()]
        twice = next((name for name in columns if columns.count(name) > 1 and is_score_name(name)), None)
        if twice is not None:
            message = f"{file} has two columns {twice}: which is claimed, it does not say"
            return _without(NoteKind.AMBIGUOUS, message, Source(file, 1))
        for row in islice(rows, _MOST_ROWS):
            found = _evaluation(row, Source(file, rows.line_num), row.get("step"))
            if found.scores or found.loss or found.spoilt:
                evaluations.append(found)
    except csv.Error as problem:
        return _without(NoteKind.UNREADABLE, f"{file} is no table that is read: {problem}", Source(file, rows.line_num))
    return _claim_of(evaluations, file)


def _without(kind: NoteKind, message: str, source: Source) -> Claim:
    """No claim, and why."""
    return Claim(source.file, written_by=_PROGRAM, notes=(Note(kind, message, source),))


def _plain(name: object) -> str:
    return str(name).replace("/", "_").replace("-", "_").lower()


def _evaluation(metrics: Mapping[Any, Any], source: Source, step: Any) -> _Evaluation:
    scores, spoilt, loss = [], [], None
    for name, held in metrics.items():
        plain = _plain(name)
        if plain.startswith("train") or plain.endswith("_step"):
            continue
        named = Source(source.file, source.line, str(name) if source.key is None else f"{source.key}.{name}")
        if is_score_name(plain) and (score := _number(held, named, str(name))) is not None:
            scores.append(score)
        elif is_score_name(plain) and _is_spoilt(held):
            spoilt.append((str(name), named))
        elif plain.removesuffix("_epoch") in _LOSSES:
            loss = loss or _number(held, named, str(name))
    return _Evaluation(tuple(scores), loss, _step(step), tuple(spoilt))


def _is_spoilt(held: Any) -> bool:
    """Whether it is NaN or an infinity, as a number or as text, or null, as NaN is read; an empty cell is none."""
    try:
        return held is None or (isinstance(held, str | float) and not math.isfinite(float(held)))
    except ValueError:
        return False


def _number(held: Any, source: Source, name: str) -> Printed | None:
    number = parse_number(held, source, name) if isinstance(held, str) else from_json(held, source, name)
    return number if number is not None and number.value > 0.0 else None


def _step(held: Any) -> int | None:
    try:
        return int(held)
    except (TypeError, ValueError, OverflowError):
        return None


def _claim_of(evaluations: Sequence[_Evaluation], file: str) -> Claim:
    scored = [each for each in evaluations if each.scores]
    if not scored:
        # No claim, and none denied: a log beside it may print a score.
        return Claim(file, written_by=_PROGRAM, loss_alone=next((each.loss for each in reversed(evaluations)), None))
    last = scored[-1]
    after = [each for each in evaluations[evaluations.index(last) :] if each.spoilt]
    if after:
        name, place = after[-1].spoilt[0]
        message = f"{place}: the last {name} is no finite number{_at(after[-1])}"
        return _without(NoteKind.NOT_A_NUMBER, message, place)
    names = {score.name for each in scored for score in each.scores}
    if len(names) > 1:
        message = f"{file} gives several scores, {', '.join(sorted(names))}: which is claimed, it does not say"
        return _without(NoteKind.AMBIGUOUS, message, Source(file))
    (score,) = last.scores
    return Claim(
        file, written_by=_PROGRAM, score=score, claimed_in="submission", notes=tuple(_notes(score, last, scored, file))
    )


def _notes(score: Printed, last: _Evaluation, scored: Sequence[_Evaluation], file: str) -> Iterator[Note]:
    if len(scored) > 1:
        message = f"{file} gives {len(scored)} evaluations: the last is taken{_at(last)}"
        yield Note(NoteKind.CHOICE, message, score.source)
    if last.loss is not None:
        message = (
            f"{last.loss.name} {last.loss} beside the score is a mean over batches, which is one over tokens only "
            "where every sample has as many: no bytes per token are read off the two"
        )
        yield Note(NoteKind.CHOICE, message, last.loss.source)


def _at(each: _Evaluation) -> str:
    return "" if each.step is None else f" (step {each.step})"
