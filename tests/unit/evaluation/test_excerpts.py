"""Excerpts spell what documents spell, each token at its own price."""

import json

import numpy as np
import pandas as pd
import pytest

from bpb_harness.byte_count import load_tokenizer
from bpb_harness.evaluation.excerpts import LONGEST_TEXT, excerpts
from bpb_harness.evaluation.inputs import EvaluationText
from bpb_harness.text.corpus import load_documents, load_shards


@pytest.fixture(scope="module")
def fixtures(repository):
    return repository / "fixtures"


@pytest.fixture(scope="module")
def tokenizer(fixtures):
    return load_tokenizer(fixtures / "tokenizers" / "tiny_512_bpe.model")


@pytest.fixture(scope="module")
def written(fixtures):
    lines = (fixtures / "corpora" / "tiny_val_docs.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line)["text"] for line in lines]


@pytest.mark.parametrize("kind", ["shards", "documents"])
def test_an_excerpt_is_the_beginning_of_its_document(fixtures, tokenizer, written, kind):
    folder = fixtures / "corpora"
    if kind == "shards":
        corpus = load_shards([folder / "tiny_val_000000.bin"])
    else:
        corpus = load_documents([folder / "tiny_val_docs.jsonl"], tokenizer)
    text = EvaluationText(corpus, tokenizer, "--data")
    which = [0, 17, int(np.argmax([len(each.encode()) for each in written])), 202]
    found = excerpts(text, which, None, None)
    assert [each.document for each in found] == which
    for each in found:
        whole = written[each.document].encode()
        spelled = b"".join(piece.spelled for piece in each.pieces)
        assert len(spelled) <= LONGEST_TEXT
        assert whole.startswith(spelled)
        assert len(spelled) + each.num_bytes_left_out == len(whole)
        assert each.num_bytes_left_out == 0 or len(spelled) > LONGEST_TEXT - 20
        assert (each.pieces[0].spelled, each.pieces[0].name) == (b"", "<s>")
        assert all(piece.bits is None and not piece.name for piece in each.pieces[1:])
    assert any(each.num_bytes_left_out for each in found)


def test_each_token_has_its_own_price_and_one_that_was_not_scored_none(fixtures, tokenizer):
    corpus = load_shards([fixtures / "corpora" / "tiny_val_000000.bin"])
    text = EvaluationText(corpus, tokenizer, "--data")
    start, end = text.borders.starts[3:5].tolist()
    position = np.arange(start + 1, end)
    tokens = pd.DataFrame({"position": position, "share_bits": position / 8.0, "other": 0.0 * position})
    (found,) = excerpts(text, [3], tokens, "share_bits")
    assert [piece.bits for piece in found.pieces] == [None, *(position / 8.0).tolist()]
    (found,) = excerpts(text, [3], tokens, "other")
    assert {piece.bits for piece in found.pieces[1:]} == {0.0}


def test_tokens_that_do_not_give_their_text_back_have_no_excerpt(fixtures, tokenizer, monkeypatch):
    corpus = load_shards([fixtures / "corpora" / "tiny_val_000000.bin"])
    text = EvaluationText(corpus, tokenizer, "--data")
    monkeypatch.setattr(type(tokenizer), "decode", lambda self, tokens: b"?")
    assert excerpts(text, [0, 1], None, None) == []
    monkeypatch.setattr(type(tokenizer), "uncountable", "its pieces have no bytes")
    assert excerpts(text, [0, 1], None, None) == []
