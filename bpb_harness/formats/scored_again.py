"""How to compute a score again: the settings that its signature states, as arguments and as a command."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Callable
from typing import Any

from bpb_harness.errors import InputError
from bpb_harness.result import BpbResult, Signature

# Entries of a signature that are settings as they stand, with the option of each.
OPTIONS = {
    "method": "--method",
    "num_steps": "--steps",
    "num_samples": "--samples",
    "order": "--order",
    "tokens_per_step": "--tokens-per-step",
    "per_document": "--per-document",
    "stride": "--stride",
    "block_size": "--block-size",
    "unpaid_prefix": "--unpaid-prefix",
    "schedule": "--schedule",
    "tail": "--tail",
    "separator": "--separator",
    "byte_rule": "--bytes",
    "context_length": "--context",
    "limit": "--limit",
    "adapter": "--adapter",
    "dtype": "--dtype",
    "seed": "--seed",
    "ttt": "--ttt",
    "ttt_lr": "--ttt-lr",
    "ttt_momentum": "--ttt-momentum",
    "ttt_epochs": "--ttt-epochs",
    "ttt_chunk": "--ttt-chunk",
    "ttt_batch": "--ttt-batch",
    "ttt_clip": "--ttt-clip",
}
_AS_THEY_STAND = (
    "method", "num_steps", "num_samples", "stride", "block_size", "schedule", "byte_rule", "context_length", "dtype",
    "seed",
)  # fmt: skip
_PART = re.compile(r"\[0:([0-9]{1,18})/")
_FEW_DIGITS = re.compile("[0-9]{1,9}")
_ADAPTATION = re.compile(r"(?P<method>[a-z]+)\[(?P<numbers>[a-z]+=[0-9a-z.+-]+(?:,[a-z]+=[0-9a-z.+-]+)*)\]")
_NUMBERS_OF_ADAPTATION: dict[str, Callable[[str], int | float]] = {
    "lr": float, "momentum": float, "epochs": int, "chunk": int, "batch": int, "clip": float,
}  # fmt: skip
_NAME_OF_ADAPTER = re.compile(r"[a-z0-9-]+")
IN_MEMORY = "in-memory/"
# Arithmetic of another device, in bits per byte; and errors between two sets of draws.
_NUMERICS, _NUM_ERRORS = 5e-4, 4.0


def settings_of(signature: Signature) -> dict[str, Any]:
    """Arguments of ``bpb_harness.evaluate`` by which this score was made; data, tokenizer and checkpoint are files.

    What passes a tolerance took becomes so many draws a window at once. Fields of answers and the token between
    documents, where several are meant, are not known.

    Raises:
        InputError: for an adaptation that the signature does not state as the harness does: a score without it is
            another quantity.
    """
    typed = signature.typed()
    made: dict[str, Any] = {name: typed[name] for name in _AS_THEY_STAND if typed[name] is not None}
    passes, draws = typed["passes"], typed["num_samples"]
    if isinstance(passes, int) and isinstance(draws, int):
        made["num_samples"] = passes * draws
    for part in (signature.order or "").split(","):
        if part == "per-document":
            made["per_document"] = True
        elif part:
            order, _, together = part.partition("/")
            made |= {"order": order} | ({"tokens_per_step": int(together)} if _FEW_DIGITS.fullmatch(together) else {})
    if typed["unpaid_prefix"]:
        made["unpaid_prefix"] = typed["unpaid_prefix"]
    if typed["tail"] != "score":
        made["tail"] = typed["tail"]
    if signature.separator is not None and "+" not in signature.separator:
        made["separator"] = signature.separator
    if (part_of := _PART.search(signature.data or "")) is not None:
        made["limit"] = int(part_of[1])
    adapter = str(typed["adapter"]).partition("/")[0]
    if typed["adapter"] != "reference" and _NAME_OF_ADAPTER.fullmatch(adapter):
        made["adapter"] = adapter
    return made if signature.adaptation is None else made | _adaptation(signature.adaptation)


def _adaptation(stated: str) -> dict[str, Any]:
    """Settings of ``--ttt``, as ``sgd[lr=0.002,...]`` states them."""
    found = _ADAPTATION.fullmatch(stated)
    try:
        if found is None:
            raise ValueError
        pairs = (pair.split("=") for pair in found["numbers"].split(","))
        return {"ttt": found["method"]} | {f"ttt_{name}": _NUMBERS_OF_ADAPTATION[name](text) for name, text in pairs}
    except (ValueError, KeyError):
        expected = "METHOD[NAME=NUMBER,...]"
        raise InputError("the signature of the score: ttt", seen=stated[:160], expected=expected) from None


def command_of(result: BpbResult) -> str | None:
    """The line that computes a score again, from the checkpoint and the text; None of a network that was in memory."""
    signature = result.signature
    if (signature.adapter or "").startswith(IN_MEMORY):
        return None
    words = ["bpb-eval", "CHECKPOINT", "--docs" if result.answers is not None else "--data", "TEXT"]
    if "@" in (signature.adapter or ""):
        words += ["--model", "FILE.py:LOADER", "--allow-code"]
    settings = settings_of(signature)
    for name, option in OPTIONS.items():
        if name in settings:
            words += [option] if settings[name] is True else [option, str(settings[name])]
    if result.bits_per_byte is not None:
        # The same seed gives the same draws; the passes of a tolerance were others.
        error = 0.0 if signature.passes is None else _NUM_ERRORS * math.sqrt(2.0) * (result.mc_stderr or 0.0)
        words += ["--expect", f"{result.bits_per_byte:.5f}", "--within", f"{_NUMERICS + error:.5f}"]
    return shlex.join(words)
