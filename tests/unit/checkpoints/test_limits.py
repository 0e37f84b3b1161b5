"""How deep, how large and how often shared the values of a checkpoint may be; and digests and words at those limits."""

from __future__ import annotations

import hashlib
import lzma
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from bpb_harness.checkpoints import FORMAT, parse_json, plain, plain_values, read_checkpoint
from bpb_harness.checkpoints.torch_pickle import ForeignObject
from bpb_harness.checkpoints.weight_sets import _tensors_inside, find_weights, holds_weights
from bpb_harness.errors import CheckpointError, UnsafeCheckpointError

_ENDLESS = "values of the checkpoint: got nesting or sharing without end, expected at most 64 levels and"


def nested(levels: int, inside: Any, *, key: str | None = None) -> Any:
    for _ in range(levels):
        inside = [inside] if key is None else {key: inside}
    return inside


@pytest.mark.parametrize("key", [None, "a"])
def test_64_levels_are_read_and_no_more(key: str | None) -> None:
    value = nested(64, 1, key=key)
    assert plain_values(value) == value
    with pytest.raises(UnsafeCheckpointError) as caught:
        plain_values([value])
    assert str(caught.value) == f"{_ENDLESS} 2000000 values"
    # The same list is deeper where it stands deeper.
    half = nested(40, 1)
    assert plain_values([half, [half]]) == [half, [half]]
    with pytest.raises(UnsafeCheckpointError):
        plain_values([half, nested(30, half)])


def test_foreign_objects_are_levels_too() -> None:
    value: Any = 1
    for _ in range(32):
        value = ForeignObject("argparse.Namespace", state={"a": value})
    assert plain_values(value, drop_objects=True) == nested(32, 1, key="a")
    with pytest.raises(UnsafeCheckpointError):
        plain_values([value], drop_objects=True)


def test_what_is_left_out_is_no_level() -> None:
    left_out = ForeignObject("torch.float32")
    assert plain_values(nested(63, left_out), drop_objects=True) == nested(62, [])
    assert plain_values(nested(64, torch.ones(1)), drop_objects=True) == nested(64, 1.0)


@pytest.mark.parametrize("kind", ["list", "dictionary", "object"])
def test_what_holds_itself_is_refused(kind: str) -> None:
    content: dict[str, Any] = {}
    items: list[Any] = []
    items.append(items)
    content["a"] = content
    holder = ForeignObject("argparse.Namespace")
    holder.state = {"a": holder}
    with pytest.raises(UnsafeCheckpointError):
        plain_values({"list": items, "dictionary": content, "object": holder}[kind], drop_objects=True)


def test_values_are_counted_as_if_nothing_were_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain, "_MAX_VALUES", 7)
    pair = [1, 2]
    assert plain_values([pair, pair]) == [[1, 2], [1, 2]]
    assert plain_values({"a": pair, "b": {"c": 1}}) == {"a": [1, 2], "b": {"c": 1}}
    for value in ([pair, pair, 1], {"a": pair, "b": pair, "c": 1}, [pair, pair, torch.ones(1)]):
        with pytest.raises(UnsafeCheckpointError, match="7 values"):
            plain_values(value, drop_objects=True)


def test_lists_that_share_their_parts_without_end() -> None:
    value: Any = [torch.ones(1)]
    for _ in range(12):
        value = [value, value]
    assert len(list(_tensors_inside(value))) == 1
    for _ in range(48):
        value = (value, value)
    assert holds_weights("a", value)
    with pytest.raises(UnsafeCheckpointError, match="sharing without end"):
        plain_values(value, drop_objects=True)


def test_tensors_are_looked_for_as_deep_as_values_are_read() -> None:
    assert holds_weights("a", nested(65, torch.ones(1)))
    assert holds_weights("a", nested(65, torch.ones(1), key="b"))
    assert not holds_weights("a", nested(66, torch.ones(1)))
    content: dict[str, Any] = {"w": torch.ones(1)}
    content["w2"] = content
    assert len(list(_tensors_inside(content))) == 1


def test_json_has_as_many_values_as_letters_at_most() -> None:
    for text in ("1", "[]", "{}", "[1]", "[[]]", "[1,2]", '[""]'):
        parse_json(text, what="it")
    with pytest.raises(UnsafeCheckpointError, match=r"at most 64 levels"):
        parse_json("[" * 65 + "]" * 65, what="it")
    with pytest.raises(CheckpointError) as caught:
        parse_json('{"a": 1, "a": 2}', what="it")
    assert str(caught.value) == (
        "it: the key 'a' is there twice, with two values: expected each key once; leave one of them out"
    )


def test_a_truncated_bomb_is_called_a_bomb(tmp_path: Path) -> None:
    packed = lzma.compress(bytes((16 << 20) + (1 << 19)), preset=0)[:-9]
    (tmp_path / "x.ptz").write_bytes(packed)
    with pytest.raises(UnsafeCheckpointError, match="unpacks to more than 16777216 bytes"):
        read_checkpoint(tmp_path / "x.ptz")


def test_a_state_dict_in_safetensors_has_the_digest_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"module.w": torch.ones(2)}, path, metadata={"format": "pt", "a": "b"})
    found = read_checkpoint(path)
    assert found.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (found.path, found.layout, found.config, list(found.tensors)) == (path, "tensors", {"a": "b"}, ["w"])
    save_file({"w": torch.ones(2)}, path, metadata={FORMAT: "[1]"})
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    assert str(caught.value) == "metadata of x.safetensors: got list, expected an object"
    save_file({"w": torch.ones(2)}, path, metadata={FORMAT: "{"})
    with pytest.raises(CheckpointError, match=r"^metadata of x\.safetensors is not JSON: got "):
        read_checkpoint(path)
    header = b"{}"
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    assert str(caught.value) == "x.safetensors holds no tensors"


_ALONE = "expected a native checkpoint or a state dict; save the weights alone: torch.save(network.state_dict(), ...)"


@pytest.mark.parametrize(
    ("content", "chosen", "line"),
    [
        ({"a": 1, "b": 2}, None, f"x.pt holds no tensors: got keys a, b, {_ALONE}"),
        ({}, None, f"x.pt holds no tensors: got keys none, {_ALONE}"),
        (dict.fromkeys("abcdefghij"), None, f"x.pt holds no tensors: got keys a, b, c, d, e, f, g, h, {_ALONE}"),
        ({"model": {3: torch.ones(1)}}, None, "x.pt: model: a tensor under the key 3: expected a name"),
        ({3: torch.ones(1)}, None, "x.pt: a tensor under the key 3: expected a name"),
        ({"m": {3: torch.ones(1)}}, "m", "x.pt: m: a tensor under the key 3: expected a name"),
        ({"m": {"a": 1}}, "m", f"x.pt holds no tensors under 'm': got keys a, {_ALONE}"),
        ({"m": {"optimizer": torch.ones(1)}}, "m", f"x.pt holds no tensors under 'm': got keys optimizer, {_ALONE}"),
        (
            dict.fromkeys("abcdefghij") | {"m": {"w": torch.ones(1)}, "n": {"w": torch.ones(1)}},
            "q",
            "x.pt has no weights under 'q': got keys a, b, c, d, e, f, g, h, expected --weights m or n",
        ),
        ({"w": torch.ones(1)}, "q", "x.pt has no weights under 'q': got keys w, expected no --weights: the file is one "
         "state dict"),
        ({"m": {"w": torch.ones(1)}, "v": torch.ones(1), "u": torch.ones(1)}, None,
         "x.pt holds more than one set of weights, and which one the score is of is for you to say: got tensors under "
         "m, and 2 beside them (v, u); pass --weights m"),
    ],
)  # fmt: skip
def test_words_of_what_holds_no_one_set(content: dict[str, Any], chosen: str | None, line: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        find_weights(content, Path("x.pt"), chosen)
    assert str(caught.value) == line


def test_the_longest_key_with_dots_is_tried_first() -> None:
    content = {
        "a": {"b": {"w": torch.zeros(1), "c": {"w": torch.zeros(1)}}},
        "a.b": {"w": torch.ones(1), "n": 1},
        "z.b": {"w": torch.zeros(1)},
        "step": 3,
    }
    found = find_weights(content, Path("x.pt"), "a.b")
    assert (found.key, found.tensors["w"].item(), found.rest) == ("a.b", 1, {"step": 3, "n": 1})
