"""Shards, documents, windows: reading across borders, counting once, refusing what is broken."""

from __future__ import annotations

import hashlib
import io
import json
import os

import numpy as np
import pytest
import sentencepiece

from bpb_harness.byte_count import ByteCounter, load_tokenizer
from bpb_harness.errors import CorpusError
from bpb_harness.text.corpus import (
    iterate_documents,
    load_documents,
    load_shards,
)
from bpb_harness.text.spans import span_bytes, span_documents
from tests.spans import documents_of, end_to_end, windows_of


def write_shard(path, tokens, *, magic=20240520, version=1, count=None):
    header = np.zeros(256, "<i4")
    header[:3] = magic, version, len(tokens) if count is None else count
    path.write_bytes(header.tobytes() + np.asarray(tokens, "<u2").tobytes())
    return path


@pytest.fixture(scope="module")
def tokenizer():
    return trained()


@pytest.fixture(scope="module")
def tokenizer_without_bos():
    return trained(bos_id=-1)


def trained(**options):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["the cat sat on the mat, the rat ate the cat"] * 10),
        model_writer=model,
        model_type="bpe",
        vocab_size=300,
        hard_vocab_limit=False,
        byte_fallback=True,
        normalization_rule_name="identity",
        num_threads=1,
        minloglevel=2,
        **options,
    )
    return load_tokenizer(model.getvalue())


def test_shards_are_one_stream_however_they_are_cut(tmp_path):
    stream = np.arange(1000) % 700
    whole = load_shards([write_shard(tmp_path / "val_000000.bin", stream)])
    (tmp_path / "cut").mkdir()
    for index, (start, stop) in enumerate([(0, 1), (1, 400), (400, 400), (400, 1000)]):
        write_shard(tmp_path / "cut" / f"val_{index:06}.bin", stream[start:stop])
    cut = load_shards([tmp_path / "cut"])
    assert (cut.name, cut.num_tokens, cut.digest) == (whole.name, 1000, whole.digest) == ("val", 1000, cut.digest)
    assert cut.digest == hashlib.sha256(stream.astype("<u4").tobytes()).hexdigest()
    for start, stop in [(0, 1000), (0, 1), (1, 1), (399, 402), (1000, 1000), (0, 400)]:
        read = cut.read(start, stop)
        assert read.dtype == np.int64
        np.testing.assert_array_equal(read, stream[start:stop])
    for start, stop in [(-1, 4), (5, 4), (0, 1001)]:
        with pytest.raises(IndexError):
            cut.read(start, stop)


def test_patterns_folders_and_lists_give_the_same_order(tmp_path):
    for index in (2, 0, 1):
        write_shard(tmp_path / f"val_{index:06}.bin", [index])
    (tmp_path / "notes.txt").write_text("no shard")
    by_list = load_shards([tmp_path / f"val_{index:06}.bin" for index in range(3)])
    for given in ([tmp_path], [str(tmp_path / "val_*.bin")]):
        corpus = load_shards(given)
        assert corpus.read(0, 3).tolist() == [0, 1, 2]
        assert corpus.digest == by_list.digest


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["fineweb_val_000000.bin"], "fineweb_val"),
        (["a|b @c_000001.bin"], "a_b_c"),
        (["one.bin", "two.bin", "three.bin"], "one+2"),
        (["[0:3].bin"], "_0_3_"),
    ],
)
def test_a_corpus_has_a_short_name(tmp_path, names, expected):
    assert load_shards([write_shard(tmp_path / name, [1]) for name in names]).name == expected


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda path: write_shard(path, [1, 2], magic=1), "magic number: got 1, expected 20240520"),
        (lambda path: write_shard(path, [1, 2], version=2), "version of a token shard: got 2"),
        (lambda path: write_shard(path, [1, 2], count=3), "got 1028 bytes, expected 1024 \\+ 2 x 3"),
        (lambda path: write_shard(path, [1, 2], count=-1), "length"),
        (lambda path: path.write_bytes(write_shard(path, [1, 2]).read_bytes() + b"x"), "got 1029 bytes"),
        (lambda path: path.write_bytes(b"short"), "got 5 bytes"),
        (lambda path: path.write_bytes(b""), "got 0 bytes"),
        (lambda path: write_shard(path, []), "empty corpus"),
        (lambda path: write_shard(path, [1, 999, 1000, 7]), "token 2 lies outside the vocabulary: got 1000"),
        (lambda path: None, "no such file"),
    ],
)
def test_a_broken_shard_is_one_line(tmp_path, write, words):
    path = tmp_path / "x.bin"
    write(path)
    with pytest.raises(CorpusError, match=words) as error:
        load_shards([path], vocab_size=1000)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "next_step"),
    [(b"", "the file is empty: write or fetch it again"), (b"short", "--docs"), (b"text " * 300, "--docs")],
)
def test_what_is_no_shard_says_what_to_do(tmp_path, content, next_step):
    (tmp_path / "x.bin").write_bytes(content)
    with pytest.raises(CorpusError, match=f"not a token shard.*; .*{next_step}"):
        load_shards([tmp_path / "x.bin"])


def test_a_folder_without_shards_is_not_called_missing(tmp_path):
    with pytest.raises(CorpusError, match=r"the folder holds no \.bin file; give a file") as error:
        load_shards([tmp_path])
    assert "no such file" not in str(error.value)
    (tmp_path / "inner").mkdir()
    write_shard(tmp_path / "inner" / "x.bin", [1, 2])
    with pytest.raises(CorpusError, match=r"there are some in .*inner: give that folder"):
        load_shards([tmp_path])
    with pytest.raises(CorpusError, match=r"the folder holds no \.jsonl, \.txt, .*\.parquet, \.arrow, .* file"):
        list(iterate_documents([tmp_path]))


def test_a_shard_given_as_text_is_recognised(tmp_path):
    write_shard(tmp_path / "x.bin", [1, 2])
    with pytest.raises(CorpusError, match="got 0x88, expected text; this is a token shard: pass it with --data"):
        list(iterate_documents([tmp_path / "x.bin"]))


def test_no_paths_and_an_empty_folder_are_errors(tmp_path):
    for given in ([], [tmp_path], [tmp_path / "*.bin"]):
        with pytest.raises(CorpusError):
            load_shards(given)


def test_documents_become_a_stream_that_knows_its_text(tmp_path, tokenizer):
    texts = ["the cat", "", "caf\u00e9 \U0001f600\n", " the  rat "]
    (tmp_path / "docs.jsonl").write_text("\ufeff" + "\n".join(json.dumps({"text": t, "id": 3}) for t in texts) + "\n\n")
    corpus = load_documents([tmp_path / "docs.jsonl"], tokenizer)
    pieces = [[tokenizer.bos_id, *tokenizer.encode(text)] for text in texts]
    assert corpus.name == "docs"
    assert corpus.read(0, corpus.num_tokens).tolist() == [token for document in pieces for token in document]
    assert corpus.raw_bytes_per_document.tolist() == [len(text.encode()) for text in texts]
    assert corpus.num_raw_bytes == sum(len(text.encode()) for text in texts)
    assert corpus.document_starts().tolist() == np.cumsum([0, *map(len, pieces)])[:-1].tolist()
    exact = span_bytes(corpus, documents_of(corpus), ByteCounter(tokenizer), "exact")
    assert exact.tolist() == [len(tokenizer.normalize(text).encode()) for text in texts]
    assert list(iterate_documents([tmp_path / "docs.jsonl"])) == texts


def test_documents_without_separators_keep_their_own_dummy_prefix(tmp_path, tokenizer_without_bos):
    texts = ["the cat", "the rat", "\u65e5 the"] * 5
    (tmp_path / "d.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    corpus, counter = load_documents([tmp_path / "d.jsonl"], tokenizer_without_bos), ByteCounter(tokenizer_without_bos)
    assert tokenizer_without_bos.spaces.dummy_prefix
    exact = span_bytes(corpus, documents_of(corpus), counter, "exact")
    assert exact.tolist() == [len(text.encode()) for text in texts]
    assert counter.total(corpus, "exact") == corpus.num_raw_bytes


def test_a_plain_file_is_one_document(tmp_path, tokenizer):
    (tmp_path / "b.txt").write_bytes(b"the cat\r\n")
    (tmp_path / "a.txt").write_text("the rat")
    corpus = load_documents([tmp_path], tokenizer)
    assert corpus.raw_bytes_per_document.tolist() == [7, 9]
    assert len(corpus.document_starts()) == 2


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"text": "a"}\n{"text": \n', "line 2 is not JSON"),
        (b'{"text": "a"}\n\n["a"]\n', "line 3 has no text"),
        (b'{"text": 3}\n', "line 1 has no text"),
        (b'{"text": "a"}\n{"text": "\xff"}\n', "invalid UTF-8 at byte 24: got 0xFF"),
        (b'{"text": "\\ud800"}\n', r"line 1: a lone surrogate at character 0 is no text: got \\ud800 under 'text'"),
        (b"[" * 100_000, "line 1 is not JSON"),
        (b"\n\n", "no documents"),
        (b"", "no documents"),
    ],
)
def test_broken_documents_name_the_line_or_the_offset(tmp_path, tokenizer, content, words):
    path = tmp_path / "docs.jsonl"
    path.write_bytes(content)
    with pytest.raises(CorpusError, match=words) as error:
        load_documents([path], tokenizer)
    assert "\n" not in str(error.value)


def test_a_plain_file_of_invalid_utf8_names_the_offset(tmp_path, tokenizer):
    (tmp_path / "a.txt").write_bytes(b"abc\xe2\x96")
    with pytest.raises(
        CorpusError, match="invalid UTF-8 at byte 3: got 0xE2, expected text; convert the file to UTF-8"
    ):
        load_documents([tmp_path / "a.txt"], tokenizer)


def test_a_document_beyond_all_measure_is_refused(tmp_path, tokenizer, monkeypatch):
    monkeypatch.setattr("bpb_harness.text.corpus.LARGEST_DOCUMENT_BYTES", 20)
    (tmp_path / "a.txt").write_text("x" * 21)
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "x" * 21}))
    with pytest.raises(CorpusError, match="too long for one document"):
        load_documents([tmp_path / "a.txt"], tokenizer)
    with pytest.raises(CorpusError, match="line 1 is longer than 20 bytes"):
        load_documents([tmp_path / "a.jsonl"], tokenizer)


def test_documents_start_at_bos_in_shards(tmp_path):
    corpus = load_shards([write_shard(tmp_path / "x.bin", [1, 5, 1, 1, 5])])
    assert corpus.document_starts(1).tolist() == [0, 2, 3]
    assert corpus.document_starts(5).tolist() == [0, 1, 4]
    assert corpus.document_starts(9).tolist() == corpus.document_starts().tolist() == [0]


@pytest.mark.parametrize("num_tokens", [1, 9, 10, 11, 100])
def test_every_token_is_in_exactly_one_window(tmp_path, num_tokens):
    corpus = load_shards([write_shard(tmp_path / "x.bin", np.arange(num_tokens))])
    windows = windows_of(corpus, 10)
    read = [corpus.read(s, s + n) for s, n in zip(windows.starts, windows.lengths, strict=True)]
    np.testing.assert_array_equal(np.concatenate(read), np.arange(num_tokens))
    assert windows.num_tokens == num_tokens
    assert len(windows) == -(-num_tokens // 10)
    assert len(windows_of(corpus, 10, limit=3)) == min(3, len(windows))
    assert windows_of(corpus, 10, tail="drop").num_tokens == num_tokens // 10 * 10


@pytest.mark.parametrize("rule", ["official", "exact"])
def test_the_bytes_of_windows_are_those_of_the_stream(tmp_path, tokenizer, rule, monkeypatch):
    (tmp_path / "d.jsonl").write_text("\n".join(json.dumps({"text": f" the cat {n} \u65e5"}) for n in range(50)))
    corpus, counter = load_documents([tmp_path / "d.jsonl"], tokenizer), ByteCounter(tokenizer)
    whole = counter.span(corpus, 0, corpus.num_tokens, rule)
    for chunk in (1, 5, 1 << 20):
        monkeypatch.setattr("bpb_harness.text.spans.TOKENS_IN_CACHE", chunk)
        for length in (1, 2, 7, 10_000):
            windows = windows_of(corpus, length)
            expected = [whole[s : s + n].sum() for s, n in zip(windows.starts, windows.lengths, strict=True)]
            assert span_bytes(corpus, windows, counter, rule).tolist() == expected
    assert whole.sum() == counter.total(corpus, rule)


def test_windows_know_their_documents(tmp_path):
    corpus = load_shards([write_shard(tmp_path / "x.bin", [1, 5, 5, 1, 5, 1, 5, 5, 5, 5])])
    assert span_documents(corpus.document_starts(1), windows_of(corpus, 4)).tolist() == [[0, 1], [1, 2], [2, 2]]
    assert span_documents(corpus.document_starts(1), end_to_end([1], begin=5)).tolist() == [[2, 2]]


def test_a_shard_that_is_written_to_is_told_from_one_that_is_replaced_or_touched(tmp_path):
    tokens = np.arange(5000) % 400
    paths = [write_shard(tmp_path / name, tokens) for name in ("a.bin", "b.bin")]
    corpus = load_shards(paths)
    corpus.require_unchanged()
    os.utime(paths[0], ns=(0, 0))
    corpus.require_unchanged()
    write_shard(tmp_path / "new", tokens + 1).replace(paths[0])
    corpus.require_unchanged()  # what is mapped is the old one
    assert corpus.read(0, 3).tolist() == [0, 1, 2]
    paths[0].unlink()
    corpus.require_unchanged()
    with paths[1].open("r+b") as file:
        file.seek(1024 + 2 * 17)
        file.write(b"\x07\x00" if tokens[17] != 7 else b"\x08\x00")
    os.utime(paths[1], ns=(0, 0))  # clocks that tell half a hundredth of a second
    with pytest.raises(CorpusError, match="its shards were written to while they were scored; score it again"):
        corpus.require_unchanged()


def test_a_shard_that_is_cut_short_does_not_end_the_process(tmp_path):
    path = write_shard(tmp_path / "a.bin", np.arange(50_000) % 400)
    corpus = load_shards([path])
    os.truncate(path, 1024)
    with pytest.raises(CorpusError, match="written to while"):
        corpus.require_unchanged()
