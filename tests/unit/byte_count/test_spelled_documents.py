"""Documents that are spelled many at a time are those that `decode` gives one by one."""

from __future__ import annotations

from dataclasses import astuple
from itertools import pairwise, product

import numpy as np
import pytest

from bpb_harness.byte_count import PieceKind, SpaceHabit, Tokenizer, load_tokenizer, spelled_documents
from bpb_harness.byte_count.spelled_documents import spelled_documents as spell
from bpb_harness.text.corpus import load_shards
from tests.shards import write_shard
from tests.tiers import some_of

S = "\u2581"
TEXT, BYTE, CONTROL, UNKNOWN, UNUSED = PieceKind
PIECES = [
    ("<s>", CONTROL), ("</s>", CONTROL), ("<unk>", UNKNOWN), ("<0xE2>", BYTE), ("<0x96>", BYTE), ("<0x81>", BYTE),
    ("<0x20>", BYTE), (S, TEXT), (f"{S}a", TEXT), (f"b{S}", TEXT), (f"{S}{S}c", TEXT), ("d", TEXT), ("\u00e9", TEXT),
    ("unused", UNUSED),
]  # fmt: skip


class HandMade(Tokenizer):
    """A vocabulary of a few pieces, with every kind of them."""

    kind = "sentencepiece"

    def __init__(self, spaces: SpaceHabit) -> None:
        self.spaces, self.bos_id = spaces, 0
        spelled = {CONTROL: lambda _: b"", UNKNOWN: lambda _: b"", BYTE: lambda name: bytes.fromhex(name[3:5])}
        self._set(
            b"",
            "hand-made",
            [name for name, _ in PIECES],
            [kind for _, kind in PIECES],
            [spelled.get(kind, str.encode)(name) for name, kind in PIECES],
        )

    def encode(self, text):
        raise AssertionError(text)

    def normalize(self, text):
        raise AssertionError(text)


def one_by_one(tokenizer, tokens, starts):
    return [tokenizer.decode(tokens[begin:end]) for begin, end in pairwise([*starts.tolist(), len(tokens)])]


# First those of an even number of habits: each two of the three in all of their four ways.
HABITS = [SpaceHabit(*each) for each in product((True, False), repeat=3)]
HABITS.sort(key=lambda habit: sum(astuple(habit)) % 2)


@pytest.mark.parametrize("spaces", some_of(HABITS, everyday=4), ids=str)
def test_every_document_is_what_decode_gives(tmp_path, monkeypatch, spaces):
    tokenizer, generator = HandMade(spaces), np.random.default_rng(7)
    for at_once in (1, 5, 1 << 20):  # documents longer than that, and several at a time
        monkeypatch.setattr(spelled_documents, "_TOKENS_AT_ONCE", at_once)
        monkeypatch.setattr(spelled_documents, "_TOKENS_IN_CACHE", at_once)
        for trial in range(60):
            tokens = generator.integers(0, len(PIECES), generator.integers(1, 30))
            if trial % 2:  # a space that is spelled in bytes, wherever borders cut it
                at = int(generator.integers(0, len(tokens)))
                tokens[at : at + 3] = [3, 4, 5][: len(tokens) - at]
            starts = np.unique(np.append(0, generator.integers(0, len(tokens), generator.integers(0, 6))))
            corpus = load_shards([write_shard(tmp_path / "x.bin", tokens)])
            assert list(spell(tokenizer, corpus, starts)) == one_by_one(tokenizer, tokens, starts), (tokens, starts)


def test_documents_of_a_real_vocabulary(repository):
    tokenizer = load_tokenizer(repository / "fixtures" / "tokenizers" / "tiny_512_bpe.model")
    corpus = load_shards([repository / "fixtures" / "corpora" / "tiny_val_000000.bin"])
    starts, tokens = corpus.document_starts(tokenizer.bos_id), corpus.read(0, corpus.num_tokens)
    assert len(starts) > 2
    assert list(spell(tokenizer, corpus, starts)) == one_by_one(tokenizer, tokens, starts)
