"""Queries and keys in one product, with their rotary embedding and norm in its epilogue.

Rounded where the plain form rounds under autocast: the product to bfloat16, the turned pairs to bfloat16, the
normalised ones to bfloat16. What is saved is a pass over queries and keys, to memory and back. Two things differ: the
two numbers of a rotary pair lie side by side, for one thread of the device to have both, and queries carry the factor
that makes the softmax one of powers of two, and are rounded with it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bpb_harness.kernels.loading import has_descriptors
from bpb_harness.kernels.tiling import Tiling

_TILING = Tiling(128, 256, 64, num_warps=8, num_stages=3, programs=1)
_EPS = torch.finfo(torch.float32).eps


def is_available(device: torch.device) -> bool:
    """Whether there is a kernel: triton 3.4 or later, on a card whose copy engine moves tiles."""
    return has_descriptors() and device.type == "cuda" and torch.cuda.get_device_capability(device) >= (9, 0)


def fits(length: int, weight: Tensor, head: int) -> bool:
    """Whether a tile of a (H d, K) weight's product holds whole heads of one window."""
    rows, width = weight.shape
    return head in (32, 64) and rows % _TILING.n == 0 and width % _TILING.k == 0 and length % _TILING.m == 0


def query_factor(head: int) -> float:
    """What queries are multiplied by: 2^(q.k) is then exp(q.k / sqrt(d)) of the plain ones."""
    return math.log2(math.e) / math.sqrt(head)


def paired_rows(weight: Tensor, head: int) -> Tensor:
    """(N, K) weight of queries or keys, with the rows of a rotary pair, d / 2 apart, side by side."""
    return weight.view(-1, 2, head // 2, weight.shape[1]).transpose(1, 2).reshape(weight.shape)


def paired_angles(cos: Tensor, sin: Tensor) -> Tensor:
    """(L, d / 2) tables -> (L, d), a cosine beside its sine."""
    return torch.stack((cos, sin), dim=-1).flatten(-2)


def turn(x: Tensor, weight: Tensor, angles: Tensor) -> Tensor:
    """:func:`turned_qk` outside a compiled network, where an operation of torch's own would import the compiler."""
    return _launch(x, weight, angles) if x.device.type == "cuda" else _plain(x, weight, angles)


@torch.library.custom_op("bpb_harness::turned_qk", mutates_args=(), device_types="cpu")
def turned_qk(x: Tensor, weight: Tensor, angles: Tensor) -> Tensor:
    """Queries and keys, turned and then normalised.

    Args:
        x: (M, K) inputs of the product, window after window.
        weight: (2 H d, K) of queries before keys, each as :func:`paired_rows` gives it.
        angles: (L, d) float32, as :func:`paired_angles` gives it; L divides M. On a GPU all as :func:`fits` has it.

    Returns:
        (M, 2 H d): queries, multiplied by :func:`query_factor`, before keys.
    """
    return _plain(x, weight, angles)


def _plain(x: Tensor, weight: Tensor, angles: Tensor) -> Tensor:
    length, head = angles.shape
    wide = torch.promote_types(x.dtype, torch.float32)
    product = (x @ weight.t()).view(-1, length, 2, weight.shape[0] // 2 // head, head // 2, 2)
    a, b = product.to(wide).unbind(-1)
    c, s = angles.view(length, 1, 1, head // 2, 2).unbind(-1)
    turned = torch.stack((a * c + b * s, b * c - a * s), dim=-1).to(x.dtype).to(wide)
    norm = torch.rsqrt(turned.square().mean(dim=(-2, -1), keepdim=True) + _EPS)
    factors = torch.tensor([query_factor(head), 1.0], dtype=wide, device=x.device).view(2, 1, 1, 1)
    return (turned * (norm * factors)).to(x.dtype).view(len(x), -1)


@turned_qk.register_fake
def _(x: Tensor, weight: Tensor, angles: Tensor) -> Tensor:  # noqa: ARG001
    return x.new_empty(x.shape[0], weight.shape[0])


@turned_qk.register_kernel("cuda")
def _launch(x: Tensor, weight: Tensor, angles: Tensor) -> Tensor:
    from bpb_harness.kernels.on_gpu.query_key import launch_turned_qk

    length, head = angles.shape
    assert fits(length, weight, head)
    return launch_turned_qk(x, weight, angles, _TILING, factor=query_factor(head), eps=_EPS)
