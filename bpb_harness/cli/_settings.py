"""Options of a command that are settings of an evaluation: made from their flags, read back as settings."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from inspect import Parameter, signature
from typing import Annotated, Any, Literal, TypeVar, get_origin, get_type_hints

import typer

from bpb_harness.evaluation.settings import DEFAULTS, FLAGS, Settings

_HINTS = get_type_hints(Settings)
C = TypeVar("C", bound=Callable[..., Any])


def takes(
    *names: str,
    before: Mapping[str, str] | None = None,
    required: Collection[str] = (),
    defaults: bool = True,
    hidden: Collection[str] = (),
    **lines: str,
) -> Callable[[C], C]:
    """Give a command options in place of its ``**given``, by the names of settings.

    Args:
        names: which settings, in the order of ``--help``.
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
            name: _option(name, lines.get(name), name in required, defaults=defaults, hidden=name in hidden)
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


def as_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of what the options were given.

    Raises:
        UsageError: for a value that cannot be read.
    """
    return {name: value if (read := FLAGS[name].read) is None else read(value) for name, value in given.items()}


def _option(name: str, line: str | None, required: bool, *, defaults: bool, hidden: bool) -> Parameter:
    flag, default = FLAGS[name], DEFAULTS[name]
    kind = flag.kind or (str if get_origin(_HINTS[name]) is Literal else _HINTS[name])
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
