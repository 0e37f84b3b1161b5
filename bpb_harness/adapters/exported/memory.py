"""Whether the tensors of a program fit into memory, found out without allocating any of them.

The program runs on torch's ``meta`` device, where tensors have sizes and no content. What depends on values (a mask
that selects, a size read from a tensor) cannot be seen there: from such a node on nothing is said.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, fx
from torch.utils._python_dispatch import TorchDispatchMode

_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


class _TooLargeError(Exception):
    """More bytes than there are.

    Attributes:
        num_bytes: how many; what interprets a graph writes into the message.
    """

    def __init__(self, num_bytes: int) -> None:
        super().__init__()
        self.num_bytes = num_bytes


def bytes_beyond(module: fx.GraphModule, inputs: Sequence[Tensor], most: int) -> int | None:
    """How many bytes a program holds at once on inputs of these sizes, if more than ``most``; None if not."""
    try:
        with torch.no_grad(), _NoTensorLargerThan(most):
            _Sizes(module, most).run(*(value.to("meta") for value in inputs))
    except _TooLargeError as beyond:
        return beyond.num_bytes
    except Exception:  # values are missing, or an operator has no sizes without them: it fails again where it runs
        return None
    return None


def memory_of(device: torch.device) -> int:
    """Bytes of a GPU, or of this machine as far as this process may have them."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for name in _CGROUP_LIMITS:
        try:
            text = Path(name).read_text().strip()
        except OSError:
            continue
        limits += [int(text)] if text.isdigit() else []
    return min(limits)


@final
class _Sizes(fx.Interpreter):
    """Runs a program on sizes alone and adds up what is alive."""

    def __init__(self, module: fx.GraphModule, most: int) -> None:
        super().__init__(module)
        self._most = most
        self._weights: dict[str, Tensor] = {}

    def fetch_attr(self, target: str) -> Any:
        if target not in self._weights:
            self._weights[target] = super().fetch_attr(target).to("meta")
        return self._weights[target]

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        meta = torch.device("meta")
        args = tuple(meta if isinstance(value, torch.device) else value for value in args)
        kwargs = {name: meta if isinstance(value, torch.device) else value for name, value in kwargs.items()}
        return super().call_function(target, args, kwargs)

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        weights = {id(value.untyped_storage()._cdata) for value in self._weights.values()}
        storages = {
            value.untyped_storage()._cdata: value.untyped_storage().nbytes()
            for value in _tensors([result, *self.env.values()])
        }
        alive = sum(size for key, size in storages.items() if key not in weights)
        if alive > self._most:
            raise _TooLargeError(alive)
        return result


@final
class _NoTensorLargerThan(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Looks at what operators make inside of others, too."""

    def __init__(self, most: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._most = most

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in _tensors([result]):
            if value.untyped_storage().nbytes() > self._most:
                raise _TooLargeError(value.untyped_storage().nbytes())
        return result


def _tensors(values: Sequence[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)
