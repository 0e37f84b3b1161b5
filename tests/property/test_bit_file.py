"""Whatever becomes of a file of bits, it is read as it was written or refused."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpb_harness.errors import InputError
from bpb_harness.proof.bit_file import read_bits, write_bits
from tests.tiers import times

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)
_HEADERS = st.dictionaries(st.text(max_size=6), _VALUES, max_size=5)
_STREAMS = st.lists(st.binary(max_size=20), max_size=4)


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("bits") / "x"


@settings(max_examples=30, deadline=None)
@given(header=_HEADERS, streams=_STREAMS)
def test_round_trip(path: Path, header: dict[str, Any], streams: list[bytes]) -> None:
    write_bits(path, header, streams)
    assert read_bits(path) == (header, streams)
    once = path.read_bytes()
    write_bits(path, dict(reversed(header.items())), streams)
    assert path.read_bytes() == once


@st.composite
def _changed(draw: st.DrawFn, content: bytes) -> bytes:
    """Some bytes changed, put in, taken out, or moved; always another file."""
    new = bytearray(content)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(new)))
        match draw(st.sampled_from(["change", "number", "insert", "cut", "repeat", "end"])):
            case "change" if at < len(new):
                new[at] ^= draw(st.integers(1, 255))
            case "number":  # at the start, where lengths are
                new[18:30] = draw(st.binary(min_size=12, max_size=12))
            case "insert":
                new[at:at] = draw(st.binary(min_size=1, max_size=9))
            case "cut":
                del new[at : at + draw(st.integers(1, 30))]
            case "repeat":
                new[at:at] = new[at : at + draw(st.integers(1, 30))]
            case _:
                new += draw(st.binary(min_size=1, max_size=9))
    return bytes(new)


@settings(max_examples=times(60, thorough=300), deadline=None)
@given(data=st.data(), header=_HEADERS, streams=_STREAMS)
def test_a_changed_file_is_refused(path: Path, data: st.DataObject, header: dict[str, Any], streams: list[bytes]):
    write_bits(path, header, streams)
    content = path.read_bytes()
    changed = data.draw(_changed(content))
    path.unlink()
    path.write_bytes(changed)
    if changed == content:
        assert read_bits(path) == (header, streams)
        return
    with pytest.raises(InputError) as caught:
        read_bits(path)
    assert "\n" not in str(caught.value)


@settings(max_examples=times(60, thorough=300), deadline=None)
@given(data=st.data(), header=_HEADERS, streams=_STREAMS)
def test_a_changed_file_with_a_right_checksum(
    path: Path, data: st.DataObject, header: dict[str, Any], streams: list[bytes]
) -> None:
    """What gets through is exactly what a writer would have written for what was read."""
    write_bits(path, header, streams)
    changed = data.draw(_changed(path.read_bytes()[:-32]))
    changed += hashlib.sha256(changed).digest()
    path.write_bytes(changed)
    with contextlib.suppress(InputError):
        write_bits(path, *read_bits(path))
        assert path.read_bytes() == changed
