"""`--samples all` against enumeration of every mask, and its error against noise whose size is known."""

import math

import numpy as np
import pytest
import torch

from bpb_harness.estimators import DiscreteBound
from bpb_harness.evaluation.batches import DrawSource
from bpb_harness.evaluation.draws import plan_draws, run_draws
from bpb_harness.evaluation.layout import Layout
from bpb_harness.evaluation.runner import MaskedNllRunner
from bpb_harness.evaluation.sampled_bound import SampledBound
from bpb_harness.evaluation.settings import Settings
from bpb_harness.sampling.streams import RandomStreams
from bpb_harness.schedule import parse_schedule
from bpb_harness.statistics.grid_error import grid_noise_variance
from bpb_harness.text.corpus import Corpus
from tests.oracles import OracleDenoiser, Table, schedule, t_step_bound
from tests.spans import end_to_end
from tests.tiers import times

V, SEEDS = 3, times(100, thorough=400)
TEXTS = [(0, 1, 2, 2), (2, 0, 1, 1), (1, 1, 0)]


def test_every_step_on_every_window_is_the_exact_bound_in_the_mean():
    """Uneven grid, alpha(1) > 0, told the noise level; 100 seeds within 4.5 of their errors: false alarm 7e-6."""
    belief = Table(V, seed=5, time_conditioned=True)
    the_schedule = parse_schedule("cosine-md4[0.05]")
    bound = DiscreteBound(the_schedule, "all", 4)
    expected = sum(t_step_bound(belief, x, schedule("cosine-md4", 0.05), 4).total for x in TEXTS)
    tokens = np.concatenate([np.array(x) for x in TEXTS])
    lengths = np.array([len(x) for x in TEXTS])
    windows = end_to_end(lengths)
    device, dtype = torch.device("cpu"), Settings(device="cpu").torch_dtype()
    runner = MaskedNllRunner(OracleDenoiser(belief, context_length=4), device, dtype=dtype, compiled=False)
    source = DrawSource(
        Corpus("text", "0" * 64, len(tokens), _parts=(tokens,), _offsets=np.array([0, len(tokens)])),
        windows,
        the_schedule,
    )
    plan = plan_draws(bound, len(TEXTS), None)
    layout = Layout(windows, len(lengths), lengths, counts_bytes=False, difficulty=lengths)
    totals = []
    for seed in range(SEEDS):
        table = run_draws(runner, source, plan, RandomStreams(seed), device=device, batch_tokens=1024)
        totals.append(SampledBound(bound, layout, V, [table]).nats)
    error = np.std(totals, ddof=1) / math.sqrt(SEEDS)
    assert error < 0.02 * expected
    assert abs(np.mean(totals) - expected) < 4.5 * error


@pytest.mark.parametrize("nodes", [4, 8, 16, 32])
@pytest.mark.parametrize("windows", [1, 2, 6, 20])
def test_noise_of_any_size_at_each_node_is_counted_without_bias(windows, nodes):
    """400 tables; within 4.5 errors of the mean (7e-6 each). Shared and straight curves are none."""
    rng = np.random.default_rng([windows, nodes])
    rate = (np.arange(nodes) + 1.0) / nodes
    sigma = 1.0 / np.sqrt(rate)
    share = np.tile(rng.uniform(0.5, 1.5, nodes) / nodes, (windows, 1))
    difficulty = np.linspace(-1.0, 1.0, windows)
    shared = np.sin(5.0 * rate) * 50.0 if windows > 1 else 0.0
    own = 20.0 * difficulty[:, None] + (9.0 * difficulty[:, None] * rate if nodes >= 5 else 0.0)
    found = np.array([
        grid_noise_variance(shared + own + sigma * rng.normal(size=share.shape), share, np.full(windows, 8), difficulty)
        for _ in range(400)
    ])  # fmt: skip
    truth = float((share**2 * sigma**2).sum())
    # The variance of few squares is skewed upwards, and a floor keeps it positive: seldom, on one window of 8 nodes.
    low, high = (mean_error := float(found.std(ddof=1)) / 20.0), 0.12 * truth if windows * nodes < 40 else 0.0
    assert -4.5 * low < found.mean() - truth < 4.5 * mean_error + high
