"""Lines of logs that tell of tokens of the text that are stored beside the network."""

from __future__ import annotations

import pytest

from bpb_harness.claim.printed import Source
from bpb_harness.claim.stored_text import stored_told

AT = Source("train.log", 8)


@pytest.mark.parametrize(
    ("line", "words", "tokens", "size"),
    [
        ("paid_prefix_file:/a b/p.xz paid_prefix_tokens:1040297 paid_prefix_bytes:768000",
         "paid_prefix_tokens:1040297", 1_040_297, 768_000),
        ("paid_prefix:loaded 6,200,000 tokens from prefix_6m2.xz (4,240,472 bytes)",
         "paid_prefix:loaded 6,200,000 tokens", 6_200_000, 4_240_472),
        ("paid_prefix:inline block_size:256 covered_tokens:5,294,336 target_bytes:42 prefix_bytes:4240256 build",
         "covered_tokens:5,294,336", 5_294_336, 4_240_256),
        ("stored_prefix tokens=5", "tokens=5", 5, None),
        ("memorised val_tokens: 1_000", "1_000", 1_000, None),
    ],
)  # fmt: skip
def test_what_is_stored(line: str, words: str, tokens: int, size: int | None) -> None:
    told = stored_told(line, AT, 2)
    assert told is not None
    assert (told.words, told.num_tokens, told.num_bytes, told.run) == (words, tokens, size, 2)


@pytest.mark.parametrize(
    "line",
    [
        "paid_prefix_tokens:0 paid_prefix_bytes:0",
        "paid_prefix:off tokens:",
        "unpaid_prefix_tokens:128",
        "ttt_prefix_tokens:512 prefix_bytes:9",  # a part of the window that is not scored, or is adapted to
        "prefix_tokens:16",  # of a prompt that is learnt
        "stored tokens: 8192",  # of a cache
        "stored_prefixes tokens:9",
        "val_tokens:62021632 paid_prefix: none",
        "paid_prefix_share:0.5tokens",
        "paid_prefix_tokens:512x9",
    ],
)
def test_lines_that_tell_of_nothing_stored(line: str) -> None:
    assert stored_told(line, AT, 0) is None
