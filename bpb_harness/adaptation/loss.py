"""What a network is trained to lower: the cost of windows, as the harness itself scores them."""

from __future__ import annotations

import hashlib
from typing import Protocol, final

import torch
from torch import Tensor

from bpb_harness.denoiser import CausalLM, Denoiser
from bpb_harness.estimators.ar import AutoregressiveCode
from bpb_harness.estimators.nelbo import nelbo
from bpb_harness.schedule import NoiseSchedule


class WindowLoss(Protocol):
    """The cost of windows, with gradients.

    Attributes:
        length: tokens of a window that are paid for.
    """

    length: int

    def windows(self, tokens: Tensor) -> Tensor:
        """Cut tokens, (n,), into windows that do not overlap, one a row; what is left over at the end is left out."""
        ...

    def num_targets(self, windows: Tensor) -> int:
        """How many tokens of some windows are paid for."""
        ...

    def nats(self, windows: Tensor, address: str) -> Tensor:
        """Cost of some windows together, a number; ``address`` names the random numbers that it takes."""
        ...


@final
class CausalLoss:
    """Each token given those before it in its window; the first of a window is given.

    Args:
        model: the network.
        length: tokens that a window predicts.
    """

    def __init__(self, model: CausalLM, length: int) -> None:
        self._model, self.length = model, length

    def windows(self, tokens: Tensor) -> Tensor:
        """(n,) tokens to (B, L + 1): neighbours share the token that is the last of one and the first of the other."""
        return tokens.unfold(0, self.length + 1, self.length)

    def num_targets(self, windows: Tensor) -> int:
        """All but the first of each window."""
        return windows.shape[0] * self.length

    def nats(self, windows: Tensor, address: str) -> Tensor:
        """-log p of all targets together."""
        del address  # nothing is drawn
        inputs, targets = windows[:, :-1].contiguous(), windows[:, 1:].contiguous()
        return AutoregressiveCode().token_nats(self._model, inputs, targets).sum()


@final
class MaskedLoss:
    """The continuous-time bound of each window by itself, one draw of it (:func:`bpb_harness.nelbo`).

    Args:
        model: the network.
        length: tokens of a window.
        schedule: of its noise.
        num_steps: T of the discrete bound in its place; None: the continuous one.
        seed: of the masks, which have nothing to do with those of the score.
    """

    def __init__(self, model: Denoiser, length: int, schedule: NoiseSchedule, num_steps: int | None, seed: int) -> None:
        self._model, self.length, self._schedule = model, length, schedule
        self._num_steps, self._seed = num_steps, seed

    def windows(self, tokens: Tensor) -> Tensor:
        """(n,) tokens to (B, L)."""
        return tokens.unfold(0, self.length, self.length)

    def num_targets(self, windows: Tensor) -> int:
        """All."""
        return windows.numel()

    def nats(self, windows: Tensor, address: str) -> Tensor:
        """An unbiased estimate of the bound of all windows together."""
        digest = hashlib.sha256(f"adaptation/{self._seed}/{address}".encode()).digest()
        estimate = nelbo(
            self._model, windows.contiguous(), schedule=self._schedule, num_steps=self._num_steps,
            differentiable=torch.is_grad_enabled(), seed=int.from_bytes(digest[:8], "little"),
        )  # fmt: skip
        return estimate.nats.sum()
