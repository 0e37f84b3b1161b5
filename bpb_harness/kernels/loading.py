"""Whether there is a triton, and when the kernels that are written in it are imported: before a GPU runs them.

Importing triton takes long, and what runs on a CPU does without. So whether there is one is read off the files of the
package; only :mod:`bpb_harness.kernels.on_gpu` imports it. The main thread does so before any other is started: triton,
torch's compiler and what they import, import one another in circles, and a thread that comes while another one is
within the circle is handed a module of which half is there.
"""

from __future__ import annotations

import importlib
import importlib.util
from importlib.machinery import ModuleSpec, PathFinder
from types import MappingProxyType

import torch

_LANGUAGE, _DESCRIPTORS = "triton.language", "triton.tools.tensor_descriptor"
# Which part of triton each needs.
_KERNELS = MappingProxyType({
    "draws": _LANGUAGE, "normalise": _LANGUAGE, "token_nll": _LANGUAGE, "training": _LANGUAGE,
    "attention": _DESCRIPTORS, "query_key": _DESCRIPTORS, "squared_relu": _DESCRIPTORS,
})  # fmt: skip


def _spec(name: str) -> ModuleSpec | None:
    """As :func:`importlib.util.find_spec`, which would import the packages that a module lies in."""
    package = name.rpartition(".")[0]
    if not package:
        return importlib.util.find_spec(name)
    around = _spec(package)
    if around is None or around.submodule_search_locations is None:
        return None
    return PathFinder.find_spec(name, around.submodule_search_locations)


# Variables of the module: torch's compiler traces the functions that read them.
_has_triton = _spec(_LANGUAGE) is not None
_has_descriptors = _has_triton and _spec(_DESCRIPTORS) is not None


def has_triton() -> bool:
    """Whether there is a triton, of any version."""
    return _has_triton


def has_descriptors() -> bool:
    """Whether there is one with tensor descriptors, 3.4 or later."""
    return _has_descriptors


def load_kernels(device: torch.device) -> None:
    """Import the kernels for a GPU; on a CPU, nothing. Of a triton that cannot be imported it is known from then on.

    Args:
        device: where a network will run.
    """
    global _has_triton, _has_descriptors  # noqa: PLW0603 - one triton for a process
    if device.type != "cuda":
        return
    _has_triton = _has_triton and _is_importable(_LANGUAGE)
    _has_descriptors = _has_descriptors and _has_triton and _is_importable(_DESCRIPTORS)
    there = {_LANGUAGE: _has_triton, _DESCRIPTORS: _has_descriptors}
    for name, part in _KERNELS.items():
        if there[part]:
            importlib.import_module(f"bpb_harness.kernels.on_gpu.{name}")


def _is_importable(name: str) -> bool:
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True
