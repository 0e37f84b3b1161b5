"""The draws that a file of a score keeps for comparisons, second draws of windows among them."""

from __future__ import annotations

import numpy as np
import pytest

from bpb_harness import evaluate
from bpb_harness.sampling.design import MIN_WINDOWS_REPLICATED
from tests.tiers import some_of


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


SEVERAL, AS_MANY = {"num_samples": 3}, {"tolerance": 0.3}
WINDOWS, TOKENS = {"with_windows": True}, {"with_tokens": True}
DOCUMENTS = {"with_documents": True, "per_document": True}


@pytest.mark.parametrize(
    ("asked", "passes"),
    some_of(
        [
            (WINDOWS, SEVERAL), (DOCUMENTS, SEVERAL), (TOKENS, AS_MANY),
            (WINDOWS, AS_MANY), (DOCUMENTS, AS_MANY), (TOKENS, SEVERAL),
        ],
        everyday=3,
    ),
)  # fmt: skip
def test_costs_are_the_same_whatever_tables_are_asked_for_beside_them(one_block, asked, passes):
    """And tables are the same whether costs are asked for."""
    settings = {"method": "mc", "limit": 6, "check_contract": False, "device": "cpu", **passes}
    layout = {key: value for key, value in asked.items() if key == "per_document"}
    alone = evaluate(one_block, with_costs=True, **layout, **settings)
    beside, table = (evaluate(one_block, with_costs=costs, **asked, **settings) for costs in (True, False))
    assert beside.costs.to_plain() == alone.costs.to_plain()
    for name in ("windows", "tokens", "documents"):
        one, two = getattr(beside, name), getattr(table, name)
        assert (one is None) == (two is None)
        if one is not None:
            assert one.equals(two), name
