"""What a time-conditioned network is told along the chain rule: levels that its schedule has."""

import numpy as np
import pytest
import torch

from bpb_harness.estimators import ChainRule
from bpb_harness.sampling.streams import RandomStreams
from bpb_harness.schedule import CosineMd4, Geometric, LogLinear


class Listener:
    vocab_size, mask_token_id, context_length, time_conditioned = 3, 3, 40, True

    def __init__(self):
        self.levels = []

    def logits(self, xt, level):
        self.levels.append(level)
        return torch.zeros(*xt.shape, 3)


@pytest.mark.parametrize("schedule", [LogLinear(1e-3), Geometric(0.05, 5.0), CosineMd4(0.1)], ids=str)
def test_time_and_rate_agree_down_to_the_last_token(schedule):
    """With u_0 above 0 the last tokens of a window are fewer than any time masks."""
    listener = Listener()
    ChainRule(schedule, RandomStreams(0)).token_nats(listener, torch.zeros(1, 40, dtype=torch.int64), np.array([0]))
    assert len(listener.levels) == 40
    for masked, level in zip(range(40, 0, -1), listener.levels, strict=True):
        rate = max(schedule.max_mask_rate * masked / 40, schedule.min_mask_rate)
        assert float(level.mask_rate) == pytest.approx(rate, rel=1e-12)
        assert float(schedule.mask_rate(level.t)) == pytest.approx(rate, rel=1e-9)
