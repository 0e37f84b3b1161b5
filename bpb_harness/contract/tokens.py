"""Tokens, lengths and columns: the mask is no token of the text and not what is predicted, every length works."""

from __future__ import annotations

import torch
from torch import Tensor

from bpb_harness.contract.difference import Answer
from bpb_harness.contract.probe import Probe
from bpb_harness.contract.subject import Subject
from bpb_harness.denoiser import Denoiser
from bpb_harness.errors import ContextLengthError, MaskMassError, MaskTokenError
from bpb_harness.result import Remark

_MAX_MASS, _WORTH_SAYING = 0.5, 1e-3


def check_mask_id(model: Denoiser, windows: Tensor) -> None:
    """Refuse a mask id that is no id, or a token of the text.

    Raises:
        MaskTokenError: with its first place.
    """
    if model.mask_token_id < 0:
        raise MaskTokenError("mask id", seen=model.mask_token_id, expected="0 or more")
    found = windows == model.mask_token_id
    if bool(found.any()):
        row, position = found.nonzero()[0].tolist()
        raise MaskTokenError(
            f"the mask id {model.mask_token_id} is a token of the data",
            seen=f"{int(found.sum())} times, first in window {row} at position {position}",
            expected="an id that no text uses",
            hint="check the adapter's mask id and that the tokenizer belongs to the shards",
        )


def check_context(context_length: int, windows: Tensor) -> None:
    """Refuse windows that are longer than the network takes.

    Raises:
        ContextLengthError: if they are.
    """
    assert windows.ndim == 2
    assert len(windows) > 0
    if windows.shape[1] > context_length:
        raise ContextLengthError(
            "windows", seen=f"{windows.shape[1]} tokens", expected=f"at most {context_length}, the network's context"
        )


def check_shortest(subject: Subject, probe: Probe) -> None:
    """The shortest windows that a corpus may end with: shape, width and finiteness.

    Raises:
        ContractError: if the network does not take them.
    """
    contexts = None if probe.context_lengths is None else torch.zeros_like(probe.context_lengths)
    everywhere, level = torch.ones_like(probe.counted[:, :1]), probe.level
    if level is not None and probe.by_blocks:
        level = level[:, :1]
    subject.ask(Probe(probe.x0[:, :1], everywhere, probe.targets[:, :1], level, contexts))


def check_mask_mass(subject: Subject, first: Answer) -> list[Remark]:
    """How much of the mass the network gives to the mask, which the harness removes.

    Raises:
        MaskMassError: if it is most of it.
    """
    mass = first.mask_mass
    if mass is None:
        return []  # no column for the mask at all
    mean, worst = float(mass.mean()), int(mass.argmax())
    row, position = first.places[worst].tolist()
    seen = f"{mean:.3g} of the mass on average, {float(mass[worst]):.3g} at row {row}, position {position}"
    if mean > _MAX_MASS:
        raise MaskMassError(
            f"the network predicts the mask, id {subject.mask_token_id}",
            seen=seen,
            expected="most mass on clean tokens",
            hint="the mask id or the order of the columns is probably wrong",
        )
    if mean > _WORTH_SAYING:
        message = f"the network gives the mask {seen}; the harness removed it, which lowers the score"
        return [Remark("contract.mask-mass", message, {"mean": mean, "largest": float(mass[worst])})]
    return []
