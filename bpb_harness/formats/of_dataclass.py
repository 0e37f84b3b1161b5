"""The declaration of a format that is a dataclass's own: kinds from its types, meanings from its docstring."""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from bpb_harness.formats.kinds import Either, Flag, Key, Kind, ListOf, Named, Null, Number, Record, Text, Whole

_PLAIN: dict[Any, Kind] = {str: Text(), float: Number(), int: Whole(), bool: Flag(), type(None): Null()}


def record_of(cls: type, stated: str | None = None) -> Record:
    """An object with a key for each field, as ``dataclasses.asdict`` gives it.

    Args:
        cls: a dataclass whose docstring says under "Attributes:" what each field is.
        stated: the format that its first key names; None: it has no such key.
    """
    hints, meanings = get_type_hints(cls), _meanings(cls)
    keys = [Key("format", Text((stated,)), "This format; the first key.")] if stated is not None else []
    keys += [Key(each.name, _kind_of(hints[each.name]), meanings[each.name]) for each in fields(cls)]
    return Record(tuple(keys))


def _kind_of(hint: Any) -> Kind:
    if hint in _PLAIN:
        return _PLAIN[hint]
    if is_dataclass(hint) and isinstance(hint, type):
        return record_of(hint)
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return Either(tuple(_kind_of(each) for each in inner))
    if origin is Literal:
        return Text(inner)
    if origin is tuple:
        is_open = len(inner) == 2 and inner[1] is Ellipsis
        assert is_open or len(set(inner)) == 1, hint
        return ListOf(_kind_of(inner[0]), None if is_open else len(inner))
    if origin is list:
        return ListOf(_kind_of(inner[0]))
    assert isinstance(origin, type), hint
    assert issubclass(origin, Mapping), hint
    return Named(_kind_of(inner[1]))


def _meanings(cls: type) -> dict[str, str]:
    """By field, what the docstring says of it; ``several, fields: ...`` are told together."""
    _, _, listed = (inspect.getdoc(cls) or "").partition("Attributes:\n")
    found: dict[str, str] = {}
    for names, said in re.findall(r"^ {4}(\w+(?:, \w+)*): (.*(?:\n {8,}.*)*)", listed, flags=re.MULTILINE):
        sentence = re.sub(r"``|:\w+:`[\w.]*?(?=\w+`)", "`", " ".join(said.split()))
        sentence = re.sub(r"\bNone\b", "null", sentence)
        for name in names.split(", "):
            found[name] = sentence[:1].upper() + sentence[1:]
    return found
