"""Whatever bytes a file holds, reading it ends in a checkpoint or in a CheckpointError."""

from __future__ import annotations

import contextlib
import io
import json
import pickle
import struct
from pathlib import Path
from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bpb_harness.checkpoints import parse_json, plain_values, read_checkpoint, save_checkpoint
from bpb_harness.checkpoints.torch_pickle import read_bare_pickle
from bpb_harness.errors import CheckpointError
from fixtures.adversarial.hostile_files import torch_archive
from tests.tiers import times

_PATH = Path("x.pt")
_PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**80), 2**80) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=20,
)
# The alphabet of pickle: opcodes with a few arguments that make sense, in any order.
_OPCODES = [
    *(
        bytes([code])
        for code in b"(.0125FNQRabcdeijlopqrstu}]hjJKMGX\x80\x81\x82\x85\x86\x87\x88\x89\x8a\x8b\x8c\x93\x94"
    ),
    b"ccollections\nOrderedDict\n",
    b"ctorch._utils\n_rebuild_tensor_v2\n",
    b"ctorch\nFloatStorage\n",
    b"cos\nsystem\n",
    b"X\x01\x00\x00\x00a",
    b"K\x01",
    b"q\x00",
    b"h\x00",
    b"\x8a\x01\x05",
]


@settings(max_examples=times(60, thorough=300), deadline=None)
@given(_PLAIN)
def test_plain_values_come_back(value: Any) -> None:
    expected = json.loads(json.dumps(value))
    for protocol in (2, 4):
        found = read_bare_pickle(pickle.dumps({"x": value}, protocol=protocol), _PATH)
        assert found.foreign_globals == ()
        assert plain_values(found.content) == {"x": expected}


@settings(max_examples=times(120, thorough=600), deadline=None)
@given(st.lists(st.sampled_from(_OPCODES) | st.binary(max_size=3), max_size=40))
def test_opcodes_in_any_order(parts: list[bytes]) -> None:
    data = b"\x80\x02" + b"".join(parts) + b"."
    with contextlib.suppress(CheckpointError):
        read_bare_pickle(data, _PATH)


@settings(max_examples=times(50, thorough=200), deadline=None)
@given(st.data())
def test_a_native_file_with_bytes_changed(tmp_path_factory, data: st.DataObject) -> None:
    folder = tmp_path_factory.getbasetemp()
    original = folder / "fuzz_original.pt"
    if not original.exists():
        save_checkpoint(original, tensors={"w": torch.arange(6.0)}, adapter="x", config={"a": [1, 2, {"b": "c"}]})
    content = bytearray(original.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(content) - 1))
        content[position] = data.draw(st.integers(0, 255))
    changed = folder / "fuzz_changed.pt"
    changed.write_bytes(content)
    with contextlib.suppress(CheckpointError):
        read_checkpoint(changed)


@settings(max_examples=times(50, thorough=200), deadline=None)
@given(st.data())
def test_a_tensors_recipe_with_numbers_changed(tmp_path_factory, data: st.DataObject) -> None:
    """Shapes, strides, offsets and storage sizes of any value: views inside the storage, or an error."""
    buffer = io.BytesIO()
    torch.save({"w": torch.arange(12.0).view(3, 4)[:, 1:3]}, buffer)
    number = st.integers(-2, 14) | st.integers(-(2**63), 2**63)
    shape, stride = data.draw(st.lists(number, max_size=3)), data.draw(st.lists(number, max_size=3))
    offset = data.draw(number)

    def integer(value: int) -> bytes:
        return pickle.LONG1 + b"\x09" + value.to_bytes(9, "little", signed=True)

    def integers(values: list[int]) -> bytes:
        return b"(" + b"".join(map(integer, values)) + b"t"

    def text(value: str) -> bytes:
        return b"X" + struct.pack("<I", len(value)) + value.encode()

    storage = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + integer(12) + b"tQ"
    recipe = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + integer(offset) + integers(shape) + integers(stride)
    changed = tmp_path_factory.getbasetemp() / "fuzz_recipe.pt"
    whole = b"\x80\x02}" + text("w") + recipe + b"\x89}tRs."
    changed.write_bytes(torch_archive(whole, {"0": torch.arange(12.0).numpy().tobytes()}))
    with contextlib.suppress(CheckpointError):
        found = read_checkpoint(changed).tensors["w"]
        assert found.numel() <= 12
        assert found.numel() == 0 or float(found.sum()) >= 0.0


@settings(max_examples=times(50, thorough=200), deadline=None)
@given(st.text(max_size=60) | st.integers(1, 200).map(lambda n: "[" * n + "]" * n))
def test_any_text_as_json(text: str) -> None:
    with contextlib.suppress(CheckpointError):
        parse_json(text, what="text")
