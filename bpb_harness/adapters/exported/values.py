"""Arguments of an exported program, from JSON to what an operator takes, by the types of its schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, final

import torch
from torch import fx

from bpb_harness.adapters.exported.archive import DTYPES, STRIDED, refusal

_SYMBOLIC = ("as_sym_int", "as_sym_float", "as_sym_bool")
# Which forms of JSON each type of a schema takes.
_FORMS: dict[str, tuple[str, ...]] = {
    # Numbers too: torch makes tensors of them, as in x * 2.0.
    "Tensor": ("as_tensor", "as_optional_tensor", "as_int", "as_float", "as_bool", *_SYMBOLIC),
    "List[Tensor]": ("as_tensors",),
    "List[Optional[Tensor]]": ("as_optional_tensors", "as_tensors"),
    "int": ("as_int", "as_sym_int"),
    "List[int]": ("as_ints", "as_sym_ints", "as_int", "as_sym_int"),
    "float": ("as_float", "as_int", "as_sym_float", "as_sym_int"),
    "List[float]": ("as_floats", "as_ints", "as_sym_floats"),
    "bool": ("as_bool", "as_sym_bool"),
    "List[bool]": ("as_bools",),
    "number": ("as_int", "as_float", "as_bool", "as_complex", *_SYMBOLIC),
    "str": ("as_string",),
    "ScalarType": ("as_scalar_type",),
    "Layout": ("as_layout",),
    "MemoryFormat": ("as_memory_format",),
    "Device": ("as_device", "as_string"),
}
_MEMORY_FORMATS = {
    1: torch.contiguous_format,
    2: torch.channels_last,
    3: torch.channels_last_3d,
    4: torch.preserve_format,
}
_NO_NUMBERS = {"Infinity": float("inf"), "-Infinity": float("-inf"), "NaN": float("nan")}


class _Unreadable:
    """Stands for a value that is none of its form."""


_UNREADABLE: Final = _Unreadable()


def only_entry(stated: object, file: str, label: str) -> tuple[str, Any]:
    """The one key of an object that says of which form it is, and what stands under it.

    Raises:
        UnsafeCheckpointError: if it has none, or several.
    """
    if not isinstance(stated, dict) or len(stated) != 1:
        raise refusal(file, label, stated, "an object with one key")
    ((form, content),) = stated.items()
    return form, content


@final
class ValueReader:
    """Reads the arguments of one program.

    Args:
        file: its name.
        values: what each name of the file stands for, so far.
        device: every device of the file becomes this one.
    """

    def __init__(self, file: str, values: Mapping[str, fx.Node], device: torch.device) -> None:
        self._file, self._values, self._device = file, values, device

    def read(self, stated: object, kind: str, may_be_none: bool, label: str) -> Any:
        """What an argument stands for.

        Raises:
            UnsafeCheckpointError: if it is not of the kind that the operator takes there, or names what is not there.
        """
        form, content = only_entry(stated, self._file, label)
        if form == "as_none":
            if not may_be_none:
                raise refusal(self._file, label, None, kind)
            return None
        if form not in _FORMS[kind]:
            raise refusal(self._file, f"{label}: an argument of kind {form}", content, f"a value of type {kind}")
        if kind == "Device":
            return self._device
        value = self._convert(form, content)
        if isinstance(value, _Unreadable) or (isinstance(value, list) and _UNREADABLE in value):
            raise refusal(self._file, f"{label}: {form}", content, f"a value of type {kind}")
        return value

    def _convert(self, form: str, content: Any) -> Any:
        if form.endswith("s"):
            return [self._convert(form[:-1], part) for part in content] if isinstance(content, list) else _UNREADABLE
        if form == "as_tensor":
            return self._named(content.get("name")) if isinstance(content, dict) else _UNREADABLE
        if form == "as_optional_tensor" or form in _SYMBOLIC:
            return self._convert_one_of(form, content)
        return _plain(form, content)

    def _convert_one_of(self, form: str, content: Any) -> Any:
        """A tensor or none, a named size or a number."""
        if not isinstance(content, dict) or len(content) != 1:
            return _UNREADABLE
        ((inner, value),) = content.items()
        if form == "as_optional_tensor":
            return None if inner == "as_none" else self._convert(inner, value) if inner == "as_tensor" else _UNREADABLE
        if inner == "as_name":
            return self._named(value)
        return _plain(inner, value) if inner == form.replace("sym_", "") else _UNREADABLE

    def _named(self, name: object) -> Any:
        return self._values.get(name, _UNREADABLE) if isinstance(name, str) else _UNREADABLE


def _plain(form: str, content: Any) -> Any:
    """A value that names nothing."""
    match form, content:
        case "as_int", int() if type(content) is int and -(1 << 63) <= content < 1 << 63:
            return content
        case "as_float", float():
            return content
        case "as_float", int() if type(content) is int:
            return float(content)
        case "as_float", "Infinity" | "-Infinity" | "NaN":
            return _NO_NUMBERS[content]
        case "as_bool", bool():
            return content
        case "as_string", str():
            return content
        case "as_scalar_type", int():
            return DTYPES.get(content, _UNREADABLE)
        case "as_layout", int() if content == STRIDED:
            return torch.strided
        case "as_memory_format", int():
            return _MEMORY_FORMATS.get(content, _UNREADABLE)
        case "as_complex", {"real": float() | int() as real, "imag": float() | int() as imaginary}:
            return complex(real, imaginary)
    return _UNREADABLE
