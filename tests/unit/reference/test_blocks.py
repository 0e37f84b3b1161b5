"""Training in blocks: the objective is the bound of all blocks, and what is added to its gradient the causal one."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bpb_harness.checkpoints import read_checkpoint
from bpb_harness.distributed import Processes
from bpb_harness.estimators.mc import ContinuousBound
from bpb_harness.networks.reference import ReferenceConfig, ReferenceTransformer
from bpb_harness.schedule import NoiseSchedule, parse_schedule
from reference.objective import block_objective, causal_objective, draw_masks, gather_capacity
from reference.run import Run
from reference.settings import LATER_SETTINGS
from reference.train import train
from tests.tiers import some_of
from tests.tiny_training import tiny_training

V, L, SIZE = 3, 4, 2
X0 = torch.tensor([[0, 2, 1, 2]])
BLOCKS = {
    "block_size": 4, "short_context": 16, "causal_share": 0.25, "short_share": 0.75, "normalised_updates": True,
    "dropout": 0.25, "weight_decay": 0.1,
}  # fmt: skip


def random_network() -> ReferenceTransformer:
    config = ReferenceConfig(
        vocab_size=V, context_length=L + 1, num_layers=2, width=8, num_heads=2, mlp_width=8, block_size=SIZE
    )
    network = ReferenceTransformer(config).double()
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * 0.7)
    return network


def masks_of_a_block() -> Tensor:
    return torch.tensor(list(itertools.product([False, True], repeat=SIZE)))


def nelbo_of_block(network: ReferenceTransformer, start: int, schedule: NoiseSchedule, nodes: int = 24) -> float:
    """The textbook bound of one block given the tokens before it, in nats: a call of rows that end with the block."""
    masks = masks_of_a_block()
    rows = X0[:, : start + SIZE].repeat(len(masks), 1)
    rows[:, start:] = rows[:, start:].masked_fill(masks, V)
    states = network.block_trunk(rows, rows)[:, -SIZE:]
    logits = network.head(torch.nn.functional.rms_norm(states, (states.shape[-1],)))[..., :V]
    target = X0[:, start : start + SIZE].expand(len(masks), SIZE).unsqueeze(-1)
    nats = -(torch.log_softmax(logits, dim=-1).gather(-1, target).squeeze(-1) * masks).sum(dim=1)
    num_masked, total = masks.sum(dim=1), 0.0
    for point, weight in zip(*np.polynomial.legendre.leggauss(nodes), strict=True):
        level = schedule.level(torch.tensor([(point + 1) / 2], dtype=torch.float64))
        u = float(level.mask_rate)
        chance = u**num_masked * (1 - u) ** (SIZE - num_masked)
        total += weight / 2 * float(-level.dalpha_t) / u * float((chance * nats).sum())
    u_0 = schedule.min_mask_rate
    total += float((u_0**num_masked * (1 - u_0) ** (SIZE - num_masked) * nats).sum()) if u_0 else 0.0
    return total + (1 - schedule.max_mask_rate) * SIZE * math.log(V)


@pytest.mark.parametrize("name", ["loglinear[0.001]", "loglinear", "cosine-md4[0.05]"])
@pytest.mark.parametrize("causal_weight", [0.0, 0.5])
def test_expected_objective_is_the_bound_of_all_blocks(name: str, causal_weight: float) -> None:
    network, bound = random_network(), ContinuousBound(parse_schedule(name), 1)
    with torch.no_grad():
        wanted = sum(nelbo_of_block(network, start, bound.schedule) for start in range(0, L, SIZE))
        # What is said of a block depends on no other block's mask: one mask in all of them is enough.
        masks = [mask for mask in masks_of_a_block() if bool(mask.any())]
        draws = [
            float(block_objective(network, X0, mask.repeat(1, L // SIZE), bound, causal_weight=causal_weight))
            for mask in masks
        ]
        low = bound.schedule.min_mask_rate / bound.schedule.max_mask_rate
        total = 0.0
        for begin, end in ((0.0, low), (low, 1.0)):
            for point, weight in zip(*np.polynomial.legendre.leggauss(24), strict=True):
                v = torch.tensor([begin + (end - begin) * (point + 1) / 2], dtype=torch.float64)
                u = float(bound.mask_rate(v))
                for mask, draw in zip(masks, draws, strict=True):
                    k = int(mask.sum())
                    total += weight / 2 * (end - begin) * k / SIZE * u ** (k - 1) * (1 - u) ** (SIZE - k) * draw
    assert total == pytest.approx(wanted / L, rel=1e-6)


def gradient(network: ReferenceTransformer, nats: Tensor) -> dict[str, Tensor]:
    network.zero_grad()
    nats.backward()  # type: ignore[no-untyped-call]
    return {name: each.grad.clone() for name, each in network.named_parameters() if each.grad is not None}


def test_the_clean_copy_adds_the_causal_gradient_and_nothing_else() -> None:
    network, bound = random_network(), ContinuousBound(parse_schedule("loglinear"), 1)
    x0 = torch.tensor([[0, 2, 1, 2], [1, 1, 0, 2]])
    masked, _, _ = draw_masks((4, SIZE), bound, torch.Generator().manual_seed(0))
    masked = masked.view(2, L)
    plain, added = (block_objective(network, x0, masked, bound, causal_weight=weight) for weight in (0.0, 0.3))
    assert torch.equal(plain, added)
    before, after = gradient(network, plain), gradient(network, added)
    causal = gradient(network, causal_objective(network, x0))
    for name, wanted in causal.items():
        torch.testing.assert_close(after[name] - before[name], 0.3 * wanted, atol=1e-6, rtol=1e-5)


def test_rows_beyond_the_masked_ones_add_nothing() -> None:
    network, bound = random_network(), ContinuousBound(parse_schedule("loglinear"), 1)
    masked = torch.tensor([[True, False, False, True]])
    for causal_weight in (0.0, 0.3):
        least, most = (
            gradient(network, block_objective(
                network, X0, masked, bound, causal_weight=causal_weight, capacity=capacity
            ))
            for capacity in (2, 4)
        )  # fmt: skip
        for name, wanted in most.items():
            torch.testing.assert_close(least[name], wanted)


def test_every_masked_token_of_blocks_is_gathered() -> None:
    bound = ContinuousBound(parse_schedule("loglinear[0.001]"), 1)
    capacity = gather_capacity(512, 4, bound)
    for seed in range(200):
        masked, _, _ = draw_masks((512, 4), bound, torch.Generator().manual_seed(seed))
        assert int(masked.sum()) <= capacity < masked.numel()


@pytest.mark.parametrize(
    "stop", some_of([4, 2, 10], everyday=1)
)  # next tokens up to step 3, short windows up to step 9
def test_a_stopped_run_of_blocks_takes_the_same_steps(tmp_path: Path, stop: int) -> None:
    whole, parts = (tiny_training(tmp_path / f"{name}.pt", **BLOCKS) for name in ("whole", "parts"))
    expected = train(whole)
    first = Run(parts)
    for step in range(stop):
        first.take_step(step / 12)
    first.save(seconds=1.0)
    assert train(parts, resume=True).history == expected.history
    kept, again = (read_checkpoint(run.out).tensors for run in (whole, parts))
    assert all(torch.equal(kept[name], again[name]) for name in kept)
    assert read_checkpoint(whole.out).config["block_size"] == 4


def test_what_a_step_leaves_out_is_of_seed_and_step(tmp_path: Path) -> None:
    def taken(**changes: Any) -> list[float]:
        run = Run(tiny_training(tmp_path / "m.pt", **changes))
        for _ in range(4):
            torch.rand(3)  # whatever else is drawn meanwhile
            run.take_step(0.5)
        return run.history

    left_out = taken(dropout=0.5)
    assert left_out == taken(dropout=0.5)
    assert left_out[-1] not in {taken()[-1], taken(dropout=0.25)[-1]}


def test_the_state_of_an_earlier_run_is_resumed(tmp_path: Path) -> None:
    settings = tiny_training(tmp_path / "m.pt")
    run = Run(settings)
    run.take_step(0.0)
    run.save(seconds=1.0)
    state = torch.load(settings.state_path, weights_only=True)
    for name in LATER_SETTINGS:
        del state["identity"][name]
    torch.save(state, settings.state_path)
    resumed = Run(settings)
    resumed.resume()
    assert resumed.step == 1


def test_a_run_of_blocks_is_validated_in_blocks(tmp_path: Path) -> None:
    settings = tiny_training(tmp_path / "m.pt", **BLOCKS)
    run = Run(tiny_training(tmp_path / "m.pt", **BLOCKS, val_data=settings.data, val_windows=4))
    result = run.validate()
    assert result is not None
    assert result.signature.block_size == "4"
    assert result.length.bits_per_token == pytest.approx(9.0, abs=1e-5)  # untrained: every token is as likely


@pytest.mark.parametrize("rank", [0, 3, 7])
def test_every_masked_token_of_a_share_is_gathered(tmp_path: Path, rank: int) -> None:
    """Eight windows among eight processes: none of them has the highest noise levels to itself."""
    training = tiny_training(tmp_path / "m.pt", context=64, batch_tokens=512, block_size=4)
    run = Run(training, Processes(rank=rank, count=8))
    (stage,) = run._stages
    rates = []
    for run.step in range(40):
        _, masked, _ = run._draw(stage)
        assert masked.shape == (1, 64)
        assert int(masked.sum()) <= stage.capacity
        rates.append(float(masked.double().mean()))
    # A block has 1 + 3 u masked tokens of 4, u uniform.
    assert sum(rates) / len(rates) == pytest.approx(0.625, abs=0.05)
