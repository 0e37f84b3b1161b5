"""What is said of files that are no checkpoints, word for word, and the parts of reading that have words alone."""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bpb_harness.checkpoints import (
    FORMAT,
    load_safetensors,
    names_in_safetensors,
    parse_json,
    plain_values,
    read_checkpoint,
    read_json,
)
from bpb_harness.checkpoints.names import shorter_names
from bpb_harness.checkpoints.quantized import rows_times_scales
from bpb_harness.checkpoints.record import digest_of
from bpb_harness.checkpoints.torch_pickle import ForeignObject
from bpb_harness.errors import CheckpointError

_NATIVE = {"format": FORMAT, "format_version": 1, "adapter": "a", "config": {}, "schedule": None, "data": None}


def saved(content: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def said(call: Callable[[], object]) -> str:
    with pytest.raises(CheckpointError) as caught:
        call()
    return str(caught.value)


_SMALL = saved({"w": torch.ones(3)})
_ZEROS = bytes(20 << 20)


def xz(data: bytes) -> bytes:
    """The fastest of its kind."""
    return lzma.compress(data, preset=0)


_XZ_ZEROS, _ZLIB_ZEROS = xz(_ZEROS), zlib.compress(_ZEROS, level=1)


@pytest.mark.parametrize(
    ("name", "data", "line"),
    [
        ("x.pt2", b"PK", "no x.json beside x.pt2; export with bpb_harness.adapters.exported.export_model"),
        ("x.pt", saved([1]), "x.pt: got list, expected a dictionary of tensors"),
        ("x.ptz", zlib.compress(_SMALL)[:-9], "x.ptz is truncated; copy the file again"),
        ("x.ptz", lzma.compress(_SMALL)[:-9], "x.ptz is truncated; copy the file again"),
        ("x.pt", b"\x80\x02N.", "x.pt is a bare pickle, or of torch.save before version 1.6; load it with "
         "weights_only=True and save it again as a state dict"),
        ("x.pt", b"\x80\x02cos\nsystem\n.", "x.pt asks for os.system, which is not on the list of what a checkpoint "
         "may name; nothing was run; save the weights alone: torch.save(model.state_dict(), ...) or safetensors"),
        ("x.pt", b"", "x.pt is no checkpoint of a known format: got an empty file, expected torch.save (.pt), "
         "safetensors, torch.export (.pt2), zlib, xz or zstd of it (.ptz) or a folder"),
        ("x.ptz", _ZLIB_ZEROS, "x.ptz inflates to more than 16777216 bytes: got "
         f"{len(_ZLIB_ZEROS)} compressed bytes, expected at most 8 times as many"),
        ("x.ptz", _XZ_ZEROS, "x.ptz unpacks to more than 16777216 bytes: got "
         f"{len(_XZ_ZEROS)} compressed bytes, expected at most 8 times as many"),
        ("x.pt", saved({**_NATIVE, "adapter": 3}), "x.pt: 'adapter': got int, expected <class 'str'>"),
        ("x.pt", saved({**_NATIVE, "tokenizer": torch.ones(3)}), "x.pt: tokenizer: got 3 x torch.float32, expected "
         "bytes of a file"),
        ("x.pt", saved({**_NATIVE, "data": {"paths": "a"}, "tensors": {}}), "x.pt: paths of its data: got a, expected "
         "a list of relative paths"),
        ("x.pt", saved({**_NATIVE, "tensors": [1]}), "x.pt: tensors: got list, expected a state dict, tensors by name"),
    ],
)  # fmt: skip
def test_files(tmp_path: Path, name: str, data: bytes, line: str) -> None:
    (tmp_path / name).write_bytes(data)
    assert said(lambda: read_checkpoint(tmp_path / name)) == line


@pytest.mark.parametrize("pack", [zlib.compress, xz])
def test_compressed_files_are_read_in_pieces(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    whole = torch.randint(255, (700_000,), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)).double()
    (tmp_path / "x.ptz").write_bytes(pack(saved({"w": whole})))
    assert torch.equal(read_checkpoint(tmp_path / "x.ptz").tensors["w"], whole)


@pytest.mark.parametrize("pack", [zlib.compress, xz])
def test_damaged_streams(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    data = bytearray(pack(_SMALL))
    data[len(data) // 2] ^= 0xFF
    (tmp_path / "x.ptz").write_bytes(data)
    message = said(lambda: read_checkpoint(tmp_path / "x.ptz"))
    assert message.startswith("x.ptz is damaged: got ")
    assert message.endswith("; copy the file again")


def test_exported_programs_by_what_stands_beside(tmp_path: Path) -> None:
    (tmp_path / "x.pt2").write_bytes(b"PK")
    (tmp_path / "x.json").write_text(json.dumps({"schedule": 3}))
    assert said(lambda: read_checkpoint(tmp_path / "x.pt2")) == "x.json: schedule: got 3, expected a name or null"
    (tmp_path / "x.json").write_text(json.dumps({"schedule": "loglinear", "a": 1}))
    found = read_checkpoint(tmp_path / "x.pt2")
    assert (found.path, found.layout, found.adapter) == (tmp_path / "x.pt2", "exported", "exported")
    assert (found.schedule, found.config["a"], dict(found.tensors)) == ("loglinear", 1, {})


def test_safetensors(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"nothing")
    message = said(lambda: load_safetensors(tmp_path / "x.safetensors"))
    assert message.startswith("x.safetensors is no sound safetensors file: got ")
    assert message.endswith("; copy it again")


def test_json(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("[1]")
    assert said(lambda: read_json(tmp_path / "x.json")) == "x.json: got list, expected a JSON object"
    (tmp_path / "x.json").write_text("{" + " " * 50)
    assert said(lambda: read_json(tmp_path / "x.json", largest=50)) == "x.json: got 51 bytes, expected at most 50"
    assert said(lambda: read_json(tmp_path / "x.json", largest=51)).startswith("x.json is not JSON: got Expecting")
    (tmp_path / "x.json").write_bytes(b'{"a": "\xff"}')
    assert read_json(tmp_path / "x.json") == {"a": "\ufffd"}
    assert said(lambda: parse_json("[1]", what="it", largest=2)) == "it: got 3 characters, expected at most 2"
    deep = "[" * 100_000
    assert said(lambda: parse_json(deep, what="it")) == "it is nested too deeply: expected at most 64 levels"
    assert parse_json('{"a": [1, {"b": null}]}', what="it") == {"a": [1, {"b": None}]}


def test_what_of_foreign_objects_is_plain() -> None:
    node = ForeignObject("omegaconf.nodes.AnyNode", state={"_val": 3, "_parent": None})
    tree = ForeignObject("omegaconf.dictconfig.DictConfig", state={"_content": {"a": node}, "_metadata": 1})
    assert plain_values(tree, drop_objects=True) == {"a": 3}
    other = ForeignObject("argparse.Namespace", state={"a": [1, torch.ones(1)]})
    assert plain_values({"x": other, "t": torch.tensor(2)}, drop_objects=True) == {"x": {"a": [1, 1.0]}, "t": 2}
    pairs = ForeignObject("collections.defaultdict", items=[("a", 1), (2, "b")])
    assert plain_values(pairs, drop_objects=True) == {"a": 1, "2": "b"}
    assert plain_values({"x": ForeignObject("a.b", items=[1])}, drop_objects=True) == {}
    assert plain_values({"x": ForeignObject("a.b", items=[("a", 1, 2)])}, drop_objects=True) == {}
    assert (
        said(lambda: plain_values({"t": torch.ones(1)}))
        == "a value of the checkpoint: got Tensor, expected a number or text"
    )
    assert said(lambda: plain_values({"x": tree})).startswith("a value of the checkpoint: got ForeignObject, expected")


@pytest.mark.parametrize(
    ("state", "added"),
    [
        (b'{"added_tokens": [{"id": 7, "content": "[MASK]"}, {"id": "8", "content": "x"}, 3]}', {"[MASK]": 7}),
        (b'{"added_tokens": 3}', {}),
        (b'{"added_tokens": [], "model": ', {}),
        (b"[]", {}),
        (b"[" * 100_000, {}),
    ],
)
def test_the_added_tokens_of_a_pickled_tokenizer(state: bytes, added: dict[str, int]) -> None:
    held = ForeignObject("tokenizers.Tokenizer", state=state)
    assert plain_values({"_tokenizer": held}, drop_objects=True) == {"_tokenizer": {"added_tokens": added}}


def test_tensors_are_said_to_be_there() -> None:
    """But where a name says that they are what an optimizer remembers."""
    content = {"a": torch.ones(2, 3), "b": [torch.ones(0)], "c": torch.tensor(True), "d": torch.tensor(1j)}
    assert plain_values(content, drop_objects=True) == {
        "a": "a tensor of [2, 3]", "b": ["a tensor of [0]"], "c": True, "d": "a tensor of []"
    }  # fmt: skip
    shared = {"m": torch.ones(2), "lr": 0.1}
    content = {"optim": {"state": [shared]}, "more": shared}
    assert plain_values(content, drop_objects=True, silent=re.compile("optim")) == {
        "optim": {"state": [{"lr": 0.1}]}, "more": {"m": "a tensor of [2]", "lr": 0.1}
    }  # fmt: skip


def test_rows_times_scales() -> None:
    rows = torch.tensor([[1, -2], [3, 4]], dtype=torch.int8)
    path = Path("x.ptz")
    for levels, scale, right in (
        (rows, torch.tensor([2.0, 0.5]), [[2.0, -4.0], [1.5, 2.0]]),
        (rows, torch.tensor(2.0), [[2.0, -4.0], [6.0, 8.0]]),
        (rows[0], torch.tensor([2.0, 0.5]), [2.0, -1.0]),
        (rows[None], torch.tensor([2.0]), [[[2.0, -4.0], [6.0, 8.0]]]),
        (rows[0, 0], torch.tensor(3.0), 3.0),
    ):
        assert rows_times_scales({"w": levels}, {"w": scale}, path)["w"].tolist() == right
    for scales, line in (
        ({}, "x.ptz: scales of w: expected one a row"),
        ({"w": torch.ones(3)}, "x.ptz: scales of w: got [3], expected one a row"),
        ({"w": torch.ones(2, 1)}, "x.ptz: scales of w: got [2, 1], expected one a row"),
        ({"w": torch.ones(2), "v": torch.ones(2)}, "x.ptz: scales of v, which has no levels"),
        ({"w": torch.ones(2).long()}, "x.ptz: scales of w: got torch.int64, expected floats"),
    ):
        assert said(lambda scales=scales: rows_times_scales({"w": rows}, scales, path)) == line  # type: ignore[misc]


def test_shorter_names_leave_out_one_word_after_another() -> None:
    one = torch.ones(1)

    def names(*given: str) -> list[list[str]]:
        return [[short for short, _ in pairs] for pairs in shorter_names(dict.fromkeys(given, one))]

    assert names("a.w", "b.w") == []
    assert names("net.model.a.w", "net.model.b.w") == [
        ["model.a.w", "model.b.w"],
        ["a.w", "b.w"],
        ["a.w", "b.w"],
    ]
    # What stands deeper than some of the names reach stays until all such words are left out.
    assert names("model.model.a", "model.b") == [["model.a", "b"], ["a", "b"]]
    assert names("model.net.a.net.w") == [["net.a.net.w"], ["a.net.w"], ["a.w"]]
    assert names("model.a", "ema.shadow_params.0")[0] == ["a", "ema.shadow_params.0"]
    assert names("model.a", "b.model.c") == [["a", "b.c"]]
    assert names("encoder.a.w") == []
    assert names("net") == []


def test_native_artifacts_of_levels_and_scales(tmp_path: Path) -> None:
    levels = torch.tensor([[1, -2], [3, 4]], dtype=torch.int8)
    content = {
        **_NATIVE,
        "config": {"a": 1},
        "schedule": "loglinear",
        "data": {"paths": ["b.bin"], "more": 2},
        "tokenizer": torch.tensor([104, 105], dtype=torch.uint8),
        "tensors": {"module.v": torch.ones(1)},
        "quantized": {"_orig_mod.w": levels},
        "scales": {"_orig_mod.w": torch.tensor([2.0, 0.5])},
    }
    (tmp_path / "x.ptz").write_bytes(lzma.compress(saved(content)))
    found = read_checkpoint(tmp_path / "x.ptz")
    assert (found.layout, found.adapter, found.schedule) == ("native-int8", "a", "loglinear")
    assert (found.config, found.data, found.tokenizer) == ({"a": 1}, {"paths": ["b.bin"], "more": 2}, b"hi")
    assert {name: value.tolist() for name, value in found.tensors.items()} == {
        "v": [1.0],
        "w": [[2.0, -4.0], [1.5, 2.0]],
    }
    twice = {"_orig_mod.w": levels, "w": levels}
    for changes, line in (
        ({"quantized": [1]}, "x.ptz: quantized: got list, expected a state dict, tensors by name"),
        ({"scales": None}, "x.ptz: scales: got NoneType, expected a state dict, tensors by name"),
        ({"scales": {"w": 3}}, "x.ptz: scales: w: got int, expected a tensor"),
        ({"tensors": {"w": levels}}, "x.ptz: tensor both quantized and not: got w"),
        (
            {"quantized": twice},
            "x.ptz holds two tensors that are both w but for the words that wrappers add: got "
            "_orig_mod.w and w; save one set of weights alone: torch.save(network.state_dict(), ...)",
        ),
        ({"quantized": None}, "x.ptz: scales: got nothing quantized that they belong to"),
        ({"b": 1, "a": 2}, "x.ptz: unknown entries: got a, b; update bpb-harness, or leave them out"),
        ({"format_version": 2}, "x.ptz: version of the native format: got 2, expected 1; update bpb-harness"),
    ):
        (tmp_path / "x.ptz").write_bytes(lzma.compress(saved({**content, **changes})))
        assert said(lambda: read_checkpoint(tmp_path / "x.ptz")) == line


def test_names_in_safetensors(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"nothing")
    message = said(lambda: names_in_safetensors(tmp_path / "x.safetensors"))
    assert message.startswith("x.safetensors is no sound safetensors file: got ")
    assert message.endswith("; copy it again")


def test_both_spellings_of_rows(tmp_path: Path) -> None:
    for scheme in ({"scheme": "per_row", "axis": 0}, {"scheme": "per_row"}):
        rows = torch.ones(2, 2, dtype=torch.int8)
        content = {"quantized": {"w": rows}, "scales": {"w": torch.ones(2)}, "passthrough": {}, "qmeta": {"w": scheme}}
        (tmp_path / "x.pt").write_bytes(saved(content))
        assert read_checkpoint(tmp_path / "x.pt").tensors["w"].dtype == torch.float32


def test_a_set_is_chosen_in_files_compressed_either_way(tmp_path: Path) -> None:
    sets = saved({"model": {"w": torch.zeros(3)}, "ema": {"w": torch.ones(3)}})
    for packed in (sets, zlib.compress(sets), lzma.compress(sets)):
        path = tmp_path / "x.pt"
        path.write_bytes(packed)
        assert torch.equal(read_checkpoint(path, "ema").tensors["w"], torch.ones(3))


def test_a_set_without_tensors_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    path.write_bytes(saved({"model": {"w": torch.ones(3)}, "ema": {"a": 1}}))
    with pytest.raises(CheckpointError, match="ema"):
        read_checkpoint(path, "ema")


def test_words_of_int8_files(tmp_path: Path) -> None:
    levels, right = {"w": torch.ones(2, 3, dtype=torch.int8)}, {"w": torch.ones(2)}
    content = {"quantized": levels, "scales": right, "passthrough": {}}
    floats = "expected one of float64, float32, float16, bfloat16"
    for changes, line in (
        ({"scales": None}, "scales: got NoneType, expected a state dict, tensors by name"),
        ({"quantized": {"w": 1}}, "quantized: w: got int, expected a tensor"),
        ({"passthrough": {"w": torch.ones(1)}}, "tensor both quantized and passed through: got w"),
        ({"__quant_format__": "int6"}, "__quant_format__: got 'int6', expected int8_clean_per_row_v1"),
        ({"qmeta": [1]}, "qmeta: got list, expected a dictionary"),
        ({"dtypes": [1]}, "dtypes: got list, expected a dictionary"),
        ({"passthrough_orig_dtypes": "a"}, "passthrough_orig_dtypes: got str, expected a dictionary"),
        ({"qmeta": {"w": {"scheme": "per_row", "axis": 1}}},
         "qmeta of w: got {'scheme': 'per_row', 'axis': 1}, expected per_row along axis 0"),
        ({"dtypes": {"w": "int8"}}, f"type of w: got 'int8', {floats}"),
        ({"passthrough": {"v": torch.ones(1)}, "passthrough_orig_dtypes": {"v": 3}}, f"type of v: got 3, {floats}"),
        ({"quantized": {"w": levels["w"].int()}}, "levels of w: got torch.int32, expected torch.int8"),
    ):  # fmt: skip
        (tmp_path / "x.pt").write_bytes(saved({**content, **changes}))
        assert said(lambda: read_checkpoint(tmp_path / "x.pt")) == f"x.pt: {line}"
    named = {"module.w": torch.ones(1), "v": torch.ones(1).half()}
    content = {"quantized": {}, "passthrough": named, "passthrough_orig_dtypes": {"v": "torch.float64"}}
    (tmp_path / "x.pt").write_bytes(saved({**content, "__quant_format__": "int8_clean_per_row_v1", "a": 1}))
    found = read_checkpoint(tmp_path / "x.pt")
    assert {name: value.dtype for name, value in found.tensors.items()} == {
        "module.w": torch.float32,
        "v": torch.float64,
    }
    assert (found.path, found.layout, found.config) == (tmp_path / "x.pt", "golf-int8", {"a": 1})
    assert found.digest == hashlib.sha256((tmp_path / "x.pt").read_bytes()).hexdigest()


def test_tensors_beside_the_parts_of_an_int8_file_are_left_to_account_for(tmp_path: Path) -> None:
    path = tmp_path / "x.ptz"
    levels = torch.ones(2, 3, dtype=torch.int8)
    content = {"quantized": {"w": levels}, "scales": {"w": torch.ones(2)}, "passthrough": {}, "steps": 3}
    more = {"zero_points": {"w": torch.ones(2)}, "optimizer": {"exp_avg": torch.ones(2)}}
    path.write_bytes(zlib.compress(saved({**content, **more})))
    config = {"steps": 3, "zero_points": {"w": "a tensor of [2]"}, "optimizer": {}}
    assert read_checkpoint(path).config == config


def test_the_digest_of_a_program_changes_with_what_stands_beside_it(tmp_path: Path) -> None:
    program = tmp_path / "x.pt2"
    program.write_bytes(b"program")
    alone = digest_of(program)
    program.with_suffix(".json").write_bytes(b"{}")
    assert alone == hashlib.sha256(b"program").hexdigest()
    parts = hashlib.sha256(b"program").digest() + hashlib.sha256(b"{}").digest()
    assert digest_of(program) == hashlib.sha256(parts).hexdigest()


@pytest.mark.parametrize(
    ("error", "words"), [(PermissionError(13, "Permission denied"), "Permission denied"), (OSError("odd"), "odd")]
)
def test_a_file_that_cannot_be_read_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, words: str
) -> None:
    def fail(*arguments: object) -> None:
        raise error

    path = tmp_path / "x.pt"
    path.write_bytes(b"x")
    monkeypatch.setattr(hashlib, "file_digest", fail)
    assert said(lambda: digest_of(path)) == f"cannot read {path}: got {words}"


@pytest.mark.parametrize("mark", ["pytorch-lightning_version", "hyper_parameters", "loops"])
def test_each_mark_of_lightning_makes_its_layout(tmp_path: Path, mark: str) -> None:
    path = tmp_path / "x.ckpt"
    content = {"state_dict": {"w": torch.ones(2)}, mark: {"a": 1}, "epoch": 3}
    path.write_bytes(saved(content))
    found = read_checkpoint(path)
    assert (found.path, found.layout, found.digest) == (
        path, "lightning", hashlib.sha256(path.read_bytes()).hexdigest()
    )  # fmt: skip
    config = {"epoch": 3} | ({} if mark == "loops" else {mark: {"a": 1}})
    assert {key: value for key, value in found.config.items() if key != "loops"} == config
    assert (found.weights, found.weights_chosen, list(found.tensors)) == ("", False, ["w"])
    chosen = read_checkpoint(path, "state_dict")
    assert (chosen.weights, chosen.weights_chosen, chosen.layout) == ("state_dict", True, "lightning")
    path.write_bytes(saved({**content, "ema": {"shadow_params": [torch.zeros(2)]}}))
    averaged = read_checkpoint(path)
    assert {name: value.tolist() for name, value in averaged.tensors.items()} == {
        "w": [1.0, 1.0], "ema.shadow_params.0": [0.0, 0.0]
    }  # fmt: skip
    assert list(read_checkpoint(path, "state_dict").tensors) == ["w"]
    for changes, line in (
        ({"other": [torch.ones(2)], "more": {"w": torch.ones(2)}},
         "x.ckpt holds tensors beside its state dict, and which ones the score is of is for you to say: got other, "
         "more; pass --weights state_dict, or --weights other where those are a state dict"),
        ({"state_dict": {"w": torch.ones(2), "deep": {"v": torch.ones(2)}}},
         "x.ckpt: state_dict: got more than tensors under deep"),
        ({"state_dict": [1]}, "x.ckpt: state_dict: got list, expected a state dict, tensors by name"),
        ({"ema": {"shadow_params": [torch.ones(2), 3]}},
         "x.ckpt: ema.shadow_params[1]: got int, expected a tensor of the average"),
    ):  # fmt: skip
        path.write_bytes(saved({**content, **changes}))
        assert said(lambda: read_checkpoint(path)) == line


def test_a_model_of_peft_is_told_what_to_do(tmp_path: Path) -> None:
    for prefix in ("base_model.model.", "module.base_model.model.", "_orig_mod.base_model.model."):
        (tmp_path / "x.pt").write_bytes(saved({f"{prefix}w": torch.ones(2), f"{prefix}v": torch.ones(2)}))
        message = said(lambda: read_checkpoint(tmp_path / "x.pt"))
        assert message == (
            "x.pt holds a network inside a model of peft, whose adapters must be merged into it: got "
            f"{prefix}w, expected names without base_model.model.; save merge_and_unload() of that model, and score "
            "what it gives"
        )


def test_the_digest_of_a_folder_is_of_its_model_files_and_their_names(tmp_path: Path) -> None:
    files = {"config.json": b"{}", "model.safetensors": b"a", "spiece.model": b"b", "code.py": b"c", "vocab.txt": b"d"}
    for name, data in {**files, "pytorch_model.bin": b"e"}.items():
        (tmp_path / name).write_bytes(data)
    before = digest_of(tmp_path)
    (tmp_path / "events.log").write_bytes(b"no model")
    (tmp_path / "old.bin").mkdir()
    assert digest_of(tmp_path) == before
    seen = {before}
    for name in files:
        (tmp_path / name).write_bytes(b"other")
        seen.add(digest_of(tmp_path))
    (tmp_path / "code.py").rename(tmp_path / "other.py")
    assert len(seen | {digest_of(tmp_path)}) == 2 + len(files)
