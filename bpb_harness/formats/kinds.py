"""What may stand under a key of a file: one declaration is its JSON Schema, its row in the docs and its check.

A kind knows three things: the JSON Schema (2020-12) of its values, what they are in words, and whether a value that was
read is one of them. So that what is shipped, what is written down and what is refused cannot drift apart.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, final

LARGEST_WHOLE = (1 << 64) - 1  # a seed; counts are smaller
_LARGEST_NUMBER = 1e300
_SHOWN = 60


class MismatchError(ValueError):
    """A value that is not of its kind.

    Args:
        where: the place of the value: ``findings[2].code``.
        seen: the value, shortened.
        expected: what would have been right.
    """

    def __init__(self, where: str, seen: str, expected: str) -> None:
        super().__init__(f"{where}: {seen}, not {expected}")
        self.where, self.seen, self.expected = where, seen, expected


class Kind(Protocol):
    """Of a value."""

    @property
    def words(self) -> str:
        """What it is, for people."""

    def schema(self) -> dict[str, Any]:
        """As JSON Schema."""

    def check(self, value: Any, where: str) -> None:
        """Refuse what is not of this kind.

        Raises:
            MismatchError: with the place, the value and what would have been right.
        """


@final
@dataclass(frozen=True)
class Number:
    """A finite number; whole ones are numbers too."""

    least: float | None = None

    @property
    def words(self) -> str:
        return "number" if self.least is None else f"number >= {self.least:g}"

    def schema(self) -> dict[str, Any]:
        return {"type": "number"} | ({} if self.least is None else {"minimum": self.least})

    def check(self, value: Any, where: str) -> None:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        # Compared before any conversion: an integer may be too large for a float.
        if not is_number or not -_LARGEST_NUMBER <= value <= _LARGEST_NUMBER:
            raise MismatchError(where, shown(value), f"a finite {self.words}")
        if self.least is not None and value < self.least:
            raise MismatchError(where, shown(value), f"a {self.words}")


@final
@dataclass(frozen=True)
class Whole:
    """A whole number, 0 or more if nothing else is said."""

    least: int = 0

    @property
    def words(self) -> str:
        return f"whole number >= {self.least}"

    def schema(self) -> dict[str, Any]:
        return {"type": "integer", "minimum": self.least, "maximum": LARGEST_WHOLE}

    def check(self, value: Any, where: str) -> None:
        if not isinstance(value, int) or isinstance(value, bool) or not self.least <= value <= LARGEST_WHOLE:
            raise MismatchError(where, shown(value), f"a {self.words}")


@final
@dataclass(frozen=True)
class Text:
    """Text; of one pattern or one of a few words, where that is said."""

    one_of: tuple[str, ...] = ()
    pattern: str = ""
    what: str = ""

    @property
    def words(self) -> str:
        return " or ".join(f"`{word}`" for word in self.one_of) or self.what or "text"

    def schema(self) -> dict[str, Any]:
        if self.one_of:
            return {"enum": list(self.one_of)} if len(self.one_of) > 1 else {"const": self.one_of[0]}
        return {"type": "string"} | ({"pattern": f"^(?:{self.pattern})$"} if self.pattern else {})

    def check(self, value: Any, where: str) -> None:
        good = isinstance(value, str) and (not self.one_of or value in self.one_of)
        if not good or (self.pattern and not re.fullmatch(self.pattern, value)):
            raise MismatchError(where, shown(value), self.words.replace("`", ""))


@final
@dataclass(frozen=True)
class Flag:
    """true or false."""

    words: str = "true or false"

    def schema(self) -> dict[str, Any]:
        return {"type": "boolean"}

    def check(self, value: Any, where: str) -> None:
        if not isinstance(value, bool):
            raise MismatchError(where, shown(value), self.words)


@final
@dataclass(frozen=True)
class Null:
    """Nothing."""

    words: str = "null"

    def schema(self) -> dict[str, Any]:
        return {"type": "null"}

    def check(self, value: Any, where: str) -> None:
        if value is not None:
            raise MismatchError(where, shown(value), self.words)


@final
@dataclass(frozen=True)
class Either:
    """One of several kinds."""

    kinds: tuple[Kind, ...]

    @property
    def words(self) -> str:
        return " or ".join(kind.words for kind in self.kinds)

    def schema(self) -> dict[str, Any]:
        return {"anyOf": [kind.schema() for kind in self.kinds]}

    def check(self, value: Any, where: str) -> None:
        closest: MismatchError | None = None
        for kind in self.kinds:
            try:
                kind.check(value, where)
                return
            except MismatchError as mismatch:
                if mismatch.where != where:  # right on the outside: what is wrong within says more
                    closest = mismatch
        raise closest or MismatchError(where, shown(value), self.words.replace("`", ""))


@final
@dataclass(frozen=True)
class ListOf:
    """Values of one kind, a fixed number of them where that is said."""

    kind: Kind
    length: int | None = None

    @property
    def words(self) -> str:
        return f"list of {'' if self.length is None else f'{self.length} times '}{self.kind.words}"

    def schema(self) -> dict[str, Any]:
        sizes = {} if self.length is None else {"minItems": self.length, "maxItems": self.length}
        return {"type": "array", "items": self.kind.schema()} | sizes

    def check(self, value: Any, where: str) -> None:
        if not isinstance(value, list):
            raise MismatchError(where, shown(value), "a list")
        if self.length is not None and len(value) != self.length:
            raise MismatchError(where, f"{len(value)} values", f"{self.length}")
        for index, item in enumerate(value):
            self.kind.check(item, f"{where}[{index}]")


@final
@dataclass(frozen=True)
class Named:
    """An object whose keys are names that the file chooses, its values of one kind."""

    kind: Kind

    @property
    def words(self) -> str:
        return f"object, each {self.kind.words}"

    def schema(self) -> dict[str, Any]:
        return {"type": "object", "additionalProperties": self.kind.schema()}

    def check(self, value: Any, where: str) -> None:
        if not isinstance(value, Mapping):
            raise MismatchError(where, shown(value), "an object")
        for name, item in value.items():
            self.kind.check(item, f"{where}.{name[:_SHOWN]}")


@final
@dataclass(frozen=True)
class Anything:
    """Whatever JSON holds."""

    words: str = "any JSON"

    def schema(self) -> dict[str, Any]:
        return {}

    def check(self, value: Any, where: str) -> None:
        """Nothing is refused."""


@final
@dataclass(frozen=True)
class Key:
    """A key of an object.

    Attributes:
        name: the key.
        kind: of its value.
        meaning: one sentence for the docs and the schema.
        unit: of a number.
        is_optional: it may be left out.
    """

    name: str
    kind: Kind
    meaning: str
    unit: str = ""
    is_optional: bool = False


@final
@dataclass(frozen=True)
class Record:
    """An object with these keys and no others."""

    keys: tuple[Key, ...]

    @property
    def words(self) -> str:
        return "object"

    def schema(self) -> dict[str, Any]:
        return {
            "type": "object",
            "properties": {key.name: key.kind.schema() | {"description": _described(key)} for key in self.keys},
            "required": [key.name for key in self.keys if not key.is_optional],
            "additionalProperties": False,
        }

    def check(self, value: Any, where: str) -> None:
        if not isinstance(value, Mapping):
            raise MismatchError(where or "the file", shown(value), "an object")
        at = f"{where}." if where else ""
        known = {key.name for key in self.keys}
        unknown = next((name for name in value if name not in known), None)
        if unknown is not None:
            raise MismatchError(f"{at}{unknown[:_SHOWN]}", "a key that is not known", "none of that name")
        for key in self.keys:
            if key.name in value:
                key.kind.check(value[key.name], f"{at}{key.name}")
            elif not key.is_optional:
                raise MismatchError(f"{at}{key.name}", "nothing", f"{key.kind.words.replace('`', '')}")


def _described(key: Key) -> str:
    return f"{key.meaning} Unit: {key.unit}." if key.unit else key.meaning


def maybe(kind: Kind) -> Either:
    """The kind, or null."""
    return Either((kind, Null()))


def records_in(kind: Kind) -> Sequence[Record]:
    """The objects that a value of this kind is, or holds, without those that they hold in turn."""
    if isinstance(kind, Record):
        return (kind,)
    if isinstance(kind, Either):
        return [record for each in kind.kinds for record in records_in(each)]
    return records_in(kind.kind) if isinstance(kind, ListOf | Named) else ()


def shown(value: Any) -> str:
    """A value as messages show it, shortened."""
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > LARGEST_WHOLE:
        return "a number that is too large"
    if isinstance(value, float) and not math.isfinite(value):
        return "no finite number"
    words = "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
    return words if len(words) <= _SHOWN else f"{words[:_SHOWN]}..."
