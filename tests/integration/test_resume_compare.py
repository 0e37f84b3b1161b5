"""``--resume`` with ``--compare``: the T of the second bound is part of what a file of draws belongs to."""

import pytest

from bpb_harness.errors import UsageError
from bpb_harness.evaluation import api as evaluation

FAST = {"limit": 4, "batch_tokens": 512, "check_contract": False, "device": "cpu", "method": "mc"}


def test_draws_of_another_number_of_steps_are_refused(one_block, tmp_path):
    tiny, path = one_block, tmp_path / "draws.jsonl"
    coarse = evaluation.evaluate(tiny, compare=True, num_steps=2, resume=path, **FAST)
    with pytest.raises(UsageError, match="belongs to another evaluation"):
        evaluation.evaluate(tiny, compare=True, num_steps=64, resume=path, **FAST)
    again = evaluation.evaluate(tiny, compare=True, num_steps=2, resume=path, **FAST)
    assert again.comparison == coarse.comparison
    assert "T:" not in str(again.signature)  # the headline does not depend on it
