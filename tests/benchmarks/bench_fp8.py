"""Whether products in 8-bit floats make whole steps faster: blocks of the reference network, forward and backward.

    python -m tests.benchmarks.bench_fp8 [CONTEXT]

Three forms of the same 11 blocks of 512, compiled and captured as a CUDA graph: bfloat16 with the project's kernels,
bfloat16 without them, and with the four products of a block in 8-bit floats, forward and for the gradient of the input
(that of the weights stays bfloat16, as is usual). Scales are either constants, which costs nothing and is the best that
8 bits can do, or taken from each tensor's largest entry. Steps are objective and gradients without the optimizer.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bpb_harness.estimators.mc import ContinuousBound
from bpb_harness.evaluation.runner import fastest_attention
from bpb_harness.kernels.training import give_up_specialising
from bpb_harness.networks import reference
from bpb_harness.networks.reference import ReferenceConfig
from bpb_harness.schedule import parse_schedule
from reference.cuda_graph import CapturedGradient
from reference.model import initial_network
from reference.objective import draw_masks, gather_capacity, head_nll, mdlm_objective

E4M3, E5M2 = torch.float8_e4m3fn, torch.float8_e5m2
TOKENS, STEPS = 65_536, 30


def rounded(x: Tensor, kind: torch.dtype, *, is_dynamic: bool) -> tuple[Tensor, Tensor]:
    largest = torch.finfo(kind).max
    scale = x.abs().amax().float() / largest if is_dynamic else torch.full((), 4.0 / largest, device=x.device)
    return (x / scale).clamp(-largest, largest).to(kind), scale


def product(a: Tensor, b: Tensor, scale_a: Tensor, scale_b: Tensor) -> Tensor:
    """a b^T, of (n, k) and (m, k)."""
    return torch._scaled_mm(a, b.t(), scale_a, scale_b, out_dtype=torch.bfloat16, use_fast_accum=True)


class EightBitProduct(torch.autograd.Function):
    is_dynamic = False

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        dynamic = EightBitProduct.is_dynamic
        x8, scale_x = rounded(x, E4M3, is_dynamic=dynamic)
        w8, scale_w = rounded(weight, E4M3, is_dynamic=dynamic)
        ctx.save_for_backward(x, w8, scale_w)
        return product(x8, w8, scale_x, scale_w)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        x, w8, scale_w = ctx.saved_tensors
        (grad,) = gradients
        g8, scale_g = rounded(grad, E5M2, is_dynamic=EightBitProduct.is_dynamic)
        return product(g8, w8.t().contiguous(), scale_g, scale_w), grad.t() @ x


def eight_bit_linear(self: nn.Linear, x: Tensor) -> Tensor:
    rows = x.to(torch.bfloat16).reshape(-1, x.shape[-1])
    out: Tensor = EightBitProduct.apply(rows, self.weight.to(torch.bfloat16))  # type: ignore[no-untyped-call]
    return out.view(*x.shape[:-1], -1)


def plain_feed_forward(self: reference.FeedForward, x: Tensor) -> Tensor:
    out: Tensor = self.down(nn.functional.relu(self.up(x)).square())
    return out


def step_of(form: str, context: int) -> Callable[[], Tensor]:
    """A captured step."""
    torch._dynamo.reset()
    device = torch.device("cuda")
    config = ReferenceConfig(1024, 2048, 11, 512, 4, 1536)
    network = initial_network(config, seed=0).to(device)
    bound = ContinuousBound(parse_schedule("loglinear[0.001]"), 1)
    if form.startswith("8 bits"):
        EightBitProduct.is_dynamic = form.endswith("taken")
        for block in network.blocks:
            for module in block.modules():
                if isinstance(module, nn.Linear):
                    module.forward = eight_bit_linear.__get__(module)
                elif isinstance(module, reference.FeedForward):
                    module.forward = plain_feed_forward.__get__(module)
    for block in network.blocks:
        block.compile(dynamic=False)
    head = torch.compile(head_nll, dynamic=False)
    windows = TOKENS // context
    generator = torch.Generator(device).manual_seed(0)
    x0 = torch.randint(1024, (windows, context), device=device, generator=generator)
    masked, level = draw_masks((windows, context), bound, generator, device)
    capacity = gather_capacity(windows, context, bound)

    def objective(x0: Tensor, masked: Tensor) -> Tensor:
        with torch.autocast("cuda", dtype=torch.bfloat16), fastest_attention(device):
            return mdlm_objective(network, x0, masked, level, bound, capacity=capacity, head_nll=head)

    captured = CapturedGradient(objective, (x0, masked), list(network.parameters()))
    return lambda: captured((x0, masked))


@contextlib.contextmanager
def alone(lock: str | None) -> Any:
    if lock is None:
        yield
        return
    with Path(lock).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def measured(step: Callable[[], Tensor]) -> dict[str, float]:
    step()
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(STEPS):
        nats = step()
    torch.cuda.synchronize()
    return {"ms": round(1000 * (time.perf_counter() - began) / STEPS, 3), "nats": float(nats)}


def main() -> None:
    context = int(sys.argv[1]) if sys.argv[1:] else 2048
    steps: dict[str, Callable[[], Tensor] | str] = {}
    for form in ("bfloat16", "bfloat16, plain", "8 bits, scales given", "8 bits, scales taken"):
        if form == "bfloat16, plain":
            give_up_specialising()
        try:
            steps[form] = step_of(form, context)
        except Exception as error:  # what fails is told, the other forms go on
            steps[form] = f"{type(error).__name__}: {error}"[:300]
    with alone(os.environ.get("ALONE")):
        for _ in range(2):
            for form, step in steps.items():
                told = {"failed": step} if isinstance(step, str) else measured(step)
                print(json.dumps({"form": form, "context": context, **told}), flush=True)


if __name__ == "__main__":
    main()
