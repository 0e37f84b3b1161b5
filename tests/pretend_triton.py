"""Stands in for triton on a machine without a GPU: a package to be put on the path, whose kernels note their launches.

A launch has to give a kernel the arguments that it takes, as triton would insist.
"""

from __future__ import annotations

import os
from pathlib import Path

_PACKAGE = """
import inspect, threading

imported_by = threading.current_thread().name
launches = []


def cdiv(a, b):
    return -(-a // b)


def next_power_of_2(n):
    return 1 << (n - 1).bit_length()


class jit:
    def __init__(self, function):
        self._function = function

    def __getitem__(self, grid):
        def launch(*arguments, num_warps=4, num_stages=3, **options):
            inspect.signature(self._function).bind(*arguments, **options)
            launches.append(f"{self._function.__module__}.{self._function.__name__}")

        return launch
"""
_DESCRIPTOR = """
class TensorDescriptor:
    @classmethod
    def from_tensor(cls, tensor, tile):
        return tensor.shape, tile
"""


def write_triton(folder: Path, *, has_descriptors: bool = True, start: str = "") -> None:
    """Write the package into a folder.

    Args:
        folder: to be put on the path.
        has_descriptors: as triton 3.4 and later.
        start: what the package does first when it is imported.
    """
    package = folder / "triton"
    package.mkdir()
    (package / "__init__.py").write_text(start + _PACKAGE)
    (package / "language.py").write_text("constexpr = None\n")
    if has_descriptors:
        (package / "tools").mkdir()
        (package / "tools" / "__init__.py").touch()
        (package / "tools" / "tensor_descriptor.py").write_text(_DESCRIPTOR)


def environment_with(folder: Path) -> dict[str, str]:
    """What a process is started with that is to find the package before any other of that name."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))}
