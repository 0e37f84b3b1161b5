"""Every tensor and every setting of a checkpoint: taken, named as one that does not matter, or refused by name.

A tensor that is left out, or a setting that nobody read, makes a network that is not the one that was trained, and its
score looks like any other. So an adapter takes what it uses through an :class:`Account` and sets aside what it knows
not to matter; what is left over when the network is built is an error. :class:`AccountedAdapter` sees to it.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from bpb_harness.adapters.accounting.trainer_settings import (
    CANONICAL,
    NONE_SAYS_WITHOUT,
    SECTIONS,
    is_of_training,
)
from bpb_harness.adapters.adapter import AdaptedModel
from bpb_harness.checkpoints import Checkpoint
from bpb_harness.checkpoints.names import require_weights
from bpb_harness.errors import CheckpointError
from bpb_harness.findings import first_of
from bpb_harness.networks.layers import NothingDrawn
from bpb_harness.schedule import NoiseSchedule, parse_schedule

_MAX_NAMED = 6


class AccountedAdapter(ABC):
    """An adapter that cannot leave anything of a checkpoint out unnoticed."""

    name: ClassVar[str]

    @abstractmethod
    def fits(self, checkpoint: Checkpoint) -> bool:
        """Whether the checkpoint's layout and tensor names are this adapter's. Never raises, never loads a network."""

    @abstractmethod
    def build(self, account: Account, *, device: torch.device, dtype: torch.dtype) -> AdaptedModel:
        """Build the network from what is taken out of the account.

        Raises:
            CheckpointError: if something is missing, of another shape or type, or not what this adapter implements.
        """

    def takes_stated(self, checkpoint: Checkpoint) -> bool:
        """Whether what a user states beside a file decides anything; of most adapters nothing does."""
        del checkpoint
        return False

    @final
    def load(self, checkpoint: Checkpoint, *, device: torch.device, dtype: torch.dtype) -> AdaptedModel:
        """Build the network, and refuse the checkpoint if anything in it was neither taken nor set aside.

        Raises:
            CheckpointError: as ``build``, and for what is left over.
        """
        account = Account(checkpoint, self.name)
        with NothingDrawn():
            adapted = self.build(account, device=device, dtype=dtype)
        account.settle()
        return adapted


@final
class Account:
    """What of a checkpoint is still to be accounted for.

    Args:
        checkpoint: as it was read.
        adapter: the adapter's name, for messages.
    """

    def __init__(self, checkpoint: Checkpoint, adapter: str) -> None:
        self.checkpoint, self.adapter = checkpoint, adapter
        self._tensors_left = dict.fromkeys(checkpoint.tensors)
        stated = dict(_leaves(checkpoint.config))
        # What is None or empty states nothing, but for what a network may be without.
        self.settings = {name: value for name, value in stated.items() if value is not None and value != []}
        self._without = {
            CANONICAL[_own_name(name)]: name
            for name, value in reversed(stated.items())
            if value is None and CANONICAL.get(_own_name(name)) in NONE_SAYS_WITHOUT
        }
        self._settings_left = dict.fromkeys(self.settings)
        self._schedule_left = checkpoint.schedule

    # Tensors

    def shape(self, name: str, ndim: int, *, may_be_empty: bool = False) -> Sequence[int]:
        """Shape of a tensor that must be there; it stays to be accounted for.

        Raises:
            CheckpointError: if it is missing, empty, or has another number of dimensions.
        """
        tensor = self.checkpoint.tensors.get(name)
        if tensor is None:
            raise CheckpointError(f"{self._name} lacks the tensor {name}")
        empty = 0 in tensor.shape and not may_be_empty
        if tensor.ndim != ndim or empty:
            expected = f"{ndim} dimensions" + (", none of them 0" if empty else "")
            raise CheckpointError(f"{self._name}: {name}", seen=list(tensor.shape), expected=expected)
        return tensor.shape

    def take(self, name: str) -> Tensor:
        """A tensor of finite floating-point numbers.

        Raises:
            CheckpointError: if it is missing, or holds anything else.
        """
        tensor = self.checkpoint.tensors.get(name)
        if tensor is None:
            raise CheckpointError(f"{self._name} lacks the tensor {name}")
        require_weights(tensor, f"{self._name}: {name}")
        self._tensors_left.pop(name, None)
        return tensor

    def fill(
        self, module: nn.Module, names: Mapping[str, str] | None = None, *, made: Mapping[str, Tensor] | None = None
    ) -> None:
        """Copy tensors into a module's parameters and buffers.

        Args:
            module: the network.
            names: the checkpoint's name of each of the module's tensors, where it is another one.
            made: tensors that were made of some that are taken already, by the module's name.

        Raises:
            CheckpointError: naming the first tensor that is missing, of another shape, or no sound weights.
        """
        for own, value in module.state_dict().items():
            name = (names or {}).get(own, own)
            is_made = made is not None and own in made
            given = made[own] if made is not None and is_made else self.take(name)
            if given.shape != value.shape:
                raise CheckpointError(f"{self._name}: {name}", seen=list(given.shape), expected=list(value.shape))
            rounded = given.to(value.dtype)
            if is_made or torch.promote_types(given.dtype, value.dtype) != value.dtype:  # some may overflow
                require_weights(rounded, f"{self._name}: {name}")
            value.copy_(rounded)

    def take_equal(self, name: str, value: Tensor) -> None:
        """Take a buffer that is computed anew, if the checkpoint has it, and compare.

        Raises:
            CheckpointError: if it is not what is computed.
        """
        if name in self.checkpoint.tensors:
            given = self.take(name)
            # Buffers are stored as coarsely as bfloat16, whose steps are 1/256 of a number.
            if given.shape != value.shape or not torch.allclose(given.double(), value.double(), rtol=8e-3, atol=1e-6):
                raise CheckpointError(
                    f"{self._name}: {name} is another than the adapter {self.adapter!r} computes",
                    hint="the network is a variant that this adapter does not know; " + _OWN_LOADER,
                )

    def set_aside(self, pattern: str) -> None:
        """Name tensors that do not decide what the network computes, by a regular expression for whole names."""
        for name in [name for name in self._tensors_left if re.fullmatch(pattern, name)]:
            del self._tensors_left[name]

    # Settings

    def setting(self, name: str) -> Any:
        """A setting by its whole dotted name; None where it is not stated."""
        self._settings_left.pop(name, None)
        return self.settings.get(name)

    def stated(self, fact: str) -> Any:
        """A setting by what it means, whatever trainers call it ; None where it is not stated.

        Raises:
            CheckpointError: if it is stated twice, differently.
        """
        found = {name: value for name, value in self.settings.items() if CANONICAL.get(_own_name(name)) == fact}
        for name in found:
            self._settings_left.pop(name, None)
        first = next(iter(found), None)
        for name, value in found.items():
            if first is not None and not _same(value, found[first]):
                raise CheckpointError(
                    f"{self._name}: two values of one setting", seen=f"{first} = {found[first]}, {name} = {value}"
                )
        return None if first is None else found[first]

    def require_one_block(self, length: int) -> None:
        """Refuse, of a masked network, a block size that is not its longest window: it may be one of block diffusion.

        Args:
            length: tokens of the longest window that the network takes.

        Raises:
            CheckpointError: naming the setting.
        """
        for name, value in self.settings.items():
            if _own_name(name) == "block_size" and not _same(value, length):
                raise CheckpointError(
                    f"{self._name}: {name}",
                    seen=value,
                    expected=f"{length}, the longest window; of a masked network it may be that of block diffusion",
                    hint="if it is the window that it was trained on, call it seq_len; else " + _OWN_LOADER,
                )

    def compare(self, facts: Mapping[str, object]) -> None:
        """Compare what the checkpoint states with what the network is.

        Args:
            facts: what a setting must be, by what it means.

        Raises:
            CheckpointError: naming the first setting that says something else.
        """
        for fact, value in facts.items():
            stated = self.stated(fact)
            without = self._without.get(fact)
            if without is not None or (stated is not None and not _same(stated, value)):
                raise CheckpointError(
                    f"{self._name}: {without or self._spelling(fact)}",
                    seen="None" if without is not None else stated,
                    expected=f"{value}, as the adapter {self.adapter!r} builds it",
                    hint="the network is a variant that this adapter does not know; " + _OWN_LOADER,
                )

    def schedule(self) -> NoiseSchedule | None:
        """The noise schedule that a native file names; None where it names none.

        Raises:
            UsageError: for an unknown name.
        """
        stated, self._schedule_left = self.checkpoint.schedule, None
        return parse_schedule(stated) if stated else None

    def set_settings_aside(self, pattern: str) -> None:
        """Name settings that do not decide what the network computes, by a regular expression for whole names."""
        for name in [name for name in self._settings_left if re.fullmatch(pattern, name)]:
            del self._settings_left[name]

    def settle(self) -> None:
        """Refuse what is left.

        Raises:
            CheckpointError: naming tensors, then settings, that were neither taken nor set aside.
        """
        self.compare({"num_parts": 1})
        if self._schedule_left:
            raise CheckpointError(
                f"{self._name} names a noise schedule, and the adapter {self.adapter!r} has no use for one",
                seen=self._schedule_left,
                hint="name another adapter, or save the checkpoint again without a schedule",
            )
        if self._tensors_left:
            raise CheckpointError(
                f"{self._name} has tensors that the adapter {self.adapter!r} does not use",
                seen=first_of([*self._tensors_left], _MAX_NAMED),
                hint=_hint_for(self._tensors_left) + _OWN_LOADER,
            )
        unknown = {name: self.settings[name] for name in self._settings_left if not is_of_training(_own_name(name))}
        if unknown:
            raise CheckpointError(
                f"{self._name} has settings that the adapter {self.adapter!r} does not know",
                seen=first_of([f"{name} = {str(value)[:40]}" for name, value in unknown.items()], _MAX_NAMED),
                hint=(_WITHOUT_SETTINGS if self.checkpoint.layout == "tensors" else "") + _OWN_LOADER,
            )

    @property
    def _name(self) -> str:
        return self.checkpoint.path.name

    def _spelling(self, fact: str) -> str:
        return next(name for name in self.settings if CANONICAL.get(_own_name(name)) == fact)


_OWN_LOADER = "score it through a loader of your own (--model FILE.py:LOADER --allow-code)"
_WITHOUT_SETTINGS = "if they do not change what the network computes, save the weights alone, as a state dict; else "

# What is left over, and what to do about it: one line each, the first that matches.
_LEFT_OVER = (
    (r".*(lora|\bdora|adapter_|hada_|lokr).*", "merge the low-rank matrices into the weights and save those; or "),
    (
        r".*(scales?|absmax|quant_map|quant_state.*|zeros?|zero_points?|g_idx|qweight|qzeros|SCB|weight_format)(\.\w+)?",
        "multiply quantised weights out to floats and save those; or ",
    ),
    (r".*(ema|average|shadow|teacher).*", "save one set of weights alone; or "),
)


def _hint_for(names: Iterable[str]) -> str:
    hints = (hint for pattern, hint in _LEFT_OVER for name in names if re.fullmatch(pattern, name, re.IGNORECASE))
    return next(hints, "")


def _leaves(settings: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Settings by dotted name."""
    for key, value in settings.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{name}.")
        else:
            yield name, value


def _own_name(name: str) -> str:
    """A setting's name without the sections that trainers keep their arguments in, in lower case."""
    parts = name.lower().split(".")
    while len(parts) > 1 and parts[0] in SECTIONS:
        parts = parts[1:]
    return ".".join(parts)


def _same(one: Any, other: Any) -> bool:
    """Whether two settings are one: numbers by value, also where one is text; a boolean is no number."""
    if isinstance(one, str) and not isinstance(other, str):
        try:
            one = {"true": True, "false": False}.get(one.lower()) if isinstance(other, bool) else float(one)
        except ValueError:
            return False
    if isinstance(one, bool) or isinstance(other, bool) or isinstance(one, str) or isinstance(other, str):
        return type(one) is type(other) and bool(one == other)
    if isinstance(one, int | float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=1e-9)
    return bool(one == other)
