"""Two tiers: what `make thorough` repeats more often than `make test` does.

Every test is in both. Where one repeats the same thing with other seeds, other networks or more draws, the everyday
tier takes a few of them, the first ones, and BPB_THOROUGH=1 all. What is the only one of its kind, a refusal, a verdict
or a decision cannot be given away by these functions: a test keeps at least one case.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TypeVar

IS_THOROUGH = os.environ.get("BPB_THOROUGH") == "1"

Case = TypeVar("Case")


def some_of(cases: Iterable[Case], *, everyday: int, is_thorough: bool = IS_THOROUGH) -> list[Case]:
    """Cases of one test that are alike: the first ``everyday`` of them, all in the thorough tier.

    Raises:
        ValueError: where the everyday tier would have none, or all.
    """
    listed = list(cases)
    if not 1 <= everyday < len(listed):
        raise ValueError(f"everyday: got {everyday}, expected 1 .. {len(listed) - 1} of {len(listed)} cases")
    return listed if is_thorough else listed[:everyday]


def times(everyday: int, *, thorough: int, is_thorough: bool = IS_THOROUGH) -> int:
    """How often a test repeats or draws: a number for each tier.

    Raises:
        ValueError: where the thorough one is not the larger.
    """
    if not 1 <= everyday < thorough:
        raise ValueError(f"got {everyday} and {thorough}, expected 1 or more every day, and more than that thoroughly")
    return thorough if is_thorough else everyday
