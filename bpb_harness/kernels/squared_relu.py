"""A product with a squared ReLU in its epilogue, and the product of its gradient, for scoring and for training alike.

The arithmetic is that of the plain form, rounding for rounding: sums in float32, rounded to bfloat16 before the square.
What is saved are passes over the widest tensor of a block, to memory and back. On a CPU, and to a compiler's eyes, both
are plain operations; the kernels are triton's, with tiles that the card's copy engine moves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from bpb_harness.kernels.specialising import serves

try:
    import triton
    import triton.language as tl
    from triton.tools.tensor_descriptor import TensorDescriptor
except ImportError:  # no triton, or one before 3.4
    triton = None


@dataclass(frozen=True)
class Tiling:
    """How a product is cut: its tiles, and how many programs a multiprocessor is given (0: one for every tile)."""

    m: int
    n: int
    k: int
    num_warps: int
    num_stages: int
    programs: int
    num_parts: int = 1


FORWARD_TILING = Tiling(128, 256, 64, num_warps=8, num_stages=4, programs=1, num_parts=2)
BACKWARD_TILING = Tiling(128, 256, 64, num_warps=8, num_stages=3, programs=1, num_parts=2)


def is_available() -> bool:
    """Whether there are kernels: triton with tensor descriptors, 3.4 or later."""
    return triton is not None


def fits(up: Tensor) -> bool:
    """Whether the kernels cut an (N, K) weight without rests."""
    hidden, width = up.shape
    return all(hidden % tiling.n == 0 and width % tiling.k == 0 for tiling in (FORWARD_TILING, BACKWARD_TILING))


def num_multiprocessors(device: torch.device) -> int:
    """How many of a kernel's programs a GPU runs side by side, if they are large; an interpreter on a CPU some."""
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 3


@torch.library.custom_op("bpb_harness::squared_relu_product", mutates_args=(), device_types="cpu")
def squared_relu_product(x: Tensor, up: Tensor) -> Tensor:
    """relu(x up^T)^2; (M, K) and (N, K) -> (M, N)."""
    return _plain(x, up)


def _plain(x: Tensor, up: Tensor) -> Tensor:
    return functional.relu(x @ up.t()).square()


@torch.library.custom_op("bpb_harness::squared_relu_product_backward", mutates_args=(), device_types="cpu")
def squared_relu_product_backward(grad: Tensor, down: Tensor, squares: Tensor) -> Tensor:
    """(grad down) * 2 sqrt(squares): the gradient before the squared ReLU; (M, K), (K, N) and (M, N) -> (M, N)."""
    return (grad @ down) * 2 * squares.sqrt()


@squared_relu_product.register_fake
def _(x: Tensor, up: Tensor) -> Tensor:
    return x.new_empty(x.shape[0], up.shape[0])


@squared_relu_product_backward.register_fake
def _(grad: Tensor, down: Tensor, squares: Tensor) -> Tensor:  # noqa: ARG001
    return squares.new_empty(squares.shape)


if triton is not None:
    # Kernels have no types: triton reads annotations itself, and knows its own alone.

    @triton.jit  # type: ignore[untyped-decorator]
    def _squared_relu_kernel(  # type: ignore[no-untyped-def]
        x_desc, weight_desc, squares_desc, out_desc, M, num_programs, N: tl.constexpr, K: tl.constexpr,
        TILE_M: tl.constexpr, TILE_N: tl.constexpr, TILE_K: tl.constexpr, PARTS: tl.constexpr, BACKWARD: tl.constexpr,
    ):  # fmt: skip
        tiles_n: tl.constexpr = N // TILE_N
        num_tiles = tl.cdiv(M, TILE_M) * tiles_n
        for tile in tl.range(tl.program_id(0), num_tiles, num_programs, flatten=True):
            row = (tile // tiles_n) * TILE_M  # neighbouring programs share their rows, which then come from the cache
            column = (tile % tiles_n) * TILE_N
            total = tl.zeros((TILE_M, TILE_N), dtype=tl.float32)
            for inner in range(0, K, TILE_K):
                left = x_desc.load([row, inner])
                if BACKWARD:  # noqa: SIM108 - the compiler takes one branch, of another shape
                    right = weight_desc.load([inner, column])
                else:
                    right = weight_desc.load([column, inner]).T
                total = tl.dot(left, right, total)
            if PARTS == 1:
                if BACKWARD:
                    twice_root = 2.0 * tl.sqrt(squares_desc.load([row, column]).to(tl.float32))
                    out_desc.store([row, column], (total * twice_root).to(out_desc.dtype))
                else:
                    positive = tl.maximum(total, 0.0).to(out_desc.dtype).to(tl.float32)
                    out_desc.store([row, column], (positive * positive).to(out_desc.dtype))
            else:
                halves = tl.permute(tl.reshape(total, (TILE_M, 2, TILE_N // 2)), (0, 2, 1))
                low, high = tl.split(halves)
                if BACKWARD:
                    root = 2.0 * tl.sqrt(squares_desc.load([row, column]).to(tl.float32))
                    out_desc.store([row, column], (low * root).to(out_desc.dtype))
                    root = 2.0 * tl.sqrt(squares_desc.load([row, column + TILE_N // 2]).to(tl.float32))
                    out_desc.store([row, column + TILE_N // 2], (high * root).to(out_desc.dtype))
                else:
                    low = tl.maximum(low, 0.0).to(out_desc.dtype).to(tl.float32)
                    out_desc.store([row, column], (low * low).to(out_desc.dtype))
                    high = tl.maximum(high, 0.0).to(out_desc.dtype).to(tl.float32)
                    out_desc.store([row, column + TILE_N // 2], (high * high).to(out_desc.dtype))

    def launch_squared_relu(x: Tensor, weight: Tensor, squares: Tensor | None, tiling: Tiling) -> Tensor:
        """Either product; with ``squares`` the one of the backward pass."""
        x, weight = x.contiguous(), weight.contiguous()
        inner = x.shape[1]
        n = weight.shape[1] if squares is not None else weight.shape[0]
        out = torch.empty(x.shape[0], n, dtype=x.dtype, device=x.device)
        part = [tiling.m, tiling.n // tiling.num_parts]
        out_desc = TensorDescriptor.from_tensor(out, part)
        squares_desc = out_desc if squares is None else TensorDescriptor.from_tensor(squares.contiguous(), part)
        weight_tile = [tiling.n, tiling.k] if squares is None else [tiling.k, tiling.n]
        num_tiles = math.ceil(x.shape[0] / tiling.m) * (n // tiling.n)
        programs = min(num_tiles, tiling.programs * num_multiprocessors(x.device) or num_tiles)
        _squared_relu_kernel[(programs,)](
            TensorDescriptor.from_tensor(x, [tiling.m, tiling.k]), TensorDescriptor.from_tensor(weight, weight_tile),
            squares_desc, out_desc, x.shape[0], programs, n, inner,
            TILE_M=tiling.m, TILE_N=tiling.n, TILE_K=tiling.k, PARTS=tiling.num_parts, BACKWARD=squares is not None,
            num_warps=tiling.num_warps, num_stages=tiling.num_stages,
        )  # fmt: skip
        return out

    @squared_relu_product.register_kernel("cuda")
    def _launch_forward(x: Tensor, up: Tensor) -> Tensor:
        return launch_squared_relu(x, up, None, FORWARD_TILING)

    @squared_relu_product_backward.register_kernel("cuda")
    def _launch_backward(grad: Tensor, down: Tensor, squares: Tensor) -> Tensor:
        return launch_squared_relu(grad, down, squares, BACKWARD_TILING)


def square_of_relu(x: Tensor, up: Tensor) -> Tensor:
    """:func:`squared_relu_product` outside a compiled network, where an operation of torch's own would import it."""
    return launch_squared_relu(x, up, None, FORWARD_TILING) if x.device.type == "cuda" else _plain(x, up)


def squared_relu_linear(x: Tensor, weight: Tensor) -> Tensor:
    """relu(x W^T)^2 as an autocast linear layer and a squared ReLU give it; (..., K) and (N, K) -> (..., N)."""
    if not (is_available() and serves(x) and fits(weight)):
        return functional.relu(functional.linear(x, weight)).square()
    rows = x.to(torch.bfloat16).reshape(-1, x.shape[-1])
    squares: Tensor = squared_relu_product(rows, weight.to(torch.bfloat16))
    return squares.view(*x.shape[:-1], weight.shape[0])
