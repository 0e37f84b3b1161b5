"""Documents against shards: whatever sets documents off there, bytes of the same documents are compared."""

from __future__ import annotations

import io

import numpy as np
import pytest
import sentencepiece

from bpb_harness.byte_count import load_tokenizer
from bpb_harness.byte_report.report import measure_bytes
from bpb_harness.text.corpus import load_shards
from bpb_harness.text.separators import find_separators
from tests.shards import write_shard

TEXTS = ["the cat sat", "on the mat", "caf\u00e9 cat", "a rat", "the mat", "ate the cat", "", "sat", "a cat", "the end"]
NUM_BYTES = sum(len(text.encode()) for text in TEXTS)
PAD = 3


@pytest.fixture(scope="module")
def tokenizer():
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["the cat sat on the mat", "a rat ate the cat"] * 5), model_writer=model, pad_id=PAD,
        model_type="bpe", vocab_size=310, hard_vocab_limit=False, byte_fallback=True, minloglevel=2,
        normalization_rule_name="identity",
    )  # fmt: skip
    return load_tokenizer(model.getvalue())


class Again(list):
    """Documents that can be read twice, as the command gives them."""


def stream(tokenizer, texts, *, before=(), behind=(), head=()):
    return [*head, *(token for text in texts for token in [*before, *tokenizer.encode(text).tolist(), *behind])]


def report(tmp_path, tokenizer, tokens, texts=TEXTS, *, chosen=None):
    corpus = load_shards([write_shard(tmp_path / "x.bin", tokens)], vocab_size=tokenizer.vocab_size)
    separators = find_separators(tokenizer, chosen=chosen)
    return measure_bytes(separators.apply(tokenizer), corpus, Again(texts), separators=separators)


def codes(found):
    return [one.code for one in found.findings]


@pytest.mark.parametrize(
    ("around", "place", "extra"),
    [
        ({"before": [1]}, "before", []),
        ({"behind": [2]}, "behind", []),
        ({"before": [1], "behind": [2]}, "before", []),
        ({"behind": [2], "head": [1]}, "behind", []),
        ({}, "none", ["BPB180"]),
        ({"behind": [PAD]}, "none", ["BPB180"]),
        ({"before": [PAD, PAD]}, "none", ["BPB180"]),
    ],
)
def test_the_same_documents_whatever_sets_them_off(tmp_path, tokenizer, around, place, extra):
    assert tokenizer.spaces.dummy_prefix
    found = report(tmp_path, tokenizer, stream(tokenizer, TEXTS, **around))
    assert codes(found) == extra
    assert found.borders.place == place
    assert found.num_documents == len(TEXTS)
    assert found.compares_all
    assert found.lossless
    truth = found.truth
    assert found.num_bytes_exact == truth.num_bytes_exact == truth.num_bytes_normalized == NUM_BYTES
    assert truth.num_bytes_raw == NUM_BYTES
    named = found.to_dict()["separator"]
    assert (named is None) is (place == "none")
    if named:
        id_, piece = (1, "<s>") if place == "before" else (2, "</s>")
        where = f"the {'BOS' if place == 'before' else 'EOS'} of the SentencePiece model"
        assert named == {"id": id_, "piece": piece, "place": place, "named_by": where}
    if around.get("behind") == [PAD]:
        assert "Between them stands '<pad>' (id 3), which is not named" in found.findings[0].message


def test_a_choice_is_what_sets_documents_off(tmp_path, tokenizer):
    found = report(tmp_path, tokenizer, stream(tokenizer, TEXTS, behind=[PAD]), chosen=str(PAD))
    assert (codes(found), found.borders.place, found.compares_all) == ([], "behind", True)


@pytest.mark.parametrize("around", [{}, {"before": [1]}, {"behind": [2]}])
def test_the_first_documents_alone(tmp_path, tokenizer, around):
    whole = stream(tokenizer, TEXTS, **around)
    few = report(tmp_path, tokenizer, whole, TEXTS[:3])
    assert "BPB179" in codes(few)
    assert not few.compares_all
    assert (few.truth.num_documents, few.truth.num_bytes_raw) == (3, sum(len(text.encode()) for text in TEXTS[:3]))
    assert few.truth.num_bytes_exact == few.truth.num_bytes_raw
    assert few.lossless
    assert next(one for one in few.findings if one.code == "BPB179").severity.value == "info"
    more = report(tmp_path, tokenizer, stream(tokenizer, TEXTS[:3], **around))
    assert "BPB179" in codes(more)
    assert more.truth.num_bytes_raw == few.truth.num_bytes_raw
    assert "hold only the first 3 of the 10 documents" in more.findings[-1 if around else 0].message


@pytest.mark.parametrize("around", [{}, {"before": [1]}, {"behind": [2]}, {"behind": [PAD]}])
def test_other_documents_are_never_called_the_same(tmp_path, tokenizer, around):
    other = [*TEXTS[:4], "something else", *TEXTS[5:]]
    found = report(tmp_path, tokenizer, stream(tokenizer, other, **around))
    assert "BPB179" in codes(found)
    assert not found.lossless
    said = next(one for one in found.findings if one.code == "BPB179")
    assert said.severity.value == "warning"
    assert "First in document 4 (from 0) at token 0" in said.message
    if not around or around == {"behind": [PAD]}:
        assert not found.compares_all
        assert found.truth.num_bytes_raw == sum(len(text.encode()) for text in TEXTS[:4])


def test_a_cut_stream_is_not_whole(tmp_path, tokenizer):
    tokens = stream(tokenizer, TEXTS)
    for cut in (1, 4):
        found = report(tmp_path, tokenizer, tokens[:-cut])
        assert not found.compares_all
        assert "BPB179" in codes(found)
    longer = report(tmp_path, tokenizer, [*tokens, *tokenizer.encode("more").tolist()])
    assert not longer.compares_all
    assert f"Only the first {len(tokens)} of" in longer.findings[0].message


def test_a_token_inside_documents_does_not_set_them_off(tmp_path, tokenizer):
    # a document of two turns, each of which ends with EOS; documents themselves run on
    turns = [[*tokenizer.encode(text).tolist()[:1], 2, *tokenizer.encode(text).tolist()[1:]] for text in TEXTS if text]
    found = report(tmp_path, tokenizer, [token for turn in turns for token in turn])
    assert "BPB179" in codes(found)
    run_on = [*stream(tokenizer, TEXTS[:5]), 2, *stream(tokenizer, TEXTS[5:]), 2]
    found = report(tmp_path, tokenizer, run_on)
    assert codes(found) == ["BPB180"]
    assert found.findings[0].message.startswith("'</s>' (id 2) behind each document does not set off these documents.")
    assert (found.num_documents, found.compares_all, found.num_bytes_exact) == (10, True, NUM_BYTES)


def test_documents_that_can_be_read_but_once_are_compared_once(tmp_path, tokenizer):
    corpus = load_shards([write_shard(tmp_path / "x.bin", stream(tokenizer, TEXTS, behind=[2]))])
    found = measure_bytes(tokenizer, corpus, iter(["other", *TEXTS[1:]]))
    assert codes(found) == ["BPB179"]
    np.testing.assert_array_equal(found.borders.starts, np.unique(found.borders.starts))


def test_an_entry_of_the_vocabulary_that_nothing_names_may_set_documents_off(tmp_path, tokenizer):
    token = tokenizer.pieces.index("<0x07>")  # which no text here is written with
    for around in ({"before": [token]}, {"behind": [token]}):
        found = report(tmp_path, tokenizer, stream(tokenizer, TEXTS, **around))
        assert codes(found) == ["BPB180"]
        assert (found.num_documents, found.compares_all, found.truth.num_bytes_raw) == (10, True, NUM_BYTES)
        assert (
            "'<0x07>' (id 11), which is not named as a BOS or EOS; its bytes are counted" in found.findings[0].message
        )
    two = stream(tokenizer, TEXTS[:5], behind=[token]) + stream(tokenizer, TEXTS[5:], behind=[token + 1])
    assert "BPB179" in codes(report(tmp_path, tokenizer, two))
