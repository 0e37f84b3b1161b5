"""Which positions are masked: one that is drawn, and every other one with probability u."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bpb_harness.sampling.streams import RandomStreams
from bpb_harness.schedule import NoiseLevel


def size_biased_masks(noise: Tensor, target: Tensor, level: NoiseLevel) -> Tensor:
    """Masks in which one uniformly drawn position is masked and every other one with probability u.

    E[C / u] over Bernoulli(u) masks equals L E[C / |M|] over these (MATHS.md, equation 7), and C / |M| is bounded where
    C / u is not.

    Args:
        noise: uniform on [0, 1), (B, L) float64.
        target: the forced position of each row, (B,) int64.
        level: noise level of each row, (B,); its ``mask_rate`` is u.

    Returns:
        (B, L) bool.
    """
    masked = noise < level.mask_rate.unsqueeze(-1)
    return masked.scatter(1, target.unsqueeze(-1), True)


def stack_mask_noise(
    streams: RandomStreams, windows: npt.NDArray[np.int64], samples: npt.NDArray[np.int64], length: int
) -> tuple[Tensor, Tensor]:
    """Noise (B, L) float64 and targets (B,) int64 of many draws of windows of one length."""
    noise = np.empty((len(windows), length), dtype=np.float64)
    target = np.empty(len(windows), dtype=np.int64)
    for row, (window, sample) in enumerate(zip(windows, samples, strict=True)):
        target[row], noise[row] = streams.mask_noise(int(window), int(sample), length)
    return torch.from_numpy(noise), torch.from_numpy(target)
