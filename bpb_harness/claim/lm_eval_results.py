"""The file of results that lm-evaluation-harness writes, as a claim: its ``bits_per_byte`` of one task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bpb_harness.claim.printed import Source, from_json
from bpb_harness.claim.record import Claim, Note, NoteKind

_SCORE, _PERPLEXITY = "bits_per_byte", "byte_perplexity"
_MAX_TASKS_SHOWN = 5
PROGRAM = "lm-evaluation-harness"


def is_lm_eval_results(value: object) -> bool:
    """Whether a parsed JSON value has what every such file has."""
    if not isinstance(value, Mapping):
        return False
    return all(isinstance(value.get(key), Mapping) for key in ("results", "configs", "versions"))


def read_lm_eval_results(value: Mapping[str, Any], file: str) -> Claim:
    """A claim from a parsed file of results; of several tasks with a score none is chosen.

    Args:
        value: the parsed JSON object.
        file: its name, for sources.
    """
    scored = [
        (str(task), filtered, metrics)
        for task, metrics in value["results"].items()
        if isinstance(metrics, Mapping)
        for name, _, filtered in [str(key).partition(",") for key in metrics]
        if name == _SCORE
    ]
    if len(scored) != 1:
        shown = ", ".join(task for task, _, _ in scored[:_MAX_TASKS_SHOWN])
        message = f"{file} gives {_SCORE} of {len(scored)} tasks: {shown}; which is claimed, it does not say"
        if not scored:
            message = f"{file} gives no task's {_SCORE}, so it claims no score in bits per byte"
        kind = NoteKind.AMBIGUOUS if scored else NoteKind.NOT_A_NUMBER
        return Claim(file, written_by=PROGRAM, notes=(Note(kind, message, Source(file, key="results")),))
    ((task, filtered, metrics),) = scored
    number, perplexity = (
        from_json(metrics.get(f"{name},{filtered}"), Source(file, key=f"{task}.{name}"), name)
        for name in (_SCORE, _PERPLEXITY)
    )
    if number is None:
        message = f"{file}: {_SCORE} of {task} is no number"
        return Claim(
            file, title=task, written_by=PROGRAM, notes=(Note(NoteKind.NOT_A_NUMBER, message, Source(file, key=task)),)
        )
    return Claim(
        file, title=task, written_by=PROGRAM, score=number, claimed_in="submission", byte_perplexity=perplexity
    )
