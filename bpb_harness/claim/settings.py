"""Settings that a README's commands give to what they start: ``STEPS=64 python evaluate.py``, or ``--steps 64`` of it.

A script that asks the environment, or its command line, for them does otherwise without: its default is not what ran.
"""

from __future__ import annotations

import re
import shlex
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Self

from bpb_harness.claim.sections import own_lines
from bpb_harness.claim.text_file import read_text
from bpb_harness.errors import ClaimError

_LARGEST_README = 1 << 18  # characters
_MAX_SETTINGS = 400
_FENCE = re.compile(r"^[ \t]{0,8}(?:```|~~~)[^\n]*$", re.MULTILINE)
# A name in capitals and its value, with no space between: Python's own assignments are no settings of a command.
_SETTING = re.compile(
    r"(?<![\w$.=-])(?P<name>[A-Z][A-Z0-9_]{1,59})=(?:\"(?P<double>[^\"\n]{0,200})\"|'(?P<single>[^'\n]{0,200})'"
    r"|(?P<plain>[^\s\"'`;&|<>()$]{1,200}))(?=[\s;&|\\`)]|$)"
)
_COMMENT = re.compile(r"(?:^|\s)#[^\n]*")
_END_OF_COMMAND = re.compile(r"[\n;|]|&&|&")
_CONTINUED = re.compile(r"\\\r?\n")
_FLAG = re.compile(r"--?[A-Za-z][A-Za-z0-9_-]{0,60}")
_SCRIPT = re.compile(r"(?<![\w./-])[\w./-]+\.py(?!\w)")  # from the start of a word: from every place it is quadratic
_MAX_WORDS = 400  # of one command
_LARGEST_COMMANDS = 1 << 16  # bytes of a shell script
_MAX_COMMANDS = 16  # shell scripts
# NAME="${NAME:-value}": what a shell script sets unless whoever starts it does.
_UNLESS_SET = re.compile(
    r"(?<![\w$.-])[A-Z][A-Z0-9_]{1,59}=\"?\$\{(?P<name>[A-Z][A-Z0-9_]{1,59}):?-(?P<value>[^{}$\s\"]{0,200})\}"
)
NO_VALUE = ""  # of a flag that stands alone


class Contested(str):
    """Values that several commands give one setting, in words: nothing says which of them made the score."""

    values: tuple[str, ...]

    def __new__(cls, *values: str) -> Self:
        made = super().__new__(cls, " or ".join(values))
        made.values = values
        return made


class Logged(str):
    """A value that the claim's own log prints, where commands of the README give another, or several.

    Attributes:
        place: where the log prints it.
        instead: what the commands give.
    """

    place: str
    instead: str

    def __new__(cls, value: str, *, place: str, instead: str) -> Self:
        made = super().__new__(cls, value)
        made.place, made.instead = place, instead
        return made

    def __getnewargs_ex__(self) -> tuple[tuple[str], dict[str, str]]:
        """For copies and pickles: reports, which hold such values, come from other processes."""
        return (str(self),), {"place": self.place, "instead": self.instead}


def settings_of(text: str) -> Mapping[str, str]:
    """What the commands of a README set in the environment; where they differ, `Contested`; none of other runs.

    What a trial sets, or a section or a comment about ablations, a baseline or changes, counts where nothing else
    starts its script, or, of a trial, where it starts none.

    Args:
        text: the README.
    """
    meant, tried = defaultdict[str, dict[str, None]](dict), defaultdict[str, dict[str, None]](dict)
    parts = [*_parts(text[:_LARGEST_README])]
    own = {script for block, of in parts if of == _OF_CLAIM for script in _scripts_in(block)}
    for block, of in parts:
        scripts = _scripts_in(block)
        if scripts <= own and ((of == _OF_ANOTHER and own) or (of == _OF_TRIAL and scripts)):
            continue
        found = meant if of == _OF_CLAIM else tried
        for match in _SETTING.finditer(_COMMENT.sub(" ", block)):
            found[match["name"]][_value_of(match)] = None
    known = {name: _one_of(values) for name, values in {**tried, **meant}.items() if not any("$" in v for v in values)}
    return dict(list(known.items())[:_MAX_SETTINGS])


_OF_CLAIM, _OF_TRIAL, _OF_ANOTHER = "claim", "trial", "another"


def _parts(text: str) -> Iterator[tuple[str, str]]:
    """The insides of fences, and of which run they are; of one with comments about another run, both parts."""
    prose_and_code, kept = _FENCE.split(text), _FENCE.split("\n".join(own_lines(text)))
    for said, block, own in zip(prose_and_code[0::2], prose_and_code[1::2], kept[1::2], strict=False):
        of_another = ["" if is_own else line for line, is_own in zip(block.split("\n"), own.split("\n"), strict=True)]
        is_trial = _is_trial(said, block)
        yield own, _OF_TRIAL if is_trial else _OF_CLAIM
        yield "\n".join(of_another), _OF_TRIAL if is_trial else _OF_ANOTHER


def settings_of_every_command(text: str) -> Mapping[str, tuple[str, ...]]:
    """What all commands of a README that set something and start a script set; and what blocks of settings alone do.

    Args:
        text: the README.

    Returns:
        By name the values, several where commands differ. What one command sets and another does not is left out.
    """
    started: list[dict[str, str]] = []
    alone: dict[str, dict[str, None]] = {}
    for block in _code_of(text[:_LARGEST_README]):
        commands = _END_OF_COMMAND.split(_COMMENT.sub("", _CONTINUED.sub(" ", block)))
        scripts = [_SCRIPT.search(command) for command in commands]
        sets = [  # of a command in front of its script
            {each["name"]: _value_of(each) for each in _SETTING.finditer(command[: script and script.start()])}
            for command, script in zip(commands, scripts, strict=True)
        ]
        starting = [given for given, script in zip(sets, scripts, strict=True) if script is not None]
        exported = [given for given, command in zip(sets, commands, strict=True) if command.lstrip()[:7] == "export "]
        of_all = {name: value for given in exported for name, value in given.items()}
        started += [{**of_all, **given} for given in starting if given or of_all]
        for name, value in (each for given in sets if not starting for each in given.items()):
            alone.setdefault(name, {})[value] = None
    always = [name for name in started[0] if all(name in given for given in started)] if started else []
    for name in always:
        alone.setdefault(name, {}).update(dict.fromkeys(given[name] for given in started))
    found = {name: tuple(values) for name, values in alone.items() if not any("$" in value for value in values)}
    return dict(list(found.items())[:_MAX_SETTINGS])


def settings_given_to(text: str, scripts: Collection[str]) -> Mapping[str, tuple[str, str]]:
    """What commands of a README set in the environment of some scripts: by name its words, and the script.

    Args:
        text: the README.
        scripts: names of the scripts; what is set for others, or read by the command itself, is left out.
    """
    found: dict[str, tuple[str, str]] = {}
    for block in _code_of(text[:_LARGEST_README]):
        for command in _END_OF_COMMAND.split(_COMMENT.sub("", _CONTINUED.sub(" ", block))):
            script = _SCRIPT.search(command)
            started = PurePosixPath(script[0]).name if script is not None else ""
            if script is None or started not in scripts or not _STARTS.search(command[: script.start()]):
                continue
            for each in _SETTING.finditer(command[: script.start()]):
                if re.search(rf"\$\{{?{each['name']}(?!\w)", text) is None:
                    found.setdefault(each["name"], (each[0], started))
    return dict(list(found.items())[:_MAX_SETTINGS])


_STARTS = re.compile(r"(?:python[0-9.]{0,5}|torchrun|accelerate|srun|uv run)(?:\s|$)")


def _value_of(setting: re.Match[str]) -> str:
    return next(part for part in setting.group("double", "single", "plain") if part is not None)


def _one_of(values: Iterable[str]) -> str:
    first, *others = values
    return Contested(first, *others) if others else first


def set_beside(scripts: Iterable[Path]) -> Mapping[str, frozenset[str]]:
    """What shell scripts beside some scripts set in the environment: of each setting all values.

    Nothing says which of them made the score. But a script that is started by them need not have had its own default.

    Args:
        scripts: the scripts; of the folders that hold them, links are not followed.
    """
    found: dict[str, set[str]] = defaultdict(set)
    folders = dict.fromkeys(script.parent for script in scripts)
    files = [file for folder in folders for file in sorted(folder.glob("*.sh"))]
    for file in files[:_MAX_COMMANDS]:
        try:
            text = read_text(file, file.name, _LARGEST_COMMANDS).text
        except ClaimError:
            continue  # a link, say: nothing is known of it
        commands = _COMMENT.sub(" ", text)
        for match in _SETTING.finditer(commands):
            value = _value_of(match)
            found[match["name"]].update([] if "$" in value else [value])
        for match in _UNLESS_SET.finditer(commands):
            found[match["name"]].add(match["value"])
    return {name: frozenset(values) for name, values in found.items() if values}


def is_of_a_trial(text: str, name: str) -> bool:
    """Whether a setting is that of a trial: by what is said in front of it, or as the same script is started without.

    Args:
        text: the README.
        name: of the setting.
    """
    prose_and_code = _FENCE.split(text[:_LARGEST_README])
    is_meant, given, without = False, set[str](), set[str]()
    for said, block in zip(prose_and_code[0::2], prose_and_code[1::2], strict=False):
        commands = _END_OF_COMMAND.split(_COMMENT.sub("", _CONTINUED.sub(" ", block)))
        sets = [any(each["name"] == name for each in _SETTING.finditer(command)) for command in commands]
        started = [{PurePosixPath(each[0]).name for each in _SCRIPT.finditer(command)} for command in commands]
        is_meant |= any(sets) and not _is_trial(said, block)
        of_all = any(is_set and not scripts for is_set, scripts in zip(sets, started, strict=True))
        for is_set, scripts in zip(sets, started, strict=True):
            (given if is_set or of_all else without).update(scripts)
    return not is_meant or not given.isdisjoint(without)


def _is_trial(said: str, block: str) -> bool:
    """Whether the commands of a fence are those of a trial, by their comments and by what is said in front of it."""
    return _TRIAL.search(" ".join([*said.split("\n")[-_LINES_BEFORE:], *_COMMENT.findall(block)])) is not None


def _scripts_in(block: str) -> set[str]:
    """The names of the scripts that the commands of a fence name."""
    return {PurePosixPath(each[0]).name for each in _SCRIPT.finditer(_COMMENT.sub("", block))}


_LINES_BEFORE = 4  # of a fence
# A run of less, or of something else than what is claimed.
_TRIAL = re.compile(
    r"\b(?:smoke|sanity|debug\w{0,6}|dry[- ]?run|toy|laptop|quick(?!\W?start)\w{0,2}"
    r"|optional(?:ly)?|override examples?|without re-?training)\b",
    re.IGNORECASE,
)


def _code_of(text: str) -> Iterator[str]:
    """The insides of fences; one that is never closed ends with the text."""
    inside = _FENCE.split(text)[1::2]
    yield from inside


def flags_of(text: str) -> Mapping[tuple[str, str], str]:
    """What the commands of a README give to scripts on their command lines, by script and flag: `NO_VALUE` or a value.

    A flag counts where every command that starts the script gives it; `Contested` where they give it otherwise.

    Args:
        text: the README.
    """
    commands: dict[str, list[dict[str, str | None]]] = {}
    for block in _code_of(text[:_LARGEST_README]):
        for command in _END_OF_COMMAND.split(_COMMENT.sub("", _CONTINUED.sub(" ", block))):
            started = _started(command)
            if started is not None:
                commands.setdefault(started[0], []).append(started[1])
    found = {
        (script, flag): _one_of(dict.fromkeys(value for other in given if (value := other[flag]) is not None))
        for script, given in commands.items()
        for flag in given[0]
        if all(other.get(flag) is not None for other in given)
    }
    return dict(list(found.items())[:_MAX_SETTINGS])


def _started(command: str) -> tuple[str, dict[str, str | None]] | None:
    """The script that a command starts and its flags; None for a value that the shell fills in, or that is given twice.

    No flags where the command cannot be read: then none is one that every command gives. What stands before the script
    is its launcher's.
    """
    try:
        words = shlex.split(command)[:_MAX_WORDS]
    except ValueError:  # a quotation that is not closed, or that an end of a command stands in: no flag is known
        script = _SCRIPT.search(command)
        return None if script is None else (PurePosixPath(script[0]).name, {})
    at = next((place for place, word in enumerate(words) if word.endswith(".py")), None)
    if at is None or any(word in ("rm", "cp", "mv", "cat", "vim", "git", "wget", "curl") for word in words[:1]):
        return None
    flags: dict[str, str | None] = {}
    rest = words[at + 1 :]
    for place, word in enumerate(rest):
        flag, equals, value = word.partition("=")
        if _FLAG.fullmatch(flag) is None:
            continue
        behind = rest[place + 1] if place + 1 < len(rest) else ""
        if not equals:
            is_value = bool(behind) and (not behind.startswith("-") or _NUMBER.fullmatch(behind) is not None)
            value = behind if is_value else NO_VALUE
        is_known = flag not in flags and "$" not in value and "..." not in value and "<" not in value
        flags[flag] = value if is_known else None
    return PurePosixPath(words[at]).name, flags


_NUMBER = re.compile(r"-[0-9.][0-9.eE+-]{0,30}")
