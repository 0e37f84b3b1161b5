"""Reference marks are codes that a receiver can decode, of exactly the tokens that are paid for."""

from __future__ import annotations

import lzma
import math
from collections import Counter, defaultdict

import numpy as np
import pytest

from bpb_harness.evaluation.reference_marks import adaptive_bits, reference_marks, xz_bits
from bpb_harness.text.corpus import load_shards
from bpb_harness.text.spans import Spans
from tests.shards import write_shard

V = 17


def price(seen: Counter, token: int, num_clean: int) -> float:
    """What the unigram code asks of a token next, as a probability."""
    return (seen[token] + 0.5) / (sum(seen.values()) + num_clean / 2)


class BigramCode:
    """Token by token, as a receiver would."""

    def __init__(self, num_clean: int) -> None:
        self.followed, self.escaped, self.num_clean = defaultdict(Counter), Counter(), num_clean

    def probability(self, before: int | None, token: int) -> float:
        seen = self.followed[before]
        total = sum(seen.values())
        if seen[token]:
            return (seen[token] - 0.5) / total
        escape = len(seen) / (2 * total) if total else 1.0
        return escape * price(self.escaped, token, self.num_clean)

    def learn(self, before: int | None, token: int) -> None:
        if not self.followed[before][token]:
            self.escaped[token] += 1
        self.followed[before][token] += 1


def sequential_bits(tokens: list[int], befores: list[int | None], num_clean: int) -> tuple[float, float]:
    unigram = bigram = 0.0
    seen, code = Counter(), BigramCode(num_clean)
    for before, token in zip(befores, tokens, strict=True):
        unigram -= math.log2(price(seen, token, num_clean))
        seen[token] += 1
        bigram -= math.log2(code.probability(before, token))
        code.learn(before, token)
    return unigram, bigram


def corpus_of(tmp_path, tokens):
    return load_shards([write_shard(tmp_path / "a.bin", tokens)])


@pytest.fixture
def tokens():
    return (np.random.default_rng(0).geometric(0.3, 400) % V).astype(np.int64)


LAYOUTS = {
    "windows": ([0, 100, 200, 300], [0, 100, 200, 300], [100, 200, 300, 400]),
    "strides": ([0, 60, 110], [0, 100, 150], [100, 150, 199]),
    "a first token given": ([0, 100], [1, 101], [100, 200]),
    "answers with prompts": ([5, 90, 205], [20, 100, 220], [40, 130, 221]),
    "answers without prompts": ([5, 90, 130], [5, 90, 130], [40, 130, 200]),
}


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize(("chunk", "table"), [(1 << 20, 1 << 22), (7, 1 << 22), (50, 0), (1 << 20, 0)])
def test_counts_tell_what_coding_token_by_token_costs(tmp_path, monkeypatch, tokens, name, chunk, table):
    monkeypatch.setattr("bpb_harness.sampling.bigram._CHUNK_TOKENS", chunk)
    monkeypatch.setattr("bpb_harness.evaluation.reference_marks._LARGEST_TABLE", table)
    spans = Spans(*(np.array(part, np.int64) for part in LAYOUTS[name]))
    paid = [at for start, end in zip(spans.starts, spans.ends, strict=True) for at in range(start, end)]
    known = {at - 1 for at in paid if at - 1 in paid}
    for given, start in zip(spans.context_starts, spans.starts, strict=True):
        known |= {start - 1} if given < start else set()
    befores = [int(tokens[at - 1]) if at - 1 in known else None for at in paid]
    expected = sequential_bits([int(tokens[at]) for at in paid], befores, V + 3)
    assert adaptive_bits(corpus_of(tmp_path, tokens), spans, V, V + 3) == pytest.approx(expected, rel=1e-12)


def test_ids_of_more_than_16_bits(tmp_path):
    tokens = np.random.default_rng(1).integers(65_000, 65_020, 200)
    spans = Spans.without_context(np.array([0, 100]), np.array([100, 200]))
    befores = [None, *tokens[:-1].tolist()]
    expected = sequential_bits(tokens.tolist(), befores, 70_000)
    assert adaptive_bits(corpus_of(tmp_path, tokens), spans, 70_000, 70_000) == pytest.approx(expected, rel=1e-12)


def test_both_codes_are_ones_that_can_be_decoded(tokens):
    """What they ask of all tokens that might come next never adds up to more than 1 (Kraft)."""
    code, befores = BigramCode(V), [None, *tokens[:-1].tolist()]
    for before, token in zip(befores[:100], tokens[:100].tolist(), strict=True):
        assert sum(code.probability(before, each) for each in range(V)) <= 1 + 1e-12
        assert sum(price(code.escaped, each, V) for each in range(V)) == pytest.approx(1)
        code.learn(before, token)


def test_what_is_learnt_is_paid_for(tmp_path):
    """Each token once: entropies of counts would be log2 V a token, and 0 bits for the pairs."""
    tokens = np.random.default_rng(2).permutation(V)
    spans = Spans.without_context(np.array([0]), np.array([V]))
    unigram, bigram = adaptive_bits(corpus_of(tmp_path, tokens), spans, V, V)
    assert min(unigram, bigram) > V * math.log2(V)


class Letters:
    """A tokenizer of single bytes."""

    def decode(self, tokens):
        return bytes(tokens.tolist())


def test_xz_packs_the_bytes_of_the_targets_alone(tmp_path):
    text = b"one two three two one " * 20
    corpus = corpus_of(tmp_path, np.frombuffer(text, np.uint8))
    spans = Spans(np.array([0, 100, 200]), np.array([10, 100, 210]), np.array([90, 150, 300]))
    packed = 8 * len(lzma.compress(text[10:90] + text[100:150] + text[210:300]))
    assert xz_bits(corpus, spans, Letters()) == packed


@pytest.mark.parametrize("size", [100, 4_096, 50_000, 300_000])
def test_the_dictionary_of_xz_holds_the_whole_text(tmp_path, size):
    """Two halves that are the same, of letters that are not: what xz says with the dictionary of its usual level."""
    half = np.random.default_rng(size).integers(97, 123, size // 2, dtype=np.uint8)
    text = np.concatenate([half, half])
    spans = Spans(np.array([0]), np.array([0]), np.array([len(text)]))
    assert xz_bits(corpus_of(tmp_path, text), spans, Letters()) == 8 * len(lzma.compress(text.tobytes()))


def test_xz_is_left_out_of_a_long_text(tmp_path, monkeypatch, tokens):
    monkeypatch.setattr("bpb_harness.evaluation.reference_marks.LARGEST_XZ_BYTES", 400)
    corpus, spans = corpus_of(tmp_path, tokens), Spans.without_context(np.array([0, 200]), np.array([200, 400]))
    marks = [
        reference_marks(corpus, spans, Letters(), vocab_size=V, num_clean=V, num_units=size) for size in (400, 401)
    ]
    assert [each.xz is None for each in marks] == [False, True]


def test_marks_are_rates_over_the_units_of_the_score(tmp_path, tokens):
    corpus, spans = corpus_of(tmp_path, tokens), Spans.without_context(np.array([0, 200]), np.array([200, 400]))
    marks = reference_marks(corpus, spans, Letters(), vocab_size=V, num_clean=V, num_units=1000)
    unigram, bigram = adaptive_bits(corpus, spans, V, V)
    assert marks.uniform == pytest.approx(400 * math.log2(V) / 1000)
    assert (marks.unigram, marks.bigram) == (unigram / 1000, bigram / 1000)
    assert marks.xz == xz_bits(corpus, spans, Letters()) / 1000
    assert reference_marks(corpus, spans, None, vocab_size=V, num_clean=V, num_units=400).xz is None
