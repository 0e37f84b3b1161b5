"""Settings that a README states of its own run: in commands, in lists and tables of nothing else.

``TRAIN_SEQ_LEN=2048 python train.py``, ``- Layout: `NUM_LAYERS=10 MODEL_DIM=512` ``, ``| num_layers | 11 |``, and
``- 10 layers, 512 dim, 8 heads``. Sections and lists of something else (a baseline, ablations, changes, plans, a trial)
state nothing of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bpb_harness.claim.sections import OF_ANOTHER_OR_OPEN, own_lines
from bpb_harness.claim.settings import is_of_a_trial, settings_of_every_command
from bpb_harness.claim.settings_told import quantity

_LARGEST = 1 << 18  # characters
_NAME = r"[A-Z][A-Z0-9_]{2,59}"
_VALUE = r"[-+]?[0-9][0-9_,]{0,18}(?:\.[0-9]{1,18})?(?:[eE][-+]?[0-9]{1,3})?|[Tt]rue|[Ff]alse"
_SPAN = rf"`{_NAME}=(?:{_VALUE})(?: {{1,4}}{_NAME}=[^\s`]{{1,40}}){{0,30}}`"
_ITEM = re.compile(
    rf"\s{{0,8}}[-*+] (?P<label>[A-Za-z][A-Za-z /()-]{{0,40}}: ?)?"
    rf"(?P<spans>{_SPAN}(?:[,;.]? {{1,4}}{_SPAN}){{0,20}})[.,;]?\s{{0,4}}"
)
_ASSIGNED = re.compile(rf"(?<![\w$.=-])(?P<name>{_NAME})=(?P<value>{_VALUE})(?=[\s`,;]|$)")
_ROW = re.compile(
    rf"\s{{0,4}}\|\s{{0,20}}[`*]{{0,3}}(?P<name>[A-Za-z][A-Za-z0-9_]{{2,59}})[`*]{{0,3}}\s{{0,40}}\|"
    rf"\s{{0,20}}[`*]{{0,3}}(?P<value>{_VALUE})[`*]{{0,3}}\s{{0,40}}\|\s{{0,4}}"
)
_OF_SETTINGS = (
    r"(?:hyper-?)?(?:param(?:eter)?|setting|config(?:uration)?|option|variable|key|name|hparam"
    r"|env(?:ironment)?(?: var(?:iable)?)?)s?"
)
_HEAD = re.compile(
    rf"\s{{0,4}}\|\s{{0,20}}\**{_OF_SETTINGS}\**\s{{0,40}}\|\s{{0,20}}\**(?:value|setting|this run|ours)s?\**"
    r"\s{0,40}\|\s{0,4}",
    re.IGNORECASE,
)
# The network in words: layers and their width in one item.
_SHAPE = re.compile(
    r"\s{0,8}[-*+] \**(?P<layers>[1-9][0-9]?)[ -](?:transformer )?layers?\**, {0,2}(?:(?P<dim>[1-9][0-9]{1,3})[ -]?"
    r"(?:d|dim|dims|dimensions?|wide)\b|(?:dim|width|d_model|model_dim) ?=? ?(?P<width>[1-9][0-9]{1,3})\b)"
)


@dataclass(frozen=True)
class StatedSetting:
    """A setting that a README states of its run.

    Attributes:
        words: its words for it.
        values: what it may be by them: several where commands differ.
        line: the line.
    """

    words: str
    values: tuple[str, ...]
    line: int


def stated_settings(text: str) -> Mapping[str, StatedSetting]:
    """The settings that a README states of its own run, by name in small letters.

    Args:
        text: the README.
    """
    own = own_lines(text[:_LARGEST], OF_ANOTHER_OR_OPEN, with_words_before=True)
    found: dict[str, list[StatedSetting]] = {}
    for name, stated in (*_in_commands("\n".join(own), text), *_in_lists(own), *_in_tables(own)):
        found.setdefault(name, []).append(stated)
    return {name: _one_of(stated) for name, stated in found.items()}


def _one_of(stated: list[StatedSetting]) -> StatedSetting:
    values = tuple(dict.fromkeys(value for each in stated for value in each.values))
    return StatedSetting(stated[0].words, values, stated[0].line)


def _in_commands(own: str, text: str) -> Iterator[tuple[str, StatedSetting]]:
    """What commands of the run state; where other commands of the README do without, it may be another run's."""
    always = settings_of_every_command(text)
    for name, given in settings_of_every_command(own).items():
        values = tuple(dict.fromkeys((*given, *always.get(name, ()))))
        if name not in always or any(quantity(each) is None for each in values) or is_of_a_trial(text, name):
            continue
        place = re.search(rf"(?<![\w$.=-]){name}=", own)
        line = own.count("\n", 0, place.start()) + 1 if place is not None else 1
        yield name.lower(), StatedSetting(f"{name}={' or '.join(values)}", values, line)


def _in_lists(lines: list[str]) -> Iterator[tuple[str, StatedSetting]]:
    for number, line in enumerate(lines, 1):
        item = _ITEM.fullmatch(line)
        if item is not None and not (item["label"] and OF_ANOTHER_OR_OPEN.search(item["label"])):
            for found in _ASSIGNED.finditer(item["spans"]):
                yield found["name"].lower(), StatedSetting(found[0], (found["value"].replace(",", ""),), number)
        shape = _SHAPE.match(line)
        if shape is not None:
            words = shape[0].lstrip(" -*+\t").replace("*", "")
            yield "num_layers", StatedSetting(words, (shape["layers"],), number)
            yield "model_dim", StatedSetting(words, (shape["dim"] or shape["width"],), number)


def _in_tables(lines: list[str]) -> Iterator[tuple[str, StatedSetting]]:
    is_of_settings = False
    for number, line in enumerate(lines, 1):
        is_of_settings = _HEAD.fullmatch(line) is not None or (is_of_settings and line.lstrip().startswith("|"))
        row = _ROW.fullmatch(line) if is_of_settings else None
        if row is not None:
            words = f"{row['name']} {row['value']}"
            yield row["name"].lower(), StatedSetting(words, (row["value"].replace(",", ""),), number)
