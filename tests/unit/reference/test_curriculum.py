"""Short windows first, long ones later, as many tokens a step."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bpb_harness.errors import UsageError
from bpb_harness.estimators.mc import ContinuousBound
from bpb_harness.schedule import parse_schedule
from fixtures import build
from reference.curriculum import make_stages, stage_at
from reference.data import TokenShards
from reference.objective import gather_capacity
from reference.run import Run
from reference.settings import Training
from tests.tiny_training import tiny_training

BOUND = ContinuousBound(parse_schedule("loglinear[0.001]"), num_samples=1)


def training(out: Path, **changes: object) -> Training:
    return tiny_training(out, context=64, batch_tokens=512, **changes)


def test_every_stage_takes_as_many_tokens(tmp_path: Path) -> None:
    stages = make_stages(training(tmp_path / "m.pt", short_context=16), bound=BOUND, num_processes=2)
    assert [(stage.context, stage.num_windows, stage.capacity) for stage in stages] == [
        (16, 32, gather_capacity(16, 16, BOUND, 2)), (64, 8, gather_capacity(4, 64, BOUND, 2))
    ]  # fmt: skip
    assert all(stage.capacity <= 256 for stage in stages), "of a process's share, 256 tokens"
    shards = TokenShards([build.VALIDATION], window_length=64, vocab_size=512)
    batches = [
        shards.batch(seed=0, step=0, num_windows=stage.num_windows, window_length=stage.window_length)
        for stage in stages
    ]
    assert [batch.shape for batch in batches] == [(32, 16), (8, 64)]


def test_the_causal_twin_sees_one_token_more(tmp_path: Path) -> None:
    wanted = training(tmp_path / "m.pt", short_context=16, objective="ar")
    stages = make_stages(wanted, bound=BOUND, num_processes=1)
    run = Run(wanted)
    assert [run._draw(stage)[0].shape[1] for stage in stages] == [17, 65]


def test_long_windows_come_at_the_end(tmp_path: Path) -> None:
    stages = make_stages(training(tmp_path / "m.pt", short_context=16), bound=BOUND, num_processes=1)
    seen = [stage_at(stages, progress).context for progress in (0.0, 0.6 - 1e-9, 0.6, 1.0)]
    assert seen == [16, 16, 64, 64]


def test_a_network_of_blocks_may_learn_next_tokens_first(tmp_path: Path) -> None:
    wanted = training(tmp_path / "m.pt", short_context=16, block_size=4, causal_share=0.25, short_share=0.75)
    stages = make_stages(wanted, bound=BOUND, num_processes=1)
    seen = [stage_at(stages, progress) for progress in (0.0, 0.249, 0.25, 0.749, 0.75, 1.0)]
    assert [(stage.context, stage.is_causal) for stage in seen] == [(16, True)] * 2 + [(16, False)] * 2 + [
        (64, False)
    ] * 2
    run = Run(wanted)
    assert [[tuple(part.shape) for part in run._draw(stage)] for stage in stages] == [
        [(32, 17)], [(32, 16), (32, 16), (32, 4, 2)], [(8, 64), (8, 64), (8, 16, 2)]
    ]  # fmt: skip
    assert all(bool(run._draw(stage)[1].view(-1, 4).any(dim=1).all()) for stage in stages[1:])
    long = make_stages(training(tmp_path / "m.pt", block_size=4, causal_share=0.5), bound=BOUND, num_processes=1)
    assert [(stage.context, stage.is_causal, stage.until) for stage in long] == [(64, True, 0.5), (64, False, 1.0)]


def test_without_short_windows_there_is_one_stage(tmp_path: Path) -> None:
    (stage,) = make_stages(training(tmp_path / "m.pt"), bound=BOUND, num_processes=1)
    assert stage_at([stage], 0.0) is stage_at([stage], 1.0) is stage
    assert stage.context == 64


def test_windows_that_cannot_be_shared_are_refused(tmp_path: Path) -> None:
    wanted = training(tmp_path / "m.pt", short_context=40)
    with pytest.raises(UsageError, match="12 windows of 40 a step, 5 processes"):
        make_stages(wanted, bound=BOUND, num_processes=5)


@pytest.mark.parametrize(("progress", "shape"), [(0.1, (32, 16)), (0.7, (8, 64))])
def test_a_step_takes_the_windows_of_its_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, progress: float, shape: tuple[int, int]
) -> None:
    run = Run(training(tmp_path / "m.pt", short_context=16))
    seen = []
    objective = run.objective_nats
    monkeypatch.setattr(run, "objective_nats", lambda stage, *x: seen.append(x[0].shape) or objective(stage, *x))
    run.take_step(progress)
    assert seen == [torch.Size(shape)]
