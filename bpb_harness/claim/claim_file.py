"""Our own claim file: what is known about a score, written down by whoever looks at it.

A JSON object with ``"format": "bpb-claim/1"``. Every other key is optional; an unknown key is an error, so
that a misspelt fact is not silently left out of an audit. docs/audit.md describes the keys.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from bpb_harness.claim.methods import METHODS
from bpb_harness.claim.printed import Printed, Source, as_written, count_from_json, from_json
from bpb_harness.claim.record import Claim, Protocol
from bpb_harness.errors import ClaimError

FORMAT = "bpb-claim/1"


def lacks_format(value: object) -> bool:
    """Whether a parsed JSON value has a claim file's own key for the score, but does not say that it is one."""
    return isinstance(value, Mapping) and "format" not in value and "claimed_bpb" in value


def is_claim_file(value: object) -> bool:
    """Whether a parsed JSON value says that it is a claim file."""
    return isinstance(value, Mapping) and str(value.get("format", "")).startswith("bpb-claim")


def read_claim_file(value: Mapping[str, Any], file: str) -> Claim:
    """A claim from a parsed claim file.

    Args:
        value: the parsed JSON object.
        file: its name, for messages.

    Raises:
        ClaimError: for another format version, an unknown key, or a value of the wrong kind.
    """
    if value.get("format") != FORMAT:
        seen = repr(value["format"])[:60] if "format" in value else "a claim file without it"
        hint = f'add "format": "{FORMAT}"'
        raise ClaimError(f"{file}: format of the claim file", seen=seen, expected=FORMAT, hint=hint)
    read: dict[str, Any] = {}
    for key, held in value.items():
        if key in ("format", "note", "source"):
            continue
        reader = _KEYS.get(key)
        if reader is None:
            known = ", ".join(sorted(_KEYS))
            raise ClaimError(f"{file}: unknown key", seen=repr(key)[:60], expected=f"one of {known}")
        if held is None or (isinstance(held, float) and math.isnan(held) and key not in _CLAIMED):
            continue  # NaN is what programs write of an error that they do not know
        read[key] = reader(held, Source(file, key=key))
    protocol = Protocol(**{field.name: read[field.name] for field in fields(Protocol) if field.name in read})
    score = read.get("claimed_bpb")
    perplexity = read.get("claimed_perplexity")
    tokenizer = read.get("tokenizer")
    return Claim(
        name=file,
        title=read.get("name"),
        score=score,
        claimed_in="claim file" if score else None,
        nats_per_token=_loss(read.get("nats_per_token"), perplexity),
        perplexity=perplexity,
        same_estimator=read.get("same_estimator", True),
        std=read.get("stderr"),
        seeds=read.get("seeds", ()),
        seed_scores=read.get("seed_bpb", {}),
        other_scores=read.get("other_bpb", ()),
        steps_table=read.get("steps_table", {}),
        protocol=protocol,
        tokenizer=tokenizer,
        tokenizer_source=Source(file, key="tokenizer") if tokenizer else None,
        dataset=read.get("dataset"),
        artifact_bytes=read.get("artifact_bytes", ()),
        says_unofficial=read.get("says_unofficial"),
    )


_CLAIMED = ("claimed_bpb", "claimed_perplexity")


def _positive(held: object, source: Source) -> Printed:
    number = None if isinstance(held, str) else from_json(held, source, source.key or "")
    if number is None or number.value <= 0.0:
        raise ClaimError(f"{source.file}: {source.key}", seen=as_written(held), expected="a number above 0")
    return number


def _perplexity(held: object, source: Source) -> Printed:
    number = _positive(held, source)
    if number.value <= 1.0:
        raise ClaimError(f"{source.file}: {source.key}", seen=repr(held)[:60], expected="a number above 1, per token")
    return number


def _loss(nats: Printed | None, perplexity: Printed | None) -> Printed | None:
    """The stated loss, or the logarithm of the perplexity with the digits that the perplexity leaves certain.

    Raises:
        ClaimError: if the two contradict each other.
    """
    if perplexity is None:
        return nats
    half_unit = perplexity.half_unit / perplexity.value
    loss = math.log(perplexity.value)
    if nats is None:
        decimals = None if half_unit == 0.0 else max(0, math.floor(-math.log10(2.0 * half_unit)))
        return Printed(loss, decimals, perplexity.source, "claimed_perplexity")
    if not nats.agrees_with(loss, half_unit):
        expected = f"{loss:.4f}, the logarithm of a perplexity of {perplexity}"
        raise ClaimError(str(nats.source), seen=nats, expected=expected, hint="state one of the two")
    return nats


def _fraction(held: object, source: Source) -> float:
    return _positive(held, source).value


def _count(held: object, source: Source) -> int:
    number = None if isinstance(held, str) else count_from_json(held)
    if number is None or number == 0:
        raise ClaimError(f"{source.file}: {source.key}", seen=repr(held)[:60], expected="a whole number above 0")
    return number


def _text(held: object, source: Source) -> str:
    if not isinstance(held, str) or not held.strip():
        raise ClaimError(f"{source.file}: {source.key}", seen=repr(held)[:60], expected="text")
    return held.strip()[:2000]


def _method(held: object, source: Source) -> str:
    method = held.strip().lower() if isinstance(held, str) else None
    if method not in METHODS:
        raise ClaimError(f"{source.file}: {source.key}", seen=repr(held)[:60], expected=f"one of {', '.join(METHODS)}")
    return method


def _flag(held: object, source: Source) -> bool:
    if not isinstance(held, bool):
        raise ClaimError(f"{source.file}: {source.key}", seen=repr(held)[:60], expected="true or false")
    return held


def _range(held: object, source: Source) -> tuple[float, float]:
    ends = [from_json(end, source) for end in held] if isinstance(held, list) else []
    if len(ends) != 2 or ends[0] is None or ends[1] is None or not 0.0 <= ends[0].value <= ends[1].value <= 1.0:
        raise ClaimError(f"{source.file}: {source.key}", seen=repr(held)[:60], expected="[lowest, highest] in [0, 1]")
    return ends[0].value, ends[1].value


def _seeds(held: object, source: Source) -> tuple[str, ...]:
    if not isinstance(held, list) or not all(isinstance(seed, int) and not isinstance(seed, bool) for seed in held):
        raise ClaimError(f"{source.file}: {source.key}", seen=repr(held)[:60], expected="a list of whole numbers")
    return tuple(str(seed) for seed in held)


def _object(held: object, source: Source) -> Mapping[str, Any]:
    if not isinstance(held, Mapping):
        raise ClaimError(f"{source.file}: {source.key}", seen=repr(held)[:60], expected="an object")
    return held


def _by_name(held: object, source: Source) -> dict[str, Printed]:
    items = _object(held, source).items()
    return {str(name): _positive(score, Source(source.file, key=f"{source.key}.{name}")) for name, score in items}


def _by_seed(held: object, source: Source) -> dict[str, dict[str, Printed]]:
    return {"val_bpb": _by_name(held, source)}


def _by_steps(held: object, source: Source) -> dict[int, Printed]:
    table = _by_name(held, source)
    wrong = next((steps for steps in table if not steps.isascii() or not steps.isdigit() or int(steps[:9]) == 0), None)
    if wrong is not None:
        raise ClaimError(f"{source.file}: {source.key}", seen=repr(wrong)[:60], expected="numbers of steps as keys")
    return {int(steps[:9]): score for steps, score in table.items()}


def _others(held: object, source: Source) -> tuple[Printed, ...]:
    return tuple(
        Printed(score.value, score.decimals, score.source, name) for name, score in _by_name(held, source).items()
    )


def _sizes(held: object, source: Source) -> tuple[Printed, ...]:
    sizes = held if isinstance(held, list) else [held]
    return tuple(Printed(float(_count(size, source)), 0, source, "artifact_bytes") for size in sizes)


_KEYS: dict[str, Callable[[Any, Source], Any]] = {
    "name": _text,
    "claimed_bpb": _positive,
    "claimed_perplexity": _perplexity,
    "nats_per_token": _positive,
    "same_estimator": _flag,
    "stderr": _positive,
    "seeds": _seeds,
    "seed_bpb": _by_seed,
    "other_bpb": _others,
    "steps_table": _by_steps,
    "tokenizer": _text,
    "dataset": _text,
    "artifact_bytes": _sizes,
    "says_unofficial": _text,
    "method": _method,
    "num_steps": _count,
    "num_samples": _count,
    "schedule": _text,
    "schedule_eps": _fraction,
    "u_range": _range,
    "weight": _text,
    "bytes_per_token": _positive,
    "bytes_per_token_is_constant": _flag,
    "unpaid_tokens": _text,
    "priced_jointly": _text,
    "num_windows": _count,
    "context_length": _count,
    "scored_tokens": _count,
    "slice_text": _text,
    "estimator_text": _text,
}
