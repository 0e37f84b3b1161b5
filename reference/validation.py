"""What the harness says of a network while it is trained: its own estimator, on the first validation windows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from bpb_harness.adapters.reference import ReferenceDenoiser, ReferenceTransformer
from bpb_harness.denoiser import masked_token_nll, require_finite
from bpb_harness.estimators.bound import Bound, prior_nats
from bpb_harness.masking import RandomStreams, StratifiedDesign, size_biased_masks, stack_mask_noise
from bpb_harness.units import nats_to_bits
from reference.data import TokenShards
from reference.objective import causal_objective

_MAX_WINDOWS, _BATCH = 256, 16


@torch.no_grad()
def validation_bits_per_token(
    network: ReferenceTransformer, bound: Bound, paths: Sequence[Path], *, seed: int
) -> float:
    """NELBO by ``mc`` with one draw a window, or NLL of a causal network, in bits per token.

    The windows are the first ones of the shards, the masks are the same at every call: differences are the network's.
    """
    config = network.config
    length = config.context_length + (config.objective == "ar")
    shards = TokenShards(paths, window_length=length, vocab_size=config.vocab_size)
    windows = shards.first_windows(_MAX_WINDOWS)
    device = network.head.weight.device
    if config.objective == "ar":
        sums = [float(causal_objective(network, rows.to(device))) * len(rows) for rows in torch.split(windows, _BATCH)]
        return nats_to_bits(sum(sums) / len(windows))
    denoiser, streams = ReferenceDenoiser(network), RandomStreams(seed)
    design = StratifiedDesign(streams, np.zeros(len(windows)), 1)
    total_nats = 0.0
    for rows in torch.split(torch.arange(len(windows)), _BATCH):
        index = rows.numpy()
        noise, target = stack_mask_noise(streams, index, np.zeros_like(index), length)
        v = torch.tensor([float(design.positions(int(window))[0]) for window in index], dtype=torch.float64)
        level = bound.schedule.level_at(bound.move_chance(v))
        masked, x0 = size_biased_masks(noise, target, level).to(device), windows[rows].to(device)
        nll = masked_token_nll(denoiser, x0, masked, level.to(device)).sum(dim=1)
        total_nats += float((require_finite(nll, what="validation") / masked.sum(dim=1)).sum())
    return nats_to_bits(
        prior_nats(bound.schedule, 1, config.vocab_size) + bound.draw_weight * total_nats / len(windows)
    )
