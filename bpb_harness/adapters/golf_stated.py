"""What stands in no tensor of a contest's file: settings that a user states by a preset, one by one, or both."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, final

from bpb_harness.errors import CheckpointError, UsageError

PRESET = "golf_preset"


@final
@dataclass(frozen=True)
class StatedSettings:
    """Which settings a family of networks has, and how their text is read.

    Attributes:
        family: what its files are, for messages.
        read: from text to value, by name; ValueError or KeyError where the text is none.
        presets: texts by the preset's name.
        contest: texts where neither a preset nor the user states any.
        expected: what a text must be, by name, for messages; a whole number where it is not listed.
    """

    family: str
    read: Mapping[str, Callable[[str], Any]]
    presets: Mapping[str, Mapping[str, str]]
    contest: Mapping[str, str] = field(default_factory=dict)
    expected: Mapping[str, str] = field(default_factory=dict)

    def texts(self, stated: Mapping[str, str]) -> dict[str, str]:
        """What is stated, by name; the user's own above the preset's.

        Raises:
            UsageError: for an unknown name or preset.
        """
        own = {key: value for key, value in stated.items() if key != PRESET}
        for key in own:
            if key not in self.read:
                raise UsageError("--golf-setting", seen=repr(key), expected=f"one of {', '.join(self.read)}")
        preset = stated.get(PRESET)
        if preset is not None and preset not in self.presets:
            raise UsageError("--golf-preset", seen=repr(preset), expected=f"one of {', '.join(self.presets)}")
        return {**self.contest, **({} if preset is None else self.presets[preset]), **own}

    def values(self, texts: Mapping[str, str], name: str) -> dict[str, Any]:
        """The value of every setting.

        Args:
            texts: by name.
            name: of the file, for messages.

        Raises:
            CheckpointError: naming what is not stated.
            UsageError: for a text that is no value of its setting.
        """
        missing = [key for key in self.read if key not in texts]
        if missing:
            newest, *others = sorted(self.presets, reverse=True)
            or_others = f" (or {', '.join(reversed(others))})" if others else ""
            raise CheckpointError(
                f"{name}: {self.family}, and no tensor says {', '.join(missing)}",
                hint=f"pass --golf-preset {newest}{or_others}, or --golf-setting NAME=VALUE for each",
            )
        return {key: self._value(key, texts[key]) for key in self.read}

    def _value(self, key: str, text: str) -> Any:
        try:
            return self.read[key](text)
        except (ValueError, KeyError):
            expected = self.expected.get(key, "a whole number")
            raise UsageError(f"--golf-setting {key}", seen=repr(text), expected=expected) from None


def source_of(stated: Mapping[str, str]) -> str:
    """The options that stated settings came from, in words."""
    preset = stated.get(PRESET)
    return f"--golf-preset {preset} and --golf-setting" if preset else "--golf-setting"


def whole_number(least: int, most: int) -> Callable[[str], int]:
    """A reader of whole numbers from ``least`` to ``most``."""

    def read(text: str) -> int:
        value = int(text)
        if not least <= value <= most:
            raise ValueError
        return value

    return read


def positive_number(text: str) -> float:
    """A number above 0, finite."""
    value = float(text)
    if not 0.0 < value < 1e9:
        raise ValueError
    return value


def switch(text: str) -> bool:
    """0 or 1."""
    return {"0": False, "1": True}[text]


def taken_for_granted(what: str) -> str:
    """What an adapter takes for granted because no tensor shows it, as a note beside the score."""
    return f"no tensor says, and the contest's are taken: {what}; a network that has others is scored as another one"
