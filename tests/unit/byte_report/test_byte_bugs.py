"""Every bug of the catalogue against a plain loop that is written as the faulty programs are."""

from __future__ import annotations

import io

import numpy as np
import pytest
import sentencepiece

from bpb_harness.byte_count import ByteCounter, load_tokenizer
from bpb_harness.byte_report import byte_bugs
from bpb_harness.byte_report.byte_bugs import BYTE_BUGS, count_bugs

SYMBOL = "\u2581"
TEXTS = [
    "The cat sat on the mat; did the rat eat? Did it?",
    "? what ?? \u65e5\u672c\u8a9e caf\u00e9 \ue001the \ue001cat",
    "   the  rat   ate",
    "",
] * 5


def trained(vocab_size=320, **options):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["The cat sat on the mat, did the rat eat? the cat ate the rat \ue001the ?"] * 10),
        model_writer=model,
        model_type="bpe",
        vocab_size=vocab_size,
        hard_vocab_limit=False,
        byte_fallback=True,
        num_threads=1,
        minloglevel=2,
        **options,
    )
    return model.getvalue()


class Stream:
    known_document_starts = None

    def __init__(self, tokens):
        self.tokens, self.num_tokens = tokens, len(tokens)

    def read(self, start, stop):
        return self.tokens[start:stop]


@pytest.fixture(scope="module", params=["dummy prefix", "none"])
def case(request):
    model = trained(add_dummy_prefix=request.param == "dummy prefix", remove_extra_whitespaces=False)
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    tokens = [token for text in TEXTS for token in [processor.bos_id(), *processor.encode(text)]]
    tokens += [processor.unk_id(), *processor.encode(" the ?")]
    return load_tokenizer(model), processor, Stream(np.array(tokens, np.int64))


def looped(processor, tokens, table, leads, boundary):
    """The evaluators' loop: a table, and 1 for the leading space unless the token before is a boundary."""
    total, before = 0, None
    for token in tokens.tolist():
        total += table(token)
        if leads(token) and before is not None and not boundary(before):
            total += 1
        before = token
    return total


def official_table(processor, *, marker=SYMBOL, space_in_table=0, byte_piece=1, special=None):
    def is_special(token):
        return processor.is_control(token) or processor.is_unknown(token) or processor.is_unused(token)

    def table(token):
        piece = processor.id_to_piece(token)
        if is_special(token):
            return 0 if special is None else special(piece)
        if processor.is_byte(token):
            return byte_piece
        if piece.startswith(marker):
            return len(piece[1:].encode()) + space_in_table
        return len(piece.encode())

    def leads(token):
        return (
            not is_special(token) and not processor.is_byte(token) and processor.id_to_piece(token).startswith(marker)
        )

    return table, leads, is_special


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("sentinels_as_text", {}),
        ("space_counted_twice", {"space_in_table": 1}),
        ("space_twice_pieces_by_spelling", {"space_in_table": 1, "byte_piece": 6, "special": len}),
        ("question_mark_for_space", {"marker": "?"}),
        ("byte_pieces_by_spelling", {"byte_piece": 6}),
    ],
)
def test_a_faulty_table(case, name, options):
    tokenizer, processor, stream = case
    expected = looped(processor, stream.tokens, *official_table(processor, **options))
    assert BYTE_BUGS[name].count(tokenizer, stream) == expected
    if options:
        assert expected != ByteCounter(tokenizer).total(stream)


def test_a_space_that_is_never_counted(case):
    tokenizer, processor, stream = case
    table, _, _ = official_table(processor)
    assert BYTE_BUGS["space_never_counted"].count(tokenizer, stream) == sum(map(table, stream.tokens.tolist()))


def test_a_bare_space_of_three_bytes(case):
    tokenizer, processor, stream = case
    table, leads, boundary = official_table(processor)
    bare = processor.piece_to_id(SYMBOL)
    assert (stream.tokens == bare).any()
    expected = looped(
        processor, stream.tokens, lambda t: 3 if t == bare else table(t), lambda t: t != bare and leads(t), boundary
    )
    assert BYTE_BUGS["space_counts_three"].count(tokenizer, stream) == expected


def test_single_ids_decoded(case):
    tokenizer, processor, stream = case
    table, leads, boundary = official_table(processor)

    def by_decoding(token):
        return len(processor.decode([token]).encode()) if processor.is_byte(token) else table(token)

    expected = looped(processor, stream.tokens, by_decoding, leads, boundary)
    assert BYTE_BUGS["decoded_one_by_one"].count(tokenizer, stream) == expected
    assert expected > ByteCounter(tokenizer).total(stream)


@pytest.mark.parametrize("constant", byte_bugs.PUBLISHED_CONSTANTS)
def test_a_constant(case, constant):
    tokenizer, _, stream = case
    assert BYTE_BUGS[f"constant_{constant}"].count(tokenizer, stream) == constant * len(stream.tokens)


def test_a_foreign_tokenizer(case):
    tokenizer, _, stream = case
    other_model = trained(add_dummy_prefix=False, normalization_rule_name="identity", vocab_size=300)
    other = load_tokenizer(other_model)
    other_processor = sentencepiece.SentencePieceProcessor(model_proto=other_model)
    known = stream.tokens[stream.tokens < other.vocab_size]
    assert len(known) < stream.num_tokens
    expected = looped(other_processor, known, *official_table(other_processor))
    assert byte_bugs.foreign_tokenizer(tokenizer, stream, foreign=other) == expected
    assert byte_bugs.foreign_tokenizer(tokenizer, stream) == ByteCounter(tokenizer).total(stream)


def test_sentinels(case):
    tokenizer, processor, stream = case
    pieces = "".join(processor.id_to_piece(token) for token in stream.tokens.tolist() if not processor.is_byte(token))
    assert byte_bugs.sentinel_bytes(tokenizer, stream) == 3 * pieces.count("\ue001") > 0


@pytest.mark.parametrize("tokens_per_sum", [1, 7, 100, 65_536])
def test_sums_in_16_bits(case, tokens_per_sum):
    tokenizer, _, stream = case
    long = Stream(np.tile(stream.tokens, 250 if tokens_per_sum > 100 else 10))  # longer than one sum
    num_bytes = ByteCounter(tokenizer).per_token(long.tokens)
    expected = 0
    for start in range(0, len(num_bytes), tokens_per_sum):
        with np.errstate(over="ignore"):
            total = np.add.reduce(num_bytes[start : start + tokens_per_sum].astype(np.int16), dtype=np.int16)
        expected += int(total)
    assert byte_bugs.summed_in_16_bits(tokenizer, long, tokens_per_sum=tokens_per_sum) == expected
    assert (expected == num_bytes.sum()) == (tokens_per_sum <= 100)


def test_a_mean_of_ratios(case):
    tokenizer, _, stream = case
    num_bytes, bits_per_token, ratios = ByteCounter(tokenizer).per_token(stream.tokens), 3.7, []
    for start in range(0, stream.num_tokens, 10):
        window = num_bytes[start : start + 10]
        if window.sum():
            ratios.append(bits_per_token * len(window) / window.sum())
    score = bits_per_token * stream.num_tokens / byte_bugs.mean_of_ratios(tokenizer, stream, context_length=10)
    assert score == pytest.approx(np.mean(ratios), rel=1e-12)


def test_the_bytes_of_a_subset(case):
    tokenizer, _, stream = case
    whole = ByteCounter(tokenizer).per_token(stream.tokens)
    for size in (1, 10, 10**9):
        assert byte_bugs.bytes_of_a_subset(tokenizer, stream, num_tokens=size) == whole[:size].sum()


def test_no_bug_depends_on_the_chunks(case, monkeypatch):
    tokenizer, _, stream = case
    whole = count_bugs(tokenizer, stream)
    monkeypatch.setattr(byte_bugs, "_CHUNK_TOKENS", 3)
    assert count_bugs(tokenizer, stream) == whole
    assert set(whole) == set(BYTE_BUGS)


@pytest.mark.lab
def test_the_published_effects_are_near_on_real_text(lab):
    """Published on another text: a factor is a property of English with this vocabulary, so 1.5 % is near."""
    from bpb_harness.text.corpus import load_shards

    tokenizer = load_tokenizer(lab / "tokenizers" / "fineweb_1024_bpe.model")
    corpus = load_shards([lab / "text" / "lab_val_000000.bin"], vocab_size=1024)
    right = ByteCounter(tokenizer).total(corpus)
    for name, published in {
        "space_counted_twice": 1.16714,
        "space_twice_pieces_by_spelling": 1.17704,
        "question_mark_for_space": 1.33428,
        "space_never_counted": 0.83286,
    }.items():
        assert BYTE_BUGS[name].count(tokenizer, corpus) / right == pytest.approx(published, rel=0.015)
        assert BYTE_BUGS[name].effect == f"x {published}"
