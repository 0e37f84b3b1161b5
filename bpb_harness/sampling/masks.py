"""Which positions are masked: one that is drawn, and every other one with probability u."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bpb_harness.sampling.streams import RandomStreams
from bpb_harness.schedule import NoiseLevel

Ints = npt.NDArray[np.int64]

_NEVER_MASKED = 2.0
_SHORT = 256  # below, placing NumPy's generator anew for each draw takes longer than all its numbers do otherwise


def size_biased_masks(noise: Tensor, target: Tensor, level: NoiseLevel) -> Tensor:
    """Masks in which one uniformly drawn position is masked and every other one with probability u.

    E[C / u] over Bernoulli(u) masks equals L E[C / |M|] over these (MATHS.md, equation 7), and C / |M| is bounded where
    C / u is not.

    Args:
        noise: uniform on [0, 1), above 1 where a token is never masked, (B, L) float64.
        target: the forced position of each row, (B,) int64.
        level: noise level of each row, (B,); its ``mask_rate`` is u.

    Returns:
        (B, L) bool.
    """
    masked = noise < level.mask_rate.unsqueeze(-1)
    return masked.scatter(1, target.unsqueeze(-1), True)


def stack_mask_noise(
    streams: RandomStreams,
    windows: Ints,
    samples: Ints,
    target_lengths: Ints,
    input_length: int,
) -> tuple[Tensor, Tensor]:
    """Noise of many draws of spans of one input length, whose targets stand last.

    Args:
        streams: where it comes from.
        windows: the span of each draw, (B,).
        samples: which draw of its span, (B,).
        target_lengths: L of each span, (B,).
        input_length: N, tokens of context and targets together.

    Returns:
        Noise (B, N) float64, above every mask rate within contexts, and the forced target of each row (B,) int64.
    """
    if not len(windows) == len(samples) == len(target_lengths):
        raise ValueError("windows, samples and lengths of draws: one is shorter than the others")
    noise = np.full((len(windows), input_length), _NEVER_MASKED)
    target = np.empty(len(windows), dtype=np.int64)
    longest = int(target_lengths.max(initial=0))
    if longest <= _SHORT and len(windows) > 1:
        contexts = input_length - target_lengths
        places, short = streams.mask_noise_of_many(windows, samples, longest)
        column = np.arange(input_length) - contexts[:, None]
        drawn = np.take_along_axis(short, np.clip(column, 0, longest - 1), axis=1)
        np.copyto(noise, drawn, where=column >= 0)
        return torch.from_numpy(noise), torch.from_numpy(contexts + (places * target_lengths).astype(np.int64))
    for row, (window, sample, length) in enumerate(zip(windows, samples, target_lengths, strict=True)):
        context = input_length - int(length)
        place, noise[row, context:] = streams.mask_noise(int(window), int(sample), int(length))
        target[row] = context + place
    return torch.from_numpy(noise), torch.from_numpy(target)


def mask_bits(masks: Ints, length: int) -> npt.NDArray[np.bool_]:
    """Masks that are written as numbers, bit i for target i: (n,) -> (n, length) bool."""
    return np.asarray((masks[:, None] >> np.arange(length)) & 1 == 1)
