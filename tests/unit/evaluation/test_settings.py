"""Settings that would never come to an end are refused before anything is loaded."""

from __future__ import annotations

import pytest

from bpb_harness.errors import UsageError
from bpb_harness.evaluation.settings import Settings


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"num_steps": 1_000_001}, "--steps: got 1,000,001, expected at most 1,000,000"),
        ({"num_samples": 10_001}, "--samples: got 10,001, expected at most 10,000"),
        (
            {"num_steps": 10_001, "num_samples": "all"},
            "--steps with --samples all: got 10,001, expected at most 10,000",
        ),
    ],
)
def test_more_than_the_most_is_refused(settings, text):
    with pytest.raises(UsageError) as caught:
        Settings(**settings)
    assert str(caught.value) == text


def test_the_most_is_taken():
    assert Settings(num_steps=1_000_000, num_samples=10_000).num_steps == 1_000_000
    assert Settings(num_steps=10_000, num_samples="all").num_samples == "all"
