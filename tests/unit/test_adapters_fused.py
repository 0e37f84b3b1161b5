"""The fused squared ReLU is the plain one: everywhere without a GPU, to bfloat16's rounding on one."""

import pytest
import torch
from torch.nn import functional

from bpb_harness.adapters import _fused
from bpb_harness.adapters._fused import squared_relu_linear

needs_gpu = pytest.mark.skipif(
    not torch.cuda.is_available() or _fused.triton is None, reason="needs a CUDA device and triton"
)


def plain(x, weight):
    return functional.relu(functional.linear(x, weight)).square()


def test_without_a_compiler_it_is_the_plain_form():
    x, weight = torch.randn(2, 3, 64), torch.randn(256, 64)
    assert torch.equal(squared_relu_linear(x, weight), plain(x, weight))


def test_gradients_flow_through_it():
    x, weight = torch.randn(3, 8), torch.randn(5, 8, requires_grad=True)
    squared_relu_linear(x, weight).sum().backward()
    assert weight.grad is not None
    assert weight.grad.abs().sum() > 0


@needs_gpu
@pytest.mark.parametrize("rows", [1, 127, 128, 1000, 4096])
def test_the_kernel_gives_what_autocast_gives(rows):
    generator = torch.Generator("cuda").manual_seed(0)
    x = torch.randn(2, rows, 512, device="cuda", generator=generator)
    weight = torch.randn(1536, 512, device="cuda", generator=generator) / 512**0.5
    compiled = torch.compile(squared_relu_linear, dynamic=True)
    with torch.inference_mode(), torch.autocast("cuda", dtype=torch.bfloat16):
        seen, expected = compiled(x, weight), plain(x, weight)
    assert seen.shape == expected.shape
    assert seen.dtype == expected.dtype == torch.bfloat16
    assert not _fused._given_up
    error = (seen.double() - expected.double()).norm() / expected.double().norm()
    assert error < 2e-3
