"""When a network may take a faster form of its own arithmetic: while it is compiled for scoring, on a GPU, in bfloat16.

The plain network stays as it is written: it runs everywhere else, and a compiled one is compared with it.
"""

from __future__ import annotations

import torch
from torch import Tensor

_given_up = False


def is_specialised() -> bool:
    """Whether a network may take a faster form of the same arithmetic: while it is compiled for scoring.

    The plain network stays as it is written, and is what a compiled one is compared with.
    """
    return torch.compiler.is_compiling() and not torch.is_grad_enabled() and not _given_up


def give_up_specialising() -> bool:
    """Compile networks as they are written from now on; False if that is so already."""
    global _given_up
    given_up, _given_up = _given_up, True
    return not given_up


def is_given_up() -> bool:
    """Whether networks are compiled as they are written: kernels have failed on this machine."""
    return _given_up


def serves(x: Tensor) -> bool:
    """Whether kernels that round as autocast does may take the place of plain operations on a tensor."""
    return is_specialised() and runs_in_bfloat16_on_gpu(x)


def runs_in_bfloat16_on_gpu(x: Tensor) -> bool:
    """Whether products of a tensor are autocast to bfloat16 on a GPU, as the kernels of compiled networks round."""
    return (
        x.device.type == "cuda"
        and torch.is_autocast_enabled("cuda")
        and torch.get_autocast_dtype("cuda") == torch.bfloat16
    )
