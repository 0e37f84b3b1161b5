"""Byte-level BPE and characters against arbitrary Unicode: bytes are the UTF-8 of the (normalised) text."""

from __future__ import annotations

import functools
import json
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from bpb_harness.byte_count import ByteCounter, PieceKind, load_tokenizer

SPECIAL, ADDED = "<|endoftext|>", "<tool>"
PARTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8), st.sampled_from([SPECIAL, ADDED, "  ", "the"])
)
TEXTS = st.lists(PARTS, max_size=8).map("".join)


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
@settings(max_examples=150, deadline=None, derandomize=True)
@given(text=TEXTS)
def test_byte_level_bpe_spells_the_text(layout, text):
    tokenizer = byte_level(layout)
    normal = unicodedata.normalize("NFC", text) if layout == "llama3" else text
    tokens = np.concatenate([[tokenizer.bos_id], tokenizer.encode(text)])
    counter = ByteCounter(tokenizer)
    assert tokenizer.decode(tokens) == normal.encode() == tokenizer.normalize(text).encode()
    assert counter.total(tokens, "exact") == counter.total(tokens, "official") == len(normal.encode())


@settings(max_examples=150, deadline=None, derandomize=True)
@given(characters=st.sets(st.characters(exclude_categories=["Cs"]), min_size=3, max_size=20), data=st.data())
def test_characters_spell_the_text_and_unknown_ones_are_a_lower_bound(characters, data):
    tokenizer = load_tokenizer(json.dumps(["[UNK]", *sorted(characters)]).encode())
    text = data.draw(st.text(st.one_of(st.sampled_from(sorted(characters)), st.characters(exclude_categories=["Cs"]))))
    tokens = tokenizer.encode(text)
    known = [character for character in text if character in characters]
    assert len(tokens) == len(text)
    assert ByteCounter(tokenizer).total(tokens, "exact") == len("".join(known).encode())
    assert int((tokenizer.piece_kinds[tokens] == PieceKind.UNKNOWN).sum()) == len(text) - len(known)
