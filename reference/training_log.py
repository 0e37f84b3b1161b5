"""What the log of a run says of it, and whether that fits a checkpoint and the text that it is scored on.

A log beside a score is believed by whoever reads it. That of another run, or of one that has learnt the very text, is
worse than none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from bpb_harness.checkpoints import Checkpoint, read_checkpoint
from bpb_harness.errors import UsageError
from reference.data import Shard, map_shards

_DESCRIPTION = re.compile(r"^(?P<objective>\w+): (?P<parameters>[\d,]+) parameters, [\d,]+ tokens of data, ", re.M)
_SAVED = re.compile(r"^saved weights (?P<digest>[0-9a-f]{16})$", re.M)
_TRAINED_ON = re.compile(r"^trained on (?P<name>.+): (?P<fingerprint>[0-9a-f]{16})$", re.M)


def description(objective: str, num_parameters: int, num_tokens: int, steps: str) -> str:
    """What is trained on what, in a line that :func:`require_log_of` reads."""
    return f"{objective}: {num_parameters:,} parameters, {num_tokens:,} tokens of data, {steps}"


def saved(digest: str) -> str:
    """Which checkpoint was written, by its digest."""
    return f"saved weights {digest[:16]}"


def trained_on(shards: Sequence[Shard]) -> list[str]:
    """A line a shard."""
    return [f"trained on {shard.path.name}: {shard.fingerprint}" for shard in shards]


def require_log_of(log: str, checkpoint: Path) -> None:
    """Refuse the log of a run that another checkpoint came from, as far as it tells: its last run counts.

    Raises:
        UsageError: another number of parameters or objective; and of a checkpoint that is as the trainer saved it, one
            that the log did not save.
    """
    told = [*_DESCRIPTION.finditer(log)]
    if not told:
        return
    held = read_checkpoint(checkpoint)
    objective, parameters = told[-1]["objective"], told[-1]["parameters"]
    _require(f"{parameters} parameters", f"{sum(part.numel() for part in held.tensors.values()):,} parameters", held)
    if "objective" in held.config:
        _require(f"objective {objective}", f"objective {held.config['objective']}", held)
    written = [told["digest"] for told in _SAVED.finditer(log)]
    if written and held.layout == "native" and held.digest[:16] not in written:  # an artifact has other bytes
        _require(f"a run that saved {written[-1]}", f"a run that saved {held.digest[:16]}", held)


def _require(told: str, held: str, checkpoint: Checkpoint) -> None:
    if told != held:
        raise UsageError(
            "--log is of another run", seen=told, expected=f"{held}, as {checkpoint.path.name}",
            hint="pass the log that was written beside this checkpoint",
        )  # fmt: skip


def require_unseen(log: str, data: Sequence[Path]) -> None:
    """Refuse to submit a score of text that the log says was trained on.

    Raises:
        UsageError: a shard of the same tokens.
    """
    learnt = {told["fingerprint"]: told["name"] for told in _TRAINED_ON.finditer(log)}
    for shard in map_shards(data) if learnt else ():
        if shard.fingerprint in learnt:
            raise UsageError(
                "--data was trained on", seen=f"{shard.path.name}, the same tokens as {learnt[shard.fingerprint]}",
                expected="text that no step has learnt",
            )  # fmt: skip
