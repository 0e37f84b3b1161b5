"""A score read back from its file: strictly, for anybody may have written it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from bpb_harness.errors import InputError, UsageError
from bpb_harness.formats.contradictions import contradictions
from bpb_harness.formats.kinds import MismatchError
from bpb_harness.formats.result import RESULT
from bpb_harness.formats.strict_json import load, read_text
from bpb_harness.result import (
    FORMAT,
    AnswerSummary,
    BpbResult,
    Comparison,
    Expectation,
    ReferenceMarks,
    Remark,
    Signature,
    SliceScore,
    SourceFloor,
    Versions,
)
from bpb_harness.units import CodeLength

_HINT = "take a file that bpb-eval --format json --output wrote"
D = TypeVar("D")


def read_result(path: Path | str) -> BpbResult:
    """A score as ``bpb-eval --format json`` wrote it, without its tables and the evidence of its findings.

    ``str`` of it is the line that was printed, to the last character; ``to_dict`` is what the file holds.

    Raises:
        InputError: if it is no such file, is of another format, holds a key or a value that the format does not have,
            or contradicts itself.
    """
    name = Path(path).name
    plain = load(read_text(Path(path)), name)
    result = result_of(plain, name)
    for found in contradictions(plain, result):
        raise InputError(f"{name}: {found.place}", seen=found.seen, expected=found.expected, hint=_HINT)
    return result


def result_of(plain: Mapping[str, Any], name: str) -> BpbResult:
    """The score that a parsed file holds; whether its numbers agree with each other is not asked.

    Args:
        plain: the JSON object.
        name: of the file, for messages.

    Raises:
        InputError: for another format, and for a key or a value that the format does not have.
    """
    stated = plain.get("format")
    if stated != FORMAT:
        seen = "no format" if stated is None else repr(stated)[:60]
        raise InputError(f"{name}: format", seen=seen, expected=FORMAT, hint=_HINT)
    try:
        RESULT.check(plain, "")
        signature = Signature.parse(plain["signature"])
        signature.typed()
    except MismatchError as wrong:
        raise InputError(f"{name}: {wrong.where}", seen=wrong.seen, expected=wrong.expected, hint=_HINT) from None
    except UsageError as wrong:
        raise InputError(f"{name}: {wrong.what}", seen=wrong.seen, expected=wrong.expected, hint=_HINT) from None
    return BpbResult(
        length=CodeLength(float(plain["nats"]), plain["num_tokens"], plain["num_bytes"] or 0, plain["num_windows"]),
        relation=plain["relation"],
        terms_nats={term: float(nats) for term, nats in plain["terms_nats"].items()},
        mc_stderr=_float(plain["mc_stderr"]),
        corpus_stderr=_float(plain["corpus_stderr"]),
        ci95=None if plain["ci95"] is None else (float(plain["ci95"][0]), float(plain["ci95"][1])),
        signature=signature,
        num_forward_tokens=plain["num_forward_tokens"],
        seconds=float(plain["seconds"]),
        device=plain["device"],
        remarks=tuple(Remark(found["code"], found["message"]) for found in plain["findings"]),
        peak_memory_bytes=plain["peak_memory_bytes"],
        comparison=_comparison(plain.get("comparison")),
        source=_made(SourceFloor, plain.get("source")),
        separator_id=plain.get("separator_id"),
        num_documents=plain.get("num_documents"),
        answers=_made(AnswerSummary, plain.get("answers")),
        reference_marks=_made(ReferenceMarks, plain.get("reference_marks")),
        slices=_slices(plain.get("slices")),
        seconds_by_phase={name: float(seconds) for name, seconds in plain.get("seconds_by_phase", {}).items()},
        versions=Versions(plain["versions"]["torch"], plain["versions"]["python"]),
        expectation=_made(Expectation, plain["expectation"]),
    )


def _float(value: float | None) -> float | None:
    return None if value is None else float(value)


def _made(kind: type[D], plain: Mapping[str, Any] | None) -> D | None:
    """A dataclass of ours of the keys that are its fields."""
    if plain is None:
        return None
    return kind(**{each.name: plain[each.name] for each in fields(kind)})  # type: ignore[arg-type]


def _slices(plain: list[Mapping[str, Any]] | None) -> tuple[SliceScore, ...] | None:
    if plain is None:
        return None
    made = (_made(SliceScore, row) for row in plain)
    return tuple(each for each in made if each is not None)


def _comparison(plain: Mapping[str, Any] | None) -> Comparison | None:
    if plain is None:
        return None
    curves = {
        "t_curve": tuple(
            (float("inf") if row["steps"] is None else float(row["steps"]), row["bits_per_byte"])
            for row in plain["t_curve"]
        ),
        "f_curve": tuple((row["move_chance"], row["bits_per_token"], row["stderr"]) for row in plain["f_curve"]),
    }
    return _made(Comparison, {**plain, **curves})
