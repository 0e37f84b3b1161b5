"""Which networks have a fused form: kernels of the harness's own, in place of a compiler, where a GPU scores much text.

A form is looked up by the exact type of a network that the harness itself has written: what a user's network says of
itself does not decide which arithmetic scores it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from bpb_harness.adapters import golf_mdlm_fused
from bpb_harness.adapters.golf_mdlm import GolfMdlm
from bpb_harness.schedule import NoiseLevel


class FusedForm(Protocol):
    """A network in kernels of its own; see :class:`bpb_harness.denoiser.PickingDenoiser`."""

    def hidden_at(self, xt: Tensor, level: NoiseLevel, positions: Tensor) -> Tensor:
        """Hidden states (n, D) at positions of the flattened batch, ascending but for padding at the end."""

    def head(self, hidden: Tensor) -> Tensor:
        """Logits (n, W) of them."""

    def programs(self) -> Sequence[Callable[[], object]]:
        """What runs each of its kernels once, on a little made-up input: called ahead, they are compiled then."""


def fused_form(network: object, *, device: torch.device, dtype: torch.dtype, length: int) -> FusedForm | None:
    """The fused form of a network for windows of a length, or None where there is none.

    Args:
        network: on ``device``.
        device: where it runs.
        dtype: its arithmetic.
        length: L, tokens of a window.
    """
    if has_fused_form(network, device=device, dtype=dtype, length=length):
        assert isinstance(network, GolfMdlm)
        return golf_mdlm_fused.FusedGolfMdlm(network, length)
    return None


def has_fused_form(network: object, *, device: torch.device, dtype: torch.dtype, length: int) -> bool:
    """Whether there is one, as :func:`fused_form` would give it."""
    return type(network) is GolfMdlm and golf_mdlm_fused.fits(network, device, dtype, length)
