"""The draws that a file of a score keeps for comparisons, second draws of windows among them."""

from __future__ import annotations

import numpy as np
import pytest

from bpb_harness import evaluate
from bpb_harness.sampling.design import MIN_WINDOWS_REPLICATED


def test_second_draws_of_windows_stand_behind_the_first(one_block):
    """One draw a window, and of some windows a second one that enters no total."""
    limit = MIN_WINDOWS_REPLICATED
    result = evaluate(
        one_block,
        method="mc",
        num_samples=1,
        limit=limit,
        context_length=16,
        with_costs=True,
        check_contract=False,
        device="cpu",
    )
    assert result.costs is not None
    draws = result.costs.draws
    assert draws is not None
    count = draws.num_replicates
    assert 0 < count < limit
    assert draws.window[:limit].tolist() == list(range(limit))
    assert draws.sample.tolist() == [0] * limit + [1] * count
    again = draws.window[limit:]
    assert len(np.unique(again)) == count
    assert (draws.v[limit:] != draws.v[again]).all()
    assert draws.value_nats[:limit].sum() == pytest.approx(result.costs.nats)  # each an estimate of its window's bound
    assert np.isfinite(draws.value_nats).all()
    assert (draws.value_nats[limit:] != draws.value_nats[again]).all()
