"""A network's own parameters and buffers, before and after: no call may change them.

They are summed up, not copied, and by their bits. What counts is what ``state_dict`` holds: tables that a module fills
when they are first needed are not part of it, nor is a buffer that a wrapper of the user's hands out. What a network
keeps elsewhere shows in its behaviour alone.
"""

from __future__ import annotations

from itertools import islice
from typing import final

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from bpb_harness.errors import StateMutatedError
from bpb_harness.network_modules import modules_of

_WORD_BYTES, _HALF_WORD_BITS = 8, 32
# Words that are summed together: on a CPU few enough to stay in its cache.
_WORDS_AT_ONCE = {"cpu": 1 << 16}
_WORDS_AT_ONCE_ELSEWHERE = 1 << 22

Sums = tuple[tuple[int, ...], str, tuple[int, ...]]


@final
class OwnState:
    """What a network's modules held when this was made.

    Args:
        network: a module, or an object that has modules among its attributes, directly or a few objects down.
    """

    def __init__(self, network: object) -> None:
        self._network = network
        self._sums = _sums_of(network)

    def require_unchanged(self) -> None:
        """Look again.

        Raises:
            StateMutatedError: naming the first tensor that is another, or is gone.
        """
        now = _sums_of(self._network)
        changed = [name for name, before in self._sums.items() if now.get(name) != before]
        if changed:
            raise StateMutatedError(
                f"a call changes the network's own {changed[0]}",
                seen=f"{len(changed)} of {len(self._sums)} tensors that are others than before",
                expected="parameters and buffers that stay as they were loaded",
                hint="is it in evaluation mode, and nothing in it learns or counts?",
            )


@torch.no_grad()
def _sums_of(network: object) -> dict[str, Sums]:
    tensors = {}
    for path, module in modules_of(network):
        for name, value in module.state_dict().items():
            if isinstance(value, Tensor) and not is_lazy(value) and value.layout == torch.strided and not value.is_meta:
                tensors[path + name] = value.detach()
    fetched: dict[str, tuple[int, ...]] = {}
    for device in {value.device for value in tensors.values()}:
        names = [name for name, value in tensors.items() if value.device == device]
        # Together: a GPU is waited for once, not for every tensor.
        sums = [_sums(tensors[name]) for name in names]
        numbers = iter(torch.cat(sums).tolist())
        fetched |= {name: tuple(islice(numbers, len(each))) for name, each in zip(names, sums, strict=True)}
    return {name: (tuple(value.shape), str(value.dtype), fetched[name]) for name, value in tensors.items()}


def _sums(tensor: Tensor) -> Tensor:
    """Sums over the bits, on their device: (3,) int64, of a complex tensor (6,), its real and imaginary parts."""
    if tensor.is_complex():
        parts = torch.view_as_real(tensor.resolve_conj())
        return torch.cat((_sums(parts[..., 0]), _sums(parts[..., 1])))
    numbers = tensor.resolve_neg().contiguous().flatten()
    if numbers.stride(0) != 1:  # a single number counts as contiguous whatever its stride
        numbers = numbers.clone(memory_format=torch.contiguous_format)
    octets = numbers.view(torch.uint8)
    whole = len(octets) // _WORD_BYTES * _WORD_BYTES
    aligned = octets[:whole]
    if aligned.storage_offset() % _WORD_BYTES:
        aligned = aligned.clone()
    words = aligned.view(torch.int64)
    # What is left over makes a word of each byte.
    return _sums_of_words(words, 0) + _sums_of_words(octets[whole:].to(torch.int64), len(words))


def _sums_of_words(words: Tensor, before: int) -> Tensor:
    """The sum of all words, of all times their places, and of all upper halves times their places; modulo 2^64.

    One bit changes the first sum. So do two elements that change places, unless they stand alike in their words; then
    a half of each word changes by less than 2^32 and that times the way between them, less than 2^31, is not 0 modulo
    2^64: the second sum tells of the lower halves and the third of the upper ones.
    """
    sums = torch.zeros(3, dtype=torch.int64, device=words.device)
    for part in torch.split(words, _WORDS_AT_ONCE.get(words.device.type, _WORDS_AT_ONCE_ELSEWHERE)):
        place = torch.arange(before + 1, before + 1 + len(part), device=part.device)
        sums += torch.stack((part.sum(), (part * place).sum(), ((part >> _HALF_WORD_BITS) * place).sum()))
        before += len(part)
    return sums
