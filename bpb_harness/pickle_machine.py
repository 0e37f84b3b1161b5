"""Pickles read as data, opcode by opcode: no unpickler, no import, nothing called that a file names.

A pickle is a program for a machine with a stack and a memory. This one knows containers, numbers, text and bytes; what
a global, a call or a reference to something outside stands for, a reader says, and none of them is ever the thing.
"""

from __future__ import annotations

import pickletools
import re
import warnings
from collections.abc import Callable, Iterable
from typing import Any

DAMAGES = (
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    OverflowError,
    RecursionError,
)  # raised for a damaged one

_MARK = object()
_LITERALS = re.compile("(BIN)?INT[12]?|LONG[14]?|(BIN)?FLOAT|(SHORT_)?(BIN)?(STRING|UNICODE8?|BYTES8?)|BYTEARRAY8")
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_SET": list,
}


class PickleMachine:
    """The stack and the memory of one run over the opcodes of one pickle."""

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def run(self, data: bytes) -> Any:
        """The content: containers (sets are lists), numbers, text, bytes, None, and what a reader makes of the rest.

        Raises:
            ValueError: if the pickle is damaged; the others of `DAMAGES` likewise.
        """
        with warnings.catch_warnings():
            # Of escapes that a text in the pickle gets wrong: an error to whoever makes errors of warnings.
            warnings.simplefilter("ignore")
            for opcode, argument, _ in pickletools.genops(data):
                if opcode.name == "STOP":
                    if len(self._stack) != 1:
                        raise ValueError("values are left on the stack")
                    return self._stack[0]
                self._step(opcode.name, argument)
        raise ValueError("no end")

    # What a reader says.

    def named(self, name: str) -> Any:
        """What stands for the global ``module.attribute``."""
        raise NotImplementedError

    def called(self, function: Any, arguments: tuple[Any, ...]) -> Any:
        """What stands for the result of a call."""
        raise NotImplementedError

    def given_state(self, value: Any, state: Any) -> None:
        """Note the attributes that a value would have been given."""
        raise NotImplementedError

    def refused(self, opcode: str) -> Exception:
        """The error for an opcode that no reader of plain values needs."""
        raise NotImplementedError

    def referred(self, _identity: Any) -> Any:
        """What stands for something that lies outside of the pickle."""
        raise self.refused("BINPERSID")

    def put(self, target: Any, key: Any, value: Any) -> None:
        """Set an item."""
        if not isinstance(target, dict):
            raise ValueError(f"items set on {type(target).__name__}")
        target[key] = value

    def extend(self, target: Any, values: Iterable[Any]) -> None:
        """Append items."""
        if not isinstance(target, list):
            raise ValueError(f"items appended to {type(target).__name__}")
        target.extend(values)

    # The opcodes.

    def _step(self, opcode: str, argument: Any) -> None:
        stack = self._stack
        if _LITERALS.fullmatch(opcode):
            stack.append(argument)
        elif opcode in _CONSTANTS:
            stack.append(_CONSTANTS[opcode]())
        elif opcode in ("PROTO", "FRAME"):
            pass
        elif opcode in ("BINPUT", "LONG_BINPUT", "PUT"):
            self._memo[argument] = stack[-1]
        elif opcode == "MEMOIZE":
            self._memo[len(self._memo)] = stack[-1]
        elif opcode in ("BINGET", "LONG_BINGET", "GET"):
            stack.append(self._memo[argument])
        elif opcode == "MARK":
            stack.append(_MARK)
        elif opcode == "POP":
            stack.pop()
        elif opcode == "POP_MARK":
            self._pop_mark()
        elif opcode == "DUP":
            stack.append(stack[-1])
        elif opcode in ("TUPLE1", "TUPLE2", "TUPLE3"):
            parts = [self._pop() for _ in range(int(opcode[-1]))]
            stack.append(tuple(reversed(parts)))
        elif opcode == "TUPLE":
            stack.append(tuple(self._pop_mark()))
        elif opcode in ("LIST", "FROZENSET"):
            stack.append(self._pop_mark())
        else:
            self._build(opcode, argument)

    def _build(self, opcode: str, argument: Any) -> None:
        stack = self._stack
        if opcode == "DICT":
            pairs = self._pop_mark()
            stack.append({})
            self.set_items(stack[-1], pairs)
        elif opcode in ("APPEND", "APPENDS", "ADDITEMS"):
            values = [self._pop()] if opcode == "APPEND" else self._pop_mark()
            self.extend(stack[-1], values)
        elif opcode in ("SETITEM", "SETITEMS"):
            pairs = [self._pop(), self._pop()][::-1] if opcode == "SETITEM" else self._pop_mark()
            self.set_items(stack[-1], pairs)
        elif opcode in ("GLOBAL", "STACK_GLOBAL"):
            stack.append(self.named(self._name(argument)))
        elif opcode in ("REDUCE", "NEWOBJ", "NEWOBJ_EX"):
            if opcode == "NEWOBJ_EX":
                self._pop()
            arguments, function = self._pop(), self._pop()
            if not isinstance(arguments, tuple):
                raise ValueError("arguments that are no tuple")
            stack.append(self.called(function, arguments))
        elif opcode == "BUILD":
            state = self._pop()
            self.given_state(stack[-1], state)
        elif opcode == "BINPERSID":
            stack.append(self.referred(self._pop()))
        else:
            raise self.refused(opcode)

    def _name(self, argument: str | None) -> str:
        if argument is not None:
            return argument.replace(" ", ".", 1)
        attribute, module = self._pop(), self._pop()
        if not (isinstance(module, str) and isinstance(attribute, str)):
            raise ValueError("a global without a name")
        return f"{module}.{attribute}"

    def _pop(self) -> Any:
        value = self._stack.pop()
        if value is _MARK:
            raise ValueError("unexpected mark")
        return value

    def _pop_mark(self) -> list[Any]:
        stack = self._stack
        position = len(stack) - 1
        while stack[position] is not _MARK:
            position -= 1
            if position < 0:
                raise ValueError("no mark")
        values = stack[position + 1 :]
        del stack[position:]
        return values

    def set_items(self, target: Any, pairs: list[Any]) -> None:
        """Set items, keys and values by turns."""
        if len(pairs) % 2:
            raise ValueError("odd number of dictionary items")
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            self.put(target, key, value)
