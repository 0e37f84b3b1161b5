"""What attention reads in a network of blocks: the table against loops, the sparse form of it against the table."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from bpb_harness.kernels.block_attention import dense_sight, sparse_attention, sparse_sight

CPU = torch.device("cpu")


@pytest.mark.parametrize(("length", "size"), [(6, 2), (8, 3), (5, 1), (7, 6)])
def test_the_table_is_what_each_position_may_read(length: int, size: int) -> None:
    sight = dense_sight(length, size, CPU)
    assert sight.shape == (2 * length, 2 * length)
    for reader in range(2 * length):
        for other in range(2 * length):
            place, there = reader % length, other % length
            if other < length:  # clean: up to itself for a clean reader, blocks before its own for a noised one
                wanted = there <= place if reader < length else there // size < place // size
            else:  # noised: of the same block, for a noised reader
                wanted = reader >= length and there // size == place // size
            assert bool(sight[reader, other]) == wanted


@pytest.mark.filterwarnings("ignore:.*flex_attention.*")
@pytest.mark.parametrize(("length", "size"), [(160, 4), (96, 5)])
def test_sparse_attention_is_that_of_the_table(length: int, size: int) -> None:
    generator = torch.Generator().manual_seed(length)
    q, k, v = (torch.randn(2, 2, 2 * length, 16, generator=generator) for _ in range(3))
    wanted = functional.scaled_dot_product_attention(q, k, v, attn_mask=dense_sight(length, size, CPU))
    torch.testing.assert_close(sparse_attention(q, k, v, sparse_sight(length, size, CPU)), wanted)
