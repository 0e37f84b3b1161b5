"""The fused forms are the plain ones: everywhere without a GPU, to bfloat16's rounding on one."""

import pytest
import torch
from torch.nn import functional

from bpb_harness.adapters import _fused, _fused_qkv, _squared_relu, golf_mdlm
from bpb_harness.adapters._fused import squared_relu_linear
from bpb_harness.adapters._fused_qkv import turned_qkv
from bpb_harness.checkpoint import read_checkpoint
from bpb_harness.schedule import LogLinear
from tests.tiny_checkpoints import make_golf_mdlm

needs_gpu = pytest.mark.skipif(
    not torch.cuda.is_available() or _squared_relu.triton is None, reason="needs a CUDA device and triton"
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


def rms(x):
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + torch.finfo(torch.float32).eps)


def separate_qkv(x, weight, cos, sin):
    """The turned and normalised queries and keys, and values, product by product; float32 between the roundings."""
    B, L, _ = x.shape
    turned = []
    for part in weight.chunk(3):
        y = functional.linear(x, part).view(B, L, -1, 2 * cos.shape[-1])
        turned.append(y)
    for i in range(2):
        a, b = turned[i].float().chunk(2, dim=-1)
        pair = torch.cat((a * cos + b * sin, b * cos - a * sin), dim=-1).to(x.dtype)
        turned[i] = rms(pair.float()).to(x.dtype)
    return turned


def qkv_case(rows, length, width, head, device="cpu"):
    generator = torch.Generator(device).manual_seed(0)
    x = torch.randn(rows, length, width, device=device, generator=generator)
    weight = torch.randn(3 * width, width, device=device, generator=generator) / width**0.5
    angle = torch.randn(1, length, 1, head // 2, device=device, generator=generator)
    return x, weight, angle.cos(), angle.sin()


def test_plain_queries_keys_and_values_are_those_of_three_products():
    case = qkv_case(2, 5, 32, 8)
    for seen, expected in zip(turned_qkv(*case), separate_qkv(*case), strict=True):
        assert seen.shape == (2, 5, 4, 8)
        torch.testing.assert_close(seen, expected)


def test_the_specialised_network_is_the_plain_one(tmp_path, monkeypatch):
    torch.save(make_golf_mdlm(), tmp_path / "m.pt")
    model = golf_mdlm.GolfMdlm(read_checkpoint(tmp_path / "m.pt"), torch.float32)
    golf_mdlm.ready(model, torch.device("cpu"))
    xt = torch.randint(0, model.vocab_size + 1, (3, model.context_length), generator=torch.Generator().manual_seed(0))
    level = LogLinear(1e-3).level(torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64))
    expected = model.hidden(xt, level)
    calls = []
    monkeypatch.setattr(golf_mdlm, "is_specialised", lambda: True)
    monkeypatch.setattr(golf_mdlm, "turned_qkv", lambda *a: calls.append(1) or turned_qkv(*a))
    torch.testing.assert_close(model.hidden(xt, level), expected)
    assert len(calls) == len(model.blocks)


@pytest.mark.parametrize(
    ("length", "width", "head", "serves"),
    [(128, 512, 64, True), (100, 512, 64, False), (128, 320, 64, False), (128, 768, 96, False), (128, 256, 64, True)],
)
def test_the_qkv_kernel_takes_only_shapes_that_it_can_cut_up(monkeypatch, length, width, head, serves):
    monkeypatch.setattr(_fused, "serves", lambda x: True)
    monkeypatch.setattr(_fused_qkv, "triton", object())
    x, weight, cos, _ = qkv_case(1, length, width, head)
    assert _fused_qkv._is_fused(x, weight, cos) is serves


def test_no_kernel_serves_outside_a_compiled_network(monkeypatch):
    monkeypatch.setattr(_fused_qkv, "triton", object())
    x, weight, cos, _ = qkv_case(1, 128, 512, 64)
    assert not _fused.serves(x)
    assert not _fused_qkv._is_fused(x, weight, cos)


def assert_bfloat16_close(seen, expected):
    assert seen.shape == expected.shape
    assert seen.dtype == expected.dtype
    assert (seen.double() - expected.double()).norm() / expected.double().norm() < 2e-3


@needs_gpu
@pytest.mark.parametrize("rows", [2, 3, 64])
def test_the_qkv_kernel_gives_what_autocast_gives(rows):
    x, weight, cos, sin = qkv_case(rows, 256, 512, 64, "cuda")
    x = x.bfloat16()
    compiled = torch.compile(turned_qkv, dynamic=True)
    with torch.inference_mode(), torch.autocast("cuda", dtype=torch.bfloat16):
        seen, expected = compiled(x, weight, cos, sin), separate_qkv(x, weight, cos, sin)
    assert not _fused._given_up
    for got, want in zip(seen, expected, strict=True):
        assert_bfloat16_close(got, want)
