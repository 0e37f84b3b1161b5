"""The settings by which a score was made, from its signature."""

from __future__ import annotations

import re
from typing import Any

from bpb_harness.errors import InputError, UsageError
from bpb_harness.evaluation.methods import METHODS
from bpb_harness.evaluation.settings import Settings
from bpb_harness.result import Signature

DIRECT = (
    "method", "num_steps", "schedule", "num_samples", "stride", "block_size", "unpaid_prefix", "byte_rule", "tail",
    "context_length", "dtype", "seed",
)  # fmt: skip
_PART = re.compile(r".*\[0:([0-9]+)/[0-9]+\](?:/.*)?")


def settings_of(signature: Signature) -> dict[str, Any]:
    """Settings that the signature states, by name; all others are paths, or do not change a score.

    Passes that ``--tolerance`` made are none: they say how often windows were scored, not how. ``limit`` is in spans.

    Raises:
        InputError: if it states one that no setting takes.
    """
    if signature.adaptation is not None:
        raise InputError(
            "the signature of the score", seen=f"ttt:{signature.adaptation}", expected="a network that stays as it is",
            hint="a score with --ttt has no proof: prove one without it",
        )  # fmt: skip
    try:
        stated = signature.typed()
        found: dict[str, Any] = {name: stated[name] for name in DIRECT if stated[name] is not None}
        order = (signature.order or "").split(",")
        found["per_document"] = "per-document" in order
        rest = [part for part in order if part not in {"", "per-document"}]
        if METHODS[found["method"]].goes_in_order and rest:
            name, _, together = rest[0].partition("/")
            found |= {"order": name, "tokens_per_step": int(together or 1)}
        if part := _PART.fullmatch(signature.data or ""):
            found["limit"] = int(part[1])
        found["check_contract"] = signature.contract != "off"
        Settings(**found)
    except (UsageError, KeyError, ValueError) as error:
        raise InputError("the signature of the score", seen=str(error)[:160], expected="settings of bpb-eval") from None
    return found
