"""Rotary settings of ``config.json``: versions of transformers write them in three places, which must agree.

Old ones write ``rope_theta`` and its kin beside ``rope_scaling``, version 5 writes all of them into
``rope_parameters``, for each type of layer where these differ. The library takes one of the three and passes over the
others in silence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bpb_harness.errors import CheckpointError

# Old name beside the others: name in rope_parameters.
_LOOSE = {
    "rope_theta": "rope_theta",
    "rotary_emb_base": "rope_theta",
    "partial_rotary_factor": "partial_rotary_factor",
    "rotary_pct": "partial_rotary_factor",
    "rope_pct": "partial_rotary_factor",
    "original_max_position_embeddings": "original_max_position_embeddings",
}
_KNOWN = frozenset(
    {
        "rope_type", "type", "rope_theta", "partial_rotary_factor", "factor", "original_max_position_embeddings",
        "attention_factor", "beta_fast", "beta_slow", "short_factor", "long_factor", "short_mscale", "long_mscale",
        "low_freq_factor", "high_freq_factor", "mscale", "mscale_all_dim", "truncate", "mrope_section",
        "mrope_interleaved", "finetuned", "llama_4_scaling_beta", "max_position_embeddings",
    }
)  # fmt: skip
_YARN = ("factor", "attention_factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim", "truncate")
_LONG = ("factor", "attention_factor", "short_factor", "long_factor", "short_mscale", "long_mscale")
# What stretches positions, of each type that says how; of a type that is not here the model's own code may read it.
_READ_BY = {
    "default": (),
    "linear": ("factor",),
    "dynamic": ("factor",),
    "proportional": ("factor",),
    "yarn": _YARN,
    "longrope": _LONG,
    "su": _LONG,
    "llama3": ("factor", "low_freq_factor", "high_freq_factor"),
}
_STRETCHES = frozenset(key for keys in _READ_BY.values() for key in keys)
_SECTION = "mrope"  # a type that the text alone sees as "default"


def require_agreeing(folder: str, settings: Mapping[str, Any], taken: Any) -> None:
    """Refuse rotary settings that contradict each other, and those that no version knows.

    Args:
        folder: for messages.
        settings: config.json, or the part of it.
        taken: what the library made of it.

    Raises:
        CheckpointError: naming both places.
    """
    new, old = settings.get("rope_parameters"), settings.get("rope_scaling")
    places = [(name, held) for name, held in (("rope_scaling", old), ("rope_parameters", new)) if held]
    for name, held in places:
        if not isinstance(held, Mapping):
            raise CheckpointError(f"{folder}: {name} in config.json", seen=repr(held)[:80], expected="an object")
        for place, part in _parts(name, held):
            _require_known(folder, place, part)
            _require_read(folder, place, part)
    if len(places) == 2:
        _require_same(folder, places[0][1], places[1][1])
    held_by_library = getattr(taken, "rope_parameters", None)
    made = [("transformers", held_by_library)] if isinstance(held_by_library, Mapping) else []
    for where in [*([place] for place in places), made]:
        parts = list(_all_parts(where))
        for key, inner in _LOOSE.items():
            value, held = (
                settings.get(key),
                [(name, part[inner]) for name, part in parts if part.get(inner) is not None],
            )
            if value is not None and held and value not in [each for _, each in held]:
                raise _contradiction(folder, key, value, f"{inner} in {held[0][0]}", held[0][1])


def is_taken(key: str, value: Any, taken: Any) -> bool:
    """Whether the library has an old rotary setting of config.json in its ``rope_parameters``."""
    parameters = getattr(taken, "rope_parameters", None)
    if not isinstance(parameters, Mapping):
        return False
    if key == "rope_scaling":
        return isinstance(value, Mapping)
    parts = [part for _, part in _parts("", parameters)]
    return key in _LOOSE and any(part.get(_LOOSE[key]) == value for part in parts)


def _parts(name: str, held: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The settings of every type of layer, or those of all."""
    inner = {key: value for key, value in held.items() if isinstance(value, Mapping)}
    if len(inner) < len(held):
        yield name, {key: value for key, value in held.items() if key not in inner}
    yield from ((f"{name}.{key}", value) for key, value in inner.items())


def _all_parts(places: list[tuple[str, Any]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, held in places:
        yield from _parts(name, held)


def _require_known(folder: str, place: str, part: Mapping[str, Any]) -> None:
    unknown = next((key for key in part if key not in _KNOWN and part[key] is not None), None)
    if unknown is not None:
        raise CheckpointError(
            f"{folder}: {place} in config.json has a setting that transformers does not know: {unknown}",
            seen=repr(part[unknown])[:80],
            hint="score the network by its own code: --model FILE.py:LOADER --allow-code",
        )
    kinds = [part[key] for key in ("rope_type", "type") if part.get(key) is not None]
    if len(kinds) == 2 and kinds[0] != kinds[1] and _SECTION not in kinds:
        raise _contradiction(folder, f"type in {place}", kinds[1], "rope_type there", kinds[0])


def _require_read(folder: str, place: str, part: Mapping[str, Any]) -> None:
    """Refuse what stretches positions and is not read by the type that is named; none named is none that stretches."""
    stated = part.get("rope_type", part.get("type"))
    kind = stated or "default"
    read = _READ_BY.get(kind, _STRETCHES) if isinstance(kind, str) else _STRETCHES
    for key in sorted((part.keys() & _STRETCHES) - set(read)):
        if part[key] is not None and part[key] != 1:
            raise CheckpointError(
                f"{folder}: {place} in config.json sets {key}, which transformers does not read with "
                + (f"rope_type {kind!r}" if stated else "no rope_type"),
                seen=repr(part[key])[:80],
                expected="a rope_type that reads it, or none of it",
                hint="say the rope_type that the network was trained with",
            )


def _require_same(folder: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """The library takes rope_scaling, and nothing of rope_parameters beside it."""
    one, other = _plain(old), _plain(new)
    for key in sorted((one.keys() | other.keys()) - set(_LOOSE.values())) + sorted(one.keys() & other.keys()):
        if one.get(key) != other.get(key):
            raise _contradiction(
                folder, f"{key} in rope_scaling", one.get(key), f"{key} in rope_parameters", other.get(key)
            )
    lost = next((key for key in other if key not in one and key in ("rope_theta", "partial_rotary_factor")), None)
    if lost is not None:
        raise _contradiction(folder, f"{lost} in rope_scaling", None, f"{lost} in rope_parameters", other[lost])


def _plain(held: Mapping[str, Any]) -> dict[str, Any]:
    content = {key: value for key, value in held.items() if key not in ("type", "rope_type") and value is not None}
    return {**content, "rope_type": held.get("rope_type", held.get("type", "default"))}


def _contradiction(folder: str, one: str, value: Any, other: str, held: Any) -> CheckpointError:
    return CheckpointError(
        f"{folder}: config.json says two things of its rotary positions",
        seen=f"{one} {value!r}",
        expected=f"{held!r}, as {other}",
        hint="take the one out that the network was not trained with",
    )
