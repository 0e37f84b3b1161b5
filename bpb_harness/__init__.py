"""Evaluation and verification of bits-per-byte scores of masked diffusion language models.

``bpb_harness.evaluate(...)`` scores a checkpoint, ``bpb_harness.audit(...)`` checks a published claim,
``bpb_harness.testing`` holds what other projects import into their own tests. Importing the package imports none of
them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from bpb_harness._version import __version__

if TYPE_CHECKING:
    from bpb_harness.audit import audit as audit
    from bpb_harness.evaluate import evaluate as evaluate

__all__ = ["__version__", "audit", "evaluate"]

_SUBMODULES = {"audit", "evaluate", "testing"}


def __dir__() -> list[str]:
    return sorted({*globals(), *_SUBMODULES})


def __getattr__(name: str) -> Any:
    # Deferred: `bpb-audit` must not import torch, and `bpb-eval --help` should not wait for it.
    if name in _SUBMODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
