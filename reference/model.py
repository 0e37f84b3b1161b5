"""What only training needs of the network: its initial weights.

The network itself is :class:`bpb_harness.networks.reference.ReferenceTransformer`.
"""

from __future__ import annotations

import torch
from torch import nn

from bpb_harness.networks.reference import (
    Attention,
    Block,
    FeedForward,
    ReferenceConfig,
    ReferenceTransformer,
    TiedHead,
    TimeEmbedding,
)

__all__ = ["ReferenceConfig", "ReferenceTransformer", "initial_network"]

_TIED_DEVIATION = 0.1  # of an embedding that is the head as well: logits then have one of about 1 at a width of 512


def initial_network(config: ReferenceConfig, *, seed: int) -> ReferenceTransformer:
    """A network that predicts the uniform distribution: every branch and the head end in a zero matrix.

    So the objective starts at ln V exactly, and the first gradients reach each branch's last matrix only. A tied head
    is not zero: masked tokens are told about as badly then, next tokens, where any are, as if each came again.
    """
    network = ReferenceTransformer(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        nn.init.normal_(network.embedding.weight, generator=generator)
        if isinstance(network.head, TiedHead):
            network.embedding.weight *= _TIED_DEVIATION
        else:
            nn.init.zeros_(network.head.weight)
        for module in network.modules():
            if isinstance(module, Attention):
                _fan_in_uniform(module.qkv, generator)
                nn.init.zeros_(module.out.weight)
            elif isinstance(module, FeedForward):
                _fan_in_uniform(module.up, generator)
                nn.init.zeros_(module.down.weight)
            elif isinstance(module, Block) and module.modulation is not None:
                nn.init.zeros_(module.modulation.weight)
            elif isinstance(module, TimeEmbedding):
                _fan_in_uniform(module.inner, generator)
                _fan_in_uniform(module.outer, generator)
    return network


def _fan_in_uniform(linear: nn.Linear, generator: torch.Generator) -> None:
    """Uniform with variance 1 / (3 fan_in): a little below what keeps a unit input at unit size."""
    bound = linear.in_features**-0.5
    nn.init.uniform_(linear.weight, -bound, bound, generator=generator)
