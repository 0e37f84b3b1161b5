"""What an adapter is, and what it gives: a network ready to be scored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, final, runtime_checkable

import torch

from bpb_harness.checkpoints import Checkpoint
from bpb_harness.denoiser import CausalLM, Denoiser
from bpb_harness.schedule import NoiseSchedule


@final
@dataclass(frozen=True)
class AdaptedModel:
    """A network ready to be scored.

    Attributes:
        model: the network, in evaluation mode on its device.
        adapter: name of the adapter that built it.
        schedule: the noise schedule that the checkpoint states; None where it states none and ``--schedule`` must.
        notes: findings worth printing beside the score.
        context_is_guess: the file does not state the length of the training windows, and ``model.context_length`` is
            only the longest that the network takes; worth a remark where the user did not say ``--context``.
        vocabulary_is_guess: the file does not state how many of its rows are tokens, and ``model.vocab_size``, with the
            mask behind it, is the usual number for so many rows; a tokenizer of another size tells that it is not.
        window_length: tokens of a window where the user does not say ``--context``; None for
            ``model.context_length``, the longest that the network takes.
        context_is_open: nothing states how long a window may be, so that the user must say ``--context``.
        of_blocks: what ``model`` becomes where the user says ``--block-size``, or that nobody did (None): a network
            whose blocks no file states, or one that must see both sides of a row. :func:`load_model` calls it.
    """

    model: Denoiser | CausalLM
    adapter: str
    schedule: NoiseSchedule | None = None
    notes: tuple[str, ...] = ()
    context_is_guess: bool = False
    vocabulary_is_guess: bool = False
    window_length: int | None = None
    context_is_open: bool = False
    of_blocks: Callable[[int | None], Denoiser] | None = None


@runtime_checkable
class Adapter(Protocol):
    """From a checkpoint to a network."""

    name: str

    def fits(self, checkpoint: Checkpoint) -> bool:
        """Whether the checkpoint's layout and tensor names are this adapter's. Never raises, never loads a network."""
        ...

    def load(self, checkpoint: Checkpoint, *, device: torch.device, dtype: torch.dtype) -> AdaptedModel:
        """Build the network.

        Args:
            checkpoint: as read by :func:`bpb_harness.checkpoints.read_checkpoint`.
            device: where it runs.
            dtype: float32, or bfloat16 for autocast with float32 weights.

        Raises:
            CheckpointError: if tensors are missing or their shapes contradict each other.
        """
        ...


@runtime_checkable
class CodeAdapter(Protocol):
    """An adapter that can do more when the user permits code from the checkpoint."""

    def load_with_code(self, checkpoint: Checkpoint, *, device: torch.device, dtype: torch.dtype) -> AdaptedModel:
        """Like ``load``, after the user passed --allow-code."""
        ...
