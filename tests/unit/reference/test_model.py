"""Initial weights: of the seed alone, uniform predictions, every branch silent."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from reference.model import ReferenceConfig, initial_network

CONFIG = ReferenceConfig(vocab_size=50, context_length=16, num_layers=2, width=64, num_heads=2, mlp_width=96)


@pytest.mark.parametrize("time_conditioned", [False, True])
def test_weights_are_of_the_seed_alone(time_conditioned: bool) -> None:
    config = replace(CONFIG, time_conditioned=time_conditioned)
    torch.manual_seed(1)
    first = initial_network(config, seed=5).state_dict()
    torch.manual_seed(2)
    second = initial_network(config, seed=5).state_dict()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = initial_network(config, seed=6).state_dict()
    assert all(torch.equal(first[name], other[name]) == (not first[name].any()) for name in first)


def test_what_ends_a_branch_is_zero_and_the_rest_has_its_size() -> None:
    network = initial_network(replace(CONFIG, time_conditioned=True), seed=0)
    weights = network.state_dict()
    silent = {name for name, tensor in weights.items() if not tensor.any()}
    ends = ("head.weight", "attention.out.weight", "feed_forward.down.weight", "modulation.weight")
    assert silent == {name for name in weights if name.endswith(ends)}
    assert float(weights["embedding.weight"].std()) == pytest.approx(1.0, abs=0.1)
    for name in set(weights) - silent - {"embedding.weight"}:
        matrix = weights[name]
        assert float(matrix.abs().max()) <= matrix.shape[1] ** -0.5
        assert float(matrix.std()) == pytest.approx((3.0 * matrix.shape[1]) ** -0.5, rel=0.15), name


def test_the_first_prediction_is_uniform() -> None:
    network = initial_network(CONFIG, seed=0)
    logits = network(torch.arange(16)[None])
    assert not logits[..., :50].any()


def test_a_tied_head_is_the_embedding_and_begins_near_chance() -> None:
    network = initial_network(replace(CONFIG, width=512, tied_head=True), seed=0)
    assert not any(name.startswith("head") for name in network.state_dict())
    masked = torch.full((1, 16), network.config.mask_token_id)
    assert 0.5 < float(network(masked).detach().std()) < 2.0
