"""The reference network of blocks: one call for all blocks against a call a block, and what it may not read."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bpb_harness.checkpoints import read_checkpoint, save_checkpoint
from bpb_harness.denoiser import FactoredBlockDenoiser, own_block_size
from bpb_harness.errors import CheckpointError, LaterBlockError, WrongHalfError
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


def log_probs_of_block(network: ReferenceTransformer, row: Tensor, start: int) -> Tensor:
    """The network in plain loops, float64: rows (n, L) that end in the block, which begins at ``start``; (n, L, V)."""
    weights = {name: tensor.double() for name, tensor in network.state_dict().items()}
    heads, length = network.config.num_heads, row.shape[1]
    half = network.config.width // heads // 2
    turn = torch.polar(
        torch.ones(length, half, dtype=torch.float64),
        -torch.arange(length).double()[:, None] * 10_000.0 ** (-torch.arange(half).double() / half),
    )[:, None]

    def normalised(x: Tensor) -> Tensor:
        return x / (x.square().mean(dim=-1, keepdim=True) + torch.finfo(torch.float32).eps).sqrt()

    def rotated(x: Tensor) -> Tensor:
        turned = torch.complex(*normalised(x).split(half, dim=-1)) * turn
        return torch.cat((turned.real, turned.imag), dim=-1)

    seen = [list(range(place + 1)) if place < start else list(range(length)) for place in range(length)]
    x = normalised(weights["embedding.weight"])[row]
    for layer in range(network.config.num_layers):
        qkv, out, up, down = (
            weights[f"blocks.{layer}.{name}.weight"].T
            for name in ("attention.qkv", "attention.out", "feed_forward.up", "feed_forward.down")
        )
        q, k, v = (normalised(x) @ qkv).view(*row.shape, 3, heads, 2 * half).unbind(dim=2)
        q, k, mixed = rotated(q), rotated(k), torch.empty_like(v)
        for place, others in enumerate(seen):
            share = (q[:, place, None] * k[:, others]).sum(dim=-1) / (2 * half) ** 0.5
            mixed[:, place] = (share.softmax(dim=1).unsqueeze(-1) * v[:, others]).sum(dim=1)
        x = x + mixed.flatten(-2) @ out
        x = x + (normalised(x) @ up).relu().square() @ down
    return torch.log_softmax((normalised(x) @ weights["head.weight"].T)[..., : network.config.vocab_size], dim=-1)


def bound_of_block(network: ReferenceTransformer, window: Tensor, start: int, most: float) -> float:
    """Nats of the block at ``start`` given all before it: every mask of it, by the integral of its weight to u_max."""
    stop = min(start + 4, len(window))
    masks = torch.tensor(list(itertools.product([False, True], repeat=stop - start))[1:])
    row = window[:stop].repeat(len(masks), 1)
    row[:, start:] = row[:, start:].masked_fill(masks, network.config.mask_token_id)
    targets = window[start:stop].expand(len(masks), -1).unsqueeze(-1)
    nats = -log_probs_of_block(network, row, start)[:, start:].gather(-1, targets).squeeze(-1)
    point, weight = (torch.from_numpy(each) for each in np.polynomial.legendre.leggauss(8))
    u, count = most * (point + 1) / 2, masks.sum(dim=1, keepdim=True)
    chance = (most * weight / 2 * u ** (count - 1) * (1 - u) ** (stop - start - count)).sum(dim=1)
    return float((chance * (nats * masks).sum(dim=1)).sum()) + (1 - most) * (stop - start) * math.log(512)


def test_the_score_is_that_of_the_network_in_plain_loops(checkpoint: Path, tmp_path: Path) -> None:
    """With a window of 11 tokens at the end, whose last block has 3."""
    tokens = torch.from_numpy(np.fromfile(build.VALIDATION, dtype="<u2")[512:][:43].astype(np.int64))
    shard = tmp_path / "text.bin"
    shard.write_bytes(tokens.numpy().astype("<u2").tobytes())
    network = random_network(vocab_size=512, context_length=32, block_size=4)
    wanted = sum(
        bound_of_block(network, window, start, 0.999)
        for window in tokens.split(32)
        for start in range(0, len(window), 4)
    )
    result = evaluate(
        checkpoint, data=(shard,), shard_format="uint16", tokenizer=build.TOKENIZER, method="exact", device="cpu"
    )
    assert (result.relation, result.signature.block_size) == ("<=", "4")
    assert result.length.bits_per_token * 43 == pytest.approx(wanted / math.log(2), rel=1e-6)


def _clean_own(seen: Tensor, length: int) -> None:
    seen[length:, :length] |= torch.eye(length, dtype=torch.bool)


def _clean_own_of_the_last_token(seen: Tensor, length: int) -> None:
    seen[-1, length - 1] = True


def _clean_one_block_too_far(seen: Tensor, length: int) -> None:
    seen[length:-4, :length] |= seen[length + 4 :, :length]


def _clean_ahead(seen: Tensor, length: int) -> None:
    seen[: length - 1, 1:length] |= torch.eye(length - 1, dtype=torch.bool)


def _noised_block_before(seen: Tensor, length: int) -> None:
    seen[length + 4 :, length:-4] |= seen[length:-4, length:-4]


def _noised_from_clean(seen: Tensor, length: int) -> None:
    seen[:length, length:] = True


@pytest.mark.parametrize(
    ("leak", "refused"),
    [
        (_clean_own, LaterBlockError), (_clean_own_of_the_last_token, LaterBlockError),
        (_clean_one_block_too_far, LaterBlockError), (_clean_ahead, LaterBlockError),
        (_noised_block_before, WrongHalfError), (_noised_from_clean, WrongHalfError),
    ],
)  # fmt: skip
def test_a_network_that_reads_more_than_it_may_is_refused(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, leak: Callable[[Tensor, int], None], refused: type[Exception]
) -> None:
    sight = reference.dense_sight

    def too_much(length: int, size: int, device: torch.device) -> Tensor:
        seen = sight(length, size, device)
        leak(seen, length)
        return seen

    monkeypatch.setattr(reference, "dense_sight", too_much)
    with pytest.raises(refused):
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
