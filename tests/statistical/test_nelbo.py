"""``bpb_harness.nelbo`` against enumeration, over many calls with fixed seeds."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

import bpb_harness
from bpb_harness.estimators import ExactBound
from bpb_harness.schedule import parse_schedule
from tests.tiers import some_of, times

V, L = 3, 4
CALLS = times(500, thorough=3000)


class Net(nn.Module):
    vocab_size = mask_token_id = V
    context_length = L

    def __init__(self, *, time_conditioned: bool) -> None:
        super().__init__()
        self.time_conditioned = time_conditioned
        generator = torch.Generator().manual_seed(3)
        self.embed = nn.Parameter(torch.randn(V + 1, L, 4, generator=generator, dtype=torch.float64))
        self.out = nn.Parameter(torch.randn(4, V, generator=generator, dtype=torch.float64))

    def logits(self, xt, level):
        here = self.embed[xt, torch.arange(xt.shape[1])]
        hidden = (here + here.mean(dim=1, keepdim=True)).tanh()
        if self.time_conditioned:
            hidden = hidden * (0.5 + 2.0 * level.mask_rate[:, None, None])
        return hidden @ self.out


X0 = torch.tensor(list(itertools.product(range(V), repeat=L)))[::8]
CASES = [
    ("cosine-md4[0.2]", None, False, None, 1), ("cosine-mdlm[0.1]", 3, True, None, 2),
    ("polynomial[2,0.05]", 4, True, [0, 1, 2, 3], 1), ("loglinear[0.2]", None, False, [3, 0, 1, 1], 3),
]  # fmt: skip


def exact(network, schedule, num_steps, contexts) -> list[float]:
    """The harness's own enumeration, row by row."""
    bound = ExactBound(parse_schedule(schedule), num_steps)
    with torch.no_grad():
        return [
            float(bound.span_bounds(network, row[None], np.zeros(1, np.int64), context_length=context).nats[0])
            for row, context in zip(X0, contexts, strict=True)
        ]


@pytest.mark.parametrize(
    ("schedule", "num_steps", "conditioned", "contexts", "num_samples"), some_of(reversed(CASES), everyday=2), ids=str
)
def test_every_row_has_the_mean_that_it_must(schedule, num_steps, conditioned, contexts, num_samples):
    """Each of 11 rows and their sum within 4.5 errors, as the calls' own spread gives them: 12 times 7e-6 a case."""
    network, calls = Net(time_conditioned=conditioned), CALLS // num_samples
    lengths = np.resize(contexts or [0], len(X0)).tolist()
    generator = torch.Generator().manual_seed(7)
    drawn, errors = [], []
    for _ in range(calls):
        found = bpb_harness.nelbo(
            network, X0, schedule=schedule, num_steps=num_steps, num_samples=num_samples, context_lengths=lengths,
            generator=generator,
        )  # fmt: skip
        drawn.append(found.nats)
        errors.append(None if found.row_stderr is None else found.row_stderr.nan_to_num())  # 0: unbiased in the mean
    nats = torch.stack(drawn).numpy()
    truth = np.array(exact(network, schedule, num_steps, lengths))
    spread = nats.std(axis=0, ddof=1)
    assert (np.abs(nats.mean(axis=0) - truth) < 4.5 * spread / math.sqrt(calls) + 1e-12).all()
    total = nats.sum(axis=1)
    assert abs(total.mean() - truth.sum()) < 4.5 * total.std(ddof=1) / math.sqrt(calls)
    if num_samples > 1:
        stated = torch.stack(errors).square().mean(dim=0).sqrt().numpy()
        varies = spread > 1e-9
        assert stated[varies] == pytest.approx(spread[varies], rel=0.25)


def test_rates_spread_over_the_rows_of_a_call():
    """Where costs follow from the rate alone, the sum over rows varies by a tenth of what rows drawn alone would."""

    class Rate(Net):
        def logits(self, xt, level):
            logits = torch.zeros(*xt.shape, V, dtype=torch.float64)
            logits[..., 0] = 3.0 * level.mask_rate[:, None]
            return logits

    network, generator, zeros = Rate(time_conditioned=True), torch.Generator().manual_seed(1), torch.zeros_like(X0)
    nats = torch.stack(
        [bpb_harness.nelbo(network, zeros, schedule="loglinear", generator=generator).nats for _ in range(200)]
    )
    assert float(nats.sum(dim=1).var() / nats.var(dim=0).sum()) < 0.1


def test_the_mean_gradient_is_that_of_the_enumeration():
    """50 numbers within 5 errors: false alarm 3e-5."""
    network, schedule, num_steps = Net(time_conditioned=True), parse_schedule("loglinear[0.1]"), 3
    bound = ExactBound(schedule, num_steps)
    rates, weights = bound.nodes()
    total = torch.zeros((), dtype=torch.float64)
    for rate, weight in zip(rates, weights, strict=True):
        level = schedule.level_at(rate.expand(len(X0)))
        for mask in itertools.product((False, True), repeat=L):
            if not any(mask):
                continue
            hidden, k, u = torch.tensor(mask), sum(mask), float(rate)
            logits = network.logits(X0.masked_fill(hidden, V), level)[:, hidden]
            nats = nn.functional.cross_entropy(logits.flatten(0, 1), X0[:, hidden].flatten(), reduction="sum")
            total = total + float(weight) * u ** (k - 1) * (1.0 - u) ** (L - k) * nats
    expected = torch.cat(
        [part.flatten() for part in torch.autograd.grad(total / X0.numel(), list(network.parameters()))]
    )
    generator, seen = torch.Generator().manual_seed(5), []
    for _ in range(400):
        found = bpb_harness.nelbo(
            network, X0, schedule=schedule, num_steps=num_steps, differentiable=True, generator=generator
        )
        grads = torch.autograd.grad(found.nats_per_token, list(network.parameters()))
        seen.append(torch.cat([part.flatten() for part in grads]))
    drawn = torch.stack(seen)
    error = drawn.std(dim=0) / math.sqrt(len(drawn))
    assert bool(((drawn.mean(dim=0) - expected).abs() < 5.0 * error + 1e-12).all())
    assert float(expected.abs().max()) > 0.01


@pytest.mark.parametrize("num_samples", some_of([3, 1], everyday=1))
def test_the_error_of_the_mean_holds_for_rows_that_are_drawn_as_well(num_samples):
    """The variance of 600 means of batches of 16 against what they state: within a quarter, more than 4 errors."""
    network, generator = Net(time_conditioned=False), torch.Generator().manual_seed(2)
    means, stated = [], []
    for _ in range(600):
        rows = torch.randint(V, (16, L), generator=generator)
        found = bpb_harness.nelbo(network, rows, schedule="loglinear", num_samples=num_samples, generator=generator)
        means.append(float(found.nats.mean()))
        stated.append(float(found.stderr) ** 2)
    assert np.mean(stated) / np.var(means, ddof=1) == pytest.approx(1.0, abs=0.25)
