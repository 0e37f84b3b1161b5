"""Settings that a log tells of its run: ``train_batch_tokens:786432 train_seq_len:2048``.

Told are those of lines of names and values alone, with a word in front of them at most: beside other words, a name and
a number need be no setting (``lzma: 15761428 bytes``).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from bpb_harness.claim.printed import Source

_LONGEST_LINE, _MOST_WORDS = 4000, 200
_IN_FRONT = re.compile(r"\s{0,40}(?:\[[^\]\n]{0,40}\]:?\s{0,4}|export |config\w{0,10}: )?")
_JOINED = re.compile(
    r"(?<=[A-Za-z0-9_\"'])\s?([:=])\s(?=[^\s=:]{1,80}(?:\s|$))"
)  # "name: value", but no "label: name=value"
_PAIR = re.compile(
    r"[{(\"']{0,2}(?P<name>[A-Za-z][A-Za-z0-9_]{0,60})[\"']?[:=](?P<value>[^\s:=]{1,120}?)[,;})\"']{0,3}"
)
_LABELLED = re.compile(r"[A-Za-z][\w.-]{0,40}:(?=[A-Za-z]\w{0,60}=)")
_LABEL = re.compile(r"[A-Za-z][\w.-]{0,40}:?")
_NUMBER = re.compile(r"[-+]?[0-9][0-9_]{0,18}(?:\.[0-9]{0,18})?(?:[eE][-+]?[0-9]{1,3})?|[-+]?\.[0-9]{1,18}")
_SWITCH = {"true": 1.0, "false": 0.0}
_WORD = re.compile(r"[A-Za-z]\w{0,40}")
# What a script in a log calls its network by, in one line of short names.
_SHORT = {
    "layers": "num_layers", "dim": "model_dim", "heads": "num_heads", "kv_heads": "num_kv_heads",
    "seq_len": "train_seq_len",
}  # fmt: skip


@dataclass(frozen=True)
class SettingTold:
    """A setting that a log tells.

    Attributes:
        words: the log's words for it: ``train_seq_len:2048``.
        value: its value, as it is printed.
        source: where it stands.
    """

    words: str
    value: str
    source: Source


def quantity(value: str) -> float | None:
    """What a setting's value stands for: a number, or 1 and 0 for what is on and off; None for other words."""
    if value.lower() in _SWITCH:
        return _SWITCH[value.lower()]
    return float(value.replace("_", "")) if _NUMBER.fullmatch(value) else None


def is_same_setting(one: str, other: str) -> bool:
    """Whether two values are one: as numbers, where both are some, or else as words."""
    numbers = quantity(one), quantity(other)
    return one.lower() == other.lower() if None in numbers else numbers[0] == numbers[1]


def may_differ(one: str, other: str) -> bool:
    """Whether two values are of one kind, numbers or plain words, so that they can be held against each other."""
    numbers = quantity(one), quantity(other)
    if None in numbers:
        return numbers == (None, None) and all(_WORD.fullmatch(value) for value in (one, other))
    return True


def settings_told(
    lines: Iterable[tuple[int, str]], file: str, names: Collection[str]
) -> Mapping[str, tuple[SettingTold, ...]]:
    """All values that lines of a log give some settings.

    Args:
        lines: lines of its output, with their numbers.
        file: its name.
        names: of the settings, in small letters; others are passed over.

    Returns:
        By name; of several lines with one value the first.
    """
    found: dict[str, list[SettingTold]] = {}
    for number, line in lines:
        for name, words, value in _pairs(line):
            if name not in names:
                continue
            held = found.setdefault(name, [])
            if not any(is_same_setting(value, other.value) for other in held):
                held.append(SettingTold(words, value, Source(file, number)))
    return {name: tuple(told) for name, told in found.items()}


def settings_under_labels(
    lines: Iterable[tuple[int, str]], file: str, names: Collection[str]
) -> Mapping[str, tuple[SettingTold, ...]]:
    """All values that lines give some settings under a label that the settings' names begin with: ``moe_eval:dim=8``.

    What is told of a part too, ``quant_embed:bits=8``, is left out.

    Args:
        lines: lines of its output, with their numbers.
        file: its name.
        names: of the settings, in small letters: ``moe_dim``.
    """
    found: dict[str, list[SettingTold]] = {}
    of_parts: set[str] = set()
    first = {name.partition("_")[0] for name in names}
    for number, line in lines:
        label = _OF_A_LABEL.match(line)
        if label is not None and label[1] in first and len(line) <= _LONGEST_LABELLED:
            for name, words, value in _pairs(line):
                if (whole := f"{label[1]}_{name}") in names:
                    found.setdefault(whole, []).append(SettingTold(words, value, Source(file, number)))
                    is_of_all = label["more"] is None or label["more"] in _OF_ALL
                    of_parts.update([] if is_of_all and _OF_A_PART.match(line) is None else [whole])
    return {name: tuple(told) for name, told in found.items() if name not in of_parts}


_LONGEST_LABELLED = 400
_OF_A_LABEL = re.compile(r"([a-z][a-z0-9]{1,20})(?P<more>_[a-z0-9_]{1,30})?:")
_OF_A_PART = re.compile(r"[a-z0-9_]{2,60}:\s?[a-z]\w{1,30}(?:\s|\Z)")  # "quant:embed bits=8"
_OF_ALL = frozenset(
    ("_eval", "_start", "_init", "_config", "_cfg", "_setup", "_settings", "_params", "_hparams", "_args", "_enabled")
)


def _pairs(line: str) -> Iterator[tuple[str, str, str]]:
    """The names of a line of settings in small letters, with its words for each, and the values; else nothing."""
    if len(line) > _LONGEST_LINE or "loss" in line or "bpb" in line or (":" not in line and "=" not in line):
        return
    line = line[_IN_FRONT.match(line).end() :]  # type: ignore[union-attr]  # it matches nothing, too
    words = _JOINED.sub(r"\1", line).split()[:_MOST_WORDS]
    known: list[re.Match[str]] = []
    for number, word in enumerate(words):
        pair = _PAIR.fullmatch(_LABELLED.sub("", word))
        if pair is not None:
            known.append(pair)
        elif number or not _LABEL.fullmatch(word):
            return
    short = _SHORT if {"layers", "dim"} <= {pair["name"].lower() for pair in known} else {}
    for pair in known:
        name = pair["name"].lower()
        yield short.get(name, name), pair[0].strip("\"'{}(),;"), pair["value"].strip("\"'")
