"""The interpreter of pickles, opcode by opcode: what it builds, what it refuses, and in which words."""

from __future__ import annotations

import collections
import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from bpb_harness.checkpoints import torch_pickle
from bpb_harness.checkpoints.torch_pickle import (
    ForeignObject,
    TorchFile,
    is_torch_zip,
    open_stored_archive,
    read_bare_pickle,
    read_record,
    read_torch_zip,
)
from bpb_harness.errors import CheckpointError, UnsafeCheckpointError

_PATH = Path("x.pt")


def built(data: bytes) -> Any:
    return read_bare_pickle(data, _PATH).content


def said(data: bytes, kind: type[CheckpointError] = CheckpointError) -> str:
    with pytest.raises(CheckpointError) as caught:
        read_bare_pickle(data, _PATH)
    assert type(caught.value) is kind
    return str(caught.value)


def damaged(why: str) -> str:
    return f"x.pt holds a damaged pickle: got {why}; copy the file again"


class _Reduced:
    """Pickles as a call of something by its name."""

    def __init__(self, function: Any, *args: Any, state: Any = None, items: Any = None, pairs: Any = None) -> None:
        self._parts = (function, args, state, items, pairs)

    def __reduce__(self) -> tuple[Any, ...]:
        function, args, state, items, pairs = self._parts
        return function, args, state, items and iter(items), pairs and iter(pairs)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "value",
    [
        None, True, False, 0, 1, -1, 255, 256, 65535, 65536, 2**31, -(2**31), 2**64, -(2**200), 1.5, -0.0, float("inf"),
        "", "text", "\u00e4\u2581\U0001f600\n", "x" * 300, [], [1], [1, 2], (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4),
        {}, {"a": 1}, {"a": 1, "b": [2]}, {1: "one", 2.5: "x", None: 3, "t": True}, [[], {}, ()], b"", b"\x00\xff",
    ],
)  # fmt: skip
def test_plain_values_of_every_protocol(value: Any, protocol: int) -> None:
    if isinstance(value, bytes) and protocol < 3:
        value = [value.decode("latin-1")]  # older protocols call codecs for bytes; tried below
    read = read_bare_pickle(pickle.dumps(value, protocol), _PATH)
    assert read == TorchFile(value, ())
    assert type(read.content) is type(value)


def test_more_shared_parts_than_a_byte_can_number() -> None:
    many = [[number] for number in range(300)]
    for protocol in range(6):
        assert built(pickle.dumps([many, many[::-1]], protocol)) == [many, many[::-1]]


def test_shared_parts_are_shared() -> None:
    part: list[Any] = [1]
    for protocol in range(6):
        content = built(pickle.dumps([part, part, (part,)], protocol))
        assert content[0] is content[1] is content[2][0]
    loop: list[Any] = []
    loop.append(loop)
    content = built(pickle.dumps(loop))
    assert content[0] is content


def test_recipes() -> None:
    ordered = collections.OrderedDict([("b", 1), ("a", 2)])
    for protocol in range(6):
        content = built(pickle.dumps(ordered, protocol))
        assert list(content.items()) == [("b", 1), ("a", 2)]
        assert built(pickle.dumps(b"\x00\xffa", protocol)) == b"\x00\xffa"
        assert sorted(built(pickle.dumps({1, 2}, protocol))) == [1, 2]
        assert built(pickle.dumps(frozenset([7]), protocol)) == [7] or protocol < 4
        assert built(pickle.dumps(torch.Size([3, 4]), protocol)) == [3, 4]
    assert built(pickle.dumps(_Reduced(collections.Counter, {"a": 2}))) == {}
    assert built(b"ccollections\nOrderedDict\n(](](S'k'\nI7\neetR.") == {"k": 7}
    assert built(b"ccollections\nOrderedDict\n(tR.") == {}
    assert built(b"ctorch\ndevice\n(S'cuda'\nI1\ntR.") == "cuda:1"
    assert built(b"ctorch\nSize\n(I7\ntR.") == []
    assert built(b"c__builtin__\nset\n((I1\nI2\nttR.") == [1, 2]
    assert built(b"c_codecs\nencode\n(V\\u00ff\nVlatin-1\ntR.") == b"\xff"
    assert said(b"c_codecs\nencode\n(Va\nVutf-8\ntR.") == damaged("bytes in an unknown encoding")
    assert said(b"c_codecs\nencode\n(Va\ntR.") == damaged("bytes in an unknown encoding")


def test_what_stands_for_a_type_is_no_foreign_global() -> None:
    for name in ("float32", "bfloat16", "strided", "FloatStorage", "UntypedStorage"):
        assert read_bare_pickle(f"ctorch\n{name}\n.".encode(), _PATH).foreign_globals == ()
    for module, name in (("torch", "load"), ("os", "system"), ("torch.x", "float32"), ("torch.nn", "FloatStorage")):
        read = read_bare_pickle(f"c{module}\n{name}\n.".encode(), _PATH)
        assert read.foreign_globals == (f"{module}.{name}",)


def test_foreign_objects_remember_and_do_nothing() -> None:
    made = built(pickle.dumps(_Reduced(pickle.loads, b"x", state={"s": 1}, items=[1, 2], pairs=[("k", "v")])))
    assert isinstance(made, ForeignObject)
    assert (made.name, made.args, made.state, made.items) == ("_pickle.loads", (b"x",), {"s": 1}, [1, 2, ("k", "v")])
    read = read_bare_pickle(b"(ca\nb\n(I1\ntRcc\nd\n(tRca\nb\n(tRl.", _PATH)
    assert read.foreign_globals == ("a.b", "c.d")
    assert [each.name for each in read.content] == ["a.b", "c.d", "a.b"]
    called_again = built(b"ca\nb\n(I1\ntR(I2\ntR.")
    assert called_again.name == "a.b"
    assert called_again.args[1] == 2
    assert called_again.args[0].args == (1,)
    for protocol in (2, 4):
        made = built(pickle.dumps(Path("a"), protocol))
        assert made.name.endswith("Path")
    long = read_bare_pickle(b"c" + b"a" * 300 + b"\nb\n.", _PATH).foreign_globals[0]
    assert long == "a" * 200


def test_new_objects_with_keywords() -> None:
    assert built(b"\x80\x04\x8c\x01a\x8c\x01b\x93)}\x92.").name == "a.b"
    assert built(b"\x80\x02ca\nb\n)\x81.").args == ()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "pickle exhausted before seeing STOP"),
        (b"I1\n", "pickle exhausted before seeing STOP"),
        (b"I1\nI2\n.", "values are left on the stack"),
        (b".", "values are left on the stack"),
        (b"I1\n(.", "values are left on the stack"),
        (b"0.", "pop from empty list"),
        (b"(\x85.", "unexpected mark"),
        (b"I1\nl.", "no mark"),
        (b"l.", None),
        (b"g7\n.", None),
        (b"I1\nI2\na.", "items appended to int"),
        (b"I1\nI2\nI3\ns.", "items set on int"),
        (b"}(I1\nu.", "odd number of dictionary items"),
        (b"I1\n(I2\nI3\nu.", "items set on int"),
        (b"I1\nI2\nR.", "arguments that are no tuple"),
        (b"I1\n(tR.", "a call of int"),
        (b"\x80\x04I1\n\x8c\x01b\x93.", "a global without a name"),
        (b"\x80\x04\x8c\x01aI1\n\x93.", "a global without a name"),
        (b"\x80\x02K\x01Q.", "a reference to something that is no storage"),
        (b"\x80\x02(\x8c\x07storageK\x01\x8c\x010\x8c\x03cpuK\x04tQ.", "a reference to something that is no storage"),
        (b"\x80\x02(\x8c\x07storageca\nb\n\x8c\x010\x8c\x03cpuK\x04tQ.", "a reference to something that is no storage"),
        (b"ctorch._utils\n_rebuild_tensor_v2\n(tR.", "a tensor without storage, offset, shape and stride"),
        (b"\xff.", None),
        (b"ca\n\xff\n.", None),
    ],
)  # fmt: skip
def test_damaged_pickles(data: bytes, why: str | None) -> None:
    message = said(data)
    assert message.startswith("x.pt holds a damaged pickle: got ")
    assert message.endswith("; copy the file again")
    if why is not None:
        assert message == damaged(why)


@pytest.mark.parametrize(
    ("data", "name"),
    [(b"(I1\ni__builtin__\nprint\n.", "INST"), (b"(ca\nb\no.", "OBJ"),
     (b"\x80\x02\x82\x01.", "EXT1"), (b"P1\n.", "PERSID")],
)  # fmt: skip
def test_opcodes_that_torch_save_does_not_write(data: bytes, name: str) -> None:
    assert said(data, UnsafeCheckpointError) == (
        f"x.pt uses the pickle opcode {name}: expected only what torch.save writes; "
        "save the weights again with torch.save or as safetensors"
    )


def test_stack_opcodes() -> None:
    assert built(b"I1\n0I2\n.") == 2
    assert built(b"I3\n(I1\nI2\n1.") == 3
    assert built(b"I1\n2\x86.") == (1, 1)
    assert built(b"(I1\nI2\nI3\nI4\nd.") == {1: 2, 3: 4}
    assert built(b"]p5\n0g5\n.") == []
    assert built(b"\x80\x04(I1\nI2\n\x91.") == [1, 2]
    assert built(b"\x80\x04\x8f(I1\nI2\n\x90.") == [1, 2]
    assert built(b"\x80\x05\x96\x02\x00\x00\x00\x00\x00\x00\x00ab.") == b"ab"
    # What cannot be a key becomes a name that says so, and is not hashed.
    assert built(b"}((tI1\n(tI2\nu.") == {"<tuple 0>": 1, "<tuple 1>": 2}
    # Attributes of plain values are dropped, those of foreign ones kept.
    assert built(b"}I1\nb.") == {}
    assert built(b"ca\nb\n(tRI5\nb.").state == 5


def test_bare_pickles_with_storages_say_what_to_do() -> None:
    data = b"\x80\x02(\x8c\x07storagectorch\nFloatStorage\n\x8c\x0242\x8c\x03cpuK\x04tQ."
    assert said(data) == (
        "x.pt is a file of torch.save before version 1.6: got storage '42' behind the pickle; "
        "load it with weights_only=True and save it again"
    )
    assert said(b"." * ((64 << 20) + 1), UnsafeCheckpointError) == (
        "x.pt: a bare pickle: got 67108865 bytes, expected a .pt archive"
    )


# Archives


def archive(records: dict[str, bytes], *, compression: int = zipfile.ZIP_STORED) -> io.BytesIO:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        for name, data in records.items():
            file.writestr(name, data)
    buffer.seek(0)
    return buffer


def tensor_pickle(
    *, kind: bytes = b"Float", offset: int = 0, shape: tuple[int, ...] = (2,), stride: tuple[int, ...] = (1,),
    function: bytes = b"_rebuild_tensor_v2", more: bytes = b"",
) -> bytes:  # fmt: skip
    numbers = b"".join(b"(" + b"".join(b"L%dL\n" % n for n in each) + b"t" for each in (shape, stride))
    storage = b"(\x8c\x07storagectorch\n" + kind + b"Storage\n\x8c\x010\x8c\x03cpuK\x04tQ"
    return b"\x80\x02ctorch._utils\n" + function + b"\n(" + storage + b"L%dL\n" % offset + numbers + more + b"tR."


def read(records: dict[str, bytes]) -> Any:
    return read_torch_zip(archive(records), _PATH).content


def refused(records: dict[str, bytes], kind: type[CheckpointError] = CheckpointError) -> str:
    with pytest.raises(CheckpointError) as caught:
        read(records)
    assert type(caught.value) is kind
    return str(caught.value)


_EIGHT = torch.arange(8.0)
_BYTES = _EIGHT.numpy().tobytes()


def test_tensors_are_cut_from_storages() -> None:
    for place, value in (
        ({}, _EIGHT[:2]),
        ({"offset": 6}, _EIGHT[6:]),
        ({"shape": (2, 3), "stride": (4, 1)}, _EIGHT.view(2, 4)[:, :3]),
        ({"shape": (2, 4), "stride": (1, 2)}, _EIGHT.view(4, 2).T),
        ({"shape": (), "stride": ()}, _EIGHT[0]),
        ({"shape": (0, 9), "stride": (9, 1)}, torch.empty(0, 9)),
        ({"shape": (8,), "stride": (0,)}, torch.zeros(8)),
        ({"function": b"_rebuild_tensor"}, _EIGHT[:2]),
        ({"offset": 7, "shape": (1,)}, _EIGHT[7:]),
    ):
        found = read({"x/data.pkl": tensor_pickle(**place), "x/data/0": _BYTES})  # type: ignore[arg-type]
        assert torch.equal(found, value)
    half = read({"x/data.pkl": tensor_pickle(kind=b"Half", shape=(16,)), "x/data/0": _BYTES})
    assert torch.equal(half, torch.frombuffer(bytearray(_BYTES), dtype=torch.float16))
    named = tensor_pickle(kind=b"Untyped", function=b"_rebuild_tensor_v3", shape=(4,), more=b"I00\n}ctorch\nfloat64\n")
    assert torch.equal(
        read({"x/data.pkl": named, "x/data/0": _BYTES}), torch.frombuffer(bytearray(_BYTES), dtype=torch.float64)
    )
    assert read({"x/data.pkl": tensor_pickle(shape=(0,)), "x/data/0": b""}).shape == (0,)


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ({"shape": (9,)}, "x.pt: a tensor of shape [9]: got a storage of 8 elements, expected 9 elements"),
        ({"offset": 7}, "x.pt: a tensor of shape [2]: got a storage of 8 elements, expected 9 "),
        ({"shape": (2,), "stride": (8,)}, "x.pt: a tensor of shape [2]: got a storage of 8 elements, expected 9 "),
        ({"shape": (3, 3), "stride": (0, 0)}, "x.pt: a tensor of shape [3, 3]: got a storage of 8 elements"),
        ({"offset": 8, "shape": (1,)}, "x.pt: a tensor of shape [1]: got a storage of 8 elements, expected 9 elements"),
        ({"shape": (2, 2)}, "x.pt: a tensor of shape: got (2, 2) and stride (1,)"),
        ({"shape": (-1,)}, "x.pt: a tensor of shape: got (-1,) and stride (1,)"),
        ({"stride": (-1,)}, "x.pt: a tensor of shape: got (2,) and stride (-1,)"),
        ({"shape": (1 << 62,)}, "x.pt: a tensor of shape: got (4611686018427387904,) and stride (1,)"),
        ({"offset": -1}, "x.pt: a tensor of shape: got (2,) and stride (1,)"),
    ],
)  # fmt: skip
def test_tensors_that_are_larger_than_their_storage(place: dict[str, Any], line: str) -> None:
    message = refused({"x/data.pkl": tensor_pickle(**place), "x/data/0": _BYTES}, UnsafeCheckpointError)
    assert message.startswith(line)
    if "elements" in line:
        assert message.endswith("; the file is damaged or hostile; copy it again")


def test_an_empty_storage_holds_nothing() -> None:
    message = refused({"x/data.pkl": tensor_pickle(kind=b"Byte", shape=(1,)), "x/data/0": b""}, UnsafeCheckpointError)
    assert message.startswith("x.pt: a tensor of shape [1]: got a storage of 0 elements, expected 1 elements")


def test_a_damaged_storage_is_named() -> None:
    whole = bytearray(archive({"x/data.pkl": tensor_pickle(), "x/data/0": _BYTES}).getvalue())
    whole[whole.index(_BYTES)] ^= 1
    with pytest.raises(CheckpointError, match=r"x\.pt is a damaged archive: got Bad CRC-32"):
        read_torch_zip(io.BytesIO(bytes(whole)), _PATH)


def test_types_that_are_none() -> None:
    odd = tensor_pickle(more=b"ctorch\nload\n")
    assert refused({"x/data.pkl": odd, "x/data/0": _BYTES}) == damaged("a tensor of type torch.load")


def test_sharing_has_a_limit() -> None:
    def content(copies: int) -> dict[str, bytes]:
        one = tensor_pickle(shape=(1024,), stride=(1,))[2:-1]
        return {"x/data.pkl": b"\x80\x02(" + copies * one + b"l.", "x/data/0": bytes(4096)}

    assert len(read(content(16))) == 16
    assert refused(content(17), UnsafeCheckpointError) == (
        "x.pt: tensors share their storage: got 69632 bytes of tensors in 4096 bytes of storage, "
        "expected at most 16 times as many"
    )


def test_archives_that_are_none_of_torch_save() -> None:
    assert refused({"a": b"1"}) == "x.pt is a ZIP archive but not of torch.save: got 0 data.pkl, expected one"
    assert refused({"a/data.pkl": b"N.", "b/data.pkl": b"N."}).endswith("got 2 data.pkl, expected one")
    big = {"x/data.pkl": b"N.", "x/byteorder": b"big\n"}
    assert refused(big) == "x.pt has big-endian tensors; save it on a little-endian machine"
    assert read({**big, "x/byteorder": b"little"}) is None
    assert read({"data.pkl": b"I4\n."}) == 4
    assert refused({"x/data.pkl": tensor_pickle()}) == "x.pt lacks the record of a storage: got '0'"
    assert refused({"x/data.pkl": tensor_pickle(), "data/0": _BYTES}) == "x.pt lacks the record of a storage: got '0'"


def test_compressed_records() -> None:
    with pytest.raises(UnsafeCheckpointError) as caught:
        open_stored_archive(archive({"data.pkl": bytes(1000)}, compression=zipfile.ZIP_DEFLATED), _PATH)
    assert str(caught.value).startswith("x.pt: record 'data.pkl' is compressed: got ")
    assert str(caught.value).endswith(
        "bytes that promise 1000, expected records as torch.save stores them; save the checkpoint again with torch.save"
    )


def test_as_many_records_as_there_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    content = pickle.dumps({"a": 1}, 2)
    records = {"x/data.pkl": content, "x/version": b"3\n", "x/byteorder": b"little"}
    monkeypatch.setattr(torch_pickle, "_MAX_RECORDS", 3)
    assert read(records) == {"a": 1}
    monkeypatch.setattr(torch_pickle, "_MAX_RECORDS", 2)
    assert refused(records, UnsafeCheckpointError) == "x.pt: records: got 3, expected at most 2"


def test_records_that_overlap() -> None:
    whole = bytearray(archive({"a": bytes(300), "b": bytes(300)}).getvalue())
    # The central directory's sizes (compressed, then whole) of both records, made larger than the file.
    for place in (at for at in range(len(whole)) if whole[at : at + 4] == b"PK\x01\x02"):
        whole[place + 20 : place + 28] = (500).to_bytes(4, "little") * 2
    with pytest.raises(UnsafeCheckpointError) as caught:
        open_stored_archive(io.BytesIO(bytes(whole)), _PATH)
    assert str(caught.value) == (
        f"x.pt: records overlap: got 1000 bytes promised, expected at most {len(whole)}, the file's size"
    )


def test_records_that_are_large_or_damaged() -> None:
    file = archive({"a": bytes(300)})
    with open_stored_archive(file, _PATH) as opened:
        (record,) = opened.infolist()
        assert read_record(opened, record, _PATH, most=300) == bytes(300)
        with pytest.raises(UnsafeCheckpointError) as unsafe:
            read_record(opened, record, _PATH, most=299)
        assert str(unsafe.value) == "x.pt: 'a': got 300 bytes, expected at most 299"
    broken = bytearray(file.getvalue())
    broken[100] ^= 1
    with open_stored_archive(io.BytesIO(bytes(broken)), _PATH) as opened:
        with pytest.raises(CheckpointError) as caught:
            read_record(opened, opened.infolist()[0], _PATH)
        assert str(caught.value).startswith("x.pt is a damaged archive: got Bad CRC-32")
        assert str(caught.value).endswith("; copy the file again")
    with pytest.raises(CheckpointError, match=r"x\.pt is a damaged archive: got .*; copy the file again"):
        open_stored_archive(io.BytesIO(b"PK\x03\x04" + bytes(50)), _PATH)


def test_the_first_bytes_of_an_archive() -> None:
    assert is_torch_zip(b"PK\x03\x04rest")
    assert not is_torch_zip(b"PK\x03")
    assert not is_torch_zip(b"PK\x05\x06")
