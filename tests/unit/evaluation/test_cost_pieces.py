"""Blocks of a text, as pieces of spans: what a token costs and spells is its block's, counted token by token here."""

from __future__ import annotations

import hashlib
import itertools
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bpb_harness.byte_count import ByteCounter, load_tokenizer
from bpb_harness.costs import UnitCosts
from bpb_harness.evaluation import cost_pieces as module
from bpb_harness.evaluation.cost_pieces import CostPieces, cost_pieces
from bpb_harness.evaluation.unit_costs import _blocks
from tests.unit.evaluation.test_document_costs import LAYOUTS, documents, job, shard

BLOCK = 7


@pytest.fixture(scope="module")
def tokenizer(repository):
    return load_tokenizer(repository / "fixtures" / "tokenizers" / "tiny_512_bpe.model")


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(module, "BLOCK_UNITS", BLOCK)
    monkeypatch.setattr(module, "_CHUNK_TOKENS", 5)  # many of them, none as long as a block


def blocks_of_targets(made: Any, laid: Any) -> list[int]:
    """The block of each target, in the order of the spans."""
    corpus = made.text.corpus
    targets = [place for a, b in zip(laid.spans.starts, laid.spans.ends, strict=True) for place in range(a, b)]
    if not laid.counts_bytes:
        return [place // BLOCK for place in targets]
    spelled = ByteCounter(made.text.tokenizer).span(corpus, 0, corpus.num_tokens, "exact").tolist()
    return [sum(spelled[:place]) // BLOCK for place in targets]


def sums(blocks: list[int], values: Any) -> list[float]:
    parts: list[list[float]] = [[] for _ in range(max(blocks) + 1)]
    for block, value in zip(blocks, values, strict=True):
        parts[block].append(float(value))
    return [math.fsum(part) for part in parts]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("rule", ["official", "exact", "none"])
@pytest.mark.parametrize("knows_tokens", [True, False])
def test_blocks_add_up_token_by_token(tmp_path, tokenizer, layout, rule, knows_tokens):
    made = job(shard(tmp_path, tokenizer), byte_rule=rule, **LAYOUTS[layout])
    laid = made.lay_out()
    pieces, blocks = cost_pieces(made, laid), blocks_of_targets(made, laid)
    generator, lengths = np.random.default_rng(2), laid.lengths
    token_nats, luck = generator.random(laid.spans.num_tokens), generator.normal(size=len(laid))
    span_nats = np.add.reduceat(token_nats, np.cumsum(lengths) - lengths)
    costs = _blocks(pieces, laid, span_nats, luck, lambda of: of.of_tokens(token_nats) if knows_tokens else None)
    each = token_nats if knows_tokens else np.repeat(span_nats / lengths, lengths)
    of_rates = np.repeat(luck / lengths, lengths)
    assert costs.num_tokens.tolist() == sums(blocks, np.ones(len(blocks)))
    assert costs.nats.tolist() == pytest.approx(sums(blocks, each), abs=1e-12)
    assert costs.level_free_nats.tolist() == pytest.approx(sums(blocks, each - of_rates), abs=1e-12)
    corpus = made.text.corpus
    spelled = (
        np.ones(corpus.num_tokens)
        if rule == "none"
        else ByteCounter(tokenizer).span(corpus, 0, corpus.num_tokens, rule)
    )
    targets = np.concatenate([spelled[a:b] for a, b in zip(laid.spans.starts, laid.spans.ends, strict=True)])
    assert costs.num_units.tolist() == sums(blocks, targets)
    assert costs.num_units.sum() == laid.total_units


@pytest.mark.parametrize("layout", ["windows", "stride", "documents"])
def test_bytes_that_no_token_spells_are_dealt_out_in_proportion(tmp_path, tokenizer, layout):
    """Raw bytes are more, or fewer, than what tokens spell: those of a span go to its pieces by what they spell."""
    made = job(documents(tmp_path, tokenizer), byte_rule="raw", **LAYOUTS[layout])
    laid = made.lay_out()
    wanted = laid.num_units + np.arange(len(laid)) % 3
    changed = SimpleNamespace(
        spans=laid.spans, counts_bytes=True, num_units=wanted, lengths=laid.lengths, total_units=laid.total_units
    )
    pieces = cost_pieces(made, changed)
    spelled = ByteCounter(tokenizer).span(made.text.corpus, 0, made.text.corpus.num_tokens, "exact")
    expected = []
    for span, target in zip(range(len(laid)), wanted.tolist(), strict=True):
        own = spelled[laid.spans.starts[span] : laid.spans.ends[span]].astype(float)
        expected += (own * target / own.sum() if own.sum() else np.full(len(own), target / len(own))).tolist()
    got = np.bincount(pieces.blocks.document, weights=pieces.units)
    assert got.tolist() == pytest.approx(sums(blocks_of_targets(made, laid), expected), abs=1e-12)
    by_span = np.bincount(pieces.blocks.span, weights=pieces.units, minlength=len(laid))
    assert by_span.tolist() == pytest.approx(wanted.tolist(), abs=1e-12)


def test_a_block_without_a_token_has_nothing(tmp_path, tokenizer, monkeypatch):
    monkeypatch.setattr(module, "BLOCK_UNITS", 1)  # most tokens spell more
    made = job(shard(tmp_path, tokenizer))
    laid = made.lay_out()
    pieces = cost_pieces(made, laid)
    nats = np.ones(laid.spans.num_tokens)
    costs = _blocks(pieces, laid, laid.lengths.astype(float), np.zeros(len(laid)), lambda of: of.of_tokens(nats))
    assert isinstance(costs, UnitCosts)
    empty = costs.num_tokens == 0
    assert empty.sum() > 5
    assert not costs.nats[empty].any()
    assert costs.nats.sum() == laid.spans.num_tokens


def test_documents_are_known_or_not(tmp_path, tokenizer):
    made = job(shard(tmp_path, tokenizer))
    pieces = cost_pieces(made, made.lay_out())
    assert isinstance(pieces, CostPieces)
    assert pieces.documents is not None
    assert pieces.documents.num_tokens.sum() == made.text.corpus.num_tokens
    unknown = SimpleNamespace(
        corpus=made.text.corpus, counter=made.text.counter, borders=SimpleNamespace(are_known=False), answers=None
    )
    assert (
        cost_pieces(SimpleNamespace(text=unknown, settings=made.settings, answers=None), made.lay_out()).documents
        is None
    )


def test_the_digest_of_a_text_is_of_what_each_document_spells(tmp_path, tokenizer):
    text = documents(tmp_path, tokenizer)
    digest = hashlib.sha256()
    starts = [*text.borders.starts.tolist(), text.corpus.num_tokens]
    for begin, end in itertools.pairwise(starts):
        spelled = tokenizer.decode(text.corpus.read(begin, end))
        digest.update(len(spelled).to_bytes(8, "little"))
        digest.update(spelled)
    assert text.spelled_digest.result() == digest.hexdigest()
    assert text.spelled_digest is text.spelled_digest  # found once
