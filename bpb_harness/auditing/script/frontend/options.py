"""Options of a script's command line that are known to have been given, in the place of their own defaults."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePath

from bpb_harness.auditing.script.frontend.scopes import last_name
from bpb_harness.claim.settings import NO_VALUE, Contested

_CONVERTING: Mapping[str, Callable[[str], object]] = {
    "int": int, "float": float, "str": str, "bool": bool, "Path": str, "PosixPath": str,
}  # fmt: skip


@dataclass(frozen=True)
class GivenOption:
    """An option that was given.

    Attributes:
        flag: as the command has it.
        text: what stands behind it.
        call: the ``add_argument`` that takes it.
        value: what the script makes of it; None where that is not known, and then its default is none either.
        is_default: whether its own default is the same.
    """

    flag: str
    text: str
    call: ast.Call
    value: ast.Constant | None
    is_default: bool


def given_options(
    calls: Iterable[tuple[ast.Call, str]], flags: Mapping[tuple[str, str], str]
) -> dict[str, GivenOption]:
    """By the names under which the script keeps them: args.num_steps of ``--num-steps``.

    Args:
        calls: of ``add_argument``, each with the path of its file.
        flags: by the script's name and the flag, what stands behind it on the command line.
    """
    by_name: dict[str, list[GivenOption | None]] = {}
    for call, path in calls if flags else ():
        names = [arg.value for arg in call.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
        long = next((name for name in names if name.startswith("--")), None)
        if long is None:
            continue
        keywords = {keyword.arg: keyword.value for keyword in call.keywords}
        dest = keywords.get("dest")
        kept = str(dest.value) if isinstance(dest, ast.Constant) else long.lstrip("-").replace("-", "_")
        switches = {f"--no-{name[2:]}": False for name in names} if _is_switch(keywords) else {}
        script = PurePath(path).name
        flag = next((flag for flag in (*names, *switches) if (script, flag) in flags), None)
        option = None if flag is None else _given(call, keywords, flag, flags[script, flag], switches.get(flag))
        by_name.setdefault(kept, []).append(option)
    # Two scripts that have the option share its name: it is known where both were given it alike.
    one_of = {name: options[0] for name, options in by_name.items() if _is_one([*options])}
    return {name: option for name, option in one_of.items() if option is not None}


def _is_one(options: list[GivenOption | None]) -> bool:
    return len({None if each is None or each.value is None else repr(each.value.value) for each in options}) == 1


def _is_switch(keywords: Mapping[str | None, ast.expr]) -> bool:
    return last_name(keywords.get("action", ast.Constant(""))) == "BooleanOptionalAction"


def _given(
    call: ast.Call, keywords: Mapping[str | None, ast.expr], flag: str, text: str, off: bool | None
) -> GivenOption:
    try:
        held = None if isinstance(text, Contested) else _converted(keywords, text) if off is None else off
    except ValueError:
        held = None  # argparse would refuse it
    value = None if held is None else ast.copy_location(ast.Constant(held), call)  # type: ignore[arg-type]
    default = keywords.get("default")
    is_default = isinstance(default, ast.Constant) and held is not None and default.value == held
    return GivenOption(flag, text, call, value, is_default)


def _converted(keywords: Mapping[str | None, ast.expr], text: str) -> object:
    """What argparse makes of it; None where a function of the script's own does, or it takes several values."""
    action = keywords.get("action")
    if isinstance(action, ast.Constant) and action.value in ("store_true", "store_false"):
        return action.value == "store_true" if text == NO_VALUE else None
    if _is_switch(keywords):
        return True if text == NO_VALUE else None
    if action is not None or "nargs" in keywords or text == NO_VALUE:
        return None
    convert = _CONVERTING.get(last_name(keywords["type"])) if "type" in keywords else str
    return None if convert is None else convert(text)
