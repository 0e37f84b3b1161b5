"""Whether two scores are of the same bytes, and their costs unit by unit. What is not the same text is refused by name.

Tokens may differ where the text does not. An autoregressive model is given the first token of a text; where that spells
something, a uniform code of it is charged, so that both scores pay for the same bytes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, final

import numpy as np
import numpy.typing as npt

from bpb_harness.costs import BLOCK_UNITS, ScoreCosts, UnitCosts
from bpb_harness.errors import UsageError
from bpb_harness.result import Signature
from bpb_harness.units import counted, nats_to_bits

Floats = npt.NDArray[np.float64]
Kind = Literal["documents", "blocks"]

_MIN_DOCUMENTS = 6  # of fewer, no flip of signs is significant at 5 %
_WINDOWS_OF_A_BLOCK = 10  # neighbouring windows are alike
_ROUNDING = 1e-6
_LESS_THAN_ONE = 0.5  # of the bytes of a whole score, which are whole


@final
@dataclass(frozen=True)
class PairedUnits:
    """What two scores say of the same bytes, unit by unit.

    Attributes:
        kind: what the units are.
        differences: in bits, the second score less the first, (n,).
        sizes: bytes of each, or tokens where none are counted, (n,).
        difference_nats: of the whole, second less first.
        total: bytes, or tokens, of the whole.
        notes: what a reader must be told of how the two fit together.
    """

    kind: Kind
    differences: Floats
    sizes: Floats
    difference_nats: float
    total: float
    notes: tuple[str, ...]


def pair_units(names: tuple[str, str], first: ScoreCosts, second: ScoreCosts) -> PairedUnits:
    """Put two scores side by side.

    Args:
        names: what messages call them.
        first: the baseline.
        second: the other one.

    Raises:
        UsageError: if they are not scores of the same bytes, or are not bounds of the same kind of thing.
    """
    notes = _require_same_text(names, first, second) + _who_learns(names, first, second)
    _require_same_places(names, first, second)
    both = [_Charged.of(each) for each in (first, second)]
    totals = [each.num_units for each in (first, second)]
    if abs(totals[0] - totals[1]) > _LESS_THAN_ONE:
        both = [each.with_first_token(costs) for each, costs in zip(both, (first, second), strict=True)]
        for name, costs in zip(names, (first, second), strict=True):
            if costs.num_unpaid == 1 and costs.unpaid_units:
                bits = nats_to_bits(math.log(costs.vocab_size))
                notes.append(f"{name} is given the first token; it is charged {bits:.1f} bits for it, a uniform code")
    elif first.num_tokens != second.num_tokens and first.tokens == second.tokens:
        given = names[0] if first.num_tokens < second.num_tokens else names[1]
        notes.append(f"{given} is given {abs(first.num_tokens - second.num_tokens)} token that spells nothing")
    if abs(both[0].total - both[1].total) > _LESS_THAN_ONE:
        raise _other_parts(names, first, second, both)
    kind, one, other = _units(first, second, both)
    if kind == "documents" and not _are_alike(one.num_units, other.num_units):
        if len(one) == len(other):
            raise _other_parts(names, first, second, both)
        raise UsageError(
            f"{names[0]} and {names[1]} cut the text into other documents", seen=counted(len(one), "document"),
            expected=f"{len(other):,}", hint="score both with the same --separator",
        )  # fmt: skip
    differences = (other.level_free_nats - one.level_free_nats) / math.log(2.0)
    sizes = one.num_units
    if kind == "blocks":
        length = _block_length(first, second)
        count = max(int(both[0].total // length), 1)  # what is left at the end goes to the last
        which = np.minimum(np.arange(len(sizes)) * BLOCK_UNITS // length, count - 1)
        differences, sizes = (_sums(which, each) for each in (differences, sizes))
    return PairedUnits(kind, differences, sizes, both[1].nats - both[0].nats, both[0].total, tuple(notes))


@final
@dataclass(frozen=True)
class _Charged:
    """A score's costs, with what its model is given charged to it where that is needed."""

    nats: float
    total: float
    documents: UnitCosts | None
    blocks: UnitCosts

    @classmethod
    def of(cls, costs: ScoreCosts) -> _Charged:
        return cls(costs.nats, costs.num_units, costs.documents, costs.blocks)

    def with_first_token(self, costs: ScoreCosts) -> _Charged:
        if costs.num_unpaid != 1 or not costs.unpaid_units:
            return self
        nats, units = math.log(costs.vocab_size), float(costs.unpaid_units)
        documents = None if self.documents is None else _added(self.documents, nats, units)
        return _Charged(self.nats + nats, self.total + units, documents, _added(self.blocks, nats, units))


def _added(units: UnitCosts, nats: float, size: float) -> UnitCosts:
    more = np.zeros(len(units))
    more[0] = 1.0
    return UnitCosts(
        units.nats + nats * more, units.level_free_nats + nats * more, units.num_units + size * more,
        units.num_tokens + more,
    )  # fmt: skip


def _are_alike(one: Floats, other: Floats) -> bool:
    return len(one) == len(other) and bool(np.allclose(one, other, rtol=_ROUNDING, atol=_ROUNDING))


def _units(first: ScoreCosts, second: ScoreCosts, both: list[_Charged]) -> tuple[Kind, UnitCosts, UnitCosts]:
    """Documents, unless they are unknown or too few to tell anything."""
    one, other = both[0].documents, both[1].documents
    length = max(len(each.blocks) for each in both)
    blocks = [_longer(each.blocks, length) for each in both]
    if one is None or other is None:
        return "blocks", blocks[0], blocks[1]
    num_blocks = both[0].total // _block_length(first, second)
    if len(one) < _MIN_DOCUMENTS and num_blocks > len(one):
        return "blocks", blocks[0], blocks[1]
    return "documents", _that_spell(one), _that_spell(other)


def _that_spell(documents: UnitCosts) -> UnitCosts:
    """A document that spells nothing, a separator alone, belongs to the one before it."""
    keeper = np.maximum(np.cumsum(documents.num_units > 0.0) - 1, 0)
    columns = (documents.nats, documents.level_free_nats, documents.num_units, documents.num_tokens)
    return UnitCosts(*(_sums(keeper, column) for column in columns))


def _block_length(first: ScoreCosts, second: ScoreCosts) -> int:
    """Bytes of a block: at least ten of the longest windows."""
    longest = max(first.context_units, second.context_units)
    return BLOCK_UNITS * math.ceil(_WINDOWS_OF_A_BLOCK * longest / BLOCK_UNITS)


def _sums(which: npt.NDArray[np.int64], values: Floats) -> Floats:
    return np.asarray(np.bincount(which, weights=values), dtype=np.float64)


def _longer(units: UnitCosts, length: int) -> UnitCosts:
    more = length - len(units)
    columns = (units.nats, units.level_free_nats, units.num_units, units.num_tokens)
    return UnitCosts(*(np.append(column, np.zeros(more)) for column in columns))


def _who_learns(names: tuple[str, str], first: ScoreCosts, second: ScoreCosts) -> list[str]:
    """What is said where one of two learns from the text on the way, or each in its own way."""
    ways = [Signature.parse(each.signature).adaptation for each in (first, second)]
    if ways[0] == ways[1]:
        return []
    told = " and ".join(
        f"{name} does not" if way is None else f"{name} learns from each chunk once it is paid for, {way}"
        for name, way in zip(names, ways, strict=True)
    )
    return [f"{told}: the difference is that of the networks and of what is learnt on the way"]


def _require_same_text(names: tuple[str, str], first: ScoreCosts, second: ScoreCosts) -> list[str]:
    """Notes on how the texts agree."""
    one, other = (Signature.parse(each.signature) for each in (first, second))
    said = f"{names[0]} and {names[1]}"
    if first.counts_bytes != second.counts_bytes or one.byte_rule != other.byte_rule:
        raise UsageError(
            f"{said} do not count the same bytes", seen=f"--bytes {one.byte_rule} and --bytes {other.byte_rule}",
            expected="one rule", hint="score both with the same --bytes",
        )  # fmt: skip
    if one.given != other.given:
        raise UsageError(
            f"{said} are not scores of the same thing",
            seen=f"{_given(one.given)} and {_given(other.given)}",
            expected="both given the same",
            hint="what lengths and prompts cost is in the one and not in the other: score both in the same layout",
        )
    if first.tokens == second.tokens and first.tokenizer == second.tokenizer:
        return []
    if not first.counts_bytes:
        raise UsageError(
            f"{said} are scores of other tokens", seen=f"{one.data} and {other.data}",
            expected="the same tokens where no bytes are counted", hint="score both with --bytes official",
        )  # fmt: skip
    if first.text and first.text == second.text:
        return [] if first.tokens == second.tokens else [f"{said} cut the same text into other tokens"]
    if one.byte_rule == "raw" and first.raw_text and first.raw_text == second.raw_text:
        return [f"the tokenizers of {said} spell the same documents differently; rates are over the raw bytes of these"]
    hint = "score both on the same --data or --docs"
    if first.raw_text and first.raw_text == second.raw_text:
        hint = "their tokenizers spell the same documents differently: score both with --bytes raw"
    elif first.tokens == second.tokens:
        hint = "their tokenizers spell the same tokens differently: score both with the same --tokenizer"
    elif first.tokenizer != second.tokenizer:
        hint += ", as documents where their tokenizers spell it differently"
    raise UsageError(f"{said} are scores of different texts", seen=one.data, expected=other.data, hint=hint)


def _require_same_places(names: tuple[str, str], first: ScoreCosts, second: ScoreCosts) -> None:
    """Refuse scores of other tokens of the text, of which there may be as many, with as many bytes."""
    one, other = (Signature.parse(each.signature) for each in (first, second))
    both = (one, other)
    # Windows of an autoregressive model lie one token on; answers lie where they do.
    lie_apart = len({each.method == "ar" for each in both}) > 1 and one.given is None
    if any(each.unpaid_prefix not in (None, "0") for each in both):
        layouts = [(each.unpaid_prefix, each.context_length, each.stride, each.tail) for each in both]
        lie_apart |= layouts[0] != layouts[1]
    elif not any("[" in str(each.data) or each.tail == "drop" for each in both):
        return  # the whole of the text
    if lie_apart and _paid_alike(first, second):
        raise UsageError(
            f"{names[0]} and {names[1]} do not pay for the same part of the text, though for as many bytes",
            seen=_layout(one), expected=_layout(other), hint=_WHOLE,
        )  # fmt: skip


_WHOLE = "score the whole of a text with both, without --limit, --unpaid-prefix and --tail drop"


def _paid_alike(first: ScoreCosts, second: ScoreCosts) -> bool:
    return abs(first.num_units - second.num_units) <= _LESS_THAN_ONE


def _layout(score: Signature) -> str:
    said = {"--unpaid-prefix": score.unpaid_prefix, "--context": score.context_length, "--stride": score.stride}
    options = [f"{flag} {value}" for flag, value in said.items() if value not in (None, "0")]
    return " ".join([f"--method {score.method}", *options])


def _given(entry: str | None) -> str:
    return "a score that is given nothing" if entry is None else f"one that is given {entry.replace('+', ' and ')}"


def _other_parts(names: tuple[str, str], first: ScoreCosts, second: ScoreCosts, both: list[_Charged]) -> UsageError:
    """Two scores of one text that do not pay for the same bytes of it."""
    one, other = (Signature.parse(each.signature) for each in (first, second))
    unit = "bytes" if first.counts_bytes else "tokens"
    causes = [
        flag
        for flag, differs in (
            ("--limit", "[" in f"{one.data}{other.data}"),
            ("--tail", one.tail != other.tail or "drop" in {one.tail, other.tail}),
            ("--unpaid-prefix", one.unpaid_prefix != other.unpaid_prefix),
            ("--per-document", len({"per-document" in (each.order or "") for each in (one, other)}) > 1),
        )
        if differs
    ]
    hint = f"leave out {' and '.join(causes)}" if causes else "score the whole of the text with both"
    if "--limit" in causes and (one.method == "ar") != (other.method == "ar"):
        hint += (
            ": windows of --method ar lie one token on, and no number of them has the bytes of the other's; for less "
            "to score take a shorter text, whole: of --docs the first lines of the file (`head -n 20 val.jsonl > "
            "few.jsonl`, --docs few.jsonl), of --data one shard of several, or a shard of fewer tokens"
        )
    elif causes == ["--limit"]:
        hint += ", or score the same windows of both; where windows are unlike, score a shorter text whole"
    return UsageError(
        f"{names[0]} and {names[1]} do not pay for the same part of the text", seen=f"{both[0].total:,.0f} {unit}",
        expected=f"{both[1].total:,.0f}", hint=hint,
    )  # fmt: skip
