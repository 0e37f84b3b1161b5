"""The harness's own estimators, through the kit that others are given."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pytest
import torch

from bpb_harness.denoiser import masked_nll
from bpb_harness.estimators import Bound, ChainRule, ContinuousBound, DiscreteBound, prior_nats
from bpb_harness.estimators.orders import Order
from bpb_harness.sampling.design import size_biased_masks
from bpb_harness.sampling.streams import RandomStreams
from bpb_harness.schedule import LogLinear, parse_schedule
from bpb_harness.testing import check_code_length, check_elbo
from tests.oracles import OracleDenoiser, Table
from tests.tiers import some_of, thorough

V, L = 3, 4
# In steps, the ends of a schedule are cut off in one of each kind: what is left of the others is in test_oracles.
BOUNDS: list[tuple[str, int | None]] = [
    ("cosine-md4[0.05]", None), ("cosine-mdlm[0.1]", 3),
    ("loglinear", None), ("cosine-mdlm[0.1]", None), ("polynomial[0.5,0.02]", None), ("geometric[0.05,3]", None),
    ("loglinear", 3),
    ("loglinear[0.05]", None), ("cosine-mdlm", None), ("cosine-md4", None), ("polynomial[2]", None),
    ("loglinear[0.05]", 3), ("cosine-md4[0.05]", 3), ("polynomial[0.5,0.02]", 3), ("geometric[0.05,3]", 3),
]  # fmt: skip


class _KitDenoiser:
    """The kit's ``denoise`` as the harness wants a network."""

    vocab_size, mask_token_id, context_length, time_conditioned = V, V, L, True

    def __init__(self, denoise) -> None:
        self.denoise = denoise

    def logits(self, xt, level):
        return self.denoise(xt, level.t)


def _sampled(bound: Bound):
    def estimate_nats(denoise, x0, generator):
        batch, length = x0.shape
        position = 1.0 - torch.rand(batch, generator=generator, dtype=torch.float64)
        level = bound.schedule.level_at(bound.mask_rate(position))
        target = torch.randint(length, (batch,), generator=generator)
        noise = torch.rand(batch, length, generator=generator, dtype=torch.float64)
        masked = size_biased_masks(noise, target, level)
        per_masked = masked_nll(_KitDenoiser(denoise), x0, masked, level) / masked.sum(dim=-1)
        return bound.draw_weight * length * per_masked + prior_nats(bound.schedule, length, V)

    return estimate_nats


@pytest.mark.parametrize(("schedule", "num_steps"), some_of(BOUNDS, everyday=2))
def test_sampled_bounds(schedule: str, num_steps: int | None) -> None:
    """Time-conditioned, prior and reconstruction paid; false alarm below 5e-5 each (MATHS.md, equation 22)."""
    the_schedule = parse_schedule(schedule)
    bound = ContinuousBound(the_schedule, 1) if num_steps is None else DiscreteBound(the_schedule, 1, num_steps)
    report = check_elbo(
        _sampled(bound), schedule=schedule, num_steps=num_steps, time_conditioned=True, num_draws=3100, mask_column=True
    )
    assert report.verdict == "correct", report.message
    assert report.z_max < 5, report.message


@thorough(everyday="unit/estimators/test_estimators.py::test_its_mean_over_random_orders_is_the_nelbo")
@pytest.mark.parametrize("order", ["random", "left-to-right"])
def test_chain_rule(order: str) -> None:
    """In a random order its mean is the continuous bound; left to right it is another code, and the kit says so."""
    windows = np.arange(31)

    def estimate_nats(denoise, x0, generator):
        seed = int(torch.randint(1 << 40, (), generator=generator))
        chain = ChainRule(LogLinear(), RandomStreams(seed), order)
        return chain.token_nats(_KitDenoiser(denoise), x0, windows).sum(dim=-1)

    report = check_elbo(estimate_nats, num_draws=3100)
    assert report.ok == (order == "random"), report.message


@pytest.mark.parametrize("order", get_args(Order))
@pytest.mark.parametrize("tokens_per_step", some_of([2, 1], everyday=1))
def test_chain_rule_is_a_code(order: str, tokens_per_step: int) -> None:
    """Kraft with equality, for conditionals that contradict each other; several tokens a step included."""
    denoiser = OracleDenoiser(Table(V, seed=3, time_conditioned=True))
    chain = ChainRule(LogLinear(), RandomStreams(5), order, tokens_per_step)

    def score_bits(x: np.ndarray) -> float:
        tokens = torch.from_numpy(x).unsqueeze(0)
        return float(chain.token_nats(denoiser, tokens, np.array([2])).sum()) / math.log(2)

    report = check_code_length(score_bits, vocab_size=V, length=L, tolerance=1e-12)
    assert report.ok, report.message
    assert report.kraft_sum == pytest.approx(1.0, abs=1e-12)
