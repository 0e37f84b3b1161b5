"""``wandb-summary.json``: of a run what each of its metrics was last, a flat object that Weights & Biases keeps.

It says nothing of what is claimed; a score in it is evidence as a line of a log is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import islice
from pathlib import PurePosixPath
from typing import Any

from bpb_harness.claim.names import is_score_name, stem
from bpb_harness.claim.printed import Source, from_json
from bpb_harness.claim.record import LogRecord, ScoreLine

NAME = "wandb-summary.json"
_MOST_METRICS = 5_000


_MARKS = frozenset({"_step", "_runtime", "_timestamp", "_wandb"})


def is_summary_name(file: str) -> bool:
    """Whether a file is one by its name, with folders before it or none."""
    return PurePosixPath(file).name.lower() == NAME


def is_wandb_summary(value: object) -> bool:
    """Whether the parsed JSON value of a file of that name is one: an object with what a run has, or with a score.

    A score alone is enough: an export may leave out the rest, and what contradicts a claim is never passed over.
    """
    if not isinstance(value, Mapping):
        return False
    return not _MARKS.isdisjoint(value) or any(is_score_name(_plain(name)) for name in islice(value, _MOST_METRICS))


def read_wandb_summary(value: Mapping[str, Any], file: str) -> LogRecord:
    """The scores of a run, each with the loss of its own name beside it: ``val_loss`` beside ``val_bpb``.

    Args:
        value: the parsed JSON object; what is nested in it is left alone.
        file: its name, for sources.
    """
    metrics = dict(islice(value.items(), _MOST_METRICS))
    losses = {stem(_plain(name)): name for name in metrics if "loss" in name.lower()}
    lines, spoilt_at = [], None
    for name, held in metrics.items():
        if not is_score_name(_plain(name)) or _plain(name).startswith("train"):
            continue
        source = Source(file, key=name)
        score = from_json(held, source, name)
        if score is None:
            spoilt_at = source if _is_spoilt(held) else spoilt_at
            continue
        beside = losses.get(stem(_plain(name)))
        loss = from_json(metrics[beside], Source(file, key=beside), beside) if beside is not None else None
        lines.append(ScoreLine(name, score, loss, same_estimator=loss is not None))
    return LogRecord(file, tuple(lines), spoilt_at=spoilt_at)


def _plain(name: str) -> str:
    """``val_bpb`` of ``val/bpb``: charts are grouped by what stands before the stroke."""
    return name.replace("/", "_").replace(".", "_").lower()


def _is_spoilt(held: object) -> bool:
    """Whether a value is NaN or infinite, as a number, in words, or as None: JSON has no other word for it."""
    try:
        return held is None or (isinstance(held, float | str) and not math.isfinite(float(held)))
    except ValueError:
        return False
