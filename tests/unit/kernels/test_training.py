"""The operations that a compiled network is trained with: their gradients, and the network as it is written.

On a CPU they are plain tensor code, on a GPU kernels; where there is one, the kernels are held against the former.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bpb_harness.estimators.mc import ContinuousBound
from bpb_harness.kernels import squared_relu
from bpb_harness.kernels import training as fused
from bpb_harness.kernels.loading import has_triton
from bpb_harness.networks import reference
from bpb_harness.networks.reference import ReferenceConfig, ReferenceTransformer
from bpb_harness.schedule import parse_schedule
from reference.objective import draw_masks, gather_capacity, mdlm_objective

needs_kernels = pytest.mark.skipif(
    not torch.cuda.is_available() or not has_triton(), reason="needs a CUDA device and triton"
)


def random(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    numbers = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * scale
    return numbers.requires_grad_()


def angles(length: int, half: int) -> tuple[Tensor, Tensor]:
    angle = torch.outer(torch.arange(length).float(), 100.0 ** (-torch.arange(half) / half))
    return angle.cos(), angle.sin()


@pytest.mark.parametrize("seed", [0, 1])
def test_gradients_are_those_of_finite_differences(seed: int) -> None:
    x, up, down = random(7, 6, seed=seed), random(8, 6, seed=seed + 2), random(6, 8, seed=seed + 4)
    assert torch.autograd.gradcheck(fused.squared_relu_feed_forward, (x, up, down))
    cos, sin = (each.double() for each in angles(5, 2))
    x, weight = random(2, 5, 8, seed=seed), random(24, 8, seed=seed + 6)

    def project(x: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
        return fused.rotated_projection(x, weight, cos, sin, 2)

    assert torch.autograd.gradcheck(project, (x, weight))
    rows, positions = random(6, 3, seed=seed), torch.tensor([4, 1, 5])
    slots = torch.tensor([3, 1, 3, 3, 0, 2])
    assert torch.autograd.gradcheck(lambda rows: fused.gather_rows(rows, positions, slots), (rows,))
    assert torch.equal(fused.gather_rows(rows, positions, slots), rows[positions])


def test_padding_gives_no_gradient() -> None:
    rows = random(4, 2)
    fused.gather_rows(rows, torch.tensor([2, 0, 0]), torch.tensor([3, 3, 0, 3])).sum().backward()  # type: ignore[no-untyped-call]
    assert rows.grad is not None
    assert rows.grad.tolist() == [[0, 0], [0, 0], [1, 1], [0, 0]]


def network(**changes: object) -> ReferenceTransformer:
    shape = {"vocab_size": 40, "context_length": 24, "num_layers": 2, "width": 32, "num_heads": 2, "mlp_width": 96}
    built = ReferenceTransformer(ReferenceConfig(**{**shape, **changes}))  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * parameter.shape[-1] ** -0.5)
    return built


def objective_and_gradients(built: ReferenceTransformer, capacity: int | None = None) -> tuple[Tensor, list[Tensor]]:
    bound, generator = ContinuousBound(parse_schedule("loglinear[0.001]"), 1), torch.Generator().manual_seed(3)
    masked, level, _ = draw_masks((6, 24), bound, generator)
    x0 = torch.randint(40, masked.shape, generator=generator)
    nats = mdlm_objective(built, x0, masked, level, bound, capacity=capacity or gather_capacity(6, 24, bound))
    return nats.detach(), list(torch.autograd.grad(nats, list(built.parameters())))


def whole_last_block(built: ReferenceTransformer) -> tuple[Tensor, list[Tensor]]:
    """The same, from every position's logits."""
    bound, generator = ContinuousBound(parse_schedule("loglinear[0.001]"), 1), torch.Generator().manual_seed(3)
    masked, level, _ = draw_masks((6, 24), bound, generator)
    x0 = torch.randint(40, masked.shape, generator=generator)
    sigma = level.sigma if built.config.time_conditioned else None
    log_probs = torch.log_softmax(built(torch.where(masked, 40, x0), sigma)[..., :40], dim=-1)
    nll_nats = -log_probs.gather(-1, x0.unsqueeze(-1)).squeeze(-1)
    nats = bound.draw_weight * ((nll_nats * masked).sum(1) / masked.sum(1)).mean() + 0.001 * torch.log(torch.tensor(40))
    return nats.detach(), list(torch.autograd.grad(nats, list(built.parameters())))


def agree(ours: tuple[Tensor, list[Tensor]], theirs: tuple[Tensor, list[Tensor]], tolerance: float) -> None:
    assert ours[0].item() == pytest.approx(theirs[0].item(), rel=tolerance)
    for mine, other in zip(ours[1], theirs[1], strict=True):
        assert (mine - other).norm() <= tolerance * other.norm() + 1e-7


@pytest.mark.parametrize("time_conditioned", [False, True])
@pytest.mark.parametrize("num_layers", [1, 2])
def test_the_last_block_at_masked_positions_alone_is_the_same_network(time_conditioned: bool, num_layers: int) -> None:
    built = network(time_conditioned=time_conditioned, num_layers=num_layers)
    agree(objective_and_gradients(built), whole_last_block(built), 1e-4)
    agree(objective_and_gradients(built, capacity=6 * 24), whole_last_block(built), 1e-4)


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # the compiler does
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # the compiler looks at its inputs
@pytest.mark.parametrize(("changes", "compiled"), [({}, True), ({"time_conditioned": True}, False)])
def test_the_specialised_network_has_the_same_gradients(
    monkeypatch: pytest.MonkeyPatch, compiled: bool, changes: dict[str, object]
) -> None:
    plain = objective_and_gradients(network(**changes))
    asked: set[str] = set()

    def serve(x: Tensor, kind: str) -> bool:
        asked.add(kind)
        return True

    monkeypatch.setattr(fused, "is_specialised", serve)
    if not compiled:
        monkeypatch.setattr(reference, "is_compiling", lambda: True)
    monkeypatch.setattr(squared_relu, "fits", lambda up: True)
    built = network(**changes)
    monkeypatch.setattr(fused, "fits_rotary", lambda width, num_heads: True)
    if compiled:
        torch._dynamo.reset()
        for block in built.blocks:
            block.compile(dynamic=False, backend="aot_eager")
    agree(objective_and_gradients(built), plain, 1e-4)
    assert compiled or asked == {"squared_relu", "rotary"}


def test_only_networks_that_are_compiled_for_training_in_bfloat16_on_a_gpu_are_specialised() -> None:
    x = torch.zeros(1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not any(fused.is_specialised(x, kind) for kind in fused.KINDS)


def test_shapes_that_the_kernels_do_not_cut_are_left_to_others() -> None:
    assert squared_relu.fits(torch.empty(1792, 512))
    assert not squared_relu.fits(torch.empty(1800, 512))
    assert not squared_relu.fits(torch.empty(1792, 500))
    assert [fused.fits_rotary(512, heads) for heads in (1, 4, 8, 16)] == [True] * 4
    assert not any(fused.fits_rotary(width, heads) for width, heads in ((384, 4), (512, 32), (512, 3)))


@needs_kernels
@pytest.mark.parametrize("rows", [1000, 4096])
def test_kernels_of_the_products_are_their_plain_form(rows: int) -> None:
    x, up, down = (
        random(*shape, scale=0.5).detach().cuda().bfloat16() for shape in ((rows, 512), (1792, 512), (512, 1792))
    )
    with torch.no_grad():
        squares = fused.squared_relu_product(x, up)
        expected = (x.float() @ up.float().t()).relu().square()
        assert (squares.float() - expected).norm() < 0.01 * expected.norm()
        gradient = fused.squared_relu_product_backward(x, down, squares)
        expected = (x.float() @ down.float()) * 2 * squares.float().sqrt()
        assert (gradient.float() - expected).norm() < 0.01 * expected.norm()


@needs_kernels
@pytest.mark.parametrize(("num_heads", "size"), [(4, 128), (8, 64), (3, 32)])
def test_kernels_of_rotary_positions_are_their_plain_form(num_heads: int, size: int) -> None:
    cos, sin = angles(37, size // 2)
    qkv = random(3, 37, 3, num_heads, size).detach().bfloat16()
    ours, plain = fused.rotate(qkv.cuda(), cos.cuda(), sin.cuda()), fused.rotate(qkv, cos, sin)
    for mine, other in zip(ours, plain, strict=True):
        torch.testing.assert_close(mine.cpu(), other, rtol=0.01, atol=0.01)
    lying = (3, num_heads, 37, size)  # as attention's gradients come: heads outside
    gradients = [random(*lying, seed=seed).detach().bfloat16().transpose(1, 2) for seed in (1, 2, 3)]
    back = fused.rotate_backward(*(each.cuda() for each in (*gradients, *plain, cos, sin)))
    torch.testing.assert_close(back.cpu(), fused.rotate_backward(*gradients, *plain, cos, sin), rtol=0.02, atol=0.04)
