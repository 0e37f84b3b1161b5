"""The sampled bounds, through the product's own design and masks, against exact values."""

import numpy as np
import pytest
import torch

from bpb_harness.estimators import ContinuousBound, DiscreteBound
from bpb_harness.evaluation.batches import DrawSource
from bpb_harness.evaluation.draws import plan_draws, run_draws
from bpb_harness.evaluation.layout import Layout
from bpb_harness.evaluation.runner import MaskedNllRunner
from bpb_harness.evaluation.sampled_bound import SampledBound
from bpb_harness.sampling.design import StratifiedDesign
from bpb_harness.sampling.streams import RandomStreams
from bpb_harness.schedule import parse_schedule
from bpb_harness.text.corpus import load_shards
from tests.oracles import Markov, OracleDenoiser, Table, continuous_bound, schedule, t_step_bound
from tests.shards import write_shard
from tests.spans import end_to_end
from tests.tiers import some_of

CPU = torch.device("cpu")
NUM_PASSES = 64
NUM_WINDOWS = 50
LENGTH = 6


def passes(model, bound, windows_of_tokens, folder):
    """Totals of every window in each of many independent passes, (passes, windows)."""
    denoiser = OracleDenoiser(model)
    tokens = np.concatenate([denoiser.encode(window).numpy() for window in windows_of_tokens])
    corpus = load_shards([write_shard(folder / "x.bin", tokens)])
    count = len(windows_of_tokens)
    windows = end_to_end([LENGTH] * count)
    runner = MaskedNllRunner(denoiser, CPU, dtype=torch.float32, compiled=False)
    source = DrawSource(corpus, windows, bound.schedule)
    layout = Layout(windows, count, windows.lengths, counts_bytes=False, difficulty=np.arange(count))
    rows = []
    for index in range(NUM_PASSES):
        streams = RandomStreams(11, pass_index=index)
        plan = plan_draws(bound, count, StratifiedDesign(streams, np.arange(count), bound.num_samples))
        table = run_draws(runner, source, plan, streams, device=CPU, batch_tokens=4096)
        rows.append(SampledBound(bound, layout, model.vocab_size, [table]).window_nats)
    return np.array(rows)


def worst_z(estimates, truth):
    """Largest distance from the truth in standard errors between passes, of a window or of all together."""
    estimates = np.column_stack([estimates, estimates.sum(axis=1)])
    truth = [*truth, sum(truth)]
    stderr = estimates.std(axis=0, ddof=1) / NUM_PASSES**0.5
    return np.abs((estimates.mean(axis=0) - truth) / stderr).max()


@pytest.mark.parametrize("name", some_of(["cosine-mdlm", "loglinear"], everyday=1))
def test_mc_of_a_perfect_denoiser_is_minus_log_p(name, tmp_path):
    """50 windows within 4 standard errors of 64 passes (Student, 63 degrees): false alarm 0.9 % at a random seed."""
    model = Markov.random(4, seed=5)
    rng = np.random.default_rng(0)
    windows = [tuple(rng.integers(0, 4, LENGTH).tolist()) for _ in range(NUM_WINDOWS)]
    estimates = passes(model, ContinuousBound(parse_schedule(name), 2), windows, tmp_path)
    assert worst_z(estimates, [model.nats(window) for window in windows]) < 4


LOW, COSINE = ("loglinear", 0.2), ("cosine-md4", 0.05)


@pytest.mark.parametrize(
    ("kind", "parts"), some_of([("mc", COSINE), ("discrete", LOW), ("mc", LOW), ("discrete", COSINE)], everyday=1)
)
def test_sampled_bounds_of_a_time_conditioned_table(parts, kind, tmp_path):
    """6 windows and their sum within 4.5 standard errors (false alarm 2e-4), prior and reconstruction included."""
    model = Table(3, seed=7, time_conditioned=True)
    truth_schedule = schedule(*parts)
    parsed = parse_schedule(truth_schedule.name)
    rng = np.random.default_rng(1)
    windows = [tuple(rng.integers(0, 3, LENGTH).tolist()) for _ in range(6)]
    bound = ContinuousBound(parsed, 2) if kind == "mc" else DiscreteBound(parsed, 2, 5)
    truth = [
        (
            continuous_bound(model, window, truth_schedule)
            if kind == "mc"
            else t_step_bound(model, window, truth_schedule, 5)
        ).total
        for window in windows
    ]
    assert worst_z(passes(model, bound, windows, tmp_path), truth) < 4.5
