"""The fixtures' language: exact probabilities, unique segmentation, code lengths that an independent sum confirms."""

from __future__ import annotations

import hashlib
import json
import math
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import sentencepiece

from bpb_harness.errors import CorpusError
from fixtures import build
from fixtures.language import BITS, MarkovSource, code_length_bits, source


@pytest.fixture(scope="module")
def documents() -> list[str]:
    return [source().document(77, index) for index in range(60)]


def test_rows_are_exact_distributions() -> None:
    weights = source().weights
    assert (weights >= 0).all()
    assert (weights[:-1].sum(axis=1) == 1 << BITS).all()
    assert (weights[-1] == 0).all()  # END has no successor
    assert (weights[:, 0] == 0).all()  # nothing returns to START


def test_every_state_is_reachable_and_reaches_the_end() -> None:
    edges = source().weights > 0
    forward, backward = np.zeros(len(edges), dtype=bool), np.zeros(len(edges), dtype=bool)
    forward[0], backward[-1] = True, True
    for _ in range(len(edges)):
        forward |= forward @ edges
        backward |= edges @ backward
    assert forward.all()
    assert backward.all()


def test_spellings_are_uniquely_decodable() -> None:
    """Sardinas and Patterson (1953): no dangling suffix is itself a spelling."""
    code = set(source().spellings)

    def dangling(shorter: set[str], longer: set[str]) -> set[str]:
        return {b[len(a) :] for a in shorter for b in longer if b.startswith(a) and b != a}

    suffixes, seen = dangling(code, code), set()
    while suffixes - seen:
        assert not suffixes & code, f"ambiguous: {sorted(suffixes & code)[:3]}"
        seen |= suffixes
        suffixes = dangling(suffixes, code) | dangling(code, suffixes)


def _probability_by_summing_all_walks(language: MarkovSource, text: str) -> float:
    """log2 of the sum over every walk and every segmentation; knows nothing of parse().

    forward[place][s]: probability that a walk spelled text[:place] and stands on state s.
    """
    spaced_start = {s for s in range(len(language.states)) if language.states[s].spelling.startswith(" ")}
    spellings = [state.spelling for state in language.states]
    forward = [np.zeros(len(spellings)) for _ in range(len(text) + 1)]
    for s in range(len(spellings)):
        spelled = spellings[s].removeprefix(" ") if s in spaced_start else spellings[s]
        if spelled and text.startswith(spelled):
            forward[len(spelled)][s] += language.transition[0, s]
    for place in range(1, len(text)):
        if not forward[place].any():
            continue
        arriving = forward[place] @ language.transition
        for s in np.flatnonzero(arriving):
            if spellings[s] and text.startswith(spellings[s], place):
                forward[place + len(spellings[s])][s] += arriving[s]
    end = forward[len(text)] @ language.transition[:, -1]
    return math.log2(end)


def test_code_length_equals_the_sum_over_all_walks(documents: list[str]) -> None:
    short = [text for text in documents if len(text) < 400][:12]
    assert len(short) == 12
    for text, bits in zip(short, code_length_bits(short), strict=True):
        assert bits == pytest.approx(-_probability_by_summing_all_walks(source(), text), abs=1e-9)


def test_parse_gives_back_the_text(documents: list[str]) -> None:
    language = source()
    for text in documents:
        assert "".join(language.states[s].spelling for s in language.parse(text)).removeprefix(" ") == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "hello",
        "Liso",
        ".",
        "7",
        " Liso sopule.",
        "Liso  sopule.",
        "Liso sopule.\n",
        "かつりの",
        "Liso sopule. ",
        "\x00",
        "﻿",
    ],
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(CorpusError, match="outside the language"):
        code_length_bits([text])


def test_a_walk_that_may_not_end_is_refused(documents: list[str]) -> None:
    text = documents[0]
    assert text[-1] in ".!?;。・" or text[-1] in "🌊🌱🐦🔥🚀🍎"
    last_word = text.rstrip(".!?;。・🌊🌱🐦🔥🚀🍎 ")
    with pytest.raises(CorpusError, match="a document that ends after"):
        code_length_bits([last_word])


def test_entropy_is_the_mean_code_length() -> None:
    """2,000 documents of a stream that no fixture uses; the mean is within 4 standard errors (false alarm 6e-5)."""
    language = source()
    texts = [language.document(4242, index) for index in range(2000)]
    bits = np.array(language.code_length_bits(texts))
    num_bytes = np.array([len(text.encode()) for text in texts])
    for sample, expected in ((bits, language.bits_per_document), (num_bytes, language.bytes_per_document)):
        assert abs(sample.mean() - expected) < 4 * sample.std(ddof=1) / math.sqrt(len(texts))
    residual = bits - language.entropy_bits_per_byte * num_bytes  # mean 0: a ratio's error is that of its residual
    assert abs(residual.mean()) < 4 * residual.std(ddof=1) / math.sqrt(len(texts))


def test_entropy_by_iterating_the_chain() -> None:
    """The expected bits of a document again, as a sum over time instead of a linear system."""
    language = source()
    P = language.transition
    surprise = np.array([-(row[row > 0] * np.log2(row[row > 0])).sum() for row in P])
    at, bits = np.eye(len(P))[0], 0.0
    for _ in range(20_000):
        bits += float(at @ surprise)
        at = at @ P
    assert language.bits_per_document == pytest.approx(bits, rel=1e-9)


def test_documents_do_not_depend_on_what_was_drawn_before() -> None:
    drawn = list(source().documents(5, min_bytes=3000))
    assert drawn[3] == source().document(5, 3)
    assert len(set(drawn)) == len(drawn)
    assert source().document(6, 3) != drawn[3]


def test_documents_are_the_same_everywhere() -> None:
    """Golden: sha256 of documents 0 to 99 of stream 2, made by fixtures/language.py on x86-64 with numpy 2."""
    digest = hashlib.sha256("\n".join(source().document(2, index) for index in range(100)).encode()).hexdigest()
    assert digest == "9c3f739d83fb30a5a344293f7023698d6cb4dd925a78d81ad47c52ec5550c35c"


def test_language_has_what_byte_counts_trip_over(documents: list[str]) -> None:
    text = "".join(documents)
    widths = {len(character.encode()) for character in text}
    assert widths == {1, 2, 3, 4}
    assert any(character.isdigit() for character in text)
    assert unicodedata.normalize("NFKC", text) == text


def test_shipped_documents_are_those_of_the_language(repository: Path) -> None:
    lines = (repository / "fixtures" / "corpora" / "tiny_val_docs.jsonl").read_text(encoding="utf-8").splitlines()
    texts = [json.loads(line)["text"] for line in lines]
    assert texts == list(source().documents(build.VALIDATION_STREAM, min_bytes=130_000))
    shipped, made = json.loads(build.SOURCE_RECORD.read_text()), build.source_record(texts)
    # A sum of logarithms of another processor's mathematics library may end in another digit.
    assert shipped.pop("code_length_bits") == pytest.approx(made.pop("code_length_bits"), rel=1e-14)
    assert shipped == made


def test_shipped_shard_is_the_documents(repository: Path) -> None:
    raw = (repository / "fixtures" / "corpora" / "tiny_val_000000.bin").read_bytes()
    header, tokens = np.frombuffer(raw[:1024], "<i4"), np.frombuffer(raw[1024:], "<u2")
    assert header[:3].tolist() == [20240520, 1, len(tokens)]
    assert not header[3:].any()
    processor = sentencepiece.SentencePieceProcessor(model_file=str(build.TOKENIZER))
    pieces = np.split(tokens, np.flatnonzero(tokens == processor.bos_id()))[1:]
    lines = build.DOCUMENTS.read_text(encoding="utf-8").splitlines()
    assert [processor.decode(piece[1:].tolist()) for piece in pieces] == [json.loads(line)["text"] for line in lines]


def test_copies_beside_the_checkpoint_are_the_originals() -> None:
    for path in (build.VALIDATION, build.SOURCE_RECORD):
        assert build.CHECKPOINT.with_name(path.name).read_bytes() == path.read_bytes()


def test_tokenizer_gives_every_text_back() -> None:
    processor = sentencepiece.SentencePieceProcessor(model_file=str(build.TOKENIZER))
    assert processor.vocab_size() == build.VOCAB_SIZE
    assert processor.bos_id() == 1
    assert processor.id_to_piece(processor.piece_to_id("▁")) == "▁"
    ids = processor.encode("🌊")
    assert [processor.is_byte(token) for token in ids] == [True] * 4, "the emoji exercise byte pieces"
    for text in ["", " ", "  two  spaces ", "line\nbreak\ttab", "ﬁ é \uff46", "\u2581", *code_points()]:
        assert processor.decode(processor.encode(text)) == text.replace("\u2581", " ")


def code_points() -> list[str]:
    return [chr(point) for point in (0x7F, 0x80, 0x7FF, 0x800, 0xFFFD, 0x10000, 0x10FFFF)]
