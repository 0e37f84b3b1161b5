"""The reference network against a second implementation in numpy, and its adapter."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bpb_harness.adapters import load_model
from bpb_harness.checkpoints import save_checkpoint
from bpb_harness.denoiser import CausalLM, Denoiser, PickingDenoiser
from bpb_harness.errors import CheckpointError
from bpb_harness.networks.reference import (
    ReferenceCausalLM,
    ReferenceConfig,
    ReferenceDenoiser,
    ReferenceTransformer,
    adapt,
    build_network,
)
from bpb_harness.schedule import LogLinear
from reference.model import initial_network
from tests.stateless import assert_keeps_nothing

SMALL = {"vocab_size": 13, "context_length": 9, "num_layers": 2, "width": 16, "num_heads": 2, "mlp_width": 24}
CPU = torch.device("cpu")


def random_network(**changes: Any) -> ReferenceTransformer:
    """Every weight random, also those that training starts at zero."""
    network = ReferenceTransformer(ReferenceConfig(**{**SMALL, **changes}))
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.4)
    return network


def numpy_logits(network: ReferenceTransformer, tokens: np.ndarray, sigma: float | None) -> np.ndarray:
    """One window, (L,) to (L, W), written from the description of the network, in float64, one head at a time."""
    config = network.config
    weights = {name: tensor.detach().double().numpy() for name, tensor in network.state_dict().items()}

    def norm(x: np.ndarray) -> np.ndarray:
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + np.finfo(np.float32).eps)

    def silu(x: np.ndarray) -> np.ndarray:
        return x / (1 + np.exp(-x))

    condition = None
    if sigma is not None:
        angle = min(sigma, 20.0) * 2 * math.pi * 2.0 ** np.linspace(-6, 2, 64)
        features = np.concatenate([np.sin(angle), np.cos(angle)])
        inner = silu(weights["time_embedding.inner.weight"] @ features)
        condition = silu(weights["time_embedding.outer.weight"] @ inner)
    length, half = len(tokens), config.width // config.num_heads // 2
    turn = np.exp(1j * np.outer(np.arange(length), 10_000.0 ** (-np.arange(half) / half)))
    x = norm(weights["embedding.weight"][tokens])
    for layer in range(config.num_layers):
        at = f"blocks.{layer}."
        modulation = np.zeros(4 * config.width)
        if condition is not None:
            modulation = weights[at + "modulation.weight"] @ condition
        scale1, shift1, scale2, shift2 = np.split(modulation, 4)
        q, k, v = np.split((norm(x) * (1 + scale1) + shift1) @ weights[at + "attention.qkv.weight"].T, 3, axis=1)
        mixed = []
        for head in range(config.num_heads):
            columns = slice(2 * half * head, 2 * half * (head + 1))
            rotated = []
            for y in (q[:, columns], k[:, columns]):
                z = (y[:, :half] + 1j * y[:, half:]) * turn.conj()  # positions enter as rotations of the complex plane
                rotated.append(norm(np.concatenate([z.real, z.imag], axis=1)))
            scores = rotated[0] @ rotated[1].T / math.sqrt(2 * half)
            if config.objective == "ar":
                scores = np.where(np.tri(length, dtype=bool), scores, -np.inf)
            attention = np.exp(scores - scores.max(1, keepdims=True))
            mixed.append(attention / attention.sum(1, keepdims=True) @ v[:, columns])
        x = x + np.concatenate(mixed, axis=1) @ weights[at + "attention.out.weight"].T
        up = (norm(x) * (1 + scale2) + shift2) @ weights[at + "feed_forward.up.weight"].T
        x = x + np.maximum(up, 0) ** 2 @ weights[at + "feed_forward.down.weight"].T
    head = 0.5 * weights["embedding.weight"][: config.vocab_size] if config.tied_head else weights["head.weight"]
    return np.asarray(norm(x) @ head.T)


@pytest.mark.parametrize("tied_head", [False, True])
@pytest.mark.parametrize(("objective", "time_conditioned"), [("mdlm", False), ("mdlm", True), ("ar", False)])
def test_logits_equal_the_numpy_network(objective: str, time_conditioned: bool, tied_head: bool) -> None:
    network = random_network(objective=objective, time_conditioned=time_conditioned, tied_head=tied_head)
    tokens = torch.randint(0, 13, (3, 7), generator=torch.Generator().manual_seed(0))
    if objective == "mdlm":
        tokens[:, ::3] = network.config.mask_token_id
    level = LogLinear(1e-3).level(torch.tensor([0.1, 0.6, 1.0]))
    model = adapt(network)
    logits = model.logits(tokens) if isinstance(model, ReferenceCausalLM) else model.logits(tokens, level)
    for row in range(3):
        sigma = float(level.sigma[row]) if time_conditioned else None
        expected = numpy_logits(network, tokens[row].numpy(), sigma)
        np.testing.assert_allclose(logits[row].numpy(), expected, atol=2e-4, rtol=2e-4)


def test_models_are_what_the_harness_scores() -> None:
    denoiser, causal = adapt(random_network()), adapt(random_network(objective="ar"))
    assert isinstance(denoiser, ReferenceDenoiser)
    assert isinstance(denoiser, Denoiser)
    assert isinstance(causal, ReferenceCausalLM)
    assert isinstance(causal, CausalLM)
    assert denoiser.mask_token_id == denoiser.vocab_size == 13
    assert denoiser.network.head.weight.shape == (64, 16)
    assert isinstance(denoiser, PickingDenoiser)
    assert_keeps_nothing(denoiser, denoiser.network)


def test_a_causal_network_computes_in_the_arithmetic_that_it_is_given() -> None:
    network, tokens = random_network(objective="ar"), torch.arange(9).unsqueeze(0)
    whole, half = (adapt(network, dtype) for dtype in (torch.float32, torch.bfloat16))
    assert isinstance(whole, ReferenceCausalLM)
    assert isinstance(half, ReferenceCausalLM)
    assert (whole.hidden(tokens).dtype, whole.logits(tokens).dtype) == (torch.float32, torch.float32)
    assert (half.hidden(tokens).dtype, half.logits(tokens).dtype) == (torch.bfloat16, torch.bfloat16)
    assert torch.equal(half.head(half.hidden(tokens)), half.logits(tokens))
    assert 0 < (half.logits(tokens) - whole.logits(tokens)).abs().max() < 0.5


def test_causal_network_does_not_look_ahead() -> None:
    model = adapt(random_network(objective="ar"))
    assert isinstance(model, ReferenceCausalLM)
    x = torch.randint(0, 13, (2, 9), generator=torch.Generator().manual_seed(1))
    changed = x.clone()
    changed[:, 5:] = (changed[:, 5:] + 1) % 13
    before, after = model.logits(x), model.logits(changed)
    torch.testing.assert_close(before[:, :5], after[:, :5])
    assert (before[:, 5] - after[:, 5]).abs().max() > 1e-2


def test_time_conditioning_is_heard_also_where_sigma_is_infinite() -> None:
    tokens = torch.full((1, 4), 13)
    for time_conditioned in (False, True):
        model = adapt(random_network(time_conditioned=time_conditioned))
        assert isinstance(model, ReferenceDenoiser)
        low, high = (model.logits(tokens, LogLinear().level(torch.tensor([t]))) for t in (0.2, 1.0))
        assert bool(torch.isfinite(high).all())
        assert torch.equal(low, high) != time_conditioned


def test_rows_do_not_depend_on_their_batch() -> None:
    model = adapt(random_network(time_conditioned=True))
    assert isinstance(model, ReferenceDenoiser)
    tokens = torch.randint(0, 14, (5, 9), generator=torch.Generator().manual_seed(2))
    level = LogLinear(1e-3).level(torch.linspace(0.1, 0.9, 5))
    whole = model.logits(tokens, level)
    for row in range(5):
        torch.testing.assert_close(model.logits(tokens[row : row + 1], level[row : row + 1])[0], whole[row])


@pytest.mark.parametrize("time_conditioned", [False, True])
def test_gathered_positions_are_those_of_the_whole(time_conditioned: bool) -> None:
    model = adapt(random_network(time_conditioned=time_conditioned))
    assert isinstance(model, PickingDenoiser)
    tokens = torch.randint(0, 14, (5, 9), generator=torch.Generator().manual_seed(2))
    level = LogLinear(1e-3).level(torch.linspace(0.1, 0.9, 5))
    whole = model.hidden(tokens, level).flatten(0, 1)
    for positions in (torch.tensor([44, 3, 17, 3]), torch.arange(45)):
        torch.testing.assert_close(model.hidden_at(tokens, level, positions), whole[positions])


def test_initial_network_is_uniform_and_depends_on_the_seed() -> None:
    config = ReferenceConfig(**SMALL, time_conditioned=True)  # type: ignore[arg-type]
    first, again, other = (initial_network(config, seed=seed) for seed in (0, 0, 1))
    assert not bool(first(torch.arange(9).unsqueeze(0), torch.ones(1)).any())
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.embedding.weight, other.embedding.weight)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16])
def test_checkpoint_round_trip(tmp_path: Path, suffix: str, stored: torch.dtype) -> None:
    network = random_network(time_conditioned=True).to(stored)
    path = tmp_path / f"network{suffix}"
    save_checkpoint(
        path,
        tensors=network.state_dict(),
        adapter="reference",
        config=network.config.to_dict(),
        schedule="cosine-md4[0.001]",
    )
    _, adapted = load_model(path, device=CPU, dtype=torch.float32)
    assert isinstance(adapted.model, ReferenceDenoiser)
    assert str(adapted.schedule) == "cosine-md4[0.001]"
    assert adapted.model.network.config == network.config
    tokens, sigma = torch.arange(9).unsqueeze(0), torch.tensor([0.7])
    assert torch.equal(adapted.model.network(tokens, sigma), network.float().requires_grad_(False)(tokens, sigma))
    _, half = load_model(path, device=CPU, dtype=torch.bfloat16)
    assert isinstance(half.model, ReferenceDenoiser)
    level = LogLinear(1e-3).level(torch.tensor([0.5]))
    logits = half.model.logits(tokens, level)
    assert logits.dtype == torch.bfloat16
    assert half.model.network.head.weight.dtype == torch.float32
    difference = (logits - adapted.model.logits(tokens, level)).abs().max()
    assert 0 < difference < 0.5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"context_length": 1 << 25}, "context_length: got 33554432, expected at most 16,777,216"),
        ({"vocab_size": 0}, "vocab_size: got 0, expected a positive integer"),
        ({"width": 18}, "multiple of 2 x heads"),
        ({"num_layers": 0}, "num_layers: got 0"),
        ({"vocab_size": True}, "vocab_size: got True"),
        ({"context_length": 1 << 40}, "context_length"),
        ({"num_heads": "2"}, "num_heads"),
        ({"objective": "gpt"}, "expected mdlm or ar"),
        ({"time_conditioned": 1}, "time_conditioned"),
        ({"tied_head": 1}, "tied_head: got 1"),
        ({"objective": "ar", "time_conditioned": True}, "no noise level"),
        ({"dropout": 0.1}, "unknown config"),
    ],
)
def test_bad_config_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        ReferenceConfig.from_mapping({**SMALL, **changes})


def test_incomplete_config_is_refused() -> None:
    with pytest.raises(CheckpointError, match="incomplete"):
        ReferenceConfig.from_mapping({"vocab_size": 13})


def test_tensors_must_be_those_of_the_config() -> None:
    network = random_network()
    tensors = dict(network.state_dict())
    for change, message in (
        ({"head.weight": tensors["head.weight"][:32]}, r"head.weight.*\(32, 16\).*\(64, 16\)"),
        ({"head.weight": tensors["head.weight"].long()}, "int64"),
        ({"extra": tensors["head.weight"]}, "does not belong.*extra"),
    ):
        with pytest.raises(CheckpointError, match=message):
            build_network(network.config, {**tensors, **change})
    del tensors["embedding.weight"]
    with pytest.raises(CheckpointError, match=r"'embedding\.weight' is missing: expected \(14, 16\)"):
        build_network(network.config, tensors)


def test_a_tied_head_is_no_tensor_of_its_own(tmp_path: Path) -> None:
    network, tokens, sigma = random_network(tied_head=True), torch.arange(9).unsqueeze(0), None
    assert network.config.head_width == 13
    config, path = network.config.to_dict(), tmp_path / "m.pt"
    save_checkpoint(path, tensors=network.state_dict(), adapter="reference", config=config, schedule="loglinear[0.001]")
    _, adapted = load_model(path, device=CPU, dtype=torch.float32)
    assert isinstance(adapted.model, ReferenceDenoiser)
    assert torch.equal(adapted.model.network(tokens, sigma), network.requires_grad_(False)(tokens, sigma))
    moved = copy.deepcopy(network)
    moved.embedding.weight += 1.0
    assert not torch.allclose(moved(tokens, sigma), network(tokens, sigma))
    torch.testing.assert_close(moved.head(torch.ones(16)), 0.5 * moved.embedding.weight[:13].sum(dim=1))
    own = random_network()
    assert "tied_head" not in own.config.to_dict()
    with pytest.raises(CheckpointError, match=r"does not belong: got 'head\.weight'"):
        build_network(network.config, own.state_dict())
    with pytest.raises(CheckpointError, match=r"'head\.weight' is missing"):
        build_network(own.config, network.state_dict())


def test_a_config_cannot_ask_for_memory_that_the_file_lacks() -> None:
    config = ReferenceConfig(1 << 24, 9, 64, 1 << 20, 4, 1 << 24)  # petabytes, if it were allocated
    with pytest.raises(CheckpointError, match="missing"):
        build_network(config, {})


def test_a_network_for_a_checkpoint_draws_no_first_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """They would be thrown away, and torch imports its compiler to draw values without memory."""
    original = random_network(time_conditioned=True)
    config, tensors = original.config, original.state_dict()

    def drawn(*_: object, **__: object) -> None:
        raise AssertionError("a value was drawn")

    for name in ("_no_grad_normal_", "_no_grad_uniform_"):
        monkeypatch.setattr(torch.nn.init, name, drawn)
    monkeypatch.setattr(torch.Tensor, "uniform_", drawn)
    with pytest.raises(AssertionError, match="was drawn"):
        torch.nn.Linear(2, 2)
    network = build_network(config, tensors)
    assert all(torch.equal(value, tensors[name]) for name, value in network.state_dict().items())
