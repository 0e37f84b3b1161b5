"""Which files of a folder hold the weights, and when nobody can say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from bpb_harness.checkpoints import digest_of, model_folder, read_checkpoint
from bpb_harness.errors import CheckpointError, TokenizerError, UnsafeCheckpointError

A, B = torch.arange(6.0).reshape(2, 3), torch.tensor([0.1, -2.7])


def folder(path: Path, **files: object) -> Path:
    """Files by name (``__`` is a dot): dictionaries of tensors, or JSON."""
    (path / "config.json").write_text("{}")
    for key, content in files.items():
        file = path / key.replace("__", ".").replace("_of_", "-of-")
        tensors = isinstance(content, dict) and all(isinstance(value, torch.Tensor) for value in content.values())
        if not tensors:
            file.write_text(json.dumps(content))
        elif file.suffix == ".bin":
            torch.save(content, file)
        else:
            save_file(content, file)
    return path


def names(path: Path) -> tuple[set[str], tuple[str, ...]]:
    read = read_checkpoint(path)
    return set(read.tensors), read.notes


def index(**places: str) -> dict[str, object]:
    return {"metadata": {}, "weight_map": places}


ONE, TWO = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
SHARDS = {"model-00001_of_00002__safetensors": {"a": A}, "model-00002_of_00002__safetensors": {"b": B}}
INDEX = "model__safetensors__index__json"


def test_one_file_of_any_name(tmp_path):
    assert names(folder(tmp_path, weights__safetensors={"a": A})) == ({"a"}, ())


def test_an_index_and_its_files(tmp_path):
    assert names(folder(tmp_path, **SHARDS, **{INDEX: index(a=ONE, b=TWO)})) == ({"a", "b"}, ())


@pytest.mark.parametrize("total_size", [A.nbytes + B.nbytes - 4, 0, "much"])
def test_an_index_that_states_another_size_is_refused(tmp_path, total_size):
    """A file of another copy, of tensors of the same names, is in the folder."""
    stated = index(a=ONE, b=TWO) | {"metadata": {"total_size": total_size}}
    with pytest.raises(CheckpointError) as caught:
        names(folder(tmp_path, **SHARDS, **{INDEX: stated}))
    assert str(caught.value) == (
        f"model.safetensors.index.json: total_size: got {total_size}, expected {A.nbytes + B.nbytes}, the bytes of the "
        "tensors of its files; copy the folder again, whole; if its files are right, mend the number"
    )


@pytest.mark.parametrize("metadata", [{"total_size": A.nbytes + B.nbytes}, {"total_size": None}, None, []])
def test_an_index_that_states_its_size_or_none(tmp_path, metadata):
    stated = index(a=ONE, b=TWO) | {"metadata": metadata}
    assert names(folder(tmp_path, **SHARDS, **{INDEX: stated}))[0] == {"a", "b"}


def test_numbered_files_without_an_index(tmp_path):
    assert names(folder(tmp_path, **SHARDS)) == ({"a", "b"}, ())


def test_a_pickle_index(tmp_path):
    one, two = "pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"
    files = {one.replace(".", "__"): {"a": A}, two.replace(".", "__"): {"b": B}}
    files["pytorch_model__bin__index__json"] = index(a=one, b=two)
    assert names(folder(tmp_path, **files)) == ({"a", "b"}, ())


@pytest.mark.parametrize(
    ("files", "says"),
    [
        (
            {**SHARDS, INDEX: index(a=ONE, b=ONE)},
            r"model-00002-of-00002\.safetensors is not among the files that model",
        ),
        (
            {**SHARDS, INDEX: index(a=ONE, b=TWO, c=TWO)},
            r"00002\.safetensors lacks a tensor that .*says it holds: got c",
        ),
        ({**SHARDS, INDEX: index(a=ONE)}, r"is not among the files"),
        (
            {"model-00001_of_00002__safetensors": {"a": A, "x": B}, **{INDEX: index(a=ONE)}},
            r"00001-of-00002\.safetensors holds a tensor that .* does not name: got x",
        ),
        (
            {"model-00001_of_00002__safetensors": {"a": A}, INDEX: index(a=ONE, b=TWO)},
            r"index\.json names model-00002-of-00002\.safetensors, which is no file of weights in the folder",
        ),
        ({**SHARDS, INDEX: index(a=ONE, b="../other.safetensors")}, r"names \.\./other\.safetensors, which is no file"),
        ({"m__safetensors": {"a": A}, INDEX: {"weight_map": ["a"]}}, r"weight_map: got list"),
        (
            {"model-00002_of_00002__safetensors": {"b": B}},
            r"model-00001-of-00002\.safetensors is missing beside model-",
        ),
        (
            {"m-1_of_2__safetensors": {"a": A}, "m-2_of_2__safetensors": {"a": B}},
            r"a is in two of the files of m-1-of-2\.safetensors",
        ),
        (
            {"one__safetensors": {"a": A}, "two__safetensors": {"a": A}},
            r"more than one file of weights: got one\.saf.*two",
        ),
        (
            {"model__safetensors": {"a": A}, "z__safetensors": {"a": A + 1}},
            r"model\.safetensors and z\.safetensors hold different weights: got a; leave only the one that is meant",
        ),
        (
            {"model__safetensors": {"a": A}, "consolidated__safetensors": {"a": A + 1}},
            r"model\.safetensors and consolidated\.safetensors hold different weights",
        ),
        (
            {
                "model__safetensors": {"a": A},
                "pytorch_model__bin": {"a": A, "b": B, "c": B},
                "z__safetensors": {"q": A},
            },
            r"z\.safetensors holds tensors that model\.safetensors does not: got q",
        ),
        (
            {"model__safetensors": {"a": A}, "ema__safetensors": {"a": A, "b": B}},
            r"ema\.safetensors holds tensors that",
        ),
        (
            {"model__safetensors": {"a": A}, "pytorch_model__bin": {"a": A * 1.5}},
            r"model\.safetensors and pytorch_model\.bin hold different weights: got a",
        ),
        (
            {"model__safetensors": {"a": A, "b": B}, "model__fp16__safetensors": {"a": A.half(), "b": B.half() + 1}},
            r"hold different weights: got b",
        ),
        (
            {"model__fp16__safetensors": {"a": A.half()}, "model__bf16__safetensors": {"a": A.bfloat16()}},
            r"more than one file of weights",
        ),
        ({"model__safetensors": {"a": A}, **SHARDS, INDEX: index(a=ONE, b=TWO)}, None),
        ({"model__safetensors": {"a": A + 1}, **SHARDS, INDEX: index(a=ONE, b=TWO)}, r"hold different weights: got a"),
        ({"other__bin": {"a": A}}, r"no weights in the folder .*got other\.bin"),
        ({}, r"no weights in the folder .*got no such file"),
    ],
)
def test_refused_by_name(tmp_path, files, says):
    path = folder(tmp_path, **files)
    with pytest.raises(CheckpointError, match=says or r"holds tensors that model\.safetensors does not|different"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("files", "note"),
    [
        ({"pytorch_model__bin": {"a": A, "b": B}}, r"pytorch_model.bin beside it holds the same"),
        (
            {"model__fp16__safetensors": {"a": A.half(), "b": B.half()}},
            r"model.fp16.safetensors beside it holds the same",
        ),
        (
            {"consolidated__safetensors": {"layers.0.wq": A}},
            r"consolidated.safetensors beside it was not read: its tensors have other names",
        ),
    ],
)
def test_copies_are_passed_over_and_named(tmp_path, files, note):
    found, notes = names(folder(tmp_path, model__safetensors={"a": A, "b": B}, **files))
    assert found == {"a", "b"}
    assert len(notes) == 1
    assert note in notes[0]


def test_a_pickle_that_cannot_be_compared_is_named(tmp_path):
    path = folder(tmp_path, model__safetensors={"a": A})
    (path / "pytorch_model.bin").write_bytes(b"\x80\x02}q\x00.")
    found, notes = names(path)
    assert (found, len(notes)) == ({"a"}, 1)
    assert "pytorch_model.bin beside it cannot be read as data" in notes[0]


def test_what_trainers_leave_is_not_weights(tmp_path):
    files = {"optimizer__safetensors": {"a": B}, "training_args__bin": {"a": B}}
    assert names(folder(tmp_path, model__safetensors={"a": A}, **files)) == ({"a"}, ())


def test_links_out_of_the_folder(tmp_path):
    path = tmp_path / "model"
    path.mkdir()
    folder(path)
    save_file({"a": A}, tmp_path / "elsewhere.safetensors")
    (path / "model.safetensors").symlink_to(tmp_path / "elsewhere.safetensors")
    with pytest.raises(UnsafeCheckpointError, match="link out of the folder"):
        read_checkpoint(path)


MEANT, WHOLE = "; leave only the one that is meant in the folder", "; copy the folder again, whole"
THIRD = {"model-00001_of_00003__safetensors": {"a": A}, "model-00003_of_00003__safetensors": {"b": B}}
FIVE = {f"t{i}": B.clone() for i in range(5)}


@pytest.mark.parametrize(
    ("files", "line"),
    [
        ({"b__npz": {}, "a__pt": {}, "d__ckpt": {}, "c__h5": {}, "e__gguf": {}, "f__txt": {}},
         "no weights in the folder m: got a.pt, b.npz, c.h5, d.ckpt, expected model.safetensors or pytorch_model.bin, "
         "or their index and its files"),
        ({"f__txt": {}}, "no weights in the folder m: got no such file, expected model.safetensors or "
         "pytorch_model.bin, or their index and its files"),
        ({f"{name}__safetensors": {"a": A} for name in "edcba"},
         f"m: more than one file of weights: got a.safetensors, b.safetensors, c.safetensors, d.safetensors and 1 more"
         f"{MEANT}"),
        ({"b__safetensors": {"a": A}, "a__safetensors": {"a": A}},
         f"m: more than one file of weights: got a.safetensors, b.safetensors{MEANT}"),
        ({"m-1_of_2__safetensors": {"b": B, "a": A}, "m-2_of_2__safetensors": {"a": A, "b": B}},
         f"a is in two of the files of m-1-of-2.safetensors{MEANT}"),
        ({**SHARDS, INDEX: index(a=ONE, b=TWO, d=TWO, c=TWO)},
         f"{TWO} lacks a tensor that model.safetensors.index.json says it holds: got c{WHOLE}"),
        ({"model-00001_of_00002__safetensors": {"a": A, "y": A + 1, "x": B}, **{INDEX: index(a=ONE)}},
         f"{ONE} holds a tensor that model.safetensors.index.json does not name: got x{WHOLE}"),
        ({**SHARDS, INDEX: index(a=ONE)}, f"{TWO} is not among the files that model.safetensors.index.json names"
         f"{MEANT}"),
        (THIRD, f"model-00002-of-00003.safetensors is missing beside {ONE.replace('2.', '3.')}{WHOLE}"),
        ({"model-00001_of_00002__safetensors": {"a": A}}, f"{TWO} is missing beside {ONE}{WHOLE}"),
        ({"m__safetensors": {"a": A}, INDEX: {"weight_map": ["a"]}}, "model.safetensors.index.json: weight_map: got "
         "list, expected names of tensors and of their files"),
        ({"m__safetensors": {"a": A}, INDEX: {"weight_map": {}}}, "model.safetensors.index.json: weight_map: got "
         "dict, expected names of tensors and of their files"),
        ({"m__safetensors": {"a": A}, INDEX: {"weight_map": {"a": "m.safetensors", "b": 1}}},
         "model.safetensors.index.json: weight_map: got dict, expected names of tensors and of their files"),
        ({"m__safetensors": {"a": A}, INDEX: index(a="m.safetensors", b="z", c="y")},
         f"model.safetensors.index.json names y, which is no file of weights in the folder{WHOLE}"),
        ({"model__safetensors": {"a": A, "b": B}, "z__safetensors": {"b": B + 1, "a": A + 1}},
         f"model.safetensors and z.safetensors hold different weights: got a{MEANT}"),
        ({"model__safetensors": {"a": A}, "z__safetensors": {"a": A.reshape(3, 2)}},
         f"model.safetensors and z.safetensors hold different weights: got a{MEANT}"),
        ({"model__safetensors": {"a": A}, "z__safetensors": FIVE},
         f"z.safetensors holds tensors that model.safetensors does not: got t0, t1, t2, t3 and 1 more{MEANT}"),
        ({"model__safetensors": {"a": A}, "consolidated__safetensors": {"a": A, "q": B}},
         f"consolidated.safetensors holds tensors that model.safetensors does not: got q{MEANT}"),
        ({"model__safetensors": {"a": A}, "my_consolidated__safetensors": {"q": B}},
         f"my_consolidated.safetensors holds tensors that model.safetensors does not: got q{MEANT}"),
    ],
)  # fmt: skip
def test_refusals_word_for_word(tmp_path, files, line):
    path = tmp_path / "m"
    path.mkdir()
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(folder(path, **files))
    assert str(caught.value) == line


def test_the_library_s_order_decides_among_copies(tmp_path):
    both = {"a": A, "b": B}
    whole = {
        **{"pytorch_model__bin": both, "model__safetensors": both, "z__safetensors": both},
        **SHARDS,
        INDEX: index(a=ONE, b=TWO),
    }
    beside = ("model.safetensors.index.json", "pytorch_model.bin", "z.safetensors")
    for taken in ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"):
        path = tmp_path / taken
        path.mkdir()
        folder(path, **whole)
        for gone in ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"):
            if gone == taken:
                break
            (path / gone).unlink()
            for part in (ONE, TWO) if "index" in gone else ():
                (path / part).unlink()
        found, notes = names(path)
        assert found == {"a", "b"}
        expected = [name for name in beside if (path / name).exists() and name != taken]
        assert sorted(notes) == [f"weights of {taken}; {name} beside it holds the same" for name in expected]


def test_rounded_copies_are_the_same_either_way(tmp_path):
    half = {"a": A.half(), "b": B.half()}
    path = folder(tmp_path, model__safetensors=half, z__safetensors={"a": A, "b": B})
    assert names(path)[1] == ("weights of model.safetensors; z.safetensors beside it holds the same",)


def test_a_folder_is_read_as_it_stands(tmp_path, monkeypatch):
    path = folder(tmp_path, model__safetensors={"module.a": A})
    read = read_checkpoint(path)
    assert (read.path, read.layout, read.config, read.tokenizer) == (path, "folder", {}, None)
    assert (read.digest, list(read.tensors)) == (digest_of(path), ["a"])

    def fail(folder: Path) -> None:
        raise TokenizerError("odd letters")

    monkeypatch.setattr(model_folder, "tokenizer_bytes_in", fail)
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    assert str(caught.value) == f"{path.name}: its tokenizer cannot be read: got odd letters"


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"])
def test_an_adapter_that_is_not_merged(tmp_path, name):
    path = folder(tmp_path, model__safetensors={"a": A})
    (path / name).write_text("{}")
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    assert str(caught.value) == (
        f"{path.name} holds an adapter (LoRA or its kin) that is not merged into its base: got {name}, expected the "
        "weights of one network; merge it with merge_and_unload() of peft, save_pretrained() into a new folder, and "
        "score that"
    )


def test_no_configuration_and_a_link_out(tmp_path):
    path = tmp_path / "m"
    path.mkdir()
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    assert str(caught.value) == f"no config.json in the folder {path}; pass a checkpoint's file or model folder"
    (tmp_path / "config.json").write_text("{}")
    (path / "config.json").symlink_to(tmp_path / "config.json")
    with pytest.raises(UnsafeCheckpointError) as caught:
        read_checkpoint(path)
    assert str(caught.value) == f"config.json in {path} is a link out of the folder"
