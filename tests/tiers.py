"""Two tiers: what `make thorough`, which sets BPB_THOROUGH=1, runs beyond what `make test` does.

Where a test repeats the same thing with other seeds, other networks or more draws, the everyday tier takes a few of
them, the first ones. A test that shows again, in a process of its own or at a larger size, what a cheaper one decides
is left to the thorough tier as a whole, and names the everyday test that is nearest to it. That one need not notice
every fault that the thorough one notices: README.md beside this file lists those that no everyday test
notices. A refusal, a verdict or a decision that nothing else tests is not given away.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings

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


def thorough(*, everyday: str) -> pytest.MarkDecorator:
    """A test that the thorough tier alone runs.

    Args:
        everyday: the nearest test of every day, which notices what both have in common, not every fault that this one
            notices: its file below tests, ``::`` and its name.
    """
    return pytest.mark.thorough(everyday)


def of_this_tier(
    items: list[pytest.Item], *, is_thorough: bool = IS_THOROUGH
) -> tuple[list[pytest.Item], list[pytest.Item]]:
    """Those of the tests that run, and those that are left to the thorough tier."""
    left = {item for item in items if not is_thorough and item.get_closest_marker("thorough")}
    return [item for item in items if item not in left], list(left)


def settle_examples(*, is_thorough: bool = IS_THOROUGH) -> None:
    """Every day Hypothesis tries the same examples on every machine, thoroughly it looks for new ones.

    No test of it fails because a machine is busy, in either.
    """
    settings.register_profile(
        "bpb", derandomize=not is_thorough, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    settings.load_profile("bpb")
