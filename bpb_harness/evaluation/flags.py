"""What is known of a setting beside its type and its default, said once, at its field.

The command's option, the refusal of a wrong value, the text of ``help(bpb_harness.evaluate)`` and the row of
docs/settings.md are made of it. Nothing here imports torch.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from inspect import Parameter, cleandoc, signature
from numbers import Integral, Real
from os import PathLike
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, cast, final, get_args, get_type_hints

from bpb_harness.errors import UsageError
from bpb_harness.evaluation.methods import METHODS, Method, either

AnyPath = str | PathLike[str]
if TYPE_CHECKING:
    from bpb_harness.denoiser import CausalLM, Denoiser

    Scorable = AnyPath | Denoiser | CausalLM
P = ParamSpec("P")
R = TypeVar("R")
_KEY, _NONE = "flag", type(None)


@final
@dataclass(frozen=True)
class Flag:
    """What a setting is called, takes and means.

    Attributes:
        help: its line in ``--help``.
        option: as a command declares it; empty: the field's name.
        note: what the line leaves out.
        key: of the entry in the signature that it settles or is part of; empty: none.
        one_of: words that it takes; None among them where it may be left out.
        least: the least number that it takes.
        most: the largest number that it takes.
        of: the methods that it belongs to; None: all.
        kind: type of the command's value, where it is not the field's.
        read: makes the field's value of the command's, where that is another one.
    """

    help: str
    option: str = ""
    note: str = ""
    key: str = ""
    one_of: tuple[str | None, ...] = ()
    least: int | None = None
    most: int | None = None
    of: Callable[[Method], object] | None = None
    kind: Any = None
    read: Callable[[Any], Any] | None = None

    @property
    def name(self) -> str:
        """What messages call it: ``--steps``."""
        return self.option.partition("/")[0]

    @cached_property
    def methods(self) -> tuple[str, ...]:
        """The methods that it belongs to; none where it belongs to all."""
        return () if self.of is None else tuple(row.name for row in METHODS.values() if self.of(row))

    def require(self, value: object) -> None:
        """Refuse what is none of its words, and a number too small, or so large that a run would never end."""
        if self.least is None:
            if self.one_of and value not in self.one_of:
                raise UsageError(
                    self.name, seen=repr(value), expected=" or ".join(word for word in self.one_of if word)
                )
        elif value is not None and value not in self.one_of:
            if not (isinstance(value, int) and not isinstance(value, bool) and value >= self.least):
                raise UsageError(self.name, seen=repr(value), expected=f"a whole number, {self.least} or more")
            if self.most is not None and value > self.most:
                raise UsageError(self.name, seen=f"{value:,}", expected=f"at most {self.most:,}")

    def require_method(self, method: str) -> None:
        """Refuse a method that it does not belong to."""
        if self.of is not None and method not in self.methods:
            raise UsageError(self.name, seen=f"--method {method}", expected=f"--method {either(self.methods)}")


def flagged(default: Any, help: str, **more: Any) -> Any:
    """A field of settings that carries its flag."""
    return dataclasses.field(default=default, metadata={_KEY: Flag(help, **more)})


INNER = "inner"  # of a field that no caller gives, in its metadata


@cache
def flags_of(settings: type) -> Mapping[str, Flag]:
    """The flag of each field that has one, in the order of ``--help``."""
    return {
        field.name: dataclasses.replace(flag, option=flag.option or f"--{field.name.replace('_', '-')}")
        for field in dataclasses.fields(settings)
        if (flag := field.metadata.get(_KEY)) is not None
    }


def make_plain(settings: object) -> None:
    """Numbers of numpy become Python's own, and what gives its values one by one, once, becomes a list of them.

    ``Path.glob`` is such: looked at a second time it is empty, and other files would be scored in its place.
    """
    kind: type = type(settings)
    for name in flags_of(kind):
        value = getattr(settings, name)
        if value is None or isinstance(value, bool | str):
            continue
        plain = value
        if isinstance(value, Integral):
            plain = int(value)
        elif isinstance(value, Real):
            plain = float(value)
        elif isinstance(value, Iterator):
            plain = list(value)
        if plain is not value:
            object.__setattr__(settings, name, plain)  # of a frozen class, while one is made


def require_values(settings: object) -> None:
    """Refuse what a field does not take: by its flag, and True or False where its type is another, or the reverse.

    Python takes True for 1 and "no" for true.

    Raises:
        UsageError: naming the option.
    """
    kind: type = type(settings)
    kinds = _kinds_of(kind)
    for name, flag in flags_of(kind).items():
        value = getattr(settings, name)
        flag.require(value)
        if kinds[name] == {bool} and not isinstance(value, bool):
            raise UsageError(flag.name, seen=repr(value), expected="True or False")
        if isinstance(value, bool) and bool not in kinds[name]:
            raise UsageError(flag.name, seen=value, expected="a number" if kinds[name] & {int, float} else "text")
        if kinds[name] <= {float, _NONE} and not isinstance(value, int | float | None):
            raise UsageError(flag.name, seen=repr(value), expected="a number")
        if kinds[name] <= {str, _NONE} and not isinstance(value, str | None):
            raise UsageError(flag.name, seen=type(value).__name__, expected="text")


@cache
def _kinds_of(settings: type) -> Mapping[str, frozenset[Any]]:
    """The types of each field, one by one."""
    return {name: frozenset(get_args(hint) or [hint]) for name, hint in get_type_hints(settings).items()}


def require_known(given: Iterable[str], settings: type) -> None:
    """Refuse keywords that no field has, with the nearest that there is.

    Raises:
        TypeError: as a call with a keyword that its function does not take.
    """
    flags = flags_of(settings)
    by_key = {
        flag.key: name for name, flag in reversed(list(flags.items()))
    }  # of several, the first has the key's own name
    by_option = {flag.name.lstrip("-").replace("-", "_"): name for name, flag in flags.items()}
    names = {field.name: field.name for field in dataclasses.fields(settings)}
    meant = by_key | by_option | names
    for unknown in given:
        if unknown in names:
            continue
        close = difflib.get_close_matches(unknown, meant, 1)
        nearest = f"did you mean {meant[close[0]]!r}?" if close else "docs/settings.md lists what there is"
        raise TypeError(f"evaluate() got an unexpected keyword argument {unknown!r}; {nearest}")


def shows(settings: Callable[P, Any]) -> Callable[[Callable[..., R]], Callable[Concatenate[Scorable, P], R]]:
    """Show the fields of settings as the keywords of a function that passes them on: to readers, ``help`` and editors.

    Args:
        settings: the class of the settings.

    Returns:
        What takes the function, of what is scored and any keywords, and gives it back.
    """
    kind = cast(type, settings)
    hints, flags = get_type_hints(kind), flags_of(kind)
    keywords = [
        Parameter(field.name, Parameter.KEYWORD_ONLY, default=field.default, annotation=hints[field.name])
        for field in dataclasses.fields(kind)
        if not field.metadata.get(INNER)
    ]
    lines = [f"    {name}: {flag.help}{f' {flag.note}' if flag.note else ''}" for name, flag in flags.items()]

    def show(function: Callable[..., R]) -> Callable[Concatenate[Scorable, P], R]:
        taken: Any = function
        own = signature(function)
        taken.__signature__ = own.replace(parameters=[*list(own.parameters.values())[:1], *keywords])
        taken.__doc__ = "\n".join([cleandoc(function.__doc__ or ""), "", "Settings:", *lines])
        return cast("Callable[Concatenate[Scorable, P], R]", taken)

    return show
