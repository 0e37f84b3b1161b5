"""Whatever a header says, it is read as it stands or refused in one line, and nothing large is made of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpb_harness.errors import InputError
from bpb_harness.proof.bit_file import write_bits
from bpb_harness.proof.reading import read_file
from tests.unit.proof.test_reading import GIVEN, GOOD

_NUMBERS = st.sampled_from([0, 1, -1, 2**31, 2**63, 2**64 - 1, 2**64, 10**30, 1 << 24, 1 << 23, 4096]) | st.integers()
_WORDS = st.sampled_from(
    [
        "",
        "ar",
        "chain",
        "exact",
        "mc",
        "loglinear[0.999]",
        "loglinear[nan]",
        "cosine-md4[1e-320]",
        "cuda",
        "bfloat16",
        "\n",
    ]
) | st.text(max_size=8)
_SMALL = st.none() | st.booleans() | _NUMBERS | st.floats(allow_nan=False, allow_infinity=False) | _WORDS
_LISTS = st.lists(_NUMBERS | st.lists(_NUMBERS, max_size=3) | _SMALL, max_size=4)
_SPANS = st.fixed_dictionaries({
    "windows": st.lists(_NUMBERS, max_size=3), "contexts": st.lists(_NUMBERS, max_size=3),
    "lengths": st.lists(_NUMBERS, max_size=3),
    "batches": st.lists(st.lists(st.integers(0, 3), max_size=3), max_size=3),
})  # fmt: skip


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("bits") / "x"


@settings(max_examples=150, deadline=None)
@given(
    changed=st.dictionaries(st.sampled_from([*GOOD, "more"]), _SMALL | _LISTS, max_size=3)
    | _SPANS
    | st.fixed_dictionaries({"num_steps": _NUMBERS})
    | st.fixed_dictionaries({"num_spans": _NUMBERS}),
    streams=st.sampled_from([[GIVEN, b""], [GIVEN, b"bits"], [b"", b"bits"], [], [GIVEN]]),
)
def test_any_header(path: Path, changed: dict[str, Any], streams: list[bytes]) -> None:
    write_bits(path, GOOD | changed, streams)
    refusal = None
    try:
        header, given_tokens, bits = read_file(path)
    except InputError as error:
        refusal = str(error)
    if refusal is not None:
        assert refusal.startswith("x: ")
        assert "\n" not in refusal
        return
    assert header.plain() == GOOD | changed
    assert len(given_tokens) == sum(header.contexts)
    assert bits == streams[1]
