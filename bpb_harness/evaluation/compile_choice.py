"""Whether a faster form of a network pays: an estimate from the size of the run and the network's shape, before either.

What is in a cache does not decide: the arithmetic of a score is not to hang on what ran before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch

from bpb_harness.adapters.fused_forms import has_fused_form
from bpb_harness.network_modules import modules_of


@final
@dataclass(frozen=True)
class _FasterForm:
    """What a form saves, and takes.

    Attributes:
        saved: seconds a token and unit of width, all matrices of the network together: traffic of activations, which
            goes with the widths, not with the parameters.
        least: seconds that it is to save: it may take as many where nothing is cached.
    """

    saved: float
    least: float


# A network of 11 layers x 512 (widths of 34,000) takes 1.0 us a token on an H100 as it is and 0.23 compiled; compiling
# takes 13 s where torch has kept the programs of an earlier run, 25 s where it has not. Below this it costs more than
# it saves on any card; above, a slower card or a longer row may save more than is estimated here.
_COMPILED = _FasterForm(2.2e-11, 5.0)
# On an H200 the same takes 0.83 us and 0.22 fused. Kernels take 2.4 to 2.8 s where triton has not kept them, beside the
# checks; 0.6 s where it has (docs/speed.md).
_FUSED = _FasterForm(1.6e-11, 2.5)


def total_width(network: object) -> int:
    """The smaller sides of all matrices that the network's modules hold, summed; 0 where it has none to be seen.

    A matrix makes an activation of its smaller side, or takes one: an embedding counts its width, not its vocabulary.
    """
    return sum(
        min(parameter.shape)
        for _, module in modules_of(network)
        for parameter in module.parameters()
        if parameter.ndim == 2
    )


def pays(network: object, num_tokens: int, *, device: torch.device, dtype: torch.dtype, length: int) -> bool:
    """Whether its fused form, or else compiling, can save what it takes.

    Args:
        network: a denoiser; one whose matrices are not to be seen is taken to be large.
        num_tokens: that go through it in this process.
        device: where it runs.
        dtype: its arithmetic.
        length: tokens of its longest rows.
    """
    form = _FUSED if has_fused_form(network, device=device, dtype=dtype, length=length) else _COMPILED
    width = total_width(network)
    return width == 0 or num_tokens * width * form.saved >= form.least
