"""Exact bytes behind a score: what every token spells, counted from the tokenizer's own pieces.

tokenizer.py      `Tokenizer`, `load_tokenizer`: SentencePiece, byte-level BPE, characters behind one interface
counter.py        `ByteCounter`: the bytes of every token in context, by the official and by the exact rule
"""

from bpb_harness.byte_count.counter import ByteCounter, Rule, TokenSource
from bpb_harness.byte_count.tokenizer import PieceKind, Tokenizer, load_tokenizer

__all__ = ["ByteCounter", "PieceKind", "Rule", "TokenSource", "Tokenizer", "load_tokenizer"]
