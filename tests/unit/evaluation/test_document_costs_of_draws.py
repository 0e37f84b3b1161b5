"""The error of a sum over documents whose draws agree: nothing tells it, as of a single one."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bpb_harness.evaluation.document_table import DocumentCosts


def costs(variance, unknown, **more) -> DocumentCosts:
    nats = np.full(len(variance), 50.0)
    return DocumentCosts(None, nats, np.asarray(variance), unknown=np.asarray(unknown), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("variance", "unknown", "expected"),
    [
        ([0.0, 0.0], [True, True], math.nan),
        ([1e-14, 0.0], [True, True], math.nan),  # rounding
        ([0.0, 0.0], [True, False], math.nan),  # the other was not drawn
        ([0.0, 0.0], [False, False], 0.0),  # neither was
        ([0.0, 4.0], [True, False], 4.0),  # right on average
        ([math.nan, 4.0], [False, False], math.nan),
    ],
)
def test_the_variance_of_a_sum(variance, unknown, expected):
    assert costs(variance, unknown).variance_of(np.arange(2)) == pytest.approx(expected, nan_ok=True)


def test_the_variance_of_a_part():
    both = costs([0.0, 4.0], [True, False])
    assert math.isnan(both.variance_of(np.array([0])))
    assert both.variance_of(np.array([1])) == 4.0
