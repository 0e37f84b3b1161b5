"""The two rules on hand-made vocabularies, tokenizer files of every kind, belonging, ground truth, pickling."""

from __future__ import annotations

import functools
import io
import json
import pickle
import sys
import unicodedata

import numpy as np
import pytest
import sentencepiece
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers

from bpb_harness.byte_count import (
    ByteCounter,
    PieceKind,
    Reason,
    SpaceHabit,
    Tokenizer,
    compare_with_text,
    encode_again,
    load_tokenizer,
    why_rules_differ,
)
from bpb_harness.byte_count.ground_truth import _common_prefix
from bpb_harness.byte_count.sentencepiece_model import space_habit
from bpb_harness.errors import CorpusError, TokenizerError

SYMBOL = "\u2581"
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


class HandMade(Tokenizer):
    """Pieces as given; it encodes nothing."""

    kind = "sentencepiece"

    def __init__(self, pieces: list[tuple[str, PieceKind]], spaces: SpaceHabit) -> None:
        spelled = [
            bytes([int(piece[3:5], 16)])
            if kind == PieceKind.BYTE
            else b""
            if kind in (PieceKind.CONTROL, PieceKind.UNKNOWN)
            else piece.encode()
            for piece, kind in pieces
        ]
        names, kinds = [piece for piece, _ in pieces], [kind for _, kind in pieces]
        self._set(repr(pieces).encode(), "hand-made", names, kinds, spelled)
        self.bos_id, self.spaces = 1, spaces

    def encode(self, text):
        raise NotImplementedError

    def normalize(self, text):
        return text


T, B, C, U, X = PieceKind.TEXT, PieceKind.BYTE, PieceKind.CONTROL, PieceKind.UNKNOWN, PieceKind.UNUSED
VOCABULARY = [
    ("<unk>", U), ("<s>", C), ("</s>", C), ("<gap>", X),
    (SYMBOL, T), (SYMBOL + "the", T), ("caf\u00e9", T), (SYMBOL * 3, T), ("a" + SYMBOL + "b", T), ("<sep>", T),
    ("<0xE2>", B), ("<0x96>", B), ("<0x81>", B), ("<0x0A>", B), (SYMBOL + "x" + SYMBOL, T),
]  # fmt: skip
UNK, BOS, EOS, GAP, BARE, THE, CAFE, THREE, INNER, SEP, E2, X96, X81, NEWLINE, XS = range(len(VOCABULARY))


def counted(tokens, rule, dummy_prefix=False, dummy_suffix=False):
    counter = ByteCounter(HandMade(VOCABULARY, SpaceHabit(True, dummy_prefix, dummy_suffix)))
    return counter.per_token(np.array(tokens), rule=rule).tolist()


@pytest.mark.parametrize(
    ("tokens", "official", "exact"),
    [
        ([BOS, THE, THE], [0, 3, 4], [0, 4, 4]),  # after BOS the official rule leaves the space out
        ([THE, CAFE], [3, 5], [4, 5]),
        ([CAFE, UNK, THE], [5, 0, 3], [5, 0, 4]),  # after an unknown token too, though that space is text
        ([CAFE, GAP, THE], [5, 0, 3], [5, 5, 4]),  # an unused piece spells its text, as decoding does
        ([CAFE, BARE], [5, 1], [5, 1]),
        ([CAFE, THREE, INNER], [5, 7, 5], [5, 3, 3]),  # every further U+2581 counts 3 officially
        ([SEP, NEWLINE], [5, 1], [5, 1]),  # a user-defined symbol is text
        ([CAFE, E2, X96, X81, CAFE], [5, 1, 1, 1, 5], [5, 0, 0, 1, 5]),
        ([E2, X96, E2, X96, X81], [1, 1, 1, 1, 1], [1, 1, 0, 0, 1]),
        ([E2, X96, CAFE, X81], [1, 1, 5, 1], [1, 1, 5, 1]),  # not a run
        ([], [], []),
    ],
)
def test_both_rules(tokens, official, exact):
    assert counted(tokens, "official") == official
    assert counted(tokens, "exact") == exact


@pytest.mark.parametrize(
    ("tokens", "exact"),
    [
        ([BOS, THE, THE], [0, 3, 4]),
        ([BOS, BARE, BARE, CAFE], [0, 0, 1, 5]),
        ([BOS, THREE, CAFE], [0, 2, 5]),
        ([BOS, E2, X96, X81, E2, X96, X81], [0, 0, 0, 0, 0, 0, 1]),
        ([BOS, CAFE, EOS, THE, BOS, BARE], [0, 5, 0, 3, 0, 0]),
        ([UNK, THE], [0, 4]),  # the prefix is in the unknown token, if it is anywhere
    ],
)
def test_a_dummy_prefix_is_no_text(tokens, exact):
    assert counted(tokens, "exact", dummy_prefix=True) == exact


@pytest.mark.parametrize(
    ("tokens", "exact"),
    [
        ([BOS, CAFE, BARE], [0, 5, 0]),
        ([BOS, XS, CAFE, XS, EOS, XS], [0, 3, 5, 2, 0, 2]),
        ([CAFE, E2, X96, X81], [5, 0, 0, 0]),
    ],
)
def test_a_dummy_suffix_is_no_text(tokens, exact):
    assert counted(tokens, "exact", dummy_suffix=True) == exact


def test_known_document_starts_stand_in_for_separators():
    counter = ByteCounter(HandMade(VOCABULARY, SpaceHabit(True, dummy_prefix=True)))
    stream = np.array([THE, THE, THE])
    assert counter.per_token(stream, rule="exact").tolist() == [3, 4, 4]
    assert counter.per_token(stream, rule="exact", text_starts=np.array([0, 2])).tolist() == [3, 4, 3]
    counter = ByteCounter(HandMade(VOCABULARY, SpaceHabit(True, dummy_suffix=True)))
    stream = np.array([XS, XS, XS])
    assert counter.per_token(stream, rule="exact").tolist() == [3, 3, 2]
    assert counter.per_token(stream, rule="exact", text_starts=np.array([0, 2])).tolist() == [3, 2, 2]


@pytest.mark.parametrize("bad", [len(VOCABULARY), -1, 60000])
@pytest.mark.parametrize("rule", ["official", "exact"])
@pytest.mark.parametrize("method", ["per_token", "total"])
def test_an_id_outside_the_vocabulary_is_named(bad, method, rule):
    counter = ByteCounter(HandMade(VOCABULARY, SpaceHabit(True)))
    with pytest.raises(CorpusError, match=f"got {bad}"):
        getattr(counter, method)(np.array([THE, bad]), rule=rule)


@pytest.mark.parametrize("rule", ["official", "exact"])
def test_a_total_is_the_sum_over_tokens_whatever_the_chunks(monkeypatch, rule):
    counter = ByteCounter(HandMade(VOCABULARY, SpaceHabit(True, dummy_prefix=True)))
    stream = np.random.default_rng(0).integers(0, len(VOCABULARY), 1000)
    stream[100:400] = np.tile([E2, X96, X81], 100)
    whole = int(counter.per_token(stream, rule=rule).sum())
    for size in (1, 2, 3, 7, 999, 1000, 1001):
        monkeypatch.setattr("bpb_harness.byte_count.counter.CHUNK_TOKENS", size)
        assert counter.total(stream, rule) == whole
        assert counter.total(stream.astype(np.uint16), rule) == whole


# --- SentencePiece files ------------------------------------------------------------------------------------------


@functools.cache
def identity_model(byte_fallback: bool = True) -> bytes:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["the cat sat on the mat, the rat ate the cat"] * 10),
        model_writer=model,
        model_type="bpe",
        vocab_size=300 if byte_fallback else 40,
        hard_vocab_limit=False,
        byte_fallback=byte_fallback,
        normalization_rule_name="identity",
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        num_threads=1,
        minloglevel=2,
    )
    return model.getvalue()


def test_every_assigned_code_point_is_counted_exactly():
    tokenizer = load_tokenizer(identity_model())
    characters = [
        chr(code) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) not in ("Cn", "Cs")
    ]
    assert len(characters) > 280_000
    documents = [np.concatenate([[tokenizer.bos_id], tokenizer.encode(character)]) for character in characters]
    starts = np.cumsum([0, *map(len, documents)])[:-1]
    num_bytes = np.add.reduceat(ByteCounter(tokenizer).per_token(np.concatenate(documents), rule="exact"), starts)
    wrong = [c for c, n in zip(characters, num_bytes.tolist(), strict=True) if n != len(c.encode())]
    assert wrong == [SYMBOL]


def test_only_calls_that_every_version_has_are_made(monkeypatch):
    """Offset calls and message classes come and go between the library's versions; these are in all since 0.2.0."""
    everywhere = {"vocab_size", "id_to_piece", "is_byte", "is_control", "is_unknown", "is_unused", "bos_id", "eos_id"}
    real, used = sentencepiece.SentencePieceProcessor, set()

    class Restricted:
        def __init__(self, model_proto):
            self._real = real(model_proto=model_proto)

        def __getattr__(self, name):
            used.add(name)
            return getattr(self._real, name)

    expected = ByteCounter(load_tokenizer(folding_model())).total(load_tokenizer(folding_model()).encode("the \ufb01n"))
    monkeypatch.setattr(sentencepiece, "SentencePieceProcessor", Restricted)
    tokenizer = load_tokenizer(folding_model())
    assert ByteCounter(tokenizer).total(tokenizer.encode("the \ufb01n")) == expected
    assert tokenizer.normalize("\ufb01n") == "fin"
    assert used == everywhere | {"encode", "normalize"}


@pytest.mark.parametrize("dropped", ["a", "am0", "am0\u4e00", "\u0436"])
def test_the_habit_is_seen_though_the_normaliser_drops_letters(dropped):
    def normalize(text):
        kept = "".join(character for character in text if character not in dropped)
        return (" " + kept).replace(" ", SYMBOL) if kept else ""

    assert space_habit(normalize) == SpaceHabit(escapes=True, dummy_prefix=True)


def test_a_piece_that_is_not_utf8_is_one_line():
    damaged = identity_model().replace(SYMBOL.encode(), b"\xe2\x96\x20")
    with pytest.raises(TokenizerError, match="it: a damaged SentencePiece model"):
        load_tokenizer(damaged, name="it")


def test_the_tokenizer_survives_pickling():
    tokenizer = load_tokenizer(identity_model(), name="cat")
    again = pickle.loads(pickle.dumps(tokenizer))
    assert (again.digest, again.name, again.pieces) == (tokenizer.digest, "cat", tokenizer.pieces)
    counter = pickle.loads(pickle.dumps(ByteCounter(tokenizer)))
    tokens = tokenizer.encode("the cat \u65e5")
    assert counter.total(tokens) == ByteCounter(tokenizer).total(tokens) == len("the cat \u65e5".encode())


def test_a_counter_cannot_be_changed():
    counter = ByteCounter(load_tokenizer(identity_model()))
    with pytest.raises(ValueError, match="read-only"):
        counter._exact[0] = 1


def test_decoding_strips_and_replaces_nothing():
    tokenizer = load_tokenizer(identity_model())
    for text in (" the ", "\u65e5 \x00", "\ufffd", ""):
        assert tokenizer.decode(tokenizer.encode(text)) == text.encode()
    assert tokenizer.decode(tokenizer.encode("\u65e5")[:-1]) == "\u65e5".encode()[:-1]


# --- the tokenizers library ---------------------------------------------------------------------------------------


@functools.cache
def byte_level_json(prefix: bool = False, normalizer: bool = False) -> bytes:
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    tokenizer.decoder = decoders.ByteLevel()
    if normalizer:
        tokenizer.normalizer = normalizers.NFC()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["the cat sat on the mat"] * 20, trainer)
    return tokenizer.to_str().encode()


@pytest.mark.parametrize("text", ["the cat", " the  cat\n", "caf\u00e9 \U0001f600 \x00", "<|endoftext|>", SYMBOL, ""])
def test_byte_level_bpe_counts_utf8(text):
    tokenizer = load_tokenizer(byte_level_json())
    assert tokenizer.kind == "byte_level_bpe"
    assert tokenizer.bos_id == 0
    stream = np.concatenate([[tokenizer.bos_id], tokenizer.encode(text)])
    for rule in ("official", "exact"):
        assert ByteCounter(tokenizer).total(stream, rule) == len(text.encode())
    assert tokenizer.decode(stream) == text.encode()


def test_byte_level_bpe_with_a_prefix_space_and_a_normaliser():
    tokenizer = load_tokenizer(byte_level_json(prefix=True, normalizer=True))
    stream = np.concatenate([[tokenizer.bos_id], tokenizer.encode("e\u0301 cat")])
    assert tokenizer.normalize("e\u0301 cat") == "\u00e9 cat"
    assert ByteCounter(tokenizer).total(stream, "exact") == len("\u00e9 cat".encode())
    assert ByteCounter(tokenizer).total(stream, "official") == len(" \u00e9 cat".encode())


CHARACTERS = ["[CLS]", "[UNK]", "a", "b", " ", "\u00e9", "\n"]


@pytest.mark.parametrize("vocabulary", [CHARACTERS, {piece: token for token, piece in enumerate(CHARACTERS)}])
def test_a_character_vocabulary(vocabulary):
    tokenizer = load_tokenizer(json.dumps(vocabulary).encode())
    assert (tokenizer.kind, tokenizer.vocab_size, tokenizer.bos_id) == ("characters", 7, 0)
    tokens = tokenizer.encode("ab \u00e9\nz")
    assert tokens.tolist() == [2, 3, 4, 5, 6, 1]
    assert ByteCounter(tokenizer).per_token(tokens, rule="exact").tolist() == [1, 1, 1, 2, 1, 0]
    assert ByteCounter(tokenizer).total(tokens) == 6
    assert tokenizer.piece_kinds[1] == PieceKind.UNKNOWN
    assert pickle.loads(pickle.dumps(tokenizer)).digest == tokenizer.digest


def test_a_character_without_an_entry_is_an_error_where_there_is_no_unknown_token():
    tokenizer = load_tokenizer(b'["a", "b"]')
    with pytest.raises(TokenizerError, match="cannot be encoded"):
        tokenizer.encode("abc")


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (b"", "an empty file"),
        (b"not a model", "not a tokenizer"),
        (b"\x0a\x05", "not a tokenizer"),
        (b"{", "valid JSON"),
        (b"[" * 100_000, "valid JSON"),
        (b"[]", "another shape"),
        (b'{"a": 0, "b": 5}', "each once"),
        (b'{"hello": 0, "world": 1}', "not a character vocabulary"),
        (b'{"model": {"type": "BPE", "vocab": 3}}', "refuses it"),
        (b'{"a": "x"}', "each once"),
    ],
)
def test_what_is_no_tokenizer_is_said_in_one_line(model, words):
    with pytest.raises(TokenizerError, match=words) as error:
        load_tokenizer(model, name="it")
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("it: ")


def test_a_word_piece_tokenizer_is_refused():
    tokenizer = tokenizers.Tokenizer(models.WordPiece({"[UNK]": 0, "the": 1, "##re": 2}, unk_token="[UNK]"))
    with pytest.raises(TokenizerError, match="WordPiece"):
        load_tokenizer(tokenizer.to_str().encode())


def test_a_huge_file_is_refused_before_it_is_parsed(tmp_path):
    path = tmp_path / "huge.model"
    with path.open("wb") as file:
        file.truncate(65 * 2**20)
    with pytest.raises(TokenizerError, match="too large"):
        load_tokenizer(path)


# --- belonging and ground truth -----------------------------------------------------------------------------------


class Stream:
    known_document_starts = None

    def __init__(self, tokenizer, texts):
        documents = [np.concatenate([[tokenizer.bos_id], tokenizer.encode(text)]).astype(np.int64) for text in texts]
        self.tokens = np.concatenate(documents)
        self.starts = np.cumsum([0, *map(len, documents)])[:-1]
        self.num_tokens = len(self.tokens)

    def read(self, start, stop):
        return self.tokens[start:stop]


@functools.cache
def other_model() -> bytes:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["every good boy deserves fudge and every dog its bone"] * 10),
        model_writer=model,
        model_type="bpe",
        vocab_size=300,
        hard_vocab_limit=False,
        byte_fallback=True,
        num_threads=1,
        minloglevel=2,
    )
    return model.getvalue()


TEXTS = ["the cat sat on the mat", "the rat ate, the cat sat", "a mat the rat sat on"] * 3


def test_a_tokenizer_belongs_to_what_it_encoded():
    tokenizer = load_tokenizer(identity_model())
    stream = Stream(tokenizer, TEXTS)
    belonging = encode_again(stream, stream.starts, tokenizer)
    assert belonging.belongs is True
    assert belonging.num_identical == belonging.num_excerpts == len(TEXTS)


def test_a_tokenizer_does_not_belong_to_what_another_encoded():
    tokenizer, other = load_tokenizer(identity_model()), load_tokenizer(other_model())
    stream = Stream(tokenizer, TEXTS)
    assert stream.tokens.max() < other.vocab_size
    assert encode_again(stream, stream.starts, other).belongs is False
    truth = compare_with_text(other, stream, stream.starts, TEXTS, belongs=False, from_shards=True)
    assert not truth.lossless
    assert truth.pieces.first.reason is Reason.WRONG_TOKENIZER


def test_nothing_to_try_is_no_verdict():
    tokenizer = load_tokenizer(identity_model(byte_fallback=False))
    stream = Stream(tokenizer, ["\u65e5\u672c\u8a9e, \u65e5\u672c\u8a9e"])
    assert encode_again(stream, stream.starts, tokenizer).belongs is None


@pytest.mark.parametrize(
    ("text", "comparison", "reason", "document", "position"),
    [
        ("the ca" + SYMBOL + "t", "pieces", Reason.LITERAL_SYMBOL, 1, 6),
        ("the \u65e5cat", "pieces", Reason.UNKNOWN_TOKEN, 1, 4),
    ],
)
def test_a_loss_is_located(text, comparison, reason, document, position):
    tokenizer = load_tokenizer(identity_model(byte_fallback=reason is Reason.LITERAL_SYMBOL))
    stream = Stream(tokenizer, ["the cat", text])
    truth = compare_with_text(tokenizer, stream, stream.starts, ["the cat", text])
    first = getattr(truth, comparison).first
    assert (first.reason, first.document, first.position) == (reason, document, position)
    assert not truth.lossless


@functools.cache
def folding_model() -> bytes:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["the cat sat on the mat, the rat ate the cat"] * 10),
        model_writer=model,
        model_type="unigram",
        vocab_size=300,
        hard_vocab_limit=False,
        byte_fallback=True,
        normalization_rule_name="nmt_nfkc",
        num_threads=1,
        minloglevel=2,
    )
    return model.getvalue()


@pytest.mark.parametrize(
    ("text", "reason", "position"),
    [
        ("the\ncat", Reason.DROPPED_NEWLINE, 3),
        ("the  cat", Reason.COLLAPSED_SPACES, 4),
        (" the cat", Reason.COLLAPSED_SPACES, 0),
        ("the \ufb01n", Reason.FOLDED_CHARACTER, 4),
        ("caf\u00e9\u200b", Reason.FOLDED_CHARACTER, 5),
    ],
)
def test_what_the_normaliser_did_is_named(text, reason, position):
    tokenizer = load_tokenizer(folding_model())
    stream = Stream(tokenizer, [text])
    truth = compare_with_text(tokenizer, stream, stream.starts, [text])
    assert (truth.normaliser.first.reason, truth.normaliser.first.position) == (reason, position)
    assert truth.lossless
    assert truth.num_bytes_raw == len(text.encode())
    assert truth.num_bytes_exact == truth.num_bytes_normalized == len(tokenizer.normalize(text).encode())


def test_shards_of_another_text_and_of_other_tokens_are_told_apart():
    tokenizer = load_tokenizer(identity_model())
    stream = Stream(tokenizer, ["the cat sat"])
    truth = compare_with_text(tokenizer, stream, stream.starts, ["the rat sat"], from_shards=True)
    assert truth.tokens.first.reason is Reason.OTHER_TEXT
    stream.tokens = np.array([tokenizer.bos_id, *(tokenizer.pieces.index(c) for c in "cat")])
    stream.num_tokens = len(stream.tokens)
    truth = compare_with_text(tokenizer, stream, stream.starts, ["cat"], from_shards=True)
    assert truth.tokens.first.reason is Reason.OTHER_TOKENS
    assert truth.lossless


@pytest.mark.parametrize(
    ("token", "before", "surplus", "reason"),
    [
        (X81, X96, 1, Reason.SPACE_AS_BYTES),
        (GAP, CAFE, -5, Reason.UNUSED_PIECE),
        (THREE, CAFE, 4, Reason.INNER_SPACES),
        (THE, CAFE, 1, Reason.DUMMY_PREFIX),
        (THE, UNK, -1, Reason.AFTER_BOUNDARY),
        (THE, GAP, -1, Reason.AFTER_BOUNDARY),
        (THE, BOS, -1, Reason.LEADING_SPACE),
        (THE, None, -1, Reason.LEADING_SPACE),
    ],
)
def test_why_the_rules_differ(token, before, surplus, reason):
    tokenizer = HandMade(VOCABULARY, SpaceHabit(True))
    assert why_rules_differ(tokenizer, token, before, surplus) is reason


def test_a_control_token_starts_a_text_for_decoding_as_for_counting():
    tokenizer = HandMade(VOCABULARY, SpaceHabit(True, dummy_prefix=True))
    stream = np.array([BOS, THE, THE, EOS, THE, CAFE, BOS, BARE])
    assert tokenizer.decode(stream) == "the thethecaf\u00e9".encode()
    assert ByteCounter(tokenizer).total(stream, "exact") == len(tokenizer.decode(stream))


@pytest.mark.parametrize(
    ("one", "other", "position"),
    [
        ("caf\u00e9", "caf\u00e8", 3),  # they part in the second byte of the character
        ("a\U0001f600", "a\U0001f601", 1),
        ("same", "same", 4),
        ("same", "same and more", 4),
        ("", "x", 0),
    ],
)
def test_texts_part_at_a_character(one, other, position):
    assert _common_prefix(one.encode(), other.encode()) == _common_prefix(other.encode(), one.encode()) == position
