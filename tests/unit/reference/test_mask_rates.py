"""Laws of the mask rates, and windows that learn next tokens: what is said stays the bound, the gradient is as told."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from bpb_harness.distributed import Processes
from bpb_harness.errors import UsageError
from bpb_harness.estimators.mc import ContinuousBound
from bpb_harness.networks.reference import ReferenceTransformer
from bpb_harness.schedule import parse_schedule
from fixtures import build
from reference.objective import (
    MASK_RATES,
    block_objective,
    draw_block_masks,
    draw_masks,
    drawn_by_law,
    mdlm_objective,
    with_causal_rows,
)
from reference.run import Run
from reference.train import train
from tests.tiers import some_of
from tests.tiny_training import tiny_training
from tests.unit.reference import test_blocks as blocks
from tests.unit.reference.test_objective import L, all_masks, nelbo_by_quadrature, random_network

BOUND = ContinuousBound(parse_schedule("loglinear[0.001]"), 1)


def expected_by_law(network: ReferenceTransformer, x0: Tensor, law: str, *, weighs: bool, nodes: int = 12) -> float:
    """What is said of a step, averaged over w by quadrature and over all size-biased masks by enumeration."""
    masks = [mask.unsqueeze(0) for mask in all_masks() if bool(mask.any())]
    cut, total = 0.001 / 0.999, 0.0  # below it, the rate is that of t = 0
    kink = cut**0.5 if law == "low" else cut / 1.6 if law == "bell" else cut
    for low, high in ((0.0, kink), (kink, 1.0)):
        for point, share in zip(*np.polynomial.legendre.leggauss(nodes), strict=True):
            w = torch.tensor([low + (high - low) * (point + 1) / 2], dtype=torch.float64)
            v, weight = drawn_by_law(law, w)
            level = BOUND.schedule.level_at(BOUND.mask_rate(v))
            u, weights = float(level.mask_rate), torch.stack((weight, weight)) if weighs else None
            for mask in masks:
                k = int(mask.sum())
                chance = k / L * u ** (k - 1) * (1 - u) ** (L - k)
                draw = mdlm_objective(network, x0, mask, level, BOUND, row_weights=weights)
                total += share / 2 * (high - low) * chance * float(draw)
    return total


@pytest.mark.parametrize("law", MASK_RATES)
@torch.no_grad()
def test_every_law_leads_back_to_the_bound(law: str) -> None:
    network, x0 = random_network(), torch.tensor([[0, 2, 1, 2]])
    wanted = nelbo_by_quadrature(network, x0, BOUND.schedule) / L
    assert expected_by_law(network, x0, law, weighs=True) == pytest.approx(wanted, rel=1e-5)
    if law != "uniform":
        assert abs(expected_by_law(network, x0, law, weighs=False, nodes=6) - wanted) > 0.005 * wanted


@pytest.mark.parametrize("law", some_of(reversed(MASK_RATES), everyday=2))
@torch.no_grad()
def test_every_law_leads_back_to_the_bound_in_blocks(law: str) -> None:
    """One block is drawn at w, with its weight, the other is masked whole and weighs nothing; then the other way."""
    network, size, x0 = blocks.random_network(), blocks.SIZE, blocks.X0
    wanted = sum(blocks.nelbo_of_block(network, start, BOUND.schedule) for start in range(0, L, size)) / L
    masks = [mask for mask in blocks.masks_of_a_block() if bool(mask.any())]
    totals, prior = {True: 0.0, False: 0.0}, 0.001 * math.log(blocks.V)
    for place in (0, 1):
        for point, share in zip(*np.polynomial.legendre.leggauss(24), strict=True):
            v, weight = drawn_by_law(law, torch.tensor([(point + 1) / 2], dtype=torch.float64))
            u = float(BOUND.schedule.level_at(BOUND.mask_rate(v)).mask_rate)
            for mask in masks:
                k, masked = int(mask.sum()), torch.ones(1, L, dtype=torch.bool)
                masked[0, place * size : (place + 1) * size] = mask
                chance = share / 2 * k / size * u ** (k - 1) * (1 - u) ** (size - k)
                for weighs in totals:
                    of_blocks = torch.zeros(2, 2, dtype=torch.float64)
                    of_blocks[:, place] = weight if weighs else 1.0
                    totals[weighs] += chance * float(block_objective(network, x0, masked, BOUND, row_weights=of_blocks))
    assert totals[True] - prior == pytest.approx(wanted, rel=1e-4)  # the prior is in either block's draw
    # What a block of two costs is linear in the rate: a law that is symmetric around 1/2 has the same mean.
    assert (abs(totals[False] - prior - wanted) > 0.005 * wanted) == (law == "low")


def test_blocks_are_dealt_with_their_weights() -> None:
    """Cell c of the rates is block c // B of window c % B, for masks and weights alike."""
    masked, _, weight = draw_masks((24, 4), BOUND, torch.Generator().manual_seed(0), law="bell")
    dealt, weights = draw_block_masks((3, 32), 4, BOUND, torch.Generator().manual_seed(0), law="bell")
    assert (dealt.shape, weights.shape) == ((3, 32), (3, 8))
    for cell in range(24):
        window, block = cell % 3, cell // 3
        assert torch.equal(dealt[window, 4 * block : 4 * block + 4], masked[cell])
        assert weights[window, block] == weight[cell]


def test_value_and_gradient_of_blocks_have_weights_of_their_own() -> None:
    network, x0 = blocks.random_network(), torch.tensor([[0, 2, 1, 2], [1, 1, 0, 2]])
    masked, weight = draw_block_masks((2, L), 2, BOUND, torch.Generator().manual_seed(0), law="bell")
    weight, ones = weight.reshape(-1), torch.ones(4, dtype=torch.float64)

    def nats(value: Tensor, slope: Tensor) -> Tensor:
        weights = torch.stack((value, slope))
        return block_objective(network, x0, masked, BOUND, causal_weight=0.3, row_weights=weights)

    both = nats(weight, ones)
    assert float(both.detach()) == pytest.approx(float(nats(weight, weight).detach()), rel=1e-6)
    assert float(both.detach()) != pytest.approx(float(nats(ones, ones).detach()), rel=1e-3)
    of_both = gradient(network, both)
    torch.testing.assert_close(of_both, gradient(network, nats(ones, ones)))
    assert not torch.allclose(of_both, gradient(network, nats(weight, weight)), rtol=1e-2)


@pytest.mark.parametrize("law", MASK_RATES)
def test_rates_are_drawn_by_their_law(law: str) -> None:
    """20,000 windows, one in each cell of w: shares of v are those of the law to within two cells."""
    count = 20_000
    _, level, weight = draw_masks((count, 3), BOUND, torch.Generator().manual_seed(5), law=law)
    v = level.mask_rate / 0.999
    below = [float((v <= place).double().mean()) for place in (0.25, 0.5, 0.81)]
    places = torch.linspace(0, 1, 100_001, dtype=torch.float64)
    tail = float(places[drawn_by_law(law, places)[0] >= 0.81][0])
    wanted = {"uniform": [0.25, 0.5, 0.81], "low": [0.5, math.sqrt(0.5), 0.9], "bell": [below[0], 0.5, tail]}[law]
    assert below == pytest.approx(wanted, abs=2 / count + 1e-5)
    assert float(weight.mean()) == pytest.approx(1.0, abs=1e-3)
    if law == "bell":
        assert below[0] < 0.2
        assert 1 - below[2] < 0.13


def gradient(network: ReferenceTransformer, nats: Tensor) -> Tensor:
    network.zero_grad()
    torch.autograd.backward(nats)
    return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])


def test_value_and_gradient_have_weights_of_their_own() -> None:
    network = random_network()
    masked, level, weight = draw_masks((4, L), BOUND, torch.Generator().manual_seed(0), law="bell")
    x0, ones = torch.zeros(4, L, dtype=torch.long), torch.ones_like(weight)

    def nats(value: Tensor, slope: Tensor) -> Tensor:
        return mdlm_objective(network, x0, masked, level, BOUND, row_weights=torch.stack((value, slope)))

    both, plain = nats(weight, ones), nats(ones, ones)
    assert float(both.detach()) == pytest.approx(float(nats(weight, weight).detach()), rel=1e-6)
    assert float(both.detach()) != pytest.approx(float(plain.detach()), rel=1e-3)
    torch.testing.assert_close(gradient(network, both), gradient(network, plain))
    assert not torch.allclose(gradient(network, nats(ones, ones)), gradient(network, nats(ones, weight)), rtol=1e-2)


def test_causal_rows_have_their_share_of_the_gradient() -> None:
    network = random_network()
    masked, level, _ = draw_masks((3, L), BOUND, torch.Generator().manual_seed(0))
    x0, rest = torch.zeros(3, L, dtype=torch.long), torch.tensor([[0, 2, 1, 2], [2, 2, 0, 1]])

    def diffusion() -> Tensor:
        return mdlm_objective(network, x0, masked, level, BOUND)

    def causal() -> Tensor:
        logits = network.head(torch.nn.functional.rms_norm(network.trunk(rest, causal=True), (8,)))[:, :-1, :3]
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), rest[:, 1:].flatten())

    nats = with_causal_rows(network, diffusion(), rest, 0.25)
    assert float(nats.detach()) == pytest.approx(float(diffusion().detach()), rel=1e-6)
    wanted = 0.75 * gradient(network, diffusion()) + 0.25 * gradient(network, causal())
    torch.testing.assert_close(gradient(network, nats), wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "changes",
    some_of(
        [
            {"mask_rates": "low", "causal_rows": 0.25},
            {"mask_rates": "bell", "block_size": 4},
            {"mask_rates": "bell"},
            {"mask_rates": "low", "block_size": 4, "causal_weight": 0.0},
        ],
        everyday=2,
    ),
)
def test_what_is_said_of_a_run_is_the_bound(tmp_path: Path, changes: dict[str, object]) -> None:
    """An untrained network predicts every token alike: a draw says ln V, 9 bits, times its weights' mean."""
    settings = tiny_training(tmp_path / "m.pt", steps=40, short_context=16, batch_tokens=256, **changes)
    before = Run(settings)
    weights = before._draw(before._stages[0])[-1]
    value, slope = weights.unbind(dim=-1)
    assert torch.equal(value, slope) if settings.mask_rates == "low" else float((value - slope).abs().max()) > 0.1
    run = train(settings)
    assert run.history[0] == pytest.approx(math.log(512) * (0.001 + 0.999 * float(value.mean())), rel=1e-5)
    assert run.recent_bits(10) < 8.8
    validated = Run(tiny_training(tmp_path / "v.pt", **changes, val_data=(build.VALIDATION,), val_windows=4)).validate()
    assert validated is not None
    assert validated.length.bits_per_token == pytest.approx(9.0, abs=1e-5)


def test_processes_share_the_windows_of_both_kinds(tmp_path: Path) -> None:
    """Each process has as many of both; together they have the masks and weights of one alone."""
    training = tiny_training(tmp_path / "m.pt", batch_tokens=256, causal_rows=0.25, mask_rates="low")
    alone = Run(training)
    _, masked, *_, weights = alone._draw(alone._stages[0])
    shares = []
    for rank in range(2):
        run = Run(training, Processes(rank, 2))
        shares.append(run._draw(run._stages[0]))
        assert (len(shares[-1][0]), len(shares[-1][1])) == (4, 3)
    assert torch.equal(torch.stack([share[1] for share in shares], dim=1).flatten(0, 1), masked)
    assert torch.equal(torch.stack([share[-1] for share in shares], dim=1).flatten(0, 1), weights)


@pytest.mark.parametrize("share", [0.01, 0.99, 0.125])
def test_causal_rows_that_cannot_be_dealt_are_refused(tmp_path: Path, share: float) -> None:
    with pytest.raises(UsageError, match=r"--causal-rows: got .* windows are left, 2 processes, expected some of both"):
        Run(tiny_training(tmp_path / "m.pt", batch_tokens=256, causal_rows=share), Processes(0, 2))
