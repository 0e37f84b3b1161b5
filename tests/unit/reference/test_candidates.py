"""Candidates of the trainer's table: what claims to lead back to the bound does, and every switch trains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from bpb_harness.estimators.mc import ContinuousBound
from bpb_harness.evaluation.api import evaluate
from bpb_harness.schedule import parse_schedule
from fixtures import build
from reference.objective import draw_masks, draw_weighted_masks, mdlm_objective
from reference.train import train
from tests.tiny_training import tiny_training
from tests.unit.reference.test_objective import L, nelbo_by_quadrature, random_network

SWITCHES: list[dict[str, Any]] = [
    {"mask_rates": "bell"}, {"mask_rates": "bell", "weighted_back": False}, {"mask_rates": "low"},
    {"mask_rates": "low", "weighted_back": False}, {"even_share": 0.5}, {"complementary": True},
    {"growth_share": 0.3, "batch_tokens": 256}, {"causal_rows": 0.25}, {"exclusive": True},
    {"skips": True, "layers": 3}, {"logit_cap": 30.0}, {"tied_head": True},
    {"block_size": 4, "exclusive": True, "skips": True, "layers": 3}, {"block_size": 4, "causal_weight": 0.0},
    {"objective": "ar", "exclusive": True, "tied_head": True}, {},
]  # fmt: skip


@pytest.mark.parametrize(("kind", "complementary"), [("bell", False), ("low", False), ("uniform", True), ("low", True)])
@torch.no_grad()
def test_weighted_rates_lead_back_to_the_bound(kind: str, complementary: bool) -> None:
    """40,000 rows; within 4 standard errors of the textbook form, and without the weights far from it."""
    network, bound = random_network(), ContinuousBound(parse_schedule("loglinear[0.001]"), 1)
    x0 = torch.tensor([[0, 2, 1, 2]])
    wanted = nelbo_by_quadrature(network, x0, bound.schedule) / L
    count, parts, plain = 400, [], []
    for seed in range(100):
        generator = torch.Generator().manual_seed(seed)
        masked, level, weight = draw_weighted_masks(
            (count, L), bound, generator, kind=kind, complementary=complementary
        )
        rows = x0.expand(count, L).contiguous()
        ones = torch.ones_like(weight)
        parts.append(float(mdlm_objective(network, rows, masked, level, bound, row_weights=(weight, weight))))
        plain.append(float(mdlm_objective(network, rows, masked, level, bound, row_weights=(ones, ones))))
    values = torch.tensor(parts, dtype=torch.float64)
    assert abs(float(values.mean()) - wanted) < 4 * float(values.std()) / 10
    if kind != "uniform":
        assert abs(sum(plain) / 100 - wanted) > 6 * float(values.std()) / 10


def test_uniform_rates_are_those_of_before() -> None:
    bound = ContinuousBound(parse_schedule("loglinear[0.001]"), 1)
    before, level = draw_masks((16, 8), bound, torch.Generator().manual_seed(1))
    masked, now, weight = draw_weighted_masks((16, 8), bound, torch.Generator().manual_seed(1))
    assert torch.equal(level.t, now.t)
    assert bool((weight == 1).all())
    assert masked.shape == before.shape


def test_complementary_rows_mask_what_the_other_leaves() -> None:
    bound = ContinuousBound(parse_schedule("loglinear[0.001]"), 1)
    masked, _, _ = draw_weighted_masks((64, 128), bound, torch.Generator().manual_seed(1), complementary=True)
    same = (masked[:32] == masked[32:]).sum(dim=1)
    assert int(same.max()) <= 4  # the two forced positions, and what u_max = 0.999 leaves


def test_the_gradient_has_its_own_weights() -> None:
    network, bound = random_network(), ContinuousBound(parse_schedule("loglinear"), 1)
    masked, level = draw_masks((4, L), bound, torch.Generator().manual_seed(0))
    x0, ones = torch.zeros(4, L, dtype=torch.long), torch.ones(4)
    gradients = []
    for value, gradient in ((ones, ones), (ones, 3 * ones), (2 * ones, ones)):
        network.zero_grad()
        nats = mdlm_objective(network, x0, masked, level, bound, row_weights=(value, gradient))
        nats.backward()  # type: ignore[no-untyped-call]
        gradients.append((float(nats.detach()), network.head.weight.grad.clone()))
    assert gradients[0][0] == pytest.approx(gradients[1][0])
    torch.testing.assert_close(3 * gradients[0][1], gradients[1][1])
    torch.testing.assert_close(gradients[0][1], gradients[2][1])
    assert gradients[2][0] > 1.5 * gradients[0][0]


@pytest.mark.parametrize("switches", SWITCHES, ids=str)
def test_every_switch_learns_and_is_scored(tmp_path: Path, switches: dict[str, Any]) -> None:
    shape = {"steps": 150, "short_context": 16, "batch_tokens": 256, "ema": 0.9, "check_tokenizer": False, **switches}
    run = train(tiny_training(tmp_path / "a.pt", **shape))
    assert run.recent_bits(20) < 0.9 * run.history[0] / 0.6931
    method = "ar" if switches.get("objective") == "ar" else "mc"
    result = evaluate(tmp_path / "a.pt", data=build.VALIDATION, method=method, limit=20)
    print(switches, run.history[0] / 0.6931, run.recent_bits(20), result.length.bits_per_token)
    assert result.length.bits_per_token < 0.9 * run.history[0] / 0.6931
    if not switches.get("even_share") and method == "mc" and not switches.get("causal_rows"):
        assert abs(result.length.bits_per_token - run.recent_bits(20)) < 0.6
