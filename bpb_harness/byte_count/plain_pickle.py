"""Pickles of plain values, read as data: no unpickler, no import, nothing called that the file names.

Tokenizers come as pickles: nanoGPT's `meta.pkl` is a dictionary of dictionaries, nanochat's `tokenizer.pkl` one object
of tiktoken. Of an object its name and what would have been its attributes are read, never the thing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

from bpb_harness.errors import TokenizerError
from bpb_harness.pickle_machine import DAMAGES, PickleMachine


@final
@dataclass
class Named:
    """What a pickle wanted to build: the name, and what would have been its attributes."""

    name: str
    state: Any = None


def read_plain_pickle(data: bytes, name: str) -> Any:
    """The content of a pickle.

    Args:
        data: the file.
        name: for messages.

    Returns:
        Dictionaries, lists, tuples, numbers, text, bytes, None and `Named`. Keys are text, numbers or bytes.

    Raises:
        TokenizerError: if it is damaged, or needs more than that.
    """
    try:
        return _Reader(name).run(data)
    except DAMAGES as error:
        raise TokenizerError(f"{name}: a damaged pickle: {error}") from error


class _Reader(PickleMachine):
    """Plain values, the bytes of protocol 2, and objects without arguments as `Named`."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._file = name

    def named(self, name: str) -> Named:
        return Named(name)

    def called(self, function: Any, arguments: tuple[Any, ...]) -> Any:
        if not isinstance(function, Named):
            raise ValueError(f"a call of {type(function).__name__}")
        if function.name == "_codecs.encode":
            text, _ = arguments  # how bytes are written before protocol 3
            return text.encode("latin-1")
        if arguments != ():
            raise self._refusal(function.name)
        return Named(function.name)

    def given_state(self, value: Any, state: Any) -> None:
        if not isinstance(value, Named):
            raise ValueError(f"attributes of {type(value).__name__}")
        value.state = state

    def put(self, target: Any, key: Any, value: Any) -> None:
        if not isinstance(key, str | int | bytes):
            raise ValueError(f"a key of type {type(key).__name__}")
        super().put(target, key, value)

    def refused(self, opcode: str) -> Exception:
        return self._refusal(f"the opcode {opcode}")

    def _refusal(self, what: str) -> TokenizerError:
        return TokenizerError(
            f"{self._file}: a pickle that is more than plain values",
            seen=what[:100],
            expected="a dictionary with stoi, or one encoding of tiktoken",
            hint="nothing was run; give the tokenizer as tokenizer.json or as a list of characters",
        )
