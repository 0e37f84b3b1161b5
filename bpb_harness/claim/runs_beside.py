"""Runs of other seeds that a submission lists anywhere in its JSON, beside the one whose score it claims."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from bpb_harness.claim.printed import Printed, Source, from_json

_PLACE = re.compile(r"(?P<list>.{1,200})\.(?P<row>[0-9]{1,4})\.(?P<key>[^.]{1,80})")
# What is measured of a run; anything else that differs between runs is a setting of one.
_MEASURED = re.compile(
    r"bpb|loss|bits|nats|time|bytes|size|(?<![a-z])m?s(?![a-z])|steps?$|seconds|minutes|duration|wallclock|log|file|path"
    r"|^seed$|^(?:run_)?(?:id|name)$|gap|delta|gain|date|node|host",
    re.IGNORECASE,
)


def runs_beside(leaves: Sequence[tuple[str, Any]], score: Printed | None, file: str) -> dict[str, Printed]:
    """The scores of one list of runs by seed, of which the claim is one; nothing where runs differ in a setting too.

    Args:
        leaves: the values of the JSON by their dotted keys.
        score: the claim.
        file: its name.
    """
    lists: dict[str, dict[str, dict[str, Any]]] = {}
    for key, held in leaves if score is not None else ():
        if (place := _PLACE.fullmatch(key)) is not None:
            lists.setdefault(place["list"], {}).setdefault(place["row"], {})[place["key"]] = held
    for name, rows in lists.items():
        found = _of_seeds(name, rows, score, file) if score is not None else {}
        if score is not None and any(score.agrees_with(each.value) for each in found.values()):
            return found
    return {}


def _of_seeds(name: str, rows: Mapping[str, Mapping[str, Any]], score: Printed, file: str) -> dict[str, Printed]:
    keys = {key for row in rows.values() for key in row}
    seeds = [row.get("seed") for row in rows.values()]
    if len(rows) < 2 or None in seeds or len(set(map(str, seeds))) != len(rows):
        return {}
    if any(len({repr(row.get(key)) for row in rows.values()}) > 1 for key in keys if not _MEASURED.search(key)):
        return {}
    found = {
        str(row["seed"]): from_json(row.get(score.name), Source(file, key=f"{name}.{place}.{score.name}"), score.name)
        for place, row in rows.items()
    }
    return {} if None in found.values() else {seed: each for seed, each in found.items() if each is not None}
