"""Foreign checkpoints as denoisers: one file an adapter, a small registry, entry points for third parties.

An adapter says whether a checkpoint's tensors fit and builds a network from them. Nothing is guessed: where a
checkpoint does not name its adapter, the user does, and the error lists those that fit.
"""

from __future__ import annotations

from bpb_harness.adapters.accounting.account import Account, AccountedAdapter
from bpb_harness.adapters.adapter import AdaptedModel, Adapter
from bpb_harness.adapters.registry import (
    available_adapters,
    choose_adapter,
    fitting_adapters,
    load_model,
)

__all__ = [
    "Account",
    "AccountedAdapter",
    "AdaptedModel",
    "Adapter",
    "available_adapters",
    "choose_adapter",
    "fitting_adapters",
    "load_model",
]
