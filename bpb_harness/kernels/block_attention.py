"""What attention reads where blocks of a window are predicted in order, all in one pass: a clean copy and a noised one.

A clean position reads the clean ones up to itself. A noised position reads the noised ones of its block and the clean
ones of earlier blocks. As a table that is three quarters empty; on a GPU a network in training skips what is empty: the
clean half is plain causal attention, the noised half goes through torch's attention of sparse tiles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask


def is_seen_by_noised(place: Tensor, key: Tensor, length: int, size: int) -> Tensor:
    """Whether a noised position reads another one.

    Args:
        place: of the noised position in its window, from 0 to L - 1.
        key: of the other one among both halves, clean first, from 0 to 2 L - 1; together they broadcast.
        length: L.
        size: tokens of a block.
    """
    begin = place - place % size
    return (key < begin) | ((key >= length + begin) & (key < length + begin + size))


def dense_sight(length: int, size: int, device: torch.device) -> Tensor:
    """Whether each position of both halves, clean first, reads another one, (2 L, 2 L) bool."""
    key = torch.arange(2 * length, device=device)
    place = key[:length, None]
    return torch.cat((key <= place, is_seen_by_noised(place, key, length, size)))


def sparse_sight(length: int, size: int, device: torch.device) -> BlockMask:
    """The noised half of :func:`dense_sight` for :func:`sparse_attention`."""
    from torch.nn.attention.flex_attention import create_block_mask  # it takes the compiler along

    def is_seen(_batch: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return is_seen_by_noised(query, key, length, size)

    return create_block_mask(is_seen, None, None, length, 2 * length, device=str(device))


def sparse_attention(q: Tensor, k: Tensor, v: Tensor, sight: BlockMask) -> Tensor:
    """Attention of both halves, (B, H, 2 L, d) each, in a network that is compiled."""
    from torch.nn.attention.flex_attention import flex_attention

    half = q.shape[2] // 2
    clean = functional.scaled_dot_product_attention(
        q[:, :, :half], k[:, :, :half], v[:, :, :half], is_causal=True
    )  # fmt: skip
    noised = flex_attention(q[:, :, half:], k, v, block_mask=sight)
    assert isinstance(noised, Tensor)
    return torch.cat((clean, noised), dim=2)
