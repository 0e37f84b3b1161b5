"""What is compared: a score in memory, a file of one, or a checkpoint that is scored now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from bpb_harness.costs import ScoreCosts, is_score_file
from bpb_harness.distinct_names import distinct_names
from bpb_harness.errors import CheckpointError, UsageError
from bpb_harness.evaluation.draw_file import is_draw_file, read_score
from bpb_harness.evaluation.flags import AnyPath
from bpb_harness.evaluation.resumed import is_adaptation_file
from bpb_harness.evaluation.settings import as_path
from bpb_harness.result import BpbResult

_OF_JSON = 64  # bytes, in which the name of its format stands
System = AnyPath | BpbResult | ScoreCosts


def find_costs(system: System, settings: Mapping[str, Any]) -> ScoreCosts:
    """The record of a system; a checkpoint is scored.

    Raises:
        UsageError: for a result without its costs, or settings of a score that is there already.
        HarnessError: for what cannot be read or scored.
    """
    if isinstance(system, ScoreCosts):
        return system
    if isinstance(system, BpbResult):
        if system.costs is None:
            raise UsageError(
                "a result without the costs of its documents", hint="score it with with_costs=True, or --score-file"
            )
        return system.costs
    path = Path(system)
    if is_score_file(path):
        return ScoreCosts.read(path)
    if is_draw_file(path):
        return read_score(path)
    from bpb_harness.checkpoints.read import CHECKPOINT_FORMATS
    from bpb_harness.evaluation.api import evaluate  # deferred: imports torch

    try:
        costs = evaluate(path, **{**settings, "with_costs": True}).costs
    except CheckpointError as error:
        if error.expected != CHECKPOINT_FORMATS:
            raise
        expected = f"{CHECKPOINT_FORMATS}, or a file of --score-file"
        raise CheckpointError(error.what, seen=error.seen, expected=expected, hint=error.hint) from None
    assert costs is not None
    return costs


def require_costs(system: System) -> None:
    """Refuse what is not there, and what looks like a score and has not what each document cost, before any is scored.

    Raises:
        UsageError: for no file, an empty text or file, what --format json wrote, and for a file of --resume with --ttt.
    """
    if isinstance(system, ScoreCosts | BpbResult):
        return
    path = as_path(system)
    if not is_scored_now(path):
        return
    if not path.exists():
        raise UsageError(
            f"no checkpoint and no score file at {path}",
            hint="pass a checkpoint that exists, or what bpb-eval --score-file wrote",
        )
    if path.is_file() and not path.stat().st_size:
        raise UsageError(
            f"{path.name} is neither a checkpoint nor a score file", seen="an empty file",
            expected="a checkpoint, or a file of --score-file",
        )  # fmt: skip
    if is_adaptation_file(path):
        raise UsageError(
            f"{path.name} is a file of --ttt", expected="a checkpoint, or a file of --score-file",
            hint="pass what bpb-eval --score-file wrote in that run",
        )  # fmt: skip
    if path.is_file():
        with path.open("rb") as file:
            start = file.read(_OF_JSON)
        if start.startswith(b"{") and b'"bpb-' in start:
            raise UsageError(
                path.name, seen="a score as JSON, without the costs of its documents",
                expected="a checkpoint, or a file of --score-file",
                hint="score it again by bpb-eval with --score-file FILE, or name its checkpoint",
            )  # fmt: skip


def is_scored_now(system: System) -> bool:
    """Whether a system is a checkpoint, so that settings are for it.

    Raises:
        UsageError: for what is no system.
    """
    if isinstance(system, ScoreCosts | BpbResult):
        return False
    if not isinstance(system, str | PathLike):
        hint = "a network in memory is scored first: evaluate(network, with_costs=True, ...)"
        raise UsageError(
            "a system to compare", seen=type(system).__name__, expected="a checkpoint, a file of a score, or a result",
            hint="one by one: compare(*systems)" if isinstance(system, list | tuple) else hint,
        )  # fmt: skip
    return not is_score_file(Path(system)) and not is_draw_file(Path(system))


def names_of(systems: Sequence[System]) -> list[str]:
    """What each is called: its file without the ending, or its model's digest; of files that are called alike, with as
    much of their paths as tells them apart, and of the same one again, with its number.
    """
    plain = [_name(system) for system in systems]
    paths = [
        Path(each if isinstance(each, str | PathLike) else name) for each, name in zip(systems, plain, strict=True)
    ]
    names = distinct_names(paths, plain)
    return [
        name if names.count(name) == 1 else f"{name}#{names[: index + 1].count(name)}"
        for index, name in enumerate(names)
    ]


def _name(system: System) -> str:
    if isinstance(system, BpbResult):
        return f"model {system.signature.model}"
    if isinstance(system, ScoreCosts):
        return f"model {system.model[:8]}"
    path = Path(system)
    return path.stem if path.is_file() else path.name
