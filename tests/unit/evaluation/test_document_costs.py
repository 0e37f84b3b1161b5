"""Documents of shards, of files and of answers: together they are the score, whatever the layout."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from bpb_harness.byte_count import ByteCounter, load_tokenizer
from bpb_harness.errors import CorpusError, UsageError
from bpb_harness.evaluation.document_costs import scored_documents
from bpb_harness.evaluation.inputs import EvaluationText
from bpb_harness.evaluation.job import Job, ModelIdentity
from bpb_harness.evaluation.settings import Settings
from bpb_harness.schedule import LogLinear
from bpb_harness.text.corpus import load_documents, load_shards
from bpb_harness.text.separators import Named, Separators
from tests.answers import answers_job
from tests.oracles.conditionals import Table
from tests.oracles.denoisers import OracleDenoiser
from tests.shards import write_shard


class Masked:
    vocab_size, mask_token_id, context_length, time_conditioned = 512, 512, 16, False

    def logits(self, xt, level):
        raise AssertionError


class Causal:
    vocab_size, context_length = 512, 16

    def logits(self, x):
        raise AssertionError


LAYOUTS: dict[str, dict[str, Any]] = {
    "windows": {},
    "limit": {"limit": 3},
    "drop": {"tail": "drop"},
    "stride": {"stride": 5},
    "blocks": {"block_size": 4},
    "prefix": {"unpaid_prefix": 3},
    "documents": {"per_document": True},
    "ar": {"method": "ar"},
    "ar documents": {"method": "ar", "per_document": True, "stride": 4},
}
TEXTS = ["the cat sat on the mat ", "a", "the dog  and the river\nran", "", "cat" * 30, "sun and sea"]
WHOLE = ["windows", "stride", "blocks", "prefix", "documents", "ar", "ar documents"]


@pytest.fixture(scope="module")
def tokenizer(repository):
    return load_tokenizer(repository / "fixtures" / "tokenizers" / "tiny_512_bpe.model")


def job(text: Any, **settings: Any) -> Job:
    chosen = Settings(**{"device": "cpu", "method": "mc"} | settings)
    model = Causal() if chosen.method == "ar" else Masked()
    return Job(model, text, chosen, None if chosen.method == "ar" else LogLinear(), ModelIdentity("0123456789"))


def encoded(tokenizer: Any) -> list[int]:
    return [int(token) for text in TEXTS for token in [tokenizer.bos_id, *tokenizer.encode(text)]]


def shard(tmp_path: Any, tokenizer: Any, *, behind: bool = False) -> EvaluationText:
    tokens = encoded(tokenizer)
    if behind:
        tokens = [*tokens[1:], tokens[0]]
    corpus = load_shards([write_shard(tmp_path / "a.bin", tokens[:20]), write_shard(tmp_path / "b.bin", tokens[20:])])
    named = Named(tokenizer.bos_id, "<s>", "it")
    return EvaluationText(corpus, tokenizer, "--data", separators=Separators(named, None, named, "it", chosen=True))


def documents(tmp_path: Any, tokenizer: Any) -> EvaluationText:
    path = tmp_path / "docs.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    return EvaluationText(load_documents([path], tokenizer), tokenizer, "--docs")


def expected_of(text: EvaluationText, spans: Any, starts: list[int]) -> dict[int, list[tuple[int, int]]]:
    """Of each document: (index among the targets, position)."""
    found: dict[int, list[tuple[int, int]]] = {}
    index = 0
    for a, b in zip(spans.starts.tolist(), spans.ends.tolist(), strict=True):
        for position in range(a, b):
            owner = max(number for number, start in enumerate(starts) if start <= position)
            found.setdefault(owner, []).append((index, position))
            index += 1
    return found


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("made_of", ["before", "behind", "documents"])
@pytest.mark.parametrize("rule", ["official", "exact", "none"])
def test_documents_add_up_to_the_score(tmp_path, tokenizer, layout, made_of, rule):
    text = (
        documents(tmp_path, tokenizer)
        if made_of == "documents"
        else shard(tmp_path, tokenizer, behind=made_of == "behind")
    )
    made = job(text, byte_rule=rule, **LAYOUTS[layout])
    laid = made.lay_out()
    found = scored_documents(made, laid)
    tokens = text.corpus.read(0, text.corpus.num_tokens).tolist()
    marks = [place for place, token in enumerate(tokens) if token == tokenizer.bos_id]
    starts = [0, *(mark + 1 for mark in marks[:-1])] if made_of == "behind" else marks
    owned = expected_of(text, laid.spans, starts)
    assert found.number.tolist() == list(owned)
    assert found.num_tokens.tolist() == [len(targets) for targets in owned.values()]
    values = np.random.default_rng(1).normal(size=laid.spans.num_tokens)
    sums = found.sums_of_tokens(values)
    assert sums.tolist() == pytest.approx([math.fsum(values[i] for i, _ in each) for each in owned.values()], abs=1e-12)
    assert math.fsum(sums) == pytest.approx(math.fsum(values), rel=1e-9)
    assert np.repeat(found.of_piece, found.pieces.lengths).tolist() == [
        row for _, row in sorted((i, row) for row, each in enumerate(owned.values()) for i, _ in each)
    ]
    assert found.num_tokens.sum() == laid.spans.num_tokens
    if rule == "none":
        assert found.num_bytes is None
        assert found.num_units.tolist() == found.num_tokens.tolist()
        return
    spelled = ByteCounter(tokenizer).span(text.corpus, 0, text.corpus.num_tokens, rule)
    assert spelled[marks].sum() == 0  # a token between documents has no bytes, whosever it is
    assert found.num_bytes.tolist() == [int(spelled[[place for _, place in each]].sum()) for each in owned.values()]
    assert found.num_bytes.sum() == laid.total_units
    assert found.num_units.tolist() == found.num_bytes.tolist()


@pytest.mark.parametrize("layout", WHOLE)
def test_raw_bytes_are_those_of_each_document_less_what_is_given(tmp_path, tokenizer, layout):
    text = documents(tmp_path, tokenizer)
    made = job(text, byte_rule="raw", **LAYOUTS[layout])
    laid = made.lay_out()
    found = scored_documents(made, laid)
    assert found.num_bytes.sum() == laid.total_units
    if layout != "prefix":  # nothing is given but tokens that spell nothing
        assert dict(zip(found.number.tolist(), found.num_bytes.tolist(), strict=True)) == {
            number: len(each) for number, each in enumerate(TEXTS) if each or number in found.number
        }
    assert (found.num_bytes >= 0).all()


def test_answers_are_documents(tmp_path):
    rows = [("ab", "c"), ("", "ba"), ("cab", "abc"), ("a", "cc"), ("bb", "acb")]
    made = answers_job(
        tmp_path, rows, OracleDenoiser(Table(3, seed=1), context_length=3), method="mc", stride=2, limit=4
    )
    laid = made.lay_out()
    found = scored_documents(made, laid)
    assert found.number.tolist() == [0, 1, 2, 3]
    assert found.num_tokens.tolist() == found.num_bytes.tolist() == [1, 2, 3, 2]
    values = np.arange(len(laid)) + 1.0
    assert made.answers is not None
    assert found.sums_of_spans(values).tolist() == made.answers.of_spans(values).tolist()


def test_spans_tell_documents_where_each_lies_in_one(tmp_path, tokenizer):
    text = shard(tmp_path, tokenizer)
    made = job(text, per_document=True)
    laid = made.lay_out()
    values = np.arange(len(laid)) + 1.0
    by_token = np.repeat(values / laid.lengths, laid.lengths)
    found = scored_documents(made, laid)
    assert found.sums_of_spans(values).tolist() == pytest.approx(found.sums_of_tokens(by_token).tolist())
    made = job(text)
    with pytest.raises(UsageError, match=r"parts of several documents.*--per-document"):
        scored_documents(made, made.lay_out()).sums_of_spans(np.ones(len(made.spans)))


def test_a_text_without_borders_has_no_documents(tmp_path, tokenizer):
    corpus = load_shards([write_shard(tmp_path / "a.bin", [5, 6, 7, 8])])
    text = EvaluationText(corpus, tokenizer, "--data")
    made = job(text)
    with pytest.raises(CorpusError, match="costs of documents: nothing sets documents off in a"):
        scored_documents(made, made.lay_out())
