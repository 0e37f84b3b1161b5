"""Pickles of plain values, read as data: no unpickler, no import, nothing called that the file names.

Tokenizers come as pickles: nanoGPT's `meta.pkl` is a dictionary of dictionaries, nanochat's `tokenizer.pkl` one object
of tiktoken. Of an object its name and what would have been its attributes are read, never the thing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, final

from bpb_harness.errors import TokenizerError
from bpb_harness.foreign_files import opcodes

_MARK = object()
_LITERALS = re.compile("(BIN)?INT[12]?|LONG[14]?|(BIN)?FLOAT|(SHORT_)?BINUNICODE8?|UNICODE|(SHORT_)?BINBYTES8?")
_EMPTY: dict[str, Any] = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}


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
    machine = _Machine(name)
    try:
        for opcode, argument in opcodes(data):
            if opcode == "STOP":
                (content,) = machine.stack
                return content
            machine.step(opcode, argument)
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise TokenizerError(f"{name}: a damaged pickle: {error}") from error
    raise TokenizerError(f"{name}: a damaged pickle", seen="no end")


class _Machine:
    """The stack and the memory of one run over the opcodes."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def step(self, opcode: str, argument: Any) -> None:
        stack = self.stack
        if opcode in ("PROTO", "FRAME"):
            return
        if _LITERALS.fullmatch(opcode):
            stack.append(argument)
        elif opcode in _CONSTANTS:
            stack.append(_CONSTANTS[opcode])
        elif opcode in _EMPTY:
            stack.append(_EMPTY[opcode]())
        elif opcode == "MARK":
            stack.append(_MARK)
        elif opcode in ("BINPUT", "LONG_BINPUT", "PUT"):
            self._memo[argument] = stack[-1]
        elif opcode == "MEMOIZE":
            self._memo[len(self._memo)] = stack[-1]
        elif opcode in ("BINGET", "LONG_BINGET", "GET"):
            stack.append(self._memo[argument])
        elif opcode in ("TUPLE1", "TUPLE2", "TUPLE3"):
            count = int(opcode[-1])
            stack[-count:] = [tuple(stack[-count:])]
        elif opcode == "TUPLE":
            stack.append(tuple(self._since_mark()))
        elif opcode == "LIST":
            stack.append(self._since_mark())
        elif opcode == "DICT":
            values = self._since_mark()
            stack.append({})
            self._set_items(values)
        elif opcode in ("APPEND", "APPENDS"):
            values = [stack.pop()] if opcode == "APPEND" else self._since_mark()
            self._of_type(list).extend(values)
        elif opcode in ("SETITEM", "SETITEMS"):
            values = self._since_mark() if opcode == "SETITEMS" else [stack.pop(-2), stack.pop()]
            self._set_items(values)
        else:
            self._build(opcode, argument)

    def _build(self, opcode: str, argument: Any) -> None:
        stack = self.stack
        if opcode == "GLOBAL":
            stack.append(Named(argument.replace(" ", ".", 1)))
        elif opcode == "STACK_GLOBAL":
            attribute, module = stack.pop(), stack.pop()
            stack.append(Named(f"{module}.{attribute}"))
        elif opcode == "NEWOBJ":
            arguments, named = stack.pop(), self._of_type(Named)
            if arguments != ():
                raise self._refusal(named.name)
            stack[-1] = Named(named.name)
        elif opcode == "BUILD":
            state = stack.pop()
            self._of_type(Named).state = state
        elif opcode == "REDUCE":
            arguments, named = stack.pop(), self._of_type(Named)
            if named.name != "_codecs.encode":
                raise self._refusal(named.name)
            text, _ = arguments  # how bytes are written before protocol 3
            stack[-1] = text.encode("latin-1")
        else:
            raise self._refusal(f"the opcode {opcode}")

    def _of_type(self, kind: type) -> Any:
        value = self.stack[-1]
        if not isinstance(value, kind):
            raise ValueError(f"{type(value).__name__} where {kind.__name__} must be")
        return value

    def _set_items(self, values: list[Any]) -> None:
        target = self._of_type(dict)
        for key, value in zip(values[::2], values[1::2], strict=True):
            if not isinstance(key, str | int | bytes):
                raise ValueError(f"a key of type {type(key).__name__}")
            target[key] = value

    def _since_mark(self) -> list[Any]:
        position = len(self.stack) - 1
        while self.stack[position] is not _MARK:
            position -= 1
            if position < 0:
                raise ValueError("no mark")
        values = self.stack[position + 1 :]
        del self.stack[position:]
        return values

    def _refusal(self, what: str) -> TokenizerError:
        return TokenizerError(
            f"{self._name}: a pickle that is more than plain values",
            seen=what[:100],
            expected="a dictionary with stoi, or one encoding of tiktoken",
            hint="nothing was run; give the tokenizer as tokenizer.json or as a list of characters",
        )
