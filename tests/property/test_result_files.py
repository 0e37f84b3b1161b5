"""A score's own file with anything in it: refused in one line, or audited; never confirmed, never a traceback."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bpb_harness
from bpb_harness.errors import InputError, UsageError
from bpb_harness.formats import read_result
from bpb_harness.result import AnswerSummary, BpbResult, Expectation, ReferenceMarks, Signature, SourceFloor, Versions
from bpb_harness.units import CodeLength

SIGNATURE = Signature(
    method="mc", num_samples="1", schedule="loglinear[0.001]", passes="2", byte_rule="exact", order="per-document",
    data="val@01234567[0:5/9]", tokenizer="5e6f7a8b", context_length="128", model="9c0d1e2f", seed="7", version="0.1.0",
)  # fmt: skip
RESULT = BpbResult(
    length=CodeLength(1000.0, 500, 900, 5), relation="~<=", terms_nats={"prior": 0.5, "diffusion": 999.5},
    mc_stderr=0.02, corpus_stderr=None, ci95=(1.0, 2.2), signature=SIGNATURE, num_forward_tokens=9, seconds=1.5,
    device="cpu", source=SourceFloor("words", 0.1, 0.1, 90.0, 900), expectation=Expectation(1.6, 0.1),
    reference_marks=ReferenceMarks(5.0, 4.0, 3.0, None, 512), versions=Versions(None, "3.12"), num_documents=5,
    answers=AnswerSummary(5, 5, 0, 0),
)  # fmt: skip
PLAIN: dict[str, Any] = json.loads(RESULT.to_json())
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(10**17, 10**60), st.floats(), st.text(max_size=8),
    st.sampled_from(["bpb|", "bpb|T:1", "bpb|data:x@0[0:99999999999999999999/1]", "1e999", "-0", "\ud800"]),
)  # fmt: skip
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
)
# What a signature may say, whatever it means.
ENTRIES = st.sampled_from([
    ("num_samples", "0"), ("num_samples", "all"), ("passes", "0"), ("context_length", "0"), ("order", "a/b,/,x/0"),
    ("order", f"random/{'9' * 5000}"), ("data", "@[0:0/0]"), ("data", "x"), ("separator", "-1"), ("adapter", "a@b"),
    ("adapter", "in-memory/"), ("method", "guess"), ("seed", "18446744073709551616"), ("tail", "'$(x)'"),
    ("byte_rule", "none"),
])  # fmt: skip


def audited(folder: Path, text: str) -> None:
    path = folder / "result.json"
    path.write_text(text, "utf-8", errors="surrogatepass")
    try:
        report = bpb_harness.audit(path)
    except InputError:
        with pytest.raises(InputError, match=r"\A.+\Z"):
            read_result(path)
        return
    assert report.verdict.value in ("refuted", "unverifiable")
    assert report.exit_code in (1, 3)
    json.dumps(report.to_dict(), allow_nan=False)
    assert report.to_text()
    assert report.to_markdown()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("results")


@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_a_file_with_another_value_is_no_traceback(data: st.DataObject, folder: Path) -> None:
    held = json.loads(json.dumps(PLAIN))
    for _ in range(data.draw(st.integers(1, 3))):
        place: Any = held
        key: Any = data.draw(st.sampled_from(sorted(held)))
        while isinstance(place[key], dict | list) and place[key] and data.draw(st.booleans()):
            place = place[key]
            key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        place[key] = data.draw(VALUES)
    audited(folder, json.dumps(held))


@settings(max_examples=40, deadline=None)
@given(entries=st.lists(ENTRIES, min_size=1, max_size=3, unique_by=lambda entry: entry[0]))
def test_a_signature_that_says_anything_is_no_traceback(entries: list[tuple[str, str]], folder: Path) -> None:
    signature = Signature(**{
        **{name: getattr(SIGNATURE, name) for name in SIGNATURE.__dataclass_fields__}, **dict(entries),
    })  # fmt: skip
    held = PLAIN | {"signature": str(signature)}
    with suppress(UsageError):  # a number that is none
        held |= signature.typed()
    audited(folder, json.dumps(held))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_file_that_is_cut_or_damaged_is_no_traceback(data: st.DataObject, folder: Path) -> None:
    text = json.dumps(PLAIN)
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(start + 40, len(text))))
    audited(folder, text[:start] + data.draw(st.text(max_size=6)) + text[end:])
