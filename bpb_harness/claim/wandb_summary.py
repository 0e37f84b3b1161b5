"""``wandb-summary.json``: of a run what each of its metrics was last, an object that Weights & Biases keeps.

Metrics that were logged in groups are nested (``{"val": {"bpb": ...}}``), as are those of which something else than the
last was asked for (``{"val_bpb": {"min": ...}}``). It says nothing of what is claimed; a score in it is evidence as a
line of a log is.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import PurePosixPath
from typing import Any, final

from bpb_harness.claim.names import is_score_name, stem
from bpb_harness.claim.printed import Printed, Source, from_json
from bpb_harness.claim.record import LogRecord, ScoreLine

NAME = "wandb-summary.json"
_MOST_METRICS = 5_000
_MOST_LEVELS = 8

_MARKS = frozenset({"_step", "_runtime", "_timestamp", "_wandb"})
# What wandb keeps of a metric below its name, where define_metric asks for it. A run ends with one of the first; the
# mean of a run, its first and its worst number are no scores.
_ENDS_WITH = ("min", "best", "last")
_NO_END = frozenset(("max", "mean", "first", "none", "copy", "std", "step", "steps", "epoch", "count", "n"))


@final
@dataclass(frozen=True)
class _Metric:
    """A number of a summary: the keys down to it, and what is held there."""

    keys: tuple[str, ...]
    held: object

    @property
    def kept(self) -> str | None:
        """Which number of several steps it is, where the last key says so."""
        return self.keys[-1] if len(self.keys) > 1 and self.keys[-1] in _ENDS_WITH else None

    @property
    def name(self) -> str:
        """``val/bpb``, as wandb's charts call it, nested or not."""
        return "/".join(self.keys if self.kept is None else self.keys[:-1])

    @property
    def beside(self) -> tuple[str, str | None]:
        """What a loss and a score of one estimator have in common."""
        return stem(plain_name(self.name)), self.kept

    @property
    def is_score(self) -> bool:
        is_no_end = len(self.keys) > 1 and self.keys[-1].lower() in _NO_END
        is_of_training = any(plain_name(key).startswith("train") for key in self.keys)
        return is_score_name(plain_name(self.name)) and not is_no_end and not is_of_training

    def printed(self, file: str) -> Printed | None:
        return from_json(self.held, self.source(file), self.name)

    def source(self, file: str) -> Source:
        return Source(file, key=".".join(self.keys))


def is_summary_name(file: str) -> bool:
    """Whether a file is one by its name, with folders before it or none."""
    return PurePosixPath(file).name.lower() == NAME


def is_wandb_summary(value: object) -> bool:
    """Whether the parsed JSON value of a file of that name is one: an object with what a run has, or with a score.

    A score alone is enough: an export may leave out the rest, and what contradicts a claim is never passed over.
    """
    if not isinstance(value, Mapping):
        return False
    return not _MARKS.isdisjoint(value) or any(is_score_name(plain_name(each.name)) for each in _metrics(value))


def read_wandb_summary(value: Mapping[str, Any], file: str) -> LogRecord:
    """The scores of a run, each with the loss of its own name beside it: ``val_loss`` beside ``val_bpb``.

    Args:
        value: the parsed JSON object; of what is nested 8 levels are read, of all of it 5,000 metrics.
        file: its name, for sources.

    Returns:
        The scores, what is nested deepest first: a run ends with what is not, and with the last of a metric.
    """
    metrics = list(_metrics(value))
    losses = {each.beside: each for each in metrics if "loss" in each.name.lower()}
    lines, spoilt_at = [], None
    for metric in sorted(metrics, key=lambda each: (-len(each.keys), _ENDS_WITH.index(each.kept or "last"))):
        if not metric.is_score:
            continue
        score = metric.printed(file)
        if score is None:
            spoilt_at = metric.source(file) if _is_spoilt(metric.held) else spoilt_at
            continue
        beside = losses.get(metric.beside)
        loss = beside.printed(file) if beside is not None else None
        lines.append(ScoreLine(metric.name, score, loss, same_estimator=loss is not None))
    return LogRecord(file, tuple(lines), spoilt_at=spoilt_at)


def plain_name(name: str) -> str:
    """``val_bpb`` of ``val/bpb`` and ``val.bpb``: charts are grouped by what stands before the stroke."""
    return re.sub(r"[/.]", "_", name).lower()


def _metrics(value: Mapping[str, Any]) -> Iterator[_Metric]:
    """What is not nested first, so that a large group cannot push it out of the number that is read."""
    return islice(_walk(value), _MOST_METRICS)


def _walk(value: Mapping[str, Any]) -> Iterator[_Metric]:
    waiting: deque[tuple[tuple[str, ...], Mapping[str, Any]]] = deque([((), value)])
    while waiting:
        above, group = waiting.popleft()
        for key, held in islice(group.items(), _MOST_METRICS):
            keys = (*above, key)
            if not isinstance(held, Mapping):
                yield _Metric(keys, held)
            elif len(keys) < _MOST_LEVELS and "_type" not in held:  # pictures, tables and histograms name their type
                waiting.append((keys, held))


def _is_spoilt(held: object) -> bool:
    """Whether a value is NaN or infinite, as a number, in words, or as None: JSON has no other word for it."""
    try:
        return held is None or (isinstance(held, float | str) and not math.isfinite(float(held)))
    except ValueError:
        return False
