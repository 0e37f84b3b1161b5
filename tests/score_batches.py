"""A command of tests: the metric of the batches that fall to this process, of two that add up by gloo, as JSON."""

from __future__ import annotations

import json
import os
import sys

import torch
import torch.distributed as dist

from bpb_harness.metric import BitsPerByte
from tests.oracles import Markov, OracleDenoiser

V, L = 3, 4


def batches(count: int) -> list[tuple[torch.Tensor, int]]:
    """Batches of different sizes, and their bytes."""
    generator = torch.Generator().manual_seed(5)
    sizes = [int(torch.randint(1, 5, (), generator=generator)) for _ in range(count)]
    texts = [torch.randint(V, (size, L), generator=generator) for size in sizes]
    return [(text, 3 * len(text) + int(text.sum())) for text in texts]


def score(which: slice, count: int = 9) -> dict[str, float]:
    """The metric of some of the batches."""
    network, metric = OracleDenoiser(Markov.random(V, seed=2)), BitsPerByte(schedule="loglinear[0.1]", seed=7)
    for text, num_bytes in batches(count)[which]:
        metric.update(network, text, num_bytes)
    return {key: float(value) for key, value in metric.compute().items()}


def main() -> None:
    """Score this process's batches; the result is that of both."""
    dist.init_process_group("gloo")
    rank, world = dist.get_rank(), int(os.environ["WORLD_SIZE"])
    sys.stdout.write(json.dumps(score(slice(rank, None, world))) + "\n")
    dist.destroy_process_group()
    sys.exit(0)
