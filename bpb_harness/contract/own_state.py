"""A network's own parameters and buffers, before and after: no call may change them.

They are summed up, not copied, and by their bits. What counts is what ``state_dict`` holds: tables that a module fills
when they are first needed are not part of it, nor is a buffer that a wrapper of the user's hands out. What a network
keeps elsewhere shows in its behaviour alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from bpb_harness.errors import StateMutatedError

_DEEPEST = 4
_MOST_OBJECTS = 1000
_WORDS_AT_ONCE = 1 << 24
_WEIGHT_PERIOD = 65_521  # a prime: a sum that its terms' order changes
_WORDS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}

Sums = tuple[tuple[int, ...], str, int, int]


@final
class OwnState:
    """What a network's modules held when this was made.

    Args:
        network: a module, or an object that has modules among its attributes, directly or a few objects down.
    """

    def __init__(self, network: object) -> None:
        self._network = network
        self._sums = _sums_of(network)

    def require_unchanged(self) -> None:
        """Look again.

        Raises:
            StateMutatedError: naming the first tensor that is another, or is gone.
        """
        now = _sums_of(self._network)
        changed = [name for name, before in self._sums.items() if now.get(name) != before]
        if changed:
            raise StateMutatedError(
                f"a call changes the network's own {changed[0]}",
                seen=f"{len(changed)} of {len(self._sums)} tensors that are others than before",
                expected="parameters and buffers that stay as they were loaded",
                hint="is it in evaluation mode, and nothing in it learns or counts?",
            )


def _sums_of(network: object) -> dict[str, Sums]:
    sums = {}
    for path, module in _modules(network, "", _DEEPEST, set()):
        for name, value in module.state_dict().items():
            if isinstance(value, Tensor) and not is_lazy(value) and value.layout == torch.strided:
                sums[path + name] = _sums(value.detach())
    return sums


def _modules(value: Any, path: str, depth: int, seen: set[int]) -> Iterator[tuple[str, nn.Module]]:
    """Modules among the attributes of an object, not those within other modules."""
    if id(value) in seen or len(seen) > _MOST_OBJECTS:
        return
    seen.add(id(value))
    if isinstance(value, nn.Module):
        yield path, value
    elif isinstance(value, dict | list | tuple):
        parts = value.items() if isinstance(value, dict) else enumerate(value)
        for key, part in list(parts) if depth else ():
            yield from _modules(part, f"{path}{key}.", depth - 1, seen)
    elif depth and hasattr(value, "__dict__") and not isinstance(value, type | Tensor) and not callable(value):
        for key, part in list(vars(value).items()):
            yield from _modules(part, f"{path}{key}.", depth - 1, seen)


@torch.no_grad()
def _sums(tensor: Tensor) -> Sums:
    """Shape, type and two sums over the bits, one of which knows where each word stands."""
    kind = _WORDS.get(tensor.element_size())
    words = tensor.contiguous().flatten()
    words = torch.view_as_real(words).flatten() if words.is_complex() else words
    words = words.view(kind or torch.uint8)
    plain = weighted = 0
    for start in range(0, len(words), _WORDS_AT_ONCE):
        part = words[start : start + _WORDS_AT_ONCE].to(torch.int64)
        weight = torch.arange(len(part), device=part.device) % _WEIGHT_PERIOD + 1
        plain += int(part.sum())
        weighted += int((part * weight).sum())
    return tuple(tensor.shape), str(tensor.dtype), plain, weighted
