"""A pack's file, read: TOML of the format `bpb-rules/1`, refused in one line where it is not understood whole."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from bpb_harness.claim.line_template import LOSS, PLACES, SCORE, SECONDS, TOKENS, LineTemplate
from bpb_harness.claim.names import FieldNames
from bpb_harness.errors import InputError
from bpb_harness.formats.kinds import MismatchError
from bpb_harness.formats.strict_json import read_text
from bpb_harness.rules.byte_factors import ByteFactor
from bpb_harness.rules.denominators import FULL, Denominator
from bpb_harness.rules.format import RULES
from bpb_harness.rules.pack import (
    BITS_PER_BYTE,
    NATS_PER_TOKEN,
    ClaimRule,
    DoubtedBelow,
    GainRule,
    Marks,
    RulePack,
    TargetRule,
    Text,
    TimeRule,
    is_pack_name,
)

_Row = TypeVar("_Row")
SHIPPED = Path(__file__).parent / "packs"
_HELP = "docs/rules.md lists the fields"
_IN_NAMES = ("number", "text")  # places in the names of logs
_SAME_BYTES = 3e-3  # a bug that changes the bytes by less cannot be told from none
_SAME_RATIO = 1e-3  # relative; what a stated number of bytes per token may be off bytes over tokens by


def shipped_names() -> tuple[str, ...]:
    """The packs that come with the harness."""
    return tuple(sorted(path.stem for path in SHIPPED.glob("*.toml")))


@cache
def shipped_pack(name: str) -> RulePack:
    """One of `shipped_names`."""
    path = SHIPPED / f"{name}.toml"
    return pack_of(path.read_text(encoding="utf-8"), path.name)


def read_pack(path: Path) -> RulePack:
    """The pack in a file.

    Raises:
        InputError: if it cannot be read, or is no pack; in one line, with the field, what stands there and what would
            be right.
    """
    return pack_of(read_text(path, "TOML"), str(path), file=path.name)


def pack_of(text: str, where: str, *, file: str | None = None) -> RulePack:
    """The pack in a text.

    Args:
        text: TOML.
        where: the file, for messages.
        file: what the pack says that it came from; None: with the harness.

    Raises:
        InputError: see `read_pack`.
    """
    try:
        value = tomllib.loads(text)
    except (ValueError, RecursionError) as problem:  # a number of 5,000 digits is no TOMLDecodeError
        raise InputError(f"{where} is not TOML", seen=str(problem)[:200], hint=_HELP) from None
    try:
        RULES.check(value, "")
        return _pack(value, file)
    except MismatchError as mismatch:
        raise InputError(
            f"{where}: {mismatch.where}", seen=mismatch.seen, expected=mismatch.expected, hint=_HELP
        ) from None


def _refuse(where: str, seen: object, expected: str) -> NoReturn:
    raise MismatchError(where, str(seen), expected)


def _small(text: Mapping[str, Any], key: str) -> tuple[str, ...]:
    return tuple(word.lower() for word in text.get(key, ()))


def _pack(value: Mapping[str, Any], file: str | None) -> RulePack:
    if not is_pack_name(value["name"]):
        _refuse("name", repr(value["name"][:60]), "small letters, digits, '.', '_', '-', and not none")
    texts = tuple(
        Text(text["name"], _small(text, "also"), _small(text, "but_not"), text.get("documents"))
        for text in value.get("texts", ())
    )
    named = [text.name for text in texts]
    target, gain = value.get("target"), value.get("gain")
    pack = RulePack(
        name=value["name"],
        title=value["title"],
        sources=tuple(value.get("sources", ())),
        file=file,
        texts=texts,
        marks=_marks(value.get("marks", {})),
        claim=_claim(value.get("claim", {})),
        denominators=_once("denominators", [*_denominators(value.get("denominators", ()), named)], _stands_for),
        byte_factors=_once("byte_bugs", [*_byte_factors(value.get("byte_bugs", ()))], lambda bug: bug.name),
        constants=tuple(_above_0(f"constants[{i}]", held) for i, held in enumerate(value.get("constants", ()))),
        doubted_below=dict(_once("doubted", [*_doubted(value.get("doubted", ()), named)], lambda row: row[0])),
        largest_artifact=value.get("largest_artifact"),
        least_runs=value.get("least_runs"),
        gain=GainRule(gain["more_than"], _level("gain.p_below", gain["p_below"])) if gain else None,
        target=_target(target) if target else None,
        time=_time(value.get("time", {})),
        names=_names(value.get("fields", {})),
        remarks=tuple(value.get("remarks", ())),
    )
    if named != [*dict.fromkeys(named)]:
        _refuse("texts", "two of one name", "a name each")
    return pack


def _once(where: str, rows: Sequence[_Row], what: Callable[[_Row], str]) -> tuple[_Row, ...]:
    """The rows, each of another thing: which of two counted would depend on their order."""
    seen: set[str] = set()
    for index, row in enumerate(rows):
        if what(row) in seen:
            _refuse(f"{where}[{index}]", f"a second row of {what(row)[:80]}", "one")
        seen.add(what(row))
    return tuple(rows)


def _stands_for(row: Denominator) -> str:
    # Prefixes and exports are told apart by their tokens; there is one whole split.
    return str(row) if row.scope == FULL else f"{row}, {row.num_tokens:,} tokens"


def _above_0(where: str, value: float) -> float:
    if value <= 0.0:
        _refuse(where, value, "a number above 0")
    return float(value)


def _level(where: str, value: float) -> float:
    if not 0.0 < value < 1.0:
        _refuse(where, value, "a level between 0 and 1")
    return float(value)


def _lines(where: str, texts: Sequence[str], of: Sequence[str] = ()) -> tuple[LineTemplate, ...]:
    """Templates, each with one of some places where these are named."""
    made = []
    for index, text in enumerate(texts):
        place = f"{where}[{index}]"
        try:
            template = LineTemplate(text)
        except ValueError as problem:
            _refuse(place, problem, f"text, with places of {', '.join(f'{{{name}}}' for name in PLACES)}")
        if of and not set(of) & set(template.places):
            _refuse(place, repr(text[:60]), f"a line with {' or '.join(f'{{{name}}}' for name in of)}")
        made.append(template)
    return tuple(made)


def _marks(value: Mapping[str, Any]) -> Marks:
    return Marks(
        folders=tuple(value.get("folders", ())),
        files=tuple(name.lower() for name in value.get("files", ())),
        lines=_lines("marks.lines", value.get("lines", ())),
        tokenizers=tuple(value.get("tokenizers", ())),
        otherwise=value.get("otherwise", False),
    )


def _claim(value: Mapping[str, Any]) -> ClaimRule:
    rule = ClaimRule(
        **{key: value[key] for key in ("unit", "text", "mean") if key in value},
        logs=_log_names(value.get("logs", ())),
        lines=_lines("claim.lines", value.get("lines", ()), (SCORE, LOSS)),
        num_tokens=value.get("tokens"),
        tokens_lines=_lines("claim.tokens_lines", value.get("tokens_lines", ()), (TOKENS,)),
    )
    wanted = LOSS if rule.unit == NATS_PER_TOKEN else SCORE
    held = {place for line in rule.lines for place in line.places}
    if (rule.lines or rule.unit == NATS_PER_TOKEN) and wanted not in held:
        _refuse("claim.lines", f"no {{{wanted}}}", f"a line with {{{wanted}}}, for the claim is in {rule.unit}")
    for key, needs in (("tokens", "tokens_lines"), ("tokens_lines", "tokens"), ("tokens", "text")):
        if key in value and needs not in value:
            _refuse(f"claim.{needs}", "nothing", f"it beside claim.{key}")
    if rule.mean and (not rule.logs or rule.unit == NATS_PER_TOKEN):
        expected = f"it beside claim.logs, for a claim in {BITS_PER_BYTE}; losses are averaged as it is"
        _refuse("claim.mean", "true", expected)
    if "tokens" in value and rule.unit != NATS_PER_TOKEN:
        _refuse("claim.tokens", rule.num_tokens, f"it for claims in {NATS_PER_TOKEN} alone; else see denominators")
    return rule


def _log_names(texts: Sequence[str]) -> tuple[LineTemplate, ...]:
    """Names of logs, with places for what differs between runs."""
    names = _lines("claim.logs", texts)
    for index, name in enumerate(names):
        if not set(name.places) <= set(_IN_NAMES) or "/" in name.text:
            expected = "a file's name, with no place but {number} and {text}"
            _refuse(f"claim.logs[{index}]", repr(name.text[:60]), expected)
    return names


def _denominators(rows: Sequence[Mapping[str, Any]], texts: Sequence[str]) -> Iterator[Denominator]:
    for index, row in enumerate(rows):
        where = f"denominators[{index}]"
        _require_text(f"{where}.dataset", row["dataset"], texts)
        num_tokens, num_bytes, stated = row["tokens"], row.get("bytes"), row.get("bytes_per_token")
        if num_bytes is None and stated is None:
            _refuse(f"{where}.bytes", "nothing", "the bytes, or bytes_per_token where only that is known")
        ratio = num_bytes / num_tokens if num_bytes is not None else _above_0(f"{where}.bytes_per_token", stated or 0.0)
        if stated is not None and abs(stated / ratio - 1.0) > _SAME_RATIO:
            _refuse(f"{where}.bytes_per_token", stated, f"{ratio:.6f}, bytes over tokens")
        yield Denominator(row["dataset"], row["tokenizer"], row.get("scope", FULL), num_tokens, num_bytes, ratio)


def _require_text(where: str, name: str, texts: Sequence[str]) -> None:
    if name not in texts:
        _refuse(where, repr(name[:60]), f"a name of texts: {', '.join(texts) or 'there is none'}")


def _byte_factors(bugs: Sequence[Mapping[str, Any]]) -> Iterator[ByteFactor]:
    for index, bug in enumerate(bugs):
        where = f"byte_bugs[{index}]"
        given = tuple(key for key in ("factor", "lowest", "highest") if key in bug)
        if given not in (("factor",), ("lowest", "highest")):
            _refuse(where, " and ".join(given) or "no factor", "factor, or lowest and highest")
        lowest, highest = (float(bug["factor"] if "factor" in bug else bug[key]) for key in ("lowest", "highest"))
        _above_0(f"{where}.{given[0]}", lowest)
        if lowest > highest:
            _refuse(f"{where}.highest", highest, f"at least the lowest, {lowest}")
        if lowest - _SAME_BYTES <= 1.0 <= highest + _SAME_BYTES:
            expected = f"factors that are off 1 by more than {_SAME_BYTES:g}: right records scatter so"
            _refuse(f"{where}.{given[0]}", lowest, expected)
        yield ByteFactor(bug["name"], lowest, highest, bug["story"])


def _doubted(rows: Sequence[Mapping[str, Any]], texts: Sequence[str]) -> Iterator[tuple[str, DoubtedBelow]]:
    for index, row in enumerate(rows):
        where, accepted = f"doubted[{index}]", row["lowest_accepted"]
        _require_text(f"{where}.dataset", row["dataset"], texts)
        below = _above_0(f"{where}.bits_per_byte", row["bits_per_byte"])
        if accepted < below:
            _refuse(f"{where}.lowest_accepted", accepted, f"no less than bits_per_byte, {below:g}")
        yield row["dataset"], DoubtedBelow(below, float(accepted), row["as_of"])


def _target(value: Mapping[str, Any]) -> TargetRule:
    at_most = _above_0("target.at_most", value["at_most"])
    return TargetRule(at_most, _level("target.p_below", value["p_below"]), value.get("waived"))


def _time(value: Mapping[str, Any]) -> TimeRule:
    limits = {key: _above_0(f"time.{key}", value[key]) for key in ("train_seconds", "evaluate_seconds") if key in value}
    if limits and "lines" not in value:
        _refuse("time.lines", "nothing", "lines that print a time")
    lines = _lines("time.lines", value.get("lines", ()), tuple(SECONDS))
    for limit in limits:  # a limit that no line is held against would be none
        part = limit.removesuffix("seconds")
        if not any(place.startswith(part) for line in lines for place in line.places):
            _refuse("time.lines", f"no {{{part}s}}", f"a line with {{{part}ms}}, {{{part}s}} or {{{part}min}}")
    return TimeRule(
        **limits,
        slack=float(value.get("slack", 0.0)),
        lines=lines,
        tracks=tuple(word.lower() for word in value.get("tracks", ())),
    )


def _names(value: Mapping[str, Any]) -> FieldNames:
    return FieldNames(**{field.name: tuple(value.get(field.name, ())) for field in fields(FieldNames)})
