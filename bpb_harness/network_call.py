"""The one door to a network: it is handed copies, and what it hands back is looked at before anything is done with it.

A network that overwrites its tokens would overwrite what is to be paid for, were they the harness's own; a subclass of
a tensor would decide what ``log_softmax`` of it is. So every call gets clones, and an answer is a plain
``torch.Tensor`` by its exact type, on the device of its question, of a floating type and of the shape that was asked
for. Whether the clones came back as they went in is compared after each call, bit by bit: :class:`InputWatch`.

An answer is not copied. Whoever calls turns it into numbers of its own (``log_softmax`` makes new memory) before the
next call, so that a network may hand out the same buffer again and again; who keeps an answer clones it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import final

import torch
from torch import Tensor

from bpb_harness.errors import AnswerTypeError, InputMutatedError, LogitsShapeError, LogitsWidthError, UsageError
from bpb_harness.schedule import NoiseLevel

_BITS_OF = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@final
class InputWatch:
    """Notes whether networks changed what they were given.

    On a CPU a change is refused at once. A GPU is not waited for: each call leaves one number there, how many values it
    changed, and :meth:`check` looks at all of them.
    """

    def __init__(self) -> None:
        self._num_changed: list[Tensor] = []

    def note(self, before: tuple[Tensor, ...], after: tuple[Tensor, ...]) -> None:
        """Compare what was given with what is left of it.

        Raises:
            InputMutatedError: on a CPU, or for a change of shape or type, if they differ.
        """
        num_changed = torch.stack([_num_changed(*pair) for pair in zip(before, after, strict=True)]).sum()
        if num_changed.device.type == "cpu":
            if num_changed:
                raise _mutated(int(num_changed))
        elif num_changed.device.type != "meta":  # a meta tensor has a shape and no values
            self._num_changed.append(num_changed)

    def check(self) -> None:
        """Wait for all calls so far.

        Raises:
            InputMutatedError: if one of them changed its input.
        """
        noted, self._num_changed = self._num_changed, []
        if noted and (changed := int(torch.stack(noted).sum())):
            raise _mutated(changed)


@contextmanager
def refusing_exits(what: str) -> Iterator[None]:
    """Run code that is not ours: where it would end the program, with whatever exit code, it is refused.

    Raises:
        UsageError: for SystemExit, saying ``what`` it was.
    """
    try:
        yield
    except SystemExit as left:
        raise UsageError(
            f"{what} ends the program", seen=f"sys.exit({'' if left.code is None else repr(left.code)})",
            expected="code that returns, or raises an error",
        ) from left  # fmt: skip


def call_network(
    network: Callable[..., Tensor], *inputs: Tensor | NoiseLevel, watch: InputWatch | None = None
) -> Tensor:
    """Call a network, or one of its methods, with copies.

    Args:
        network: takes what stands in ``inputs``, tensors and noise levels, in their order.
        *inputs: the harness's own; the first is a tensor.
        watch: looks later whether the copies were changed; None looks at once.

    Returns:
        Its answer, a plain tensor of a floating type on the device of ``inputs[0]``.

    Raises:
        AnswerTypeError: if it is anything else.
        InputMutatedError: if the network changed a copy.
        UsageError: if it calls ``sys.exit``.
    """
    # Contiguous: of a row that was expanded to a batch, each row becomes memory of its own.
    given = tuple(
        value.clone(memory_format=torch.contiguous_format) if isinstance(value, Tensor) else value.each(torch.clone)
        for value in inputs
    )
    # What is compared later: the network may put other tensors into the object that it is handed.
    parts = _tensors(given)
    with refusing_exits("a call of the network"):
        answer = network(*given)
    first = inputs[0]
    assert isinstance(first, Tensor)
    require_plain(answer, first.device)
    own = watch or InputWatch()
    own.note(_tensors(inputs), parts)
    if watch is None:
        own.check()
    return answer


def require_plain(answer: object, device: torch.device) -> None:
    """Refuse what is no plain tensor of floating-point numbers.

    Subclasses among them, parameters too: they may answer any operation as they like.

    Raises:
        AnswerTypeError: naming the type or device.
        LogitsShapeError: for whole numbers, truth values or complex numbers.
    """
    if type(answer) is not Tensor:
        raise AnswerTypeError(
            "the network's answer is no plain tensor",
            seen=f"{type(answer).__module__}.{type(answer).__qualname__}",
            expected="torch.Tensor itself, not a subclass of it",
            hint=_hint_for(answer),
        )
    if answer.device != device:
        raise AnswerTypeError("the network's answer is on another device", seen=answer.device, expected=device)
    if not answer.is_floating_point():
        raise LogitsShapeError(
            "logits of the wrong shape",
            seen=f"{tuple(answer.shape)} of {answer.dtype}",
            expected="logits of a floating type",
        )


def _hint_for(answer: object) -> str:
    if isinstance(answer, Tensor):
        return "return x.detach() of a parameter, x.as_subclass(torch.Tensor) of another subclass"
    if hasattr(answer, "logits"):
        return "return the logits themselves: output.logits"
    if isinstance(answer, tuple | list) and answer and isinstance(answer[0], Tensor):
        return "return the logits themselves: output[0], if that is where they are"
    return "return a tensor of logits"


def require_places(answer: Tensor, places: tuple[int, ...], what: str) -> None:
    """Refuse an answer that has not one vector a place.

    Raises:
        LogitsShapeError: if it is not (*places, width).
    """
    if answer.shape[:-1] != places or answer.ndim != len(places) + 1:
        wanted = ", ".join(map(str, places))
        raise LogitsShapeError(f"{what} of the wrong shape", seen=tuple(answer.shape), expected=f"({wanted}, width)")


def require_logits(answer: Tensor, places: tuple[int, ...], vocab_size: int) -> None:
    """Refuse logits of another shape, or too few of them.

    Raises:
        LogitsShapeError: if they are not (*places, W).
        LogitsWidthError: if W is less than ``vocab_size``.
    """
    if answer.shape[:-1] != places or answer.ndim != len(places) + 1:
        raise LogitsShapeError(
            "logits of the wrong shape",
            seen=f"{tuple(answer.shape)} of {answer.dtype}",
            expected=f"({', '.join(map(str, places))}, W) of a floating type, W >= {vocab_size}",
        )
    if answer.shape[-1] < vocab_size:
        raise LogitsWidthError(
            "logits are too narrow",
            seen=f"{answer.shape[-1]} columns",
            expected=f"{vocab_size}, the clean tokens, or more",
        )


def _tensors(inputs: tuple[Tensor | NoiseLevel, ...]) -> tuple[Tensor, ...]:
    tensors: list[Tensor] = []
    for value in inputs:
        tensors += [value] if isinstance(value, Tensor) else value.parts
    return tuple(tensors)


def _num_changed(before: Tensor, after: Tensor) -> Tensor:
    """How many values of two tensors differ in a bit; one number on their device."""
    if after.shape != before.shape or after.dtype != before.dtype or after.device != before.device:
        raise _mutated(before.numel())
    kind = _BITS_OF[before.element_size()]
    return (before.contiguous().view(kind) != after.detach().contiguous().view(kind)).sum()


def _mutated(num_changed: int) -> InputMutatedError:
    return InputMutatedError(
        "the network overwrites its input",
        seen=f"{num_changed} tokens, positions, noise levels or context lengths that a call changed",
        expected="none",
        hint="let it work on a copy, x.clone(), and export it again if it is a program",
    )
