"""A step's objective and gradients as a CUDA graph, captured once and replayed for every batch.

A step of a small network is a thousand short kernels. Launched one by one they cost the host more time than they take
the device; a graph is launched at once. The kernels, their order and their numbers are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

_WARM_UP_STEPS = 2  # allocations and libraries that are set up on first use cannot be captured

Objective = Callable[..., Tensor]


class CapturedGradient:
    """Gradients of an objective, captured once.

    Every call writes the same tensors anew and makes them the parameters' ``grad``.

    Args:
        objective: maps the inputs to a scalar; no shape and no control flow in it depends on their values.
        inputs: tensors on the GPU, as every call will get them.
        parameters: whose gradients are taken.
        pool_of: another graph of the same run, never replayed at the same time: they share its memory pool.
        around: entered around the backward pass that is captured, and no other: what it does with the gradients is
            part of the graph.
    """

    def __init__(
        self,
        objective: Objective,
        inputs: Sequence[Tensor],
        parameters: Sequence[nn.Parameter],
        *,
        pool_of: CapturedGradient | None = None,
        around: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self._inputs = tuple(each.clone() for each in inputs)
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(_WARM_UP_STEPS):
                forget_gradients(parameters)
                torch.autograd.backward(objective(*self._inputs))
        torch.cuda.current_stream().wait_stream(side)
        forget_gradients(parameters)
        torch.cuda.empty_cache()  # the graph has a memory pool of its own
        self._graph = torch.cuda.CUDAGraph()
        # What outlives a replay, gradients and value, is referenced here: no other graph is given its place.
        pool: Any = None if pool_of is None else pool_of._graph.pool()
        # A thread of NCCL's looks at its events while this one captures: that is none of the capture's business.
        with torch.cuda.graph(self._graph, pool=pool, capture_error_mode="thread_local"):
            nats = objective(*self._inputs)
            with around():
                torch.autograd.backward(nats)
            self._nats = nats.detach()
        self._parameters = tuple(parameters)
        self._gradients = tuple(parameter.grad for parameter in parameters)

    def __call__(self, inputs: Sequence[Tensor]) -> Tensor:
        """The objective of a batch; its gradients are in the parameters once the device is done."""
        for parameter, grad in zip(self._parameters, self._gradients, strict=True):
            parameter.grad = grad
        for own, given in zip(self._inputs, inputs, strict=True):
            own.copy_(given, non_blocking=True)
        self._graph.replay()
        return self._nats.clone()


def forget_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Set every ``grad`` to None."""
    for parameter in parameters:
        parameter.grad = None
