"""Modules that are called by their own name: ``bpb_harness.evaluate(...)`` beside ``bpb_harness.evaluate.score``.

A package's attribute and its submodule share one name, and whichever is bound last wins; a module that is itself
callable has only one meaning.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _CallableModule(ModuleType):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return getattr(self, self.__name__.rpartition(".")[2])(*args, **kwargs)


def make_callable(name: str) -> None:
    """Let calling the module ``name`` call the function of the same last name inside it."""
    sys.modules[name].__class__ = _CallableModule
