"""Muon against torch's own and against a singular value decomposition; the moving average; gathering."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from bpb_harness.distributed import Processes
from bpb_harness.estimators.mc import ContinuousBound
from bpb_harness.schedule import parse_schedule
from reference.model import ReferenceConfig, initial_network
from reference.objective import draw_masks, gather_capacity, gather_masked
from reference.optimizer import MovingAverage, Muon, learning_rate_factor, make_optimizers, orthogonalised
from tests.tiers import times


def matrices(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(16, 16), (48, 16), (16, 40)])
def test_orthogonalised_is_u_v_transposed_roughly(shape: tuple[int, int]) -> None:
    batch = matrices(3, *shape) * torch.tensor([1e-4, 1.0, 1e3]).view(3, 1, 1)
    done = orthogonalised(batch)
    for before, after in zip(batch, done, strict=True):
        u, _, vt = torch.linalg.svd(before.double(), full_matrices=False)
        inside = u.T @ after.double() @ vt.T
        assert (torch.diagonal(inside) - 1).abs().max() < 0.35
        assert (inside - torch.diag(torch.diagonal(inside))).abs().max() < 1e-3
    assert torch.equal(orthogonalised(torch.zeros(1, *shape)), torch.zeros(1, *shape))


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch before 2.9 has no Muon")
def test_muon_is_that_of_torch() -> None:
    shapes = [(24, 8), (8, 24), (24, 8), (8, 8)]
    ours = [nn.Parameter(matrices(*shape, seed=i)) for i, shape in enumerate(shapes)]
    theirs = [nn.Parameter(parameter.detach().clone()) for parameter in ours]
    mine = Muon(ours, lr=0.05, weight_decay=0.1)
    torchs = torch.optim.Muon(theirs, lr=0.05, weight_decay=0.1, momentum=0.95, nesterov=True)
    for step in range(6):
        for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            a.grad = matrices(*a.shape, seed=100 + 10 * step + i)
            b.grad = a.grad.clone()
        mine.step()
        torchs.step()
    for a, b in zip(ours, theirs, strict=True):
        # Torch's iterates in bfloat16: a percent of an update's size, lr sqrt(max(1, rows / columns)) in norm
        assert (a - b).norm() < 0.03 * 6 * 0.05 * math.sqrt(8 * max(1.0, a.shape[0] / a.shape[1]))


@pytest.mark.parametrize("shape", [(16, 16), (48, 16), (16, 40)])
def test_polar_express_ends_nearer_to_one(shape: tuple[int, int]) -> None:
    batch = matrices(3, *shape) * torch.tensor([1e-4, 1.0, 1e3]).view(3, 1, 1)

    def off(done: torch.Tensor) -> float:
        return float((torch.linalg.svdvals(done.double()) - 1).abs().max())

    assert off(orthogonalised(batch, polar_express=True)) < 0.15
    assert off(orthogonalised(batch)) > 0.25
    assert torch.equal(orthogonalised(torch.zeros(1, *shape), polar_express=True), torch.zeros(1, *shape))


def test_normalised_updates_have_rows_of_one_size_and_the_size_of_the_plain_update() -> None:
    gradient = matrices(24, 8, seed=1) * torch.logspace(-1, 1, 24)[:, None]
    parameter = nn.Parameter(torch.zeros(24, 8))
    parameter.grad = gradient.clone()
    Muon([parameter], lr=0.1, weight_decay=0.0, normalised=True).step()
    update = parameter.detach()
    size = 0.1 * math.sqrt(24 / 8) * orthogonalised((0.05 * gradient)[None], polar_express=True).norm()
    assert float(update.norm()) == pytest.approx(float(size), rel=1e-5)
    rows = update.norm(dim=1)
    torch.testing.assert_close(rows, rows.mean().expand(24), rtol=1e-3, atol=0.0)


def test_rows_are_measured_over_past_steps() -> None:
    """Where a first step has shown some rows to be large, a second one moves these less than the others."""
    parameter = nn.Parameter(torch.zeros(8, 8))
    optimizer = Muon([parameter], lr=1.0, weight_decay=0.0, momentum=0.0, normalised=True)
    parameter.grad = torch.eye(8) * (torch.arange(8) < 4)  # rows 4 to 7 stand still
    optimizer.step()
    before = parameter.detach().clone()
    parameter.grad = torch.eye(8)
    optimizer.step()
    rows = (parameter.detach() - before).norm(dim=1)
    # Past mean squares: (1 - 0.95) (1 + 0.95) against 1 - 0.95, both over the same number of columns.
    torch.testing.assert_close(rows[4:].mean() / rows[:4].mean(), torch.tensor(1.95).sqrt(), rtol=0.1, atol=0.0)


def test_a_saved_run_keeps_what_rows_have_been() -> None:
    def gradients(step: int) -> torch.Tensor:
        return matrices(24, 8, seed=step) * (torch.arange(24) % (step + 2) + 1.0)[:, None]

    def stepped(optimizer: Muon, parameter: nn.Parameter, steps: range) -> None:
        for step in steps:
            parameter.grad = gradients(step)
            optimizer.step()

    whole = nn.Parameter(torch.ones(24, 8))
    stepped(Muon([whole], lr=0.1, weight_decay=0.5, normalised=True, num_matrices=3), whole, range(5))
    parts = nn.Parameter(torch.ones(24, 8))
    first = Muon([parts], lr=0.1, weight_decay=0.5, normalised=True, num_matrices=3)
    stepped(first, parts, range(3))
    assert first.state[parts]["row_squares"].shape == (3, 8, 1)
    second = Muon([parts], lr=0.1, weight_decay=0.5, normalised=True, num_matrices=3)
    second.load_state_dict(first.state_dict())
    stepped(second, parts, range(3, 5))
    assert torch.equal(whole, parts)


def test_a_weight_decays_where_its_update_shrinks_it() -> None:
    start, gradient = matrices(8, 8), matrices(8, 8, seed=1)
    ends = {}
    for decay in (0.0, 0.5):
        parameter = nn.Parameter(start.clone())
        parameter.grad = gradient.clone()
        Muon([parameter], lr=0.1, weight_decay=decay, normalised=True).step()
        ends[decay] = parameter.detach()
    shrinks = (start - ends[0.0]) * start > 0
    assert 0 < int(shrinks.sum()) < 64
    torch.testing.assert_close(ends[0.5], ends[0.0] - 0.1 * 0.5 * start * shrinks)


def test_stacked_matrices_are_orthogonalised_each_by_itself() -> None:
    joint = nn.Parameter(matrices(24, 8))
    parts = [nn.Parameter(part.clone()) for part in joint.detach().chunk(3)]
    joint.grad = matrices(24, 8, seed=1)
    for part, gradient in zip(parts, joint.grad.chunk(3), strict=True):
        part.grad = gradient.clone()
    Muon([joint], lr=0.1, weight_decay=0.0, num_matrices=3).step()
    Muon(parts, lr=0.1, weight_decay=0.0).step()
    torch.testing.assert_close(joint.detach(), torch.cat([part.detach() for part in parts]))


def test_a_saved_run_of_before_goes_on_with_its_stacked_matrices() -> None:
    joint = nn.Parameter(torch.ones(6, 4))
    saved = Muon([joint], lr=0.1, weight_decay=0.0, num_matrices=3).state_dict()
    saved["param_groups"][0]["pieces"] = saved["param_groups"][0].pop("num_matrices")
    resumed = Muon([joint], lr=0.1, weight_decay=0.0)
    resumed.load_state_dict(saved)
    (group,) = resumed.param_groups
    assert group["num_matrices"] == 3
    assert "pieces" not in group


@pytest.mark.parametrize(
    ("progress", "factor"),
    [(0.0, 0.05), (0.009, 0.5), (0.019, 1.0), (0.4, 1.0), (0.7, 0.5), (0.94, 0.1), (1.0, 0.0), (1.5, 0.0)],
)
def test_rates_rise_for_a_fiftieth_of_a_run_and_fall_for_its_last_three_fifths(progress: float, factor: float) -> None:
    assert learning_rate_factor(progress) == pytest.approx(factor, abs=1e-12)


@pytest.mark.parametrize("tied_head", [False, True])
def test_matrices_inside_the_blocks_are_muons_and_decay_and_the_rest_is_adamws(tied_head: bool) -> None:
    network = initial_network(ReferenceConfig(20, 16, 2, 32, 2, 48, tied_head=tied_head), seed=0)
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    muon, adamw = make_optimizers(network, lr=1e-3, muon_lr=0.02, weight_decay=0.1)
    joint, single = ({names[id(each)] for each in group["params"]} for group in muon.param_groups)
    assert joint == {f"blocks.{block}.attention.qkv.weight" for block in range(2)}
    ends = ("attention.out", "feed_forward.up", "feed_forward.down")
    assert single == {f"blocks.{block}.{end}.weight" for block in range(2) for end in ends}
    assert [group["num_matrices"] for group in muon.param_groups] == [3, 1]
    assert [(group["weight_decay"], group["initial_lr"]) for group in muon.param_groups] == [(0.1, 0.02)] * 2
    (rest,) = adamw.param_groups
    outside = {"embedding.weight"} if tied_head else {"embedding.weight", "head.weight"}
    assert {names[id(each)] for each in rest["params"]} == outside
    assert (rest["weight_decay"], rest["initial_lr"], rest["betas"]) == (0.0, 1e-3, (0.9, 0.95))
    (alone,) = make_optimizers(network, lr=1e-3, muon_lr=0.0, weight_decay=0.1)
    assert [group["weight_decay"] for group in alone.param_groups] == [0.0, 0.1]
    assert {names[id(each)] for each in alone.param_groups[1]["params"]} == joint | single


def test_moving_average_forgets_the_start_and_then_decays() -> None:
    network = nn.Linear(1, 1, bias=False)
    average = MovingAverage(network, 0.75)
    expected = float(network.weight.detach())
    for step in range(1, 60):
        with torch.no_grad():
            network.weight.fill_(float(step))
        average.update(step)
        decay = min(0.75, step / (step + 10))
        expected = decay * expected + (1 - decay) * step
    assert average.state_dict()["weight"].item() == pytest.approx(expected, rel=1e-6)
    assert expected == pytest.approx(59 - 0.75 / 0.25, abs=0.01)  # a mean age of decay / (1 - decay) steps
    last = MovingAverage(network, 0.0)
    with torch.no_grad():
        network.weight.fill_(7.0)
    last.update(5)
    assert last.state_dict()["weight"].item() == 7.0
    last.load_state_dict(average.state_dict())
    assert last.state_dict()["weight"].item() == average.state_dict()["weight"].item()


@pytest.mark.parametrize("name", ["loglinear[0.001]", "cosine-mdlm[0.05]"])
@pytest.mark.parametrize(("num_shares", "share"), [(1, 0), (4, 0), (4, 3)])
def test_every_masked_position_is_gathered(name: str, num_shares: int, share: int) -> None:
    """60 batches or more; one that overflows would be an event beyond 8 standard deviations."""
    bound, windows, length = ContinuousBound(parse_schedule(name), 1), 64, 64
    capacity = gather_capacity(windows // num_shares, length, bound, num_shares)
    assert capacity < 0.8 * (windows // num_shares) * length
    generator = torch.Generator().manual_seed(1)
    fullest = 0
    for _ in range(times(60, thorough=400)):
        masked, _, _ = draw_masks((windows, length), bound, generator)
        mine = Processes(share, num_shares).share_rows(masked)
        x0 = torch.randint(9, mine.shape, generator=generator)
        gathered = gather_masked(x0, mine, capacity)
        count = int(mine.sum())
        fullest = max(fullest, count)
        assert count <= capacity == len(gathered.positions)
        assert torch.equal(gathered.positions[:count], mine.flatten().nonzero().squeeze(-1))
        assert torch.equal(gathered.targets[:count], x0[mine])
        assert not bool(gathered.weights[count:].any())
        assert float(gathered.weights.sum()) == pytest.approx(1.0, rel=1e-5)
        by_row = torch.zeros(len(mine)).index_add(0, gathered.positions // length, gathered.weights)
        torch.testing.assert_close(by_row, torch.full((len(mine),), 1 / len(mine)))
    assert fullest > 0.4 * mine.numel()


def test_shares_are_interleaved_and_make_up_the_batch() -> None:
    rows = torch.arange(12)
    shares = [Processes(rank, 4).share_rows(rows) for rank in range(4)]
    assert shares[1].tolist() == [1, 5, 9]
    assert torch.cat(shares).sort().values.tolist() == rows.tolist()


def test_what_a_large_batch_gathers_is_hardly_more_than_half_of_it() -> None:
    bound = ContinuousBound(parse_schedule("loglinear[0.001]"), 1)
    assert 32 * 1024 < gather_capacity(32, 2048, bound) < 0.54 * 32 * 2048


def test_the_highest_share_of_a_batch_has_more_room() -> None:
    """Of 8 cells for 4 shares the last share has the 4th and the 8th: half a cell of 8 more, each, than the mean."""
    bound = ContinuousBound(parse_schedule("loglinear[0.001]"), 1)
    more = gather_capacity(16, 2048, bound, 4) - gather_capacity(16, 2048, bound)
    assert more == pytest.approx(0.5 / 16 * 16 * 2048, abs=256)


def test_weights_of_rows_are_no_rounder_than_float32() -> None:
    """Counts that bfloat16 cannot hold: 257 and 771."""
    masked = torch.zeros(3, 1024, dtype=torch.bool)
    masked[:, :257] = True
    gathered = gather_masked(torch.zeros(3, 1024, dtype=torch.int64), masked, masked.numel())
    assert float(gathered.weights.double().sum()) == pytest.approx(1.0, rel=1e-6)
