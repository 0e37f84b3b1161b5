"""Counting, belonging and ground truth at their edges: long documents, corpora, exact reports, odd vocabulary files."""

from __future__ import annotations

import functools
import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
import sentencepiece
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, processors

from bpb_harness.byte_count import (
    Belonging,
    ByteCounter,
    Disagreement,
    PieceKind,
    Reason,
    SpaceHabit,
    Tokenizer,
    compare_with_text,
    encode_again,
    load_tokenizer,
    spread_over_bytes,
)
from bpb_harness.byte_count.sentencepiece_model import space_habit
from bpb_harness.errors import TokenizerError

SYMBOL = "\u2581"
T, B, C, U, X = PieceKind.TEXT, PieceKind.BYTE, PieceKind.CONTROL, PieceKind.UNKNOWN, PieceKind.UNUSED
PIECES = [
    ("<unk>", U), ("<s>", C), ("</s>", C), ("<gap>", X), (SYMBOL, T), (SYMBOL + "the", T), ("cat", T),
    (SYMBOL * 3, T), ("<0xE2>", B), ("<0x96>", B), ("<0x81>", B), ("<0xC3>", B), ("<0xA9>", B),
]  # fmt: skip
UNK, BOS, EOS, GAP, BARE, THE, CAT, THREE, E2, X96, X81, XC3, XA9 = range(len(PIECES))


class Scripted(Tokenizer):
    """A vocabulary whose encoder and normaliser answer from a dictionary, else as told."""

    kind = "sentencepiece"

    def __init__(self, encoded=None, normal=None, dummy_prefix=False):
        spelled = {
            U: lambda piece: b"",
            C: lambda piece: b"",
            B: lambda piece: bytes([int(piece[3:5], 16)]),
        }
        pieces = [piece for piece, _ in PIECES]
        kinds = [kind for _, kind in PIECES]
        self._set(
            b"scripted", "scripted", pieces, kinds, [spelled.get(kind, str.encode)(piece) for piece, kind in PIECES]
        )
        self.bos_id, self.spaces = BOS, SpaceHabit(True, dummy_prefix)
        self._encoded, self._normal = encoded or {}, normal or {}

    def encode(self, text):
        return np.array(self._encoded(text) if callable(self._encoded) else self._encoded[text], np.int64)

    def normalize(self, text):
        return self._normal.get(text, text)


class Corpus:
    """Tokens that are only read in pieces; remembers what was asked."""

    def __init__(self, tokens, known_document_starts=None):
        self._tokens = np.array(tokens, np.int64)
        self.num_tokens = len(self._tokens)
        self.known_document_starts = known_document_starts
        self.asked = []

    def read(self, start, stop):
        assert 0 <= start <= stop <= self.num_tokens
        self.asked.append((start, stop))
        return self._tokens[start:stop]


# --- counting a corpus --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ["official", "exact"])
@pytest.mark.parametrize("known", [False, True])
def test_a_corpus_counts_like_its_tokens_in_one_piece(monkeypatch, rule, known):
    counter = ByteCounter(Scripted(dummy_prefix=True))
    stream = np.random.default_rng(1).integers(0, len(PIECES), 300)
    starts = np.array([0, 1, 7, 8, 100, 299]) if known else None
    whole = counter.per_token(stream, rule=rule, text_starts=starts)
    corpus = Corpus(stream, starts)
    for start, stop in ((0, 300), (0, 1), (1, 2), (7, 9), (6, 6), (99, 103), (298, 300), (150, 290)):
        assert counter.span(corpus, start, stop, rule).tolist() == whole[start:stop].tolist()
    for size in (1, 2, 5, 299, 300, 301):
        monkeypatch.setattr("bpb_harness.byte_count.counter.CHUNK_TOKENS", size)
        assert counter.total(corpus, rule) == int(whole.sum())
        assert counter.total(Corpus([]), rule) == 0
    if rule == "official":
        assert max(stop - start for start, stop in corpus.asked[-2:]) <= 301


def test_the_official_rule_goes_without_saying():
    counter = ByteCounter(Scripted())
    stream = np.array([CAT, THREE, THE])
    assert counter.per_token(stream).tolist() == counter.span(stream, 0, 3).tolist() == [3, 7, 4]
    assert counter.total(stream) == 14
    assert counter.total(stream, "exact") == 10


@pytest.mark.parametrize(
    ("rule", "previous", "following", "expected"),
    [
        ("official", None, None, [3, 1, 1]),  # at the start of a text the space is left out
        ("official", CAT, None, [4, 1, 1]),
        ("official", EOS, None, [3, 1, 1]),
        ("official", GAP, None, [3, 1, 1]),
        ("exact", None, None, [4, 1, 1]),
        ("exact", None, X81, [4, 0, 0]),  # E2 96 |81| is one space, which its last byte has
        ("exact", None, [X81, CAT, CAT, CAT, CAT], [4, 0, 0]),
        ("exact", None, [CAT, X81], [4, 1, 1]),
    ],
)
def test_tokens_in_the_context_of_others(rule, previous, following, expected):
    following = np.array(following) if isinstance(following, list) else following
    counted = ByteCounter(Scripted()).per_token(
        np.array([THE, E2, X96]), rule=rule, previous=previous, following=following
    )
    assert counted.dtype == np.int64
    assert counted.tolist() == expected


@pytest.mark.parametrize("before", [[], [CAT], [CAT, CAT, CAT], [CAT] * 5])
def test_a_document_that_starts_behind_the_context(before):
    counter = ByteCounter(Scripted(dummy_prefix=True))
    counted = counter.per_token(
        np.array([THE, THE, THE, THE]),
        rule="exact",
        previous=np.array(before) if before else None,
        text_starts=np.array([-1, 2, 9]),
    )
    assert counted.tolist() == [4 if before else 3, 4, 3, 4]
    assert counter.span(Corpus([THE] * 9, np.array([0, 4, 7])), 3, 8, "exact").tolist() == [4, 3, 4, 4, 3]


def test_there_is_no_third_rule():
    with pytest.raises(AssertionError):
        ByteCounter(Scripted()).per_token(np.array([CAT]), rule="Exact")
    with pytest.raises(AssertionError):
        ByteCounter(Scripted()).total(np.array([CAT]), "officially")


def test_a_space_whose_first_bytes_came_before():
    counter = ByteCounter(Scripted(dummy_prefix=True))
    tokens = np.array([X81, CAT])
    assert counter.per_token(tokens, rule="exact", previous=np.array([CAT, E2, X96])).tolist() == [1, 3]
    assert counter.per_token(tokens, rule="exact", previous=np.array([CAT, CAT, BOS, E2, X96])).tolist() == [0, 3]
    assert counter.per_token(tokens, rule="exact", previous=np.array([E2, X96])).tolist() == [0, 3]


def test_the_shares_of_a_token_are_even():
    view = spread_over_bytes(np.array([1.0, -3.0, 0.0]), np.array([4, 2, 0]))
    assert view.bits.tolist() == [0.25, 0.25, 0.25, 0.25, -1.5, -1.5, 0.0]
    assert view.token.tolist() == [0, 0, 0, 0, 1, 1, 2]
    assert view.start.tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert view.num_bytes.tolist() == [1, 1, 1, 1, 1, 1, 0]
    assert [array.dtype for array in (view.token, view.start, view.num_bytes)] == [np.int64] * 3


# --- belonging ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("tried", "identical", "belongs"), [(100, 95, True), (100, 94, False), (0, 0, None)])
def test_it_belongs_if_nearly_every_excerpt_comes_back(tried, identical, belongs):
    assert Belonging(tried, identical).belongs is belongs


def again(*documents, encode, **options):
    """encode_again over documents; ``encode`` maps what the tokens of one spell to tokens."""
    starts = np.cumsum([0, *map(len, documents)])[:-1]
    corpus = Corpus(np.concatenate(documents))
    return encode_again(corpus, starts, Scripted(encode), **options), corpus


def test_what_cannot_be_tried_is_left_out_and_the_rest_compared():
    back = {"catcatcatcat": [CAT] * 4, "catcatcatcatcat": [CAT] * 4}
    documents = [
        [BOS, CAT, CAT, CAT, CAT],
        [BOS, CAT, CAT, CAT],  # too short
        [BOS],
        [BOS, CAT, UNK, CAT, CAT, CAT],
        [BOS, CAT, CAT, CAT, CAT, CAT],  # comes back as something else
        [BOS, XC3, XC3, XC3, XA9],  # no UTF-8
        [CAT, EOS, CAT, CAT, CAT],  # control tokens spell nothing
    ]
    result, _ = again(*documents, encode=back)
    assert result == Belonging(num_excerpts=4, num_identical=2)


def test_nothing_is_said_of_what_cannot_be_tried():
    result, _ = again([BOS, THREE, CAT], [BOS, CAT], encode={})
    assert result == Belonging(0, 0)
    assert result.belongs is None
    assert again([UNK, UNK], encode={})[0] == Belonging(0, 0)


def test_excerpts_lie_evenly_over_the_documents():
    _, corpus = again(*[[BOS, CAT]] * 9, encode={}, num_excerpts=3)
    assert corpus.asked == [(0, 2), (8, 10), (16, 18)]
    _, corpus = again(*[[BOS, CAT]] * 300, encode={})
    assert len(corpus.asked) == 256


class TestLongDocuments:
    """1,024 tokens of a document are tried, of which the last 16 may be joined with what follows."""

    def test_its_first_tokens_are_read(self):
        _, corpus = again([CAT] * 1030, [CAT] * 1024, [CAT] * 5, encode=lambda text: [])
        assert corpus.asked == [(0, 1024), (1030, 2054), (2054, 2059)]

    @pytest.mark.parametrize(("differs_at", "identical"), [(0, 0), (16, 0), (1007, 0), (1008, 1), (1023, 1)])
    def test_only_the_end_of_a_cut_excerpt_may_differ(self, differs_at, identical):
        back = [CAT] * 1024
        back[differs_at] = THE
        result, _ = again([CAT] * 1025, encode=lambda text: back)
        assert (result.num_excerpts, result.num_identical) == (1, identical)

    def test_the_end_of_a_whole_document_may_not(self):
        back = [CAT] * 1023 + [THE]
        result, _ = again([CAT] * 1024, [CAT] * 1024, encode=lambda text: back)
        assert (result.num_excerpts, result.num_identical) == (2, 0)

    def test_a_cut_inside_a_character_is_no_fault(self):
        seen = []

        def encode(text):
            seen.append(text)
            return [CAT] * 1023

        result, _ = again([CAT] * 1023 + [XC3, XA9], encode=encode)
        assert seen == ["cat" * 1023]
        assert result.num_identical == 1


# --- ground truth -------------------------------------------------------------------------------------------------


def truth_of(documents, tokenizer, **options):
    """documents: (text, tokens)."""
    streams = [tokens for _, tokens in documents]
    starts = np.cumsum([0, *map(len, streams)])[:-1]
    texts = [text for text, _ in documents]
    return compare_with_text(tokenizer, Corpus(np.concatenate(streams)), starts, texts, **options)


def test_a_report_of_several_documents_in_full():
    texts = {
        " thecat": [THE, CAT],
        "cat": [CAT],
        "cat   ": [CAT, THREE],
        "cat thecat": [CAT, THE, CAT],
        "cat  the": [CAT, BARE, THE],
    }
    documents = [
        ("cat", [BOS, CAT]),  # all agree
        ("cat   ", [BOS, CAT, THREE]),  # inner spaces: officially 7 bytes for 3
        (" thecat", [BOS, THE, CAT]),  # the leading space is left out officially
        ("cat   ", [BOS, CAT, THREE]),
        ("cat  the", [BOS, CAT, THE]),  # collapsed by the normaliser, and so the tokens are others
    ]
    tokenizer = Scripted(texts, {"cat  the": "cat the"})
    truth = truth_of(documents, tokenizer, from_shards=True)
    assert truth.num_documents == 5
    assert truth.num_bytes_official == 3 + 10 + 6 + 10 + 7
    assert truth.num_bytes_exact == 3 + 6 + 7 + 6 + 7
    assert truth.num_bytes_normalized == 3 + 6 + 7 + 6 + 7
    assert truth.num_bytes_raw == 3 + 6 + 7 + 6 + 8
    assert truth.lossless
    assert truth.official.num_documents == 3
    assert truth.official.reasons == {Reason.INNER_SPACES: 2, Reason.LEADING_SPACE: 1}
    assert truth.official.firsts == {
        Reason.INNER_SPACES: Disagreement(1, 3, Reason.INNER_SPACES, "3 bytes", f"7 for 'cat {SYMBOL * 3}'"),
        Reason.LEADING_SPACE: Disagreement(2, 0, Reason.LEADING_SPACE, "4 bytes", f"3 for '<s> {SYMBOL}the cat'"),
    }
    assert truth.official.first == truth.official.firsts[Reason.INNER_SPACES]
    assert truth.pieces.num_documents == 0
    assert truth.pieces.first is None
    assert truth.normaliser.first == Disagreement(4, 4, Reason.COLLAPSED_SPACES, " the", "the")
    assert truth.tokens.first == Disagreement(4, 1, Reason.OTHER_TEXT, f"{SYMBOL} {SYMBOL}the", f"{SYMBOL}the")
    assert truth.tokens.num_documents == 1


@pytest.mark.parametrize(
    ("tokens", "reason", "expected", "seen"),
    [
        ([CAT, GAP, THE], Reason.UNUSED_PIECE, "5 bytes", f"0 for 'cat <gap> {SYMBOL}the'"),
        ([CAT, UNK, THE, CAT, CAT, CAT], Reason.AFTER_BOUNDARY, "4 bytes", f"3 for '<unk> {SYMBOL}the cat cat'"),
        ([E2, X96, X81], Reason.SPACE_AS_BYTES, "0 bytes", "1 for '<0xE2> <0x96> <0x81>'"),
        ([CAT, CAT, THREE], Reason.INNER_SPACES, "3 bytes", f"7 for 'cat {SYMBOL * 3}'"),
        ([THE, CAT, UNK], Reason.LEADING_SPACE, "4 bytes", f"3 for '{SYMBOL}the cat <unk>'"),
    ],
)
def test_where_the_rules_part(tokens, reason, expected, seen):
    truth = truth_of([("", tokens)], Scripted({"": tokens}))
    position = ByteCounter(Scripted()).per_token(np.array(tokens), rule="exact")
    at = {Reason.UNUSED_PIECE: 1, Reason.AFTER_BOUNDARY: 2, Reason.INNER_SPACES: 2}.get(reason, 0)
    assert truth.official.first == Disagreement(0, int(position[:at].sum()), reason, expected, seen)


LONG = "\u00e9" * 30


@pytest.mark.parametrize(
    ("text", "tokens", "own", "belongs", "found"),
    [
        (f"cat{SYMBOL}", [CAT, BARE], [CAT, BARE], None, (3, Reason.LITERAL_SYMBOL, SYMBOL, " ")),
        (f"cat{SYMBOL}cat{SYMBOL}", [CAT], [CAT], None, (3, Reason.LITERAL_SYMBOL, SYMBOL, " ")),
        ("catty", [CAT, CAT], [CAT, CAT], False, (3, Reason.WRONG_TOKENIZER, "ty", "cat")),
        ("catty", [CAT, CAT], [CAT], None, (3, Reason.OTHER_TEXT, "ty", "cat")),
        ("catty", [CAT, CAT], [CAT], True, (3, Reason.OTHER_TEXT, "ty", "cat")),
        ("cat?", [BOS, CAT, UNK], [CAT, UNK], True, (3, Reason.UNKNOWN_TOKEN, "?", "")),
        ("catty", [BOS, CAT], [CAT], True, (3, Reason.NOT_LOSSLESS, "ty", "")),
        ("cat" + LONG, [CAT], [CAT], True, (3, Reason.NOT_LOSSLESS, "\u00e9" * 24, "")),
        ("cat", [CAT, XC3], [CAT, XC3], True, (3, Reason.NOT_LOSSLESS, "", "\ufffd")),
        ("\u00e8", [XC3, XA9], [XC3, XA9], True, (0, Reason.NOT_LOSSLESS, "\u00e8", "\u00e9")),
        ("cat", [BOS, CAT], [THE], True, None),
    ],
)
def test_where_pieces_and_text_part(text, tokens, own, belongs, found):
    truth = truth_of([(text, tokens)], Scripted({text: own}), belongs=belongs)
    assert truth.pieces.first == (None if found is None else Disagreement(0, *found))
    assert truth.lossless is (found is None)
    assert truth.tokens.num_documents == 0  # only shards are compared with the encoder


@pytest.mark.parametrize(
    ("raw", "normal", "found"),
    [
        ("a\nb", "a b", (1, Reason.DROPPED_NEWLINE, "\nb", " b")),
        ("a\rb", "ab", (1, Reason.DROPPED_NEWLINE, "\rb", "b")),
        ("a\tb", "a b", (1, Reason.COLLAPSED_SPACES, "\tb", " b")),
        ("a  b", "a b", (2, Reason.COLLAPSED_SPACES, " b", "b")),
        ("a\u2581b", "a b", (1, Reason.LITERAL_SYMBOL, "\u2581b", " b")),
        ("\ufb01n", "fin", (0, Reason.FOLDED_CHARACTER, "\ufb01n", "fin")),
        ("abc", "ab", (2, Reason.FOLDED_CHARACTER, "c", "")),
        ("same", "same", None),
    ],
)
def test_where_the_normaliser_changed_the_text(raw, normal, found):
    truth = truth_of([(raw, [CAT])], Scripted({raw: [CAT]}, {raw: normal}))
    assert truth.normaliser.first == (None if found is None else Disagreement(0, *found))
    assert (truth.num_bytes_raw, truth.num_bytes_normalized) == (len(raw.encode()), len(normal.encode()))


@pytest.mark.parametrize(
    ("met", "own", "found"),
    [
        ([BOS, CAT, THE], [CAT, THE], None),
        ([CAT, BARE, CAT, EOS], [CAT, THREE, CAT], (1, Reason.OTHER_TEXT, f"{SYMBOL * 3} cat", f"{SYMBOL} cat")),
        ([BARE] * 3, [THREE], (0, Reason.OTHER_TOKENS, SYMBOL * 3, " ".join(SYMBOL * 3))),
        ([CAT], [CAT, THE, CAT, CAT, CAT, CAT], (1, Reason.OTHER_TEXT, f"{SYMBOL}the cat cat cat", "")),
        ([CAT, THE], [CAT], (1, Reason.OTHER_TEXT, "", f"{SYMBOL}the")),
    ],
)
def test_where_the_shards_tokens_and_the_encoders_part(met, own, found):
    comparison = truth_of([("text", met)], Scripted({"text": own}), from_shards=True).tokens
    assert comparison.first == (None if found is None else Disagreement(0, *found))
    assert comparison.num_documents == (found is not None)


def test_documents_without_tokens_and_tokens_without_documents_are_left_out():
    tokenizer = Scripted({"cat": [CAT]})
    starts, corpus = np.array([0, 2]), Corpus([BOS, CAT, BOS, CAT])
    assert compare_with_text(tokenizer, corpus, starts, ["cat"]).num_documents == 1
    assert compare_with_text(tokenizer, corpus, starts, ["cat"] * 3).num_documents == 2


# --- vocabulary files ---------------------------------------------------------------------------------------------

ALPHABET = sorted(pre_tokenizers.ByteLevel.alphabet())
SPACE_LETTER = "\u0120"  # a space in a byte-level vocabulary


def byte_level(pre_tokenizer=True, decoder=False, prefix=False, added=True):
    """Ids 0 .. 255 bytes, 256 and 257 no bytes, 259 "<s>", 260 "<tool>", 270 "ca", between them nothing."""
    vocabulary = {piece: i for i, piece in enumerate(ALPHABET)} | {"\u65e5": 256, "\u0144": 257}
    tokenizer = tokenizers.Tokenizer(models.BPE(vocab=vocabulary | {"ca": 270}, merges=[("c", "a")]))
    if pre_tokenizer:
        parts = [pre_tokenizers.Digits(), pre_tokenizers.ByteLevel(add_prefix_space=prefix)]
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(parts)
    if decoder:
        tokenizer.decoder = decoders.Sequence([decoders.Fuse(), decoders.ByteLevel()])
    if added:
        tokenizer.add_special_tokens(["<s>"])
        tokenizer.add_tokens(["<tool>"])
    return tokenizer


def loaded(tokenizer) -> Tokenizer:
    return load_tokenizer(tokenizer.to_str().encode(), name="it")


def test_all_256_bytes_have_their_letter():
    """The letter of a byte is what the library itself writes; bytes that UTF-8 never holds by elimination."""
    tokenizer = loaded(byte_level())
    spelled = dict(zip(tokenizer.pieces[:256], tokenizer.piece_bytes[:256], strict=True))
    assert sorted(spelled.values()) == [bytes([byte]) for byte in range(256)]
    splitter = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    for code in [*range(0x800), *range(0x800, 0xD800, 0x3F), *range(0x10000, 0x110000, 0xFFF)]:
        ((letters, _),) = splitter.pre_tokenize_str(chr(code))
        assert b"".join(spelled[letter] for letter in letters) == chr(code).encode()
    assert (tokenizer.piece_kinds[:256] == T).all()


def test_what_each_entry_of_a_byte_level_vocabulary_is():
    tokenizer = loaded(byte_level())
    assert (tokenizer.kind, tokenizer.vocab_size, tokenizer.bos_id) == ("byte_level_bpe", 271, 259)
    assert tokenizer.spaces == SpaceHabit(escapes=False)
    assert tokenizer.pieces[256:262] == ("\u65e5", "\u0144", "", "<s>", "<tool>", "")
    assert tokenizer.piece_kinds[256:].tolist() == [C, C, X, C, T, *[X] * 9, T]
    assert tokenizer.piece_kinds.dtype == np.uint8
    assert tokenizer.piece_bytes[256:] == (b"", b"", b"", b"", b"<tool>", *[b""] * 9, b"ca")


def test_a_byte_level_decoder_is_enough_to_be_one():
    assert loaded(byte_level(pre_tokenizer=False, decoder=True)).kind == "byte_level_bpe"
    with pytest.raises(TokenizerError, match="without a ByteLevel part"):
        loaded(byte_level(pre_tokenizer=False, decoder=False))
    fused = byte_level(pre_tokenizer=False)
    fused.decoder = decoders.Fuse()
    with pytest.raises(TokenizerError, match="without a ByteLevel part"):
        loaded(fused)


def test_nothing_is_added_cut_or_padded_whatever_the_file_asks_for():
    tokenizer = byte_level(prefix=True)
    tokenizer.enable_truncation(2)
    tokenizer.enable_padding(length=20)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 259)])
    ours = loaded(tokenizer)
    assert ours.spaces == SpaceHabit(escapes=False, dummy_prefix=True)
    tokens = ours.encode("ca<s>ca")
    assert tokens.dtype == np.int64
    letters = [SPACE_LETTER, "ca", "<", "s", ">", "ca"]
    assert tokens.tolist() == [270 if letter == "ca" else ALPHABET.index(letter) for letter in letters]
    assert ours.decode(tokens) == b"ca<s>ca"


def test_a_byte_level_vocabulary_of_nothing():
    empty = tokenizers.Tokenizer(models.BPE(vocab={}, merges=[]))
    empty.pre_tokenizer = pre_tokenizers.ByteLevel()
    with pytest.raises(TokenizerError, match=r"^it: not a usable vocabulary: got largest id -1, expected 0 to \d+$"):
        loaded(empty)


def test_a_tokenizer_json_of_single_characters():
    model = models.WordLevel({"[UNK]": 0, "a": 1, "\u65e5": 2, "b": 3}, "[UNK]")
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.add_special_tokens(["[CLS]", "<long special token>", "[SEP]", "[PAD]", "[MASK]"])
    ours = loaded(tokenizer)
    assert (ours.kind, ours.name, ours.bos_id, ours.vocab_size) == ("characters", "it", 4, 9)
    assert ours.spaces == SpaceHabit(escapes=False)
    assert ours.piece_kinds.tolist() == [U, T, T, T, C, C, C, C, C]
    assert ours.piece_bytes[:5] == (b"", b"a", "\u65e5".encode(), b"b", b"")


@pytest.mark.parametrize("unknown", ["<unk>", "[UNK]", "<|unk|>", "<UNK>"])
@pytest.mark.parametrize("bos", ["<|begin_of_text|>", "<|endoftext|>", "<s>", "<bos>", "[BOS]", "[CLS]", "<|bos|>"])
def test_special_names_of_a_character_vocabulary(unknown, bos):
    tokenizer = load_tokenizer(json.dumps(["a", bos, unknown, "b", "c"]).encode())
    assert tokenizer.bos_id == 1
    assert tokenizer.piece_kinds.tolist() == [T, C, U, T, T]
    assert tokenizer.piece_bytes == (b"a", b"", b"", b"b", b"c")
    assert tokenizer.encode("a?\nb").tolist() == [0, 2, 2, 3]


def test_half_of_a_character_vocabulary_must_be_characters():
    assert load_tokenizer(b'["a", "b", "[CLS]"]').kind == "characters"
    with pytest.raises(TokenizerError, match="not a character vocabulary"):
        load_tokenizer(b'["a", "[CLS]"]')
    assert load_tokenizer(b'["a", "b"]').bos_id is None


@pytest.mark.parametrize("half", ["d800", "dbff", "dc00", "dfff"])
def test_a_character_that_is_half_of_a_pair_is_refused(half):
    text = rf"^it: an entry of the vocabulary is no Unicode text: got '\\u{half}', expected no half of a pair$"
    with pytest.raises(TokenizerError, match=text):
        load_tokenizer(b'["a", "b", "\\u%s"]' % half.encode(), name="it")
    assert load_tokenizer(b'["a", "\\ud7ff", "\\ue000", "\\ud83d\\ude00"]').piece_bytes[3] == "\U0001f600".encode()


@pytest.mark.parametrize("vocabulary", [["a", " "], {"a": 0, " ": 1}])
def test_a_space_before_characters_is_text(vocabulary):
    tokenizer = load_tokenizer(json.dumps(vocabulary).encode())
    assert tokenizer.spaces == SpaceHabit(escapes=False)
    assert tokenizer.decode(tokenizer.encode(" a ")) == b" a "
    assert ByteCounter(tokenizer).per_token(tokenizer.encode(" a "), rule="exact").tolist() == [1, 1, 1]
    assert tokenizer.normalize(" a ") == " a "


def test_a_file_is_the_same_by_path_and_by_content(tmp_path):
    path = tmp_path / "characters.json"
    path.write_bytes(b' \n["a", "b"]')
    by_path, by_text, named = load_tokenizer(path), load_tokenizer(str(path)), load_tokenizer(path, name="it")
    assert by_path.digest == by_text.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert by_path.model_bytes == path.read_bytes()
    assert ByteCounter(by_path).digest == by_path.digest
    with pytest.raises(ValueError, match="read-only"):
        by_path.piece_kinds[0] = C
    assert (by_path.name, by_text.name, named.name) == (str(path), str(path), "it")
    assert load_tokenizer(path.read_bytes()).name == "tokenizer"


def test_no_more_is_read_than_any_model_needs(monkeypatch):
    class Endless(io.RawIOBase):
        def read(self, size=-1):
            assert 0 <= size < 1000
            return b"x" * size

    monkeypatch.setattr(Path, "open", lambda path, mode: Endless())
    monkeypatch.setattr("bpb_harness.byte_count.formats.LARGEST_MODEL_BYTES", 99)
    with pytest.raises(TokenizerError, match=r"^it: too large for a tokenizer: got 100 bytes, expected at most 99$"):
        load_tokenizer("endless.model", name="it")


def trained(**options) -> bytes:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["the cat sat on the mat, the rat ate the cat"] * 10),
        model_writer=model,
        model_type="bpe",
        vocab_size=330,
        hard_vocab_limit=False,
        num_threads=1,
        minloglevel=2,
        **options,
    )
    return model.getvalue()


def test_what_each_piece_of_a_sentencepiece_model_is():
    tokenizer = load_tokenizer(trained(control_symbols=["<c>"], user_defined_symbols=["<user>"], pad_id=3))
    kinds = dict(zip(tokenizer.pieces, tokenizer.piece_kinds.tolist(), strict=True))
    assert [kinds[piece] for piece in ("<unk>", "<s>", "</s>", "<pad>", "<c>")] == [U, C, C, C, C]
    assert kinds["<user>"] == kinds[SYMBOL] == T
    spelled = dict(zip(tokenizer.pieces, tokenizer.piece_bytes, strict=True))
    assert spelled["<user>"] == b"<user>"
    assert spelled["<unk>"] == spelled["<c>"] == b""
    assert spelled[SYMBOL] == SYMBOL.encode()
    assert (tokenizer.bos_id, tokenizer.kind, tokenizer.vocab_size) == (1, "sentencepiece", len(tokenizer.pieces))
    assert load_tokenizer(trained(bos_id=-1)).bos_id is None
    assert load_tokenizer(trained(bos_id=0, unk_id=1)).bos_id == 0


def test_byte_pieces_spell_one_byte_each():
    tokenizer = load_tokenizer(trained(byte_fallback=True))
    bytes_of = [tokenizer.piece_bytes[tokenizer.pieces.index(f"<0x{byte:02X}>")] for byte in range(256)]
    assert bytes_of == [bytes([byte]) for byte in range(256)]
    assert (tokenizer.piece_kinds == B).sum() == 256


@pytest.mark.parametrize("suffix", [False, True])
def test_where_the_space_that_is_no_text_stands(suffix):
    tokenizer = load_tokenizer(trained(treat_whitespace_as_suffix=suffix))
    assert tokenizer.spaces == SpaceHabit(True, dummy_prefix=not suffix, dummy_suffix=suffix)
    for text in ("the cat", "cat"):
        tokens = tokenizer.encode(text)
        assert tokens.dtype == np.int64
        assert tokenizer.normalize(text) == text
        assert tokenizer.decode(tokens) == text.encode()
        assert ByteCounter(tokenizer).total(tokens, "exact") == len(text)


@pytest.mark.parametrize("letter", ["a", "m", "0", "\u4e00", "\u0436"])
@pytest.mark.parametrize("space", [SYMBOL, " "])
@pytest.mark.parametrize(("before", "behind"), [(True, False), (False, True), (False, False)])
def test_any_of_the_probes_shows_the_habit(letter, space, before, behind):
    def normalize(text):
        kept = "".join(character for character in text if character in (letter, " "))
        return (" " * before + kept.strip(" ") + " " * behind).replace(" ", space) if kept.strip(" ") else ""

    assert space_habit(normalize) == SpaceHabit(space == SYMBOL, dummy_prefix=before, dummy_suffix=behind)


def test_a_normaliser_that_leaves_nothing_shows_no_habit():
    assert space_habit(lambda text: "") == SpaceHabit(escapes=True)


def test_options_of_the_process_change_no_tokens(monkeypatch):
    model = trained()
    expected = load_tokenizer(model).encode("the cat").tolist()
    told_otherwise = functools.partial(
        sentencepiece.SentencePieceProcessor, add_bos=True, add_eos=True, reverse=True, out_type=str
    )
    monkeypatch.setattr(sentencepiece, "SentencePieceProcessor", told_otherwise)
    assert load_tokenizer(model).encode("the cat").tolist() == expected


def test_a_sentencepiece_vocabulary_has_a_limit(monkeypatch):
    model = trained()
    size = load_tokenizer(model).vocab_size
    monkeypatch.setattr("bpb_harness.byte_count.sentencepiece_model.LARGEST_VOCABULARY", size)
    assert load_tokenizer(model).vocab_size == size
    monkeypatch.setattr("bpb_harness.byte_count.sentencepiece_model.LARGEST_VOCABULARY", size - 1)
    with pytest.raises(TokenizerError) as caught:
        load_tokenizer(model, name="it")
    assert str(caught.value) == f"it: not a usable vocabulary: got {size} pieces, expected 1 to {size - 1}"
