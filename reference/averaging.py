"""Gradients averaged over all processes while the backward pass still goes on, bucket by bucket.

The backward pass finishes the last layers first. Parameters are put into buckets in that order; the mean of a bucket is
begun as soon as all its gradients are there, and travels while the layers before it are differentiated. Every process
begins the same buckets in the same order, whatever order its own gradients come in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import final

import torch
from torch import Tensor, nn

from bpb_harness.distributed import Processes

BUCKET_BYTES = 8 << 20  # large enough for the links' full rate, small enough that several are under way


@final
class AveragedGradients:
    """The gradients of a network's parameters, as means over processes.

    Args:
        parameters: in the order in which the network uses them.
        processes: those that train together; alone, nothing is done.
        bucket_bytes: of gradients that travel together, at least.
    """

    def __init__(
        self, parameters: Sequence[nn.Parameter], processes: Processes, *, bucket_bytes: int = BUCKET_BYTES
    ) -> None:
        self._processes = processes
        self._buckets = _in_buckets(parameters, bucket_bytes) if processes.count > 1 else []
        self._bucket_of = {id(parameter): place for place, bucket in enumerate(self._buckets) for parameter in bucket}
        self._missing: list[int] = []
        self._begun: list[_Bucket] = []
        self._is_open = False
        for bucket in self._buckets:
            for parameter in bucket:
                parameter.register_post_accumulate_grad_hook(self._take)  # type: ignore[no-untyped-call]

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Behind the block, the gradients of the one backward pass inside are means over all processes.

        Every process does this with the same parameters in use; those without a gradient are left out.

        Raises:
            HarnessError: if another process has ended.
        """
        if not self._buckets:
            yield
            return
        self._missing, self._begun = [len(bucket) for bucket in self._buckets], []
        self._is_open = True
        try:
            yield
        finally:
            self._is_open = False
        while len(self._begun) < len(self._buckets):  # those with a parameter that was not used
            self._begin()
        for bucket in self._begun:
            bucket.finish()
        self._begun = []

    def _take(self, parameter: Tensor) -> None:
        """Called when a parameter's gradient is whole."""
        if not self._is_open:
            return
        self._missing[self._bucket_of[id(parameter)]] -= 1
        while len(self._begun) < len(self._buckets) and not self._missing[len(self._begun)]:
            self._begin()

    def _begin(self) -> None:
        bucket = self._buckets[len(self._begun)]
        self._begun.append(_Bucket([p.grad for p in bucket if p.grad is not None], self._processes))


class _Bucket:
    """Gradients on their way."""

    def __init__(self, gradients: list[Tensor], processes: Processes) -> None:
        self._gradients = gradients
        self._flat = torch.cat([gradient.flatten() for gradient in gradients]) if gradients else None
        self._wait: Callable[[], None] | None = None
        if self._flat is not None:
            self._wait = processes.begin_average(self._flat)

    def finish(self) -> None:
        """Wait for the means, and put them where the gradients were."""
        if self._wait is None or self._flat is None:
            return
        self._wait()
        means = torch.split(self._flat, [gradient.numel() for gradient in self._gradients])
        torch._foreach_copy_(
            self._gradients, [mean.view_as(each) for mean, each in zip(means, self._gradients, strict=True)]
        )


def _in_buckets(parameters: Sequence[nn.Parameter], bucket_bytes: int) -> list[list[nn.Parameter]]:
    """The last parameters first, so many in a bucket that they reach a size."""
    buckets: list[list[nn.Parameter]] = []
    room = 0
    for parameter in reversed(parameters):
        if room <= 0:
            buckets.append([])
            room = bucket_bytes
        buckets[-1].append(parameter)
        room -= parameter.numel() * parameter.element_size()
    return buckets
