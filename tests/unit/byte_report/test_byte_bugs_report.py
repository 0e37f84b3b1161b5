"""Findings about the bytes of a corpus, each provoked once."""

from __future__ import annotations

import functools
import io
import json

import numpy as np
import pytest
import sentencepiece
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

from bpb_harness.byte_count import PieceKind, load_tokenizer
from bpb_harness.byte_count.ground_truth import Reason
from bpb_harness.byte_report.report import measure_bytes
from bpb_harness.byte_report.report_text import describe
from bpb_harness.findings import Severity
from bpb_harness.text.corpus import load_documents, load_shards
from tests.printed import words_of

SENTENCES = ["the cat sat on the mat, the rat ate the cat \ue001"] * 10


@functools.cache
def trained(**options):
    model = io.BytesIO()
    given = {"vocab_size": 320, "byte_fallback": True, "normalization_rule_name": "identity", **options}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES),
        model_writer=model,
        model_type="bpe",
        hard_vocab_limit=False,
        num_threads=1,
        minloglevel=2,
        **given,
    )
    return load_tokenizer(model.getvalue())


def shard(folder, tokenizer, texts, extra=()):
    tokens = [token for text in texts for token in [tokenizer.bos_id, *tokenizer.encode(text).tolist()]]
    header = np.zeros(256, "<i4")
    header[:3] = 20240520, 1, len(tokens) + len(extra)
    path = folder / "x.bin"
    path.write_bytes(header.tobytes() + np.asarray([*tokens, *extra], "<u2").tobytes())
    return load_shards([path])


def found(report):
    return {finding.code: finding for finding in report.findings}


def test_plain_text_has_no_findings(tmp_path):
    tokenizer = trained()
    texts = ["the cat", "the rat ate"]
    report = measure_bytes(tokenizer, shard(tmp_path, tokenizer, texts), texts)
    assert report.findings == ()
    assert report.lossless
    assert report.num_bytes_raw == report.num_bytes_exact == report.num_bytes_official == 18


def test_unknown_tokens(tmp_path):
    tokenizer = trained(byte_fallback=False, vocab_size=40)
    report = measure_bytes(tokenizer, shard(tmp_path, tokenizer, ["the cat \u65e5 sat", "the rat", "a mat"]))
    assert found(report)["BPB171"].evidence["unknown"] == report.num_unknown_tokens == 1
    assert not report.lossless
    assert found(report)["BPB173"].evidence["reason"] == "after_boundary"


def test_a_literal_space_symbol(tmp_path):
    tokenizer = trained()
    texts = ["the cat", "the\u2581rat"]
    corpus = shard(tmp_path, tokenizer, texts)
    assert measure_bytes(tokenizer, corpus).lossless, "the tokens alone cannot show it"
    report = measure_bytes(tokenizer, corpus, texts)
    assert (found(report)["BPB176"].evidence["document"], found(report)["BPB176"].evidence["position"]) == (1, 3)
    assert not report.lossless
    assert report.num_bytes_raw - report.num_bytes_exact == 2
    assert "BPB174" not in found(report)


def test_private_use_characters(tmp_path):
    tokenizer = trained()
    report = measure_bytes(tokenizer, shard(tmp_path, tokenizer, ["\ue001the \ue001cat"] * 2))
    assert found(report)["BPB178"].evidence["bytes"] == 12
    assert report.lossless


def test_unused_pieces(tmp_path):
    tokenizer = trained()
    corpus = shard(tmp_path, tokenizer, ["the cat"])
    kinds = tokenizer.piece_kinds.copy()
    kinds[corpus.read(1, 2)] = PieceKind.UNUSED
    fresh = load_tokenizer(tokenizer.model_bytes)
    fresh.piece_kinds = kinds
    report = measure_bytes(fresh, corpus)
    assert found(report)["BPB177"].evidence["ids"] == corpus.read(1, 2).tolist()
    assert found(report)["BPB173"].evidence["reason"] == "unused_piece"
    assert report.num_bytes_official < report.num_bytes_exact


def test_spaces_as_byte_pieces(tmp_path):
    """A space before a character that no piece holds: without a bare U+2581 it is three byte pieces."""
    bare, other = b"\x0a\x03" + "\u2581".encode(), b"\x0a\x03" + "\u4e00".encode()  # as the model file spells a piece
    assert trained().model_bytes.count(bare) == 1
    tokenizer = load_tokenizer(trained().model_bytes.replace(bare, other))
    texts = ["the \u65e5 \u65e5 cat"] * 3
    report = measure_bytes(tokenizer, shard(tmp_path, tokenizer, texts), texts)
    finding = found(report)["BPB170"]
    assert report.num_bytes_exact == report.num_bytes_raw == 3 * len(texts[0].encode())
    assert finding.factor == report.num_bytes_official / report.num_bytes_exact > 1


@pytest.mark.parametrize("texts", [["the cat"], ["the cat", "the rat", "the mat"]])
def test_another_number_of_documents(tmp_path, texts):
    tokenizer = trained()
    report = measure_bytes(tokenizer, shard(tmp_path, tokenizer, ["the cat", "the rat"]), texts)
    assert found(report)["BPB179"].evidence["texts"] == len(texts)
    assert found(report)["BPB179"].evidence["documents_in_shards"] == 2


def test_the_first_documents_alone_are_compared_among_themselves(tmp_path):
    """Part of the documents says nothing of the rest: rates are over the tokens of those that were given."""
    tokenizer, texts = trained(), ["the cat", "the\n rat", "a mat"]
    size = shard(tmp_path, tokenizer, texts).num_tokens
    corpus = shard(tmp_path, tokenizer, texts + ["the cat sat on the mat"] * 9)
    report = measure_bytes(tokenizer, corpus, texts)
    finding = found(report)["BPB179"]
    assert "the first 3 of 12 documents" in finding.message
    assert "all equal" in finding.message
    assert "not those of the shards" not in finding.message
    assert finding.severity is Severity.INFORMS
    assert not report.compares_all
    assert report.to_dict()["compared"] == {
        "num_documents": 3,
        "num_tokens": size,
        "num_bytes_official": 20,
        "num_bytes_exact": 20,
    }
    assert report.num_bytes_raw == sum(map(len, texts))
    table = describe(report)
    assert f"{20 / size:.6f}" in table
    assert f"{20 / corpus.num_tokens:.6f}" not in table
    assert f"{(20 + 9 * 22) / corpus.num_tokens:.6f}" in table


def test_more_documents_than_the_shards_hold_are_said_so(tmp_path):
    tokenizer, texts = trained(), ["the cat", "the rat", "a mat"]
    message = found(measure_bytes(tokenizer, shard(tmp_path, tokenizer, texts[:2]), texts))["BPB179"].message
    assert "the first 2 of the 3 documents" in message
    assert "all equal" in message


def test_some_of_the_first_documents_differ(tmp_path):
    tokenizer = trained()
    corpus = shard(tmp_path, tokenizer, ["the cat", "the rat", "a mat"])
    message = found(measure_bytes(tokenizer, corpus, ["the cat", "the mat"]))["BPB179"]
    assert "not those of the shards" in message.message
    assert "1 of the 2 compared" in message.message
    assert message.severity is Severity.WARNS


def test_a_rule_that_is_fooled_behind_the_documents_that_were_given_is_found(tmp_path):
    tokenizer = trained(byte_fallback=False, vocab_size=40)
    corpus = shard(tmp_path, tokenizer, ["the cat", "the rat", "a \u65e5 mat"])
    assert found(measure_bytes(tokenizer, corpus, ["the cat"]))["BPB173"].evidence["reason"] == "after_boundary"


def test_the_same_text_in_other_tokens_is_said_so(tmp_path):
    tokenizer = trained()
    single = [tokenizer.bos_id, *(tokenizer.pieces.index(piece) for piece in ("\u2581", "t", "h", "e"))]
    report = measure_bytes(
        tokenizer, shard(tmp_path, tokenizer, ["the cat"] * 99, extra=single), ["the cat"] * 99 + ["the"]
    )
    finding = found(report)["BPB179"]
    assert "spell these documents" in finding.message
    assert (finding.evidence["reason"], finding.evidence["document"]) == ("other_tokens", 99)
    assert report.lossless


def test_a_normaliser_that_puts_white_space_in(tmp_path):
    """Three bytes for each space: the letters are the same, and the bytes are not those of the text."""
    letters = {letter: token for token, letter in enumerate(pre_tokenizers.ByteLevel.alphabet())}
    library = Tokenizer(models.BPE(letters, []))
    library.pre_tokenizer, library.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    texts = ["a cat", "the rat"]
    for normaliser, grows in ((normalizers.Replace(" ", "\u2581"), True), (normalizers.Replace("  ", " "), False)):
        library.normalizer = normaliser
        tokenizer = load_tokenizer(library.to_str().encode())
        corpus = load_documents([_documents(tmp_path, texts)], tokenizer)
        report = measure_bytes(tokenizer, corpus, texts, from_shards=False)
        assert report.lossless is not grows
        assert ("BPB181" in found(report)) is grows
        assert (measure_bytes(tokenizer, corpus, from_shards=False).lost is not None) is grows
        if grows:
            assert found(report)["BPB181"].evidence["reason"] == "added_space"
            assert found(report)["BPB181"].evidence["position"] == 1
            assert report.num_bytes_exact == report.num_bytes_raw + 4


@pytest.mark.parametrize("starts_with", [" ", ""])
def test_a_space_that_is_joined_with_the_dummy_prefix_is_called_that(tmp_path, starts_with):
    """bpb-eval scores such a text (spaces may be joined): bpb-bytes does not say that there are no bits per byte."""
    letters = {letter: token for token, letter in enumerate(pre_tokenizers.ByteLevel.alphabet())}
    library = Tokenizer(models.BPE(letters, []))
    library.pre_tokenizer, library.decoder = pre_tokenizers.ByteLevel(add_prefix_space=True), decoders.ByteLevel()
    texts = ["a cat", f"{starts_with}the rat"]
    tokenizer = load_tokenizer(library.to_str().encode())
    corpus = load_documents([_documents(tmp_path, texts)], tokenizer)
    report = measure_bytes(tokenizer, corpus, texts, from_shards=False)
    assert report.void is None
    assert report.lossless is (starts_with == "")
    assert report.num_bytes_exact == len("a cat") + len("the rat")
    assert report.truth.pieces.reasons == ({Reason.JOINED_SPACE: 1} if starts_with else {})
    said = words_of(describe(report))
    assert ("a space that starts a document does not come back" in said) is (starts_with == " ")


def _documents(folder, texts):
    path = folder / "docs.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def test_another_tokenizer(tmp_path):
    tokenizer, other = trained(), trained(vocab_size=330, user_defined_symbols=("cat", "rat", "sat"))
    report = measure_bytes(other, shard(tmp_path, tokenizer, SENTENCES))
    assert found(report)["BPB172"].severity is Severity.REFUTES
    assert not report.lossless


def test_the_report_is_json(tmp_path):
    tokenizer, texts = trained(), ["the\ncat  \ufb01"]
    keys = {"num_tokens", "num_bytes_official", "num_bytes_exact", "num_bytes_raw", "bytes_per_token", "lossless"}
    report = measure_bytes(tokenizer, shard(tmp_path, tokenizer, texts), texts).to_dict()
    assert keys | {"findings"} <= set(report)
    assert json.loads(json.dumps(report)) == report
