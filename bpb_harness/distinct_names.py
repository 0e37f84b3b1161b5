"""Names of files and folders that tell them apart: no more of their paths than that takes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath


def distinct_names(paths: Sequence[PurePath], names: Sequence[str] | None = None) -> list[str]:
    """What each of some paths is called, the same only for those that are the same.

    Args:
        paths: of files or folders.
        names: what each is called where no other is called so; None: the last part of its path.

    Returns:
        The names; of paths that share one, the shortest ends that differ.
    """
    found = [path.name for path in paths] if names is None else [*names]
    depth = 1
    while shared := _shared(paths, found):
        for index in shared:
            found[index] = str(PurePath(*paths[index].parts[-depth:]))
        depth += 1
    return found


def _shared(paths: Sequence[PurePath], names: Sequence[str]) -> list[int]:
    """Which have the name of another path."""
    called: dict[str, set[PurePath]] = {}
    for path, name in zip(paths, names, strict=True):
        called.setdefault(name, set()).add(path)
    return [index for index, name in enumerate(names) if len(called[name]) > 1]
