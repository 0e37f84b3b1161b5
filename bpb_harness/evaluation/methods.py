"""The registry of methods: a row for each ``--method``.

A new method is a file in estimators/ and a row here; what takes settings, checks them, lays the text out and sums asks
the row or the estimator. An estimator is made from the settings that its fields are called after, and imported when it
is: nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, final

if TYPE_CHECKING:
    from bpb_harness.estimators import AutoregressiveCode, Bound, ChainRule, ExactBound

Estimator: TypeAlias = "Bound | ChainRule | ExactBound | AutoregressiveCode"


@final
@dataclass(frozen=True)
class Method:
    """What is known of a method before anything is loaded.

    Attributes:
        name: of ``--method``, and in the signature.
        estimator: module and class under ``bpb_harness.estimators``.
        samples: it draws masks: ``--samples``, ``--tolerance`` and ``--resume`` are for it.
        takes_steps: ``--steps`` is for it.
        is_causal: it scores causal networks; else masked ones.
        goes_in_order: it reveals tokens one after the other: ``--order`` is for it.
        enumerates: it goes through all masks of a window, and knows what windows cost but not what tokens do.
        other: the method that ``--compare`` holds it against; None: it cannot be compared.
    """

    name: str
    estimator: str
    samples: bool = False
    takes_steps: bool = False
    is_causal: bool = False
    goes_in_order: bool = False
    enumerates: bool = False
    other: str | None = None


METHODS = {
    row.name: row
    for row in (
        Method("discrete", "discrete:DiscreteBound", samples=True, takes_steps=True, other="mc"),
        Method("mc", "mc:ContinuousBound", samples=True, other="discrete"),
        Method("chain", "chain:ChainRule", goes_in_order=True),
        Method("ar", "ar:AutoregressiveCode", is_causal=True),
        Method("exact", "exact:ExactBound", takes_steps=True, enumerates=True),
    )
}


def names(choose: Callable[[Method], object]) -> list[str]:
    """The names of some methods."""
    return [row.name for row in METHODS.values() if choose(row)]


def either(words: Sequence[str]) -> str:
    """``a, b or c``."""
    return " or ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)
