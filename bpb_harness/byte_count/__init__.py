"""Exact bytes behind a score: what every token spells, counted from the tokenizer's own pieces.

tokenizer.py      `Tokenizer`: pieces, what they spell, an encoder, behind one interface
formats.py        `load_tokenizer`: which file is which tokenizer; one module a format
counter.py        `ByteCounter`: the bytes of every token in context, by the official and by the exact rule
ground_truth.py   `compare_with_text`: pieces, normalised text and raw text against each other, and why they part
validity.py       `lost_in_documents`, `silent_runs`, `encode_again`: do tokenizer, tokens and text belong together?
following.py      `follow_documents`: what of a text is lost where no token sets documents off
byte_view.py      `spread_over_bytes`: a token's bits over its bytes
"""

from bpb_harness.byte_count.byte_view import ByteView, byte_spans, spread_over_bytes
from bpb_harness.byte_count.counter import ByteCounter, Rule, TokenSource
from bpb_harness.byte_count.following import Following, follow_documents
from bpb_harness.byte_count.formats import load_tokenizer, tokenizer_bytes_in
from bpb_harness.byte_count.ground_truth import (
    Comparison,
    Disagreement,
    GroundTruth,
    Reason,
    compare_with_text,
    why_rules_differ,
)
from bpb_harness.byte_count.tokenizer import PieceKind, SpaceHabit, Tokenizer
from bpb_harness.byte_count.validity import (
    Belonging,
    encode_again,
    lost_by_tokenizer,
    lost_in_documents,
    lost_in_tokens,
)

__all__ = [
    "Belonging",
    "ByteCounter",
    "ByteView",
    "Comparison",
    "Disagreement",
    "Following",
    "GroundTruth",
    "PieceKind",
    "Reason",
    "Rule",
    "SpaceHabit",
    "TokenSource",
    "Tokenizer",
    "byte_spans",
    "compare_with_text",
    "encode_again",
    "follow_documents",
    "load_tokenizer",
    "lost_by_tokenizer",
    "lost_in_documents",
    "lost_in_tokens",
    "spread_over_bytes",
    "tokenizer_bytes_in",
    "why_rules_differ",
]
