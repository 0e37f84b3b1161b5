"""Token shards of other trainers: what the first bytes prove is read, the rest is named with the flag for it."""

from __future__ import annotations

import os
import pickle
import struct

import numpy as np
import pytest

from bpb_harness.errors import CorpusError, UsageError
from bpb_harness.text.corpus import find_shards, load_shards, map_shard

TOKENS = np.random.default_rng(3).integers(0, 700, 1501)


def with_header(path, tokens, *, magic=20240520, version=1, kind="<u2", count=None, byte_order="<"):
    header = struct.pack(f"{byte_order}3i", magic, version, len(tokens) if count is None else count)
    path.write_bytes(header.ljust(1024, b"\x00") + np.asarray(tokens, kind).tobytes())
    return path


def headerless(path, tokens, kind):
    path.write_bytes(np.asarray(tokens, kind).tobytes())
    return path


def array(path, tokens, kind, version=None):
    with path.open("wb") as file:
        np.lib.format.write_array(file, np.asarray(tokens, kind), version=version)
    return path


def read(path, form="auto", vocab_size=700):
    corpus = load_shards([path], vocab_size=vocab_size, shard_format=form)
    return corpus.read(0, corpus.num_tokens)


def refusal(path, form="auto", vocab_size=700):
    with pytest.raises(CorpusError) as error:
        read(path, form, vocab_size)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_every_layout_gives_the_same_tokens_and_digest(tmp_path):
    plain = load_shards([with_header(tmp_path / "a.bin", TOKENS)], vocab_size=700)
    assert plain.form == "token shards"
    layouts = [
        (with_header(tmp_path / "b.bin", TOKENS, magic=20240801, version=7, kind="<u4"), "auto", "version 7"),
        (with_header(tmp_path / "b2.bin", TOKENS, magic=20240801, version=7, kind="<u4"), "v7", "version 7"),
        (with_header(tmp_path / "c.bin", TOKENS, kind="<u4"), "v1-uint32", "uint32"),
        (headerless(tmp_path / "d.bin", TOKENS, "<u2"), "uint16", "uint16 tokens without a header"),
        (headerless(tmp_path / "e.bin", TOKENS, "<u4"), "uint32", "uint32 tokens without a header"),
    ]
    for n, kind in enumerate(["<u2", ">u2", "<u4", ">u4", "<i2", ">i4", "<i8", ">i8", "<u8"]):
        layouts.append((array(tmp_path / f"{n}.npy", TOKENS, kind), "npy" if n % 2 else "auto", "NumPy"))
    layouts.append((array(tmp_path / "v2.npy", TOKENS, "<u2", (2, 0)), "auto", "NumPy"))
    layouts.append((array(tmp_path / "name.bin", TOKENS, "<u2"), "auto", "NumPy"))  # by content, not by name
    for path, form, words in layouts:
        corpus = load_shards([path], vocab_size=700, shard_format=form)
        assert corpus.digest == plain.digest, path.name
        assert words in corpus.form
        np.testing.assert_array_equal(corpus.read(0, corpus.num_tokens), TOKENS)
        np.testing.assert_array_equal(map_shard(path, vocab_size=700, shard_format=form), TOKENS)


def test_layouts_that_prove_themselves_may_be_mixed(tmp_path):
    given = [
        with_header(tmp_path / "a.bin", TOKENS[:7]),
        with_header(tmp_path / "b.bin", TOKENS[7:9], magic=20240801, version=7, kind="<u4"),
        array(tmp_path / "c.npy", TOKENS[9:], ">i8"),
    ]
    corpus = load_shards(given, vocab_size=700)
    np.testing.assert_array_equal(corpus.read(0, len(TOKENS)), TOKENS)
    assert corpus.form == "token shards and token shards of version 7 (uint32 tokens) and NumPy arrays"


@pytest.mark.parametrize(("kind", "flag"), [("<u2", "uint16"), ("<u4", "uint32")])
def test_without_a_header_the_flag_is_named(tmp_path, kind, flag):
    for size in (3000, 20):  # longer and shorter than a header
        path = headerless(tmp_path / f"{size}.bin", np.arange(size) % 700, kind)
        text = refusal(path)
        assert "wrong magic number" in text
        assert f"pass --shard-format {flag}" in text
        assert read(path, flag).tolist() == (np.arange(size) % 700).tolist()


def test_an_index_of_megatron_beside_it_is_named(tmp_path):
    path = headerless(tmp_path / "a.bin", TOKENS, "<u2")
    path.with_suffix(".idx").write_bytes(b"MMIDIDX\x00\x00" + bytes(30))
    assert "of Megatron-LM: if it is, pass --shard-format uint16" in refusal(path)
    assert "MMIDIDX" not in refusal(path)
    assert "the index of a Megatron-LM data set" in refusal(path.with_suffix(".idx"))


def test_the_wrong_width_is_never_read(tmp_path):
    wide = with_header(tmp_path / "a.bin", TOKENS, kind="<u4")
    assert "got 4 bytes a token, expected 2; pass --shard-format v1-uint32" in refusal(wide)
    narrow = with_header(tmp_path / "b.bin", TOKENS)
    assert "got 2 bytes a token, expected 4; pass --shard-format v1" in refusal(narrow, "v1-uint32")
    seven = with_header(tmp_path / "c.bin", TOKENS, magic=20240801, version=7)
    assert "got 2 bytes a token, expected 4; write it again with uint32 tokens" in refusal(seven)
    assert "every second number is 0" in refusal(headerless(tmp_path / "d.bin", TOKENS, "<u4"), "uint16")
    assert "lies outside the vocabulary" in refusal(headerless(tmp_path / "e.bin", TOKENS[:1500], "<u2"), "uint32")
    assert "got 3002 bytes, expected a multiple of 4" in refusal(
        headerless(tmp_path / "f.bin", TOKENS, "<u2"), "uint32"
    )


@pytest.mark.parametrize("form", ["uint16", "uint32"])
def test_a_header_is_never_read_as_tokens(tmp_path, form):
    for path in (
        with_header(tmp_path / "a.bin", TOKENS),
        with_header(tmp_path / "b.bin", TOKENS, magic=20240801, version=7, kind="<u4"),
        array(tmp_path / "c.npy", TOKENS, "<u4"),
    ):
        assert f"leave out --shard-format {form}" in refusal(path, form, vocab_size=2**21)
    evaluation = with_header(tmp_path / "d.bin", TOKENS, magic=20240522)
    assert "an evaluation file of llm.c" in refusal(evaluation, form)
    assert "an evaluation file of llm.c" in refusal(evaluation)


@pytest.mark.parametrize(
    ("magic", "version", "form", "words"),
    [
        (20240520, 2, "auto", "unknown version of a token shard: got 2, expected 1"),
        (20240801, 1, "auto", "unknown version of a token shard: got 1, expected 7"),
        (20240801, 7, "v1", "wrong magic number: got 20240801, expected 20240520; leave out --shard-format v1"),
        (20240520, 1, "v7", "wrong magic number: got 20240520, expected 20240801; leave out --shard-format v7"),
        (20240520, 1, "npy", "not a NumPy array"),
    ],
)
def test_another_header(tmp_path, magic, version, form, words):
    path = with_header(tmp_path / "a.bin", TOKENS, magic=magic, version=version, kind="<u4" if version == 7 else "<u2")
    assert words in refusal(path, form)


def test_headers_that_are_cut_or_turned_round(tmp_path):
    cut = with_header(tmp_path / "a.bin", TOKENS)
    cut.write_bytes(cut.read_bytes()[:1000])
    assert "without its whole header: got 1000 bytes" in refusal(cut)
    assert "big-endian" in refusal(with_header(tmp_path / "b.bin", TOKENS, kind=">u2", byte_order=">"))
    long = with_header(tmp_path / "c.bin", TOKENS, magic=20240801, version=7, kind="<u4", count=len(TOKENS) + 1)
    assert "expected 1024 + 4 x 1502 = 7032; it is truncated" in refusal(long)


def test_tokens_that_are_turned_round_are_said_to_be_that(tmp_path):
    """Of which the tokenizer is not to blame: each number is a token when its bytes are read the other way."""
    turned = [
        (with_header(tmp_path / "a.bin", TOKENS, kind=">u2"), "auto"),
        (with_header(tmp_path / "b.bin", TOKENS, kind=">u4", magic=20240801, version=7), "auto"),
        (headerless(tmp_path / "c.bin", TOKENS, ">u2"), "uint16"),
        (headerless(tmp_path / "d.bin", TOKENS, ">u4"), "uint32"),
    ]
    for path, form in turned:
        said = refusal(path, form)
        assert f"{path.name}: its tokens are in big-endian order: got " in said
        assert said.endswith(
            "expected 0..699, as the other order of its bytes gives throughout; write it little-endian"
        )
    beyond = with_header(tmp_path / "e.bin", [*TOKENS, 700])
    assert "lies outside the vocabulary: got 700" in refusal(beyond)


class Trap:
    def __reduce__(self):
        return os.mkdir, ("trapped",)


def test_arrays_are_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("objects.npy", np.array([Trap()], object), allow_pickle=True)
    assert "of no integers: got object" in refusal(tmp_path / "objects.npy")
    assert not (tmp_path / "trapped").exists()
    (tmp_path / "pickle.npy").write_bytes(pickle.dumps(Trap()))
    refusal(tmp_path / "pickle.npy")
    assert not (tmp_path / "trapped").exists()
    for kind, words in [("<f4", "of no integers: got float32"), ("?", "of no integers: got bool")]:
        assert words in refusal(array(tmp_path / "a.npy", TOKENS, kind))
    square = array(tmp_path / "b.npy", np.asfortranarray(TOKENS[:1500].reshape(30, 50)), "<u2")
    assert "of 2 dimensions: got [30, 50], expected one stream of tokens" in refusal(square)
    assert "0 dimensions" in refusal(array(tmp_path / "c.npy", 3, "<u2"))
    empty = array(tmp_path / "d.npy", [], "<u2")
    assert f"{empty}: an empty corpus: got 0 tokens, expected at least 1; pass " in refusal(empty)


def test_arrays_that_are_damaged(tmp_path):
    path = array(tmp_path / "a.npy", TOKENS, "<u4")
    whole = path.read_bytes()
    for content in (whole[:-1], whole + b"x"):
        path.write_bytes(content)
        assert "does not have the length that its header gives" in refusal(path)
    for content in (whole[:40], whole[:7], whole[:6] + b"\x09\x09" + whole[8:], whole.replace(b"(1501,)", b"__import")):
        path.write_bytes(content)
        assert "a damaged NumPy array" in refusal(path)
    header = b"{'descr': '<u4', 'fortran_order': False, 'shape': (" + b"1," * 40_000 + b"), }\n"
    path.write_bytes(b"\x93NUMPY\x02\x00" + struct.pack("<I", len(header)) + header)
    assert "a damaged NumPy array" in refusal(path)


def test_ids_of_32_bits_are_looked_at_without_a_vocabulary(tmp_path):
    largest = array(tmp_path / "a.npy", [5, 2**31 - 2], "<u4")
    assert read(largest, vocab_size=None).tolist() == [5, 2**31 - 2]
    path = array(tmp_path / "b.npy", [5, 2**31 - 1], "<u4")
    assert "token 1 lies outside the vocabulary: got 2147483647" in refusal(path, vocab_size=None)


def test_an_array_is_mapped_to_be_read_alone(tmp_path):
    assert not map_shard(array(tmp_path / "a.npy", TOKENS, "<u2")).flags.writeable


@pytest.mark.parametrize("worst", [-1, 700, 2**33])
def test_ids_outside_the_vocabulary_are_refused_in_every_layout(tmp_path, worst):
    tokens = TOKENS.copy()
    tokens[1234] = worst
    path = array(tmp_path / "a.npy", tokens, "<i8")
    assert f"token 1234 lies outside the vocabulary: got {worst}, expected 0..699" in refusal(path)
    if worst != 700:
        assert "token 1234 lies outside" in refusal(path, vocab_size=None)
    if worst == 700:
        assert "token 1234" in refusal(headerless(tmp_path / "b.bin", tokens, "<u4"), "uint32")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x1f\x8b\x08" + bytes(2000), "compressed with gzip: unpack it"),
        (b"PK\x03\x04" + bytes(2000), "this is a zip archive"),
        (b"PAR1\x15" + bytes(2001), "this is Parquet"),
        (
            b"the cat " * 200,
            "wrong magic number: got text, expected 20240520; give token shards here, and text as --docs",
        ),
        ("caf\u00e9 ".encode() * 200, "give token shards here, and text as --docs"),
    ],
)
def test_other_formats_are_named(tmp_path, content, words):
    (tmp_path / "a.bin").write_bytes(content)
    assert words in refusal(tmp_path / "a.bin", vocab_size=2**16)


def test_only_regular_files_and_each_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.bin")
    assert "cannot be read: got a pipe, expected a file; write it to a file first" in refusal(tmp_path / "pipe.bin")
    assert "got a device" in refusal("/dev/null")
    path = with_header(tmp_path / "a.bin", TOKENS)
    (tmp_path / "link.bin").symlink_to(path)
    for again in (path, str(path), tmp_path / "*.bin", tmp_path / "link.bin"):
        with pytest.raises(CorpusError, match=r"given twice|cannot be read"):
            load_shards([path, again])
    with pytest.raises(CorpusError, match=r"link\.bin: the same file is given twice: got .*a\.bin and .*link\.bin"):
        load_shards([path, tmp_path / "link.bin"])


def test_folders_hold_shards_or_arrays(tmp_path):
    array(tmp_path / "b.npy", TOKENS, "<u2")
    array(tmp_path / "a.npy", TOKENS, "<u2")
    assert [path.name for path in find_shards([tmp_path])] == ["a.npy", "b.npy"]
    with_header(tmp_path / "z.bin", TOKENS)
    assert [path.name for path in find_shards([tmp_path])] == ["z.bin"]
    assert [path.name for path in find_shards([tmp_path], shard_format="npy")] == ["a.npy", "b.npy"]


def test_a_format_that_is_none(tmp_path):
    with pytest.raises(UsageError, match="--shard-format: got 'int16', expected auto or v1 or"):
        load_shards([with_header(tmp_path / "a.bin", TOKENS)], shard_format="int16")
