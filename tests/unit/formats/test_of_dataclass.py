"""Formats that are dataclasses: their keys, kinds and meanings are the fields'."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal

import pytest

from bpb_harness.formats.kinds import MismatchError
from bpb_harness.formats.of_dataclass import record_of


@dataclass(frozen=True)
class Inner:
    """Something.

    Attributes:
        value: a number; None where there is none.
    """

    value: float | None


@dataclass(frozen=True)
class Outer:
    """Several things.

    Attributes:
        name, title: what it is called
            by :class:`bpb_harness.result.Signature` and ``str``.
        ends: low and high.
        parts: of it.
        kind: which.
        by_name: counts.
        listed: flags.
    """

    name: str
    title: str | None
    ends: tuple[float, float] | None
    parts: tuple[Inner, ...]
    kind: Literal["a", "b"]
    by_name: Mapping[str, int]
    listed: list[bool]


OUTER = record_of(Outer, "bpb-x/1")
PLAIN = {"format": "bpb-x/1", "name": "n", "title": None, "ends": [0, 1.5], "parts": [{"value": None}], "kind": "b"} | {
    "by_name": {"c": 3}, "listed": [True],
}  # fmt: skip


def test_keys_kinds_and_meanings_are_those_of_the_fields():
    assert [key.name for key in OUTER.keys] == ["format", *asdict(Outer("", None, None, (), "a", {}, []))]
    words = {key.name: key.kind.words for key in OUTER.keys}
    assert words["ends"] == "list of 2 times number or null"
    assert words["kind"] == "`a` or `b`"
    assert OUTER.keys[1].meaning == OUTER.keys[2].meaning == "What it is called by `Signature` and `str`."
    assert record_of(Inner).keys[0].meaning == "A number; null where there is none."


def test_what_it_writes_is_of_it():
    OUTER.check(PLAIN, "")


@pytest.mark.parametrize(
    "change",
    [
        {"format": "bpb-x/2"}, {"name": None}, {"title": 1}, {"ends": [1]}, {"ends": [1, 2, 3]}, {"parts": [{}]},
        {"parts": [{"value": "1"}]}, {"kind": "c"}, {"by_name": {"c": 1.0}}, {"by_name": []}, {"listed": [1]},
        {"more": 1},
    ],
)  # fmt: skip
def test_what_it_does_not_write_is_not(change):
    with pytest.raises(MismatchError):
        OUTER.check(PLAIN | change, "")
