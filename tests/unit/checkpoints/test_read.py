"""The native format, and the layouts of public trainers."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import nn

from bpb_harness.checkpoints import FORMAT, plain_values, read_checkpoint, save_checkpoint
from bpb_harness.errors import CheckpointError, UnsafeCheckpointError

_TENSORS = {
    "a.weight": torch.arange(6.0).view(2, 3).T,
    "b": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
    "c": torch.zeros(0, 4),
    "d": torch.tensor(7),
}
_REST = {
    "adapter": "reference",
    "config": {"width": 8, "rate": 0.5, "names": ["x", None], "deep": {"flag": True}},
    "schedule": "loglinear[0.001]",
    "tokenizer": b"\x00tokenizer\xff",
    "data": {"paths": ["val.bin"], "digest": "ab", "notes": {"entropy": 1.25}},
}


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_native_round_trip(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    save_checkpoint(path, tensors=_TENSORS, **_REST)
    found = read_checkpoint(path)
    assert found.layout == "native"
    assert found.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert {name: getattr(found, name) for name in _REST} == _REST
    assert set(found.tensors) == set(_TENSORS)
    for name, value in _TENSORS.items():
        assert found.tensors[name].dtype == value.dtype
        assert torch.equal(found.tensors[name], value)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_the_same_content_gives_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    for name in ("one", "another"):
        save_checkpoint(tmp_path / f"{name}{suffix}", tensors=_TENSORS, **_REST)
    assert (tmp_path / f"one{suffix}").read_bytes() == (tmp_path / f"another{suffix}").read_bytes()


def test_torch_loads_the_native_file_with_weights_only(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "x.pt", tensors=_TENSORS, **_REST)
    content = torch.load(tmp_path / "x.pt", weights_only=True)
    assert content["format"] == FORMAT
    assert torch.equal(content["tensors"]["a.weight"], _TENSORS["a.weight"])


def test_saving_leaves_an_older_file_alone_when_it_fails(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    save_checkpoint(path, tensors=_TENSORS, **_REST)
    before = path.read_bytes()
    with pytest.raises(CheckpointError, match="got set"):
        save_checkpoint(path, tensors=_TENSORS, **{**_REST, "config": {"x": {1, 2}}})
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["x.pt"]


def test_suffixes_are_two(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"got '\.bin', expected \.pt or \.safetensors"):
        save_checkpoint(tmp_path / "x.bin", tensors=_TENSORS, **_REST)


def test_a_newer_version_is_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "x.pt", tensors=_TENSORS, **_REST)
    content = torch.load(tmp_path / "x.pt", weights_only=True)
    torch.save({**content, "format_version": 2}, tmp_path / "y.pt")
    with pytest.raises(CheckpointError, match="got 2, expected 1; update bpb-harness"):
        read_checkpoint(tmp_path / "y.pt")


@pytest.mark.parametrize("wrap", ["bare", "state_dict", "model", "model_state_dict"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "_orig_mod.module."])
def test_state_dicts_of_public_trainers(tmp_path: Path, wrap: str, prefix: str) -> None:
    network = nn.Linear(3, 2)
    state = OrderedDict((prefix + name, value) for name, value in network.state_dict().items())
    content = state if wrap == "bare" else {wrap: state, "step": 7, "loss": 1.5, "optimizer": {"state": {0: state}}}
    torch.save(content, tmp_path / "x.pt")
    found = read_checkpoint(tmp_path / "x.pt")
    assert found.layout == "tensors"
    assert found.adapter is None
    assert {name: value.shape for name, value in found.tensors.items()} == {"weight": (2, 3), "bias": (2,)}
    assert torch.equal(found.tensors["weight"], network.weight)
    assert found.config.get("step") == (None if wrap == "bare" else 7)


def test_parameters_tied_and_sliced_tensors(tmp_path: Path) -> None:
    base = torch.arange(100.0)
    content = {
        "parameter": nn.Parameter(torch.ones(2, 2)),
        "tied": base,
        "slice": base[10:20],
        "strided": base.view(10, 10)[:, 3],
        "transposed": base.view(10, 10).T,
        "half": base.half(),
        "int8": base.to(torch.int8),
        "bool": base > 3,
        "uint8": base.to(torch.uint8),
    }
    torch.save(content, tmp_path / "x.pt")
    found = read_checkpoint(tmp_path / "x.pt").tensors
    for name, value in content.items():
        assert torch.equal(found[name], value), name
        assert found[name].dtype == value.dtype


def test_what_torch_reads_we_read(tmp_path: Path) -> None:
    """The interpreter against torch's own, on everything that plain checkpoints hold."""
    content = {
        "state_dict": {"w": torch.randn(3, 4)},
        "numbers": [0, -1, 255, 256, 65536, 2**31, 2**40, -(2**70), 1.5, float("inf"), True, None],
        "text": ["", "ascii", "\u00e4\u2581\U0001f600"],
        "tuples": [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)],
        "nested": {"a": {"b": [{"c": ({},)}]}},
        "size": torch.Size([1, 2]),
    }
    content["again"] = content["nested"]
    torch.save(content, tmp_path / "x.pt")
    expected = torch.load(tmp_path / "x.pt", weights_only=True)
    del expected["state_dict"]
    assert read_checkpoint(tmp_path / "x.pt").config == plain_values(expected)


def test_int8_files_are_dequantised_by_row(tmp_path: Path) -> None:
    import io
    import zlib

    rows, scales = torch.tensor([[1, -2], [127, 0]], dtype=torch.int8), torch.tensor([0.5, 2.0], dtype=torch.float16)
    content = {
        "quantized": {"w": rows, "v": rows},
        "scales": {"w": scales, "v": torch.tensor(0.25)},
        "dtypes": {"w": "bfloat16", "v": "float32"},
        "passthrough": {"p": torch.tensor([1.5], dtype=torch.float16), "q": torch.tensor([2.5])},
        "passthrough_orig_dtypes": {"p": "float32"},
        "qmeta": {"w": {"scheme": "per_row", "axis": 0}},
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    (tmp_path / "x.int8.ptz").write_bytes(zlib.compress(buffer.getvalue()))
    found = read_checkpoint(tmp_path / "x.int8.ptz")
    assert found.layout == "golf-int8"
    assert torch.equal(found.tensors["w"], torch.tensor([[0.5, -1.0], [254.0, 0.0]], dtype=torch.bfloat16))
    assert torch.equal(found.tensors["v"], torch.tensor([[0.25, -0.5], [31.75, 0.0]]))
    assert found.tensors["p"].dtype == torch.float32
    assert torch.equal(found.tensors["q"], torch.tensor([2.5]))


@pytest.mark.parametrize(
    ("name", "data", "line"),
    [
        ("x.pt", b"", "an empty file"),
        ("x.pt", b"hello world, no checkpoint", "first bytes"),
        ("x.pt", b"PK\x03\x04" + b"\0" * 40, "damaged archive"),
        ("x.ptz", b"\x78\x9c" + b"\xff" * 40, "is damaged"),
        ("x.safetensors", b"\x02\0\0\0\0\0\0\0{}", "holds no tensors"),
        ("x.pt2", b"PK\x03\x04", "no x.json beside"),
    ],
)
def test_files_that_are_none(tmp_path: Path, name: str, data: bytes, line: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(CheckpointError, match=line) as caught:
        read_checkpoint(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        read_checkpoint(tmp_path / "missing.pt")


def test_files_of_the_old_torch_save_say_what_to_do(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(3)}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(CheckpointError, match=r"before version 1\.6; load it with weights_only=True"):
        read_checkpoint(tmp_path / "old.pt")


def test_truncated_anywhere_is_an_error(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "x.pt", tensors=_TENSORS, **_REST)
    save_checkpoint(tmp_path / "x.safetensors", tensors=_TENSORS, **_REST)
    for suffix in (".pt", ".safetensors"):
        whole = (tmp_path / f"x{suffix}").read_bytes()
        for length in range(0, len(whole), 97):
            (tmp_path / f"cut{suffix}").write_bytes(whole[:length])
            with pytest.raises(CheckpointError):
                read_checkpoint(tmp_path / f"cut{suffix}")


def test_a_flipped_byte_is_an_error_or_other_content(tmp_path: Path) -> None:
    """Damage never ends in anything but a CheckpointError or a checkpoint of another digest."""
    save_checkpoint(tmp_path / "x.pt", tensors=_TENSORS, **_REST)
    whole = bytearray((tmp_path / "x.pt").read_bytes())
    digest = read_checkpoint(tmp_path / "x.pt").digest
    for position in range(0, len(whole), 13):
        damaged = bytearray(whole)
        damaged[position] ^= 0x55
        (tmp_path / "y.pt").write_bytes(damaged)
        with contextlib.suppress(CheckpointError):
            assert read_checkpoint(tmp_path / "y.pt").digest != digest


def test_data_inside_the_folder_is_accepted_and_outside_refused_on_saving_too(tmp_path: Path) -> None:
    for paths in (["../x.bin"], ["/etc/hostname"], ["a/../../x"], ["a\x00b"]):
        with pytest.raises(UnsafeCheckpointError, match="outside its folder"):
            save_checkpoint(tmp_path / "x.pt", tensors=_TENSORS, **{**_REST, "data": {"paths": paths}})
    save_checkpoint(tmp_path / "x.pt", tensors=_TENSORS, **{**_REST, "data": {"paths": ["a/../b.bin"]}})


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (["../x.bin"], "outside its folder"), (["/etc/hostname"], "outside its folder"),
        (["a/../../x"], "outside its folder"), (["a\x00b"], "outside its folder"),
        (["b.bin", "link/x"], "outside its folder"), ("b.bin", "paths of its data"), ([3], "paths of its data"),
    ],
)  # fmt: skip
def test_data_outside_the_folder_are_refused_where_a_file_is_read(tmp_path: Path, paths: object, message: str) -> None:
    """Nobody looks again: what a checkpoint that was read names is scored where nothing else is said."""
    from safetensors.torch import save_file

    (tmp_path / "link").symlink_to(tmp_path.parent)
    said = {"format": FORMAT, "format_version": 1, **_REST, "tokenizer": None, "data": {"paths": paths}}
    torch.save({**said, "tensors": _TENSORS}, tmp_path / "x.pt")
    save_file({"b": torch.ones(1)}, tmp_path / "x.safetensors", {FORMAT: json.dumps(said)})
    for suffix in (".pt", ".safetensors"):
        with pytest.raises(CheckpointError, match=message):
            read_checkpoint(tmp_path / f"x{suffix}")


def test_folder_of_safetensors(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"w": torch.ones(2)}, tmp_path / "model-00001-of-00002.safetensors")
    save_file({"v": torch.zeros(2)}, tmp_path / "model-00002-of-00002.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert", "vocab_size": 3}))
    (tmp_path / "tokenizer.json").write_text("{}")
    found = read_checkpoint(tmp_path)
    assert found.layout == "folder"
    assert set(found.tensors) == {"w", "v"}
    assert found.config["vocab_size"] == 3
    assert found.tokenizer == b"{}"
    before = found.digest
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert", "vocab_size": 4}))
    assert read_checkpoint(tmp_path).digest != before


def test_a_folder_without_config_says_so(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        read_checkpoint(tmp_path)
