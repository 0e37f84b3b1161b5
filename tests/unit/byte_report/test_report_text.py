"""What a person reads of counts of bytes, at any width."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
import sentencepiece

from bpb_harness.byte_count import load_tokenizer
from bpb_harness.byte_report.report import measure_bytes
from bpb_harness.byte_report.report_text import describe
from bpb_harness.terminal.screen import Screen
from bpb_harness.text.corpus import load_shards
from tests.printed import words_of
from tests.shards import write_shard

TEXTS = ["the cat sat on the mat", "the rat ate\nthe cat", "a cat"] * 4


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A function from documents, or None, to a report of the shard of TEXTS."""
    folder = tmp_path_factory.mktemp("bytes")
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS), model_writer=model, model_type="bpe", vocab_size=280, hard_vocab_limit=False,
        byte_fallback=True, num_threads=1, minloglevel=2,
    )  # fmt: skip
    (folder / "a-tokenizer-with-a-name-that-is-rather-long-as-they-are.model").write_bytes(model.getvalue())
    tokenizer = load_tokenizer(next(folder.glob("*.model")))
    tokens = np.concatenate([[tokenizer.bos_id, *tokenizer.encode(text)] for text in TEXTS])
    corpus = load_shards([write_shard(folder / "a.bin", tokens)])
    return lambda documents: measure_bytes(tokenizer, corpus, documents, from_shards=True)


@pytest.mark.parametrize("documents", [None, TEXTS, TEXTS[:2], ["another text", "the cat"]])
@pytest.mark.parametrize("width", [80, 120])
def test_every_report_fits_a_terminal(measured, documents, width):
    report = measured(documents)
    text = describe(report, Screen(width))
    assert text.startswith(
        f"{report.num_bytes_official:,} bytes by the official rule, {report.bytes_per_token:.6f} per"
    )
    # A path is never broken, and may be longer than what its label leaves.
    assert all(len(line) <= width or max(map(len, line.split())) > width - 13 for line in text.splitlines())
    assert words_of(text).count(words_of(report.tokenizer.name)) >= 1
    for finding in report.findings:
        assert f"{finding.code} {finding.severity.value}" in text
        assert words_of(finding.message) in words_of(text)
    coloured = describe(report, Screen(width, has_colour=True))
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == text


def test_lossless_says_how_far_that_is_known(measured):
    assert "lossless yes, as far as tokens alone can tell (--docs" in words_of(describe(measured(None)))
    assert "lossless yes: the tokens give the documents back" in words_of(describe(measured(TEXTS)))
    assert "yes: the tokens give the 2 documents that were compared back" in words_of(describe(measured(TEXTS[:2])))
    assert "lossless no: the tokens are not those of the documents (BPB179)" in words_of(
        describe(measured(["another text", "a cat"]))
    )


def test_differences_name_the_first_place_and_the_reason(measured):
    text = words_of(describe(measured(TEXTS)))
    assert "where they differ compared documents first at why" in text
    assert "normalised - raw 4 document 1, byte 11 the normaliser dropped a newline or made a space of it" in text
    assert "nothing differs" not in text
