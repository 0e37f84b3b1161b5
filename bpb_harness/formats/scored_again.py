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
    "weights": "--weights",
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
# Of settings, those by which the files of a score are read; a proof takes all others from the score itself.
_OF_READING = ("separator", "adapter", "weights")
# Files for these may hold their tokenizer themselves, and mostly do.
_HOLD_TOKENIZERS = ("reference", "huggingface")
# Arithmetic of another device, in bits per byte; and errors between two sets of draws.
_NUMERICS, _NUM_ERRORS = 5e-4, 4.0


def settings_of(signature: Signature) -> dict[str, Any]:
    """Arguments of ``bpb_harness.evaluate`` by which this score was made; data, tokenizer and checkpoint are files.

    What passes a tolerance took becomes so many draws a window at once. Fields of answers, the token between
    documents, where several are meant, and --limit of blocks in windows of several lengths are not known.

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
    if (limit := _limit_of(signature, made)) is not None:
        made["limit"] = limit
    adapter, _, weights = str(typed["adapter"]).partition("/")
    if typed["adapter"] != "reference" and f"{adapter}/" != IN_MEMORY and _NAME_OF_ADAPTER.fullmatch(adapter):
        made |= {"adapter": adapter} | ({"weights": weights} if weights else {})
    return made if signature.adaptation is None else made | _adaptation(signature.adaptation)


def scored_part(signature: Signature) -> int | None:
    """How many spans (windows, blocks or answers) of a text were scored; None of a whole one."""
    part_of = _PART.search(signature.data or "")
    return None if part_of is None else int(part_of[1])


def _limit_of(signature: Signature, made: dict[str, Any]) -> int | None:
    """How many windows or answers were scored; None of a whole text, and where a count of blocks does not say it."""
    spans, block_size = scored_part(signature), made.get("block_size")
    if spans is None or block_size is None or is_of_answers(signature):
        return spans
    blocks = -(-made["context_length"] // block_size) if "context_length" in made else 0
    is_plain = blocks and not {"per_document", "unpaid_prefix", "stride"} & set(made)
    return spans // blocks if is_plain and spans % blocks == 0 else None


def is_of_answers(signature: Signature) -> bool:
    """Whether answers were scored, each given its prompt."""
    return "prompts" in (signature.given or "")


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


def is_of_own_code(signature: Signature) -> bool:
    """Whether the network was built by a loader of its user's (--model)."""
    return "@" in (signature.adapter or "")


def is_of_documents(result: BpbResult) -> bool:
    """Whether the text was read as documents (--docs), and not as tokens (--data)."""
    found = any(remark.code == "data" and remark.message.endswith("found through --docs") for remark in result.remarks)
    return found or result.answers is not None


def names_tokenizer(signature: Signature) -> bool:
    """Whether the tokenizer is a file beside the checkpoint, or may well be: named, it does no harm."""
    adapter = (signature.adapter or "reference").partition("/")[0]
    return signature.tokenizer is not None and adapter not in _HOLD_TOKENIZERS


def files_of(result: BpbResult) -> list[str]:
    """Words that name the files of a score, places to fill in in capitals, and how they are read."""
    signature, settings = result.signature, settings_of(result.signature)
    words = ["CHECKPOINT", "--docs" if is_of_documents(result) else "--data", "TEXT"]
    if result.answers is not None:
        words += ["--context-field", "PROMPT", "--target-field", "ANSWER"]
    if names_tokenizer(signature):
        words += ["--tokenizer", "TOKENIZER"]
    if is_of_own_code(signature):
        words += ["--model", "FILE.py:LOADER", "--allow-code"]
    return words + _options({name: settings[name] for name in _OF_READING if name in settings})


def limit_of(result: BpbResult) -> list[str]:
    """The first part of a text, in words; a place to fill in where the signature does not tell its windows."""
    if scored_part(result.signature) is None:
        return []
    return ["--limit", str(settings_of(result.signature).get("limit", "WINDOWS"))]


def command_of(result: BpbResult) -> str | None:
    """The line that computes a score again, from files that are to be filled in; None of a network that was in memory.

    The places are CHECKPOINT, TEXT, TOKENIZER, FILE.py:LOADER, and WINDOWS, PROMPT and ANSWER where no file tells them.
    """
    if (result.signature.adapter or "").startswith(IN_MEMORY):
        return None
    settings = settings_of(result.signature)
    words = ["bpb-eval", *files_of(result)]
    words += _options({name: settings[name] for name in settings if name not in (*_OF_READING, "limit")})
    words += limit_of(result)
    if result.bits_per_byte is not None:
        # The same seed gives the same draws; the passes of a tolerance were others.
        passes = result.signature.passes
        error = 0.0 if passes is None else _NUM_ERRORS * math.sqrt(2.0) * (result.mc_stderr or 0.0)
        words += ["--expect", f"{result.bits_per_byte:.5f}", "--within", f"{_NUMERICS + error:.5f}"]
    return shlex.join(words)


def command_of_proof(result: BpbResult, file: str) -> str:
    """The line that proves a score, of the file that holds it.

    Raises:
        InputError: as of :func:`settings_of`.
    """
    # Of blocks, the score's own count is not one of windows.
    limit = limit_of(result) if result.signature.block_size is not None and result.answers is None else []
    return shlex.join(["bpb-prove", *files_of(result), *limit, "--score", file, "--proof", "FILE"])


def _options(settings: dict[str, Any]) -> list[str]:
    """Settings as words of a command line, in the order of its options."""
    return [
        word
        for name, option in OPTIONS.items()
        if name in settings
        for word in ([option] if settings[name] is True else [option, str(settings[name])])
    ]
