"""What stands between documents spells nothing, whatever the tokenizer's file says of it."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from bpb_harness.byte_count import ByteCounter, PieceKind, load_tokenizer
from bpb_harness.errors import TokenizerError


def byte_level(*plain: str) -> bytes:
    """A byte-level tokenizer.json without merges, in whose vocabulary `plain` are ordinary entries."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {piece: index for index, piece in enumerate([*plain, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer.to_str().encode()


def test_a_separator_without_a_special_flag_spells_nothing():
    plain = load_tokenizer(byte_level("<|end|>", "<|doc|>"))
    stream = np.array([1, *plain.encode("caf\u00e9 <|doc|>"), 1, *plain.encode("x"), 0])
    text = len("caf\u00e9 <|doc|>".encode()) + 1
    assert ByteCounter(plain).total(stream, "exact") == text + 7 * 3
    set_off = plain.set_off_by(1)
    for tokenizer in (set_off, pickle.loads(pickle.dumps(set_off)), set_off.set_off_by(1)):
        assert (tokenizer.bos_id, tokenizer.digest, tokenizer.piece_kinds[1]) == (1, plain.digest, PieceKind.CONTROL)
        for rule in ("official", "exact"):
            assert ByteCounter(tokenizer).total(stream, rule) == text + 7
        assert tokenizer.decode(stream) == b"caf\xc3\xa9 <|doc|>x<|end|>"
    assert plain.piece_kinds[1] == PieceKind.TEXT
    assert set_off.set_off_by(None).bos_id is None


def test_what_sets_documents_off_lies_in_the_vocabulary():
    tokenizer = load_tokenizer(json.dumps(["<s>", "a", "b"]).encode(), name="letters")
    assert tokenizer.set_off_by(2).bos_id == 2
    for outside in (3, -1):
        with pytest.raises(TokenizerError, match=rf"the token between documents: got {outside}, expected 0..2"):
            tokenizer.set_off_by(outside)
