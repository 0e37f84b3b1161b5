"""The registry of codes, and the data beside it."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path

import pytest

from bpb_harness.byte_report.byte_bugs import BYTE_BUGS, PUBLISHED_CONSTANTS
from bpb_harness.errors import InputError
from bpb_harness.findings import CODES, Severity, listed, register
from bpb_harness.rules import Rules
from bpb_harness.rules.denominators import TABLE_VARIABLE, own_rows
from tests.golf_rules import GOLF


def test_codes_are_well_formed_and_unique() -> None:
    assert all(re.fullmatch(r"BPB[1-69][0-9]{2}", code) for code in CODES)
    assert len({rule.name for rule in CODES.values()}) == len(CODES)
    assert all(rule.summary and rule.code == code for code, rule in CODES.items())


def test_a_code_is_taken_once() -> None:
    with pytest.raises(AssertionError):
        register("BPB101", "another-name", Severity.INFORMS, "again")


def test_a_finding_is_json() -> None:
    finding = CODES["BPB102"].finding("words", factor=1.17, facts={"a": [1, None]}, file="x")
    assert json.loads(json.dumps(finding.to_dict())) == {
        "code": "BPB102",
        "severity": "error",
        "message": "words",
        "evidence": {"a": [1, None], "file": "x"},
        "factor": 1.17,
    }


def test_the_factors_are_those_of_the_catalogue_of_byte_bugs() -> None:
    for row in GOLF.pack.byte_factors:
        effect = BYTE_BUGS[row.name].effect
        published = [float(number) for number in re.findall(r"[0-9]+\.[0-9]+", effect)]
        assert row.lowest <= published[0] <= published[-1] <= row.highest
        assert row.is_point == (len(published) == 1 and row.name != "sentinels_as_text")
    assert GOLF.pack.constants == PUBLISHED_CONSTANTS


def test_the_factors_of_spaces_hang_together() -> None:
    # One count a space is missing, right, one too many, two too many: the same number of spaces each time.
    factors = {row.name: row.lowest for row in GOLF.pack.byte_factors}
    spaces = factors["space_counted_twice"] - 1.0
    assert factors["space_never_counted"] == pytest.approx(1.0 - spaces, abs=1e-5)
    assert factors["question_mark_for_space"] == pytest.approx(1.0 + 2.0 * spaces, abs=1e-5)


def test_the_table_of_own_rows() -> None:
    sp1024 = GOLF.table.full_split("sp1024")
    assert sp1024 is not None
    assert sp1024.bytes_per_token == pytest.approx(2.435930, abs=1e-6)
    assert {row.num_bytes for row in GOLF.table.rows if row.scope == "full"} == {151080891}
    assert GOLF.table.tokenizer_of_split(62021632) == "sp1024"
    assert GOLF.table.tokenizer_of_split(63779840) == "sp1024"
    assert GOLF.table.tokenizer_of_split(40540160) == "sp8192"
    assert GOLF.table.tokenizer_of_split(62021632 // 2) is None


def test_rows_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "own.csv"
    header = "dataset,tokenizer,scope,num_tokens,num_bytes,bytes_per_token,note\n"
    table.write_text(header + "own_val,sp2048,full,1000,2870,,mine\n")
    monkeypatch.setenv(TABLE_VARIABLE, str(table))
    table = Rules.of(GOLF.pack).table
    row = table.full_split("sp2048")
    assert row is not None
    assert row.bytes_per_token == 2.87
    assert table.full_split("sp1024") is not None


_NUMBERS = "expected whole numbers and a ratio"
_SCOPES = "expected positive numbers and a scope of ('full', 'tail-dropped', 'older-export', 'prefix')"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("d,t,full,x,1,1,", f"got invalid literal for int() with base 10: 'x', {_NUMBERS}"),
        ("d,t,full,1,1.5,1,", f"got invalid literal for int() with base 10: '1.5', {_NUMBERS}"),
        ("d,t,full,10,30,x,", f"got could not convert string to float: 'x', {_NUMBERS}"),
        ("d,t,full,10,,,", f"got could not convert string to float: '', {_NUMBERS}"),
        ("d", "whole numbers and a ratio"),
        ("d,t,full,0,1,1,", "got {'dataset': 'd', 'tokenizer': 't', 'scope': 'full', 'num_tokens': '0',"),
        ("d,t,some,1,1,1,", "got {'dataset': 'd', 'tokenizer': 't', 'scope': 'some', 'num_tokens': '1',"),
        ("d,t,some,1,1,1,", _SCOPES),
        *((f"d,t,full,10,,{ratio},", _SCOPES) for ratio in ("nan", "inf", "0", "-1")),
        ("d,t,full,1,1" + 400 * "0" + ",,", f"got integer division result too large for a float, {_NUMBERS}"),
        ("d,t,full,10,0,2.5,", _SCOPES),  # no text has no bytes
        ("d,t,full,10,30,,a note, with a comma", _SCOPES),
        ("d,t,full,10,30,4.0,", "got 4.0 bytes per token, expected 3.000000, bytes over tokens"),
        ("d,t,full,10,30,3.0031,", "got 3.0031 bytes per token, expected 3.000000, bytes over tokens"),
    ],
)
def test_a_wrong_row_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, row: str, said: str) -> None:
    table = tmp_path / "own.csv"
    table.write_text("dataset,tokenizer,scope,num_tokens,num_bytes,bytes_per_token,note\nd,t,full,2,4,,\n" + row + "\n")
    monkeypatch.setenv(TABLE_VARIABLE, str(table))
    with pytest.raises(InputError) as caught:
        own_rows()
    assert str(caught.value).startswith(f"{table}:3: got ")
    assert said in str(caught.value)
    assert str(caught.value).endswith("; mend it, or unset BPB_DENOMINATORS, which names it")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("row", "ratio"),
    [("d,t,full,10,30,3.0029,", 3.0), ("d,t,prefix,10,,2.5,", 2.5), ("d,t,older-export,10,30,,", 3.0)],
)
def test_a_right_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, row: str, ratio: float) -> None:
    table = tmp_path / "own.csv"
    table.write_text("\ufeffdataset,tokenizer,scope,num_tokens,num_bytes,bytes_per_token,note\n" + row + "\n")
    monkeypatch.setenv(TABLE_VARIABLE, str(table))
    assert own_rows()[0].bytes_per_token == ratio


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"a,b\n", "columns: got a,b, expected dataset,"),
        (b"\xff", "UnicodeDecode"),
        (b"dataset," + 200_000 * b"x", "got field larger than field limit"),
    ],
)
def test_no_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: bytes, said: str) -> None:
    (tmp_path / "own.csv").write_bytes(text)
    monkeypatch.setenv(TABLE_VARIABLE, str(tmp_path / "own.csv"))
    with pytest.raises(InputError, match=said):
        own_rows()
    monkeypatch.setenv(TABLE_VARIABLE, str(tmp_path / "gone.csv"))
    with pytest.raises(InputError) as caught:
        own_rows()
    table = tmp_path / "gone.csv"
    assert str(caught.value) == (
        f"table of denominators {table}: got No such file or directory, expected a CSV file; mend it, or unset "
        "BPB_DENOMINATORS, which names it"
    )


def test_the_pages_list_every_code_as_the_program_that_writes_them_does(repository: Path) -> None:
    names = runpy.run_path(str(repository / "docs" / "codes_table.py"))
    listed = names["pages"]()
    assert [len(rules) >= least for rules, least in zip(listed.values(), (111, 38, 12), strict=True)] == [True] * 3
    assert {rule.code for rules in listed.values() for rule in rules} == set(CODES)
    for page, rules in listed.items():
        text = page.read_text("utf-8")
        assert all(f"| {rule.code} | {rule.name} | {rule.severity.value} |" in text for rule in rules), page.name
        assert names["written"](text, rules) == text, f"make tables writes {page.name} again"
    page = names["SCORES"].read_text("utf-8")
    assert names["of_scores"](page) == page, "make tables writes codes.md again"


def test_the_page_says_what_severities_do(repository: Path) -> None:
    page = (repository / "docs" / "audit.md").read_text("utf-8")
    assert all(f"| {severity.value} | {severity.effect} |" in page for severity in Severity)


@pytest.mark.parametrize(
    ("items", "said"), [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")]
)
def test_items_are_listed_as_in_a_sentence(items: list[str], said: str) -> None:
    assert listed(items) == listed(iter(items)) == said
