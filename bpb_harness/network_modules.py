"""The torch modules of a network, which may be one, or an object that keeps some among its attributes."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import isroutine
from typing import Any

from torch import Tensor, nn

_DEEPEST = 4
_MAX_OBJECTS = 1000


def modules_of(network: object) -> Iterator[tuple[str, nn.Module]]:
    """The modules of a network, outermost ones alone, each with the prefix of its names: itself, or its attributes."""
    if isinstance(network, nn.Module):
        yield "", network
        return
    seen = {id(network)}
    for key, part in list(getattr(network, "__dict__", {}).items()):
        yield from _modules(part, f"{key}.", _DEEPEST - 1, seen)


def _modules(value: Any, path: str, depth: int, seen: set[int]) -> Iterator[tuple[str, nn.Module]]:
    """Modules among the attributes of an object, not those within other modules."""
    if id(value) in seen or len(seen) > _MAX_OBJECTS:
        return
    seen.add(id(value))
    if isinstance(value, nn.Module):
        yield path, value
    elif isinstance(value, dict | list | tuple):
        parts = value.items() if isinstance(value, dict) else enumerate(value)
        for key, part in list(parts) if depth else ():
            yield from _modules(part, f"{path}{key}.", depth - 1, seen)
    elif depth and hasattr(value, "__dict__") and not isinstance(value, type | Tensor) and not isroutine(value):
        for key, part in list(vars(value).items()):
            yield from _modules(part, f"{path}{key}.", depth - 1, seen)
