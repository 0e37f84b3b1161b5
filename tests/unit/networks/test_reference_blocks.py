"""The reference network of blocks: one call for all blocks against a call a block, and what it may not read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bpb_harness.checkpoints import read_checkpoint, save_checkpoint
from bpb_harness.denoiser import FactoredBlockDenoiser, own_block_size
from bpb_harness.errors import CheckpointError, LaterBlockError
from bpb_harness.evaluation.api import evaluate
from bpb_harness.networks import reference
from bpb_harness.networks.reference import (
    GatheredPositions,
    ReferenceBlockDenoiser,
    ReferenceConfig,
    ReferenceTransformer,
    adapt,
)
from bpb_harness.schedule import NoiseLevel, parse_schedule
from fixtures import build
from reference.export import export
from tests.stateless import assert_keeps_nothing

SMALL = {"vocab_size": 13, "context_length": 9, "num_layers": 2, "width": 16, "num_heads": 2, "mlp_width": 24}


def random_network(**changes: Any) -> ReferenceTransformer:
    network = ReferenceTransformer(ReferenceConfig(**{**SMALL, "block_size": 2, **changes}))
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.4)
    return network


def windows(network: ReferenceTransformer, length: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(7)
    x0 = torch.randint(network.config.vocab_size, (3, length), generator=generator)
    masked = torch.rand(x0.shape, generator=generator) < 0.5
    return x0.masked_fill(masked, network.config.mask_token_id), x0


def some_level(count: int) -> NoiseLevel:
    return parse_schedule("loglinear[0.001]").level(torch.full((count,), 0.5))


@pytest.mark.parametrize(("size", "length"), [(2, 8), (3, 8), (4, 9), (1, 5), (5, 4)])
def test_all_blocks_in_one_call_are_a_call_a_block(size: int, length: int) -> None:
    network = random_network(block_size=size)
    model = adapt(network)
    assert isinstance(model, ReferenceBlockDenoiser)
    assert isinstance(model, FactoredBlockDenoiser)
    assert own_block_size(model) == size
    xt, x0 = windows(network, length)
    count = -(-length // size)
    together = model.block_logits(xt, x0, some_level(3 * count))
    assert together.shape == (3, length, network.config.head_width)
    for k in range(count):
        start, stop = k * size, min((k + 1) * size, length)
        row = torch.cat((x0[:, :start], xt[:, start:stop]), dim=1)
        alone = model.logits(row, some_level(3))[:, start:]
        torch.testing.assert_close(together[:, start:stop], alone, atol=2e-6, rtol=1e-5)


def test_the_clean_half_is_the_causal_network_of_these_weights() -> None:
    network = random_network()
    xt, x0 = windows(network, 8)
    clean = network.block_trunk(xt, x0)[:, :8]
    torch.testing.assert_close(clean, network.trunk(x0, causal=True))
    plain = dict(network.state_dict())
    plain["embedding.weight"] = plain["embedding.weight"][:-1]  # a causal network has no mask
    twin = reference.build_network(ReferenceConfig(**SMALL, objective="ar"), plain)
    torch.testing.assert_close(clean, twin.trunk(x0))


def test_gathered_positions_are_those_of_both_halves() -> None:
    network = random_network()
    xt, x0 = windows(network, 6)
    positions = torch.tensor([0, 7, 11, 12, 23, 30])
    some = network.block_trunk(xt, x0, GatheredPositions(positions))
    torch.testing.assert_close(some, network.block_trunk(xt, x0).flatten(0, 1)[positions])


def test_nothing_is_kept_between_calls() -> None:
    network = random_network()
    model = adapt(network)
    assert isinstance(model, ReferenceBlockDenoiser)
    assert_keeps_nothing(model, network)


def test_dropout_is_of_training_alone() -> None:
    network = random_network()
    xt, x0 = windows(network, 6)
    whole = network.block_trunk(xt, x0)
    network.set_dropout(0.5)
    assert not torch.allclose(network.block_trunk(xt, x0), whole)
    model = adapt(network)
    assert isinstance(model, ReferenceBlockDenoiser)
    assert torch.equal(model.network.block_trunk(xt, x0), whole)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    network = random_network(vocab_size=512, context_length=32, block_size=4)
    path = tmp_path_factory.mktemp("blocks") / "m.pt"
    save_checkpoint(
        path, tensors=network.state_dict(), adapter="reference", config=network.config.to_dict(),
        schedule="loglinear[0.001]", tokenizer=build.TOKENIZER.read_bytes(),
    )  # fmt: skip
    return path


def scored(path: Path, **changes: Any) -> Any:
    settings = {"method": "mc", "limit": 3, "device": "cpu", "compile_network": False, **changes}
    return evaluate(path, data=(build.VALIDATION,), tokenizer=build.TOKENIZER, **settings)


def test_a_checkpoint_says_its_blocks_and_is_scored_in_them(checkpoint: Path) -> None:
    assert read_checkpoint(checkpoint).config["block_size"] == 4
    result = scored(checkpoint)
    assert (result.signature.block_size, result.relation) == ("4", "~<=")
    assert result.signature.contract in {None, "checked"}
    for bits in (8, 6):
        artifact = checkpoint.with_name(f"m{bits}.ptz")
        export(checkpoint, artifact, bits=bits)
        assert scored(artifact).length.bits_per_token == pytest.approx(result.length.bits_per_token, rel=0.05)


def test_a_network_that_reads_its_own_block_clean_is_refused(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sight = reference.dense_sight

    def too_much(length: int, size: int, device: torch.device) -> Tensor:
        seen = sight(length, size, device)
        seen[length:, :length] |= torch.eye(length, dtype=torch.bool)
        return seen

    monkeypatch.setattr(reference, "dense_sight", too_much)
    with pytest.raises(LaterBlockError):
        scored(checkpoint)


def test_a_network_without_blocks_says_nothing_of_them() -> None:
    plain = ReferenceConfig(**SMALL)
    assert "block_size" not in plain.to_dict()
    assert ReferenceConfig.from_mapping(plain.to_dict()) == plain
    blocks = ReferenceConfig(**SMALL, block_size=3)
    assert blocks.to_dict() == {**plain.to_dict(), "block_size": 3}
    assert ReferenceConfig.from_mapping(blocks.to_dict()) == blocks


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        *(({"block_size": held}, f"got {held!r}, expected a positive integer below context_length 9")
          for held in (0, -1, 9, 10, True, 2.0, "2")),
        ({"objective": "ar"}, "got 2 in a causal model, expected none"),
        ({"time_conditioned": True}, "got 2 in a network that is told the noise level, expected none"),
    ],
)  # fmt: skip
def test_blocks_that_cannot_be_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        ReferenceConfig(**{**SMALL, "block_size": 2, **changes})
    assert str(caught.value) == f"reference network: block_size: {said}"
