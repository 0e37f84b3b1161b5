"""Where a result's file contradicts itself: everything that follows from other numbers is worked out again."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, final

from bpb_harness.formats.kinds import shown
from bpb_harness.result import ESTIMATED_BOUND, EXACT, UPPER_BOUND, BpbResult

# What a file was written with and read with round alike; what lies between has seen other hands.
_ROUNDING = 1e-9
# Half of a 95 % interval in standard errors: the normal law, and Student's t with one degree of freedom.
_NARROWEST, _WIDEST = 1.959963984540054, 12.706204736432095
_PART = re.compile(r"@[0-9a-f]+\[0:([0-9]{1,18})/([0-9]{1,18})\]")

# By method: relations that it may have.
RELATIONS = {
    "discrete": (ESTIMATED_BOUND, UPPER_BOUND),
    "mc": (ESTIMATED_BOUND, UPPER_BOUND),
    "exact": (UPPER_BOUND, ESTIMATED_BOUND),
    "chain": (EXACT,),
    "ar": (EXACT,),
}
# Methods whose T and K the signature must state, may state, or never states.
_SAMPLED, _STEPPED, _MAY_STEP = frozenset({"discrete", "mc"}), frozenset({"discrete"}), frozenset({"discrete", "exact"})
_MAY_SAMPLE = frozenset({"discrete", "mc", "exact"})

Kind = Literal["arithmetic", "signature", "relation"]


@final
@dataclass(frozen=True)
class Contradiction:
    """Two statements of one file that cannot both be true.

    Attributes:
        kind: numbers, a field against the signature, or a relation against the method.
        place: the key whose value it is about.
        seen: that value.
        expected: what follows from the rest of the file.
    """

    kind: Kind
    place: str
    seen: str
    expected: str

    def __str__(self) -> str:
        return f"{self.place} is {self.seen}, where the rest of the file makes it {self.expected}"


def contradictions(plain: Mapping[str, Any], result: BpbResult) -> Iterator[Contradiction]:
    """Go through everything that follows from something else.

    Args:
        plain: the file, of the right shape.
        result: the score made of it: of its sums and its signature, of which the rest follows.
    """
    yield from _worked_out_again(plain, result)
    yield from _relation(result)
    yield from _errors(result)
    yield from _terms(result)
    yield from _counts(result)
    yield from _beside(plain, result)


def _worked_out_again(plain: Mapping[str, Any], result: BpbResult) -> Iterator[Contradiction]:
    """Rates, and the fields of the signature: as the harness would write them of the same sums."""
    again, stated = result.to_dict(), set(result.signature.typed()) | {"signature", "versions"}
    for key in dict.fromkeys([*plain, *again]):
        kind: Kind = "signature" if key in stated else "arithmetic"
        if key not in plain or key not in again:
            seen, expected = ("absent", "there") if key in again else ("there", "absent")
            yield Contradiction(kind, key, seen, expected)
        else:
            yield from _differences(kind, key, plain[key], again[key])


def _differences(kind: Kind, place: str, seen: Any, expected: Any) -> Iterator[Contradiction]:
    if isinstance(seen, Mapping) and isinstance(expected, Mapping):
        for key in dict.fromkeys([*seen, *expected]):
            yield from _differences(kind, f"{place}.{key}", seen.get(key), expected.get(key))
    elif isinstance(seen, list) and isinstance(expected, list) and len(seen) == len(expected):
        for index, (one, other) in enumerate(zip(seen, expected, strict=True)):
            yield from _differences(kind, f"{place}[{index}]", one, other)
    elif not _same(seen, expected):
        yield Contradiction(kind, place, shown(seen), shown(expected))


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) or isinstance(other, float):
        numbers = isinstance(one, int | float) and isinstance(other, int | float)
        return numbers and _near(one, other)
    return bool(one == other)


def _near(one: float, other: float, scale: float = 0.0) -> bool:
    return abs(one - other) <= _ROUNDING * max(abs(one), abs(other), scale)


def _relation(result: BpbResult) -> Iterator[Contradiction]:
    signature = result.signature
    method = signature.method
    if method not in RELATIONS:
        yield Contradiction("relation", "method", shown(method), " or ".join(RELATIONS))
        return
    draws = None if signature.num_samples is None else "a number of draws"
    if result.relation not in RELATIONS[method]:
        yield Contradiction("relation", "relation", shown(result.relation), _either(RELATIONS[method]))
    elif method == "exact" and (result.relation == ESTIMATED_BOUND) != (draws is not None):
        expected = UPPER_BOUND if draws is None else ESTIMATED_BOUND
        yield Contradiction("relation", "relation", shown(result.relation), f"{expected!r}, with {draws or 'no draws'}")
    elif method in _SAMPLED:
        all_known = result.answers is not None and result.answers.num_sampled == 0
        expected = UPPER_BOUND if all_known else ESTIMATED_BOUND
        if result.relation != expected:
            yield Contradiction("relation", "relation", shown(result.relation), repr(expected))
    yield from _stated("num_samples", signature.num_samples, needed=method in _SAMPLED, allowed=method in _MAY_SAMPLE)
    yield from _stated("num_steps", signature.num_steps, needed=method in _STEPPED, allowed=method in _MAY_STEP)


def _stated(place: str, value: str | None, *, needed: bool, allowed: bool) -> Iterator[Contradiction]:
    if value is None and needed:
        yield Contradiction("relation", place, "null", "a number, by this method")
    if value is not None and not allowed:
        yield Contradiction("relation", place, shown(value), "null, by this method")


def _either(words: tuple[str, ...]) -> str:
    return " or ".join(map(repr, words))


def _errors(result: BpbResult) -> Iterator[Contradiction]:
    """The interval against the score and its error."""
    stderr, interval = result.mc_stderr, result.ci95
    if result.relation != ESTIMATED_BOUND and stderr != 0.0:
        yield Contradiction("arithmetic", "mc_stderr", shown(stderr), f"0, for {result.relation!r} samples nothing")
    if (stderr is None) != (interval is None):
        seen = "null" if interval is None else shown([*interval])
        yield Contradiction("arithmetic", "ci95", seen, "null where mc_stderr is, and only there")
    if stderr is None or interval is None:
        return
    score = result.length.bits_per_unit
    low, high = interval
    middle, half = (low + high) / 2.0, (high - low) / 2.0
    if not _near(middle, score, half):
        yield Contradiction("arithmetic", "ci95", f"around {middle:.6g}", f"around {score:.6g}, the score")
    slack = _ROUNDING * (abs(score) + abs(half))
    if not _NARROWEST * stderr - slack <= half <= _WIDEST * stderr + slack:
        expected = f"{_NARROWEST * stderr:.6g} to {_WIDEST * stderr:.6g}, by mc_stderr"
        yield Contradiction("arithmetic", "ci95", f"+- {half:.6g}", expected)


def _terms(result: BpbResult) -> Iterator[Contradiction]:
    terms, nats = result.terms_nats, result.length.nats
    if bool(terms) != (result.signature.method in _SAMPLED):
        expected = "some" if not terms else "none"
        yield Contradiction("arithmetic", "terms_nats", f"{len(terms)} terms", f"{expected}, by this method")
    total = math.fsum(terms.values())
    if terms and not _near(total, nats, math.fsum(map(abs, terms.values()))):
        yield Contradiction("arithmetic", "nats", f"{nats:.10g}", f"{total:.10g}, the sum of terms_nats")


def _counts(result: BpbResult) -> Iterator[Contradiction]:
    """Windows and tokens against the windows' length and the part of the text that was scored."""
    length, stated = result.length, result.signature.typed()
    windows, context = length.num_windows, stated["context_length"]
    if length.num_tokens < windows:
        yield Contradiction("arithmetic", "num_tokens", f"{length.num_tokens:,}", f"{windows:,} or more, one a window")
    if isinstance(context, int) and length.num_tokens > windows * context:
        most = f"at most {windows:,} windows of {context:,}"
        yield Contradiction("arithmetic", "num_tokens", f"{length.num_tokens:,}", most)
    part = _PART.search(str(stated["data"]))
    if part is None:
        return
    scored, there = int(part[1]), int(part[2])
    if scored > there:
        yield Contradiction("arithmetic", "data", f"{scored:,} of {there:,}", f"at most {there:,}")
    counted = windows if result.answers is None else result.answers.num_answers
    if scored != counted:
        yield Contradiction("arithmetic", "data", f"{scored:,} scored", f"{counted:,}, by the counts")


def _slices(result: BpbResult) -> Iterator[Contradiction]:
    """Slices of the text, each document in one of them."""
    if not result.slices:
        return
    tokens = sum(each.num_tokens for each in result.slices)
    if tokens != result.length.num_tokens:
        yield Contradiction("arithmetic", "slices", f"{tokens:,} tokens", f"{result.length.num_tokens:,}")
    bits = math.fsum(each.bits for each in result.slices)
    if not _near(bits, result.length.bits, math.fsum(abs(each.bits) for each in result.slices)):
        yield Contradiction("arithmetic", "slices", f"{bits:.10g} bits", f"{result.length.bits:.10g}")


def _beside(plain: Mapping[str, Any], result: BpbResult) -> Iterator[Contradiction]:
    """What stands beside the score: both bounds, the source, answers, the version of torch."""
    both, source, answers = plain.get("comparison"), result.source, result.answers
    if both is not None:
        if result.signature.method not in _SAMPLED:
            yield Contradiction("arithmetic", "comparison", "there", "absent, by this method")
        elif not _near(both[result.signature.method], result.length.bits_per_unit):
            place = f"comparison.{result.signature.method}"
            score = f"{result.length.bits_per_unit:.10g}, the score"
            yield Contradiction("arithmetic", place, shown(both[result.signature.method]), score)
        gap = both["discrete"] - both["mc"]
        if not _near(gap, both["gap_bits_per_byte"], abs(both["discrete"]) + abs(both["mc"])):
            seen, expected = shown(both["gap_bits_per_byte"]), f"{gap:.10g}, discrete minus mc"
            yield Contradiction("arithmetic", "comparison.gap_bits_per_byte", seen, expected)
    marks = result.reference_marks
    if marks is not None:
        uniform = math.log2(marks.num_clean_tokens) * result.length.num_tokens / result.length.num_units
        if not _near(marks.uniform, uniform):
            yield Contradiction("arithmetic", "reference_marks.uniform", shown(marks.uniform), f"{uniform:.10g}")
    if source is not None and not _near(source.code_length_bits / source.num_bytes, source.code_length_bits_per_byte):
        rate = f"{source.code_length_bits / source.num_bytes:.10g}"
        yield Contradiction(
            "arithmetic", "source.code_length_bits_per_byte", shown(source.code_length_bits_per_byte), rate
        )
    yield from _slices(result)
    if answers is not None:
        for place in ("num_sampled", "num_prompts_cut", "num_borders_moved"):
            if getattr(answers, place) > answers.num_answers:
                most = f"at most {answers.num_answers:,}, the answers"
                yield Contradiction("arithmetic", f"answers.{place}", f"{getattr(answers, place):,}", most)
        if result.num_documents != answers.num_answers:
            yield Contradiction(
                "arithmetic", "num_documents", shown(result.num_documents), f"{answers.num_answers}, the answers"
            )
    torch = result.versions.torch
    if torch is not None and not result.device.endswith(f"torch {torch}"):
        yield Contradiction("arithmetic", "versions.torch", shown(torch), f"that of device, {shown(result.device)}")
