"""The fused forms are the plain ones: everywhere without a GPU, to bfloat16's rounding on one."""

import pytest
import torch
from torch.nn import functional

from bpb_harness.adapters import golf_mdlm
from bpb_harness.adapters.accounting.account import Account
from bpb_harness.checkpoints import read_checkpoint
from bpb_harness.kernels import attention, query_key, specialising
from bpb_harness.kernels.attention import attention_of_powers, normalised_attention
from bpb_harness.kernels.loading import has_descriptors
from bpb_harness.kernels.query_key import paired_angles, paired_rows, query_factor, turned_qk
from bpb_harness.kernels.squared_relu import squared_relu_linear
from bpb_harness.schedule import LogLinear
from tests.tiny_checkpoints import make_golf_mdlm

needs_gpu = pytest.mark.skipif(
    not torch.cuda.is_available() or not has_descriptors(), reason="needs a CUDA device and triton"
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
        # Autocast squares in float32, and rounds for the product that follows.
        seen, expected = compiled(x, weight), plain(x, weight).bfloat16()
    assert seen.shape == expected.shape
    assert seen.dtype == expected.dtype == torch.bfloat16
    assert not specialising._given_up
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


def separate_attention(x, weight, cos, sin):
    """Softmax spelled out, in float64; (B, L, H d)."""
    q, k, v = (each.double().transpose(1, 2) for each in separate_qkv(x, weight, cos, sin))
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    weights = (scores - scores.amax(dim=-1, keepdim=True)).exp()
    return (weights @ v / weights.sum(dim=-1, keepdim=True)).transpose(1, 2).flatten(2)


def unpaired(heads, factor):
    """Queries and keys (B, L, H, d) with the halves of a head one after the other, queries without their factor."""
    return heads.unflatten(-1, (-1, 2)).transpose(-1, -2).flatten(-2) / factor


def packed_qk(x, weight, cos, sin):
    B, L, K = x.shape
    head = 2 * cos.shape[-1]
    angles = paired_angles(cos.view(L, head // 2), sin.view(L, head // 2))
    turned = weight[: 2 * len(weight) // 3]
    return turned_qk(x.reshape(B * L, K), paired_rows(turned, head), angles)


def unpacked_qk(packed, case):
    x, _, cos, _ = case
    head = 2 * cos.shape[-1]
    q, k = packed.double().view(*x.shape[:2], 2, -1, head).unbind(2)
    return unpaired(q, query_factor(head)), unpaired(k, 1.0)


def values(x, weight):
    return (x @ weight[2 * len(weight) // 3 :].t()).flatten(0, 1)


def test_packed_queries_and_keys_are_those_of_separate_products():
    case = qkv_case(2, 5, 32, 8)
    for seen, expected in zip(unpacked_qk(packed_qk(*case), case), separate_qkv(*case)[:2], strict=True):
        assert seen.shape == (2, 5, 4, 8)
        torch.testing.assert_close(seen, expected.double(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("head", [8, 32, 64])
@pytest.mark.parametrize("fused", [False, True])
def test_attention_is_softmax_spelled_out(monkeypatch, head, fused):
    monkeypatch.setattr(attention, "_is_fused", lambda *_: fused)
    case = qkv_case(3, 70, 64, head)
    rounded = [each.bfloat16().float() for each in case[:2]]
    seen = normalised_attention(rounded[0], *rounded[1].chunk(3), *case[2:])
    expected = separate_attention(*rounded, *case[2:])
    assert seen.shape == (3, 70, 64)
    error = (seen.double() - expected).norm() / expected.norm()
    assert error < (6e-3 if fused else 1e-6)  # the fused form rounds to bfloat16 on its way


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("head", [32, 64])
def test_attention_at_positions_is_attention_picked(monkeypatch, head, fused):
    monkeypatch.setattr(attention, "_is_fused", lambda *_: fused)
    x, weight, cos, sin = qkv_case(3, 40, 64, head)
    positions = torch.tensor([0, 1, 39, 80, 119, 0, 0])  # of two windows of three, and padding
    everywhere = normalised_attention(x, *weight.chunk(3), cos, sin).flatten(0, 1)
    seen = normalised_attention(x, *weight.chunk(3), cos, sin, positions)
    torch.testing.assert_close(seen, everywhere[positions])


def test_attention_of_powers_does_not_look_into_other_windows():
    case = qkv_case(2, 6, 32, 8)
    packed, v = packed_qk(*case), values(*case[:2])
    both = attention_of_powers(packed, v, 6, 8)
    for window in (slice(0, 6), slice(6, 12)):
        torch.testing.assert_close(attention_of_powers(packed[window], v[window], 6, 8), both[window])


def test_the_specialised_network_is_the_plain_one(tmp_path, monkeypatch):
    torch.save(make_golf_mdlm(), tmp_path / "m.pt")
    model = golf_mdlm.GolfMdlm(Account(read_checkpoint(tmp_path / "m.pt"), "golf-mdlm"), torch.float32)
    golf_mdlm.ready(model, torch.device("cpu"))
    xt = torch.randint(0, model.vocab_size + 1, (3, model.context_length), generator=torch.Generator().manual_seed(0))
    level = LogLinear(1e-3).level(torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64))
    positions = torch.tensor([1, 5, model.context_length + 2, 3 * model.context_length - 1, 0])
    expected, expected_at = model.hidden(xt, level), model.hidden_at(xt, level, positions)
    torch.testing.assert_close(expected_at, expected.flatten(0, 1)[positions])
    calls = []
    monkeypatch.setattr(golf_mdlm, "is_specialised", lambda: True)
    monkeypatch.setattr(golf_mdlm, "normalised_attention", lambda *a: calls.append(1) or normalised_attention(*a))
    torch.testing.assert_close(model.hidden(xt, level), expected)
    assert len(calls) == len(model.blocks)
    torch.testing.assert_close(model.hidden_at(xt, level, positions), expected_at)
    assert len(calls) == 2 * len(model.blocks)


@pytest.mark.parametrize("positions", [None, torch.tensor([0, 3, 9, 0])])
def test_operations_tell_the_compiler_what_they_do(positions):
    x, weight, cos, sin = case = qkv_case(2, 5, 32, 8)
    angles = paired_angles(cos.view(5, 4), sin.view(5, 4))
    torch.library.opcheck(turned_qk, (x.flatten(0, 1), paired_rows(weight[:64], 8), angles))
    torch.library.opcheck(attention_of_powers, (packed_qk(*case), values(x, weight), 5, 8, positions))


@pytest.mark.parametrize(
    ("length", "width", "head", "serves"),
    [
        (128, 512, 64, True), (128, 512, 32, True), (128, 256, 64, True), (100, 512, 64, False), (128, 320, 64, False),
        (128, 768, 96, False), (128, 512, 128, False),
    ],
)  # fmt: skip
def test_the_kernels_take_only_shapes_that_they_can_cut_up(monkeypatch, length, width, head, serves):
    monkeypatch.setattr(specialising, "serves", lambda _: True)
    monkeypatch.setattr(query_key, "is_available", lambda _: True)
    x, weight, cos, _ = qkv_case(1, length, width, head)
    assert attention._is_fused(x, weight.chunk(3)[0], cos) is serves


def test_no_kernel_serves_outside_a_compiled_network(monkeypatch):
    monkeypatch.setattr(query_key, "is_available", lambda _: True)
    x, weight, cos, _ = qkv_case(1, 128, 512, 64)
    assert not specialising.serves(x)
    assert not attention._is_fused(x, weight.chunk(3)[0], cos)


def test_there_are_no_kernels_on_a_cpu():
    assert not query_key.is_available(torch.device("cpu"))


def assert_close(seen, expected, most):
    assert seen.shape == expected.shape
    assert (seen.double() - expected.double()).norm() / expected.double().norm() < most


@needs_gpu
@pytest.mark.parametrize(("rows", "head"), [(2, 64), (3, 32), (64, 64)])
def test_the_kernel_of_queries_and_keys_gives_what_autocast_gives(rows, head):
    x, weight, cos, sin = case = qkv_case(rows, 256, 512, head, "cuda")
    x, weight = x.bfloat16(), weight.bfloat16()
    q, k = unpacked_qk(packed_qk(x, weight, cos, sin), case)
    expected_q, expected_k, _ = separate_qkv(x, weight, cos, sin)
    assert_close(q, expected_q, 4e-3)  # rounded with its factor here, without it there
    assert_close(k, expected_k, 2e-4)  # but for sums in another order, the same bits


@needs_gpu
@pytest.mark.parametrize(("rows", "length", "head"), [(2, 256, 64), (3, 128, 64), (5, 2048, 64), (3, 128, 32)])
def test_the_attention_kernel_gives_what_softmax_gives(rows, length, head, monkeypatch):
    launch, launched = attention.launch_attention, []
    monkeypatch.setattr(attention, "launch_attention", lambda *a: launched.append(1) or launch(*a))
    x, weight, cos, sin = qkv_case(rows, length, 512, head, "cuda")
    x = x.bfloat16()
    compiled = torch.compile(normalised_attention, dynamic=True)
    with torch.inference_mode(), torch.autocast("cuda", dtype=torch.bfloat16):
        seen = compiled(x, *weight.chunk(3), cos, sin)
        expected = separate_attention(x, weight, cos, sin).bfloat16()
    assert not specialising._given_up
    assert len(launched) == (head == 64)  # torch's attention serves other heads
    assert seen.dtype == torch.bfloat16
    assert_close(seen, expected, 4e-3)


@needs_gpu
@pytest.mark.parametrize("rate", [0.002, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("length", [128, 1024])
def test_the_attention_kernel_gives_the_same_at_positions(rate, length):
    generator = torch.Generator("cuda").manual_seed(0)
    case = qkv_case(24, length, 256, 64, "cuda")
    x, weight = (each.bfloat16() for each in case[:2])
    packed, v = packed_qk(x, weight, *case[2:]), values(x, weight)
    picked = torch.rand(24 * length, device="cuda", generator=generator) < rate
    positions = functional.pad(picked.nonzero()[:, 0], (0, 200))
    everywhere = attention_of_powers(packed, v, length, 64)
    seen = attention_of_powers(packed, v, length, 64, positions)
    count = int(picked.sum())
    assert seen.isfinite().all()
    assert_close(seen[:count], everywhere[positions[:count]], 1e-5)


@needs_gpu
def test_the_attention_kernel_bears_the_largest_scores():
    """Queries and keys of length sqrt(d): every query agrees with half of the keys, and points away from the others."""
    direction = torch.ones(64, device="cuda")
    q, k = direction.expand(128, 64) * query_factor(64), direction.repeat(128, 1)
    v = torch.randn(128, 64, device="cuda")
    k[:64] *= -1
    seen = attention_of_powers(torch.cat((q, k), dim=1).bfloat16(), v.bfloat16(), 128, 64)
    expected = v.bfloat16().double()[64:].mean(dim=0).expand(128, 64)
    assert (seen.double() - expected).abs().max() < 1e-2
