"""Whether a network keeps something of a call: attributes, and tensors written in place."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bpb_harness.denoiser import (
    BlockDenoiser,
    FactoredDenoiser,
    block_states_of,
    is_stateless,
    num_blocks,
    states_of,
)
from bpb_harness.schedule import LogLinear


def assert_keeps_nothing(denoiser: FactoredDenoiser, network: nn.Module) -> None:
    """Calls of several lengths leave every attribute of every module what and as it was."""
    assert is_stateless(denoiser)
    before = _attributes(network)
    assert any("." in name for name in before)
    for length in (3, denoiser.context_length, 2):
        xt = torch.randint(denoiser.vocab_size, (2, length), generator=torch.Generator().manual_seed(length))
        level = LogLinear(1e-3).level(torch.tensor([0.3, 0.9]))
        denoiser.logits(xt, level)
        denoiser.head(states_of(denoiser, xt, level, torch.tensor([0, 3])))
        if isinstance(denoiser, BlockDenoiser):
            rates = torch.linspace(0.1, 0.9, 2 * num_blocks(length, denoiser.block_size), dtype=torch.float64)
            block_states_of(denoiser, xt, xt, LogLinear().level_at(rates), torch.tensor([0, 3]))
    assert _attributes(network) == before


def _attributes(network: nn.Module) -> dict[str, tuple[int, int | None]]:
    """Identity of each attribute, and how often it was written in place."""
    seen: dict[str, tuple[int, int | None]] = {}
    for name, module in network.named_modules():
        held = {**vars(module), **module._parameters, **module._buffers}
        for key, value in held.items():
            seen[f"{name}.{key}"] = (id(value), value._version if isinstance(value, Tensor) else None)
            if isinstance(value, dict):
                seen[f"{name}.{key} holds"] = (hash(tuple(value)), len(value))
    return seen
