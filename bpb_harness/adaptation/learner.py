"""What learns from a chunk: the harness's own loop, or the network's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from bpb_harness.adaptation.loss import CausalLoss, MaskedLoss, WindowLoss
from bpb_harness.adaptation.own import OwnAdaptation
from bpb_harness.adaptation.settings import AdaptationSettings
from bpb_harness.adaptation.sgd import SgdAdaptation
from bpb_harness.denoiser import CausalLM, Denoiser, own_block_size
from bpb_harness.distributed import Processes
from bpb_harness.errors import UsageError
from bpb_harness.schedule import NoiseSchedule, parse_schedule


class Learner(Protocol):
    """Changes a network by text that it has paid for."""

    @property
    def can_undo(self) -> bool:
        """Whether :meth:`undo` leaves the network as it was found."""
        ...

    def rehearse(self, token: int) -> list[str]:
        """See, before anything is scored, whether it can learn; the network stays as it is.

        Args:
            token: a clean one of the network's.

        Returns:
            Names of weights that learning does not reach.

        Raises:
            UsageError: if the network cannot learn so.
            NumericsError: if memory is too short.
        """
        ...

    def learn(self, tokens: Tensor, chunk: int, num_chunks: int) -> None:
        """Learn from a chunk.

        Args:
            tokens: (n,) int64 on the network's device.
            chunk: its index.
            num_chunks: how many the text has.

        Raises:
            NumericsError: if the network's loss or gradient is no number.
        """
        ...

    def undo(self) -> None:
        """Bring the network back to what it was, as far as ``can_undo``."""
        ...

    def state(self) -> dict[str, Tensor]:
        """All that a run needs to go on from here, on the CPU."""
        ...

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Go on from there.

        Raises:
            InputError: if it is the state of another network.
        """
        ...


def make_learner(
    model: Denoiser | CausalLM,
    settings: AdaptationSettings,
    *,
    device: torch.device,
    window_length: int,
    schedule: NoiseSchedule | None,
    num_steps: int | None = None,
    seed: int = 0,
    processes: Processes | None = None,
) -> Learner:
    """What learns, as the settings say.

    Args:
        model: the network.
        settings: how it learns.
        device: where the network is.
        window_length: tokens of a training window.
        schedule: of a denoiser's noise; None of a causal network.
        num_steps: T of the bound that a denoiser lowers; None: the continuous one.
        seed: of the masks that training draws.
        processes: share the windows of each step; None: this one alone.

    Raises:
        UsageError: if the network cannot learn so.
    """
    if settings.method == "own":
        return OwnAdaptation(model)
    if settings.chunk_tokens < window_length:
        raise UsageError(
            "--ttt-chunk", seen=settings.chunk_tokens, expected=f"{window_length} or more, the tokens of a window",
            hint="or pass a shorter --context",
        )  # fmt: skip
    loss: WindowLoss
    if isinstance(model, Denoiser):
        assert schedule is not None
        if own_block_size(model) is not None:
            raise UsageError(
                "--ttt sgd", seen="a network that predicts blocks, each given the blocks before it",
                expected="a network whose loss is that of whole windows",
                hint="give it a method adapt(tokens) and pass --ttt own",
            )  # fmt: skip
        loss = MaskedLoss(model, window_length, schedule, num_steps, seed)
    else:
        loss = CausalLoss(model, window_length)
    return SgdAdaptation(model, loss, settings, device=device, processes=processes or Processes())


def learner_of(
    plain: Mapping[str, Any], model: Denoiser | CausalLM, device: torch.device, processes: Processes | None = None
) -> Learner:
    """:func:`make_learner` by plain values, as they travel to another process: the settings' fields, a schedule's name.

    Raises:
        UsageError: as that.
    """
    rest = {**plain, "settings": AdaptationSettings(**plain["settings"])}
    rest["schedule"] = None if plain["schedule"] is None else parse_schedule(plain["schedule"])
    return make_learner(model, device=device, processes=processes, **rest)
