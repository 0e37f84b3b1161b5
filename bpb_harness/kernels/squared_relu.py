"""A product with a squared ReLU in its epilogue, and the product of its gradient, for scoring and for training alike.

The arithmetic is that of the plain form, rounding for rounding: sums in float32, rounded to bfloat16 before the square.
What is saved are passes over the widest tensor of a block, to memory and back. On a CPU, and to a compiler's eyes, both
are plain operations; the kernels are triton's, with tiles that the card's copy engine moves.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from bpb_harness.kernels.loading import has_descriptors
from bpb_harness.kernels.specialising import serves
from bpb_harness.kernels.tiling import Tiling

FORWARD_TILING = Tiling(128, 256, 64, num_warps=8, num_stages=4, programs=1, num_parts=2)
BACKWARD_TILING = Tiling(128, 256, 64, num_warps=8, num_stages=3, programs=1, num_parts=2)


def is_available() -> bool:
    """Whether there are kernels: triton with tensor descriptors, 3.4 or later."""
    return has_descriptors()


def fits(up: Tensor) -> bool:
    """Whether the kernels cut an (N, K) weight without rests."""
    hidden, width = up.shape
    return all(hidden % tiling.n == 0 and width % tiling.k == 0 for tiling in (FORWARD_TILING, BACKWARD_TILING))


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


def launch_squared_relu(x: Tensor, weight: Tensor, squares: Tensor | None, tiling: Tiling) -> Tensor:
    """Either product; with ``squares`` the one of the backward pass."""
    from bpb_harness.kernels.on_gpu import squared_relu

    return squared_relu.launch_squared_relu(x, weight, squares, tiling)


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
