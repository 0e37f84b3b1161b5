"""Whether a file of ``--resume`` is of this evaluation; nothing here imports torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

from bpb_harness.errors import UsageError
from bpb_harness.result import Signature

ADAPTATION = "bpb-harness adaptation"  # the format of files with --ttt
SAME_FLAGS = "name another file, or repeat that evaluation's flags"
_LARGEST_HEADER = 1 << 27  # bytes; safetensors itself takes no larger one


def require_same(what: str, found: Mapping[str, object], expected: Mapping[str, str]) -> None:
    """Refuse a file of another evaluation, by what differs.

    Args:
        what: the flag and the file.
        found: what the file says that it belongs to.
        expected: what it would say of this evaluation; of two signatures only the fields that differ are named.

    Raises:
        UsageError: if they differ.
    """
    for name, value in expected.items():
        if found.get(name) == value:
            continue
        seen, wanted = f"{name} {found.get(name)}", value
        if name == "signature":
            seen, wanted = _differing(str(found.get(name)), value) or (seen, wanted)
        raise UsageError(f"{what} belongs to another evaluation", seen=seen, expected=wanted, hint=SAME_FLAGS)


def _differing(one: str, other: str) -> tuple[str, str] | None:
    """The fields in which two signatures differ, as each has them; None where they cannot be read."""
    try:
        parsed = Signature.parse(one), Signature.parse(other)
    except UsageError:
        return None
    names = [each for each in fields(Signature) if getattr(parsed[0], each.name) != getattr(parsed[1], each.name)]
    if not names:
        return None
    said = []
    for signature in parsed:
        values = [(each.metadata["key"], getattr(signature, each.name)) for each in names]
        said.append(", ".join(f"no {key}" if value is None else f"{key}:{value}" for key, value in values))
    return said[0], said[1]


def is_adaptation_file(path: Path) -> bool:
    """Whether a file is one of ``--resume`` with ``--ttt``: a safetensors file whose metadata say so."""
    try:
        if not path.is_file():  # a pipe would wait for its writer
            return False
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            if not 0 < size <= _LARGEST_HEADER:
                return False
            header = file.read(size)
        stated = json.loads(json.loads(header)["__metadata__"]["bpb"])
        return bool(stated["format"] == ADAPTATION)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):  # whoever reads it whole says so
        return False
