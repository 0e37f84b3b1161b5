"""The exact rule against arbitrary Unicode text, for SentencePiece models trained here in every way that changes bytes.

The oracle is the text itself: with the identity normaliser that keeps whitespace, a document's bytes are its UTF-8
length; otherwise they are those of the library's normalised text, with the dummy prefix taken off because the trainer
was told to put one there (the counter has to find that out by itself).
"""

from __future__ import annotations

import functools
import io
import itertools
from dataclasses import dataclass

import numpy as np
import pytest
import sentencepiece
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bpb_harness.byte_count import ByteCounter, PieceKind, load_tokenizer
from bpb_harness.byte_report.report import measure_bytes
from bpb_harness.text.corpus import Corpus
from tests.tiers import times

SYMBOL = "\u2581"
USER_SYMBOLS = ["<sep>", "\ue001", "a b", "\u65e5\u672c"]
SENTENCES = [
    "The quick brown fox jumps over the lazy dog, again and again and again.",
    "  spaces   in    runs     and a tab\there; caf\u00e9 na\u00efve co\u00f6perate",
    "1234 5678 90 12:30 a=b+c if (x) { return y; }",
    "\u043f\u0440\u0438\u0432\u0435\u0442 \u043c\u0438\u0440 \u65e5\u672c\u8a9e \U0001f600 e\u0301",
] * 12


@dataclass(frozen=True)
class Training:
    model_type: str
    byte_fallback: bool
    normaliser: str
    dummy_prefix: bool
    remove_extra_whitespaces: bool
    user_symbols: bool
    suffix: bool = False
    bare_space: bool = True

    def __str__(self) -> str:
        return "-".join(f"{value}" for value in vars(self).values())


# Every pair of settings occurs together: an orthogonal design instead of all 64.
TRAININGS = [
    Training(("bpe", "unigram")[a], bool(b), ("identity", "nmt_nfkc")[c], bool(d), bool(a ^ b ^ c), bool(b ^ c ^ d))
    for a, b, c, d in itertools.product((0, 1), repeat=4)
] + [
    Training("bpe", True, "identity", True, False, False, suffix=True),
    Training("bpe", True, "identity", True, False, False, bare_space=False),
    Training("unigram", True, "identity", False, False, False, bare_space=False),
    Training("bpe", True, "nmt_nfkc", True, False, True, suffix=True, bare_space=False),
]


@functools.cache
def trained(training: Training):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES),
        model_writer=model,
        model_type=training.model_type,
        vocab_size=420 if training.byte_fallback else 150,
        hard_vocab_limit=False,
        byte_fallback=training.byte_fallback,
        normalization_rule_name=training.normaliser,
        add_dummy_prefix=training.dummy_prefix,
        remove_extra_whitespaces=training.remove_extra_whitespaces,
        user_defined_symbols=USER_SYMBOLS if training.user_symbols else [],
        treat_whitespace_as_suffix=training.suffix,
        character_coverage=0.98,
        num_threads=1,
        minloglevel=2,
    )
    model_bytes = model.getvalue()
    if not training.bare_space:  # as the file spells a piece: another character of three bytes in its place
        bare = b"\x0a\x03" + SYMBOL.encode()
        assert model_bytes.count(bare) == 1
        model_bytes = model_bytes.replace(bare, b"\x0a\x03" + "\u4e00".encode())
    tokenizer = load_tokenizer(model_bytes)
    return tokenizer, ByteCounter(tokenizer), sentencepiece.SentencePieceProcessor(model_proto=model_bytes)


def normalised_bytes(training: Training, processor, text: str) -> int:
    """By the settings of the trainer, not by what the counter believes."""
    if training.normaliser == "identity" and not training.remove_extra_whitespaces and not training.user_symbols:
        return len(text.replace(SYMBOL, " ").encode())
    normal = processor.normalize(text)
    normal = normal.replace(SYMBOL, " ")
    if training.dummy_prefix:
        normal = normal.removesuffix(" ") if training.suffix else normal.removeprefix(" ")
    return len(normal.encode())


SPACES = [" ", "  ", "\t", "\n", "\r\n", "\u00a0", "\u3000", SYMBOL]
SPECIAL_NAMES = ["<s>", "</s>", "<unk>", "<0x41>", "<0xE2>"]
CHARACTERS_TO_FOLD = ["\ufffd", "\x00", "\u200b", "\u0301", "\ufb01", "\u2047", "\ufeff", "\xad"]
FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
ODD = st.sampled_from([*SPACES, *SPECIAL_NAMES, *CHARACTERS_TO_FOLD, *USER_SYMBOLS, FAMILY, "a", "The", "?"])
CHARACTERS = st.characters(exclude_categories=["Cs"])
TEXTS = st.lists(st.one_of(ODD, st.text(CHARACTERS, max_size=6), ODD.map(lambda s: s * 5)), max_size=12).map("".join)


@pytest.mark.parametrize("training", TRAININGS, ids=str)
@settings(max_examples=times(12, thorough=60), deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(text=TEXTS)
def test_exact_bytes_are_the_normalised_text_or_the_tokenizer_is_not_lossless(training, text):
    tokenizer, counter, processor = trained(training)
    tokens = np.concatenate([[tokenizer.bos_id], tokenizer.encode(text)]).astype(np.int64)
    exact = int(counter.per_token(tokens, rule="exact").sum())
    expected = normalised_bytes(training, processor, text)
    corpus = Corpus("x", "0", len(tokens), None, np.zeros(1, np.int64), (tokens,), np.array([0, len(tokens)]))
    report = measure_bytes(tokenizer, corpus, [text], from_shards=False)
    unknown = bool((tokenizer.piece_kinds[tokens] == PieceKind.UNKNOWN).any())
    ambiguous = SYMBOL in text
    assert report.num_bytes_exact == exact
    assert report.lossless == (exact == expected and not unknown and not ambiguous)
    if training.byte_fallback and not ambiguous:
        assert exact == expected, "byte fallback loses nothing"
    if unknown:
        assert exact <= expected, "a lower bound"


@pytest.mark.parametrize("training", TRAININGS, ids=str)
@settings(max_examples=times(6, thorough=30), deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(texts=st.lists(TEXTS, min_size=1, max_size=4), data=st.data())
def test_a_stream_cut_anywhere_counts_the_same(training, texts, data):
    tokenizer, counter, _ = trained(training)
    stream = np.concatenate([[tokenizer.bos_id, *tokenizer.encode(text)] for text in texts]).astype(np.int64)
    cut = data.draw(st.integers(0, len(stream)))
    for rule in ("official", "exact"):
        whole = counter.per_token(stream, rule=rule)
        left = counter.per_token(stream[:cut], rule=rule, following=stream[cut:] if cut < len(stream) else None)
        right = counter.per_token(stream[cut:], rule=rule, previous=stream[:cut] if cut else None)
        np.testing.assert_array_equal(np.concatenate([left, right]), whole)
        assert (whole >= 0).all()
        assert counter.total(stream, rule) == whole.sum()


def test_the_probes_find_what_the_trainer_was_told():
    for training in TRAININGS:
        spaces = trained(training)[0].spaces
        assert spaces.escapes
        assert (spaces.dummy_prefix, spaces.dummy_suffix) == (
            training.dummy_prefix and not training.suffix,
            training.dummy_prefix and training.suffix,
        )
