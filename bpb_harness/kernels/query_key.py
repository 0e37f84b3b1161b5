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

from bpb_harness.kernels.squared_relu import num_multiprocessors

try:
    import triton
    import triton.language as tl
    from triton.tools.tensor_descriptor import TensorDescriptor
except ImportError:  # no triton, or one before 3.4
    triton = None

_TILE_M, _TILE_N, _TILE_K, _WARPS, _STAGES = 128, 256, 64, 8, 3
_EPS = torch.finfo(torch.float32).eps


def is_available(device: torch.device) -> bool:
    """Whether there is a kernel: triton 3.4 or later, on a card whose copy engine moves tiles."""
    return triton is not None and device.type == "cuda" and torch.cuda.get_device_capability(device) >= (9, 0)


def fits(length: int, weight: Tensor, head: int) -> bool:
    """Whether a tile of a (H d, K) weight's product holds whole heads of one window."""
    rows, width = weight.shape
    return head in (32, 64) and rows % _TILE_N == 0 and width % _TILE_K == 0 and length % _TILE_M == 0


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


if triton is not None:
    # Kernels have no types: triton reads annotations itself, and knows its own alone.

    @triton.jit  # type: ignore[untyped-decorator]
    def _turned_qk_kernel(  # type: ignore[no-untyped-def]
        x_desc, weight_desc, angles_desc, out_desc, M, num_programs,
        LENGTH: tl.constexpr, N: tl.constexpr, K: tl.constexpr, HEAD: tl.constexpr, EPS: tl.constexpr,
        QUERY_FACTOR: tl.constexpr, TILE_M: tl.constexpr, TILE_N: tl.constexpr, TILE_K: tl.constexpr,
    ):  # fmt: skip
        tiles_n: tl.constexpr = N // TILE_N
        num_tiles = tl.cdiv(M, TILE_M) * tiles_n
        # One loop over all tiles' steps, so that a tile is fetched while the one before it is turned and stored.
        for tile in tl.range(tl.program_id(0), num_tiles, num_programs, flatten=True):
            row = (tile // tiles_n) * TILE_M  # neighbouring programs share their rows, which then come from the cache
            column = (tile % tiles_n) * TILE_N
            total = tl.zeros((TILE_M, TILE_N), dtype=tl.float32)
            for inner in range(0, K, TILE_K):
                total = tl.dot(x_desc.load([row, inner]), weight_desc.load([column, inner]).T, total)
            c, s = tl.split(tl.reshape(angles_desc.load([row % LENGTH, 0]), (TILE_M, HEAD // 2, 2)))
            factor = tl.where(column < N // 2, QUERY_FACTOR, 1.0)
            low, high = tl.split(tl.permute(tl.reshape(total, (TILE_M, 2, TILE_N // 2)), (0, 2, 1)))
            low = _turned_and_normalised(low, c, s, factor, EPS, TILE_M, TILE_N // 2, HEAD)
            out_desc.store([row, column], low)
            high = _turned_and_normalised(high, c, s, factor, EPS, TILE_M, TILE_N // 2, HEAD)
            out_desc.store([row, column + TILE_N // 2], high)

    @triton.jit  # type: ignore[untyped-decorator]
    def _turned_and_normalised(  # type: ignore[no-untyped-def]
        product, c, s, factor, EPS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, HEAD: tl.constexpr
    ):
        c, s = c[:, None, :], s[:, None, :]
        a, b = tl.split(tl.reshape(product, (ROWS, COLUMNS // HEAD, HEAD // 2, 2)))
        a, b = _rounded(a, b)
        a, b = _rounded(a * c + b * s, b * c - a * s)
        norm = (tl.rsqrt(tl.sum(a * a + b * b, axis=2) / HEAD + EPS) * factor)[:, :, None]
        return tl.reshape(tl.join(a * norm, b * norm).to(tl.bfloat16), (ROWS, COLUMNS))

    @triton.jit
    def _rounded(a, b):  # type: ignore[no-untyped-def]
        # To bfloat16 and back. One conversion of a pair: the compiler makes two, each at a quarter of the rate.
        return tl.inline_asm_elementwise(
            """{
            .reg .b32 pair;
            cvt.rn.bf16x2.f32 pair, $3, $2;
            shl.b32 $0, pair, 16;
            and.b32 $1, pair, 0xffff0000;
            }""",
            "=f,=f,f,f", [a, b], dtype=(tl.float32, tl.float32), is_pure=True, pack=1,
        )  # fmt: skip

    @turned_qk.register_kernel("cuda")
    def _launch(x: Tensor, weight: Tensor, angles: Tensor) -> Tensor:
        x, weight, angles = x.contiguous(), weight.contiguous(), angles.contiguous()
        (num_rows, width), (length, head), columns = x.shape, angles.shape, weight.shape[0]
        assert fits(length, weight, head)
        out = torch.empty(num_rows, columns, dtype=x.dtype, device=x.device)
        programs = min(math.ceil(num_rows / _TILE_M) * (columns // _TILE_N), num_multiprocessors(x.device))
        _turned_qk_kernel[(programs,)](
            TensorDescriptor.from_tensor(x, [_TILE_M, _TILE_K]),
            TensorDescriptor.from_tensor(weight, [_TILE_N, _TILE_K]),
            TensorDescriptor.from_tensor(angles, [_TILE_M, head]),
            TensorDescriptor.from_tensor(out, [_TILE_M, _TILE_N // 2]),
            num_rows, programs,
            LENGTH=length, N=columns, K=width, HEAD=head, EPS=_EPS, QUERY_FACTOR=query_factor(head),
            TILE_M=_TILE_M, TILE_N=_TILE_N, TILE_K=_TILE_K, num_warps=_WARPS, num_stages=_STAGES,
        )  # fmt: skip
        return out
