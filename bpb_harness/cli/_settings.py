"""Options of a command that are settings of an evaluation: made from their flags, read back as settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cache
from inspect import Parameter, signature
from typing import Annotated, Any, Literal, TypeVar, get_origin, get_type_hints

import typer

from bpb_harness.evaluation.flags import flags_of
from bpb_harness.evaluation.settings import Settings

C = TypeVar("C", bound=Callable[..., Any])


def takes(
    *names: str,
    of: type = Settings,
    before: Mapping[str, str] | None = None,
    required: Collection[str] = (),
    defaults: bool = True,
    hidden: Collection[str] = (),
    **lines: str,
) -> Callable[[C], C]:
    """Give a command options in place of its ``**given``, by the names of settings.

    Args:
        names: which settings, in the order of ``--help``.
        of: the class of the settings, whose fields carry flags.
        before: parameters of the command's own that stand before one of these.
        required: those that must be given.
        defaults: one that is not given has the setting's default; else it is None, and its line tells the default.
        hidden: those that ``--help`` does not offer: they are refused by name, with what to do instead.
        lines: those of ``--help`` that are other than the setting's.
    """

    def give(command: C) -> C:
        own = signature(command, eval_str=True)
        placed = dict(before or {})
        options = {
            name: _option(of, name, lines.get(name), name in required, defaults=defaults, hidden=name in hidden)
            for name in names
        }
        mine = [each for each in own.parameters.values() if each.kind is not Parameter.VAR_KEYWORD]
        arguments = [each for each in mine if each.default is Parameter.empty]
        ordered = [*arguments]
        for name, option in options.items():
            ordered += [*(each for each in mine if placed.get(each.name) == name), option]
        ordered += [each for each in mine if each not in arguments and each.name not in placed]
        parameters = [each.replace(kind=Parameter.KEYWORD_ONLY) for each in ordered]
        command.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
        return command

    return give


def as_settings(given: Mapping[str, Any], of: type = Settings) -> dict[str, Any]:
    """Settings of what the options were given.

    Raises:
        UsageError: for a value that cannot be read.
    """
    flags = flags_of(of)
    return {name: value if (read := flags[name].read) is None else read(value) for name, value in given.items()}


def explicit(context: typer.Context, names: Iterable[str]) -> list[str]:
    """Which of these options the command line gives, and not their defaults."""
    return [name for name in names if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"]


@cache
def _fields(of: type) -> dict[str, tuple[Any, Any]]:
    """The type and the default of each setting."""
    hints = get_type_hints(of)
    return {field.name: (hints[field.name], field.default) for field in dataclasses.fields(of)}


def _option(of: type, name: str, line: str | None, required: bool, *, defaults: bool, hidden: bool) -> Parameter:
    flag, (hint, default) = flags_of(of)[name], _fields(of)[name]
    required = required or default is dataclasses.MISSING
    kind = flag.kind or (str if get_origin(hint) is Literal else hint)
    said = line or flag.help
    if not defaults or flag.read is not None:
        if line is None and isinstance(default, str):
            said = said.replace(default, f"{default} (if not given)", 1)
        default = False if kind is bool else None
    option = typer.Option(flag.option, help=said, hidden=hidden)
    taken: Any = kind if required or default is not None else kind | None
    return Parameter(
        name,
        Parameter.KEYWORD_ONLY,
        default=Parameter.empty if required else default,
        annotation=Annotated[taken, option],
    )
