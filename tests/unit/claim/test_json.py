"""Broken JSON: read where one reading is possible, refused where not."""

from __future__ import annotations

import math

import pytest

from bpb_harness.claim.tolerant_json import parse_json
from bpb_harness.errors import ClaimError
from tests.bounded import require_an_end


@pytest.mark.parametrize(
    ("text", "value", "repair"),
    [
        ('{"a": 1}', {"a": 1}, None),
        ('\ufeff{"a": 1}', {"a": 1}, "byte-order mark"),
        ('{"a": 1}\n```\n', {"a": 1}, "after the object"),
        ('```json\n{"a": 1}\n```', {"a": 1}, "fence"),
        ('{"a": [1, 2,],}', {"a": [1, 2]}, "trailing comma"),
        ('{"a": 1 // why\n}', {"a": 1}, "comments"),
        ('{"a": 1 /* why */}', {"a": 1}, "comments"),
        ('{"a": None, "b": True}', {"a": None, "b": True}, "Python"),
        (
            '{"a": Infinity, "b": [-Infinity], "c": "-Infinity"}',
            {"a": math.inf, "b": [-math.inf], "c": "-Infinity"},
            "Python",
        ),
        ('{"url": "http://x/*y*/", "b": "None,}", }', {"url": "http://x/*y*/", "b": "None,}"}, "trailing comma"),
    ],
)
def test_one_reading(text: str, value: object, repair: str | None) -> None:
    parsed = parse_json(text, "f.json")
    assert parsed.value == value
    assert bool(parsed.repairs) == (repair is not None)
    if repair is not None:
        assert repair in " ".join(parsed.repairs)


@pytest.mark.parametrize("more", ["", ', "b": None', ",", ', "a": NaN'])
def test_nan_stays_what_it_is_and_is_told_once(more: str) -> None:
    parsed = parse_json(f'{{"a": NaN{more}}}', "f.json")
    assert math.isnan(parsed.value["a"])
    assert parsed.repairs[-1:] == ("Python literals (None, True, NaN)",)
    assert len(set(parsed.repairs)) == len(parsed.repairs)
    assert parsed.duplicate_keys == ()


@pytest.mark.parametrize(
    "text", ["", "{", '{"a": 1}{"a": 2}', '{"a": 1}, "b": 2', '{"a" 1}', '{"a": "x', "[" * 100_000, '{"a":' * 5000]
)
def test_no_reading_is_one_line(text: str) -> None:
    with pytest.raises(ClaimError) as caught:
        parse_json(text, "f.json")
    assert "f.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_key_twice_is_reported_only_if_the_values_differ() -> None:
    (twice,) = parse_json('{"a": 1.10, "a": 2}', "f").duplicate_keys
    assert (twice.key, twice.values, twice.taken) == ("a", ("1.10", "2"), "2")
    assert parse_json('{"a": 1, "a": 1}', "f").duplicate_keys == ()


@pytest.mark.parametrize(
    ("text", "values", "taken"),
    [
        ('{"a": 1.1, "a": 1.2, "a": 1.1}', ("1.1", "1.2"), "1.1"),
        ('{"a": null, "a": 1.2}', ("null", "1.2"), "1.2"),
        ('{"a": true, "a": 1}', ("true", "1"), "1"),
        ('{"a": {"b": 1}, "a": "x"}', ("an object", '"x"'), '"x"'),
        ('{"a": "' + "x" * 5000 + '", "a": [1]}', ('"' + "x" * 39, "a list"), "a list"),
    ],
)
def test_the_values_of_a_key_twice_are_named(text: str, values: tuple[str, ...], taken: str) -> None:
    (twice,) = parse_json(text, "f").duplicate_keys
    assert (twice.values, twice.taken) == (values, taken)


def test_hostile_repetition_comes_to_an_end() -> None:
    pieces = ["/*", '"\\', "//", '{"', ",", "[]", "```", '\\"', "{"]
    printed = require_an_end(
        "from bpb_harness.claim.tolerant_json import parse_json\n"
        "from bpb_harness.errors import ClaimError\n"
        f"for piece in {pieces!r}:\n"
        "    try:\n"
        "        parse_json('{' + piece * 50_000, 'f.json')\n"
        "    except ClaimError:\n"
        "        print('refused')\n",
        seconds=12,
    )
    assert printed.split() == ["refused"] * len(pieces)


def test_too_large() -> None:
    with pytest.raises(ClaimError, match="too large"):
        parse_json(" " * (5 << 20), "f.json")


def test_huge_integers_are_no_numbers() -> None:
    assert parse_json('{"a": ' + "9" * 5000 + "}", "f").value["a"] == float("inf")


@pytest.mark.parametrize(("digits", "kept"), [("9" * 20, int("9" * 20)), ("9" * 21, float("inf"))])
def test_the_longest_integer(digits: str, kept: float) -> None:
    assert parse_json(digits, "f").value == kept


@pytest.mark.parametrize(
    ("text", "value", "repairs"),
    [
        ('{"a": 1} ```', {"a": 1}, ("text after the object: '```'",)),
        ('{"a": 1} ' + "x" * 50, {"a": 1}, ("text after the object: '" + "x" * 20 + "'",)),
        ('\ufeff{"a": 1,}', {"a": 1}, ("a byte-order mark at the start", "a trailing comma")),
        ("```\n[1, None]\n```", [1, None], ("a code fence around the object", "Python literals (None, True, NaN)")),
        ('{"a": 1, // b\n"c": False,\n}', {"a": 1, "c": False},
         ("comments", "a trailing comma", "Python literals (None, True, NaN)")),
        ('{"a": 1 /*' + "x" * 500 + '*/}', {"a": 1}, ("comments",)),
        ('{"a": [1, /* b */ 2]}', {"a": [1, 2]}, ("comments",)),
        ('{"a": True,} x', {"a": True},
         ("a trailing comma", "Python literals (None, True, NaN)", "text after the object: 'x'")),
    ],
)  # fmt: skip
def test_every_repair_is_said(text: str, value: object, repairs: tuple[str, ...]) -> None:
    parsed = parse_json(text, "f")
    assert (parsed.value, parsed.repairs) == (value, repairs)


@pytest.mark.parametrize("text", ['{"a": 1 /*' + "x" * 501 + "*/}", '{"a": 1} [2]', '{"a": 1} "b"', '{"a": Nones}'])
def test_what_no_repair_mends(text: str) -> None:
    with pytest.raises(ClaimError) as caught:
        parse_json(text, "f.json")
    assert str(caught.value).startswith("f.json is not JSON: got ")
    assert str(caught.value).endswith("; repair the file and audit it again")


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_how_deep_it_may_be_nested(opening: str) -> None:
    closing = "]" if opening == "[" else "}"
    parse_json(opening * 64 + ("1" if closing == "}" else "") + closing * 64, "f")
    with pytest.raises(ClaimError, match="nested 65 deep, more than 64"):
        parse_json(opening * 65 + ("1" if closing == "}" else "") + closing * 65, "f")
    parse_json(f"[{', '.join([opening + ('1' if closing == '}' else '') + closing] * 80)}]", "f")
    parse_json('["' + opening.replace('"', "") * 80 + '"]', "f")


def test_floats_keep_their_digits_and_few_of_many_keys_that_stand_twice_are_named() -> None:
    assert parse_json("[1.10]", "f").value[0].text == "1.10"
    many = "{" + ", ".join(f'"k{i}": 1, "k{i}": 2' for i in range(50)) + "}"
    assert [twice.key for twice in parse_json(many, "f").duplicate_keys] == [f"k{i}" for i in range(20)]
    inner = parse_json('{"a": {"b": 1, "b": 2, "b": 2}, "c": 1, "c": 1}', "f").duplicate_keys
    assert [(twice.key, twice.values) for twice in inner] == [("b", ("1", "2"))]


def test_a_repair_forgets_what_stood_twice_before_it() -> None:
    assert len(parse_json('{"a": 1, "a": 2,}', "f").duplicate_keys) == 1
    assert len(parse_json('[{"a": 1, "a": 2},]', "f").duplicate_keys) == 1
