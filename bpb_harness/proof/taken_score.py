"""A score that is there already: its settings, and the job that it is the score of, with nothing scored again."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import fields
from pathlib import Path
from typing import Any

from bpb_harness.errors import InputError, UsageError
from bpb_harness.evaluation.api import load_job
from bpb_harness.evaluation.job import Job
from bpb_harness.evaluation.settings import DEFAULTS, FLAGS, Settings
from bpb_harness.evaluation.trust import Contract
from bpb_harness.formats import read_result
from bpb_harness.formats.scored_again import is_of_answers
from bpb_harness.proof.settings_of_score import DIRECT, settings_of
from bpb_harness.result import BpbResult

_OF_SCORING = ("tolerance", "resume", "compare")
_ORDERED = ("order", "tokens_per_step", "per_document", "check_contract", "limit")
_HINTS = {
    "model": "pass the checkpoint that was scored",
    "data": "pass the --data or --docs that was scored, and its --limit",
    "tokenizer": "pass the --tokenizer that it was scored with",
    "separator": "pass the --separator that it was scored with",
    "adapter": "pass the --adapter that it was scored with",
    "given": "pass the --context-field and --target-field that it was scored with",
    "contract": "score the checkpoint's file with bpb-eval",
}


def settings_beside(result: BpbResult, given: dict[str, Any], explicit: Collection[str]) -> Settings:
    """The settings of a score, and beside them those that its signature does not hold.

    Args:
        result: the score.
        given: settings of the command.
        explicit: which of them were given, by name.

    Raises:
        UsageError: for one that the score contradicts, or that is of scoring.
        InputError: if the signature states what no setting takes.
    """
    for name in _OF_SCORING:
        if name in explicit:
            raise UsageError(
                f"{FLAGS[name].name} with --score", seen="a score that is there already", expected="one of the two",
                hint=f"leave out {FLAGS[name].name}",
            )  # fmt: skip
    stated = settings_of(result.signature)
    derives_limit = not (stated.get("block_size") and not is_of_answers(result.signature) and "limit" in stated)
    if not derives_limit:  # blocks are counted there, windows here
        stated.pop("limit")
    known = {name: DEFAULTS[name] for name in (*DIRECT, *_ORDERED) if name != "limit" or derives_limit} | stated
    for name, value in known.items():
        if name in explicit and given[name] != value:
            raise UsageError(
                f"{FLAGS[name].name} with --score", seen=given[name], expected=f"{value}, as the score says",
                hint=f"leave out {FLAGS[name].name}",
            )  # fmt: skip
    return Settings(**given | stated)


def load_scored(checkpoint: Path, settings: Settings, file: Path) -> tuple[Job, BpbResult]:
    """The job that a score is of; the network is asked whether it keeps its contract, as before scoring.

    Args:
        checkpoint: that was scored.
        settings: those of :func:`settings_beside`.
        file: of the score.

    Raises:
        InputError: if anything that the signature holds is not what is found here.
        HarnessError: for what cannot be scored, and a network that breaks its contract.
    """
    result = read_result(file)
    job = load_job(checkpoint, settings)
    job.require_scorable()
    layout = job.lay_out()
    passes = int(result.signature.passes or 1)
    found, stated = job.signature(layout, passes), result.signature
    for entry in fields(stated):
        here, there = getattr(found, entry.name), getattr(stated, entry.name)
        if entry.name == "seed" and here is None:  # nothing is drawn; older files state it all the same
            continue
        if entry.name != "version" and (here or entry.default) != (there or entry.default):
            raise InputError(
                f"{file.name} is another score: {entry.metadata['key']}", seen=f"{here} here", expected=there,
                hint=_HINTS.get(entry.name, f"pass the {entry.metadata['key']} that it was scored with"),
            )  # fmt: skip
    length = layout.code_length(result.length.nats)
    if length != result.length:
        raise InputError(
            f"{file.name} is another score", seen=f"{length.num_tokens:,} tokens, {length.num_bytes:,} bytes here",
            expected=f"{result.length.num_tokens:,} and {result.length.num_bytes:,}", hint=_HINTS["data"],
        )  # fmt: skip
    if settings.check_contract:
        Contract(job)
    return job, result
