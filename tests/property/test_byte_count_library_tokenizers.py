"""Byte-level BPE and characters against arbitrary Unicode: bytes are the UTF-8 of the (normalised) text."""

from __future__ import annotations

import functools
import itertools
import json
import re
import tempfile
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from bpb_harness.byte_count import ByteCounter, PieceKind, load_tokenizer, lost_by_tokenizer
from bpb_harness.byte_count.ranks import RankTokenizer
from tests.tiers import times

SPECIAL, ADDED = "<|endoftext|>", "<tool>"
PARTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8), st.sampled_from([SPECIAL, ADDED, "  ", "the"])
)
TEXTS = st.lists(PARTS, max_size=8).map("".join)


@functools.cache
def trained(**options):
    """A byte-level BPE of the library, cut by GPT-2's pattern."""
    tokenizer = Tokenizer(models.BPE(**options))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=300, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(["the cat sat on the mat, the rat ate"] * 20, trainer)
    return tokenizer


@functools.cache
def byte_level(layout: str):
    """GPT-2's layout, and LLaMA 3's, which splits by a pattern of its own before the bytes."""
    tokenizer = Tokenizer(models.BPE())
    whole = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=layout == "gpt2")
    if layout == "gpt2":
        tokenizer.pre_tokenizer = whole
    else:
        words = pre_tokenizers.Split(Regex(r"\p{L}+|\p{N}{1,3}|\s+|[^\s\p{L}\p{N}]+"), behavior="isolated")
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, whole])
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=[SPECIAL],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["the cat sat on the mat, the rat ate"] * 20, trainer)
    tokenizer.add_tokens([ADDED])
    return load_tokenizer(tokenizer.to_str().encode())


@pytest.mark.parametrize("layout", ["gpt2", "llama3"])
@settings(max_examples=times(60, thorough=300), deadline=None, derandomize=True)
@given(text=TEXTS)
def test_byte_level_bpe_spells_the_text(layout, text):
    tokenizer = byte_level(layout)
    normal = unicodedata.normalize("NFC", text) if layout == "llama3" else text
    tokens = np.concatenate([[tokenizer.bos_id], tokenizer.encode(text)])
    counter = ByteCounter(tokenizer)
    assert tokenizer.decode(tokens) == normal.encode() == tokenizer.normalize(text).encode()
    assert counter.total(tokens, "exact") == counter.total(tokens, "official") == len(normal.encode())


@settings(max_examples=times(60, thorough=300), deadline=None, derandomize=True)
@given(characters=st.sets(st.characters(exclude_categories=["Cs"]), min_size=3, max_size=20), data=st.data())
def test_characters_spell_the_text_and_unknown_ones_are_a_lower_bound(characters, data):
    tokenizer = load_tokenizer(json.dumps(["[UNK]", *sorted(characters)]).encode())
    text = data.draw(st.text(st.one_of(st.sampled_from(sorted(characters)), st.characters(exclude_categories=["Cs"]))))
    tokens = tokenizer.encode(text)
    known = [character for character in text if character in characters]
    assert len(tokens) == len(text)
    assert ByteCounter(tokenizer).total(tokens, "exact") == len("".join(known).encode())
    assert int((tokenizer.piece_kinds[tokens] == PieceKind.UNKNOWN).sum()) == len(text) - len(known)


@functools.cache
def other_layouts():
    """The same vocabulary in other files: a pair, bytes made letters by the normaliser, merges left out at random."""
    pair = trained()
    with tempfile.TemporaryDirectory() as folder:
        pair.model.save(folder)
        from_pair = load_tokenizer(folder)
    document = json.loads(pair.to_str())
    by_normaliser = {**document, "normalizer": {"type": "ByteLevel"}, "pre_tokenizer": None}
    at_random = {**document, "model": {**document["model"], "dropout": 0.5}}
    both = (load_tokenizer(json.dumps(content).encode()) for content in (by_normaliser, at_random))
    return pair, from_pair, *both


@settings(max_examples=times(40, thorough=200), deadline=None, derandomize=True)
@given(text=TEXTS)
def test_other_layouts_of_byte_level_bpe_spell_the_text(text):
    library, from_pair, by_normaliser, at_random = other_layouts()
    for ours in (from_pair, by_normaliser, at_random):
        tokens = ours.encode(text)
        assert ours.decode(tokens) == text.encode() == ours.normalize(text).encode()
        assert ByteCounter(ours).total(tokens, "exact") == ByteCounter(ours).total(tokens) == len(text.encode())
    for ours in (from_pair, at_random):
        assert ours.encode(text).tolist() == library.encode(text).ids
    assert lost_by_tokenizer(by_normaliser) is None


def one_after_the_other(part: bytes, ranks: dict[bytes, int]) -> list[int]:
    """Merging by ranks as it is defined: a part that has a rank is one token; else the neighbours of the lowest rank
    are joined, the leftmost first."""
    if part in ranks:
        return [ranks[part]]
    pieces = [bytes([byte]) for byte in part]
    while True:
        found = [(ranks[a + b], at) for at, (a, b) in enumerate(itertools.pairwise(pieces)) if a + b in ranks]
        if not found:
            return [ranks[piece] for piece in pieces]
        _, at = min(found)
        pieces[at : at + 2] = [pieces[at] + pieces[at + 1]]


@settings(max_examples=times(60, thorough=300), deadline=None, derandomize=True)
@given(
    joined=st.lists(st.text("ab", min_size=2, max_size=6), unique=True, max_size=25),
    text=st.text("ab \n", max_size=40),
    text_of_all=TEXTS,
)
def test_ranks_merge_as_they_are_defined(joined, text, text_of_all):
    table = {bytes([byte]): byte for byte in range(256)} | {piece.encode(): 256 + i for i, piece in enumerate(joined)}
    ours = RankTokenizer(b"", "it", table, {"<|bos|>": 256 + len(joined)}, r" ?[a-z]+|\s+|[^\sa-z]+")
    parts = re.findall(r" ?[a-z]+|[ \n]+", text)
    assert ours.encode(text).tolist() == [
        token for part in parts for token in one_after_the_other(part.encode(), table)
    ]
    tokens = ours.encode(text_of_all)
    assert ours.decode(tokens) == text_of_all.encode()
    assert ByteCounter(ours).total(tokens) == len(text_of_all.encode())
