"""Low precision against float32, on the same masks."""

from __future__ import annotations

import torch
from torch import Tensor

from bpb_harness.contract.difference import BITS_PER_NAT
from bpb_harness.contract.probe import Probe, block_probe, denoiser_probe
from bpb_harness.denoiser import BlockDenoiser, Denoiser, block_token_nll, masked_token_nll
from bpb_harness.result import Remark
from bpb_harness.schedule import NoiseSchedule


def precision_finding(
    model: Denoiser,
    in_float32: Denoiser,
    windows: Tensor,
    *,
    schedule: NoiseSchedule,
    stderr_bits_per_token: float,
    seed: int = 0,
) -> Remark | None:
    """Compare a network in low precision with the same one in float32, on the same masks.

    Args:
        model: as scored.
        in_float32: the same weights in float32.
        windows: clean tokens, (N, L) int64.
        schedule: of the noise levels.
        stderr_bits_per_token: the sampling error of the score.
        seed: of the masks.

    Returns:
        A finding if their mean masked cross-entropies differ by more than the sampling error, else None.
    """
    if isinstance(model, BlockDenoiser):
        probe = block_probe(windows, schedule, torch.Generator().manual_seed(seed), model)
    else:
        probe = denoiser_probe(windows, schedule, torch.Generator().manual_seed(seed), model)
    nll = [_token_nll(network, probe) for network in (model, in_float32)]
    per_token = [float(values.sum() / probe.counted.sum()) * BITS_PER_NAT for values in nll]
    difference = per_token[0] - per_token[1]
    if abs(difference) <= stderr_bits_per_token:
        return None
    message = (
        f"low precision moves the masked cross-entropy by {difference:+.4g} bits/token on a sample, more than the "
        f"sampling error of {stderr_bits_per_token:.2g}; pass --dtype float32"
    )
    return Remark("contract.precision", message, {"bits_per_token": difference})


def _token_nll(network: Denoiser, probe: Probe) -> Tensor:
    assert probe.level is not None
    if probe.by_blocks:
        assert isinstance(network, BlockDenoiser)
        return block_token_nll(network, probe.x0, probe.counted, probe.level.flatten())
    return masked_token_nll(network, probe.x0, probe.counted, probe.level, context_lengths=probe.context_lengths)
