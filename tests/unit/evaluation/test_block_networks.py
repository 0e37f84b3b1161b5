"""Which spans a network of blocks takes."""

from __future__ import annotations

import numpy as np
import pytest

from bpb_harness.errors import UsageError
from bpb_harness.evaluation.block_networks import require_whole_blocks
from bpb_harness.text.layouts.blocks import blocks
from bpb_harness.text.layouts.stride import sliding
from bpb_harness.text.layouts.windows import windows
from bpb_harness.text.spans import Spans


class OfBlocks:
    vocab_size = mask_token_id = 4
    context_length, time_conditioned, block_size = 12, False, 4

    def logits(self, xt, level): ...


class Plain(OfBlocks):
    block_size = None


def spans(*triples: tuple[int, int, int]) -> Spans:
    return Spans(*(np.array(column, dtype=np.int64) for column in zip(*triples, strict=True)))


@pytest.mark.parametrize(
    "taken",
    [
        blocks(0, 24, 12, 4), blocks(0, 24, 8, 4), blocks(0, 22, 12, 4), blocks(0, 21, 12, 4), blocks(3, 6, 12, 4),
        windows(0, 24, 4), windows(0, 10, 4), windows(5, 8, 12, unpaid_prefix=1),
        spans((0, 1, 4)), spans((0, 6, 8), (100, 101, 104)), spans((7, 15, 19)), spans((7, 15, 17)),
        spans((0, 0, 3), (3, 3, 7), (3, 7, 8), (8, 8, 12)),
    ],
)  # fmt: skip
def test_whole_blocks_behind_whole_blocks(taken):
    require_whole_blocks(OfBlocks(), taken)


@pytest.mark.parametrize(
    ("refused", "seen"),
    [
        (windows(0, 24, 12), "12 targets in several of its blocks"),
        (windows(0, 5, 12), "5 targets in several of its blocks"),
        (windows(0, 12, 6, unpaid_prefix=1), "5 targets in several of its blocks"),
        (sliding(0, 24, 12, 4, given=0), "12 targets in several of its blocks"),
        (blocks(0, 24, 12, 6), "6 targets in several of its blocks"),
        (blocks(0, 24, 12, 2), "2 targets in a part of a block"),
        (blocks(0, 24, 12, 1), "1 targets in a part of a block"),
        (spans((0, 0, 4), (0, 3, 5)), "2 targets in several of its blocks"),
        (spans((0, 0, 4), (9, 9, 11), (9, 11, 13)), "2 targets in a part of a block"),
    ],
)
def test_others_name_the_size_of_its_blocks(refused, seen):
    with pytest.raises(UsageError) as caught:
        require_whole_blocks(OfBlocks(), refused)
    assert str(caught.value) == (
        f"a network that predicts blocks of 4 tokens, each given the blocks before it: got {seen}, expected blocks of "
        "4; pass --block-size 4"
    )
    require_whole_blocks(Plain(), refused)


def test_who_has_no_blocks_takes_any_spans():
    class WithoutTheWord:
        vocab_size = mask_token_id = 4

    require_whole_blocks(WithoutTheWord(), windows(0, 24, 12))
